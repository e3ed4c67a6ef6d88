//! Scanning of what is said about nodes and documents: anchors, aliases, tags, directives.

use super::scanner::Scanner;
use super::token::{Token, TokenKind};
use super::{Fault, FaultKind};

impl Scanner<'_> {
    pub(super) fn scan_directive(&mut self) -> Result<Token, Fault> {
        let start = self.reader.mark;
        self.reader.skip();
        let mut name = String::new();
        self.reader.ensure(1)?;
        while self.reader.is_word() {
            self.reader.read(&mut name);
            self.reader.ensure(1)?;
        }
        if name.is_empty() || !self.reader.is_gap(0) {
            return Err(self.fault(FaultKind::DirectiveName));
        }
        let kind = match name.as_str() {
            "YAML" => {
                self.reader.skip_blanks()?;
                let major = self.scan_version_number()?;
                if !self.reader.at(b'.') {
                    return Err(self.fault(FaultKind::DirectiveVersion));
                }
                self.reader.skip();
                let minor = self.scan_version_number()?;
                TokenKind::Version { major, minor }
            }
            "TAG" => self.scan_tag_directive()?,
            _ => {
                return Err(Fault {
                    at: start.byte,
                    kind: FaultKind::UnknownDirective,
                });
            }
        };
        let end = self.reader.mark;
        self.reader.skip_blanks()?;
        self.reader.skip_comment()?;
        if !self.reader.is_break_or_end() {
            return Err(self.fault(FaultKind::TextAfterDirective));
        }
        self.reader.skip_line_break()?;
        Ok(Token { kind, start, end })
    }

    fn scan_version_number(&mut self) -> Result<u8, Fault> {
        self.reader.ensure(1)?;
        let mut value = 0;
        let mut length = 0;
        while self.reader.byte(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return Err(self.fault(FaultKind::DirectiveVersion));
            }
            value = value * 10 + (self.reader.byte(0) - b'0');
            self.reader.skip();
            self.reader.ensure(1)?;
        }
        if length == 0 {
            return Err(self.fault(FaultKind::DirectiveVersion));
        }
        Ok(value)
    }

    fn scan_tag_directive(&mut self) -> Result<TokenKind, Fault> {
        self.reader.skip_blanks()?;
        let handle = self.scan_tag_handle(true)?;
        self.reader.ensure(1)?;
        if !self.reader.is_blank(0) {
            return Err(self.fault(FaultKind::TagDirective));
        }
        self.reader.skip_blanks()?;
        let prefix = self.scan_tag_uri(&[])?;
        self.reader.ensure(1)?;
        if !self.reader.is_gap(0) {
            return Err(self.fault(FaultKind::TagDirective));
        }
        Ok(TokenKind::TagDirective { handle, prefix })
    }

    pub(super) fn scan_anchor(&mut self, kind: fn(String) -> TokenKind) -> Result<Token, Fault> {
        let start = self.reader.mark;
        self.reader.skip();
        let mut name = String::new();
        self.reader.ensure(1)?;
        while self.reader.is_word() {
            self.reader.read(&mut name);
            self.reader.ensure(1)?;
        }
        let ends = self.reader.is_gap(0)
            || matches!(
                self.reader.byte(0),
                b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`'
            );
        if name.is_empty() || !ends {
            return Err(Fault {
                at: start.byte,
                kind: FaultKind::AnchorAtStart,
            });
        }
        Ok(Token {
            kind: kind(name),
            start,
            end: self.reader.mark,
        })
    }

    pub(super) fn scan_tag(&mut self) -> Result<Token, Fault> {
        let start = self.reader.mark;
        self.reader.ensure(2)?;
        let (handle, suffix) = if self.reader.byte(1) == b'<' {
            self.reader.skip();
            self.reader.skip();
            let uri = self.scan_tag_uri(&[])?;
            if !self.reader.at(b'>') {
                return Err(self.fault(FaultKind::TagNotClosed));
            }
            self.reader.skip();
            (Vec::new(), uri)
        } else {
            let handle = self.scan_tag_handle(false)?;
            if handle.len() > 1 && handle.ends_with(b"!") {
                let suffix = self.scan_tag_uri(&[])?;
                (handle, suffix)
            } else {
                let suffix = self.scan_tag_uri(&handle)?;
                if suffix.is_empty() {
                    (suffix, b"!".to_vec())
                } else {
                    (b"!".to_vec(), suffix)
                }
            }
        };
        self.reader.ensure(1)?;
        if !self.reader.is_gap(0) {
            return Err(Fault {
                at: start.byte,
                kind: FaultKind::TagAtStart,
            });
        }
        Ok(Token {
            kind: TokenKind::Tag { handle, suffix },
            start,
            end: self.reader.mark,
        })
    }

    fn scan_tag_handle(&mut self, directive: bool) -> Result<Vec<u8>, Fault> {
        self.reader.ensure(1)?;
        if !self.reader.at(b'!') {
            return Err(self.fault(FaultKind::TagHandleStart));
        }
        let mut handle = String::new();
        self.reader.read(&mut handle);
        self.reader.ensure(1)?;
        while self.reader.is_word() {
            self.reader.read(&mut handle);
            self.reader.ensure(1)?;
        }
        if self.reader.at(b'!') {
            self.reader.read(&mut handle);
        } else if directive && handle != "!" {
            return Err(self.fault(FaultKind::TagHandleEnd));
        }
        Ok(handle.into_bytes())
    }

    /// Reads a tag's URI behind `head`, a handle that turned out to be the start of it.
    fn scan_tag_uri(&mut self, head: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut uri = head.get(1..).unwrap_or_default().to_vec();
        let mut found = !head.is_empty();
        self.reader.ensure(1)?;
        loop {
            let byte = self.reader.byte(0);
            if byte == b'%' {
                self.scan_uri_escape(&mut uri)?;
            } else if self.reader.is_word() || b";/?:@&=+$,.!~*'()[]".contains(&byte) {
                uri.push(byte);
                self.reader.skip();
            } else {
                break;
            }
            self.reader.ensure(1)?;
            found = true;
        }
        if found {
            Ok(uri)
        } else {
            Err(self.fault(FaultKind::TagWithoutName))
        }
    }

    /// Reads one percent-encoded character of one to four bytes.
    fn scan_uri_escape(&mut self, uri: &mut Vec<u8>) -> Result<(), Fault> {
        let mut left = None;
        while left != Some(0) {
            self.reader.ensure(3)?;
            let digit = |offset| {
                char::from(self.reader.byte(offset))
                    .to_digit(16)
                    .and_then(|d| u8::try_from(d).ok())
            };
            let (b'%', Some(high), Some(low)) = (self.reader.byte(0), digit(1), digit(2)) else {
                return Err(self.fault(FaultKind::TagEscape));
            };
            let octet = high << 4 | low;
            left = match (left, octet) {
                (None, 0x00..=0x7F) => Some(0),
                (None, 0xC0..=0xDF) => Some(1),
                (None, 0xE0..=0xEF) => Some(2),
                (None, 0xF0..=0xF7) => Some(3),
                (Some(n), 0x80..=0xBF) => Some(n - 1),
                _ => return Err(self.fault(FaultKind::TagNotUtf8)),
            };
            uri.push(octet);
            for _ in 0..3 {
                self.reader.skip();
            }
        }
        Ok(())
    }
}
