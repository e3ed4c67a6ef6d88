//! Where the operator runs: as a process beside the control plane, or with `NODE=1` as the chart's Pod on a real node.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::screen;
use crate::support::eks::Eks;
use crate::support::node::namespace::{self, Namespaces, Output};
use crate::support::node::workload::{Aws, Way};
use crate::support::node::{Node, TAG, install_args};
use crate::support::programs::program;
use crate::support::rights::NAMESPACE;
use crate::support::{Cluster, Operator};

/// The role that the operator is in AWS.
pub(crate) const OPERATOR_ROLE: &str = "arn:aws:iam::111122223333:role/identity-mapper";

/// The queue, by the name that EKS's events are sent to.
const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/identity-mapper";

/// What the second half of the demo does not wait for.
const PERIODS: [(&str, &str, &str); 4] = [
    ("soak", "soak", "60s"),
    ("propagation", "propagation", "2s"),
    ("listing-period", "listingPeriod", "10s"),
    ("sso-sweep", "ssoSweep", "5s"),
];

/// What kubectl shows of the Pod.
const LOGS: [&str; 4] = [
    "logs",
    "--namespace",
    NAMESPACE,
    "deployment/identity-mapper",
];

/// What runs the operator, and the control plane.
pub(crate) enum Place {
    Process {
        operator: Option<Operator>,
        cluster: Box<Cluster>,
    },
    Pod {
        aws: Option<Aws>,
        node: Box<Node>,
    },
}

impl Place {
    /// A new control plane, with a node where this process is in the namespaces of one.
    pub(crate) async fn set() -> Self {
        match namespace::cgroup() {
            Some(cgroup) => Self::Pod {
                aws: None,
                node: Box::new(Node::start(&cgroup).await),
            },
            None => Self::Process {
                operator: None,
                cluster: Box::new(Cluster::with_logins().await),
            },
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        match self {
            Self::Process { cluster, .. } => cluster,
            Self::Pod { node, .. } => &node.cluster,
        }
    }

    /// What is there at the start.
    pub(crate) const fn furniture(&self) -> &'static str {
        match self {
            Self::Process { .. } => {
                "with the CustomResourceDefinition, and with the operator's ServiceAccount and RBAC rules"
            }
            Self::Pod { .. } => {
                "with a node: a kubelet, and containerd that has the operator's image"
            }
        }
    }

    /// Starts the operator without AWS, and waits until it is ready.
    pub(crate) async fn start(&mut self) -> Result<()> {
        match self {
            Self::Process { operator, cluster } => {
                *operator = Some(Operator::start(cluster, &["--log-format=text"]).await);
                Ok(())
            }
            Self::Pod { node, .. } => {
                let values = ["authenticationMode=CONFIG_MAP", "logFormat=text"];
                install(node, &values.map(str::to_owned))
            }
        }
    }

    /// Starts the operator anew for the cluster of the stand-in, and waits until it is ready.
    pub(crate) async fn restart_with_eks(&mut self, eks: &Eks) -> Result<()> {
        match self {
            Self::Process { operator, cluster } => {
                if let Some(operator) = operator.take() {
                    let (status, _) = operator.stop().await;
                    ensure!(status.success(), "the operator ended with {status}");
                }
                let args = PERIODS.map(|(flag, _, value)| format!("--{flag}={value}"));
                screen::command(&format!(
                    "identity-mapper run --cluster-name=demo {} --queue-url=…",
                    args.join(" ")
                ));
                let queue = format!("--queue-url={}", eks.queue_url());
                let args = args.iter().map(String::as_str);
                let all: Vec<&str> = args.chain([queue.as_str(), "--log-format=text"]).collect();
                *operator = Some(Operator::start_in(cluster, eks, &all).await);
                Ok(())
            }
            Self::Pod { node, aws } => {
                let open = Aws::open(node, eks, Way::PodIdentity, OPERATOR_ROLE).await;
                let periods = PERIODS.map(|(_, value, time)| format!("eks.{value}={time}"));
                let mut values = vec![
                    "eks.clusterName=demo".to_owned(),
                    format!("eks.queueUrl={QUEUE}"),
                    "logFormat=text".to_owned(),
                ];
                values.extend(periods);
                values.extend(open.values());
                *aws = Some(open);
                install(node, &values)
            }
        }
    }

    /// What the operator wrote so far.
    pub(crate) fn log(&self) -> Option<String> {
        match self {
            Self::Process { operator, .. } => operator.as_ref().map(Operator::log),
            Self::Pod { node, .. } => {
                let output = node.cluster.kubectl(&LOGS, None);
                Some(String::from_utf8_lossy(&output.stdout).into_owned())
            }
        }
    }

    /// Tells how to look around, and as whom.
    pub(crate) async fn invite(&self) {
        let kubeconfig = self.cluster().admin_kubeconfig().display();
        let follow = match self {
            Self::Process { cluster, .. } => {
                let logs = cluster.scratch().path().join("operator-*.log");
                format!("tail -f {}", logs.display())
            }
            Self::Pod { .. } => {
                // The control plane and its files are in namespaces of their own.
                let entrance = namespace::entrance().await;
                screen::output(&format!("nsenter --target {entrance} --net --mount --pid"));
                format!("kubectl {} --follow", LOGS.join(" "))
            }
        };
        screen::output(&format!(
            "export KUBECONFIG={kubeconfig}\nalias kubectl={}\nkubectl get identitymappings\n{follow}",
            program("kubectl").display(),
        ));
    }
}

/// Installs or upgrades the chart as shown.
fn install(node: &Node, values: &[String]) -> Result<()> {
    let args = install_args(TAG, values);
    let shown = args.iter().map(|arg| match arg.split_once('=') {
        Some((name @ "certificateAuthorities", _)) => format!("{name}=…"),
        Some((_, value)) if value.contains(['"', '{']) => format!("'{arg}'"),
        _ => arg.clone(),
    });
    let shown: Vec<String> = shown.collect();
    screen::command(&format!("helm {} --namespace {NAMESPACE}", shown.join(" ")));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = node.helm(&args).output().context("helm does not start")?;
    ensure!(
        output.status.success(),
        "helm: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Whether a variable says yes.
pub(crate) fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Whether the demo is to run in the namespaces of a node, and does not yet.
pub(crate) fn is_to_enter() -> bool {
    is_set("NODE") && namespace::cgroup().is_none()
}

/// Runs the demo once more in the namespaces of a node, until it ends or somebody ends it.
pub(crate) async fn enter() -> ExitCode {
    if let Err(reason) = namespace::possible() {
        screen::failed(&format!(
            "no node can run here: {reason}\nwithout NODE=1 the demo needs none"
        ));
        return ExitCode::FAILURE;
    }
    // What is asked of the demo, and what decides about its colours.
    let variables = [
        "KEEP",
        "TERM",
        "COLORTERM",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
    ];
    let variables = variables.map(|name| Some((OsString::from(name), env::var_os(name)?)));
    let variables: Vec<_> = variables.into_iter().flatten().collect();
    let mut namespaces = Namespaces::start(&[], &variables, Output::Shown);
    tokio::select! {
        status = namespaces.ended() => if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
        _ = tokio::signal::ctrl_c(), if is_set("KEEP") => ExitCode::SUCCESS,
    }
}
