//! `validUntil`: by a timer of its own, and in the first pass after a start.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::NO_TIMER;
use crate::support::mappings::{FOREIGN, condition};
use crate::support::{Cluster, Operator, eventually};

/// The time in so many seconds, in whole seconds as Kubernetes keeps them.
pub(crate) fn ahead(seconds: i64) -> Timestamp {
    let then = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(then.as_second()).unwrap()
}

fn until(time: Timestamp) -> Value {
    json!({ "validUntil": time.to_string() })
}

#[tokio::test]
async fn an_entry_ends_on_time() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;

    // Two seconds after the time at the latest, without anything that happens.
    let end = ahead(6);
    cluster.establish("guest", until(end)).await;
    assert!(
        Timestamp::now() < end,
        "the machine is too slow for this test"
    );
    cluster.has_entry("guest", true).await;
    eventually("the time has come", Duration::from_secs(20), async || {
        let (now, text) = (Timestamp::now(), cluster.roles().await);
        match text == FOREIGN {
            true if now < end => panic!("removed at {now}, before {end}"),
            true => Ok(()),
            false => {
                assert!(
                    now < end + SignedDuration::from_secs(2),
                    "still there at {now}: {end}"
                );
                Err(text)
            }
        }
    })
    .await;
    let seen = cluster.until("guest", "Ready", "True Expired").await;
    assert!(seen.message.contains("entry was removed"), "{seen:?}");

    // A later time brings it back; so does another mapping of the principal, which the expired one does not hold.
    cluster
        .change("guest", json!({ "spec": { "validUntil": null } }))
        .await;
    cluster.ready("guest").await;
    cluster.has_entry("guest", true).await;

    // A time that passes while nobody works.
    let end = ahead(10);
    cluster.change("guest", json!({ "spec": until(end) })).await;
    eventually("the time is seen", Duration::from_secs(9), async || {
        let object = cluster.mappings().get("guest").await.unwrap();
        let seen = object.status.and_then(|status| status.observed_generation);
        seen == object.metadata.generation
    })
    .await;
    assert!(operator.stop().await.0.success());
    eventually("the time has come", Duration::from_secs(20), async || {
        Timestamp::now() > end
    })
    .await;
    cluster.has_entry("guest", true).await;
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    assert_eq!(cluster.roles().await, FOREIGN, "ready after the first pass");

    // A time that is past from the start: accepted, and never granted.
    cluster.declare("late", until(ahead(-60))).await;
    cluster.until("late", "Ready", "True Expired").await;
    assert_eq!(cluster.roles().await, FOREIGN);
    let late = cluster.mappings().get("late").await.unwrap();
    assert_eq!(condition(&late, "Accepted").unwrap().reason, "Expired");
    cluster.kubectl_ok(&["delete", "idmap", "--all"], None);
}
