//! Node entries, the last administrator, mass removal, the CRD going.

use serde_json::json;

use super::{FOREIGN, cluster, entry, foreign};
use crate::access_entry::{Failure, FailureKind};
use crate::api::condition::Reason;
use crate::api::v1alpha1::EntryType;
use crate::observed::{BindingSubjects, Handover, Mode, Unreachable};
use crate::plan::simulation::Simulation;

#[test]
fn a_node_entry_is_removed_only_when_confirmed() {
    let mut simulation = cluster(&[]);
    simulation.create(
        "n",
        "role/n",
        &json!({"type": "EC2Linux", "username": null, "groups": null}),
    );
    simulation.settle();
    simulation.delete("n");
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("n"), "False RemovalNeedsConfirmation");
    assert_eq!(
        simulation.objects["n"]
            .status
            .clone()
            .expect("written")
            .awaiting_confirmation,
        ["node-entry"]
    );
    assert_eq!(
        simulation
            .events
            .iter()
            .filter(|event| event.reason.as_str() == "RemovalNeedsConfirmation")
            .count(),
        1
    );
    simulation.confirm("n", "node-entry");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries(), foreign());
}

#[test]
fn a_node_entry_is_made_or_changed_by_a_standard_mapping_only_when_confirmed() {
    let mut simulation = cluster(&[]);
    simulation.create("n", "role/n", &json!({"groups": ["system:nodes"]}));
    simulation.create("node", "role/node", &json!({"adoption": "Always"}));
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("n"), "False NodeEntryNeedsConfirmation");
    assert_eq!(simulation.ready("node"), "False NodeEntryNeedsConfirmation");
    simulation.confirm("n", "node-entry");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(
        simulation.entries()[2],
        entry("role/n", "n", "system:nodes")
    );
}

#[test]
fn an_administrator_by_drift_is_no_last_administrator() {
    let mut simulation = Simulation::new();
    simulation.create("dev", "role/dev", &json!({}));
    simulation.settle();
    simulation.replace_in_roles("\"g\"", "\"system:masters\"");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries(), [entry("role/dev", "dev", "g")]);
    assert_eq!(simulation.ready("dev"), "True InEffect");
}

#[test]
fn the_last_administrator_is_removed_or_changed_only_when_confirmed() {
    let mut simulation = Simulation::new();
    simulation.create("root", "role/root", &json!({"groups": ["system:masters"]}));
    simulation.create("dev", "role/dev", &json!({}));
    simulation.settle();
    simulation.edit("root", |object| object.spec.groups = vec!["g".to_owned()]);
    assert_eq!(simulation.settle(), 0);
    assert_eq!(
        simulation.condition("root", "Synced"),
        "False RemovalNeedsConfirmation"
    );
    simulation.delete("root");
    assert_eq!(simulation.settle(), 0);
    simulation.confirm("root", "last-administrator, mass-removal");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries(), [entry("role/dev", "dev", "g")]);
}

#[test]
fn all_removals_of_administrators_are_held_where_none_would_be_left() {
    let mut simulation = Simulation::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let groups = if matches!(name, "a" | "b") {
            "admins"
        } else {
            "g"
        };
        simulation.create(name, &format!("role/{name}"), &json!({"groups": [groups]}));
    }
    simulation.bindings.push(BindingSubjects {
        groups: ["admins".to_owned()].into(),
        users: [].into(),
        cluster_admin: true,
    });
    simulation.settle();
    simulation.delete("a");
    simulation.delete("b");
    simulation.delete("c");
    simulation.settle();
    assert_eq!(simulation.ready("a"), "False RemovalNeedsConfirmation");
    assert_eq!(simulation.ready("b"), "False RemovalNeedsConfirmation");
    assert!(!simulation.objects.contains_key("c"), "others go on");
    simulation.confirm("b", "last-administrator");
    simulation.settle();
    assert!(
        !simulation.objects.contains_key("b"),
        "a is still an administrator"
    );
    assert_eq!(simulation.ready("a"), "False RemovalNeedsConfirmation");
}

#[test]
fn dead_and_shadowed_administrators_do_not_count() {
    let mut simulation = Simulation::with_roles(
        "- rolearn: arn:aws:iam::111122223333:role/path/left/in\n  username: x\n  groups: [system:masters]\n\
         - rolearn: arn:aws:sts::111122223333:assumed-role/a/s\n  username: x\n  groups: [system:masters]\n\
         - sso: {permissionSetName: Admin, accountID: \"111122223333\"}\n  username: x\n  groups: [system:masters]\n",
    );
    simulation.create("root", "role/root", &json!({"groups": ["system:masters"]}));
    simulation.settle();
    simulation.delete("root");
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("root"), "False RemovalNeedsConfirmation");
}

#[test]
fn an_administrator_without_a_username_counts() {
    let mut simulation = Simulation::with_roles(
        "- rolearn: arn:aws:iam::111122223333:role/nameless\n  groups: [system:masters]\n",
    );
    simulation.create("root", "role/root", &json!({"groups": ["system:masters"]}));
    simulation.settle();
    simulation.delete("root");
    assert_eq!(simulation.settle(), 1);
    assert!(!simulation.objects.contains_key("root"));
}

