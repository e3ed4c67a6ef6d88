//! What the kubelet makes of the probes that the chart configures.

use std::time::Duration;

use serde_json::json;

use crate::support::node::namespace::inside;
use crate::support::node::{Node, TAG};
use crate::support::rights::NAMESPACE;
use crate::support::wait::eventually;

/// Six probes in ten seconds each, five seconds that the last one waits, and ten until the process is killed: and as long again, where
/// the machine is busy.
const PATIENT: Duration = Duration::from_mins(4);

/// Waits until the only container has this readiness, and was restarted so many times.
async fn is(node: &Node, ready: bool, restarts: u32) {
    let wanted = format!("{ready} {restarts}");
    let columns =
        "jsonpath={range .items[*].status.containerStatuses[*]}{.ready} {.restartCount}{end}";
    eventually(&format!("the container is {wanted}"), PATIENT, async || {
        let found = node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--output", columns]);
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

#[test]
fn a_process_that_hangs_is_not_ready_and_then_restarted() {
    let test = "probes::a_process_that_hangs_is_not_ready_and_then_restarted";
    inside(test, async |cgroup| {
        let node = Node::start(cgroup).await;
        node.install(TAG, &["authenticationMode=CONFIG_MAP"]);
        node.cluster.establish("before", json!({})).await;
        is(&node, true, 0).await;
        let before = node.cluster.roles().await;

        node.operator().await.halt();
        is(&node, false, 0).await;
        is(&node, true, 1).await;
        assert_eq!(node.cluster.roles().await, before);
        node.cluster.establish("after", json!({})).await;
    });
}
