//! Where one mapping of a principal is to follow another: who gives way, and what blocks a takeover.

use std::collections::BTreeMap;

use crate::api::condition::Reason;
use crate::desired::{LONGEST_TAKEOVER, State};
use crate::ownership::KeyHash;
use crate::plan::claim::{Claim, Context, EntryStep, Step};
use crate::plan::decide::leaves::{orders_removal, wrote};
use crate::time::Timestamp;

/// Whether a live mapping that can't be put into effect and wrote nothing leaves what exists to those that wrote it: they order its
/// removal, and nothing takes its place, or they go on.
pub(super) fn gives_way(context: &Context<'_>, claim: &Claim, holder: usize) -> bool {
    let ended = || ended_writers(context, claim).next().is_some();
    let goes_on = |other: &usize| {
        context.states[*other] == State::Live
            && context.mappings[*other].key() == claim.key
            && wrote(context, claim, *other)
    };
    // What it declares exists already: only its tags can't be set.
    let is_there = claim.block.is_none() && claim.entry.step == EntryStep::Keep;
    !wrote(context, claim, holder)
        && (claim.is_stuck() && !is_there && (ended() || claim.others.iter().any(goes_on))
            || context.without_takeover.contains(&claim.hash) && ended())
}

/// The mappings that wrote what exists for the key and order its removal.
fn ended_writers(context: &Context<'_>, claim: &Claim) -> impl Iterator<Item = usize> {
    claim.others.iter().copied().filter(|other| {
        orders_removal(context, *other)
            && context.mappings[*other].key() == claim.key
            && wrote(context, claim, *other)
    })
}

/// The keys of which a mapping that wrote nothing is to take over what another one wrote that has ended, each with the time since which it
/// has not been able to. Without a limit the access of the ended one would go on for as long as its successor is blocked, which the
/// successor's author may see to. The time goes on where a plan is not blocked for a moment, as while an answer is awaited.
pub(crate) fn waiting_takeovers(
    context: &Context<'_>,
    claims: &[Claim],
) -> BTreeMap<KeyHash, Takeover> {
    let known = |claim: &Claim| {
        let known = context.memory.takeovers.get(&claim.hash);
        // A clock that was set back begins anew.
        known.filter(|since| **since <= context.now).copied()
    };
    let takeover = |claim: &Claim| {
        let holder = claim.holder?;
        let (known, blocked) = (known(claim), is_blocked(claim));
        let waits = (blocked || known.is_some())
            && !wrote(context, claim, holder)
            && ended_writers(context, claim).next().is_some();
        let since = known.unwrap_or(context.now);
        waits.then(|| (claim.hash.clone(), Takeover { since, blocked }))
    };
    claims.iter().filter_map(takeover).collect()
}

/// A takeover that has not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Takeover {
    pub(crate) since: Timestamp,
    /// Whether something is in its way in this plan.
    pub(crate) blocked: bool,
}

impl Takeover {
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        self.blocked && self.since.plus(LONGEST_TAKEOVER) <= now
    }
}

fn is_blocked(claim: &Claim) -> bool {
    let changes_text = matches!(claim.step, Step::Add | Step::Replace);
    let changes_entry = matches!(
        claim.entry.step,
        EntryStep::Change | EntryStep::Recreate | EntryStep::Create
    );
    let blocks = [
        claim.block.as_ref().filter(|_| changes_text),
        claim.entry.block.as_ref().filter(|_| changes_entry),
    ];
    let mut blocks = blocks.into_iter().flatten();
    blocks.any(|block| block.reason != Reason::HandingOver && block.awaiting.is_none())
}
