//! Access entries: made, kept, put right, taken away, in API mode.

use serde_json::json;

use crate::access_entry::{Call, FailureKind, Kind, Scope};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, EntryType};
use crate::observed::Mode;
use crate::plan::simulation::Simulation;

const ALICE: &str = "arn:aws:iam::111122223333:role/alice";

fn api() -> Simulation {
    Simulation::in_eks(Mode::Api, "")
}

/// A foreign entry, as a person would make it.
pub(super) fn foreign(simulation: &mut Simulation, role: &str, username: &str, groups: &[&str]) {
    simulation.by_hand(&Call::Create {
        principal_arn: format!("arn:aws:iam::111122223333:{role}"),
        kind: Kind::Known(EntryType::Standard),
        username: Some(username.to_owned()),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        tags: [].into(),
    });
}

#[test]
fn an_entry_is_made_with_its_policies_and_nothing_more_is_asked() {
    let mut simulation = api();
    simulation.create(
        "alice",
        "role/alice",
        &json!({"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]}),
    );
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["CreateAccessEntry alice", "AssociateAccessPolicy alice"]
    );
    assert_eq!(
        simulation.access_entry("role/alice"),
        Some((
            "alice".to_owned(),
            vec!["g".to_owned()],
            vec!["AmazonEKSViewPolicy in cluster".to_owned()]
        ))
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
    assert_eq!(simulation.condition("alice", "Synced"), "True Synced");
    let status = simulation.objects["alice"].status.clone().expect("written");
    assert_eq!(
        status.backend,
        Some(crate::api::v1alpha1::Backend::AccessEntry)
    );
    assert!(status.access_entry_arn.is_some());
    assert!(status.last_synced.is_some());
    assert_eq!(simulation.roles(), "", "aws-auth is not read in this mode");
}

#[test]
fn a_change_of_the_spec_is_made_in_place() {
    let mut simulation = api();
    simulation.create(
        "alice",
        "role/alice",
        &json!({"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]}),
    );
    simulation.settle();
    simulation.calls();
    simulation.edit("alice", |object| {
        object.spec.groups = vec!["h".to_owned()];
        object.spec.access_policies[0].policy = "AmazonEKSEditPolicy".to_owned();
    });
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        [
            "AssociateAccessPolicy alice",
            "UpdateAccessEntry alice",
            "DisassociateAccessPolicy alice"
        ]
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn deleting_a_mapping_deletes_its_entry_and_no_other() {
    let mut simulation = api();
    foreign(&mut simulation, "role/ops", "ops", &["o"]);
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    simulation.delete("alice");
    simulation.settle();
    assert_eq!(simulation.calls(), ["DeleteAccessEntry alice"]);
    assert!(simulation.objects.is_empty());
    assert!(simulation.access_entry("role/ops").is_some());
}

#[test]
fn retain_takes_the_tags_off_and_leaves_the_entry() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({"deletion": "Retain"}));
    simulation.settle();
    simulation.calls();
    simulation.delete("alice");
    simulation.settle();
    assert_eq!(simulation.calls(), ["UntagResource alice"]);
    assert!(simulation.objects.is_empty());
    assert!(simulation.access_entry("role/alice").is_some());
}

#[test]
fn what_someone_else_changed_is_repaired_once_and_reported() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    simulation.events.clear();
    simulation.by_hand(&Call::Update {
        principal_arn: ALICE.to_owned(),
        username: Some("mallory".to_owned()),
        groups: ["g".to_owned(), "more".to_owned()].into(),
    });
    simulation.settle();
    assert_eq!(simulation.calls(), ["UpdateAccessEntry alice"]);
    let notes: Vec<&str> = simulation
        .events
        .iter()
        .map(|event| event.note.as_str())
        .collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("mallory"), "{notes:?}");
    let status = simulation.objects["alice"].status.clone().expect("written");
    assert!(
        status
            .last_drift
            .expect("recorded")
            .what
            .contains("group \"more\" added")
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn a_deleted_entry_is_made_again_and_a_fight_is_fought_once_a_minute() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    let delete = Call::Delete {
        principal_arn: ALICE.to_owned(),
    };
    for _ in 0..3 {
        simulation.later(1);
        simulation.by_hand(&delete);
        simulation.pass();
        assert_eq!(simulation.calls(), ["CreateAccessEntry alice"]);
        simulation.pass();
        simulation.later(5);
    }
    simulation.by_hand(&delete);
    simulation.pass();
    assert!(simulation.calls().is_empty(), "it is contested now");
    assert_eq!(simulation.ready("alice"), "False Contested");
    simulation.later(60);
    simulation.pass();
    assert_eq!(simulation.calls(), ["CreateAccessEntry alice"]);
    simulation.later(16 * 60);
    simulation.pass();
    simulation.pass();
    assert_eq!(simulation.ready("alice"), "True InEffect");
    assert_eq!(simulation.condition("alice", "Contested"), "");
}

#[test]
fn unmanaged_entries_are_adopted_as_the_spec_says() {
    // adoption, the foreign entry's group, Ready, Synced, the calls
    let cases = [
        (
            "IfIdentical",
            "g",
            "True InEffect",
            "True Synced",
            vec!["TagResource alice"],
        ),
        (
            "IfIdentical",
            "x",
            "False UnmanagedEntry",
            "False UnmanagedEntry",
            vec![],
        ),
        (
            "Always",
            "x",
            "True InEffect",
            "True Synced",
            vec!["TagResource alice", "UpdateAccessEntry alice"],
        ),
        ("Never", "g", "True InEffect", "False NotManaged", vec![]),
        (
            "Never",
            "x",
            "False UnmanagedEntry",
            "False UnmanagedEntry",
            vec![],
        ),
    ];
    for (adoption, group, ready, synced, calls) in cases {
        let mut simulation = api();
        foreign(&mut simulation, "role/alice", "alice", &[group]);
        simulation.create("alice", "role/alice", &json!({"adoption": adoption}));
        simulation.settle();
        assert_eq!(simulation.calls(), calls, "{adoption} {group}");
        assert_eq!(simulation.ready("alice"), ready, "{adoption} {group}");
        assert_eq!(
            simulation.condition("alice", "Synced"),
            synced,
            "{adoption} {group}"
        );
        simulation.delete("alice");
        simulation.settle();
        let stays = synced != "True Synced";
        assert_eq!(
            simulation.access_entry("role/alice").is_some(),
            stays,
            "{adoption} {group}"
        );
    }
}

#[test]
fn an_untagged_entry_that_differs_is_a_conflict_and_stays_when_the_mapping_is_deleted() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.by_hand(&Call::Delete {
        principal_arn: ALICE.to_owned(),
    });
    foreign(&mut simulation, "role/alice", "mallory", &[]);
    simulation.calls();
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.ready("alice"), "False UnmanagedEntry");
    simulation.events.clear();
    simulation.delete("alice");
    simulation.settle();
    assert!(simulation.objects.is_empty());
    assert!(simulation.access_entry("role/alice").is_some());
    let told: Vec<(Reason, &str)> = simulation
        .events
        .iter()
        .map(|event| (event.reason, event.note.as_str()))
        .collect();
    assert!(
        matches!(told.as_slice(), [(Reason::EntryKept, note)]
            if note.starts_with("the access entry of arn:aws:iam::111122223333:role/alice differs")),
        "{told:?}"
    );
}

