//! A diagnostic with its source line and a caret, as rustc shows them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

pub(crate) use crate::lint::Severity;

/// What is to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) severity: Severity,
    /// A stable code such as `IM012`; empty for none.
    pub(crate) code: &'a str,
    pub(crate) title: &'a str,
    /// Where the text comes from: a path, or a key of aws-auth.
    pub(crate) origin: &'a str,
    /// The text.
    pub(crate) source: &'a str,
    /// The bytes at fault.
    pub(crate) span: Range<usize>,
    /// What follows from it, beside the carets.
    pub(crate) label: &'a str,
    /// Lines below, each with its word: `note` or `help`.
    pub(crate) below: Vec<(Below, String)>,
}

/// What a line below the source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// Why it matters.
    Note,
    /// How to mend it.
    Help,
}

/// Renders it, with colours, which the writer takes out where there is no terminal.
pub(crate) fn render(shown: &Shown<'_>) -> String {
    let level = match shown.severity {
        Severity::Note => Level::NOTE,
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let (line, span, number) = first_line(shown.source, &shown.span);
    let snippet = Snippet::source(line)
        .line_start(number)
        .path(shown.origin)
        .annotation(AnnotationKind::Primary.span(span).label(shown.label));
    let title = level.primary_title(shown.title);
    let title = match shown.code {
        "" => title,
        code => title.id(code),
    };
    let mut group = title.element(snippet);
    for (below, line) in &shown.below {
        group = group.element(match below {
            Below::Note => Level::NOTE.message(line.as_str()),
            Below::Help => Level::HELP.message(line.as_str()),
        });
    }
    format!("{}\n", Renderer::styled().render(&[group]))
}

/// The line on which a span begins, the part of the span in it, and its number. One line is enough to find the place; a span over an
/// entry of many would print them all, and a text of a megabyte is not to be looked through for each finding.
fn first_line<'s>(source: &'s str, span: &Range<usize>) -> (&'s str, Range<usize>, usize) {
    let at = span.start.min(source.len());
    let start = source[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let end = source[at..]
        .find(['\n', '\r'])
        .map_or(source.len(), |end| at + end);
    let found = source.get(span.clone()).unwrap_or_default();
    let found = found.split(['\n', '\r']).next().unwrap_or_default();
    let ends = |end: &str| source[..start].matches(end).count();
    let number = 1 + ends("\n") + ends("\r") - ends("\r\n");
    (
        &source[start..end],
        at - start..at - start + found.trim_end().len(),
        number,
    )
}
