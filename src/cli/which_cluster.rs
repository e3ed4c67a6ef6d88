//! Determines the EKS cluster: from flags, from the kubeconfig, or from what the operator stores in the cluster.

use anyhow::{Result, bail};

use super::connection::TokenFor;
use super::eks::{EksClusterArgs, IamArgs};
use super::operator::arguments;
use super::output::complain;
use crate::access_entry::EksCluster;
use crate::aws::Aws;
use crate::cluster::Cluster;
use crate::cluster::operator::Started;
use crate::cluster::read::ClusterSnapshot;
use crate::observed::{CLUSTER_ANNOTATION, Kept, Mode};

/// What a command may do where the authentication mode can't be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeNeed {
    /// Nothing: an error that offers the ways to say it.
    Required,
    /// Look at aws-auth alone, and say so.
    Optional,
}

/// What is to be asked of AWS.
pub(super) enum Asked {
    /// Nothing: the mode was given, and has no access entries.
    Nothing,
    /// The cluster of this name.
    Cluster(TokenFor),
    /// Neither flags nor the kubeconfig say.
    Unsaid,
}

impl Asked {
    /// The clients and the cluster's name in EKS; `None` where nothing is asked of AWS, or nothing says which cluster it is.
    pub(super) async fn connect(
        self,
        eks: &EksClusterArgs,
        iam: &IamArgs,
    ) -> Result<Option<(Aws, String)>> {
        let Self::Cluster(found) = self else {
            return Ok(None);
        };
        let eks = EksClusterArgs {
            cluster_name: Some(found.cluster_name),
            region: eks.region.clone().or(found.region),
            ..eks.clone()
        };
        eks.connect(iam.roles()?).await
    }

    /// What the operator keeps in the cluster: its record of the cluster on the history, the statuses of mappings, its own arguments.
    pub(super) async fn kept(
        reading: &ClusterSnapshot,
        cluster: &Cluster,
        need: ModeNeed,
    ) -> Result<Self> {
        let arn = kept_arn(reading);
        let found = arn.and_then(|(arn, place)| Some((EksCluster::parse(&arn).ok()?, place)));
        if let Some((found, place)) = found {
            complain(&format!("note: EKS cluster {}, from {place}", found.arn));
            return Ok(Self::Cluster(TokenFor {
                region: Some(found.region().to_owned()).filter(|region| !region.is_empty()),
                cluster_name: found.name,
            }));
        }
        // Without the right to list Deployments the answer is the same as where there is none.
        let operators = cluster.started_operators().await.unwrap_or_default();
        if let Some(asked) = operators.iter().find_map(of_operator) {
            return Ok(asked);
        }
        match need {
            ModeNeed::Optional => {
                complain(
                    "note: access entries were not read, because the kubeconfig names no EKS cluster; add --cluster-name to \
                        read both",
                );
                Ok(Self::Nothing)
            }
            ModeNeed::Required => bail!(
                "the cluster's authentication mode is not known: add --cluster-name to read it from EKS. Without AWS API \
                    calls, add --mode CONFIG_MAP, if `aws eks describe-cluster --name CLUSTER --query \
                    cluster.accessConfig.authenticationMode` prints CONFIG_MAP"
            ),
        }
    }

    pub(super) fn of(
        declared: Option<Mode>,
        eks: &EksClusterArgs,
        token_for: Option<TokenFor>,
    ) -> Result<Self> {
        Ok(match (declared, &eks.cluster_name) {
            (Some(Mode::ConfigMap), None) => Self::Nothing,
            (Some(mode), None) => bail!(
                "--mode {mode}: the mode of a live cluster is read from EKS; add --cluster-name instead, or pass files \
                    (--aws-auth, \
                    --access-entries)"
            ),
            (Some(mode), Some(name)) => bail!(
                "--cluster-name {name} and --mode {mode} exclude each other: give only one of the two; with --cluster-name the mode is read from EKS"
            ),
            (None, Some(name)) => {
                eks.check()?;
                Self::Cluster(TokenFor {
                    cluster_name: name.clone(),
                    region: eks.region.clone(),
                })
            }
            (None, None) => token_for.map_or(Self::Unsaid, Self::Cluster),
        })
    }
}

/// The cluster's ARN as the operator keeps it, and where: with the history, or with what it wrote for mappings.
fn kept_arn(reading: &ClusterSnapshot) -> Option<(String, &'static str)> {
    let annotations = reading.history.as_ref().map(|view| &view.annotations);
    let kept = annotations.and_then(|all| Kept::parse(all.get(CLUSTER_ANNOTATION)?));
    if let Some(kept) = kept {
        return Some((kept.arn, "the operator's record on the history of aws-auth"));
    }
    let statuses = reading.objects.iter().filter_map(|it| it.status.as_ref());
    let mut written = statuses.filter_map(|status| status.access_entry_arn.as_deref());
    let (prefix, rest) = written.next()?.split_once(":access-entry/")?;
    let name = rest.split('/').next()?;
    Some((
        format!("{prefix}:cluster/{name}"),
        "the status of a mapping",
    ))
}

/// What an operator in the cluster was started with.
fn of_operator(started: &Started) -> Option<Asked> {
    let args = arguments(started).ok()?;
    let place = &started.name;
    match (args.eks.cluster.cluster_name, args.eks.authentication_mode) {
        (Some(cluster_name), _) => {
            complain(&format!(
                "note: EKS cluster {cluster_name}, from the arguments of Deployment {place}"
            ));
            Some(Asked::Cluster(TokenFor {
                cluster_name,
                region: args.eks.cluster.region,
            }))
        }
        (None, Some(Mode::ConfigMap)) => {
            complain(&format!(
                "note: mode CONFIG_MAP, from the arguments of Deployment {place}"
            ));
            Some(Asked::Nothing)
        }
        (None, Some(Mode::ApiAndConfigMap | Mode::Api) | None) => None,
    }
}
