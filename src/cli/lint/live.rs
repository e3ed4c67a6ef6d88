//! `lint` for the aws-auth and the mappings of a cluster.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};

use super::text::{self, gained};
use super::{DRY_RUN, FixOutcome, LintArgs, LintFormat};
use crate::aws_auth::{Document, Entry, Section};
use crate::cli::confirm::confirm;
use crate::cli::connection::NoCluster;
use crate::cli::diff::unified;
use crate::cli::fleet::{self, FleetCluster, read_all};
use crate::cli::output::{self, complain};
use crate::cli::rights::{ReadingCommand, check_write};
use crate::cli::snapshot::{IamExtent, Live, LiveArgs, ModeNeed, Observation};
use crate::cli::table::{TableArgs, TableLayout};
use crate::cli::write::write;
use crate::diff::forecast;
use crate::error::Category;
use crate::lint::{ClusterFacts, FixedData, LintReport, NODE_MANAGER, check_cluster, fix_data};
use crate::migrate::unread;
use crate::observed::{AwsState, ConfigMapView, Mode, Settings};
use crate::ownership::Marked;
use crate::plan::rewrite;

impl LintArgs {
    /// Reads the cluster, applies the fixes if asked to, and reports the rest.
    pub(super) async fn cluster(mut self) -> Result<ExitCode> {
        self.live.reader = if self.fix && !self.dry_run {
            ReadingCommand::LintFix
        } else {
            ReadingCommand::Lint
        };
        let looking = self
            .live
            .observe(self.mode, IamExtent::Everyone, ModeNeed::Optional);
        let looked = Box::pin(looking).await;
        let mut observation = looked.map_err(|error| match error.downcast_ref::<NoCluster>() {
            Some(none) => anyhow!("{none}; to check files, pass them: identity-mapper lint FILE"),
            None => error,
        })?;
        let live = observation
            .live
            .clone()
            .ok_or_else(|| anyhow!("a cluster was read"))?;
        let mut fixed = FixOutcome::default();
        if self.fix {
            fixed.changes = Box::pin(self.fix_cluster(&live, &mut observation)).await?;
        }
        observation.identity_providers = observation.list_identity_providers().await;
        let report = self.check(&live, &observation).await?;
        self.print(fixed, report)
    }

    async fn check(&self, live: &Live, observation: &Observation) -> Result<LintReport> {
        report_unread(observation);
        let node_manager = node_manager(live).await?;
        Ok(check(observation, node_manager, self.mode))
    }

    /// Reads several clusters and reports what each has.
    pub(super) async fn clusters(self, clusters: Vec<FleetCluster>) -> Result<ExitCode> {
        if self.fix {
            bail!("--fix rewrites one cluster at a time: name it with --context");
        }
        let read = async |mut live: LiveArgs| {
            live.reader = ReadingCommand::Lint;
            let looking = live.observe(self.mode, IamExtent::Everyone, ModeNeed::Optional);
            let mut observation = Box::pin(looking).await?;
            observation.identity_providers = observation.list_identity_providers().await;
            let live = observation.live.as_ref().context("a cluster was read")?;
            self.check(live, &observation).await
        };
        let mut outcomes = read_all(clusters, read).await;
        let filter = self.filter();
        let (mut all, mut hidden) = (LintReport::default(), 0);
        let mut unused = filter.ignored.clone();
        for outcome in &mut outcomes {
            if let Ok(report) = &mut outcome.report {
                let narrowed = report.narrow(&filter);
                hidden += narrowed.hidden;
                unused.retain(|code| narrowed.unused.contains(code));
                all.append(&outcome.cluster, report.clone());
            }
        }
        for code in unused {
            complain(&format!("note: --ignore {code} matched no finding"));
        }
        output::print(&match self.output {
            LintFormat::Json => {
                let documents = fleet::map(&outcomes, text::document);
                output::json(&fleet::document(&documents))?
            }
            LintFormat::Text => {
                let layout = TableLayout::of_stdout(&TableArgs::default(), false);
                let table = fleet::table(&outcomes, &text::COLUMNS, text::rows, &layout)?;
                format!("{}\n{table}", text::text(&all, hidden))
            }
            LintFormat::Github | LintFormat::Sarif | LintFormat::Junit => {
                self.printed(&all, hidden)?
            }
        })?;
        let code = |report: &LintReport| u8::from(report.has_errors());
        Ok(fleet::exit_code(&outcomes, code))
    }

