//! The effective entry: what an entry of either backend makes of its principal.

use std::collections::{BTreeMap, BTreeSet};

use super::power::{Administrator, administrator, is_nodes};
use crate::access_entry::{Entry as AccessEntry, Kind, Scope};
use crate::api::v1alpha1::EntryType;
use crate::aws_auth::{Entry, Meaning};
use crate::observed::Bindings;

/// What a login becomes by an entry, whichever backend it is in. Two entries with one effective entry give the same access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveEntry {
    /// The username, placeholders included; empty where an entry of aws-auth has none, which logs in without a name.
    pub username: String,
    /// The groups, placeholders included.
    pub groups: BTreeSet<String>,
    /// The access policies with their scopes, by the policy's ARN; none in aws-auth.
    pub policies: BTreeMap<String, Scope>,
    /// The type of an access entry; Standard in aws-auth, which knows no types.
    pub kind: Kind,
}

impl EffectiveEntry {
    /// What an entry of aws-auth gives.
    #[must_use]
    pub fn of_aws_auth(entry: &Entry) -> Self {
        Self::of_meaning(&entry.meaning())
    }

    /// The same of an entry that is not in a text yet.
    #[must_use]
    pub fn of_meaning(meaning: &Meaning) -> Self {
        Self {
            username: meaning.username.clone(),
            groups: meaning.groups.clone(),
            policies: BTreeMap::new(),
            kind: Kind::Known(EntryType::Standard),
        }
    }

    /// What an access entry gives.
    #[must_use]
    pub fn of_access_entry(entry: &AccessEntry) -> Self {
        let policies = entry.policies.iter();
        Self {
            username: entry.username.clone(),
            groups: entry.groups.clone(),
            policies: policies
                .map(|(policy, association)| (policy.clone(), association.scope.clone()))
                .collect(),
            kind: entry.kind.clone(),
        }
    }

    /// What makes it an administrator's. `admin_policy` is the ARN of `AmazonEKSClusterAdminPolicy` in the cluster's partition.
    #[must_use]
    pub fn administrator(&self, bindings: &Bindings, admin_policy: &str) -> Option<Administrator> {
        administrator(
            self.groups.iter().map(String::as_str),
            &self.username,
            self.policies.get(admin_policy) == Some(&Scope::Cluster),
            bindings,
        )
    }

    /// Whether it is a node's. An administrator with a node's username is a person.
    #[must_use]
    pub fn is_node(&self, bindings: &Bindings, admin_policy: &str) -> bool {
        let node =
            self.kind.is_node() || is_nodes(&self.username, self.groups.iter().map(String::as_str));
        node && self.administrator(bindings, admin_policy).is_none()
    }

    /// Whether it gives nothing that `other` does not give: the same username with a subset of groups and policies.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let narrower = |(policy, scope): (&String, &Scope)| {
            other
                .policies
                .get(policy)
                .is_some_and(|wider| scope.union(wider) == *wider)
        };
        self.username == other.username
            && self.kind == other.kind
            && self.groups.is_subset(&other.groups)
            && self.policies.iter().all(narrower)
    }
}
