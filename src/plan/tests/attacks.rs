//! Sequences by which people, statuses or events try to pass a guard, to keep what is revoked, or to make a removal impossible.

use serde_json::json;

use super::{FOREIGN, cluster, foreign};
use crate::access_entry::{
    ADMIN_POLICY, Call, Entries, Failure, FailureKind, InFlight, Scope, policy_arn,
};
use crate::api::v1alpha1::{BackendChoice, Deletion, EntryType};
use crate::observed::{AwsState, Mode};
use crate::plan::simulation::Simulation;
use crate::principal::Partition;

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

fn admin_policy() -> String {
    policy_arn(Partition::Aws, ADMIN_POLICY)
}

/// So many mappings with access entries, kept by an operator that started some minutes ago.
fn many_in_eks(count: usize) -> (Simulation, Vec<String>) {
    let names: Vec<String> = (0..count).map(|number| format!("m{number:02}")).collect();
    let mut simulation = Simulation::in_eks(Mode::Api, FOREIGN);
    let now = simulation.now;
    simulation.cloud().in_flight = InFlight::since(now);
    simulation.later(300);
    for name in &names {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    (simulation, names)
}

fn has(simulation: &Simulation, role: &str) -> bool {
    let role = format!("role/{role}");
    simulation.entries().iter().any(|(arn, ..)| *arn == role)
}

/// A status is forged to say that validUntil was seen.
#[test]
fn a_forged_seen_valid_until_lifts_no_limit() {
    let names: Vec<String> = (0..20).map(|number| format!("m{number:02}")).collect();
    let mut simulation = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let past = simulation.now.plus(jiff::SignedDuration::from_secs(-60));
    for name in &names[..15] {
        simulation.edit(name, |object| object.spec.valid_until = Some(past.into()));
    }
    simulation.settle();
    assert_eq!(simulation.entries().len(), 2 + 20, "held");
    assert_eq!(simulation.ready("m00"), "False RemovalNeedsConfirmation");
    for name in &names[..15] {
        simulation.edit(name, |object| {
            object.status.as_mut().expect("a status").seen_valid_until = Some(past.into());
        });
    }
    simulation.settle();
    assert_eq!(
        simulation.entries().len(),
        2 + 20,
        "a status ends a held removal"
    );
}

/// Events come again and again about principals whose entries were removed: their removals count for ten minutes all the same.
#[test]
fn events_of_absent_entries_hold_no_removal() {
    for attacked in [false, true] {
        let (mut simulation, names) = many_in_eks(12);
        let soon = simulation.now.plus(jiff::SignedDuration::from_secs(60));
        for name in &names[..5] {
            simulation.edit(name, |object| object.spec.valid_until = Some(soon.into()));
        }
        simulation.settle();
        simulation.later(61);
        simulation.settle();
        for name in &names[..5] {
            assert_eq!(simulation.ready(name), "True Expired", "{attacked}");
        }
        for _ in 0..20 {
            simulation.later(60);
            if attacked {
                for name in &names[..5] {
                    let now = simulation.now;
                    simulation.cloud().known.doubt(&arn(name), None, now);
                }
                simulation.look();
            }
            simulation.settle();
        }
        simulation.delete("m11");
        simulation.settle();
        assert!(
            !simulation.objects.contains_key("m11"),
            "attacked {attacked}: {}",
            simulation.message("m11", "Ready")
        );
    }
}

/// A younger mapping of the same principal has a node type.
#[test]
fn the_type_of_a_duplicate_lifts_no_guard_of_nodes() {
    let mut simulation = cluster(&[]);
    simulation.create("people", "role/node", &json!({"adoption": "Always"}));
    simulation.settle();
    assert_eq!(
        simulation.ready("people"),
        "False NodeEntryNeedsConfirmation"
    );
    assert_eq!(simulation.entries(), foreign());
    simulation.create(
        "duplicate",
        "role/node",
        &json!({"type": "EC2Linux", "username": null, "groups": null}),
    );
    simulation.settle();
    assert_eq!(
        simulation.entries(),
        foreign(),
        "people {} duplicate {}",
        simulation.ready("people"),
        simulation.ready("duplicate")
    );
}

/// The same of an entry of ours that has to become Standard.
#[test]
fn the_type_of_a_duplicate_lifts_no_guard_of_nodes_in_eks() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let node = json!({"type": "EC2Linux", "username": null, "groups": null});
    simulation.create("n", "role/n", &node);
    simulation.settle();
    simulation.edit("n", |object| {
        object.spec.type_ = EntryType::Standard;
        object.spec.username = Some("people".to_owned());
        object.spec.groups = vec!["team".to_owned()];
    });
    simulation.settle();
    assert!(simulation.message("n", "Synced").contains("node-entry"));
    simulation.create("duplicate", "role/n", &node);
    for _ in 0..5 {
        simulation.settle();
        simulation.later(60);
        simulation.look();
    }
    let stands = simulation.access_entry("role/n").expect("stands");
    assert_ne!(stands.0, "people", "{}", simulation.ready("duplicate"));
}

