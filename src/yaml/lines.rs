//! Lines and columns of a text, as people count them.

use std::cell::Cell;

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
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.start(at);
        let (from, characters) = match self.last.get() {
            (byte, characters) if (start..=at).contains(&byte) => (byte, characters),
            _ => (start, 0),
        };
        let characters = characters + self.text[from..at].chars().count();
        self.last.set((at, characters));
        (line, characters + 1)
    }

    /// The byte with which the line of a byte starts.
    pub(crate) fn start(&self, at: usize) -> usize {
        self.starts[self.starts.partition_point(|start| *start <= at) - 1]
    }

    /// The rest of the line from a byte on, without its end.
    pub(crate) fn rest(&self, at: usize) -> &'t str {
        self.text[at..]
            .split(['\n', '\r'])
            .next()
            .unwrap_or_default()
    }
}
