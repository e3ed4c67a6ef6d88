//! Which roles the features of EKS use, for which EKS creates access entries itself.

use crate::time::Timestamp;
use aws_sdk_eks::types::Cluster;
use futures::{StreamExt, TryStreamExt, future, stream};

use super::Aws;
use super::eks::{PAGE, asked, next, resources_arn};
use super::failure::unexpected;
use super::pace::{Priority, SIDE_BY_SIDE};
use crate::access_entry::{EksCluster, Failure, FailureKind};
use crate::observed::{Feature, ManagedPrincipals, Users};
use crate::principal::Key;

/// The parts of EKS that have to be asked one by one; what the cluster itself uses is in its description.
pub const ASKED: [Feature; 3] = [
    Feature::NodeGroups,
    Feature::FargateProfiles,
    Feature::Capabilities,
];

/// What the cluster itself uses: its own role, and the node role of Auto Mode.
pub(super) fn users_of_cluster(cluster: &Cluster) -> Users {
    let mut users = Users::new();
    let auto_mode = cluster.compute_config().and_then(|it| it.node_role_arn());
    let used = [
        (auto_mode, "the nodes of EKS Auto Mode"),
        (cluster.role_arn(), "the cluster itself (its IAM role)"),
    ];
    for (arn, user) in used {
        let key = arn.and_then(Key::parse_arn);
        users.extend(key.map(|key| (key, user.to_owned())));
    }
    users
}

/// What the names of a listing become: the users of each role.
type DescribedUser = Result<Option<(String, String)>, Failure>;

impl Aws {
    /// The roles that a part of EKS uses, each described. What vanishes meanwhile is not there. The cluster's own are part of
    /// [`Aws::describe_cluster`].
    pub async fn users_of(&self, cluster: &EksCluster, feature: Feature) -> Result<Users, Failure> {
        match feature {
            Feature::Cluster => Ok(self.describe_cluster(&cluster.name).await?.users),
            Feature::NodeGroups => {
                let names = self.node_groups(cluster).await?;
                self.described(names, |name| self.node_group(cluster, name))
                    .await
            }
            Feature::FargateProfiles => {
                let names = self.fargate_profiles(cluster).await?;
                self.described(names, |name| self.fargate_profile(cluster, name))
                    .await
            }
            Feature::Capabilities => {
                let names = self.capabilities(cluster).await?;
                self.described(names, |name| self.capability(cluster, name))
                    .await
            }
        }
    }

    /// All parts that have to be asked, and with what each answered.
    pub async fn survey_users(&self, cluster: &EksCluster, own: Users) -> ManagedPrincipals {
        let began = Timestamp::now();
        let mut managed = ManagedPrincipals {
            asked: true,
            ..ManagedPrincipals::default()
        };
        managed.take(Feature::Cluster, Ok(own), began);
        let answers = ASKED.map(async |feature| (feature, self.users_of(cluster, feature).await));
        for (feature, answer) in future::join_all(answers).await {
            managed.take(feature, answer, began);
        }
        managed
    }

    /// Describes each of these, a few at a time.
    async fn described<F: Future<Output = DescribedUser>>(
        &self,
        names: Vec<String>,
        describe: impl Fn(String) -> F,
    ) -> Result<Users, Failure> {
        let all = stream::iter(names).map(describe);
        let all: Vec<Option<(String, String)>> =
            all.buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
        let mut users = Users::new();
        for (arn, feature) in all.into_iter().flatten() {
            if let Some(key) = Key::parse_arn(&arn) {
                // A role may serve several: the first by name is named, whichever answered first.
                let first = users.entry(key).or_insert_with(|| feature.clone());
                if feature < *first {
                    *first = feature;
                }
            }
        }
        Ok(users)
    }

