//! What a check reports.

use std::ops::Range;

use super::code::{Code, Severity};
use crate::manifest::Source;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind of finding.
    pub code: Code,
    /// The number of its source among [`LintReport::sources`].
    pub source: usize,
    /// The bytes at fault.
    pub span: Range<usize>,
    /// What is wrong, in a sentence.
    pub title: String,
    /// What the authenticator, or the API server, then sees.
    pub label: String,
    /// How to fix it.
    pub fix: String,
    /// Whether `--fix` applies it.
    pub fixable: bool,
}

/// A text that diagnostics point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// The text, and what to call it.
    pub source: Source,
    /// Where it was taken from, if its places can't be told there: the number of that text and a byte of it.
    pub within: Option<(usize, usize)>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintReport {
    /// The texts that were checked.
    pub sources: Vec<SourceText>,
    /// The findings, in the order of the texts and of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl LintReport {
    /// Whether a finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|found| found.code.severity() == Severity::Error)
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

/// A finding before it is known where its text stands.
#[derive(Clone, Debug)]
pub(super) struct LintFinding<P> {
    pub(super) code: Code,
    pub(super) at: P,
    pub(super) title: String,
    pub(super) label: String,
    pub(super) fix: String,
    /// What `--fix` would do.
    pub(super) edits: Vec<Edit>,
}

/// A change of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}
