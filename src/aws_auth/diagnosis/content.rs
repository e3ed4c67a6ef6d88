//! Errors within one line: dashes, field and value.

use super::defect::DefectKind;
use super::flow::nesting;
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
    if let Some((bullet, rest)) = bullet(text, in_list) {
        let content = rest.trim_start_matches(' ');
        dashes = 1;
        lead = bullet.chars().count() + rest.len() - content.len();
        let bullet = bullet.to_owned();
        defects.push((DefectKind::Bullet { bullet }, text.to_owned()));
        text = content;
    }
    while let Some(rest) = text.strip_prefix('-') {
        let content = rest.trim_start_matches([' ', '\t']);
        let blank = rest.len() - content.len();
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
        if rest[..blank].contains('\t') {
            // Its width is unknown.
            lead += 2;
            defects.push((DefectKind::Tab, text.to_owned()));
        } else {
            lead += 1 + blank.max(1);
        }
        text = content;
    }
    if let Some(inner) = quoted_field(text) {
        defects.push((DefectKind::QuotedField, text.to_owned()));
        text = inner;
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
    is_field(&text[..word_length(text)])
}

fn word_length(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_alphanumeric).count()
}

/// Another sign of a list, and what follows it. A number is one only before a field.
fn bullet(text: &str, in_list: bool) -> Option<(&str, &str)> {
    let mark = text.chars().next()?;
    let is_sign = matches!(
        mark,
        '*' | '+' | '\u{2022}' | '\u{b7}' | '\u{25e6}' | '\u{2023}'
    );
    let length = if is_sign {
        mark.len_utf8()
    } else {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let is_number = (1..=3).contains(&digits) && text[digits..].starts_with(['.', ')']);
        if is_number { digits + 1 } else { 0 }
    };
    let (bullet, rest) = text.split_at(length);
    let content = rest.trim_start_matches(' ');
    let is_item = starts_with_field(content) || (in_list && is_sign && !content.is_empty());
    (length > 0 && rest.starts_with(' ') && is_item).then_some((bullet, rest))
}

/// What is within the quotes around a whole field.
fn quoted_field(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text[1..].strip_suffix(quote)?;
    let behind = &inner[word_length(inner)..];
    let is_whole = behind == ":" || behind.starts_with(": ");
    (starts_with_field(inner) && is_whole && !inner.contains(quote)).then_some(inner)
}

