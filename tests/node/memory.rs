//! A Pod with less memory than its mappings need: the kernel kills it, and nobody loses access meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use identity_mapper::aws_auth::Document;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};

use crate::support::fleet;
use crate::support::node::namespace::inside;
use crate::support::node::{Node, TAG};
use crate::support::rights::NAMESPACE;
use crate::support::wait::eventually;

const MAPPINGS: usize = 3000;
const MODE: &str = "authenticationMode=CONFIG_MAP";
const TOO_LITTLE: &str = "resources.limits.memory=64Mi";

/// The kubelet waits 10 s before it starts the container again, and 20 s the next time; the program is not optimised.
const SOON: Duration = Duration::from_mins(4);

/// Every unmanaged byte is where it was, and no write was half of one.
async fn untouched(node: &Node) {
    let object = node.cluster.config_maps().get("aws-auth").await.unwrap();
    let data = object.data.unwrap();
    assert!(data["mapRoles"].starts_with(fleet::ROLES));
    assert_eq!(data["mapUsers"], fleet::USERS);
    assert_eq!(data["notes"], fleet::NOTES);
    let document = Document::parse(&data);
    assert_eq!(document.entries().count(), roles(&data["mapRoles"]) + 1);
}

/// So many entries of roles a text has.
fn roles(text: &str) -> usize {
    text.matches("rolearn:").count()
}

/// Waits until the kernel has killed the only container, and the kubelet started it again so many times.
async fn killed(node: &Node, restarts: i32) {
    let pods = Api::<Pod>::namespaced(node.cluster.admin(), NAMESPACE);
    eventually("the kernel killed it", SOON, async || {
        let all = pods.list(&ListParams::default()).await.unwrap().items;
        let containers = all
            .into_iter()
            .filter_map(|pod| pod.status?.container_statuses?.pop());
        let containers: Vec<_> = containers.collect();
        let killed = containers.iter().any(|container| {
            let states = [&container.state, &container.last_state];
            let mut ended = states
                .into_iter()
                .flatten()
                .filter_map(|state| state.terminated.as_ref());
            container.restart_count >= restarts
                && ended.any(|end| end.reason.as_deref() == Some("OOMKilled"))
        });
        if killed { Ok(()) } else { Err(containers) }
    })
    .await;
}

#[test]
fn too_little_memory_takes_no_access() {
    let test = "memory::too_little_memory_takes_no_access";
    inside(test, async |cgroup| {
        let node = Node::start(cgroup).await;
        let seed = fleet::aws_auth(BTreeMap::new());
        let config_maps = node.cluster.config_maps();
        let made = config_maps.create(&PostParams::default(), &seed).await;
        made.unwrap();
        node.install(TAG, &[MODE, TOO_LITTLE]);
        let scale = |replicas: &str| {
            let deployment = "deployment/identity-mapper";
            node.kubectl(&["scale", deployment, "--namespace", NAMESPACE, replicas]);
        };
        scale("--replicas=0");
        eventually("no Pod is left", SOON, async || {
            let pods = node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--output=name"]);
            if pods.is_empty() { Ok(()) } else { Err(pods) }
        })
        .await;
        fleet::create(&node.cluster.admin(), 0..MAPPINGS).await;
        scale("--replicas=1");
        // Between two kills it may come as far as writing entries.
        killed(&node, 1).await;
        untouched(&node).await;
        killed(&node, 2).await;
        untouched(&node).await;

        // With the chart's own limit all of them take effect.
        node.install(TAG, &[MODE]);
        let all = MAPPINGS + roles(fleet::ROLES);
        eventually("all take effect", SOON, async || {
            let found = roles(&node.cluster.roles().await);
            if found == all { Ok(()) } else { Err(found) }
        })
        .await;
        untouched(&node).await;
    });
}
