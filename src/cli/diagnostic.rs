//! A diagnostic with its source line and a caret, as rustc shows them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not what is meant.
    Warning,
    /// Something does not take effect, or is refused.
    Error,
}

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
    let snippet = Snippet::source(shown.source).path(shown.origin).annotation(
        AnnotationKind::Primary
            .span(first_line(shown.source, &shown.span))
            .label(shown.label),
    );
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

/// One line is enough to find the place; a span over an entry of many would print them all.
fn first_line(source: &str, span: &Range<usize>) -> Range<usize> {
    let line = source
        .get(span.clone())
        .unwrap_or_default()
        .split(['\n', '\r'])
        .next()
        .unwrap_or_default()
        .trim_end();
    span.start..span.start + line.len()
}
