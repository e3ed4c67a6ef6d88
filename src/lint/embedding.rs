//! Where the bytes of a value stand in the file that holds it.
//!
//! Known for what `kubectl get -o yaml` and people write: block scalars with `|`, and double quotes, as in JSON. Each guess is
//! compared with the value, so that a place is never wrong; where it can't be determined, there is none.

use std::ops::Range;

/// Some bytes of the value and those of the file that they come from.
#[derive(Clone, Debug)]
struct Piece {
    value: Range<usize>,
    file: Range<usize>,
}

impl Piece {
    /// Byte for byte the same; else an escape, or the end of a line.
    fn is_verbatim(&self) -> bool {
        self.value.len() == self.file.len()
    }
}

/// How the value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// `|`, each line indented by so many bytes.
    Literal(usize),
    Quoted,
}

/// The places of a value's bytes in its file.
#[derive(Clone, Debug)]
pub(super) struct Embedding {
    pieces: Vec<Piece>,
    form: Encoding,
    length: usize,
}

impl Embedding {
    /// A part of a file, as it is.
    pub(super) fn part(span: Range<usize>) -> Self {
        let length = span.len();
        Self {
            pieces: vec![Piece {
                value: 0..length,
                file: span,
            }],
            form: Encoding::Literal(0),
            length,
        }
    }

    /// Finds the places of a value that is written at `span` of a file.
    pub(super) fn find(file: &str, span: &Range<usize>, value: &str) -> Option<Self> {
        match file.as_bytes().get(span.start)? {
            b'|' => literal(file, span, value),
            b'"' => quoted(file, span, value),
            _ => None,
        }
    }

    /// The bytes of the file from which a span of the value comes.
    pub(super) fn span(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.start(span.start);
        let end = if span.is_empty() {
            start
        } else {
            self.end(span.end)
        };
        start..end.max(start)
    }

    fn piece(&self, at: usize) -> Option<&Piece> {
        let next = self.pieces.partition_point(|piece| piece.value.start <= at);
        next.checked_sub(1).map(|before| &self.pieces[before])
    }

    fn start(&self, at: usize) -> usize {
        match self.piece(at) {
            Some(piece) if at >= piece.value.end => piece.file.end,
            Some(piece) if piece.is_verbatim() => piece.file.start + (at - piece.value.start),
            Some(piece) => piece.file.start,
            None => 0,
        }
    }

    fn end(&self, at: usize) -> usize {
        match self.piece(at - 1) {
            Some(piece) if piece.is_verbatim() => {
                piece.file.start + (at.min(piece.value.end) - piece.value.start)
            }
            Some(piece) => piece.file.end,
            None => 0,
        }
    }

    /// What has to be written where in the file, so that these bytes of the value become this text.
    pub(super) fn edit(
        &self,
        file: &str,
        span: &Range<usize>,
        text: &str,
    ) -> (Range<usize>, String) {
        match self.form {
            Encoding::Quoted => (self.span(span), escape(text)),
            Encoding::Literal(indent) => {
                let mut at = self.span(span);
                let mut text = indented(text, indent);
                if span.end < self.length {
                    // Behind the indentation of the line that follows, which so is given to the first new line.
                    at.end = at.end.max(self.start(span.end));
                    if text.ends_with('\n') {
                        text.push_str(&" ".repeat(indent));
                    }
                }
                let line = file[..at.start].rfind('\n').map_or(0, |end| end + 1);
                // Nothing is left of the last lines, so their indentation goes too.
                if text.is_empty() && span.end == self.length && at.start == line + indent {
                    at.start = line;
                }
                (at, text)
            }
        }
    }
}

