//! `identity-mapper effective FILE|-`: what the authenticator makes of an aws-auth.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use comfy_table::Table;
use serde::Serialize;

use super::output;
use crate::aws_auth::{Document, Entry, Problem, ProblemKind, Section, read_manifest};

/// Arguments of `effective`.
#[derive(Args, Debug)]
pub struct Effective {
    /// The ConfigMap, as `kubectl get configmap -n kube-system aws-auth -o yaml` or `-o json` prints it; `-` for standard input
    file: PathBuf,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Entries as a table, then what is dropped and why
    Table,
    /// One JSON object
    Json,
}

#[derive(Serialize)]
struct Report<'d> {
    roles: Vec<Role<'d>>,
    users: Vec<User<'d>>,
    accounts: &'d [String],
    errors: Vec<Error<'d>>,
}

#[derive(Serialize)]
struct Role<'d> {
    rolearn: &'d str,
    username: &'d str,
    groups: &'d [String],
}

#[derive(Serialize)]
struct User<'d> {
    userarn: &'d str,
    username: &'d str,
    groups: &'d [String],
}

#[derive(Serialize)]
struct Error<'d> {
    key: &'static str,
    line: usize,
    column: usize,
    message: &'d str,
}

impl Effective {
    /// Prints what takes effect. The exit code is 1 where a section is dropped whole.
    pub(super) fn run(&self) -> Result<ExitCode> {
        let text = self.read()?;
        let data = read_manifest(&text).with_context(|| self.name())?;
        let document = Document::parse(&data);
        let printed = match self.output {
            Format::Json => json(&document)?,
            Format::Table => {
                let source = |section: Section| {
                    data.get(section.key())
                        .map(String::as_str)
                        .unwrap_or_default()
                };
                format!("{}{}", table(&document), diagnostics(&document, source))
            }
        };
        output::print(&printed).context("cannot write to standard output")?;
        let broken = Section::ALL
            .iter()
            .any(|section| document.section(*section).broken.is_some());
        Ok(if broken {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn name(&self) -> String {
        if self.is_stdin() {
            "standard input".to_owned()
        } else {
            self.file.display().to_string()
        }
    }

    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn read(&self) -> Result<String> {
        let mut bytes = Vec::new();
        let read = if self.is_stdin() {
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
        } else {
            std::fs::read(&self.file).map(|found| bytes = found)
        };
        read.with_context(|| format!("cannot read {}", self.name()))?;
        String::from_utf8(bytes).with_context(|| format!("{} is not text in UTF-8", self.name()))
    }
}

fn problems(document: &Document) -> impl Iterator<Item = &Problem> {
    Section::ALL
        .into_iter()
        .flat_map(|section| &document.section(section).problems)
}

fn json(document: &Document) -> Result<String> {
    let report = Report {
        roles: document
            .section(Section::Roles)
            .entries
            .iter()
            .map(|e| Role {
                rolearn: &e.arn,
                username: &e.username,
                groups: &e.groups,
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
            })
            .collect(),
        accounts: &document.section(Section::Accounts).accounts,
        errors: problems(document)
            .map(|p| Error {
                key: p.section.key(),
                line: p.line,
                column: p.column,
                message: &p.message,
            })
            .collect(),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn table(document: &Document) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["KEY", "ARN", "USERNAME", "GROUPS"]);
    let row = |entry: &Entry| {
        let arn = if entry.sso {
            "(sso: never matches on EKS)".to_owned()
        } else {
            visible(&entry.arn)
        };
        let groups: Vec<String> = entry.groups.iter().map(|group| visible(group)).collect();
        [
            entry.section.key().to_owned(),
            arn,
            visible(&entry.username),
            groups.join(","),
        ]
    };
    table.add_rows(document.entries().map(row));
    let accounts = &document.section(Section::Accounts).accounts;
    table.add_rows(accounts.iter().map(|account| {
        [
            Section::Accounts.key().to_owned(),
            format!("(any of account {})", visible(account)),
            "(its ARN)".to_owned(),
            String::new(),
        ]
    }));
    if table.is_empty() {
        return "No entries take effect.\n".to_owned();
    }
    // The table pads every cell, also the first and the last.
    table
        .lines()
        .map(|line| line.trim().to_owned() + "\n")
        .collect()
}

/// A value on one line: what would move the cursor is shown as an escape, an empty value as such.
fn visible(value: &str) -> String {
    if value.is_empty() {
        return "\"\"".to_owned();
    }
    let hidden = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{feff}'
            )
    };
    value
        .chars()
        .map(|c| {
            if hidden(c) {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

fn diagnostics<'d>(document: &Document, source: impl Fn(Section) -> &'d str) -> String {
    let renderer = Renderer::styled();
    problems(document)
        .map(|problem| diagnostic(problem, source(problem.section), &renderer))
        .collect()
}

fn diagnostic(problem: &Problem, source: &str, renderer: &Renderer) -> String {
    let (level, effect) = match problem.kind {
        ProblemKind::SectionDropped => (
            Level::ERROR,
            format!("all of {} is dropped", problem.section),
        ),
        ProblemKind::EntryDropped => (Level::WARNING, "this entry is dropped".to_owned()),
        ProblemKind::FieldEmptied => (
            Level::WARNING,
            "this value is dropped, the rest of the entry stands".to_owned(),
        ),
    };
    // One line is enough to find the place; a span over an entry of many would print them all.
    let line = source[problem.span.clone()]
        .split(['\n', '\r'])
        .next()
        .unwrap_or_default()
        .trim_end();
    let span = problem.span.start..problem.span.start + line.len();
    let snippet = Snippet::source(source)
        .path(problem.section.key())
        .annotation(AnnotationKind::Primary.span(span).label(effect));
    format!(
        "\n{}\n",
        renderer.render(&[level
            .primary_title(problem.message.as_str())
            .element(snippet)])
    )
}
