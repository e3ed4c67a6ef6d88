//! How findings are printed.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::LintFormat;
use crate::cli::diagnostic::{Below, Shown, render_with};
use crate::cli::output;
use crate::lint::{Diagnostic, Gain, LintReport, Severity, SourceText};
use crate::yaml::Lines;

pub(super) fn print(format: LintFormat, report: &LintReport) -> Result<String> {
    Ok(match format {
        LintFormat::Text => text(report),
        LintFormat::Json => output::json(&places(report))?,
        LintFormat::Github => github(report),
    })
}

fn text(report: &LintReport) -> String {
    let lines = lines(report);
    let mut shown = String::new();
    for diagnostic in &report.diagnostics {
        let number = diagnostic.source;
        shown += &diagnostic_text(diagnostic, &report.sources[number], &lines[number]);
        shown.push('\n');
    }
    shown + &summary(report)
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

fn summary(report: &LintReport) -> String {
    let count = |severity| {
        let found = report.diagnostics.iter();
        found
            .filter(|found| found.code.severity() == severity)
            .count()
    };
    let counts: Vec<String> = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Note, "note"),
    ]
    .into_iter()
    .filter_map(|(severity, word)| match count(severity) {
        0 => None,
        1 => Some(format!("1 {word}")),
        many => Some(format!("{many} {word}s")),
    })
    .collect();
    if counts.is_empty() {
        return "No problems found.\n".to_owned();
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
    format!("{}{fixable}\n", counts.join(", "))
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
struct Findings<'a> {
    findings: Vec<Printed<'a>>,
}

fn places(report: &LintReport) -> Findings<'_> {
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

fn lines(report: &LintReport) -> Vec<Lines<'_>> {
    let texts = report.sources.iter();
    texts.map(|text| Lines::new(&text.source.text)).collect()
}

/// <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>
fn github(report: &LintReport) -> String {
    let lines = lines(report);
    let mut shown = String::new();
    for Diagnostic {
        code,
        source,
        span,
        title,
        label,
        fix,
        fixable: _,
    } in &report.diagnostics
    {
        // A value whose position in the file is not known is marked where it begins.
        let (source, at) = report.sources[*source]
            .within
            .unwrap_or((*source, span.start));
        let (line, column) = lines[source].position(at);
        let file = property(&report.sources[source].source.name);
        let level = match code.severity() {
            Severity::Note => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let heading = property(&format!("{code}: {title}"));
        let message = data(&format!("{label}\n{}\nfix: {fix}", code.why()));
        let _ = writeln!(
            shown,
            "::{level} file={file},line={line},col={column},title={heading}::{message}"
        );
    }
    shown
}

/// The escapes of a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The escapes of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
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
