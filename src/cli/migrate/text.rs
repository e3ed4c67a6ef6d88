//! Prints a migration plan as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use super::document::MigrationDocument;
use crate::cli::output::visible;
use crate::cli::table::{Cell, Column, Table, TableLayout, terminal_width};
use crate::cli::wrap::wrapped;
use crate::migrate::{
    EntryDifference, Migration, PlannedOutcome, PrincipalPlan, Who, many, modes_between, tally,
};
use crate::observed::Mode;
use crate::principal::PrincipalNames;

/// Where there is no terminal, text is wrapped at so many characters.
const WIDTH: usize = 110;

/// How principals are named and lines are broken.
struct TextStyle {
    names: PrincipalNames,
    width: usize,
}

impl TextStyle {
    fn new(migration: &Migration, layout: &TableLayout) -> Self {
        let arns: Vec<String> = migration
            .verdicts
            .iter()
            .filter(|verdict| !matches!(verdict.who, Who::Account(_)))
            .map(|verdict| verdict.who.to_string())
            .collect();
        Self {
            names: if layout.wide {
                PrincipalNames::in_full()
            } else {
                let cluster = migration.cluster.account();
                PrincipalNames::short(arns.iter().map(String::as_str), cluster)
            },
            width: terminal_width().unwrap_or(WIDTH),
        }
    }

    fn who(&self, who: &Who) -> String {
        let text = who.to_string();
        visible(&match who {
            Who::Account(_) => text,
            Who::Principal { .. } | Who::Other(_) => self.names.name(&text),
        })
    }

    fn wrapped(&self, text: &str, first: &str, next: &str) -> String {
        wrapped(text, first, next, Some(self.width))
    }
}

pub(super) fn text(
    migration: &Migration,
    document: &MigrationDocument<'_>,
    layout: &TableLayout,
) -> Result<String> {
    let style = TextStyle::new(migration, layout);
    let mut text = head(migration, document, &style);
    if !migration.verdicts.is_empty() {
        text.push('\n');
        text += &table(migration, layout, &style)?;
    }
    text += &reasons(migration, &style);
    text += &differences(migration, &style);
    text += &lets_nobody_in(migration, &style);
    text += &misread(migration, &style);
    text += &others(migration, &style);
    text += &steps(document, &style);
    text += &gate(document, &style);
    Ok(text)
}

fn head(migration: &Migration, document: &MigrationDocument<'_>, style: &TextStyle) -> String {
    let mut way = vec![migration.from.to_string()];
    let to: Mode = document.to.parse().unwrap_or(Mode::Api);
    way.extend(
        modes_between(migration.from, to)
            .iter()
            .map(Mode::to_string),
    );
    let mut head = format!(
        "cluster:  {}\nmode:     {}\n",
        migration.cluster.arn,
        way.join(" -> ")
    );
    let mut counts: Vec<String> = tally(migration)
        .into_iter()
        .map(|(word, count)| format!("{count} {}", counted(word, count)))
        .collect();
    if !migration.dead.is_empty() {
        counts.push(format!(
            "{} of aws-auth {} no access",
            if migration.dead.len() == 1 {
                "1 entry".to_owned()
            } else {
                format!("{} entries", migration.dead.len())
            },
            if migration.dead.len() == 1 {
                "grants"
            } else {
                "grant"
            }
        ));
    }
    if counts.is_empty() {
        counts.push("aws-auth grants no access, and there are no mappings".to_owned());
    }
    head += &style.wrapped(&counts.join(", "), "summary:  ", "          ");
    if let Some(too_old) = &document.too_old {
        head += &style.wrapped(too_old, "first:    ", "          ");
    }
    head
}

