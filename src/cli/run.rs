//! `identity-mapper run`: the operator.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::choices;
use super::connection::{ConfigMapArgs, ConnectionArgs};
use super::eks::{EksArgs, duration};
use super::leader::LeaderArgs;
use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::controller::health::{self, Health};
use crate::controller::metrics::Metrics;
use crate::effective::Reading;
use crate::observed::{ConfigMapName, Repair, Settings};

/// Run the operator
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) eks: EksArgs,

    /// Write no entries and no finalizers; statuses and metrics show what would be done
    #[arg(long, env = "IDENTITY_MAPPER_OBSERVE")]
    pub(crate) observe: bool,

    /// What to do when aws-auth is invalid YAML or missing [default: `LastGood` in `CONFIG_MAP` mode, else `Off`]
    #[arg(long, value_name = "SETTING", env = "IDENTITY_MAPPER_REPAIR", value_parser = choices::repair(), ignore_case = true)]
    pub(crate) repair: Option<Repair>,

    #[command(flatten)]
    pub(crate) config_map: ConfigMapArgs,

    /// Maximum interval between reconciliations, such as 10m or 1h
    #[arg(long, value_name = "DURATION", env = "IDENTITY_MAPPER_RESYNC", default_value = "10m", value_parser = resync)]
    pub(crate) resync: Duration,

    #[command(flatten)]
    pub(crate) leader: LeaderArgs,

    /// Log format: auto is text on a terminal, else JSON
    #[arg(
        long,
        value_name = "FORMAT",
        env = "IDENTITY_MAPPER_LOG_FORMAT",
        default_value = "auto"
    )]
    pub(crate) log_format: LogFormat,

    /// Log filter, such as `info` or `identity_mapper=debug`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    pub(crate) log_level: String,

    /// Address for /livez and /readyz
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "IDENTITY_MAPPER_HEALTH_ADDRESS",
        default_value = "0.0.0.0:8081"
    )]
    pub(crate) health_address: SocketAddr,

    /// Address for /metrics; can be the same
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "IDENTITY_MAPPER_METRICS_ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub(crate) metrics_address: SocketAddr,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// The format of logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, else JSON
    #[default]
    Auto,
    /// Human-readable lines
    Text,
    /// One JSON object per line
    Json,
}

/// Runs the controller until SIGTERM or SIGINT. An error is one of the start: later ones are logged and tried again.
/// `verbose` counts above the level of the logs.
pub(crate) async fn run(args: RunArgs, verbose: u8) -> Result<()> {
    let RunArgs {
        eks,
        observe,
        repair,
        config_map,
        resync,
        leader,
        log_format,
        log_level,
        health_address,
        metrics_address,
        connection,
    } = args;
    eks.check()?;
    start_logging(
        log_format,
        match verbose {
            0 => &log_level,
            1 => "debug",
            _ => "trace",
        },
    )?;
    let config_map = ConfigMapName::from(config_map);
    let connection = connection.connect().await?;
    let aws = eks.connect(connection.api_server.clone()).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        cluster = connection.url,
        config_map = %config_map,
        eks_cluster = eks.cluster.cluster_name,
        region = aws.as_ref().map(|(aws, _)| aws.region()),
        repair = repair.map(|repair| repair.to_string()),
        observe,
        "starting"
    );
    if Reading::of(&config_map) == Reading::Never {
        warn!(
            "{config_map} is a trial copy: EKS reads only {}; statuses treat the copy as if EKS read it",
            ConfigMapName::default()
        );
    }

    let shutdown = CancellationToken::new();
    end_on_signals(shutdown.clone())?;
    let health = Arc::new(Health::default());
    let (metrics, registry) = Metrics::new(
        aws.as_ref().map(|(aws, _)| aws.calls()),
        connection.api_server.requests(),
    );
    health::serve(
        health_address,
        metrics_address,
        Arc::clone(&health),
        registry,
        &shutdown,
    )
    .await?;

    let instance = std::env::var("HOSTNAME").unwrap_or_default();
    let contender = leader.contender(connection.client.clone(), &instance, &health, &metrics);
    let cluster = Cluster::new(connection.client, config_map.clone(), &instance);
    let settings = settings(&eks, config_map, repair, observe);
    let controller = Controller::new(cluster, aws, settings, resync, health, metrics);
    let Some((contender, leadership)) = contender else {
        Box::pin(controller.run(shutdown)).await;
        return Ok(());
    };
    let end = CancellationToken::new();
    let election = tokio::spawn(contender.run(end.clone()));
    Box::pin(controller.elected(leadership).run(shutdown)).await;
    // Only now is everything sent that this replica had to send.
    end.cancel();
    election.await.context("the leader election failed")?;
    Ok(())
}

