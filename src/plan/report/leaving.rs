//! Which finalizers of a mapping are removed, and why the others stay.
//!
//! A live mapping keeps its finalizers. Of a deleted one each comes off on its own, as soon as [`crate::safety::finalizer`] finds
//! nothing of it left in that backend.

use std::collections::BTreeSet;

use crate::access_entry::LAG;
use crate::api::condition::Reason;
use crate::api::finalizer::{Finalizer, Finalizers};
use crate::api::v1alpha1::{Backend, Confirmation, PermissionSet};
use crate::aws_auth::Section;
use crate::desired::resolve::{is_of_set, is_read};
use crate::desired::{Mapping, State};
use crate::observed::AwsState;
use crate::ownership::{KeyHash, is_tagged};
use crate::plan::action::FinalizerChange;
use crate::plan::claim::{Block, Claim, Eks, Step};
use crate::plan::report::context::{View, entry_resolved};
use crate::principal::{Key, Principal, PrincipalKind};
use crate::safety::Cleared;
use crate::safety::finalizer::{InText, Remainder, clear_removal};
use crate::time::Timestamp;

/// What may be left of a mapping in one backend, and by which claim; `None` where EKS is not read.
type Left<'a> = (Option<&'a Claim>, Remainder);

/// Whether the mapping is deleted and nothing of ours keeps it any more.
pub(crate) fn leaves(view: &View<'_>, position: usize) -> bool {
    change(view, position).is_some_and(|change| change.lets_go)
}

/// What becomes of the mapping's finalizers after this pass; `None`: they stay as they are.
pub(crate) fn change(view: &View<'_>, position: usize) -> Option<Cleared<FinalizerChange>> {
    let plan = view.plan;
    let mapping = &plan.mappings[position];
    let now = mapping.finalizers;
    if now.is_empty()
        || plan.settings.observe
        || plan.released
        || plan.observed.crd_deleting
        || mapping.unreadable.is_some()
    {
        return None;
    }
    let left = |backend: Backend| match backend {
        Backend::ConfigMap => left_in_text(view, position),
        Backend::AccessEntry => left_in_eks(view, position),
    };
    let needed = |backend: Backend| left(backend).iter().any(|(_, left)| !left.is_clear());
    let (add, remove) = if plan.states[position] == State::Deleting {
        let text = now.keeps(Backend::ConfigMap) && needed(Backend::ConfigMap);
        let entry = now.keeps(Backend::AccessEntry) && needed(Backend::AccessEntry);
        // Nothing can be added to a deleted object, so the earlier finalizer stays for whichever backend is left.
        let stay = now.iter().filter(|finalizer| match finalizer {
            Finalizer::AwsAuth => text,
            Finalizer::AccessEntry => entry,
            Finalizer::Earlier => text || entry,
        });
        (Finalizers::default(), now.without(stay.collect()))
    } else {
        (exchange(view, position)?, Finalizer::Earlier.into())
    };
    if remove.is_empty() {
        return None;
    }
    let after = now.without(remove).with(add);
    let dropped = [Backend::ConfigMap, Backend::AccessEntry]
        .into_iter()
        .filter(|backend| now.keeps(*backend) && !after.keeps(*backend));
    let left: Vec<Remainder> = dropped
        .flat_map(left)
        .map(|(_, remainder)| remainder)
        .collect();
    let change = FinalizerChange {
        name: mapping.name.clone(),
        uid: mapping.uid.clone(),
        add,
        remove,
        lets_go: plan.states[position] == State::Deleting && now.without(remove).is_empty(),
        relies_on: if after.keeps(Backend::AccessEntry) {
            BTreeSet::new()
        } else {
            keys(view, position)
        },
    };
    Some(clear_removal(&left)?.clear(change))
}

/// What takes the place of the earlier finalizer on a mapping that lives; `None` while that is not known.
fn exchange(view: &View<'_>, position: usize) -> Option<Finalizers> {
    let mapping = &view.plan.mappings[position];
    if !mapping.finalizers.contains(Finalizer::Earlier) || mapping.is_deleting() {
        return None;
    }
    let held = view.held(position);
    let text = held.is_some_and(Claim::keeps_text) || any_text(view, position);
    let entry = match &view.plan.eks {
        Some(eks) if eks.view.entries.listed.is_none() || eks.view.unreachable.is_some() => {
            return None;
        }
        Some(_) => held.is_some_and(Claim::keeps_entry) || any_entry(view, position),
        None if view.plan.halted.is_some() => return None,
        None => mapping.names_access_entry(),
    };
    let needed = [
        text.then_some(Finalizer::AwsAuth),
        entry.then_some(Finalizer::AccessEntry),
    ];
    Some(needed.into_iter().flatten().collect())
}

