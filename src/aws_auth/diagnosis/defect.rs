//! The kinds of errors that people make in aws-auth, each with a description and the fix.

use crate::aws_auth::Section;

/// A kind of fault, recognised by what the text was meant to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DefectKind {
    /// List items below `username` or the ARN, without `groups:` before them.
    MissingGroups,
    /// An entry, group or account without its `- `.
    MissingDash {
        what: &'static str,
    },
    /// A `- ` before a field of the entry above, or a second one before an item.
    ExtraDash,
    /// `-` directly followed by text.
    DashWithoutSpace,
    /// Lines that start further left or right than their structure needs.
    Indentation {
        /// How many columns the first of them has to move to the right; negative to the left.
        by: isize,
        lines: usize,
        /// What it is: `a field`, `a group`.
        what: &'static str,
    },
    /// All lines start in one column.
    IndentationLost,
    Tab,
    /// A list in the column of its key, which belongs below `data:`.
    ListNotIndented,
    /// Fields of a manifest beside `data:` and `metadata:` that belong below them.
    KeysNotIndented {
        keys: Vec<&'static str>,
    },
    /// Text in the line of `|`.
    TextBehindBar,
    /// Another key of aws-auth, or another part of the manifest, within the value of this one.
    NestedKey {
        key: String,
    },
    /// The key's own name at the start of its value.
    OwnKey {
        key: &'static str,
    },
    QuoteNotClosed {
        quote: char,
    },
    /// A closing quote without an opening one.
    QuoteNotOpened {
        quote: char,
    },
    BracketNotClosed {
        bracket: char,
    },
    MissingColon {
        field: String,
    },
    /// `rolearn:arn:…`.
    MissingSpace {
        field: String,
    },
    /// The name of a field twice before its value.
    FieldTwice {
        field: String,
    },
    /// Two fields in one line.
    JoinedFields {
        field: String,
    },
    /// `groups: - a`.
    ListInLine,
    /// A character that looks like one that YAML knows.
    Lookalike {
        name: &'static str,
        character: char,
        count: usize,
        instead: &'static str,
    },
    /// A backslash and an `n` in place of a line break.
    LiteralNewline {
        count: usize,
    },
    /// Numbers, or marks of a quotation or a diff, before every line.
    LinePrefix {
        what: &'static str,
    },
    /// ```` ``` ```` of Markdown.
    CodeFence,
    DescribeOutput,
    UnquotedTemplate {
        field: String,
        quoted: String,
    },
    /// A value that YAML reads as something else: `@a`, `a: b`.
    UnquotedValue {
        field: String,
        quoted: String,
    },
    /// `system:node:` without the placeholder that makes it a node's name.
    LostPlaceholder {
        quoted: String,
    },
    /// A template that was not rendered.
    Template {
        engine: &'static str,
        found: String,
    },
}

