//! Why a manifest can't be read, or differs from what its author intended.

use std::ops::Range;

use super::defect::DefectKind;
use super::template::{TemplateSyntax, template};
use super::{characters, in_line};
use crate::aws_auth::{ProblemCause, Section};
use crate::yaml::{FaultKind, Lines};

/// What is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestDefect {
    pub(crate) cause: ProblemCause,
    pub(crate) span: Range<usize>,
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
    let at = at.min(text.len());
    let line = lines.line(lines.number(at));
    let content = &text[line.clone()];
    let indent = content.len() - content.trim_start().len();
    if content[..indent].contains('\t') {
        return vec![defect(DefectKind::Tab, line.start..line.start + indent)];
    }
    if kind == Some(FaultKind::TextAfterBlockHeader) {
        let from = content.find(['|', '>']).unwrap_or_default();
        return vec![defect(
            DefectKind::TextBehindBar,
            line.start + from..line.end,
        )];
    }
    let rest = lines.rest(at).trim_end();
    kind.map(|kind| ManifestDefect {
        cause: ProblemCause::Yaml(kind),
        span: at..at + rest.len(),
    })
    .into_iter()
    .collect()
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
