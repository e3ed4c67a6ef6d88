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
    let none = BTreeMap::new();
    let copies = history.map_or(&none, |view| &view.copies);
    if copies.keys().any(|name| {
        name.strip_suffix(SUFFIX)
            .is_some_and(|name| name.ends_with(&hash))
    }) {
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
