//! Which entry of aws-auth is managed: at most one for each key.
//!
//! It is the one whose effective entry the mark holds; of identical ones the last, because that one wins. Where none is, someone changed
//! it or took it away, and the text does not tell which. So the only entry of the key counts as the changed one, unless the last text
//! that this process saw, or one of the newest copies of the history, held it as unmanaged beside the managed one. Of several none is managed.
//! Without a mark, what the status of a mapping of this very principal says recognises an entry that is exactly so.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{KeyHash, Mark, MeaningHash};
use crate::aws_auth::{Document, Entry, Meaning};
use crate::observed::{ConfigMapView, KeptCopy, PackedCopy};
use crate::principal::Key;

/// Entries of aws-auth that are unmanaged, by key and effective entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmanaged(BTreeSet<(KeyHash, MeaningHash)>);

impl Unmanaged {
    /// Those of a text that a mark goes with: what is beside an entry that the mark holds exactly.
    fn beside(document: &Document, mark: &Mark) -> Self {
        let hashed: Vec<(KeyHash, MeaningHash)> = document.entries().filter_map(hashes).collect();
        let managed: BTreeSet<&KeyHash> = hashed
            .iter()
            .filter(|(key, meaning)| mark.0.get(key) == Some(meaning))
            .map(|(key, _)| key)
            .collect();
        let beside = hashed
            .iter()
            .filter(|(key, meaning)| managed.contains(key) && mark.0.get(key) != Some(meaning));
        Self(beside.cloned().collect())
    }

    /// Whether this entry is one of them.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        hashes(entry).is_some_and(|pair| self.0.contains(&pair))
    }
}

impl FromIterator<(KeyHash, MeaningHash)> for Unmanaged {
    fn from_iter<I: IntoIterator<Item = (KeyHash, MeaningHash)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

fn hashes(entry: &Entry) -> Option<(KeyHash, MeaningHash)> {
    let key = Key::parse_arn(&entry.arn)?;
    Some((KeyHash::of(&key), MeaningHash::of(&entry.meaning())))
}

/// What is known to be unmanaged. The copies are unpacked only where an answer depends on them.
#[derive(Debug)]
pub(crate) struct KnownUnmanaged<'a> {
    seen: &'a Unmanaged,
    copies: &'a [PackedCopy],
    of_copies: OnceCell<Unmanaged>,
}

impl<'a> KnownUnmanaged<'a> {
    /// `seen` is of the last text that this process saw, `copies` are the newest of the history.
    pub(crate) fn new(seen: &'a Unmanaged, copies: &'a [PackedCopy]) -> Self {
        Self {
            seen,
            copies,
            of_copies: OnceCell::new(),
        }
    }

    fn has(&self, entry: &Entry) -> bool {
        let of_copies = || {
            // A copy that can't be read tells nothing.
            let read = |packed: &PackedCopy| KeptCopy::read(&packed.name, &packed.bytes).ok();
            let beside = |KeptCopy { data, mark, .. }| {
                Unmanaged::beside(&Document::parse(&data), &Mark::parse(&mark)).0
            };
            let copies = self.copies.iter().filter_map(read);
            Unmanaged(copies.flat_map(beside).collect())
        };
        self.seen.has(entry) || self.of_copies.get_or_init(of_copies).has(entry)
    }
}

/// What tells of one key which of its entries is managed.
pub(crate) struct Evidence<'a> {
    /// What the mark holds of the key.
    pub(crate) mark: Option<&'a MeaningHash>,
    /// What the statuses of mappings that name this very principal say was written.
    pub(crate) written: &'a [&'a Meaning],
    pub(crate) known: &'a KnownUnmanaged<'a>,
    /// Entries that never count as changed ones of ours, such as a node's where no mapping is one of nodes.
    pub(crate) never_ours: &'a dyn Fn(&Entry) -> bool,
}

/// The managed entry of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recognised<'a> {
    /// None of its entries is managed.
    None,
    /// It is as it was written.
    AsWritten(&'a Entry),
    /// Someone changed it since.
    Changed(&'a Entry),
}

impl<'a> Recognised<'a> {
    pub(crate) const fn entry(self) -> Option<&'a Entry> {
        match self {
            Self::None => None,
            Self::AsWritten(entry) | Self::Changed(entry) => Some(entry),
        }
    }

    pub(crate) const fn is_changed(self) -> bool {
        matches!(self, Self::Changed(_))
    }
}

