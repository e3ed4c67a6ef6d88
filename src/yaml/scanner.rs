//! Tokens, in go-yaml's order.
//!
//! A mapping key is recognised only at its `:`. Tokens wait in a queue while one of them may still turn out to be the
//! start of such a *simple key*; then the tokens that open the mapping are put before it. go-yaml keeps a table of the
//! possible keys by token number. The table forgets a flow collection in which no key was possible (`[]`), whose
//! mapping tokens then come too late, behind it: `[]: x` is a list followed by something else. That is kept.

use std::collections::{BTreeMap, VecDeque};

use super::reader::Reader;
use super::token::{Token, TokenKind};
use super::{Fault, FaultKind, TextPosition};

/// go-yaml's `max_flow_level` and `max_indents`.
const MAX_DEPTH: usize = 10_000;
/// A simple key ends within so many characters of its start.
const MAX_KEY: usize = 1024;

#[derive(Clone, Copy)]
struct SimpleKey {
    possible: bool,
    /// At the indentation of a block mapping: if it is no key, the text is wrong.
    required: bool,
    token: isize,
    mark: TextPosition,
}

pub(super) struct Scanner<'t> {
    pub(super) reader: Reader<'t>,
    tokens: VecDeque<Token>,
    /// Tokens taken from the queue so far.
    taken: isize,
    /// Whether the head of the queue may be taken.
    ready: bool,
    started: bool,
    pub(super) indent: isize,
    indents: Vec<isize>,
    pub(super) flow_level: usize,
    pub(super) simple_key_allowed: bool,
    /// One for each flow level and one for the block context.
    keys: Vec<SimpleKey>,
    /// Index into `keys` by token number.
    keys_by_token: BTreeMap<isize, usize>,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Scanner<'t> {
        Scanner {
            reader: Reader::new(text),
            tokens: VecDeque::new(),
            taken: 0,
            ready: false,
            started: false,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            simple_key_allowed: true,
            keys: Vec::new(),
            keys_by_token: BTreeMap::new(),
        }
    }

    /// The next token, without taking it.
    pub(super) fn peek(&mut self) -> Result<&Token, Fault> {
        if !self.ready {
            self.fetch_more()?;
        }
        Ok(&self.tokens[0])
    }

    /// Takes the token that was last seen by [`Scanner::peek`].
    pub(super) fn take(&mut self) -> Token {
        self.ready = false;
        self.taken += 1;
        self.tokens
            .pop_front()
            .expect("peek leaves a token in the queue")
    }

    /// The current column. Columns are bounded by the text's length, which fits.
    pub(super) fn column(&self) -> isize {
        self.reader.mark.column.cast_signed()
    }

    pub(super) fn fault(&self, kind: FaultKind) -> Fault {
        Fault {
            at: self.reader.mark.byte,
            kind,
        }
    }

    fn fetch_more(&mut self) -> Result<(), Fault> {
        loop {
            if !self.tokens.is_empty() {
                let Some(&key) = self.keys_by_token.get(&self.taken) else {
                    break;
                };
                if !self.is_possible(key)? {
                    break;
                }
            }
            self.fetch_next()?;
        }
        self.ready = true;
        Ok(())
    }

    fn fetch_next(&mut self) -> Result<(), Fault> {
        self.reader.ensure(1)?;
        if !self.started {
            self.started = true;
            let mark = self.reader.mark;
            self.keys.push(SimpleKey {
                possible: false,
                required: false,
                token: 0,
                mark,
            });
            self.push(TokenKind::StreamStart, mark, mark);
            return Ok(());
        }
        self.skip_to_token()?;
        self.unroll_indent(self.column());
        self.reader.ensure(4)?;
        if self.reader.is_end() {
            return self.fetch_stream_end();
        }
        if self.reader.mark.column == 0 && self.reader.at(b'%') {
            return self.fetch_directive();
        }
        if self.reader.is_indicator(b'-') {
            return self.fetch_document_indicator(TokenKind::DocumentStart);
        }
        if self.reader.is_indicator(b'.') {
            return self.fetch_document_indicator(TokenKind::DocumentEnd);
        }
        let block = self.flow_level == 0;
        let gap_next = self.reader.is_gap(1);
        match self.reader.byte(0) {
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => {
                self.remove_key()?;
                self.simple_key_allowed = true;
                self.push_one(TokenKind::FlowEntry);
                Ok(())
            }
            b'-' if gap_next => self.fetch_block_entry(),
            b'?' if !block || gap_next => self.fetch_key(),
            b':' if !block || gap_next => self.fetch_value(),
            b'*' => self.fetch_simple(|s| s.scan_anchor(TokenKind::Alias)),
            b'&' => self.fetch_simple(|s| s.scan_anchor(TokenKind::Anchor)),
            b'!' => self.fetch_simple(Scanner::scan_tag),
            byte @ (b'|' | b'>') if block => {
                self.remove_key()?;
                self.simple_key_allowed = true;
                let token = self.scan_block(byte == b'|')?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\'' => self.fetch_simple(|s| s.scan_quoted(true)),
            b'"' => self.fetch_simple(|s| s.scan_quoted(false)),
            b'\t' => Err(self.fault(FaultKind::Tab)),
            b'@' | b'`' | b'%' | b'|' | b'>' | b'#' => Err(self.fault(FaultKind::StartOfValue)),
            _ => self.fetch_simple(Scanner::scan_plain),
        }
    }

    fn push(&mut self, kind: TokenKind, start: TextPosition, end: TextPosition) {
        self.tokens.push_back(Token { kind, start, end });
    }

    /// A token of the one character at the current place.
    fn push_one(&mut self, kind: TokenKind) {
        let start = self.reader.mark;
        self.reader.skip();
        self.push(kind, start, self.reader.mark);
    }

    /// Puts a token in the queue before the token of that number; at the end if that one was taken already.
    fn insert(&mut self, number: isize, kind: TokenKind, mark: TextPosition) {
        let token = Token {
            kind,
            start: mark,
            end: mark,
        };
        match usize::try_from(number - self.taken) {
            Ok(position) if position <= self.tokens.len() => self.tokens.insert(position, token),
            _ => self.tokens.push_back(token),
        }
    }

    fn next_number(&self) -> isize {
        self.taken + self.tokens.len().cast_signed()
    }

    fn is_possible(&mut self, key: usize) -> Result<bool, Fault> {
        let Some(key) = self.keys.get_mut(key).filter(|k| k.possible) else {
            return Ok(false);
        };
        let mark = self.reader.mark;
        if key.mark.line < mark.line || key.mark.index + MAX_KEY < mark.index {
            if key.required {
                return Err(missing_colon(key.mark));
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn save_key(&mut self) -> Result<(), Fault> {
        if !self.simple_key_allowed {
            return Ok(());
        }
        let required = self.flow_level == 0 && self.indent == self.column();
        self.remove_key()?;
        let token = self.next_number();
        let index = self.keys.len() - 1;
        self.keys[index] = SimpleKey {
            possible: true,
            required,
            token,
            mark: self.reader.mark,
        };
        self.keys_by_token.insert(token, index);
        Ok(())
    }

    fn remove_key(&mut self) -> Result<(), Fault> {
        let Some(key) = self.keys.last_mut().filter(|k| k.possible) else {
            return Ok(());
        };
        if key.required {
            return Err(missing_colon(key.mark));
        }
        key.possible = false;
        self.keys_by_token.remove(&key.token);
        Ok(())
    }

    fn roll_indent(
        &mut self,
        column: isize,
        number: Option<isize>,
        kind: TokenKind,
        mark: TextPosition,
    ) -> Result<(), Fault> {
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_DEPTH {
            return Err(self.fault(FaultKind::TooDeep));
        }
        match number {
            Some(number) => self.insert(number, kind, mark),
            None => self.push(kind, mark, mark),
        }
        Ok(())
    }

    fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            let mark = self.reader.mark;
            self.push(TokenKind::BlockEnd, mark, mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn fetch_stream_end(&mut self) -> Result<(), Fault> {
        if self.reader.mark.column != 0 {
            self.reader.mark.column = 0;
            self.reader.mark.line += 1;
        }
        self.end_document()?;
        let mark = self.reader.mark;
        self.push(TokenKind::StreamEnd, mark, mark);
        Ok(())
    }

    fn end_document(&mut self) -> Result<(), Fault> {
        self.unroll_indent(-1);
        self.remove_key()?;
        self.simple_key_allowed = false;
        Ok(())
    }

    fn fetch_directive(&mut self) -> Result<(), Fault> {
        self.end_document()?;
        let token = self.scan_directive()?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn fetch_document_indicator(&mut self, kind: TokenKind) -> Result<(), Fault> {
        self.end_document()?;
        let start = self.reader.mark;
        for _ in 0..3 {
            self.reader.skip();
        }
        self.push(kind, start, self.reader.mark);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Result<(), Fault> {
        self.save_key()?;
        let token = self.next_number();
        self.keys.push(SimpleKey {
            possible: false,
            required: false,
            token,
            mark: self.reader.mark,
        });
        self.flow_level += 1;
        if self.flow_level > MAX_DEPTH {
            return Err(self.fault(FaultKind::TooDeep));
        }
        self.simple_key_allowed = true;
        self.push_one(kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Result<(), Fault> {
        self.remove_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            if let Some(key) = self.keys.pop() {
                self.keys_by_token.remove(&key.token);
            }
        }
        self.simple_key_allowed = false;
        self.push_one(kind);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), Fault> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.fault(FaultKind::ItemNotAllowed));
            }
            self.roll_indent(
                self.column(),
                None,
                TokenKind::BlockSequenceStart,
                self.reader.mark,
            )?;
        }
        self.remove_key()?;
        self.simple_key_allowed = true;
        self.push_one(TokenKind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), Fault> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.fault(FaultKind::KeyNotAllowed));
            }
            self.roll_indent(
                self.column(),
                None,
                TokenKind::BlockMappingStart,
                self.reader.mark,
            )?;
        }
        self.remove_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.push_one(TokenKind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), Fault> {
        let index = self.keys.len() - 1;
        if self.is_possible(index)? {
            let key = self.keys[index];
            self.insert(key.token, TokenKind::Key, key.mark);
            self.roll_indent(
                key.mark.column.cast_signed(),
                Some(key.token),
                TokenKind::BlockMappingStart,
                key.mark,
            )?;
            self.keys[index].possible = false;
            self.keys_by_token.remove(&key.token);
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return Err(self.fault(FaultKind::SecondColon));
                }
                self.roll_indent(
                    self.column(),
                    None,
                    TokenKind::BlockMappingStart,
                    self.reader.mark,
                )?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.push_one(TokenKind::Value);
        Ok(())
    }

    /// A token with which a simple key may start.
    fn fetch_simple(
        &mut self,
        scan: impl FnOnce(&mut Self) -> Result<Token, Fault>,
    ) -> Result<(), Fault> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let token = scan(self)?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn skip_to_token(&mut self) -> Result<(), Fault> {
        loop {
            self.reader.ensure(1)?;
            if self.reader.mark.column == 0 && self.reader.is_bom() {
                self.reader.skip();
            }
            self.reader.ensure(1)?;
            while self.reader.at(b' ')
                || (self.reader.at(b'\t') && (self.flow_level > 0 || !self.simple_key_allowed))
            {
                self.reader.skip_run(1, |byte| byte == b' ');
                self.reader.ensure(1)?;
            }
            self.reader.skip_comment()?;
            if !self.reader.is_break(0) {
                return Ok(());
            }
            self.reader.skip_line_break()?;
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }
}

fn missing_colon(mark: TextPosition) -> Fault {
    Fault {
        at: mark.byte,
        kind: FaultKind::MissingColon,
    }
}
