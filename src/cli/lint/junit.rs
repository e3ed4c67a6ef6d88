//! Findings as a report of tests: a suite for each file, a failure for each error
//! (<https://github.com/testmoapp/junitxml> describes what readers of it agree on).

use std::fmt::Write as _;

use super::place::{file, message, placed};
use crate::lint::{LintReport, Severity};

/// A file with its findings.
#[derive(Default)]
struct Suite<'a> {
    name: &'a str,
    cases: String,
    tests: usize,
    failures: usize,
}

pub(super) fn junit(report: &LintReport) -> String {
    let mut suites: Vec<Suite<'_>> = Vec::new();
    let files = report.sources.iter().enumerate();
    let files = files.filter(|(_, text)| text.within.is_none());
    for name in files.map(|(source, _)| file(report, source)) {
        if !suites.iter().any(|suite| suite.name == name) {
            suites.push(Suite {
                name,
                ..Suite::default()
            });
        }
    }
    for (found, place) in placed(report) {
        let suite = suites.iter_mut().find(|suite| suite.name == place.file);
        let Some(suite) = suite else { continue };
        suite.tests += 1;
        let (file, line, code) = (escaped(place.file), place.line, found.code);
        let name = escaped(&format!("{code} line {line}: {}", found.title));
        let title = escaped(&found.title);
        let text = escaped(&format!("{}:{line}\n{}", place.file, message(found)));
        let result = match found.code.severity() {
            Severity::Error => {
                suite.failures += 1;
                format!("<failure type=\"{code}\" message=\"{title}\">{text}</failure>")
            }
            severity @ (Severity::Warning | Severity::Note) => {
                format!("<system-out>{severity}: {text}</system-out>")
            }
        };
        let _ = writeln!(
            suite.cases,
            "    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\">\n      {result}\n    </testcase>"
        );
    }
    let mut text = String::new();
    let (mut tests, mut failures) = (0, 0);
    for suite in suites {
        let name = escaped(suite.name);
        let (count, cases) = if suite.tests == 0 {
            let case = format!("    <testcase classname=\"{name}\" name=\"no findings\"/>\n");
            (1, case)
        } else {
            (suite.tests, suite.cases)
        };
        tests += count;
        failures += suite.failures;
        let _ = write!(
            text,
            "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{}\" errors=\"0\">\n{cases}  </testsuite>\n",
            suite.failures
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"identity-mapper lint\" tests=\"{tests}\" failures=\"{failures}\" \
            errors=\"0\">\n{text}</testsuites>\n"
    )
}

/// A text of XML 1.0, in which most control characters and two others can't be written.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' => escaped += "&#10;",
            '\u{fffe}' | '\u{ffff}' => escaped.extend(c.escape_default()),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}
