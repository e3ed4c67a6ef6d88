//! The history of aws-auth: what stood there before each write of ours, in a `ConfigMap` beside it.
//!
//! A copy is a gzipped JSON object with `data` and `mark`, named by the time at which it was made and the hash of what it
//! holds; equal ones are kept once. At most 20 copies and 900 KiB are kept. The copy before our very first write is never
//! evicted: it is the way back to the cluster as it was.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::action::HistoryWrite;
use super::mark::{MARK_ANNOTATION, hex};
use super::observed::{ConfigMapView, HistoryView};

/// The most copies that are kept.
const MOST_COPIES: usize = 20;
/// The most bytes that they may take together.
const MOST_BYTES: usize = 900 * 1024;
/// The name of the copy before the first write begins so.
const FIRST: &str = "first-";
const SUFFIX: &str = ".json.gz";

#[derive(Serialize)]
struct Copy<'a> {
    data: &'a BTreeMap<String, String>,
    mark: &'a str,
}

/// What to add and what to evict for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeptCopies {
    pub(super) add: BTreeMap<String, Vec<u8>>,
    pub(super) remove: Vec<String>,
}

/// A copy of what stands, kept because a person asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The copy's name in the history.
    pub copy: String,
    /// What to write; `None`: an equal copy is kept already.
    pub write: Option<HistoryWrite>,
}

/// Keeps a copy of what stands, whatever is to come.
///
/// # Errors
///
/// Says why where the copy alone is larger than the history may be.
pub fn backup(
    standing: &ConfigMapView,
    history: Option<&HistoryView>,
    now: Timestamp,
) -> Result<Backup, String> {
    let kept = keep(standing, history, now)?;
    if let Some(copy) = kept.add.keys().next() {
        return Ok(Backup {
            copy: copy.clone(),
            write: Some(HistoryWrite {
                resource_version: history.map(|view| view.resource_version.clone()),
                add: kept.add.clone(),
                remove: kept.remove,
                ..HistoryWrite::default()
            }),
        });
    }
    let (_, hash) = content(standing);
    let copies = history.map(|view| &view.copies).into_iter().flatten();
    let mut equal = copies.filter(|(name, _)| is_of(name, &hash));
    Ok(Backup {
        copy: equal
            .next()
            .map(|(name, _)| name.clone())
            .unwrap_or_default(),
        write: None,
    })
}

/// What a copy holds, and the hash that its name ends with.
fn content(standing: &ConfigMapView) -> (String, String) {
    let mark = standing
        .annotations
        .get(MARK_ANNOTATION)
        .map(String::as_str)
        .unwrap_or_default();
    let json = serde_json::json!(Copy {
        data: &standing.data,
        mark
    })
    .to_string();
    let hash = hex(&Sha256::digest(&json), 16);
    (json, hash)
}

/// Whether a copy of this name holds what has this hash.
fn is_of(name: &str, hash: &str) -> bool {
    name.strip_suffix(SUFFIX)
        .is_some_and(|name| name.ends_with(hash))
}

