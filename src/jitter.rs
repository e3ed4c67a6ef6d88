//! Chance, where many must not do the same at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// A number from 0 to 1 that differs from process to process and from call to call.
pub(crate) fn jitter() -> f64 {
    let random = RandomState::new().hash_one(Instant::now());
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_fraction() {
        let drawn: Vec<f64> = (0..100).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(
            drawn.windows(2).any(|pair| pair[0] < pair[1])
                && drawn.windows(2).any(|pair| pair[0] > pair[1])
        );
    }
}
