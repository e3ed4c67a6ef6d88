//! Prints findings as text.

use std::fmt::Write as _;

use serde::Serialize;

use super::place::lines;
use crate::cli::diagnostic::{Below, Shown, render_with};
use crate::cli::output;
use crate::cli::table::{Cell, Column};
use crate::lint::{Diagnostic, Gain, LintReport, Severity, SourceText};
use crate::yaml::Lines;

/// For people. `hidden` findings were left out.
pub(super) fn text(report: &LintReport, hidden: usize) -> String {
    let lines = lines(report);
    let mut shown = String::new();
    for diagnostic in &report.diagnostics {
        let number = diagnostic.source;
        shown += &diagnostic_text(diagnostic, &report.sources[number], &lines[number]);
        shown.push('\n');
    }
    shown + &summary(report, hidden)
}

fn diagnostic_text(diagnostic: &Diagnostic, text: &SourceText, lines: &Lines<'_>) -> String {
    let Diagnostic {
        code,
        source: _,
        span,
        title,
        label,
        fix,
        fixable,
    } = diagnostic;
    let fixable = if *fixable { " (fixed by --fix)" } else { "" };
    let shown = Shown {
        severity: code.severity(),
        code: code.id(),
        title,
        origin: &text.source.name,
        source: &text.source.text,
        span: span.clone(),
        label,
        below: vec![
            (Below::Note, code.why().to_owned()),
            (Below::Help, format!("{fix}{fixable}")),
        ],
    };
    render_with(&shown, lines)
}

fn summary(report: &LintReport, hidden: usize) -> String {
    let hidden = match hidden {
        0 => String::new(),
        hidden => format!(" ({hidden} not shown)"),
    };
    let counts: Vec<String> = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Note, "note"),
    ]
    .into_iter()
    .filter_map(|(severity, word)| match report.count(severity) {
        0 => None,
        1 => Some(format!("1 {word}")),
        many => Some(format!("{many} {word}s")),
    })
    .collect();
    if counts.is_empty() {
        return if hidden.is_empty() {
            "No problems found.\n".to_owned()
        } else {
            format!("No problems found{hidden}.\n")
        };
    }
    let fixable = report
        .diagnostics
        .iter()
        .filter(|found| found.fixable)
        .count();
    let fixable = match fixable {
        0 => String::new(),
        1 if report.diagnostics.len() == 1 => "; fixable with --fix".to_owned(),
        many => format!("; {many} fixable with --fix"),
    };
    format!("{}{fixable}{hidden}\n", counts.join(", "))
}

/// The columns of many clusters.
pub(super) const COLUMNS: [Column; 3] = [
    Column::whole("ERRORS"),
    Column::whole("WARNINGS"),
    Column::whole("NOTES"),
];

/// The row of a cluster among many.
pub(super) fn rows(report: &LintReport) -> Vec<Vec<Cell>> {
    let severities = [Severity::Error, Severity::Warning, Severity::Note];
    let counts = severities.map(|severity| Cell::text(report.count(severity).to_string()));
    vec![counts.to_vec()]
}

/// A finding, as `-o json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    code: &'static str,
    severity: String,
    source: &'a str,
    /// 1-based.
    line: usize,
    /// 1-based, in characters.
    column: usize,
    end_line: usize,
    end_column: usize,
    title: &'a str,
    effect: &'a str,
    why: &'static str,
    fix: &'a str,
    fixable: bool,
}

#[derive(Serialize)]
pub(super) struct Findings<'a> {
    findings: Vec<Printed<'a>>,
}

/// For programs.
pub(super) fn document(report: &LintReport) -> Findings<'_> {
    let lines = lines(report);
    let mut findings = Vec::new();
    for Diagnostic {
        code,
        source,
        span,
        title,
        label,
        fix,
        fixable,
    } in &report.diagnostics
    {
        let (line, column) = lines[*source].position(span.start);
        let (end_line, end_column) = lines[*source].position(span.end);
        findings.push(Printed {
            code: code.id(),
            severity: code.severity().to_string(),
            source: &report.sources[*source].source.name,
            line,
            column,
            end_line,
            end_column,
            title,
            effect: label,
            why: code.why(),
            fix,
            fixable: *fixable,
        });
    }
    Findings { findings }
}

/// The access that the fixes grant.
pub(super) fn gained(gains: &[Gain]) -> String {
    let mut shown = String::new();
    if !gains.is_empty() {
        shown += "\nAccess changes:\n";
    }
    for Gain {
        arn,
        username,
        groups,
    } in gains
    {
        let groups: Vec<String> = groups.iter().map(|group| output::visible(group)).collect();
        let groups = if groups.is_empty() {
            "without groups".to_owned()
        } else {
            format!("in groups {}", groups.join(", "))
        };
        let _ = writeln!(
            shown,
            "  {} as {} {groups}",
            output::visible(arn),
            output::visible(username)
        );
    }
    shown
}