#[test]
fn removing_an_access_entry_exposes_what_aws_auth_grants() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.vandalise(
        "mapRoles",
        &format!("- {{rolearn: '{ALICE}', username: back, groups: [door]}}\n"),
    );
    simulation.settle();
    simulation.events.clear();
    simulation.delete("alice");
    simulation.settle();
    assert!(simulation.access_entry("role/alice").is_none());
    let told: Vec<(Reason, &str)> = simulation
        .events
        .iter()
        .map(|event| (event.reason, event.note.as_str()))
        .collect();
    assert!(
        matches!(told.as_slice(), [(Reason::StillGranted, note)] if note.contains("mapRoles line 1 still grants")),
        "{told:?}"
    );
}

#[test]
fn a_moved_mapping_gets_the_new_entry_before_it_loses_the_old_one() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    simulation.edit("alice", |object| {
        object.spec.principal.arn = Some("arn:aws:iam::111122223333:role/bob".to_owned());
    });
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["CreateAccessEntry bob", "DeleteAccessEntry alice"]
    );
}

#[test]
fn an_unknown_principal_is_retried_and_then_reported() {
    let mut simulation = api();
    simulation.cloud().principals = Some([].into());
    simulation.create("alice", "role/alice", &json!({}));
    simulation.pass();
    simulation.pass();
    assert_eq!(simulation.ready("alice"), "False PrincipalInvalid");
    assert_eq!(
        simulation.condition("alice", "Reconciling"),
        "True PrincipalInvalid"
    );
    simulation.later(121);
    simulation.pass();
    simulation.pass();
    assert_eq!(
        simulation.condition("alice", "Stalled"),
        "True PrincipalInvalid"
    );
    let message = simulation.message("alice", "Ready");
    assert!(message.contains("the operator is reading IAM"), "{message}");
    let now = simulation.now;
    simulation.cloud().iam_lists(&[], now);
    simulation.pass();
    let message = simulation.message("alice", "Ready");
    assert!(message.contains("does not list it"), "{message}");
    simulation.cloud().iam = crate::observed::Iam::default();
    simulation.cloud().principals = None;
    simulation.later(2);
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn a_call_of_unknown_effect_is_verified_and_not_repeated() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    simulation
        .cloud()
        .failures
        .push(("UpdateAccessEntry", FailureKind::Unavailable));
    simulation.edit("alice", |object| object.spec.groups = vec!["h".to_owned()]);
    simulation.pass();
    simulation.later(2);
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        [
            "UpdateAccessEntry alice",
            "DescribeAccessEntry alice",
            "UpdateAccessEntry alice"
        ]
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn a_type_is_changed_by_deleting_and_creating_again_only_where_that_is_confirmed_for_nodes() {
    let mut simulation = api();
    simulation.create(
        "alice",
        "role/alice",
        &json!({"type": "EC2Linux", "username": null, "groups": null}),
    );
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "True InEffect");
    simulation.calls();
    simulation.edit("alice", |object| object.spec.type_ = EntryType::Standard);
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(
        simulation.condition("alice", "Synced"),
        "False RemovalNeedsConfirmation"
    );
    simulation.confirm("alice", "node-entry");
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["DeleteAccessEntry alice", "CreateAccessEntry alice"]
    );
}

