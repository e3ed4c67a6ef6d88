//! The Pod with AWS: its credentials come as EKS gives them to Pods, and every call goes over TLS to the hosts of AWS.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use crate::support::Logins;
use crate::support::eks::{Eks, Mark, Mode, Outcome, World};
use crate::support::node::namespace::inside;
use crate::support::node::workload::{Aws, Way};
use crate::support::node::{Node, TAG};
use crate::support::rights::{NAMESPACE, SERVICE_ACCOUNT};
use crate::support::wait::eventually;

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

const SOON: Duration = Duration::from_mins(2);

/// Clients renew credentials ten seconds before their end: here, at every listing.
const LIFETIME: SignedDuration = SignedDuration::from_secs(15);

async fn works(cgroup: &str, way: Way) {
    let node = Node::start(cgroup).await;
    let mut world = World::new(CLUSTER)
        .mode(Mode::ApiAndConfigMap)
        .api_server(&node.cluster.authority(), node.cluster.url());
    let role = world.role("111122223333", "/", "identity-mapper");
    world.trust_workload(NAMESPACE, SERVICE_ACCOUNT, &role);
    world.workloads.lifetime = Some(LIFETIME);
    world.role("111122223333", "/", "dev");
    let eks = Eks::start(world).await;
    let logins = Logins::start(&node.cluster, &eks).await;
    let aws = Aws::open(&node, &eks, way, &role.arn).await;
    let mut values = aws.values();
    values.extend(["eks.clusterName=main", "eks.listingPeriod=10s"].map(str::to_owned));
    node.install(TAG, &values);

    node.cluster
        .establish("dev", json!({"backend": "AccessEntry"}))
        .await;
    let dev = eks.world().session("111122223333", "dev", "ann");
    let who = logins.who(&eks.token(&dev)).await.unwrap();
    assert!(who.groups.unwrap_or_default().contains(&"team".to_owned()));

    let made = || eks.log().count(way.call(), Mark::START);
    let before = made();
    eventually("credentials are renewed twice", SOON, async || {
        if made() >= before + 2 {
            Ok(())
        } else {
            Err(made())
        }
    })
    .await;
    node.cluster.delete("dev").await;
    node.cluster.gone("dev").await;
    assert!(eks.world().cluster.entries.is_empty());

    let calls = eks.log().since(Mark::START).to_vec();
    let refused: Vec<_> = calls
        .iter()
        .filter(|call| matches!(&call.outcome, Outcome::Refused(code, _) if code != "ResourceNotFoundException"))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let session = "arn:aws:sts::111122223333:assumed-role/identity-mapper/";
    let created = calls
        .iter()
        .find(|call| call.operation == "CreateAccessEntry")
        .unwrap();
    assert!(created.caller.starts_with(session), "{created:?}");
}

#[test]
fn by_iam_roles_for_service_accounts() {
    inside("aws::by_iam_roles_for_service_accounts", async |cgroup| {
        works(cgroup, Way::Irsa).await;
    });
}

#[test]
fn by_eks_pod_identity() {
    inside("aws::by_eks_pod_identity", async |cgroup| {
        works(cgroup, Way::PodIdentity).await;
    });
}
