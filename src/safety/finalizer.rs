//! When a finalizer may come off: once nothing that is managed for its mapping is left in its backend, as it was read or written.
//!
//! A principal in aws-auth counts as left while the mark names it, or while its list can't be read and a status says that it was
//! written there. An access entry counts as left while it may exist and may be ours: a listing that lacks it proves nothing, nor
//! does a 404 while a Create may still take effect. What may be is [`Possible`], where calls in flight and answers are weighed.

use super::Clearance;
use crate::access_entry::{AccessEntry, INSTALLATION_TAG, Possible};

/// A principal that a mapping names, in aws-auth as it was read, or as it was just written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InText {
    /// The mark names it, or an entry exists that a status knows as ours.
    pub(crate) managed: bool,
    /// A status says that an entry was written.
    pub(crate) written: bool,
    /// The list in which it belongs parses.
    pub(crate) readable: bool,
}

/// What may be left of a mapping in the backend of one of its finalizers, for one principal that it names.
#[derive(Clone, Debug)]
pub(crate) enum Remainder {
    /// Nothing: another mapping answers for the entry, with a finalizer of its own.
    Taken,
    /// What was planned has not happened yet.
    Pending,
    /// In aws-auth.
    Text(InText),
    /// As access entries of this installation.
    Entries(Vec<Possible>, String),
    /// EKS can't be asked, and a person confirmed that it need not be.
    Unverified,
}

impl Remainder {
    /// Whether nothing that is managed is left, whichever of what is possible is the case.
    pub(crate) fn is_clear(&self) -> bool {
        match self {
            Self::Taken | Self::Unverified => true,
            Self::Pending => false,
            Self::Text(text) => !text.managed && (text.readable || !text.written),
            Self::Entries(possible, installation) => {
                let managed =
                    |entry: &AccessEntry| entry.tags.get(INSTALLATION_TAG) == Some(installation);
                let clear =
                    |possible: &Possible| !possible.unseen && !possible.entries.iter().any(managed);
                possible.iter().all(clear)
            }
        }
    }
}

/// Clears finalizers that come off, by what may be left in their backends.
pub(crate) fn clear_removal(left: &[Remainder]) -> Option<Clearance> {
    left.iter().all(Remainder::is_clear).then(Clearance::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_entry::Kind;
    use crate::api::v1alpha1::EntryType;
    use crate::time::Timestamp;

    fn entry(tagged: bool) -> AccessEntry {
        let tag = (INSTALLATION_TAG.to_owned(), "ours".to_owned());
        AccessEntry {
            arn: "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/A/1"
                .to_owned(),
            principal_arn: "arn:aws:iam::111122223333:role/A".to_owned(),
            kind: Kind::Known(EntryType::Standard),
            username: "a".to_owned(),
            groups: [].into(),
            policies: [].into(),
            tags: tagged.then_some(tag).into_iter().collect(),
            created: Timestamp::UNIX_EPOCH,
            modified: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_access_entry_is_clear_only_if_no_possibility_is_ours() {
        let (ours, theirs) = (entry(true), entry(false));
        for (absent, entries, unseen, clear) in [
            (true, vec![], false, true),
            (false, vec![&theirs], false, true),
            (true, vec![&theirs], false, true),
            // Certain, or possible: made by a call that is not answered, or deleted by one.
            (false, vec![&ours], false, false),
            (true, vec![&ours], false, false),
            // Our tags are being taken off.
            (false, vec![&ours, &theirs], false, false),
            // Not described, not listed, or a lost answer.
            (true, vec![], true, false),
            (false, vec![], true, false),
            (true, vec![&theirs], true, false),
        ] {
            let possible = Possible {
                absent,
                entries: entries.into_iter().cloned().collect(),
                unseen,
            };
            let left = [
                Remainder::Taken,
                Remainder::Entries(vec![possible], "ours".to_owned()),
            ];
            assert_eq!(clear_removal(&left).is_some(), clear, "{left:?}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_keeps_what_was_written() {
        for (managed, written, readable, clear) in [
            (false, false, true, true),
            (false, true, true, true),
            (false, false, false, true),
            (false, true, false, false),
            (true, false, true, false),
            (true, true, false, false),
        ] {
            let in_text = InText {
                managed,
                written,
                readable,
            };
            let left = Remainder::Text(in_text);
            assert_eq!(left.is_clear(), clear, "{left:?}");
        }
    }
}
