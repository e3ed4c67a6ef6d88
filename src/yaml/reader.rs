//! Characters, with go-yaml's buffering where it shows.
//!
//! go-yaml fills its buffer in chunks of 512 bytes and refuses control characters as it fills, so a bad character after
//! the first document matters only if its chunk is ever read. It also looks for a byte order mark at the start of the
//! buffer rather than at the current place. Both are kept.

use std::ops::Range;

use super::{Fault, FaultKind, TextPosition};

/// go-yaml's `input_raw_buffer_size`, in bytes.
const CHUNK: usize = 512;
const BOM: &[u8] = "\u{feff}".as_bytes();

pub(super) struct Reader<'t> {
    text: &'t str,
    pub(super) mark: TextPosition,
    /// Characters in the buffer from the current place on; the NUL at the end of the text counts as often as it was asked for.
    unread: isize,
    /// End of what is in the buffer, in bytes.
    filled: usize,
    /// Start of the last chunk, in bytes.
    chunk: usize,
    /// Where the buffer starts, in bytes.
    buffer: usize,
    started: bool,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Reader<'t> {
        Reader {
            text,
            mark: TextPosition::default(),
            unread: 0,
            filled: 0,
            chunk: 0,
            buffer: 0,
            started: false,
        }
    }

    /// Makes sure of `count` characters from the current place on; past the end of the text they are NUL.
    pub(super) fn ensure(&mut self, count: isize) -> Result<(), Fault> {
        if self.unread < count {
            self.fill(count)
        } else {
            Ok(())
        }
    }

    fn fill(&mut self, count: isize) -> Result<(), Fault> {
        if !self.started {
            self.started = true;
            if self.text.as_bytes().starts_with(BOM) {
                self.mark.byte = BOM.len();
                self.filled = BOM.len();
            }
        }
        self.buffer = self.mark.byte;
        while self.unread < count {
            if self.filled >= self.text.len() {
                self.unread += 1;
                break;
            }
            let mut end = (self.chunk + CHUNK).min(self.text.len());
            while !self.text.is_char_boundary(end) {
                end -= 1;
            }
            self.unread += self.checked(self.filled..end)?;
            self.filled = end;
            self.chunk = end;
        }
        Ok(())
    }

    /// How many characters a chunk holds, if go-yaml takes all of them.
    fn checked(&self, chunk: Range<usize>) -> Result<isize, Fault> {
        let text = &self.text[chunk.clone()];
        if text.bytes().all(|byte| is_text(byte) || byte == b'\n') {
            return Ok(text.len().cast_signed());
        }
        match text.char_indices().find(|(_, c)| !is_allowed(*c)) {
            None => Ok(text.chars().count().cast_signed()),
            Some((offset, _)) => Err(Fault {
                at: chunk.start + offset,
                kind: FaultKind::ControlCharacter,
            }),
        }
    }

    /// The byte `offset` bytes on, or 0 past the end.
    pub(super) fn byte(&self, offset: usize) -> u8 {
        self.text
            .as_bytes()
            .get(self.mark.byte + offset)
            .copied()
            .unwrap_or(0)
    }

    pub(super) fn at(&self, byte: u8) -> bool {
        self.byte(0) == byte
    }

    pub(super) fn is_end(&self) -> bool {
        self.at(0)
    }

    pub(super) fn is_blank(&self, offset: usize) -> bool {
        matches!(self.byte(offset), b' ' | b'\t')
    }

    pub(super) fn is_break(&self, offset: usize) -> bool {
        match self.byte(offset) {
            b'\r' | b'\n' => true,
            0xC2 => self.byte(offset + 1) == 0x85,
            0xE2 => self.byte(offset + 1) == 0x80 && matches!(self.byte(offset + 2), 0xA8 | 0xA9),
            _ => false,
        }
    }

    pub(super) fn is_break_or_end(&self) -> bool {
        self.is_end() || self.is_break(0)
    }

    /// A blank, a line break or the end of the text.
    pub(super) fn is_gap(&self, offset: usize) -> bool {
        self.byte(offset) == 0 || self.is_blank(offset) || self.is_break(offset)
    }

    pub(super) fn is_word(&self) -> bool {
        matches!(self.byte(0), b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'-')
    }

    /// `---` or `...` at the start of a line.
    pub(super) fn is_document_indicator(&self) -> bool {
        self.is_indicator(b'-') || self.is_indicator(b'.')
    }

    pub(super) fn is_indicator(&self, byte: u8) -> bool {
        self.mark.column == 0 && (0..3).all(|i| self.byte(i) == byte) && self.is_gap(3)
    }

    /// Whether go-yaml believes to be at a byte order mark.
    pub(super) fn is_bom(&self) -> bool {
        self.text.as_bytes()[self.buffer..].starts_with(BOM)
    }

    /// Steps over one character.
    pub(super) fn skip(&mut self) {
        let width = match self.byte(0) {
            0x00..=0x7F => 1,
            0x80..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
        };
        self.mark.byte += width;
        self.mark.index += 1;
        self.mark.column += 1;
        self.unread -= 1;
    }

    /// Steps over one character and appends it.
    pub(super) fn read(&mut self, to: &mut String) {
        let from = self.mark.byte;
        self.skip();
        to.push_str(&self.text[from..self.mark.byte]);
    }

    /// Steps over one character, and over those behind it up to the first that `takes` refuses or that is no [text](is_text), as long as
    /// `keep` characters stay in the buffer: go-yaml asks for that many before each, and fills its buffer where it has fewer.
    pub(super) fn skip_run(&mut self, keep: isize, takes: impl Fn(u8) -> bool) {
        self.skip();
        let most = usize::try_from(self.unread - keep).unwrap_or(0);
        let run = self.text.as_bytes()[self.mark.byte..]
            .iter()
            .take(most)
            .take_while(|byte| is_text(**byte) && takes(**byte))
            .count();
        self.mark.byte += run;
        self.mark.index += run;
        self.mark.column += run;
        self.unread -= run.cast_signed();
    }

    /// The same, and appends them.
    pub(super) fn read_run(&mut self, to: &mut String, keep: isize, takes: impl Fn(u8) -> bool) {
        let from = self.mark.byte;
        self.skip_run(keep, takes);
        to.push_str(&self.text[from..self.mark.byte]);
    }

    /// Steps over one line break, if there is one, and gives it in its normal form: LS and PS stay, all others are LF.
    pub(super) fn line_break(&mut self) -> &'t str {
        let from = self.mark.byte;
        let (width, characters) = match self.byte(0) {
            b'\r' if self.byte(1) == b'\n' => (2, 2),
            b'\r' | b'\n' => (1, 1),
            _ if self.is_break(0) => (if self.byte(0) == 0xC2 { 2 } else { 3 }, 1),
            _ => return "",
        };
        self.mark.byte += width;
        self.mark.index += characters;
        self.mark.line += 1;
        self.mark.column = 0;
        self.unread -= if characters == 2 { 2 } else { 1 };
        if width == 3 {
            &self.text[from..from + 3]
        } else {
            "\n"
        }
    }

    pub(super) fn skip_blanks(&mut self) -> Result<(), Fault> {
        self.ensure(1)?;
        while self.is_blank(0) {
            self.skip();
            self.ensure(1)?;
        }
        Ok(())
    }

    pub(super) fn skip_comment(&mut self) -> Result<(), Fault> {
        if self.at(b'#') {
            while !self.is_break_or_end() {
                self.skip_run(1, |_| true);
                self.ensure(1)?;
            }
        }
        Ok(())
    }

    pub(super) fn skip_line_break(&mut self) -> Result<(), Fault> {
        if self.is_break(0) {
            self.ensure(2)?;
            self.line_break();
        }
        Ok(())
    }
}