impl DefectKind {
    /// What is wrong.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::MissingGroups => "missing `groups:` before a list".to_owned(),
            Self::MissingDash { what } => format!("missing `- ` before {what}"),
            Self::ExtraDash => "one `- ` too many".to_owned(),
            Self::DashWithoutSpace => "`-` without a space after it".to_owned(),
            Self::Indentation { what, lines: 1, .. } => format!("wrong indentation of {what}"),
            Self::Indentation { what, lines, .. } => {
                format!("wrong indentation of {lines} lines, from {what} on")
            }
            Self::IndentationLost => "indentation lost: all lines start in one column".to_owned(),
            Self::Tab => "tab in the indentation".to_owned(),
            Self::ListNotIndented => {
                "indentation lost: the list starts in the column of its key".to_owned()
            }
            Self::KeysNotIndented { keys } => {
                let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                format!(
                    "{} beside `data:` and `metadata:`, not below them",
                    keys.join(", ")
                )
            }
            Self::TextBehindBar => "text after `|` on the same line".to_owned(),
            Self::NestedKey { key } => format!("`{key}` inside the value of another key"),
            Self::OwnKey { key } => format!("`{key}:` inside its own value"),
            Self::QuoteNotClosed { quote } => format!("quote {quote} that is never closed"),
            Self::QuoteNotOpened { quote } => format!("quote {quote} that was never opened"),
            Self::BracketNotClosed { bracket } => format!("`{bracket}` that is never closed"),
            Self::MissingColon { field } => format!("missing `:` after `{field}`"),
            Self::MissingSpace { field } => format!("missing space after `{field}:`"),
            Self::FieldTwice { field } => format!("`{field}:` written twice"),
            Self::JoinedFields { field } => {
                format!("`{field}:` on the same line as the field before it")
            }
            Self::ListInLine => "list that starts on the line of `groups:`".to_owned(),
            Self::Lookalike {
                name,
                character,
                count: 1,
                ..
            } => format!("{name} (U+{:04X})", u32::from(*character)),
            Self::Lookalike {
                name,
                character,
                count,
                ..
            } => format!(
                "{name} (U+{:04X}), {count} times from here on",
                u32::from(*character)
            ),
            Self::LiteralNewline { count: 1 } => {
                "`\\n` as two characters instead of a line break".to_owned()
            }
            Self::LiteralNewline { count } => {
                format!(
                    "`\\n` as two characters instead of a line break, {count} times from here on"
                )
            }
            Self::LinePrefix { what } => format!("{what} before every line"),
            Self::CodeFence => "Markdown code fence".to_owned(),
            Self::DescribeOutput => "output of `kubectl describe`".to_owned(),
            Self::UnquotedTemplate { field, .. } => format!("unquoted template in {field}"),
            Self::UnquotedValue { field, .. } => {
                format!("unquoted value in {field} that YAML reads as something else")
            }
            Self::LostPlaceholder { .. } => {
                "username `system:node:` without its placeholder {{EC2PrivateDNSName}}".to_owned()
            }
            Self::Template { engine, found } => {
                format!("template that was not rendered: {found} ({engine})")
            }
        }
    }

    /// How to fix it, in one line.
    pub(crate) fn fix(&self, section: Section) -> String {
        match self {
            Self::MissingGroups => "insert a line `groups:` above the list".to_owned(),
            Self::MissingDash { .. } => "write `- ` before it".to_owned(),
            Self::ExtraDash => "remove the `- `, and keep the text in its column".to_owned(),
            Self::DashWithoutSpace => "write a space after the `-`".to_owned(),
            Self::Indentation { by, lines, .. } => {
                let them = if *lines == 1 {
                    "this line"
                } else {
                    "these lines"
                };
                let spaces = |count: usize| match count {
                    1 => "1 space".to_owned(),
                    count => format!("{count} spaces"),
                };
                let count = spaces(by.unsigned_abs());
                if *by < 0 {
                    format!("remove {count} before {them}")
                } else {
                    format!("indent {them} by {count} more")
                }
            }
            Self::IndentationLost => {
                "indent fields by 2 spaces and groups by 4, as shown".to_owned()
            }
            Self::Tab => "indent with spaces, so that the line starts where it is shown".to_owned(),
            Self::ListNotIndented => format!(
                "indent the keys by 2 spaces below `data:`, their lines by 4, and the fields within them as `{}` prints them",
                super::GET
            ),
            Self::KeysNotIndented { .. } => {
                "indent `name` and `namespace` by 2 spaces below `metadata:`, and each key with all of its lines by 2 more spaces below \
                    `data:`"
                    .to_owned()
            }
            Self::TextBehindBar => {
                "start the list on the next line, indented by 2 spaces more than the key".to_owned()
            }
            Self::NestedKey { key } => format!(
                "end {section} before `{key}`, and start `{key}` in the column of `{section}`"
            ),
            Self::OwnKey { key } => {
                format!("remove the line, so that the value of {key} starts with `- `")
            }
            Self::QuoteNotClosed { quote } => format!("write {quote} at the end of the value"),
            Self::QuoteNotOpened { quote } => {
                format!("remove the {quote}, or write another one before the value")
            }
            Self::BracketNotClosed { bracket } => {
                let close = if *bracket == '[' { ']' } else { '}' };
                format!("write `{close}` after the last item")
            }
            Self::MissingColon { field } => format!("write `{field}:` and a space"),
            Self::MissingSpace { .. } => "write a space after the `:`".to_owned(),
            Self::FieldTwice { field } => format!("write `{field}:` once"),
            Self::JoinedFields { field } => format!("start `{field}:` on its own line"),
            Self::ListInLine => "start the list on the next line".to_owned(),
            Self::Lookalike {
                instead: "",
                count: 1,
                ..
            } => "remove it".to_owned(),
            Self::Lookalike { instead: "", .. } => "remove each of them".to_owned(),
            Self::Lookalike {
                instead, count: 1, ..
            } => format!("replace it with {instead}"),
            Self::Lookalike { instead, .. } => format!("replace each with {instead}"),
            Self::LiteralNewline { .. } => "replace `\\n` with a real line break".to_owned(),
            Self::LinePrefix { what } => format!("remove the {what}"),
            Self::CodeFence => "remove the line".to_owned(),
            Self::DescribeOutput => format!(
                "keep only the lines of the list, from the first `- ` to the next heading; describe added the rest. `{}` prints YAML",
                super::GET
            ),
            Self::UnquotedTemplate { quoted, .. }
            | Self::UnquotedValue { quoted, .. }
            | Self::LostPlaceholder { quoted } => {
                format!("write {quoted}")
            }
            Self::Template { engine, .. } => format!(
                "render it first ({}), and check the output",
                super::template::render(engine)
            ),
        }
    }
}

/// A fault in a text, by lines: what else is wrong in these lines is fixed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) kind: DefectKind,
    /// Its first line, counted from 0.
    pub(crate) line: usize,
    /// The last line that the fix changes.
    pub(crate) through: usize,
    /// What to point at in the first line; all of it where empty.
    pub(crate) at: String,
}

impl Defect {
    pub(super) fn new(kind: DefectKind, line: usize, at: impl Into<String>) -> Self {
        Self {
            kind,
            line,
            through: line,
            at: at.into(),
        }
    }

    pub(super) fn through(mut self, line: usize) -> Self {
        self.through = self.line.max(line);
        self
    }
}
