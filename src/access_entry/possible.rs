//! What an access entry may be now, while calls are in flight or answers are missing.
//!
//! Of each principal all states are kept that are possible at once; nothing decides by the likeliest of them. What is known of one
//! principal says nothing of another.

use super::AccessEntry;

/// All that the access entry of one principal may be at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Possible {
    /// There may be none.
    pub absent: bool,
    /// It may be one of these.
    pub entries: Vec<AccessEntry>,
    /// It may be one whose content is not known.
    pub unseen: bool,
}

impl Possible {
    /// There is none, for certain.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            absent: true,
            entries: Vec::new(),
            unseen: false,
        }
    }

    /// Nothing is known.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            absent: true,
            entries: Vec::new(),
            unseen: true,
        }
    }

    /// Whether an entry exists, for certain.
    #[must_use]
    pub const fn exists(&self) -> bool {
        !self.absent
    }

    /// Whether an entry may exist.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        self.unseen || !self.entries.is_empty()
    }

    /// The entry, where there is only this one possibility.
    #[must_use]
    pub fn certain(&self) -> Option<&AccessEntry> {
        match self.entries.as_slice() {
            [entry] if !self.absent && !self.unseen => Some(entry),
            _ => None,
        }
    }
}
