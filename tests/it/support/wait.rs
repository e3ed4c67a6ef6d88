//! Waiting for a condition with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Between two looks: short enough for a measured latency, long enough to leave the machine to what is waited for.
const PAUSE: Duration = Duration::from_millis(20);
/// The same where the wait is long: most looks ask the API server, and a minute of them cost both sides several seconds of a core.
const LONG_PAUSE: Duration = Duration::from_millis(200);

/// The pause after waiting for so long: late by at most a twentieth.
fn pause(waited: Duration) -> Duration {
    (waited / 20).clamp(PAUSE, LONG_PAUSE)
}

/// What one look gave: the value that was waited for, or the state that was found instead.
pub(crate) trait Look {
    /// What is waited for.
    type Value;
    /// The value, or a description of what was found instead of it.
    fn settle(self) -> Result<Self::Value, String>;
}

impl<T> Look for Option<T> {
    type Value = T;
    fn settle(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Debug> Look for Result<T, E> {
    type Value = T;
    fn settle(self) -> Result<T, String> {
        self.map_err(|state| format!("{state:#?}"))
    }
}

impl Look for bool {
    type Value = ();
    fn settle(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "false".to_owned())
    }
}

/// Looks again and again until `look` gives `Some`, `Ok` or `true`, and gives that value back.
///
/// Panics after `deadline` with `what` and with what the last look found: return `Err(state)` rather than `None` where
/// the state helps whoever reads the failure. A look that does not come back by the deadline counts as one that found
/// nothing.
#[track_caller]
pub(crate) fn eventually<L: Look>(
    what: &str,
    deadline: Duration,
    look: impl AsyncFnMut() -> L,
) -> impl Future<Output = L::Value> {
    let caller = std::panic::Location::caller();
    async move {
        let mut look = look;
        let started = Instant::now();
        let mut last = "no look came back".to_owned();
        while let Some(left) = deadline.checked_sub(started.elapsed()) {
            let Ok(found) = tokio::time::timeout(left, look()).await else {
                break;
            };
            match found.settle() {
                Ok(value) => return value,
                Err(state) => last = state,
            }
            tokio::time::sleep(pause(started.elapsed())).await;
        }
        panic!("{caller}: not within {deadline:?}: {what}\nlast seen: {last}");
    }
}
