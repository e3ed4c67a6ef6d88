//! Events of the first document: the grammar above the tokens.

use super::scanner::Scanner;
use super::token::{Kind, Style, Token};
use super::{Fault, FaultKind};

/// What happens next in the document. Spans are bytes.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) start: usize,
    /// For the end of a collection: where its last token ended.
    pub(super) end: usize,
    pub(super) anchor: Option<String>,
    /// Where the dash of this list item stands.
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
enum State {
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
    state: State,
    states: Vec<State>,
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
            state: State::DocumentEnd,
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
            Kind::StreamEnd => return Ok(None),
            Kind::Version { .. } | Kind::TagDirective { .. } | Kind::DocumentStart => {
                self.directives()?;
                let token = self.scanner.peek()?;
                if token.kind != Kind::DocumentStart {
                    let at = token.start.byte;
                    return Err(Fault {
                        at,
                        kind: FaultKind::DirectiveWithoutDocument,
                    });
                }
                self.take();
                self.state = State::DocumentContent;
            }
            _ => {
                self.directives()?;
                self.state = State::BlockNode;
            }
        }
        self.states.push(State::DocumentEnd);
        Ok(Some(self.last))
    }

    /// The next event. Not to be called behind [`EventKind::DocumentEnd`].
    pub(super) fn next(&mut self) -> Result<Event, Fault> {
        match self.state {
            State::BlockNode => self.node(true, false),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockSequence { first } => self.block_sequence(first),
            State::IndentlessSequence => self.indentless_sequence(),
            State::BlockMappingKey { first } => self.block_mapping_key(first),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequence { first } => self.flow_sequence(first),
            State::PairKey => self.pair_key(),
            State::PairValue => self.pair_value(),
            State::PairEnd => {
                self.peek()?;
                self.state = State::FlowSequence { first: false };
                Ok(self.end_event())
            }
            State::FlowMappingKey { first } => self.flow_mapping_key(first),
            State::FlowMappingValue { empty } => self.flow_mapping_value(empty),
        }
    }

    fn peek(&mut self) -> Result<&Kind, Fault> {
        self.scanner.peek().map(|t| &t.kind)
    }

    fn next_start(&mut self) -> Result<usize, Fault> {
        self.scanner.peek().map(|t| t.start.byte)
    }

    fn take(&mut self) -> Token {
        let token = self.scanner.take();
        match token.kind {
            // These stand for no text of their own.
            Kind::BlockEnd
            | Kind::BlockSequenceStart
            | Kind::BlockMappingStart
            | Kind::StreamEnd => {}
            _ => self.last = self.last.max(token.end.byte),
        }
        token
    }

    fn pop(&mut self) {
        self.state = self.states.pop().unwrap_or(State::DocumentEnd);
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
                Kind::Version { major, minor } => {
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
                Kind::TagDirective { handle, prefix } => {
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
            Kind::Version { .. }
            | Kind::TagDirective { .. }
            | Kind::DocumentStart
            | Kind::DocumentEnd
            | Kind::StreamEnd => {
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
        if let Kind::Alias(name) = self.peek()? {
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
            Kind::BlockEntry if indentless => {
                self.state = State::IndentlessSequence;
                EventKind::SequenceStart { flow: false }
            }
            Kind::Scalar { style, .. } => {
                let plain = *style == Style::Plain;
                self.pop();
                let Kind::Scalar { value, style } = self.take().kind else {
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
            Kind::FlowSequenceStart => {
                self.state = State::FlowSequence { first: true };
                EventKind::SequenceStart { flow: true }
            }
            Kind::FlowMappingStart => {
                self.state = State::FlowMappingKey { first: true };
                EventKind::MappingStart { flow: true }
            }
            Kind::BlockSequenceStart if block => {
                self.state = State::BlockSequence { first: true };
                EventKind::SequenceStart { flow: false }
            }
            Kind::BlockMappingStart if block => {
                self.state = State::BlockMappingKey { first: true };
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
                Kind::Anchor(name) if anchor.is_none() => {
                    anchor = Some(name.clone());
                    self.take();
                }
                Kind::Tag { .. } if tag.is_none() => tag = Some(self.take()),
                _ => break,
            }
        }
        let Some(token) = tag else {
            return Ok((anchor, None));
        };
        let at = token.start.byte;
        let Kind::Tag { handle, suffix } = token.kind else {
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
            Kind::BlockEntry => {
                let token = self.take();
                self.dash = Some(token.start.byte);
                if matches!(self.peek()?, Kind::BlockEntry | Kind::BlockEnd) {
                    self.state = State::BlockSequence { first: false };
                    return Ok(self.empty(token.end.byte));
                }
                self.states.push(State::BlockSequence { first: false });
                self.node(true, false)
            }
            Kind::BlockEnd => {
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
        if *self.peek()? != Kind::BlockEntry {
            self.pop();
            return Ok(self.end_event());
        }
        let token = self.take();
        self.dash = Some(token.start.byte);
        if matches!(
            self.peek()?,
            Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd
        ) {
            self.state = State::IndentlessSequence;
            return Ok(self.empty(token.end.byte));
        }
        self.states.push(State::IndentlessSequence);
        self.node(true, false)
    }

    fn block_mapping_key(&mut self, first: bool) -> Result<Event, Fault> {
        if first {
            self.take();
        }
        match self.peek()? {
            Kind::Key => {
                let token = self.take();
                if matches!(self.peek()?, Kind::Key | Kind::Value | Kind::BlockEnd) {
                    self.state = State::BlockMappingValue;
                    return Ok(self.empty(token.end.byte));
                }
                self.states.push(State::BlockMappingValue);
                self.node(true, true)
            }
            Kind::BlockEnd => {
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
        if *self.peek()? != Kind::Value {
            self.state = State::BlockMappingKey { first: false };
            let at = self.last;
            return Ok(self.empty(at));
        }
        let token = self.take();
        if matches!(self.peek()?, Kind::Key | Kind::Value | Kind::BlockEnd) {
            self.state = State::BlockMappingKey { first: false };
            return Ok(self.empty(token.end.byte));
        }
        self.states.push(State::BlockMappingKey { first: false });
        self.node(true, true)
    }

    fn flow_sequence(&mut self, first: bool) -> Result<Event, Fault> {
        if first {
            self.take();
        }
        if !first && *self.peek()? != Kind::FlowSequenceEnd {
            if *self.peek()? != Kind::FlowEntry {
                return Err(Fault {
                    at: self.next_start()?,
                    kind: FaultKind::FlowSequence,
                });
            }
            self.take();
        }
        match self.peek()? {
            Kind::FlowSequenceEnd => {
                self.pop();
                self.take();
                Ok(self.end_event())
            }
            Kind::Key => {
                let token = self.take();
                self.state = State::PairKey;
                Ok(self.event(
                    EventKind::MappingStart { flow: true },
                    token.start.byte,
                    token.end.byte,
                    None,
                ))
            }
            _ => {
                self.states.push(State::FlowSequence { first: false });
                self.node(false, false)
            }
        }
    }

    fn pair_key(&mut self) -> Result<Event, Fault> {
        if matches!(
            self.peek()?,
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd
        ) {
            // go-yaml takes the token along; what stands behind it decides whether the text is still right.
            let token = self.take();
            self.state = State::PairValue;
            return Ok(self.empty(token.end.byte));
        }
        self.states.push(State::PairValue);
        self.node(false, false)
    }

    fn pair_value(&mut self) -> Result<Event, Fault> {
        if *self.peek()? == Kind::Value {
            self.take();
            if !matches!(self.peek()?, Kind::FlowEntry | Kind::FlowSequenceEnd) {
                self.states.push(State::PairEnd);
                return self.node(false, false);
            }
        }
        self.state = State::PairEnd;
        let at = self.last;
        Ok(self.empty(at))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Result<Event, Fault> {
        if first {
            self.take();
        }
        if !first && *self.peek()? != Kind::FlowMappingEnd {
            if *self.peek()? != Kind::FlowEntry {
                return Err(Fault {
                    at: self.next_start()?,
                    kind: FaultKind::FlowMapping,
                });
            }
            self.take();
        }
        match self.peek()? {
            Kind::FlowMappingEnd => {
                self.pop();
                self.take();
                Ok(self.end_event())
            }
            Kind::Key => {
                self.take();
                if matches!(
                    self.peek()?,
                    Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd
                ) {
                    self.state = State::FlowMappingValue { empty: false };
                    let at = self.last;
                    return Ok(self.empty(at));
                }
                self.states.push(State::FlowMappingValue { empty: false });
                self.node(false, false)
            }
            _ => {
                self.states.push(State::FlowMappingValue { empty: true });
                self.node(false, false)
            }
        }
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Result<Event, Fault> {
        if *self.peek()? == Kind::Value && !empty {
            self.take();
            if !matches!(self.peek()?, Kind::FlowEntry | Kind::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey { first: false });
                return self.node(false, false);
            }
        }
        self.state = State::FlowMappingKey { first: false };
        let at = self.last;
        Ok(self.empty(at))
    }
}
