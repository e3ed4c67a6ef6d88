//! The EKS cluster of access entries.

use serde::{Deserialize, Serialize};

use crate::principal::{AccountId, Partition};

/// The cluster as EKS knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EksCluster {
    /// Its name.
    pub name: String,
    /// Its ARN, which names partition, region and account.
    pub arn: String,
}

/// An ARN that is none of an EKS cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the ARN of an EKS cluster")]
pub struct NotACluster(pub String);

impl EksCluster {
    /// The cluster of this ARN (`arn:PARTITION:eks:REGION:ACCOUNT:cluster/NAME`).
    pub fn parse(arn: &str) -> Result<Self, NotACluster> {
        let cluster = Self {
            name: arn.rsplit('/').next().unwrap_or_default().to_owned(),
            arn: arn.to_owned(),
        };
        let whole = cluster.part(2) == Some("eks")
            && cluster.partition().is_some()
            && cluster.account().is_some()
            && !cluster.name.is_empty();
        whole
            .then_some(cluster)
            .ok_or_else(|| NotACluster(arn.to_owned()))
    }

    fn part(&self, number: usize) -> Option<&str> {
        self.arn.split(':').nth(number)
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> Option<Partition> {
        self.part(1)?.parse().ok()
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &str {
        self.part(3).unwrap_or_default()
    }

    /// The flags by which commands of the AWS CLI about its entries name it: with its region, where it is known, since that of the
    /// reader's profile may be another.
    pub(crate) fn cli_flags(&self) -> String {
        match self.region() {
            "" => format!("--cluster-name {}", self.name),
            region => format!("--cluster-name {} --region {region}", self.name),
        }
    }

    /// Its account, in which its nodes' roles must be.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.part(4)?.parse().ok()
    }
}
