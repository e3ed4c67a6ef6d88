//! The type of a scalar: go-yaml's YAML 1.1.
//!
//! After `resolve.go` and the part of `decode.go` that decodes a scalar into an empty interface. What counts for
//! `aws-auth` is only whether a value is a string, null, or something that a string field refuses; and which values make
//! go-yaml or `encoding/json` give up.

use super::{Fault, FaultKind};

/// A scalar as go-yaml hands it on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond the range of [`Scalar::Int`].
    Uint(u64),
    Float(f64),
    /// Not necessarily UTF-8: `!!binary` can hold any bytes.
    Str(Vec<u8>),
}

const PREFIX: &[u8] = b"tag:yaml.org,2002:";

/// Resolves a scalar at byte `at`.
pub(crate) fn resolve(value: &str, tag: &[u8], implicit: bool, at: usize) -> Result<Scalar, Fault> {
    let text = || Scalar::Str(value.as_bytes().to_vec());
    let refuse = |kind| Err(Fault { at, kind });
    if tag.is_empty() && !implicit {
        return Ok(text());
    }
    let short = tag.strip_prefix(PREFIX);
    match (tag, short) {
        (b"", _) => Ok(if is_timestamp_like(value) && is_timestamp(value) {
            text()
        } else {
            untagged(value)
        }),
        (_, Some(b"binary")) => match decode_base64(value.as_bytes()) {
            Some(bytes) => Ok(Scalar::Str(bytes)),
            None => refuse(FaultKind::NotBase64),
        },
        (_, Some(b"bool")) => match untagged(value) {
            found @ Scalar::Bool(_) => Ok(found),
            _ => refuse(FaultKind::NotBool),
        },
        (_, Some(b"int")) => match untagged(value) {
            found @ (Scalar::Int(_) | Scalar::Uint(_)) => Ok(found),
            _ => refuse(FaultKind::NotInt),
        },
        (_, Some(b"float")) => match untagged(value) {
            found @ (Scalar::Float(_) | Scalar::Int(_)) => Ok(found),
            _ => refuse(FaultKind::NotFloat),
        },
        (_, Some(b"null")) => match untagged(value) {
            Scalar::Null => Ok(Scalar::Null),
            _ => refuse(FaultKind::NotNull),
        },
        (_, Some(b"timestamp")) => {
            if value.starts_with(|c: char| c.is_ascii_digit()) && is_timestamp(value) {
                Ok(text())
            } else {
                refuse(FaultKind::NotTimestamp)
            }
        }
        // `!!str`, and tags that go-yaml does not know.
        _ => Ok(text()),
    }
}

/// A plain scalar, by its looks.
fn untagged(value: &str) -> Scalar {
    let text = || Scalar::Str(value.as_bytes().to_vec());
    match value {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match value.as_bytes()[0] {
        b'.' if underscores_separate_digits(value) => {
            parse_float(&value.replace('_', "")).map_or_else(text, Scalar::Float)
        }
        b'+' | b'-' | b'0'..=b'9' => parse_number(&value.replace('_', "")).unwrap_or_else(text),
        _ => text(),
    }
}

fn parse_number(plain: &str) -> Option<Scalar> {
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let signed = digits.len() != plain.len();
    if let Some(magnitude) = parse_magnitude(digits) {
        let value = if negative {
            0i128 - i128::from(magnitude)
        } else {
            i128::from(magnitude)
        };
        if let Ok(int) = i64::try_from(value) {
            return Some(Scalar::Int(int));
        }
        if !signed {
            return Some(Scalar::Uint(magnitude));
        }
    }
    if let Some(float) = parse_float(plain) {
        return Some(Scalar::Float(float));
    }
    // Go's own reading of `0b` takes no sign behind it, this one does.
    plain
        .strip_prefix("0b")
        .and_then(|bits| i64::from_str_radix(bits, 2).ok())
        .map(Scalar::Int)
}

/// Go's condition for underscores in a number without a base prefix.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| {
        at.and_then(|i| bytes.get(i))
            .is_some_and(u8::is_ascii_digit)
    };
    bytes
        .iter()
        .enumerate()
        .all(|(i, b)| *b != b'_' || (is_digit(i.checked_sub(1)) && is_digit(Some(i + 1))))
}

