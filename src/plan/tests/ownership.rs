//! Ownership, sameness, adoption, deletion.

use serde_json::json;

use super::{FOREIGN, cluster, entry, foreign};
use crate::access_entry::{Call, INSTALLATION_TAG};
use crate::api::v1alpha1::CONFIRM_ANNOTATION;
use crate::observed::Mode;
use crate::ownership::MARK_ANNOTATION;
use crate::plan::WriteFailure;
use crate::plan::simulation::Simulation;

#[test]
fn deleting_a_mapping_takes_its_entry_and_nothing_else() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.delete("a");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries()[2..], [entry("role/b", "b", "g")]);
    assert!(simulation.roles().starts_with(FOREIGN));
    assert!(!simulation.objects.contains_key("a"));
}

#[test]
fn retain_leaves_the_entry_as_an_unmanaged_one() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.edit("a", |object| {
        object.spec.deletion = crate::api::v1alpha1::Deletion::Retain;
    });
    simulation.settle();
    let text = simulation.roles();
    simulation.delete("a");
    simulation.settle();
    assert_eq!(simulation.roles(), text);
    assert_eq!(simulation.mark().split(' ').count(), 1);
    assert!(!simulation.objects.contains_key("a"));
}

#[test]
fn a_lost_mark_is_not_lost_ownership() {
    let mut simulation = cluster(&["a", "b"]);
    simulation
        .config_map
        .as_mut()
        .expect("exists")
        .annotations
        .clear();
    simulation.delete("a");
    simulation.restart();
    simulation.settle();
    assert_eq!(simulation.entries()[2..], [entry("role/b", "b", "g")]);
    assert_eq!(simulation.mark().split(' ').count(), 1, "b is marked again");
}

#[test]
fn an_unmarked_entry_that_differs_is_a_conflict_and_stays_when_the_mapping_is_deleted() {
    let mut simulation = cluster(&["a"]);
    simulation
        .config_map
        .as_mut()
        .expect("exists")
        .annotations
        .clear();
    simulation.replace_in_roles("\"a\"", "\"other\"");
    simulation.restart();
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("a"), "False UnmanagedEntry");
    simulation.delete("a");
    simulation.settle();
    assert!(!simulation.objects.contains_key("a"));
    assert_eq!(simulation.entries()[2..], [entry("role/a", "other", "g")]);
    let event = simulation
        .events
        .iter()
        .find(|event| event.reason.as_str() == "EntryKept");
    let note = &event.expect("told").note;
    assert!(
        note.contains("mapRoles line") && note.contains("stays"),
        "{note}"
    );
}

#[test]
fn adoption() {
    let foreign_entry = |username: &str| {
        format!(
            "- rolearn: arn:aws:iam::111122223333:role/a\n  username: {username}\n  groups: [g]\n"
        )
    };
    // adoption, username that stands, Ready, Synced, username after, stands after deletion
    let cases = [
        (
            "IfIdentical",
            "a",
            "True InEffect",
            "True Synced",
            "a",
            false,
        ),
        (
            "IfIdentical",
            "other",
            "False UnmanagedEntry",
            "False UnmanagedEntry",
            "other",
            true,
        ),
        ("Always", "a", "True InEffect", "True Synced", "a", false),
        (
            "Always",
            "other",
            "True InEffect",
            "True Synced",
            "a",
            false,
        ),
        ("Never", "a", "True InEffect", "False NotManaged", "a", true),
        (
            "Never",
            "other",
            "False UnmanagedEntry",
            "False UnmanagedEntry",
            "other",
            true,
        ),
    ];
    for (adoption, stands, ready, synced, after, stays) in cases {
        let mut simulation = Simulation::with_roles(&foreign_entry(stands));
        simulation.create("a", "role/a", &json!({"adoption": adoption}));
        simulation.settle();
        let case = format!("{adoption} {stands}");
        assert_eq!(simulation.ready("a"), ready, "{case}");
        assert_eq!(simulation.condition("a", "Synced"), synced, "{case}");
        assert_eq!(
            simulation.entries(),
            [entry("role/a", after, "g")],
            "{case}"
        );
        if after == stands {
            assert_eq!(
                simulation.roles(),
                foreign_entry(stands),
                "{case}: what is right keeps its bytes"
            );
        }
        simulation.delete("a");
        simulation.settle();
        assert!(!simulation.objects.contains_key("a"), "{case}");
        assert_eq!(simulation.entries().len(), usize::from(stays), "{case}");
    }
}

