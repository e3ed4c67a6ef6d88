//! Why a manifest can't be read, or differs from what its author intended.

use std::ops::Range;

use serde_json::Value as Json;

use super::defect::DefectKind;
use super::flow::nesting;
use super::letters::as_seen;
use super::template::{TemplateSyntax, template};
use super::{characters, in_line};
use crate::aws_auth::{ProblemCause, Section};
use crate::yaml::{FaultKind, Lines, almost};

/// What is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestDefect {
    pub(crate) cause: ProblemCause,
    pub(crate) span: Range<usize>,
}

/// What was copied along with a manifest, so that its lines are none of it any more. YAML may read them all the same.
pub(crate) fn copied_along(text: &str) -> Vec<ManifestDefect> {
    let begins = |start: &str| text.lines().any(|line| line.starts_with(start));
    if begins("apiVersion:") || begins("kind:") {
        return Vec::new();
    }
    let lines = Lines::new(text);
    let is_copied = |kind: &DefectKind| {
        matches!(
            kind,
            DefectKind::LinePrefix { .. } | DefectKind::MergeConflict
        )
    };
    let found = characters(text).into_iter();
    found
        .filter(|found| is_copied(&found.kind))
        .map(|found| ManifestDefect {
            span: in_line(text, &lines, found.line, &found.at),
            cause: ProblemCause::Defect(found.kind),
        })
        .collect()
}

/// Why a manifest can't be read: the causes that can be recognised, or else what the reading ran into at `at`.
pub(crate) fn unreadable(text: &str, at: usize, kind: Option<FaultKind>) -> Vec<ManifestDefect> {
    let lines = Lines::new(text);
    let defect = |kind: DefectKind, span: Range<usize>| ManifestDefect {
        cause: ProblemCause::Defect(kind),
        span,
    };
    if let Some(TemplateSyntax { engine, span }) = template(text) {
        let found = text[span.clone()].to_owned();
        return vec![defect(DefectKind::Template { engine, found }, span)];
    }
    let characters = characters(text).into_iter().map(|found| {
        let span = in_line(text, &lines, found.line, &found.at);
        defect(found.kind, span)
    });
    let mut found: Vec<ManifestDefect> = characters.collect();
    found.extend(
        lost_indentation(text, &lines).map(|span| defect(DefectKind::ListNotIndented, span)),
    );
    if !found.is_empty() {
        return found;
    }
    if let Some(span) = lost_line_breaks(text) {
        return vec![defect(DefectKind::LineBreaksLost, span)];
    }
    let at = at.min(text.len());
    let line = lines.line(lines.number(at));
    let content = &text[line.clone()];
    let indent = content.len() - content.trim_start().len();
    if content[..indent].contains('\t') {
        return vec![defect(DefectKind::Tab, line.start..line.start + indent)];
    }
    if let Some((kind, span)) = block(text, &lines, at) {
        return vec![defect(kind, span)];
    }
    if kind == Some(FaultKind::TextAfterBlockHeader) {
        let from = content.find(['|', '>']).unwrap_or_default();
        return vec![defect(
            DefectKind::TextBehindBar,
            line.start + from..line.end,
        )];
    }
    if let Some((bracket, span)) = open_bracket(text, &lines, at) {
        return vec![defect(DefectKind::BracketNotClosed { bracket }, span)];
    }
    let rest = lines.rest(at).trim_end();
    kind.map(|kind| ManifestDefect {
        cause: ProblemCause::Yaml(kind),
        span: at..at + rest.len(),
    })
    .into_iter()
    .collect()
}

/// A list or mapping in brackets goes over so many lines at most.
const BRACKET_LINES: usize = 20;

/// A bracket that opens before a fault and is still open there.
fn open_bracket(text: &str, lines: &Lines<'_>, at: usize) -> Option<(char, Range<usize>)> {
    let fault = lines.number(at.min(text.len()));
    // Of the line of the fault itself, what is before it.
    let begins = lines.line(fault).start;
    (fault.saturating_sub(BRACKET_LINES)..=fault)
        .rev()
        .find_map(|number| {
            let line = lines.line(number);
            let written = text[line.clone()].trim_end();
            let (key, value) = written.split_once(": ")?;
            let value = value.trim_start();
            let bracket = value.chars().next().filter(|c| matches!(c, '[' | '{'))?;
            let start = line.start + written.len() - value.len();
            let until = if number == fault { at } else { begins };
            let is_open = start < until
                && !key.contains('#')
                && !value.starts_with("{{")
                && nesting(&text[start..until]) > 0;
            is_open.then(|| (bracket, start..start + value.len()))
        })
}

/// A manifest, or what `kubectl describe` prints, in one line.
fn lost_line_breaks(text: &str) -> Option<Range<usize>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let line = lines.next()?.trim();
    let starts = ["apiVersion:", "kind:", "Name:"];
    let is_start = starts.iter().any(|start| line.starts_with(start));
    let is_lost = lines.next().is_none() && is_start && line.matches(": ").count() > 2;
    let at = text.find(line)?;
    is_lost.then(|| at..at + line.len())
}

/// A key of aws-auth whose list begins in its own column, although the key belongs below `data:`.
fn lost_indentation(text: &str, lines: &Lines<'_>) -> Option<Range<usize>> {
    (0..lines.count().saturating_sub(1)).find_map(|number| {
        let line = &text[lines.line(number)];
        let key = line.split(':').next()?;
        let is_section = Section::ALL.iter().any(|section| section.key() == key);
        let next = &text[lines.line(number + 1)];
        (is_section && next.starts_with('-')).then(|| lines.line(number + 1))
    })
}

