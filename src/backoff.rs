//! Pauses after failures: each is twice as long as the previous one, up to a maximum.
//!
//! The iterators of kube-runtime and backon keep the count and draw the jitter themselves. Here both come from the caller, so that what
//! decides by a pause stays pure.

use std::time::Duration;

/// The first pause and the longest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The pause after a failure that `earlier` ones came before. `jitter`, from 0 to 1, shortens it by up to half: callers that failed
    /// together must not come back together, nor at once.
    pub(crate) fn pause(self, earlier: u32, jitter: f64) -> Duration {
        let factor = 1_u32.checked_shl(earlier).unwrap_or(u32::MAX);
        let doubled = self.first.saturating_mul(factor).min(self.longest);
        doubled.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_shortens_them_by_half_at_most() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let pauses = [0, 1, 2, 5, 6, u32::MAX].map(|earlier| backoff.pause(earlier, 0.0).as_secs());
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60]);
        assert_eq!(backoff.pause(0, 1.0), Duration::from_millis(500));
        assert_eq!(backoff.pause(9, 7.0), Duration::from_secs(30));
    }
}
