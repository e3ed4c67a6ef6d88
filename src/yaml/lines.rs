//! Lines and columns of a text, as people count them.

use std::cell::Cell;
use std::ops::Range;

/// Where a line starts, for each line: LF, CRLF and CR end one.
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// The byte asked for last and the characters before it in its line: on one long line each question starts there.
    last: Cell<(usize, usize)>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Lines<'t> {
        let bytes = text.as_bytes();
        let ends =
            |i: usize| bytes[i] == b'\n' || (bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n'));
        let starts = std::iter::once(0)
            .chain((0..bytes.len()).filter(|i| ends(*i)).map(|i| i + 1))
            .collect();
        Lines {
            text,
            starts,
            last: Cell::default(),
        }
    }

    /// 1-based line and column, in characters, of a byte.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let line = self.number(at) + 1;
        let start = self.starts[line - 1];
        let (from, characters) = match self.last.get() {
            (byte, characters) if (start..=at).contains(&byte) => (byte, characters),
            _ => (start, 0),
        };
        let characters = characters + self.text[from..at].chars().count();
        self.last.set((at, characters));
        (line, characters + 1)
    }

    /// How many lines there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// The number of the line that holds a byte, counted from 0.
    pub(crate) fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// The bytes of a line, counted from 0, without its end.
    pub(crate) fn line(&self, number: usize) -> Range<usize> {
        let start = self.starts[number];
        let end = self.starts.get(number + 1);
        let whole = &self.text[start..end.copied().unwrap_or(self.text.len())];
        start..start + whole.trim_end_matches(['\r', '\n']).len()
    }

    /// The line that holds a byte, without its end.
    pub(crate) fn rest(&self, at: usize) -> &'t str {
        self.text[at..]
            .split(['\n', '\r'])
            .next()
            .unwrap_or_default()
    }
}
