//! Pods that have IPv6 addresses alone, as in EKS clusters of that kind: the API server, the kubelet's probes, EKS Pod Identity and AWS
//! are reached by IPv6.

use std::path::Path;

use serde_json::json;

use crate::support::Logins;
use crate::support::addresses::Family;
use crate::support::eks::{Eks, Mark, Mode, Service, World};
use crate::support::node::namespace::{inside, skip};
use crate::support::node::workload::{Aws, Way};
use crate::support::node::{Node, TAG};
use crate::support::rights::{NAMESPACE, SERVICE_ACCOUNT};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";
const TEST: &str = "ipv6::a_pod_works_without_ipv4";

#[test]
fn a_pod_works_without_ipv4() {
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return skip(TEST, "the kernel has no IPv6");
    }
    inside(TEST, async |cgroup| {
        let node = Node::start_by(Family::V6, cgroup).await;
        let mut world = World::new(CLUSTER)
            .mode(Mode::ApiAndConfigMap)
            .api_server(&node.cluster.authority(), node.cluster.url());
        let role = world.role("111122223333", "/", "identity-mapper");
        world.trust_workload(NAMESPACE, SERVICE_ACCOUNT, &role);
        world.role("111122223333", "/", "dev");
        world.attach_queue("identity-mapper");
        let eks = Eks::start(world).await;
        let logins = Logins::start(&node.cluster, &eks).await;
        let aws = Aws::open(&node, &eks, Way::PodIdentity, &role.arn).await;
        let mut values = aws.values();
        // The other hosts of AWS have no IPv6 addresses.
        let dual_stack = json!([{"name": "AWS_USE_DUALSTACK_ENDPOINT", "value": "true"}]);
        values.extend([
            "eks.clusterName=main".to_owned(),
            "eks.queueUrl=https://sqs.eu-west-1.api.aws/111122223333/identity-mapper".to_owned(),
            format!("env={dual_stack}"),
        ]);
        node.install(TAG, &values);

        let addresses = "jsonpath={.items[*].status.podIPs[*].ip}";
        let addresses = node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "-o", addresses]);
        assert!(
            addresses.starts_with("fd99:") && !addresses.contains('.'),
            "{addresses}"
        );

        node.cluster
            .establish("text", json!({"backend": "ConfigMap"}))
            .await;
        node.cluster.has_entry("text", true).await;
        node.cluster
            .establish("dev", json!({"backend": "AccessEntry"}))
            .await;
        let dev = eks.world().session("111122223333", "dev", "ann");
        let who = logins.who(&eks.token(&dev)).await.unwrap();
        assert!(who.groups.unwrap_or_default().contains(&"team".to_owned()));
        let asked = eks.log();
        for service in [Service::Eks, Service::Iam, Service::Sqs] {
            let calls = asked.since(Mark::START);
            assert!(
                calls.iter().any(|call| call.service == service),
                "{service:?}"
            );
        }
    });
}