/// The characters of ASCII that go-yaml accepts and that end no line.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

/// The characters that go-yaml's `readerc.go` accepts.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(reader: &Reader<'_>) -> (TextPosition, isize, usize, usize, usize) {
        let Reader {
            mark,
            unread,
            filled,
            chunk,
            buffer,
            ..
        } = *reader;
        (mark, unread, filled, chunk, buffer)
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn a_run_leaves_the_buffer_as_single_steps_would(
            text in "([ -~\\t]{0,300}(é|\n|\r\n|\u{feff}|\u{2028}|)|\u{7f}){0,8}",
            keep in 1..3_isize,
            stop in any::<u8>(),
        ) {
            let (mut runs, mut steps) = (Reader::new(&text), Reader::new(&text));
            loop {
                let ensured = runs.ensure(keep);
                prop_assert_eq!(&ensured, &steps.ensure(keep));
                prop_assert_eq!(state(&runs), state(&steps));
                if ensured.is_err() || runs.is_end() {
                    break;
                }
                if runs.is_break(0) {
                    prop_assert_eq!(runs.line_break(), steps.line_break());
                    continue;
                }
                let mut read = String::new();
                let from = runs.mark.byte;
                runs.read_run(&mut read, keep, |byte| byte != stop);
                prop_assert_eq!(&read, &text[from..runs.mark.byte]);
                prop_assert!(read.chars().skip(1).all(|c| c != char::from(stop)));
                steps.skip();
                while steps.mark.byte < runs.mark.byte {
                    prop_assert_eq!(steps.ensure(keep), Ok(()));
                    steps.skip();
                }
            }
        }
    }
}
