//! The target cluster: printed before anything is written, and verified if AWS is called.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};

use crate::access_entry::EksCluster;
use crate::access_entry::{Failure, FailureKind};
use crate::aws::Aws;
use crate::cluster::api_server::ApiServer;
use crate::observed::{ConfigMapName, Mode, Users};

/// What is said of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterTarget {
    /// The URL of the API server.
    pub(crate) url: String,
    /// The context of the kubeconfig file, where one was used.
    pub(crate) context: Option<String>,
    /// The `ConfigMap` that is kept.
    pub(crate) config_map: ConfigMapName,
    /// The cluster in EKS, proven to be the same, where AWS is asked.
    pub(crate) eks: Option<Proven>,
}

/// A cluster in EKS that is the one whose API server we talk to.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) cluster: EksCluster,
    pub(crate) mode: Mode,
    /// Its Kubernetes version, such as `1.33`.
    pub(crate) version: String,
    /// Its platform version, such as `eks.12`.
    pub(crate) platform_version: String,
    /// The fingerprint of the certificate authority that both have.
    pub(crate) authority: String,
    /// The roles that it uses itself.
    pub(crate) users: Users,
}

impl ClusterTarget {
    /// Proves that the cluster of this name in EKS is the one whose API server we talk to.
    pub(crate) async fn prove(
        &mut self,
        aws: &Aws,
        name: &str,
        api_server: &ApiServer,
    ) -> Result<Proven> {
        let read = aws.describe_cluster(name).await.map_err(|failure| {
            anyhow!(
                "EKS cluster {name} in {} can't be described: {}",
                aws.region(),
                words(&failure)
            )
        })?;
        let trust = api_server.trust().await;
        let trust = trust
            .map_err(|error| anyhow!("the API server {} can't be reached: {error}", self.url))?;
        let authority = trust.prove(&read.authorities).with_context(|| {
            format!(
                "nothing was changed, because {} can't be verified",
                read.cluster.arn
            )
        })?;
        let proven = Proven {
            cluster: read.cluster,
            mode: read.mode,
            version: read.version,
            platform_version: read.platform_version,
            authority,
            users: read.users,
        };
        self.eks = Some(proven.clone());
        Ok(proven)
    }
}

impl fmt::Display for ClusterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster:    {}", self.url)?;
        if let Some(context) = &self.context {
            writeln!(f, "context:    {context}")?;
        }
        writeln!(f, "ConfigMap:  {}", self.config_map)?;
        if let Some(eks) = &self.eks {
            writeln!(f, "EKS:        {} ({})", eks.cluster.arn, eks.mode)?;
        }
        Ok(())
    }
}

/// A failure, and the policy statement that fixes it.
pub(crate) fn words(failure: &Failure) -> String {
    match &failure.kind {
        FailureKind::Denied { statement, .. } => format!(
            "{}; add this statement to the caller's IAM policy:\n{statement}",
            failure.message
        ),
        _ => failure.message.clone(),
    }
}
