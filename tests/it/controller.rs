//! The loop against a real API server: what it writes, how often, and what it leaves alone.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use identity_mapper::api::IdentityMapping;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::support::mappings::{FOREIGN, SOON, condition};
use crate::support::{Audit, Cluster, Operator, eventually, rights};

/// For hundreds of objects on a busy machine.
const LATER: Duration = Duration::from_mins(2);
/// Enough for statuses and finalizers to take seconds.
const MANY: usize = 400;

async fn create_many(cluster: &Cluster) {
    let create =
        |number: usize| async move { cluster.declare(&format!("r{number}"), json!({})).await };
    stream::iter(0..MANY).for_each_concurrent(16, create).await;
}

async fn vandalise(cluster: &Cluster) {
    cluster.write_text("terraform", "mapRoles", FOREIGN).await;
}

fn is_ready(mapping: &IdentityMapping) -> bool {
    condition(mapping, "Ready").is_some_and(|seen| seen.status == "True")
}

/// Waits until so many mappings are there and all of them are ready.
async fn all_ready(cluster: &Cluster, count: usize) {
    eventually("every mapping is ready", LATER, async || {
        let list = cluster.mappings().list(&ListParams::default()).await;
        let items = list.unwrap().items;
        let ready = items.iter().filter(|mapping| is_ready(mapping)).count();
        if (items.len(), ready) == (count, count) {
            Ok(())
        } else {
            Err(format!("{ready} of {}", items.len()))
        }
    })
    .await;
}

#[tokio::test]
async fn a_mapping_is_created_kept_and_deleted() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &[]).await;
    let audit = cluster.audit();
    let mark = audit.mark().await;

    cluster.declare("a", json!({})).await;
    cluster.has_entry("a", true).await;
    all_ready(&cluster, 1).await;
    assert!(cluster.roles().await.starts_with(FOREIGN));

    vandalise(&cluster).await;
    cluster.has_entry("a", true).await;

    let api = cluster.mappings();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    eventually("the object is gone", SOON, async || {
        let object = api.get_opt("a").await.unwrap();
        object.map_or(Ok(()), Err)
    })
    .await;
    assert_eq!(cluster.roles().await, FOREIGN);

    let writes = audit.writes("configmaps").of("aws-auth");
    let writes = writes.by(Audit::OPERATOR).since(mark).count().await;
    assert_eq!(writes, 3, "one each for creation, repair and deletion");
    let metrics = operator.metrics().await;
    let written = Operator::metric(
        &metrics,
        "identity_mapper_writes_total",
        &[("result", "written")],
    );
    assert_eq!(written, Some(3.0));
    let (status, duration) = operator.stop().await;
    assert!(
        status.success() && duration < Duration::from_secs(1),
        "{status} after {duration:?}"
    );
}

#[tokio::test]
async fn mappings_that_are_there_at_the_start_cost_one_write() {
    let cluster = Cluster::seeded().await;
    create_many(&cluster).await;
    let audit = cluster.audit();
    let mark = audit.mark().await;
    let _operator = Operator::start(&cluster, &[]).await;
    all_ready(&cluster, MANY).await;
    let writes = audit.writes("configmaps").of("aws-auth");
    assert_eq!(writes.by(Audit::OPERATOR).since(mark).count().await, 1);
    let statuses = audit.writes("identitymappings/status");
    let statuses = statuses.by(Audit::OPERATOR).since(mark).count().await;
    assert_eq!(statuses, MANY, "one for each mapping");
}

#[tokio::test]
async fn a_burst_costs_few_writes() {
    let cluster = Cluster::seeded().await;
    let _operator = Operator::start(&cluster, &[]).await;
    let audit = cluster.audit();
    let mark = audit.mark().await;
    let begun = Instant::now();
    create_many(&cluster).await;
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    all_ready(&cluster, MANY).await;
    let writes = audit.writes("configmaps").of("aws-auth");
    let writes = writes.by(Audit::OPERATOR).since(mark).count().await;
    assert!(
        (1..=5 + seconds).contains(&writes),
        "{writes} writes in {seconds} s"
    );
}

#[tokio::test]
async fn drift_is_repaired_while_statuses_wait() {
    let cluster = Cluster::seeded().await;
    create_many(&cluster).await;
    let _operator = Operator::start(&cluster, &[]).await;
    cluster.has_entry("r0", true).await;
    let text = cluster.roles().await;
    vandalise(&cluster).await;
    eventually("the entries are back", SOON, async || {
        let found = cluster.roles().await;
        if found == text { Ok(()) } else { Err(found) }
    })
    .await;
    let items = cluster
        .mappings()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert!(
        items.iter().any(|mapping| !is_ready(mapping)),
        "the statuses were not done before the repair"
    );
    all_ready(&cluster, MANY).await;
}

#[tokio::test]
async fn nothing_is_done_before_the_definition_is_there() {
    let cluster = Cluster::start().await;
    rights::grant(&cluster.admin(), "kube-system", "aws-auth").await;
    let mut operator = Operator::spawn(&cluster, &[]).await;
    eventually("the log names the mend", SOON, async || {
        let log = operator.log();
        if log.contains("is not installed") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    assert_eq!(operator.probe("/readyz").await, 503);
    assert_eq!(operator.probe("/livez").await, 200);
    rights::install_definitions(&cluster.admin()).await;
    operator.wait_ready().await.unwrap();
}
