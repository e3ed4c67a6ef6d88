//! The result of a check.

use std::ops::Range;

use super::code::{Code, Severity};
use crate::manifest::Source;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) code: Code,
    /// The number of its source among [`LintReport::sources`].
    pub(crate) source: usize,
    pub(crate) span: Range<usize>,
    /// What is wrong, in a sentence.
    pub(crate) title: String,
    /// What the authenticator, or the API server, then sees.
    pub(crate) label: String,
    pub(crate) fix: String,
    pub(crate) fixable: bool,
}

/// A text that diagnostics point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceText {
    /// The text, and what to call it.
    pub(crate) source: Source,
    /// Where it was taken from, if its places can't be determined there: the number of that text and a byte of it.
    pub(crate) within: Option<(usize, usize)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LintReport {
    /// The texts that were checked.
    pub(crate) sources: Vec<SourceText>,
    /// The findings, in the order of the texts and of their places.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl LintReport {
    /// Whether a finding is an error.
    #[must_use]
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|found| found.code.severity() == Severity::Error)
    }

    /// Takes over the findings of another report. Its sources are called by the name of the cluster that they are of.
    pub(crate) fn append(&mut self, cluster: &str, other: Self) {
        let first = self.sources.len();
        self.sources
            .extend(other.sources.into_iter().map(|mut text| {
                text.source.name = format!("{cluster}: {}", text.source.name);
                text.within = text.within.map(|(source, at)| (first + source, at));
                text
            }));
        self.diagnostics
            .extend(other.diagnostics.into_iter().map(|mut found| {
                found.source += first;
                found
            }));
    }

    /// How many findings are of a severity.
    #[must_use]
    pub(crate) fn count(&self, severity: Severity) -> usize {
        let found = self.diagnostics.iter();
        found
            .filter(|found| found.code.severity() == severity)
            .count()
    }

    pub(super) fn sort(&mut self) {
        self.diagnostics.sort_by(|a, b| {
            (a.source, a.span.start, a.code, &a.title).cmp(&(
                b.source,
                b.span.start,
                b.code,
                &b.title,
            ))
        });
    }
}

/// A finding before it is known where its text is.
#[derive(Clone, Debug)]
pub(super) struct LintFinding<P> {
    pub(super) code: Code,
    pub(super) at: P,
    pub(super) title: String,
    pub(super) label: String,
    pub(super) fix: String,
    /// What `--fix` writes.
    pub(super) edits: Vec<Edit>,
    /// What the fix says, where it is a change of some bytes that only a person can decide.
    pub(super) proposed: Vec<Edit>,
}

/// A change of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}
