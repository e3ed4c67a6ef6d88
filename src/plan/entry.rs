//! The access entry's side of a claim: whose the entry is, which step follows, and which calls that takes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::aws::{Attempt, AwsView};
use super::claim::{Block, Claim, Context, Eks, EntrySide, EntryStep, State};
use super::desired::{Mapping, Spec};
use super::guard::{self, is_node};
use super::memory::Memory;
use super::place::{Outlook, Placement, Seen, Want};
use super::resolve;
use super::standing::{Life, Standing, in_iam};
use crate::access_entry::{
    ADMIN_POLICY, BRIDGE_GROUP, Call, Change, Declared, Difference, Entry, EntryState, FailureKind,
    INSTALLATION_TAG, Inexpressible, Kind, MAPPING_TAG, PRINCIPAL_ID_TAG, Scope, Target, Wanted,
    change, create, meaning_differs, policy_arn, target,
};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{
    Adoption, Confirmation, Deletion, EntryType, WrittenEntry, WrittenPolicy,
};
use crate::aws_auth::{Entry as TextEntry, Lookup};
use crate::principal::PrincipalKind;

/// For so long AWS may not know what it has just been told (a role that was made, a mode that was changed).
const CONSISTENT_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// What a spec asks for as an access entry, under the ARN under which the principal's entry stands where the spec leaves the
/// path out.
pub(super) fn target_of(
    eks: &Eks<'_>,
    claim: &Claim,
    spec: &Spec,
) -> Result<Target, Inexpressible> {
    let declared = Declared {
        principal: &spec.principal,
        type_: spec.type_,
        username: spec.username.as_deref(),
        groups: &spec.groups,
        policies: &spec.policies,
    };
    let mut target = target(&declared, &eks.view.cluster)?;
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

/// What stands for the key, seen from its holder.
pub(super) fn outlook<'a>(
    context: &'a Context<'a>,
    eks: &'a Eks<'a>,
    claim: &Claim,
    position: usize,
    target: &Target,
) -> Outlook<'a> {
    let standing = eks.standing.of(&claim.hash);
    let Some(standing) = standing
        .iter()
        .find(|standing| standing.principal_arn == target.principal_arn)
    else {
        return if eks.view.entries.listed.is_some() {
            Outlook::Absent
        } else {
            Outlook::Unlisted
        };
    };
    let Some(entry) = standing.known() else {
        return Outlook::Undescribed(standing);
    };
    let mapping = &context.mappings[position];
    let tags = tags(eks, mapping, standing);
    let wanted = Wanted {
        target,
        tags: &tags,
        bridge: keeps_bridge(eks, context, entry, target),
        accepted_default: accepted_default(context.memory, entry, target),
    };
    let seen = Seen {
        standing,
        entry,
        change: change(entry, &wanted),
        differences: meaning_differs(entry, &wanted),
    };
    if is_ours(eks, context, claim, standing) {
        Outlook::Ours(seen)
    } else {
        Outlook::Foreign(seen)
    }
}

/// A username that EKS gave where none was sent, and that is not what we expect: it is EKS's to choose.
fn accepted_default<'a>(memory: &Memory, entry: &'a Entry, target: &Target) -> Option<&'a str> {
    let answered = memory.defaults.get(&entry.principal_arn)?;
    (target.username.is_none() && *answered == entry.username).then_some(&entry.username)
}

/// In what an entry differs from a spec, in words; `None` where the spec can't be an access entry.
pub(super) fn differing(
    eks: &Eks<'_>,
    memory: &Memory,
    claim: &Claim,
    spec: &Spec,
    entry: &Entry,
) -> Option<String> {
    let target = target_of(eks, claim, spec).ok()?;
    let differences = meaning_differs(
        entry,
        &Wanted {
            target: &target,
            tags: &BTreeMap::new(),
            bridge: false,
            accepted_default: accepted_default(memory, entry, &target),
        },
    );
    Some(list(&differences))
}

