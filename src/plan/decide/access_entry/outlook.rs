//! What exists in EKS for a key, and what leads from it to what is declared.

use std::collections::BTreeMap;

use crate::access_entry::{
    AWS_POLICIES_TAG, AccessEntry, BRIDGE_GROUP, Call, Change, INSTALLATION_TAG, Inexpressible,
    MAPPING_TAG, PRINCIPAL_ID_TAG, Scope, Sent, Target, Wanted, change, meaning_differs, target,
};
use crate::desired::{Mapping, Spec};
use crate::effective::{Standing, in_iam};
use crate::ownership::aws_managed::tag_of;
use crate::plan::backend::{EntryInFlight, Outlook, PartOfAws, Seen};
use crate::plan::claim::{Claim, Context, Eks};
use crate::plan::decide::access_entry::aws::part_of_aws;
use crate::plan::decide::access_entry::calls::list;
use crate::plan::decide::access_entry::owner::{is_ours, remembers, unproven};
use crate::plan::memory::Memory;
use crate::principal::PrincipalKind;

/// What a spec asks for as an access entry, under the ARN under which the principal's entry exists where the spec leaves the
/// path out.
pub(crate) fn target_of(
    eks: &Eks<'_>,
    claim: &Claim,
    spec: &Spec,
) -> Result<Target, Inexpressible> {
    let mut target = target(&spec.declared(), &eks.view.cluster)?;
    let pathless = spec.principal.path == "/" && spec.principal.kind == PrincipalKind::Role;
    let standing = eks.standing.of(&claim.hash);
    let same = standing.iter().find(|standing| {
        standing
            .principal_arn
            .eq_ignore_ascii_case(&target.principal_arn)
    });
    let only = standing.first().filter(|_| pathless && standing.len() == 1);
    if let Some(standing) = same.or(only) {
        standing.principal_arn.clone_into(&mut target.principal_arn);
    }
    Ok(target)
}

/// What exists for the key, seen from its holder.
pub(crate) fn outlook<'a>(
    context: &'a Context<'a>,
    eks: &'a Eks<'a>,
    claim: &Claim,
    position: usize,
    target: &Target,
) -> Outlook<'a> {
    let standing = eks.standing.of(&claim.hash);
    let standing = standing
        .iter()
        .find(|standing| standing.principal_arn == target.principal_arn);
    if let Some(in_flight) = in_flight(context, eks, claim, &target.principal_arn, standing) {
        return Outlook::InFlight(in_flight);
    }
    let Some(standing) = standing else {
        let named = remembers(eks, context, claim, position)
            .is_some_and(|written| written.arn == target.principal_arn);
        return match unseen(eks, &target.principal_arn, named) {
            Outlook::Absent if unproven(context, eks, claim).next().is_some() => {
                Outlook::Unconfirmed
            }
            outlook => outlook,
        };
    };
    let Some(entry) = standing.known() else {
        return Outlook::Undescribed(standing);
    };
    let mapping = &context.mappings[position];
    let ours = is_ours(eks, context, claim, standing);
    let aws = part_of_aws(context, eks, claim, entry, ours, target);
    let tags = tags(eks, mapping, standing, entry, &aws);
    let wanted = Wanted {
        target,
        tags: &tags,
        bridge: keeps_bridge(eks, context, entry, target),
        accepted_default: accepted_default(context.memory, entry, target),
        of_aws: &aws.policies,
    };
    let seen = Seen {
        standing,
        entry,
        change: change(entry, &wanted),
        differences: meaning_differs(entry, &wanted),
        aws,
    };
    if ours {
        Outlook::Ours(seen)
    } else {
        Outlook::Foreign(seen)
    }
}

/// What exists for a principal that nothing shows.
fn unseen<'a>(eks: &Eks<'_>, principal_arn: &str, named: bool) -> Outlook<'a> {
    let view = eks.view;
    let possible = if named {
        view.possible_where_named(principal_arn)
    } else {
        view.possible(principal_arn)
    };
    if !possible.may_exist() {
        Outlook::Absent
    } else if view.entries.listed.is_none() {
        Outlook::Unlisted
    } else {
        Outlook::Unconfirmed
    }
}

/// Whether a call awaits its answer that changes who has access by the entry, or as what.
fn alters(sent: &Sent) -> bool {
    sent.given_up.is_none() && sent.changes() && !matches!(sent.call, Call::Tag { .. })
}

fn in_flight<'a>(
    context: &Context<'_>,
    eks: &'a Eks<'a>,
    claim: &Claim,
    principal_arn: &str,
    standing: Option<&Standing<'a>>,
) -> Option<EntryInFlight<'a>> {
    let sent = eks.view.in_flight.of(principal_arn);
    let ours = standing.filter(|standing| is_ours(eks, context, claim, standing));
    Some(EntryInFlight {
        sent: sent.iter().find(|sent| alters(sent))?,
        possible: eks.view.possible(principal_arn),
        ours: ours.and_then(Standing::known),
    })
}

