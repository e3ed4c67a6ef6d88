//! Upgrades, evictions and the end of a release: Pods come and go, access stays in both backends.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use serde_json::json;

use crate::aws::{ACCOUNT, Cloud};
use crate::support::certs::NODE_NAME;
use crate::support::eks::{Entry, Mark};
use crate::support::mappings::role;
use crate::support::node::namespace::inside;
use crate::support::node::workload::Way;
use crate::support::node::{Node, TAG, image};
use crate::support::programs::program;
use crate::support::rights::NAMESPACE;
use crate::support::wait::eventually;

/// The tag of a later version.
const NEXT: &str = "next";

/// Mappings in each backend.
const COUNT: usize = 10;

const REPLICAS: usize = 2;

const SOON: Duration = Duration::from_mins(2);

/// Each Pod's image and whether it is ready.
fn pods(node: &Node) -> Vec<String> {
    let columns = "jsonpath={range .items[*]}{.spec.containers[0].image} {.status.containerStatuses[0].ready}{\"\\n\"}{end}";
    let pods = node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--output", columns]);
    pods.lines().map(str::to_owned).collect()
}

/// Waits until all Pods are ready and of this image.
async fn run(node: &Node, tag: &str) {
    let wanted = vec![format!("{}:{tag} true", image::OPERATOR); REPLICAS];
    eventually(&format!("the Pods run {tag}"), SOON, async || {
        let found = pods(node);
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn uninstall(node: &Node) {
    let args = ["uninstall", "identity-mapper", "--wait", "--timeout=120s"];
    image::run(&mut node.helm(&args));
    eventually("no Pod is left", SOON, async || {
        let pods = node.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--output=name"]);
        if pods.is_empty() { Ok(()) } else { Err(pods) }
    })
    .await;
}

/// A command of kubectl that is waited for later.
fn begin(node: &Node, args: &[&str]) -> Child {
    let mut command = Command::new(program("kubectl"));
    command
        .args(args)
        .env("KUBECONFIG", node.cluster.admin_kubeconfig())
        .stdout(Stdio::null());
    command.spawn().unwrap()
}

/// Pushes the Pods off the only node: one after the other, as their budget says, and the other one works meanwhile.
async fn drain(node: &Node) {
    let args = ["drain", NODE_NAME, "--ignore-daemonsets", "--timeout=170s"];
    let mut drain = begin(node, &args);
    let unscheduled = format!("{}:{TAG} ", image::OPERATOR);
    eventually("one Pod has no node", SOON, async || {
        let found = pods(node);
        let ready = found.iter().filter(|it| it.ends_with(" true")).count();
        assert!(ready > 0, "{found:?}");
        if ready == 1 && found.contains(&unscheduled) {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
    node.kubectl(&["uncordon", NODE_NAME]);
    let status = eventually("the node is drained", SOON, async || {
        let found = pods(node);
        assert!(found.iter().any(|it| it.ends_with(" true")), "{found:?}");
        drain.try_wait().unwrap().ok_or(found)
    })
    .await;
    assert!(status.success(), "{status}");
}

/// A release with entries in both backends.
struct Stage {
    node: Node,
    cloud: Cloud,
}

/// Who has access.
#[derive(Debug, PartialEq)]
struct Access {
    aws_auth: ConfigMap,
    entries: BTreeMap<String, Arc<Entry>>,
}

impl Access {
    /// Without what records that an entry is managed.
    fn unmanaged(mut self) -> Self {
        self.aws_auth.metadata = ObjectMeta::default();
        for entry in self.entries.values_mut() {
            Arc::make_mut(entry).tags.clear();
        }
        self
    }
}

impl Stage {
    async fn set(cgroup: &str) -> Self {
        let node = Node::start(cgroup).await;
        let next = image::operator(node.folder(), NEXT);
        node.import(&next);
        let cloud = Cloud::start(&node, Way::PodIdentity, |world| {
            for number in 0..=COUNT {
                world.role(ACCOUNT, "/", &format!("entry-{number}"));
                world.role(ACCOUNT, "/", &format!("text-{number}"));
            }
        })
        .await;
        let this = Self { node, cloud };
        this.install(TAG);
        let names = |number| {
            [("entry", "AccessEntry"), ("text", "ConfigMap")]
                .map(|(kind, backend)| (format!("{kind}-{number}"), backend))
        };
        for (name, backend) in (0..COUNT).flat_map(names) {
            let spec = json!({ "backend": backend });
            this.node.cluster.declare(&name, spec).await;
        }
        for (name, _) in (0..COUNT).flat_map(names) {
            this.node.cluster.ready(&name).await;
        }
        // The last thing that is done to a new entry.
        eventually("the entries have their principals' ids", SOON, async || {
            let access = this.access().await;
            let mut entries = access.entries.values();
            entries.all(|it| it.tags.contains_key("identity-mapper.dev/principal-id"))
        })
        .await;
        this
    }

    fn install(&self, tag: &str) {
        let replicas = format!("replicas={REPLICAS}");
        self.cloud.install_tag(&self.node, tag, &[&replicas]);
    }

    async fn access(&self) -> Access {
        let aws_auth = self.node.cluster.config_maps().get("aws-auth").await;
        Access {
            aws_auth: aws_auth.unwrap(),
            entries: self.cloud.eks.world().cluster.entries.clone(),
        }
    }

    /// What the operator called since a mark to change something in EKS.
    fn changes(&self, since: Mark) -> Vec<String> {
        let log = self.cloud.eks.log();
        let calls = log.since(since).iter().filter(|call| !call.by_hand);
        let changes = calls.filter(|call| {
            let verbs = [
                "Create",
                "Update",
                "Delete",
                "Associate",
                "Disassociate",
                "Tag",
                "Untag",
            ];
            verbs.iter().any(|verb| call.operation.starts_with(verb))
        });
        changes.map(|call| call.operation.clone()).collect()
    }
}

#[test]
fn no_entry_changes_while_the_pods_are_replaced() {
    let name = "lifecycle::no_entry_changes_while_the_pods_are_replaced";
    inside(name, async |cgroup| {
        let stage = Stage::set(cgroup).await;
        let (node, cluster) = (&stage.node, &stage.node.cluster);
        let before = stage.access().await;
        let mark = stage.cloud.eks.log().mark();
        assert_eq!(before.entries.len(), COUNT);

        // Forth and back, and pushed off the node.
        stage.install(NEXT);
        run(node, NEXT).await;
        stage.install(TAG);
        run(node, TAG).await;
        drain(node).await;
        run(node, TAG).await;
        // Without a release before, what is managed stays so.
        uninstall(node).await;
        assert_eq!(stage.access().await, before);
        assert_eq!(stage.changes(mark), [""; 0]);

        // Another release goes on where the last one ended.
        stage.install(TAG);
        let spec = json!({ "backend": "AccessEntry" });
        cluster.establish(&format!("entry-{COUNT}"), spec).await;
        for name in ["text-0", "entry-0"] {
            cluster.delete(name).await;
            cluster.gone(name).await;
        }
        let before = stage.access().await;
        let text = &before.aws_auth.data.as_ref().unwrap()["mapRoles"];
        assert_eq!(text.matches("rolearn:").count(), COUNT - 1, "{text}");
        assert!(!before.entries.contains_key(&role("entry-0")));
        assert_eq!(before.entries.len(), COUNT);

        // As README says it is done.
        let operator = "deployment/identity-mapper";
        let exec = ["exec", "--namespace", NAMESPACE, operator, "--"];
        let release = [
            "/identity-mapper",
            "release",
            "--yes",
            "--cluster-name=main",
        ];
        node.kubectl(&[&exec[..], &release].concat());
        uninstall(node).await;
        let after = stage.access().await;
        let managed = after.entries.values().filter(|it| !it.tags.is_empty());
        assert_eq!(managed.count(), 0, "{after:?}");
        assert_eq!(after.unmanaged(), before.unmanaged());
        let mappings = node.kubectl(&["get", "identitymappings", "--output=name"]);
        assert_eq!(mappings.lines().count(), 2 * COUNT - 1);
    });
}
