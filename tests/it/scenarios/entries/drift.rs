//! What others do to access entries: found by listing, by looking at each in turn, or told by a queue; and put right.

use serde_json::{Value, json};

use super::stage::{NO_TIMER, PATIENT, Stage, WATCHFUL};
use crate::support::eks::{Mode, Service};
use crate::support::eventually;

const NONE: [&str; 0] = [];

fn admin(arn: &str) -> Value {
    json!({
        "principalArn": arn, "accessScope": { "type": "cluster" },
        "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
    })
}

#[tokio::test]
async fn found_by_looking() {
    let stage = Stage::new(Mode::Api, &WATCHFUL).await;
    a_deleted_entry_is_made_again(&stage).await;
    an_administrator_made_by_hand_is_found_by_the_listing(&stage).await;
    a_changed_entry_is_repaired_by_the_refresh(&stage).await;
    a_fight_is_fought_once_a_minute(&stage).await;
}

/// A listing tells which entries are gone.
async fn a_deleted_entry_is_made_again(stage: &Stage) {
    let arn = stage.establish("deleted", json!({})).await;
    let mark = stage.mark();
    stage.by_hand("DeleteAccessEntry", json!({ "principalArn": arn }));
    stage
        .entry_until("the entry is back", &arn, |entry| {
            entry.is_some_and(|entry| entry.groups == ["team"])
        })
        .await;
    stage.until("deleted", "Ready", "True InEffect").await;
    assert_eq!(stage.writes_about(&arn, mark), ["CreateAccessEntry"]);
    let note = stage.cluster.note("DriftRepaired", "deleted").await;
    assert!(note.contains("was deleted"), "{note}");
    let drift = stage.cluster.drift("deleted").await;
    assert!(drift.what.contains("was deleted"), "{drift:?}");
    // Nothing but an event of CloudTrail tells who it was.
    assert_eq!(drift.manager, "unknown");
}

/// One listing finds all administrators; a foreign one is nobody's to remove.
async fn an_administrator_made_by_hand_is_found_by_the_listing(stage: &Stage) {
    let ours = stage.establish("person", json!({})).await;
    // Its principal's id is tagged once IAM was listed after it was made.
    stage.tagged_with_id(&ours).await;
    let foreign = stage.role("foreign");
    stage.made_by_hand(&foreign, &[]);
    stage.by_hand("AssociateAccessPolicy", admin(&foreign));
    let mark = stage.mark();
    stage.by_hand("AssociateAccessPolicy", admin(&ours));
    stage
        .entry_until("nobody made it an administrator", &ours, |entry| {
            entry.is_some_and(|entry| entry.policies.is_empty())
        })
        .await;
    stage.until("person", "Ready", "True InEffect").await;
    assert_eq!(
        stage.writes_about(&ours, mark),
        ["DisassociateAccessPolicy"]
    );
    // Two listings tell it, the second one at the latest.
    let listings = stage.eks.log().count("ListAccessEntries", mark);
    assert!(listings <= 6, "{listings} listings");
    let note = stage.cluster.note("DriftRepaired", "person").await;
    assert!(note.contains("AmazonEKSClusterAdminPolicy"), "{note}");
    stage.listed().await;
    assert_eq!(stage.writes_about(&foreign, mark), NONE);
    assert_eq!(
        stage.policies(&foreign),
        ["AmazonEKSClusterAdminPolicy cluster"]
    );
}

/// Each owned entry is described once in a period: what no listing shows is found by then.
async fn a_changed_entry_is_repaired_by_the_refresh(stage: &Stage) {
    let arn = stage
        .establish("edited", json!({ "username": "edited" }))
        .await;
    stage.tagged_with_id(&arn).await;
    let mark = stage.mark();
    let input = json!({ "principalArn": arn, "username": "mallory", "kubernetesGroups": ["x"] });
    stage.by_hand("UpdateAccessEntry", input);
    stage
        .entry_until("the entry is as declared", &arn, |entry| {
            entry.is_some_and(|entry| entry.username == "edited" && entry.groups == ["team"])
        })
        .await;
    stage.until("edited", "Ready", "True InEffect").await;
    assert_eq!(stage.writes_about(&arn, mark), ["UpdateAccessEntry"]);
    let drift = stage.cluster.drift("edited").await;
    assert!(drift.what.contains("mallory"), "{drift:?}");
}

