//! aws-auth can't be written: only what depends on that write waits.

use serde_json::json;

use super::stage::{NO_TIMER, PATIENT, Stage};
use crate::scenarios::refusals::{freeze, read_only, rules, standing_rules, thaw};
use crate::scenarios::time::ahead;
use crate::support::eks::Mode;
use crate::support::eventually;
use crate::support::mappings::{SOON, condition};

/// Mappings in both backends.
async fn stage() -> Stage {
    let stage = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    for name in ["text", "revoked"] {
        stage
            .establish(name, json!({ "backend": "ConfigMap" }))
            .await;
    }
    for name in ["changed", "gone", "guest"] {
        stage.establish(name, json!({})).await;
    }
    // A handover begins: both backends have it now.
    let backend = json!({ "spec": { "backend": "AccessEntry" } });
    stage.cluster.change("revoked", backend).await;
    let arn = crate::support::mappings::role("revoked");
    stage
        .entry_until("it is handed over", &arn, |entry| entry.is_some())
        .await;
    stage.cluster.ready("revoked").await;
    stage
}

/// With a pending change of the text that is refused for this reason, everything else goes on.
async fn goes_on(stage: &Stage, reason: &str) {
    let cluster = &stage.cluster;
    let before = cluster.roles().await;
    let regroup = || json!({ "spec": { "groups": ["other"] } });
    cluster.change("text", regroup()).await;
    let refused = format!("False {reason}");
    cluster.until("text", "Synced", &refused).await;
    let retried = format!("True {reason}");
    cluster.until("text", "Reconciling", &retried).await;

    let new = stage.establish("new", json!({})).await;
    assert!(stage.entry(&new).is_some());
    cluster.change("changed", regroup()).await;
    let arn = crate::support::mappings::role("changed");
    stage
        .entry_until("it is changed", &arn, |entry| {
            entry.is_some_and(|entry| entry.groups.iter().eq(["other"]))
        })
        .await;
    cluster.ready("changed").await;
    stage.delete(&["gone"]);
    assert!(
        stage
            .entry(&crate::support::mappings::role("gone"))
            .is_none()
    );

    // A time passes.
    let until = json!({ "spec": { "validUntil": ahead(4).to_string() } });
    cluster.change("guest", until).await;
    let arn = crate::support::mappings::role("guest");
    stage
        .entry_until("validUntil takes effect", &arn, |entry| entry.is_none())
        .await;
    cluster.until("guest", "Ready", "True Expired").await;

    // To delete the entry alone would only uncover what aws-auth says.
    cluster.delete("revoked").await;
    cluster.until("revoked", "Synced", &refused).await;
    stage.fence("fence").await;
    let arn = crate::support::mappings::role("revoked");
    assert!(stage.entry(&arn).is_some());
    assert_eq!(cluster.roles().await, before);
    eventually("nobody else says it", SOON, async || {
        for name in ["new", "changed", "fence"] {
            let object = stage.object(name).await;
            let seen = condition(&object, "Synced").ok_or("no condition")?;
            if seen.status != "True" {
                return Err(format!("{name}: {seen:?}"));
            }
        }
        Ok(())
    })
    .await;
    // Whoever watches the Pods learns that something is not done.
    eventually("the operator is not ready", PATIENT, async || {
        match stage.operator().answer("/readyz").await {
            (503, body) if body.contains("failing") => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

/// The write can be made again.
async fn catches_up(stage: &Stage) {
    // The pause after failures is a minute at most.
    stage.until("text", "Synced", "True Synced").await;
    let arn = crate::support::mappings::role("revoked");
    stage
        .entry_until("both are removed", &arn, |entry| entry.is_none())
        .await;
    stage.cluster.has_entry("revoked", false).await;
    stage.cluster.gone("revoked").await;
}

#[tokio::test]
async fn a_denied_write_of_aws_auth_holds_only_what_needs_it() {
    let stage = stage().await;
    freeze(&stage.cluster).await;
    goes_on(&stage, "WriteDenied").await;
    thaw(&stage.cluster);
    catches_up(&stage).await;
}

#[tokio::test]
async fn a_forbidden_write_of_aws_auth_holds_only_what_needs_it() {
    let stage = stage().await;
    let all = standing_rules(&stage.cluster);
    let reading = read_only(&all, "aws-auth");
    rules(&stage.cluster, &reading, "aws-auth", false).await;
    goes_on(&stage, "WriteForbidden").await;
    rules(&stage.cluster, &all, "aws-auth", true).await;
    catches_up(&stage).await;
}
