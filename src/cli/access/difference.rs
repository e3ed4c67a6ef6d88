//! `identity-mapper access diff OLD NEW`: who gained access between two reports, who lost it, and who became an administrator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::page::document;
use crate::cli::TROUBLE;
use crate::cli::input;
use crate::cli::output::{self, Colour, complain, paint, visible};

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

/// What is read of a report. Other fields may come and go.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedReport {
    made: String,
    cluster: SavedCluster,
    principals: Vec<SavedPrincipal>,
}

#[derive(Deserialize)]
struct SavedCluster {
    url: Option<String>,
    arn: Option<String>,
}

impl SavedCluster {
    fn name(&self) -> &str {
        let name = self.arn.as_deref().or(self.url.as_deref());
        name.unwrap_or("files")
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
    /// `yes`, `possibly` or `no`.
    administrator: &'static str,
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
                (Some(_), _) => "yes",
                (None, Some(_)) => "possibly",
                (None, None) => "no",
            },
        }
    }
}

/// What changed for a principal.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrincipalDifference {
    principal: String,
    /// How it was; none: without access.
    before: Vec<AccessState>,
    /// How it is.
    after: Vec<AccessState>,
}

impl PrincipalDifference {
    fn administers(states: &[AccessState]) -> bool {
        states.iter().any(|state| state.administrator != "no")
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
    became_administrator: Vec<PrincipalDifference>,
    no_longer_administrator: Vec<PrincipalDifference>,
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
            let administers = PrincipalDifference::administers;
            let list = match (before.is_empty(), after.is_empty()) {
                (true, _) => &mut difference.gained_access,
                (_, true) => &mut difference.lost_access,
                _ if administers(&after) && !administers(&before) => {
                    &mut difference.became_administrator
                }
                _ if administers(&before) && !administers(&after) => {
                    &mut difference.no_longer_administrator
                }
                _ => &mut difference.changed,
            };
            list.push(PrincipalDifference {
                principal,
                before,
                after,
            });
        }
        difference
    }

    fn lists(&self) -> [(&'static str, &[PrincipalDifference]); 5] {
        [
            ("Gained access", &self.gained_access),
            ("Became administrators", &self.became_administrator),
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

fn compare(args: &AccessDiffArgs) -> Result<ExitCode> {
    let read = |path| -> Result<SavedReport> {
        let source = input::source(path)?;
        serde_json::from_str(&source.text).with_context(|| {
            format!(
                "{} is not an access report; create one with: identity-mapper access -o json",
                source.name
            )
        })
    };
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    if old.cluster.name() != new.cluster.name() {
        bail!(
            "the reports are of two clusters, {} and {}: compare reports of one",
            old.cluster.name(),
            new.cluster.name()
        );
    }
    let difference = AccessDifference::new(&old, &new);
    output::print(&match args.output {
        AccessDiffFormat::Text => text(&difference),
        AccessDiffFormat::Json => output::json(&difference)?,
        AccessDiffFormat::Html => page(&difference),
    })?;
    Ok(if difference.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

fn described(state: &AccessState) -> String {
    let mut text = format!("username {:?}", state.username);
    for (what, all) in [
        ("groups", &state.groups),
        ("access policies", &state.access_policies),
    ] {
        if !all.is_empty() {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let _ = write!(text, ", {what} {}", all.join(", "));
        }
    }
    match state.administrator {
        "no" => {}
        "yes" => text += ", administrator",
        _ => text += ", possibly administrator",
    }
    text
}

fn text(difference: &AccessDifference) -> String {
    let AccessDifference {
        cluster, old, new, ..
    } = difference;
    let mut text = format!("Access to {} from {old} to {new}\n", visible(cluster));
    if difference.is_empty() {
        text += "\nNo difference.\n";
    }
    for (title, list) in difference.lists() {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(
            text,
            "\n{}",
            paint(Colour::Bold, &format!("{title} ({}):", list.len()))
        );
        for PrincipalDifference {
            principal,
            before,
            after,
        } in list
        {
            let _ = writeln!(text, "  {}", visible(principal));
            for (sign, colour, states) in [("-", Colour::Red, before), ("+", Colour::Green, after)]
            {
                for state in states {
                    let line = format!("{sign} {}", visible(&described(state)));
                    let _ = writeln!(text, "    {}", paint(colour, &line));
                }
            }
        }
    }
    text
}

fn page(difference: &AccessDifference) -> String {
    let AccessDifference {
        cluster, old, new, ..
    } = difference;
    let name = cluster.rsplit('/').next().unwrap_or(cluster);
    let title = format!("Changes of access to {}", visible(name));
    let states = |states: &[AccessState]| -> Markup {
        html! {
            @if states.is_empty() { span.soft { "no access" } }
            @for state in states { div { (visible(&described(state))) } }
        }
    };
    let body = html! {
        h1 { (title) }
        dl.meta {
            div { dt { "Cluster" } dd { (visible(cluster)) } }
            div { dt { "From" } dd { (visible(old)) } }
            div { dt { "To" } dd { (visible(new)) } }
        }
        @if difference.is_empty() { p { "No difference." } }
        @for (title, list) in difference.lists() {
            @if !list.is_empty() {
                h2 { (title) " (" (list.len()) ")" }
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "Principal" } th scope="col" { "Before" } th scope="col" { "After" } } }
                        tbody {
                            @for it in list {
                                tr {
                                    th scope="row" data-label="Principal" { span.mono { (visible(&it.principal)) } }
                                    td data-label="Before" { (states(&it.before)) }
                                    td data-label="After" { (states(&it.after)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        footer { p { "Generated by identity-mapper " (env!("CARGO_PKG_VERSION")) " from two reports of access." } }
    };
    document(&title, &body)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;

    fn report(made: &str, principals: &Value) -> SavedReport {
        let report = json!({
            "made": made, "cluster": {"configMap": "kube-system/aws-auth", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/main"},
            "principals": principals, "withoutAccess": [], "notes": [],
        });
        serde_json::from_value(report).expect("a report")
    }

    fn principal(name: &str, groups: &[&str], administrator: Option<&str>) -> Value {
        json!({
            "kind": "Role", "principal": format!("arn:aws:iam::111122223333:role/{name}"), "username": name, "groups": groups,
            "accessPolicies": [], "administrator": administrator,
        })
    }

    #[test]
    fn who_came_who_went_and_who_rose() {
        let masters = Some("group system:masters");
        let old = report(
            "2026-01-01T00:00:00Z",
            &json!([
                principal("gone", &["g"], None),
                principal("risen", &["g"], None),
                principal("fallen", &["system:masters"], masters),
                principal("same", &["g"], None),
                principal("moved", &["g"], None),
            ]),
        );
        let new = report(
            "2026-02-01T00:00:00Z",
            &json!([
                principal("same", &["g"], None),
                principal("moved", &["h"], None),
                principal("risen", &["system:masters"], masters),
                principal("fallen", &["g"], None),
                principal("come\u{202e}", &["system:masters"], masters),
            ]),
        );
        let difference = AccessDifference::new(&old, &new);
        assert_snapshot!(anstream::adapter::strip_str(&text(&difference)).to_string(), @r#"
        Access to arn:aws:eks:eu-west-1:111122223333:cluster/main from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z

        Gained access (1):
          arn:aws:iam::111122223333:role/come\u{202e}
            + username "come\u{202e}", groups system:masters, administrator

        Became administrators (1):
          arn:aws:iam::111122223333:role/risen
            - username "risen", groups g
            + username "risen", groups system:masters, administrator

        Lost access (1):
          arn:aws:iam::111122223333:role/gone
            - username "gone", groups g

        No longer administrators (1):
          arn:aws:iam::111122223333:role/fallen
            - username "fallen", groups system:masters, administrator
            + username "fallen", groups g

        Changed (1):
          arn:aws:iam::111122223333:role/moved
            - username "moved", groups g
            + username "moved", groups h
        "#);
        assert!(AccessDifference::new(&old, &old).is_empty());
        assert!(page(&difference).contains("Became administrators (1)"));
    }
}