/// An unsigned number as Go's `strconv.ParseUint` reads it with base 0, without underscores.
fn parse_magnitude(digits: &str) -> Option<u64> {
    let bytes = digits.as_bytes();
    let (base, rest) = match bytes {
        [] => return None,
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0'] => return Some(0),
        [b'0', ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if rest.starts_with('+') {
        return None;
    }
    u64::from_str_radix(rest, base).ok()
}

/// A decimal float that fits: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let is_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_point = mantissa.contains('.');
    let right = is_digits(whole)
        && is_digits(fraction)
        && (!whole.is_empty() || (has_point && !fraction.is_empty()))
        && exponent.is_none_or(|e| {
            let digits = e.strip_prefix(['-', '+']).unwrap_or(e);
            !digits.is_empty() && is_digits(digits)
        });
    if !right {
        return None;
    }
    text.parse::<f64>().ok().filter(|f| f.is_finite())
}

fn is_timestamp_like(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

/// The formats of go-yaml's `parseTimestamp`, read as Go's `time.Parse` does.
fn is_timestamp(value: &str) -> bool {
    is_timestamp_like(value)
        && (Clock { rest: value }.date_time('T', true)
            || Clock { rest: value }.date_time('t', true)
            || Clock { rest: value }.date_time(' ', false)
            || Clock { rest: value }.date_only())
}

struct Clock<'v> {
    rest: &'v str,
}

impl Clock<'_> {
    fn date_only(mut self) -> bool {
        self.date().is_some() && self.rest.is_empty()
    }

    fn date_time(mut self, separator: char, zone: bool) -> bool {
        self.read_date_time(separator, zone).is_some() && self.rest.is_empty()
    }

    fn read_date_time(&mut self, separator: char, zone: bool) -> Option<()> {
        self.date()?;
        self.literal(separator)?;
        self.number(23)?;
        self.literal(':')?;
        self.number(59)?;
        self.literal(':')?;
        self.number(59)?;
        if self.rest.starts_with(['.', ','])
            && self.rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
        {
            self.rest = self.rest[1..].trim_start_matches(|c: char| c.is_ascii_digit());
        }
        if zone { self.zone() } else { Some(()) }
    }

    fn date(&mut self) -> Option<()> {
        let year: u32 = self.rest.get(..4)?.parse().ok()?;
        self.rest = &self.rest[4..];
        self.literal('-')?;
        let month = self.number(12)?;
        self.literal('-')?;
        let day = self.number(31)?;
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (month >= 1 && day >= 1 && day <= days).then_some(())
    }

    /// A blank of the format means any number of blanks, and none at the end.
    fn literal(&mut self, c: char) -> Option<()> {
        if c == ' ' {
            if !self.rest.is_empty() && !self.rest.starts_with(' ') {
                return None;
            }
            self.rest = self.rest.trim_start_matches(' ');
        } else {
            self.rest = self.rest.strip_prefix(c)?;
        }
        Some(())
    }

    /// One or two digits.
    fn number(&mut self, max: u32) -> Option<u32> {
        let digits = self
            .rest
            .bytes()
            .take(2)
            .take_while(u8::is_ascii_digit)
            .count();
        let number = self.rest[..digits].parse().ok().filter(|n| *n <= max)?;
        self.rest = &self.rest[digits..];
        Some(number)
    }

    fn zone(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Some(());
        }
        let bytes = self.rest.as_bytes();
        let zone = bytes.get(..6)?;
        let two = |at: usize| {
            let (high, low) = (zone[at], zone[at + 1]);
            (high.is_ascii_digit() && low.is_ascii_digit())
                .then(|| (high - b'0') * 10 + (low - b'0'))
        };
        let right =
            matches!(zone[0], b'+' | b'-') && zone[3] == b':' && two(1)? <= 24 && two(4)? <= 60;
        self.rest = &self.rest[6..];
        right.then_some(())
    }
}

/// Base64 as Go's `base64.StdEncoding` reads it: padding needed, line breaks skipped, loose last bits allowed.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut symbols = text.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n'));
    let mut bytes = Vec::new();
    loop {
        let mut quantum: u32 = 0;
        let mut count = 0;
        let mut padding = 0;
        while count + padding < 4 {
            let Some(symbol) = symbols.next() else {
                return (count + padding == 0).then_some(bytes);
            };
            let six = match symbol {
                b'A'..=b'Z' => symbol - b'A',
                b'a'..=b'z' => symbol - b'a' + 26,
                b'0'..=b'9' => symbol - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if count >= 2 => {
                    padding += 1;
                    continue;
                }
                _ => return None,
            };
            if padding > 0 {
                return None;
            }
            quantum |= u32::from(six) << (18 - 6 * count);
            count += 1;
        }
        bytes.extend(&quantum.to_be_bytes()[1..count]);
        if padding > 0 {
            return symbols.next().is_none().then_some(bytes);
        }
    }
}