/// A queue on the way: `--queue-url` and the world that fills it.
async fn with_queue() -> Stage {
    let mut stage = Stage::without_operator(super::stage::CLUSTER, Mode::Api).await;
    stage.eks.world().attach_queue("events");
    let queue = format!("--queue-url={}", stage.eks.queue_url());
    let args = [&NO_TIMER as &[&str], &[&queue]].concat();
    stage.start(&args).await;
    stage
}

#[tokio::test]
async fn told_by_a_queue() {
    let stage = with_queue().await;
    a_change_is_repaired_at_once_and_its_author_named(&stage).await;
    who_deleted_an_entry_is_named(&stage).await;
    who_changed_policies_is_named(&stage).await;
    who_removed_tags_is_named(&stage).await;
    a_flood_of_events_stops_no_removal(&stage).await;
    a_queue_that_can_not_be_read_is_told(&stage).await;
}

/// An event of `CloudTrail` tells which entry was changed and by whom.
async fn a_change_is_repaired_at_once_and_its_author_named(stage: &Stage) {
    let arn = stage
        .establish("watched", json!({ "username": "watched" }))
        .await;
    let mark = stage.mark();
    let input = json!({ "principalArn": arn, "username": "mallory", "kubernetesGroups": ["team"] });
    stage.by_hand("UpdateAccessEntry", input);
    stage
        .entry_until("the entry is as declared", &arn, |entry| {
            entry.is_some_and(|entry| entry.username == "watched")
        })
        .await;
    stage.until("watched", "Ready", "True InEffect").await;
    assert_eq!(stage.writes_about(&arn, mark), ["UpdateAccessEntry"]);
    let drift = stage.cluster.drift("watched").await;
    assert!(
        drift.manager.contains("assumed-role/Console/alice"),
        "{drift:?}"
    );
    let note = stage.cluster.note("DriftRepaired", "watched").await;
    assert!(note.contains("mallory") && note.contains("alice"), "{note}");
}

/// An entry that is gone can't say who deleted it: the event does.
async fn who_deleted_an_entry_is_named(stage: &Stage) {
    let arn = stage.establish("removed", json!({})).await;
    stage.by_hand("DeleteAccessEntry", json!({ "principalArn": arn }));
    stage
        .entry_until("the entry is back", &arn, |entry| entry.is_some())
        .await;
    stage.until("removed", "Ready", "True InEffect").await;
    let drift = stage.cluster.drift("removed").await;
    assert!(drift.what.contains("was deleted"), "{drift:?}");
    assert!(
        drift.manager.contains("assumed-role/Console/alice"),
        "{drift:?}"
    );
}

/// Associations have events of their own.
async fn who_changed_policies_is_named(stage: &Stage) {
    let policy = |name: &str| format!("arn:aws:eks::aws:cluster-access-policy/{name}");
    for (name, operation, input) in [
        (
            "given-more",
            "AssociateAccessPolicy",
            json!({ "policyArn": policy("AmazonEKSClusterAdminPolicy"), "accessScope": { "type": "cluster" } }),
        ),
        (
            "given-less",
            "DisassociateAccessPolicy",
            json!({ "policyArn": policy("AmazonEKSViewPolicy") }),
        ),
    ] {
        let declared = json!({ "accessPolicies": [{ "policy": "AmazonEKSViewPolicy" }] });
        let arn = stage.establish(name, declared).await;
        let mut input = input;
        input["principalArn"] = json!(arn);
        stage.by_hand(operation, input);
        eventually(
            &format!("the policies of {name} are as declared, and who changed them is told"),
            PATIENT,
            async || {
                let object = stage.cluster.mappings().get(name).await.unwrap();
                let drift = object.status.and_then(|status| status.last_drift);
                let policies = stage.policies(&arn);
                let is_named = drift
                    .as_ref()
                    .is_some_and(|drift| drift.manager.contains("assumed-role/Console/alice"));
                if is_named && policies == ["AmazonEKSViewPolicy cluster"] {
                    Ok(())
                } else {
                    Err((policies, drift))
                }
            },
        )
        .await;
    }
}

