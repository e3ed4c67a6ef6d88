//! The access entry's side of a claim: whose the entry is, which step follows, and which calls that takes.

mod aws;
mod calls;
pub(crate) mod failure;
mod keep;
mod outlook;
pub(crate) mod owner;
mod removal;

pub(crate) use failure::unlisted as unlisted_block;
pub(crate) use outlook::{changed_by, differing, outlook, outlook_of_inexpressible, target_of};
pub(crate) use removal::let_go;

use calls::{describe, describe_principal, goes_without, list, take};
use failure::{not_listed, settle};
use keep::{ManagedEntry, keep};
use outlook::ownership;
use owner::{remembers, unproven};

use std::collections::BTreeSet;

use crate::access_entry::{
    BRIDGE_GROUP, Call, INSTALLATION_TAG, PRINCIPAL_ID_TAG, Target, Wanted, create,
};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{Adoption, EntryType, WrittenEntry};
use crate::aws_auth::Entry as TextEntry;
use crate::desired::Spec;
use crate::effective::is_node;
use crate::ownership::aws_managed::Keeper;
use crate::ownership::{is_written, record_of};
use crate::plan::backend::{Outlook, Placement, Seen, Want};
use crate::plan::claim::{Block, Claim, Context, Eks, EntryDrift, EntrySide, EntryStep};

/// A mapping that holds its key, and what was found out about it.
pub(crate) struct Holding<'a> {
    pub(crate) position: usize,
    pub(crate) spec: &'a Spec,
    pub(crate) outlook: &'a Outlook<'a>,
    pub(crate) placement: &'a Placement,
    /// The entries of aws-auth for this key, whosever.
    pub(crate) text: &'a [&'a TextEntry],
}

/// Decides the entry's side of a key that a live mapping holds.
pub(crate) fn hold_as_declared(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &mut Claim,
    holding: &Holding<'_>,
    target: Target,
) {
    let mut side = EntrySide {
        wake: holding.placement.wake,
        ..EntrySide::default()
    };
    describe_standing(&mut side, holding.outlook);
    match holding.placement.entry {
        Want::Untouched => {
            // A deleted mapping waits for the answer, whatever becomes of the holder's.
            if matches!(holding.outlook, Outlook::Unconfirmed)
                && unproven(context, eks, claim).next().is_some()
            {
                gone(context, eks, claim, holding.outlook, None, &mut side);
            }
        }
        Want::Gone => {
            let arn = Some(target.principal_arn.as_str());
            gone(context, eks, claim, holding.outlook, arn, &mut side);
        }
        Want::Declared => declared(context, eks, claim, holding, &target, &mut side),
    }
    side.as_declared |= side.step == EntryStep::Keep;
    side.target = Some(target);
    settle(context, eks, claim, &mut side);
    claim.entry = side;
}

/// Decides the entry's side where the spec can't be one: what exists of ours may have to go.
pub(crate) fn hold_inexpressible(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &mut Claim,
    outlook: &Outlook<'_>,
    placement: &Placement,
) {
    let mut side = EntrySide {
        wake: placement.wake,
        ..EntrySide::default()
    };
    describe_standing(&mut side, outlook);
    if placement.entry == Want::Gone || matches!(outlook, Outlook::Unconfirmed) {
        gone(context, eks, claim, outlook, None, &mut side);
    }
    settle(context, eks, claim, &mut side);
    claim.entry = side;
}

/// The entry goes, once it is known whose it is.
fn gone(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    outlook: &Outlook<'_>,
    principal_arn: Option<&str>,
    side: &mut EntrySide,
) {
    match outlook {
        Outlook::Undescribed(standing) => {
            side.step = EntryStep::Describe;
            side.calls = vec![describe(standing)];
        }
        Outlook::Ours(seen) => {
            if let Err(Some(cause)) = aws::deletable(context, eks, seen.entry, side) {
                side.hold(Block::lasting(
                    Reason::HandoverBlocked,
                    format!(
                        "the access entry can't be replaced by aws-auth: {cause}; set spec.backend: AccessEntry"
                    ),
                ));
            }
            side.step = EntryStep::Delete;
            side.calls = vec![Call::Delete {
                principal_arn: seen.standing.principal_arn.to_owned(),
            }];
        }
        Outlook::Unconfirmed => {
            side.step = EntryStep::Describe;
            side.calls = unconfirmed(context, eks, claim, principal_arn);
        }
        Outlook::None
        | Outlook::Unlisted
        | Outlook::InFlight(_)
        | Outlook::Absent
        | Outlook::Foreign(_) => {}
    }
}

