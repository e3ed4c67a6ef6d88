//! Objects of one kind, as reported by a watch.
//!
//! A value fed by [`WatchChange`]s. Invariants:
//!
//! - a list counts only when it is complete, and then replaces everything at once; a watch that fails keeps what was
//!   there;
//! - an answer to a write of ours may overtake the watch: an event that is older than it is ignored. Versions of one
//!   kind of object are compared as integers, which Kubernetes documents as sound
//!   (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>, since 1.35). Where one is no
//!   integer the event is believed;
//! - a complete list is believed also where versions went back (etcd restored from a backup), but for what we wrote
//!   while it was being read.

use std::collections::BTreeMap;

use crate::observed::is_older;

/// One event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchChange<T> {
    /// A list begins.
    Restart,
    /// The list holds this object.
    Listed(String, T),
    /// The list is complete.
    Complete,
    /// An object was made or changed.
    Applied(String, T),
    /// An object is gone.
    Deleted {
        /// Its key.
        key: String,
        /// The version of the deletion.
        resource_version: String,
    },
}

/// What has a resourceVersion.
pub(super) trait Versioned {
    /// Empty where none is kept: such objects are never written by us.
    fn resource_version(&self) -> &str;
}

/// The objects of one kind, by key.
#[derive(Clone, Debug)]
pub(super) struct Collection<T> {
    current: BTreeMap<String, T>,
    incoming: Option<BTreeMap<String, T>>,
    complete: bool,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self {
            current: BTreeMap::new(),
            incoming: None,
            complete: false,
        }
    }
}