/// The managed one of all entries of a key, in the order of the text.
pub(crate) fn recognise<'a>(entries: &[&'a Entry], evidence: &Evidence<'_>) -> Recognised<'a> {
    let as_written = |entry: &Entry| match evidence.mark {
        Some(mark) => MeaningHash::of(&entry.meaning()) == *mark,
        None => evidence
            .written
            .iter()
            .any(|written| **written == entry.meaning()),
    };
    let mut from_last = entries.iter().rev().copied();
    if let Some(entry) = from_last.find(|entry| as_written(entry)) {
        return Recognised::AsWritten(entry);
    }
    if evidence.mark.is_none() {
        return Recognised::None;
    }
    let mut unknown = entries
        .iter()
        .copied()
        .filter(|entry| !evidence.known.has(entry));
    match (unknown.next(), unknown.next()) {
        (Some(entry), None) if !(evidence.never_ours)(entry) => Recognised::Changed(entry),
        _ => Recognised::None,
    }
}

/// The entries of aws-auth that are managed, as far as its mark and its text tell.
#[derive(Clone, Debug, Default)]
pub struct Marked(BTreeMap<KeyHash, Meaning>);

impl Marked {
    /// Reads text and mark.
    #[must_use]
    pub fn of(view: &ConfigMapView) -> Self {
        Self::in_text(&Document::parse(&view.data), &Mark::of(view))
    }

    /// Those of a text that was read already.
    pub(crate) fn in_text(document: &Document, mark: &Mark) -> Self {
        let mut by_key: BTreeMap<KeyHash, Vec<&Entry>> = BTreeMap::new();
        for entry in document.entries() {
            if let Some((hash, _)) = hashes(entry) {
                by_key.entry(hash).or_default().push(entry);
            }
        }
        let nothing = Unmanaged::default();
        let known = KnownUnmanaged::new(&nothing, &[]);
        let managed = mark.0.iter().filter_map(|(hash, meaning)| {
            let evidence = Evidence {
                mark: Some(meaning),
                written: &[],
                known: &known,
                never_ours: &|_| false,
            };
            let entry = recognise(by_key.get(hash)?, &evidence).entry()?;
            Some((hash.clone(), entry.meaning()))
        });
        Self(managed.collect())
    }

    /// What the managed entry of each key means.
    pub(crate) fn into_meanings(self) -> BTreeMap<KeyHash, Meaning> {
        self.0
    }

