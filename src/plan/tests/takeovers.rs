//! One mapping after another: what an ended mapping wrote goes, whatever another mapping of the principal is, and one that is in effect
//! loses nothing to it.

use serde_json::json;

use super::{FOREIGN, cluster};
use crate::access_entry::FailureKind;
use crate::observed::Mode;
use crate::plan::simulation::Simulation;

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

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

pub(super) fn keepers(simulation: &mut Simulation) {
    for name in ["keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
}

fn go_on(simulation: &mut Simulation) {
    for _ in 0..40 {
        simulation.pass();
        simulation.later(5);
    }
    simulation.look();
    for _ in 0..10 {
        simulation.pass();
        simulation.later(30);
    }
}

/// Of two mappings that name the principal beside the one that ends, the older can't be put into effect: the planner removes, and safety
/// refuses because the younger one claims the principal.
#[test]
fn two_duplicates_keep_no_ended_access() {
    let mut left = Vec::new();
    for mode in [None, Some(Mode::Api)] {
        for deleted in [false, true] {
            let mut simulation = match mode {
                None => cluster(&[]),
                Some(mode) => Simulation::in_eks(mode, ""),
            };
            keepers(&mut simulation);
            let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
            simulation.create(
                "m",
                "role/p",
                &json!({"groups": ["admins"], "validUntil": end}),
            );
            simulation.settle();
            // No mapping of this backend can be put into effect in this mode.
            let backend = if mode.is_none() {
                "AccessEntry"
            } else {
                "ConfigMap"
            };
            simulation.create(
                "n1",
                "role/p",
                &json!({"groups": ["own"], "backend": backend}),
            );
            simulation.create("n2", "role/p", &json!({"groups": ["own"]}));
            simulation.settle();
            if deleted {
                simulation.delete("m");
            }
            for _ in 0..10 {
                simulation.settle();
                simulation.later(3600);
                if mode.is_some() {
                    simulation.look();
                }
            }
            left.push(format!(
                "{mode:?} deleted {deleted}: p has {}; m {:?}; n2 {}",
                groups(&simulation, "p"),
                simulation
                    .objects
                    .contains_key("m")
                    .then(|| simulation.message("m", "Ready")),
                simulation.message("n2", "Ready")
            ));
        }
    }
    assert!(!left.iter().any(|it| it.contains("admins")), "{left:#?}");
}

/// A person whose access ends creates a duplicate for the same principal, so large that no finalizer fits into it.
#[test]
fn a_duplicate_that_takes_no_finalizer_keeps_no_ended_access() {
    let mut left = Vec::new();
    for mode in [None, Some(Mode::Api)] {
        for deleted in [false, true] {
            let mut simulation = match mode {
                None => cluster(&["keep-1", "keep-2", "keep-3"]),
                Some(mode) => {
                    let mut simulation = Simulation::in_eks(mode, "");
                    for name in ["keep-1", "keep-2", "keep-3"] {
                        simulation.create(name, &format!("role/{name}"), &json!({}));
                    }
                    simulation
                }
            };
            let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
            simulation.create(
                "m",
                "role/p",
                &json!({"groups": ["admins"], "validUntil": end}),
            );
            simulation.settle();
            simulation.create("n", "role/p", &json!({"groups": ["own"]}));
            simulation.unpatchable.insert("n".to_owned());
            simulation.settle();
            if deleted {
                simulation.delete("m");
            }
            for _ in 0..10 {
                simulation.later(3600);
                if mode.is_some() {
                    simulation.look();
                }
                simulation.settle();
            }
            left.push(format!(
                "{mode:?} deleted {deleted}: p has {}; m {:?} n {}",
                groups(&simulation, "p"),
                simulation
                    .objects
                    .contains_key("m")
                    .then(|| simulation.message("m", "Ready")),
                simulation.message("n", "Ready"),
            ));
        }
    }
    assert!(
        !left
            .iter()
            .any(|it| it.contains("admins;") || it.contains("\"admins\"]")),
        "{left:#?}"
    );
}

/// While the change of an entry from one mapping's content to another's is in flight, the author of the first points it back, suspended.
#[test]
fn a_suspended_mapping_that_returns_in_flight_keeps_no_access_of_another() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let now = simulation.now;
    simulation.cloud().in_flight = crate::access_entry::InFlight::since(now);
    simulation.later(300);
    keepers(&mut simulation);
    simulation.create("n", "role/p", &json!({"groups": ["own"]}));
    simulation.settle();
    let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
    simulation.create(
        "m",
        "role/p",
        &json!({"groups": ["admins"], "validUntil": end}),
    );
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
    let before = groups(&simulation, "p");
    for _ in 0..5 {
        simulation.later(3600);
        simulation.look();
        simulation.settle();
    }
    assert!(
        !groups(&simulation, "p").contains("admins"),
        "had {before}, has {}; m {} n {}",
        groups(&simulation, "p"),
        simulation.message("m", "Ready"),
        simulation.message("n", "Ready")
    );
}

