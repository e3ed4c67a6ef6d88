//! AWS is eventually consistent, answers get lost, and others write at the same time: each entry is made once all the same.

use serde_json::json;

use super::stage::{NO_TIMER, Stage};
use crate::support::eks::{Fault, Mark, Mode};
use crate::support::mappings::Diary;

/// How many calls of this operation about this principal had their effect.
fn effects(stage: &Stage, operation: &str, arn: &str, mark: Mark) -> usize {
    let log = stage.eks.log();
    let calls = log.since(mark).iter().filter(|call| {
        !call.by_hand
            && call.operation == operation
            && call.principal.as_deref() == Some(arn)
            && call.had_effect()
    });
    calls.count()
}

#[tokio::test]
async fn what_passes_by_itself() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    a_principal_that_eks_does_not_know_yet(&stage).await;
    an_entry_that_is_not_found_just_after_it_was_made(&stage).await;
    an_entry_that_somebody_made_in_between(&stage).await;
    answers_that_are_lost(&stage).await;
}

/// A role that was just made is refused for some seconds.
async fn a_principal_that_eks_does_not_know_yet(stage: &Stage) {
    let arn = stage.role("young");
    stage
        .cluster
        .declare("young", json!({ "suspend": true }))
        .await;
    let diary = Diary::of(&stage.cluster, "young").await;
    stage.eks.knobs().invalid_principal = 2;
    stage
        .cluster
        .change("young", json!({ "spec": { "suspend": false } }))
        .await;
    stage.cluster.ready("young").await;
    assert_eq!(
        stage.writes_about(&arn, Mark::START),
        ["CreateAccessEntry"; 3]
    );
    let told = diary.conditions(&stage.cluster, "Ready").await;
    assert!(
        told.contains(&"False PrincipalInvalid".to_owned()),
        "{told:?}"
    );
    // It works on it: nobody is called.
    let told = diary.conditions(&stage.cluster, "Stalled").await;
    assert!(
        !told.iter().any(|value| value.starts_with("True Principal")),
        "{told:?}"
    );
}

/// An entry may not be found right after it was made: its policies come with a later try, and it is made once.
async fn an_entry_that_is_not_found_just_after_it_was_made(stage: &Stage) {
    stage.eks.knobs().not_found_after_create = 2;
    let spec = json!({ "accessPolicies": [{ "policy": "AmazonEKSViewPolicy" }] });
    let arn = stage.declare("absent", spec).await;
    stage.until("absent", "Ready", "True InEffect").await;
    stage.eks.knobs().not_found_after_create = 0;
    assert_eq!(stage.policies(&arn), ["AmazonEKSViewPolicy cluster"]);
    assert_eq!(effects(stage, "CreateAccessEntry", &arn, Mark::START), 1);
    assert_eq!(
        effects(stage, "AssociateAccessPolicy", &arn, Mark::START),
        1
    );
}

/// What somebody made since the last listing is looked at, and adopted or a conflict.
async fn an_entry_that_somebody_made_in_between(stage: &Stage) {
    let identical = stage.role("between-same");
    let different = stage.role("between-other");
    stage.made_by_hand(&identical, &["team"]);
    stage.made_by_hand(&different, &["other"]);
    let mark = stage.mark();
    stage.declare("between-same", json!({})).await;
    stage.declare("between-other", json!({})).await;
    stage.until("between-same", "Ready", "True InEffect").await;
    stage.cluster.ready("between-same").await;
    let seen = stage
        .until("between-other", "Ready", "False UnmanagedEntry")
        .await;
    assert!(seen.message.contains("other"), "{seen:?}");
    assert_eq!(
        stage.writes_about(&identical, mark),
        ["CreateAccessEntry", "TagResource"]
    );
    assert_eq!(
        stage.writes_about(&different, mark),
        ["CreateAccessEntry"],
        "refused as a duplicate"
    );
    assert_eq!(stage.entry(&different).unwrap().groups, ["other"]);
}

/// A call may have had its effect though nobody said so: it is looked at before it is made again.
async fn answers_that_are_lost(stage: &Stage) {
    let spec = |group: &str, policy: &str| json!({ "groups": [group], "accessPolicies": [{ "policy": policy }] });
    for (number, fault) in [Fault::DroppedAfterEffect, Fault::ServerErrorAfterEffect]
        .into_iter()
        .enumerate()
    {
        let name = format!("lost-{number}");
        let mark = stage.mark();
        for operation in ["CreateAccessEntry", "AssociateAccessPolicy"] {
            stage.script(operation, &[fault]);
        }
        let arn = stage.declare(&name, spec("a", "AmazonEKSViewPolicy")).await;
        stage.until(&name, "Ready", "True InEffect").await;
        stage.cluster.ready(&name).await;
        assert_eq!(effects(stage, "CreateAccessEntry", &arn, mark), 1);
        for operation in [
            "UpdateAccessEntry",
            "DisassociateAccessPolicy",
            "AssociateAccessPolicy",
        ] {
            stage.script(operation, &[fault]);
        }
        stage
            .cluster
            .change(&name, json!({ "spec": spec("b", "AmazonEKSEditPolicy") }))
            .await;
        stage.until(&name, "Ready", "True InEffect").await;
        stage.cluster.ready(&name).await;
        assert_eq!(stage.entry(&arn).unwrap().groups, ["b"]);
        assert_eq!(stage.policies(&arn), ["AmazonEKSEditPolicy cluster"]);
        assert_eq!(effects(stage, "CreateAccessEntry", &arn, mark), 1);
        stage.script("DeleteAccessEntry", &[fault]);
        stage.delete(&[&name]);
        assert!(stage.entry(&arn).is_none());
        assert_eq!(effects(stage, "DeleteAccessEntry", &arn, mark), 1);
    }
}

/// A switch of the mode lingers: it is on, and EKS says for a while that it is not.
#[tokio::test]
async fn a_mode_error_that_lingers() {
    let stage = Stage::prepared(Mode::ApiAndConfigMap, &NO_TIMER, |eks| {
        let mut world = eks.world();
        world.cluster.switched = Some(world.now);
        drop(world);
        eks.knobs().mode_error = std::time::Duration::from_secs(15);
    })
    .await;
    let arn = stage.declare("early", json!({})).await;
    stage.until("early", "Ready", "True InEffect").await;
    let refused = {
        let log = stage.eks.log();
        let mut calls = log.all().iter();
        calls.any(|call| format!("{:?}", call.outcome).contains("authentication mode must be set"))
    };
    assert!(refused, "{:?}", stage.calls());
    assert_eq!(effects(&stage, "CreateAccessEntry", &arn, Mark::START), 1);
}
