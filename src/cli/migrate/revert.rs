//! `identity-mapper migrate revert`: moves principals back while EKS still reads aws-auth.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::apply::{PaceArgs, code};
use super::worker::Worker;
use crate::cli::confirm::confirm;
use crate::cli::migrate::runner::{Runner, StoppedAt};
use crate::cli::output::{complain, print};
use crate::cli::snapshot::LiveArgs;
use crate::cli::table::{Cell, Column, Table};
use crate::migrate::{MigrationGoal, ModeChange, Stage, Way, situation, verdicts};
use crate::observed::Mode;

/// Move principals from access entries back to aws-auth where it can grant them the same access; not possible in API mode
#[derive(Args, Clone, Debug)]
pub(crate) struct RevertArgs {
    /// Skip the confirmation
    #[arg(long)]
    yes: bool,

    /// Show who would be moved, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    live: LiveArgs,
}

/// Who would be moved, and who would stay. Nothing is changed.
async fn show(worker: &mut Worker) -> Result<ExitCode> {
    let look = worker.look().await?;
    let migration = verdicts(&look.desired, &look.observed, worker.settings())?;
    let installation = worker.installation();
    let situation = situation(
        &migration,
        &look.desired,
        &look.observed,
        &installation,
        look.bridge,
        Way::Back,
    );
    let rows = situation.principals.iter().map(|principal| {
        let (what, why) = match &principal.stage {
            Stage::Ahead | Stage::Making(_) | Stage::Soaking { .. } => ("would move", ""),
            Stage::There => ("is in aws-auth", ""),
            Stage::Stays(why) => ("stays", why.as_str()),
            Stage::Blocked(why) => ("blocked", why.as_str()),
        };
        [
            Cell::Principal(principal.verdict.who.to_string()),
            Cell::text(what),
            Cell::noted("", why),
        ]
    });
    let columns = [
        Column::shortened("PRINCIPAL", 26),
        Column::whole("REVERT"),
        Column::whole("DETAIL"),
    ];
    let table = Table::new(columns, rows).fitted();
    print(&format!("\n{table}\nDry run: nothing was changed.\n"))?;
    Ok(code(true))
}

pub(super) async fn revert(args: RevertArgs) -> Result<ExitCode> {
    let RevertArgs {
        yes,
        dry_run,
        pace,
        live,
    } = args;
    let mut worker = Box::pin(Worker::begin(live, Way::Back, pace.pace())).await?;
    print(&worker.live.target.to_string())?;
    let (_, proven) = worker.eks()?;
    match proven.mode {
        Mode::Api => bail!(
            "the cluster is in API mode: it does not read aws-auth, and EKS can't change the mode back. All principals keep \
                their access entries"
        ),
        Mode::ConfigMap => {
            print("Nothing to revert: in CONFIG_MAP mode all access comes from aws-auth.\n")?;
            return Ok(code(true));
        }
        Mode::ApiAndConfigMap => {}
    }
    pace.check(worker.installed)?;
    if dry_run {
        return show(&mut worker).await;
    }
    let (_, proven) = worker.eks()?;
    let question = format!(
        "Move the principals of {} from access entries back to aws-auth?",
        proven.cluster.name
    );
    confirm(&question, yes)?;
    let mut runner = Runner::new(worker, Way::Back).await?;
    let asked = MigrationGoal {
        to: Mode::ApiAndConfigMap,
        changes: ModeChange::NotAsked,
        waits: true,
        imports: false,
    };
    let ending = Box::pin(runner.run(asked)).await?;
    print(&format!("\nprincipals: {}\n", ending.counts))?;
    if !ending.left.is_empty() {
        print(&format!("left:\n{}", ending.left))?;
    }
    if ending.at == StoppedAt::Interrupted {
        complain("stopped; run the same command again to continue");
        return Ok(code(false));
    }
    Ok(code(ending.open == 0))
}
