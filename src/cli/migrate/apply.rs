//! `identity-mapper migrate apply`: carries out the steps.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::SignedDuration;

use super::mode::command;
use super::worker::{HandoverPace, Worker};
use crate::cli::choices::next_mode;
use crate::cli::confirm::confirm as confirm_to;
use crate::cli::eks::{listing_period, propagation, soak};
use crate::cli::migrate::runner::{Ending, Runner, StoppedAt};
use crate::cli::output::{complain, print};
use crate::cli::snapshot::LiveArgs;
use crate::migrate::{
    Manner, MigrationGoal, ModeChange, Way, check_mode_change, instructions, verdicts,
};
use crate::observed::{Mode, Settings};
use crate::time::Timestamp;

/// Move all principals from aws-auth to access entries, verifying each step. Can be interrupted and run again: it continues from the
/// current state
#[allow(clippy::struct_excessive_bools, reason = "flags")]
#[derive(Args, Clone, Debug)]
pub(crate) struct ApplyArgs {
    /// Target authentication mode
    #[arg(long, value_name = "MODE", default_value = "API_AND_CONFIG_MAP", value_parser = next_mode(), ignore_case = true)]
    to: Mode,

    /// Change the authentication mode where needed; confirm with the name of the cluster. The change can't be undone
    #[arg(long, value_name = "CLUSTER", conflicts_with = "await_mode")]
    confirm: Option<String>,

    /// Wait for someone else, such as a Terraform pipeline, to change the authentication mode
    #[arg(long)]
    await_mode: bool,

    /// Create mappings for entries of aws-auth that no mapping declares; not needed without the operator
    #[arg(long)]
    import: bool,

    /// Skip the confirmation; a change of the authentication mode still needs --confirm
    #[arg(long)]
    yes: bool,

    /// Show the steps, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Don't wait for the soak period: run the command again after it
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    live: LiveArgs,
}

/// How the handover is made where no operator is installed.
#[derive(Args, Clone, Debug)]
pub(crate) struct PaceArgs {
    /// How long an entry in aws-auth stays beside the access entry that replaces it; the operator has its own setting [default: 24h]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = soak,
        help_heading = "Without the operator"
    )]
    soak: Option<SignedDuration>,

    /// How long a change in EKS can take to become effective; the operator has its own setting [default: 30s]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = propagation,
        help_heading = "Without the operator"
    )]
    propagation: Option<SignedDuration>,

    /// Interval for listing access entries, roles and users; the operator has its own setting [default: 1m]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = listing_period,
        help_heading = "Without the operator"
    )]
    listing_period: Option<Duration>,
}

impl PaceArgs {
    pub(super) fn pace(&self) -> HandoverPace {
        let defaults = Settings::default();
        HandoverPace {
            soak: self.soak.unwrap_or(defaults.soak),
            propagation: self.propagation.unwrap_or(defaults.propagation),
            listing: self.listing_period.unwrap_or(Duration::from_mins(1)),
        }
    }

    /// The operator goes at its own pace.
    pub(super) fn check(&self, installed: bool) -> Result<()> {
        let given = [
            self.soak.map(|_| "--soak"),
            self.propagation.map(|_| "--propagation"),
            self.listing_period.map(|_| "--listing-period"),
        ];
        match given.into_iter().flatten().next() {
            Some(flag) if installed => bail!(
                "{flag} is only for a cluster without the operator: here the operator hands over, with its own setting (the \
                    chart's eks.{})",
                match flag {
                    "--soak" => "soak",
                    "--propagation" => "propagation",
                    _ => "listingPeriod",
                }
            ),
            Some(_) | None => Ok(()),
        }
    }
}

