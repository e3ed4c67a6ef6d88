//! How a command reaches the cluster, and which `ConfigMap` it means: the flags that several commands share.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use kube::config::{Config, ExecConfig, KubeConfigOptions, Kubeconfig};
use kube::{Client, client::ClientBuilder};

use crate::aws::{fingerprint, fingerprints};
use crate::controller::Trust;
use crate::observed::ConfigMapName;

/// An API server that is there answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that brings nothing for so long is dead: watches end, or bring something, within
/// [`WATCH_SECONDS`](crate::cluster::watch::WATCH_SECONDS).
const READ_TIMEOUT: Duration =
    Duration::from_secs(crate::cluster::watch::WATCH_SECONDS as u64 + 10);

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
    /// What its certificate is checked by.
    pub trust: Trust,
    /// The cluster in EKS that the kubeconfig gets its tokens for. Only a hint until that cluster is proven.
    pub token_for: Option<TokenFor>,
}

/// The cluster in EKS that a kubeconfig gets its tokens for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFor {
    /// Its name.
    pub cluster_name: String,
    /// Its region, where the kubeconfig says it.
    pub region: Option<String>,
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
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        let url = config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let trust = trust(&config);
        let token_for = config.auth_info.exec.as_ref().and_then(TokenFor::read);
        let client = ClientBuilder::try_from(config)
            .context("no client for this cluster")?
            .build();
        Ok(Connection {
            client,
            url,
            context,
            trust,
            token_for,
        })
    }
}

/// What the API server's certificate is checked by.
fn trust(config: &Config) -> Trust {
    if config.cluster_url.scheme_str() != Some("https") {
        return Trust::Unknown("none, for it is talked to without TLS".to_owned());
    }
    if config.accept_invalid_certs {
        return Trust::Unknown(
            "none that is checked, for the kubeconfig says insecure-skip-tls-verify".to_owned(),
        );
    }
    // The file counts where there is one, as kube documents it.
    if let Some(path) = &config.root_cert_file {
        let read = fs::read(path).map_err(|error| error.to_string());
        return match read.and_then(|pem| fingerprints(&pem)) {
            Ok(authorities) => Trust::Authorities(authorities),
            Err(error) => Trust::Unknown(format!(
                "one that can't be read from {}: {error}",
                path.display()
            )),
        };
    }
    let authorities: BTreeSet<String> = config
        .root_cert
        .iter()
        .flatten()
        .map(|der| fingerprint(der))
        .collect();
    if authorities.is_empty() {
        return Trust::Unknown(
            "none of its own, for the kubeconfig gives no certificate-authority".to_owned(),
        );
    }
    Trust::Authorities(authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config::new(url.parse().expect("a URL"))
    }

    fn certificate() -> (String, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["it".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.cert.der().to_vec())
    }

    #[test]
    fn the_authorities_of_the_api_server() {
        let (pem, der) = certificate();
        let expected = Trust::Authorities([fingerprint(&der)].into());
        let mut given = config("https://it");
        given.root_cert = Some(vec![der]);
        assert_eq!(trust(&given), expected);

        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), pem).expect("written");
        let (_, other) = certificate();
        let mut in_cluster = config("https://it");
        in_cluster.root_cert = Some(vec![other]);
        in_cluster.root_cert_file = Some(file.path().to_owned());
        assert_eq!(trust(&in_cluster), expected);
    }

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

    #[test]
    fn what_proves_nothing_says_why() {
        let (_, der) = certificate();
        let with = |url: &str, change: &dyn Fn(&mut Config)| {
            let mut config = config(url);
            config.root_cert = Some(vec![der.clone()]);
            change(&mut config);
            match trust(&config) {
                Trust::Unknown(why) => why,
                Trust::Authorities(found) => panic!("{found:?}"),
            }
        };
        let missing = PathBuf::from("/nowhere/ca.crt");
        for (why, words) in [
            (with("http://it", &|_| ()), "without TLS"),
            (
                with("https://it", &|it| it.accept_invalid_certs = true),
                "insecure-skip-tls-verify",
            ),
            (
                with("https://it", &|it| it.root_cert = None),
                "no certificate-authority",
            ),
            (
                with("https://it", &|it| {
                    it.root_cert_file = Some(missing.clone());
                }),
                "can't be read from /nowhere/ca.crt",
            ),
        ] {
            assert!(why.contains(words), "{why}");
        }
    }
}
