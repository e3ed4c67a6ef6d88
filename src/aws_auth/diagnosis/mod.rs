//! Diagnoses a text by the cause of each error, for people only. EKS sees what go-yaml reads.
//!
//! The lines are read by what people write into an aws-auth, whatever YAML would make of them, and put in order. What had to change on
//! the way are the defects. The text in order is read as the authenticator would read it: a defect that changes nothing there is none.

mod content;
mod defect;
mod flow;
mod layout;
mod letters;
mod manifest;
mod normal;
mod structure;
mod template;
mod unfilled;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(crate) use self::defect::{Defect, DefectKind};
pub(crate) use self::letters::as_seen;
pub(crate) use self::manifest::{ManifestDefect, copied_along, unknown_fields, unreadable};
pub(crate) use self::normal::{is_describe_line, is_describe_output};
pub(crate) use self::template::{PLACEHOLDERS, TemplateSyntax, template};
pub(crate) use self::unfilled::unfilled;
use super::entry::fold_field;
use super::{Section, SectionView, read};
use crate::yaml::Lines;

/// The command that prints aws-auth as YAML.
pub(crate) const GET: &str = "kubectl get configmap -n kube-system aws-auth -o yaml";

/// The fields of an entry that people write.
const FIELDS: [&str; 4] = ["rolearn", "userarn", "username", "groups"];

fn field_name(key: &str) -> String {
    fold_field(key.trim().trim_matches(['"', '\'']))
}

fn is_field(word: &str) -> bool {
    FIELDS.contains(&field_name(word).as_str())
}

/// Whether a name is one of the fields that people write in entries.
pub(crate) fn is_entry_field(name: &str) -> bool {
    is_field(name)
}

fn is_arn_field(name: &str) -> bool {
    name.ends_with("arn")
}

/// What was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// In the order of their lines.
    pub(crate) defects: Vec<Defect>,
    /// The text with all of them fixed; `None` where that can't be known.
    pub(crate) repaired: Option<RepairedText>,
}

/// A text in which the defects are fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepairedText {
    pub(crate) text: String,
    /// Where each line ends, in bytes.
    ends: Vec<usize>,
    /// For each line the line of the original that it comes from, counted from 0: they come in its order.
    origins: Vec<usize>,
}

impl RepairedText {
    fn new(lines: Vec<(usize, String)>) -> Self {
        let (origins, lines): (Vec<usize>, Vec<String>) = lines.into_iter().unzip();
        let text = lines.join("\n");
        let ends = text.match_indices('\n').map(|(at, _)| at);
        Self {
            ends: ends.chain([text.len()]).collect(),
            text,
            origins,
        }
    }

    /// The lines in place of those of a defect.
    pub(crate) fn lines(&self, defect: &Defect) -> Vec<&str> {
        let from = self.origins.partition_point(|it| *it < defect.line);
        let to = self.origins.partition_point(|it| *it <= defect.through);
        let line = |number: usize| {
            let start = number
                .checked_sub(1)
                .map_or(0, |before| self.ends[before] + 1);
            &self.text[start..self.ends[number]]
        };
        (from..to).map(line).collect()
    }

    /// The line of the original from which a byte comes, counted from 0.
    pub(crate) fn origin(&self, at: usize) -> usize {
        let line = self.ends.partition_point(|end| *end < at);
        let last = self.origins.last().copied().unwrap_or_default();
        self.origins.get(line).copied().unwrap_or(last)
    }

    /// The bytes of the original from which some bytes come: the same text in their line, or that line.
    pub(crate) fn original(
        &self,
        span: &Range<usize>,
        original: &str,
        lines: &Lines<'_>,
    ) -> Range<usize> {
        let found = self.text.get(span.clone()).unwrap_or_default();
        let found = found.lines().next().unwrap_or_default().trim();
        in_line(original, lines, self.origin(span.start), found)
    }
}

/// Where a text is in a line, or else what the line holds.
pub(crate) fn in_line(text: &str, lines: &Lines<'_>, number: usize, found: &str) -> Range<usize> {
    let line = lines.line(number.min(lines.count() - 1));
    let content = &text[line.clone()];
    let bare = found.trim_matches(['"', '\'']);
    for found in [found, bare] {
        if !found.is_empty()
            && let Some(at) = content.find(found)
        {
            return line.start + at..line.start + at + found.trim_end().len();
        }
    }
    let start = line.start + (content.len() - content.trim_start().len());
    start..start.max(line.start + content.trim_end().len())
}