#[test]
fn an_entry_that_never_matches_is_no_conflict_and_is_named() {
    let mut simulation = Simulation::with_roles(
        "- rolearn: arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef\n  username: x\n",
    );
    simulation.create(
        "a",
        "role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef",
        &json!({}),
    );
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    assert!(
        simulation.message("a", "Synced").contains("line 1"),
        "{}",
        simulation.message("a", "Synced")
    );
    assert_eq!(simulation.entries().len(), 2);
    simulation.delete("a");
    simulation.settle();
    assert_eq!(
        simulation.entries().len(),
        1,
        "the dead foreign entry stays"
    );
}

#[test]
fn a_managed_entry_moves_behind_an_unmanaged_duplicate() {
    let mut simulation = cluster(&["a", "b"]);
    let text = format!(
        "{}- rolearn: arn:aws:iam::111122223333:role/A\n  username: intruder\n",
        simulation.roles()
    );
    simulation.vandalise("mapRoles", &text);
    assert_eq!(simulation.settle(), 1);
    assert_eq!(
        simulation.entries()[3..],
        [entry("role/A", "intruder", ""), entry("role/a", "a", "g")]
    );
    assert_eq!(simulation.ready("a"), "True InEffect");
    let drift = simulation.objects["a"]
        .status
        .clone()
        .and_then(|status| status.last_drift)
        .expect("reported");
    assert_eq!(drift.manager, "vandal");
}

#[test]
fn ours_is_shadowed_where_moving_would_unseat_a_node_or_the_last_administrator() {
    for behind in [
        "  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:nodes]\n",
        "  username: x\n  groups: [system:masters]\n",
    ] {
        let mut simulation = Simulation::new();
        simulation.create("a", "role/a", &json!({}));
        simulation.settle();
        let text = format!(
            "{}- rolearn: arn:aws:iam::111122223333:role/a\n{behind}",
            simulation.roles()
        );
        simulation.vandalise("mapRoles", &text);
        assert_eq!(simulation.settle(), 0, "{behind}");
        assert_eq!(simulation.ready("a"), "False Shadowed", "{behind}");
    }
}

#[test]
fn a_case_variant_of_a_user_and_an_entry_in_the_other_list_shadow() {
    let mut simulation = Simulation::new();
    simulation.create("bob", "user/bob", &json!({}));
    simulation.create("eve", "user/eve", &json!({}));
    simulation.settle();
    let users = simulation.config_map.as_ref().expect("exists").data["mapUsers"].clone();
    simulation.vandalise(
        "mapUsers",
        &format!("{users}- userarn: arn:aws:iam::111122223333:user/BOB\n  username: x\n"),
    );
    simulation.vandalise(
        "mapRoles",
        "- rolearn: arn:aws:iam::111122223333:user/eve\n  username: x\n",
    );
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("bob"), "False Shadowed");
    assert!(
        simulation.message("bob", "Ready").contains("mapUsers line"),
        "{}",
        simulation.message("bob", "Ready")
    );
    assert_eq!(simulation.ready("eve"), "False Shadowed");
    assert!(
        simulation
            .message("eve", "Ready")
            .contains("mapRoles line 1"),
        "{}",
        simulation.message("eve", "Ready")
    );
}

#[test]
fn a_reformatting_is_no_drift() {
    let mut simulation = cluster(&["a"]);
    let text = format!(
        "{FOREIGN}- {{groups: [g, 'g'], username: a, RoleArn: arn:aws:iam::111122223333:role/A}}  # tidied\n"
    );
    simulation.vandalise("mapRoles", &text);
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.roles(), text);
    assert_eq!(simulation.ready("a"), "True InEffect");
}