/// What exists for a key whose spec can't be an access entry.
pub(crate) fn outlook_of_inexpressible<'a>(
    context: &Context<'_>,
    eks: &'a Eks<'a>,
    claim: &Claim,
) -> Outlook<'a> {
    let standing = eks.standing.of(&claim.hash).first();
    let mut calls = claim
        .key
        .iter()
        .flat_map(|key| eks.view.in_flight.of_key(key));
    let awaited = calls
        .find(|sent| alters(sent))
        .map(|sent| sent.call.principal_arn());
    let in_flight = awaited.and_then(|arn| in_flight(context, eks, claim, arn, standing));
    if let Some(in_flight) = in_flight {
        return Outlook::InFlight(in_flight);
    }
    match standing.map(|standing| (standing, standing.known())) {
        None if eks.view.entries.listed.is_none() => Outlook::Unlisted,
        None if unproven(context, eks, claim).next().is_some() => Outlook::Unconfirmed,
        None => Outlook::Absent,
        Some((standing, None)) => Outlook::Undescribed(standing),
        Some((standing, Some(entry))) => {
            let seen = Seen {
                standing,
                entry,
                change: Change::Same,
                differences: Vec::new(),
                aws: PartOfAws::default(),
            };
            if is_ours(eks, context, claim, standing) {
                Outlook::Ours(seen)
            } else {
                Outlook::Foreign(seen)
            }
        }
    }
}

/// A username that EKS gave where none was sent, and that is not what we expect: it is EKS's to choose.
pub(crate) fn accepted_default<'a>(
    memory: &Memory,
    entry: &'a AccessEntry,
    target: &Target,
) -> Option<&'a str> {
    let answered = memory.defaults.get(&entry.principal_arn)?;
    (target.username.is_none() && *answered == entry.username).then_some(&entry.username)
}

/// In what an entry differs from a spec, in words; `None` where the spec can't be an access entry.
pub(crate) fn differing(
    eks: &Eks<'_>,
    memory: &Memory,
    claim: &Claim,
    spec: &Spec,
    entry: &AccessEntry,
) -> Option<String> {
    let target = target_of(eks, claim, spec).ok()?;
    let differences = meaning_differs(
        entry,
        &Wanted {
            target: &target,
            tags: &BTreeMap::new(),
            bridge: false,
            accepted_default: accepted_default(memory, entry, &target),
            of_aws: &claim.entry.of_aws,
        },
    );
    Some(list(&differences))
}

/// Who last changed the claim's access entry, as far as `CloudTrail` tells.
pub(crate) fn changed_by(eks: Option<&Eks<'_>>, claim: &Claim) -> String {
    let standing = eks
        .map(|eks| eks.standing.of(&claim.hash))
        .unwrap_or_default();
    let changed = standing
        .iter()
        .find_map(|standing| standing.state.changed_by.clone());
    let deleted = || {
        let target = claim.entry.target.as_ref()?;
        let absence = eks?.view.entries.absent.get(&target.principal_arn)?;
        absence.deleted_by.clone()
    };
    changed
        .or_else(deleted)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The bridge stays on an entry until the association that replaces it is in force.
pub(crate) fn keeps_bridge(
    eks: &Eks<'_>,
    context: &Context<'_>,
    entry: &AccessEntry,
    target: &Target,
) -> bool {
    if !target.masters || !entry.groups.contains(BRIDGE_GROUP) {
        return false;
    }
    entry
        .policies
        .get(&eks.view.admin_policy())
        .is_none_or(|association| {
            association.scope != Scope::Cluster
                || association.modified.plus(eks.settings.propagation) > context.now
        })
}

/// The tags that say whose the entry is, and what on it is AWS's. The id of a principal that was made anew is not taken over silently.
pub(crate) fn tags(
    eks: &Eks<'_>,
    mapping: &Mapping,
    standing: &Standing<'_>,
    entry: &AccessEntry,
    aws: &PartOfAws<'_>,
) -> BTreeMap<String, String> {
    let mut tags = ownership(eks, mapping);
    let known = aws.cause().is_some_and(|cause| !cause.is_guess());
    let adopting = aws.cause().is_some() && !entry.tags.contains_key(INSTALLATION_TAG);
    if known || adopting || entry.tags.contains_key(AWS_POLICIES_TAG) {
        tags.insert(AWS_POLICIES_TAG.to_owned(), tag_of(&aws.policies));
    }
    if standing.life.is_dead() {
        tags.remove(PRINCIPAL_ID_TAG);
    }
    tags
}

pub(crate) fn ownership(eks: &Eks<'_>, mapping: &Mapping) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        (INSTALLATION_TAG.to_owned(), eks.installation.clone()),
        (MAPPING_TAG.to_owned(), mapping.name.clone()),
    ]);
    let id = mapping
        .principal
        .as_ref()
        .and_then(|principal| in_iam(principal, &eks.view.iam))
        .map(|principal| principal.id.clone());
    tags.extend(id.map(|id| (PRINCIPAL_ID_TAG.to_owned(), id)));
    tags
}