impl<T: Versioned> Collection<T> {
    /// Takes in a change, and says whether something `differs` by it, given an object before and after.
    pub(super) fn apply(
        &mut self,
        change: WatchChange<T>,
        differs: impl Fn(Option<&T>, Option<&T>) -> bool,
    ) -> bool
    where
        T: Clone,
    {
        match change {
            WatchChange::Restart => {
                self.incoming = Some(BTreeMap::new());
                false
            }
            WatchChange::Listed(key, value) => {
                let incoming = self.incoming.get_or_insert_default();
                let ours_is_newer = incoming.get(&key).is_some_and(|ours| {
                    is_older(value.resource_version(), ours.resource_version())
                });
                if !ours_is_newer {
                    incoming.insert(key, value);
                }
                false
            }
            WatchChange::Complete => {
                let listed = self.incoming.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.current, listed);
                self.complete = true;
                before
                    .iter()
                    .any(|(key, old)| differs(Some(old), self.current.get(key)))
                    || self
                        .current
                        .iter()
                        .any(|(key, new)| !before.contains_key(key) && differs(None, Some(new)))
            }
            WatchChange::Applied(key, value) => {
                let before = self.current.get(&key);
                if before.is_some_and(|known| {
                    is_older(value.resource_version(), known.resource_version())
                }) {
                    return false;
                }
                let differs = differs(before, Some(&value));
                self.current.insert(key, value);
                differs
            }
            WatchChange::Deleted {
                key,
                resource_version,
            } => {
                if self
                    .current
                    .get(&key)
                    .is_some_and(|known| is_older(&resource_version, known.resource_version()))
                {
                    return false;
                }
                self.current
                    .remove(&key)
                    .is_some_and(|before| differs(Some(&before), None))
            }
        }
    }

    /// Takes in what a call of ours returned, unless something newer is known.
    pub(super) fn absorb(&mut self, key: &str, value: &T)
    where
        T: Clone,
    {
        for objects in [Some(&mut self.current), self.incoming.as_mut()]
            .into_iter()
            .flatten()
        {
            let newer_known = objects
                .get(key)
                .is_some_and(|known| is_older(value.resource_version(), known.resource_version()));
            if !newer_known {
                objects.insert(key.to_owned(), value.clone());
            }
        }
    }

    /// Drops an object that a read of ours did not find, unless another version than `seen` is known by now.
    pub(super) fn absorb_missing(&mut self, key: &str, seen: &str) {
        if self
            .current
            .get(key)
            .is_some_and(|known| known.resource_version() == seen)
        {
            self.current.remove(key);
        }
    }

    /// Whether a first list was complete.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.current.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.current.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &T)> + Clone {
        self.current.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Versioned for String {
        fn resource_version(&self) -> &str {
            self
        }
    }

    fn any(before: Option<&String>, after: Option<&String>) -> bool {
        before != after
    }

    fn with(changes: impl IntoIterator<Item = WatchChange<String>>) -> Collection<String> {
        let mut collection = Collection::default();
        for change in changes {
            collection.apply(change, any);
        }
        collection
    }

    fn listed(key: &str, version: &str) -> WatchChange<String> {
        WatchChange::Listed(key.to_owned(), version.to_owned())
    }

    fn applied(key: &str, version: &str) -> WatchChange<String> {
        WatchChange::Applied(key.to_owned(), version.to_owned())
    }

    fn deleted(key: &str, version: &str) -> WatchChange<String> {
        WatchChange::Deleted {
            key: key.to_owned(),
            resource_version: version.to_owned(),
        }
    }

    #[test]
    fn versions_are_compared_as_integers() {
        assert!(is_older("9", "10"));
        assert!(!is_older("10", "9"));
        assert!(!is_older("10", "10"));
        assert!(!is_older("a", "b"));
        assert!(!is_older("", "5"));
    }

    #[test]
    fn a_list_counts_only_when_complete() {
        let mut collection = with([WatchChange::Restart, listed("a", "1")]);
        assert!(!collection.is_complete());
        assert_eq!(collection.get("a"), None);
        assert!(collection.apply(WatchChange::Complete, any));
        assert!(collection.is_complete());
        assert_eq!(collection.get("a"), Some(&"1".to_owned()));
    }

    #[test]
    fn a_second_list_replaces_at_once_and_reports_whether_it_differs() {
        let mut collection = with([
            WatchChange::Restart,
            listed("a", "1"),
            listed("b", "2"),
            WatchChange::Complete,
        ]);
        collection.apply(WatchChange::Restart, any);
        collection.apply(listed("a", "1"), any);
        assert_eq!(
            collection.get("b"),
            Some(&"2".to_owned()),
            "kept while the list is read"
        );
        assert!(collection.apply(WatchChange::Complete, any));
        assert_eq!(collection.get("b"), None);
        collection.apply(WatchChange::Restart, any);
        collection.apply(listed("a", "1"), any);
        assert!(
            !collection.apply(WatchChange::Complete, any),
            "the same list is no difference"
        );
    }

    #[test]
    fn an_older_event_is_ignored() {
        let mut collection = with([
            WatchChange::Restart,
            listed("a", "5"),
            WatchChange::Complete,
        ]);
        collection.absorb("a", &"8".to_owned());
        assert!(!collection.apply(applied("a", "7"), any));
        assert!(!collection.apply(deleted("a", "6"), any));
        assert_eq!(collection.get("a"), Some(&"8".to_owned()));
        assert!(collection.apply(deleted("a", "9"), any));
        assert_eq!(collection.get("a"), None);
    }

    #[test]
    fn a_write_during_a_list_outlives_it() {
        let mut collection = with([
            WatchChange::Restart,
            listed("a", "5"),
            WatchChange::Complete,
            WatchChange::Restart,
        ]);
        collection.absorb("a", &"8".to_owned());
        collection.apply(listed("a", "5"), any);
        collection.apply(WatchChange::Complete, any);
        assert_eq!(collection.get("a"), Some(&"8".to_owned()));
    }

    #[test]
    fn a_list_is_believed_when_versions_went_back() {
        let collection = with([
            WatchChange::Restart,
            listed("a", "50"),
            WatchChange::Complete,
            WatchChange::Restart,
            listed("a", "4"),
            WatchChange::Complete,
        ]);
        assert_eq!(collection.get("a"), Some(&"4".to_owned()));
    }

    #[test]
    fn a_missing_object_is_dropped_only_as_it_was_seen() {
        let mut collection = with([
            WatchChange::Restart,
            listed("a", "5"),
            WatchChange::Complete,
        ]);
        collection.absorb_missing("a", "4");
        assert_eq!(collection.get("a"), Some(&"5".to_owned()));
        collection.absorb_missing("a", "5");
        assert_eq!(collection.get("a"), None);
    }
}
