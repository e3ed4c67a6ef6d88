//! One mapping after another: what an ended mapping wrote goes, whatever another mapping of the principal is, and one that is active
//! loses nothing to it.

use serde_json::json;

use super::{FOREIGN, cluster};
use crate::access_entry::{Failure, FailureKind, InFlight};
use crate::api::v1alpha1::{BackendChoice, WrittenEntry};
use crate::observed::{Mode, Unreachable};
use crate::plan::simulation::Simulation;

/// Without AWS, and with access entries alone.
pub(super) const MODES: [Option<Mode>; 2] = [None, Some(Mode::Api)];

/// What a principal has: its groups, and with access entries its policies.
pub(super) fn groups(simulation: &Simulation, role: &str) -> String {
    let of = format!("role/{role}");
    if simulation.cloud.is_some() {
        return simulation
            .access_entry(&of)
            .map(|it| format!("{:?} {:?}", it.1, it.2))
            .unwrap_or_default();
    }
    let entries = simulation.entries();
    let found = entries.iter().find(|(arn, ..)| *arn == of);
    found.map(|it| it.2.clone()).unwrap_or_default()
}

pub(super) fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

/// A cluster with principals enough that one removal is no mass removal.
pub(super) fn populated(mode: Option<Mode>) -> Simulation {
    let mut simulation = match mode {
        None => cluster(&[]),
        Some(mode) => Simulation::in_eks(mode, ""),
    };
    for name in ["keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    simulation
}

/// The same, as an operator sees it that has run for minutes: nothing of an earlier process is on its way.
fn settled_for_long() -> Simulation {
    let mut simulation = populated(Some(Mode::Api));
    let now = simulation.now;
    simulation.cloud().in_flight = InFlight::since(now);
    simulation.later(300);
    simulation
}

/// The mapping m grants p the group admins for an hour.
fn grant_for_an_hour(simulation: &mut Simulation) {
    let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
    let spec = json!({"groups": ["admins"], "validUntil": end});
    simulation.create("m", "role/p", &spec);
    simulation.settle();
    assert!(groups(simulation, "p").contains("admins"));
}

pub(super) fn hours_pass(simulation: &mut Simulation) {
    for _ in 0..5 {
        simulation.later(3600);
        if simulation.cloud.is_some() {
            simulation.look();
        }
        simulation.settle();
    }
}

/// In each mode m ends, by its time or by its deletion, after `beside` was done. p has what is expected then.
fn after_its_end(beside: impl Fn(&mut Simulation, Option<Mode>), expected: Option<&str>) {
    for mode in MODES {
        for deleted in [false, true] {
            let mut simulation = populated(mode);
            grant_for_an_hour(&mut simulation);
            beside(&mut simulation, mode);
            simulation.settle();
            if deleted {
                simulation.delete("m");
            }
            hours_pass(&mut simulation);
            let has = groups(&simulation, "p");
            let right = expected.map_or(has.is_empty(), |group| has.contains(group));
            assert!(
                right && !has.contains("admins"),
                "{mode:?}, deleted {deleted}: {has}"
            );
            assert_eq!(simulation.objects.contains_key("m"), !deleted);
        }
    }
}

/// Of two mappings that name the principal beside the one that ends, the older can't be put into effect.
#[test]
fn two_duplicates_keep_no_ended_access() {
    let duplicates = |simulation: &mut Simulation, mode: Option<Mode>| {
        // No mapping of this backend can be put into effect in this mode.
        let backend = mode.map_or("AccessEntry", |_| "ConfigMap");
        let first = json!({"groups": ["own"], "backend": backend});
        simulation.create("n1", "role/p", &first);
        simulation.create("n2", "role/p", &json!({"groups": ["own"]}));
    };
    after_its_end(duplicates, Some("own"));
}

/// A person whose access ends creates a duplicate for the same principal, so large that no finalizer fits into it.
#[test]
fn a_duplicate_that_takes_no_finalizer_keeps_no_ended_access() {
    let duplicate = |simulation: &mut Simulation, _: Option<Mode>| {
        simulation.create("n", "role/p", &json!({"groups": ["own"]}));
        simulation.unpatchable.insert("n".to_owned());
    };
    after_its_end(duplicate, None);
}

/// Who may write statuses, and a suspended mapping, says that it wrote the entry of another mapping of that principal, which ends.
#[test]
fn a_status_of_a_suspended_duplicate_keeps_no_ended_access() {
    let forged = |simulation: &mut Simulation, mode: Option<Mode>| {
        let spec = json!({"groups": ["own"], "suspend": true});
        simulation.create("n", "role/p", &spec);
        simulation.settle();
        let cluster = "arn:aws:eks:eu-west-1:111122223333:cluster/main";
        // Not what m wrote: only the principal.
        let written = WrittenEntry {
            config_map: mode.is_none().then(|| "kube-system/aws-auth".to_owned()),
            cluster: mode.map(|_| cluster.to_owned()),
            arn: arn("p"),
            username: "nonsense".to_owned(),
            groups: vec!["nonsense".to_owned()],
            ..WrittenEntry::default()
        };
        simulation.edit("n", |object| {
            object.status.get_or_insert_default().written = vec![written];
        });
    };
    after_its_end(forged, None);
}

/// While the change of an entry from one mapping's content to another's is in flight, the author of the first points it back, suspended.
#[test]
fn a_suspended_mapping_that_returns_in_flight_keeps_no_access_of_another() {
    let mut simulation = settled_for_long();
    simulation.create("n", "role/p", &json!({"groups": ["own"]}));
    simulation.settle();
    let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
    let spec = json!({"groups": ["admins"], "validUntil": end});
    simulation.create("m", "role/p", &spec);
    simulation.settle();
    simulation.later(60);
    simulation.edit("n", |object| object.spec.principal.arn = Some(arn("q")));
    simulation.cloud().slow = true;
    simulation.pass();
    simulation.edit("n", |object| {
        object.spec.principal.arn = Some(arn("p"));
        object.spec.suspend = true;
    });
    simulation.answer();
    simulation.cloud().slow = false;
    simulation.look();
    simulation.settle();
    assert!(groups(&simulation, "p").contains("admins"), "m took over");
    hours_pass(&mut simulation);
    assert_eq!(groups(&simulation, "p"), "");
}

/// A mapping is applied and deleted before its status remembers the entry, and somebody has a suspended mapping of the same principal.
#[test]
fn a_suspended_duplicate_keeps_no_entry_that_no_status_remembers() {
    for in_flight in [false, true] {
        let mut simulation = settled_for_long();
        let spec = json!({"groups": ["own"], "suspend": true});
        simulation.create("n", "role/p", &spec);
        simulation.settle();
        simulation.create("m", "role/p", &json!({"groups": ["admins"]}));
        simulation.cloud().slow = in_flight;
        simulation.pass();
        simulation.delete("m");
        if in_flight {
            simulation.pass();
            simulation.answer();
            simulation.cloud().slow = false;
        }
        assert!(groups(&simulation, "p").contains("admins"), "{in_flight}");
        for _ in 0..40 {
            simulation.pass();
            simulation.later(5);
        }
        hours_pass(&mut simulation);
        assert_eq!(groups(&simulation, "p"), "", "in flight: {in_flight}");
        assert!(!simulation.objects.contains_key("m"));
    }
}

/// A delegate with an older mapping points it at a principal that a younger mapping of another team holds.
#[test]
fn an_older_mapping_that_moves_revokes_no_access_of_another() {
    let mut simulation = Simulation::with_roles(FOREIGN);
    let own = json!({"groups": ["team-a"]});
    simulation.create("team-a-developers", "role/dev", &own);
    let theirs = json!({"groups": ["platform-admins"]});
    simulation.create("platform", "role/platform", &theirs);
    simulation.settle();
    simulation.edit("team-a-developers", |object| {
        object.spec.principal.arn = Some(arn("platform"));
    });
    simulation.settle();
    assert_eq!(groups(&simulation, "platform"), "platform-admins");
    assert_eq!(
        simulation.ready("team-a-developers"),
        "False DuplicatePrincipal"
    );
}

/// An older mapping names the principal and can't be put into effect: what the younger one's spec drops goes all the same.
#[test]
fn an_older_mapping_that_is_stuck_freezes_no_younger_one() {
    for mode in MODES {
        let mut simulation = populated(mode);
        simulation.create("old", "role/other", &json!({"groups": ["own"]}));
        simulation.create("m", "role/p", &json!({"groups": ["admins", "dev"]}));
        simulation.settle();
        assert!(groups(&simulation, "p").contains("admins"));
        simulation.edit("old", |object| {
            // Of the same key; without AWS without a backend, with access entries under a path that IAM does not have.
            let path = if mode.is_none() { "p" } else { "nowhere/p" };
            object.spec.principal.arn = Some(arn(path));
            if mode.is_none() {
                object.spec.backend = BackendChoice::AccessEntry;
            }
        });
        if mode.is_some() {
            let known = ["p", "other", "keep-1", "keep-2", "keep-3"].map(arn);
            simulation.cloud().principals = Some(known.into());
        }
        hours_pass(&mut simulation);
        simulation.edit("m", |object| object.spec.groups = vec!["dev".to_owned()]);
        hours_pass(&mut simulation);
        let has = groups(&simulation, "p");
        assert!(has.contains("dev") && !has.contains("admins"), "{has}");
    }
}

/// In `CONFIG_MAP` mode without AWS, the status of a duplicate is forged to name an access entry.
#[test]
fn a_status_that_names_an_access_entry_keeps_no_ended_access() {
    let mut simulation = populated(None);
    grant_for_an_hour(&mut simulation);
    simulation.create("n", "role/p", &json!({"groups": ["own"]}));
    simulation.settle();
    simulation.edit("n", |object| {
        object.status.get_or_insert_default().access_entry_arn = Some("anything".to_owned());
    });
    simulation.settle();
    hours_pass(&mut simulation);
    assert_eq!(groups(&simulation, "p"), "");
}

/// The history can't be written, so a text of which it has no copy is not changed to grant anything: the access ends without its successor.
/// The text that is left has a copy, so that the successor becomes active then.
#[test]
fn an_end_passes_while_the_history_cannot_be_written() {
    let mut simulation = populated(None);
    grant_for_an_hour(&mut simulation);
    simulation.create("n", "role/p", &json!({"groups": ["own"]}));
    simulation.settle();
    simulation.history_failure = Some("the API server says no".to_owned());
    hours_pass(&mut simulation);
    assert_eq!(groups(&simulation, "p"), "own");
}

/// A mapping is renamed and changed in Git while EKS can't be reached for minutes: it takes over once EKS answers.
#[test]
fn a_rename_while_eks_is_out_of_reach_revokes_no_access() {
    let mut simulation = populated(Some(Mode::Api));
    simulation.create("m", "role/p", &json!({"groups": ["team"]}));
    simulation.settle();
    let read = simulation.now;
    simulation.cloud().unreachable = Some(Unreachable {
        read,
        failure: Failure {
            kind: FailureKind::Unavailable,
            message: "no route".to_owned(),
        },
    });
    simulation.create("n", "role/p", &json!({"groups": ["more", "team"]}));
    simulation.delete("m");
    for _ in 0..5 {
        simulation.pass();
        simulation.later(60);
    }
    simulation.cloud().unreachable = None;
    simulation.calls();
    for _ in 0..5 {
        simulation.look();
        simulation.settle();
        simulation.later(30);
    }
    let calls = simulation.calls();
    let is_deletion = |call: &String| call.starts_with("DeleteAccessEntry");
    assert!(!calls.iter().any(is_deletion), "{calls:?}");
    assert!(groups(&simulation, "p").contains("more"), "{calls:?}");
    assert!(!simulation.objects.contains_key("m"));
    assert_eq!(simulation.ready("n"), "True InEffect");
}

/// Patches of a mapping fail, and it is to follow another one: it says why it is not active, and becomes so once they succeed, also where
/// the ended access was removed meanwhile.
#[test]
fn a_successor_without_a_finalizer_becomes_active_once_it_has_one() {
    for mode in MODES {
        for late in [false, true] {
            let mut simulation = populated(mode);
            simulation.create("m", "role/p", &json!({"groups": ["team"]}));
            simulation.settle();
            simulation.create("n", "role/p", &json!({"groups": ["more"]}));
            simulation.unpatchable.insert("n".to_owned());
            simulation.settle();
            simulation.delete("m");
            simulation.settle();
            assert_eq!(simulation.ready("n"), "False FinalizerPending", "{mode:?}");
            assert!(groups(&simulation, "p").contains("team"), "{mode:?}");
            if late {
                hours_pass(&mut simulation);
                assert_eq!(groups(&simulation, "p"), "", "{mode:?}");
                assert_eq!(simulation.ready("n"), "False FinalizerPending", "{mode:?}");
            }
            simulation.unpatchable.clear();
            simulation.settle();
            assert!(groups(&simulation, "p").contains("more"), "{mode:?}");
            assert_eq!(simulation.ready("n"), "True InEffect", "{mode:?}");
        }
    }
}

/// The last administrator is followed by a mapping that is none: the person who is asked for a confirmation gives it late.
#[test]
fn a_confirmation_on_the_successor_counts_however_late() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let admin = json!({"accessPolicies": [{"policy": "AmazonEKSClusterAdminPolicy"}]});
    simulation.create("m", "role/p", &admin);
    simulation.settle();
    simulation.create("n", "role/p", &json!({"groups": ["dev"]}));
    simulation.settle();
    simulation.delete("m");
    for _ in 0..5 {
        simulation.settle();
        simulation.later(60);
        simulation.look();
    }
    assert!(groups(&simulation, "p").contains("ClusterAdmin"));
    let asked = simulation.message("n", "Ready");
    assert!(asked.contains("last-administrator"), "{asked}");
    simulation.confirm("n", "last-administrator");
    for _ in 0..3 {
        simulation.settle();
        simulation.look();
    }
    assert!(!groups(&simulation, "p").contains("ClusterAdmin"));
    assert!(groups(&simulation, "p").contains("dev"));
}

/// An older mapping is changed to name the principal of another one: the confirmation of the active one counts.
#[test]
fn a_duplicate_does_not_answer_for_a_principal_of_another() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.create("old", "role/x", &json!({"groups": ["own"]}));
    let admin = json!({"accessPolicies": [{"policy": "AmazonEKSClusterAdminPolicy"}]});
    simulation.create("n", "role/p", &admin);
    simulation.settle();
    simulation.edit("old", |object| object.spec.principal.arn = Some(arn("p")));
    simulation.settle();
    simulation.edit("n", |object| object.spec.access_policies.clear());
    simulation.settle();
    assert!(groups(&simulation, "p").contains("ClusterAdmin"), "held");
    simulation.confirm("old", "last-administrator");
    simulation.settle();
    assert!(
        groups(&simulation, "p").contains("ClusterAdmin"),
        "not by a duplicate"
    );
    simulation.confirm("n", "last-administrator");
    simulation.settle();
    assert!(!groups(&simulation, "p").contains("ClusterAdmin"));
}
