//! Writes aws-auth for a command: the current text is saved first, and a concurrent write is not overwritten.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};

use crate::api::v1alpha1::Confirmation;
use crate::cli::snapshot::Live;
use crate::cluster::config_map::WriteError;
use crate::cluster::history::HistoryError;
use crate::observed::{ConfigMapName, ConfigMapView, Observed};
use crate::plan::{Rewrite, WriteFailure};

/// Carries it out, and gives aws-auth as it is then.
pub(crate) async fn write(
    live: &Live,
    name: &ConfigMapName,
    rewrite: &Rewrite,
    observed: &Observed,
    agreed: &BTreeSet<Confirmation>,
) -> Result<ConfigMapView> {
    let cleared = rewrite
        .clear(observed, agreed)
        .map_err(|why| anyhow!("nothing was written: {why}"))?;
    if let Some(history) = &rewrite.history {
        let kept = live.cluster.write_history(history).await;
        kept.map_err(|error| match error {
            HistoryError::Stale => beaten(),
            HistoryError::Failed(error) => anyhow!(
                "the current ConfigMap can't be saved in {} first, so nothing was written: {error}",
                name.history()
            ),
        })?;
    }
    let written = live.cluster.write_config_map(&cleared).await;
    written.map_err(|error| match error {
        WriteError::Stale => beaten(),
        WriteError::Failed(
            WriteFailure::Denied(why)
            | WriteFailure::Forbidden(why)
            | WriteFailure::Invalid(why)
            | WriteFailure::Unavailable(why),
        ) => anyhow!("{name} can't be written: {why}"),
    })
}

fn beaten() -> anyhow::Error {
    anyhow!(
        "someone else changed it in between, and nothing was written; run the same command again"
    )
}
