//! The ends of mappings that were seen well before they passed.
//!
//! A status says so too, but who can write statuses could write it there in the moment in which the spec gets that end. So what counts
//! is what this process saw itself, or an earlier one recorded on the history.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;

use super::mass_removal::WINDOW;
use crate::desired::Mapping;
use crate::time::Timestamp;

/// Begins the names of ends in the record, which are those of mappings by uid; no key's hash begins so.
const PREFIX: &str = "end:";
/// So many ends are recorded, first those that are still to come, soonest first: annotations may have 256 KiB in all (Kubernetes,
/// `TotalAnnotationSizeLimitB`), and an end takes 42 bytes.
const RECORDED: usize = 4000;
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
        let ends = ends.filter_map(|(name, end)| Some((uid(name.strip_prefix(PREFIX)?), end)));
        Self(ends.collect())
    }

    /// The same as it is stored.
    pub(super) fn stored(&self) -> impl Iterator<Item = (String, i64)> {
        self.0
            .iter()
            .map(|(uid, end)| (format!("{PREFIX}{}", short(uid)), *end))
    }

    /// As many of them as are recorded.
    pub(super) fn to_record(&self, now: Timestamp) -> Self {
        if self.0.len() <= RECORDED {
            return self.clone();
        }
        let mut all: Vec<(&String, &i64)> = self.0.iter().collect();
        all.sort_by_key(|(uid, end)| (**end < now.as_second(), **end, *uid));
        let soonest = all.into_iter().take(RECORDED);
        Self(soonest.map(|(uid, end)| (uid.clone(), *end)).collect())
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
        self.0 = ends;
    }
}

/// A uid as it is recorded: the 16 bytes of a UUID take 22 characters.
fn short(uid: &str) -> String {
    let digits = uid.replace('-', "");
    match u128::from_str_radix(&digits, 16) {
        Ok(number) if long(number) == uid => URL_SAFE_NO_PAD.encode(number.to_be_bytes()),
        _ => uid.to_owned(),
    }
}

/// The uid that was recorded so.
fn uid(recorded: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(recorded).unwrap_or_default();
    let bytes: Result<[u8; 16], _> = bytes.try_into();
    bytes.map_or_else(|_| recorded.to_owned(), |it| long(u128::from_be_bytes(it)))
}

fn long(uuid: u128) -> String {
    let digits = format!("{uuid:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts.map(|part| &digits[part]).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u128) -> String {
        long(number * 0x1234_5678_9abc_def1)
    }

    fn ends(count: u128) -> Ends {
        let ends = (0..count).map(|number| (name(number), 2_000_000_000));
        Ends(ends.chain([("no-uuid".to_owned(), 5)]).collect())
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let mut stored: BTreeMap<String, i64> = ends(100).stored().collect();
        let width = stored.keys().map(String::len).max();
        assert_eq!(width, Some("end:".len() + 22));
        stored.insert("0123abcd".to_owned(), 7);
        assert_eq!(Ends::take_out(&mut stored), ends(100));
        assert_eq!(stored.len(), 1);
    }

    #[test]
    fn all_are_remembered_and_the_soonest_are_recorded() {
        let all = ends(6000);
        let now = Timestamp::from_second(1_000_000_000).expect("a time");
        let recorded = all.to_record(now);
        assert_eq!((all.0.len(), recorded.0.len()), (6001, RECORDED));
        assert!(!recorded.0.contains_key("no-uuid"), "it has passed");
        assert_eq!(recorded.to_record(now), recorded);
        let text = serde_json::to_string(&recorded.stored().collect::<BTreeMap<_, _>>());
        assert!(text.expect("JSON").len() < 170_000);
    }

    #[test]
    fn more_mappings_than_are_recorded_are_seen() {
        let mut seen = Ends::default();
        let now = Timestamp::from_second(1_000_000_000).expect("a time");
        let mapping = |number: usize| {
            let object = serde_json::from_value(serde_json::json!({
                "metadata": {"name": format!("m{number}"), "uid": name(number as u128)},
                "spec": {
                    "principal": {"arn": "arn:aws:iam::111122223333:role/dev"}, "username": "u",
                    "validUntil": now.plus(WINDOW).plus(WINDOW),
                },
            }));
            Cow::Owned(Mapping::from_object(&object.expect("a mapping")))
        };
        let mappings: Vec<_> = (0..=RECORDED).map(mapping).collect();
        seen.see(&mappings, now);
        assert!(mappings.iter().all(|mapping| seen.of(mapping).is_some()));
    }
}
