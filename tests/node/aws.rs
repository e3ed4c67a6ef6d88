//! The Pod with AWS: its credentials come as EKS gives them to Pods, and every call goes over TLS to the hosts of AWS.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use crate::support::Logins;
use crate::support::eks::{Eks, Mark, Mode, Outcome, World};
use crate::support::mappings::role;
use crate::support::node::namespace::inside;
use crate::support::node::workload::{Aws, Way};
use crate::support::node::{Node, TAG};
use crate::support::rights::{NAMESPACE, SERVICE_ACCOUNT};
use crate::support::wait::eventually;

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";
pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "eu-west-1";

const SOON: Duration = Duration::from_mins(2);

/// Clients renew credentials ten seconds before their end: here, at every listing.
const LIFETIME: SignedDuration = SignedDuration::from_secs(15);

/// EKS for the cluster of a node, and people who log in.
pub(crate) struct Cloud {
    pub(crate) eks: Eks,
    pub(crate) logins: Logins,
    aws: Aws,
    way: Way,
}

impl Cloud {
    pub(crate) async fn start(node: &Node, way: Way, furnish: impl FnOnce(&mut World)) -> Self {
        let (eks, role) = Self::world(node, furnish).await;
        let aws = Aws::open(node, &eks, way, &role).await;
        Self::of(node, eks, aws, way).await
    }

    /// The same where a proxy is the only way to AWS.
    async fn behind_proxy(node: &Node, way: Way, furnish: impl FnOnce(&mut World)) -> Self {
        let (eks, role) = Self::world(node, furnish).await;
        let aws = Aws::behind_proxy(node, &eks, way, &role).await;
        Self::of(node, eks, aws, way).await
    }

    /// EKS, and the ARN of the operator's role.
    async fn world(node: &Node, furnish: impl FnOnce(&mut World)) -> (Eks, String) {
        let mut world = World::new(CLUSTER)
            .mode(Mode::ApiAndConfigMap)
            .api_server(&node.cluster.authority(), node.cluster.url());
        let role = world.role(ACCOUNT, "/", "identity-mapper");
        world.trust_workload(NAMESPACE, SERVICE_ACCOUNT, &role);
        world.workloads.lifetime = Some(LIFETIME);
        furnish(&mut world);
        (Eks::start(world).await, role.arn)
    }

    async fn of(node: &Node, eks: Eks, aws: Aws, way: Way) -> Self {
        Self {
            logins: Logins::start(&node.cluster, &eks).await,
            aws,
            way,
            eks,
        }
    }

    /// Installs the chart for this cluster, with these values too.
    pub(crate) fn install(&self, node: &Node, further: &[&str]) {
        self.install_tag(node, TAG, further);
    }

    /// The same with the image of this tag.
    pub(crate) fn install_tag(&self, node: &Node, tag: &str, further: &[&str]) {
        let own = ["eks.clusterName=main", "eks.listingPeriod=10s"];
        let own = own.iter().chain(further).map(|it| (*it).to_owned());
        let values: Vec<String> = self.aws.values().into_iter().chain(own).collect();
        node.install(tag, &values);
    }

    /// How often credentials were made.
    pub(crate) fn credentials(&self) -> usize {
        self.eks.log().count(self.way.call(), Mark::START)
    }
}

async fn works(cgroup: &str, way: Way) {
    let node = Node::start(cgroup).await;
    let furnish = |world: &mut World| {
        world.role(ACCOUNT, "/", "dev");
    };
    let cloud = Cloud::start(&node, way, furnish).await;
    cloud.install(&node, &[]);
    let eks = &cloud.eks;

    node.cluster
        .establish("dev", json!({"backend": "AccessEntry"}))
        .await;
    let dev = eks.world().session(ACCOUNT, "dev", "ann");
    let who = cloud.logins.who(&eks.token(&dev)).await.unwrap();
    assert!(who.groups.unwrap_or_default().contains(&"team".to_owned()));

    let before = cloud.credentials();
    eventually("credentials are renewed twice", SOON, async || {
        let made = cloud.credentials();
        if made >= before + 2 {
            Ok(())
        } else {
            Err(made)
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
fn behind_a_proxy() {
    inside("aws::behind_a_proxy", async |cgroup| {
        let node = Node::start(cgroup).await;
        let furnish = |world: &mut World| {
            world.role(ACCOUNT, "/", "dev");
        };
        let cloud = Cloud::behind_proxy(&node, Way::PodIdentity, furnish).await;
        cloud.install(&node, &[]);
        let entry = json!({"backend": "AccessEntry"});
        node.cluster.establish("dev", entry).await;
        let entries = cloud.eks.world().cluster.entries.clone();
        let arns: Vec<&String> = entries.keys().collect();
        assert_eq!(arns, [&role("dev")]);
    });
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
