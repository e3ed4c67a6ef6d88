//! Prints an explanation as text.

use std::fmt::Write as _;

use anyhow::Result;

use super::{ExplainDocument, Explained};
use crate::cli::output::{self, visible};
use crate::cli::table::{Cell, Column, terminal_width};
use crate::cli::wrap::wrapped;
use crate::explain::{Bound, EntryPlace, Fix, Identity, PassedOver};

/// The columns of explanations of many clusters.
pub(super) const COLUMNS: [Column; 7] = [
    Column::shortened("PRINCIPAL", 28),
    Column::whole("ACCESS"),
    Column::whole("ADMIN"),
    Column::shortened("ALLOWED", 12).minor(1),
    Column::shortened("USERNAME", 12).minor(2),
    Column::shortened("GROUPS", 12).minor(3),
    Column::whole("SOURCE OR REASON"),
];

/// The explanations of a cluster as rows of many: one for each identity, or one with the reason.
pub(super) fn rows(document: &ExplainDocument) -> Vec<Vec<Cell>> {
    let rows = document.explanations.iter().flat_map(|explained| {
        let Explained {
            explanation,
            api_server: _,
            can,
        } = explained;
        let row = |access: &str, admin: &str, username: &str, groups: Vec<String>, why: Cell| {
            vec![
                Cell::Principal(explanation.caller.clone()),
                Cell::text(access),
                Cell::text(admin),
                Cell::List(can.iter().map(ToString::to_string).collect()),
                Cell::Username(username.to_owned()),
                Cell::List(groups),
                why,
            ]
        };
        if explanation.identities.is_empty() {
            let cause = explanation.causes.first().map(|cause| &cause.message);
            let why = cause.or(explanation.refusal.as_ref());
            return vec![row(
                "no",
                "",
                "",
                Vec::new(),
                Cell::noted("", why.cloned().unwrap_or_default()),
            )];
        }
        let identities = explanation.identities.iter();
        let rows = identities.map(|identity| {
            let admin = match (&identity.administrator, &identity.possible_administrator) {
                (Some(_), _) => "yes",
                (None, Some(_)) => "possibly",
                (None, None) => "",
            };
            let groups = identity.groups.iter().cloned().collect();
            let source = match &identity.place {
                place @ EntryPlace::AwsAuth { .. } => place.to_string(),
                EntryPlace::AccessEntry(_) => "access entry".to_owned(),
            };
            row("yes", admin, &identity.username, groups, Cell::Text(source))
        });
        rows.collect()
    });
    rows.collect()
}

pub(super) fn text(explained: &Explained) -> Result<String> {
    let Explained {
        explanation,
        api_server,
        can,
    } = explained;
    let mut lines = FieldLines::default();
    lines.title(&explanation.caller);
    if explanation.resolved_to != explanation.caller {
        lines.field("resolved to", &explanation.resolved_to);
    }
    if let Some(refusal) = &explanation.refusal {
        lines.field("has access", "no");
        lines.field("why", refusal);
    }
    for (number, identity) in explanation.identities.iter().enumerate() {
        let by = if number == 0 { "access by" } else { "or by" };
        lines.field(by, &at(&identity.place, &identity.principal));
        identity_lines(&mut lines, identity);
    }
    if let Some(said) = api_server {
        lines.field(
            "API server",
            &format!(
                "{} in groups {}",
                visible(&said.username),
                said.groups.join(", ")
            ),
        );
    }
    for answer in can {
        lines.field("allowed", &answer.to_string());
        if let Some(words) = &answer.words {
            lines.more(words);
        }
        if let Some(fix) = &answer.fix {
            fix_lines(&mut lines, fix)?;
        }
    }
    for cause in &explanation.causes {
        lines.field("likely cause", &cause.message);
        if let Some(fix) = &cause.fix {
            fix_lines(&mut lines, fix)?;
        }
    }
    for (
        number,
        PassedOver {
            principal,
            place,
            why,
        },
    ) in explanation.passed_over.iter().enumerate()
    {
        let line = format!("{}: {why}", at(place, principal));
        lines.numbered(number, "not used", &line);
    }
    for (number, note) in explanation.notes.iter().enumerate() {
        lines.numbered(number, "note", note);
    }
    Ok(lines.0)
}

/// An entry, for people: they know an access entry by its principal, not by its own ARN.
fn at(place: &EntryPlace, principal: &str) -> String {
    match place {
        EntryPlace::AwsAuth { .. } => format!("{place}: {}", visible(principal)),
        EntryPlace::AccessEntry(_) => format!("access entry of {}", visible(principal)),
    }
}

fn identity_lines(lines: &mut FieldLines, identity: &Identity) {
    lines.field("username", &visible(&identity.username));
    let groups: Vec<String> = identity
        .all_groups()
        .iter()
        .map(|group| visible(group))
        .collect();
    lines.field("groups", &groups.join(", "));
    for (number, policy) in identity.access_policies.iter().enumerate() {
        lines.numbered(number, "access policies", &policy.to_string());
    }
    lines.field(
        "administrator",
        &match (&identity.administrator, &identity.possible_administrator) {
            (Some(what), _) => format!("yes: {what}"),
            (None, Some(what)) => format!("possibly: a login can become {what}"),
            (None, None) => "no".to_owned(),
        },
    );
    if identity.node {
        lines.field("node", "yes");
    }
    match &identity.bindings {
        None => lines.field("RBAC", "not read"),
        Some(bindings) if bindings.is_empty() => lines.field("RBAC", "no binding"),
        Some(bindings) => {
            for (number, bound) in bindings.iter().enumerate() {
                lines.numbered(number, "RBAC", &bound_line(bound));
            }
        }
    }
    if !identity.unbound_groups.is_empty() {
        lines.more(&format!(
            "no binding names {}",
            identity.unbound_groups.join(", ")
        ));
    }
    if let Some(declared) = &identity.declared {
        let until = declared
            .until
            .map_or_else(String::new, |until| format!(", until {until}"));
        lines.field("mapping", &format!("{}{until}", declared.mapping));
    }
}

fn bound_line(bound: &Bound) -> String {
    visible(&bound.to_string())
}

fn fix_lines(lines: &mut FieldLines, fix: &Fix) -> Result<()> {
    lines.field("fix", &fix.text);
    for command in &fix.commands {
        lines.exactly(command);
    }
    let manifest = fix.manifest.as_ref().map(output::yaml).transpose()?;
    for block in fix.entry.iter().chain(&manifest) {
        for line in block.lines() {
            lines.exactly(line);
        }
    }
    Ok(())
}

/// Lines of a field and its value, in two columns.
#[derive(Default)]
struct FieldLines(String);

impl FieldLines {
    const WIDTH: usize = 16;

    fn title(&mut self, title: &str) {
        self.0.push_str(title);
        self.0.push('\n');
    }

    fn field(&mut self, name: &str, value: &str) {
        let width = Self::WIDTH;
        let first = format!("  {name:<width$}  ");
        let next = " ".repeat(first.len());
        self.0 += &wrapped(value, &first, &next, terminal_width());
    }

    fn more(&mut self, value: &str) {
        self.field("", value);
    }

    /// A line as it is: a command, or a part of a document.
    fn exactly(&mut self, line: &str) {
        let width = Self::WIDTH;
        // Writing to a text never fails.
        let _ = writeln!(self.0, "  {:<width$}    {line}", "");
    }

    fn numbered(&mut self, number: usize, name: &str, value: &str) {
        self.field(if number == 0 { name } else { "" }, value);
    }
}