/// The lines of the value are lines of the file, each behind the same indentation.
fn literal(file: &str, span: &Range<usize>, value: &str) -> Option<Embedding> {
    let header = file[span.start..].find('\n')? + 1;
    let mut pieces = Vec::new();
    let (mut at, mut in_file, mut indent) = (0, span.start + header, None);
    for line in value.split_inclusive('\n') {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let rest = &file[in_file..];
        let length = rest.find('\n').unwrap_or(rest.len());
        let written = rest[..length].strip_suffix('\r').unwrap_or(&rest[..length]);
        let before = if content.is_empty() && written.trim_matches(' ').is_empty() {
            written.len()
        } else {
            written.len().checked_sub(content.len())?
        };
        // Where the line is another one, this can be within a character.
        let blank = written.as_bytes()[..before]
            .iter()
            .all(|byte| *byte == b' ');
        if !blank || !written.ends_with(content) {
            return None;
        }
        if !content.is_empty() {
            if indent.is_some_and(|indent| indent != before) {
                return None;
            }
            indent = Some(before);
        }
        let start = in_file + before;
        pieces.push(Piece {
            value: at..at + content.len(),
            file: start..start + content.len(),
        });
        let next = (in_file + length + 1).min(file.len());
        if line.len() > content.len() {
            pieces.push(Piece {
                value: at + content.len()..at + line.len(),
                file: start + content.len()..next,
            });
        }
        at += line.len();
        in_file = next;
    }
    Some(Embedding {
        pieces,
        form: Encoding::Literal(indent?),
        length: value.len(),
    })
}

/// The value is in double quotes: escapes are distinguished, and folded lines put together.
fn quoted(file: &str, span: &Range<usize>, value: &str) -> Option<Embedding> {
    let inner = file.get(span.start + 1..span.end.checked_sub(1)?)?;
    let offset = span.start + 1;
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut at, mut rest) = (0, value);
    let mut read = 0;
    while read < inner.len() {
        let (decoded, taken) = unit(&inner[read..])?;
        rest = rest.strip_prefix(decoded.as_str())?;
        let verbatim = taken == decoded.len();
        let in_file = offset + read..offset + read + taken;
        match pieces.last_mut() {
            Some(last) if verbatim && last.is_verbatim() && last.file.end == in_file.start => {
                last.value.end += decoded.len();
                last.file.end += taken;
            }
            _ if decoded.is_empty() => {}
            _ => pieces.push(Piece {
                value: at..at + decoded.len(),
                file: in_file,
            }),
        }
        at += decoded.len();
        read += taken;
    }
    rest.is_empty().then_some(Embedding {
        pieces,
        form: Encoding::Quoted,
        length: value.len(),
    })
}

/// The next character, escape or fold of lines: what it means and how many bytes it takes.
fn unit(text: &str) -> Option<(String, usize)> {
    let first = text.chars().next()?;
    match first {
        '\\' => escaped(text),
        ' ' | '\t' | '\r' | '\n' => {
            let blank = text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len();
            let breaks = text[..blank].matches('\n').count();
            match breaks {
                0 => Some((first.to_string(), 1)),
                1 => Some((" ".to_owned(), blank)),
                more => Some(("\n".repeat(more - 1), blank)),
            }
        }
        other => Some((other.to_string(), other.len_utf8())),
    }
}