/// What is wrong with the characters of a text, whatever it holds.
pub(crate) fn characters(text: &str) -> Vec<Defect> {
    match normal::merge_conflict(text) {
        Some(conflict) => vec![conflict],
        None => normal::normal(text).1,
    }
}

/// Why a text is not what its author meant; `None` where nothing but the reading itself shows a fault.
pub(crate) fn diagnose(section: Section, text: &str, view: &SectionView) -> Option<Diagnosis> {
    if let Some(TemplateSyntax { engine, span }) = template(text) {
        let line = text[..span.start].matches('\n').count();
        let found = text[span].to_owned();
        let kind = DefectKind::Template {
            engine,
            found: found.clone(),
        };
        return Some(Diagnosis {
            defects: vec![Defect::new(kind, line, found)],
            repaired: None,
        });
    }
    if !is_suspicious(text, view) {
        return None;
    }
    if let Some(conflict) = normal::merge_conflict(text) {
        return Some(Diagnosis {
            defects: vec![conflict],
            repaired: None,
        });
    }
    let (drafts, mut defects) = normal::normal(text);
    let structure = structure::structure(section, &drafts);
    if structure.exotic && view.broken.is_none() {
        return None;
    }
    let (lines, found) = layout::lay_out(section, structure);
    defects.extend(found);
    merge(&mut defects);
    if defects.is_empty() {
        return None;
    }
    let repaired = RepairedText::new(lines);
    let read = read::raw(section, &repaired.text);
    let is_same = view.broken.is_none() && (read.broken.is_some() || same_effect(view, &read));
    (!is_same).then_some(Diagnosis {
        defects,
        repaired: Some(repaired),
    })
}

/// Whether a text can hold something else than its author meant: it is read in full then.
fn is_suspicious(text: &str, view: &SectionView) -> bool {
    let blank = |value: &str| {
        value.is_empty()
            || !value.is_ascii()
            || value.ends_with([',', ';'])
            || value.contains(|c: char| c.is_whitespace() || matches!(c, '\\' | '"' | '\''))
    };
    let entry = |entry: &super::Entry| {
        blank(&entry.arn)
            || blank(&entry.username)
            || entry.groups.is_empty()
            || entry.groups.iter().any(|group| blank(group))
    };
    !view.problems.is_empty()
        || view.entries.iter().any(entry)
        || view.accounts.iter().any(|account| blank(account))
        || text.matches("arn:aws").count() > view.entries.len()
}

fn same_effect(one: &SectionView, other: &SectionView) -> bool {
    let of = |view: &SectionView| {
        let entries = view.entries.iter();
        let entries: Vec<_> = entries
            .map(|entry| {
                (
                    entry.arn.clone(),
                    entry.username.clone(),
                    entry.groups.clone(),
                )
            })
            .collect();
        let problems = view.problems.iter();
        let problems: Vec<_> = problems
            .map(|problem| (problem.kind, problem.line))
            .collect();
        (entries, problems, view.accounts.clone())
    };
    of(one) == of(other)
}

/// So many defects of one line are told. With each goes all that the line becomes, and a line of a megabyte can have as many defects as it
/// becomes lines.
const MOST_IN_LINE: usize = 8;

/// Puts what is found twice into one: a missing dash that takes its entry along.
fn merge(defects: &mut Vec<Defect>) {
    defects.sort_by_key(|defect| defect.line);
    let moved: BTreeMap<usize, usize> = defects
        .iter()
        .rev()
        .filter(|it| it.kind == DefectKind::MissingDash { what: "" })
        .map(|it| (it.line, it.through))
        .collect();
    defects.retain(|it| it.kind != DefectKind::MissingDash { what: "" });
    // The width of a tab is unknown, so that its line has no wrong column.
    let tabs = defects.iter().filter(|it| it.kind == DefectKind::Tab);
    let tabs: BTreeSet<usize> = tabs.map(|it| it.line).collect();
    defects.retain(|it| {
        !matches!(it.kind, DefectKind::Indentation { .. }) || !tabs.contains(&it.line)
    });
    let mut in_line = (0, 0);
    defects.retain(|it| {
        in_line = if it.line == in_line.0 {
            (it.line, in_line.1 + 1)
        } else {
            (it.line, 1)
        };
        in_line.1 <= MOST_IN_LINE
    });
    for defect in defects {
        let with = moved.get(&defect.line);
        if let (DefectKind::MissingDash { .. }, Some(through)) = (&defect.kind, with) {
            defect.through = defect.through.max(*through);
        }
    }
}
