//! The result of an import.

use std::fmt;

use crate::api::IdentityMapping;
use crate::aws_auth::{Problem, Section};

/// What was found, as mappings and otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// Sections of aws-auth that the authenticator drops whole: nothing of them is known.
    pub broken: Vec<Problem>,
    /// The mappings, by name.
    pub imported: Vec<Imported>,
    /// What did not become a mapping, in the order in which it was found.
    pub left: Vec<Skipped>,
    /// What a mapping declares already: where it is, and the mapping's name.
    pub declared: Vec<(Origin, String)>,
}

/// A mapping for the current state.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The object: a name and a spec.
    pub object: IdentityMapping,
    /// The comments that stand by the entry, one line each.
    pub comments: Vec<String>,
    /// Where the entry is.
    pub origin: Origin,
    /// What there is to know of it.
    pub notes: Vec<String>,
}

/// Something that did not become a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The ARN or account, as it is now.
    pub what: String,
    /// Where.
    pub origin: Origin,
    /// Why, in a word.
    pub why: SkipReason,
    /// Why, and what can be done about it.
    pub message: String,
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In aws-auth.
    Text {
        /// The section.
        section: Section,
        /// 1-based line in the section's text; `None`: the section as a whole.
        line: Option<usize>,
    },
    /// An access entry, by the principal's ARN.
    AccessEntry(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text {
                section,
                line: Some(line),
            } => write!(f, "{section} line {line}"),
            Self::Text {
                section,
                line: None,
            } => write!(f, "{section}"),
            Self::AccessEntry(_) => f.write_str("access entry"),
        }
    }
}

/// Why something did not become a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// An entry of nodes, which was not asked for.
    Node,
    /// An access entry that AWS made, which was not asked for.
    AwsMade,
    /// An access entry of another installation of the operator.
    OtherInstallation,
    /// Another entry of the same principal wins.
    Shadowed,
    /// It grants no access.
    LetsNobodyIn,
    /// What it means depends on chance, or on something that can't be seen.
    Ambiguous,
    /// No mapping means the same.
    Inexpressible,
    /// In the mode `API` aws-auth is not read.
    NotRead,
}

impl SkipReason {
    /// The word for machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::AwsMade => "AwsMade",
            Self::OtherInstallation => "OtherInstallation",
            Self::Shadowed => "Shadowed",
            Self::LetsNobodyIn => "LetsNobodyIn",
            Self::Ambiguous => "Ambiguous",
            Self::Inexpressible => "Inexpressible",
            Self::NotRead => "NotRead",
        }
    }
}
