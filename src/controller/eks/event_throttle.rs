//! Limits what events from the queue can cause: each principal's entry is read at most once a minute. Pure: it gets the time as an argument.
//!
//! Anyone who may send to the queue can send any event. The first event for a principal counts at once, those that follow within a minute
//! count once, at the end of it.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::time::Timestamp;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Of whom the queue spoke within the last minute.
#[derive(Clone, Debug, Default)]
pub(super) struct EventThrottle(BTreeMap<String, Word>);

#[derive(Clone, Debug)]
struct Word {
    heeded: Timestamp,
    /// What came since: who did it, where that is known.
    #[allow(
        clippy::option_option,
        reason = "whether something came, and who did it"
    )]
    waits: Option<Option<String>>,
}

impl Word {
    /// A time ahead of now is one of a clock that was set back.
    fn over(&self, now: Timestamp) -> bool {
        self.heeded > now || now.duration_since(self.heeded) >= MINUTE
    }
}

impl EventThrottle {
    /// Takes in a word. Whether it is to be heeded at once.
    #[allow(clippy::single_match_else, reason = "both arms are of the same weight")]
    pub(super) fn heed(&mut self, principal: &str, by: Option<&str>, now: Timestamp) -> bool {
        match self.0.get_mut(principal).filter(|word| !word.over(now)) {
            Some(word) => {
                let by = by.map(str::to_owned);
                let before = word.waits.take().flatten();
                word.waits = Some(by.or(before));
                false
            }
            None => {
                let word = Word {
                    heeded: now,
                    waits: None,
                };
                self.0.insert(principal.to_owned(), word);
                true
            }
        }
    }

    /// Whether a word about an entry that is not known is heeded: one a minute for each principal, whatever its path, and those that
    /// follow are dropped, since a listing finds what they tell of.
    pub(super) fn heed_new(&mut self, key: &str, now: Timestamp) -> bool {
        let fresh = self.0.get(key).is_none_or(|word| word.over(now));
        fresh && self.heed(key, None, now)
    }

    /// The principals whose minute is over and that a word waits for, with who did it.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(String, Option<String>)> {
        let mut due = Vec::new();
        self.0.retain(|principal, word| {
            if !word.over(now) {
                return true;
            }
            let Some(by) = word.waits.take() else {
                return false;
            };
            word.heeded = now;
            due.push((principal.clone(), by));
            true
        });
        due
    }

    /// Of how many principals something is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn one_look_a_minute_the_first_at_once() {
        let mut words = EventThrottle::default();
        let mut looks = Vec::new();
        for second in 0..300 {
            if words.heed("dev", Some("ann"), at(second)) {
                looks.push(second);
            }
            let due = words.due(at(second));
            looks.extend(due.iter().map(|_| second));
        }
        assert_eq!(looks, [0, 60, 120, 180, 240]);
        assert_eq!(
            words.due(at(300)),
            [("dev".to_owned(), Some("ann".to_owned()))]
        );
        assert_eq!(words.due(at(360)), [], "nothing came since");
        assert_eq!(words.len(), 0, "and nothing is kept");
    }

    #[test]
    fn the_caller_is_kept_when_a_later_event_has_none() {
        let mut words = EventThrottle::default();
        assert!(words.heed("dev", None, at(0)));
        assert!(!words.heed("dev", Some("ann"), at(1)) && !words.heed("dev", None, at(2)));
        assert!(words.heed("ops", None, at(3)), "of each its own minute");
        assert_eq!(
            words.due(at(60)),
            [("dev".to_owned(), Some("ann".to_owned()))]
        );
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nothing() {
        let mut words = EventThrottle::default();
        assert!(words.heed("dev", None, at(3600)));
        assert!(words.heed("dev", None, at(5)));
    }
}
