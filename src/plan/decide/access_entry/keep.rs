//! An entry that is ours: kept, changed in place, or made anew.

use std::collections::BTreeSet;

use crate::access_entry::{AccessEntry, BRIDGE_GROUP, Call, Change, Kind, Target, Wanted, create};
use crate::api::condition::Reason;
use crate::api::v1alpha1::Confirmation;
use crate::desired::{Mapping, Spec, tagged_mapping};
use crate::effective::Life;
use crate::effective::is_target_administrator;
use crate::observed::Mode;
use crate::observed::RecreatedPrincipals;
use crate::ownership::aws_managed::{Keeper, rests_on_answers};
use crate::plan::backend::{Placement, Seen, in_aws_auth_since};
use crate::plan::claim::{Block, Claim, Context, Eks, EntrySide, EntryStep};
use crate::plan::decide::access_entry::aws::{self, Removal};
use crate::plan::decide::access_entry::calls::{describe, only_tags};
use crate::plan::decide::access_entry::outlook::{keeps_bridge, ownership};
use crate::plan::decide::access_entry::owner::is_ours;

/// A mapping that holds its key, and what it asks for as an access entry.
pub(crate) struct ManagedEntry<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) eks: &'a Eks<'a>,
    pub(crate) claim: &'a Claim,
    pub(crate) mapping: &'a Mapping,
    pub(crate) spec: &'a Spec,
    pub(crate) target: &'a Target,
}

/// An entry that is ours.
pub(crate) fn keep(
    subject: &ManagedEntry<'_>,
    seen: &Seen<'_>,
    placement: &Placement,
    side: &mut EntrySide,
) {
    let ManagedEntry {
        context,
        eks,
        claim,
        target,
        ..
    } = *subject;
    let Seen {
        standing,
        entry,
        change,
        ..
    } = seen;
    if let Some(Keeper::Unknown(failure)) = &seen.aws.keeper {
        side.hold(aws::asking(*failure));
    }
    if let Some(block) = aws::narrower(seen) {
        side.hold(block);
    }
    match &standing.life {
        Life::Recreated {
            before,
            now,
            certain,
        } => {
            // An entry that may still grant access is changed to what is declared all the same.
            let waits = !certain && matches!(change, Change::Calls(calls) if !only_tags(calls));
            if !waits || renews(subject) {
                return recreated(subject, entry, before.as_deref(), now, side);
            }
        }
        Life::Missing { elsewhere } => {
            let fix = match elsewhere {
                Some(arn) => format!("IAM has {arn}: set spec.principal.arn to that"),
                None => "create it again, or delete this mapping".to_owned(),
            };
            side.hold(Block::lasting(
                Reason::PrincipalNotFound,
                format!(
                    "IAM has no {}{}; {fix}",
                    standing.principal_arn,
                    covered(context, claim)
                ),
            ));
            return;
        }
        Life::Alive | Life::Unknown => {}
    }
    match change {
        Change::Same => {
            side.step = EntryStep::Keep;
            side.calls = extras(context, eks, claim, target, side);
            if placement.verify {
                side.calls.push(describe(standing));
            }
            if keeps_bridge(eks, context, entry, target) {
                let since = entry.policies.get(&eks.view.admin_policy());
                side.wake =
                    since.map(|association| association.modified.plus(eks.settings.propagation));
                side.hold(Block::passing(
                    Reason::HandingOver,
                    "AmazonEKSClusterAdminPolicy is associated but not in force yet; the bridge group stays until then",
                ));
            }
        }
        Change::Calls(calls) => {
            side.calls.clone_from(calls);
            if tagged_mapping(entry) != Some(subject.mapping.name.as_str()) {
                // Its tag says whose content it has, before it has any of this mapping's.
                side.calls
                    .sort_by_key(|call| !matches!(call, Call::Tag { .. }));
            }
            side.step = if only_tags(calls) {
                EntryStep::Keep
            } else {
                EntryStep::Change
            };
        }
        Change::Recreate(why) => {
            let why = why.to_string();
            recreate(subject, entry, &why, side);
        }
        Change::UnknownType(why) => {
            side.hold(Block::lasting(Reason::UnmanagedEntry, why.to_string()));
        }
    }
}

/// Entries of ours under an older path of the same name: nobody can have access by them.
fn extras(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    target: &Target,
    side: &mut EntrySide,
) -> Vec<Call> {
    let others = eks
        .standing
        .of(&claim.hash)
        .iter()
        .filter(|standing| standing.principal_arn != target.principal_arn);
    let mut calls = Vec::new();
    for standing in others.filter(|standing| is_ours(eks, context, claim, standing)) {
        let Some(entry) = standing.known().filter(|entry| !entry.kind.is_node()) else {
            continue;
        };
        side.asks |= rests_on_answers(entry);
        match aws::removal(context, eks, claim, entry) {
            Removal::Delete(call) => calls.push(call),
            Removal::GiveBack(back) => calls.extend(back),
            Removal::Wait(_) => {}
        }
    }
    calls
}

