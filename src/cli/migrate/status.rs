//! `identity-mapper migrate status`: the progress of each principal. Nothing is written.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args;
use serde::Serialize;

use super::apply::PaceArgs;
use super::worker::Worker;
use crate::cli::fleet::{self, FleetArgs, read_all};
use crate::cli::migrate::progress_printer::Counts;
use crate::cli::output::{json, print, yaml};
use crate::cli::snapshot::LiveArgs;
use crate::cli::table::{Cell, Column, Table, TableArgs, TableFormat, TableLayout};
use crate::effective::StandingEntries;
use crate::migrate::{BRIDGE, Bridge, PrincipalPlan, Situation, Stage, Way, situation, verdicts};
use crate::observed::{AwsState, Handover, Mode};
use crate::principal::{AccountId, PrincipalNames};
use crate::time::to_the_second;

pub(in crate::cli) const COLUMNS: [Column; 4] = [
    Column::shortened("PRINCIPAL", 26),
    Column::whole("PROGRESS"),
    Column::whole("ACCESS BY"),
    Column::whole("DETAIL"),
];

/// The columns of many clusters; those after the third are counts.
const FLEET_COLUMNS: [Column; 9] = [
    Column::whole("MODE"),
    Column::whole("HANDOVER").minor(2),
    Column::whole("BINDING").minor(1),
    Column::whole("PENDING"),
    Column::whole("MIGRATING"),
    Column::whole("SOAKING"),
    Column::whole("DONE"),
    Column::whole("STAYING"),
    Column::whole("BLOCKED"),
];

/// The stages in these columns, as the document names them.
const STAGES: [&str; 6] = [
    "pending",
    "migrating",
    "soaking",
    "done",
    "staying",
    "blocked",
];

/// Show the progress of the migration: mode, principals, temporary binding, handover setting and the newest copy of aws-auth
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: TableFormat,

    #[command(flatten)]
    table: TableArgs,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    fleet: FleetArgs,

    #[command(flatten)]
    live: LiveArgs,
}

/// All of it, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusDocument {
    cluster: String,
    mode: String,
    /// Whether an operator is installed, which then hands over.
    operator: bool,
    /// The handover setting in the cluster.
    handover: Option<String>,
    bridge: &'static str,
    /// Whether nobody needs the bridge that exists.
    bridge_left: bool,
    /// The youngest copy of aws-auth.
    backup: Option<String>,
    principals: Vec<PrincipalStatus>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrincipalStatus {
    principal: String,
    #[serde(rename = "progress")]
    stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    soaks_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// By what it has access now.
    access_by: AccessBy,
    /// Whether it has access by aws-auth alone.
    #[serde(rename = "losesAccessInApi")]
    lost_in_api: bool,
}

impl StatusDocument {
    /// The row of a cluster among many: how many principals are how far.
    fn rows(&self) -> Vec<Vec<Cell>> {
        let mut row = vec![
            Cell::text(self.mode.as_str()),
            Cell::text(self.handover.as_deref().unwrap_or_default()),
            Cell::text(if self.bridge_left {
                "left behind"
            } else {
                self.bridge
            }),
        ];
        row.extend(STAGES.map(|stage| {
            let principals = self.principals.iter();
            let count = principals.filter(|it| it.stage == stage).count();
            Cell::text(count.to_string())
        }));
        vec![row]
    }
}

/// By what a principal has access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum AccessBy {
    AwsAuth,
    AccessEntry,
    Nothing,
}

impl AccessBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AwsAuth => "aws-auth",
            Self::AccessEntry => "access entry",
            Self::Nothing => "nothing",
        }
    }

    fn of(plan: &PrincipalPlan, entries: &StandingEntries<'_>) -> Self {
        let has_entry = || {
            let key = plan.who.key();
            key.is_some_and(|key| entries.in_force(key).is_some())
        };
        if plan.lost_in_api {
            Self::AwsAuth
        } else if has_entry() {
            Self::AccessEntry
        } else {
            Self::Nothing
        }
    }
}

