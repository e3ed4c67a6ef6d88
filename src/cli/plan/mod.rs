//! `identity-mapper plan`: shows changes before they are made.

mod document;
mod gate;
mod overlay;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use self::document::{LookedAt, PlanDocument, SettingsDocument};
use self::gate::{FailOn, faults};
use self::overlay::Others;
use super::eks::EntrySettingsArgs;
use super::fleet::{self, FleetArgs, read_all};
use super::input;
use super::operator::{Operator, operator};
use super::output::{self, Format, complain};
use super::rights::ReadingCommand;
use crate::api::IdentityMapping;
use crate::cli::snapshot::{IamExtent, ModeNeed, Observation, ObserveArgs};
use crate::diff::forecast;
use crate::effective::Reading;
use crate::observed::{ConfigMapName, Mode, Settings};
use crate::plan::RELEASED_ANNOTATION;

/// Show what would change in aws-auth and access entries, from a cluster or from files
///
/// Exit code 1: an error, or a mapping that would not become ready, or a key of aws-auth that is invalid YAML. Changes alone give 0, or 2
/// with --fail-on changes.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlanArgs {
    /// Mappings from a file, a directory, or `-` for standard input; can be repeated. With a cluster they replace its mappings of the
    /// same names
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,

    /// With -f: do not fail if the files contain no mapping
    #[arg(long, requires = "filename")]
    pub(crate) allow_empty: bool,

    /// With -f and a cluster: treat mappings that are in no file as deleted. Without it they stay, as with `kubectl apply`
    #[arg(long, requires = "filename")]
    pub(crate) prune: bool,

    /// What makes the exit code other than 0, besides errors
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub(crate) fail_on: FailOn,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,

    #[command(flatten)]
    pub(crate) settings: EntrySettingsArgs,

    #[command(flatten)]
    pub(crate) observe: ObserveArgs,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Plans and prints the plan. Nothing is written.
pub(crate) async fn plan(mut args: PlanArgs) -> Result<ExitCode> {
    args.check()?;
    args.observe.live.reader = ReadingCommand::Plan;
    let declared: Option<Vec<IdentityMapping>> = if args.filename.is_empty() {
        None
    } else {
        let declared = if args.allow_empty {
            input::declared(&args.filename)
        } else {
            input::at_least_one_declared(&args.filename, "; --allow-empty accepts that")
        };
        let declared = declared?.declared.into_iter();
        Some(declared.map(|declared| declared.object).collect())
    };
    let observe = &args.observe;
    if let Some(clusters) = args.fleet.clusters(&observe.live, observe.is_offline())? {
        let read = async |live| {
            let observe = ObserveArgs {
                live,
                ..observe.clone()
            };
            Box::pin(document(&args, &observe, declared.clone())).await
        };
        let outcomes = read_all(clusters, read).await;
        fleet::print(&outcomes, args.output, &text::COLUMNS, text::rows)?;
        return Ok(fleet::exit_code(&outcomes, |plan| {
            args.fail_on.exit_code(plan)
        }));
    }
    let document = document(&args, observe, declared).await?;
    output::print(&match args.output {
        Format::Text => text::text(&document),
        Format::Json => output::json(&document)?,
        Format::Yaml => output::yaml(&document)?,
    })?;
    Ok(ExitCode::from(args.fail_on.exit_code(&document)))
}

