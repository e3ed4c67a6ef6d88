//! Text that the authenticator reads differently from how it is written: where, why, and how to fix it.

use std::fmt;
use std::ops::Range;

use super::Section;
use super::diagnosis::DefectKind;
use crate::yaml::FaultKind;

/// What the authenticator does because of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// Nothing of the section takes effect.
    SectionDropped,
    /// The entry takes no effect; the others do.
    EntryDropped,
    /// The entry takes effect without this field's value.
    FieldEmptied,
    /// The entry takes effect with other values than its lines suggest.
    Misread,
}

/// A place in the text that the authenticator does not see as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The section.
    pub section: Section,
    /// What the authenticator does.
    pub kind: ProblemKind,
    /// 1-based line within the key's value. Lines end with LF, CRLF or CR.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
    /// The text at fault: one line, shortened.
    pub offending: String,
    /// What is wrong and how to fix it.
    pub message: String,
    /// The bytes at fault within the key's value.
    pub span: Range<usize>,
    pub(crate) detail: Box<ProblemDetail>,
}

/// What of a [`Problem`] is for people only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProblemDetail {
    pub(crate) cause: ProblemCause,
    /// The lines that the fix changes, counted from 0.
    pub(crate) lines: Range<usize>,
    /// These lines as they have to be, where that is known.
    pub(crate) repaired: Vec<String>,
}

impl Problem {
    /// What is wrong.
    pub(crate) fn what(&self) -> String {
        self.detail.cause.what()
    }

    /// Where it is and what is there, which may be nothing.
    pub(crate) fn place(&self) -> String {
        let place = format!("line {}, column {}", self.line, self.column);
        match self.offending.trim() {
            "" => place,
            found => format!("{place}, at `{found}`"),
        }
    }

    /// How to fix it, in one line.
    pub(crate) fn fix(&self) -> String {
        self.detail.cause.fix(self.section)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} line {}, column {}: {}",
            self.section, self.line, self.column, self.message
        )
    }
}

/// What a value is to JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    Null,
    Bool,
    Number,
    Text,
    List,
    Mapping,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "empty",
            Self::Bool => "a truth value",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Mapping => "a mapping",
        })
    }
}

