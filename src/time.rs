//! The one type for a time. It has no `+` and no `-`.
//!
//! Times come from specs, statuses, annotations, AWS and the clock, and may be anything that can be written as one. jiff's
//! operators panic beyond the years -9999 and 9999; the methods here stop at [`Timestamp::MIN`] and [`Timestamp::MAX`].
//! `.clippy.toml` keeps jiff's type, and the operators of such types, out of the rest of the crate.
#![allow(clippy::disallowed_types, reason = "it is wrapped here")]

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde::{Deserialize, Serialize};

/// A time, as an instant.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The earliest.
    pub const MIN: Self = Self(jiff::Timestamp::MIN);
    /// The latest, on the last days of 9999.
    pub const MAX: Self = Self(jiff::Timestamp::MAX);
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(jiff::Timestamp::UNIX_EPOCH);

    /// The clock's time.
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    /// Seconds and nanoseconds since 1970.
    pub fn new(seconds: i64, nanoseconds: i32) -> Result<Self, jiff::Error> {
        jiff::Timestamp::new(seconds, nanoseconds).map(Self)
    }

    /// Seconds since 1970.
    pub fn from_second(seconds: i64) -> Result<Self, jiff::Error> {
        jiff::Timestamp::from_second(seconds).map(Self)
    }

    /// Milliseconds since 1970.
    pub fn from_millisecond(milliseconds: i64) -> Result<Self, jiff::Error> {
        jiff::Timestamp::from_millisecond(milliseconds).map(Self)
    }

    /// Microseconds since 1970.
    pub fn from_microsecond(microseconds: i64) -> Result<Self, jiff::Error> {
        jiff::Timestamp::from_microsecond(microseconds).map(Self)
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn as_second(self) -> i64 {
        self.0.as_second()
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn as_nanosecond(self) -> i128 {
        self.0.as_nanosecond()
    }

    /// So much later, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: SignedDuration) -> Self {
        let beyond = if duration.is_negative() {
            Self::MIN
        } else {
            Self::MAX
        };
        self.0.checked_add(duration).map_or(beyond, Self)
    }

    /// So much earlier, at least [`Timestamp::MIN`].
    #[must_use]
    pub fn minus(self, duration: SignedDuration) -> Self {
        let beyond = if duration.is_negative() {
            Self::MAX
        } else {
            Self::MIN
        };
        self.0.checked_sub(duration).map_or(beyond, Self)
    }

    /// How long after `earlier` this is; negative where it is before.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> SignedDuration {
        self.0.duration_since(earlier.0)
    }

    /// The time by a format of strftime.
    #[must_use]
    pub fn format(self, format: &str) -> String {
        self.0.strftime(format).to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        Self(time)
    }
}

impl From<&Time> for Timestamp {
    fn from(time: &Time) -> Self {
        Self(time.0)
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time.0)
    }
}

impl From<Timestamp> for MicroTime {
    fn from(time: Timestamp) -> Self {
        Self(time.0)
    }
}

/// A time for a sentence.
#[must_use]
pub fn to_the_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_time() -> impl Strategy<Value = Timestamp> {
        let (least, most) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        prop_oneof![
            Just(Timestamp::MIN),
            Just(Timestamp::MAX),
            (least..=most).prop_map(|second| Timestamp::from_second(second).expect("in range")),
        ]
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn arithmetic_keeps_the_order_and_never_panics(
            time in any_time(),
            seconds in prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>(), -100_i64..100],
        ) {
            let duration = SignedDuration::from_secs(seconds);
            let (later, earlier) = (time.plus(duration), time.minus(duration));
            if seconds >= 0 {
                prop_assert!(earlier <= time && time <= later);
            } else {
                prop_assert!(later <= time && time <= earlier);
            }
            let _ = later.duration_since(earlier);
            prop_assert_eq!(to_the_second(time).as_second(), time.as_second());
        }
    }

    #[test]
    fn times_are_written_as_kubernetes_does() {
        let time: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        assert_eq!(format!("{time:.0}"), "2026-01-02T03:04:05Z");
        assert_eq!(
            serde_json::to_value(time).expect("serializes"),
            "2026-01-02T03:04:05.678Z"
        );
    }
}