pub(super) async fn apply(args: ApplyArgs) -> Result<ExitCode> {
    let ApplyArgs {
        to,
        confirm,
        await_mode,
        import,
        yes,
        dry_run,
        no_wait,
        pace,
        live,
    } = args;
    let flags = live.flags();
    let mut worker = Box::pin(Worker::begin(live, Way::Forth, pace.pace())).await?;
    print(&worker.live.target.to_string())?;
    let (_, proven) = worker.eks()?;
    let (from, name) = (proven.mode, proven.cluster.name.clone());
    let cluster = proven.cluster.clone();
    if from > to {
        check_mode_change(from, to)?;
    }
    if let Some(typed) = &confirm
        && *typed != name
    {
        bail!(
            "--confirm {typed} does not match the cluster {name}; nothing was changed. To change its authentication mode, write \
                --confirm with that name"
        );
    }
    pace.check(worker.installed)?;
    if import && !worker.installed {
        bail!(
            "--import creates IdentityMappings, but their CustomResourceDefinition is not installed; remove --import: the entries \
                of aws-auth are then used directly"
        );
    }
    print(if worker.installed {
        "handover:   by the operator (the CustomResourceDefinition is installed)\n"
    } else {
        "handover:   by this command (no operator is installed)\n"
    })?;
    if dry_run {
        return show(&mut worker, to, flags).await;
    }
    // The cluster's name, typed out, says more than yes.
    confirm_to(
        &format!("Move the principals of {name} from aws-auth to access entries?"),
        yes || confirm.is_some(),
    )?;
    back_up(&worker).await?;
    let asked = MigrationGoal {
        to,
        changes: match (&confirm, await_mode) {
            (Some(_), _) => ModeChange::Confirmed,
            (None, true) => ModeChange::Awaited,
            (None, false) => ModeChange::NotAsked,
        },
        waits: !no_wait,
        imports: import,
    };
    let mut runner = Runner::new(worker, Way::Forth).await?;
    let ending = Box::pin(runner.run(asked)).await?;
    tell(&ending, &cluster)
}

/// The steps to come. Nothing is changed.
async fn show(worker: &mut Worker, to: Mode, flags: String) -> Result<ExitCode> {
    let look = worker.look().await?;
    let migration = verdicts(&look.desired, &look.observed, worker.settings())?;
    let manner = Manner {
        lint: format!("identity-mapper lint{flags}"),
        flags,
        soak: worker.settings().soak,
        operator: worker.installed,
    };
    let steps = instructions(&migration, to, &manner);
    let mut text = String::new();
    for (number, step) in (1..).zip(&steps) {
        let _ = writeln!(text, "{number}. {}", step.title);
        for note in &step.notes {
            let _ = writeln!(text, "   - {note}");
        }
    }
    if steps.is_empty() {
        text.push_str("No steps left.\n");
    }
    print(&format!("\n{text}\nDry run: nothing was changed.\n"))?;
    Ok(code(true))
}

/// Keeps a copy of aws-auth and says where.
async fn back_up(worker: &Worker) -> Result<()> {
    let config_map = &worker.settings().config_map;
    let copy = worker.live.cluster.back_up(Timestamp::now()).await;
    let copy = copy.with_context(|| {
        format!(
            "no copy of {config_map} can be saved in {}; nothing was changed",
            config_map.history()
        )
    })?;
    match copy {
        Some(copy) => print(&format!(
            "backup:     {} of {}\n",
            copy,
            config_map.history()
        )),
        None => print(&format!("backup:     none ({config_map} does not exist)\n")),
    }
}

fn tell(ending: &Ending, cluster: &crate::access_entry::EksCluster) -> Result<ExitCode> {
    let Ending {
        at,
        counts,
        left,
        open,
        mode,
        soaking,
    } = ending;
    print(&format!("\nmode:       {mode}\nprincipals: {counts}\n"))?;
    if !left.is_empty() {
        print(&format!("left:\n{left}"))?;
    }
    match at {
        StoppedAt::End if *soaking > 0 => {
            print(
                "The rest waits for the end of the soak: run the same command again after that.\n",
            )?;
            Ok(code(*open == 0))
        }
        StoppedAt::End => Ok(code(*open == 0)),
        StoppedAt::Mode(mode) => {
            complain(&format!(
                "the authentication mode has to be {mode} to continue. Either ask the person who manages the cluster to change it and \
                    run this command again (--await-mode waits for the change), for example with\n\n    {}\n\nor add --confirm \
                    {} to change it from here. The change can't be undone",
                command(cluster, *mode),
                cluster.name
            ));
            Ok(code(false))
        }
        StoppedAt::Losers(losers) => {
            complain(&format!(
                "the authentication mode stays {mode}: in API mode the cluster does not read aws-auth, and these principals would \
                    lose access:\n  {}",
                losers.join("\n  ")
            ));
            Ok(code(false))
        }
        StoppedAt::Interrupted => {
            complain("stopped; run the same command again to continue");
            Ok(code(false))
        }
    }
}

/// The exit code: whether everything that was asked for is done.
pub(super) fn code(done: bool) -> ExitCode {
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
