//! The gate that every call to EKS passes: rate limit, priority, and retries where they are safe.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::sync::Notify;

use super::failure::Request;
use super::pace::{Admission, Pace, Position, Priority, PriorityQueue, RETRY, SIDE_BY_SIDE, tries};
use crate::access_entry::{Failure, FailureKind};

/// Histograms of seconds, by one label.
pub type DurationFamily = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// The same by two labels.
pub type OtherDurationFamily =
    Family<[(&'static str, &'static str); 2], Histogram, fn() -> Histogram>;

/// What is counted of the calls to AWS. Clones share their numbers.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Seconds that calls to EKS took, by `operation`.
    pub duration: DurationFamily,
    /// Calls to EKS by `operation` and `outcome`: `ok`, or [`FailureKind::as_str`]. A call that is made again counts again.
    pub calls: Family<[(&'static str, &'static str); 2], Counter>,
    /// Calls to IAM, STS and SQS by `service`, `operation` and `outcome`. The SDK repeats them by itself, which is not seen here.
    pub others: Family<[(&'static str, &'static str); 3], Counter>,
    /// Seconds that these took, repeats included, by `service` and `operation`.
    pub others_duration: OtherDurationFamily,
    /// Seconds that calls waited for their turn, all together.
    pub waited: Counter<f64, AtomicU64>,
    /// Calls a second that are made at most now: lower than what was set while EKS throttles.
    pub rate: Gauge<f64, AtomicU64>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            // From 10 ms to some 10 s; a call has five seconds, and one more for credentials.
            duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.01, 2.0, 11))
            }),
            calls: Family::default(),
            others: Family::default(),
            // The same, and a minute: SQS is polled for 20 s.
            others_duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.01, 2.0, 13))
            }),
            waited: Counter::default(),
            rate: Gauge::default(),
        }
    }
}

impl Calls {
    /// Makes a call to another service than EKS, and counts it.
    pub(super) async fn other<T>(
        &self,
        asked: &Request,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let result = call.await;
        let failure = result.as_ref().err();
        let outcome = failure.map_or("ok", |failure| failure.kind.as_str());
        let [service, operation] = [("service", asked.service), ("operation", asked.operation)];
        let labels = [service, operation, ("outcome", outcome)];
        self.others.get_or_create(&labels).inc();
        let duration = self.others_duration.get_or_create(&[service, operation]);
        let took = began.elapsed();
        duration.observe(took.as_secs_f64());
        log(asked.service, asked.operation, outcome, took);
        result
    }
}

/// What came of a call. Of its arguments and of the answer nothing is logged.
fn log(service: &'static str, operation: &'static str, outcome: &'static str, took: Duration) {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(service, operation, outcome, milliseconds, "AWS answered");
}

/// The gate.
#[derive(Debug)]
pub(super) struct Limiter {
    line: Mutex<PriorityQueue<Arc<Notify>>>,
    origin: Instant,
    calls: Calls,
}

