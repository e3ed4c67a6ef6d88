//! What the guards hold while EKS takes its time: what was ordered counts before it is answered.

use std::process::Command;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use serde_json::json;

use super::stage::{NO_TIMER, PATIENT, Stage, WATCHFUL};
use crate::support::eks::{Mark, Mode};
use crate::support::eventually;
use crate::support::mappings::{Seen, condition, mapping, role};

/// How long EKS takes to answer.
const SLOW: Duration = Duration::from_secs(1);

/// The mappings that are still there.
async fn left(stage: &Stage, names: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    for name in names {
        let object = stage.cluster.mappings().get_opt(name).await.unwrap();
        left.extend(object.map(|_| name.clone()));
    }
    left
}

/// Waits until each of these mappings is gone or held for want of this word, and no call is on its way.
async fn settled(stage: &Stage, names: &[String], word: &str) -> Vec<String> {
    eventually("all are gone or held", PATIENT, async || {
        for name in left(stage, names).await {
            let Some(object) = stage.cluster.mappings().get_opt(&name).await.unwrap() else {
                continue;
            };
            let seen = condition(&object, "Ready");
            let held = |seen: &Seen| {
                seen.to_string() == "False RemovalNeedsConfirmation" && seen.message.contains(word)
            };
            if !seen.as_ref().is_some_and(held) {
                return Err((name, seen, stage.calls()));
            }
        }
        Ok(())
    })
    .await;
    stage.nothing_in_flight().await;
    left(stage, names).await
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}-{number}"))
        .collect()
}

/// Asks for the deletion of all of them at once.
async fn delete_at_once(stage: &Stage, names: &[String]) {
    stream::iter(names)
        .for_each_concurrent(None, async |name| stage.cluster.delete(name).await)
        .await;
}

#[tokio::test]
async fn of_two_administrators_one_stays() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let both = names("admin", 2);
    for name in &both {
        stage
            .establish(name, json!({ "groups": ["system:masters"] }))
            .await;
    }
    stage.eks.knobs().latency = SLOW;
    stage.cluster.delete(&both[0]).await;
    // One that is being removed counts no more, and is not gone yet.
    stage.in_flight("DeleteAccessEntry").await;
    stage.cluster.delete(&both[1]).await;
    let held = settled(&stage, &both, "last-administrator").await;
    assert_eq!(held, both[1..]);
    assert_eq!(
        stage.policies(&role(&held[0])),
        ["AmazonEKSClusterAdminPolicy cluster"]
    );
    assert_eq!(stage.entries().len(), 1);
}

/// Where both deletions are seen at once nobody can tell which of the two is to stay, so both do.
#[tokio::test]
async fn two_administrators_that_are_deleted_together_are_held() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let both = names("admin", 2);
    for name in &both {
        stage
            .establish(name, json!({ "groups": ["system:masters"] }))
            .await;
    }
    stage.eks.knobs().latency = SLOW;
    let pid = stage.operator().pid();
    signal(pid, "STOP");
    delete_at_once(&stage, &both).await;
    signal(pid, "CONT");
    let held = settled(&stage, &both, "last-administrator").await;
    assert!(!held.is_empty());
    for name in &held {
        assert_eq!(
            stage.policies(&role(name)),
            ["AmazonEKSClusterAdminPolicy cluster"]
        );
    }
    assert_eq!(stage.entries().len(), held.len());
}

/// The same where the second stands in aws-auth.
#[tokio::test]
async fn of_two_administrators_in_two_backends_one_stays() {
    let stage = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    let both = names("admin", 2);
    for (name, backend) in both.iter().zip(["AccessEntry", "ConfigMap"]) {
        stage
            .establish(
                name,
                json!({ "groups": ["system:masters"], "backend": backend }),
            )
            .await;
    }
    stage.eks.knobs().latency = SLOW;
    stage.cluster.delete(&both[0]).await;
    stage.in_flight("DeleteAccessEntry").await;
    stage.cluster.delete(&both[1]).await;
    let held = settled(&stage, &both, "last-administrator").await;
    assert_eq!(held, both[1..]);
    assert!(stage.cluster.roles().await.contains(&role(&both[1])));
    assert!(stage.entry(&role(&both[0])).is_none());
}

