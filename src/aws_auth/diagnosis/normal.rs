//! The text without what can't be part of it: characters that look like others, copied prefixes, `\n` as two characters.

use super::defect::{Defect, DefectKind};

/// A line that is being put in order.
#[derive(Clone, Debug)]
pub(super) struct DraftLine {
    /// The line of the original, counted from 0.
    pub(super) origin: usize,
    pub(super) text: String,
}

impl DraftLine {
    /// The columns before the content, which may be tabs.
    pub(super) fn indent(&self) -> usize {
        self.text.len() - self.content().len()
    }

    pub(super) fn content(&self) -> &str {
        self.text.trim_start_matches([' ', '\t'])
    }

    pub(super) fn is_blank(&self) -> bool {
        let content = self.content();
        content.trim().is_empty() || content.starts_with('#')
    }
}

/// The lines of a text, and what was wrong with their characters.
pub(super) fn normal(text: &str) -> (Vec<DraftLine>, Vec<Defect>) {
    let mut lines: Vec<DraftLine> = text
        .split('\n')
        .enumerate()
        .map(|(origin, line)| DraftLine {
            origin,
            text: line.strip_suffix('\r').unwrap_or(line).to_owned(),
        })
        .collect();
    let mut defects = Vec::new();
    shell_command(&mut lines, &mut defects);
    describe_output(&mut lines, &mut defects);
    code_fences(&mut lines, &mut defects);
    prefixes(&mut lines, &mut defects);
    lookalikes(&mut lines, &mut defects);
    super::letters::letters(&mut lines, &mut defects);
    newlines(&mut lines, &mut defects);
    (lines, defects)
}

/// The first mark of a merge conflict of git.
pub(super) fn merge_conflict(text: &str) -> Option<Defect> {
    let is_mark = |line: &str| {
        let line = line.trim_start();
        line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ")
    };
    let mut lines = text.lines().enumerate();
    let (number, line) = lines.find(|(_, line)| is_mark(line))?;
    Some(Defect::new(DefectKind::MergeConflict, number, line.trim()))
}

/// The command that printed a text, copied with it.
fn shell_command(lines: &mut Vec<DraftLine>, defects: &mut Vec<Defect>) {
    let Some(at) = lines.iter().position(|line| !line.text.trim().is_empty()) else {
        return;
    };
    let line = lines[at].text.trim();
    let is_command = line.starts_with("kubectl ")
        || line.starts_with("$ ")
        || line.contains("$ kubectl ")
        || line.contains("# kubectl ") && !line.starts_with('#');
    if is_command {
        let kind = DefectKind::ShellCommand;
        defects.push(Defect::new(kind, lines[at].origin, line));
        lines.remove(at);
    }
}

const HEADINGS: [&str; 8] = [
    "Name:",
    "Namespace:",
    "Labels:",
    "Annotations:",
    "Data",
    "BinaryData",
    "Events:",
    "====",
];

/// Whether a line is one that `kubectl describe` prints around the values.
pub(crate) fn is_describe_line(line: &str) -> bool {
    let line = line.trim();
    let is_ruler =
        line.len() >= 4 && (line.bytes().all(|b| b == b'=') || line.bytes().all(|b| b == b'-'));
    is_ruler
        || HEADINGS.iter().any(|heading| {
            line == *heading || (heading.ends_with(':') && line.starts_with(heading))
        })
}

/// Whether a text is, in whole or in part, what `kubectl describe` prints: a ruler, or two of its headings.
pub(crate) fn is_describe_output(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| is_describe_line(line));
    let Some(first) = lines.next() else {
        return false;
    };
    first.trim().starts_with(['=', '-']) || lines.next().is_some()
}

