//! Editing by splicing.

use std::collections::BTreeMap;

use super::{Problem, Section};

/// An entry to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// [`Section::Roles`] or [`Section::Users`].
    pub section: Section,
    /// The ARN, as it shall stand there.
    pub arn: String,
    /// The username.
    pub username: String,
    /// The groups: written sorted and without duplicates.
    pub groups: Vec<String>,
}

/// One change of the document. `item` is [`super::Entry::item`] of the document before the edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Takes an item away.
    Remove {
        /// Its section.
        section: Section,
        /// Its index.
        item: usize,
    },
    /// Puts an entry in an item's place.
    Replace {
        /// Its section.
        section: Section,
        /// Its index.
        item: usize,
        /// What shall stand there.
        entry: NewEntry,
    },
    /// Adds an entry at the end of its list.
    Append(NewEntry),
}

/// Why an edit was not made. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A section that must change does not parse, or is not a list.
    #[error("{0}")]
    Broken(Problem),
    /// A change can't be made without touching a byte that is not ours.
    #[error("line {line}: {what}")]
    Entangled {
        /// Index into the changes.
        change: usize,
        /// 1-based line within the key's value.
        line: usize,
        /// What stands in the way.
        what: String,
    },
    /// The result, read back, differs from what was meant.
    #[error("the edited text does not read back as meant: {detail}")]
    Unverified {
        /// The first difference.
        detail: String,
    },
}

/// Makes all changes, or none. Returns only the keys whose text changed.
///
/// Items are those of `data` as given. Appended entries go to the end of their list, in order.
pub fn edit(data: &BTreeMap<String, String>, changes: &[Change]) -> Result<BTreeMap<String, String>, EditError> {
    let _ = (data, changes);
    Ok(BTreeMap::new())
}
