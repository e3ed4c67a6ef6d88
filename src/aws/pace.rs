//! How fast EKS is called, and who is next: values on a clock that the caller brings.
//!
//! AWS publishes no rates for access entries, and what it allows is shared with everything else in the account. So the rate is
//! found: halved when EKS throttles, raised a little at a time while calls succeed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::access_entry::FailureKind;
use crate::backoff::Backoff;

/// Calls a second at most, unless set otherwise.
pub const DEFAULT_RATE: f64 = 10.0;
/// Calls side by side at most.
pub(super) const SIDE_BY_SIDE: usize = 8;

/// Throttling never lowers the rate below this share of the highest.
const LOWEST_SHARE: f64 = 1.0 / 32.0;
/// What throttling leaves of the rate.
const LOWERED: f64 = 0.5;
/// A second of success gives back this share of the highest rate.
const RAISED: f64 = 1.0 / 20.0;
/// A success says nothing of what was allowed longer ago than this.
const RAISED_FOR: Duration = Duration::from_secs(1);
/// Of so many calls in a row one is a background call, if any waits: a burst of changes may slow observation down, not stop it.
const BACKGROUND_TURN: u32 = 10;
/// How often a throttled call is tried.
const THROTTLED_TRIES: u32 = 6;
/// How often a read is tried that EKS failed to answer.
const UNAVAILABLE_TRIES: u32 = 3;
/// Between tries of a call.
pub(super) const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The calls of a change, and what decides whether changes may be made at all.
    Urgent,
    /// Listing, and describing again what was described before.
    Background,
}

/// A bucket of tokens whose rate falls when EKS throttles and recovers while it does not. Times are since any fixed moment.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    highest: f64,
    rate: f64,
    tokens: f64,
    filled: Duration,
    lowered: Option<Duration>,
    raised: Duration,
}

impl Pace {
    pub(super) fn new(highest: f64) -> Self {
        Self {
            highest,
            rate: highest,
            tokens: highest.max(1.0),
            filled: Duration::ZERO,
            lowered: None,
            raised: Duration::ZERO,
        }
    }

    /// Calls a second as of now.
    pub(super) const fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes a token, or tells how long to wait for one.
    pub(super) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.filled);
        self.filled = self.filled.max(now);
        // A second's worth may be used at once.
        let most = self.rate.max(1.0);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate).min(most);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // Rounded up, so that whoever waits for as long finds it.
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / self.rate);
        Err(wait + Duration::from_micros(1))
    }

    /// A call that began at `began` was throttled. One that began before the rate was last lowered tells nothing of the new one.
    pub(super) fn throttled(&mut self, began: Duration, now: Duration) {
        self.raised = self.raised.max(now);
        if self.lowered.is_some_and(|lowered| began < lowered) {
            return;
        }
        self.rate = (self.rate * LOWERED).max(self.highest * LOWEST_SHARE);
        self.tokens = 0.0;
        self.filled = self.filled.max(now);
        self.lowered = Some(now);
    }

    /// A call was answered.
    pub(super) fn succeeded(&mut self, now: Duration) {
        let since = now.saturating_sub(self.raised).min(RAISED_FOR);
        self.raised = self.raised.max(now);
        let raised = self.rate + self.highest * RAISED * since.as_secs_f64();
        self.rate = raised.min(self.highest);
    }
}

/// Who waits for a call, in order, and how many are on their way. `W` is how a waiting one is told.
#[derive(Debug)]
pub(super) struct Line<W> {
    pub(super) pace: Pace,
    side_by_side: usize,
    running: usize,
    waiting: BTreeMap<Ticket, W>,
    tickets: u64,
    urgent_in_a_row: u32,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(Priority, u64);

/// Whether a ticket may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Now: it is counted as on its way, and waits no more.
    Go,
    /// It is the next, after this time.
    In(Duration),
    /// Others are before it, or as many are on their way as may be.
    Later,
}

impl<W> Line<W> {
    pub(super) fn new(pace: Pace, side_by_side: usize) -> Self {
        Self {
            pace,
            side_by_side: side_by_side.max(1),
            running: 0,
            waiting: BTreeMap::new(),
            tickets: 0,
            urgent_in_a_row: 0,
        }
    }