fn describe_output(lines: &mut Vec<DraftLine>, defects: &mut Vec<Defect>) {
    let text: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    if !is_describe_output(&text.join("\n")) {
        return;
    }
    let Some(first) = lines.iter().find(|line| is_describe_line(&line.text)) else {
        return;
    };
    defects.push(Defect::new(
        DefectKind::DescribeOutput,
        first.origin,
        first.text.trim(),
    ));
    // `mapRoles:` above a ruler is its heading.
    let heading = |at: usize| {
        let is_ruler = |line: &DraftLine| {
            let line = line.text.trim();
            line.len() >= 4 && line.bytes().all(|b| b == b'-')
        };
        lines.get(at + 1).is_some_and(is_ruler)
    };
    let kept = (0..lines.len()).filter(|at| !is_describe_line(&lines[*at].text) && !heading(*at));
    *lines = kept.map(|at| lines[at].clone()).collect();
}

fn code_fences(lines: &mut Vec<DraftLine>, defects: &mut Vec<Defect>) {
    let is_fence = |line: &DraftLine| line.content().starts_with("```");
    if let Some(first) = lines.iter().find(|line| is_fence(line)) {
        let last = lines.iter().rev().find(|line| is_fence(line));
        let through = last.map_or(first.origin, |last| last.origin);
        let defect = Defect::new(DefectKind::CodeFence, first.origin, first.content().trim());
        defects.push(defect.through(through));
        lines.retain(|line| !is_fence(line));
    }
}

/// The length of a prefix of a line.
type PrefixLength<'a> = dyn Fn(&str) -> Option<usize> + 'a;

/// Line numbers, and the marks of quotations and diffs, where all lines have them.
fn prefixes(lines: &mut [DraftLine], defects: &mut Vec<Defect>) {
    let marked = |mark: char| move |line: &str| line.starts_with(mark).then_some(mark.len_utf8());
    let grep = grep_prefix(lines);
    let of_grep = |line: &str| {
        let rest = line.strip_prefix(grep.as_deref()?)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let is_end = digits > 0 && rest[digits..].starts_with([':', '-']);
        Some(line.len() - rest.len() + if is_end { digits + 1 } else { 0 })
    };
    let is_diff = is_diff(lines);
    let of_diff = |line: &str| (is_diff && line.starts_with([' ', '+'])).then_some(1);
    let kinds: [(&'static str, &PrefixLength<'_>); 6] = [
        ("file name and line number", &of_grep),
        ("marks of a diff", &of_diff),
        ("line numbers", &number),
        ("`>` of a quotation", &marked('>')),
        ("`+` of a diff", &marked('+')),
        ("`|` of a table", &marked('|')),
    ];
    for (what, length) in kinds {
        let content = lines.iter().filter(|line| !line.text.trim().is_empty());
        let lengths: Vec<Option<usize>> = content.map(|line| length(line.text.as_str())).collect();
        let found = lengths.iter().flatten().count();
        if found < 3 || found * 5 < lengths.len() * 4 {
            continue;
        }
        let has = |line: &&DraftLine| length(&line.text).is_some();
        let first = lines.iter().find(has).map_or(0, |line| line.origin);
        let last = lines.iter().rev().find(has).map_or(0, |line| line.origin);
        let at = lines.iter().find(has).map_or("", |line| {
            line.text[..length(&line.text).unwrap_or_default()].trim()
        });
        defects.push(Defect::new(DefectKind::LinePrefix { what }, first, at).through(last));
        for line in lines.iter_mut() {
            if let Some(length) = length(&line.text) {
                line.text.replace_range(..length, "");
            }
        }
        // What separated the prefix from the text.
        let indents = lines.iter().filter(|line| !line.text.trim().is_empty());
        let common = indents.map(DraftLine::indent).min().unwrap_or_default();
        for line in lines.iter_mut() {
            let common = common.min(line.text.len());
            line.text.replace_range(..common, "");
        }
    }
}

/// The name of a file that begins most lines, with the colon behind it.
fn grep_prefix(lines: &[DraftLine]) -> Option<String> {
    let first = lines.iter().find(|line| !line.text.trim().is_empty())?;
    let (name, _) = first.text.split_once(':')?;
    let is_file = name.contains(['.', '/']) && !name.contains([' ', '"', '\'']);
    is_file.then(|| format!("{name}:"))
}

