//! Whose an access entry is: by its tags, or by what a status remembers.

use std::collections::BTreeSet;

use crate::access_entry::{Entry, EntryState, INSTALLATION_TAG, Kind, Scope, Target};
use crate::api::v1alpha1::{EntryType, WrittenEntry, WrittenPolicy};
use crate::effective::Standing;
use crate::ownership::aws_managed::keeper;
use crate::plan::claim::{Claim, Context, Eks};

/// Whether an entry is ours: by its tag, or, where the tags were lost, because a status says that we wrote it just so.
pub(in crate::plan) fn is_ours(
    eks: &Eks<'_>,
    context: &Context<'_>,
    claim: &Claim,
    standing: &Standing<'_>,
) -> bool {
    if is_tagged(eks, standing.state) {
        return true;
    }
    let Some(entry) = standing.known() else {
        return false;
    };
    let none = BTreeSet::new();
    let wrote = |position: &usize| {
        let Some(written) = remembers(eks, context, claim, *position) else {
            return false;
        };
        // What AWS associated beside ours is no change of ours.
        let beside = || {
            let wrote = |policy: &&String| {
                let mut policies = written.access_policies.iter();
                policies.any(|written| written.policy == **policy)
            };
            entry
                .policies
                .keys()
                .filter(|it| !wrote(it))
                .cloned()
                .collect()
        };
        let of_aws = || keeper(entry, &eks.view.managed, context.now).is_aws();
        *written == written_form(eks, entry, &none)
            || (of_aws() && *written == written_form(eks, entry, &beside()))
    };
    claim.holder.iter().chain(&claim.others).any(wrote)
}

pub(in crate::plan) fn is_tagged(eks: &Eks<'_>, state: &EntryState) -> bool {
    let entry = state.entry.as_ref();
    entry.and_then(|entry| entry.tags.get(INSTALLATION_TAG)) == Some(&eks.installation)
}

/// What a mapping's status says that was written for the claim's key.
pub(super) fn remembers<'a>(
    eks: &Eks<'_>,
    context: &'a Context<'_>,
    claim: &Claim,
    position: usize,
) -> Option<&'a WrittenEntry> {
    let written = context.mappings[position].written_entries(&eks.view.cluster.arn);
    written.get(claim.key.as_ref()?).copied()
}

/// An entry as a status remembers it, without the policies that AWS associated.
pub(in crate::plan) fn written_form(
    eks: &Eks<'_>,
    entry: &Entry,
    of_aws: &BTreeSet<String>,
) -> WrittenEntry {
    let policies = entry
        .policies
        .iter()
        .filter(|(policy, _)| !of_aws.contains(*policy))
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

pub(super) fn written_policy(policy: &str, scope: &Scope) -> WrittenPolicy {
    WrittenPolicy {
        policy: policy.to_owned(),
        namespaces: match scope {
            Scope::Cluster => Vec::new(),
            Scope::Namespaces(namespaces) => namespaces.iter().cloned().collect(),
        },
    }
}

/// Whether the target is what a status remembers.
pub(super) fn is_written(target: &Target, written: &WrittenEntry) -> bool {
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
