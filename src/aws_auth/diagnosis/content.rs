//! Errors within one line: dashes, field and value.

use super::defect::DefectKind;
use super::{FIELDS, PLACEHOLDERS, field_name, is_field};
use crate::yaml::almost;

/// What a line holds behind its indentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LineContent {
    /// `key: value`; the value is empty where lines below hold it.
    Field {
        /// As `encoding/json` compares it.
        name: String,
        has_value: bool,
    },
    /// Anything else.
    Text,
}

/// A line taken apart, with its own faults already fixed in `text`.
#[derive(Clone, Debug)]
pub(super) struct ParsedLine {
    /// How many `- ` there are.
    pub(super) dashes: usize,
    /// Columns from the first dash to the content.
    pub(super) lead: usize,
    pub(super) content: LineContent,
    pub(super) text: String,
    /// A further line into which a part of this one goes.
    pub(super) rest: Option<String>,
    pub(super) defects: Vec<(DefectKind, String)>,
}

/// Takes a line apart. `in_list` where a list of groups or accounts is open, of which the line can be an item.
pub(super) fn parse(line: &str, in_list: bool) -> ParsedLine {
    let mut text = line.trim_end();
    let mut dashes = 0;
    let mut lead = 0;
    let mut defects = Vec::new();
    while let Some(rest) = text.strip_prefix('-') {
        let blank = rest.len() - rest.trim_start_matches(' ').len();
        let is_joined = blank == 0 && !rest.is_empty();
        if is_joined {
            let word = rest.trim_start_matches(['"', '\'']);
            let is_text = rest.starts_with("arn:") || rest.starts_with("system:");
            if dashes > 0
                || !(starts_with_field(word) || is_text || (in_list && !rest.starts_with('-')))
            {
                break;
            }
            defects.push((DefectKind::DashWithoutSpace, text.to_owned()));
        }
        dashes += 1;
        lead += 1 + blank.max(1);
        text = rest.trim_start_matches(' ');
    }
    let mut parsed = ParsedLine {
        dashes,
        lead,
        content: LineContent::Text,
        text: text.to_owned(),
        rest: None,
        defects,
    };
    if !text.is_empty() {
        parsed.field(text, in_list);
    }
    parsed
}

/// `system: masters`: a name with a space behind its colon.
fn spaced_name(text: &str) -> Option<String> {
    let (prefix, rest) = text.split_once(':')?;
    let name = rest.trim();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    (prefix == "system" && rest.starts_with(' ') && is_name).then(|| format!("{prefix}:{name}"))
}

fn starts_with_field(text: &str) -> bool {
    let length = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    is_field(&text[..length])
}

impl ParsedLine {
    fn field(&mut self, text: &str, in_list: bool) {
        if let Some(name) = spaced_name(text).filter(|_| self.dashes > 0) {
            self.text = self.joined("the list item", text, &name);
            return;
        }
        let Some((key, value)) = self.key(text, in_list) else {
            let fixed = self.value("the list item", text);
            self.text = fixed;
            return;
        };
        let name = field_name(&key);
        let has_value = !value.is_empty() && !value.starts_with('#');
        self.content = LineContent::Field {
            name: name.clone(),
            has_value,
        };
        let mut value = value;
        if has_value && name != "groups" {
            value = self.doubled(&name, value);
        }
        if has_value && name == "groups" && (value == "-" || value.starts_with("- ")) {
            self.defects.push((DefectKind::ListInLine, value.clone()));
            self.rest = Some(value);
            self.text = format!("{key}:");
            self.content = LineContent::Field {
                name,
                has_value: false,
            };
            return;
        }
        let label = key.trim_matches(['"', '\'']).to_owned();
        let fixed = if has_value {
            self.value(&label, &value)
        } else {
            value
        };
        self.text = if fixed.is_empty() {
            format!("{key}:")
        } else {
            format!("{key}: {fixed}")
        };
    }

    /// A name that a space makes two of, in quotes.
    fn joined(&mut self, field: &str, written: &str, name: &str) -> String {
        let quoted = format!("\"{name}\"");
        let kind = DefectKind::UnquotedValue {
            field: field.to_owned(),
            quoted: quoted.clone(),
        };
        self.defects.push((kind, written.to_owned()));
        quoted
    }