/// Without our tags an entry would count as unmanaged.
async fn who_removed_tags_is_named(stage: &Stage) {
    let arn = stage.establish("untagged", json!({})).await;
    stage.untag_by_hand(&arn);
    eventually("who removed the tags is told", PATIENT, async || {
        let drift = stage.object("untagged").await.status.unwrap().last_drift;
        match &drift {
            Some(found) if found.manager.contains("assumed-role/Console/alice") => Ok(()),
            _ => Err(drift),
        }
    })
    .await;
    let tags = &stage.entry(&arn).expect("an access entry").tags;
    assert!(
        tags.contains_key("identity-mapper.dev/installation"),
        "{tags:?}"
    );
}

/// Each event about the principal makes what is known of its entry doubtful.
async fn a_flood_of_events_stops_no_removal(stage: &Stage) {
    let arn = stage.establish("flooded", json!({})).await;
    let mark = stage.mark();
    stage.cluster.delete("flooded").await;
    eventually("the entry is gone", PATIENT, async || {
        if let Some(entry) = stage.entry(&arn) {
            let tags = json!({ "resourceArn": entry.arn, "tags": { "noise": "1" } });
            // It may go in this moment.
            drop(stage.eks.by_hand("TagResource", tags));
            return Err(stage.calls());
        }
        Ok(())
    })
    .await;
    stage.gone("flooded").await;
    let log = stage.eks.log();
    let looks = log.since(mark).iter().filter(|call| {
        call.operation == "DescribeAccessEntry" && call.principal.as_deref() == Some(arn.as_str())
    });
    let looks = looks.count();
    assert!(looks <= 4, "{looks} looks at it");
}

/// A contested entry backs off to once a minute: each round may take access away.
async fn a_fight_is_fought_once_a_minute(stage: &Stage) {
    let arn = stage
        .establish("contested", json!({ "username": "contested" }))
        .await;
    stage.tagged_with_id(&arn).await;
    let mark = stage.mark();
    let change = json!({ "principalArn": arn, "username": "mallory", "kubernetesGroups": ["x"] });
    for round in 1..=3 {
        stage.by_hand("UpdateAccessEntry", change.clone());
        stage
            .entry_until(&format!("it is back after round {round}"), &arn, |entry| {
                entry.is_some_and(|entry| entry.username == "contested")
            })
            .await;
    }
    stage.by_hand("UpdateAccessEntry", change);
    stage.until("contested", "Ready", "False Contested").await;
    stage.fence("after-contested").await;
    let entry = stage.entry(&arn).expect("an access entry");
    assert_eq!(entry.username, "mallory", "{:?}", stage.calls());
    assert_eq!(stage.writes_about(&arn, mark), ["UpdateAccessEntry"; 3]);
}

/// A queue that is cut off is told of, and listing goes on.
async fn a_queue_that_can_not_be_read_is_told(stage: &Stage) {
    stage.eks.knobs().unreachable.insert(Service::Sqs);
    // No period is waited for: the listing of the start is enough to show that polling does not depend on the queue.
    let note = stage.cluster.note("QueueUnreadable", "aws-auth").await;
    assert!(note.contains("by the next listing"), "{note}");
    stage.establish("without-queue", json!({})).await;
}

/// The same from the start, with polling that finds what the queue would have told.
#[tokio::test]
async fn polling_goes_on_without_the_queue() {
    let mut stage = Stage::without_operator(super::stage::CLUSTER, Mode::Api).await;
    stage.eks.world().attach_queue("events");
    stage.eks.knobs().deny("sqs:ReceiveMessage");
    let queue = format!("--queue-url={}", stage.eks.queue_url());
    stage
        .start(&[&WATCHFUL as &[&str], &[&queue]].concat())
        .await;
    let arn = stage.establish("polled", json!({})).await;
    let note = stage.cluster.note("QueueUnreadable", "aws-auth").await;
    assert!(note.to_lowercase().contains("sqs:receivemessage"), "{note}");
    stage.by_hand("DeleteAccessEntry", json!({ "principalArn": arn }));
    stage
        .entry_until("the entry is back", &arn, |entry| entry.is_some())
        .await;
    // What was denied for a while is read again.
    stage.eks.knobs().allow("sqs:ReceiveMessage");
    let mark = stage.mark();
    eventually("messages are received", PATIENT, async || {
        let log = stage.eks.log();
        let mut calls = log.since(mark).iter();
        calls.any(|call| call.operation == "ReceiveMessage" && call.had_effect())
    })
    .await;
}
