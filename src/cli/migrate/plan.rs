//! `identity-mapper migrate plan`: what happens to each principal, and whether anyone would lose access in the next mode.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use jiff::SignedDuration;

use super::document::{Gate, MigrationDocument};
use super::text::text;
use crate::cli::choices::next_mode;
use crate::cli::eks::soak;
use crate::cli::input;
use crate::cli::output::{self, complain};
use crate::cli::rights::ReadingCommand;
use crate::cli::snapshot::{IamExtent, ModeNeed, Observation, ObserveArgs};
use crate::cli::table::{TableArgs, TableFormat, TableLayout};
use crate::desired::Mapping;
use crate::effective::{Reading, Unread};
use crate::explain::quoted;
use crate::migrate::{
    ImpossibleModeChange, Manner, Migration, NotForMigration, check_mode_change, check_platform,
    verdicts,
};
use crate::observed::{Mode, Settings};

/// Show the complete migration: the access entry of each principal, what blocks it, and the steps
///
/// With --to MODE it is a gate for changing the mode: exit code 0 only if no principal would lose access in that mode now; else 1, with
/// principals and reasons. Nothing is written.
#[derive(Args, Clone, Debug)]
pub(crate) struct MigratePlanArgs {
    /// The mode to change to; also prints how to set it with Terraform, eksctl and other tools
    #[arg(long, value_name = "MODE", value_parser = next_mode(), ignore_case = true)]
    pub(crate) to: Option<Mode>,

    /// With files instead of a cluster: mappings from a file or directory; can be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: TableFormat,

    #[command(flatten)]
    pub(crate) table: TableArgs,

    /// How long an entry in aws-auth stays beside the access entry that replaces it
    #[arg(
        long,
        value_name = "DURATION",
        env = "IDENTITY_MAPPER_SOAK",
        default_value = "24h",
        value_parser = soak
    )]
    pub(crate) soak: SignedDuration,

    #[command(flatten)]
    pub(crate) observe: ObserveArgs,
}

/// Plans and prints. Nothing is written.
pub(super) async fn plan(args: MigratePlanArgs) -> Result<ExitCode> {
    if !args.filename.is_empty() && !args.observe.is_offline() {
        bail!(
            "-f reads files instead of a cluster: add --aws-auth. A live cluster already contains its mappings"
        );
    }
    if let (Some(to), Some(from)) = (args.to, args.observe.mode) {
        refuse(from, to)?;
    }
    let mut observe = args.observe.clone();
    observe.live.reader = ReadingCommand::Migrate;
    let mut observation = observe.observe(IamExtent::Everyone, ModeNeed::Eks).await?;
    if let (Some(to), Some(from)) = (args.to, observation.observed.aws.mode()) {
        refuse(from, to)?;
    }
    if Reading::of(&observation.config_map) == Reading::Never {
        bail!(
            "{} is not read: {}; there is nothing to migrate in it",
            observation.config_map,
            Unread::Name
        );
    }
    if !args.filename.is_empty() {
        let declared = input::at_least_one_declared(&args.filename, "")?.declared;
        let mappings = declared.iter().map(|it| Mapping::from_object(&it.object));
        observation.desired.mappings = mappings.collect();
    }
    let settings = Settings {
        config_map: observation.config_map.clone(),
        soak: args.soak,
        ..Settings::default()
    };
    let migration = verdicts(&observation.desired, &observation.observed, &settings);
    let migration = match migration {
        Ok(migration) => migration,
        Err(NotForMigration::NoCluster) => bail!(
            "access entries depend on the cluster's partition and account: add --cluster-arn \
                arn:aws:eks:REGION:ACCOUNT:cluster/NAME"
        ),
        Err(error @ NotForMigration::NoMode) => return Err(error.into()),
    };
    let too_old = too_old(&migration, &observation);
    let gate = gate(args.to, &migration);
    let lint = match &args.observe.aws_auth {
        Some(path) if path.as_os_str() != "-" => {
            format!(
                "identity-mapper lint {}",
                quoted(&path.display().to_string())
            )
        }
        Some(_) => "identity-mapper lint -".to_owned(),
        None => format!("identity-mapper lint{}", args.observe.live.flags()),
    };
    let manner = Manner {
        flags: args.observe.live_flags(Some(&migration.cluster)),
        lint,
        soak: settings.soak,
        operator: observation.installed,
    };
    let document = MigrationDocument::new(&migration, gate, too_old, &manner);
    output::print(&match args.output {
        TableFormat::Text | TableFormat::Wide => {
            let wide = args.output == TableFormat::Wide;
            let layout = TableLayout::of_stdout(&args.table, wide);
            text(&migration, &document, &layout)?
        }
        TableFormat::Json => output::json(&document)?,
        TableFormat::Yaml => output::yaml(&document)?,
    })?;
    match document.closed() {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => {
            complain(&format!("error: {why}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What EKS would refuse is refused here. A gate that finds the mode set already is open.
fn refuse(from: Mode, to: Mode) -> Result<(), ImpossibleModeChange> {
    match check_mode_change(from, to) {
        Ok(()) | Err(ImpossibleModeChange::Same(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn gate(to: Option<Mode>, migration: &Migration) -> Gate {
    match to {
        None => Gate::Unasked,
        Some(mode) if mode == migration.from => Gate::There(mode),
        Some(mode) => Gate::To(mode),
    }
}

/// What the cluster needs before it has access entries.
fn too_old(migration: &Migration, observation: &Observation) -> Option<String> {
    let live = observation.live.as_ref()?;
    let eks = live.target.eks.as_ref()?;
    if migration.from != Mode::ConfigMap {
        return None;
    }
    let checked = check_platform(&eks.version, &eks.platform_version);
    checked.err().map(|error| error.to_string())
}
