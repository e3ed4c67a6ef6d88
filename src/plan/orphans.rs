//! Orphans: managed keys that no mapping names in spec or status. They stay until a person confirms the removal of that very set, by an
//! annotation on the history `ConfigMap`.

use std::collections::BTreeSet;

use crate::api::v1alpha1::{CONFIRM_ANNOTATION, Confirmation};
use crate::observed::HistoryView;
use crate::ownership::{KeyHash, set_name};

/// A set of orphans that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrphanSet {
    name: String,
    keys: BTreeSet<KeyHash>,
}

/// The orphans of a pass, and what is confirmed for them.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    keys: BTreeSet<KeyHash>,
    /// All entries are known, so that no orphan is missing.
    complete: bool,
    /// The confirmations that the annotation holds beside the name of the set.
    words: BTreeSet<Confirmation>,
    /// The name of the set that the annotation holds.
    named: Option<String>,
    /// The set that the annotation confirms.
    pub(crate) confirmed: Option<OrphanSet>,
}

impl Orphans {
    /// `before` is the set that this process saw confirmed: what is left of it while its entries are removed has another name.
    pub(crate) fn new(
        keys: BTreeSet<KeyHash>,
        complete: bool,
        history: Option<&HistoryView>,
        before: Option<&OrphanSet>,
    ) -> Self {
        let annotation = history.and_then(|view| view.annotations.get(CONFIRM_ANNOTATION));
        let (words, others) = annotation
            .map(|value| Confirmation::parse_list(value))
            .unwrap_or_default();
        let named = others
            .iter()
            .find_map(|word| word.strip_prefix(Confirmation::MassRemoval.as_str()))
            .and_then(|word| word.strip_prefix(':'))
            .map(str::to_owned);
        let confirmed = named.as_ref().and_then(|name| {
            let whole = (!keys.is_empty() && set_name(&keys) == *name).then(|| OrphanSet {
                name: name.clone(),
                keys: keys.clone(),
            });
            let rest = || {
                let before = before.filter(|set| set.name == *name)?;
                Some(OrphanSet {
                    name: name.clone(),
                    keys: before.keys.intersection(&keys).cloned().collect(),
                })
            };
            whole.or_else(rest)
        });
        Self {
            keys,
            complete,
            words,
            named,
            confirmed,
        }
    }

    /// Whether the removal of this orphan is confirmed.
    pub(crate) fn are_confirmed(&self, hash: &KeyHash) -> bool {
        let set = self.confirmed.as_ref();
        set.is_some_and(|set| set.keys.contains(hash))
    }

    /// What the annotation confirms for the set that it names. Without the set's name no other word counts.
    pub(crate) fn words(&self) -> BTreeSet<Confirmation> {
        let confirmed = self.confirmed.iter();
        let words = confirmed.flat_map(|_| self.words.iter().copied());
        words.collect()
    }

    /// The orphans whose removal is confirmed.
    pub(crate) fn confirmed_keys(&self) -> BTreeSet<KeyHash> {
        let set = self.confirmed.as_ref();
        set.map(|set| set.keys.clone()).unwrap_or_default()
    }

    /// Whether the annotation is used up: of the set that it names no orphan is left.
    pub(crate) fn used_up(&self) -> bool {
        match (&self.confirmed, &self.named) {
            (Some(set), _) => set.keys.is_empty(),
            // A process before this one may have removed them. What it names can't be confirmed once more.
            (None, Some(_)) => self.complete && self.keys.is_empty(),
            (None, None) => false,
        }
    }

    /// What to write into the annotation to confirm the removal of all orphans.
    pub(crate) fn word(&self) -> String {
        format!("{}:{}", Confirmation::MassRemoval, set_name(&self.keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(digits: &[&str]) -> BTreeSet<KeyHash> {
        let key = |digit: &&str| KeyHash::parse(&digit.repeat(16)).expect("16 digits");
        digits.iter().map(key).collect()
    }

    fn annotated(value: &str) -> HistoryView {
        HistoryView {
            annotations: [(CONFIRM_ANNOTATION.to_owned(), value.to_owned())].into(),
            ..HistoryView::default()
        }
    }

    #[test]
    fn a_confirmation_is_of_one_set_until_that_is_gone() {
        let word = Orphans::new(keys(&["a", "b"]), true, None, None).word();
        let history = annotated(&format!("{word}, node-entry"));
        let of = |digits: &[&str], before: Option<&OrphanSet>| {
            Orphans::new(keys(digits), true, Some(&history), before)
        };
        let is_confirmed = |orphans: &Orphans, digit: &str| {
            keys(&[digit]).iter().all(|key| orphans.are_confirmed(key))
        };
        let whole = of(&["a", "b"], None);
        assert!(is_confirmed(&whole, "a") && !whole.used_up());
        assert_eq!(whole.words(), [Confirmation::NodeEntry].into());
        for other in [&["a"][..], &["a", "b", "c"]] {
            let orphans = of(other, None);
            assert!(!is_confirmed(&orphans, "a"), "{other:?}");
            assert!(orphans.words().is_empty(), "{other:?}");
            assert!(!orphans.used_up(), "{other:?}");
        }
        // One is gone, another came.
        let rest = of(&["b", "c"], whole.confirmed.as_ref());
        assert!(is_confirmed(&rest, "b") && !is_confirmed(&rest, "c"));
        assert!(!rest.used_up());
        assert!(of(&["c"], rest.confirmed.as_ref()).used_up());
        assert!(of(&[], None).used_up());
    }

    #[test]
    fn the_bare_word_and_what_is_not_known_confirm_nothing() {
        for value in ["mass-removal", "mass-removal:", "mass-removal:00000000"] {
            let history = annotated(value);
            let orphans = Orphans::new(keys(&["a"]), true, Some(&history), None);
            assert!(orphans.confirmed_keys().is_empty(), "{value}");
            assert!(!orphans.used_up(), "{value}");
        }
        let history = annotated("mass-removal:00000000");
        let unread = Orphans::new(keys(&[]), false, Some(&history), None);
        assert!(!unread.used_up());
    }
}