/// Who last changed the claim's access entry, as far as `CloudTrail` tells.
pub(super) fn changed_by(eks: Option<&Eks<'_>>, claim: &Claim) -> String {
    let standing = eks
        .map(|eks| eks.standing.of(&claim.hash))
        .unwrap_or_default();
    standing
        .iter()
        .find_map(|standing| standing.state.changed_by.clone())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The bridge stays on an entry until the association that replaces it is in force.
fn keeps_bridge(eks: &Eks<'_>, context: &Context<'_>, entry: &Entry, target: &Target) -> bool {
    if !target.masters || !entry.groups.contains(BRIDGE_GROUP) {
        return false;
    }
    entry
        .policies
        .get(&admin_policy(eks))
        .is_none_or(|association| {
            association.scope != Scope::Cluster
                || association.modified + eks.settings.propagation > context.now
        })
}

pub(super) fn admin_policy(eks: &Eks<'_>) -> String {
    eks.view
        .cluster
        .partition()
        .map(|partition| policy_arn(partition, ADMIN_POLICY))
        .unwrap_or_default()
}

/// The tags that say whose the entry is. The id of a principal that was made anew is not taken over silently.
fn tags(eks: &Eks<'_>, mapping: &Mapping, standing: &Standing<'_>) -> BTreeMap<String, String> {
    let mut tags = ownership(eks, mapping);
    if standing.life.is_dead() {
        tags.remove(PRINCIPAL_ID_TAG);
    }
    tags
}

fn ownership(eks: &Eks<'_>, mapping: &Mapping) -> BTreeMap<String, String> {
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

/// Whether an entry is ours: by its tag, or, where the tags were lost, because a status says that we wrote it just so.
fn is_ours(eks: &Eks<'_>, context: &Context<'_>, claim: &Claim, standing: &Standing<'_>) -> bool {
    if is_tagged(eks, standing.state) {
        return true;
    }
    let Some(entry) = standing.known() else {
        return false;
    };
    let standing = written_form(eks, entry);
    let wrote = |position: &usize| remembers(eks, context, claim, *position) == Some(&standing);
    claim.holder.iter().chain(&claim.others).any(wrote)
}

pub(super) fn is_tagged(eks: &Eks<'_>, state: &EntryState) -> bool {
    let entry = state.entry.as_ref();
    entry.and_then(|entry| entry.tags.get(INSTALLATION_TAG)) == Some(&eks.installation)
}

/// What a mapping's status says that was written for the claim's key.
fn remembers<'a>(
    eks: &Eks<'_>,
    context: &'a Context<'_>,
    claim: &Claim,
    position: usize,
) -> Option<&'a WrittenEntry> {
    let written = context.mappings[position].written_entries(&eks.view.cluster.arn);
    written.get(claim.key.as_ref()?).copied()
}

/// An entry as a status remembers it.
pub(super) fn written_form(eks: &Eks<'_>, entry: &Entry) -> WrittenEntry {
    let policies = entry
        .policies
        .iter()
        .map(|(policy, association)| written_policy(policy, &association.scope));
    WrittenEntry {
        config_map: None,
        cluster: Some(eks.view.cluster.arn.clone()),
        arn: entry.principal_arn.clone(),
        username: entry.username.clone(),
        groups: entry.groups.iter().cloned().collect(),
        type_: match entry.kind {
            Kind::Known(type_) => Some(type_),
            Kind::Unknown(_) => None,
        },
        access_policies: policies.collect(),
    }
}

fn written_policy(policy: &str, scope: &Scope) -> WrittenPolicy {
    WrittenPolicy {
        policy: policy.to_owned(),
        namespaces: match scope {
            Scope::Cluster => Vec::new(),
            Scope::Namespaces(namespaces) => namespaces.iter().cloned().collect(),
        },
    }
}

/// Whether the target is what a status remembers.
fn is_written(target: &Target, written: &WrittenEntry) -> bool {
    let policies: Vec<WrittenPolicy> = target
        .policies
        .iter()
        .map(|(policy, scope)| written_policy(policy, scope))
        .collect();
    let username = target
        .username
        .as_deref()
        .unwrap_or(&target.default_username);
    written.arn == target.principal_arn
        && written.type_ == Some(target.type_)
        && (target.type_ != EntryType::Standard
            || (written.username == username
                && written
                    .groups
                    .iter()
                    .map(String::as_str)
                    .eq(target.groups.iter().map(String::as_str))))
        && written.access_policies == policies
}

