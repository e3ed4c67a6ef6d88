//! The effective entry: the identity that an entry of either backend gives its principal.

use std::collections::{BTreeMap, BTreeSet};

use super::power::{Administrator, administrator, administrator_by_template, is_nodes, is_person};
use crate::access_entry::{AccessEntry, Kind, Scope};
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

    /// What the accounts of `mapAccounts` give a caller: its own ARN as username, and no groups.
    #[must_use]
    pub fn of_account(canonical_arn: &str) -> Self {
        Self {
            username: canonical_arn.to_owned(),
            groups: BTreeSet::new(),
            policies: BTreeMap::new(),
            kind: Kind::Known(EntryType::Standard),
        }
    }

    /// What certainly makes it an administrator's, at every login. `admin_policy` is the ARN of `AmazonEKSClusterAdminPolicy` in the
    /// cluster's partition.
    #[must_use]
    pub fn administrator(&self, bindings: &Bindings, admin_policy: &str) -> Option<Administrator> {
        administrator(
            self.groups(),
            &self.username,
            self.policies.get(admin_policy) == Some(&Scope::Cluster),
            bindings,
        )
    }

    /// What makes it an administrator's at every login, or at some: a username or group with placeholders can become one that is
    /// bound to cluster-admin. For the question who may be an administrator; code that relies on one asks [`Self::administrator`].
    #[must_use]
    pub fn possible_administrator(
        &self,
        bindings: &Bindings,
        admin_policy: &str,
    ) -> Option<Administrator> {
        self.administrator(bindings, admin_policy)
            .or_else(|| administrator_by_template(self.groups(), &self.username, bindings))
    }

    /// Whether it is a node's. An administrator with a node's username is a person; what makes every node an administrator makes
    /// none of them a person.
    #[must_use]
    pub fn is_node(&self, bindings: &Bindings, admin_policy: &str) -> bool {
        let node = self.kind.is_node() || is_nodes(&self.username, self.groups());
        let by_policy = self.policies.get(admin_policy) == Some(&Scope::Cluster);
        node && !is_person(self.groups(), &self.username, by_policy, bindings)
    }

    /// Whether a login by it has no name: aws-iam-authenticator lets it in, and so does the API server.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        self.username.is_empty()
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
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
