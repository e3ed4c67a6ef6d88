//! Whether calls can be made now, and what their last failure means.

use jiff::SignedDuration;

use crate::access_entry::{Call, Failure, FailureKind, Persistence};
use crate::api::condition::Reason;
use crate::desired::resolve;
use crate::effective::in_iam;
use crate::observed::{Attempt, AwsView, Unreachable};
use crate::plan::claim::{Block, Claim, Context, Eks, EntrySide};
use crate::plan::decide::access_entry::calls::{goes_without, only_tags};
use crate::principal::{Principal, PrincipalKind};
use crate::time::to_the_second;

/// For so long AWS may not know what it has just been told (a role that was made, a mode that was changed).
const CONSISTENT_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// Whether calls can be made now, and what their last failure says.
pub(crate) fn settle(context: &Context<'_>, eks: &Eks<'_>, claim: &Claim, side: &mut EntrySide) {
    if side.calls.is_empty() {
        return;
    }
    let view = eks.view;
    if let Some(eks_unreachable) = &view.unreachable {
        let tags = only_tags(&side.calls);
        side.calls.clear();
        if !tags {
            side.hold(unreachable(eks_unreachable));
        }
        return;
    }
    let Some(key) = &claim.key else {
        return;
    };
    let mut in_flight = view.in_flight.of_key(key);
    if let Some(sent) = in_flight.find(|sent| sent.given_up.is_none()) {
        // Asking again while the answer is on its way would ask twice.
        side.failed = view.attempts.contains_key(key);
        if side.block.is_none() && !only_tags(&side.calls) {
            side.hold(failing(view, claim, side).map_or_else(
                || Block::awaiting_answer(sent),
                |attempt| failed(context, eks, attempt),
            ));
        }
        side.calls.clear();
        return;
    }
    if let Some(attempt) = failing(view, claim, side) {
        side.failed = true;
        let block = failed(context, eks, attempt);
        // All of them: one attempt is remembered for each principal, and another one may be refused like this one.
        let associates = |call: &Call| matches!(call, Call::Associate { .. });
        let refuses = matches!(
            attempt.failure.kind,
            FailureKind::Denied { .. }
                | FailureKind::Refused
                | FailureKind::PolicyMissing
                | FailureKind::QuotaExceeded
        );
        if associates(&attempt.call) && refuses && goes_without(side, associates) {
            return;
        }
        if attempt.retry > context.now {
            side.wake = Some(
                side.wake
                    .map_or(attempt.retry, |wake| wake.min(attempt.retry)),
            );
            if only_tags(&side.calls) {
                side.calls.clear();
            }
            side.hold(block);
        }
    }
}

/// EKS can't be asked, so that what would be changed there waits.
pub(crate) fn unreachable(unreachable: &Unreachable) -> Block {
    Block::passing(
        Reason::EksUnavailable,
        format!(
            "EKS can't be reached (last try at {}), so no access entry is changed: {}",
            to_the_second(unreachable.read),
            unreachable.failure
        ),
    )
}

/// The entries can't be listed.
pub(crate) fn unlisted(failure: &Failure) -> Block {
    match &failure.kind {
        FailureKind::Denied { action, statement } => denied(action, &failure.message, statement),
        kind => {
            let message = format!("the access entries can't be listed: {}", failure.message);
            match kind.persistence() {
                Persistence::Lasting => Block::lasting(Reason::EksUnavailable, message),
                Persistence::Brief | Persistence::Settling => {
                    Block::passing(Reason::EksUnavailable, message)
                }
            }
        }
    }
}

fn denied(action: &str, words: &str, statement: &str) -> Block {
    Block::lasting(
        Reason::AccessDenied,
        format!(
            "IAM does not allow the operator to call {action}: {words}; add to its IAM policy: {statement}"
        ),
    )
}

/// The last failure, where it was one of the calls that would be made now: after a change of the spec it says nothing.
pub(crate) fn failing<'a>(
    view: &'a AwsView,
    claim: &Claim,
    side: &EntrySide,
) -> Option<&'a Attempt> {
    let attempt = view.attempts.get(claim.key.as_ref()?)?;
    side.calls.contains(&attempt.call).then_some(attempt)
}