/// Whether a text is one that a diff shows: each line begins with a space or a plus, and some with each.
fn is_diff(lines: &[DraftLine]) -> bool {
    let mut content = lines.iter().filter(|line| !line.text.trim().is_empty());
    let is_first = content
        .next()
        .is_some_and(|line| line.text.starts_with(' '));
    let mut some = false;
    is_first
        && content.all(|line| {
            some |= line.text.starts_with('+');
            line.text.starts_with([' ', '+'])
        })
        && some
}

/// The length of a line number with what is around it. A bare number before a space is one only if text follows.
fn number(line: &str) -> Option<usize> {
    let start = line.len() - line.trim_start().len();
    let digits = line[start..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 5 {
        return None;
    }
    let rest = &line[start + digits..];
    let separator = rest.chars().next();
    match separator {
        Some(':' | '|' | ')' | '.' | '\t' | '│') => {
            Some(start + digits + separator.map_or(0, char::len_utf8))
        }
        Some(' ') => {
            let marks = rest.trim_start();
            let mark = marks.chars().next().filter(|c| matches!(c, '|' | '│'));
            let blank = rest.len() - marks.len();
            Some(start + digits + mark.map_or(0, |mark| blank + mark.len_utf8()))
        }
        None => Some(line.len()),
        Some(_) => None,
    }
}

/// A class of characters that look like one that YAML knows.
struct LookalikeClass {
    name: &'static str,
    instead: &'static str,
    to: &'static str,
    is: fn(char) -> bool,
    /// Where it matters: anywhere, or only where YAML would have the other one.
    anywhere: bool,
}

static LOOKALIKES: [LookalikeClass; 7] = [
    LookalikeClass {
        name: "non-breaking space",
        instead: "a space",
        to: " ",
        is: |c| matches!(c, '\u{a0}' | '\u{202f}'),
        anywhere: true,
    },
    LookalikeClass {
        name: "space of another width",
        instead: "a space",
        to: " ",
        is: |c| {
            matches!(
                c,
                '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}'
            )
        },
        anywhere: true,
    },
    LookalikeClass {
        name: "invisible character",
        instead: "",
        to: "",
        is: |c| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'),
        anywhere: true,
    },
    LookalikeClass {
        name: "typographic double quote",
        instead: "`\"`",
        to: "\"",
        is: |c| {
            matches!(
                c,
                '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2033}' | '\u{ff02}'
            )
        },
        anywhere: false,
    },
    LookalikeClass {
        name: "typographic single quote",
        instead: "`'`",
        to: "'",
        is: |c| {
            matches!(
                c,
                '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{b4}' | '\u{ff07}'
            )
        },
        anywhere: false,
    },
    LookalikeClass {
        name: "typographic dash",
        instead: "`-`",
        to: "-",
        is: |c| {
            matches!(
                c,
                '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}'
            )
        },
        anywhere: false,
    },
    LookalikeClass {
        name: "typographic colon",
        instead: "`:`",
        to: ":",
        is: |c| matches!(c, '\u{ff1a}' | '\u{fe55}' | '\u{a789}' | '\u{2236}'),
        anywhere: false,
    },
];

fn lookalikes(lines: &mut [DraftLine], defects: &mut Vec<Defect>) {
    for class in &LOOKALIKES {
        let mut found: Option<(Defect, usize)> = None;
        for line in lines.iter_mut() {
            if line.text.is_ascii() || line.text.trim_start().starts_with('#') {
                continue;
            }
            let mut word = 0;
            let mut places: Vec<(usize, char)> = Vec::new();
            for (at, c) in line.text.char_indices() {
                if matches!(c, ' ' | '"' | '\'') {
                    word = at + c.len_utf8();
                } else if (class.is)(c) && (class.anywhere || matters(&line.text, word, at, c)) {
                    places.push((at, c));
                }
            }
            let Some((at, character)) = places.first().copied() else {
                continue;
            };
            let (defect, count) = found.get_or_insert_with(|| {
                let kind = DefectKind::Lookalike {
                    name: class.name,
                    character,
                    count: 0,
                    instead: class.instead,
                };
                let from = line.text[at..].to_owned();
                (Defect::new(kind, line.origin, from), 0)
            });
            *count += places.len();
            defect.through = line.origin;
            let mut text = String::with_capacity(line.text.len());
            let mut from = 0;
            for (at, c) in places {
                text += &line.text[from..at];
                text += class.to;
                from = at + c.len_utf8();
            }
            text += &line.text[from..];
            line.text = text;
        }
        if let Some((mut defect, total)) = found {
            if let DefectKind::Lookalike { count, .. } = &mut defect.kind {
                *count = total;
            }
            defects.push(defect);
        }
    }
}

/// Whether YAML would have a quote, dash or colon here, or the text is an ARN, which is ASCII. `word` is where the word begins: a line can
/// hold thousands of such characters, so little of it is looked at for each.
fn matters(line: &str, word: usize, at: usize, c: char) -> bool {
    let before = line[..at].trim_end();
    let after = line[at + c.len_utf8()..].trim_start();
    let is_item = before.is_empty() && line[at + c.len_utf8()..].starts_with(' ');
    let is_quote = matches!(
        c,
        '\u{2018}'
            ..='\u{201f}'
                | '\u{ab}'
                | '\u{bb}'
                | '\u{b4}'
                | '\u{2032}'
                | '\u{2033}'
                | '\u{ff02}'
                | '\u{ff07}'
    );
    let edge = before.is_empty()
        || before.ends_with([':', '-', '[', ',', '{'])
        || after.is_empty()
        || after.starts_with([',', ']', '}', ':', '#']);
    let is_colon = matches!(c, '\u{ff1a}' | '\u{fe55}' | '\u{a789}' | '\u{2236}');
    let is_field = || {
        let field = before.trim_start_matches(['-', ' ', '"', '\'']);
        super::is_field(field)
    };
    line[word..at].starts_with("arn:")
        || is_item
        || (is_quote && edge)
        || (is_colon && matches!(&line[word..at], "system" | "eks"))
        || (is_colon && at <= FIELD_WITHIN && is_field())
}

/// A field begins a line, and its colon is within so many bytes.
const FIELD_WITHIN: usize = 256;

/// `\n` as two characters at the end of a line, or where a line should end.
fn newlines(lines: &mut Vec<DraftLine>, defects: &mut Vec<Defect>) {
    let has = |line: &DraftLine| line.text.contains("\\n") && !line.is_blank();
    let Some(first) = lines.iter().find(|line| has(line)) else {
        return;
    };
    let count = lines
        .iter()
        .map(|line| line.text.matches("\\n").count())
        .sum();
    let at = &first.text[first.text.find("\\n").unwrap_or_default()..];
    let defect = Defect::new(DefectKind::LiteralNewline { count }, first.origin, at);
    let last = lines.iter().rev().find(|line| has(line));
    defects.push(defect.through(last.map_or(0, |last| last.origin)));
    let split = |line: &DraftLine| -> Vec<DraftLine> {
        if !has(line) {
            return vec![line.clone()];
        }
        let text = line.text.replace("\\r\\n", "\\n");
        let text = text
            .trim()
            .strip_prefix('"')
            .filter(|_| text.matches("\\n").count() > 1)
            .map_or(text.clone(), str::to_owned);
        text.split("\\n")
            .filter(|part| !part.trim().trim_matches('"').is_empty())
            .map(|part| DraftLine {
                origin: line.origin,
                text: part.trim_end().to_owned(),
            })
            .collect()
    };
    *lines = lines.iter().flat_map(split).collect();
}