/// Why a deleted mapping still waits, in the backend that it waits for first.
pub(crate) fn hold(view: &View<'_>, position: usize) -> Option<Block> {
    if view.plan.states[position] != State::Deleting {
        return None;
    }
    let finalizers = view.plan.mappings[position].finalizers;
    let text = finalizers.keeps(Backend::ConfigMap);
    let entry = finalizers.keeps(Backend::AccessEntry);
    text.then(|| text_hold(view, position))
        .flatten()
        .or_else(|| entry.then(|| entry_hold(view, position)).flatten())
}

/// Why the finalizer for aws-auth stays.
fn text_hold(view: &View<'_>, position: usize) -> Option<Block> {
    let mut left = left_in_text(view, position).into_iter();
    let (open, _) = left.find(|(_, left)| !left.is_clear())?;
    let pending = || {
        Block::passing(
            Reason::WriteFailed,
            "the entry is still in aws-auth, or aws-auth can't be read; the operator retries",
        )
    };
    let block = open.and_then(|claim| claim.block.clone());
    let block = block
        .or_else(|| view.not_written())
        .or_else(|| unreadable_text(view));
    Some(block.unwrap_or_else(pending))
}

/// A text that the operator does not restore any more: a person has to.
fn unreadable_text(view: &View<'_>) -> Option<Block> {
    let document = &view.plan.base.document;
    let broken = |section| Some((section, document.section(section).broken.as_ref()?));
    let (section, problem) = [Section::Roles, Section::Users]
        .into_iter()
        .find_map(broken)?;
    Some(Block::lasting(
        Reason::InvalidYAML,
        format!(
            "{section} does not parse, so it is unknown whether the entry is still in it: {}: {}; fix it with kubectl edit, then the operator continues",
            problem.place(),
            problem.message
        ),
    ))
}

/// Why the finalizer for access entries stays.
fn entry_hold(view: &View<'_>, position: usize) -> Option<Block> {
    let mut left = left_in_eks(view, position).into_iter();
    let (open, _) = left.find(|(_, left)| !left.is_clear())?;
    let Some(why) = unaskable(view) else {
        let block = open.and_then(|claim| claim.entry.block.clone());
        return Some(block.unwrap_or_else(|| {
            Block::passing(
                Reason::EntryPending,
                "EKS has not confirmed yet that the access entry no longer exists; the operator retries",
            )
        }));
    };
    let why = format!("{why}, so its access entry may still grant access");
    let why = match &view.plan.observed.aws {
        AwsState::Off => {
            format!("{why}; start the operator with --cluster-name to have the entry removed")
        }
        AwsState::Unproven { .. } | AwsState::Unknown { .. } | AwsState::Known(_) => why,
    };
    Some(Block::held(
        Confirmation::UnverifiedRemoval,
        Reason::RemovalNeedsConfirmation,
        &why,
    ))
}

/// What may be left of a mapping in aws-auth, by claim.
fn left_in_text<'a>(view: &View<'a>, position: usize) -> Vec<Left<'a>> {
    let live = view.plan.states[position] != State::Deleting;
    let of_set = !live && unresolved_set(view, position).is_some_and(|set| set_in_text(view, set));
    let unknown = of_set.then_some((None, Remainder::Pending));
    let known = view
        .named(position)
        .filter(|claim| live || claim.holder != Some(position))
        .map(|claim| {
            let left = match claim.holder {
                None if is_kept(view, position, claim, Backend::ConfigMap) => Remainder::Taken,
                Some(_) if !live && view.wrote(position, claim) && !view.text_resolved(claim) => {
                    Remainder::Pending
                }
                // The mapping that holds the key now takes the entry over.
                Some(holder) if !live && takes_over(view, holder, Backend::ConfigMap) => {
                    Remainder::Taken
                }
                None | Some(_) => Remainder::Text(in_text(view, position, claim)),
            };
            (Some(claim), left)
        });
    unknown.into_iter().chain(known).collect()
}

/// The permission set of a mapping whose role IAM has not told, so that there is no claim for it: something of it may be left all the same.
fn unresolved_set<'a>(view: &View<'a>, position: usize) -> Option<&'a PermissionSet> {
    let mapping: &'a Mapping = &view.plan.mappings[position];
    let set = mapping.permission_set()?;
    let aws = &view.plan.observed.aws;
    // Without AWS no role of a set is ever put into effect.
    let unread =
        !matches!(aws, AwsState::Off) && !aws.view().is_some_and(|view| is_read(view, set));
    (mapping.principal.is_none() && unread).then_some(set)
}