fn escaped(text: &str) -> Option<(String, usize)> {
    let escape = text[1..].chars().next()?;
    let digits = |count: usize| {
        let code = u32::from_str_radix(text.get(2..2 + count)?, 16).ok()?;
        Some((char::from_u32(code)?.to_string(), 2 + count))
    };
    let one = |c: char| Some((c.to_string(), 1 + escape.len_utf8()));
    match escape {
        'n' => one('\n'),
        't' | '\t' => one('\t'),
        'r' => one('\r'),
        '0' => one('\0'),
        'b' => one('\u{8}'),
        'f' => one('\u{c}'),
        'e' => one('\u{1b}'),
        'N' => one('\u{85}'),
        '_' => one('\u{a0}'),
        'L' => one('\u{2028}'),
        'P' => one('\u{2029}'),
        '"' | '\\' | '/' | ' ' => one(escape),
        'x' => digits(2),
        'u' => digits(4),
        'U' => digits(8),
        '\n' | '\r' => {
            let blank = text[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            Some((String::new(), text.len() - blank.len()))
        }
        _ => None,
    }
}

/// A text inside double quotes, in YAML and in JSON.
fn escape(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Every line but the first gets the indentation; the first is behind what is there.
fn indented(text: &str, indent: usize) -> String {
    let mut lines = text.split_inclusive('\n');
    let mut all = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        if line.trim_end().is_empty() {
            all.push_str(line);
        } else {
            all.push_str(&" ".repeat(indent));
            all.push_str(line);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use proptest::prelude::*;

    fn embedded(file: &str) -> (String, Option<Embedding>) {
        let read = manifest::read(file).remove(0).expect("a document");
        let value = read.text("/data/k").expect("text").to_owned();
        let found = Embedding::find(file, &read.places["data.k"].value, &value);
        (value, found)
    }

    fn at<'f>(file: &'f str, embedding: &Embedding, value: &str, part: &str) -> &'f str {
        let start = value.find(part).expect("part of the value");
        &file[embedding.span(&(start..start + part.len()))]
    }

    #[test]
    fn places_in_block_scalars_and_in_quotes() {
        for file in [
            "data:\n  k: |\n    - a: é\n\n      b: c\n    - d\nx: 1\n",
            "data:\r\n  k: |-\r\n    - a: é\r\n\r\n      b: c\r\n    - d\r\n",
            "data:\n  k: |2\n    - a: é\n\n      b: c\n    - d",
            "{\"data\": {\"k\": \"- a: é\\n\\n  b: c\\n- d\\n\"}}",
            "data:\n  k: \"- a: é\n\n\n    \\  b: c\\n- d\\\n    \"\n",
        ] {
            let (value, found) = embedded(file);
            let found = found.unwrap_or_else(|| panic!("no place in {file:?}"));
            for part in ["a: é", "b: c", "d"] {
                assert_eq!(at(file, &found, &value, part), part, "{file:?}");
            }
        }
        for file in [
            "data: {k: plain}",
            "data:\n  k: >\n    folded\n",
            "data: {k: 'single'}",
        ] {
            assert!(embedded(file).1.is_none(), "{file:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let files = [
            "data:\n  k: |\n    one\n    two\n    three\nkind: x\n",
            "{\"data\": {\"k\": \"one\\ntwo\\nthree\\n\"}}",
        ];
        for file in files {
            let (value, found) = embedded(file);
            let found = found.expect("told");
            for (part, text) in [
                ("two", "\"2\""),
                ("two\n", ""),
                ("three\n", ""),
                ("one\ntwo\n", ""),
                ("two\n", "a\n  b\n"),
            ] {
                let start = value.find(part).expect("there");
                let (at, written) = found.edit(file, &(start..start + part.len()), text);
                let mut edited = file.to_owned();
                edited.replace_range(at, &written);
                let (now, _) = embedded(&edited);
                assert_eq!(now, value.replacen(part, text, 1), "{edited:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn embedded_positions_match_the_value(text in "[\\PC\\n\\t\\\\\"é|>-]{0,40}", head in "[|>\"'][-+2]?\\n?") {
            let file = format!("data:\n  k: {head}{text}");
            if let Some(Ok(read)) = manifest::read(&file).into_iter().next()
                && let (Some(value), Some(place)) = (read.text("/data/k"), read.places.get("data.k"))
                && let Some(found) = Embedding::find(&file, &place.value, value)
            {
                for (start, c) in value.char_indices() {
                    let span = found.span(&(start..start + c.len_utf8()));
                    let there = &file[span];
                    prop_assert!(there.starts_with(c) || there.starts_with('\\') || c.is_whitespace());
                }
            }
        }
    }
}