/// Who may write statuses, and a suspended mapping, says that it wrote the entry of another mapping of that principal, which ends.
#[test]
fn a_status_of_a_suspended_duplicate_keeps_no_ended_access() {
    let mut left = Vec::new();
    for mode in [None, Some(Mode::Api)] {
        for deleted in [false, true] {
            let mut simulation = match mode {
                None => cluster(&[]),
                Some(mode) => Simulation::in_eks(mode, ""),
            };
            keepers(&mut simulation);
            let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
            simulation.create(
                "m",
                "role/p",
                &json!({"groups": ["admins"], "validUntil": end}),
            );
            simulation.settle();
            simulation.create("n", "role/p", &json!({"groups": ["own"], "suspend": true}));
            simulation.settle();
            // Not what m wrote: only the principal.
            let written = crate::api::v1alpha1::WrittenEntry {
                config_map: mode.is_none().then(|| "kube-system/aws-auth".to_owned()),
                cluster: mode
                    .is_some()
                    .then(|| "arn:aws:eks:eu-west-1:111122223333:cluster/main".to_owned()),
                arn: arn("p"),
                username: "nonsense".to_owned(),
                groups: vec!["nonsense".to_owned()],
                ..Default::default()
            };
            if deleted {
                simulation.delete("m");
            } else {
                simulation.later(3600);
            }
            simulation.edit("n", |object| {
                object.status.get_or_insert_default().written = vec![written];
            });
            simulation.settle();
            for _ in 0..5 {
                simulation.later(3600);
                if mode.is_some() {
                    simulation.look();
                }
                simulation.settle();
            }
            left.push(format!(
                "{mode:?} deleted {deleted}: p has {}; m {:?}, n {}",
                groups(&simulation, "p"),
                simulation
                    .objects
                    .contains_key("m")
                    .then(|| simulation.message("m", "Ready")),
                simulation.message("n", "Ready"),
            ));
        }
    }
    assert!(!left.iter().any(|it| it.contains("admins")), "{left:#?}");
}

/// A mapping is applied and deleted before its status remembers the entry, and somebody has a suspended mapping of the same principal.
#[test]
fn a_suspended_duplicate_keeps_no_entry_that_no_status_remembers() {
    let mut left = Vec::new();
    for in_flight in [false, true] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        let now = simulation.now;
        simulation.cloud().in_flight = crate::access_entry::InFlight::since(now);
        simulation.later(300);
        keepers(&mut simulation);
        simulation.create("n", "role/p", &json!({"groups": ["own"], "suspend": true}));
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
        go_on(&mut simulation);
        left.push(format!(
            "in flight {in_flight}: p has {}; m exists {}; n {}",
            groups(&simulation, "p"),
            simulation.objects.contains_key("m"),
            simulation.message("n", "Ready")
        ));
    }
    assert!(!left.iter().any(|it| it.contains("admins")), "{left:#?}");
}

/// A delegate with an older mapping points it at a principal that a younger mapping of another team holds.
#[test]
fn an_older_mapping_that_moves_takes_nobodys_access() {
    let mut simulation = Simulation::with_roles(FOREIGN);
    simulation.create(
        "team-a-developers",
        "role/dev",
        &json!({"groups": ["team-a"]}),
    );
    simulation.create(
        "platform",
        "role/platform",
        &json!({"groups": ["platform-admins"]}),
    );
    simulation.settle();
    simulation.edit("team-a-developers", |object| {
        object.spec.principal.arn = Some("arn:aws:iam::111122223333:role/platform".to_owned());
    });
    simulation.settle();
    assert_eq!(
        groups(&simulation, "platform"),
        "platform-admins",
        "{}",
        simulation.message("platform", "Ready")
    );
}

/// An older mapping names the principal and can't be put into effect: what the younger one's spec drops goes all the same.
#[test]
fn an_older_mapping_that_is_stuck_freezes_no_younger_one() {
    let mut left = Vec::new();
    for mode in [None, Some(Mode::Api)] {
        let mut simulation = match mode {
            None => cluster(&[]),
            Some(mode) => Simulation::in_eks(mode, ""),
        };
        simulation.create("old", "role/other", &json!({"groups": ["own"]}));
        keepers(&mut simulation);
        simulation.create("m", "role/p", &json!({"groups": ["admins", "dev"]}));
        simulation.settle();
        simulation.edit("old", |object| {
            // Of the same key; in CONFIG_MAP mode without a backend, in API mode under a path that IAM does not have.
            let path = if mode.is_none() { "p" } else { "nowhere/p" };
            object.spec.principal.arn = Some(arn(path));
            if mode.is_none() {
                object.spec.backend = crate::api::v1alpha1::BackendChoice::AccessEntry;
            }
        });
        if mode.is_some() {
            let known = ["p", "other", "keep-1", "keep-2", "keep-3"].map(arn);
            simulation.cloud().principals = Some(known.into());
        }
        for _ in 0..5 {
            simulation.settle();
            simulation.later(600);
        }
        simulation.edit("m", |object| object.spec.groups = vec!["dev".to_owned()]);
        for _ in 0..5 {
            simulation.settle();
            simulation.later(600);
        }
        left.push(format!(
            "{mode:?}: p has {}; m {}; old {}",
            groups(&simulation, "p"),
            simulation.message("m", "Ready"),
            simulation.message("old", "Ready")
        ));
    }
    assert!(
        !left
            .iter()
            .any(|it| it.contains("has admins") || it.contains("\"admins\"")),
        "{left:#?}"
    );
}

