//! What a leader's call checks at the moment when it is sent.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// This replica does not lead any more, or can't be sure to lead until an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseLost {
    /// The call was not begun.
    #[error("not sent: this replica does not hold the Lease, or not for long enough")]
    NotSent,
    /// The call was begun: whether it was sent is not known.
    #[error("no answer before the Lease of this replica ended")]
    Unanswered,
}

/// The right to write, for one term: from the moment in which this replica began to lead until another one may. It never comes back, so
/// what was planned in one term is not sent in a later one.
#[derive(Clone, Debug)]
pub struct Permit(Option<watch::Receiver<Option<Instant>>>);

/// The other end of a [`Permit`]. The term ends with this value.
#[derive(Debug)]
pub struct Term(watch::Sender<Option<Instant>>);

impl Term {
    /// A new term.
    #[must_use]
    pub fn new(until: Instant) -> (Self, Permit) {
        let (sender, receiver) = watch::channel(Some(until));
        (Self(sender), Permit(Some(receiver)))
    }

    /// The Lease is held until then.
    pub fn extend(&self, until: Instant) {
        self.0.send_if_modified(|held| {
            let changed = held.is_some() && *held != Some(until);
            if changed {
                *held = Some(until);
            }
            changed
        });
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

impl Permit {
    /// Of a process that takes part in no election.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// Of a term that is over.
    #[must_use]
    pub fn over() -> Self {
        let (_, held) = watch::channel(None);
        Self(Some(held))
    }

    /// Whether it is of an election.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Whether both are of the same term.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => one.same_channel(other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Whether a call that ends within `limit` may be sent now.
    #[must_use]
    pub fn allows(&self, limit: Duration) -> bool {
        let Some(held) = &self.0 else {
            return true;
        };
        held.borrow()
            .is_some_and(|until| until.saturating_duration_since(Instant::now()) > limit)
    }

    /// The same, for a call that was judged before: it waits no longer than this.
    pub async fn granted_within(&self, limit: Duration, wait: Duration) -> Result<(), LeaseLost> {
        let granted = tokio::time::timeout(wait, self.granted(limit));
        granted.await.unwrap_or(Err(LeaseLost::NotSent))
    }

    /// Goes on with a call that was begun only while the Lease is held.
    ///
    /// A call needs time before its request is sent, for example for a connection. A process that was stopped meanwhile would send it when
    /// it wakes, however long another replica has been leading.
    pub async fn while_held<T>(&self, call: impl Future<Output = T>) -> Result<T, LeaseLost> {
        let mut call = pin!(call);
        poll_fn(|context| {
            if self.allows(Duration::ZERO) {
                call.as_mut().poll(context).map(Ok)
            } else {
                Poll::Ready(Err(LeaseLost::Unanswered))
            }
        })
        .await
    }

    /// Waits until such a call may be sent: one renewal may be late.
    pub async fn granted(&self, limit: Duration) -> Result<(), LeaseLost> {
        let Some(held) = &self.0 else {
            return Ok(());
        };
        let mut held = held.clone();
        loop {
            // Seen before it is judged, so that no renewal in between is missed.
            if held.borrow_and_update().is_none() {
                return Err(LeaseLost::NotSent);
            }
            if self.allows(limit) {
                return Ok(());
            }
            if held.changed().await.is_err() {
                return Err(LeaseLost::NotSent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_call_needs_more_time_than_it_may_take() {
        let (grant, permit) = Term::new(within(4));
        assert!(!permit.allows(LIMIT), "less than it may take");
        assert!(permit.allows(LIMIT / 2));
        let waiting = permit.clone();
        let waiting = tokio::spawn(async move { waiting.granted(LIMIT).await });
        tokio::task::yield_now().await;
        grant.extend(within(60));
        assert_eq!(waiting.await.expect("no panic"), Ok(()), "it was renewed");
        assert!(permit.allows(LIMIT));
    }

    #[tokio::test]
    async fn a_call_that_was_judged_waits_for_no_renewal_for_long() {
        let (grant, permit) = Term::new(within(4));
        let wait = Duration::from_millis(20);
        assert_eq!(
            permit.granted_within(LIMIT, wait).await,
            Err(LeaseLost::NotSent)
        );
        assert_eq!(permit.granted_within(LIMIT / 2, wait).await, Ok(()));
        grant.extend(within(60));
        assert_eq!(permit.granted_within(LIMIT, wait).await, Ok(()));
    }

    #[tokio::test]
    async fn a_call_that_was_begun_goes_no_further_once_the_term_is_over() {
        let (grant, permit) = Term::new(within(60));
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let sent = std::cell::Cell::new(false);
        let call = permit.while_held(async {
            woken.await.expect("woken");
            sent.set(true);
        });
        let mut call = pin!(call);
        assert!(futures::poll!(call.as_mut()).is_pending());
        drop(grant);
        wake.send(()).expect("it waits");
        assert_eq!(call.await, Err(LeaseLost::Unanswered));
        assert!(!sent.get());

        let (_grant, permit) = Term::new(within(60));
        assert_eq!(permit.while_held(async { 1 }).await, Ok(1));
        assert_eq!(Permit::unlimited().while_held(async { 1 }).await, Ok(1));
    }

    #[tokio::test]
    async fn a_term_that_is_over_stays_over() {
        let (grant, permit) = Term::new(within(4));
        let waiting = permit.clone();
        let waiting = tokio::spawn(async move { waiting.granted(LIMIT).await });
        tokio::task::yield_now().await;
        drop(grant);
        assert_eq!(waiting.await.expect("no panic"), Err(LeaseLost::NotSent));
        let (_grant, next) = Term::new(within(60));
        assert!(next.allows(LIMIT) && !permit.allows(Duration::ZERO));
        assert_eq!(permit.granted(LIMIT).await, Err(LeaseLost::NotSent));
        assert!(!permit.is_same(&next) && next.is_same(&next.clone()));
        assert!(Permit::unlimited().allows(LIMIT));
    }
}
