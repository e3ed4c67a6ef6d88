//! Determines the EKS cluster: from flags, from the kubeconfig, or from what the operator stores in the cluster.

use anyhow::{Result, anyhow, bail};
use kube::Client;

use super::connection::TokenFor;
use super::eks::{EksClusterArgs, IamArgs};
use super::operator::arguments;
use super::output::complain;
use super::rights::{ReadingCommand, with_missing};
use crate::access_entry::EksCluster;
use crate::aws::Aws;
use crate::cluster::Cluster;
use crate::cluster::operator::Started;
use crate::cluster::read::ClusterSnapshot;
use crate::error::Category;
use crate::observed::{CLUSTER_ANNOTATION, Kept, Mode};

/// What a command may do where the authentication mode can't be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeNeed {
    /// Nothing: an error that offers the ways to say it.
    Required,
    /// Look at aws-auth alone, and say so.
    Optional,
    /// Nothing: what is to be done is done in EKS, so that the name of the mode is not enough.
    Eks,
}

impl ModeNeed {
    /// Why the command can't go on. Each names only flags that a command of this need has.
    fn unknown(self, declared_by: Option<&str>) -> String {
        match self {
            Self::Required | Self::Optional => {
                "the cluster's authentication mode is not known: add --cluster-name to read it from EKS. Without AWS API calls, add \
                    --mode CONFIG_MAP, if `aws eks describe-cluster --name CLUSTER --query cluster.accessConfig.authenticationMode` \
                    prints CONFIG_MAP"
                    .to_owned()
            }
            Self::Eks => {
                let why = declared_by.map_or_else(String::new, |place| {
                    format!(
                        " (Deployment {place} declares mode CONFIG_MAP, and names no cluster)"
                    )
                });
                format!(
                    "the name of the EKS cluster is not known{why}: add --cluster-name; `aws eks list-clusters` prints the names"
                )
            }
        }
    }
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
        (cluster, client): (&Cluster, &Client),
        need: ModeNeed,
        reader: ReadingCommand,
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
        let (operators, refused) = match cluster.started_operators().await {
            Ok(operators) => (operators, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut declared_by = None;
        for started in &operators {
            match of_operator(started) {
                Some(Self::Nothing) if need == ModeNeed::Eks => declared_by = Some(&started.name),
                Some(asked) => {
                    asked.report(&started.name);
                    return Ok(asked);
                }
                None => {}
            }
        }
        if need == ModeNeed::Optional {
            complain(
                "note: access entries were not read, because the kubeconfig names no EKS cluster; add --cluster-name to read both",
            );
            return Ok(Self::Nothing);
        }
        let unknown = need.unknown(declared_by.map(String::as_str));
        let Some(refused) = refused.filter(|error| error.category == Category::Forbidden) else {
            bail!(unknown);
        };
        let error = anyhow!(refused).context(format!(
            "{unknown}. The operator's Deployment, which may name it, can't be listed"
        ));
        Err(with_missing(error, client, reader, cluster.config_map()).await)
    }

    /// Where an answer comes from that no flag gave.
    fn report(&self, place: &str) {
        let what = match self {
            Self::Cluster(found) => format!("EKS cluster {}", found.cluster_name),
            Self::Nothing => "mode CONFIG_MAP".to_owned(),
            Self::Unsaid => return,
        };
        complain(&format!(
            "note: {what}, from the arguments of Deployment {place}"
        ));
    }

    pub(super) fn of(
        declared: Option<Mode>,
        eks: &EksClusterArgs,
        token_for: Option<TokenFor>,
        need: ModeNeed,
        reader: ReadingCommand,
    ) -> Result<Self> {
        Ok(match (declared, &eks.cluster_name) {
            (Some(Mode::ConfigMap), None) if need == ModeNeed::Eks => bail!(
                "--mode CONFIG_MAP makes no AWS API calls, and a migration creates access entries in EKS: give --cluster-name \
                    instead{}",
                reader.instead_of_a_cluster()
            ),
            (Some(Mode::ConfigMap), None) => Self::Nothing,
            (Some(mode), None) => bail!(
                "--mode {mode}: the mode of a live cluster is read from EKS; give --cluster-name instead{}",
                reader.instead_of_a_cluster()
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
    match (args.eks.cluster.cluster_name, args.eks.authentication_mode) {
        (Some(cluster_name), _) => Some(Asked::Cluster(TokenFor {
            cluster_name,
            region: args.eks.cluster.region,
        })),
        (None, Some(Mode::ConfigMap)) => Some(Asked::Nothing),
        (None, Some(Mode::ApiAndConfigMap | Mode::Api) | None) => None,
    }
}
