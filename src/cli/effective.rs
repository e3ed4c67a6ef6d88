//! `identity-mapper effective FILE|-`: what the authenticator makes of an aws-auth.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::diagnostic::{Severity, Shown, render_with};
use super::input;
use super::output::{self, Format, visible};
use crate::aws_auth::{Document, Entry, Problem, ProblemKind, Section, read_aws_auth};
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::observed::{AwsState, Bindings};
use crate::yaml::Lines;

/// Arguments of `effective`.
#[derive(Args, Debug)]
pub(crate) struct Effective {
    /// aws-auth ConfigMap, as `kubectl get configmap -n kube-system aws-auth -o yaml` or `-o json` prints it; `-` for standard input
    file: PathBuf,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EffectiveDocument<'d> {
    roles: Vec<Role<'d>>,
    users: Vec<User<'d>>,
    accounts: &'d [String],
    /// Items of mapAccounts that are no account, and never match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_accounts: Vec<&'d str>,
    errors: Vec<SectionError<'d>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Role<'d> {
    rolearn: &'d str,
    username: &'d str,
    groups: &'d [String],
    /// Why the entry has no effect, where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_effect: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'d> {
    userarn: &'d str,
    username: &'d str,
    groups: &'d [String],
    /// Why the entry has no effect, where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_effect: Option<String>,
}

#[derive(Serialize)]
struct SectionError<'d> {
    key: &'static str,
    line: usize,
    column: usize,
    message: &'d str,
}

impl Effective {
    /// Prints what takes effect. The exit code is 1 where a section is dropped whole.
    pub(super) fn run(&self) -> Result<ExitCode> {
        let source = input::source(&self.file)?;
        let data = read_aws_auth(&source.text, ("kube-system", "aws-auth"))
            .with_context(|| source.name.clone())?;
        let document = Document::parse(&data);
        // The text alone: nothing is known of the cluster.
        let (aws, bindings) = (AwsState::Off, Bindings::default());
        let effective = EffectiveAccess::new(Sources {
            aws_auth: &document,
            reading: Reading::AsAwsAuth,
            aws: &aws,
            bindings: &bindings,
        });
        let printed = match self.output {
            Format::Json => output::json(&report(&document, &effective))?,
            Format::Yaml => output::yaml(&report(&document, &effective))?,
            Format::Text => {
                let source = |section: Section| {
                    data.get(section.key())
                        .map(String::as_str)
                        .unwrap_or_default()
                };
                format!(
                    "{}{}",
                    table(&document, &effective),
                    diagnostics(&document, source)
                )
            }
        };
        output::print(&printed)?;
        let broken = Section::ALL
            .iter()
            .any(|section| document.section(*section).broken.is_some());
        Ok(if broken {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn problems(document: &Document) -> impl Iterator<Item = &Problem> {
    Section::ALL
        .into_iter()
        .flat_map(|section| &document.section(section).problems)
}

fn no_effect(effective: &EffectiveAccess<'_>, entry: &Entry) -> Option<String> {
    effective.no_effect(entry).map(|why| why.to_string())
}

fn report<'d>(document: &'d Document, effective: &EffectiveAccess<'d>) -> EffectiveDocument<'d> {
    let accounts = &document.section(Section::Accounts).accounts;
    let matches = |account: &str| effective.no_effect_of_account(account).is_none();
    EffectiveDocument {
        roles: document
            .section(Section::Roles)
            .entries
            .iter()
            .map(|e| Role {
                rolearn: &e.arn,
                username: &e.username,
                groups: &e.groups,
                no_effect: no_effect(effective, e),
            })
            .collect(),
        users: document
            .section(Section::Users)
            .entries
            .iter()
            .map(|e| User {
                userarn: &e.arn,
                username: &e.username,
                groups: &e.groups,
                no_effect: no_effect(effective, e),
            })
            .collect(),
        accounts,
        not_accounts: accounts
            .iter()
            .map(String::as_str)
            .filter(|it| !matches(it))
            .collect(),
        errors: problems(document)
            .map(|p| SectionError {
                key: p.section.key(),
                line: p.line,
                column: p.column,
                message: &p.message,
            })
            .collect(),
    }
}

fn table(document: &Document, effective: &EffectiveAccess<'_>) -> String {
    let row = |entry: &Entry| {
        let arn = if entry.sso {
            "(sso)".to_owned()
        } else {
            visible(&entry.arn)
        };
        let groups: Vec<String> = entry.groups.iter().map(|group| visible(group)).collect();
        [
            entry.section.key().to_owned(),
            arn,
            visible(&entry.username),
            groups.join(","),
            no_effect(effective, entry)
                .map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")),
        ]
    };
    let accounts = &document.section(Section::Accounts).accounts;
    let accounts = accounts.iter().map(|account| {
        let why = effective.no_effect_of_account(account);
        [
            Section::Accounts.key().to_owned(),
            format!("(any of account {})", visible(account)),
            "(its ARN)".to_owned(),
            String::new(),
            why.map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")),
        ]
    });
    let rows: Vec<[String; 5]> = document.entries().map(row).chain(accounts).collect();
    if rows.is_empty() {
        return "No entry takes effect.\n".to_owned();
    }
    output::columns(["KEY", "ARN", "USERNAME", "GROUPS", "EFFECT"], rows)
}

fn diagnostics<'d>(document: &Document, source: impl Fn(Section) -> &'d str) -> String {
    let mut shown = String::new();
    for section in Section::ALL {
        let lines = Lines::new(source(section));
        for problem in &document.section(section).problems {
            shown.push('\n');
            shown += &diagnostic(problem, source(section), &lines);
        }
    }
    shown
}

fn diagnostic(problem: &Problem, source: &str, lines: &Lines<'_>) -> String {
    let (severity, effect) = match problem.kind {
        ProblemKind::SectionDropped => (
            Severity::Error,
            format!("all of {} is dropped", problem.section),
        ),
        ProblemKind::EntryDropped => (Severity::Warning, "this entry is dropped".to_owned()),
        ProblemKind::FieldEmptied => (
            Severity::Warning,
            "this value is dropped; the rest of the entry is kept".to_owned(),
        ),
        ProblemKind::Misread => (
            Severity::Error,
            "the authenticator reads these lines differently".to_owned(),
        ),
    };
    let shown = Shown {
        severity,
        code: "",
        title: &problem.message,
        origin: problem.section.key(),
        source,
        span: problem.span.clone(),
        label: &effect,
        below: Vec::new(),
    };
    render_with(&shown, lines)
}
