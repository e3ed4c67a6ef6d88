//! What a spec drops goes, whatever keeps the rest of it from being put into effect.

use serde_json::json;

use super::cluster;
use super::takeovers::groups;
use crate::access_entry::FailureKind;
use crate::observed::Mode;
use crate::plan::simulation::Simulation;

/// The same of the mapping itself: groups that its spec drops stay.
#[test]
fn a_status_that_names_an_access_entry_keeps_no_dropped_group() {
    let mut simulation = cluster(&["keep-1", "keep-2", "keep-3"]);
    simulation.create("m", "role/p", &json!({"groups": ["admins"]}));
    simulation.settle();
    simulation.edit("m", |object| {
        object.status.get_or_insert_default().access_entry_arn = Some("anything".to_owned());
    });
    simulation.settle();
    simulation.edit("m", |object| object.spec.groups = vec![]);
    for _ in 0..5 {
        simulation.later(3600);
        simulation.settle();
    }
    assert_eq!(
        groups(&simulation, "p"),
        "",
        "{}",
        simulation.message("m", "Ready")
    );
}

/// The history can't be written, and a group is taken off a mapping.
#[test]
fn a_group_is_removed_while_the_history_cannot_be_written() {
    let mut simulation = cluster(&["b"]);
    simulation.create("a", "role/a", &json!({"groups": ["admins", "dev"]}));
    simulation.settle();
    simulation.history_failure = Some("the API server says no".to_owned());
    simulation.edit("a", |object| object.spec.groups = vec!["dev".to_owned()]);
    simulation.settle();
    assert_eq!(
        groups(&simulation, "a"),
        "dev",
        "{}",
        simulation.message("a", "Ready")
    );
}

/// A spec drops a group and names an access policy that EKS does not know, or refuses.
#[test]
fn a_group_is_removed_although_a_policy_is_refused() {
    let mut left = Vec::new();
    for known in [true, false] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        let view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy".to_owned();
        let admin = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminPolicy".to_owned();
        if known {
            simulation.cloud().policies = Some([view, admin].into());
        }
        simulation.create(
            "a",
            "role/a",
            &json!({"groups": ["admins"], "accessPolicies": [{"policy": "AmazonEKSAdminPolicy"}]}),
        );
        simulation.settle();
        simulation.edit("a", |object| {
            object.spec.groups = Vec::new();
            object.spec.access_policies =
                serde_json::from_value(json!([{"policy": "AmazonEKSComputePolicy"}]))
                    .expect("a policy");
        });
        for _ in 0..10 {
            for _ in 0..8 {
                simulation
                    .cloud()
                    .failures
                    .push(("AssociateAccessPolicy", FailureKind::Refused));
            }
            simulation.settle();
            simulation.later(600);
            simulation.look();
        }
        left.push(format!(
            "listing of policies known {known}: {} {}",
            groups(&simulation, "a"),
            simulation.message("a", "Ready")
        ));
    }
    assert!(
        !left
            .iter()
            .any(|it| it.contains("admins") || it.contains("AdminPolicy in")),
        "{left:#?}"
    );
}

/// The text is full, and a group is taken off a mapping that is younger than the one that asks for more.
#[test]
fn a_group_is_removed_while_the_text_is_full() {
    let mut simulation = cluster(&[]);
    let long = |count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("{number:02}{}", "x".repeat(20_000)))
            .collect()
    };
    simulation.create("old", "role/old", &json!({}));
    simulation.create("big", "role/big", &json!({"groups": long(40)}));
    simulation.create("a", "role/a", &json!({"groups": ["admins", "dev"]}));
    simulation.settle();
    simulation.edit("old", |object| object.spec.groups = long(40));
    simulation.settle();
    simulation.edit("a", |object| object.spec.groups = vec!["dev".to_owned()]);
    simulation.settle();
    assert_eq!(
        groups(&simulation, "a"),
        "dev",
        "old {} a {}",
        simulation.message("old", "Ready"),
        simulation.message("a", "Ready")
    );
}

/// Two access policies are refused: each is tried once, and then as seldom as one alone.
#[test]
fn refused_policies_are_not_tried_in_turn() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.create("a", "role/a", &json!({"groups": ["admins"]}));
    simulation.settle();
    simulation.calls();
    let policies = json!([{"policy": "AmazonEKSAdminPolicy"}, {"policy": "AmazonEKSViewPolicy"}]);
    simulation.edit("a", |object| {
        object.spec.groups = vec![];
        object.spec.access_policies = serde_json::from_value(policies).expect("policies");
    });
    for _ in 0..50 {
        let refusal = ("AssociateAccessPolicy", FailureKind::Refused);
        simulation.cloud().failures.push(refusal);
    }
    for _ in 0..20 {
        simulation.pass();
    }
    let calls = simulation.calls();
    let tried = calls
        .iter()
        .filter(|call| call.starts_with("AssociateAccessPolicy"));
    assert!(tried.count() <= 3, "{calls:?}");
    assert_eq!(simulation.ready("a"), "False EksRefused");
    assert!(!groups(&simulation, "a").contains("admins"));
}