/// Somebody edits a managed entry to be an administrator's, and its repair takes that back.
#[test]
fn an_administrator_by_an_edit_of_a_suspended_entry_is_not_left() {
    let mut simulation = Simulation::new();
    simulation.create("root", "role/root", &json!({"groups": ["system:masters"]}));
    simulation.create("dev", "role/dev", &json!({}));
    simulation.settle();
    simulation.edit("dev", |object| object.spec.suspend = true);
    simulation.settle();
    simulation.replace_in_roles("\"g\"", "\"system:masters\"");
    simulation.settle();
    simulation.delete("root");
    simulation.settle();
    let removed = !has(&simulation, "root");
    simulation.edit("dev", |object| object.spec.suspend = false);
    simulation.settle();
    let left = simulation.entries();
    assert!(
        left.iter()
            .any(|(_, _, groups)| groups.contains("system:masters")),
        "root was removed: {removed}; nobody is an administrator: {left:?}"
    );
}

/// The same with an access entry whose repair waits a minute because it is contested.
#[test]
fn an_administrator_by_a_contested_edit_is_not_left() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.create(
        "root",
        "role/root",
        &json!({"accessPolicies": [{"policy": ADMIN_POLICY}]}),
    );
    simulation.create("dev", "role/dev", &json!({}));
    simulation.create("ops", "role/ops", &json!({}));
    simulation.settle();
    let edit = Call::Associate {
        principal_arn: arn("dev"),
        policy_arn: admin_policy(),
        scope: Scope::Cluster,
    };
    for _ in 0..4 {
        simulation.later(70);
        simulation.by_hand(&edit);
        simulation.settle();
    }
    // Contested: the last edit waits for its repair.
    simulation.later(5);
    simulation.by_hand(&edit);
    simulation.settle();
    let waits = !simulation
        .access_entry("role/dev")
        .expect("stands")
        .2
        .is_empty();
    simulation.delete("root");
    simulation.settle();
    simulation.later(120);
    simulation.look();
    simulation.settle();
    let left: Vec<_> = ["root", "dev", "ops"]
        .into_iter()
        .filter_map(|name| Some((name, simulation.access_entry(&format!("role/{name}"))?.2)))
        .collect();
    assert!(
        left.iter().any(|(_, policies)| !policies.is_empty()),
        "the repair waited: {waits}; {left:?}; dev {}",
        simulation.ready("dev")
    );
}

/// A process dies half way through its own change.
#[test]
fn own_changes_half_way_are_no_drift_after_a_restart() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let now = simulation.now;
    simulation.cloud().in_flight = InFlight::since(now);
    simulation.later(300);
    simulation.create("a", "role/a", &json!({}));
    simulation.settle();
    simulation.edit("a", |object| {
        object.spec.groups = vec!["team".to_owned()];
        object.spec.access_policies =
            serde_json::from_value(json!([{"policy": "AmazonEKSViewPolicy"}])).expect("a policy");
    });
    simulation.cloud().slow = true;
    simulation.pass();
    simulation.answer();
    // One of two calls was answered. The process dies.
    simulation.restart();
    simulation.later(60);
    let now = simulation.now;
    let cloud = simulation.cloud();
    cloud.slow = false;
    cloud.known = crate::access_entry::Entries::default();
    cloud.in_flight = InFlight::since(now);
    simulation.look();
    simulation.settle();
    let status = simulation.objects["a"].status.clone().expect("a status");
    assert_eq!(status.last_drift, None);
}

