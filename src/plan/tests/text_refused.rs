//! A write of aws-auth that is not made holds only what depends on it, and EKS out of reach holds nothing of aws-auth.

use serde_json::{Value, json};

use super::FOREIGN;
use crate::access_entry::{Call, Failure, FailureKind};
use crate::api::v1alpha1::BackendChoice;
use crate::observed::{Mode, Unreachable};
use crate::plan::WriteFailure;
use crate::plan::simulation::Simulation;
use crate::safety::{Removals, clear_call};

const NONE: [&str; 0] = [];

fn in_text() -> Value {
    json!({"backend": "ConfigMap"})
}

/// A cluster where both backends count, and these mappings in effect.
fn both(mappings: &[(&str, Value)]) -> Simulation {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, FOREIGN);
    for (name, spec) in mappings {
        simulation.create(name, &format!("role/{name}"), spec);
    }
    simulation.settle();
    for (name, _) in mappings {
        assert_eq!(simulation.ready(name), "True InEffect", "{name}");
    }
    drop(simulation.calls());
    simulation
}

fn regroup(simulation: &mut Simulation, name: &str) {
    simulation.edit(name, |object| object.spec.groups = vec!["other".to_owned()]);
}

fn denied() -> WriteFailure {
    WriteFailure::Denied("change freeze".to_owned())
}

fn all_failures() -> [(WriteFailure, &'static str); 4] {
    let words = || "the words".to_owned();
    [
        (WriteFailure::Denied(words()), "WriteDenied"),
        (WriteFailure::Forbidden(words()), "WriteForbidden"),
        (WriteFailure::Invalid(words()), "WriteInvalid"),
        (WriteFailure::Unavailable(words()), "WriteFailed"),
    ]
}

#[test]
fn access_entries_are_created_changed_and_deleted_while_aws_auth_is_frozen() {
    for (failure, reason) in all_failures() {
        let mut simulation = both(&[
            ("text", in_text()),
            ("changed", json!({})),
            ("gone", json!({})),
            ("until", json!({"validUntil": "2027-01-15T09:00:00Z"})),
        ]);
        simulation.write_failure = Some(failure);
        regroup(&mut simulation, "text");
        regroup(&mut simulation, "changed");
        simulation.delete("gone");
        simulation.create("new", "role/new", &json!({}));
        simulation.later(3600);
        simulation.settle();
        let mut calls = simulation.calls();
        calls.retain(|call| !call.starts_with("Describe"));
        calls.sort();
        let expected = [
            "CreateAccessEntry new",
            "DeleteAccessEntry gone",
            "DeleteAccessEntry until",
            "UpdateAccessEntry changed",
        ];
        assert_eq!(calls, expected, "{reason}");
        // Each says its own.
        for name in ["changed", "new"] {
            assert_eq!(simulation.ready(name), "True InEffect", "{reason}");
            assert_eq!(simulation.condition(name, "Synced"), "True Synced");
        }
        assert_eq!(simulation.ready("until"), "True Expired");
        assert!(!simulation.objects.contains_key("gone"), "{reason}");
        assert_eq!(
            simulation.condition("text", "Synced"),
            format!("False {reason}")
        );
        assert_eq!(
            simulation.condition("text", "Reconciling"),
            format!("True {reason}"),
            "it is retried"
        );
        assert_eq!(simulation.condition("text", "Stalled"), "");
        assert!(simulation.message("text", "Synced").contains("the words"));
        simulation.write_failure = None;
        simulation.settle();
        assert_eq!(simulation.condition("text", "Synced"), "True Synced");
    }
}

#[test]
fn an_access_entry_stays_while_its_copy_in_aws_auth_cannot_be_removed() {
    let mut simulation = handed_over();
    simulation.write_failure = Some(denied());
    simulation.delete("alice");
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        NONE,
        "deleting it would only uncover the copy"
    );
    assert_eq!(simulation.condition("alice", "Synced"), "False WriteDenied");
    assert_eq!(
        simulation.condition("alice", "Reconciling"),
        "True WriteDenied"
    );
    simulation.write_failure = None;
    simulation.settle();
    assert!(simulation.access_entry("role/alice").is_none());
    assert!(!simulation.objects.contains_key("alice"));
}

#[test]
fn an_edit_is_in_effect_although_the_copy_in_aws_auth_cannot_follow() {
    let mut simulation = handed_over();
    simulation.write_failure = Some(denied());
    regroup(&mut simulation, "alice");
    simulation.settle();
    assert_eq!(simulation.calls(), ["UpdateAccessEntry alice"]);
    assert_eq!(simulation.ready("alice"), "True InEffect", "the entry wins");
    assert_eq!(simulation.condition("alice", "Synced"), "False WriteDenied");
}

