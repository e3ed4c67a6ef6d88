//! Scanning of scalars: plain, quoted, block.

use super::scanner::Scanner;
use super::token::{Style, Token, TokenKind};
use super::{Fault, FaultKind, TextPosition};

/// A run of line breaks inside a scalar, folded as YAML 1.1 has it.
#[derive(Default)]
struct Fold {
    first: String,
    rest: String,
}

impl Fold {
    /// Appends what the breaks fold to: a lone LF is a space, LF and more are the rest, LS and PS stay.
    fn flush(&mut self, to: &mut String) {
        if self.first.starts_with('\n') {
            if self.rest.is_empty() {
                to.push(' ');
            }
        } else {
            to.push_str(&self.first);
        }
        to.push_str(&self.rest);
        self.first.clear();
        self.rest.clear();
    }
}

impl Scanner<'_> {
    pub(super) fn scan_plain(&mut self) -> Result<Token, Fault> {
        let start = self.reader.mark;
        let mut end = start;
        let indent = self.indent + 1;
        let mut value = String::new();
        let mut blanks = String::new();
        let mut fold = Fold::default();
        let mut folding = false;
        let flow = self.flow_level > 0;
        let in_flow = |byte| flow && matches!(byte, b',' | b'?' | b'[' | b']' | b'{' | b'}');
        let goes_on = |byte| !matches!(byte, b' ' | b'\t' | b':') && !in_flow(byte);
        loop {
            self.reader.ensure(4)?;
            if self.reader.is_document_indicator() || self.reader.at(b'#') {
                break;
            }
            while !self.reader.is_gap(0) {
                let byte = self.reader.byte(0);
                if in_flow(byte) || (byte == b':' && self.reader.is_gap(1)) {
                    break;
                }
                if folding {
                    fold.flush(&mut value);
                    folding = false;
                } else {
                    value.push_str(&blanks);
                    blanks.clear();
                }
                self.reader.read_run(&mut value, 2, goes_on);
                end = self.reader.mark;
                self.reader.ensure(2)?;
            }
            if !(self.reader.is_blank(0) || self.reader.is_break(0)) {
                break;
            }
            self.reader.ensure(1)?;
            loop {
                if self.reader.is_blank(0) {
                    if folding && self.column() < indent && self.reader.at(b'\t') {
                        return Err(self.fault(FaultKind::Tab));
                    }
                    if folding {
                        self.reader.skip();
                    } else {
                        self.reader.read(&mut blanks);
                    }
                } else if self.reader.is_break(0) {
                    self.reader.ensure(2)?;
                    if folding {
                        fold.rest.push_str(self.reader.line_break());
                    } else {
                        blanks.clear();
                        fold.first.push_str(self.reader.line_break());
                        folding = true;
                    }
                } else {
                    break;
                }
                self.reader.ensure(1)?;
            }
            if self.flow_level == 0 && self.column() < indent {
                break;
            }
        }
        if folding {
            self.simple_key_allowed = true;
        }
        Ok(Token {
            kind: TokenKind::Scalar {
                value,
                style: Style::Plain,
            },
            start,
            end,
        })
    }

    pub(super) fn scan_quoted(&mut self, single: bool) -> Result<Token, Fault> {
        let start = self.reader.mark;
        let quote = if single { b'\'' } else { b'"' };
        self.reader.skip();
        let mut value = String::new();
        loop {
            self.reader.ensure(4)?;
            if self.reader.is_document_indicator() {
                return Err(self.fault(FaultKind::IndicatorInQuotes));
            }
            if self.reader.is_end() {
                return Err(fault_at(start, FaultKind::QuoteNotClosed));
            }
            let mut folding = self.scan_quoted_word(single, &mut value)?;
            self.reader.ensure(1)?;
            if self.reader.at(quote) {
                break;
            }
            let mut blanks = String::new();
            let mut fold = Fold::default();
            loop {
                if self.reader.is_blank(0) {
                    if folding {
                        self.reader.skip();
                    } else {
                        self.reader.read(&mut blanks);
                    }
                } else if self.reader.is_break(0) {
                    self.reader.ensure(2)?;
                    if folding {
                        fold.rest.push_str(self.reader.line_break());
                    } else {
                        fold.first.push_str(self.reader.line_break());
                        folding = true;
                    }
                } else {
                    break;
                }
                self.reader.ensure(1)?;
            }
            if folding {
                fold.flush(&mut value);
            } else {
                value.push_str(&blanks);
            }
        }
        self.reader.skip();
        let style = if single { Style::Single } else { Style::Double };
        Ok(Token {
            kind: TokenKind::Scalar { value, style },
            start,
            end: self.reader.mark,
        })
    }

    /// Reads up to a gap or the closing quote. True if it ended with an escaped line break.
    fn scan_quoted_word(&mut self, single: bool, value: &mut String) -> Result<bool, Fault> {
        while !self.reader.is_gap(0) {
            match self.reader.byte(0) {
                b'\'' if single && self.reader.byte(1) == b'\'' => {
                    value.push('\'');
                    self.reader.skip();
                    self.reader.skip();
                }
                b'\'' if single => break,
                b'"' if !single => break,
                b'\\' if !single && self.reader.is_break(1) => {
                    self.reader.ensure(3)?;
                    self.reader.skip();
                    self.reader.line_break();
                    return Ok(true);
                }
                b'\\' if !single => self.scan_escape(value)?,
                _ => self.reader.read_run(value, 2, |byte| {
                    !matches!(byte, b' ' | b'\t' | b'\'' | b'"' | b'\\')
                }),
            }
            self.reader.ensure(2)?;
        }
        Ok(false)
    }

    fn scan_escape(&mut self, value: &mut String) -> Result<(), Fault> {
        let (plain, digits) = match self.reader.byte(1) {
            b'0' => ('\0', 0),
            b'a' => ('\x07', 0),
            b'b' => ('\x08', 0),
            b't' | b'\t' => ('\t', 0),
            b'n' => ('\n', 0),
            b'v' => ('\x0B', 0),
            b'f' => ('\x0C', 0),
            b'r' => ('\r', 0),
            b'e' => ('\x1B', 0),
            b' ' => (' ', 0),
            b'"' => ('"', 0),
            b'\'' => ('\'', 0),
            b'\\' => ('\\', 0),
            b'N' => ('\u{85}', 0),
            b'_' => ('\u{A0}', 0),
            b'L' => ('\u{2028}', 0),
            b'P' => ('\u{2029}', 0),
            b'x' => ('\0', 2),
            b'u' => ('\0', 4),
            b'U' => ('\0', 8),
            _ => return Err(self.fault(FaultKind::UnknownEscape)),
        };
        let at = self.reader.mark;
        self.reader.skip();
        self.reader.skip();
        if digits == 0 {
            value.push(plain);
            return Ok(());
        }
        self.reader.ensure(digits)?;
        let mut code: u64 = 0;
        for _ in 0..digits {
            let Some(digit) = char::from(self.reader.byte(0)).to_digit(16) else {
                return Err(fault_at(at, FaultKind::ShortEscape));
            };
            code = (code << 4) + u64::from(digit);
            self.reader.skip();
        }
        let Some(c) = u32::try_from(code).ok().and_then(char::from_u32) else {
            return Err(fault_at(at, FaultKind::NoUnicodeEscape));
        };
        value.push(c);
        Ok(())
    }

    pub(super) fn scan_block(&mut self, literal: bool) -> Result<Token, Fault> {
        let start = self.reader.mark;
        self.reader.skip();
        let (chomping, increment) = self.scan_block_header()?;
        self.reader.skip_blanks()?;
        self.reader.skip_comment()?;
        if !self.reader.is_break_or_end() {
            return Err(self.fault(FaultKind::TextAfterBlockHeader));
        }
        self.reader.skip_line_break()?;

        let mut end = self.reader.mark;
        let mut indent = if increment > 0 {
            self.indent.max(0) + increment
        } else {
            0
        };
        let mut value = String::new();
        let mut first = "";
        let mut rest = String::new();
        self.scan_block_breaks(&mut indent, &mut rest, &mut end)?;
        self.reader.ensure(1)?;
        let mut leading_blank = false;
        while self.column() == indent && !self.reader.is_end() {
            let blank = self.reader.is_blank(0);
            if !literal && first == "\n" && !leading_blank && !blank {
                if rest.is_empty() {
                    value.push(' ');
                }
            } else {
                value.push_str(first);
            }
            value.push_str(&rest);
            rest.clear();
            leading_blank = blank;
            while !self.reader.is_break_or_end() {
                self.reader.read_run(&mut value, 1, |_| true);
                self.reader.ensure(1)?;
            }
            self.reader.ensure(2)?;
            first = self.reader.line_break();
            self.scan_block_breaks(&mut indent, &mut rest, &mut end)?;
        }
        if chomping != Chomping::Strip {
            value.push_str(first);
        }
        if chomping == Chomping::Keep {
            value.push_str(&rest);
        }
        Ok(Token {
            kind: TokenKind::Scalar {
                value,
                style: Style::Block,
            },
            start,
            end,
        })
    }

    fn scan_block_header(&mut self) -> Result<(Chomping, isize), Fault> {
        let mut chomping = Chomping::Clip;
        let mut increment = 0;
        self.reader.ensure(1)?;
        if let Some(sign) = Chomping::sign(self.reader.byte(0)) {
            chomping = sign;
            self.reader.skip();
            self.reader.ensure(1)?;
            increment = self.scan_block_increment()?;
        } else if self.reader.byte(0).is_ascii_digit() {
            increment = self.scan_block_increment()?;
            self.reader.ensure(1)?;
            if let Some(sign) = Chomping::sign(self.reader.byte(0)) {
                chomping = sign;
                self.reader.skip();
            }
        }
        Ok((chomping, increment))
    }

    fn scan_block_increment(&mut self) -> Result<isize, Fault> {
        let byte = self.reader.byte(0);
        if byte == b'0' {
            return Err(self.fault(FaultKind::BlockIndentOfZero));
        }
        if !byte.is_ascii_digit() {
            return Ok(0);
        }
        self.reader.skip();
        Ok(isize::from(byte - b'0'))
    }

    /// Steps over indentation and empty lines, and finds the indentation where it is not known yet (0).
    fn scan_block_breaks(
        &mut self,
        indent: &mut isize,
        breaks: &mut String,
        end: &mut TextPosition,
    ) -> Result<(), Fault> {
        *end = self.reader.mark;
        let mut deepest = 0;
        loop {
            self.reader.ensure(1)?;
            while (*indent == 0 || self.column() < *indent) && self.reader.at(b' ') {
                self.reader.skip();
                self.reader.ensure(1)?;
            }
            deepest = deepest.max(self.column());
            if (*indent == 0 || self.column() < *indent) && self.reader.at(b'\t') {
                return Err(self.fault(FaultKind::Tab));
            }
            if !self.reader.is_break(0) {
                break;
            }
            self.reader.ensure(2)?;
            breaks.push_str(self.reader.line_break());
            *end = self.reader.mark;
        }
        if *indent == 0 {
            *indent = deepest.max(self.indent + 1).max(1);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

impl Chomping {
    fn sign(byte: u8) -> Option<Chomping> {
        match byte {
            b'+' => Some(Chomping::Keep),
            b'-' => Some(Chomping::Strip),
            _ => None,
        }
    }
}

fn fault_at(mark: TextPosition, kind: FaultKind) -> Fault {
    Fault {
        at: mark.byte,
        kind,
    }
}
