//! The list as text in columns, and as CSV.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::{AccessDocument, Whereabouts};
use crate::access_entry::short_policy;
use crate::cli::fleet::{self, ClusterOutcome};
use crate::cli::output::visible;
use crate::cli::table::{Cell, Column, Table, TableLayout, terminal_width};
use crate::cli::wrap::wrapped;
use crate::effective::MASTERS;
use crate::explain::{
    AccessRow, AccessRowKind, Bound, Creator, GrantBackend, Held, Identity, OtherWays, PassedOver,
};
use crate::principal::{Principal, PrincipalNames};

/// What spreadsheets take for the beginning of a formula (OWASP, *CSV Injection*).
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(in crate::cli) const COLUMNS: [Column; 10] = [
    Column::whole("ADMIN"),
    Column::whole("KIND").redundant(),
    Column::shortened("PRINCIPAL", 36),
    Column::shortened("USERNAME", 12).minor(1),
    Column::shortened("GROUPS", 12),
    Column::shortened("ACCESS POLICIES", 15).minor(3),
    Column::shortened("RBAC", 14).minor(6),
    Column::whole("UNTIL").minor(4),
    Column::whole("SOURCE"),
    Column::shortened("MAPPING", 12).minor(5),
];

pub(super) fn text(access: &AccessDocument, layout: &TableLayout) -> Result<String> {
    let AccessDocument {
        made: _,
        cluster,
        report,
    } = access;
    let mut text = head(cluster, report.mode);
    if report.principals.is_empty() {
        text.push_str("No entry grants access");
        if !report.dropped_keys.is_empty() {
            let _ = write!(
                text,
                ": the authenticator drops all of {}",
                report.dropped_keys.join(" and ")
            );
        }
        text.push_str(".\n");
    } else {
        let rows = report.principals.iter().map(|it| row(it, layout.wide));
        let arns = report.principals.iter().filter_map(|row| match row.kind {
            AccessRowKind::Account => None,
            _ => Some(row.identity.principal.as_str()),
        });
        let names = PrincipalNames::short(arns, cluster.account());
        text += &Table::new(COLUMNS, rows).named(names).render(layout)?;
    }
    if let Some(everyone) = report.everyone.as_ref().filter(|bound| !bound.is_empty()) {
        text.push_str("\nPermissions of everyone with access:\n");
        for bound in everyone {
            text += &item(&bound.to_string());
        }
    }
    let OtherWays {
        identity_providers,
        administrators,
    } = &report.other_ways;
    if let Some(providers) = identity_providers.as_ref().filter(|all| !all.is_empty()) {
        text.push_str("\nOIDC identity providers, whose users can sign in too:\n");
        for provider in providers {
            let _ = writeln!(text, "  {}", visible(provider));
        }
    }
    if let Some(others) = administrators.as_ref().filter(|all| !all.is_empty()) {
        text.push_str("\nAdministrators without an entry:\n");
        for other in others {
            text += &item(&other.to_string());
        }
    }
    if !report.nobody.is_empty() {
        text.push_str("\nEntries without access:\n");
        for PassedOver {
            principal,
            place,
            why,
        } in &report.nobody
        {
            let line = format!("{} ({place}): {why}", visible(principal));
            text += &wrapped(&line, "  ", "    ", terminal_width());
        }
    }
    for note in &report.notes {
        text += &wrapped(&format!("note: {note}"), "\n", "", terminal_width());
    }
    if let Some(creator) = &report.creator {
        text += &creator_text(creator);
    }
    Ok(text)
}

/// One table of the principals of all clusters.
pub(super) fn text_of_many(
    outcomes: &[ClusterOutcome<AccessDocument>],
    layout: &TableLayout,
) -> Result<String> {
    let rows = |access: &AccessDocument| {
        let rows = access.report.principals.iter();
        rows.map(|it| row(it, layout.wide).to_vec()).collect()
    };
    let mut text = fleet::table(outcomes, &COLUMNS, rows, layout)?;
    let without: usize = fleet::reports(outcomes)
        .map(|(_, access)| access.report.nobody.len())
        .sum();
    if without > 0 {
        let note = format!(
            "note: {without} {} without access and the notes of each cluster are in -o json and -o html",
            if without == 1 { "entry" } else { "entries" }
        );
        text += &wrapped(&note, "\n", "", terminal_width());
    }
    Ok(text)
}

