//! Reads one section as the authenticator's `ParseMap` does, with positions in the text.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use super::decode::{self, Data, Value};
use super::entry::Fields;
use super::{
    Entry, Places, Problem, ProblemCause, ProblemDetail, ProblemKind, Section, SectionPlaces,
    SectionView, accounts, diagnosis, entry,
};
use crate::yaml::{self, Fault, Lines, NodeId, NodeKind, Tree};

/// Longest `offending`, in characters.
const OFFENDING: usize = 60;

struct SectionReader<'t> {
    section: Section,
    text: &'t str,
    lines: Lines<'t>,
}

impl SectionReader<'_> {
    fn problem(&self, kind: ProblemKind, span: Range<usize>, cause: ProblemCause) -> Problem {
        // A byte is named, not a place between two; at the end of the text there is none.
        let (line, column) = self.lines.position(span.start);
        let found = if span.is_empty() {
            self.lines.rest(span.start)
        } else {
            &self.text[span.clone()]
        };
        let found = found
            .split(['\n', '\r'])
            .next()
            .unwrap_or_default()
            .trim_end();
        let mut offending: String = found.chars().take(OFFENDING).collect();
        if offending.len() < found.len() {
            offending.push('…');
        }
        Problem {
            section: self.section,
            kind,
            line,
            column,
            offending,
            message: format!("{}: {}", cause.what(), cause.fix(self.section)),
            span,
            detail: Box::new(ProblemDetail {
                cause,
                lines: line - 1..line,
                repaired: Vec::new(),
            }),
        }
    }

    fn fault(&self, fault: &Fault) -> Problem {
        let at = fault.at.min(self.text.len());
        let rest = self.lines.rest(at).trim_end();
        self.problem(
            ProblemKind::SectionDropped,
            at..at + rest.len(),
            ProblemCause::Yaml(fault.kind),
        )
    }

    fn at_node(
        &self,
        kind: ProblemKind,
        tree: &Tree,
        node: NodeId,
        cause: ProblemCause,
    ) -> Problem {
        let span = &tree.node(node).span;
        let clamp = |at: usize| at.min(self.text.len());
        self.problem(kind, clamp(span.start)..clamp(span.end), cause)
    }
}

/// Reads a section from the key's value.
pub(super) fn section(section: Section, text: Option<&str>) -> SectionView {
    text.map(|text| with_tree(section, text).0)
        .unwrap_or_default()
}

/// Reads a section, and gives back the tree that it was read from, unless that is broken, skipped or no list of entries:
/// a text of a megabyte is not to be read twice.
pub(super) fn with_tree(section: Section, text: &str) -> (SectionView, Option<Tree>) {
    let (view, tree, _) = with_fields(section, text);
    (view, tree)
}

/// Reads a section without asking for the causes of its faults.
pub(super) fn raw(section: Section, text: &str) -> SectionView {
    read(section, text).0
}

/// The same, with the fields of each entry that is kept; of accounts their nodes.
fn with_fields(section: Section, text: &str) -> (SectionView, Option<Tree>, Vec<Fields>) {
    let (mut view, tree, fields) = read(section, text);
    explain(section, text, &mut view);
    (view, tree, fields)
}

