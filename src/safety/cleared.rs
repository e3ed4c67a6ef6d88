//! What may be written: only safety makes it, and writers take nothing else.

use std::collections::BTreeMap;
use std::ops::Deref;

/// That a proposal was reviewed and nothing of it refused. Only this module makes one.
#[derive(Clone, Debug)]
pub struct Clearance(());

impl Clearance {
    pub(super) const fn new() -> Self {
        Self(())
    }

    /// For a write that leaves every text of aws-auth as it is.
    pub(crate) fn of_same_texts(
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
    ) -> Option<Self> {
        (before == after).then(Self::new)
    }

    /// Clears what was reviewed.
    pub(crate) fn clear<T>(&self, write: T) -> Cleared<T> {
        let Self(()) = self;
        Cleared(write)
    }
}

/// Something that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared<T>(T);

impl<T> Deref for Cleared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