    async fn node_groups(&self, cluster: &EksCluster) -> Result<Vec<String>, Failure> {
        let asked = asked("ListNodegroups", Some(cluster.arn.clone()));
        let request = self.0.eks.list_nodegroups();
        let request = request.cluster_name(&cluster.name).max_results(PAGE);
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token.clone());
            let page = self
                .eks(&asked, Priority::Background, || page.clone().send())
                .await?;
            all.extend(page.nodegroups.unwrap_or_default());
            token = next(&asked, token.as_ref(), page.next_token)?;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn node_group(&self, cluster: &EksCluster, name: String) -> DescribedUser {
        let resource = resources_arn(cluster, "nodegroup");
        let asked = asked("DescribeNodegroup", Some(resource));
        let request = self.0.eks.describe_nodegroup();
        let request = request.cluster_name(&cluster.name).nodegroup_name(&name);
        let answer = self
            .eks(&asked, Priority::Background, || request.clone().send())
            .await;
        let Some(answer) = unless_gone(answer)? else {
            return Ok(None);
        };
        let role = answer.nodegroup.and_then(|it| it.node_role);
        let role = role.ok_or_else(|| unexpected(&asked, "lacks nodeRole"))?;
        Ok(Some((role, format!("node group {name:?}"))))
    }

    async fn fargate_profiles(&self, cluster: &EksCluster) -> Result<Vec<String>, Failure> {
        let asked = asked("ListFargateProfiles", Some(cluster.arn.clone()));
        let request = self.0.eks.list_fargate_profiles();
        let request = request.cluster_name(&cluster.name).max_results(PAGE);
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token.clone());
            let page = self
                .eks(&asked, Priority::Background, || page.clone().send())
                .await?;
            all.extend(page.fargate_profile_names.unwrap_or_default());
            token = next(&asked, token.as_ref(), page.next_token)?;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn fargate_profile(&self, cluster: &EksCluster, name: String) -> DescribedUser {
        let resource = resources_arn(cluster, "fargateprofile");
        let asked = asked("DescribeFargateProfile", Some(resource));
        let request = self.0.eks.describe_fargate_profile();
        let request = request
            .cluster_name(&cluster.name)
            .fargate_profile_name(&name);
        let answer = self
            .eks(&asked, Priority::Background, || request.clone().send())
            .await;
        let Some(answer) = unless_gone(answer)? else {
            return Ok(None);
        };
        let profile = answer.fargate_profile;
        let role = profile.and_then(|it| it.pod_execution_role_arn);
        let role = role.ok_or_else(|| unexpected(&asked, "lacks podExecutionRoleArn"))?;
        Ok(Some((role, format!("Fargate profile {name:?}"))))
    }

    async fn capabilities(&self, cluster: &EksCluster) -> Result<Vec<String>, Failure> {
        let asked = asked("ListCapabilities", Some(cluster.arn.clone()));
        let request = self.0.eks.list_capabilities();
        let request = request.cluster_name(&cluster.name).max_results(PAGE);
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token.clone());
            let page = self
                .eks(&asked, Priority::Background, || page.clone().send())
                .await?;
            let capabilities = page.capabilities.unwrap_or_default();
            all.extend(capabilities.into_iter().filter_map(|it| it.capability_name));
            token = next(&asked, token.as_ref(), page.next_token)?;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn capability(&self, cluster: &EksCluster, name: String) -> DescribedUser {
        let resource = resources_arn(cluster, "capability");
        let asked = asked("DescribeCapability", Some(resource));
        let request = self.0.eks.describe_capability();
        let request = request.cluster_name(&cluster.name).capability_name(&name);
        let answer = self
            .eks(&asked, Priority::Background, || request.clone().send())
            .await;
        let Some(answer) = unless_gone(answer)? else {
            return Ok(None);
        };
        let role = answer.capability.and_then(|it| it.role_arn);
        let role = role.ok_or_else(|| unexpected(&asked, "lacks roleArn"))?;
        Ok(Some((role, format!("EKS capability {name:?}"))))
    }
}

/// The answer; `None` where what was listed a moment ago is gone.
fn unless_gone<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(Failure {
            kind: FailureKind::EntryMissing,
            ..
        }) => Ok(None),
        answer => answer.map(Some),
    }
}