/// Asks for the entries of which nothing shows whether they stand.
fn unconfirmed(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    principal_arn: Option<&str>,
) -> Vec<Call> {
    let own = principal_arn.filter(|arn| !eks.view.entries.is_absent(arn));
    let all: BTreeSet<String> = own
        .map(str::to_owned)
        .into_iter()
        .chain(unproven(context, eks, claim))
        .collect();
    all.iter().map(|arn| describe_principal(arn)).collect()
}

fn describe_standing(side: &mut EntrySide, outlook: &Outlook<'_>) {
    match outlook {
        Outlook::None | Outlook::Absent => {}
        Outlook::Unlisted | Outlook::Unconfirmed => side.may_exist = true,
        Outlook::InFlight(flight) => {
            side.stands = flight.possible.exists();
            side.may_exist = flight.possible.may_exist();
            side.ours = flight.ours.is_some();
            side.node = flight.ours.is_some_and(|entry| entry.kind.is_node());
            side.entry_arn = flight.ours.map(|entry| entry.arn.clone());
        }
        Outlook::Undescribed(standing) => {
            side.stands = !standing.state.may_be_gone;
            side.may_exist = true;
        }
        Outlook::Foreign(Seen { entry, .. }) | Outlook::Ours(Seen { entry, .. }) => {
            side.stands = true;
            side.may_exist = true;
            side.ours = matches!(outlook, Outlook::Ours(..));
            side.node = entry.kind.is_node();
            side.entry_arn = Some(entry.arn.clone());
        }
    }
}

/// The policies on the entry that AWS associated and that are not declared.
fn undeclared_of_aws(seen: &Seen<'_>, target: &Target) -> BTreeSet<String> {
    let policies = seen.aws.policies.iter();
    let undeclared = policies.filter(|policy| !target.policies.contains_key(*policy));
    undeclared.cloned().collect()
}

fn declared(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    holding: &Holding<'_>,
    target: &Target,
    side: &mut EntrySide,
) {
    let Holding {
        position,
        spec,
        outlook,
        placement,
        text,
    } = *holding;
    let mapping = &context.mappings[position];
    if let Outlook::Foreign(seen) | Outlook::Ours(seen) = outlook {
        side.asks |= seen.aws.asks;
        side.of_aws = undeclared_of_aws(seen, target);
    }
    let written = remembers(eks, context, claim, position);
    let as_written = written.is_some_and(|written| is_written(target, written));
    match outlook {
        Outlook::None | Outlook::Unlisted => {
            side.step = EntryStep::Describe;
            side.hold(not_listed(eks));
        }
        Outlook::InFlight(flight) => side.hold(Block::awaiting_answer(flight.sent)),
        Outlook::Unconfirmed => {
            side.step = EntryStep::Describe;
            side.calls = unconfirmed(context, eks, claim, Some(&target.principal_arn));
        }
        Outlook::Undescribed(standing) => {
            side.step = EntryStep::Describe;
            side.calls = vec![describe(standing)];
        }
        Outlook::Absent => {
            let bridge = target.masters && claim.admitted(context);
            side.step = EntryStep::Create;
            side.calls = create(&Wanted {
                target,
                tags: &ownership(eks, mapping),
                bridge,
                accepted_default: None,
                of_aws: &BTreeSet::new(),
            });
            side.restores = as_written;
            let absence = eks.view.entries.absent.get(&target.principal_arn);
            side.drift = absence
                .and_then(|absence| absence.changed)
                .filter(|_| written.is_some())
                .map(|seen| EntryDrift {
                    what: "the access entry was deleted".to_owned(),
                    seen,
                });
            let nodes = text
                .iter()
                .find(|entry| is_node(&entry.meaning(), eks.bindings));
            if let (Some(node), EntryType::Standard) = (nodes, spec.type_) {
                side.hold(Block::lasting(
                    Reason::NodeRole,
                    format!(
                        "{} line {} makes this a node role, and an access entry of type Standard would take precedence and \
                            lock out its nodes; use another role, or set spec.type to the type of the nodes",
                        node.section, node.line
                    ),
                ));
            }
            if bridge && !eks.bindings.admin_groups.contains(BRIDGE_GROUP) {
                side.hold(Block::lasting(
                    Reason::HandoverBlocked,
                    format!(
                        "aws-auth grants the principal access, and a new access entry wins over it before it has policies; that needs a temporary ClusterRoleBinding (group {BRIDGE_GROUP}, role cluster-admin) to avoid an access gap"
                    ),
                ));
            }
        }
        Outlook::Foreign(seen) => adopt(eks, spec, seen, side),
        Outlook::Ours(seen) => {
            let subject = ManagedEntry {
                context,
                eks,
                claim,
                mapping,
                spec,
                target,
            };
            keep(&subject, seen, placement, side);
            if let Some(what) = written.and_then(|written| undone(&subject, seen, written, side)) {
                side.restores = as_written;
                // Where the spec asks for something new, what differs may be our own change, half made by an earlier process.
                let changed = seen.standing.state.changed.filter(|_| as_written);
                side.drift = changed.map(|seen| EntryDrift { what, seen });
            }
        }
    }
    unknown_policies(eks, target, side);
}

