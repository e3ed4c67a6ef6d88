//! `identity-mapper effective [FILE|-]`: how the authenticator reads an aws-auth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::connection::{ConfigMapArgs, Connection, ConnectionArgs};
use super::diagnostic::{Severity, Shown, render_with};
use super::input;
use super::output::{self, visible};
use super::quietly;
use super::rights::{ReadingCommand, with_missing};
use super::table::{Cell, Column, Table, TableArgs, TableFormat, TableLayout};
use crate::aws_auth::{Document, Entry, Problem, ProblemCause, ProblemKind, Section};
use crate::cluster::Cluster;
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::observed::{AwsState, Bindings, ConfigMapName};
use crate::ownership::Marked;
use crate::principal::{Arn, Key, Partition};
use crate::yaml::{Lines, almost};

/// A cluster accepts callers of its own partition only, so of entries of several partitions some never match.
struct Partitions(BTreeSet<Partition>);

impl Partitions {
    fn of(document: &Document, effective: &EffectiveAccess<'_>) -> Self {
        let entries = document.entries();
        let alive = entries.filter(|entry| effective.no_effect(entry).is_none());
        Self(alive.filter_map(partition).collect())
    }

    /// The partition of an entry, where not all have the same.
    fn only_in(&self, entry: &Entry) -> Option<Partition> {
        partition(entry).filter(|_| self.0.len() > 1)
    }
}

fn partition(entry: &Entry) -> Option<Partition> {
    let arn: Arn = entry.matched_arn().parse().ok()?;
    Some(arn.partition)
}

/// Arguments of `effective`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Effective {
    /// The same as --aws-auth FILE [default: the cluster]
    #[arg(value_name = "FILE", conflicts_with = "aws_auth")]
    file: Option<PathBuf>,

    #[arg(
        long,
        value_name = "FILE",
        help = input::AWS_AUTH_HELP,
        help_heading = "Files instead of a cluster"
    )]
    aws_auth: Option<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: TableFormat,

    #[command(flatten)]
    table: TableArgs,

    #[command(flatten)]
    config_map: ConfigMapArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The texts, and which mapping wrote which entry of them.
struct AwsAuthTexts {
    data: BTreeMap<String, String>,
    mappings: BTreeMap<Key, String>,
    /// Of several entries of a key, the one that a mapping wrote.
    marked: Marked,
    /// Whether mappings were read.
    live: bool,
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
    /// Keys that the authenticator does not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread_keys: Vec<&'d str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Role<'d> {
    rolearn: &'d str,
    username: &'d str,
    groups: &'d [String],
    /// The mapping that wrote the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<&'d str>,
    /// Why the entry has no effect, where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_effect: Option<String>,
    /// The partition of a cluster in which it has an effect, where entries of several partitions exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_in_partition: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'d> {
    userarn: &'d str,
    username: &'d str,
    groups: &'d [String],
    /// The mapping that wrote the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<&'d str>,
    /// Why the entry has no effect, where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_effect: Option<String>,
    /// Whether the authenticator picks between this and another entry at random.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_random: bool,
    /// The partition of a cluster in which it has an effect, where entries of several partitions exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_in_partition: Option<&'static str>,
}

#[derive(Serialize)]
struct SectionError<'d> {
    key: &'static str,
    line: usize,
    column: usize,
    message: &'d str,
}

impl Effective {
    /// Prints what takes effect. The exit code is 1 where an error is reported.
    pub(super) fn run(self, verbose: u8) -> Result<ExitCode> {
        match self.file.as_ref().or(self.aws_auth.as_ref()) {
            Some(file) => {
                let meant = ConfigMapName::from(self.config_map.clone());
                let (_, read) = input::aws_auth(file, &meant)?;
                self.print(&AwsAuthTexts {
                    data: read.data,
                    mappings: BTreeMap::new(),
                    marked: Marked::default(),
                    live: false,
                })
            }
            None => quietly(verbose, Box::pin(self.of_cluster())),
        }
    }

