//! What becomes of the entries of a key that no mapping holds, in both backends.

use crate::api::condition::Reason;
use crate::api::v1alpha1::Deletion;
use crate::desired::{State, WriterMarks};
use crate::ownership::{KeyHash, MeaningHash};
use crate::plan::claim::{Block, Claim, Context};
use crate::principal::Key;

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
    let orders = |position: &usize| orders_removal(context, *position);
    if !by_spec.iter().any(orders) {
        return claim.others.clone();
    }
    // One that never held the key neither keeps nor retains what another wrote.
    let writers = by_spec.iter().copied();
    let writers: Vec<usize> = writers
        .filter(|position| wrote(context, claim, *position))
        .collect();
    if writers.is_empty() { by_spec } else { writers }
}

/// Whether a mapping that does not hold the key keeps what exists for it. One that wrote nothing keeps nothing of one that did and names
/// another principal now: an author could make the entry of another mapping stay. Where no status says who wrote it, one may be lost.
fn keeps(context: &Context<'_>, claim: &Claim, position: usize) -> bool {
    let left = |other: &usize| {
        let key = context.mappings[*other].key();
        key.is_some() && key != claim.key && wrote(context, claim, *other)
    };
    if !wrote(context, claim, position) && claim.others.iter().any(left) {
        return false;
    }
    let of_key = (&claim.hash, claim.key.as_ref());
    if is_anothers(
        context,
        of_key,
        claim.marked.as_ref(),
        &claim.others,
        position,
    ) {
        return false;
    }
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

/// Whether mark and tags show that what exists for the key was written by others than this mapping, among those that name it.
pub(crate) fn is_anothers(
    context: &Context<'_>,
    (hash, key): (&KeyHash, Option<&Key>),
    marked: Option<&MeaningHash>,
    naming: &[usize],
    position: usize,
) -> bool {
    let Some(key) = key else {
        return false;
    };
    let marks = writer_marks(context, (hash, key), marked);
    let others = naming.iter().map(|other| &*context.mappings[*other]);
    marks.is_anothers(&context.mappings[position], others, context.now)
}

fn writer_marks<'a>(
    context: &Context<'a>,
    (hash, key): (&KeyHash, &'a Key),
    marked: Option<&'a MeaningHash>,
) -> WriterMarks<'a> {
    let eks = context.eks;
    WriterMarks::new(
        key,
        context.config_map,
        marked,
        eks.map(|eks| eks.view.cluster.arn.as_str()),
        eks.map_or(&[], |eks| eks.standing.of(hash)),
    )
}

/// Why a mapping that has moved on still has an entry here: a suspended one names it too. Its status may be lost or wrong, so
/// whose entry it is can not be known.
pub(crate) fn kept_by_another(context: &Context<'_>, claim: &Claim) -> Option<Block> {
    let moved = |position: &&usize| {
        context.states[**position] == State::Live && wrote(context, claim, **position)
    };
    claim.others.iter().find(moved)?;
    let mut keeping = concerned(context, claim).into_iter();
    let keeper = keeping.find(|position| keeps(context, claim, *position))?;
    let name = &context.mappings[keeper].name;
    Some(Block::lasting(
        Reason::EntryKept,
        format!(
            "mapping {name} names the same principal and is suspended or refused, so the entry stays; resume or delete {name}"
        ),
    ))
}

/// Whether a status says that the mapping wrote an entry of this key, in either backend, or mark and tags do of one that has ended. A status
/// that can't be read may say so.
pub(crate) fn wrote(context: &Context<'_>, claim: &Claim, position: usize) -> bool {
    let mapping = &context.mappings[position];
    let Some(key) = &claim.key else {
        return false;
    };
    mapping.unreadable.is_some()
        || mapping.written(context.config_map).contains_key(key)
        || context.eks.is_some_and(|eks| {
            let entries = mapping.written_entries(&eks.view.cluster.arn);
            entries.contains_key(key)
        })
        || {
            let marks = writer_marks(context, (&claim.hash, key), claim.marked.as_ref());
            let naming = claim.others.iter().copied().chain(claim.holder);
            let naming = naming.map(|other| &*context.mappings[other]);
            marks.is_left_by(mapping, naming, context.now)
        }
}

pub(crate) fn orders_removal(context: &Context<'_>, position: usize) -> bool {
    matches!(context.states[position], State::Deleting | State::Expired)
}