#[test]
fn the_last_administrator_stays() {
    let mut simulation = api();
    simulation.create(
        "alice",
        "role/alice",
        &json!({"groups": ["system:masters"]}),
    );
    simulation.settle();
    assert_eq!(
        simulation.access_entry("role/alice").expect("made").2,
        ["AmazonEKSClusterAdminPolicy in cluster"]
    );
    simulation.delete("alice");
    simulation.settle();
    assert_eq!(
        simulation.condition("alice", "Ready"),
        "False RemovalNeedsConfirmation"
    );
    assert!(simulation.access_entry("role/alice").is_some());
    simulation.confirm("alice", "last-administrator");
    simulation.settle();
    assert!(simulation.objects.is_empty());
    assert!(simulation.access_entry("role/alice").is_none());
}

#[test]
fn a_mass_removal_is_held() {
    let mut simulation = api();
    for number in 0..8 {
        simulation.create(
            &format!("m{number}"),
            &format!("role/r{number}"),
            &json!({}),
        );
    }
    simulation.settle();
    simulation.calls();
    for number in 0..8 {
        simulation.delete(&format!("m{number}"));
    }
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.objects.len(), 8);
    for number in 0..8 {
        simulation.confirm(&format!("m{number}"), "mass-removal");
    }
    simulation.settle();
    assert_eq!(simulation.calls().len(), 8);
    assert!(simulation.objects.is_empty());
}