    pub(super) fn join(&mut self, priority: Priority, waiter: W) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(priority, self.tickets);
        self.waiting.insert(ticket, waiter);
        ticket
    }

    /// Leaves the line without having gone.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    pub(super) fn turn(&mut self, ticket: Ticket, now: Duration) -> Turn {
        if self.running >= self.side_by_side || self.head() != Some(ticket) {
            return Turn::Later;
        }
        if let Err(wait) = self.pace.take(now) {
            return Turn::In(wait);
        }
        self.waiting.remove(&ticket);
        self.running += 1;
        self.urgent_in_a_row = match ticket.0 {
            Priority::Urgent => self.urgent_in_a_row.saturating_add(1),
            Priority::Background => 0,
        };
        Turn::Go
    }

    /// One that went is back.
    pub(super) fn back(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// The next one, to be told that something has changed.
    pub(super) fn next(&self) -> Option<&W> {
        self.waiting.get(&self.head()?)
    }

    fn head(&self) -> Option<Ticket> {
        let first = *self.waiting.first_key_value()?.0;
        let background = Ticket(Priority::Background, 0);
        let second = || self.waiting.range(background..).next();
        if self.urgent_in_a_row < BACKGROUND_TURN - 1 {
            return Some(first);
        }
        second().map(|(ticket, _)| *ticket).or(Some(first))
    }
}