/// Why the authenticator does not see a text as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProblemCause {
    /// A fault that is recognised by what was meant.
    Defect(DefectKind),
    /// Any other fault of YAML.
    Yaml(FaultKind),
    /// The value starts with `{`.
    Json,
    /// The value is no list.
    NoList,
    /// An item without anything in it.
    EmptyItem {
        field: &'static str,
    },
    /// An item that is no mapping.
    NotAnEntry {
        field: &'static str,
        found: ValueType,
    },
    NoArn {
        field: &'static str,
        /// The ARN field of the other list, where the entry has that one.
        other: Option<&'static str>,
        /// Further fields of other names, each with the one that is meant.
        also: Vec<(String, &'static str)>,
    },
    /// A slip in the name of the ARN's field.
    MisspelledArn {
        field: &'static str,
        written: String,
        also: Vec<(String, &'static str)>,
    },
    RolearnAndSso,
    InvalidSsoField {
        field: &'static str,
    },
    Mistyped {
        field: &'static str,
        found: ValueType,
        /// An item of the field's list.
        is_item: bool,
    },
    /// An item of `mapAccounts` that is no text.
    NotAnAccount,
}

impl ProblemCause {
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Defect(kind) => kind.what(),
            Self::Yaml(kind) => kind.what().to_owned(),
            Self::Json => "a value that starts with `{` and is no list".to_owned(),
            Self::NoList => "a value that is no list".to_owned(),
            Self::EmptyItem { .. } => "an empty item".to_owned(),
            Self::NotAnEntry { found, .. } => format!("{found} instead of an entry"),
            Self::NoArn {
                field, other: None, ..
            } => format!("the entry has no `{field}`"),
            Self::MisspelledArn { field, written, .. } => {
                format!("the entry has `{written}`, not `{field}`")
            }
            Self::NoArn {
                field,
                other: Some(other),
                ..
            } => format!("the entry has `{other}`, not `{field}`"),
            Self::RolearnAndSso => "an entry with both `rolearn` and `sso`".to_owned(),
            Self::InvalidSsoField { field } => {
                format!("`{field}` of `sso` is missing or not valid")
            }
            Self::Mistyped {
                field,
                found: ValueType::Null,
                is_item: true,
            } => format!("an item of `{field}` is empty and is ignored"),
            Self::Mistyped {
                field,
                found,
                is_item: true,
            } => format!("an item of `{field}` is {found}, not text, and is ignored"),
            Self::Mistyped { field, found, .. } => format!("`{field}` is {found} and is ignored"),
            Self::NotAnAccount => "an item that is no account ID".to_owned(),
        }
    }

    pub(crate) fn fix(&self, section: Section) -> String {
        match self {
            Self::Defect(kind) => kind.fix(section),
            Self::Yaml(kind) => kind.fix().to_owned(),
            Self::Json => "write `- ` before the `{`".to_owned(),
            Self::NoList if section == Section::Accounts => {
                "write each account as `- \"111122223333\"`".to_owned()
            }
            Self::NoList => "start each entry with `- `".to_owned(),
            Self::EmptyItem { field } => format!("remove it, or give it a `{field}`"),
            Self::NotAnEntry { field, .. } => {
                format!("write `{field}:`, `username:` and `groups:`")
            }
            Self::NoArn {
                field, other: None, ..
            } => {
                format!("write `{field}:` with the ARN that the entry is for")
            }
            Self::NoArn {
                other: Some("grouparn"),
                ..
            } => "IAM groups can't be mapped, because no one signs in as a group: map a role that the members of the group assume, or \
                each user"
                .to_owned(),
            Self::NoArn {
                other: Some("permissionset" | "permission_set" | "permissionsetname"),
                ..
            } => "write `rolearn` with the ARN of the permission set's role, without its path: `aws iam list-roles --path-prefix \
                /aws-reserved/sso.amazonaws.com/ --query 'Roles[].Arn' --output text` prints them"
                .to_owned(),
            Self::NoArn {
                field,
                other: Some(other),
                also,
            } if !matches!(*other, "rolearn" | "userarn") => renamed(field, other, also),
            Self::MisspelledArn {
                field,
                written,
                also,
            } => renamed(field, written, also),
            Self::NoArn {
                field: "rolearn", ..
            } => "write `rolearn`, if it is the ARN of a role; move the entry to mapUsers, if it is a user's".to_owned(),
            Self::NoArn { .. } => {
                "write `userarn`, if it is the ARN of a user; move the entry to mapRoles, if it is a role's".to_owned()
            }
            Self::RolearnAndSso => "remove one of them".to_owned(),
            Self::InvalidSsoField { field } => match *field {
                "accountID" => "write the twelve digits of the account in double quotes".to_owned(),
                "permissionSetName" => "write the name of the permission set in double quotes".to_owned(),
                _ => "write aws, aws-cn or aws-us-gov, or remove it".to_owned(),
            },
            Self::Mistyped {
                field: "groups",
                is_item: false,
                ..
            } => "write a list, each item as `- \"group\"`".to_owned(),
            Self::Mistyped {
                field: "rolearn" | "userarn",
                found: ValueType::List,
                ..
            } => "write one entry for each ARN, with the same username and groups".to_owned(),
            Self::Mistyped { field: "sso", .. } => {
                "write `rolearn` with the ARN of the role instead".to_owned()
            }
            Self::Mistyped { .. } => "write text in double quotes".to_owned(),
            Self::NotAnAccount => "write `- \"111122223333\"`".to_owned(),
        }
    }
}

/// All fields that have to be renamed.
fn renamed(field: &str, written: &str, also: &[(String, &'static str)]) -> String {
    let others = also
        .iter()
        .map(|(written, meant)| format!(", `{meant}` instead of `{written}`"));
    format!(
        "write `{field}` instead of `{written}`{}",
        others.collect::<String>()
    )
}

impl fmt::Display for ProblemCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())
    }
}