#[test]
fn orphans_stay_until_the_history_confirms() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.objects.clear();
    simulation.calls();
    simulation.settle();
    assert!(simulation.calls().is_empty());
    let word = simulation.orphan_word();
    simulation.annotate_history(CONFIRM_ANNOTATION, &word);
    simulation.settle();
    assert_eq!(simulation.calls(), ["DeleteAccessEntry alice"]);
    assert_eq!(simulation.history_annotation(CONFIRM_ANNOTATION), None);
}

#[test]
fn a_recreated_principal_is_reported_and_renewed_only_after_a_confirmation() {
    let mut simulation = api();
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(ALICE, "AROAONE")], now);
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.later(60);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(ALICE, "AROATWO")], now);
    simulation.calls();
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.ready("alice"), "False PrincipalRecreated");
    let message = simulation.message("alice", "Ready");
    assert!(
        message.contains("AROAONE") && message.contains("AROATWO"),
        "{message}"
    );
    simulation.confirm("alice", "recreated-principal");
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["DeleteAccessEntry alice", "CreateAccessEntry alice"]
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn a_recreated_principal_that_an_unmanaged_entry_of_aws_auth_names_has_access() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(ALICE, "AROAONE")], now);
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.later(60);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(ALICE, "AROATWO")], now);
    simulation.settle();
    let message = simulation.message("alice", "Ready");
    assert!(
        !message.contains("aws-auth still grants access"),
        "{message}"
    );
    let foreign = format!("- {{rolearn: '{ALICE}', username: back, groups: [door]}}\n");
    simulation.vandalise("mapRoles", &foreign);
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "False PrincipalRecreated");
    let message = simulation.message("alice", "Ready");
    assert!(
        message.contains("aws-auth still grants access"),
        "{message}"
    );
}

#[test]
fn a_missing_principal_is_reported() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.later(60);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[], now);
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "False PrincipalNotFound");
}

#[test]
fn a_path_that_was_left_out_is_completed() {
    let mut simulation = api();
    let now = simulation.now;
    let full = "arn:aws:iam::111122223333:role/team/alice";
    simulation.cloud().iam_lists(&[(full, "AROAONE")], now);
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    assert!(simulation.access_entry("role/team/alice").is_some());
    let status = simulation.objects["alice"].status.clone().expect("written");
    assert_eq!(status.principal_arn.as_deref(), Some(full));
    // What stands is known again also while IAM can't be read.
    simulation.cloud().iam = crate::observed::Iam::default();
    simulation.restart();
    simulation.calls();
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn while_eks_is_unreachable_nothing_is_changed_there() {
    let mut simulation = api();
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    let read = simulation.now;
    simulation.cloud().unreachable = Some(crate::observed::Unreachable {
        read,
        failure: crate::access_entry::Failure {
            kind: FailureKind::Unavailable,
            message: "no route".to_owned(),
        },
    });
    simulation.create("bob", "role/bob", &json!({}));
    simulation.delete("alice");
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.ready("bob"), "False EksUnavailable");
    assert_eq!(simulation.objects.len(), 2);
    simulation.cloud().unreachable = None;
    simulation.settle();
    assert_eq!(simulation.objects.len(), 1);
    assert_eq!(simulation.ready("bob"), "True InEffect");
}

#[test]
fn an_exchange_of_scopes_opens_no_gap() {
    let mut simulation = api();
    let scope = |namespaces: &[&str]| json!({"type": "Namespace", "namespaces": namespaces});
    simulation.create(
        "alice",
        "role/alice",
        &json!({"accessPolicies": [{"policy": "AmazonEKSViewPolicy", "scope": scope(&["b", "a"])}]}),
    );
    simulation.settle();
    let entry = simulation.cloud().eks.entries[ALICE].clone();
    let policy = entry.policies.values().next().expect("associated");
    assert_eq!(
        policy.scope,
        Scope::Namespaces(["a".to_owned(), "b".to_owned()].into())
    );
    simulation.calls();
    simulation.edit("alice", |object| {
        object.spec.access_policies[0].scope.namespaces.reverse();
    });
    simulation.settle();
    assert!(simulation.calls().is_empty(), "order means nothing");
}