#[tokio::test]
async fn deleting_all_of_four_leaves_one() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let all = names("m", 4);
    for name in &all {
        stage.establish(name, json!({})).await;
    }
    stage.eks.knobs().latency = SLOW;
    let mark = stage.mark();
    stage
        .cluster
        .kubectl_ok(&["delete", "idmap", "--all", "--wait=false"], None);
    let held = settled(&stage, &all, "mass-removal").await;
    assert!(!held.is_empty());
    for name in &held {
        assert!(stage.entry(&role(name)).is_some(), "{name}");
        assert_eq!(stage.writes_about(&role(name), mark), [""; 0], "{name}");
    }
    assert_eq!(stage.entries().len(), held.len());
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("/bin/kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn removals_that_are_on_their_way_count_against_the_limit() {
    const OWNED: usize = 100;
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let all = names("m", OWNED);
    for name in &all {
        stage.role(name);
    }
    stream::iter(&all)
        .for_each_concurrent(8, async |name| {
            let object = mapping(name, &json!({}));
            let params = kube::api::PostParams::default();
            let made = stage.cluster.mappings().create(&params, &object).await;
            made.unwrap();
        })
        .await;
    for name in &all {
        stage.until(name, "Ready", "True InEffect").await;
    }

    stage.eks.knobs().latency = Duration::from_secs(2);
    let mark = stage.mark();
    let (first, second) = (&all[..20], &all[20..40]);
    let pid = stage.operator().pid();
    for batch in [first, second] {
        // All of a batch is there when the operator looks.
        signal(pid, "STOP");
        delete_at_once(&stage, batch).await;
        signal(pid, "CONT");
        if batch == first {
            stage.in_flight("DeleteAccessEntry").await;
        }
    }
    for name in first {
        stage.gone(name).await;
    }
    let held = settled(&stage, second, "mass-removal").await;
    // A quarter of a hundred may go within ten minutes.
    assert!(held.len() >= 15, "{held:?}");
    for name in &held {
        assert_eq!(stage.writes_about(&role(name), mark), [""; 0], "{name}");
    }
    assert_eq!(stage.entries().len(), OWNED - 40 + held.len());
}

/// EKS may list an entry half a minute after it was made: that is no deletion.
#[tokio::test]
async fn a_listing_that_is_behind_a_creation_is_no_deletion() {
    const BEHIND: Duration = Duration::from_secs(28);
    let stage = Stage::new(Mode::Api, &WATCHFUL).await;
    stage.eks.knobs().listing_delay = BEHIND;
    let fresh = stage.establish("fresh", json!({})).await;
    let made = stage.entry(&fresh).expect("it is in effect").created;
    eventually("the listing has it", PATIENT, async || {
        let age = stage.eks.world().now.duration_since(made);
        Duration::try_from(age).is_ok_and(|age| age > BEHIND)
    })
    .await;
    stage.listed().await;
    let mut writes = stage.writes_about(&fresh, Mark::START);
    // The principal's id follows once IAM was read.
    writes.retain(|operation| operation != "TagResource");
    assert_eq!(writes, ["CreateAccessEntry"]);
    let object = stage.object("fresh").await;
    assert!(condition(&object, "Contested").is_none());
    assert!(object.status.unwrap().last_drift.is_none());
    let told = stage.cluster.notes("DriftRepaired", "fresh").await;
    assert!(told.is_empty(), "{told:?}");
}

/// What a person confirmed of orphans holds until it has been done, and no longer.
#[tokio::test]
async fn a_confirmation_of_orphans_is_used_up_by_success_alone() {
    let mut stage = Stage::new(Mode::Api, &NO_TIMER).await;
    for name in ["stays-1", "stays-2", "stays-3"] {
        stage.establish(name, json!({})).await;
    }
    let orphan = stage.establish("orphan", json!({})).await;
    stage.stop().await;
    stage
        .cluster
        .change("orphan", json!({ "metadata": { "finalizers": null } }))
        .await;
    stage.cluster.delete("orphan").await;
    stage.cluster.gone("orphan").await;
    stage.eks.knobs().deny("eks:DeleteAccessEntry");
    stage.start(&NO_TIMER).await;
    let note = stage.cluster.note("OrphanedEntries", "aws-auth").await;
    let (_, command) = note.split_once("kubectl ").expect("a command");
    let (command, _) = command.split_once(". ").expect("the end of a sentence");
    let command: Vec<&str> = command.split(' ').collect();
    let mark = stage.mark();
    stage.cluster.kubectl_ok(&command, None);
    stage.called("DeleteAccessEntry", 1, mark).await;
    stage.fence("after-refusal").await;
    let confirmed = async || {
        let history = stage.cluster.config_maps().get("aws-auth-history").await;
        let annotations = history.unwrap().metadata.annotations.unwrap_or_default();
        annotations.contains_key("identity-mapper.dev/confirm")
    };
    assert!(confirmed().await, "nothing was done yet");
    assert!(stage.entry(&orphan).is_some());
    stage.eks.knobs().allow("eks:DeleteAccessEntry");
    stage
        .entry_until("the orphan is gone", &orphan, |entry| entry.is_none())
        .await;
    eventually("the word is used up", PATIENT, async || !confirmed().await).await;
}
