//! No access entry of ours outlives the finalizer of its mapping, whatever is known of it when the mapping is deleted.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{CLUSTER, NO_TIMER, PATIENT, Stage};
use crate::support::eks::{Fault, Mode, Service};
use crate::support::eventually;
use crate::support::mappings::{condition, role};

const TEXT: &str = "identity-mapper.dev/aws-auth";
const ENTRY: &str = "identity-mapper.dev/access-entry";
/// What versions set that had one for both backends.
const EARLIER: &str = "identity-mapper.dev/revoke";
const TAG: &str = "identity-mapper.dev/";

/// Longer than everything else takes, and shorter than a call may.
const SLOW: Duration = Duration::from_secs(3);

async fn finalizers(stage: &Stage, name: &str) -> Vec<String> {
    let object = stage.object(name).await;
    object.metadata.finalizers.unwrap_or_default()
}

async fn set_finalizers(stage: &Stage, name: &str, finalizers: &[&str]) {
    let metadata = json!({ "metadata": { "finalizers": finalizers } });
    stage.cluster.change(name, metadata).await;
}

/// Whether the entry of a principal carries any of our tags.
fn is_tagged(stage: &Stage, arn: &str) -> bool {
    let entry = stage.entry(arn).expect("an access entry");
    entry.tags.keys().any(|key| key.starts_with(TAG))
}

#[tokio::test]
async fn deleted_while_its_creation_is_on_its_way_or_queued() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    stage.establish("stays", json!({})).await;

    stage.eks.knobs().latency = SLOW;
    let mark = stage.mark();
    let flying = stage.declare("flying", json!({})).await;
    stage.in_flight("CreateAccessEntry").await;
    assert!(stage.entry(&flying).is_none(), "EKS has not done it yet");
    stage.cluster.delete("flying").await;
    stage.gone("flying").await;
    assert!(stage.entry(&flying).is_none());
    assert_eq!(
        stage.writes_about(&flying, mark),
        ["CreateAccessEntry", "DeleteAccessEntry"]
    );

    // Behind others, of which EKS takes one in two seconds.
    {
        let mut knobs = stage.eks.knobs();
        knobs.latency = Duration::ZERO;
        knobs.throttle("CreateAccessEntry", 0.5, 1.0);
    }
    let others: Vec<String> = (0..8).map(|number| format!("other-{number}")).collect();
    for name in &others {
        stage.declare(name, json!({})).await;
    }
    let queued = stage.declare("queued", json!({})).await;
    stage.cluster.delete("queued").await;
    stage.gone("queued").await;
    stage.eks.knobs().unthrottle();
    for name in &others {
        stage.until(name, "Ready", "True InEffect").await;
    }
    assert!(stage.entry(&queued).is_none());
}

/// The entry was made, and nobody was told: neither the process that made it nor the status.
#[tokio::test]
async fn deleted_after_a_crash_before_the_status_was_stored() {
    let mut stage = Stage::new(Mode::Api, &NO_TIMER).await;
    stage.establish("stays", json!({})).await;
    stage.script("CreateAccessEntry", &[Fault::TimeoutAfterEffect]);
    let lost = stage.declare("lost", json!({})).await;
    stage
        .entry_until("it is made", &lost, |entry| entry.is_some())
        .await;
    stage.crash();
    let written = stage.object("lost").await.status.map(|it| it.written);
    assert!(written.unwrap_or_default().is_empty());
    assert_eq!(finalizers(&stage, "lost").await, [ENTRY]);
    stage.cluster.delete("lost").await;
    stage.start(&NO_TIMER).await;
    stage.gone("lost").await;
    assert!(stage.entry(&lost).is_none());
}

/// EKS lists an entry up to half a minute late, and may list none at all.
#[tokio::test]
async fn deleted_while_listings_lack_its_entry() {
    let mut stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let stays = stage.establish("stays", json!({})).await;
    let named = stage.establish("named", json!({})).await;
    let unnamed = stage.establish("unnamed", json!({})).await;
    stage.stop().await;
    // The listing is empty, and of this one nothing remembers that it was written but its finalizer.
    stage.eks.knobs().unlisted = [&stays, &named, &unnamed].map(Clone::clone).into();
    let patch = json!({ "status": { "written": null, "accessEntryArn": null, "backend": null } });
    stage.cluster.kubectl_ok(
        &[
            "patch",
            "idmap",
            "unnamed",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch.to_string(),
        ],
        None,
    );
    for name in ["named", "unnamed"] {
        stage.cluster.delete(name).await;
    }
    stage.start(&NO_TIMER).await;
    for (name, arn) in [("named", &named), ("unnamed", &unnamed)] {
        stage.gone(name).await;
        assert!(stage.entry(arn).is_none(), "{name}");
    }
    assert!(stage.entry(&stays).is_some());
}

