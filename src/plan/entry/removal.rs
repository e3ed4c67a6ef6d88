//! What becomes of an access entry that no mapping holds any more.

use super::failure::settle;
use super::owner::{is_ours, remembers};
use super::{describe, unlisted};
use crate::access_entry::{Call, untag};
use crate::api::v1alpha1::{Confirmation, Deletion};
use crate::desired::State;
use crate::effective::Standing;
use crate::plan::claim::{Claim, Context, Eks, EntrySide, EntryStep};
use crate::plan::decide;

/// Decides the entry's side of a key that no mapping holds any more, or whose holder is suspended or refused.
pub(in crate::plan) fn let_go(context: &Context<'_>, eks: &Eks<'_>, claim: &mut Claim) {
    let mut side = EntrySide::default();
    let ours: Vec<&Standing<'_>> = eks
        .standing
        .of(&claim.hash)
        .iter()
        .filter(|standing| is_ours(eks, context, claim, standing))
        .collect();
    let wrote = claim
        .others
        .iter()
        .any(|position| remembers(eks, context, claim, *position).is_some());
    let undescribed = eks
        .standing
        .of(&claim.hash)
        .iter()
        .find(|standing| standing.known().is_none());
    side.stands = !eks.standing.of(&claim.hash).is_empty();
    side.ours = !ours.is_empty();
    side.node = ours
        .iter()
        .filter_map(|standing| standing.known())
        .any(|entry| entry.kind.is_node());
    side.entry_arn = ours
        .iter()
        .find_map(|standing| standing.known())
        .map(|entry| entry.arn.clone());
    match leaves(context, claim) {
        Leaves::Go | Leaves::Free if wrote && eks.view.entries.listed.is_none() => {
            side.step = EntryStep::Describe;
            side.hold(unlisted(eks));
        }
        Leaves::Go | Leaves::Free if undescribed.is_some() && (wrote || !ours.is_empty()) => {
            side.step = EntryStep::Describe;
            side.calls = undescribed.into_iter().map(describe).collect();
        }
        Leaves::Go if !ours.is_empty() => {
            side.step = EntryStep::Delete;
            side.calls = ours
                .iter()
                .map(|standing| Call::Delete {
                    principal_arn: standing.principal_arn.to_owned(),
                })
                .collect();
        }
        Leaves::Free if !ours.is_empty() => {
            side.step = EntryStep::Release;
            side.calls = ours
                .iter()
                .filter_map(|standing| untag(standing.known()?))
                .collect();
        }
        Leaves::Stay | Leaves::Go | Leaves::Free => {}
    }
    settle(context, eks, claim, &mut side);
    claim.entry = side;
}

/// What becomes of what nobody holds.
pub(super) enum Leaves {
    Stay,
    Go,
    Free,
}

pub(super) fn leaves(context: &Context<'_>, claim: &Claim) -> Leaves {
    if claim.holder.is_some() {
        return Leaves::Stay;
    }
    if claim.orphan() {
        return if context.orphans.contains(&Confirmation::MassRemoval) {
            Leaves::Go
        } else {
            Leaves::Stay
        };
    }
    if claim
        .others
        .iter()
        .any(|position| decide::keeps(context, claim, *position))
    {
        return Leaves::Stay;
    }
    let retains = |position: &usize| {
        context.states[*position] == State::Deleting
            && context.mappings[*position].deletion == Deletion::Retain
    };
    if claim.others.iter().any(retains) {
        Leaves::Free
    } else {
        Leaves::Go
    }
}
