//! `identity-mapper access`: lists the principals with access, administrators first; also as a page for auditors.

mod difference;
mod page;
pub(super) mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::fleet::{self, FleetArgs, read_all};
use super::output;
use super::rights::ReadingCommand;
use super::table::{TableArgs, TableLayout};
use crate::access_entry::EksCluster;
use crate::cli::query_context::{Looked, flags};
use crate::cli::snapshot::{IamExtent, ModeNeed, Observation, ObserveArgs};
use crate::explain::{AccessReport, Explainer};
use crate::observed::AwsView;
use crate::principal::AccountId;
use crate::time::Timestamp;
use crate::time::to_the_second;

/// List all principals with access to the cluster, their identity and permissions, administrators first; also as a page for auditors
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AccessArgs {
    #[command(subcommand)]
    command: Option<AccessCommand>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: AccessFormat,

    #[command(flatten)]
    table: TableArgs,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    fleet: FleetArgs,
}

/// What else is done with reports.
#[derive(Subcommand, Debug)]
enum AccessCommand {
    Diff(difference::AccessDiffArgs),
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum AccessFormat {
    /// Human-readable, as wide as the terminal
    #[default]
    #[value(alias = "table")]
    Text,
    /// The same with all columns and whole values
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// For spreadsheets: one row per entry; cells that could be read as a formula start with an apostrophe
    Csv,
    /// A self-contained page for auditors, with search and filters
    Html,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessDocument {
    /// When it was read.
    made: Timestamp,
    cluster: Whereabouts,
    #[serde(flatten)]
    report: AccessReport,
}

impl AccessDocument {
    /// 1 where a whole key of aws-auth is dropped, as `effective` has it.
    fn exit_code(&self) -> u8 {
        u8::from(!self.report.dropped_keys.is_empty())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whereabouts {
    /// The URL of the API server; `None`: files.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The context of the kubeconfig file.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    /// The cluster's ARN in EKS, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    arn: Option<String>,
    /// The `ConfigMap` that is meant.
    config_map: String,
}

impl Whereabouts {
    fn of(observation: &Observation) -> Self {
        let target = observation.live.as_ref().map(|live| &live.target);
        let view = observation.observed.aws.view();
        Self {
            url: target.map(|target| target.url.clone()),
            context: target.and_then(|target| target.context.clone()),
            arn: view.map(|AwsView { cluster, .. }| cluster.arn.clone()),
            config_map: observation.config_map.to_string(),
        }
    }

    /// The cluster's account, where it is known.
    fn account(&self) -> Option<AccountId> {
        EksCluster::parse(self.arn.as_deref()?).ok()?.account()
    }

    /// A short name for a title; `None`: files that don't say.
    fn title(&self) -> Option<&str> {
        let arn = self.arn.as_deref().and_then(|arn| arn.rsplit('/').next());
        arn.or(self.context.as_deref()).or(self.url.as_deref())
    }
}

/// The report of one cluster, or of files.
async fn report(observe: &ObserveArgs) -> Result<AccessDocument> {
    let mut observation =
        Box::pin(observe.observe(IamExtent::Everyone, ModeNeed::Required)).await?;
    observation.identity_providers = observation.list_identity_providers().await;
    let looked = Looked::new(&observation, flags(observe, &observation));
    Ok(AccessDocument {
        made: to_the_second(observation.observed.now),
        cluster: Whereabouts::of(&observation),
        report: Explainer::new(looked.scene()).report(),
    })
}

pub(crate) async fn access(args: AccessArgs) -> Result<ExitCode> {
    let AccessArgs {
        command,
        output,
        table,
        fleet,
        mut observe,
    } = args;
    observe.live.reader = ReadingCommand::Access;
    if let Some(AccessCommand::Diff(args)) = command {
        return Ok(difference::diff(&args));
    }
    let layout = TableLayout::of_stdout(&table, output == AccessFormat::Wide);
    if let Some(clusters) = fleet.clusters(&observe.live, observe.is_offline())? {
        let read = async |live| {
            let observe = ObserveArgs {
                live,
                ..observe.clone()
            };
            Box::pin(report(&observe)).await
        };
        let outcomes = read_all(clusters, read).await;
        output::print(&match output {
            AccessFormat::Text | AccessFormat::Wide => table::text_of_many(&outcomes, &layout)?,
            AccessFormat::Json => output::json(&fleet::document(&outcomes))?,
            AccessFormat::Yaml => output::yaml(&fleet::document(&outcomes))?,
            AccessFormat::Csv => table::csv_of_many(&outcomes)?,
            AccessFormat::Html => page::page_of_many(&outcomes, to_the_second(Timestamp::now())),
        })?;
        return Ok(fleet::exit_code(&outcomes, AccessDocument::exit_code));
    }
    let access = report(&observe).await?;
    let printed = match output {
        AccessFormat::Text | AccessFormat::Wide => table::text(&access, &layout)?,
        AccessFormat::Json => output::json(&access)?,
        AccessFormat::Yaml => output::yaml(&access)?,
        AccessFormat::Csv => table::csv(&access)?,
        AccessFormat::Html => page::page(&access),
    };
    output::print(&printed)?;
    Ok(ExitCode::from(access.exit_code()))
}
