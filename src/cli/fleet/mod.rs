//! Many clusters in one run: which ones, read side by side, and what is the same in what is printed of them.
//!
//! A command stays a function from the flags of one cluster to a report. This module alone knows that there can be many.

mod config;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures::{StreamExt as _, stream};
use serde::Serialize;

use self::config::ConfiguredCluster;
use super::connection::is_known;
use super::output::{self, Format, Progress, complain, visible};
use super::snapshot::LiveArgs;
use super::table::{Cell, Column, Table, TableArgs, TableLayout};

/// So many clusters are read at once: enough to hide the latency of distant ones, few enough for the credentials plugins that each of
/// them starts.
const AT_ONCE: usize = 8;

/// The first column of a table of many clusters.
pub(super) const CLUSTER: Column = Column::shortened("CLUSTER", 12);

/// Which clusters, where it is not one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FleetArgs {
    /// Read the clusters of these contexts of the kubeconfig side by side, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["all_contexts", "context"])]
    contexts: Vec<String>,

    /// Read the clusters of all contexts of the kubeconfig side by side
    #[arg(long, conflicts_with = "context")]
    all_contexts: bool,

    /// Read the clusters of this file side by side. With --contexts or --all-contexts it only adds settings for them (EKS names, regions, roles
    /// to assume) [default for these two: ~/.config/identity-mapper/clusters.yaml, if it exists]
    #[arg(long, value_name = "FILE", conflicts_with = "context")]
    config: Option<PathBuf>,
}

/// A cluster, and the flags that mean it alone.
pub(crate) struct FleetCluster {
    name: String,
    live: LiveArgs,
}

/// What came of one cluster.
pub(crate) struct ClusterOutcome<T> {
    pub(crate) cluster: String,
    /// Its report, or the error in words.
    pub(crate) report: Result<T, String>,
}

/// All of it, for programs.
#[derive(Serialize)]
pub(crate) struct FleetDocument<'a, T> {
    clusters: Vec<ClusterDocument<'a, T>>,
}

#[derive(Serialize)]
struct ClusterDocument<'a, T> {
    cluster: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl FleetArgs {
    /// The flag that asks for many clusters; `None`: it is one.
    fn given(&self) -> Option<&'static str> {
        match self {
            Self { contexts, .. } if !contexts.is_empty() => Some("--contexts"),
            Self {
                all_contexts: true, ..
            } => Some("--all-contexts"),
            Self {
                config: Some(_), ..
            } => Some("--config"),
            Self { .. } => None,
        }
    }

    /// The clusters; `None`: one, as without these flags. `base` are the flags that hold for all of them; `files` says whether files are
    /// read in place of a cluster.
    pub(crate) fn clusters(
        &self,
        base: &LiveArgs,
        files: bool,
    ) -> Result<Option<Vec<FleetCluster>>> {
        let Some(flag) = self.given() else {
            return Ok(None);
        };
        if files {
            bail!("{flag} reads clusters, and files are given too: remove one of the two");
        }
        if let Some(name) = &base.eks.cluster_name {
            bail!(
                "--cluster-name {name} names one cluster, and {flag} asks for several: remove it; clusterName in the file of --config names \
                    the EKS cluster of each context"
            );
        }
        let configured = match &self.config {
            Some(path) => config::read(path)?,
            None => match config::default_path().filter(|path| path.is_file()) {
                Some(path) => config::read(&path)?,
                None => Vec::new(),
            },
        };
        let known = base.connection.contexts()?;
        let wanted: Vec<String> = match self {
            Self { contexts, .. } if !contexts.is_empty() => {
                let contexts = contexts.iter().map(|it| it.trim().to_owned());
                contexts.filter(|it| !it.is_empty()).collect()
            }
            Self {
                all_contexts: true, ..
            } => known.clone(),
            Self { .. } => configured.iter().map(|it| it.context.clone()).collect(),
        };
        let mut clusters: Vec<FleetCluster> = Vec::new();
        for context in wanted {
            is_known(
                &context,
                &known.iter().map(String::as_str).collect::<Vec<_>>(),
            )
            .with_context(|| flag)?;
            let said = configured.iter().find(|it| it.context == context);
            let cluster = cluster(base, context, said);
            let is_of =
                |it: &&FleetCluster| it.live.connection.context == cluster.live.connection.context;
            if clusters.iter().any(|it| is_of(&it)) {
                continue;
            }
            if let Some(other) = clusters.iter().find(|it| it.name == cluster.name) {
                let context =
                    |it: &FleetCluster| it.live.connection.context.clone().unwrap_or_default();
                bail!(
                    "two clusters would be called {:?}, of the contexts {:?} and {:?}: give one of them another name in the file of --config",
                    cluster.name,
                    context(other),
                    context(&cluster)
                );
            }
            clusters.push(cluster);
        }
        if clusters.is_empty() {
            bail!("{flag}: the kubeconfig has no contexts");
        }
        Ok(Some(clusters))
    }
}

fn cluster(base: &LiveArgs, context: String, said: Option<&ConfiguredCluster>) -> FleetCluster {
    let mut live = base.clone();
    let name = match said {
        None => context.clone(),
        Some(said) => {
            live.eks.cluster_name.clone_from(&said.cluster_name);
            if said.region.is_some() {
                live.eks.region.clone_from(&said.region);
            }
            live.eks.assumed_role = said.role();
            said.name().to_owned()
        }
    };
    live.connection.context = Some(context);
    FleetCluster { name, live }
}

