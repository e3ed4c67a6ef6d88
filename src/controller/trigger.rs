//! When to run a pass.
//!
//! A lone change is acted on at once. While changes keep coming, the pause after each pass doubles from
//! [`FIRST_PAUSE`] to [`LONGEST_PAUSE`], so that a burst costs few writes; after [`QUIET`] without a change or a pass the
//! next one is a lone change again. In a burst the pause is never shorter than the pass before it, up to [`LONGEST_REST`]: calls are
//! answered and statuses written between passes. Failed passes are tried again after a pause of their own that doubles as well; a change
//! doesn't wait for it. Both are pure: they get the time as an argument.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::cluster::state::{WatchChange, Watched};
use crate::cluster::watch::MAPPINGS;

/// The pause after the first pass of a burst.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A longer pass is not followed by a longer pause than this.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// A change after this time without one is a lone change.
const QUIET: Duration = Duration::from_secs(1);

/// So long passes wait for the mappings at most. A watch is begun again after five seconds at the latest.
const COMEBACK: Duration = Duration::from_secs(10);

/// Between tries of what failed.
pub(super) const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// When changes lead to a pass.
#[derive(Debug, Default)]
pub(super) struct Trigger {
    /// Held after the last pass; zero before the first of a burst.
    pause: Duration,
    last_change: Option<Instant>,
    last_start: Option<Instant>,
    last_end: Option<Instant>,
    /// Since when a change waits.
    waiting: Option<Instant>,
}

impl Trigger {
    /// Something changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let quiet = |last: Instant| now.saturating_duration_since(last) >= QUIET;
        let passing = self.last_start > self.last_end;
        if !passing && self.last_change.is_none_or(quiet) && self.last_end.is_none_or(quiet) {
            self.pause = Duration::ZERO;
        }
        self.last_change = Some(now);
        self.waiting.get_or_insert(now);
    }

    /// When the next pass is to start; `None` while nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting?;
        Some(
            self.last_end
                .map_or(waiting, |end| waiting.max(end + self.rest(end))),
        )
    }

    fn rest(&self, end: Instant) -> Duration {
        if self.pause.is_zero() {
            return Duration::ZERO;
        }
        let start = self.last_start.unwrap_or(end);
        let took = end.saturating_duration_since(start);
        self.pause.max(took.min(LONGEST_REST))
    }

    /// A pass starts with all that has changed. Returns since when the first of it waited.
    pub(super) fn started(&mut self, now: Instant) -> Option<Instant> {
        self.last_start = Some(now);
        self.pause = if self.pause.is_zero() {
            FIRST_PAUSE
        } else {
            (self.pause * 2).min(LONGEST_PAUSE)
        };
        self.waiting.take()
    }

    /// The pass is over.
    pub(super) fn ended(&mut self, now: Instant) {
        self.last_end = Some(now);
    }
}

/// When to try again what failed.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    at: Option<Instant>,
}

impl Retry {
    /// It failed. `jitter` keeps many installations whose API server comes back from calling it all at once.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) {
        self.at = Some(now + RETRY.pause(self.failures, jitter));
        self.failures = self.failures.saturating_add(1);
    }

    /// It succeeded.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// When to try again; `None` where nothing failed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.at
    }

    /// It is being tried again.
    pub(super) fn started(&mut self) {
        self.at = None;
    }
}

/// Holds passes while the mappings are as they were before the API server went away, and aws-auth is as it is since it came back: after
/// a restore of etcd, entries would be restored for mappings that no longer exist.
#[derive(Debug, Default)]
pub(super) struct Comeback {
    failing: BTreeSet<&'static str>,
    until: Option<Instant>,
}

impl Comeback {
    /// A watch fails, or works again. That mappings can be read again is not yet that they have been.
    pub(super) fn health(&mut self, watch: &'static str, fails: bool, now: Instant) {
        if fails {
            self.failing.insert(watch);
        } else if watch != MAPPINGS && self.failing.remove(watch) {
            self.until = self
                .failing
                .contains(MAPPINGS)
                .then(|| self.until.unwrap_or(now + COMEBACK));
        }
    }

    /// Something was read.
    pub(super) fn event(&mut self, event: &Watched) {
        if matches!(event, Watched::Mapping(WatchChange::Complete)) && self.failing.remove(MAPPINGS)
        {
            self.until = None;
        }
    }

