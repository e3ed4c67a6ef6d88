//! Two masters: a loop that rewrites aws-auth, and a cluster in which nothing happens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::NO_TIMER;
use crate::support::mappings::{FOREIGN, SOON};
use crate::support::{Audit, Cluster, Operator, eventually};

/// As long as the fight lasts.
const FIGHT: Duration = Duration::from_secs(20);
/// As often as the other one writes.
const EVERY: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_fight_costs_one_repair_a_second_and_few_events() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    for name in ["a", "b"] {
        cluster.establish(name, json!({})).await;
    }
    let declared = cluster.roles().await;
    let mark = cluster.audit().mark().await;

    let mut beat = tokio::time::interval(EVERY);
    let begun = Instant::now();
    while begun.elapsed() < FIGHT {
        beat.tick().await;
        cluster.write_text("terraform", "mapRoles", FOREIGN).await;
    }
    cluster
        .text_until("mapRoles", |text| text == declared)
        .await;
    assert!(
        begun.elapsed() < FIGHT + Duration::from_secs(3),
        "the last repair follows within its second"
    );

    let writes = cluster
        .audit()
        .writes("configmaps")
        .of("aws-auth")
        .by(Audit::OPERATOR)
        .since(mark);
    let times: Vec<Timestamp> = writes
        .records()
        .await
        .iter()
        .filter(|record| record.code() == 200)
        .map(|record| record.stage_timestamp.parse().unwrap())
        .collect();
    assert!(times.len() > 10, "never none: {}", times.len());
    for pair in times[2..].windows(2) {
        let pause = pair[1].duration_since(pair[0]);
        assert!(
            pause > SignedDuration::from_millis(900),
            "{pause:?} between two repairs"
        );
    }
    for name in ["a", "b"] {
        let seen = cluster.until(name, "Contested", "True Contested").await;
        assert!(seen.message.contains("terraform"), "{seen:?}");
    }
    let events = cluster.events_on_faults().await;
    assert!(!events.is_empty() && events.len() <= 6, "{events:#?}");
    let metrics = operator.metrics().await;
    assert!(
        Operator::metric(&metrics, "identity_mapper_contested", &[]) >= Some(2.0),
        "{metrics}"
    );
    // In the history, one of each text.
    let texts: BTreeSet<String> = cluster
        .history()
        .await
        .values()
        .map(|copy| copy["data"]["mapRoles"].to_string())
        .collect();
    assert!(texts.len() <= 5, "{texts:#?}");
    let statuses = cluster
        .audit()
        .writes("identitymappings/status")
        .of("a")
        .by(Audit::OPERATOR)
        .since(mark);
    let statuses = statuses.count().await;
    assert!(statuses <= 6, "{statuses} statuses of one mapping");
}

#[tokio::test]
async fn an_idle_operator_writes_nothing() {
    let cluster = Cluster::seeded().await;
    // A pass a second.
    let operator = Operator::start(&cluster, &["--resync=1s"]).await;
    // Mappings in every state that lasts.
    cluster.establish("good", json!({})).await;
    cluster.establish("mended", json!({})).await;
    let text = cluster.roles().await;
    cluster
        .write_text("kubectl-edit", "mapRoles", FOREIGN)
        .await;
    cluster
        .text_until("mapRoles", |found| found.len() == text.len())
        .await;
    cluster
        .declare(
            "twin",
            json!({ "principal": { "arn": crate::support::mappings::role("good") } }),
        )
        .await;
    cluster
        .until("twin", "Ready", "False DuplicatePrincipal")
        .await;
    cluster
        .declare(
            "foreign",
            json!({ "principal": { "arn": crate::support::mappings::role("nodes") } }),
        )
        .await;
    cluster
        .until("foreign", "Ready", "False UnmanagedEntry")
        .await;
    cluster.declare("set", json!({ "principal": { "permissionSet": { "name": "View", "accountId": "111122223333" } } })).await;
    cluster
        .until("set", "Ready", "False PermissionSetUnresolved")
        .await;
    cluster.establish("paused", json!({})).await;
    cluster
        .change("paused", json!({ "spec": { "suspend": true } }))
        .await;
    cluster.until("paused", "Synced", "False Suspended").await;
    cluster
        .declare("late", json!({ "validUntil": "2024-01-01T00:00:00Z" }))
        .await;
    cluster.until("late", "Ready", "True Expired").await;
    cluster
        .establish("later", json!({ "validUntil": "2124-01-01T00:00:00Z" }))
        .await;
    cluster
        .establish("workers", json!({ "type": "FargateLinux", "groups": [] }))
        .await;
    cluster.delete("workers").await;
    cluster
        .until("workers", "Ready", "False RemovalNeedsConfirmation")
        .await;
    cluster.establish("last", json!({})).await;

    let passes = async || {
        let metrics = operator.metrics().await;
        Operator::metric(&metrics, "identity_mapper_passes_total", &[]).unwrap()
    };
    // Events and statuses of the last change are on their way for a moment.
    let settled = passes().await + 3.0;
    eventually("some passes", SOON, async || passes().await >= settled).await;
    let (mark, begun, before) = (cluster.audit().mark().await, Instant::now(), passes().await);
    eventually("thirty seconds", Duration::from_secs(35), async || {
        begun.elapsed() >= Duration::from_secs(30)
    })
    .await;
    assert!(passes().await - before >= 20.0, "it passed all the time");
    let writes = cluster.audit().all_writes().by(Audit::OPERATOR).since(mark);
    let records = writes.records().await;
    assert!(records.is_empty(), "{records:#?}");
}