/// Whether aws-auth has a managed entry of a role of this set, or can't be read.
fn set_in_text(view: &View<'_>, set: &PermissionSet) -> bool {
    let managed = |key: &Key| view.mark.0.contains_key(&KeyHash::of(key));
    view.standing.section(Section::Roles).broken.is_some()
        || view.standing.entries().any(|entry| {
            let role = Principal::parse(&entry.arn).ok();
            role.is_some_and(|role| is_of_set(&role, set) && managed(&role.key()))
        })
}

/// Whether an access entry of a role of this set may exist that is ours: one that is listed, or that a listing may lack.
fn set_in_eks(eks: &Eks<'_>, set: &PermissionSet) -> bool {
    let aws = eks.view;
    // A call of an earlier process may have taken effect until then, and a listing lags as long again.
    let whole = aws.in_flight.earlier_calls_end().unwrap_or(Timestamp::MIN);
    let listed = aws.entries.listed;
    let may_be_ours = |arn: &&str| {
        let state = aws.entries.by_principal.get(*arn);
        let unmanaged = state
            .is_some_and(|state| state.known().is_some() && !is_tagged(state, &eks.installation));
        let of_set = Principal::parse(arn).is_ok_and(|role| is_of_set(&role, set));
        of_set && !unmanaged && aws.possible(arn).may_exist()
    };
    let known = aws.entries.by_principal.keys().map(String::as_str);
    listed.is_none_or(|listed| listed < whole.plus(LAG).plus(LAG))
        || known
            .chain(aws.in_flight.principals())
            .any(|arn| may_be_ours(&arn))
}

/// What may be left of a mapping as access entries, by claim; without a claim where EKS is not read.
fn left_in_eks<'a>(view: &View<'a>, position: usize) -> Vec<Left<'a>> {
    let plan = view.plan;
    let mapping = &plan.mappings[position];
    let all = if plan.states[position] != State::Deleting {
        let open = any_entry(view, position);
        vec![(
            None,
            if open {
                Remainder::Pending
            } else {
                Remainder::Taken
            },
        )]
    } else if plan.eks.is_some() {
        entries_left(view, position)
    } else if may_have_entry(view, mapping) {
        vec![(None, Remainder::Pending)]
    } else {
        Vec::new()
    };
    let unverified = mapping.confirms(Confirmation::UnverifiedRemoval) && unaskable(view).is_some();
    let confirmed = |(claim, left): Left<'a>| {
        let left = if unverified && !left.is_clear() {
            Remainder::Unverified
        } else {
            left
        };
        (claim, left)
    };
    all.into_iter().map(confirmed).collect()
}

/// Why EKS could not be asked, where a person's word replaces its answer.
pub(crate) fn unasked(view: &View<'_>, position: usize) -> Option<String> {
    let unverified = |(_, left): &Left<'_>| matches!(left, Remainder::Unverified);
    let deleting = view.plan.states[position] == State::Deleting;
    unaskable(view).filter(|_| deleting && left_in_eks(view, position).iter().any(unverified))
}

/// Why EKS can't be asked for entries; `None`: it can.
fn unaskable(view: &View<'_>) -> Option<String> {
    let words =
        |failure: &crate::access_entry::Failure| format!("EKS can't be reached ({failure})");
    match &view.plan.observed.aws {
        AwsState::Off => Some(
            "the operator runs with --authentication-mode CONFIG_MAP and makes no calls to EKS"
                .to_owned(),
        ),
        AwsState::Unproven { name, .. } => Some(format!("EKS cluster {name} is not this cluster")),
        AwsState::Unknown { failure } => Some(words(failure)),
        AwsState::Known(_) if view.plan.eks.is_none() => {
            Some("the authentication mode CONFIG_MAP has no access entries".to_owned())
        }
        AwsState::Known(aws) => match (&aws.unreachable, &aws.unlisted) {
            (Some(unreachable), _) => Some(words(&unreachable.failure)),
            (None, Some(failure)) => Some(words(failure)),
            (None, None) => None,
        },
    }
}

