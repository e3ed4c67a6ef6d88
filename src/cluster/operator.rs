//! Reads the arguments of an operator that runs in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::Cluster;
use crate::error::Error;

/// The label that the chart gives its Deployment, after
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>.
const LABEL: &str = "app.kubernetes.io/name=identity-mapper";

/// A Deployment of the operator, with what its container is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its namespace and name.
    pub name: String,
    /// The arguments of its first container.
    pub args: Vec<String>,
    /// The variables of that container whose values are in the manifest.
    pub env: BTreeMap<String, String>,
}

impl Cluster {
    /// The Deployments of the operator in all namespaces.
    pub async fn started_operators(&self) -> Result<Vec<Started>, Error> {
        let deployments = Api::<Deployment>::all(self.client.clone());
        let params = ListParams::default().labels(LABEL);
        let found = self.bounded(deployments.list(&params)).await?;
        Ok(found.items.iter().filter_map(started).collect())
    }
}

fn started(deployment: &Deployment) -> Option<Started> {
    let template = &deployment.spec.as_ref()?.template;
    let container = template.spec.as_ref()?.containers.first()?;
    let variables = container.env.iter().flatten();
    Some(Started {
        name: format!(
            "{}/{}",
            deployment.namespace().unwrap_or_default(),
            deployment.name_any()
        ),
        args: container.args.clone().unwrap_or_default(),
        env: variables
            .filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)))
            .collect(),
    })
}