    async fn of_cluster(self) -> Result<ExitCode> {
        let name = ConfigMapName::from(self.config_map.clone());
        let Connection {
            client, url, route, ..
        } = self.connection.clone().connect().await?;
        let cluster = Cluster::new(client.clone(), name.clone(), "");
        let read = match Box::pin(cluster.read()).await {
            Ok(read) => read,
            Err(error) => {
                let error = with_missing(error, &client, ReadingCommand::Effective, &name).await;
                return Err(route.failed(error));
            }
        };
        let Some(view) = read.config_map else {
            bail!("cluster {url} has no ConfigMap {name}; in API mode it needs none")
        };
        let place = name.to_string();
        let written = read.mappings.iter().flat_map(|mapping| {
            let written = mapping.status.written.iter();
            let here = written.filter(|it| it.config_map.as_ref() == Some(&place));
            here.filter_map(|it| Some((Key::parse_arn(&it.arn)?, mapping.name.clone())))
        });
        self.print(&AwsAuthTexts {
            mappings: written.collect(),
            marked: Marked::of(&view),
            data: view.data,
            live: true,
        })
    }

    fn print(&self, texts: &AwsAuthTexts) -> Result<ExitCode> {
        let document = Document::parse(&texts.data);
        // The text alone: nothing is known of access entries.
        let (aws, bindings) = (AwsState::Off, Bindings::default());
        let effective = EffectiveAccess::new(Sources {
            aws_auth: &document,
            reading: Reading::AsAwsAuth,
            aws: &aws,
            bindings: &bindings,
        });
        let printed = match self.output {
            TableFormat::Json => output::json(&report(&texts.data, &document, &effective, texts))?,
            TableFormat::Yaml => output::yaml(&report(&texts.data, &document, &effective, texts))?,
            TableFormat::Text | TableFormat::Wide => {
                let source = |section: Section| {
                    let text = texts.data.get(section.key());
                    text.map(String::as_str).unwrap_or_default()
                };
                let layout = TableLayout::of_stdout(&self.table, self.output == TableFormat::Wide);
                let table = table(&document, &effective, texts, &layout)?;
                let notes: String = unread(&texts.data).map(note).collect();
                table + &diagnostics(&document, source) + &notes
            }
        };
        output::print(&printed)?;
        let wrong = problems(&document).any(|problem| severity(problem) == Severity::Error);
        Ok(if wrong {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

impl AwsAuthTexts {
    fn mapping(&self, entry: &Entry) -> Option<&str> {
        let written = self.mappings.get(&entry.key()?);
        written
            .filter(|_| self.marked.manages(entry))
            .map(String::as_str)
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

/// Keys that the authenticator does not read; it compares them with regard to case.
fn unread(data: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let known = |key: &&str| Section::ALL.iter().any(|section| section.key() == *key);
    data.keys()
        .map(String::as_str)
        .filter(move |key| !known(key))
}

fn note(key: &str) -> String {
    let near = Section::ALL
        .iter()
        .find(|section| almost(key, section.key()));
    let what = match near {
        Some(section) => format!("write {section}"),
        None => "it has no effect".to_owned(),
    };
    format!(
        "\nnote: key {} is not read: aws-iam-authenticator reads only mapRoles, mapUsers and mapAccounts; {what}\n",
        visible(key)
    )
}

fn report<'d>(
    data: &'d BTreeMap<String, String>,
    document: &'d Document,
    effective: &EffectiveAccess<'d>,
    texts: &'d AwsAuthTexts,
) -> EffectiveDocument<'d> {
    let accounts = &document.section(Section::Accounts).accounts;
    let matches = |account: &str| effective.no_effect_of_account(account).is_none();
    let partitions = Partitions::of(document, effective);
    let only_in = |entry: &Entry| partitions.only_in(entry).map(Partition::as_str);
    EffectiveDocument {
        roles: document
            .section(Section::Roles)
            .entries
            .iter()
            .map(|e| Role {
                rolearn: &e.arn,
                username: &e.username,
                groups: &e.groups,
                mapping: texts.mapping(e),
                no_effect: no_effect(effective, e),
                only_in_partition: only_in(e),
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
                mapping: texts.mapping(e),
                no_effect: no_effect(effective, e),
                at_random: effective.is_at_random(e),
                only_in_partition: only_in(e),
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
        unread_keys: unread(data).collect(),
    }
}

pub(super) const COLUMNS: [Column; 6] = [
    Column::whole("KEY").redundant(),
    Column::shortened("PRINCIPAL", 28),
    Column::shortened("USERNAME", 12),
    Column::shortened("GROUPS", 12),
    Column::whole("EFFECT"),
    Column::shortened("MAPPING", 12).minor(1),
];

fn table(
    document: &Document,
    effective: &EffectiveAccess<'_>,
    texts: &AwsAuthTexts,
    layout: &TableLayout,
) -> Result<String> {
    let partitions = Partitions::of(document, effective);
    let row = |entry: &Entry| {
        [
            Cell::text(entry.section.key()),
            if entry.sso {
                Cell::text("(sso)")
            } else {
                Cell::Principal(entry.arn.clone())
            },
            Cell::Username(visible(&entry.username)),
            Cell::List(entry.groups.clone()),
            match (no_effect(effective, entry), partitions.only_in(entry)) {
                (Some(why), _) => Cell::noted("no", why),
                (None, Some(partition)) => {
                    Cell::Text(format!("only in a cluster of partition {partition}"))
                }
                (None, None) if effective.is_at_random(entry) => {
                    Cell::noted("at random", "mapUsers has the ARN in several spellings")
                }
                (None, None) => Cell::text("yes"),
            },
            Cell::text(texts.mapping(entry).unwrap_or_default()),
        ]
    };
    let accounts = &document.section(Section::Accounts).accounts;
    let accounts = accounts.iter().map(|account| {
        let why = effective.no_effect_of_account(account);
        [
            Cell::text(Section::Accounts.key()),
            Cell::Text(format!("(any of account {account})")),
            Cell::text("(its ARN)"),
            Cell::List(Vec::new()),
            why.map_or_else(
                || Cell::text("yes"),
                |why| Cell::noted("no", why.to_string()),
            ),
            Cell::text(""),
        ]
    });
    let rows: Vec<[Cell; 6]> = document.entries().map(row).chain(accounts).collect();
    if rows.is_empty() {
        return Ok("No entry takes effect.\n".to_owned());
    }
    if texts.live {
        return Table::new(COLUMNS, rows).render(layout);
    }
    // Without a cluster nobody knows of mappings.
    let columns: [Column; 5] = std::array::from_fn(|at| COLUMNS[at]);
    let rows = rows.into_iter();
    let rows =
        rows.map(|[key, arn, username, groups, effect, _]| [key, arn, username, groups, effect]);
    Table::new(columns, rows).render(layout)
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

/// Lines that are read as a part of something else are an error, whatever becomes of them.
const fn severity(problem: &Problem) -> Severity {
    match (problem.kind, &problem.detail.cause) {
        (ProblemKind::SectionDropped | ProblemKind::Misread, _) | (_, ProblemCause::Defect(_)) => {
            Severity::Error
        }
        (ProblemKind::EntryDropped | ProblemKind::FieldEmptied, _) => Severity::Warning,
    }
}

fn diagnostic(problem: &Problem, source: &str, lines: &Lines<'_>) -> String {
    let effect = match problem.kind {
        ProblemKind::SectionDropped => format!("all of {} is dropped", problem.section),
        ProblemKind::EntryDropped => "this entry is dropped".to_owned(),
        ProblemKind::FieldEmptied => {
            "this value is dropped; the rest of the entry is kept".to_owned()
        }
        ProblemKind::Misread => "the authenticator reads these lines differently".to_owned(),
    };
    let shown = Shown {
        severity: severity(problem),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::{KeyHash, Mark, MeaningHash};

    #[test]
    fn only_the_entry_that_a_mapping_wrote_names_it() {
        let entry = |arn: &str, username: &str| {
            format!(
                "- rolearn: arn:aws:iam::111122223333:{arn}\n  username: {username}\n  groups: [readers]\n"
            )
        };
        let by_hand = entry("role/teams/data/data-reader", "data-reader");
        let other_name = entry("role/data-reader", "someone");
        let own = entry("role/data-reader", "data-reader");
        let data = BTreeMap::from([("mapRoles".to_owned(), [by_hand, other_name, own].concat())]);
        let document = Document::parse(&data);
        let entries: Vec<&Entry> = document.entries().collect();
        let key = entries[2].key().expect("a key");
        let written = MeaningHash::of(&entries[2].meaning());
        let mark = Mark([(KeyHash::of(&key), written)].into());
        let texts = AwsAuthTexts {
            data: BTreeMap::new(),
            mappings: [(key, "data-readers".to_owned())].into(),
            marked: Marked::in_text(&document, &mark),
            live: true,
        };
        let named: Vec<Option<&str>> = entries.iter().map(|it| texts.mapping(it)).collect();
        assert_eq!(named, [None, None, Some("data-readers")]);
    }
}
