//! Whether an access entry is managed: by its tag, or, if the tags were lost, by a status.

use std::collections::BTreeSet;

use crate::access_entry::{AccessEntry, EntryState, INSTALLATION_TAG, Kind, Scope, Target};
use crate::api::v1alpha1::{EntryType, WrittenEntry, WrittenPolicy};

/// What makes an access entry a managed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManagedBy {
    /// It carries this installation's tag.
    Tag,
    /// It has no such tag, and is exactly what the status of a mapping of this principal remembers.
    Status,
}

/// Whether an entry carries the tag of this installation, as it was last described.
pub(crate) fn is_tagged(state: &EntryState, installation: &str) -> bool {
    let entry = state.entry.as_ref();
    entry
        .and_then(|entry| entry.tags.get(INSTALLATION_TAG))
        .is_some_and(|tag| tag == installation)
}

/// What makes an entry a managed one; `None` where it is unmanaged, or is not known well enough. `written` are the records in the
/// statuses of mappings that name this very principal, `cluster` is the cluster's ARN, `of_aws` tells whether AWS manages the entry.
pub(crate) fn managed_by<'a>(
    state: &EntryState,
    installation: &str,
    cluster: &str,
    written: impl IntoIterator<Item = &'a WrittenEntry>,
    of_aws: impl Fn(&AccessEntry) -> bool,
) -> Option<ManagedBy> {
    if is_tagged(state, installation) {
        return Some(ManagedBy::Tag);
    }
    let entry = state.known()?;
    let mut written = written.into_iter();
    written
        .any(|written| is_recorded(cluster, entry, written, of_aws(entry)))
        .then_some(ManagedBy::Status)
}

/// Whether an entry is exactly what a status remembers. What AWS associated with an entry that it manages, beside what we wrote, is no
/// difference.
pub(crate) fn is_recorded(
    cluster: &str,
    entry: &AccessEntry,
    written: &WrittenEntry,
    of_aws: bool,
) -> bool {
    let remembered = |policy: &String| {
        let mut policies = written.access_policies.iter();
        policies.any(|written| written.policy == *policy)
    };
    let beside: BTreeSet<String> = entry
        .policies
        .keys()
        .filter(|policy| of_aws && !remembered(policy))
        .cloned()
        .collect();
    *written == record_of(cluster, entry, &beside)
}

/// An entry of a cluster as a status remembers it, without the policies that AWS associated.
pub(crate) fn record_of(
    cluster: &str,
    entry: &AccessEntry,
    policies_of_aws: &BTreeSet<String>,
) -> WrittenEntry {
    let policies = entry
        .policies
        .iter()
        .filter(|(policy, _)| !policies_of_aws.contains(*policy))
        .map(|(policy, association)| written_policy(policy, &association.scope));
    WrittenEntry {
        config_map: None,
        cluster: Some(cluster.to_owned()),
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

/// Whether a target is what a status remembers.
pub(crate) fn is_written(target: &Target, written: &WrittenEntry) -> bool {
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
