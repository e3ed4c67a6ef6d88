//! Two Pods of the chart: one hangs or dies and the other goes on. Without the operator's namespace, access stays.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use crate::support::node::container::Container;
use crate::support::node::namespace::inside;
use crate::support::node::{Node, PATIENT, TAG};
use crate::support::rights::NAMESPACE;
use crate::support::wait::eventually;

const REPLICAS: &[&str] = &["authenticationMode=CONFIG_MAP", "replicas=2"];

/// Ten seconds are promised. Where the machine is busy it takes longer until someone asks.
const FAILOVER: Duration = Duration::from_secs(15);

async fn holder(node: &Node) -> Option<String> {
    let leases = Api::<Lease>::namespaced(node.cluster.admin(), NAMESPACE);
    let lease = leases.get_opt("identity-mapper").await.unwrap();
    lease?.spec?.holder_identity.filter(|it| !it.is_empty())
}

/// Waits until a process leads that is none of these.
async fn leader(node: &Node, before: &[&str], within: Duration) -> String {
    eventually("another process leads", within, async || {
        match holder(node).await {
            Some(holder) if !before.contains(&holder.as_str()) => Ok(holder),
            other => Err(other),
        }
    })
    .await
}

/// The process that has this identity in the Lease.
fn process(identity: &str) -> Container {
    let all = Container::find("/identity-mapper");
    let mut of_pod = all.into_iter().filter(|it| {
        let rest = identity.strip_prefix(&it.pod());
        rest.is_some_and(|rest| rest.starts_with('_'))
    });
    of_pod.next().expect("the leader runs here")
}

/// How many entries of mappings aws-auth has.
async fn entries(node: &Node) -> usize {
    node.cluster.roles().await.matches("rolearn:").count()
}

#[test]
fn the_other_pod_goes_on_and_access_outlives_the_namespace() {
    inside(
        "failover::the_other_pod_goes_on_and_access_outlives_the_namespace",
        async |cgroup| {
            let node = Node::start(cgroup).await;
            node.install(TAG, REPLICAS);
            node.cluster.establish("a", json!({})).await;
            let first = leader(&node, &[], PATIENT).await;

            // It hangs as its node would, and wakes up when another one leads.
            let halted = process(&first);
            halted.halt();
            let second = leader(&node, &[&first], FAILOVER).await;
            node.cluster.establish("b", json!({})).await;
            halted.go_on();
            node.cluster.delete("a").await;
            node.cluster.gone("a").await;

            process(&second).kill();
            // The first one, or its own successor where that starts in time.
            let third = leader(&node, &[&second], FAILOVER).await;
            node.cluster.establish("c", json!({})).await;
            let text = node.cluster.roles().await;
            assert_eq!(entries(&node).await, 2, "{third}: {text}");

            node.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=180s"]);
            assert_eq!(node.cluster.roles().await, text);
            let mappings = node.kubectl(&["get", "identitymappings", "--output=name"]);
            assert_eq!(mappings.lines().count(), 2, "{mappings}");
            let policies = node.kubectl(&["get", "validatingadmissionpolicies", "--output=name"]);
            assert!(policies.contains("identity-mapper"), "{policies}");

            // As docs/disasters.md says.
            node.install(TAG, REPLICAS);
            node.cluster.delete("b").await;
            node.cluster.gone("b").await;
            assert_eq!(entries(&node).await, 1);
        },
    );
}