/// A verdict's word for so many.
fn counted(word: &'static str, count: usize) -> &'static str {
    match (word, count) {
        ("done", _) => "already done",
        ("missing", _) => "not in IAM",
        ("stays", 2..) => "stay",
        ("leaves", 2..) => "leave",
        ("moves", 2..) => "move",
        ("differs", 2..) => "differ",
        (word, _) => word,
    }
}

pub(in crate::cli) const COLUMNS: [Column; 5] = [
    Column::whole("OUTCOME"),
    Column::shortened("PRINCIPAL", 26),
    Column::shortened("MAPPING", 12),
    Column::shortened("ACCESS ENTRY", 20).minor(1),
    Column::whole("LOSES ACCESS IN API"),
];

fn table(migration: &Migration, layout: &TableLayout, style: &TextStyle) -> Result<String> {
    let row = |verdict: &PrincipalPlan| {
        let lost = migration.from != Mode::Api && verdict.lost_in_api;
        let mapping = match (&verdict.mapping, &verdict.import) {
            (Some(mapping), _) => mapping.clone(),
            (None, Some(import)) => format!("({import})"),
            (None, None) => "-".to_owned(),
        };
        [
            Cell::text(verdict.word()),
            match &verdict.who {
                who @ Who::Account(_) => Cell::text(who.to_string()),
                who @ (Who::Principal { .. } | Who::Other(_)) => Cell::Principal(who.to_string()),
            },
            Cell::Text(mapping),
            Cell::Text(becomes(verdict)),
            Cell::text(if lost { "yes" } else { "-" }),
        ]
    };
    let rows = migration.verdicts.iter().map(row);
    let table = Table::new(COLUMNS, rows).named(style.names.clone());
    let table = table.render(layout)?;
    let imports = if migration.verdicts.iter().any(|it| it.import.is_some()) {
        "Mappings in parentheses are what --import creates.\n"
    } else {
        ""
    };
    Ok(format!("{table}{imports}"))
}

/// What it is as an access entry, in a few words.
fn becomes(verdict: &PrincipalPlan) -> String {
    let Some(becomes) = &verdict.becomes else {
        return "-".to_owned();
    };
    if becomes.is_node() {
        return becomes.kind.clone();
    }
    let groups = becomes.groups.iter().map(|group| visible(group));
    let policies = becomes
        .policies
        .iter()
        .map(|(policy, scope)| match scope.as_str() {
            "cluster" => policy.clone(),
            scope => format!("{policy} ({scope})"),
        });
    let gives: Vec<String> = groups.chain(policies).collect();
    let gives = if gives.is_empty() {
        "no groups".to_owned()
    } else {
        gives.join(", ")
    };
    let username = if becomes.username_generated {
        "EKS's default username".to_owned()
    } else {
        visible(&becomes.username)
    };
    format!("{username}: {gives}")
}

/// What there is to say of each, those of whom the same is said together.
fn reasons(migration: &Migration, style: &TextStyle) -> String {
    let mut groups: Vec<(&str, Vec<String>, Vec<String>)> = Vec::new();
    for verdict in &migration.verdicts {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(verdict.why.iter().map(|why| why.message.clone()));
        lines.extend(differs(verdict));
        lines.extend(verdict.notes.iter().cloned());
        lines.extend(passed_over(verdict));
        if lines.is_empty() {
            continue;
        }
        let places: Vec<String> = verdict.places.iter().map(ToString::to_string).collect();
        let place = if places.is_empty() {
            String::new()
        } else {
            format!(" ({})", places.join(", "))
        };
        let who = format!("{}{place}", style.who(&verdict.who));
        let same = groups
            .iter_mut()
            .find(|(word, _, said)| *word == verdict.word() && *said == lines);
        match same {
            Some((_, all, _)) => all.push(who),
            None => groups.push((verdict.word(), vec![who], lines)),
        }
    }
    let mut text = String::new();
    for (mut word, all, lines) in groups {
        for who in all {
            text += &style.wrapped(&who, &format!("  {word:<7} "), "          ");
            word = "";
        }
        for line in lines {
            text += &style.wrapped(&visible(&line), "    ", "    ");
        }
    }
    if text.is_empty() {
        text
    } else {
        format!("\nDetails:\n{text}")
    }
}

/// The unmanaged entry that wins already.
fn differs(verdict: &PrincipalPlan) -> Option<String> {
    if verdict.outcome != PlannedOutcome::Differs {
        return None;
    }
    let found: Vec<String> = verdict
        .differences
        .iter()
        .filter(|difference| difference.is_of_meaning())
        .map(EntryDifference::short)
        .collect();
    Some(format!(
        "an unmanaged access entry exists and already wins over aws-auth: {}; the migration takes no access away, and the entry \
            in aws-auth has no effect",
        found.join(", ")
    ))
}

fn passed_over(verdict: &PrincipalPlan) -> Option<String> {
    let places: Vec<String> = verdict.shadowed.iter().map(ToString::to_string).collect();
    (!places.is_empty()).then(|| {
        format!(
            "{} has the same principal but no effect: the authenticator uses the last entry of a list, and mapRoles before \
                mapUsers",
            places.join(", ")
        )
    })
}

/// What differs, each kind once, with whom it concerns.
fn differences(migration: &Migration, style: &TextStyle) -> String {
    let moving = || {
        migration.verdicts.iter().filter(|verdict| {
            matches!(
                verdict.outcome,
                PlannedOutcome::Moves | PlannedOutcome::Moved
            )
        })
    };
    let kinds: BTreeSet<&EntryDifference> =
        moving().flat_map(|verdict| &verdict.differences).collect();
    let mut text = String::new();
    let mut usernames = 0;
    for kind in kinds {
        let concerned: Vec<String> = moving()
            .filter(|verdict| verdict.differences.contains(kind))
            .map(|verdict| style.who(&verdict.who))
            .collect();
        if matches!(kind, EntryDifference::UsernameGenerated(_)) {
            usernames += concerned.len();
            continue;
        }
        text += &style.wrapped(&visible(&kind.to_string()), "  ", "    ");
        text += &style.wrapped(&concerned.join(", "), "    for ", "        ");
    }
    if usernames > 0 {
        let line = format!(
            "the username of {} is EKS's default, which equals the current one in aws-auth",
            many(usernames, "principal")
        );
        text += &style.wrapped(&line, "  ", "    ");
    }
    if text.is_empty() {
        text
    } else {
        format!("\nDifferences in access entries:\n{text}")
    }
}

fn lets_nobody_in(migration: &Migration, style: &TextStyle) -> String {
    let mut text = String::new();
    for unreadable in &migration.unreadable {
        let line = format!(
            "{} is invalid YAML, so nobody in it has access (line {}: {}); fix it first: `identity-mapper lint` shows how",
            unreadable.place.section, unreadable.place.line, unreadable.message
        );
        text += &style.wrapped(&visible(&line), "  ", "    ");
    }
    for dead in &migration.dead {
        let line = format!("{}: {}: {}", dead.place, dead.what, dead.why);
        text += &style.wrapped(&visible(&line), "  ", "    ");
    }
    if text.is_empty() {
        text
    } else {
        format!("\nEntries without access (nothing to migrate):\n{text}")
    }
}

fn misread(migration: &Migration, style: &TextStyle) -> String {
    let lines = migration.misread.iter();
    let lines: String = lines
        .map(|it| {
            style.wrapped(
                &visible(&format!("{}: {}", it.place, it.message)),
                "  ",
                "    ",
            )
        })
        .collect();
    if lines.is_empty() {
        return lines;
    }
    let head = "Lines that are not read as they are written (`identity-mapper lint` shows how to fix them):";
    style.wrapped(head, "\n", "") + &lines
}

fn others(migration: &Migration, style: &TextStyle) -> String {
    let mut text = String::new();
    for other in &migration.others {
        let kind = other
            .gives
            .as_ref()
            .map_or("not described", |gives| &gives.kind);
        let administrator = if other.is_administrator() {
            ", an administrator, like the access entry that EKS creates for the cluster's creator"
        } else {
            ""
        };
        let line = format!("{} ({kind}{administrator})", other.principal_arn);
        text += &style.wrapped(&line, "  ", "    ");
    }
    for (account, why) in &migration.unread {
        let line = format!("IAM of account {account} was not read: {why}");
        text += &style.wrapped(&visible(&line), "  ", "    ");
    }
    if text.is_empty() {
        text
    } else {
        format!("\nAlso:\n{text}")
    }
}

fn steps(document: &MigrationDocument<'_>, style: &TextStyle) -> String {
    let mut text = String::new();
    for (number, step) in document.steps.iter().enumerate() {
        let number = number + 1;
        text += &style.wrapped(&step.title, &format!("  {number}. "), "     ");
        for note in &step.notes {
            text += &style.wrapped(note, "     - ", "       ");
        }
        for command in &step.commands {
            let _ = writeln!(text, "       {command}");
        }
    }
    if text.is_empty() {
        "\nNo steps left.\n".to_owned()
    } else {
        format!("\nSteps:\n{text}")
    }
}

fn gate(document: &MigrationDocument<'_>, style: &TextStyle) -> String {
    let Some(gate) = &document.gate else {
        return String::new();
    };
    let mut text = String::new();
    if !gate.changes.is_empty() {
        let _ = writeln!(
            text,
            "\nHow to change the mode{}:",
            if gate.open {
                ""
            } else {
                ", once no principal loses access by it"
            }
        );
        for recipe in &gate.changes {
            let _ = writeln!(text, "  {}", recipe.tool);
            for line in recipe.change.lines() {
                let _ = writeln!(text, "      {line}");
            }
            for warning in &recipe.warnings {
                text += &style.wrapped(warning, "    ! ", "      ");
            }
        }
    }
    if gate.open {
        let mut message = gate.message.clone();
        if let Some(first) = message.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        text += &style.wrapped(&format!("{message}."), "\n", "");
    } else if !gate.losers.is_empty() {
        let _ = writeln!(text, "\nWould lose access in {} now:", gate.mode);
        for loser in &gate.losers {
            let _ = writeln!(text, "  {}", visible(loser));
        }
    }
    text
}
