//! Events of the first document: the grammar above the tokens.

use super::scanner::Scanner;
use super::token::{Style, Token, TokenKind};
use super::{Fault, FaultKind};

/// What happens next in the document. Spans are bytes.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) start: usize,
    /// For the end of a collection: where its last token ended.
    pub(super) end: usize,
    pub(super) anchor: Option<String>,
    /// Where the dash of this list item is.
    pub(super) dash: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum EventKind {
    Alias(String),
    Scalar {
        value: String,
        tag: Vec<u8>,
        implicit: bool,
        style: Style,
    },
    SequenceStart {
        flow: bool,
    },
    MappingStart {
        flow: bool,
    },
    /// End of a sequence or mapping.
    End,
    DocumentEnd,
}

#[derive(Clone, Copy, Debug)]
enum ParserState {
    BlockNode,
    BlockSequence { first: bool },
    IndentlessSequence,
    BlockMappingKey { first: bool },
    BlockMappingValue,
    FlowSequence { first: bool },
    PairKey,
    PairValue,
    PairEnd,
    FlowMappingKey { first: bool },
    FlowMappingValue { empty: bool },
    DocumentContent,
    DocumentEnd,
}

pub(super) struct Parser<'t> {
    scanner: Scanner<'t>,
    state: ParserState,
    states: Vec<ParserState>,
    /// Handle and prefix.
    tags: Vec<(Vec<u8>, Vec<u8>)>,
    /// End of the last token that is part of the text, in bytes.
    last: usize,
    dash: Option<usize>,
}

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str) -> Parser<'t> {
        Parser {
            scanner: Scanner::new(text),
            state: ParserState::DocumentEnd,
            states: Vec::new(),
            tags: Vec::new(),
            last: 0,
            dash: None,
        }
    }

    /// Starts the first document. `None` where the stream holds none; else the byte at which its content may start.
    pub(super) fn start(&mut self) -> Result<Option<usize>, Fault> {
        self.peek()?;
        self.take();
        let token = self.scanner.peek()?;
        match token.kind {
            TokenKind::StreamEnd => return Ok(None),
            TokenKind::Version { .. }
            | TokenKind::TagDirective { .. }
            | TokenKind::DocumentStart => {
                self.directives()?;
                let token = self.scanner.peek()?;
                if token.kind != TokenKind::DocumentStart {
                    let at = token.start.byte;
                    return Err(Fault {
                        at,
                        kind: FaultKind::DirectiveWithoutDocument,
                    });
                }
                self.take();
                self.state = ParserState::DocumentContent;
            }
            _ => {
                self.directives()?;
                self.state = ParserState::BlockNode;
            }
        }
        self.states.push(ParserState::DocumentEnd);
        Ok(Some(self.last))
    }

    /// The next event. Not to be called behind [`EventKind::DocumentEnd`].
    pub(super) fn next(&mut self) -> Result<Event, Fault> {
        match self.state {
            ParserState::BlockNode => self.node(true, false),
            ParserState::DocumentContent => self.document_content(),
            ParserState::DocumentEnd => self.document_end(),
            ParserState::BlockSequence { first } => self.block_sequence(first),
            ParserState::IndentlessSequence => self.indentless_sequence(),
            ParserState::BlockMappingKey { first } => self.block_mapping_key(first),
            ParserState::BlockMappingValue => self.block_mapping_value(),
            ParserState::FlowSequence { first } => self.flow_sequence(first),
            ParserState::PairKey => self.pair_key(),
            ParserState::PairValue => self.pair_value(),
            ParserState::PairEnd => {
                self.peek()?;
                self.state = ParserState::FlowSequence { first: false };
                Ok(self.end_event())
            }
            ParserState::FlowMappingKey { first } => self.flow_mapping_key(first),
            ParserState::FlowMappingValue { empty } => self.flow_mapping_value(empty),
        }
    }

    fn peek(&mut self) -> Result<&TokenKind, Fault> {
        self.scanner.peek().map(|t| &t.kind)
    }

    fn next_start(&mut self) -> Result<usize, Fault> {
        self.scanner.peek().map(|t| t.start.byte)
    }

    fn take(&mut self) -> Token {
        let token = self.scanner.take();
        match token.kind {
            // These stand for no text of their own.
            TokenKind::BlockEnd
            | TokenKind::BlockSequenceStart
            | TokenKind::BlockMappingStart
            | TokenKind::StreamEnd => {}
            _ => self.last = self.last.max(token.end.byte),
        }
        token
    }

    fn pop(&mut self) {
        self.state = self.states.pop().unwrap_or(ParserState::DocumentEnd);
    }

    fn event(
        &mut self,
        kind: EventKind,
        start: usize,
        end: usize,
        anchor: Option<String>,
    ) -> Event {
        Event {
            kind,
            start,
            end,
            anchor,
            dash: self.dash.take(),
        }
    }

    fn end_event(&mut self) -> Event {
        let last = self.last;
        self.event(EventKind::End, last, last, None)
    }

    fn empty(&mut self, at: usize) -> Event {
        let kind = EventKind::Scalar {
            value: String::new(),
            tag: Vec::new(),
            implicit: true,
            style: Style::Plain,
        };
        self.event(kind, at, at, None)
    }

    fn directives(&mut self) -> Result<(), Fault> {
        let mut versioned = false;
        loop {
            let token = self.scanner.peek()?;
            let at = token.start.byte;
            match &token.kind {
                TokenKind::Version { major, minor } => {
                    if versioned {
                        return Err(Fault {
                            at,
                            kind: FaultKind::SecondYamlDirective,
                        });
                    }
                    if (*major, *minor) != (1, 1) {
                        return Err(Fault {
                            at,
                            kind: FaultKind::YamlVersion,
                        });
                    }
                    versioned = true;
                }
                TokenKind::TagDirective { handle, prefix } => {
                    if self.tags.iter().any(|(h, _)| h == handle) {
                        return Err(Fault {
                            at,
                            kind: FaultKind::SecondTagDirective,
                        });
                    }
                    self.tags.push((handle.clone(), prefix.clone()));
                }
                _ => break,
            }
            self.take();
        }
        for (handle, prefix) in [(&b"!"[..], &b"!"[..]), (b"!!", b"tag:yaml.org,2002:")] {
            if !self.tags.iter().any(|(h, _)| h == handle) {
                self.tags.push((handle.to_vec(), prefix.to_vec()));
            }
        }
        Ok(())
    }

    fn document_content(&mut self) -> Result<Event, Fault> {
        match self.peek()? {
            TokenKind::Version { .. }
            | TokenKind::TagDirective { .. }
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::StreamEnd => {
                self.pop();
                let at = self.last;
                Ok(self.empty(at))
            }
            _ => self.node(true, false),
        }
    }

    fn document_end(&mut self) -> Result<Event, Fault> {
        let at = self.next_start()?;
        Ok(self.event(EventKind::DocumentEnd, at, at, None))
    }

    fn node(&mut self, block: bool, indentless: bool) -> Result<Event, Fault> {
        let start = self.next_start()?;
        if let TokenKind::Alias(name) = self.peek()? {
            let name = name.clone();
            self.pop();
            let token = self.take();
            return Ok(self.event(
                EventKind::Alias(name),
                token.start.byte,
                token.end.byte,
                None,
            ));
        }
        let (anchor, tag) = self.properties()?;
        let has_properties = anchor.is_some() || tag.is_some();
        let tag = tag.unwrap_or_default();
        let token = self.scanner.peek()?;
        let (at, end) = (token.start.byte, token.end.byte);
        let kind = match &token.kind {
            TokenKind::BlockEntry if indentless => {
                self.state = ParserState::IndentlessSequence;
                EventKind::SequenceStart { flow: false }
            }
            TokenKind::Scalar { style, .. } => {
                let plain = *style == Style::Plain;
                self.pop();
                let TokenKind::Scalar { value, style } = self.take().kind else {
                    unreachable!("it was just seen")
                };
                let implicit = (tag.is_empty() && plain) || tag == b"!";
                EventKind::Scalar {
                    value,
                    tag,
                    implicit,
                    style,
                }
            }
            TokenKind::FlowSequenceStart => {
                self.state = ParserState::FlowSequence { first: true };
                EventKind::SequenceStart { flow: true }
            }
            TokenKind::FlowMappingStart => {
                self.state = ParserState::FlowMappingKey { first: true };
                EventKind::MappingStart { flow: true }
            }
            TokenKind::BlockSequenceStart if block => {
                self.state = ParserState::BlockSequence { first: true };
                EventKind::SequenceStart { flow: false }
            }
            TokenKind::BlockMappingStart if block => {
                self.state = ParserState::BlockMappingKey { first: true };
                EventKind::MappingStart { flow: false }
            }
            _ if has_properties => {
                self.pop();
                let implicit = tag.is_empty();
                let kind = EventKind::Scalar {
                    value: String::new(),
                    tag,
                    implicit,
                    style: Style::Plain,
                };
                let last = self.last;
                return Ok(self.event(kind, start, last, anchor));
            }
            _ => {
                return Err(Fault {
                    at,
                    kind: FaultKind::ValueExpected,
                });
            }
        };
        Ok(self.event(kind, start, end, anchor))
    }

    /// Anchor and tag, each at most once, in any order.
    fn properties(&mut self) -> Result<(Option<String>, Option<Vec<u8>>), Fault> {
        let mut anchor = None;
        let mut tag = None;
        loop {
            match self.peek()? {
                TokenKind::Anchor(name) if anchor.is_none() => {
                    anchor = Some(name.clone());
                    self.take();
                }
                TokenKind::Tag { .. } if tag.is_none() => tag = Some(self.take()),
                _ => break,
            }
        }
        let Some(token) = tag else {
            return Ok((anchor, None));
        };
        let at = token.start.byte;
        let TokenKind::Tag { handle, suffix } = token.kind else {
            unreachable!("only tags are kept above")
        };
        let tag = if handle.is_empty() {
            suffix
        } else {
            let prefix = self
                .tags
                .iter()
                .find(|(h, _)| *h == handle)
                .map(|(_, p)| p.as_slice());
            [
                prefix.unwrap_or_default(),
                if prefix.is_some() { &suffix } else { b"" },
            ]
            .concat()
        };
        if tag.is_empty() && !handle.is_empty() {
            return Err(Fault {
                at,
                kind: FaultKind::UnknownTag,
            });
        }
        Ok((anchor, Some(tag)))
    }

    fn block_sequence(&mut self, first: bool) -> Result<Event, Fault> {
        if first {
            self.take();
        }
        match self.peek()? {
            TokenKind::BlockEntry => {
                let token = self.take();
                self.dash = Some(token.start.byte);
                if matches!(self.peek()?, TokenKind::BlockEntry | TokenKind::BlockEnd) {
                    self.state = ParserState::BlockSequence { first: false };
                    return Ok(self.empty(token.end.byte));
                }
                self.states
                    .push(ParserState::BlockSequence { first: false });
                self.node(true, false)
            }
            TokenKind::BlockEnd => {
                self.pop();
                self.take();
                Ok(self.end_event())
            }
            _ => Err(Fault {
                at: self.next_start()?,
                kind: FaultKind::ItemExpected,
            }),
        }
    }

    fn indentless_sequence(&mut self) -> Result<Event, Fault> {
        if *self.peek()? != TokenKind::BlockEntry {
            self.pop();
            return Ok(self.end_event());
        }
        let token = self.take();
        self.dash = Some(token.start.byte);
        if matches!(
            self.peek()?,
            TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd
        ) {
            self.state = ParserState::IndentlessSequence;
            return Ok(self.empty(token.end.byte));
        }
        self.states.push(ParserState::IndentlessSequence);
        self.node(true, false)
    }

    fn block_mapping_key(&mut self, first: bool) -> Result<Event, Fault> {
        if first {
            self.take();
        }
        match self.peek()? {
            TokenKind::Key => {
                let token = self.take();
                if matches!(
                    self.peek()?,
                    TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd
                ) {
                    self.state = ParserState::BlockMappingValue;
                    return Ok(self.empty(token.end.byte));
                }
                self.states.push(ParserState::BlockMappingValue);
                self.node(true, true)
            }
            TokenKind::BlockEnd => {
                self.pop();
                self.take();
                Ok(self.end_event())
            }
            _ => Err(Fault {
                at: self.next_start()?,
                kind: FaultKind::KeyExpected,
            }),
        }
    }

    fn block_mapping_value(&mut self) -> Result<Event, Fault> {
        if *self.peek()? != TokenKind::Value {
            self.state = ParserState::BlockMappingKey { first: false };
            let at = self.last;
            return Ok(self.empty(at));
        }
        let token = self.take();
        if matches!(
            self.peek()?,
            TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd
        ) {
            self.state = ParserState::BlockMappingKey { first: false };
            return Ok(self.empty(token.end.byte));
        }
        self.states
            .push(ParserState::BlockMappingKey { first: false });
        self.node(true, true)
    }

    fn flow_sequence(&mut self, first: bool) -> Result<Event, Fault> {
        if first {
            self.take();
        }
        if !first && *self.peek()? != TokenKind::FlowSequenceEnd {
            if *self.peek()? != TokenKind::FlowEntry {
                return Err(Fault {
                    at: self.next_start()?,
                    kind: FaultKind::FlowSequence,
                });
            }
            self.take();
        }
        match self.peek()? {
            TokenKind::FlowSequenceEnd => {
                self.pop();
                self.take();
                Ok(self.end_event())
            }
            TokenKind::Key => {
                let token = self.take();
                self.state = ParserState::PairKey;
                Ok(self.event(
                    EventKind::MappingStart { flow: true },
                    token.start.byte,
                    token.end.byte,
                    None,
                ))
            }
            _ => {
                self.states.push(ParserState::FlowSequence { first: false });
                self.node(false, false)
            }
        }
    }

    fn pair_key(&mut self) -> Result<Event, Fault> {
        if matches!(
            self.peek()?,
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowSequenceEnd
        ) {
            // go-yaml takes the token along; what stands behind it decides whether the text is still right.
            let token = self.take();
            self.state = ParserState::PairValue;
            return Ok(self.empty(token.end.byte));
        }
        self.states.push(ParserState::PairValue);
        self.node(false, false)
    }

    fn pair_value(&mut self) -> Result<Event, Fault> {
        if *self.peek()? == TokenKind::Value {
            self.take();
            if !matches!(
                self.peek()?,
                TokenKind::FlowEntry | TokenKind::FlowSequenceEnd
            ) {
                self.states.push(ParserState::PairEnd);
                return self.node(false, false);
            }
        }
        self.state = ParserState::PairEnd;
        let at = self.last;
        Ok(self.empty(at))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Result<Event, Fault> {
        if first {
            self.take();
        }
        if !first && *self.peek()? != TokenKind::FlowMappingEnd {
            if *self.peek()? != TokenKind::FlowEntry {
                return Err(Fault {
                    at: self.next_start()?,
                    kind: FaultKind::FlowMapping,
                });
            }
            self.take();
        }
        match self.peek()? {
            TokenKind::FlowMappingEnd => {
                self.pop();
                self.take();
                Ok(self.end_event())
            }
            TokenKind::Key => {
                self.take();
                if matches!(
                    self.peek()?,
                    TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowMappingEnd
                ) {
                    self.state = ParserState::FlowMappingValue { empty: false };
                    let at = self.last;
                    return Ok(self.empty(at));
                }
                self.states
                    .push(ParserState::FlowMappingValue { empty: false });
                self.node(false, false)
            }
            _ => {
                self.states
                    .push(ParserState::FlowMappingValue { empty: true });
                self.node(false, false)
            }
        }
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Result<Event, Fault> {
        if *self.peek()? == TokenKind::Value && !empty {
            self.take();
            if !matches!(
                self.peek()?,
                TokenKind::FlowEntry | TokenKind::FlowMappingEnd
            ) {
                self.states
                    .push(ParserState::FlowMappingKey { first: false });
                return self.node(false, false);
            }
        }
        self.state = ParserState::FlowMappingKey { first: false };
        let at = self.last;
        Ok(self.empty(at))
    }
}
