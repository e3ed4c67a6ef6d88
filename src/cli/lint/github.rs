//! Findings as workflow commands, which GitHub shows at the lines of a pull request
//! (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).

use std::fmt::Write as _;

use super::place::{FilePlace, message, placed};
use crate::lint::{LintReport, Severity};

pub(super) fn github(report: &LintReport) -> String {
    let mut shown = String::new();
    for (found, place) in placed(report) {
        let FilePlace {
            file,
            line,
            column,
            end: _,
        } = place;
        let level = match found.code.severity() {
            Severity::Note => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let file = property(file);
        let heading = property(&format!("{}: {}", found.code, found.title));
        let message = data(&message(found));
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
