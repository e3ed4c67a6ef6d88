//! `identity-mapper run`: the controller.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::connection::{ConfigMapArgs, ConnectionArgs};
use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::controller::health::{self, Health};
use crate::controller::metrics::Metrics;
use crate::plan::{ConfigMapName, Repair, Settings};

/// The only mode that is handled: aws-auth alone counts.
const CONFIG_MAP: &str = "CONFIG_MAP";

/// Run the controller
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The cluster's authentication mode, as EKS says it; only `CONFIG_MAP` is handled
    #[arg(long, value_name = "MODE", env = "IDENTITY_MAPPER_AUTHENTICATION_MODE")]
    pub authentication_mode: Option<String>,

    /// Write no entry and no finalizer: statuses and metrics show what would be done
    #[arg(long, env = "IDENTITY_MAPPER_OBSERVE")]
    pub observe: bool,

    /// What to do about an aws-auth that does not parse or is gone: `LastGood` puts back the last good text, `Off` does not
    #[arg(
        long,
        value_name = "SETTING",
        env = "IDENTITY_MAPPER_REPAIR",
        default_value = "LastGood"
    )]
    pub repair: Repair,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub config_map: ConfigMapArgs,

    /// Plan again at least so often, such as 10m or 1h
    #[arg(long, value_name = "DURATION", env = "IDENTITY_MAPPER_RESYNC", default_value = "10m", value_parser = resync)]
    pub resync: Duration,

    /// How logs are written: auto is text on a terminal and JSON elsewhere
    #[arg(
        long,
        value_name = "FORMAT",
        env = "IDENTITY_MAPPER_LOG_FORMAT",
        default_value = "auto"
    )]
    pub log_format: LogFormat,

    /// Which logs are written, such as `info` or `identity_mapper=debug`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    pub log_level: String,

    /// Where /livez and /readyz are served
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "IDENTITY_MAPPER_HEALTH_ADDRESS",
        default_value = "0.0.0.0:8081"
    )]
    pub health_address: SocketAddr,

    /// Where /metrics is served; may be the same address
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "IDENTITY_MAPPER_METRICS_ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub metrics_address: SocketAddr,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub connection: ConnectionArgs,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    #[default]
    Auto,
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Runs the controller until SIGTERM or SIGINT. An error is one of the start: later ones are logged and tried again.
pub async fn run(args: RunArgs) -> Result<()> {
    let RunArgs {
        authentication_mode,
        observe,
        repair,
        config_map,
        resync,
        log_format,
        log_level,
        health_address,
        metrics_address,
        connection,
    } = args;
    check_mode(authentication_mode.as_deref())?;
    start_logging(log_format, &log_level)?;
    let config_map = ConfigMapName::from(config_map);
    let connection = connection.connect().await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        cluster = connection.url,
        config_map = %config_map,
        authentication_mode = CONFIG_MAP,
        repair = %repair,
        observe,
        "starting"
    );

    let shutdown = CancellationToken::new();
    end_on_signals(shutdown.clone())?;
    let health = Arc::new(Health::default());
    let (metrics, registry) = Metrics::new();
    health::serve(
        health_address,
        metrics_address,
        Arc::clone(&health),
        registry,
        &shutdown,
    )
    .await?;

    let instance = std::env::var("HOSTNAME").unwrap_or_default();
    let cluster = Cluster::new(connection.client, config_map.clone(), &instance);
    let settings = Settings {
        config_map,
        repair: Some(repair),
        observe,
        ..Settings::default()
    };
    Controller::new(cluster, settings, resync, health, metrics)
        .run(shutdown)
        .await;
    Ok(())
}

fn check_mode(mode: Option<&str>) -> Result<()> {
    match mode {
        Some(CONFIG_MAP) => Ok(()),
        Some("API_AND_CONFIG_MAP" | "API") => bail!(
            "--authentication-mode {}: this version keeps aws-auth in clusters of mode CONFIG_MAP; it does not handle access entries, which count in this mode",
            mode.unwrap_or_default()
        ),
        Some(other) => bail!("--authentication-mode {other}: not a mode of EKS; write CONFIG_MAP"),
        None => bail!(
            "the cluster's authentication mode is not given; where `aws eks describe-cluster --name CLUSTER --query cluster.accessConfig.authenticationMode` says CONFIG_MAP, add --authentication-mode CONFIG_MAP (or set IDENTITY_MAPPER_AUTHENTICATION_MODE)"
        ),
    }
}

/// At least a second: less would be a poll.
fn resync(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|error| format!("{error}; write a duration such as 10m"))?;
    match Duration::try_from(duration) {
        Ok(duration)
            if duration >= Duration::from_secs(1) && duration <= Duration::from_hours(24 * 365) =>
        {
            Ok(duration)
        }
        _ => Err("must lie between 1s and a year; write a duration such as 10m".to_owned()),
    }
}

fn start_logging(format: LogFormat, filter: &str) -> Result<()> {
    // kube_runtime warns of every attempt of a watch that fails, and the controller of the first.
    let filter = EnvFilter::try_new(format!("kube_runtime::watcher=error,{filter}"))
        .with_context(|| format!("--log-level {filter}: not a filter such as info"))?;
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

/// The first signal ends the controller in order, the second one at once.
fn end_on_signals(shutdown: CancellationToken) -> Result<()> {
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
                warn!("a second signal: ending at once");
                #[allow(
                    clippy::exit,
                    reason = "the point of a second signal is not to wait for anything"
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
    fn the_mode_must_be_given_and_handled() {
        assert!(check_mode(Some("CONFIG_MAP")).is_ok());
        let error = |mode| check_mode(mode).expect_err("refused").to_string();
        assert!(error(None).contains("add --authentication-mode CONFIG_MAP"));
        assert!(error(Some("API")).contains("does not handle access entries"));
        assert!(
            error(Some("API_AND_CONFIG_MAP"))
                .starts_with("--authentication-mode API_AND_CONFIG_MAP: ")
        );
        assert!(error(Some("config_map")).contains("not a mode of EKS"));
    }

    #[test]
    fn flags_have_their_defaults() {
        let args = parse(&[]).expect("defaults suffice");
        assert_eq!(args.resync, Duration::from_mins(10));
        assert_eq!(
            (args.repair, args.observe, args.log_format),
            (Repair::LastGood, false, LogFormat::Auto)
        );
        assert_eq!(
            ConfigMapName::from(args.config_map).to_string(),
            "kube-system/aws-auth"
        );
        assert_eq!(args.health_address.port(), 8081);
        assert_eq!(args.metrics_address.port(), 8080);
    }

    #[test]
    fn bad_values_are_refused_with_the_mend() {
        for (arguments, mend) in [
            (["--resync", "0s"], "between 1s and a year"),
            (["--resync", "soon"], "such as 10m"),
            (["--resync", "500ms"], "between 1s and a year"),
            (["--repair", "Maybe"], "LastGood or Off"),
            (["--log-format", "xml"], "possible values"),
        ] {
            let error = parse(&arguments).expect_err("refused").to_string();
            assert!(error.contains(mend), "{arguments:?}: {error}");
        }
        assert_eq!(
            parse(&["--resync=1h30m"]).expect("friendly").resync,
            Duration::from_mins(90)
        );
    }
}
