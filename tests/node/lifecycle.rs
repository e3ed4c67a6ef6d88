//! Upgrades, evictions and the end of a release: the Pod comes and goes, access stays.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use crate::support::certs::NODE_NAME;
use crate::support::node::namespace::inside;
use crate::support::node::{Node, TAG, image};
use crate::support::rights::NAMESPACE;
use crate::support::wait::eventually;

/// The tag of a later version.
const NEXT: &str = "next";

const MODE: &str = "authenticationMode=CONFIG_MAP";
const SOON: Duration = Duration::from_mins(2);

async fn aws_auth(node: &Node) -> ConfigMap {
    node.cluster.config_maps().get("aws-auth").await.unwrap()
}

/// Waits until the only Pod is ready and of this image.
async fn runs(node: &Node, tag: &str) {
    let wanted = format!("{}:{tag} true", image::OPERATOR);
    let columns = "jsonpath={range .items[*]}{.spec.containers[0].image} {.status.containerStatuses[0].ready}{\"\\n\"}{end}";
    eventually(&format!("the Pod runs {tag}"), SOON, async || {
        let pods = node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--output", columns]);
        if pods.trim() == wanted {
            Ok(())
        } else {
            Err(pods)
        }
    })
    .await;
}

#[test]
fn no_entry_changes_while_the_pod_is_replaced() {
    inside(
        "lifecycle::no_entry_changes_while_the_pod_is_replaced",
        async |cgroup| {
            let node = Node::start(cgroup).await;
            let next = image::operator(node.folder(), NEXT);
            node.import(&next);
            node.install(TAG, &[MODE]);
            for number in 0..20 {
                node.cluster
                    .establish(&format!("role-{number}"), json!({}))
                    .await;
            }
            let before = aws_auth(&node).await;

            // Forth and back, and pushed off the node.
            node.install(NEXT, &[MODE]);
            runs(&node, NEXT).await;
            node.install(TAG, &[MODE]);
            runs(&node, TAG).await;
            node.kubectl(&["drain", NODE_NAME, "--ignore-daemonsets", "--timeout=120s"]);
            node.kubectl(&["uncordon", NODE_NAME]);
            runs(&node, TAG).await;
            assert_eq!(aws_auth(&node).await, before);

            // Each of these was a Pod that works.
            node.cluster.establish("last", json!({})).await;
            let before = aws_auth(&node).await;
            let text = before.data.as_ref().unwrap()["mapRoles"].clone();
            assert_eq!(text.matches("rolearn:").count(), 21, "{text}");

            // As README says it is done.
            let operator = "deployment/identity-mapper";
            let exec = ["exec", "--namespace", NAMESPACE, operator, "--"];
            let release = ["/identity-mapper", "release", "--yes"];
            node.kubectl(&[&exec[..], &release].concat());
            image::run(&mut node.helm(&[
                "uninstall",
                "identity-mapper",
                "--wait",
                "--timeout=120s",
            ]));
            eventually("no Pod is left", SOON, async || {
                let pods =
                    node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--output=name"]);
                if pods.is_empty() { Ok(()) } else { Err(pods) }
            })
            .await;
            assert_eq!(aws_auth(&node).await.data, before.data);
            let mappings = node.kubectl(&["get", "identitymappings", "--output=name"]);
            assert_eq!(mappings.lines().count(), 21);
        },
    );
}