impl ParsedLine {
    fn field(&mut self, text: &str, in_list: bool) {
        if let Some(name) = spaced_name(text).filter(|_| self.dashes > 0) {
            self.text = self.joined("the list item", text, &name);
            return;
        }
        if let Some(arn) = text.strip_suffix(':').filter(|arn| is_bare_arn(arn)) {
            let field = if arn.contains(":user/") {
                "userarn"
            } else {
                "rolearn"
            };
            self.defects
                .push((DefectKind::ArnAsKey { field }, text.to_owned()));
            self.content = LineContent::Field {
                name: field.to_owned(),
                has_value: true,
            };
            self.text = format!("{field}: {arn}");
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
        let signs = ["=>", "->", ":=", "==", ":", "=", ";"];
        let value = signs.iter().find_map(|sign| rest.strip_prefix(sign));
        let value = value.unwrap_or(rest).trim().to_owned();
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
        let is_plain = !matches!(first, '"' | '\'' | '[' | '&' | '!' | '|' | '>')
            && (first != '{' || value.starts_with("{{"));
        if let Some(mark) = value.chars().last().filter(|c| matches!(c, ',' | ';'))
            && is_plain
            && value.len() > 1
        {
            self.defects
                .push((DefectKind::TrailingSeparator { mark }, value.to_owned()));
            return self.bare_value(field, value[..value.len() - 1].trim_end());
        }
        let quoted = || quote(value);
        match first {
            '"' | '\'' => self.quoted_value(field, value, first),
            '{' if value.starts_with("{{") => {
                // Three braces are those of another tool.
                let quoted = quote(&value.replace("{{{", "{{").replace("}}}", "}}"));
                if is_placeholder_value(value) {
                    self.defects.push((
                        DefectKind::UnquotedTemplate {
                            field: field.to_owned(),
                            quoted: quoted.clone(),
                        },
                        value.to_owned(),
                    ));
                }
                quoted
            }
            '[' | '{' if nesting(value) < 0 => {
                let surplus = nesting(value).unsigned_abs();
                let bracket = value.chars().last().unwrap_or_default();
                self.defects
                    .push((DefectKind::BracketNotOpened { bracket }, value.to_owned()));
                let kept = value.trim_end_matches([']', '}']);
                let closed = value.len() - kept.len();
                value[..value.len() - surplus.min(closed)].to_owned()
            }
            '[' if has_open_quote(value) => {
                let Some(quoted) = requoted_list(value) else {
                    return value.to_owned();
                };
                self.quotes_within(field, value, quoted)
            }
            '*' if !value[1..].starts_with(|c: char| c.is_ascii_alphanumeric()) => {
                let field = field.to_owned();
                let kind = if super::is_arn_field(&super::field_name(&field)) {
                    DefectKind::WildcardValue { field }
                } else {
                    DefectKind::UnquotedValue {
                        field,
                        quoted: quoted(),
                    }
                };
                self.defects.push((kind, value.to_owned()));
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

impl ParsedLine {
    /// A value that starts with a quote.
    fn quoted_value(&mut self, field: &str, value: &str, first: char) -> String {
        let Some(end) = end_of_quotes(value, first) else {
            // The other quote was meant to close it.
            let other = if first == '"' { '\'' } else { '"' };
            let inner = &value[1..];
            let content = inner.strip_suffix(other).unwrap_or(inner);
            let kind = DefectKind::QuoteNotClosed { quote: first };
            self.defects.push((kind, value.to_owned()));
            return format!("{first}{content}{first}");
        };
        let rest = value[end..].trim();
        if let Some(mark) = rest.chars().next().filter(|c| matches!(c, ',' | ';')) {
            if rest.len() == 1 {
                self.defects
                    .push((DefectKind::TrailingSeparator { mark }, value.to_owned()));
                return value[..end].to_owned();
            }
            return value.to_owned();
        }
        if rest.is_empty() {
            return value.to_owned();
        }
        let whole = value[1..].strip_suffix(first);
        let content = whole.map_or_else(|| value.replace(first, ""), str::to_owned);
        self.quotes_within(field, value, quote(&content.replace('"', "")))
    }

    fn quotes_within(&mut self, field: &str, value: &str, quoted: String) -> String {
        let kind = DefectKind::QuotesWithin {
            field: field.to_owned(),
            quoted: quoted.clone(),
        };
        self.defects.push((kind, value.to_owned()));
        quoted
    }
}

/// A text in double quotes.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_bare_arn(text: &str) -> bool {
    text.starts_with("arn:") && !text.contains(char::is_whitespace)
}

/// Whether a quote in a list opens and is never closed.
fn has_open_quote(value: &str) -> bool {
    let mut open = None;
    for c in value.chars() {
        match (open, c) {
            (Some(quote), c) if c == quote => open = None,
            (None, '"' | '\'') => open = Some(c),
            (_, _) => {}
        }
    }
    open.is_some()
}

/// A list in one line with each item in double quotes, where that is all that its items lack.
fn requoted_list(value: &str) -> Option<String> {
    let inner = value.strip_prefix('[')?.strip_suffix(']')?;
    let items = inner.split(',').map(|item| {
        let bare = item.trim().trim_matches(['"', '\'']);
        let is_name = bare
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"'[]{}\\".contains(&b));
        (is_name && !bare.is_empty()).then(|| quote(bare))
    });
    let items: Option<Vec<String>> = items.collect();
    Some(format!("[{}]", items?.join(", ")))
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

/// Where a quoted text ends, behind its closing quote.
fn end_of_quotes(value: &str, quote: char) -> Option<usize> {
    let mut chars = value.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            let is_doubled = quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == quote);
            if !is_doubled {
                return Some(at + 1);
            }
            chars.next();
        }
    }
    None
}

/// Whether all templates of a value are placeholders of the authenticator, exactly or nearly, so that quotes are what is missing.
fn is_placeholder_value(value: &str) -> bool {
    let mut rest = value;
    while let Some(open) = rest.find("{{") {
        let inner = &rest[open + 2..];
        let Some(end) = inner.find("}}") else {
            return false;
        };
        let name = inner[..end].trim_matches(['{', ' ']);
        if !PLACEHOLDERS.iter().any(|known| almost(name, known)) {
            return false;
        }
        rest = &inner[end + 2..];
    }
    true
}