#[test]
fn valid_until_says_in_time_that_the_removal_will_be_held() {
    let mut simulation = Simulation::new();
    let until = simulation.now.plus(jiff::SignedDuration::from_secs(60));
    simulation.create(
        "root",
        "role/root",
        &json!({"groups": ["system:masters"], "validUntil": until}),
    );
    simulation.settle();
    assert_eq!(simulation.condition("root", "Accepted"), "True Accepted");
    assert!(
        simulation
            .message("root", "Accepted")
            .contains("last-administrator"),
        "{}",
        simulation.message("root", "Accepted")
    );
    simulation.later(61);
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("root"), "False RemovalNeedsConfirmation");
    simulation.confirm("root", "last-administrator");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.ready("root"), "True Expired");
}

fn twenty() -> (Simulation, Vec<String>) {
    let names: Vec<String> = (0..20).map(|number| format!("m{number:02}")).collect();
    (
        cluster(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        names,
    )
}

#[test]
fn a_mass_removal_is_held_whole_over_time_and_restarts_until_confirmed() {
    let (mut simulation, names) = twenty();
    for name in &names[..8] {
        simulation.delete(name);
    }
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("m00"), "False RemovalNeedsConfirmation");
    simulation.restart();
    simulation.later(3600);
    for name in &names[2..8] {
        simulation.confirm(name, "mass-removal");
    }
    simulation.settle();
    assert_eq!(
        simulation.entries().len(),
        2 + 14,
        "the confirmed ones are gone, the two others stay held"
    );
    assert_eq!(simulation.ready("m01"), "False RemovalNeedsConfirmation");
    simulation.create("new", "role/new", &json!({}));
    assert_eq!(simulation.settle(), 1, "additions go on");
}

#[test]
fn removals_count_over_passes_and_restarts() {
    let (mut simulation, names) = twenty();
    for (number, name) in names.iter().take(6).enumerate() {
        simulation.delete(name);
        simulation.settle();
        simulation.later(30);
        simulation.restart();
        assert_eq!(simulation.objects.contains_key(name), number == 5, "{name}");
    }
    simulation.later(600);
    simulation.delete("m10");
    simulation.settle();
    assert!(
        !simulation.objects.contains_key("m10"),
        "the window has passed"
    );
    assert_eq!(
        simulation.ready("m05"),
        "False RemovalNeedsConfirmation",
        "what is held stays held"
    );
}

#[test]
fn what_was_seen_to_expire_does_not_count_but_a_past_time_does() {
    let (mut simulation, names) = twenty();
    // Ten minutes before it passes is well in time.
    let until = simulation.now.plus(jiff::SignedDuration::from_secs(660));
    for name in &names[..8] {
        simulation.edit(name, |object| object.spec.valid_until = Some(until.into()));
    }
    simulation.settle();
    simulation.restart();
    simulation.later(661);
    simulation.settle();
    assert_eq!(simulation.entries().len(), 2 + 12);
    for name in &names[8..16] {
        simulation.edit(name, |object| object.spec.valid_until = Some(until.into()));
    }
    simulation.settle();
    assert_eq!(simulation.entries().len(), 2 + 12);
    assert_eq!(simulation.ready("m08"), "False RemovalNeedsConfirmation");
}

#[test]
fn retain_releases_many_mappings_and_keeps_their_entries() {
    let (mut simulation, names) = twenty();
    for name in &names {
        simulation.edit(name, |object| {
            object.spec.deletion = crate::api::v1alpha1::Deletion::Retain;
        });
    }
    simulation.settle();
    let text = simulation.roles();
    for name in &names {
        simulation.delete(name);
    }
    simulation.settle();
    assert!(simulation.objects.is_empty());
    assert_eq!(simulation.roles(), text);
}

#[test]
fn nothing_is_revoked_while_the_crd_is_being_deleted() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.crd_deleting = true;
    simulation.delete("a");
    simulation.delete("b");
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.entries().len(), 4);
    assert_eq!(simulation.ready("a"), "False RemovalNeedsConfirmation");
}

#[test]
fn held_removals_are_not_repaired_and_others_are() {
    let mut simulation = cluster(&["b"]);
    simulation.create(
        "n",
        "role/n",
        &json!({"type": "EC2Linux", "username": null, "groups": null}),
    );
    simulation.settle();
    simulation.delete("n");
    simulation.settle();
    simulation.vandalise("mapRoles", FOREIGN);
    simulation.settle();
    assert_eq!(simulation.entries()[2..], [entry("role/b", "b", "g")]);
    assert!(
        !simulation.objects.contains_key("n"),
        "what someone else removed needs no removal"
    );
}