/// What stands for a key whose spec can't be an access entry.
pub(super) fn outlook_of_inexpressible<'a>(
    context: &Context<'_>,
    eks: &'a Eks<'a>,
    claim: &Claim,
) -> Outlook<'a> {
    let standing = eks.standing.of(&claim.hash).first();
    match standing.map(|standing| (standing, standing.known())) {
        None => Outlook::Absent,
        Some((standing, None)) => Outlook::Undescribed(standing),
        Some((standing, Some(entry))) => {
            let seen = Seen {
                standing,
                entry,
                change: Change::Same,
                differences: Vec::new(),
            };
            if is_ours(eks, context, claim, standing) {
                Outlook::Ours(seen)
            } else {
                Outlook::Foreign(seen)
            }
        }
    }
}

/// A mapping that holds its key, and what was found out about it.
pub(super) struct Holding<'a> {
    pub(super) position: usize,
    pub(super) spec: &'a Spec,
    pub(super) outlook: &'a Outlook<'a>,
    pub(super) placement: &'a Placement,
    /// The entries of aws-auth for this key, whosever.
    pub(super) text: &'a [&'a TextEntry],
}

/// Decides the entry's side of a key that a live mapping holds.
pub(super) fn hold_as_declared(
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
        Want::Untouched => {}
        Want::Gone => gone(holding.outlook, &mut side),
        Want::Declared => declared(context, eks, claim, holding, &target, &mut side),
    }
    side.as_declared |= side.step == EntryStep::Keep;
    side.target = Some(target);
    settle(context, eks, claim, &mut side);
    claim.entry = side;
}

/// Decides the entry's side where the spec can't be one: what stands of ours may have to go.
pub(super) fn hold_inexpressible(
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
    if placement.entry == Want::Gone {
        gone(outlook, &mut side);
    }
    settle(context, eks, claim, &mut side);
    claim.entry = side;
}

/// The entry goes, once it is known whose it is.
fn gone(outlook: &Outlook<'_>, side: &mut EntrySide) {
    match outlook {
        Outlook::Undescribed(standing) => {
            side.step = EntryStep::Describe;
            side.calls = vec![describe(standing)];
        }
        Outlook::Ours(seen) => {
            side.step = EntryStep::Delete;
            side.calls = vec![Call::Delete {
                principal_arn: seen.standing.principal_arn.to_owned(),
            }];
        }
        Outlook::None | Outlook::Unlisted | Outlook::Absent | Outlook::Foreign(_) => {}
    }
}

fn describe_standing(side: &mut EntrySide, outlook: &Outlook<'_>) {
    match outlook {
        Outlook::None | Outlook::Unlisted | Outlook::Absent => {}
        Outlook::Undescribed(_) => side.stands = true,
        Outlook::Foreign(Seen { entry, .. }) | Outlook::Ours(Seen { entry, .. }) => {
            side.stands = true;
            side.ours = matches!(outlook, Outlook::Ours(..));
            side.node = is_node_kind(&entry.kind);
            side.entry_arn = Some(entry.arn.clone());
        }
    }
}

/// Whether entries of this type are nodes'. One that we do not know is taken for one.
pub(super) fn is_node_kind(kind: &Kind) -> bool {
    !matches!(kind, Kind::Known(EntryType::Standard))
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
    let written = remembers(eks, context, claim, position);
    let as_written = written.is_some_and(|written| is_written(target, written));
    match outlook {
        Outlook::None | Outlook::Unlisted => {
            side.step = EntryStep::Describe;
            side.hold(Block::passing(
                Reason::EntryPending,
                "the access entries of the cluster are being listed",
            ));
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
            });
            if written.is_some() {
                side.drift = Some("the access entry was gone".to_owned());
                side.restores = as_written;
            }
            let nodes = text.iter().find(|entry| is_node(&entry.meaning()));
            if let (Some(node), EntryType::Standard) = (nodes, spec.type_) {
                side.hold(Block::lasting(
                    Reason::NodeRole,
                    format!(
                        "{} line {} makes this role a node's, and an access entry of type Standard would win over that and take its nodes \
                         out of the cluster; use a role of its own, or write the node's spec.type",
                        node.section, node.line
                    ),
                ));
            }
            if bridge && !eks.bindings.admin_groups.contains(BRIDGE_GROUP) {
                side.hold(Block::lasting(
                    Reason::HandoverBlocked,
                    format!(
                        "the principal is let in by aws-auth, and an access entry is made without policies and wins at once; it needs a \
                         ClusterRoleBinding of group {BRIDGE_GROUP} to cluster-admin as a bridge"
                    ),
                ));
            }
        }
        Outlook::Foreign(seen) => adopt(eks, spec, seen, side),
        Outlook::Ours(seen) => {
            keep(
                context, eks, claim, mapping, spec, target, seen, placement, side,
            );
            let changed = written.is_some_and(|written| *written != written_form(eks, seen.entry));
            if changed && !seen.differences.is_empty() && side.step != EntryStep::Keep {
                side.drift = Some(format!("the access entry had {}", list(&seen.differences)));
                side.restores = as_written;
            }
        }
    }
    unknown_policies(eks, target, side);
}