/// Backend ConfigMap with the entry's deletion in flight, lost; then the mapping is deleted. Nothing is left.
#[test]
fn deleted_while_a_handover_back_is_in_flight() {
    for effect in [true, false] {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, FOREIGN);
        let now = simulation.now;
        simulation.cloud().in_flight = InFlight::since(now);
        simulation.later(300);
        simulation.create("a", "role/a", &json!({"backend": "AccessEntry"}));
        simulation.settle();
        simulation.later(100 * 3600);
        simulation.look();
        simulation.settle();
        simulation.edit("a", |object| object.spec.backend = BackendChoice::ConfigMap);
        simulation.settle();
        simulation.later(60);
        simulation.cloud().slow = true;
        simulation.pass();
        simulation.edit("a", |object| object.spec.deletion = Deletion::Retain);
        simulation.delete("a");
        simulation.pass();
        simulation.cloud().slow = false;
        simulation.lose_answers(effect);
        for _ in 0..60 {
            simulation.later(5);
            simulation.look();
            simulation.settle();
        }
        assert!(
            !simulation.objects.contains_key("a"),
            "{effect}: {}",
            simulation.message("a", "Ready")
        );
        assert!(
            has(&simulation, "a") || simulation.access_entry("role/a").is_some(),
            "Retain leaves it, {effect}"
        );
        let tags = simulation
            .cloud()
            .eks
            .entries
            .get(&arn("a"))
            .map(|it| it.tags.clone());
        assert!(
            tags.is_none_or(|tags| tags.is_empty()),
            "a tagged entry is left"
        );
        assert_eq!(simulation.mark(), "");
    }
}

fn await_mass_removal(simulation: &mut Simulation, name: &str) {
    simulation.edit(name, |object| {
        let status = object.status.get_or_insert_default();
        status.awaiting_confirmation = vec!["mass-removal".to_owned()];
    });
}

/// The status of another mapping says that a removal awaits its confirmation.
#[test]
fn a_forged_wait_of_another_mapping_stops_no_removal() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.edit("b", |object| {
        let written = crate::api::v1alpha1::WrittenEntry {
            config_map: Some("kube-system/aws-auth".to_owned()),
            arn: arn("a"),
            username: "a".to_owned(),
            groups: vec!["g".to_owned()],
            ..Default::default()
        };
        object.status.get_or_insert_default().written.push(written);
    });
    await_mass_removal(&mut simulation, "b");
    simulation.delete("a");
    simulation.settle();
    assert!(
        !has(&simulation, "a"),
        "{}",
        simulation.message("a", "Ready")
    );
}

/// The same in its own status.
#[test]
fn a_forged_wait_of_its_own_stops_no_removal() {
    let mut simulation = cluster(&["a", "b"]);
    await_mass_removal(&mut simulation, "a");
    simulation.delete("a");
    simulation.settle();
    simulation.later(7200);
    simulation.restart();
    simulation.settle();
    assert!(
        !has(&simulation, "a"),
        "{}",
        simulation.message("a", "Ready")
    );
}

/// A duplicate may adopt what the older mapping may not.
#[test]
fn the_adoption_of_a_duplicate_adopts_nothing_for_the_older() {
    for backend in ["ConfigMap", "AccessEntry"] {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, FOREIGN);
        simulation.create(
            "root",
            "role/root",
            &json!({"groups": ["system:masters"], "backend": "ConfigMap"}),
        );
        simulation.create("m", "role/ops", &json!({"backend": backend}));
        simulation.settle();
        simulation.create(
            "dup",
            "role/ops",
            &json!({"adoption": "Always", "groups": ["h"]}),
        );
        simulation.settle();
        assert_eq!(
            simulation.access_entry("role/ops"),
            None,
            "{backend} {}",
            simulation.ready("m")
        );
        assert_eq!(simulation.entries()[..2], foreign(), "{backend}");
    }
}