    /// Whether an entry of this principal is managed.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        self.0.contains_key(&KeyHash::of(key))
    }

    /// Whether it is this entry, or one that says the same.
    #[must_use]
    pub fn manages(&self, entry: &Entry) -> bool {
        let key = entry.key();
        key.and_then(|key| self.0.get(&KeyHash::of(&key)))
            .is_some_and(|managed| *managed == entry.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::NewCopy;

    const ARN: &str = "arn:aws:iam::111122223333:role/a";

    fn data(usernames: &[&str]) -> BTreeMap<String, String> {
        let entries = usernames
            .iter()
            .map(|username| format!("- rolearn: {ARN}\n  username: {username}\n"));
        [("mapRoles".to_owned(), entries.collect())].into()
    }

    fn document(usernames: &[&str]) -> Document {
        Document::parse(&data(usernames))
    }

    fn hash_of(username: &str) -> MeaningHash {
        let document = document(&[username]);
        MeaningHash::of(&document.entries().next().expect("one").meaning())
    }

    fn key() -> KeyHash {
        KeyHash::of(&Key::parse_arn(ARN).expect("a role"))
    }

    /// The username and line of what is managed, with a `!` where it was changed.
    fn managed(
        usernames: &[&str],
        mark: Option<&str>,
        written: &[&str],
        known: &KnownUnmanaged<'_>,
    ) -> Option<String> {
        let document = document(usernames);
        let entries: Vec<&Entry> = document.entries().collect();
        let mark = mark.map(hash_of);
        let written: Vec<Meaning> = written
            .iter()
            .map(|username| Meaning {
                arn: ARN.to_owned(),
                username: (*username).to_owned(),
                groups: BTreeSet::new(),
            })
            .collect();
        let recognised = recognise(
            &entries,
            &Evidence {
                mark: mark.as_ref(),
                written: &written.iter().collect::<Vec<_>>(),
                known,
                never_ours: &|entry| entry.username == "node",
            },
        );
        let changed = if recognised.is_changed() { "!" } else { "" };
        let entry = recognised.entry()?;
        Some(format!("{}{changed} {}", entry.username, entry.line))
    }

    #[test]
    fn at_most_one_entry_of_a_key_is_managed() {
        // entries, mark, statuses, known as unmanaged, managed
        type Case<'a> = (
            &'a [&'a str],
            Option<&'a str>,
            &'a [&'a str],
            &'a [&'a str],
            Option<&'a str>,
        );
        let cases: [Case<'_>; 17] = [
            (&[], Some("o"), &["o"], &[], None),
            (&["o"], Some("o"), &[], &[], Some("o 1")),
            (&["o"], Some("o"), &[], &["o"], Some("o 1")),
            (&["o", "f"], Some("o"), &[], &[], Some("o 1")),
            (&["o", "f", "o"], Some("o"), &[], &[], Some("o 5")),
            (&["x"], Some("o"), &[], &[], Some("x! 1")),
            (&["x"], Some("o"), &["x"], &["x"], None),
            (&["f", "x"], Some("o"), &[], &[], None),
            (&["f", "x"], Some("o"), &[], &["f"], Some("x! 3")),
            (&["f", "x"], Some("o"), &[], &["f", "x"], None),
            (&["x", "x"], Some("o"), &[], &[], None),
            (&["node"], Some("o"), &[], &[], None),
            (&["node"], Some("node"), &[], &[], Some("node 1")),
            (&["o"], None, &[], &[], None),
            (&["o"], None, &["o"], &[], Some("o 1")),
            (&["o", "f", "o"], None, &["o"], &["f"], Some("o 5")),
            (&["x"], None, &["o"], &[], None),
        ];
        for (entries, mark, written, known, expected) in cases {
            let seen: Unmanaged = known.iter().map(|name| (key(), hash_of(name))).collect();
            let found = managed(entries, mark, written, &KnownUnmanaged::new(&seen, &[]));
            assert_eq!(
                found.as_deref(),
                expected,
                "{entries:?}, mark {mark:?}, statuses {written:?}, known {known:?}"
            );
        }
    }

    #[test]
    fn the_newest_copy_tells_what_was_beside_the_managed_entry() {
        // entries of the copy, its mark, whether f alone under the mark of o is then a changed entry of ours
        let cases: [(&[&str], &str, bool); 5] = [
            (&["o", "f"], "o", false),
            (&["o", "x"], "o", true),
            // It was changed, or replaced by a mapping: it was not beside ours.
            (&["f"], "o", true),
            (&["f"], "", true),
            (&["x", "f"], "o", true),
        ];
        for (entries, mark, changed) in cases {
            let mark = (!mark.is_empty()).then(|| Mark([(key(), hash_of(mark))].into()).render());
            let copy = NewCopy::of(
                &data(entries),
                &mark.unwrap_or_default(),
                &BTreeMap::new(),
                None,
            );
            let packed = PackedCopy {
                name: copy.name(crate::time::Timestamp::UNIX_EPOCH, false),
                bytes: copy.pack().expect("memory takes it").into(),
            };
            let nothing = Unmanaged::default();
            let known = KnownUnmanaged::new(&nothing, std::slice::from_ref(&packed));
            let found = managed(&["f"], Some("o"), &[], &known);
            assert_eq!(found.is_some(), changed, "{entries:?} {copy:?}");
        }
    }

    /// The managed entry was removed by someone, and the process died after it had kept that text.
    #[test]
    fn an_older_copy_tells_it_where_the_newest_lacks_the_managed_entry() {
        let mark = Mark([(key(), hash_of("o"))].into()).render();
        let packed = |entries: &[&str]| {
            let copy = NewCopy::of(&data(entries), &mark, &BTreeMap::new(), None);
            PackedCopy {
                name: copy.name(crate::time::Timestamp::UNIX_EPOCH, false),
                bytes: copy.pack().expect("memory takes it").into(),
            }
        };
        let copies = [packed(&["f"]), packed(&["o", "f"])];
        let nothing = Unmanaged::default();
        for (copies, changed) in [(&copies[..1], true), (&copies[..], false)] {
            let known = KnownUnmanaged::new(&nothing, copies);
            let found = managed(&["f"], Some("o"), &[], &known);
            assert_eq!(found.is_some(), changed, "{}", copies.len());
        }
    }

    #[test]
    fn a_marked_key_is_managed_only_where_one_of_its_entries_is() {
        let mark = Mark([(key(), hash_of("o"))].into()).render();
        for (usernames, manages) in [
            (&["o", "f"][..], vec![true, false]),
            (&["f"], vec![true]),
            (&["f", "x"], vec![false, false]),
        ] {
            let view = ConfigMapView {
                data: data(usernames),
                annotations: [(super::super::MARK_ANNOTATION.to_owned(), mark.clone())].into(),
                ..ConfigMapView::default()
            };
            let marked = Marked::of(&view);
            let document = Document::parse(&view.data);
            let found: Vec<bool> = document
                .entries()
                .map(|entry| marked.manages(entry))
                .collect();
            assert_eq!(found, manages, "{usernames:?}");
            let key = Key::parse_arn(ARN).expect("a role");
            assert_eq!(marked.holds(&key), manages.contains(&true));
        }
    }
}
