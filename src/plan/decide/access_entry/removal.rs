//! What becomes of an access entry that no mapping holds any more.

use std::collections::BTreeSet;

use crate::access_entry::{AccessEntry, untag};
use crate::effective::Standing;
use crate::ownership::aws_managed::rests_on_answers;
use crate::plan::claim::{Block, Claim, Context, Eks, EntrySide, EntryStep};
use crate::plan::decide::access_entry::aws::{Removal, removal};
use crate::plan::decide::access_entry::calls::{describe, describe_principal};
use crate::plan::decide::access_entry::failure::{not_listed, settle};
use crate::plan::decide::access_entry::owner::{is_ours, remembers, waited_for};
use crate::plan::decide::leaves::{Leaves, leaves};

/// Decides the entry's side of a key that no mapping holds any more, or whose holder is suspended or refused.
pub(crate) fn let_go(context: &Context<'_>, eks: &Eks<'_>, claim: &mut Claim) {
    let mut side = EntrySide::default();
    let ours: Vec<&Standing<'_>> = eks
        .standing
        .of(&claim.hash)
        .iter()
        .filter(|standing| is_ours(eks, context, claim, standing))
        .collect();
    let named = named(context, eks, claim);
    let undescribed = eks
        .standing
        .of(&claim.hash)
        .iter()
        .find(|standing| standing.known().is_none());
    let standing = eks.standing.of(&claim.hash);
    side.stands = standing.iter().any(|standing| !standing.state.may_be_gone);
    let possible = |arn: &String| eks.view.possible_where_named(arn).may_exist();
    side.may_exist = !standing.is_empty() || named.iter().any(possible);
    let mut in_flight = claim
        .key
        .iter()
        .flat_map(|key| eks.view.in_flight.of_key(key));
    let going = leaves(context, claim);
    // An entry that stays without its tags is not ours to change any more, also not by a call whose answer was lost.
    let free = matches!(going, Leaves::Free);
    let awaited = in_flight.find(|sent| (free || sent.given_up.is_none()) && sent.changes());
    side.ours = !ours.is_empty();
    side.node = ours
        .iter()
        .filter_map(|standing| standing.known())
        .any(|entry| entry.kind.is_node());
    side.entry_arn = ours
        .iter()
        .find_map(|standing| standing.known())
        .map(|entry| entry.arn.clone());
    match going {
        // What has been sent may make an entry that has to go, or may be what takes it away.
        Leaves::Go | Leaves::Free if let Some(sent) = awaited => {
            side.may_exist = true;
            side.step = EntryStep::Describe;
            side.failed = claim
                .key
                .as_ref()
                .is_some_and(|key| eks.view.attempts.contains_key(key));
            side.hold(Block::awaiting_answer(sent));
        }
        Leaves::Go | Leaves::Free if !named.is_empty() && eks.view.entries.listed.is_none() => {
            side.step = EntryStep::Describe;
            side.hold(not_listed(eks));
        }
        Leaves::Go | Leaves::Free
            if undescribed.is_some() && (!named.is_empty() || !ours.is_empty()) =>
        {
            side.step = EntryStep::Describe;
            side.calls = undescribed.into_iter().map(describe).collect();
        }
        Leaves::Go | Leaves::Free if standing.is_empty() && side.may_exist => {
            side.step = EntryStep::Describe;
            let unproven = named.iter().filter(|arn| possible(arn));
            side.calls = unproven.map(|arn| describe_principal(arn)).collect();
        }
        Leaves::Go if !ours.is_empty() => {
            for entry in ours.iter().filter_map(|standing| standing.known()) {
                remove(context, eks, claim, entry, &mut side);
            }
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

/// The principals of the key, by ARN, that may have an entry of ours: a status or the finalizer of a deleted mapping says so.
fn named(context: &Context<'_>, eks: &Eks<'_>, claim: &Claim) -> BTreeSet<String> {
    let written = claim
        .others
        .iter()
        .filter_map(|position| remembers(eks, context, claim, *position))
        .map(|written| written.arn.clone());
    written.chain(waited_for(context, claim)).collect()
}

/// Takes an entry of ours away, or what we added to it where AWS keeps it.
fn remove(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    entry: &AccessEntry,
    side: &mut EntrySide,
) {
    side.asks |= rests_on_answers(entry);
    match removal(context, eks, claim, entry) {
        Removal::Delete(call) => {
            side.step = EntryStep::Delete;
            side.calls.push(call);
        }
        Removal::GiveBack(calls) => {
            if side.step == EntryStep::Leave {
                side.step = EntryStep::GiveBack;
            }
            side.calls.extend(calls);
        }
        Removal::Wait(block) => side.hold(block),
    }
}