/// Puts the causes of faults in place of what the reading ran into.
fn explain(section: Section, text: &str, view: &mut SectionView) {
    let Some(diagnosis) = diagnosis::diagnose(section, text, view) else {
        return;
    };
    let reading = SectionReader {
        section,
        text,
        lines: Lines::new(text),
    };
    let was = std::mem::take(&mut view.problems);
    // By line: there can be as many defects as problems.
    let mut kinds: BTreeMap<usize, ProblemKind> = BTreeMap::new();
    for problem in &was {
        let kind = kinds.entry(problem.line).or_insert(problem.kind);
        *kind = problem.kind.min(*kind);
    }
    let mut unexplained: BTreeSet<usize> = kinds.keys().copied().collect();
    for defect in &diagnosis.defects {
        let covered = defect.line + 1..=defect.through + 1;
        let kind = if view.broken.is_some() {
            ProblemKind::SectionDropped
        } else {
            let kinds = kinds.range(covered.clone()).map(|(_, kind)| *kind);
            kinds.min().unwrap_or(ProblemKind::Misread)
        };
        let explained: Vec<usize> = unexplained.range(covered).copied().collect();
        for line in explained {
            unexplained.remove(&line);
        }
        let span = diagnosis::in_line(text, &reading.lines, defect.line, &defect.at);
        let mut problem = reading.problem(kind, span, ProblemCause::Defect(defect.kind.clone()));
        let mut defect = defect.clone();
        if defect.kind == diagnosis::DefectKind::MissingGroups {
            // With the line that the list was taken for a part of.
            defect.line = defect.line.saturating_sub(1);
        }
        let repaired = diagnosis.repaired.iter();
        let repaired = repaired.flat_map(|repaired| repaired.lines(&defect));
        problem.detail.repaired = repaired.map(str::to_owned).collect();
        problem.detail.lines = defect.line..defect.through + 1;
        view.problems.push(problem);
    }
    if view.broken.is_some() {
        // A fault that shows once the others are fixed, where it comes from.
        let rest = diagnosis.repaired.as_ref().and_then(|repaired| {
            let broken = raw(section, &repaired.text).broken?;
            let span = repaired.original(&broken.span, text, &reading.lines);
            Some(reading.problem(ProblemKind::SectionDropped, span, broken.detail.cause))
        });
        view.problems.extend(rest);
        view.broken = view.problems.first().cloned();
    } else {
        let rest = was.into_iter();
        let rest = rest.filter(|problem| unexplained.contains(&problem.line));
        view.problems.extend(rest);
        view.problems.sort_by_key(|problem| problem.span.start);
    }
}

fn read(section: Section, text: &str) -> (SectionView, Option<Tree>, Vec<Fields>) {
    let mut fields = Vec::new();
    let mut view = SectionView {
        present: true,
        ..SectionView::default()
    };
    if is_skipped(text) {
        return (view, None, fields);
    }
    let reading = SectionReader {
        section,
        text,
        lines: Lines::new(text),
    };
    let tree = match section {
        Section::Accounts => read_accounts(&reading, &mut view),
        Section::Roles | Section::Users => read_entries(&reading, &mut view, &mut fields),
    };
    (view, tree, fields)
}

/// Reads a section, with the places of its parts.
pub(super) fn placed(section: Section, text: &str) -> (SectionView, SectionPlaces) {
    let (view, tree, fields) = with_fields(section, text);
    let Some(tree) = tree else {
        return (view, SectionPlaces::default());
    };
    let span = |node: NodeId| {
        let span = &tree.node(node).span;
        span.start.min(text.len())..span.end.min(text.len())
    };
    let spans = |nodes: &[NodeId]| nodes.iter().map(|node| span(*node)).collect();
    let items = item_nodes(&tree);
    let places = |(entry, fields): (&Entry, &Fields)| Places {
        arn: fields.arn.map(span),
        username: fields.username.map(span),
        groups: fields.groups.map(span),
        each_group: spans(&fields.each_group),
        unknown: spans(&fields.unknown),
        repeated: spans(&repeated(&tree, items[entry.item])),
    };
    let entries = view.entries.iter().zip(&fields).map(places).collect();
    // Where an item is refused, accounts and items are not in step.
    let in_step = view.accounts.len() == items.len();
    let accounts = if in_step { spans(items) } else { Vec::new() };
    let behind = text.get(tree.end..).unwrap_or_default();
    let behind = behind.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '.'));
    let ignored = (!behind.is_empty()).then(|| text.len() - behind.len()..text.len());
    let places = SectionPlaces {
        entries,
        accounts,
        ignored,
    };
    (view, places)
}

/// The keys of an item that are given again further on, where the later one counts.
fn repeated(tree: &Tree, item: NodeId) -> Vec<NodeId> {
    let NodeKind::Mapping { pairs, .. } = &tree.node(item).kind else {
        return Vec::new();
    };
    let name = |node: &NodeId| match &tree.node(*node).kind {
        NodeKind::Scalar { value, .. } => Some(entry::fold_field(value)),
        NodeKind::Sequence { .. } | NodeKind::Mapping { .. } | NodeKind::Alias { .. } => None,
    };
    let mut later = HashSet::new();
    let keys = pairs.iter().step_by(2).rev();
    let mut repeated: Vec<NodeId> = keys
        .filter(|key| name(key).is_some_and(|name| !later.insert(name)))
        .copied()
        .collect();
    repeated.reverse();
    repeated
}

