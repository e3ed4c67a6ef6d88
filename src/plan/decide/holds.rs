//! What holds claims that are decided: the declared mode, contention, history, finalizers, and grants that come before removals.

use std::collections::BTreeMap;

use crate::access_entry::Call;
use crate::api::condition::Reason;
use crate::api::finalizer::{Finalizer, Finalizers};
use crate::api::v1alpha1::Backend;
use crate::desired::State;
use crate::observed::{AwsState, ConfigMapName, HistoryState};
use crate::plan::action::FinalizerChange;
use crate::plan::claim::{Block, Claim, Context, EntryDrift, EntryStep, Step};
use crate::plan::decide::leaves::concerned;
use crate::plan::memory::RepairTarget;

/// A trial on a copy of aws-auth makes no calls: an access entry would take precedence over the text that EKS really reads.
pub(crate) fn hold_for_trial(context: &Context<'_>, claims: &mut [Claim]) {
    if context.config_map == ConfigMapName::default().to_string() {
        return;
    }
    for claim in claims.iter_mut().filter(|claim| claim.entry.pending()) {
        let mut calls = claim.entry.calls.iter();
        if let Some(call) = calls.find(|call| !matches!(call, Call::Describe { .. })) {
            let message = format!(
                "the operator manages {}, which EKS does not read, so it does not send the call {}",
                context.config_map,
                call.operation()
            );
            claim.entry.hold(Block::lasting(Reason::Observing, message));
        }
    }
}

/// Where a status names an access entry, the cluster can't be in the mode that was declared: nothing of that mapping is changed.
pub(crate) fn hold_for_declared_mode(context: &Context<'_>, claims: &mut [Claim]) {
    if !matches!(context.observed.aws, AwsState::Off) {
        return;
    }
    for claim in claims {
        let holder = claim.holder.map(|holder| &context.mappings[holder]);
        if holder.is_some_and(|mapping| mapping.names_access_entry()) {
            // What takes access away is right in either mode.
            let takes = matches!(claim.step, Step::Remove | Step::Unmark | Step::Retain);
            if takes || claim.narrows {
                continue;
            }
            // The backend stays what it was known to be.
            claim.place = None;
            claim.hold_both(&Block::lasting(
                Reason::BackendUnavailable,
                "the status names an access entry, so this cluster is not in the declared authentication mode CONFIG_MAP, and \
                    a cluster never returns to an earlier mode; start the operator with --cluster-name instead of \
                    --authentication-mode CONFIG_MAP",
            ));
        }
    }
}

/// A contested access entry is repaired once a minute: a fight of deleting and creating takes access away each round.
pub(crate) fn hold_contested_entries(context: &Context<'_>, claims: &mut [Claim]) {
    let undone = &context.memory.undone;
    for claim in claims.iter_mut().filter(|claim| claim.entry.pending()) {
        let begun = |drift: &EntryDrift| undone.told(&claim.hash, drift.seen);
        if claim.entry.drift.as_ref().is_none_or(begun) {
            continue;
        }
        let target = RepairTarget::AccessEntry(claim.hash.clone());
        let Some(next) = undone.next_entry_repair(&target, context.now) else {
            continue;
        };
        if next > context.now {
            claim.entry.wake = Some(next);
            claim.entry.hold(Block::passing(
                Reason::Contested,
                "another writer keeps changing or deleting the access entry, and the operator repairs it once a minute; stop one of the two",
            ));
        }
    }
}

/// Without a way back nothing new is granted; what was granted is still kept and revoked.
pub(crate) fn hold_for_history(
    claims: &mut [Claim],
    history: &HistoryState,
    kept: Result<(), &String>,
) {
    let error = match (history, kept) {
        (HistoryState::Unwritable { error, .. }, _) | (_, Err(error)) => error,
        (HistoryState::Missing | HistoryState::Present(_), Ok(())) => return,
    };
    for claim in claims.iter_mut().filter(|claim| claim.text_grants()) {
        let message =
            format!("the history of aws-auth can't be written, so nothing new is granted: {error}");
        claim.hold(Block::passing(Reason::HistoryUnwritable, message));
    }
}

/// A mapping's entry must not outlive the mapping, so the finalizer of its backend comes first.
pub(crate) fn hold_for_finalizers(
    context: &Context<'_>,
    claims: &mut [Claim],
) -> Vec<FinalizerChange> {
    let mut wanted = Vec::new();
    for claim in claims {
        let Some(mapping) = claim.holder.map(|holder| &context.mappings[holder]) else {
            continue;
        };
        let missing = |backend: Backend| !mapping.finalizers.keeps(backend);
        let in_text = claim.keeps_text() && missing(Backend::ConfigMap);
        let in_eks = claim.keeps_entry() && missing(Backend::AccessEntry);
        let add: Finalizers = [
            in_text.then_some(Finalizer::AwsAuth),
            in_eks.then_some(Finalizer::AccessEntry),
        ]
        .into_iter()
        .flatten()
        .collect();
        if add.is_empty() {
            continue;
        }
        wanted.push(FinalizerChange {
            name: mapping.name.clone(),
            uid: mapping.uid.clone(),
            add,
            ..FinalizerChange::default()
        });
        let pending = Block::passing(
            Reason::FinalizerPending,
            "the operator sets the finalizer first, then writes the entry",
        );
        if in_text && claim.text_grants() {
            claim.hold(pending.clone());
        }
        // Also a tag that adopts an entry is a write that has to be taken back.
        if in_eks && claim.entry.pending() && !claim.entry.restores {
            claim.entry.hold(pending);
        }
    }
    wanted
}

/// A principal that a mapping leaves keeps its entries until the one that it moves to exists. A grant that fails for good
/// does not keep them, but where a permission set moved: nobody wished for that.
pub(crate) fn hold_removals_for_grants(context: &Context<'_>, claims: &mut [Claim]) {
    let waiting: BTreeMap<usize, Block> = claims
        .iter()
        .filter_map(|claim| {
            let holder = claim.holder?;
            let lasting = context.mappings[holder].permission_set().is_some();
            let blocks = [claim.block.as_ref(), claim.entry.block.as_ref()];
            let blocked = blocks
                .into_iter()
                .flatten()
                .find(|block| block.transient || (lasting && block.reason != Reason::NotManaged));
            // The calls are only planned: their effect is seen by a later plan.
            let pending = (claim.entry.pending() && claim.entry_grants()).then(|| {
                Block::passing(
                    Reason::EntryPending,
                    "the access entry of the new principal is created first",
                )
            });
            Some((holder, blocked.cloned().or(pending)?))
        })
        .collect();
    for claim in claims.iter_mut().filter(|claim| {
        claim.step == Step::Remove
            || matches!(claim.entry.step, EntryStep::Delete | EntryStep::GiveBack)
    }) {
        // A handover has a holder, and others of its key have no say in it.
        let mappings = concerned(context, claim);
        let mover = mappings.iter().find(|position| {
            context.states[**position] == State::Live && waiting.contains_key(position)
        });
        if let Some(block) = mover.and_then(|position| waiting.get(position)) {
            claim.hold_both(block);
        }
    }
}