/// An event about some of the held entries, or a listing that lags behind, puts them in doubt.
#[test]
fn what_is_held_stays_held_while_an_entry_is_described_again() {
    for listing in [false, true] {
        let (mut simulation, names) = many_in_eks(20);
        for name in &names[..8] {
            simulation.delete(name);
        }
        simulation.settle();
        assert_eq!(simulation.ready("m00"), "False RemovalNeedsConfirmation");
        simulation.later(60);
        for name in &names[..3] {
            if listing {
                simulation.list_without(&arn(name));
                break;
            }
            let now = simulation.now;
            simulation.cloud().known.doubt(&arn(name), None, now);
        }
        simulation.settle();
        simulation.settle();
        let left = names[..8]
            .iter()
            .filter(|name| simulation.access_entry(&format!("role/{name}")).is_some())
            .count();
        assert_eq!(left, 8, "removed without a confirmation; listing {listing}");
    }
}

/// aws-auth does not parse for longer than removals count.
#[test]
fn what_is_held_stays_held_over_a_text_that_does_not_parse() {
    let names: Vec<String> = (0..20).map(|number| format!("m{number:02}")).collect();
    let mut simulation = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>());
    simulation.settings.repair = Some(crate::observed::Repair::Off);
    for name in &names[..3] {
        simulation.delete(name);
    }
    simulation.settle();
    for name in &names[3..7] {
        simulation.delete(name);
    }
    simulation.settle();
    assert_eq!(simulation.ready("m03"), "False RemovalNeedsConfirmation");
    let text = simulation.roles();
    simulation.vandalise("mapRoles", &format!("{text}\n]"));
    simulation.settle();
    simulation.later(700);
    simulation.settle();
    simulation.vandalise("mapRoles", &text);
    simulation.settle();
    let left = names[3..7]
        .iter()
        .filter(|name| has(&simulation, name))
        .count();
    assert_eq!(left, 4, "removed without a confirmation");
}

/// After a restart nothing is known of EKS before the first listing, or as long as it can't be reached.
#[test]
fn what_is_held_stays_held_while_eks_is_not_known() {
    for unreachable in [false, true] {
        let (mut simulation, names) = many_in_eks(20);
        for name in &names[..8] {
            simulation.delete(name);
        }
        simulation.settle();
        assert_eq!(simulation.ready("m00"), "False RemovalNeedsConfirmation");
        // Confirmed are all but three: few enough to go, were they not held.
        for name in &names[..5] {
            simulation.confirm(name, "mass-removal");
        }
        simulation.settle();
        simulation.later(700);
        simulation.restart();
        let now = simulation.now;
        let failure = Failure {
            kind: FailureKind::Unavailable,
            message: "connection refused".to_owned(),
        };
        if unreachable {
            simulation.astray = Some(AwsState::Unknown { failure });
        }
        let cloud = simulation.cloud();
        cloud.known = Entries::default();
        cloud.in_flight = InFlight::since(now);
        simulation.pass();
        simulation.later(60);
        simulation.astray = None;
        simulation.look();
        simulation.settle();
        let left = names[5..8]
            .iter()
            .filter(|name| simulation.access_entry(&format!("role/{name}")).is_some())
            .count();
        assert_eq!(left, 3, "removed without a confirmation; {unreachable}");
    }
}

/// An author of mappings adds a suspended one for the same principal, and moves the other one away: the new one never had the entry.
#[test]
fn a_suspended_duplicate_keeps_nothing_of_one_that_moved_away() {
    for mode in [None, Some(Mode::Api)] {
        let mut simulation = match mode {
            None => cluster(&[]),
            Some(mode) => Simulation::in_eks(mode, ""),
        };
        for name in ["keep-1", "keep-2", "keep-3"] {
            simulation.create(name, &format!("role/{name}"), &json!({}));
        }
        simulation.create("m", "role/p", &json!({"groups": ["admins"]}));
        simulation.settle();
        simulation.create("n", "role/p", &json!({"groups": ["own"], "suspend": true}));
        simulation.settle();
        simulation.edit("m", |object| {
            object.spec.principal.arn = Some(arn("q"));
            object.spec.groups = vec!["own".to_owned()];
        });
        simulation.later(60);
        simulation.settle();
        simulation.restart();
        simulation.settle();
        let in_eks = mode.is_some() && simulation.cloud().eks.entries.contains_key(&arn("p"));
        assert!(!has(&simulation, "p") && !in_eks, "{mode:?}");
        assert_eq!(simulation.ready("m"), "True InEffect", "{mode:?}");
    }
}