/// Values that the authenticator does not even parse: Go's `strings.TrimSpace`, then one of these.
pub(super) fn is_skipped(text: &str) -> bool {
    matches!(text.trim(), "" | "``" | "\"\"" | "''")
}

/// Kubernetes' `yaml.IsJSONBuffer`: such a text is JSON to the authenticator, whatever else it may be.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn drop_section(view: &mut SectionView, problem: Problem) {
    view.broken = Some(problem.clone());
    view.problems.push(problem);
}

fn read_entries(
    reading: &SectionReader<'_>,
    view: &mut SectionView,
    fields: &mut Vec<Fields>,
) -> Option<Tree> {
    if is_json(reading.text) {
        let start = reading.text.len() - reading.text.trim_start().len();
        let span = start..start + reading.lines.rest(start).trim_end().len();
        drop_section(
            view,
            reading.problem(ProblemKind::SectionDropped, span, ProblemCause::Json),
        );
        return None;
    }
    let read = yaml::compose(reading.text)
        .and_then(|tree| decode::decode(&tree).map(|value| (tree, value)));
    let (tree, value) = match read {
        Ok((tree, None)) => return Some(tree),
        Ok((tree, Some(value))) => (tree, value),
        Err(fault) => {
            drop_section(view, reading.fault(&fault));
            return None;
        }
    };
    let items = match &value.data {
        Data::Seq(items) => items,
        Data::Null => return Some(tree),
        Data::Bool | Data::Number | Data::Str(_) | Data::Map(_) => {
            drop_section(
                view,
                reading.at_node(
                    ProblemKind::SectionDropped,
                    &tree,
                    value.node,
                    ProblemCause::NoList,
                ),
            );
            return None;
        }
    };
    for (index, (item, node)) in items.iter().zip(item_nodes(&tree)).enumerate() {
        fields.extend(read_item(reading, view, &tree, index, item, *node));
    }
    view.problems.sort_by_key(|p| p.span.start);
    Some(tree)
}

/// The nodes of the root's items as they are in the text, where an alias is not what it refers to.
fn item_nodes(tree: &Tree) -> &[NodeId] {
    match tree.root.map(|root| &tree.node(root).kind) {
        Some(yaml::NodeKind::Sequence { items, .. }) => items,
        _ => &[],
    }
}

fn read_item(
    reading: &SectionReader<'_>,
    view: &mut SectionView,
    tree: &Tree,
    index: usize,
    item: &Value,
    node: NodeId,
) -> Option<Fields> {
    let decoded = entry::decode(reading.section, item);
    if let Some(dropped) = decoded.dropped {
        let problem = reading.at_node(ProblemKind::EntryDropped, tree, dropped.node, dropped.cause);
        view.problems.push(problem);
        return None;
    }
    for mistyped in decoded.mistyped {
        view.problems.push(reading.at_node(
            ProblemKind::FieldEmptied,
            tree,
            mistyped.node,
            mistyped.cause,
        ));
    }
    let span = tree.node(node).span.clone();
    let (line, column) = reading.lines.position(span.start);
    view.entries.push(Entry {
        section: reading.section,
        item: index,
        span,
        line,
        column,
        arn: decoded.arn,
        username: decoded.username,
        groups: decoded.groups,
        sso: decoded.sso,
    });
    Some(decoded.fields)
}

fn read_accounts(reading: &SectionReader<'_>, view: &mut SectionView) -> Option<Tree> {
    let tree = match yaml::compose(reading.text) {
        Ok(tree) => tree,
        Err(fault) => {
            drop_section(view, reading.fault(&fault));
            return None;
        }
    };
    let found = accounts::decode(&tree);
    view.accounts = found.ids;
    for (node, cause) in found.refused {
        let whole = Some(node) == tree.root;
        let kind = if whole {
            ProblemKind::SectionDropped
        } else {
            ProblemKind::EntryDropped
        };
        let problem = reading.at_node(kind, &tree, node, cause);
        if whole {
            view.broken = Some(problem.clone());
        }
        view.problems.push(problem);
    }
    if let Some(fault) = found.fault {
        drop_section(view, reading.fault(&fault));
        return None;
    }
    view.broken.is_none().then_some(tree)
}
