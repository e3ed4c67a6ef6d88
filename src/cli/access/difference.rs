//! `identity-mapper access diff OLD NEW`: who gained access between two reports, who lost it, and who became an administrator.

mod print;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::TROUBLE;
use crate::cli::input;
use crate::cli::output::{self, complain};

/// The exit code where there are differences, as diff has it.
const DIFFERENT: u8 = 1;

/// Compare two reports of `access -o json`: who gained access, who lost it, and who became an administrator
///
/// Exit code 0: no difference; 1: differences; 2: an error.
#[derive(Args, Debug)]
pub(crate) struct AccessDiffArgs {
    /// The earlier report; `-` for standard input
    #[arg(value_name = "OLD_FILE")]
    old: PathBuf,

    /// The later report; `-` for standard input
    #[arg(value_name = "NEW_FILE")]
    new: PathBuf,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: AccessDiffFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum AccessDiffFormat {
    /// Human-readable
    #[default]
    Text,
    /// One JSON document
    Json,
    /// A self-contained page for auditors
    Html,
}

/// A file of `access -o json`.
enum SavedFile {
    One(Box<SavedReport>),
    Many(Vec<SavedClusterReport>),
}

/// A file of many clusters.
#[derive(Deserialize)]
struct SavedClusters {
    clusters: Vec<SavedClusterReport>,
}

/// One of its clusters.
#[derive(Deserialize)]
struct SavedClusterReport {
    cluster: String,
    report: Option<SavedReport>,
    error: Option<String>,
}

/// What is read of a report. Other fields may come and go.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedReport {
    made: String,
    cluster: SavedCluster,
    principals: Vec<SavedPrincipal>,
}

#[derive(Debug, Deserialize)]
struct SavedCluster {
    url: Option<String>,
    arn: Option<String>,
}

impl SavedCluster {
    fn name(&self) -> &str {
        let name = self.arn.as_deref().or(self.url.as_deref());
        name.unwrap_or("files")
    }

    /// Whether both are of one cluster. Not every report knows its ARN: without the rights to EKS only the URL is known.
    fn is(&self, other: &Self) -> bool {
        let arns = self.arn.as_ref().zip(other.arn.as_ref());
        let urls = self.url.as_ref().zip(other.url.as_ref());
        match arns.or(urls) {
            Some((one, other)) => one == other,
            None => self.name() == other.name(),
        }
    }
}

#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct SavedPrincipal {
    principal: String,
    username: String,
    groups: BTreeSet<String>,
    #[serde(default)]
    access_policies: Vec<SavedPolicy>,
    administrator: Option<String>,
    possible_administrator: Option<String>,
}

#[derive(Clone, Deserialize, PartialEq, Eq)]
struct SavedPolicy {
    policy: String,
    namespaces: Option<BTreeSet<String>>,
}

/// What a principal is, in the order in which it is compared and printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessState {
    username: String,
    groups: BTreeSet<String>,
    access_policies: BTreeSet<String>,
    administrator: AdministratorState,
}

/// Whether a principal is an administrator: at no login, at some, or at each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum AdministratorState {
    #[default]
    No,
    Possibly,
    Yes,
}

impl SavedPrincipal {
    fn state(&self) -> AccessState {
        let policy = |saved: &SavedPolicy| match &saved.namespaces {
            None => saved.policy.clone(),
            Some(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("{} in {}", saved.policy, names.join(" "))
            }
        };
        AccessState {
            username: self.username.clone(),
            groups: self.groups.clone(),
            access_policies: self.access_policies.iter().map(policy).collect(),
            administrator: match (&self.administrator, &self.possible_administrator) {
                (Some(_), _) => AdministratorState::Yes,
                (None, Some(_)) => AdministratorState::Possibly,
                (None, None) => AdministratorState::No,
            },
        }
    }
}

/// What changed for a principal.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrincipalDifference {
    principal: String,
    /// How it was; none: without access.
    before: Vec<AccessState>,
    /// How it is.
    after: Vec<AccessState>,
}