#[tokio::test]
async fn retained_with_eks_out_of_reach_or_the_untagging_on_its_way() {
    let mut stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let retain = json!({ "deletion": "Retain" });
    stage.establish("stays", json!({})).await;
    let away = stage.establish("away", retain.clone()).await;
    let flying = stage.establish("flying", retain.clone()).await;
    let silent = stage.establish("silent", retain).await;

    stage.eks.knobs().latency = SLOW;
    stage.cluster.delete("flying").await;
    stage.in_flight("UntagResource").await;
    assert!(!finalizers(&stage, "flying").await.is_empty());
    stage.gone("flying").await;
    assert!(!is_tagged(&stage, &flying));
    stage.eks.knobs().latency = Duration::ZERO;

    // No answer, and no effect.
    stage.script("UntagResource", &[Fault::Timeout]);
    stage.cluster.delete("silent").await;
    stage.gone("silent").await;
    assert!(!is_tagged(&stage, &silent));

    stage.stop().await;
    stage.cluster.delete("away").await;
    stage.eks.knobs().unreachable.insert(Service::Eks);
    stage.start(&NO_TIMER).await;
    let seen = eventually("it says why it is still there", PATIENT, async || {
        let object = stage.object("away").await;
        match condition(&object, "Ready") {
            Some(seen) if seen.message.contains("unverified-removal") => Ok(seen),
            _ => Err(object.status),
        }
    })
    .await;
    assert_eq!(seen.to_string(), "False RemovalNeedsConfirmation");
    assert_eq!(finalizers(&stage, "away").await, [ENTRY]);
    assert!(is_tagged(&stage, &away));
    stage.eks.knobs().unreachable.clear();
    stage.gone("away").await;
    assert!(!is_tagged(&stage, &away));
}

fn with_earlier(name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
        "metadata": { "name": name, "finalizers": [EARLIER] }, "spec": spec,
    })
    .to_string()
}

/// Objects of a version with one finalizer are carried over: alive they get those that they need, deleted they are revoked.
#[tokio::test]
async fn the_earlier_finalizer_is_carried_over() {
    let mut stage = Stage::without_operator(CLUSTER, Mode::ApiAndConfigMap).await;
    for (name, backend) in [("in-text", "ConfigMap"), ("in-entry", "AccessEntry")] {
        let spec = json!({
            "principal": { "arn": stage.role(name) }, "groups": ["team"], "backend": backend,
        });
        let object = with_earlier(name, &spec);
        stage
            .cluster
            .kubectl_ok(&["apply", "-f", "-"], Some(&object));
    }
    stage.start(&NO_TIMER).await;
    for name in ["stays-1", "stays-2", "stays-3"] {
        stage.establish(name, json!({})).await;
    }
    for (name, expected) in [("in-text", TEXT), ("in-entry", ENTRY)] {
        stage.until(name, "Ready", "True InEffect").await;
        eventually("it has its own finalizer", PATIENT, async || {
            let found = finalizers(&stage, name).await;
            if found == [expected] {
                Ok(())
            } else {
                Err(found)
            }
        })
        .await;
    }

    // Deleted before the new version comes.
    stage.stop().await;
    for name in ["in-text", "in-entry"] {
        set_finalizers(&stage, name, &[EARLIER, "example.com/other"]).await;
        stage.cluster.delete(name).await;
    }
    stage.start(&NO_TIMER).await;
    for name in ["in-text", "in-entry"] {
        eventually("ours is off", PATIENT, async || {
            let found = finalizers(&stage, name).await;
            if found == ["example.com/other"] {
                Ok(())
            } else {
                Err((found, stage.object(name).await.status))
            }
        })
        .await;
    }
    assert!(stage.entry(&role("in-entry")).is_none());
    stage.cluster.has_entry("in-text", false).await;
    for name in ["in-text", "in-entry"] {
        set_finalizers(&stage, name, &[]).await;
        stage.gone(name).await;
    }
}
