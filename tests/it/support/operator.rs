//! The operator as users run it: the real binary, as its own ServiceAccount.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::deployment::Rendered;
use super::eks::Eks;
use super::http;
use super::programs::operator_binary;
use super::supervise::{Scratch, Supervised};
use super::wait::eventually;

/// A first pass over thousands of mappings on a busy machine.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// Longer than any graceful shutdown: the test then says what it found.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Starts that may fail because another process took the port, before we give up.
const ATTEMPTS: usize = 5;

/// Arguments of one of several replicas.
pub(crate) const ELECTED: [&str; 2] = [
    "--leader-elect",
    "--leader-elect-resource-namespace=identity-mapper",
];

/// Of the operator's log where a test fails.
const SHOWN_LINES: usize = 200;

/// A running operator. It is killed when this value is dropped.
pub(crate) struct Operator {
    process: Supervised,
    health: SocketAddr,
    metrics: SocketAddr,
    _scratch: Arc<Scratch>,
}

/// Arguments and environment of a start.
struct Start {
    args: Vec<String>,
    environment: Vec<(OsString, OsString)>,
}

impl Start {
    /// For the stand-in's cluster.
    fn by(
        eks: &Eks,
        way: &[(OsString, OsString)],
        health: SocketAddr,
        metrics: SocketAddr,
        args: &[&str],
    ) -> Self {
        let name = format!("--cluster-name={}", eks.world().cluster.name);
        let aws = eks.env().into_iter();
        let aws = aws.map(|(name, value)| (name.into(), value.into()));
        Self {
            args: run_with(health, metrics, &[&[name.as_str()], args].concat()),
            environment: aws.chain(way.iter().cloned()).collect(),
        }
    }
}

fn run_args(health: SocketAddr, metrics: SocketAddr, further: &[&str]) -> Vec<String> {
    let mode = ["--authentication-mode", "CONFIG_MAP"];
    run_with(health, metrics, &[&mode, further].concat())
}

fn run_with(health: SocketAddr, metrics: SocketAddr, further: &[&str]) -> Vec<String> {
    let addresses = [
        format!("--health-address={health}"),
        format!("--metrics-address={metrics}"),
    ];
    let further = further.iter().map(|&arg| arg.to_owned());
    let run = std::iter::once("run".to_owned());
    run.chain(addresses).chain(further).collect()
}

impl Operator {
    /// Starts the operator in `CONFIG_MAP` mode with further arguments, and waits until it is ready.
    pub(crate) async fn start(cluster: &Cluster, args: &[&str]) -> Self {
        let kubeconfig = cluster.operator_kubeconfig().await;
        Self::ready(cluster, &operator_binary(), |health, metrics| Start {
            args: run_args(health, metrics, args),
            environment: vec![("KUBECONFIG".into(), kubeconfig.clone().into())],
        })
        .await
    }

    /// Starts the operator for the stand-in's cluster with further arguments, and waits until it is ready.
    pub(crate) async fn start_in(cluster: &Cluster, eks: &Eks, args: &[&str]) -> Self {
        let kubeconfig = cluster.operator_kubeconfig().await;
        let way = [("KUBECONFIG".into(), kubeconfig.into())];
        Self::start_by(cluster, eks, &operator_binary(), &way, args).await
    }

    /// As [`Operator::start_in`], without waiting until it is ready.
    pub(crate) async fn spawn_in(cluster: &Cluster, eks: &Eks, args: &[&str]) -> Self {
        let kubeconfig = cluster.operator_kubeconfig().await;
        let way = [("KUBECONFIG".into(), kubeconfig.into())];
        let [health, metrics] = http::free_addresses();
        let start = Start::by(eks, &way, health, metrics, args);
        Self::launch(cluster, &operator_binary(), start, health, metrics)
    }

    /// As [`Operator::start_in`], another program, with a way to the API server of one's own.
    pub(crate) async fn start_by(
        cluster: &Cluster,
        eks: &Eks,
        program: &Path,
        way: &[(OsString, OsString)],
        args: &[&str],
    ) -> Self {
        Self::ready(cluster, program, |health, metrics| {
            Start::by(eks, way, health, metrics, args)
        })
        .await
    }

    /// Starts the operator with the arguments and environment of a rendered Deployment, as its ServiceAccount (which has
    /// to be there), and waits until it is ready.
    pub(crate) async fn from_deployment(cluster: &Cluster, manifests: &str) -> Self {
        let rendered = Rendered::read(manifests);
        let (namespace, account) = rendered.account();
        let kubeconfig = cluster.service_account_kubeconfig(namespace, account).await;
        Self::ready(cluster, &operator_binary(), |health, metrics| {
            let mut environment = rendered.environment();
            environment.push(("KUBECONFIG".into(), kubeconfig.clone().into()));
            Start {
                args: rendered.args(health, metrics),
                environment,
            }
        })
        .await
    }

