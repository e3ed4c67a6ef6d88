//! How a command connects to the cluster, and which `ConfigMap` it uses: flags that several commands share.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kube::Client;
use kube::config::{Config, ExecConfig, Kubeconfig, KubeconfigError};

use crate::cluster::api_server::{ApiServer, ConnectionSource, NO_CONNECTION, route};
use crate::cluster::kubeconfig::configuration;
use crate::observed::ConfigMapName;

/// Which cluster.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConnectionArgs {
    /// Kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the Pod's service account]
    #[arg(long, value_name = "FILE", env = "IDENTITY_MAPPER_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context in the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME", env = "IDENTITY_MAPPER_CONTEXT")]
    pub(crate) context: Option<String>,
}

/// The variable that names kubeconfig files, as kubectl reads it.
const KUBECONFIG: &str = "KUBECONFIG";

/// Nothing says which cluster is meant.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "no cluster found: neither a kubeconfig ($KUBECONFIG, ~/.kube/config, --kubeconfig) nor a Pod's service account"
)]
pub(crate) struct NoCluster;

/// Whether there is no kubeconfig at all.
fn is_missing(read: &Result<Kubeconfig, KubeconfigError>) -> bool {
    match read {
        Err(KubeconfigError::ReadConfig(error, _)) => error.kind() == ErrorKind::NotFound,
        Err(KubeconfigError::FindPath) => true,
        Err(_) | Ok(_) => false,
    }
}

/// Which `ConfigMap`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigMapArgs {
    /// Namespace of the managed ConfigMap
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "IDENTITY_MAPPER_CONFIG_MAP_NAMESPACE",
        default_value = "kube-system"
    )]
    pub(crate) config_map_namespace: String,

    /// Name of the managed ConfigMap: another name than aws-auth for a trial on a copy
    #[arg(
        long,
        value_name = "NAME",
        env = "IDENTITY_MAPPER_CONFIG_MAP_NAME",
        default_value = "aws-auth"
    )]
    pub(crate) config_map_name: String,
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

/// The way to a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Route(String);

impl Route {
    /// The error of a call, which names the cluster. One of the connection does so by itself.
    pub(crate) fn failed(&self, error: anyhow::Error) -> anyhow::Error {
        let says_so = error
            .chain()
            .any(|cause| cause.to_string().contains(NO_CONNECTION));
        if says_so {
            error
        } else {
            error.context(self.0.clone())
        }
    }
}

/// A cluster that can be talked to.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// The URL of the API server.
    pub(crate) url: String,
    /// The cluster and the proxy on the way to it, for errors of calls.
    pub(crate) route: Route,
    /// The context of the kubeconfig file, where one was used.
    pub(crate) context: Option<String>,
    /// The connection, which says what the API server's certificate is signed by.
    pub(crate) api_server: ApiServer,
    /// The cluster in EKS that the kubeconfig gets its tokens for. Only a hint until that cluster is proven.
    pub(crate) token_for: Option<TokenFor>,
}

/// The cluster in EKS that a kubeconfig gets its tokens for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenFor {
    pub(crate) cluster_name: String,
    /// Its region, where the kubeconfig says it.
    pub(crate) region: Option<String>,
}

impl TokenFor {
    /// Reads it from what `aws eks update-kubeconfig` (`aws eks get-token --cluster-name …`), eksctl and aws-iam-authenticator
    /// (`token -i …`) write.
    fn read(exec: &ExecConfig) -> Option<Self> {
        let args = exec.args.as_deref().unwrap_or_default();
        let value = |names: &[&str]| {
            let mut args = args.iter();
            while let Some(arg) = args.next() {
                let (name, inline) = match arg.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (arg.as_str(), None),
                };
                if names.contains(&name) {
                    let value = inline.or_else(|| args.next().map(String::as_str));
                    return value.map(str::to_owned);
                }
            }
            None
        };
        Some(Self {
            cluster_name: value(&["--cluster-name", "--cluster-id", "-i"])?,
            region: value(&["--region"]),
        })
    }
}

/// An error that names the contexts that there are, where it is none of them.
pub(super) fn is_known(context: &str, known: &[&str]) -> Result<()> {
    if known.contains(&context) {
        return Ok(());
    }
    let has = match known {
        [] => "no contexts".to_owned(),
        known => known.join(", "),
    };
    bail!("the kubeconfig has no context {context:?}; it has {has}")
}

impl ConnectionArgs {
    /// The contexts of the kubeconfig, in its order.
    pub(crate) fn contexts(&self) -> Result<Vec<String>> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let contexts = read.context("the kubeconfig can't be read")?.contexts;
        Ok(contexts.into_iter().map(|context| context.name).collect())
    }

    /// Resolves them, without a call to the cluster.
    pub(crate) async fn connect(self) -> Result<Connection> {
        let Self {
            kubeconfig,
            context,
        } = self;
        let variable = std::env::var_os(KUBECONFIG).filter(|value| !value.is_empty());
        let named = kubeconfig.is_some() || context.is_some() || variable.is_some();
        let read = match &kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let (config, context) = if named || !is_missing(&read) {
            let read = read.context(match (&kubeconfig, &variable) {
                (None, Some(_)) => "the kubeconfig that $KUBECONFIG names can't be read",
                (_, _) => "the kubeconfig can't be read",
            })?;
            let context = context.or_else(|| read.current_context.clone());
            if let Some(context) = &context {
                let known = read.contexts.iter().map(|it| it.name.as_str());
                is_known(context, &known.collect::<Vec<_>>())?;
            }
            (
                configuration(read, context.clone())
                    .await
                    .context("the kubeconfig can't be used")?,
                context,
            )
        } else {
            (Config::incluster().map_err(|_| NoCluster)?, None)
        };
        let url = config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let route = Route(format!("cluster {}", route(&config)));
        let token_for = config.auth_info.exec.as_ref().and_then(TokenFor::read);
        // kube names the file of certificate authorities only where the configuration is the Pod's.
        let source = if config.root_cert_file.is_some() {
            ConnectionSource::Pod
        } else {
            ConnectionSource::Kubeconfig {
                path: kubeconfig,
                context: context.clone(),
            }
        };
        let api_server = ApiServer::connect(config, source)
            .context("the client for this cluster can't be created")?;
        Ok(Connection {
            client: api_server.client(),
            url,
            route,
            context,
            api_server,
            token_for,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_that_tokens_are_for() {
        let exec = |args: &[&str]| {
            let exec = serde_json::json!({"command": "x", "args": args});
            TokenFor::read(&serde_json::from_value(exec).expect("an exec plugin"))
        };
        let found = |name: &str, region: Option<&str>| {
            Some(TokenFor {
                cluster_name: name.to_owned(),
                region: region.map(str::to_owned),
            })
        };
        let aws = [
            "--region",
            "eu-west-1",
            "eks",
            "get-token",
            "--cluster-name",
            "main",
        ];
        assert_eq!(exec(&aws), found("main", Some("eu-west-1")));
        assert_eq!(exec(&["token", "-i", "main"]), found("main", None));
        assert_eq!(
            exec(&["get-token", "--cluster-name=main"]),
            found("main", None)
        );
        assert_eq!(exec(&["get-token", "--cluster-name"]), None);
        assert_eq!(exec(&[]), None);
    }
}
