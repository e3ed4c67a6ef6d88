//! `identity-mapper rollback`: lists the history of aws-auth and restores a copy.

mod caller;
mod document;
mod text;

pub(super) use self::text::COLUMNS;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use kube::Client;
use serde_json::json;

use self::document::RestoreDiff;
use super::confirm::confirm;
use super::connection::{ConfigMapArgs, Connection, ConnectionArgs, Route};
use super::output::{self, Format, complain};
use super::rights::{ReadingCommand, check_write, with_missing};
use super::table::{TableArgs, TableFormat, TableLayout};
use super::write::write;
use super::{TROUBLE, choices};
use crate::api::v1alpha1::Confirmation;
use crate::cli::snapshot::{IamExtent, Live, LiveArgs, ModeNeed, Observation};
use crate::cluster::Cluster;
use crate::observed::{ConfigMapName, KeptCopy, Mode, Settings, UnreadableCopy};
use crate::rollback::{Loss, Restoration, restore};

/// List the history of aws-auth, show what restoring a copy would change, or restore a copy
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,

    #[command(subcommand)]
    pub(crate) command: Option<RollbackCommand>,
}

/// What to do about the history.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum RollbackCommand {
    /// List the copies, newest first
    List(ListArgs),
    /// Print a copy as a ConfigMap, even if the authenticator would drop it
    Show(ShowArgs),
    /// Show what restoring a copy would change
    ///
    /// Exit code 0: nothing; 1: changes; 2: an error.
    Diff(DiffArgs),
    /// Restore a copy
    Restore(RestoreArgs),
}

/// Whose history.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: TableFormat,

    #[command(flatten)]
    pub(crate) table: TableArgs,

    #[command(flatten)]
    pub(crate) config_map: ConfigMapArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `rollback show`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    /// The copy: its name, or its number in the list
    pub(crate) copy: String,

    #[command(flatten)]
    pub(crate) config_map: ConfigMapArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Which copy, and of which cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct CopyArgs {
    /// The copy: its name, or its number in the list
    pub(crate) copy: String,

    /// Authentication mode; only `CONFIG_MAP`, which makes no AWS API calls
    #[arg(long, value_name = "MODE", env = "IDENTITY_MAPPER_AUTHENTICATION_MODE", value_parser = choices::declared_mode(), ignore_case = true)]
    pub(crate) mode: Option<Mode>,

    #[command(flatten)]
    pub(crate) live: LiveArgs,
}

/// Arguments of `rollback diff`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DiffArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,

    #[command(flatten)]
    pub(crate) copy: CopyArgs,
}

/// Arguments of `rollback restore`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreArgs {
    /// Skip the confirmation
    #[arg(long)]
    pub(crate) yes: bool,

    /// Show what would be restored, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Confirm a loss: `node-entry` or `last-administrator`; can be repeated
    #[arg(long = "confirm", value_name = "VALUE", value_delimiter = ',', value_parser = word)]
    pub(crate) confirmations: Vec<Confirmation>,

    #[command(flatten)]
    pub(crate) copy: CopyArgs,
}

fn word(text: &str) -> Result<Confirmation, String> {
    [Confirmation::NodeEntry, Confirmation::LastAdministrator]
        .into_iter()
        .find(|confirmation| confirmation.as_str() == text)
        .ok_or_else(|| "write node-entry or last-administrator".to_owned())
}

/// The exit code of `rollback diff` where there are changes, as diff has it.
const DIFFERENT: u8 = 1;

pub(crate) async fn rollback(args: RollbackArgs) -> Result<ExitCode> {
    match args.command {
        None => list(args.list).await?,
        Some(RollbackCommand::List(args)) => list(args).await?,
        Some(RollbackCommand::Show(args)) => show(args).await?,
        Some(RollbackCommand::Diff(args)) => {
            return Ok(diff(args).await.unwrap_or_else(|error| {
                complain(&output::error(&error));
                ExitCode::from(TROUBLE)
            }));
        }
        Some(RollbackCommand::Restore(args)) => put_back(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a copy as it is, so that it can be read, compared and applied.
async fn show(args: ShowArgs) -> Result<()> {
    let name = ConfigMapName::from(args.config_map);
    let Connection { client, route, .. } = args.connection.connect().await?;
    let copies = read_copies(&client, &route, ReadingCommand::RollbackList, &name).await?;
    let copy = find(&copies, &args.copy, &name)?;
    let manifest = output::yaml(&json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name.name, "namespace": name.namespace},
        "data": copy.data,
    }))?;
    output::print(&format!(
        "# copy {} of {:.0}\n{manifest}",
        copy.short(),
        copy.time
    ))
}