#[test]
fn orphans_stay_until_the_history_confirms_their_very_set() {
    let mut simulation = cluster(&["a", "b", "c"]);
    simulation.objects.remove("a");
    simulation.restart();
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.entries().len(), 5);
    let only_a = simulation.orphan_word();
    // Another word, or the name of another set, confirms nothing.
    simulation.objects.remove("b");
    for word in ["mass-removal", &only_a] {
        simulation.annotate_history(CONFIRM_ANNOTATION, word);
        assert_eq!(simulation.settle(), 0, "{word}");
        assert_eq!(
            simulation.history_annotation(CONFIRM_ANNOTATION),
            Some(word),
            "it was of no use yet"
        );
    }
    let both = simulation.orphan_word();
    assert_ne!(both, only_a);
    simulation.annotate_history(CONFIRM_ANNOTATION, &both);
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries()[2..], [entry("role/c", "c", "g")]);
    assert_eq!(simulation.history_annotation(CONFIRM_ANNOTATION), None);
}

#[test]
fn a_confirmation_of_orphans_is_used_up_by_success_alone() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.objects.remove("a");
    simulation.settle();
    let word = simulation.orphan_word();
    simulation.annotate_history(CONFIRM_ANNOTATION, &word);
    simulation.write_failure = Some(WriteFailure::Unavailable("down".to_owned()));
    simulation.pass();
    simulation.restart();
    simulation.pass();
    assert_eq!(simulation.entries().len(), 4);
    assert_eq!(
        simulation.history_annotation(CONFIRM_ANNOTATION),
        Some(word.as_str())
    );
    simulation.write_failure = None;
    simulation.pass();
    assert_eq!(simulation.entries().len(), 3);
    // The process dies before it takes the annotation off.
    simulation.restart();
    simulation.settle();
    assert_eq!(simulation.history_annotation(CONFIRM_ANNOTATION), None);
}

#[test]
fn removing_everything_keeps_unmanaged_bytes() {
    let mut simulation = cluster(&["a", "b"]);
    for name in ["a", "b"] {
        simulation.delete(name);
        simulation.settle();
    }
    assert_eq!(simulation.roles(), FOREIGN);
    assert_eq!(simulation.entries(), foreign());
    assert!(
        !simulation
            .config_map
            .as_ref()
            .expect("exists")
            .annotations
            .contains_key(MARK_ANNOTATION)
    );
}

#[test]
fn a_mapping_that_names_a_marked_key_and_cannot_be_put_into_effect_takes_nothing_away() {
    // A restore brings the specs back without their statuses, and one of them is refused or suspended meanwhile.
    for spec in [json!({"groups": ["{{Nope}}"]}), json!({"suspend": true})] {
        let mut simulation = cluster(&["a", "b"]);
        simulation.objects.remove("a");
        simulation.create("again", "role/a", &spec);
        simulation.restart();
        simulation.settle();
        assert_eq!(simulation.entries()[2], entry("role/a", "a", "g"));
    }
}

#[test]
fn a_duplicate_that_wrote_nothing_goes_whatever_befalls_the_holder() {
    let mut simulation = cluster(&["old"]);
    simulation.create("young", "role/old", &json!({}));
    simulation.settle();
    simulation.edit("young", |object| {
        object.metadata.finalizers = Some(vec![
            crate::api::finalizer::Finalizer::AwsAuth
                .as_str()
                .to_owned(),
        ]);
    });
    simulation.write_failure = Some(WriteFailure::Unavailable("down".to_owned()));
    simulation.edit("old", |object| object.spec.groups = vec!["h".to_owned()]);
    simulation.delete("young");
    simulation.settle();
    assert!(!simulation.objects.contains_key("young"));
}

#[test]
fn lost_tags_are_not_lost_ownership_and_are_reported_as_drift() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let alice = "arn:aws:iam::111122223333:role/alice";
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    let drift = |simulation: &Simulation| {
        let status = simulation.objects["alice"].status.as_ref();
        status.and_then(|status| status.last_drift.clone())
    };
    assert_eq!(drift(&simulation), None);
    let entry_arn = simulation.cloud().eks.entries[alice].arn.clone();
    simulation.by_hand(&Call::Untag {
        principal_arn: alice.to_owned(),
        entry_arn,
        keys: [INSTALLATION_TAG.to_owned()].into(),
    });
    simulation.restart();
    simulation.settle();
    assert_eq!(simulation.calls(), ["TagResource alice"]);
    assert_eq!(simulation.condition("alice", "Synced"), "True Synced");
    assert_eq!(
        drift(&simulation).expect("a drift").what,
        "the access entry had lost its tag identity-mapper.dev/installation"
    );
}