/// Whether aws-auth lets the principal in all the same, for a sentence.
fn covered(context: &Context<'_>, claim: &Claim) -> &'static str {
    if claim.admitted(context) {
        ", so its access entry no longer works (aws-auth still grants access)"
    } else {
        ", so its access entry no longer works"
    }
}

/// Whether the entry of a principal that was recreated may be made anew.
fn renews(subject: &ManagedEntry<'_>) -> bool {
    let ManagedEntry {
        eks,
        mapping,
        target,
        ..
    } = *subject;
    let principal = mapping.principal.as_ref();
    let reserved =
        principal.is_some_and(|principal| principal.sso().is_some() && principal.path != "/");
    let administrator = is_target_administrator(target, eks.view, eks.bindings);
    reserved
        || mapping.confirms(Confirmation::RecreatedPrincipal)
        || (eks.settings.recreated == RecreatedPrincipals::Renew && !administrator)
}

fn recreated(
    subject: &ManagedEntry<'_>,
    entry: &AccessEntry,
    before: Option<&str>,
    now: &str,
    side: &mut EntrySide,
) {
    let ManagedEntry {
        context,
        claim,
        target,
        ..
    } = *subject;
    let what = format!(
        "{} was deleted and recreated ({}, now {now}){}",
        target.principal_arn,
        before.map_or_else(|| "id unknown".to_owned(), |before| format!("id {before}")),
        covered(context, claim)
    );
    if !renews(subject) {
        side.hold(Block::held(
            Confirmation::RecreatedPrincipal,
            Reason::PrincipalRecreated,
            &format!("{what}; to restore access, confirm that the entry is recreated"),
        ));
        return;
    }
    make_anew(subject, entry, Reason::PrincipalRecreated, &what, side);
}

/// Deletes the entry and makes it again, which only a person may do to one that AWS keeps.
fn make_anew(
    subject: &ManagedEntry<'_>,
    entry: &AccessEntry,
    reason: Reason,
    why: &str,
    side: &mut EntrySide,
) {
    let ManagedEntry {
        context,
        eks,
        claim,
        mapping,
        target,
        ..
    } = *subject;
    if let Err(Some(cause)) = aws::deletable(context, eks, entry, side) {
        let type_ = (entry.kind != Kind::Known(target.type_)).then_some(target.type_);
        let by_hand = aws::by_hand(eks, entry, type_);
        side.hold(Block::lasting(
            reason,
            format!("{why}; {cause}, so identity-mapper does not delete it; {by_hand}"),
        ));
    }
    let bridge = target.masters && claim.admitted(context);
    if bridge && !eks.bindings.admin_groups.contains(BRIDGE_GROUP) {
        side.hold(Block::lasting(
            Reason::HandoverBlocked,
            format!(
                "the access entry must be recreated, and new entries have no policies; that needs a temporary ClusterRoleBinding (group {BRIDGE_GROUP}, role cluster-admin) to avoid an access gap"
            ),
        ));
    }
    side.step = EntryStep::Recreate;
    side.calls = vec![Call::Delete {
        principal_arn: target.principal_arn.clone(),
    }];
    side.calls.extend(create(&Wanted {
        target,
        tags: &ownership(eks, mapping),
        bridge,
        accepted_default: None,
        of_aws: &BTreeSet::new(),
    }));
}

/// What AWS does not change in place. Where aws-auth is read, the identity goes there first.
fn recreate(subject: &ManagedEntry<'_>, entry: &AccessEntry, why: &str, side: &mut EntrySide) {
    let ManagedEntry {
        context,
        eks,
        claim,
        spec,
        ..
    } = *subject;
    make_anew(subject, entry, Reason::UnmanagedEntry, why, side);
    if context.mode != Some(Mode::ApiAndConfigMap) {
        return;
    }
    let Some(form) = &spec.form else {
        return;
    };
    let stands = claim
        .found
        .as_ref()
        .is_some_and(|found| claim.ours && found.meaning == form.meaning);
    let (since, due) = in_aws_auth_since(context, eks, claim);
    side.in_aws_auth_since = stands.then_some(since);
    if !stands || due > context.now {
        side.wake = Some(due);
        side.hold(Block::passing(
            Reason::HandingOver,
            format!("{why}, so the access entry is recreated; aws-auth gets the principal first"),
        ));
    }
}
