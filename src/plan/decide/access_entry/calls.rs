//! Calls to EKS, and differences in words.

use crate::access_entry::{Call, Change, Difference};
use crate::api::condition::Reason;
use crate::effective::Standing;
use crate::plan::claim::{Block, EntrySide, EntryStep};

pub(crate) fn describe(standing: &Standing<'_>) -> Call {
    describe_principal(standing.principal_arn)
}

pub(crate) fn describe_principal(principal_arn: &str) -> Call {
    Call::Describe {
        principal_arn: principal_arn.to_owned(),
    }
}

pub(crate) fn list(differences: &[Difference]) -> String {
    let found: Vec<String> = differences.iter().map(ToString::to_string).collect();
    found.join(", ")
}

pub(crate) fn take(change: &Change, side: &mut EntrySide) {
    match change {
        Change::Same => side.step = EntryStep::Keep,
        Change::Calls(calls) => {
            // It is marked as ours before anything of it is changed: an IAM policy may allow changes of what is ours only.
            let (tags, others): (Vec<Call>, Vec<Call>) = calls
                .iter()
                .cloned()
                .partition(|call| matches!(call, Call::Tag { .. }));
            side.calls = [tags, others].concat();
            side.step = if only_tags(calls) {
                EntryStep::Keep
            } else {
                EntryStep::Change
            };
        }
        Change::Recreate(why) => {
            side.hold(Block::lasting(Reason::UnmanagedEntry, why.to_string()));
        }
        Change::UnknownType(why) => {
            side.hold(Block::lasting(Reason::UnmanagedEntry, why.to_string()));
        }
    }
}

pub(crate) fn only_tags(calls: &[Call]) -> bool {
    calls
        .iter()
        .all(|call| matches!(call, Call::Tag { .. } | Call::Untag { .. }))
}

/// Whether a change goes on without the policies that EKS refuses: what the spec does not name any more is taken away all the same.
pub(crate) fn goes_without(side: &mut EntrySide, refused: impl Fn(&Call) -> bool) -> bool {
    let others: Vec<Call> = side
        .calls
        .iter()
        .filter(|call| !refused(call))
        .cloned()
        .collect();
    let goes = side.step == EntryStep::Change && side.block.is_none() && !only_tags(&others);
    if goes {
        side.calls = others;
    }
    goes
}
