//! Changes the authentication mode after a person has confirmed it with the cluster's name.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::access_entry::EksCluster;
use crate::access_entry::{Failure, FailureKind};
use crate::aws::{Aws, UpdateState};
use crate::cli::output::complain;
use crate::cli::target::words;
use crate::migrate::check_mode_change;
use crate::observed::Mode;
use crate::safety::Cleared;

/// Interval at which an update of the mode is polled: one takes minutes.
pub(super) const POLL: Duration = Duration::from_secs(3);

/// So many answers in a row that say nothing end it: EKS is given half an hour.
const PATIENCE: u32 = 600;

/// Changes the mode, and returns when EKS says so. One that others, or an earlier run, have asked for is waited for.
pub(super) async fn change(aws: &Aws, cluster: &EksCluster, cleared: Cleared<Mode>) -> Result<()> {
    let mode = *cleared;
    let cannot = |failure: &Failure| {
        anyhow!(
            "EKS refused to change the authentication mode to {mode}: {}",
            words(failure)
        )
    };
    let mut told = None;
    for _ in 0..PATIENCE {
        let now = aws.describe_cluster(&cluster.name).await;
        let from = match now {
            Ok(read) if read.mode == mode => return Ok(()),
            Ok(read) => read.mode,
            Err(failure) if passes(&failure) => {
                tokio::time::sleep(POLL).await;
                continue;
            }
            Err(failure) => return Err(cannot(&failure)),
        };
        check_mode_change(from, mode)?;
        match aws.change_mode(cluster, &cleared).await {
            Ok(id) => {
                complain(&format!(
                    "mode: requested the change from {from} to {mode} (update {id}); EKS takes some minutes"
                ));
                wait(aws, cluster, &id, mode).await?;
            }
            Err(failure) if failure.kind == FailureKind::InUse => {
                if told.as_ref() != Some(&failure.message) {
                    complain(&format!("mode: EKS answered: {}; waiting", failure.message));
                    told = Some(failure.message);
                }
            }
            Err(failure) if passes(&failure) => {}
            // Between the two calls somebody else may have changed it.
            Err(failure) if is_stale(&failure) => {}
            Err(failure) => return Err(cannot(&failure)),
        }
        tokio::time::sleep(POLL).await;
    }
    bail!(
        "EKS did not change the authentication mode to {mode} within half an hour; run the same command again"
    )
}

async fn wait(aws: &Aws, cluster: &EksCluster, id: &str, mode: Mode) -> Result<()> {
    for _ in 0..PATIENCE {
        match aws.describe_update(cluster, id).await {
            Ok(UpdateState::Successful) => return Ok(()),
            Ok(UpdateState::Failed(words)) => {
                bail!("EKS did not change the authentication mode to {mode}: {words}")
            }
            Ok(UpdateState::InProgress) => {}
            Err(failure) if passes(&failure) => {}
            Err(failure) => bail!("update {id} can't be read: {}", words(&failure)),
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("update {id} of the cluster is still in progress; run the same command again")
}

fn passes(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::Throttled | FailureKind::Unavailable
    )
}

fn is_stale(failure: &Failure) -> bool {
    failure.kind == FailureKind::Refused
        && failure
            .message
            .contains("Unsupported authentication mode update")
}

/// Waits until others have changed the mode.
pub(super) async fn wait_for(aws: &Aws, cluster: &EksCluster, mode: Mode) -> Result<()> {
    loop {
        match aws.describe_cluster(&cluster.name).await {
            Ok(read) if read.mode >= mode => return Ok(()),
            Ok(_) => {}
            Err(failure) if passes(&failure) => {}
            Err(failure) => bail!("the authentication mode can't be read: {}", words(&failure)),
        }
        tokio::time::sleep(POLL).await;
    }
}

pub(super) fn command(cluster: &EksCluster, mode: Mode) -> String {
    format!(
        "aws eks update-cluster-config --region {} --name {} --access-config authenticationMode={mode}",
        cluster.region(),
        cluster.name
    )
}
