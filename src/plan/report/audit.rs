//! The audit trail: who got access, whose changed, and who lost it, as one record each.
//!
//! What was written for a mapping is in its status, before the pass and after it. The difference is what became true in this pass, in either
//! backend: an access entry is there once EKS has shown it, not when the call for it is made.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::v1alpha1::{Backend, Deletion, IdentityMappingStatus, WrittenEntry};
use crate::desired::{Mapping, State};
use crate::plan::action::{AccessAction, AccessChange, AccessIdentity, Regarding};
use crate::plan::cause::ChangeCause;
use crate::plan::claim::{Claim, Step};
use crate::plan::decide::access_entry;
use crate::plan::planned::Plan;
use crate::plan::report::context::View;
use crate::plan::report::event::{deed, regarding};
use crate::plan::report::leaving;
use crate::plan::report::status::claim_section;
use crate::principal::Key;
use crate::time::Timestamp;

/// An entry by what two of one principal have in common.
type EntrySlot = (Backend, Key);

/// The changes of this pass, by mapping; those of entries that no mapping names last.
pub(crate) fn changes(view: &View<'_>, new: &[IdentityMappingStatus]) -> Vec<AccessChange> {
    if view.plan.released || view.plan.settings.observe {
        return Vec::new();
    }
    let after = |position: usize| -> &[WrittenEntry] {
        if leaving::leaves(view, position) {
            &[]
        } else {
            &new[position].written
        }
    };
    let all = (0..new.len()).flat_map(after);
    let kept: BTreeSet<EntrySlot> = all.filter_map(slot).collect();
    let mut changes = Vec::new();
    for position in 0..new.len() {
        let before = &view.plan.mappings[position].status.written;
        let after = after(position);
        let find = |entries: &'_ [WrittenEntry], wanted: &EntrySlot| {
            let mut entries = entries.iter();
            entries.position(|entry| slot(entry).as_ref() == Some(wanted))
        };
        for entry in after {
            let Some(of) = slot(entry) else { continue };
            if let Some(known) = find(before, &of) {
                changes.extend(changed(view, position, &before[known], entry));
            } else {
                let moved = find(before, &other_side(&of)).is_some();
                changes.extend(appeared(view, position, &of, entry, moved));
            }
        }
        for entry in before {
            let gone = slot(entry).filter(|of| !kept.contains(of));
            let Some(of) = gone else { continue };
            let moved = kept.contains(&other_side(&of));
            changes.push(vanished(view, position, &of, entry, moved));
        }
        changes.extend(repaired(view, position));
        changes.extend(entry_repaired(view, position));
    }
    changes.extend(orphans(view));
    changes
}

fn slot(entry: &WrittenEntry) -> Option<EntrySlot> {
    let backend = match entry.cluster {
        Some(_) => Backend::AccessEntry,
        None => Backend::ConfigMap,
    };
    Some((backend, Key::parse_arn(&entry.arn)?))
}

fn other_side((backend, key): &EntrySlot) -> EntrySlot {
    let other = match backend {
        Backend::ConfigMap => Backend::AccessEntry,
        Backend::AccessEntry => Backend::ConfigMap,
    };
    (other, key.clone())
}

fn record(view: &View<'_>, position: usize, backend: Backend, principal: &str) -> AccessChange {
    let mapping = &view.plan.mappings[position];
    AccessChange {
        action: AccessAction::Granted,
        backend,
        principal: principal.to_owned(),
        now: None,
        before: None,
        regarding: regarding(view, position),
        generation: Some(mapping.generation),
        cause: cause(view, position),
        detail: None,
    }
}

/// What made the difference: what this pass finds, or what an earlier one found and EKS had not answered yet.
fn cause(view: &View<'_>, position: usize) -> ChangeCause {
    let uid = &view.plan.mappings[position].uid;
    let open = || view.memory.causes.get(uid).copied();
    fresh_cause(view.plan, position)
        .or_else(open)
        .unwrap_or(ChangeCause::Reconciled)
}

