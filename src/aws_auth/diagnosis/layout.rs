//! The columns in which lines must start, and the text with all of its faults fixed.

use std::collections::BTreeMap;

use super::defect::{Defect, DefectKind};
use super::structure::{LineRole, PlacedLine, Structure};
use crate::aws_auth::Section;

/// The lines of the repaired text, each with the line of the original that it comes from.
pub(super) fn lay_out(
    section: Section,
    structure: Structure,
) -> (Vec<(usize, String)>, Vec<Defect>) {
    let Structure {
        lines, mut defects, ..
    } = structure;
    let mut layout = ColumnLayout {
        section,
        columns: lines.iter().map(|line| line.column).collect(),
        lines,
        defects: Vec::new(),
    };
    if !layout.is_flat(&mut defects) {
        layout.indent();
    }
    let rendered = layout.render();
    defects.extend(layout.defects);
    defects.sort_by_key(|defect| defect.line);
    (rendered, defects)
}

struct ColumnLayout {
    section: Section,
    lines: Vec<PlacedLine>,
    /// Where each line has to start.
    columns: Vec<usize>,
    defects: Vec<Defect>,
}

fn is_active(line: &PlacedLine) -> bool {
    matches!(
        line.role,
        LineRole::Start | LineRole::Field | LineRole::Item
    )
}

/// The most frequent column; of equally frequent ones the first.
fn most_frequent(columns: impl Iterator<Item = usize> + Clone) -> Option<usize> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for column in columns.clone() {
        *counts.entry(column).or_default() += 1;
    }
    let most = counts.values().max()?;
    let mut columns = columns;
    columns.find(|column| counts.get(column) == Some(most))
}

impl ColumnLayout {
    /// Handles a text without any indentation: every line starts in the column of the dashes.
    fn is_flat(&mut self, defects: &mut Vec<Defect>) -> bool {
        let written = || {
            self.lines
                .iter()
                .filter(|line| is_active(line) && !line.inserted)
        };
        let Some(column) = written().next().map(|line| line.column) else {
            return false;
        };
        let field = written().find(|line| line.role == LineRole::Field && line.lead == 0);
        let (Some(field), true) = (field, written().count() > 2) else {
            return false;
        };
        if !written().all(|line| line.column == column)
            || !written().any(|line| line.dashed && line.role == LineRole::Start)
        {
            return false;
        }
        let last = written().next_back().map_or(0, |line| line.origin);
        let first = written().find(|line| line.role != LineRole::Start);
        let first = first.map_or(field.origin, |line| line.origin);
        let defect = Defect::new(DefectKind::IndentationLost, first, "");
        defects.push(defect.through(last));
        for (line, at) in self.lines.iter().zip(&mut self.columns) {
            *at = match line.role {
                LineRole::Start => column,
                LineRole::Field => column + 2,
                LineRole::Item => column + 4,
                LineRole::Continuation => column + 6,
                LineRole::Outside => *at,
            };
        }
        true
    }

    fn indent(&mut self) {
        let starts = self
            .lines
            .iter()
            .filter(|line| line.role == LineRole::Start && line.dashed);
        let starts: Vec<usize> = starts.map(|line| line.column).collect();
        let first = self.lines.iter().find(|line| is_active(line));
        let dash = most_frequent(starts.iter().copied())
            .or_else(|| first.map(|line| line.column))
            .unwrap_or_default();
        let mut at = 0;
        while at < self.lines.len() {
            let entry = self.lines[at].entry;
            let mut end = at + 1;
            while end < self.lines.len()
                && (self.lines[end].entry == entry && self.lines[end].role != LineRole::Start)
            {
                end += 1;
            }
            self.entry(at, end, dash);
            at = end;
        }
    }