/// A failed call as a condition.
fn failed(context: &Context<'_>, eks: &Eks<'_>, attempt: &Attempt) -> Block {
    let words = &attempt.failure.message;
    let passes = match attempt.failure.kind.persistence() {
        Persistence::Brief => true,
        Persistence::Settling => attempt.since.plus(CONSISTENT_WITHIN) > context.now,
        Persistence::Lasting => false,
    };
    let block = |reason: Reason, message: String| {
        if passes {
            Block::passing(reason, message)
        } else {
            Block::lasting(reason, message)
        }
    };
    let operation = attempt.call.operation();
    match &attempt.failure.kind {
        FailureKind::InvalidPrincipal => {
            block(Reason::PrincipalInvalid, invalid_principal(eks, attempt))
        }
        FailureKind::ModeWithoutEntries => block(
            Reason::BackendUnavailable,
            format!(
                "EKS reports that the cluster's authentication mode has no access entries: {words}"
            ),
        ),
        FailureKind::EntryMissing | FailureKind::InUse => {
            block(Reason::EntryPending, format!("{operation}: {words}"))
        }
        FailureKind::PolicyMissing => block(
            Reason::AccessPolicyUnknown,
            format!("{words}; fix spec.accessPolicies"),
        ),
        FailureKind::QuotaExceeded => block(
            Reason::EntryQuotaExceeded,
            format!(
                "the cluster has the maximum number of access entries that EKS allows; delete entries that are no longer \
                    needed: {words}"
            ),
        ),
        FailureKind::Denied { action, statement } => denied(action, words, statement),
        FailureKind::Refused => block(
            Reason::EksRefused,
            format!("EKS refused {operation}: {words}"),
        ),
        FailureKind::Unauthenticated => block(
            Reason::EksUnavailable,
            format!("the operator has no valid AWS credentials: {words}"),
        ),
        FailureKind::ClusterMissing | FailureKind::Throttled | FailureKind::Unavailable => block(
            Reason::EksUnavailable,
            format!("{operation} failed, and the operator retries: {words}"),
        ),
        FailureKind::Unreadable | FailureKind::Unknown => block(
            Reason::EksRefused,
            format!(
                "{operation} failed with an error that this version does not know, and the operator retries: {words}"
            ),
        ),
    }
}

/// Why EKS does not know a principal, as far as IAM tells.
pub(crate) fn invalid_principal(eks: &Eks<'_>, attempt: &Attempt) -> String {
    let arn = attempt.call.principal_arn();
    let words = &attempt.failure.message;
    let Ok(principal) = Principal::parse(arn) else {
        return format!("EKS does not accept {arn}: {words}");
    };
    let account = eks.view.iam.accounts.get(&principal.account);
    let listed = account.is_some_and(|account| match principal.kind {
        PrincipalKind::Role => account.roles.is_some(),
        PrincipalKind::User => account.users.is_some(),
    });
    let why = match in_iam(&principal, &eks.view.iam) {
        Some(found) if found.arn == arn => {
            "IAM has it; EKS may need half a minute to know a new one".to_owned()
        }
        Some(found) => format!("IAM has {} instead: set spec.principal.arn to that", found.arn),
        None if principal.sso().is_some() && principal.path == "/" => format!(
            "a role of IAM Identity Center always has a path, which an access entry needs: set spec.principal.arn to what `aws iam get-role \
             --role-name {} --query Role.Arn --output text` prints",
            principal.name
        ),
        None => match account.and_then(|account| account.problems.of(principal.kind)) {
            Some(problem) => format!(
                "either it does not exist, or it has a path, which an access entry needs; account {} can't be read: {}",
                principal.account,
                resolve::words(problem)
            ),
            None if !listed => "the operator is reading IAM for a principal of this name".to_owned(),
            None => "IAM does not list it: create it, or fix spec.principal.arn (include its path; case counts)".to_owned(),
        },
    };
    format!("EKS does not know {arn}: {words}; {why}")
}

/// Why nothing can be said of an entry before the first listing.
pub(crate) fn not_listed(eks: &Eks<'_>) -> Block {
    match (&eks.view.unreachable, &eks.view.unlisted) {
        (Some(unreachable), _) => self::unreachable(unreachable),
        (None, Some(failure)) => unlisted(failure),
        (None, None) => Block::passing(
            Reason::EntryPending,
            "the access entries of the cluster are being listed",
        ),
    }
}