impl Limiter {
    pub(super) fn new(rate: f64) -> Self {
        let calls = Calls::default();
        calls.rate.set(rate);
        Self {
            line: Mutex::new(PriorityQueue::new(Pace::new(rate), SIDE_BY_SIDE)),
            origin: Instant::now(),
            calls,
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Makes a call when it is its turn. One that was throttled is made again, and so is a read that was not answered.
    /// A write that was not answered may have had its effect, so it is never made again here. Nothing is sent later than `within`.
    pub(super) async fn run<T, F>(
        &self,
        operation: &'static str,
        read: bool,
        priority: Priority,
        within: Option<Duration>,
        call: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let asked = Instant::now();
        let left = || within.map(|within| within.saturating_sub(asked.elapsed()));
        let mut made = 0;
        loop {
            let slot = match left() {
                None => self.slot(priority).await,
                Some(left) => tokio::time::timeout(left, self.slot(priority))
                    .await
                    .map_err(|_| Failure {
                        kind: FailureKind::Throttled,
                        message: "not sent: too many calls to EKS waited before it".to_owned(),
                    })?,
            };
            let began = self.now();
            let result = call().await;
            self.count(operation, began, result.as_ref().err());
            drop(slot);
            let failure = match result {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            made += 1;
            if made >= tries(&failure.kind, read) {
                return Err(failure);
            }
            let pause = RETRY.pause(made - 1, fastrand::f64());
            if left().is_some_and(|left| left <= pause) {
                return Err(failure);
            }
            tracing::debug!(operation, tries = made, ?pause, "retrying: {failure}");
            tokio::time::sleep(pause).await;
        }
    }

    fn count(&self, operation: &'static str, began: Duration, failure: Option<&Failure>) {
        let now = self.now();
        let outcome = failure.map_or("ok", |failure| failure.kind.as_str());
        let labels = [("operation", operation), ("outcome", outcome)];
        self.calls.calls.get_or_create(&labels).inc();
        let duration = self
            .calls
            .duration
            .get_or_create(&[("operation", operation)]);
        let took = now.saturating_sub(began);
        duration.observe(took.as_secs_f64());
        log("eks", operation, outcome, took);
        let mut line = self.line();
        match failure.map(|failure| &failure.kind) {
            Some(FailureKind::Throttled) => line.pace.throttled(began, now),
            // It did not get as far as to be counted by EKS.
            Some(FailureKind::Unavailable | FailureKind::Unauthenticated) => {}
            // A refusal was let through as well.
            Some(_) | None => line.pace.succeeded(now),
        }
        self.calls.rate.set(line.pace.rate());
    }

    /// Waits for the turn.
    async fn slot(&self, priority: Priority) -> Slot<'_> {
        let told = Arc::new(Notify::new());
        let arrived = self.now();
        let ticket = self.line().join(priority, told.clone());
        let mut place = Waiter {
            limiter: self,
            ticket: Some(ticket),
        };
        loop {
            let turn = self.line().turn(ticket, self.now());
            match turn {
                Admission::Now => break,
                Admission::After(wait) => {
                    // A new head of the queue checks for itself, so a notification is only a reason to check again.
                    drop(tokio::time::timeout(wait, told.notified()).await);
                }
                Admission::Later => told.notified().await,
            }
        }
        place.ticket = None;
        drop(place);
        let waited = self.now().saturating_sub(arrived);
        self.calls.waited.inc_by(waited.as_secs_f64());
        // The bound may leave room for one more.
        self.tell_next();
        Slot(self)
    }

    fn tell_next(&self) {
        if let Some(next) = self.line().next() {
            next.notify_one();
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn line(&self) -> MutexGuard<'_, PriorityQueue<Arc<Notify>>> {
        // Nothing panics while it is held; were it so, the numbers would still be usable.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in flight.
struct Slot<'a>(&'a Limiter);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.line().back();
        self.0.tell_next();
    }
}

/// A place in the line, given up where the caller stops waiting.
struct Waiter<'a> {
    limiter: &'a Limiter,
    ticket: Option<Position>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.limiter.line().leave(ticket);
            self.limiter.tell_next();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn failure(kind: FailureKind) -> Failure {
        Failure {
            kind,
            message: "m".to_owned(),
        }
    }

    fn counted(limiter: &Limiter, outcome: &'static str) -> u64 {
        let labels = [("operation", "Op"), ("outcome", outcome)];
        limiter.calls().calls.get_or_create(&labels).get()
    }

    /// Runs a call that fails so many times; gives how often it was made and what came of it.
    async fn tries(
        limiter: &Limiter,
        read: bool,
        kind: FailureKind,
        failures: u32,
    ) -> (u32, Result<(), Failure>) {
        let made = AtomicU32::new(0);
        let call = async || match made.fetch_add(1, Ordering::SeqCst) {
            made if made < failures => Err(failure(kind.clone())),
            _ => Ok(()),
        };
        let result = limiter.run("Op", read, Priority::Urgent, None, call).await;
        (made.load(Ordering::SeqCst), result)
    }

    #[tokio::test]
    async fn what_is_made_again_and_what_is_not() {
        let limiter = Limiter::new(1000.0);
        let (made, result) = tries(&limiter, false, FailureKind::Throttled, 1).await;
        assert_eq!((made, result), (2, Ok(())));
        assert!(limiter.calls().rate.get() < 600.0, "the rate is lowered");
        let (made, result) = tries(&limiter, true, FailureKind::Unavailable, 1).await;
        assert_eq!((made, result), (2, Ok(())));
        let unknown = failure(FailureKind::Unavailable);
        let (made, result) = tries(&limiter, false, FailureKind::Unavailable, 1).await;
        assert_eq!(
            (made, result),
            (1, Err(unknown)),
            "a write of unknown effect"
        );
        let refused = failure(FailureKind::Refused);
        let (made, result) = tries(&limiter, true, FailureKind::Refused, 1).await;
        assert_eq!((made, result), (1, Err(refused)));
        let outcomes = ["ok", "throttled", "unavailable", "refused"];
        let outcomes = outcomes.map(|outcome| counted(&limiter, outcome));
        assert_eq!(outcomes, [2, 1, 2, 1]);
    }

    #[tokio::test]
    async fn a_change_that_waited_for_too_long_is_not_sent() {
        let limiter = Limiter::new(1.0);
        let within = Some(Duration::from_millis(20));
        let made = AtomicU32::new(0);
        let run = |answer: Result<(), Failure>| {
            let made = &made;
            limiter.run("Op", false, Priority::Urgent, within, move || {
                made.fetch_add(1, Ordering::SeqCst);
                std::future::ready(answer.clone())
            })
        };
        let throttled = failure(FailureKind::Throttled);
        let result = run(Err(throttled.clone())).await;
        assert_eq!(result, Err(throttled), "no time is left for a second try");
        // There is one token a second.
        let late = run(Ok(())).await.expect_err("it waited for too long");
        assert_eq!(late.kind, FailureKind::Throttled, "without effect");
        assert_eq!(made.load(Ordering::SeqCst), 1);
        // It left the line: who waits for longer is next.
        let patient = limiter.run("Op", false, Priority::Urgent, None, async || Ok(()));
        assert_eq!(patient.await, Ok(()));
    }

    #[tokio::test]
    async fn no_more_side_by_side_than_allowed_and_none_is_forgotten() {
        let limiter = Limiter::new(100_000.0);
        let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let call = async || {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        let runs = (0..500).map(|number| {
            let priority = if number % 3 == 0 {
                Priority::Urgent
            } else {
                Priority::Background
            };
            limiter.run("Op", true, priority, None, call)
        });
        let results = futures::future::join_all(runs).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), 8);
        assert_eq!(counted(&limiter, "ok"), 500);
    }

    #[tokio::test]
    async fn a_cancelled_wait_does_not_block_the_queue() {
        let limiter = Limiter::new(1.0);
        // The token that is there is used up.
        drop(limiter.slot(Priority::Urgent).await);
        let mut gives_up = Box::pin(limiter.slot(Priority::Urgent));
        let mut waits = Box::pin(limiter.slot(Priority::Background));
        assert!(futures::poll!(&mut gives_up).is_pending());
        assert!(futures::poll!(&mut waits).is_pending());
        drop(gives_up);
        let went = tokio::time::timeout(Duration::from_secs(10), waits).await;
        assert!(went.is_ok(), "it is told that it is the next");
    }
}