    /// Until when passes wait.
    pub(super) fn holds_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_waited_for_when_the_api_server_comes_back() {
        let (start, mut comeback) = (Instant::now(), Comeback::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        // Mappings that can't be read alone hold nothing.
        comeback.health(MAPPINGS, true, at(0));
        assert_eq!(comeback.holds_until(at(0)), None);
        comeback.health("the ConfigMap", true, at(0));
        comeback.health("the ConfigMap", false, at(5));
        assert_eq!(comeback.holds_until(at(5)), Some(at(5) + COMEBACK));
        comeback.health(MAPPINGS, false, at(6));
        assert_eq!(comeback.holds_until(at(6)), Some(at(5) + COMEBACK));
        comeback.event(&Watched::Mapping(WatchChange::Complete));
        assert_eq!(comeback.holds_until(at(7)), None);
        // Where they stay away, aws-auth is repaired all the same, and not held up again.
        comeback.health(MAPPINGS, true, at(10));
        comeback.health("the ConfigMap", true, at(10));
        comeback.health("the ConfigMap", false, at(11));
        let end = at(11) + COMEBACK;
        assert_eq!(comeback.holds_until(end), None);
        comeback.health("RoleBindings", true, end);
        comeback.health("RoleBindings", false, end);
        assert_eq!(comeback.holds_until(end), None);
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Milliseconds at which passes start, given when changes come; a pass takes `pass` milliseconds.
    fn starts(changes: &[u64], pass: u64) -> Vec<u64> {
        let origin = Instant::now();
        let mut trigger = Trigger::default();
        let mut changes = changes.iter().copied().peekable();
        let (mut starts, mut running) = (Vec::new(), None::<u64>);
        for now in 0..20_000 {
            let instant = origin + ms(now);
            while changes.next_if_eq(&now).is_some() {
                trigger.changed(instant);
            }
            if running == Some(now) {
                trigger.ended(instant);
                running = None;
            }
            if running.is_none() && trigger.due().is_some_and(|due| due <= instant) {
                trigger.started(instant);
                starts.push(now);
                running = Some(now + pass);
            }
        }
        starts
    }

    #[test]
    fn a_lone_change_is_acted_on_at_once() {
        assert_eq!(starts(&[500], 10), [500]);
        assert_eq!(starts(&[500, 1500, 2600], 10), [500, 1500, 2600]);
    }

    #[test]
    fn changes_during_a_pass_fold_into_the_next() {
        assert_eq!(starts(&[0, 5, 6, 7], 10), [0, 110]);
    }

    #[test]
    fn pauses_double_while_changes_keep_coming() {
        let every_10_ms: Vec<u64> = (0..5_000).step_by(10).collect();
        assert_eq!(
            starts(&every_10_ms, 1),
            [0, 101, 302, 703, 1504, 2505, 3506, 4507, 5508]
        );
    }

    #[test]
    fn after_a_second_of_quiet_a_change_is_a_lone_one() {
        let mut changes: Vec<u64> = (0..2_000).step_by(10).collect();
        changes.extend([6_000, 6_010]);
        let starts = starts(&changes, 1);
        assert_eq!(&starts[starts.len() - 2..], [6_000, 6_101]);
    }

    #[test]
    fn a_burst_of_some_seconds_costs_at_most_five_and_one_a_second() {
        for seconds in 1..10_u64 {
            for pass in [1, 50, 300] {
                let changes: Vec<u64> = (0..seconds * 1000).step_by(3).collect();
                let count = starts(&changes, pass).len() as u64;
                assert!(count <= 5 + seconds, "{count} passes in {seconds} s");
            }
        }
    }

    #[test]
    fn between_long_passes_of_a_burst_is_as_much_time_as_they_take() {
        let every_10_ms: Vec<u64> = (0..9_000).step_by(10).collect();
        assert_eq!(starts(&every_10_ms, 1_500), [0, 3_000, 6_000, 9_000]);
        // One change in the middle of a long pass is no quiet time.
        assert_eq!(starts(&[0, 1_400, 4_400], 1_500), [0, 3_000, 6_000]);
        assert_eq!(starts(&every_10_ms, 6_000), [0, 8_000, 16_000]);
    }

    #[test]
    fn a_waiting_change_counts_from_its_first_moment() {
        let now = Instant::now();
        let mut trigger = Trigger::default();
        trigger.changed(now);
        trigger.changed(now + ms(7));
        assert_eq!(trigger.started(now), Some(now));
        assert_eq!(trigger.due(), None);
    }

    #[test]
    fn retries_double_up_to_a_minute() {
        let now = Instant::now();
        let mut retry = Retry::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            retry.failed(now, 0.0);
            pauses.push(retry.due().map(|at| (at - now).as_secs()));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60].map(Some));
        retry.succeeded();
        assert_eq!(retry.due(), None);
        retry.failed(now, 1.0);
        assert_eq!(
            retry.due(),
            Some(now + ms(500)),
            "jitter shortens by half at most"
        );
    }
}
