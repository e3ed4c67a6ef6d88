//! Chooses the access entry to describe next. Pure: it gets the time as an argument.
//!
//! An entry that is known by name only, or of which something may have changed, is described as soon as possible. Beside that each
//! owned entry is described once in a period, evenly: of `n` entries one every `n`th part of it, the one first that was described
//! longest ago.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::access_entry::{Entries, EntryState, INSTALLATION_TAG};
use crate::aws::Priority;
use crate::controller::trigger::RETRY;

/// So many are described side by side; the gate of all calls bounds them again.
const SIDE_BY_SIDE: usize = 4;

/// Rounds of the refresh take this part of the period, so that a slow answer makes none late.
const PART: f64 = 0.9;

/// What is being described, and what is to wait.
#[derive(Debug)]
pub(super) struct Refresh {
    period: Duration,
    running: BTreeSet<String>,
    /// Descriptions that failed: how often in a row, and when to try again.
    failed: BTreeMap<String, (u32, Instant)>,
    /// When the last one was described in its turn.
    turn: Instant,
}

impl Refresh {
    /// Every owned entry is described once in `period`.
    pub(super) fn new(period: Duration, now: Instant) -> Self {
        Self {
            period,
            running: BTreeSet::new(),
            failed: BTreeMap::new(),
            turn: now,
        }
    }

    /// Whether the entry of this principal is being described.
    pub(super) fn describes(&self, principal: &str) -> bool {
        self.running.contains(principal)
    }

    /// The next to describe, which counts as being described from here; entries that are `taken` are left to the holder.
    pub(super) fn start(
        &mut self,
        entries: &Entries,
        now: Instant,
        taken: impl Fn(&str) -> bool,
    ) -> Option<(String, Priority)> {
        if self.running.len() >= SIDE_BY_SIDE {
            return None;
        }
        let free = |principal: &String| {
            !self.running.contains(principal)
                && self
                    .failed
                    .get(principal)
                    .is_none_or(|(_, retry)| *retry <= now)
                && !taken(principal)
        };
        let mut new = None;
        let mut doubtful = None;
        let mut oldest: Option<(&String, &EntryState)> = None;
        let mut owned = 0_u32;
        for (principal, state) in &entries.by_principal {
            if is_owned(state) {
                owned += 1;
            }
            if state.doubtful {
                if doubtful.is_none() && free(principal) {
                    doubtful = Some(principal);
                    break;
                }
            } else if state.entry.is_none() {
                if new.is_none() && free(principal) {
                    new = Some(principal);
                }
            } else if is_owned(state)
                && oldest.is_none_or(|(_, oldest)| state.described < oldest.described)
                && free(principal)
            {
                oldest = Some((principal, state));
            }
        }
        let next = if let Some(principal) = doubtful {
            (principal.clone(), Priority::Urgent)
        } else if let Some(principal) = new {
            (principal.clone(), Priority::Background)
        } else {
            let (principal, _) = oldest.filter(|_| self.turn + self.pause(owned) <= now)?;
            self.turn = now;
            (principal.clone(), Priority::Background)
        };
        self.running.insert(next.0.clone());
        Some(next)
    }

    /// Between two of so many owned entries.
    fn pause(&self, owned: u32) -> Duration {
        self.period.mul_f64(PART) / owned.max(1)
    }

    /// It was described, or could not be. `certain`: in how long its answer will be believed that was not now.
    pub(super) fn ended(
        &mut self,
        principal: &str,
        ok: bool,
        now: Instant,
        certain: Option<Duration>,
        jitter: f64,
    ) {
        self.running.remove(principal);
        if ok {
            self.failed.remove(principal);
        } else {
            let before = self.failed.get(principal).map_or(0, |(count, _)| *count);
            let pause = RETRY.pause(before, jitter);
            let retry = now + certain.map_or(pause, |certain| certain.min(pause));
            self.failed
                .insert(principal.to_owned(), (before.saturating_add(1), retry));
        }
    }

    /// When to look again, should nothing else happen. Asked when [`Self::start`] has no more to start: what could be described by now
    /// is taken by somebody, or waits for one that is being described, and the answer to that looks again.
    pub(super) fn due(&self, entries: &Entries, now: Instant) -> Option<Instant> {
        if self.running.len() >= SIDE_BY_SIDE {
            return None;
        }
        let owned = entries.by_principal.values().filter(|it| is_owned(it));
        let owned = u32::try_from(owned.count()).unwrap_or(u32::MAX);
        let turn = (owned > 0).then(|| self.turn + self.pause(owned));
        let retries = self
            .failed
            .iter()
            .filter(|(principal, _)| !self.running.contains(*principal));
        let retries = retries.filter_map(|(principal, (_, retry))| {
            let state = entries.by_principal.get(principal)?;
            if is_wanted(state) {
                Some(*retry)
            } else {
                turn.filter(|_| is_owned(state))
                    .map(|turn| turn.max(*retry))
            }
        });
        turn.into_iter()
            .chain(retries)
            .filter(|due| *due > now)
            .min()
    }

