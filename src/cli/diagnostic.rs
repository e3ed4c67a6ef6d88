//! A diagnostic with its source line and a caret, as rustc shows them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

pub(crate) use crate::lint::Severity;
use crate::yaml::Lines;

/// What is to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) severity: Severity,
    /// A stable code such as `IM012`; empty for none.
    pub(crate) code: &'a str,
    pub(crate) title: &'a str,
    /// Where the text comes from: a path, or a key of aws-auth.
    pub(crate) origin: &'a str,
    pub(crate) source: &'a str,
    pub(crate) span: Range<usize>,
    /// What follows from it, beside the carets.
    pub(crate) label: &'a str,
    /// Lines below, each with its word: `note` or `help`.
    pub(crate) below: Vec<(Below, String)>,
}

/// What a line below the source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    Note,
    Help,
}

/// Renders it, with colours, which the writer takes out where there is no terminal.
pub(crate) fn render(shown: &Shown<'_>) -> String {
    render_with(shown, &Lines::new(shown.source))
}

/// The same with the lines of the source at hand, for many diagnostics of one text.
pub(crate) fn render_with(shown: &Shown<'_>, lines: &Lines<'_>) -> String {
    let level = match shown.severity {
        Severity::Note => Level::NOTE,
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let (line, span, number) = first_line(shown.source, &shown.span, lines);
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
/// entry of many would print them all.
fn first_line<'s>(
    source: &'s str,
    span: &Range<usize>,
    lines: &Lines<'_>,
) -> (&'s str, Range<usize>, usize) {
    let at = span.start.min(source.len());
    let line = lines.line(lines.number(at));
    let start = line.start;
    let end = line.end.max(at);
    let found = source.get(at..span.end.clamp(at, end)).unwrap_or_default();
    (
        &source[start..end],
        at - start..at - start + found.trim_end().len(),
        lines.position(at).0,
    )
}