/// What of an entry is not as we last wrote it, and is about to be repaired.
fn undone(
    subject: &ManagedEntry<'_>,
    seen: &Seen<'_>,
    written: &WrittenEntry,
    side: &EntrySide,
) -> Option<String> {
    let eks = subject.eks;
    if side.step == EntryStep::Keep {
        // The id of the principal does not make the entry ours: it is learned later.
        let mut lost: Vec<String> = ownership(eks, subject.mapping).into_keys().collect();
        lost.retain(|key| key != PRINCIPAL_ID_TAG && !seen.entry.tags.contains_key(key));
        let lost = (!lost.is_empty()).then(|| lost.join(" and "))?;
        return Some(format!("the access entry had lost its tag {lost}"));
    }
    let changed = *written != record_of(&eks.view.cluster.arn, seen.entry, &side.of_aws);
    (changed && !seen.differences.is_empty())
        .then(|| format!("the access entry had {}", list(&seen.differences)))
}

/// An entry that is not ours: taken over, or a conflict.
fn adopt(eks: &Eks<'_>, spec: &Spec, seen: &Seen<'_>, side: &mut EntrySide) {
    let Seen {
        standing,
        entry,
        change,
        differences,
        aws,
    } = seen;
    match &aws.keeper {
        Some(Keeper::Unknown(failure)) => {
            side.as_declared = differences.is_empty();
            return side.hold(aws::asking(*failure));
        }
        Some(Keeper::Aws(cause)) => return aws::adopt(eks, spec, seen, cause, side),
        Some(Keeper::Nobody) | None => {}
    }
    if let Some(block) = aws::unchangeable(eks, spec, seen, None) {
        return side.hold(block);
    }
    let identical = differences.is_empty();
    let node = entry.kind.is_node();
    let place = format!("the access entry {}", entry.arn);
    match (spec.adoption, identical) {
        (Adoption::IfIdentical, true) if !node => take(change, side),
        (Adoption::IfIdentical | Adoption::Never, true) => {
            let why = if node {
                "is a node entry, which only spec.adoption: Always adopts"
            } else {
                "gives the same identity, and spec.adoption: Never leaves it unmanaged"
            };
            side.as_declared = true;
            side.hold(Block::lasting(
                Reason::NotManaged,
                format!("{place} is unmanaged and {why}; deleting this mapping leaves it"),
            ));
        }
        (Adoption::Always, _) => take(change, side),
        (Adoption::IfIdentical | Adoption::Never, false) => {
            let whose = entry
                .tags
                .get(INSTALLATION_TAG)
                .filter(|installation| **installation != eks.installation)
                .map_or_else(String::new, |installation| {
                    format!(" (it belongs to the installation that manages {installation})")
                });
            side.hold(Block::lasting(
                Reason::UnmanagedEntry,
                format!(
                    "{place} for {} is unmanaged{whose}: it has {}; delete it, declare the same here, or set spec.adoption: Always to adopt it",
                    standing.principal_arn,
                    list(differences)
                ),
            ));
        }
    }
}

fn unknown_policies(eks: &Eks<'_>, target: &Target, side: &mut EntrySide) {
    let Some(known) = &eks.view.policies else {
        return;
    };
    let unknown: Vec<&str> = target
        .policies
        .keys()
        .filter(|policy| !known.contains(*policy))
        .filter_map(|policy| policy.rsplit('/').next())
        .collect();
    let is_unknown = |call: &Call| match call {
        Call::Associate { policy_arn, .. } => !known.contains(policy_arn),
        Call::Create { .. } => true,
        _ => false,
    };
    if !unknown.is_empty() && side.calls.iter().any(&is_unknown) && !goes_without(side, is_unknown)
    {
        side.hold(Block::lasting(
            Reason::AccessPolicyUnknown,
            format!(
                "EKS offers no access policy {} here; fix spec.accessPolicies (`aws eks list-access-policies` lists the names)",
                unknown.join(", ")
            ),
        ));
    }
}