pub(super) async fn status(args: StatusArgs) -> Result<ExitCode> {
    let StatusArgs {
        output,
        table,
        pace,
        fleet,
        live,
    } = args;
    let layout = TableLayout::of_stdout(&table, output == TableFormat::Wide);
    if let Some(clusters) = fleet.clusters(&live, false)? {
        let read = async |live| {
            let (document, _) = Box::pin(report(live, &pace, &layout)).await?;
            Ok(document)
        };
        let outcomes = read_all(clusters, read).await;
        print(&match output {
            TableFormat::Text | TableFormat::Wide => {
                fleet::table(&outcomes, &FLEET_COLUMNS, StatusDocument::rows, &layout)?
            }
            TableFormat::Json => json(&fleet::document(&outcomes))?,
            TableFormat::Yaml => yaml(&fleet::document(&outcomes))?,
        })?;
        return Ok(fleet::exit_code(&outcomes, |_| 0));
    }
    let (document, text) = Box::pin(report(live, &pace, &layout)).await?;
    print(&match output {
        TableFormat::Json => json(&document)?,
        TableFormat::Yaml => yaml(&document)?,
        TableFormat::Text | TableFormat::Wide => text,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The status of one cluster, for programs and for people.
async fn report(
    live: LiveArgs,
    pace: &PaceArgs,
    layout: &TableLayout,
) -> Result<(StatusDocument, String)> {
    let mut worker = Box::pin(Worker::begin(live, Way::Forth, pace.pace())).await?;
    pace.check(worker.installed)?;
    let look = worker.look().await?;
    let migration = verdicts(&look.desired, &look.observed, worker.settings())
        .map_err(|error| anyhow!("{error}"))?;
    let installation = worker.installation();
    let situation = situation(
        &migration,
        &look.desired,
        &look.observed,
        &installation,
        look.bridge,
        Way::Forth,
    );
    let history = look.observed.history.view();
    let mut copies: Vec<&String> = history
        .into_iter()
        .flat_map(|view| view.copies.keys())
        .collect();
    // Names carry the time, behind a word for the first one.
    copies.sort_by_key(|name| name.trim_start_matches("first-").to_owned());
    let told = StatusDocument {
        cluster: migration.cluster.arn.clone(),
        mode: situation.standing.mode.to_string(),
        operator: worker.installed,
        handover: situation
            .standing
            .handover
            .map(|it: Handover| it.to_string()),
        bridge: match look.bridge {
            Bridge::Absent => "Absent",
            Bridge::Stands => "Present",
            Bridge::Other => "Other",
        },
        bridge_left: look.bridge == Bridge::Stands && !situation.standing.needs_bridge,
        backup: copies.last().map(|name| (*name).clone()),
        principals: principals(&situation, &look.observed.aws, worker.installed),
    };
    let text = text(
        &told,
        &situation,
        &worker,
        layout,
        migration.cluster.account(),
    )?;
    Ok((told, worker.live.target.to_string() + &text))
}

fn principals(situation: &Situation<'_>, aws: &AwsState, operator: bool) -> Vec<PrincipalStatus> {
    let counting = aws.view().filter(|view| view.mode != Mode::ConfigMap);
    let entries = counting.map(StandingEntries::new).unwrap_or_default();
    let principals = situation.principals.iter();
    let principal = principals.map(|principal| {
        let (until, why) = match &principal.stage {
            Stage::Soaking { said, .. } if operator => (None, Some(said)),
            Stage::Soaking { until, .. } => (*until, None),
            Stage::Making(why) | Stage::Stays(why) | Stage::Blocked(why) => (None, Some(why)),
            Stage::Ahead | Stage::There => (None, None),
        };
        PrincipalStatus {
            principal: principal.verdict.who.to_string(),
            access_by: AccessBy::of(principal.verdict, &entries),
            stage: principal.stage.as_str(),
            mapping: principal.verdict.mapping.clone(),
            soaks_until: until.map(|until| to_the_second(until).to_string()),
            why: why.cloned(),
            lost_in_api: principal.verdict.lost_in_api,
        }
    });
    principal.collect()
}

fn text(
    told: &StatusDocument,
    situation: &Situation<'_>,
    worker: &Worker,
    layout: &TableLayout,
    account: Option<AccountId>,
) -> Result<String> {
    let history = worker.settings().config_map.history();
    let bridge = match (told.bridge, told.bridge_left) {
        ("Absent", _) => "none".to_owned(),
        ("Other", _) => format!("ClusterRoleBinding {BRIDGE} exists but binds something else"),
        (_, true) => format!(
            "temporary ClusterRoleBinding {BRIDGE} was left behind: run `migrate apply` again, or kubectl delete \
                clusterrolebinding {BRIDGE}"
        ),
        (_, false) => format!("temporary ClusterRoleBinding {BRIDGE} exists"),
    };
    let rows = told.principals.iter().map(|principal| {
        let detail = match (&principal.soaks_until, &principal.why) {
            (Some(until), _) => Cell::Text(format!("until {until}")),
            (None, Some(why)) => Cell::noted("", why.as_str()),
            (None, None) => Cell::text(""),
        };
        [
            Cell::Principal(principal.principal.clone()),
            Cell::text(principal.stage),
            Cell::text(principal.access_by.as_str()),
            detail,
        ]
    });
    let arns = told.principals.iter().map(|it| it.principal.as_str());
    let names = PrincipalNames::short(arns, account);
    let table = Table::new(COLUMNS, rows).named(names);
    Ok(format!(
        "handover:   {}, by {}\nbinding:    {bridge}\nbackup:     {}\nprincipals: {}\n\n{}",
        told.handover.as_deref().unwrap_or("not set"),
        if told.operator {
            "the operator"
        } else {
            "this command (no operator is installed)"
        },
        told.backup
            .as_ref()
            .map_or_else(|| "none".to_owned(), |copy| format!("{copy} of {history}")),
        Counts::of(situation, worker.installed).line(),
        table.render(layout)?
    ))
}
