//! What becomes of the entries of a key that no mapping holds, in both backends.

use crate::api::v1alpha1::Deletion;
use crate::desired::State;
use crate::plan::claim::{Claim, Context};

/// What becomes of what no mapping holds.
pub(crate) enum Leaves {
    Stay,
    Go,
    Free,
}

/// What becomes of the entries of a key, in both backends.
pub(crate) fn leaves(context: &Context<'_>, claim: &Claim) -> Leaves {
    if claim.holder.is_some() {
        return Leaves::Stay;
    }
    if claim.orphan() {
        return if context.orphans.are_confirmed(&claim.hash) {
            Leaves::Go
        } else {
            Leaves::Stay
        };
    }
    let retains = |position: &usize| {
        context.states[*position] == State::Deleting
            && context.mappings[*position].deletion == Deletion::Retain
    };
    let concerned = concerned(context, claim);
    if concerned
        .iter()
        .any(|position| keeps(context, claim, *position))
    {
        Leaves::Stay
    } else if concerned.iter().any(retains) {
        Leaves::Free
    } else {
        Leaves::Go
    }
}

/// The mappings that have a say in what becomes of a key that none holds. Where one whose spec names it orders its removal, a status that
/// names it too stops nothing: anyone who may write statuses could keep a revoked access by that.
pub(crate) fn concerned(context: &Context<'_>, claim: &Claim) -> Vec<usize> {
    let by_spec: Vec<usize> = claim
        .others
        .iter()
        .copied()
        .filter(|position| claim.key.is_some() && context.mappings[*position].key() == claim.key)
        .collect();
    let orders =
        |position: &usize| matches!(context.states[*position], State::Deleting | State::Expired);
    if by_spec.iter().any(orders) {
        by_spec
    } else {
        claim.others.clone()
    }
}

/// Whether a mapping that does not hold the key keeps what stands for it.
fn keeps(context: &Context<'_>, claim: &Claim, position: usize) -> bool {
    match context.states[position] {
        State::Suspended => true,
        // It names this very principal, or one that can't be read and may be this one.
        State::Refused => {
            let key = context.mappings[position].key();
            key.is_none() || key == claim.key
        }
        State::Live | State::Deleting | State::Expired => false,
    }
}