    /// Rewrites aws-auth, once that is agreed to. Whether anything was or would be changed.
    async fn fix_cluster(&self, live: &Live, observation: &mut Observation) -> Result<bool> {
        let name = observation.config_map.clone();
        let Some(standing) = observation.observed.config_map.clone() else {
            complain(&format!("nothing to fix: {name} does not exist"));
            return Ok(false);
        };
        if observation.observed.aws.mode() == Some(Mode::Api) {
            complain("nothing to fix: the cluster does not read aws-auth in API mode");
            return Ok(false);
        }
        let managed = Marked::of(&standing);
        let is_managed = |entry: &Entry| managed.manages(entry);
        let FixedData { data, gains } =
            fix_data(&standing.data, &is_managed, &self.filter().ignored);
        let planned = rewrite(&observation.observed, &data);
        let planned = planned.map_err(|why| {
            anyhow!("nothing was written, because the current {name} can't be saved to the history first: {why}")
        })?;
        let Some(planned) = planned else {
            complain(&format!("no safe fixes for {name}"));
            return Ok(false);
        };
        if !self.dry_run {
            check_write(&live.client, self.live.reader, &name, &planned).await?;
        }
        let mut shown = format!("{}\n", live.target);
        for section in Section::ALL {
            let text = |data: &std::collections::BTreeMap<String, String>| {
                data.get(section.key()).cloned().unwrap_or_default()
            };
            let (before, after) = (text(&standing.data), text(&data));
            shown += &unified(
                &before,
                &after,
                &format!("{section} (current)"),
                &format!("{section} (fixed)"),
            );
        }
        shown += &gained(&gains);
        if self.dry_run {
            shown.push('\n');
            shown += DRY_RUN;
        }
        self.say(&shown)?;
        if self.dry_run {
            // What is reported then is what the fixes leave.
            observation.observed.config_map = Some(ConfigMapView { data, ..standing });
            return Ok(true);
        }
        confirm(&format!("Apply these changes to {name}?"), self.yes)?;
        let written = write(
            live,
            &name,
            &planned,
            &observation.observed,
            &BTreeSet::new(),
        )
        .await?;
        observation.observed.config_map = Some(written);
        let told = format!(
            "\nWritten; the previous version is saved in {}.\n\n",
            name.history()
        );
        self.say(&told)?;
        Ok(true)
    }

    /// Prints beside the findings: where these are a document, on standard error.
    fn say(&self, text: &str) -> Result<()> {
        if self.output == LintFormat::Text {
            output::print(text)
        } else {
            complain(text);
            Ok(())
        }
    }
}

/// Whether EKS's own role for nodes exists; `None` where the cluster is not known to be an EKS cluster, or reading it is forbidden.
async fn node_manager(live: &Live) -> Result<Option<bool>> {
    if live.target.eks.is_none() {
        return Ok(None);
    }
    match live.cluster.has_cluster_role(NODE_MANAGER).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.category == Category::Forbidden => {
            complain(&format!(
                "note: skipped ClusterRole {NODE_MANAGER}, because it can't be read: {error}"
            ));
            Ok(None)
        }
        Err(error) => Err(anyhow!("ClusterRole {NODE_MANAGER} can't be read: {error}")),
    }
}

/// Principals of accounts whose IAM is not read may no longer exist.
fn report_unread(observation: &Observation) {
    let iam = observation.observed.aws.view().map(|view| &view.iam);
    for (account, read) in iam.iter().flat_map(|iam| &iam.accounts) {
        let Some(problem) = read.problems.any() else {
            continue;
        };
        let why = unread(problem);
        complain(&format!("note: skipped IAM of account {account}: {why}"));
    }
}

fn check(
    observation: &Observation,
    node_manager: Option<bool>,
    declared: Option<Mode>,
) -> LintReport {
    let observed = &observation.observed;
    let view = observed.aws.view();
    // Without EKS the mode is known only where it was said.
    let mode = match &observed.aws {
        AwsState::Off => declared,
        AwsState::Known(view) => Some(view.mode),
        AwsState::Unproven { .. } | AwsState::Unknown { .. } => None,
    };
    let history = observed.history.view();
    let texts = observed.config_map.as_ref();
    let document = texts.map(|texts| Document::parse(&texts.data));
    let providers = observation.identity_providers.as_ref();
    let settings = Settings {
        config_map: observation.config_map.clone(),
        ..Settings::default()
    };
    let statuses = forecast(&observation.desired, observed, &settings).mappings;
    check_cluster(&ClusterFacts {
        view,
        document: document.as_ref(),
        identity_providers: providers.and_then(|read| read.as_deref().ok()),
        statuses: &statuses.into_iter().collect(),
        name: &observation.config_map,
        config_map: observed.config_map.as_ref(),
        has_history: history.is_some_and(|history| !history.copies.is_empty()),
        mode,
        bindings: &observation.rbac,
        bound: &observed.bindings,
        partition: view.and_then(|view| view.cluster.partition()),
        entries: view
            .filter(|view| view.mode != Mode::ConfigMap)
            .map(|view| &*view.entries),
        iam: view.map(|view| &*view.iam),
        node_manager,
        mappings: &observation.objects,
    })
}
