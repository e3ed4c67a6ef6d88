//! Prints a plan as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::SignedDuration;

use super::document::{
    Action, AwsAuthChange, BackendChanges, ConditionDocument, EntryDocument, LaterChanges,
    MappingConditions, PlanDocument, ScopeDocument,
};
use crate::access_entry::policy_name;
use crate::cli::output::{Colour, paint, visible};
use crate::cli::table::{Cell, Column, terminal_width};
use crate::cli::wrap::wrapped;
use crate::diff::TextStepKind;

/// Maximum number of names in a line.
const MOST_NAMES: usize = 5;

/// A sentence in lines as wide as the terminal.
fn fitted(text: &str, first: &str, next: &str) -> String {
    wrapped(text, first, next, terminal_width())
}

pub(super) fn text(plan: &PlanDocument) -> String {
    let mut out = looked_at(plan);
    let now = &plan.now;
    if let Some(aws_auth) = &now.aws_auth {
        out += &texts(aws_auth);
        out += &marks(aws_auth);
    }
    if !now.access_entries.is_empty() {
        let _ = writeln!(out, "\n{}", paint(Colour::Bold, "access entries"));
        for action in &now.access_entries {
            out += &line(action);
        }
    }
    out += &then(&plan.later);
    out += &said(&plan.mappings);
    for note in &plan.notes {
        out.push('\n');
        out += &fitted(note, &format!("{} ", paint(Colour::Yellow, "note:")), "  ");
    }
    out.push('\n');
    out + &fitted(&paint(Colour::Bold, &summary(plan)), "", "")
}

/// The columns of a plan of many clusters.
pub(super) const COLUMNS: [Column; 5] = [
    Column::whole("MODE").minor(3),
    Column::shortened("PLAN", 24),
    Column::shortened("NOT READY", 12),
    Column::whole("LATER").minor(2),
    Column::whole("MAPPINGS").minor(1),
];

/// A plan as a row of many.
pub(super) fn rows(plan: &PlanDocument) -> Vec<Vec<Cell>> {
    let faults = plan.faults.iter();
    let faults = faults.map(|fault| {
        let what = fault.mapping.as_deref().or(fault.key);
        format!("{} ({})", what.unwrap_or_default(), fault.reason)
    });
    vec![vec![
        Cell::text(plan.looked_at.mode.as_str()),
        Cell::text(changes(plan).unwrap_or_else(|| "no changes".to_owned())),
        Cell::List(faults.collect()),
        Cell::text(match plan.later.len() {
            0 => String::new(),
            _ => "yes".to_owned(),
        }),
        Cell::text(plan.looked_at.mappings.to_string()),
    ]]
}

fn looked_at(plan: &PlanDocument) -> String {
    let seen = &plan.looked_at;
    let source = match (&seen.cluster, &seen.context) {
        (Some(url), Some(context)) => format!("cluster {url} (context {context})"),
        (Some(url), None) => format!("cluster {url}"),
        (None, _) => "files".to_owned(),
    };
    let mut parts = vec![match &seen.eks_cluster {
        Some(arn) => format!("{arn}, mode {}", seen.mode),
        None => format!("mode {}", seen.mode),
    }];
    if seen.mode != "API" {
        parts.push(match &seen.aws_auth {
            Some(name) => format!("aws-auth from {name}"),
            None => "no aws-auth".to_owned(),
        });
    }
    if seen.mode != "CONFIG_MAP" {
        parts.push(counted(
            seen.access_entries,
            "access entry",
            "access entries",
        ));
    }
    parts.push(counted(seen.mappings, "mapping", "mappings"));
    let source = format!("Source: {source} ({}).", parts.join(", "));
    let mut out = fitted(&source, "", "  ");
    if let Some(operator) = &seen.operator {
        let settings = format!("Settings: of Deployment {operator} ({}).", seen.settings);
        out += &fitted(&settings, "", "  ");
    }
    if !seen.left.is_empty() {
        let left = format!(
            "{} in the cluster but in none of the files, {} (add --prune to treat as deleted): {}.",
            counted(seen.left.len(), "mapping", "mappings"),
            if seen.left.len() == 1 {
                "stays"
            } else {
                "stay"
            },
            names(seen.left.iter().map(String::as_str)),
        );
        out += &fitted(&left, "", "  ");
    }
    if !seen.pruned.is_empty() {
        let pruned = format!(
            "{} in the cluster but in none of the files, treated as deleted: {}.",
            counted(seen.pruned.len(), "mapping", "mappings"),
            names(seen.pruned.iter().map(String::as_str)),
        );
        out += &fitted(&pruned, "", "  ");
    }
    out
}

fn texts(aws_auth: &AwsAuthChange) -> String {
    let mut out = String::new();
    for text in &aws_auth.keys {
        let _ = write!(out, "\n{}", text.unified("(current)", "(planned)"));
    }
    out
}