impl PrincipalDifference {
    /// The most that a principal is by any of its entries.
    fn administers(states: &[AccessState]) -> AdministratorState {
        let all = states.iter().map(|state| state.administrator);
        all.max().unwrap_or_default()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessDifference {
    cluster: String,
    /// When each report was made.
    old: String,
    new: String,
    gained_access: Vec<PrincipalDifference>,
    lost_access: Vec<PrincipalDifference>,
    /// Also those that gained access as administrators.
    became_administrator: Vec<PrincipalDifference>,
    may_have_become_administrator: Vec<PrincipalDifference>,
    /// Also those that lost access.
    no_longer_administrator: Vec<PrincipalDifference>,
    /// What is in none of the other lists.
    changed: Vec<PrincipalDifference>,
}

impl AccessDifference {
    fn new(old: &SavedReport, new: &SavedReport) -> Self {
        let mut difference = Self {
            cluster: new.cluster.name().to_owned(),
            old: old.made.clone(),
            new: new.made.clone(),
            gained_access: Vec::new(),
            lost_access: Vec::new(),
            became_administrator: Vec::new(),
            may_have_become_administrator: Vec::new(),
            no_longer_administrator: Vec::new(),
            changed: Vec::new(),
        };
        let (mut before, mut after) = (by_principal(old), by_principal(new));
        let all: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
        for principal in all {
            let before = before.remove(&principal).unwrap_or_default();
            let after = after.remove(&principal).unwrap_or_default();
            if before == after {
                continue;
            }
            let (was, is) = (
                PrincipalDifference::administers(&before),
                PrincipalDifference::administers(&after),
            );
            let access = match (before.is_empty(), after.is_empty()) {
                (true, _) => Some(&mut difference.gained_access),
                (_, true) => Some(&mut difference.lost_access),
                _ => None,
            };
            let administrator = match (was, is) {
                (
                    AdministratorState::No | AdministratorState::Possibly,
                    AdministratorState::Yes,
                ) => Some(&mut difference.became_administrator),
                (AdministratorState::No, AdministratorState::Possibly) => {
                    Some(&mut difference.may_have_become_administrator)
                }
                (
                    AdministratorState::Possibly | AdministratorState::Yes,
                    AdministratorState::No,
                ) => Some(&mut difference.no_longer_administrator),
                _ => None,
            };
            let mut lists: Vec<&mut Vec<PrincipalDifference>> =
                access.into_iter().chain(administrator).collect();
            if lists.is_empty() {
                lists.push(&mut difference.changed);
            }
            let found = PrincipalDifference {
                principal,
                before,
                after,
            };
            for list in lists {
                list.push(found.clone());
            }
        }
        difference
    }

    fn lists(&self) -> [(&'static str, &[PrincipalDifference]); 6] {
        [
            ("Gained access", &self.gained_access),
            ("Became administrators", &self.became_administrator),
            (
                "May have become administrators",
                &self.may_have_become_administrator,
            ),
            ("Lost access", &self.lost_access),
            ("No longer administrators", &self.no_longer_administrator),
            ("Changed", &self.changed),
        ]
    }

    fn is_empty(&self) -> bool {
        self.lists().iter().all(|(_, list)| list.is_empty())
    }
}

/// Everything that each principal is, sorted: the order of entries does not matter.
fn by_principal(report: &SavedReport) -> BTreeMap<String, Vec<AccessState>> {
    let mut all: BTreeMap<String, Vec<AccessState>> = BTreeMap::new();
    for saved in &report.principals {
        let states = all.entry(saved.principal.clone()).or_default();
        states.push(saved.state());
    }
    for states in all.values_mut() {
        states.sort();
    }
    all
}

/// Compares and prints.
pub(super) fn diff(args: &AccessDiffArgs) -> ExitCode {
    compare(args).unwrap_or_else(|error| {
        complain(&output::error(&error));
        ExitCode::from(TROUBLE)
    })
}

/// The differences of all clusters of two files.
#[derive(Serialize)]
struct ClusterDifferences {
    clusters: Vec<ClusterDifference>,
}

/// What came of comparing one of many clusters.
#[derive(Serialize)]
struct ClusterDifference {
    cluster: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<AccessDifference>,
    /// Why it could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn compare(args: &AccessDiffArgs) -> Result<ExitCode> {
    match (read(&args.old)?, read(&args.new)?) {
        (SavedFile::One(old), SavedFile::One(new)) => compare_one(&old, &new, args.output),
        (SavedFile::Many(old), SavedFile::Many(new)) => compare_many(old, new, args.output),
        (SavedFile::One(_), SavedFile::Many(_)) | (SavedFile::Many(_), SavedFile::One(_)) => bail!(
            "one report is of one cluster and the other of several: compare two reports of one cluster, or two of several"
        ),
    }
}

fn read(path: &Path) -> Result<SavedFile> {
    let source = input::source(path)?;
    let saved = || -> serde_json::Result<SavedFile> {
        let document: Value = serde_json::from_str(&source.text)?;
        if document.get("clusters").is_some() {
            let SavedClusters { clusters } = serde_json::from_value(document)?;
            return Ok(SavedFile::Many(clusters));
        }
        Ok(SavedFile::One(serde_json::from_value(document)?))
    };
    saved().with_context(|| {
        format!(
            "{} is not an access report; create one with: identity-mapper access -o json",
            source.name
        )
    })
}

/// Why two reports can't be compared.
fn two_clusters(old: &SavedReport, new: &SavedReport) -> Option<String> {
    (!old.cluster.is(&new.cluster)).then(|| {
        format!(
            "the reports are of two clusters, {} and {}: compare reports of one",
            old.cluster.name(),
            new.cluster.name()
        )
    })
}

fn compare_one(old: &SavedReport, new: &SavedReport, format: AccessDiffFormat) -> Result<ExitCode> {
    if let Some(why) = two_clusters(old, new) {
        bail!(why);
    }
    let difference = AccessDifference::new(old, new);
    output::print(&match format {
        AccessDiffFormat::Text => print::text(&difference),
        AccessDiffFormat::Json => output::json(&difference)?,
        AccessDiffFormat::Html => print::page(&difference),
    })?;
    Ok(if difference.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

/// Compares the clusters of the same names. One that can't be compared makes the exit code that of an error.
fn compare_many(
    old: Vec<SavedClusterReport>,
    new: Vec<SavedClusterReport>,
    format: AccessDiffFormat,
) -> Result<ExitCode> {
    let differences = differences(old, new);
    output::print(&match format {
        AccessDiffFormat::Text => print::text_of_many(&differences),
        AccessDiffFormat::Json => output::json(&differences)?,
        AccessDiffFormat::Html => print::page_of_many(&differences),
    })?;
    let clusters = &differences.clusters;
    let failed = clusters.iter().filter(|it| it.error.is_some()).count();
    if failed > 0 {
        complain(&format!(
            "error: {failed} of {} clusters could not be compared",
            clusters.len()
        ));
        return Ok(ExitCode::from(TROUBLE));
    }
    let mut compared = clusters.iter().filter_map(|it| it.difference.as_ref());
    Ok(if compared.all(AccessDifference::is_empty) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

fn differences(old: Vec<SavedClusterReport>, new: Vec<SavedClusterReport>) -> ClusterDifferences {
    let mut new: Vec<Option<SavedClusterReport>> = new.into_iter().map(Some).collect();
    let mut clusters = Vec::new();
    for old in old {
        let same = |it: &&mut Option<SavedClusterReport>| {
            it.as_ref().is_some_and(|it| it.cluster == old.cluster)
        };
        let new = new.iter_mut().find(same).and_then(Option::take);
        clusters.push(ClusterDifference::of(Some(old), new));
    }
    let added = new.into_iter().flatten();
    clusters.extend(added.map(|it| ClusterDifference::of(None, Some(it))));
    ClusterDifferences { clusters }
}

impl ClusterDifference {
    fn of(old: Option<SavedClusterReport>, new: Option<SavedClusterReport>) -> Self {
        let named = old.as_ref().or(new.as_ref());
        let cluster = named.map(|it| it.cluster.clone()).unwrap_or_default();
        let report = |saved: Option<SavedClusterReport>, which: &str| match saved {
            None => Err(format!("it is not in the {which} report")),
            Some(SavedClusterReport {
                report: Some(report),
                ..
            }) => Ok(report),
            Some(SavedClusterReport { error, .. }) => Err(format!(
                "the {which} report could not read it: {}",
                error.unwrap_or_default()
            )),
        };
        let compared = report(old, "earlier").and_then(|old| {
            let new = report(new, "later")?;
            match two_clusters(&old, &new) {
                Some(why) => Err(why),
                None => Ok(AccessDifference::new(&old, &new)),
            }
        });
        let (difference, error) = match compared {
            Ok(difference) => (Some(difference), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            cluster,
            difference,
            error,
        }
    }
}

#[cfg(test)]
mod tests;