/// In `CONFIG_MAP` mode without AWS, the status of a duplicate is forged to name an access entry.
#[test]
fn a_status_that_names_an_access_entry_keeps_no_ended_access() {
    let mut simulation = cluster(&["keep-1", "keep-2", "keep-3"]);
    let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
    simulation.create(
        "m",
        "role/p",
        &json!({"groups": ["admins"], "validUntil": end}),
    );
    simulation.create("n", "role/p", &json!({"groups": ["own"]}));
    simulation.settle();
    simulation.edit("n", |object| {
        object.status.get_or_insert_default().access_entry_arn = Some("anything".to_owned());
    });
    simulation.settle();
    for _ in 0..5 {
        simulation.later(3600);
        simulation.settle();
    }
    assert_ne!(
        groups(&simulation, "p"),
        "admins",
        "m {} n {}",
        simulation.message("m", "Ready"),
        simulation.message("n", "Ready")
    );
}

/// The same, and the access of one mapping ends while another one of the same principal goes on.
#[test]
fn an_end_passes_while_the_history_can_not_be_written() {
    let mut simulation = cluster(&["b"]);
    let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
    simulation.create(
        "m",
        "role/p",
        &json!({"groups": ["admins"], "validUntil": end}),
    );
    simulation.create("n", "role/p", &json!({"groups": ["own"]}));
    simulation.settle();
    simulation.history_failure = Some("the API server says no".to_owned());
    simulation.later(3601);
    simulation.settle();
    simulation.later(3601);
    simulation.settle();
    assert_ne!(
        groups(&simulation, "p"),
        "admins",
        "m {} n {}",
        simulation.message("m", "Ready"),
        simulation.message("n", "Ready")
    );
}

/// A mapping is renamed and changed in Git while EKS is out of reach for minutes: it takes over once EKS answers.
#[test]
fn a_rename_while_eks_is_out_of_reach_takes_no_access() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    keepers(&mut simulation);
    simulation.create("m", "role/p", &json!({"groups": ["team"]}));
    simulation.settle();
    let read = simulation.now;
    simulation.cloud().unreachable = Some(crate::observed::Unreachable {
        read,
        failure: crate::access_entry::Failure {
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
    let gone = calls
        .iter()
        .any(|call| call.starts_with("DeleteAccessEntry"));
    assert!(!gone, "{calls:?}");
    assert!(groups(&simulation, "p").contains("more"), "{calls:?}");
    assert!(!simulation.objects.contains_key("m"));
    assert_eq!(simulation.ready("n"), "True InEffect");
}

/// Patches of mappings fail for minutes, and a mapping is renamed: its successor says why it is not in effect, and is once they succeed.
#[test]
fn a_rename_while_no_finalizer_can_be_added_comes_to_an_end() {
    for mode in [None, Some(Mode::Api)] {
        let mut simulation = match mode {
            None => cluster(&["keep-1", "keep-2", "keep-3"]),
            Some(mode) => Simulation::in_eks(mode, ""),
        };
        keepers_of(&mut simulation, mode);
        simulation.create("m", "role/p", &json!({"groups": ["team"]}));
        simulation.settle();
        simulation.create("n", "role/p", &json!({"groups": ["more"]}));
        simulation.unpatchable.insert("n".to_owned());
        simulation.settle();
        simulation.delete("m");
        simulation.settle();
        assert_eq!(simulation.ready("n"), "False FinalizerPending", "{mode:?}");
        assert!(groups(&simulation, "p").contains("team"), "{mode:?}");
        simulation.unpatchable.clear();
        simulation.settle();
        assert!(groups(&simulation, "p").contains("more"), "{mode:?}");
        assert_eq!(simulation.ready("n"), "True InEffect", "{mode:?}");
    }
}

fn keepers_of(simulation: &mut Simulation, mode: Option<Mode>) {
    if mode.is_some() {
        keepers(simulation);
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

/// An older mapping is changed to name the principal of another one: the confirmation of the one in effect counts.
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
