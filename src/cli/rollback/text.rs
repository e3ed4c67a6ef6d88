//! Prints copies, and the effects of restoring one, as text.

use std::fmt::Write as _;

use anyhow::Result;

use super::document::{History, ListedCopy, RestoreDiff};
use crate::cli::output::visible;
use crate::cli::table::{Cell, Column, Table, TableLayout, terminal_width};
use crate::cli::wrap::wrapped;

pub(in crate::cli) const COLUMNS: [Column; 9] = [
    Column::whole("#"),
    Column::whole("COPY"),
    Column::whole("TIME"),
    Column::whole("ENTRIES").minor(1),
    Column::whole("CHANGED THEN"),
    Column::whole("VERSION").minor(3),
    Column::whole("SIZE").minor(2),
    Column::shortened("WRITTEN BY", 12),
    Column::shortened("NOTE", 12),
];

/// The history as a table.
pub(super) fn list(history: &History, layout: &TableLayout) -> Result<String> {
    if history.copies.is_empty() {
        return Ok(format!(
            "No copies of {}: identity-mapper has not written to it yet.\n",
            history.config_map
        ));
    }
    let row = |copy: &ListedCopy| {
        let then = &copy.changed_then;
        let first = copy.first.then(|| "before the first write".to_owned());
        let broken = match copy.broken.as_slice() {
            [] => None,
            keys => Some(format!("{} invalid", keys.join(", "))),
        };
        let mut managers: Vec<String> = Vec::new();
        for writer in &copy.written_by {
            if !managers.contains(&writer.manager) {
                managers.push(writer.manager.clone());
            }
        }
        let notes: Vec<String> = first.into_iter().chain(broken).collect();
        [
            Cell::text(copy.number.to_string()),
            Cell::text(copy.copy.clone()),
            Cell::text(format!("{:.0}", copy.time)),
            Cell::text(copy.entries.to_string()),
            Cell::text(format!(
                "+{} -{} ~{}",
                then.added, then.removed, then.otherwise
            )),
            Cell::text(copy.resource_version.clone().unwrap_or_default()),
            Cell::text(format!("{} B", copy.bytes)),
            Cell::List(managers),
            Cell::text(notes.join(", ")),
        ]
    };
    Table::new(COLUMNS, history.copies.iter().map(row)).render(layout)
}

/// What restoring a copy comes to.
pub(super) fn difference(difference: &RestoreDiff) -> String {
    let (copy, time) = (&difference.copy, difference.time);
    let mut out = String::new();
    for text in &difference.keys {
        let diff = text.unified("(current)", &format!("(copy {copy} of {time:.0})"));
        if !out.is_empty() {
            out.push('\n');
        }
        out += &diff;
    }
    let sections = [
        (
            "Not restored, because no mapping declares them any more (they were managed); to restore one, declare it in a \
                mapping:",
            &difference.left_out,
        ),
        (
            "Managed and different from the copy: not changed; to change one, change its mapping:",
            &difference.kept,
        ),
        (
            "Node entries to be removed or changed; without them nodes can't join or stay in the cluster:",
            &difference.node_entries,
        ),
    ];
    for (head, arns) in sections.into_iter().filter(|(_, arns)| !arns.is_empty()) {
        out += &paragraph(&out, head);
        for arn in arns {
            let _ = writeln!(out, "  {}", visible(arn));
        }
    }
    if difference.last_administrator {
        out += &paragraph(&out, "No administrator would be left.");
    }
    if !difference.changes {
        out += &paragraph(
            &out,
            "Nothing to restore: aws-auth is identical to the copy.",
        );
    }
    out
}

/// A line of its own behind what there is.
fn paragraph(before: &str, line: &str) -> String {
    let gap = if before.is_empty() { "" } else { "\n" };
    wrapped(line, gap, "", terminal_width())
}
