//! The ends of mappings that were seen well before they passed.
//!
//! A status says so too, but who can write statuses could write it there in the moment in which the spec gets that end. So what counts
//! is what this process saw itself, or an earlier one recorded on the history.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::mass_removal::WINDOW;
use crate::desired::Mapping;
use crate::time::Timestamp;

/// Begins the names of ends in the record, which are those of mappings by uid; no key's hash begins so.
const PREFIX: &str = "end:";
/// So many ends are kept, first those that are still to come, soonest first: annotations may have 256 KiB in all (Kubernetes, `TotalAnnotationSizeLimitB`), and an
/// end takes 56 bytes.
const MOST: usize = 1000;
/// A week: how long an end counts after it passed, so that an operator that was down meanwhile still knows it. What is there then to be
/// removed is removed, and the record does not grow with mappings that are kept after their end.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The latest end of each mapping that was seen in time, by uid, in seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends(BTreeMap<String, i64>);

impl Ends {
    /// Takes the ends out of a record as it is stored.
    pub(super) fn take_out(record: &mut BTreeMap<String, i64>) -> Self {
        let ends = record.extract_if(.., |name, _| name.starts_with(PREFIX));
        let ends =
            ends.filter_map(|(name, end)| Some((name.strip_prefix(PREFIX)?.to_owned(), end)));
        Self(ends.collect())
    }

    /// The same as it is stored.
    pub(super) fn stored(&self) -> impl Iterator<Item = (String, i64)> {
        self.0
            .iter()
            .map(|(uid, end)| (format!("{PREFIX}{uid}"), *end))
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (uid, end) in &other.0 {
            let latest = self.0.entry(uid.clone()).or_insert(*end);
            *latest = (*latest).max(*end);
        }
    }

    /// The end of a mapping that was seen in time.
    pub(super) fn of(&self, mapping: &Mapping) -> Option<Timestamp> {
        let end = self.0.get(&mapping.uid)?;
        Timestamp::from_second(*end).ok()
    }

    /// Takes in what the mappings say now, and forgets what needs no end any more. An end that is set to pass at once has been seen by
    /// nobody before; an earlier one that is set late is covered by the one that was seen.
    pub(super) fn see(&mut self, mappings: &[Cow<'_, Mapping>], now: Timestamp) {
        let mut ends = BTreeMap::new();
        for mapping in mappings {
            let Some(until) = mapping.valid_until else {
                continue;
            };
            let seen = self.0.get(&mapping.uid).copied();
            let end = if until.minus(WINDOW) >= now {
                Some(until.as_second())
            } else {
                seen.filter(|seen| *seen >= until.as_second())
            };
            let over = |end: &i64| now.as_second().saturating_sub(*end) >= KEPT.as_secs();
            ends.extend(
                end.filter(|end| !over(end))
                    .map(|end| (mapping.uid.clone(), end)),
            );
        }
        if ends.len() > MOST {
            let passed = |end: i64| end < now.as_second();
            let soonest: BTreeSet<(bool, i64, String)> = ends
                .into_iter()
                .map(|(uid, end)| (passed(end), end, uid))
                .collect();
            let kept = soonest.into_iter().take(MOST);
            ends = kept.map(|(_, end, uid)| (uid, end)).collect();
        }
        self.0 = ends;
    }
}
