//! The kubelet logs in by aws-auth, as on EKS. While that is broken the node is out, and the Pod on it repairs it.

use serde_json::json;

use crate::support::certs::NODE_NAME;
use crate::support::eks::{Eks, Mode, World};
use crate::support::logins::exec_user;
use crate::support::mappings::FOREIGN;
use crate::support::node::namespace::inside;
use crate::support::node::{Node, TAG};
use crate::support::{Cluster, Logins};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";
const INSTANCE: &str = "i-0123456789abcdef0";

#[test]
fn the_pod_repairs_the_aws_auth_that_keeps_its_node_out() {
    let test = "locked_out::the_pod_repairs_the_aws_auth_that_keeps_its_node_out";
    inside(test, async |cgroup| {
        let cluster = Cluster::for_node().await;
        cluster.seed(json!({ "mapRoles": FOREIGN })).await;
        let mut world = World::new(CLUSTER).mode(Mode::ConfigMap);
        world
            .instances
            .insert(INSTANCE.to_owned(), NODE_NAME.to_owned());
        world.role("111122223333", "/", "nodes");
        let eks = Eks::start(world).await;
        let _logins = Logins::start(&cluster, &eks).await;
        let kubelet = eks.world().session("111122223333", "nodes", INSTANCE);
        let kubelet = cluster.user_kubeconfig(&exec_user(&eks, &kubelet));
        let mut node = Node::on(cluster, cgroup, &kubelet).await;
        node.install(TAG, &["authenticationMode=CONFIG_MAP"]);
        node.cluster.establish("dev", json!({})).await;
        let before = node.cluster.roles().await;
        assert!(before.contains("role/nodes"), "{before}");

        // Somebody breaks it, and the operator is slow to notice.
        let operator = node.operator().await;
        operator.halt();
        node.cluster
            .write_text("somebody", "mapRoles", "- rolearn: [")
            .await;
        node.ready(false).await;
        operator.go_on();
        node.ready(true).await;
        assert_eq!(node.cluster.roles().await, before);
        node.cluster.establish("another", json!({})).await;
    });
}