/// The plan of one cluster, or of files.
async fn document(
    args: &PlanArgs,
    observe: &ObserveArgs,
    declared: Option<Vec<IdentityMapping>>,
) -> Result<PlanDocument> {
    let mut others = Others::default();
    let declare = |observation: &mut Observation| {
        let Observation {
            desired, objects, ..
        } = observation;
        let now = observation.observed.now;
        match declared {
            Some(declared) if observation.live.is_none() && observe.is_offline() => {
                overlay::alone(desired, objects, declared, now);
                overlay::without_iam(objects, &mut observation.observed.aws);
            }
            Some(declared) => {
                others = overlay::lay_over(desired, objects, declared, args.prune, now);
            }
            None => {}
        }
    };
    let observation = observe
        .observe_with(IamExtent::Wanted, ModeNeed::Required, declare)
        .await?;
    notices(&observation);
    let running = match &observation.live {
        Some(live) => {
            let access_entries = observation.observed.aws.mode() != Some(Mode::ConfigMap);
            let needed = access_entries && !args.settings.is_given();
            operator(&live.cluster, needed).await
        }
        None => None,
    };
    if running.as_ref().is_some_and(|it| it.settings.observe) {
        complain(
            "note: the operator runs with --observe and writes nothing; without --observe it would write this",
        );
    }
    let settings = args.settings.settings(match &running {
        Some(operator) => Settings {
            // It plans as if it wrote: what a plan is for.
            observe: false,
            ..operator.settings.clone()
        },
        None => Settings {
            config_map: observation.config_map.clone(),
            ..Settings::default()
        },
    });
    let course = forecast(&observation.desired, &observation.observed, &settings);
    let faults = faults(&observation, &course);
    Ok(PlanDocument::new(
        looked_at(&observation, others, running.as_ref(), &settings),
        course,
        faults,
        observation.observed.now,
        observation.live.is_some(),
    ))
}

impl PlanArgs {
    /// Checks what is not a matter of one flag alone.
    fn check(&self) -> Result<()> {
        let observe = &self.observe;
        let offline = observe.is_offline();
        if offline && self.filename.is_empty() {
            bail!("with files instead of a cluster, mappings are also read from files: add -f");
        }
        if offline && self.prune {
            bail!("--prune needs a cluster: with files alone there are no other mappings");
        }
        let given = self.filename.iter();
        let given = given
            .chain(&observe.aws_auth)
            .chain(&observe.access_entries);
        if given
            .filter(|path| path.as_path() == Path::new("-"))
            .count()
            > 1
        {
            bail!("`-` (standard input) can be read only once: use files for the others");
        }
        Ok(())
    }
}

/// What there is to know beside the plan.
fn notices(observation: &Observation) {
    let history = observation.observed.history.view();
    if history.is_some_and(|view| view.annotations.contains_key(RELEASED_ANNOTATION)) {
        complain(
            "note: this installation was released: a running operator writes nothing until it is restarted, and then does what \
                this plan shows",
        );
    }
    if Reading::of(&observation.config_map) == Reading::Never {
        complain(&format!(
            "note: {} is a trial copy: EKS reads only {}; the plan treats the copy as if EKS read it",
            observation.config_map,
            ConfigMapName::default()
        ));
    }
    if observation.live.is_some() && !observation.installed {
        complain(
            "note: the CustomResourceDefinition is not installed yet: `identity-mapper crd | kubectl apply -f -`",
        );
    }
}

fn looked_at(
    observation: &Observation,
    others: Others,
    operator: Option<&Operator>,
    settings: &Settings,
) -> LookedAt {
    let observed = &observation.observed;
    let view = observed.aws.view();
    let target = observation.live.as_ref().map(|live| &live.target);
    let file = observation.aws_auth_source.as_ref();
    let aws_auth = observed.config_map.as_ref().map(|_| match file {
        Some(source) => source.name.clone(),
        None => observation.config_map.to_string(),
    });
    LookedAt {
        cluster: target.map(|target| target.url.clone()),
        context: target.and_then(|target| target.context.clone()),
        eks_cluster: view.map(|view| view.cluster.arn.clone()),
        mode: observed
            .aws
            .mode()
            .map(|mode| mode.to_string())
            .unwrap_or_default(),
        aws_auth,
        access_entries: view.map_or(0, |view| view.entries.by_principal.len()),
        operator: operator.map(|operator| operator.name.clone()),
        settings: SettingsDocument::of(settings),
        mappings: observation.desired.mappings.len(),
        left: others.left,
        pruned: others.pruned,
    }
}
