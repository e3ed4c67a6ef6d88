//! A diagnostic with its source line and a caret, as rustc shows them.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use anstream::adapter::strip_str;

use super::table::terminal_width;
use super::wrap::wrapped;
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

/// Lines of more bytes are shown in part. Rendering takes time by the length of the line, and a list on one line has many diagnostics.
const LONGEST: usize = 400;

/// Of a line that is shown in part: the bytes before what is meant, and at most so many of it and after it.
const AROUND: usize = 100;

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
    let (line, span, is_cut) = window(line, span);
    let width = terminal_width();
    let gutter = format!("{number} | ").len();
    // The renderer breaks no lines: a label that does not fit beside the carets is a line below.
    let marked = line.get(..span.end).unwrap_or(&line).chars().count();
    let is_beside = width
        .is_none_or(|width| gutter + marked + " ".len() + shown.label.chars().count() <= width);
    let annotation = AnnotationKind::Primary.span(span);
    let annotation = if is_beside {
        annotation.label(shown.label)
    } else {
        annotation
    };
    let snippet = Snippet::source(line)
        .line_start(number)
        .annotation(annotation);
    let title = level.primary_title(shown.title);
    let title = match shown.code {
        "" => title,
        code => title.id(code),
    };
    let mut group = if is_cut {
        let (_, column) = lines.position(shown.span.start.min(shown.source.len()));
        let origin = Origin::path(shown.origin).line(number).char_column(column);
        title.element(origin).element(snippet)
    } else {
        title.element(snippet.path(shown.origin))
    };
    let label = (!is_beside).then(|| (Below::Note, shown.label.to_owned()));
    for (below, text) in label.iter().chain(&shown.below) {
        let (level, word) = match below {
            Below::Note => (Level::NOTE, "note"),
            Below::Help => (Level::HELP, "help"),
        };
        // The renderer puts this before each line.
        let before = format!("{number} = {word}: ").len();
        let width = width.map(|width| width.saturating_sub(before));
        let lines: String = text
            .lines()
            .map(|line| wrapped(line, "", "", width))
            .collect();
        group = group.element(level.message(lines.trim_end().to_owned()));
    }
    let renderer = width.map_or_else(Renderer::styled, |width| {
        Renderer::styled().term_width(width)
    });
    let text = renderer.render(&[group]);
    if !is_cut {
        return format!("{text}\n");
    }
    // A snippet without a path of its own gets an empty line for it.
    let lines = text.lines();
    let lines = lines.filter(|line| strip_str(line).to_string().trim() != ":::");
    lines.fold(String::new(), |text, line| text + line + "\n")
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

/// The part of a long line that is shown, the span in it, and whether it is only a part.
fn window(line: &str, span: Range<usize>) -> (Cow<'_, str>, Range<usize>, bool) {
    const CUT: &str = "…";
    if line.len() <= LONGEST {
        return (Cow::Borrowed(line), span, false);
    }
    let start = line.floor_char_boundary(span.start.saturating_sub(AROUND));
    let last = line.floor_char_boundary(span.end.min(span.start + AROUND));
    let end = line.ceil_char_boundary((last + AROUND).min(line.len()));
    let before = if start == 0 { "" } else { CUT };
    let after = if end == line.len() { "" } else { CUT };
    let shift = |at: usize| at - start + before.len();
    let shown = shift(span.start)..shift(last.max(span.start));
    (
        Cow::Owned(format!("{before}{}{after}", &line[start..end])),
        shown,
        true,
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn plain(source: &str, span: Range<usize>) -> String {
        let shown = render(&Shown {
            severity: Severity::Error,
            code: "",
            title: "bad item",
            origin: "file",
            source,
            span,
            label: "here",
            below: vec![(Below::Help, "write another".to_owned())],
        });
        strip_str(&shown).to_string()
    }

    #[test]
    fn a_long_line_is_shown_in_part_with_the_place_in_the_whole() {
        let line = format!("first: 1\n{}bad{}", "ä".repeat(1000), "ö".repeat(1000));
        let at = line.find("bad").expect("there");
        assert_snapshot!(plain(&line, at..at + 3), @"
        error: bad item
         --> file:2:1001
          |
        2 | …ääääääääääääääääääääääääääääääääääääääääääääääääääbadöööööööööööööööööööööööööööööööööööööööööööööööööö…
          |                                                    ^^^ here
          |
          = help: write another
        ");
        assert_snapshot!(plain(&line, at..line.len()), @"
        error: bad item
         --> file:2:1001
          |
        2 | …ääääääääääääääääääääääääääääääääääääääääääääääääääbadööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööööö...
          |                                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ here
          |
          = help: write another
        ");
    }
}
