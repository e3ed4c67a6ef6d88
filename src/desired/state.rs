//! What a mapping is at a moment.

use super::Mapping;
use crate::time::Timestamp;

/// What a mapping is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be put into effect.
    Live,
    /// `suspend: true`.
    Suspended,
    /// Its spec can't be put into effect.
    Refused,
    /// It carries a deletionTimestamp.
    Deleting,
    /// Its `validUntil` has passed.
    Expired,
}

impl State {
    /// What a mapping is now.
    #[must_use]
    pub fn of(mapping: &Mapping, now: Timestamp) -> Self {
        // What its deletion or its end is to remove is unknown.
        if mapping.unreadable.is_some() {
            Self::Refused
        } else if mapping.is_deleting() {
            Self::Deleting
        } else if mapping.expired(now) {
            Self::Expired
        } else if mapping.suspend {
            Self::Suspended
        } else if mapping.spec.is_err() {
            Self::Refused
        } else {
            Self::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_object_that_cannot_be_read_ends_at_valid_until_where_it_says_of_whom() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().expect("a time");
        let role = json!({ "arn": "arn:aws:iam::111122223333:role/a" });
        let state = |spec: Value| {
            let raw = json!({ "spec": spec });
            State::of(
                &Mapping::undecodable(&ObjectMeta::default(), "unknown variant", &raw),
                now,
            )
        };
        for (spec, expected) in [
            (
                json!({ "principal": role, "validUntil": "2026-11-29T11:59:59Z" }),
                State::Expired,
            ),
            (
                json!({ "principal": role, "validUntil": "2026-11-29T12:00:01Z" }),
                State::Refused,
            ),
            (
                json!({ "principal": role, "validUntil": "2020-12-24T18:00:00+99:99" }),
                State::Refused,
            ),
            (json!({ "principal": role }), State::Refused),
            (
                json!({ "principal": { "arn": "dev" }, "validUntil": "2026-11-29T11:59:59Z" }),
                State::Refused,
            ),
            (
                json!({ "principal": role, "validUntil": "2026-11-29T11:59:59Z", "deletion": "Perhaps" }),
                State::Refused,
            ),
        ] {
            assert_eq!(state(spec.clone()), expected, "{spec}");
        }
    }
}