/// What changes in whose the entries are, and not in the text.
fn marks(aws_auth: &AwsAuthChange) -> String {
    let mut out = String::new();
    for entry in &aws_auth.entries {
        let what = match entry.step {
            TextStepKind::Added | TextStepKind::Changed | TextStepKind::Removed => continue,
            TextStepKind::Adopted => "adopted, text unchanged",
            TextStepKind::Marked => "managed, marked again",
            TextStepKind::Unmarked => "already removed, mark removed",
            TextStepKind::Retained => "kept, no longer managed",
        };
        if out.is_empty() {
            let _ = writeln!(out, "\n{}", paint(Colour::Bold, "ownership in aws-auth"));
        }
        let place = match (entry.key, entry.line) {
            (Some(key), Some(line)) => format!("{key} line {line}, "),
            _ => String::new(),
        };
        let arn = entry
            .arn
            .as_deref()
            .unwrap_or("an entry of unknown principal");
        let line = format!(
            "{place}{}: {what}{}",
            visible(arn),
            of(entry.mapping.as_deref())
        );
        out += &fitted(&line, &format!("{} ", paint(Colour::Yellow, "~")), "    ");
    }
    out
}

fn of(mapping: Option<&str>) -> String {
    mapping.map_or_else(String::new, |name| format!(" (mapping {name})"))
}

fn line(action: &Action) -> String {
    let (sign, colour) = match action.kind {
        "create" | "associate" => ("+", Colour::Green),
        "delete" | "disassociate" => ("-", Colour::Red),
        _ => ("~", Colour::Yellow),
    };
    let head = format!("{sign} {:<12}", action.kind);
    let line = format!(
        "{}: {}{}",
        visible(&action.principal_arn),
        change(action),
        of(action.mapping.as_deref())
    );
    fitted(&line, &format!("{} ", paint(colour, &head)), "    ")
}

fn change(action: &Action) -> String {
    let policy = || policy_name(action.policy_arn.as_deref().unwrap_or_default());
    let scope = |scope: &Option<ScopeDocument>| scope.as_ref().map(self::scope).unwrap_or_default();
    match (action.kind, &action.before, &action.after) {
        ("update", Some(before), Some(after)) => differences(before, after),
        ("associate", ..) => match &action.scope_before {
            Some(before) => format!(
                "{} {} → {}",
                policy(),
                self::scope(before),
                scope(&action.scope)
            ),
            None => format!("{} {}", policy(), scope(&action.scope)),
        },
        ("disassociate", ..) => format!("{} {}", policy(), scope(&action.scope_before)),
        ("tag" | "untag", ..) => {
            let tags = action.tags.iter();
            let tags = tags.map(|(key, value)| format!("{key}={}", visible(value)));
            tags.collect::<Vec<_>>().join(" ")
        }
        (_, Some(identity), None) | (_, None, Some(identity)) => whole(identity),
        _ => String::new(),
    }
}

fn scope(scope: &ScopeDocument) -> String {
    if scope.kind == "cluster" {
        return "in all namespaces".to_owned();
    }
    let names: Vec<&str> = scope.namespaces.iter().map(String::as_str).collect();
    format!("in namespaces {}", names.join(", "))
}

fn whole(identity: &EntryDocument) -> String {
    let mut parts = vec![
        format!("type {}", identity.kind),
        format!("username {:?}", identity.username),
    ];
    let groups: Vec<String> = identity
        .kubernetes_groups
        .iter()
        .map(|group| visible(group))
        .collect();
    parts.push(match groups.as_slice() {
        [] => "no groups".to_owned(),
        [group] => format!("group {group}"),
        _ => format!("groups {}", groups.join(", ")),
    });
    if !identity.policies.is_empty() {
        parts.push(format!("policies {}", identity.policies.join(", ")));
    }
    parts.join(", ")
}

fn differences(before: &EntryDocument, after: &EntryDocument) -> String {
    let mut parts = Vec::new();
    if before.username != after.username {
        parts.push(format!(
            "username {:?} → {:?}",
            before.username, after.username
        ));
    }
    let added = after
        .kubernetes_groups
        .difference(&before.kubernetes_groups);
    let removed = before
        .kubernetes_groups
        .difference(&after.kubernetes_groups);
    let added = added.map(|group| format!("+{}", visible(group)));
    let groups: Vec<String> = added
        .chain(removed.map(|group| format!("-{}", visible(group))))
        .collect();
    if !groups.is_empty() {
        parts.push(format!("groups {}", groups.join(" ")));
    }
    parts.join(", ")
}