    /// Forgets failures of entries that are gone.
    pub(super) fn retain(&mut self, entries: &Entries) {
        self.failed
            .retain(|principal, _| entries.by_principal.contains_key(principal));
    }
}

/// Whether it is to be described now, and not in its turn.
fn is_wanted(state: &EntryState) -> bool {
    state.doubtful || state.entry.is_none()
}

/// Whether it carries the mark of an installation.
pub(super) fn is_owned(state: &EntryState) -> bool {
    state
        .entry
        .as_ref()
        .is_some_and(|entry| entry.tags.contains_key(INSTALLATION_TAG))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::access_entry::{AccessEntry, Call, Kind, Output};
    use crate::api::v1alpha1::EntryType;
    use crate::time::Timestamp;

    fn principal(number: usize) -> String {
        format!("arn:aws:iam::111122223333:role/R{number:04}")
    }

    fn describe(entries: &mut Entries, principal: &str, owned: bool, second: i64) {
        let now = Timestamp::from_second(second).expect("a time");
        let tags = owned.then(|| (INSTALLATION_TAG.to_owned(), "here".to_owned()));
        let entry = AccessEntry {
            principal_arn: principal.to_owned(),
            arn: String::new(),
            kind: Kind::Known(EntryType::Standard),
            username: String::new(),
            groups: BTreeSet::new(),
            tags: tags.into_iter().collect(),
            created: now,
            modified: now,
            policies: BTreeMap::new(),
        };
        let call = Call::Describe {
            principal_arn: principal.to_owned(),
        };
        entries.apply(&call, Output::Described(Box::new(entry)), now);
    }

    fn listed(entries: &mut Entries, count: usize) {
        let principals = (0..count).map(principal).collect();
        let (now, none) = (Timestamp::UNIX_EPOCH, BTreeSet::new());
        entries.take_listing(&principals, &none, "admin", now, now);
    }

    #[test]
    fn doubtful_ones_first_then_new_ones() {
        let mut entries = Entries::default();
        listed(&mut entries, 3);
        describe(&mut entries, &principal(1), true, 1);
        entries.doubt(&principal(2), None, Timestamp::UNIX_EPOCH);
        let now = Instant::now();
        let mut refresh = Refresh::new(Duration::from_hours(1), now);
        let free = |_: &str| false;
        let first = refresh.start(&entries, now, free);
        assert_eq!(first, Some((principal(2), Priority::Urgent)));
        let second = refresh.start(&entries, now, free);
        assert_eq!(second, Some((principal(0), Priority::Background)));
        assert_eq!(refresh.start(&entries, now, free), None, "not its turn");
        assert!(refresh.describes(&principal(2)) && !refresh.describes(&principal(1)));
    }

    #[test]
    fn what_is_taken_or_failed_waits() {
        let mut entries = Entries::default();
        listed(&mut entries, 2);
        let now = Instant::now();
        let mut refresh = Refresh::new(Duration::from_hours(1), now);
        let taken = |name: &str| name == principal(0);
        let started = refresh.start(&entries, now, taken).expect("one is free");
        assert_eq!(started.0, principal(1));
        refresh.ended(&principal(1), false, now, None, 0.0);
        assert_eq!(refresh.start(&entries, now, taken), None);
        let later = refresh.due(&entries, now).expect("to be tried again");
        assert_eq!(later, now + Duration::from_secs(1));
        describe(&mut entries, &principal(1), false, 1);
        assert_eq!(
            refresh.due(&entries, now),
            None,
            "a plan's call described it"
        );
        entries.doubt(&principal(1), None, Timestamp::UNIX_EPOCH);
        assert!(refresh.start(&entries, later, taken).is_some());
        refresh.ended(&principal(1), false, later, None, 0.0);
        assert_eq!(
            refresh.due(&entries, later),
            Some(later + Duration::from_secs(2)),
            "a second failure in a row"
        );
        let later = later + Duration::from_secs(2);
        assert!(refresh.start(&entries, later, taken).is_some());
        let certain = Duration::from_secs(3);
        refresh.ended(&principal(1), false, later, Some(certain), 0.0);
        assert_eq!(refresh.due(&entries, later), Some(later + certain));
        entries.gone(&principal(1), Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        refresh.retain(&entries);
        assert_eq!(refresh.due(&entries, later), None);
    }

    /// A time that has passed would have the loop turn again at once, as fast as it may.
    #[test]
    fn what_cannot_be_described_now_is_not_looked_at_again_and_again() {
        let mut entries = Entries::default();
        listed(&mut entries, 6);
        let origin = Instant::now();
        let mut refresh = Refresh::new(Duration::from_hours(1), origin);
        let everyone = |_: &str| true;
        let nobody = |_: &str| false;
        // An unmanaged entry can't be described, and is then taken by a plan's call when its pause is over.
        let (failing, _) = refresh
            .start(&entries, origin, nobody)
            .expect("one is free");
        refresh.ended(&failing, false, origin, None, 0.0);
        let later = origin + Duration::from_mins(2);
        assert_eq!(refresh.start(&entries, later, everyone), None);
        assert_eq!(refresh.due(&entries, later), None);
        // Four are being described, which another waits for.
        while refresh.start(&entries, later, nobody).is_some() {}
        assert_eq!(refresh.due(&entries, later), None);
        // The turn of the only owned entry has come, and it failed a moment ago.
        let mut entries = Entries::default();
        describe(&mut entries, &principal(1), true, 1);
        let mut refresh = Refresh::new(Duration::from_secs(2), origin);
        let turn = origin + Duration::from_secs(2);
        assert!(refresh.start(&entries, turn, nobody).is_some());
        for _ in 0..5 {
            refresh.ended(&principal(1), false, turn, None, 0.0);
        }
        let next = turn + Duration::from_secs(3);
        assert_eq!(refresh.start(&entries, next, nobody), None);
        let due = refresh.due(&entries, next).expect("to be tried again");
        assert!(due > next + Duration::from_secs(5), "{:?}", due - next);
    }

    #[test]
    fn a_description_that_fails_is_tried_again_ever_more_seldom() {
        let mut entries = Entries::default();
        listed(&mut entries, 1);
        let origin = Instant::now();
        let mut refresh = Refresh::new(Duration::from_hours(1), origin);
        let mut now = origin;
        let mut tries = 0;
        while now < origin + Duration::from_mins(10) {
            while let Some((name, _)) = refresh.start(&entries, now, |_| false) {
                tries += 1;
                refresh.ended(&name, false, now, None, 0.0);
            }
            now = refresh.due(&entries, now).expect("to be tried again");
        }
        assert!(tries <= 20, "{tries}");
    }

    #[test]
    fn no_more_than_four_side_by_side() {
        let mut entries = Entries::default();
        listed(&mut entries, 100);
        let now = Instant::now();
        let mut refresh = Refresh::new(Duration::from_hours(1), now);
        let started = std::iter::from_fn(|| refresh.start(&entries, now, |_| false)).count();
        assert_eq!(started, SIDE_BY_SIDE);
    }

    #[test]
    fn every_owned_entry_is_described_once_in_the_period_and_evenly() {
        for (count, foreign) in [(1, 0), (7, 3), (600, 50)] {
            let mut entries = Entries::default();
            listed(&mut entries, count + foreign);
            for number in 0..count + foreign {
                describe(&mut entries, &principal(number), number < count, 0);
            }
            let origin = Instant::now();
            let mut refresh = Refresh::new(Duration::from_hours(1), origin);
            let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            let mut by_minute: BTreeMap<i64, usize> = BTreeMap::new();
            for second in 0..3 * 3600_i64 {
                let now = origin + Duration::from_secs(second.unsigned_abs());
                while let Some((name, priority)) = refresh.start(&entries, now, |_| false) {
                    assert_eq!(priority, Priority::Background);
                    describe(&mut entries, &name, true, second);
                    refresh.ended(&name, true, now, None, 0.0);
                    seen.entry(name).or_default().push(second);
                    *by_minute.entry(second / 60).or_default() += 1;
                }
            }
            assert_eq!(seen.len(), count, "the owned ones, and no other");
            for times in seen.values() {
                let mut last = 0;
                for time in times {
                    assert!(time - last <= 3600, "{time} after {last}");
                    last = *time;
                }
                assert!(3 * 3600 - last <= 3600);
            }
            let most = by_minute.values().max().copied().unwrap_or_default();
            assert!(most <= count / 50 + 2, "{most} of {count} in a minute");
        }
    }
}
