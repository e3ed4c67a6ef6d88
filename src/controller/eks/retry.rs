//! When to retry a principal's calls after a failure. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::access_entry::{Call, Failure, FailureKind};
use crate::backoff::Backoff;
use crate::observed::Attempt;
use crate::principal::Key;
use crate::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const FIVE_MINUTES: Duration = Duration::from_mins(5);

/// How long to wait after the `count`th failure in a row of this kind. `jitter`, from 0 to 1, shortens what many wait for at once
/// by up to half.
fn pause(kind: &FailureKind, count: u32, jitter: f64) -> SignedDuration {
    let (longest, jitter) = match kind {
        FailureKind::Denied { .. }
        | FailureKind::QuotaExceeded
        | FailureKind::ClusterMissing
        | FailureKind::PolicyMissing => return SignedDuration::from_mins(1),
        FailureKind::Refused => return SignedDuration::from_mins(5),
        FailureKind::Throttled | FailureKind::Unavailable | FailureKind::Unauthenticated => {
            (MINUTE, jitter)
        }
        // Each may only be a matter of seconds: what was made or changed a moment ago is not known everywhere yet.
        FailureKind::InvalidPrincipal
        | FailureKind::EntryMissing
        | FailureKind::ModeWithoutEntries
        | FailureKind::InUse
        | FailureKind::Unreadable
        | FailureKind::Unknown => (FIVE_MINUTES, 0.0),
    };
    let pause = Backoff::new(SECOND, longest).pause(count.saturating_sub(1), jitter);
    SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX)
}

/// Keeps a failure beside those of other principals. One of the same call and kind as the last is one more in a row.
pub(super) fn failed(
    attempts: &mut BTreeMap<Key, Attempt>,
    key: &Key,
    call: Call,
    failure: Failure,
    now: Timestamp,
    jitter: f64,
) {
    let before = attempts.get(key).filter(|before| {
        before.call == call && before.failure.kind.as_str() == failure.kind.as_str()
    });
    let (since, count) = before.map_or((now, 1), |before| {
        (before.since, before.count.saturating_add(1))
    });
    let retry = now.plus(pause(&failure.kind, count, jitter));
    let attempt = Attempt {
        call,
        failure,
        since,
        count,
        retry,
    };
    attempts.insert(key.clone(), attempt);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(kind: &FailureKind, jitter: f64) -> Vec<i64> {
        let seconds = |count| pause(kind, count, jitter).as_secs();
        [1, 2, 3, 4, 7, 10, u32::MAX].map(seconds).to_vec()
    }

    #[test]
    fn pauses_by_kind() {
        let denied = FailureKind::Denied {
            action: "eks:CreateAccessEntry".to_owned(),
            statement: "{}".to_owned(),
        };
        for (kind, expected) in [
            (FailureKind::InvalidPrincipal, [1, 2, 4, 8, 64, 300, 300]),
            (FailureKind::EntryMissing, [1, 2, 4, 8, 64, 300, 300]),
            (FailureKind::ModeWithoutEntries, [1, 2, 4, 8, 64, 300, 300]),
            (FailureKind::InUse, [1, 2, 4, 8, 64, 300, 300]),
            (FailureKind::Unreadable, [1, 2, 4, 8, 64, 300, 300]),
            (FailureKind::Unknown, [1, 2, 4, 8, 64, 300, 300]),
            (denied, [60; 7]),
            (FailureKind::QuotaExceeded, [60; 7]),
            (FailureKind::ClusterMissing, [60; 7]),
            (FailureKind::PolicyMissing, [60; 7]),
            (FailureKind::Refused, [300; 7]),
            (FailureKind::Throttled, [1, 2, 4, 8, 60, 60, 60]),
            (FailureKind::Unavailable, [1, 2, 4, 8, 60, 60, 60]),
            (FailureKind::Unauthenticated, [1, 2, 4, 8, 60, 60, 60]),
        ] {
            assert_eq!(pauses(&kind, 0.0), expected, "{kind}");
        }
        assert_eq!(
            pauses(&FailureKind::Throttled, 1.0),
            [0, 1, 2, 4, 30, 30, 30],
            "jitter shortens by half at most"
        );
        assert_eq!(
            pauses(&FailureKind::Refused, 1.0),
            [300; 7],
            "what nobody else waits for needs none"
        );
    }

    #[test]
    fn failures_in_a_row_are_of_one_call_and_one_kind() {
        let arn = "arn:aws:iam::111122223333:role/Dev";
        let key = Key::parse_arn(arn).expect("an ARN");
        let delete = Call::Delete {
            principal_arn: arn.to_owned(),
        };
        let describe = Call::Describe {
            principal_arn: arn.to_owned(),
        };
        let mut attempts = BTreeMap::new();
        let mut fail = |call: &Call, kind: FailureKind, second: i64| {
            let now = Timestamp::from_second(second).expect("a time");
            let failure = Failure {
                kind,
                message: format!("at {second}"),
            };
            failed(&mut attempts, &key, call.clone(), failure, now, 0.0);
            let attempt = &attempts[&key];
            (
                attempt.count,
                attempt.since.as_second(),
                attempt.retry.as_second(),
                attempt.failure.message.clone(),
            )
        };
        let said = |second: i64| format!("at {second}");
        let kind = FailureKind::EntryMissing;
        assert_eq!(fail(&delete, kind.clone(), 10), (1, 10, 11, said(10)));
        assert_eq!(fail(&delete, kind.clone(), 20), (2, 10, 22, said(20)));
        assert_eq!(
            fail(&delete, FailureKind::Throttled, 30),
            (1, 30, 31, said(30)),
            "another kind"
        );
        assert_eq!(
            fail(&delete, FailureKind::Throttled, 40),
            (2, 30, 42, said(40))
        );
        assert_eq!(
            fail(&describe, FailureKind::Throttled, 50),
            (1, 50, 51, said(50)),
            "another call"
        );
    }
}