/// What may be left of a deleted mapping in EKS, by claim.
fn entries_left<'a>(view: &View<'a>, position: usize) -> Vec<Left<'a>> {
    let plan = view.plan;
    let Some(eks) = &plan.eks else {
        return Vec::new();
    };
    let mapping = &plan.mappings[position];
    let taken = |claim: &Claim| match claim.holder {
        Some(holder) => takes_over(view, holder, Backend::AccessEntry),
        None => is_kept(view, position, claim, Backend::AccessEntry),
    };
    let of_set = unresolved_set(view, position).is_some_and(|set| set_in_eks(eks, set));
    let unknown = of_set.then_some((None, Remainder::Pending));
    let known = view
        .named(position)
        .filter(|claim| claim.holder != Some(position))
        .map(|claim| {
            let left = if taken(claim) {
                Remainder::Taken
            } else if claim.holder.is_none() && !entry_resolved(claim) {
                Remainder::Pending
            } else {
                // What another mapping still waits to write is not of this one.
                let standing = eks.standing.of(&claim.hash).iter();
                let written = mapping.written_entries(&eks.view.cluster.arn);
                let written = claim.key.as_ref().and_then(|key| written.get(key).copied());
                let declared = mapping
                    .principal
                    .as_ref()
                    .filter(|principal| Some(principal.key()) == claim.key);
                let mut arns: BTreeSet<String> = standing
                    .map(|standing| standing.principal_arn.to_owned())
                    .collect();
                arns.extend(written.map(|written| written.arn.clone()));
                arns.extend(declared.map(Principal::arn));
                let possible = arns.iter().map(|arn| eks.view.possible_where_named(arn));
                Remainder::Entries(possible.collect(), eks.installation.clone())
            };
            (Some(claim), left)
        });
    unknown.into_iter().chain(known).collect()
}

/// Whether an access entry may exist although the mode in force has none.
fn may_have_entry(view: &View<'_>, mapping: &Mapping) -> bool {
    mapping.finalizers.contains(Finalizer::AccessEntry)
        || mapping.names_access_entry()
        || view.plan.halted.is_some()
}

/// Whether anything of the mapping's is or may be in aws-auth.
fn any_text(view: &View<'_>, position: usize) -> bool {
    let left = |claim: &Claim| !Remainder::Text(in_text(view, position, claim)).is_clear();
    view.named(position).any(left)
}

/// Whether an access entry of the mapping's exists or may.
fn any_entry(view: &View<'_>, position: usize) -> bool {
    let held = view.held(position);
    held.is_some_and(|claim| claim.entry.stands || !entry_resolved(claim))
        || view.plan.mappings[position].names_access_entry()
}

fn in_text(view: &View<'_>, position: usize, claim: &Claim) -> InText {
    let mapping = &view.plan.mappings[position];
    let config_map = view.plan.settings.config_map.to_string();
    // What is let go of is only unmarked: a status goes on naming it until the mapping is gone.
    let recognised =
        !view.written && claim.ours && claim.found.is_some() && claim.step != Step::Retain;
    InText {
        managed: view.mark.0.contains_key(&claim.hash) || recognised,
        written: claim
            .key
            .as_ref()
            .is_some_and(|key| mapping.written(&config_map).contains_key(key)),
        readable: is_readable(view, claim),
    }
}

/// Whether the list in which an entry of this key belongs parses.
pub(crate) fn is_readable(view: &View<'_>, claim: &Claim) -> bool {
    let section = claim.key.as_ref().map(|key| match key.kind() {
        PrincipalKind::Role => Section::Roles,
        PrincipalKind::User => Section::Users,
    });
    section.is_none_or(|section| view.standing.section(section).broken.is_none())
}

/// Whether a mapping that holds the key waits for its entry when it is deleted.
fn takes_over(view: &View<'_>, holder: usize, backend: Backend) -> bool {
    view.plan.mappings[holder].finalizers.keeps(backend)
}

/// Whether another mapping keeps the entry as it is, and waits for it when it is deleted: one that is suspended or refused.
fn is_kept(view: &View<'_>, position: usize, claim: &Claim, backend: Backend) -> bool {
    let plan = view.plan;
    let mut others = claim.others.iter().filter(|other| **other != position);
    others.any(|other| {
        let mapping = &plan.mappings[*other];
        matches!(plan.states[*other], State::Suspended | State::Refused)
            && mapping.finalizers.keeps(backend)
            && (mapping.unreadable.is_some() || view.wrote(*other, claim))
    })
}

/// The principals whose access entries the mapping names.
fn keys(view: &View<'_>, position: usize) -> BTreeSet<Key> {
    view.named(position)
        .filter_map(|claim| claim.key.clone())
        .collect()
}
