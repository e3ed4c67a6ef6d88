//! The history of aws-auth: what stood there before each write of ours, in a `ConfigMap` beside it.
//!
//! A copy is a gzipped JSON object with `data` and `mark`, named by the time at which it was made and the hash of what it
//! holds; equal ones are kept once. At most 20 copies and 900 KiB are kept. The copy before our very first write is never
//! evicted: it is the way back to the cluster as it was.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::action::HistoryWrite;
use crate::observed::{ConfigMapView, HistoryView};
use crate::ownership::{MARK_ANNOTATION, hex};
use crate::time::Timestamp;

/// The most copies that are kept.
const MOST_COPIES: usize = 20;
/// The most bytes that they may take together.
const MOST_BYTES: usize = 900 * 1024;
/// The name of the copy before the first write begins so.
const FIRST: &str = "first-";
const SUFFIX: &str = ".json.gz";
/// How the time stands in a name.
const TIME: &str = "%Y%m%dT%H%M%S%3fZ";
/// A `ConfigMap` holds a megabyte, and JSON makes of a byte six at most.
const MOST_UNPACKED: u64 = 8 * 1024 * 1024;
/// So many digits of the hash name a copy for people.
const SHORT: usize = 8;

#[derive(Serialize)]
struct Copy<'a> {
    data: &'a BTreeMap<String, String>,
    mark: &'a str,
}

#[derive(Deserialize)]
struct Unpacked {
    data: BTreeMap<String, String>,
    mark: String,
}

/// A copy, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCopy {
    /// Its name in the history.
    pub name: String,
    /// When it was made: just before a write of ours.
    pub time: Timestamp,
    /// Whether it is the one before our very first write, which is never evicted.
    pub first: bool,
    /// The bytes that it takes.
    pub bytes: usize,
    /// The texts.
    pub data: BTreeMap<String, String>,
    /// The mark that stood with them.
    pub mark: String,
}

/// A copy that can't be read: someone else wrote it, or a newer version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("copy {name} can't be read: {why}")]
pub struct UnreadableCopy {
    /// Its name in the history.
    pub name: String,
    /// Why.
    pub why: String,
}

impl KeptCopy {
    /// Reads a copy as it stands in the history.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, UnreadableCopy> {
        let unreadable = |why: String| UnreadableCopy {
            name: name.to_owned(),
            why,
        };
        let stem = name.strip_suffix(SUFFIX).unwrap_or_default();
        let dated = stem.strip_prefix(FIRST).unwrap_or(stem);
        let time = dated
            .split_once('-')
            .and_then(|(time, _)| DateTime::strptime(TIME, time).ok())
            .and_then(|time| TimeZone::UTC.to_timestamp(time).ok())
            .ok_or_else(|| unreadable("its name holds no time".to_owned()))?;
        let mut json = String::new();
        let unpacked = GzDecoder::new(bytes)
            .take(MOST_UNPACKED)
            .read_to_string(&mut json);
        unpacked.map_err(|error| unreadable(error.to_string()))?;
        let Unpacked { data, mark } =
            serde_json::from_str(&json).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self {
            name: name.to_owned(),
            time: time.into(),
            first: stem.starts_with(FIRST),
            bytes: bytes.len(),
            data,
            mark,
        })
    }

    /// The short name: the first digits of the hash of what it holds.
    #[must_use]
    pub fn short(&self) -> &str {
        let stem = self.name.strip_suffix(SUFFIX).unwrap_or(&self.name);
        let hash = stem.rsplit('-').next().unwrap_or_default();
        hash.get(..SHORT).unwrap_or(hash)
    }
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
    let name = format!("{first}{}-{hash}{SUFFIX}", now.format(TIME));
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
    fn a_copy_is_read_back() {
        let now = Timestamp::from_millisecond(1_800_000_000_123).expect("in range");
        let mut view = standing("- x");
        view.annotations
            .insert(MARK_ANNOTATION.to_owned(), "a:b".to_owned());
        let kept = keep(&view, None, now).expect("small");
        let (name, bytes) = kept.add.first_key_value().expect("a copy");
        let copy = KeptCopy::read(name, bytes).expect("it is ours");
        assert_eq!(
            (copy.time, copy.first, copy.mark.as_str()),
            (now, true, "a:b")
        );
        assert_eq!(copy.data, view.data);
        assert!(name.contains(copy.short()) && copy.short().len() == SHORT);
        for (name, bytes) in [
            ("x.json.gz", bytes.as_slice()),
            (name, b"not gzipped"),
            (name, &gzip(b"{}").expect("small")),
        ] {
            assert!(KeptCopy::read(name, bytes).is_err(), "{name}");
        }
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