async fn list(args: ListArgs) -> Result<()> {
    let name = ConfigMapName::from(args.config_map);
    let Connection { client, route, .. } = args.connection.connect().await?;
    let copies = read_copies(&client, &route, ReadingCommand::RollbackList, &name).await?;
    let cluster = Cluster::new(client.clone(), name.clone(), "");
    let standing = cluster.read_config_map().await;
    let standing = standing.with_context(|| format!("{name} can't be read"))?;
    let data = standing.map(|view| view.data).unwrap_or_default();
    let history = document::list(name.to_string(), &copies, &data);
    output::print(&match args.output {
        TableFormat::Text | TableFormat::Wide => {
            let wide = args.output == TableFormat::Wide;
            text::list(&history, &TableLayout::of_stdout(&args.table, wide))?
        }
        TableFormat::Json => output::json(&history)?,
        TableFormat::Yaml => output::yaml(&history)?,
    })
}

/// The copies of the history, or which rights are missing to read it.
async fn read_copies(
    client: &Client,
    route: &Route,
    reader: ReadingCommand,
    config_map: &ConfigMapName,
) -> Result<Vec<KeptCopy>> {
    match copies(&Cluster::new(client.clone(), config_map.clone(), "")).await {
        Ok(copies) => Ok(copies),
        Err(error) => {
            let error = with_missing(error, client, reader, config_map).await;
            Err(route.failed(error))
        }
    }
}

/// List the copies, newest first; what can't be read is reported and skipped.
async fn copies(cluster: &Cluster) -> Result<Vec<KeptCopy>> {
    let history = cluster.config_map().history();
    let read = cluster.read_copies().await;
    let read = read.with_context(|| format!("{history} can't be read"))?;
    let mut copies = Vec::new();
    for (name, bytes) in read {
        match KeptCopy::read(&name, &bytes) {
            Ok(copy) => copies.push(copy),
            Err(UnreadableCopy { name, why }) => {
                complain(&format!(
                    "note: {name} in {history} is not a copy of identity-mapper: {why}"
                ));
            }
        }
    }
    copies.sort_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
    Ok(copies)
}

/// The observation, the copy, and what restoring it changes.
struct Planned {
    observation: Observation,
    live: Live,
    copy: KeptCopy,
    restoration: Restoration,
    difference: RestoreDiff,
}

async fn plan(args: CopyArgs, reader: ReadingCommand) -> Result<Planned> {
    let CopyArgs {
        copy,
        mode,
        mut live,
    } = args;
    live.reader = reader;
    // A wrong name is reported before what is known of the mode.
    let config_map = ConfigMapName::from(live.config_map.clone());
    let copies = {
        let Connection { client, route, .. } = live.connection.clone().connect().await?;
        read_copies(&client, &route, reader, &config_map).await?
    };
    let copy = find(&copies, &copy, &config_map)?;
    let looking = live.observe(mode, IamExtent::Wanted, ModeNeed::Required);
    let observation = Box::pin(looking).await?;
    let live = observation
        .live
        .clone()
        .ok_or_else(|| anyhow!("a history needs a cluster"))?;
    let settings = Settings {
        config_map: observation.config_map.clone(),
        ..Settings::default()
    };
    let restoration = restore(
        &copy,
        &copies,
        &observation.desired,
        &observation.observed,
        &settings,
    )
    .with_context(|| format!("copy {} of {:.0}", copy.short(), copy.time))?;
    let empty = BTreeMap::new();
    let standing = observation.observed.config_map.as_ref();
    let standing = standing.map_or(&empty, |view| &view.data);
    let difference = RestoreDiff::new(&copy, &restoration, standing);
    Ok(Planned {
        observation,
        live,
        copy,
        restoration,
        difference,
    })
}