impl RunArgs {
    /// What the plans of an operator with these arguments depend on.
    pub(crate) fn settings(&self) -> Settings {
        let config_map = ConfigMapName::from(self.config_map.clone());
        settings(&self.eks, config_map, self.repair, self.observe)
    }
}

fn settings(
    eks: &EksArgs,
    config_map: ConfigMapName,
    repair: Option<Repair>,
    observe: bool,
) -> Settings {
    eks.settings.settings(Settings {
        config_map,
        repair,
        observe,
        ..Settings::default()
    })
}

/// At least a second: less would be a poll.
fn resync(text: &str) -> Result<Duration, String> {
    let year = Duration::from_hours(24 * 365);
    duration(
        text,
        (Duration::from_secs(1), "1s"),
        (year, "a year"),
        "10m",
    )
}

pub(super) fn start_logging(format: LogFormat, filter: &str) -> Result<()> {
    // kube_runtime warns of every attempt of a watch that fails, kube_client of every request without an answer, and the controller of the
    // first. The SDK tells each time that it fetches credentials.
    let quiet = "kube_runtime::watcher=error,kube_client::client::builder=off,aws_config=warn,aws_smithy_runtime=warn";
    let filter = EnvFilter::try_new(format!("{quiet},{filter}"))
        .with_context(|| format!("--log-level {filter}: not a log filter such as info"))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if json {
        logs.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        logs.with_ansi(terminal).with_target(false).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logs can't be started: {error}"))
}

/// The first signal ends it in order, the second one at once.
pub(super) fn end_on_signals(shutdown: CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be waited for")?;
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                shutdown.cancel();
            } else {
                warn!("second signal: exiting immediately");
                #[allow(
                    clippy::exit,
                    reason = "the second signal ends the process without waiting"
                )]
                std::process::exit(1);
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parse(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("run").chain(arguments.iter().copied()))
            .map(|line| line.run)
    }

    #[test]
    fn flags_have_their_defaults() {
        let args = parse(&[]).expect("defaults suffice");
        assert_eq!(args.resync, Duration::from_mins(10));
        assert_eq!(
            (args.repair, args.observe, args.log_format),
            (None, false, LogFormat::Auto)
        );
        assert_eq!(
            ConfigMapName::from(args.config_map).to_string(),
            "kube-system/aws-auth"
        );
        assert_eq!(args.health_address.port(), 8081);
        assert_eq!(args.metrics_address.port(), 8080);
    }

    #[test]
    fn bad_values_are_refused_with_a_fix() {
        for (arguments, fix) in [
            (["--resync", "0s"], "between 1s and a year"),
            (["--resync", "soon"], "such as 10m"),
            (["--resync", "500ms"], "between 1s and a year"),
            (["--repair", "Maybe"], "LastGood, Off"),
            (["--log-format", "xml"], "possible values"),
        ] {
            let error = parse(&arguments).expect_err("refused").to_string();
            assert!(error.contains(fix), "{arguments:?}: {error}");
        }
        assert_eq!(
            parse(&["--resync=1h30m"]).expect("friendly").resync,
            Duration::from_mins(90)
        );
    }
}