/// The fields of a ConfigMap (Kubernetes API reference, `ConfigMap` v1).
const KNOWN: [&str; 6] = [
    "apiVersion",
    "kind",
    "metadata",
    "data",
    "binaryData",
    "immutable",
];

/// Fields at the top of a ConfigMap that Kubernetes does not have, and keys of aws-auth where EKS does not read them. kubectl refuses
/// such a manifest, or it holds no aws-auth.
pub(crate) fn unknown_fields(value: &Json) -> Vec<(String, DefectKind)> {
    let Some(fields) = value.as_object() else {
        return Vec::new();
    };
    let is_section = |key: &String| Section::ALL.iter().any(|it| almost(key, it.key()));
    let mut found = Vec::new();
    for (field, value) in fields {
        if field == "binaryData" {
            let has_section = value
                .as_object()
                .is_some_and(|it| it.keys().any(is_section));
            found.extend(has_section.then(|| (field.clone(), DefectKind::BinaryData)));
            continue;
        }
        // `beside` reports those that belong below another field.
        let is_beside = matches!(field.as_str(), "name" | "namespace")
            || Section::ALL.iter().any(|section| section.key() == field);
        // A directive of a patch of kustomize.
        let is_directive = field.starts_with('$');
        if is_beside || is_directive || KNOWN.contains(&field.as_str()) {
            continue;
        }
        let plain = as_seen(field);
        let known = KNOWN.into_iter().find(|known| almost(&plain, known));
        let holds_data = value
            .as_object()
            .is_some_and(|it| it.contains_key("data") || it.keys().any(is_section));
        let fix = match (known, field.split_once(':')) {
            (Some(known), _) => format!("write `{known}:`"),
            (None, Some((key, rest))) if KNOWN.contains(&key) => {
                format!(
                    "write `{key}:` on a line of its own, and `{rest}:` below it, indented by 2 spaces"
                )
            }
            (None, _) if field == "stringData" => {
                "write `data:`: only a Secret has `stringData`".to_owned()
            }
            (None, _) if holds_data => {
                "write `data:` in the first column, and the keys of aws-auth directly below it"
                    .to_owned()
            }
            (None, _) => "remove it: a ConfigMap has its keys under `data:`".to_owned(),
        };
        let field = field.clone();
        let kind = DefectKind::UnknownManifestField {
            field: field.clone(),
            fix,
        };
        found.push((field, kind));
    }
    found
}

/// What is wrong with the lines of a block, or with the line that begins it.
fn block(text: &str, lines: &Lines<'_>, at: usize) -> Option<(DefectKind, Range<usize>)> {
    let fault = lines.number(at.min(text.len()));
    let line = |number: usize| text[lines.line(number)].trim_end();
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let span = |number: usize| {
        let range = lines.line(number);
        range.start + indent(line(number))..range.start + line(number).len()
    };
    let mut number = 0;
    while number <= fault.min(lines.count() - 1) {
        let header = number;
        number += 1;
        if let Some(key) = broken_header(line(header)) {
            return Some((DefectKind::BlockHeader { key }, span(header)));
        }
        let Some(key) = block_key(line(header)) else {
            continue;
        };
        let mut content = (number..lines.count()).filter(|it| !line(*it).trim().is_empty());
        let first = content.next()?;
        let (outer, inner) = (indent(line(header)), indent(line(first)));
        if inner <= outer {
            if line(first).trim_start().starts_with("- ") && fault >= first {
                let by = outer + 2 - inner;
                let key = key.to_owned();
                return Some((DefectKind::BlockNotIndented { key, by }, span(first)));
            }
            continue;
        }
        let end = content.find(|it| indent(line(*it)) < inner)?;
        let ends = line(end).trim_start();
        let is_comment = ends.starts_with('#');
        let word = ends.trim_start_matches("- ").split(':').next();
        let is_part = ends.starts_with("- ") || word.is_some_and(super::is_field);
        // A comment is at fault only where the text goes on behind it.
        let goes_on = content
            .next()
            .is_some_and(|next| indent(line(next)) >= inner);
        let is_wrong = is_part || (is_comment && goes_on) || indent(line(end)) > outer;
        if fault >= end && is_wrong {
            let kind = DefectKind::BlockEnded {
                key: key.to_owned(),
                by: inner - indent(line(end)),
                is_comment,
            };
            return Some((kind, span(end)));
        }
        number = end;
    }
    None
}

/// The key of a line that begins a block: `mapRoles: |`.
fn block_key(line: &str) -> Option<&str> {
    let (key, header) = line.trim_start().split_once(':')?;
    let header = header.trim();
    let is_block = header.starts_with(['|', '>'])
        && header[1..]
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-'));
    (is_block && !key.contains(' ')).then_some(key)
}

/// The key of a line that was meant to begin a block: `mapRoles |`, `mapRoles:|`, `mapRoles: \`.
fn broken_header(line: &str) -> Option<&'static str> {
    let content = line.trim();
    let key = Section::ALL
        .into_iter()
        .map(Section::key)
        .find(|key| content.starts_with(key))?;
    let rest = &content[key.len()..];
    let sign = rest.trim_start_matches([' ', ':', '=']);
    let is_block = matches!(
        sign,
        "|" | "|-" | "|+" | ">" | ">-" | "\\" | "/" | "l" | "I"
    );
    let is_right =
        rest.starts_with(": ") && sign.starts_with(['|', '>']) && rest[1..].trim_start() == sign;
    (is_block && !is_right).then_some(key)
}
