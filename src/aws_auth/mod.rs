//! The text of the ConfigMap `kube-system/aws-auth`: read as aws-iam-authenticator reads it, edited by splicing.
//!
//! - Reading never fails and never panics: what the authenticator would drop becomes a [`Problem`], and the rest is kept.
//! - The reading is that of aws-iam-authenticator v0.7.18 (`pkg/mapper/configmap/configmap.go`): go-yaml v2, then
//!   `encoding/json`. No YAML library for Rust agrees with go-yaml v2 on every text, so the grammar is our own.
//! - Editing keeps every unmanaged byte, and returns nothing that was not read back and compared.
//! - Pure: no IO, no clock, no randomness. The same input gives the same output.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use crate::principal::Key;

mod accounts;
mod comments;
mod decode;
pub(crate) mod diagnosis;
mod edit;
mod entry;
mod index;
mod lookup;
mod manifest;
mod problem;
mod read;
mod render;
mod splice;
#[cfg(test)]
mod tests;

pub use comments::comments;
use diagnosis::DefectKind;
pub use edit::{EditError, EntryEdit, NewEntry, edit};
pub use index::{Index, Rank};
pub use lookup::{Lookup, fold_arn};
pub use manifest::{AwsAuthText, ManifestError, read_aws_auth};
pub(crate) use manifest::{bare_sections, beside, holds_manifest, misspelled_kind};
pub use problem::{Problem, ProblemKind};
pub(crate) use problem::{ProblemCause, ProblemDetail, ValueType};

/// One of the three keys of `aws-auth` that the authenticator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// `mapRoles`: a list of entries with a `rolearn`.
    Roles,
    /// `mapUsers`: a list of entries with a `userarn`.
    Users,
    /// `mapAccounts`: a list of account ids.
    Accounts,
}

impl Section {
    /// All sections, in the order in which they are listed for people.
    pub const ALL: [Section; 3] = [Section::Roles, Section::Users, Section::Accounts];

    /// The key in the ConfigMap's `data`. The authenticator compares it with regard to case.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Section::Roles => "mapRoles",
            Section::Users => "mapUsers",
            Section::Accounts => "mapAccounts",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// What the authenticator makes of one `aws-auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    roles: SectionView,
    users: SectionView,
    accounts: SectionView,
}

impl Document {
    /// Reads the `data` of the ConfigMap. Keys other than those of [`Section`] are ignored, as the authenticator does.
    #[must_use]
    pub fn parse(data: &BTreeMap<String, String>) -> Document {
        let view =
            |section: Section| read::section(section, data.get(section.key()).map(String::as_str));
        Document {
            roles: view(Section::Roles),
            users: view(Section::Users),
            accounts: view(Section::Accounts),
        }
    }

    /// The same, with the places of the parts of each section, in the order of [`Section::ALL`].
    #[must_use]
    pub fn parse_placed(data: &BTreeMap<String, String>) -> (Document, [SectionPlaces; 3]) {
        let view = |section: Section| match data.get(section.key()) {
            Some(text) => read::placed(section, text),
            None => Default::default(),
        };
        let (roles, in_roles) = view(Section::Roles);
        let (users, in_users) = view(Section::Users);
        let (accounts, in_accounts) = view(Section::Accounts);
        let document = Document {
            roles,
            users,
            accounts,
        };
        (document, [in_roles, in_users, in_accounts])
    }

    /// One section.
    #[must_use]
    pub fn section(&self, section: Section) -> &SectionView {
        match section {
            Section::Roles => &self.roles,
            Section::Users => &self.users,
            Section::Accounts => &self.accounts,
        }
    }

    /// The entries that the authenticator keeps: roles, then users, each in document order. Duplicates are included.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.roles.entries.iter().chain(&self.users.entries)
    }
}

/// Where the parts of a section stand, as bytes of the key's value: for who tells people where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectionPlaces {
    /// The places of each of [`SectionView::entries`], in their order.
    pub entries: Vec<Places>,
    /// The places of each of [`SectionView::accounts`]; empty where an item of the list is dropped.
    pub accounts: Vec<Range<usize>>,
    /// What is behind the first document, which is all that is read.
    pub ignored: Option<Range<usize>>,
}

/// Where the parts of an entry are. The value of an alias is where its anchor is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The ARN's value.
    pub arn: Option<Range<usize>>,
    /// The username's value.
    pub username: Option<Range<usize>>,
    /// The value of `groups`.
    pub groups: Option<Range<usize>>,
    /// Each item of `groups`.
    pub each_group: Vec<Range<usize>>,
    /// Keys that the authenticator does not know and passes over.
    pub unknown: Vec<Range<usize>>,
    /// Keys that are given again further on: the later one counts.
    pub repeated: Vec<Range<usize>>,
}

/// What the authenticator makes of one section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectionView {
    /// Whether the key exists in `data`.
    pub present: bool,
    /// Why the authenticator drops the section whole, if it does.
    pub broken: Option<Problem>,
    /// The entries that it keeps, in document order. Always empty for [`Section::Accounts`].
    pub entries: Vec<Entry>,
    /// The account ids that it keeps, in document order. Empty but for [`Section::Accounts`].
    pub accounts: Vec<String>,
    /// Everything that it drops or empties, in document order; includes `broken`.
    pub problems: Vec<Problem>,
}

/// An entry that the authenticator keeps, with the values that it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// [`Section::Roles`] or [`Section::Users`].
    pub section: Section,
    /// 0-based index of the list item in the text; dropped items count.
    pub item: usize,
    /// Bytes of the item in the key's value, without the dash before it and without what follows its last character.
    pub span: Range<usize>,
    /// 1-based line at which the item starts.
    pub line: usize,
    /// 1-based column in characters at which the item starts.
    pub column: usize,
    /// The ARN as written. Empty for an `sso` entry.
    pub arn: String,
    /// The username, templates as written. Empty where the authenticator sees none.
    pub username: String,
    /// The groups as written, duplicates included.
    pub groups: Vec<String>,
    /// An `sso` entry. The authenticator keeps it, but on EKS it never matches: the feature gate `SSORoleMatch` is off.
    pub sso: bool,
}

impl Entry {
    /// The ARN as the authenticator compares it.
    #[must_use]
    pub fn matched_arn(&self) -> String {
        fold_arn(&self.arn)
    }

    /// The principal that the entry names, also where a path that was left in keeps it from matching; `None` where it
    /// names no role or user.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Key::parse_arn(&self.arn)
    }

    /// What the entry means: two entries of one meaning are the same to the authenticator.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        Meaning {
            arn: self.matched_arn(),
            username: self.username.clone(),
            groups: self.groups.iter().cloned().collect(),
        }
    }
}

/// Principal as matched, username, and set of groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Meaning {
    /// The ARN, folded by [`fold_arn`].
    pub arn: String,
    /// The username, templates as written.
    pub username: String,
    /// The groups.
    pub groups: BTreeSet<String>,
}