/// How often a call that ends like this is made in all, with what comes of it: one that had its effect, or a write of unknown effect,
/// once; its caller reads first what is there.
pub(super) fn tries(kind: &FailureKind, read: bool) -> u32 {
    match kind {
        FailureKind::Throttled => THROTTLED_TRIES,
        FailureKind::Unavailable if read => UNAVAILABLE_TRIES,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_seconds_worth_at_once_and_then_the_rate() {
        let mut pace = Pace::new(10.0);
        for call in 0..10 {
            assert_eq!(pace.take(ms(0)), Ok(()), "call {call}");
        }
        let wait = pace.take(ms(0)).unwrap_err();
        assert!(wait >= ms(100) && wait < ms(101), "{wait:?}");
        assert_eq!(pace.take(wait), Ok(()), "the wait suffices");
        assert!(pace.take(wait).is_err(), "and gives one");
    }

    #[test]
    fn calls_that_were_under_way_together_lower_the_rate_once() {
        let mut pace = Pace::new(8.0);
        for began in [0, 1, 2, 50] {
            pace.throttled(ms(began), ms(100));
        }
        assert!((pace.rate() - 4.0).abs() < 1e-9, "{}", pace.rate());
        pace.throttled(ms(100), ms(200));
        assert!((pace.rate() - 2.0).abs() < 1e-9, "{}", pace.rate());
        assert!(pace.take(ms(200)).is_err(), "what was saved up is gone");
    }

    #[test]
    fn it_recovers_by_a_twentieth_a_second_while_calls_succeed() {
        let mut pace = Pace::new(10.0);
        for began in 0..20 {
            pace.throttled(ms(began * 10), ms(began * 10 + 5));
        }
        assert!((pace.rate() - 10.0 / 32.0).abs() < 1e-9, "{}", pace.rate());
        // However many succeed in a second.
        for call in 1..=100 {
            pace.succeeded(ms(195 + call * 10));
        }
        assert!(
            (pace.rate() - (10.0 / 32.0 + 0.5)).abs() < 1e-6,
            "{}",
            pace.rate()
        );
        // An hour without a call is no hour of success.
        pace.succeeded(ms(3_600_000));
        assert!(
            (pace.rate() - (10.0 / 32.0 + 1.0)).abs() < 1e-6,
            "{}",
            pace.rate()
        );
        for second in 3601..3640 {
            pace.succeeded(ms(second * 1000));
        }
        assert!((pace.rate() - 10.0).abs() < 1e-9, "{}", pace.rate());
    }

    #[test]
    fn urgent_calls_go_first_and_background_calls_are_not_starved() {
        let mut line = Line::new(Pace::new(1000.0), 1);
        let background: Vec<Ticket> = (0..3)
            .map(|_| line.join(Priority::Background, ()))
            .collect();
        let urgent: Vec<Ticket> = (0..25).map(|_| line.join(Priority::Urgent, ())).collect();
        let mut order = Vec::new();
        while let Some(head) = line.head() {
            assert_eq!(line.turn(head, ms(0)), Turn::Go);
            assert_eq!(line.turn(head, ms(0)), Turn::Later, "one at a time");
            line.back();
            order.push(head);
        }
        let mut expected = urgent.clone();
        expected.insert(9, background[0]);
        expected.insert(19, background[1]);
        expected.push(background[2]);
        assert_eq!(order, expected);
    }

    #[test]
    fn only_the_head_of_the_line_goes() {
        let mut line = Line::new(Pace::new(1.0), 2);
        let first = line.join(Priority::Background, 1);
        let second = line.join(Priority::Background, 2);
        assert_eq!(line.turn(second, ms(0)), Turn::Later);
        assert_eq!(line.turn(first, ms(0)), Turn::Go);
        assert!(matches!(line.turn(second, ms(0)), Turn::In(_)));
        let urgent = line.join(Priority::Urgent, 3);
        assert_eq!(line.turn(second, ms(2000)), Turn::Later);
        assert_eq!(line.next(), Some(&3));
        line.leave(urgent);
        assert_eq!(line.next(), Some(&2));
        assert_eq!(line.turn(second, ms(2000)), Turn::Go);
        let third = line.join(Priority::Urgent, 4);
        assert_eq!(line.turn(third, ms(9000)), Turn::Later, "two at a time");
        line.back();
        assert_eq!(line.turn(third, ms(9000)), Turn::Go);
    }

    #[test]
    fn tries_are_bounded_and_pauses_grow() {
        let pauses = |kind, read| -> Vec<Duration> {
            let failures = tries(&kind, read) - 1;
            (0..failures)
                .map(|earlier| RETRY.pause(earlier, 0.0))
                .collect()
        };
        let throttled = [500, 1000, 2000, 4000, 8000].map(ms);
        assert_eq!(pauses(FailureKind::Throttled, true), throttled);
        assert_eq!(pauses(FailureKind::Throttled, false), throttled);
        assert_eq!(pauses(FailureKind::Unavailable, true), [ms(500), ms(1000)]);
        assert!(
            pauses(FailureKind::Unavailable, false).is_empty(),
            "a write of unknown effect"
        );
        assert!(pauses(FailureKind::Refused, true).is_empty());
        assert_eq!(RETRY.pause(0, 1.0), ms(250));
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        /// Whatever happens and whenever: in no window more than the highest rate allows, never stuck, never below the lowest.
        #[test]
        fn the_rate_is_never_exceeded(
            highest in 0.1_f64..200.0,
            steps in prop::collection::vec((0_u64..2_000, 0_u8..4), 1..200),
        ) {
            let mut pace = Pace::new(highest);
            let (mut now, mut taken) = (Duration::ZERO, Vec::new());
            for (passed, what) in steps {
                now += ms(passed);
                match what {
                    0 => pace.throttled(now.saturating_sub(ms(passed / 2)), now),
                    1 => pace.succeeded(now),
                    _ => match pace.take(now) {
                        Ok(()) => taken.push(now),
                        Err(wait) => {
                            now += wait;
                            prop_assert_eq!(pace.take(now), Ok(()));
                            taken.push(now);
                        }
                    },
                }
                prop_assert!(pace.rate() <= highest + 1e-9);
                prop_assert!(pace.rate() >= highest / 32.0 - 1e-9);
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let count = u32::try_from(last - first + 1).expect("few");
                    let window = to.saturating_sub(*from);
                    let allowed = highest.max(1.0) + highest * window.as_secs_f64() + 0.01;
                    prop_assert!(f64::from(count) <= allowed, "{} in {:?}", count, window);
                }
            }
        }

        /// After the last throttling, success alone brings back the whole rate.
        #[test]
        fn it_recovers_whole(lowerings in 0_u64..40) {
            let mut pace = Pace::new(10.0);
            for at in 0..lowerings {
                pace.throttled(ms(at), ms(at));
            }
            for at in 0..40 {
                pace.succeeded(ms(lowerings + at * 500));
            }
            prop_assert!((pace.rate() - 10.0).abs() < 1e-9, "{}", pace.rate());
        }
    }
}