    /// The lines from `at` to `end`, of which the first active one starts the entry.
    fn entry(&mut self, at: usize, end: usize, dash: usize) {
        let Some(start) = (at..end).find(|line| is_active(&self.lines[*line])) else {
            return;
        };
        let line = &self.lines[start];
        if line.role != LineRole::Start {
            return;
        }
        let (shift, field) = if line.dashed {
            (
                dash.cast_signed() - line.column.cast_signed(),
                dash + line.lead,
            )
        } else if line.column >= dash + 2 {
            (0, line.column)
        } else if self.fields_are_indented(start, end, dash) {
            (0, dash + 2)
        } else {
            (
                (dash + 2).cast_signed() - line.column.cast_signed(),
                dash + 2,
            )
        };
        let moved = |column: usize| column.saturating_add_signed(shift);
        let last = (start..end)
            .rev()
            .find(|line| is_active(&self.lines[*line]));
        let last = last.map_or(line.origin, |last| self.lines[last].origin);
        if line.dashed && shift != 0 {
            let what = if self.section == Section::Accounts {
                "the account"
            } else {
                "the entry"
            };
            let kind = DefectKind::Indentation {
                by: shift,
                lines: last - line.origin + 1,
                what,
            };
            self.defects
                .push(Defect::new(kind, line.origin, "").through(last));
        } else if shift != 0 {
            // A dash that is missing takes the lines of its entry along.
            let missing = self.lines[start].origin;
            self.defects
                .push(Defect::new(DefectKind::MissingDash { what: "" }, missing, "").through(last));
        }
        self.columns[start] = dash;
        let mut wrong: Vec<(usize, isize, &'static str)> = Vec::new();
        let mut shifted = shift;
        let mut item_column = None;
        let mut follows_inserted = false;
        for number in start..end {
            let line = &self.lines[number];
            let expected = match line.role {
                LineRole::Start => {
                    item_column = self.item_column(number + 1, end, field, shift);
                    continue;
                }
                LineRole::Field => {
                    item_column = self.item_column(number + 1, end, field, shift);
                    follows_inserted = line.inserted;
                    field
                }
                LineRole::Item => item_column.unwrap_or(field + 2),
                LineRole::Continuation => {
                    self.columns[number] = line.column.saturating_add_signed(shifted);
                    continue;
                }
                LineRole::Outside => continue,
            };
            self.columns[number] = expected;
            shifted = expected.cast_signed() - line.column.cast_signed();
            let is_moved_with_groups = follows_inserted && line.role == LineRole::Item;
            let is_moved = expected != moved(line.column) && shifted != 0;
            if is_moved && !line.inserted && !is_moved_with_groups {
                let what = if line.role == LineRole::Item {
                    "a group"
                } else {
                    "a field"
                };
                wrong.push((line.origin, shifted, what));
            }
        }
        self.wrong(&wrong);
    }

    /// Whether the fields below a line without its dash start where they belong.
    fn fields_are_indented(&self, start: usize, end: usize, dash: usize) -> bool {
        let mut fields = self.lines[start + 1..end].iter();
        let first = fields.find(|line| line.role == LineRole::Field && !line.inserted);
        first.is_some_and(|line| line.column == dash + 2 && line.column > self.lines[start].column)
    }

    /// The column of the items of a list: where most of them start, if that is deep enough.
    fn item_column(&self, from: usize, end: usize, field: usize, shift: isize) -> Option<usize> {
        let items = self.lines[from..end]
            .iter()
            .take_while(|line| !matches!(line.role, LineRole::Field | LineRole::Start))
            .filter(|line| line.role == LineRole::Item && !line.inserted)
            .map(|line| line.column.saturating_add_signed(shift))
            .filter(|column| *column >= field);
        most_frequent(items)
    }

    /// One defect for lines that follow each other.
    fn wrong(&mut self, wrong: &[(usize, isize, &'static str)]) {
        let mut at = 0;
        while at < wrong.len() {
            let mut end = at + 1;
            while end < wrong.len() && wrong[end].0 <= wrong[end - 1].0 + 1 {
                end += 1;
            }
            let (origin, by, what) = wrong[at];
            let kind = DefectKind::Indentation {
                by,
                lines: end - at,
                what,
            };
            self.defects
                .push(Defect::new(kind, origin, "").through(wrong[end - 1].0));
            at = end;
        }
    }

    fn render(&self) -> Vec<(usize, String)> {
        let lines = self.lines.iter().zip(&self.columns);
        let mut field = 0;
        let render = |(line, column): (&PlacedLine, &usize)| {
            let indent = " ".repeat(*column);
            let text = match line.role {
                LineRole::Outside => format!("{}{}", " ".repeat(line.column), dashed(line)),
                LineRole::Start => {
                    let lead = line.lead.max(2);
                    format!("{indent}-{}{}", " ".repeat(lead - 1), line.text)
                }
                LineRole::Item => {
                    format!("{indent}-{}{}", " ".repeat(line.lead.max(2) - 1), line.text)
                }
                LineRole::Field | LineRole::Continuation => format!("{indent}{}", line.text),
            };
            (line.origin, text.trim_end().to_owned())
        };
        lines
            .map(|(line, column)| {
                let mut line = line.clone();
                // A start whose dash is missing keeps its field where it is.
                if line.role == LineRole::Start {
                    if !line.dashed && line.column >= column + 2 {
                        line.lead = line.column - column;
                    }
                    field = column + line.lead.max(2);
                }
                render((&line, column))
            })
            .collect()
    }
}

/// A line that can't be placed, as it was.
fn dashed(line: &PlacedLine) -> String {
    if line.lead == 0 {
        line.text.clone()
    } else {
        format!("-{}{}", " ".repeat(line.lead - 1), line.text)
    }
}