/// What changed of a mapping since its status was written, as far as the object tells.
fn fresh_cause(plan: &Plan<'_>, position: usize) -> Option<ChangeCause> {
    let mapping: &Mapping = &plan.mappings[position];
    let observed = mapping.status.observed_generation;
    match (plan.states[position], observed) {
        (State::Deleting, _) => Some(ChangeCause::MappingDeleted),
        (State::Expired, _) => Some(ChangeCause::Expired),
        (_, None) => Some(ChangeCause::MappingCreated),
        (_, Some(observed)) if observed != mapping.generation => Some(ChangeCause::SpecChanged),
        (_, Some(_)) => None,
    }
}

/// The causes whose change has not come about after this pass.
pub(crate) fn open_causes(
    view: &View<'_>,
    changes: &[AccessChange],
) -> BTreeMap<String, ChangeCause> {
    let told = |uid: &str| {
        let of = |change: &AccessChange| matches!(&change.regarding, Regarding::Mapping { uid: it, .. } if it == uid);
        changes.iter().any(of)
    };
    let mappings = view.plan.mappings.iter().enumerate();
    let open = mappings.filter_map(|(position, mapping)| {
        let before = view.memory.causes.get(&mapping.uid).copied();
        let cause = fresh_cause(view.plan, position).or(before)?;
        (!told(&mapping.uid)).then(|| (mapping.uid.clone(), cause))
    });
    open.collect()
}

fn claim_of<'v>(view: &'v View<'_>, position: usize, key: &Key) -> Option<&'v Claim> {
    let mut named = view.named(position);
    named.find(|claim| claim.key.as_ref() == Some(key))
}

fn changed(
    view: &View<'_>,
    position: usize,
    before: &WrittenEntry,
    after: &WrittenEntry,
) -> Option<AccessChange> {
    let (old, new) = (AccessIdentity::from(before), AccessIdentity::from(after));
    let (backend, _) = slot(after)?;
    (old != new).then(|| AccessChange {
        action: AccessAction::Changed,
        now: Some(new),
        before: Some(old),
        ..record(view, position, backend, &after.arn)
    })
}

/// An entry that the status did not name before. One that was there all the time, with our mark, is found again: a status was lost, or
/// its grant was never said.
fn appeared(
    view: &View<'_>,
    position: usize,
    (backend, key): &EntrySlot,
    entry: &WrittenEntry,
    moved: bool,
) -> Option<AccessChange> {
    let claim = claim_of(view, position, key)?;
    let mapping = &view.plan.mappings[position];
    let mut before = None;
    let action = match backend {
        Backend::ConfigMap => match claim.step {
            Step::Keep if claim.ours && !moved => AccessAction::Found,
            _ if !view.written => return None,
            Step::Adopt => AccessAction::Adopted,
            Step::Add if moved => AccessAction::Moved,
            Step::Add => AccessAction::Granted,
            Step::Replace | Step::Move => {
                let found = claim.found.as_ref();
                before = found.map(|found| AccessIdentity::from(&found.meaning));
                if claim.ours {
                    AccessAction::Changed
                } else {
                    AccessAction::Adopted
                }
            }
            Step::Leave | Step::Keep | Step::Remove | Step::Unmark | Step::Retain => return None,
        },
        Backend::AccessEntry => {
            let standing = view.plan.eks.as_ref()?.standing.of(&claim.hash);
            let standing = standing.iter().find(|it| it.principal_arn == entry.arn)?;
            let older = |created: Timestamp| mapping.created.is_some_and(|own| created < own);
            let fresh = standing.state.written.is_some();
            match standing.known() {
                _ if moved => AccessAction::Moved,
                Some(known) if older(known.created) => AccessAction::Adopted,
                Some(_) if fresh || mapping.status.observed_generation.is_some() => {
                    AccessAction::Granted
                }
                Some(_) if claim.entry.ours => AccessAction::Found,
                Some(_) | None => return None,
            }
        }
    };
    let change = record(view, position, *backend, &entry.arn);
    let cause = match action {
        AccessAction::Moved => ChangeCause::Handover,
        AccessAction::Found => ChangeCause::StatusLost,
        _ => change.cause,
    };
    Some(AccessChange {
        action,
        now: Some(AccessIdentity::from(entry)),
        before,
        cause,
        ..change
    })
}

