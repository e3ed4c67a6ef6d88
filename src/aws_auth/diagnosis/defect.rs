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
    /// Quotes around name and value of a field together.
    QuotedField,
    /// Another sign of a list than `-`.
    Bullet {
        bullet: String,
    },
    /// Quotes that end before the value does.
    QuotesWithin {
        field: String,
        quoted: String,
    },
    BracketNotOpened {
        bracket: char,
    },
    /// A comma or semicolon behind a value.
    TrailingSeparator {
        mark: char,
    },
    /// `*` alone in place of an ARN.
    WildcardValue {
        field: String,
    },
    /// A group written as a field: `dev: true` or `- name: dev`.
    GroupAsField {
        group: String,
    },
    /// An ARN that is the key of its entry.
    ArnAsKey {
        field: &'static str,
    },
    /// The marks that git leaves where two changes conflict.
    MergeConflict,
    ShellCommand,
    LineBreaksLost,
    /// The lines of a block are not further right than its key.
    BlockNotIndented {
        key: String,
        by: usize,
    },
    /// A line within a block that starts too far left, so that the block ends there.
    BlockEnded {
        key: String,
        by: usize,
        is_comment: bool,
    },
    /// `mapRoles |`, `mapRoles:|` and the like.
    BlockHeader {
        key: &'static str,
    },
    /// A field at the top of a ConfigMap that Kubernetes does not have.
    UnknownManifestField {
        field: String,
        fix: String,
    },
    /// Keys of aws-auth under `binaryData`.
    BinaryData,
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
            Self::QuotedField => "quotes around a whole field".to_owned(),
            Self::Bullet { bullet } => format!("`{bullet}` instead of `-` before a list item"),
            Self::QuotesWithin { field, .. } => {
                format!("quotes that end before the value of {field} does")
            }
            Self::BracketNotOpened { bracket } => format!("`{bracket}` that was never opened"),
            Self::TrailingSeparator { mark } => format!("`{mark}` after a value"),
            Self::WildcardValue { field } => format!("wildcard in `{field}`"),
            Self::GroupAsField { group } => format!("group `{group}` written as a field"),
            Self::ArnAsKey { field } => format!("ARN as a key, without `{field}:`"),
            Self::MergeConflict => "merge conflict that was not resolved".to_owned(),
            Self::ShellCommand => "command of a shell".to_owned(),
            Self::LineBreaksLost => "line breaks lost: everything is on one line".to_owned(),
            Self::BlockNotIndented { key, .. } => {
                format!("the text of {key} is not indented more than its key")
            }
            Self::BlockEnded {
                key,
                is_comment: true,
                ..
            } => format!("comment that ends the text of {key}"),
            Self::BlockEnded { key, .. } => {
                format!("line that ends the text of {key}, because it starts too far left")
            }
            Self::BlockHeader { key } => format!("`{key}` without `: |` after it"),
            Self::UnknownManifestField { field, .. } => {
                format!("field `{field}`, which a ConfigMap does not have")
            }
            Self::BinaryData => "keys of aws-auth under `binaryData`".to_owned(),
            Self::Template { engine, found } => {
                format!("template that was not rendered: {found} ({engine})")
            }
        }
    }

    /// How to fix it, in one line.
    #[expect(clippy::too_many_lines, reason = "an arm for each kind")]
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
            Self::CodeFence | Self::ShellCommand => "remove the line".to_owned(),
            Self::DescribeOutput => format!(
                "keep only the lines of the list, from the first `- ` to the next heading; describe added the rest. `{}` prints YAML",
                super::GET
            ),
            Self::UnquotedTemplate { quoted, .. }
            | Self::UnquotedValue { quoted, .. }
            | Self::QuotesWithin { quoted, .. }
            | Self::LostPlaceholder { quoted } => {
                format!("write {quoted}")
            }
            Self::QuotedField => "remove the quotes, or put them around the value alone".to_owned(),
            Self::Bullet { .. } => "write `- ` instead".to_owned(),
            Self::BracketNotOpened { bracket } => format!("remove the last `{bracket}`"),
            Self::TrailingSeparator { mark } => format!("remove the `{mark}`"),
            Self::WildcardValue { .. } => {
                "write one entry for each intended role or user: aws-auth has no wildcards".to_owned()
            }
            Self::GroupAsField { .. } => "write the group as a list item".to_owned(),
            Self::ArnAsKey { field } => format!("write the ARN as the value of `{field}`"),
            Self::MergeConflict => {
                "keep the lines of one side or of both, and remove the lines with <<<<<<<, ======= and >>>>>>>".to_owned()
            }
            Self::LineBreaksLost => format!(
                "copy it again with its lines; `{}` prints them",
                super::GET
            ),
            Self::BlockNotIndented { key, by } => {
                format!("indent all lines of {key} by {} more", spaces(*by))
            }
            Self::BlockEnded {
                by,
                is_comment: true,
                ..
            } => format!("indent the comment by {}, or remove it", spaces(*by)),
            Self::BlockEnded { by, .. } => {
                format!("indent this line, and those that belong to it, by {} more", spaces(*by))
            }
            Self::BlockHeader { key } => format!("write `{key}: |`"),
            Self::UnknownManifestField { fix, .. } => fix.clone(),
            Self::BinaryData => {
                "write the keys as text under `data:`: EKS reads nothing else".to_owned()
            }
            Self::Template { engine, .. } => format!(
                "render it first ({}), and check the output",
                super::template::render(engine)
            ),
        }
    }
}

fn spaces(count: usize) -> String {
    match count {
        1 => "1 space".to_owned(),
        count => format!("{count} spaces"),
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
