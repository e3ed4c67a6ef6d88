//! The position of a finding in a file, for programs that annotate lines.

use crate::lint::{Diagnostic, LintReport};
use crate::yaml::Lines;

/// The lines of each text of a report.
pub(super) fn lines(report: &LintReport) -> Vec<Lines<'_>> {
    let texts = report.sources.iter();
    texts.map(|text| Lines::new(&text.source.text)).collect()
}

/// A place in a file, from 1, in characters.
pub(super) struct FilePlace<'a> {
    /// As the file was named, without `./` before it: relative to the repository's root, where pipelines run.
    pub(super) file: &'a str,
    pub(super) line: usize,
    pub(super) column: usize,
    /// The line and column behind it, where they are known.
    pub(super) end: Option<(usize, usize)>,
}

/// What a source is called.
pub(super) fn file(report: &LintReport, source: usize) -> &str {
    let name = report.sources[source].source.name.as_str();
    name.strip_prefix("./").unwrap_or(name)
}

/// The findings with their places. A value whose position in the file is not known is marked where it begins.
pub(super) fn placed(report: &LintReport) -> Vec<(&Diagnostic, FilePlace<'_>)> {
    let lines = lines(report);
    let all = report.diagnostics.iter();
    all.map(|found| {
        let within = report.sources[found.source].within;
        let (source, at) = within.unwrap_or((found.source, found.span.start));
        let (line, column) = lines[source].position(at);
        let end = within
            .is_none()
            .then(|| lines[source].position(found.span.end));
        let place = FilePlace {
            file: file(report, source),
            line,
            column,
            end,
        };
        (found, place)
    })
    .collect()
}

/// What a finding says besides its title.
pub(super) fn message(found: &Diagnostic) -> String {
    format!("{}\n{}\nfix: {}", found.label, found.code.why(), found.fix)
}