fn describe(standing: &Standing<'_>) -> Call {
    Call::Describe {
        principal_arn: standing.principal_arn.to_owned(),
    }
}

fn list(differences: &[Difference]) -> String {
    let found: Vec<String> = differences.iter().map(ToString::to_string).collect();
    found.join(", ")
}

/// An entry that is not ours: taken over, or a conflict.
fn adopt(eks: &Eks<'_>, spec: &Spec, seen: &Seen<'_>, side: &mut EntrySide) {
    let Seen {
        standing,
        entry,
        change,
        differences,
    } = seen;
    let identical = differences.is_empty();
    let node = is_node_kind(&entry.kind);
    let place = format!("the access entry {}", entry.arn);
    match (spec.adoption, identical) {
        (Adoption::Always, true) => take(change, side),
        (Adoption::IfIdentical, true) if !node => take(change, side),
        (Adoption::IfIdentical | Adoption::Never, true) => {
            let why = if node {
                "is a node's, which only adoption: Always takes over"
            } else {
                "gives the same identity, and adoption: Never leaves it so"
            };
            side.as_declared = true;
            side.hold(Block::lasting(
                Reason::NotOwned,
                format!("{place} is not ours and {why}; deleting this mapping will leave it"),
            ));
        }
        (Adoption::Always, false) if node && !matches!(change, Change::Calls(_)) => {
            side.hold(Block::lasting(
                Reason::ForeignEntry,
                format!(
                    "{place} is of type {} and not ours; an entry of nodes is taken over only with the same type; write that type, or \
                     delete the entry by hand",
                    entry.kind
                ),
            ));
        }
        (Adoption::Always, false) => take(change, side),
        (Adoption::IfIdentical | Adoption::Never, false) => {
            let whose = entry
                .tags
                .get(INSTALLATION_TAG)
                .filter(|installation| **installation != eks.installation)
                .map_or_else(String::new, |installation| {
                    format!(" but of the installation that keeps {installation}")
                });
            side.hold(Block::lasting(
                Reason::ForeignEntry,
                format!(
                    "{place} stands for {} and is not ours{whose}: it has {}; delete it there, declare the same here, or write adoption: Always \
                     to take it over",
                    standing.principal_arn,
                    list(differences)
                ),
            ));
        }
    }
}

fn take(change: &Change, side: &mut EntrySide) {
    match change {
        Change::Same => side.step = EntryStep::Keep,
        Change::Calls(calls) => {
            side.calls.clone_from(calls);
            side.step = if only_tags(calls) {
                EntryStep::Keep
            } else {
                EntryStep::Change
            };
        }
        Change::Recreate(why) => side.hold(Block::lasting(
            Reason::ForeignEntry,
            format!("the entry is not ours, and {why}; delete it by hand"),
        )),
        Change::UnknownType(why) => {
            side.hold(Block::lasting(Reason::ForeignEntry, why.to_string()));
        }
    }
}

fn only_tags(calls: &[Call]) -> bool {
    calls
        .iter()
        .all(|call| matches!(call, Call::Tag { .. } | Call::Untag { .. }))
}