#[test]
fn drift_is_no_way_around_a_guard() {
    let mut simulation = Simulation::new();
    simulation.create("root", "role/root", &json!({"groups": ["system:masters"]}));
    simulation.settle();
    simulation.replace_in_roles("\"root\"", "\"changed\"");
    simulation.edit("root", |object| object.spec.groups = vec!["g".to_owned()]);
    assert_eq!(simulation.settle(), 0);
    assert_eq!(
        simulation.condition("root", "Synced"),
        "False RemovalNeedsConfirmation"
    );
}

#[test]
fn an_entry_that_never_matches_hides_no_removal() {
    let names = ["a", "b", "c"];
    let dead = |name: &&str| {
        format!("- rolearn: arn:aws:iam::111122223333:role/path/{name}\n  username: x\n")
    };
    let mut simulation = Simulation::with_roles(&names.iter().map(dead).collect::<String>());
    for name in names {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    for name in names {
        simulation.delete(name);
    }
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("a"), "False RemovalNeedsConfirmation");
}

#[test]
fn a_node_type_that_becomes_standard_names_its_confirmation_in_every_mode() {
    let both = Mode::ApiAndConfigMap;
    for (before, mode, backend, handover) in [
        (Mode::ConfigMap, Mode::ConfigMap, "Auto", Handover::Manual),
        (both, both, "ConfigMap", Handover::Manual),
        (both, both, "AccessEntry", Handover::Manual),
        (both, both, "Auto", Handover::Manual),
        // From aws-auth, where it stays, and with an access entry beside it.
        (Mode::ConfigMap, both, "Auto", Handover::Manual),
        (Mode::ConfigMap, both, "Auto", Handover::Auto),
        (Mode::Api, Mode::Api, "Auto", Handover::Manual),
    ] {
        let what = format!("{before} {mode} {backend} {handover}");
        let mut simulation = Simulation::in_eks(before, "");
        simulation.settings.handover = handover;
        let nodes =
            json!({"type": "EC2Linux", "username": null, "groups": null, "backend": backend});
        simulation.create("n", "role/n", &nodes);
        simulation.settle();
        simulation.later(3600);
        simulation.cloud().mode = mode;
        simulation.look();
        simulation.settle();
        assert_eq!(simulation.ready("n"), "True InEffect", "{what}");
        simulation.edit("n", |object| {
            object.spec.type_ = EntryType::Standard;
            object.spec.username = Some("people".to_owned());
            object.spec.groups = vec!["team".to_owned()];
        });
        let minutes = |simulation: &mut Simulation| {
            for _ in 0..5 {
                simulation.settle();
                simulation.later(60);
            }
        };
        minutes(&mut simulation);
        let message = simulation.message("n", "Synced");
        let word = "identity-mapper.dev/confirm=node-entry";
        assert!(message.contains(word), "{what}: {message}");
        let status = simulation.objects["n"].status.clone().unwrap_or_default();
        assert_eq!(status.awaiting_confirmation, ["node-entry"], "{what}");
        simulation.confirm("n", "node-entry");
        minutes(&mut simulation);
        assert_eq!(simulation.ready("n"), "True InEffect", "{what}");
        assert_eq!(simulation.condition("n", "Synced"), "True Synced", "{what}");
    }
}

#[test]
fn a_removal_that_eks_cannot_confirm_names_the_word_that_ends_it() {
    for deletion in ["Revoke", "Retain"] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        simulation.create("alice", "role/alice", &json!({ "deletion": deletion }));
        simulation.settle();
        let read = simulation.now;
        simulation.cloud().unreachable = Some(Unreachable {
            read,
            failure: Failure {
                kind: FailureKind::Unavailable,
                message: "no route".to_owned(),
            },
        });
        simulation.delete("alice");
        simulation.settle();
        assert_eq!(
            simulation.ready("alice"),
            "False RemovalNeedsConfirmation",
            "{deletion}"
        );
        let message = simulation.message("alice", "Ready");
        assert!(
            message.contains("unverified-removal") && message.contains("no route"),
            "{message}"
        );
        let status = simulation.objects["alice"].status.clone().expect("written");
        assert_eq!(status.awaiting_confirmation, ["unverified-removal"]);
        simulation.confirm("alice", "unverified-removal");
        simulation.settle();
        assert!(simulation.objects.is_empty());
        assert!(simulation.told("alice", Reason::EntryKept));
    }
}

/// The definition is being deleted, and its objects go one after the other. One that declares the same principal and can't be put into
/// effect is still there.
#[test]
fn while_the_definition_goes_a_duplicate_that_holds_nothing_lets_nothing_be_revoked() {
    for duplicate in [false, true] {
        let mut simulation = Simulation::with_roles("");
        simulation.create("a", "role/dev", &json!({}));
        simulation.settle();
        if duplicate {
            simulation.create("b", "role/dev", &json!({"backend": "AccessEntry"}));
            simulation.settle();
        }
        simulation.crd_deleting = true;
        simulation.delete("a");
        simulation.pass();
        assert!(
            simulation.roles().contains("role/dev"),
            "duplicate {duplicate}: revoked while the definition is being deleted"
        );
    }
}