fn head(cluster: &Whereabouts, mode: Option<&str>) -> String {
    let Whereabouts {
        url,
        context: _,
        arn,
        config_map,
    } = cluster;
    let place = arn.as_deref().or(url.as_deref()).unwrap_or("files");
    let mode = mode.map_or_else(String::new, |mode| format!(", mode {mode}"));
    let line = format!("Principals with access: {place}{mode}, {config_map}");
    wrapped(&line, "", "  ", terminal_width()) + "\n"
}

fn creator_text(creator: &Creator) -> String {
    let Creator {
        note,
        cloud_trail,
        log_group,
        authenticator_log,
        lost,
    } = creator;
    let line = |text: &str, first: &str| wrapped(text, first, "  ", terminal_width());
    let signs_in = format!(
        "who signs in as the creator, where authenticator logs are enabled (CloudWatch Logs Insights on {log_group}):"
    );
    // Commands stay as they are, to be copied.
    [
        line(&format!("note: {note}"), "\n"),
        line(
            "who created the cluster, within the last 90 days (CloudTrail):",
            "  ",
        ),
        format!("    {cloud_trail}\n"),
        line(&signs_in, "  "),
        format!("    {authenticator_log}\n"),
        line(
            "if the creator can no longer sign in, IAM permissions alone restore access (the change of mode can't be \
                undone):",
            "  ",
        ),
        format!("    {}\n", lost.join("\n    ")),
    ]
    .concat()
}

/// A line of a list.
fn item(text: &str) -> String {
    wrapped(&visible(text), "  ", "    ", terminal_width())
}

/// A principal. `whole`: with the whole names of its policies, and what makes it an administrator in its row.
fn row(row: &AccessRow, whole: bool) -> [Cell; 10] {
    let AccessRow {
        kind,
        identity,
        at_random,
    } = row;
    let place = match identity.place.backend() {
        GrantBackend::AccessEntry => "access entry".to_owned(),
        GrantBackend::ConfigMap => identity.place.to_string(),
    };
    let declared = identity.declared.as_ref();
    [
        admin(identity),
        Cell::text(if identity.node {
            format!("{}, node", kind.as_str())
        } else {
            kind.as_str().to_owned()
        }),
        match kind {
            AccessRowKind::Account => {
                Cell::Text(format!("(any of account {})", identity.principal))
            }
            _ => Cell::Principal(identity.principal.clone()),
        },
        if !whole && is_default(identity) {
            Cell::text("(default)")
        } else {
            Cell::Username(identity.username.clone())
        },
        Cell::List(groups(identity)),
        Cell::List(
            identity
                .access_policies
                .iter()
                .map(if whole { policy } else { short })
                .collect(),
        ),
        Cell::List(identity.bindings.iter().flatten().map(role).collect()),
        Cell::Text(until(identity)),
        if *at_random {
            Cell::noted(
                place,
                "at random: mapUsers has the ARN in several spellings",
            )
        } else {
            Cell::Text(place)
        },
        Cell::Text(declared.map_or_else(String::new, |declared| declared.mapping.clone())),
    ]
}

/// Whether it is an administrator, and by what, unless its groups say so.
fn admin(identity: &Identity) -> Cell {
    let word = match administrator(identity) {
        "no" => "",
        word => word,
    };
    let what = identity.administrator.as_deref();
    match what.or(identity.possible_administrator.as_deref()) {
        Some(what) if !identity.groups.contains(MASTERS) => Cell::noted(word, what),
        Some(_) | None => Cell::text(word),
    }
}

/// The groups, of which a table may show only the first.
fn groups(identity: &Identity) -> Vec<String> {
    let mut groups: Vec<String> = identity.groups.iter().cloned().collect();
    groups.sort_by_key(|group| group != MASTERS);
    groups
}

/// Whether the username is the one that EKS gives.
pub(super) fn is_default(identity: &Identity) -> bool {
    let principal = Principal::parse(&identity.principal);
    principal.is_ok_and(|it| it.default_username() == identity.username)
}

fn until(identity: &Identity) -> String {
    let declared = identity.declared.as_ref();
    let until = declared.and_then(|declared| declared.until);
    until.map_or_else(String::new, |until| until.to_string())
}

fn short(held: &Held) -> String {
    short_policy(&held.policy, held.namespaces.is_some())
}

fn policy(held: &Held) -> String {
    match &held.namespaces {
        None => held.policy.clone(),
        Some(namespaces) => {
            let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            format!("{}({})", held.policy, names.join(","))
        }
    }
}

fn role(bound: &Bound) -> String {
    let Bound {
        namespace,
        name: _,
        role,
        through: _,
    } = bound;
    let place = namespace
        .as_ref()
        .map_or_else(String::new, |namespace| format!("({namespace})"));
    format!("{}/{}{place}", role.kind, role.name)
}

