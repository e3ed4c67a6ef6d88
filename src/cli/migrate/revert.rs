//! `identity-mapper migrate revert`: the way back, while aws-auth is still read.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::apply::{PaceArgs, code};
use super::worker::Worker;
use crate::cli::migrate::runner::{Runner, StoppedAt};
use crate::cli::output::{complain, print};
use crate::cli::snapshot::LiveArgs;
use crate::migrate::{MigrationGoal, ModeChange, Way};
use crate::observed::Mode;

/// Move principals from access entries back to aws-auth, as far as aws-auth can give them the same access, while it is still read
#[derive(Args, Clone, Debug)]
pub(crate) struct RevertArgs {
    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    live: LiveArgs,
}

pub(super) async fn revert(args: RevertArgs) -> Result<ExitCode> {
    let RevertArgs { pace, live } = args;
    let worker = Box::pin(Worker::begin(live, Way::Back, pace.pace())).await?;
    print(&worker.live.target.to_string())?;
    let (_, proven) = worker.eks()?;
    match proven.mode {
        Mode::Api => bail!(
            "the cluster is in mode API, in which it does not read aws-auth, and EKS can't change it back: all principals stay \
                with their access entries"
        ),
        Mode::ConfigMap => {
            print("Nothing to revert: in mode CONFIG_MAP all access comes from aws-auth.\n")?;
            return Ok(code(true));
        }
        Mode::ApiAndConfigMap => {}
    }
    pace.check(worker.installed)?;
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