/// Reads the clusters side by side, in their order. What fails for one does not concern the others.
pub(crate) async fn read_all<T>(
    clusters: Vec<FleetCluster>,
    read: impl AsyncFn(LiveArgs) -> Result<T>,
) -> Vec<ClusterOutcome<T>> {
    let total = clusters.len();
    let mut progress = Progress::new("clusters read");
    let read = &read;
    let readings = clusters
        .into_iter()
        .map(async |FleetCluster { name, live }| {
            let report = Box::pin(output::of_cluster(name.clone(), read(live))).await;
            ClusterOutcome {
                cluster: name,
                report: report.map_err(|error| format!("{error:#}")),
            }
        });
    let mut readings = stream::iter(readings).buffered(AT_ONCE);
    let mut outcomes = Vec::with_capacity(total);
    while let Some(outcome) = readings.next().await {
        outcomes.push(outcome);
        progress.set(outcomes.len(), total);
    }
    outcomes
}

/// The reports that there are, with their clusters.
pub(crate) fn reports<T>(outcomes: &[ClusterOutcome<T>]) -> impl Iterator<Item = (&str, &T)> {
    let outcomes = outcomes.iter();
    outcomes.filter_map(|it| Some((it.cluster.as_str(), it.report.as_ref().ok()?)))
}

/// The same outcomes with other reports made of theirs.
pub(crate) fn map<'a, T, U>(
    outcomes: &'a [ClusterOutcome<T>],
    of: impl Fn(&'a T) -> U,
) -> Vec<ClusterOutcome<U>> {
    let outcomes = outcomes.iter().map(|outcome| ClusterOutcome {
        cluster: outcome.cluster.clone(),
        report: outcome.report.as_ref().map(&of).map_err(Clone::clone),
    });
    outcomes.collect()
}

/// The clusters without a report, with the reason.
pub(crate) fn failures<T>(outcomes: &[ClusterOutcome<T>]) -> impl Iterator<Item = (&str, &str)> {
    let outcomes = outcomes.iter();
    outcomes.filter_map(|it| Some((it.cluster.as_str(), it.report.as_ref().err()?.as_str())))
}

pub(crate) fn document<T>(outcomes: &[ClusterOutcome<T>]) -> FleetDocument<'_, T> {
    let clusters = outcomes.iter().map(|outcome| ClusterDocument {
        cluster: &outcome.cluster,
        report: outcome.report.as_ref().ok(),
        error: outcome.report.as_ref().err().map(String::as_str),
    });
    FleetDocument {
        clusters: clusters.collect(),
    }
}

/// One table of all clusters, and what failed. Each row begins with its cluster.
pub(crate) fn table<T>(
    outcomes: &[ClusterOutcome<T>],
    columns: &[Column],
    rows: impl Fn(&T) -> Vec<Vec<Cell>>,
    layout: &TableLayout,
) -> Result<String> {
    let columns = [&[CLUSTER], columns].concat();
    let rows = reports(outcomes).flat_map(|(cluster, report)| {
        let rows = rows(report).into_iter();
        rows.map(move |row| [vec![Cell::text(cluster)], row].concat())
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let table = if rows.is_empty() {
        String::new()
    } else {
        Table::of(columns, rows).render(layout)?
    };
    Ok(table + &failed(outcomes))
}

/// Prints the outcomes of a command whose text is one table.
pub(crate) fn print<T: Serialize>(
    outcomes: &[ClusterOutcome<T>],
    format: Format,
    columns: &[Column],
    rows: impl Fn(&T) -> Vec<Vec<Cell>>,
) -> Result<()> {
    let layout = TableLayout {
        is_only_form: true,
        ..TableLayout::of_stdout(&TableArgs::default(), false)
    };
    output::print(&match format {
        Format::Text => table(outcomes, columns, rows, &layout)?,
        Format::Json => output::json(&document(outcomes))?,
        Format::Yaml => output::yaml(&document(outcomes))?,
    })
}

/// What failed, for people.
pub(crate) fn failed<T>(outcomes: &[ClusterOutcome<T>]) -> String {
    let mut text = String::new();
    for (cluster, error) in failures(outcomes) {
        if text.is_empty() {
            text.push_str("\nNot read:\n");
        }
        let error = error.replace('\n', "\n    ");
        let _ = writeln!(text, "  {}: {}", visible(cluster), error.trim_end());
    }
    text
}

/// The exit code: 1 where a cluster has no report, else the worst of the reports', of which 1 is worst.
pub(crate) fn exit_code<T>(outcomes: &[ClusterOutcome<T>], of: impl Fn(&T) -> u8) -> ExitCode {
    let codes: Vec<u8> = reports(outcomes)
        .map(|(cluster, report)| output::of_cluster_now(cluster, || of(report)))
        .collect();
    let missing = outcomes.len() - codes.len();
    if missing > 0 {
        complain(&format!(
            "error: {missing} of {} clusters could not be read",
            outcomes.len()
        ));
        return ExitCode::FAILURE;
    }
    if codes.contains(&1) {
        return ExitCode::FAILURE;
    }
    ExitCode::from(codes.into_iter().max().unwrap_or_default())
}