/// Whether an identity is an administrator: at every login, at some, or at none.
fn administrator(identity: &Identity) -> &'static str {
    match (&identity.administrator, &identity.possible_administrator) {
        (Some(_), _) => "yes",
        (None, Some(_)) => "possibly",
        (None, None) => "no",
    }
}

const CSV_COLUMNS: [&str; 15] = [
    "has access",
    "administrator",
    "administrator by",
    "kind",
    "node",
    "principal",
    "username",
    "groups",
    "access policies",
    "rbac",
    "backend",
    "source",
    "mapping",
    "until",
    "reason",
];

/// For spreadsheets: everyone with access, then the entries that grant no access.
pub(super) fn csv(access: &AccessDocument) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CSV_COLUMNS)?;
    for record in records(access) {
        writer.write_record(record.map(harmless))?;
    }
    text_of(writer)
}

/// The same of all clusters, each row with its cluster. Those that could not be read have a row with the reason.
pub(super) fn csv_of_many(outcomes: &[ClusterOutcome<AccessDocument>]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let title = std::iter::once("cluster").chain(CSV_COLUMNS);
    writer.write_record(title)?;
    for (cluster, access) in fleet::reports(outcomes) {
        for record in records(access) {
            let cluster = std::iter::once(cluster.to_owned());
            writer.write_record(cluster.chain(record).map(harmless))?;
        }
    }
    for (cluster, error) in fleet::failures(outcomes) {
        let mut record: [String; 15] = Default::default();
        "not read".clone_into(&mut record[0]);
        error.clone_into(&mut record[14]);
        let cluster = std::iter::once(cluster.to_owned());
        writer.write_record(cluster.chain(record).map(harmless))?;
    }
    text_of(writer)
}

fn text_of(writer: csv::Writer<Vec<u8>>) -> Result<String> {
    let bytes = writer.into_inner().context("the CSV can't be written")?;
    Ok(String::from_utf8(bytes)?)
}

fn records(access: &AccessDocument) -> Vec<[String; 15]> {
    let mut records = Vec::new();
    for row in &access.report.principals {
        let identity = &row.identity;
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let list = |parts: Vec<String>| parts.join("; ");
        let declared = identity.declared.as_ref();
        let record = [
            if row.at_random {
                "at random".to_owned()
            } else {
                yes(true)
            },
            administrator(identity).to_owned(),
            identity
                .administrator
                .as_ref()
                .or(identity.possible_administrator.as_ref())
                .cloned()
                .unwrap_or_default(),
            row.kind.as_str().to_owned(),
            yes(identity.node),
            identity.principal.clone(),
            identity.username.clone(),
            list(identity.groups.iter().cloned().collect()),
            list(
                identity
                    .access_policies
                    .iter()
                    .map(Held::to_string)
                    .collect(),
            ),
            match &identity.bindings {
                Some(bindings) => list(bindings.iter().map(Bound::to_string).collect()),
                None => "not read".to_owned(),
            },
            identity.place.backend().as_str().to_owned(),
            identity.place.to_string(),
            declared
                .map(|declared| declared.mapping.clone())
                .unwrap_or_default(),
            until(identity),
            String::new(),
        ];
        records.push(record);
    }
    for other in access.report.other_ways.administrators.iter().flatten() {
        let mut record: [String; 15] = Default::default();
        "yes".clone_into(&mut record[0]);
        "yes".clone_into(&mut record[1]);
        record[2] = format!("ClusterRoleBinding {}", other.binding);
        other.kind.as_str().clone_into(&mut record[3]);
        "no".clone_into(&mut record[4]);
        record[5].clone_from(&other.name);
        records.push(record);
    }
    for PassedOver {
        principal,
        place,
        why,
    } in &access.report.nobody
    {
        let mut record: [String; 15] = Default::default();
        "no".clone_into(&mut record[0]);
        record[5].clone_from(principal);
        place.backend().as_str().clone_into(&mut record[10]);
        record[11] = place.to_string();
        record[14].clone_from(why);
        records.push(record);
    }
    records
}

/// A value in which nothing is hidden, and that no spreadsheet takes for a formula: with an apostrophe before it where one would.
fn harmless(value: String) -> String {
    if value.is_empty() {
        return value;
    }
    let shown = visible(&value);
    if value.starts_with(FORMULA) {
        format!("'{shown}")
    } else {
        shown
    }
}
