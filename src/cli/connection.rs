//! How a command reaches the cluster, and which `ConfigMap` it means: the flags that several commands share.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Client, client::ClientBuilder};

use crate::plan::ConfigMapName;

/// Which cluster.
#[derive(Args, Clone, Debug, Default)]
pub struct ConnectionArgs {
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the Pod's service account]
    #[arg(long, value_name = "FILE", env = "IDENTITY_MAPPER_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig file [default: its current one]
    #[arg(long, value_name = "NAME", env = "IDENTITY_MAPPER_CONTEXT")]
    pub context: Option<String>,
}

/// Which `ConfigMap`.
#[derive(Args, Clone, Debug)]
pub struct ConfigMapArgs {
    /// The namespace of the ConfigMap that is kept
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "IDENTITY_MAPPER_CONFIG_MAP_NAMESPACE",
        default_value = "kube-system"
    )]
    pub config_map_namespace: String,

    /// The name of the ConfigMap that is kept: another one than aws-auth to try it on a copy first
    #[arg(
        long,
        value_name = "NAME",
        env = "IDENTITY_MAPPER_CONFIG_MAP_NAME",
        default_value = "aws-auth"
    )]
    pub config_map_name: String,
}

impl From<ConfigMapArgs> for ConfigMapName {
    fn from(
        ConfigMapArgs {
            config_map_namespace: namespace,
            config_map_name: name,
        }: ConfigMapArgs,
    ) -> Self {
        Self { namespace, name }
    }
}

/// A cluster that can be talked to.
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The URL of the API server.
    pub url: String,
    /// The context of the kubeconfig file, where one was used.
    pub context: Option<String>,
}

impl ConnectionArgs {
    /// Resolves them, without a call to the cluster.
    pub async fn connect(self) -> Result<Connection> {
        let Self {
            kubeconfig,
            context,
        } = self;
        let named = kubeconfig.is_some() || context.is_some();
        let read = match &kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let (mut config, context) = if named {
            let read = read.context("the kubeconfig can't be read")?;
            let context = context.or_else(|| read.current_context.clone());
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            (
                Config::from_custom_kubeconfig(read, &options)
                    .await
                    .context("the kubeconfig can't be used")?,
                context,
            )
        } else {
            let config = Config::infer().await.context(
                "no cluster: neither a kubeconfig ($KUBECONFIG, ~/.kube/config, --kubeconfig) nor a Pod's service account was found",
            )?;
            (config, read.ok().and_then(|read| read.current_context))
        };
        // The loop tries again at its own pace and on newer grounds; a client that does so by itself only hides the time.
        config.default_retry = false;
        let url = config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let client = ClientBuilder::try_from(config)
            .context("no client for this cluster")?
            .build();
        Ok(Connection {
            client,
            url,
            context,
        })
    }
}