    /// Key and value, also where the colon or the space behind it is missing.
    fn key(&mut self, text: &str, in_list: bool) -> Option<(String, String)> {
        if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let end = text[1..].find(quote)? + 1;
            let key = &text[..=end];
            let rest = &text[end + 1..];
            let value = rest.strip_prefix(':')?;
            if !value.is_empty() && !value.starts_with(' ') {
                let field = key.trim_matches(quote).to_owned();
                self.defects
                    .push((DefectKind::MissingSpace { field }, text.to_owned()));
            }
            return Some((key.to_owned(), value.trim().to_owned()));
        }
        let word = text
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            .count();
        let (key, rest) = text.split_at(word);
        let known = is_field(key);
        if let Some(value) = rest.strip_prefix(':') {
            if value.is_empty() || value.starts_with(' ') {
                return (!key.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()));
            }
            if !known {
                return None;
            }
            let value = value.trim_start_matches(':').trim();
            let field = key.to_owned();
            self.defects
                .push((DefectKind::MissingSpace { field }, text.to_owned()));
            return Some((key.to_owned(), value.to_owned()));
        }
        let separated = rest.is_empty() || rest.starts_with([' ', '=', ';']);
        if !known || !separated {
            return None;
        }
        // A group can be called like a field; it has a dash of its own then.
        let is_plain_group = in_list && self.dashes > 0 && rest.is_empty();
        if is_plain_group {
            return None;
        }
        let rest = rest.trim_start();
        let value = rest
            .strip_prefix([':', '=', ';'])
            .unwrap_or(rest)
            .trim()
            .to_owned();
        let field = key.to_owned();
        self.defects
            .push((DefectKind::MissingColon { field }, text.to_owned()));
        Some((key.to_owned(), value))
    }

    /// `rolearn: rolearn: arn:…` and `rolearn: a username: b`.
    fn doubled(&mut self, name: &str, value: String) -> String {
        if let Some((first, rest)) = value.split_once(": ")
            && field_name(first) == name
        {
            let field = first.to_owned();
            self.defects
                .push((DefectKind::FieldTwice { field }, value.clone()));
            return rest.trim().to_owned();
        }
        if value.starts_with(['"', '\'', '[', '{']) {
            return value;
        }
        let second = FIELDS.iter().filter_map(|field| {
            let at = value.find(&format!(" {field}:"))?;
            Some((at, *field))
        });
        if let Some((at, field)) = second.min() {
            let field = field.to_owned();
            self.rest = Some(value[at..].trim().to_owned());
            self.defects.push((
                DefectKind::JoinedFields { field },
                value[at..].trim().to_owned(),
            ));
            return value[..at].trim_end_matches([',', ' ']).to_owned();
        }
        value
    }

    /// A value, quoted where YAML would read something else.
    fn value(&mut self, field: &str, value: &str) -> String {
        let (value, comment) = parts(value);
        let fixed = self.bare_value(field, value);
        format!("{fixed}{comment}")
    }

    fn bare_value(&mut self, field: &str, value: &str) -> String {
        let Some(first) = value.chars().next() else {
            return String::new();
        };
        let quoted = || format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        match first {
            '"' | '\'' => {
                let inner = &value[1..];
                if closes(inner, first) {
                    return value.to_owned();
                }
                // The other quote was meant to close it.
                let other = if first == '"' { '\'' } else { '"' };
                let content = inner.strip_suffix(other).unwrap_or(inner);
                self.defects.push((
                    DefectKind::QuoteNotClosed { quote: first },
                    value.to_owned(),
                ));
                format!("{first}{content}{first}")
            }
            '{' if value.starts_with("{{") => {
                if is_placeholder_value(value) {
                    self.defects.push((
                        DefectKind::UnquotedTemplate {
                            field: field.to_owned(),
                            quoted: quoted(),
                        },
                        value.to_owned(),
                    ));
                }
                quoted()
            }
            '@' | '`' | '%' => {
                self.defects.push((
                    DefectKind::UnquotedValue {
                        field: field.to_owned(),
                        quoted: quoted(),
                    },
                    value.to_owned(),
                ));
                quoted()
            }
            '[' | '{' | '&' | '*' | '!' | '|' | '>' | '?' => value.to_owned(),
            _ if value.ends_with(['"', '\'']) && value.matches(['"', '\'']).count() == 1 => {
                let quote = value.chars().last().unwrap_or_default();
                self.defects
                    .push((DefectKind::QuoteNotOpened { quote }, value.to_owned()));
                value[..value.len() - 1].to_owned()
            }
            _ if value == "system:node:" && field == "username" => {
                let quoted = "\"system:node:{{EC2PrivateDNSName}}\"".to_owned();
                let kind = DefectKind::LostPlaceholder {
                    quoted: quoted.clone(),
                };
                self.defects.push((kind, value.to_owned()));
                quoted
            }
            _ if spaced_name(value).is_some() => {
                let name = spaced_name(value).unwrap_or_default();
                self.joined(field, value, &name)
            }
            _ if value.contains(": ") || value.ends_with(':') => {
                let kind = DefectKind::UnquotedValue {
                    field: field.to_owned(),
                    quoted: quoted(),
                };
                self.defects.push((kind, value.to_owned()));
                quoted()
            }
            _ => value.to_owned(),
        }
    }
}

/// A value and the comment behind it, with the space before that.
fn parts(value: &str) -> (&str, &str) {
    let from = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
        _ => 0,
    };
    match value[from..].find(" #") {
        Some(at) => {
            let bare = value[..from + at].trim_end();
            (bare, &value[bare.len()..])
        }
        None => (value, ""),
    }
}

/// Whether a quoted text, without its first quote, ends with that quote.
fn closes(inner: &str, quote: char) -> bool {
    let mut escaped = false;
    let mut closed = false;
    for c in inner.chars() {
        if quote == '"' && escaped {
            escaped = false;
            continue;
        }
        closed = match c {
            '\\' if quote == '"' => {
                escaped = true;
                false
            }
            c if c == quote => !closed || quote == '"',
            ',' if closed => true,
            _ => false,
        };
    }
    closed
}

/// Whether all templates of a value are placeholders of the authenticator, exactly or nearly, so that quotes are what is missing.
fn is_placeholder_value(value: &str) -> bool {
    let mut rest = value;
    while let Some(open) = rest.find("{{") {
        let inner = &rest[open + 2..];
        let Some(end) = inner.find("}}") else {
            return false;
        };
        let name = inner[..end].trim();
        if !PLACEHOLDERS.iter().any(|known| almost(name, known)) {
            return false;
        }
        rest = &inner[end + 2..];
    }
    true
}
