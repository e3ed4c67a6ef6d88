//! When a finalizer may come off: once nothing that is managed for its mapping is left in its backend, as it was read or written.
//!
//! A principal in aws-auth counts as left while the mark names it, or while its list can't be read and a status says that it was
//! written there. An access entry counts as left while it may exist and may be ours: a listing that lacks it proves nothing, nor
//! does a 404 while a Create may still take effect. What may be is [`Possible`], where calls in flight and answers are weighed.

use crate::access_entry::{Entry, Possible};

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

impl InText {
    /// Whether nothing of ours is left.
    pub(crate) const fn is_clear(self) -> bool {
        !self.managed && (self.readable || !self.written)
    }
}

/// Whether no access entry of ours is left, whichever of what is possible is the case.
pub(crate) fn entry_is_clear(possible: &Possible, managed: impl Fn(&Entry) -> bool) -> bool {
    !possible.unseen && !possible.entries.iter().any(managed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_entry::Kind;
    use crate::api::v1alpha1::EntryType;
    use crate::time::Timestamp;

    fn entry(tagged: bool) -> Entry {
        let tag = ("ours".to_owned(), "yes".to_owned());
        Entry {
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
            let managed = |entry: &Entry| entry.tags.contains_key("ours");
            assert_eq!(entry_is_clear(&possible, managed), clear, "{possible:?}");
        }
    }

    #[test]
    fn a_text_that_can_not_be_read_keeps_what_was_written() {
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
            assert_eq!(in_text.is_clear(), clear, "{in_text:?}");
        }
    }
}
