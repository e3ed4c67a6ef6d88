//! When the copy in aws-auth of an access entry goes.

use jiff::SignedDuration;

use crate::access_entry::AccessEntry;
use crate::effective::{Standing, awaits_iam};
use crate::plan::claim::{Claim, Context, Eks};
use crate::principal::{AccountId, Key};
use crate::time::Timestamp;

/// What a soak waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SoakStep {
    /// Time, an answer or a listing; the time at which to look again, where one is known.
    Wait(Option<Timestamp>),
    /// The entry is to be described once more.
    Describe,
    Over,
}

/// When the soak of an entry that is as declared ends, and what it waits for.
pub(crate) fn step(
    context: &Context<'_>,
    eks: &Eks<'_>,
    key: &Key,
    standing: &Standing<'_>,
    entry: &AccessEntry,
) -> (Timestamp, SoakStep) {
    let soaked = entry.created.plus(eks.settings.soak);
    // An earlier process may have sent a call that deletes it.
    let earlier = eks.view.in_flight.earlier_calls_end();
    let end = earlier.map_or(soaked, |earlier| earlier.max(soaked));
    let described = standing.state.described.is_some_and(|time| time >= end);
    let step = if context.now < end {
        SoakStep::Wait(Some(end))
    } else if !described {
        SoakStep::Describe
    } else if eks.view.possible(standing.principal_arn).certain() != Some(entry) {
        // A call whose answer was lost may still change or delete it.
        SoakStep::Wait(None)
    } else if awaits_iam(key, standing.principal_arn, &eks.view.iam, end) {
        // It may have been made anew under its name since IAM was last listed.
        SoakStep::Wait(Some(context.now.plus(SignedDuration::from_secs(10))))
    } else {
        SoakStep::Over
    };
    (end, step)
}

/// The accounts whose IAM decides whether a soak has ended.
pub(crate) fn awaited_accounts<'a>(
    claims: &'a [Claim],
    eks: &'a Eks<'_>,
    now: Timestamp,
) -> impl Iterator<Item = AccountId> + 'a {
    claims.iter().filter_map(move |claim| {
        let end = claim.place.as_ref()?.soaks_until?;
        let key = claim.key.as_ref()?;
        let mut entries = eks.standing.of(&claim.hash).iter();
        let awaits = |arn: &str| awaits_iam(key, arn, &eks.view.iam, end);
        (end <= now && entries.any(|it| awaits(it.principal_arn))).then(|| key.account().clone())
    })
}
