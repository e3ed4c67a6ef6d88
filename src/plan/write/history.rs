//! The history of aws-auth: what stood there before each write of ours, in a `ConfigMap` beside it.
//!
//! Equal copies are kept once. At most 20 copies and 900 KiB are kept. The copy before our very first write is never
//! evicted: it is the way back to the cluster as it was.

use std::collections::BTreeMap;

use crate::observed::{ConfigMapView, CopyName, HistoryView, NewCopy};
use crate::ownership::MARK_ANNOTATION;
use crate::plan::action::HistoryWrite;
use crate::time::Timestamp;

/// The most copies that are kept.
const MOST_COPIES: usize = 20;
/// The most bytes that they may take together.
const MOST_BYTES: usize = 900 * 1024;

/// What to add and what to evict for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptCopies {
    pub(crate) add: BTreeMap<String, Vec<u8>>,
    pub(crate) remove: Vec<String>,
}

/// A copy of what exists, kept because a person asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The copy's name in the history.
    pub copy: String,
    /// What to write; `None`: an equal copy is kept already.
    pub write: Option<HistoryWrite>,
}

/// Keeps a copy of what exists, whatever is to come.
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
    let new = content(standing);
    let copies = history.map(|view| &view.copies).into_iter().flatten();
    let mut equal = copies.filter(|(name, _)| new.has_name(name));
    Ok(Backup {
        copy: equal
            .next()
            .map(|(name, _)| name.clone())
            .unwrap_or_default(),
        write: None,
    })
}

fn content(standing: &ConfigMapView) -> NewCopy {
    let mark = standing.annotations.get(MARK_ANNOTATION);
    NewCopy::of(
        &standing.data,
        mark.map(String::as_str).unwrap_or_default(),
        &standing.managers,
        Some(standing.resource_version.as_str()).filter(|version| !version.is_empty()),
    )
}

/// Keeps a copy of what exists, unless an equal one is kept.
///
/// # Errors
///
/// Says why where the copy alone is larger than the history may be.
pub(crate) fn keep(
    standing: &ConfigMapView,
    history: Option<&HistoryView>,
    now: Timestamp,
) -> Result<KeptCopies, String> {
    let new = content(standing);
    let none = BTreeMap::new();
    let copies = history.map_or(&none, |view| &view.copies);
    if copies.keys().any(|name| new.has_name(name)) {
        return Ok(KeptCopies::default());
    }
    let bytes = new.pack().map_err(|error| error.to_string())?;
    let age = |name: &str| CopyName::parse(name).map(|said| said.time);
    let firsts = copies
        .keys()
        .filter(|name| CopyName::parse(name).is_some_and(|said| said.first));
    // Of several that claim to be the first the oldest is: more of them must not fill the history for ever.
    let first = firsts.min_by_key(|name| age(name)).cloned();
    let name = new.name(now, first.is_none());
    let mut rest: Vec<(&String, usize)> = copies.iter().map(|(name, size)| (name, *size)).collect();
    // What is not named as we do, or after now, is no copy of ours or of a clock that was wrong. It goes first.
    rest.sort_by_key(|(name, _)| (age(name).filter(|time| *time <= now), *name));
    let mut remove = Vec::new();
    let fits = |rest: &[(&String, usize)]| {
        rest.len() < MOST_COPIES
            && rest.iter().map(|(_, size)| size).sum::<usize>() + bytes.len() <= MOST_BYTES
    };
    while !fits(&rest) {
        let Some(oldest) = rest
            .iter()
            .position(|(name, _)| Some(*name) != first.as_ref())
        else {
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
            .filter(|name| name.starts_with("first-"))
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

    fn name(prefix: &str, time: &str, digit: &str) -> String {
        format!("{prefix}{time}T000000000Z-{}.json.gz", digit.repeat(16))
    }

    fn removed_from(copies: &[(String, usize)]) -> Vec<String> {
        let history = HistoryView {
            copies: copies.iter().cloned().collect(),
            ..HistoryView::default()
        };
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        keep(&standing("- x"), Some(&history), now)
            .expect("fits")
            .remove
    }

    #[test]
    fn a_history_that_is_full_gives_way_to_the_new_copy() {
        let copies = [
            (name("first-", "20270101", "a"), 100_000),
            (name("", "20270102", "b"), 821_590),
        ];
        assert_eq!(removed_from(&copies), [copies[1].0.clone()]);
    }

    #[test]
    fn copies_with_unknown_names_are_evicted_first() {
        // Full of what claims to be first, to be of the future, or is named otherwise; and one that is ours.
        let mut copies: Vec<(String, usize)> = (0..16_u32)
            .map(|number| (name("first-", "20270101", &format!("{number:x}")), 10))
            .collect();
        let ours = name("", "20270102", "0");
        let strange = "zzz".to_owned();
        let ahead = name("", "20990101", "1");
        copies.extend([&ours, &ahead, &strange].map(|name| (name.clone(), 10)));
        copies.push((name("first-", "20260101", "2"), 10));
        assert_eq!(removed_from(&copies), std::slice::from_ref(&ahead));
        copies.retain(|(name, _)| *name != ahead);
        copies.push((name("", "20270103", "3"), 10));
        assert_eq!(removed_from(&copies), std::slice::from_ref(&strange));
        copies.retain(|(name, _)| *name != strange);
        copies.push((name("", "20270104", "4"), 10));
        assert_eq!(
            removed_from(&copies),
            [name("first-", "20270101", "0")],
            "only the oldest of the first ones stays for ever"
        );
    }
}