/// Keeps a copy of what stands, unless an equal one is kept.
///
/// # Errors
///
/// Says why where the copy alone is larger than the history may be.
pub(super) fn keep(
    standing: &ConfigMapView,
    history: Option<&HistoryView>,
    now: Timestamp,
) -> Result<KeptCopies, String> {
    let (json, hash) = content(standing);
    let none = BTreeMap::new();
    let copies = history.map_or(&none, |view| &view.copies);
    if copies.keys().any(|name| is_of(name, &hash)) {
        return Ok(KeptCopies::default());
    }
    let bytes = gzip(json.as_bytes()).map_err(|error| error.to_string())?;
    let first = if copies.keys().any(|name| name.starts_with(FIRST)) {
        ""
    } else {
        FIRST
    };
    let name = format!(
        "{first}{}-{hash}{SUFFIX}",
        now.strftime("%Y%m%dT%H%M%S%3fZ")
    );
    let mut rest: Vec<(&String, usize)> = copies.iter().map(|(name, size)| (name, *size)).collect();
    // Names begin with the time, so the oldest comes first.
    rest.sort_unstable();
    let mut remove = Vec::new();
    let fits = |rest: &[(&String, usize)]| {
        rest.len() < MOST_COPIES
            && rest.iter().map(|(_, size)| size).sum::<usize>() + bytes.len() <= MOST_BYTES
    };
    while !fits(&rest) {
        let Some(oldest) = rest.iter().position(|(name, _)| !name.starts_with(FIRST)) else {
            return Err(format!(
                "a copy of aws-auth takes {} bytes gzipped, and the history holds {MOST_BYTES}",
                bytes.len()
            ));
        };
        remove.push(rest.remove(oldest).0.clone());
    }
    Ok(KeptCopies {
        add: [(name, bytes)].into(),
        remove,
    })
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(text: &str) -> ConfigMapView {
        ConfigMapView {
            data: [("mapRoles".to_owned(), text.to_owned())].into(),
            ..ConfigMapView::default()
        }
    }

    fn apply(history: &mut HistoryView, kept: KeptCopies) {
        for name in kept.remove {
            assert!(history.copies.remove(&name).is_some());
        }
        history.copies.extend(
            kept.add
                .into_iter()
                .map(|(name, bytes)| (name, bytes.len())),
        );
    }

    #[test]
    fn equal_copies_are_kept_once_and_the_first_one_for_ever() {
        let mut history = HistoryView::default();
        for round in 0..60_i64 {
            let now = Timestamp::from_second(1_800_000_000 + round).expect("in range");
            let text = format!("- round {}", round % 30);
            let kept = keep(&standing(&text), Some(&history), now).expect("small");
            apply(&mut history, kept);
            assert!(history.copies.len() <= MOST_COPIES);
        }
        let first: Vec<_> = history
            .copies
            .keys()
            .filter(|name| name.starts_with(FIRST))
            .collect();
        assert_eq!(first.len(), 1);
        assert!(
            first[0].starts_with("first-20270115T080000000Z-"),
            "{}",
            first[0]
        );
        let again = keep(
            &standing("- round 29"),
            Some(&history),
            Timestamp::from_second(1_900_000_000).expect("in range"),
        );
        assert_eq!(again, Ok(KeptCopies::default()));
    }

    #[test]
    fn a_backup_names_its_copy_also_where_it_was_kept_before() {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let view = standing("- x");
        let made = backup(&view, None, now).expect("small");
        let write = made.write.expect("none is kept yet");
        assert_eq!(write.resource_version, None);
        assert_eq!(write.add.keys().collect::<Vec<_>>(), [&made.copy]);
        let mut history = HistoryView {
            resource_version: "7".to_owned(),
            ..HistoryView::default()
        };
        let sizes = write
            .add
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.len()));
        history.copies.extend(sizes);
        let again = backup(&view, Some(&history), now).expect("small");
        assert_eq!((again.copy, again.write), (made.copy, None));
        let other = backup(&standing("- y"), Some(&history), now).expect("small");
        let version = other.write.and_then(|write| write.resource_version);
        assert_eq!(version.as_deref(), Some("7"));
    }

    #[test]
    fn a_history_that_is_full_gives_way_to_the_new_copy() {
        let copies = [
            ("first-20270101T000000000Z-a.json.gz".to_owned(), 100_000),
            ("20270102T000000000Z-b.json.gz".to_owned(), 821_590),
        ];
        let history = HistoryView {
            copies: copies.into(),
            ..HistoryView::default()
        };
        let kept = keep(
            &standing("- x"),
            Some(&history),
            Timestamp::from_second(1_800_000_000).expect("in range"),
        )
        .expect("fits");
        assert_eq!(kept.remove, ["20270102T000000000Z-b.json.gz"]);
    }
}
