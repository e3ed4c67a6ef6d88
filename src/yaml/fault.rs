//! What go-yaml refuses, each with its fix.

use std::fmt;

/// Why a text is no YAML to go-yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte at which a person should look.
    pub(crate) at: usize,
    pub(crate) kind: FaultKind,
}

macro_rules! faults {
    ($($name:ident = $what:literal, $fix:literal;)*) => {
        /// A kind of [`Fault`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum FaultKind {
            $(#[doc = $what] $name,)*
        }

        impl FaultKind {
            /// What is wrong, without the fix.
            pub(crate) fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }

            /// How to fix it.
            pub(crate) fn fix(self) -> &'static str {
                match self {
                    $(Self::$name => $fix,)*
                }
            }
        }
    };
}

faults! {
    ControlCharacter = "a control character, which YAML does not allow", "remove it";
    DirectiveWithoutDocument = "a directive without `---` behind it", "remove the line that starts with `%`";
    SecondYamlDirective = "a second %YAML directive", "remove it";
    YamlVersion = "a YAML version other than 1.1", "remove the %YAML directive";
    SecondTagDirective = "a second %TAG directive for this handle", "remove it";
    UnknownTag = "an unknown tag", "put the value in double quotes";
    TagHandleStart = "a tag handle that does not start with `!`", "put the value in double quotes";
    TagHandleEnd = "a tag handle that does not end with `!`", "put the value in double quotes";
    TagWithoutName = "a tag without a name", "put the value in double quotes";
    TagEscape = "`%` in a tag without two hexadecimal digits", "put the value in double quotes";
    TagNotUtf8 = "a percent-encoded tag that is not UTF-8", "put the value in double quotes";
    TagNotClosed = "a tag that opens with `!<` and never closes", "put the value in double quotes";
    TagAtStart = "a value that starts with `!`, which means a tag", "put the value in double quotes";
    TextAfterDirective = "text after a directive", "remove the line";
    DirectiveVersion = "a %YAML directive without a version", "remove the line";
    DirectiveName = "a line that starts with `%`, which means a directive", "remove the line, or put the value in double quotes";
    TagDirective = "a %TAG directive without handle and prefix", "remove the line";
    UnknownDirective = "an unknown directive", "remove the line";
    Tab = "a tab where indentation is expected", "indent with spaces";
    IndicatorInQuotes = "`---` or `...` inside a quoted value", "close the quotes before it";
    QuoteNotClosed = "quotes that open here and never close", "close them at the end of the value";
    UnknownEscape = "an unknown escape in double quotes", "write `\\\\` for a backslash, or use single quotes";
    ShortEscape = "an escape with too few hexadecimal digits", "write `\\\\` for a backslash, or use single quotes";
    NoUnicodeEscape = "an escape that is no Unicode character", "write the character itself";
    TextAfterBlockHeader = "text after `|` or `>`", "put it on the next line, or quote the value";
    BlockIndentOfZero = "an indentation of 0 after `|` or `>`", "remove the digit";
    StartOfValue = "a value that starts with a character that has a meaning in YAML", "put the value in double quotes";
    TooDeep = "lists and mappings nested more than 10,000 deep", "remove the brackets or dashes that are too many";
    TooLarge = "a document that is nested too deep, or whose aliases make it too large", "write the values out";
    SecondColon = "a second `: ` in one line", "put the value in double quotes";
    MissingColon = "a line in a mapping without `: `", "write `key: value`, or fix the indentation";
    ItemNotAllowed = "a list item in the middle of a line", "start it on its own line, or quote the value";
    KeyNotAllowed = "a key in the middle of a value", "quote the value, or start it on its own line";
    NotBase64 = "a !!binary value that is not base64", "put the value in double quotes, without the tag";
    NotBool = "a !!bool value that is no truth value", "put the value in double quotes, without the tag";
    NotInt = "an !!int value that is no integer", "put the value in double quotes, without the tag";
    NotFloat = "a !!float value that is no number", "put the value in double quotes, without the tag";
    NotNull = "a !!null value that is not null", "put the value in double quotes, without the tag";
    NotTimestamp = "a !!timestamp value that is no point in time", "put the value in double quotes, without the tag";
    AliasBomb = "aliases that expand to too much", "write the values out";
    AnchorInItself = "an anchor whose value contains itself", "write the value out";
    AnchorAtStart = "a value that starts with `*` or `&`, which mean an alias or an anchor", "put the value in double quotes";
    UnknownAlias = "an alias (`*`) of an anchor that is not defined before it", "put the value in double quotes";
    MergeOfNoMapping = "`<<` with something other than a mapping", "write the fields out";
    CollectionAsKey = "a list or mapping as a key", "put a value that starts with `{` or `[` in double quotes";
    EmptyKey = "an empty key", "write a name before the `:`";
    NumberAsKey = "a number as a key", "put it in double quotes";
    NoJsonNumber = "infinity or NaN, which JSON can't express", "put the value in double quotes";
    FlowSequence = "a missing `,` or `]`", "write a `,` between items and close the bracket; quote values that hold `,`, `?`, `[`, `]`, `{` or `}`";
    FlowMapping = "a missing `,` or `}`", "write a `,` between fields and close the brace; quote values that hold `,`, `?`, `[`, `]`, `{` or `}`";
    KeyExpected = "a line that is no field of the mapping above it", "start it in the column of the fields above it, as `key: value`";
    ItemExpected = "a line that is no item of the list above it", "start it with `- ` in the column of the items above it";
    ValueExpected = "a missing value, or one that starts with a character that has a meaning in YAML", "put the value in double quotes";
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.fix())
    }
}
