//! How a process takes part in leader election.

use std::sync::Arc;

use clap::Args;
use kube::Client;
use tokio::sync::watch;
use tracing::info;

use crate::cluster::lease::LeaseClient;
use crate::controller::election::{Contender, Leadership};
use crate::controller::health::Health;
use crate::controller::metrics::Metrics;
use crate::plan::FIELD_MANAGER;

/// The flags have kube-controller-manager's names.
#[derive(Args, Clone, Debug)]
pub(crate) struct LeaderArgs {
    /// Write only while holding a Lease: needed if several replicas run
    #[arg(long = "leader-elect", env = "IDENTITY_MAPPER_LEADER_ELECT")]
    pub(crate) takes_part: bool,

    /// Name of the Lease
    #[arg(
        long = "leader-elect-resource-name",
        value_name = "NAME",
        env = "IDENTITY_MAPPER_LEADER_ELECT_RESOURCE_NAME",
        default_value = FIELD_MANAGER
    )]
    pub(crate) name: String,

    /// Namespace of the Lease [default: the Pod's namespace, or that of the kubeconfig context]
    #[arg(
        long = "leader-elect-resource-namespace",
        value_name = "NAMESPACE",
        env = "IDENTITY_MAPPER_LEADER_ELECT_RESOURCE_NAMESPACE"
    )]
    pub(crate) namespace: Option<String>,
}

impl LeaderArgs {
    /// The part in the election; `None` where there is none. `instance` is the Pod's name, or the host's.
    pub(crate) fn contender(
        self,
        client: Client,
        instance: &str,
        health: &Arc<Health>,
        metrics: &Metrics,
    ) -> Option<(Contender, watch::Receiver<Leadership>)> {
        if !self.takes_part {
            return None;
        }
        let name = self.name;
        let namespace = self
            .namespace
            .unwrap_or_else(|| client.default_namespace().to_owned());
        // A container that is started anew in its Pod is another process.
        let instance = if instance.is_empty() {
            FIELD_MANAGER
        } else {
            instance
        };
        let identity = format!("{instance}_{:016x}", fastrand::u64(..));
        info!(
            lease = format!("{namespace}/{name}"),
            identity, "leader election"
        );
        let lease = LeaseClient::new(client, &namespace, &name);
        Some(Contender::new(
            lease,
            identity,
            Arc::clone(health),
            metrics.leader(),
        ))
    }
}
