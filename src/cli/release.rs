//! `identity-mapper release`: gives up ownership without revoking access, before the operator is uninstalled.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use super::confirm::confirm;
use super::connection::{ConfigMapArgs, Connection, ConnectionArgs};
use super::eks::EksClusterArgs;
use super::output::Progress;
use super::target::{ClusterTarget, Proven, words};
use crate::aws::{Aws, IamRoles, Untagged};
use crate::cluster::Cluster;
use crate::cluster::release::LetGo;
use crate::observed::{ConfigMapName, Mode};
use crate::time::Timestamp;

/// Give up ownership without revoking access (before uninstalling)
#[derive(Args, Clone, Debug)]
pub(crate) struct ReleaseArgs {
    /// Skip the confirmation
    #[arg(long)]
    pub(crate) yes: bool,

    /// Show what would be released, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) eks: EksClusterArgs,

    #[command(flatten)]
    pub(crate) config_map: ConfigMapArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Releases. What it is about to do and what it did goes to `out`.
pub(crate) async fn release(args: ReleaseArgs, out: &mut impl Write) -> Result<()> {
    let ReleaseArgs {
        yes,
        dry_run,
        eks,
        config_map,
        connection,
    } = args;
    let name = ConfigMapName::from(config_map);
    let Connection {
        client,
        url,
        route: _,
        context,
        api_server,
        token_for: _,
    } = connection.connect().await?;
    let mut target = ClusterTarget {
        url,
        context,
        config_map: name.clone(),
        eks: None,
    };
    let cluster = Cluster::new(client, name.clone(), "").patient();
    let eks = if let Some((aws, cluster_name)) = eks.connect(IamRoles::default()).await? {
        let proven = target.prove(&aws, &cluster_name, &api_server).await?;
        Some((aws, proven))
    } else {
        let written = cluster.clusters_written().await;
        refuse_to_forget(&written.context("the mappings can't be read")?)?;
        None
    };
    writeln!(
        out,
        "{target}All entries are kept but become unmanaged: deleting a mapping no longer removes its entry."
    )?;
    out.flush()?;
    if dry_run {
        writeln!(out, "Dry run: nothing was changed.")?;
        return Ok(());
    }
    confirm("Release all mappings of this cluster?", yes)?;

    let history = name.history();
    let released = cluster
        .mark_released(Timestamp::now())
        .await
        .with_context(|| format!("{history} can't be marked as released"))?;
    writeln!(
        out,
        "{history} was marked as released: a running operator writes nothing until it is restarted"
    )?;
    let marked = cluster
        .remove_mark()
        .await
        .with_context(|| format!("the mark on {name} can't be removed"))?;
    let mark = if marked {
        "its mark was removed"
    } else {
        "it has no mark"
    };
    writeln!(out, "{name}: {mark}; no entry was changed")?;
    if let Some((aws, eks)) = &eks {
        let Untagged {
            listed, untagged, ..
        } = untag(aws, eks, &name).await?;
        let said = if eks.mode == Mode::ConfigMap {
            "none in CONFIG_MAP mode".to_owned()
        } else {
            format!("tags removed from {untagged} of {listed}; no entry was changed otherwise")
        };
        writeln!(out, "access entries: {said}")?;
    }
    let mut progress = Progress::new("mappings checked");
    let LetGo {
        statuses,
        finalizers,
    } = cluster
        .let_mappings_go(released, |far| progress.set(far.done, far.total))
        .await
        .context("some mappings could not be released; run the same command again to continue")?;
    drop(progress);
    // A call that a running operator had sent before the mark may have taken effect since.
    if let Some((aws, eks)) = &eks {
        let late = untag(aws, eks, &name).await?.untagged;
        if late > 0 {
            writeln!(out, "access entries: tags removed from {late} more")?;
        }
    }
    writeln!(
        out,
        "mappings: {statuses} statuses cleared, {finalizers} finalizers removed; none left"
    )?;
    Ok(())
}

/// Without AWS the tags would stay on what statuses say was written, and nobody would remember where.
fn refuse_to_forget(written: &BTreeMap<String, usize>) -> Result<()> {
    let Some((arn, mappings)) = written.first_key_value() else {
        return Ok(());
    };
    let name = arn.rsplit('/').next().unwrap_or_default();
    bail!(
        "{mappings} mappings have managed access entries of {arn}; nothing was changed. Add --cluster-name {name} (or set \
            IDENTITY_MAPPER_CLUSTER_NAME), so that their tags are removed too"
    )
}

/// Takes our tags off the access entries.
async fn untag(aws: &Aws, eks: &Proven, name: &ConfigMapName) -> Result<Untagged> {
    if eks.mode == Mode::ConfigMap {
        return Ok(Untagged::default());
    }
    let mut progress = Progress::new("access entries checked");
    aws.untag_entries(&eks.cluster, &name.to_string(), |far| {
        progress.set(far.settled, far.listed);
    })
    .await
    .map_err(|failure| {
        anyhow!(
            "some tags could not be removed; fix this and run the same command again: {}",
            words(&failure)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_requires_aws_when_entries_are_tagged() {
        assert!(refuse_to_forget(&BTreeMap::new()).is_ok());
        let arn = "arn:aws:eks:eu-west-1:111122223333:cluster/main".to_owned();
        let error = refuse_to_forget(&[(arn, 3)].into()).expect_err("refused");
        let error = error.to_string();
        assert!(error.starts_with("3 mappings have managed access entries of arn:aws:eks:"));
        assert!(error.contains("Add --cluster-name main "), "{error}");
    }
}