/// An entry that is ours.
#[allow(
    clippy::too_many_arguments,
    reason = "one decision, and all of it is what the decision depends on"
)]
fn keep(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    mapping: &Mapping,
    spec: &Spec,
    target: &Target,
    seen: &Seen<'_>,
    placement: &Placement,
    side: &mut EntrySide,
) {
    let Seen {
        standing,
        entry,
        change,
        ..
    } = seen;
    match &standing.life {
        Life::Recreated { before, now } => {
            return recreated(
                context,
                eks,
                claim,
                mapping,
                target,
                before.as_deref(),
                now,
                side,
            );
        }
        Life::Missing { elsewhere } => {
            let mend = match elsewhere {
                Some(arn) => format!("IAM has {arn}: write that in spec.principal.arn"),
                None => "make it again, or delete this mapping".to_owned(),
            };
            side.hold(Block::lasting(
                Reason::PrincipalMissing,
                format!(
                    "IAM has no {}{}; {mend}",
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
            side.calls = extras(context, eks, claim, target);
            if placement.verify {
                side.calls.push(describe(standing));
            }
            if keeps_bridge(eks, context, entry, target) {
                let since = entry.policies.get(&admin_policy(eks));
                side.wake =
                    since.map(|association| association.modified + eks.settings.propagation);
                side.hold(Block::passing(
                    Reason::HandingOver,
                    "AmazonEKSClusterAdminPolicy is associated and comes into force; the bridge stays until then",
                ));
            }
        }
        Change::Calls(calls) => {
            side.calls.clone_from(calls);
            side.step = if only_tags(calls) {
                EntryStep::Keep
            } else {
                EntryStep::Change
            };
        }
        Change::Recreate(why) => {
            let why = why.to_string();
            recreate(context, eks, claim, mapping, spec, target, &why, side);
        }
        Change::UnknownType(why) => {
            side.hold(Block::lasting(Reason::ForeignEntry, why.to_string()));
        }
    }
}

/// Entries of ours under an older path of the same name: nobody can be let in by them.
fn extras(context: &Context<'_>, eks: &Eks<'_>, claim: &Claim, target: &Target) -> Vec<Call> {
    let others = eks
        .standing
        .of(&claim.hash)
        .iter()
        .filter(|standing| standing.principal_arn != target.principal_arn);
    others
        .filter(|standing| {
            is_ours(eks, context, claim, standing)
                && standing
                    .known()
                    .is_some_and(|entry| !is_node_kind(&entry.kind))
        })
        .map(|standing| Call::Delete {
            principal_arn: standing.principal_arn.to_owned(),
        })
        .collect()
}

/// Whether aws-auth lets the principal in all the same, for a sentence.
fn covered(context: &Context<'_>, claim: &Claim) -> &'static str {
    if claim.admitted(context) {
        ", so its access entry lets nobody in (aws-auth still does)"
    } else {
        ", so its access entry lets nobody in"
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "one decision, and all of it is what the decision depends on"
)]
fn recreated(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    mapping: &Mapping,
    target: &Target,
    before: Option<&str>,
    now: &str,
    side: &mut EntrySide,
) {
    let reserved = mapping
        .principal
        .as_ref()
        .is_some_and(|principal| principal.sso().is_some() && principal.path != "/");
    let confirmed = mapping.confirms(Confirmation::RecreatedPrincipal);
    let what = format!(
        "{} was deleted and made again: the access entry is for {}, and the id is {now} now{}",
        target.principal_arn,
        before.map_or_else(
            || "an older one".to_owned(),
            |before| format!("id {before}")
        ),
        covered(context, claim)
    );
    let administrator = guard::is_entry_administrator(
        &target.groups,
        target
            .username
            .as_deref()
            .unwrap_or(&target.default_username),
        target.policies.get(&admin_policy(eks)) == Some(&Scope::Cluster),
        eks.bindings,
    );
    let renews = reserved
        || confirmed
        || (eks.settings.recreated == super::RecreatedPrincipals::Renew && !administrator);
    if !renews {
        side.hold(guard::held(
            Confirmation::RecreatedPrincipal,
            Reason::PrincipalRecreated,
            &format!("{what}; where it is meant to get the same access, the entry is made anew once you say so"),
        ));
        return;
    }
    make_anew(context, eks, claim, mapping, target, side);
}

/// Deletes the entry and makes it again.
fn make_anew(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    mapping: &Mapping,
    target: &Target,
    side: &mut EntrySide,
) {
    let bridge = target.masters && claim.admitted(context);
    if bridge && !eks.bindings.admin_groups.contains(BRIDGE_GROUP) {
        side.hold(Block::lasting(
            Reason::HandoverBlocked,
            format!(
                "the access entry must be deleted and made again, and is made without policies; that needs a ClusterRoleBinding of group \
                 {BRIDGE_GROUP} to cluster-admin as a bridge"
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
    }));
}

/// What AWS does not change in place. Where aws-auth is read, the identity goes there first.
#[allow(
    clippy::too_many_arguments,
    reason = "one decision, and all of it is what the decision depends on"
)]
fn recreate(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    mapping: &Mapping,
    spec: &Spec,
    target: &Target,
    why: &str,
    side: &mut EntrySide,
) {
    make_anew(context, eks, claim, mapping, target, side);
    if context.mode != Some(super::Mode::ApiAndConfigMap) {
        return;
    }
    let Some(form) = &spec.form else {
        return;
    };
    let stands = claim
        .found
        .as_ref()
        .is_some_and(|found| claim.ours && found.meaning == form.meaning);
    let since = mapping
        .status
        .last_synced
        .as_ref()
        .map_or(context.now, |time| time.0);
    let due = since + eks.settings.propagation;
    if !stands || due > context.now {
        side.wake = Some(due);
        side.hold(Block::passing(
            Reason::HandingOver,
            format!("{why}, so the access entry is deleted and made again; aws-auth takes the principal in first"),
        ));
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
    let associates = side
        .calls
        .iter()
        .any(|call| matches!(call, Call::Associate { .. } | Call::Create { .. }));
    if !unknown.is_empty() && associates {
        side.hold(Block::lasting(
            Reason::AccessPolicyUnknown,
            format!(
                "EKS offers no access policy {} here; `aws eks list-access-policies` names those that it offers; mend spec.accessPolicies",
                unknown.join(", ")
            ),
        ));
    }
}

/// Decides the entry's side of a key that no mapping holds any more, or whose holder is suspended or refused.
pub(super) fn let_go(context: &Context<'_>, eks: &Eks<'_>, claim: &mut Claim) {
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
        .any(|entry| is_node_kind(&entry.kind));
    side.entry_arn = ours
        .iter()
        .find_map(|standing| standing.known())
        .map(|entry| entry.arn.clone());
    match leaves(context, claim) {
        Leaves::Stay => {}
        Leaves::Go | Leaves::Free if wrote && eks.view.entries.listed.is_none() => {
            side.step = EntryStep::Describe;
            side.hold(Block::passing(
                Reason::EntryPending,
                "the access entries of the cluster are being listed",
            ));
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
        Leaves::Go | Leaves::Free => {}
    }
    settle(context, eks, claim, &mut side);
    claim.entry = side;
}

/// Takes our tags off; `None` where it has none.
pub(super) fn untag(entry: &Entry) -> Option<Call> {
    let ours = [INSTALLATION_TAG, MAPPING_TAG, PRINCIPAL_ID_TAG];
    let keys: BTreeSet<String> = ours
        .into_iter()
        .filter(|key| entry.tags.contains_key(*key))
        .map(str::to_owned)
        .collect();
    (!keys.is_empty()).then(|| Call::Untag {
        principal_arn: entry.principal_arn.clone(),
        entry_arn: entry.arn.clone(),
        keys,
    })
}

/// What becomes of what nobody holds.
enum Leaves {
    Stay,
    Go,
    Free,
}

fn leaves(context: &Context<'_>, claim: &Claim) -> Leaves {
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
        .any(|position| super::decide::keeps(context, claim, *position))
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

/// Whether calls can be made now, and what their last failure says.
fn settle(context: &Context<'_>, eks: &Eks<'_>, claim: &Claim, side: &mut EntrySide) {
    if side.calls.is_empty() {
        return;
    }
    let view = eks.view;
    if let Some(unreachable) = &view.unreachable {
        let tags = only_tags(&side.calls);
        side.calls.clear();
        if !tags {
            side.hold(Block::passing(
                Reason::EksUnavailable,
                format!(
                    "EKS can't be asked, last at {}, so no access entry is changed: {}",
                    unreachable.read, unreachable.failure
                ),
            ));
        }
        return;
    }
    let Some(key) = &claim.key else {
        return;
    };
    if view.busy.contains(key) {
        // Asking again while the answer is on its way would ask twice.
        side.failed = view.attempts.contains_key(key);
        if side.block.is_none() && !only_tags(&side.calls) {
            side.hold(
                failing(view, claim, side)
                    .map_or_else(pending, |attempt| failed(context, eks, attempt)),
            );
        }
        side.calls.clear();
        return;
    }
    if let Some(attempt) = failing(view, claim, side) {
        side.failed = true;
        let block = failed(context, eks, attempt);
        if attempt.retry > context.now {
            side.wake = Some(
                side.wake
                    .map_or(attempt.retry, |wake| wake.min(attempt.retry)),
            );
            if only_tags(&side.calls) {
                side.calls.clear();
            }
            side.hold(block);
        }
    }
}

fn pending() -> Block {
    Block::passing(Reason::EntryPending, "EKS is being asked for it")
}

/// The last failure, where it was one of the calls that would be made now: after a change of the spec it says nothing.
fn failing<'a>(view: &'a AwsView, claim: &Claim, side: &EntrySide) -> Option<&'a Attempt> {
    let attempt = view.attempts.get(claim.key.as_ref()?)?;
    side.calls.contains(&attempt.call).then_some(attempt)
}

/// A failed call as a condition.
pub(super) fn failed(context: &Context<'_>, eks: &Eks<'_>, attempt: &Attempt) -> Block {
    let words = &attempt.failure.message;
    let young = attempt.since + CONSISTENT_WITHIN > context.now;
    let lasting_after = |reason: Reason, message: String| {
        if young {
            Block::passing(reason, message)
        } else {
            Block::lasting(reason, message)
        }
    };
    let operation = attempt.call.operation();
    match &attempt.failure.kind {
        FailureKind::InvalidPrincipal => {
            lasting_after(Reason::PrincipalInvalid, invalid_principal(eks, attempt))
        }
        FailureKind::ModeWithoutEntries => lasting_after(
            Reason::BackendUnavailable,
            format!(
                "EKS says that the cluster's authentication mode has no access entries: {words}"
            ),
        ),
        FailureKind::EntryMissing | FailureKind::InUse => {
            lasting_after(Reason::EntryPending, format!("{operation}: {words}"))
        }
        FailureKind::PolicyMissing => Block::lasting(
            Reason::AccessPolicyUnknown,
            format!("{words}; mend spec.accessPolicies"),
        ),
        FailureKind::QuotaExceeded => Block::lasting(
            Reason::EntryQuotaExceeded,
            format!(
                "the cluster holds as many access entries as EKS allows, so there is no room for this one; delete entries that nobody needs: {words}"
            ),
        ),
        FailureKind::Denied { action, statement } => Block::lasting(
            Reason::AccessDenied,
            format!(
                "the operator may not call {action}: {words}; add to its IAM policy: {statement}"
            ),
        ),
        FailureKind::Refused => Block::lasting(
            Reason::EksRefused,
            format!("EKS refuses {operation}: {words}"),
        ),
        FailureKind::Unauthenticated => Block::lasting(
            Reason::EksUnavailable,
            format!("the operator has no valid AWS credentials: {words}"),
        ),
        FailureKind::ClusterMissing | FailureKind::Throttled | FailureKind::Unavailable => {
            Block::passing(
                Reason::EksUnavailable,
                format!("{operation} did not get through and is retried: {words}"),
            )
        }
        FailureKind::Unknown => Block::lasting(
            Reason::EksRefused,
            format!(
                "{operation} met an error that this version does not know; it is retried: {words}"
            ),
        ),
    }
}

/// Why EKS does not know a principal, as far as IAM tells.
fn invalid_principal(eks: &Eks<'_>, attempt: &Attempt) -> String {
    let arn = attempt.call.principal_arn();
    let words = &attempt.failure.message;
    let Ok(principal) = crate::principal::Principal::parse(arn) else {
        return format!("EKS does not take {arn}: {words}");
    };
    let account = eks.view.iam.accounts.get(&principal.account);
    let why = match in_iam(&principal, &eks.view.iam) {
        Some(found) if found.arn == arn => {
            "IAM has it; EKS may take half a minute to know a new one".to_owned()
        }
        Some(found) => format!("IAM has {} instead: write that in spec.principal.arn", found.arn),
        None => match account.and_then(|account| account.problem.as_ref()) {
            Some(problem) => format!(
                "either it does not exist, or it has a path, such as a role of IAM Identity Center, which an access entry needs; account {} \
                 can't be read: {}",
                principal.account,
                resolve::words(problem)
            ),
            None => "IAM does not list it: make it, or mend spec.principal.arn (its path belongs to it, and case counts)".to_owned(),
        },
    };
    format!("EKS does not know {arn}: {words}; {why}")
}

/// Whether aws-auth lets the claim's principal in now.
pub(super) fn admitted(context: &Context<'_>, claim: &Claim) -> bool {
    let Some(found) = &claim.found else {
        return false;
    };
    match context.index.lookup(&found.meaning.arn) {
        Lookup::Role(entry) | Lookup::User(entry) => guard::can_match(entry),
        Lookup::AmbiguousUser(_) => true,
        Lookup::Account | Lookup::None => false,
    }
}