/// The copy of this number or name.
fn find(copies: &[KeptCopy], wanted: &str, config_map: &ConfigMapName) -> Result<KeptCopy> {
    let number = wanted
        .parse::<usize>()
        .ok()
        .filter(|number| *number <= copies.len());
    if let Some(copy) = number.and_then(|number| copies.get(number.checked_sub(1)?)) {
        return Ok(copy.clone());
    }
    let named = |copy: &&KeptCopy| copy.name == wanted || copy.short() == wanted;
    match copies.iter().filter(named).collect::<Vec<_>>().as_slice() {
        [copy] => Ok((*copy).clone()),
        [] if copies.is_empty() => {
            bail!("{config_map} has no history: identity-mapper has not written to it yet")
        }
        [] => {
            let known: Vec<String> = (1..)
                .zip(copies)
                .map(|(number, copy)| format!("\n  {number} {} of {:.0}", copy.short(), copy.time))
                .collect();
            bail!(
                "no copy {wanted:?} in the history of {config_map}; available copies:{}",
                known.concat()
            )
        }
        _ => bail!("{wanted:?} matches several copies; give the number"),
    }
}

async fn diff(args: DiffArgs) -> Result<ExitCode> {
    let planned = Box::pin(plan(args.copy, ReadingCommand::Rollback)).await?;
    let difference = &planned.difference;
    output::print(&match args.output {
        Format::Text => text::difference(difference),
        Format::Json => output::json(difference)?,
        Format::Yaml => output::yaml(difference)?,
    })?;
    Ok(if difference.changes {
        ExitCode::from(DIFFERENT)
    } else {
        ExitCode::SUCCESS
    })
}

async fn put_back(args: RestoreArgs) -> Result<()> {
    let reader = if args.dry_run {
        ReadingCommand::Rollback
    } else {
        ReadingCommand::RollbackRestore
    };
    let planned = Box::pin(plan(args.copy, reader)).await?;
    let Planned {
        observation,
        live,
        copy,
        restoration,
        difference,
    } = &planned;
    if let Some(rewrite) = restoration.rewrite.as_ref().filter(|_| !args.dry_run) {
        check_write(&live.client, reader, &observation.config_map, rewrite).await?;
    }
    output::print(&format!(
        "{}copy:       {} of {:.0}\n\n{}",
        live.target,
        copy.short(),
        copy.time,
        text::difference(difference)
    ))?;
    let Some(rewrite) = &restoration.rewrite else {
        return Ok(());
    };
    let agreed: BTreeSet<Confirmation> = args.confirmations.iter().copied().collect();
    refuse_losses(restoration, &agreed)?;
    if args.dry_run {
        return output::print("\nDry run: nothing was restored.\n");
    }
    Box::pin(caller::keep_way_in(live, restoration)).await?;
    let name = &observation.config_map;
    confirm(
        &format!("Restore copy {} of {name}?", copy.short()),
        args.yes,
    )?;

    write(live, name, rewrite, &observation.observed, &agreed).await?;
    let kept = rewrite.history.as_ref().and_then(|history| {
        let (name, bytes) = history.add.first_key_value()?;
        KeptCopy::read(name, bytes).ok()
    });
    output::print(&match kept {
        Some(kept) => format!(
            "\nRestored; the previous version is saved as copy {}.\n",
            kept.short()
        ),
        None => "\nRestored.\n".to_owned(),
    })
}

/// Refuse losses that were not confirmed.
fn refuse_losses(restoration: &Restoration, confirmed: &BTreeSet<Confirmation>) -> Result<()> {
    let needed: BTreeSet<Confirmation> = restoration
        .losses
        .iter()
        .map(|loss| match loss {
            Loss::NodeEntry { .. } => Confirmation::NodeEntry,
            Loss::LastAdministrator => Confirmation::LastAdministrator,
        })
        .collect();
    let missing: Vec<&str> = needed
        .difference(confirmed)
        .map(|word| word.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "nothing was restored, because it would take away the access listed above; to do it anyway, add --confirm {}",
        missing.join(",")
    )
}