    /// As [`Operator::start`], without waiting until it is ready.
    pub(crate) async fn spawn(cluster: &Cluster, args: &[&str]) -> Self {
        let kubeconfig = cluster.operator_kubeconfig().await;
        Self::spawn_program(cluster, &operator_binary(), args, &kubeconfig)
    }

    /// As [`Operator::spawn`], another program with a kubeconfig of one's own.
    pub(crate) fn spawn_program(
        cluster: &Cluster,
        program: &Path,
        args: &[&str],
        kubeconfig: &Path,
    ) -> Self {
        let [health, metrics] = http::free_addresses();
        let start = Start {
            args: run_args(health, metrics, args),
            environment: vec![("KUBECONFIG".into(), kubeconfig.into())],
        };
        Self::launch(cluster, program, start, health, metrics)
    }

    async fn ready(
        cluster: &Cluster,
        program: &Path,
        start: impl Fn(SocketAddr, SocketAddr) -> Start,
    ) -> Self {
        for _ in 0..ATTEMPTS {
            let [health, metrics] = http::free_addresses();
            let mut operator =
                Self::launch(cluster, program, start(health, metrics), health, metrics);
            match operator.wait_ready().await {
                Ok(()) => return operator,
                Err(status) => {
                    let log = operator.log();
                    assert!(
                        log.contains("ddress already in use"),
                        "the operator ended with {status}:\n{log}"
                    );
                }
            }
        }
        panic!("no free ports after {ATTEMPTS} attempts");
    }

    fn launch(
        cluster: &Cluster,
        program: &Path,
        start: Start,
        health: SocketAddr,
        metrics: SocketAddr,
    ) -> Self {
        let scratch = cluster.scratch();
        let log = scratch
            .path()
            .join(format!("operator-{}.log", cluster.next_file()));
        let home = (OsString::from("HOME"), scratch.path().into());
        let backtrace = (OsString::from("RUST_BACKTRACE"), "1".into());
        let environment = start.environment.into_iter().chain([home, backtrace]);
        let process = Supervised::spawn(program, start.args, environment, &log);
        Self {
            process,
            health,
            metrics,
            _scratch: scratch,
        }
    }

    /// Waits until the operator has made its first full pass; the error is how it ended instead.
    pub(crate) async fn wait_ready(&mut self) -> Result<(), ExitStatus> {
        let (process, health) = (&mut self.process, self.health);
        eventually("the operator is ready", READY_DEADLINE, async || {
            if let Some(status) = process.exited() {
                return Ok(Err(status));
            }
            match http::get(health, "/readyz").await {
                Ok((200, _)) => Ok(Ok(())),
                other => Err((other, process.log())),
            }
        })
        .await
    }

    /// What `/metrics` says now.
    pub(crate) async fn metrics(&self) -> String {
        let (status, body) = http::get(self.metrics, "/metrics")
            .await
            .expect("the operator serves metrics");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The status code of a path of the health server.
    pub(crate) async fn probe(&self, path: &str) -> u16 {
        self.answer(path).await.0
    }

    /// The status code and the body of a path of the health server.
    pub(crate) async fn answer(&self, path: &str) -> (u16, String) {
        http::get(self.health, path)
            .await
            .expect("the operator answers probes")
    }

    /// Where metrics and probes are served.
    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        [self.metrics, self.health]
    }

    /// The sum of all series of this name that carry these labels, or `None` where there is none.
    pub(crate) fn metric(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}={value:?}"))
            .collect();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            let carried = |label: &String| {
                rest.starts_with(label.as_str()) || rest.contains(&format!(",{label}"))
            };
            (found == name && labels.iter().all(carried))
                .then(|| value.parse::<f64>().expect("a number"))
        });
        values.reduce(|a, b| a + b)
    }

    /// What the operator wrote so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// The operator's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How the operator ended, or `None` while it runs.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited()
    }

    /// Sends it a signal by its name without `SIG`.
    pub(crate) fn signal(&mut self, name: &str) {
        self.process.signal(name);
    }

    /// Asks the operator to end, as a kubelet does; how it ended, and how long that took.
    pub(crate) async fn stop(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.process.signal("TERM");
        let process = &mut self.process;
        let status = eventually("the operator has ended", STOP_DEADLINE, async || {
            process.exited().ok_or_else(|| process.log())
        })
        .await;
        (status, asked.elapsed())
    }

    /// Ends the operator at once, as a crash does.
    #[expect(clippy::unused_async, reason = "stands beside stop, which waits")]
    pub(crate) async fn kill(self) {
        drop(self);
    }
}

impl Drop for Operator {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it with the failure"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- the end of the operator's log ---\n{}", last.join("\n"));
        }
    }
}