/// An entry that the status named, and that no status names any more.
fn vanished(
    view: &View<'_>,
    position: usize,
    (backend, key): &EntrySlot,
    entry: &WrittenEntry,
    moved: bool,
) -> AccessChange {
    let mapping = &view.plan.mappings[position];
    let claim = claim_of(view, position, key);
    let retained =
        view.plan.states[position] == State::Deleting && mapping.deletion == Deletion::Retain;
    let stays = claim.is_some_and(|claim| match backend {
        Backend::ConfigMap => {
            claim.step == Step::Retain || (claim.step == Step::Unmark && claim.beside)
        }
        Backend::AccessEntry => claim.entry.may_exist && !claim.entry.ours,
    });
    let change = record(view, position, *backend, &entry.arn);
    let action = match (moved, stays || retained) {
        (true, _) => AccessAction::Moved,
        (false, true) => AccessAction::Released,
        (false, false) => AccessAction::Revoked,
    };
    let cause = match action {
        AccessAction::Moved => ChangeCause::Handover,
        _ if change.cause == ChangeCause::Reconciled && !mapping.names(&entry.arn) => {
            ChangeCause::SpecChanged
        }
        _ => change.cause,
    };
    AccessChange {
        action,
        before: Some(AccessIdentity::from(entry)),
        cause,
        ..change
    }
}

/// A managed entry of aws-auth that someone else changed, and that this pass wrote as declared.
fn repaired(view: &View<'_>, position: usize) -> Option<AccessChange> {
    let repairs = |claim: &&Claim| view.written && claim.changes_text();
    let claim = view.held(position).filter(repairs)?;
    let drift = claim.drift?;
    let spec = view.plan.mappings[position].spec.as_ref().ok()?;
    let form = spec.form.as_ref()?;
    let manager = view.manager(claim_section(view, claim));
    let found = claim.found.as_ref();
    Some(AccessChange {
        action: AccessAction::Repaired,
        now: Some(AccessIdentity::from(&form.meaning)),
        before: found.map(|found| AccessIdentity::from(&found.meaning)),
        cause: ChangeCause::Drift,
        detail: Some(deed(drift, claim, &manager)),
        ..record(view, position, Backend::ConfigMap, &form.entry.arn)
    })
}

/// An access entry that someone else changed. The calls that repair it are in flight; each is logged when EKS has answered it.
fn entry_repaired(view: &View<'_>, position: usize) -> Option<AccessChange> {
    let repairs = |claim: &&Claim| view.plan.begins_repair(claim).is_some();
    let claim = view.held(position).filter(repairs)?;
    let eks = view.plan.eks.as_ref()?;
    let key = claim.key.as_ref()?;
    let written = view.plan.mappings[position].written_entries(&eks.view.cluster.arn);
    let written = written.get(key)?;
    Some(AccessChange {
        action: AccessAction::Repaired,
        now: Some(AccessIdentity::from(*written)),
        cause: ChangeCause::Drift,
        detail: Some(format!(
            "{}, by {}",
            claim.entry.drift.as_ref()?.what,
            access_entry::changed_by(Some(eks), claim)
        )),
        ..record(view, position, Backend::AccessEntry, &written.arn)
    })
}

/// Entries of aws-auth that no mapping names, and whose removal a person confirmed.
fn orphans<'v>(view: &'v View<'_>) -> impl Iterator<Item = AccessChange> + 'v {
    let removed = view
        .plan
        .claims
        .iter()
        .filter(|claim| view.written && claim.orphan() && claim.effective() == Step::Remove);
    removed.filter_map(|claim| {
        let found = claim.found.as_ref()?;
        Some(AccessChange {
            action: AccessAction::OrphanRemoved,
            backend: Backend::ConfigMap,
            principal: claim.key.as_ref()?.to_string(),
            now: None,
            before: Some(AccessIdentity::from(&found.meaning)),
            regarding: Regarding::ConfigMap,
            generation: None,
            cause: ChangeCause::Orphaned,
            detail: None,
        })
    })
}
