//! The chart installed by helm, without AWS.

use serde_json::json;

use crate::support::node::namespace::inside;
use crate::support::node::{Node, TAG};
use crate::support::rights::NAMESPACE;

#[test]
fn a_mapping_takes_effect_by_the_pod_of_the_chart() {
    inside(
        "install::a_mapping_takes_effect_by_the_pod_of_the_chart",
        async |cgroup| {
            let node = Node::start(cgroup).await;
            // A namespace that takes restricted Pods only.
            node.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }));
            node.install(TAG, &["authenticationMode=CONFIG_MAP"]);

            node.cluster.establish("dev", json!({})).await;
            node.cluster.has_entry("dev", true).await;

            let pods = node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--no-headers"]);
            assert!(pods.contains("1/1") && pods.contains("Running"), "{pods}");
            let log = node.operator_log();
            assert!(log.contains(r#""message":"access granted""#), "{log}");

            let operator = node.operator().await;
            let status = operator.status();
            assert_eq!(status["Uid"], "65532\t65532\t65532\t65532");
            assert_eq!(status["Gid"], "65532\t65532\t65532\t65532");
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(status[set], "0000000000000000", "{set}");
            }
            assert_eq!(status["NoNewPrivs"], "1");
            assert_eq!(status["Seccomp"], "2");
            assert!(operator.mount_options("/").contains(&"ro".to_owned()));
            assert_eq!(
                operator.files(),
                ["/etc/ssl/certs/ca-certificates.crt", "/identity-mapper"]
            );

            node.test_release();

            node.cluster.delete("dev").await;
            node.cluster.gone("dev").await;
            node.cluster.has_entry("dev", false).await;
        },
    );
}