/// An older mapping that can't be put into effect does not make the younger one's entry stay for good.
#[test]
fn an_older_mapping_without_a_backend_erases_no_status() {
    let mut simulation = cluster(&["keep-1", "keep-2", "keep-3"]);
    simulation.create("old", "role/other", &json!({"groups": ["own"]}));
    simulation.settle();
    simulation.later(60);
    simulation.create("m", "role/p", &json!({"groups": ["admins"]}));
    simulation.settle();
    simulation.edit("old", |object| {
        object.spec.principal.arn = Some(arn("p"));
        object.spec.backend = BackendChoice::AccessEntry;
    });
    simulation.settle();
    simulation.restart();
    simulation.settle();
    assert!(has(&simulation, "p"));
    let past = simulation.now;
    simulation.later(60);
    simulation.edit("m", |object| object.spec.valid_until = Some(past.into()));
    simulation.settle();
    assert!(!has(&simulation, "p"), "{:?}", simulation.entries());
}

/// An author of mappings deletes many at once, so that the end of another one is held with them.
#[test]
fn a_mass_removal_keeps_no_access_beyond_an_end_that_was_seen() {
    for deleted in [false, true] {
        let own: Vec<String> = (0..12).map(|number| format!("m{number:02}")).collect();
        let names: Vec<&str> = own.iter().map(String::as_str).collect();
        let mut simulation = cluster(&names);
        let (past, end) = (
            simulation.now,
            simulation.now.plus(jiff::SignedDuration::from_hours(1)),
        );
        let ends = json!({"groups": ["admins"], "validUntil": end});
        simulation.create("m", "role/p", &ends);
        simulation.settle();
        simulation.later(60);
        for name in &names {
            simulation.delete(name);
        }
        if deleted {
            simulation.delete("m");
        } else {
            simulation.edit("m", |object| object.spec.valid_until = Some(past.into()));
        }
        simulation.settle();
        assert!(has(&simulation, "p") && has(&simulation, "m00"), "held");
        simulation.restart();
        simulation.settle();
        assert!(has(&simulation, "p"), "{deleted}");
        simulation.later(3600);
        simulation.settle();
        assert!(!has(&simulation, "p"), "{deleted}");
        assert!(has(&simulation, "m00"), "held until it is confirmed");
    }
}

/// An older mapping wants the principal in aws-auth, where an unmanaged entry is in its way: it does not keep the access entry of one that
/// ends.
#[test]
fn an_older_mapping_in_conflict_keeps_no_access_entry_of_one_that_ends() {
    let text = "- rolearn: arn:aws:iam::111122223333:role/p\n  username: p\n  groups: [other]\n";
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    for name in ["old", "keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    simulation.later(60);
    let spec = json!({"groups": ["admins"], "backend": "AccessEntry"});
    simulation.create("m", "role/p", &spec);
    simulation.settle();
    assert!(simulation.cloud().eks.entries.contains_key(&arn("p")));
    let roles = format!("{text}{}", simulation.roles());
    simulation.vandalise("mapRoles", &roles);
    simulation.settle();
    simulation.edit("old", |object| {
        object.spec.principal.arn = Some(arn("p"));
        object.spec.backend = BackendChoice::ConfigMap;
    });
    simulation.settle();
    let past = simulation.now;
    simulation.later(60);
    simulation.edit("m", |object| object.spec.valid_until = Some(past.into()));
    simulation.settle();
    simulation.later(60);
    simulation.settle();
    assert!(!simulation.cloud().eks.entries.contains_key(&arn("p")));
}