/// What follows: a line for each moment, kind of change and backend.
fn then(then: &[LaterChanges]) -> String {
    if then.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "\n{}\n",
        paint(Colour::Bold, "later, without further changes")
    );
    for later in then {
        let when = if later.seconds == 0 {
            "right after that".to_owned()
        } else {
            format!("after {}", rounded(later.seconds))
        };
        for (what, arns) in kinds(&later.changes) {
            let line = format!("{when}: {what} {}", names(arns.iter().map(String::as_str)));
            out += &fitted(&line, "  ", "    ");
        }
    }
    out
}

/// A time in seconds, or in minutes where it is hours away.
fn rounded(seconds: i64) -> String {
    let of = |seconds| format!("{:#}", SignedDuration::from_secs(seconds));
    if seconds < 3600 {
        of(seconds)
    } else {
        of((seconds + 30) / 60 * 60)
    }
}

/// The changes by what they are, with the principals that they are about.
fn kinds(changes: &BackendChanges) -> BTreeMap<String, Vec<String>> {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in changes.aws_auth.iter().flat_map(|text| &text.entries) {
        kinds
            .entry(format!("aws-auth, {}:", entry.step.as_str()))
            .or_default()
            .push(visible(entry.arn.as_deref().unwrap_or("unknown")));
    }
    for action in &changes.access_entries {
        let detail = match action.kind {
            "update" => change(action),
            "associate" | "disassociate" => {
                policy_name(action.policy_arn.as_deref().unwrap_or_default()).to_owned()
            }
            _ => String::new(),
        };
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(" {detail}")
        };
        kinds
            .entry(format!("access entries, {}{detail}:", action.kind))
            .or_default()
            .push(visible(&action.principal_arn));
    }
    kinds
}

/// The first names, and how many more there are.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let shown = all.iter().take(MOST_NAMES).copied().collect::<Vec<_>>();
    match all.len().saturating_sub(MOST_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What mappings say that are not active as declared, then what active ones say beside that.
fn said(mappings: &[MappingConditions]) -> String {
    let kinds = [
        (
            "mappings that are not active as declared",
            Colour::Red,
            "!",
            &["Ready"][..],
        ),
        (
            "mappings that are active, and not synced or accepted as a whole",
            Colour::Yellow,
            "~",
            &["Synced", "Accepted"],
        ),
    ];
    let mut out = String::new();
    for (head, colour, sign, types) in kinds {
        let mut said = String::new();
        for mapping in mappings {
            let active = lacks(mapping, &["Ready"]).is_none();
            let Some(told) = lacks(mapping, types).filter(|_| active || types == ["Ready"]) else {
                continue;
            };
            let line = format!("{}: {}: {}", mapping.name, told.reason, told.message);
            said += &fitted(&line, &format!("{} ", paint(colour, sign)), "    ");
        }
        if !said.is_empty() {
            let _ = write!(out, "\n{}\n{said}", paint(Colour::Bold, head));
        }
    }
    out
}

/// The first condition of these types that is not true.
fn lacks<'m>(mapping: &'m MappingConditions, types: &[&str]) -> Option<&'m ConditionDocument> {
    let find = |type_: &&str| mapping.conditions.iter().find(|told| told.type_ == *type_);
    let mut conditions = types.iter().filter_map(find);
    conditions.find(|told| told.status != "True")
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What a step does, as a verb.
const fn verb(step: TextStepKind) -> &'static str {
    match step {
        TextStepKind::Added => "add",
        TextStepKind::Changed => "change",
        TextStepKind::Removed => "remove",
        TextStepKind::Adopted => "adopt",
        TextStepKind::Marked => "mark",
        TextStepKind::Unmarked => "unmark",
        TextStepKind::Retained => "release",
    }
}

/// What changes, counted; `None`: nothing.
fn changes(plan: &PlanDocument) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(aws_auth) = &plan.now.aws_auth {
        let mut counts = Vec::new();
        for kind in TextStepKind::ALL {
            let number = aws_auth.entries.iter().filter(|entry| entry.step == kind);
            let number = number.count();
            if number > 0 {
                counts.push(format!("{number} to {}", verb(kind)));
            }
        }
        let word = if aws_auth.action == "create" {
            "new aws-auth"
        } else {
            "aws-auth"
        };
        parts.push(format!("{word} {}", counts.join(", ")));
    }
    if !plan.now.access_entries.is_empty() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for action in &plan.now.access_entries {
            *counts.entry(action.kind).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(kind, number)| format!("{number} to {kind}"))
            .collect();
        parts.push(format!("access entries {}", counts.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn summary(plan: &PlanDocument) -> String {
    let mut line = match changes(plan) {
        None => "No changes.".to_owned(),
        Some(changes) => format!("Plan: {changes}."),
    };
    let troubled = plan
        .mappings
        .iter()
        .filter(|mapping| lacks(mapping, &["Ready"]).is_some())
        .count();
    if troubled > 0 {
        let counted = counted(troubled, "mapping", "mappings");
        let _ = write!(line, " Not active as declared: {counted}.");
    }
    line
}
