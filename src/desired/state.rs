//! What a mapping is at a moment.

use super::Mapping;
use crate::time::Timestamp;

/// What a mapping is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be put into effect.
    Live,
    /// `suspend: true`.
    Suspended,
    /// Its spec can't be put into effect.
    Refused,
    /// It carries a deletionTimestamp.
    Deleting,
    /// Its `validUntil` has passed.
    Expired,
}

impl State {
    /// What a mapping is now.
    #[must_use]
    pub fn of(mapping: &Mapping, now: Timestamp) -> Self {
        if mapping.deleting && mapping.unreadable.is_some() {
            Self::Refused
        } else if mapping.deleting {
            Self::Deleting
        } else if mapping.expired(now) {
            Self::Expired
        } else if mapping.suspend {
            Self::Suspended
        } else if mapping.spec.is_err() {
            Self::Refused
        } else {
            Self::Live
        }
    }
}