/// A mapping in aws-auth that was handed over and still has its copy there.
fn handed_over() -> Simulation {
    let mut simulation = both(&[("alice", in_text())]);
    simulation.edit("alice", |object| {
        object.spec.backend = BackendChoice::AccessEntry;
    });
    simulation.settle();
    assert!(simulation.access_entry("role/alice").is_some());
    assert!(
        simulation
            .entries()
            .iter()
            .any(|(arn, ..)| arn == "role/alice")
    );
    drop(simulation.calls());
    simulation
}

#[test]
fn an_access_entry_stays_until_aws_auth_has_the_principal_that_the_mapping_moves_to() {
    for moved in [true, false] {
        // The way back of the same principal, and a move to another one.
        let principal = if moved { "role/other" } else { "role/alice" };
        let mut simulation = both(&[("alice", json!({}))]);
        simulation.write_failure = Some(denied());
        simulation.edit("alice", |object| {
            object.spec.backend = BackendChoice::ConfigMap;
            object.spec.principal.arn = Some(format!("arn:aws:iam::111122223333:{principal}"));
        });
        simulation.settle();
        simulation.later(3600);
        simulation.settle();
        assert_eq!(simulation.calls(), NONE, "{principal}");
        assert!(simulation.access_entry("role/alice").is_some());
        assert_eq!(simulation.condition("alice", "Synced"), "False WriteDenied");
        simulation.write_failure = None;
        simulation.settle();
        simulation.later(3600);
        simulation.settle();
        assert!(
            simulation.access_entry("role/alice").is_none(),
            "{principal}"
        );
        assert_eq!(simulation.entries()[2].0, principal);
        assert_eq!(simulation.ready("alice"), "True InEffect");
    }
}

#[test]
fn an_administrator_that_could_not_be_written_does_not_count_when_a_call_is_sent() {
    let policy = json!([{"policy": "AmazonEKSClusterAdminPolicy"}]);
    let admin = json!({"groups": [], "accessPolicies": policy});
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    simulation.create("old", "role/old", &admin);
    simulation.settle();
    simulation.write_failure = Some(denied());
    simulation.create(
        "new",
        "role/new",
        &json!({"backend": "ConfigMap", "groups": ["system:masters"]}),
    );
    simulation.delete("old");
    simulation.settle();
    let call = Call::Delete {
        principal_arn: "arn:aws:iam::111122223333:role/old".to_owned(),
    };
    let send = |simulation: &Simulation| {
        let (observed, desired) = (simulation.observed(), simulation.desired());
        clear_call(
            &observed,
            &desired,
            "kube-system/aws-auth",
            &Removals::default(),
            std::slice::from_ref(&call),
        )
    };
    assert!(send(&simulation).is_err());
    assert!(simulation.access_entry("role/old").is_some());
    simulation.write_failure = None;
    simulation.pass();
    assert_eq!(send(&simulation), Ok(()));
    simulation.settle();
    assert!(simulation.access_entry("role/old").is_none());
}

#[test]
fn aws_auth_is_kept_while_eks_is_out_of_reach() {
    let mut simulation = both(&[
        ("kept", in_text()),
        ("changed", in_text()),
        ("gone", in_text()),
        (
            "until",
            json!({"backend": "ConfigMap", "validUntil": "2027-01-15T09:00:00Z"}),
        ),
        ("moved", in_text()),
        ("entry", json!({})),
    ]);
    let read = simulation.now;
    simulation.cloud().unreachable = Some(Unreachable {
        read,
        failure: Failure {
            kind: FailureKind::Unavailable,
            message: "connection refused".to_owned(),
        },
    });
    simulation.replace_in_roles("\"kept\"", "\"vandal\"");
    regroup(&mut simulation, "changed");
    regroup(&mut simulation, "entry");
    simulation.delete("gone");
    simulation.create("new", "role/new", &in_text());
    simulation.edit("moved", |object| {
        object.spec.principal.arn = Some("arn:aws:iam::111122223333:role/elsewhere".to_owned());
    });
    simulation.later(3600);
    simulation.settle();
    let groups: Vec<(String, String)> = simulation
        .entries()
        .into_iter()
        .skip(2)
        .map(|(arn, username, groups)| (arn, format!("{username} {groups}")))
        .collect();
    let expected = [
        ("role/kept", "kept g"),
        ("role/changed", "changed other"),
        ("role/new", "new g"),
        ("role/elsewhere", "moved g"),
    ];
    let mut expected: Vec<(String, String)> = expected
        .iter()
        .map(|(arn, what)| ((*arn).to_owned(), (*what).to_owned()))
        .collect();
    let mut found = groups;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(simulation.calls(), NONE);
    assert_eq!(
        simulation.condition("entry", "Synced"),
        "False EksUnavailable"
    );
}
