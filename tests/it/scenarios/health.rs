//! What probes say when the API server, or what it stands on, is away: not ready, with the reason; never dead; and at work again
//! afterwards.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::NO_TIMER;
use crate::support::eks::Gate;
use crate::support::link::{Link, Quality};
use crate::support::mappings::{FOREIGN, SOON};
use crate::support::programs::operator_binary;
use crate::support::proxy::{Fault, On, Proxy};
use crate::support::{Cluster, Operator, eventually};

/// A watch ends and fails to begin again, for longer than a hiccup takes.
const NOTICED: Duration = Duration::from_mins(3);

fn signal(pid: u32, name: &str) {
    let sent = Command::new("/bin/kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until the operator is not ready and says so in its answer: reasons come one after the other. It is alive all the while.
async fn unready(operator: &Operator, reason: &str) {
    eventually("the operator is not ready", NOTICED, async || {
        assert_eq!(operator.probe("/livez").await, 200);
        match operator.answer("/readyz").await {
            (503, body) if body.contains(reason) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

async fn ready_again(operator: &Operator) {
    eventually("the operator is ready again", NOTICED, async || {
        let answer = operator.answer("/readyz").await;
        if answer.0 == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test]
async fn without_an_api_server_it_is_not_ready_and_repairs_afterwards() {
    let cluster = Cluster::seeded().await;
    let link = Link::to(&cluster, Quality::Fast).await;
    let kubeconfig = link.kubeconfig(&cluster, &cluster.operator_kubeconfig().await);
    let mut operator =
        Operator::spawn_program(&cluster, &operator_binary(), &NO_TIMER, &kubeconfig);
    operator.wait_ready().await.unwrap();
    cluster.establish("a", json!({})).await;

    link.set(Quality::Cut);
    unready(
        &operator,
        "the watch of the ConfigMap has been failing for ",
    )
    .await;
    cluster.write_text("vandal", "mapRoles", FOREIGN).await;
    link.set(Quality::Fast);
    cluster.has_entry("a", true).await;
    ready_again(&operator).await;
    assert_eq!(operator.answer("/readyz").await, (200, "ok\n".to_owned()));
    assert!(operator.stop().await.0.success());
}

#[tokio::test]
async fn an_api_server_that_hangs_makes_it_unready_and_not_dead() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.establish("a", json!({})).await;
    let [_, api_server] = cluster.pids();
    signal(api_server, "STOP");
    unready(&operator, "the watch of ").await;
    signal(api_server, "CONT");
    ready_again(&operator).await;
    cluster.establish("b", json!({})).await;
    assert!(operator.stop().await.0.success());
}

#[tokio::test]
async fn a_store_that_hangs_makes_passes_fail_and_it_unready() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &["--resync=1s"]).await;
    cluster.establish("a", json!({})).await;
    let [etcd, _] = cluster.pids();
    signal(etcd, "STOP");
    unready(&operator, "reconciliations have been failing for ").await;
    signal(etcd, "CONT");
    ready_again(&operator).await;
    cluster.establish("b", json!({})).await;
    assert!(operator.stop().await.0.success());
}

/// The chart has no startupProbe: a process is alive before anything has answered it, for as long as that takes, and says what it waits
/// for.
#[tokio::test]
async fn a_start_that_takes_long_is_alive() {
    let cluster = Cluster::seeded().await;
    let kubeconfig = cluster.operator_kubeconfig().await;
    for (fault, waits) in [
        (
            Fault::HalfOpen,
            "waiting for IdentityMappings, the ConfigMap",
        ),
        // The loop takes in what its watches meet.
        (
            Fault::Unavailable,
            "the watch of the ConfigMap has been failing for ",
        ),
    ] {
        let proxy = Proxy::start(&cluster, &Gate::default()).await;
        proxy.faults().put(On::Any, fault, 1.0);
        let way = proxy.kubeconfig(&cluster, &kubeconfig);
        let mut operator = Operator::spawn_program(&cluster, &operator_binary(), &NO_TIMER, &way);
        eventually("probes are served", SOON, async || {
            tokio::net::TcpStream::connect(operator.addresses()[1]).await
        })
        .await;
        unready(&operator, waits).await;
        assert_eq!(operator.probe("/livez").await, 200);
        if fault == Fault::Unavailable {
            proxy.faults().calm();
            operator.wait_ready().await.unwrap();
        }
    }
}
