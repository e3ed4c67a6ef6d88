//! The Kubernetes identity that an entry gives, and entries that give none.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::access_entry::{AccessEntry, EntryState, Scope, policy_name};
use crate::aws_auth::{Entry, Section};
use crate::effective::{AUTHENTICATED, EffectiveEntry, MASTERS, is_templated};
use crate::explain::caller::Caller;
use crate::explain::rbac::Bound;
use crate::explain::scene::{DeclaringMapping, Explainer};
use crate::principal::Key;

/// The username that `mapAccounts` gives.
const OWN_ARN: &str = "(its own ARN)";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum GrantBackend {
    /// An access entry of EKS.
    AccessEntry,
    ConfigMap,
}

impl GrantBackend {
    /// The word for it, as in `spec.backend`.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AccessEntry => "AccessEntry",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// The place of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum EntryPlace {
    AwsAuth {
        /// The key of the `ConfigMap`.
        key: &'static str,
        /// The line in its value, from 1; `None` for an account, of which only the number is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    },
    /// An access entry, by its own ARN.
    AccessEntry(String),
}

impl EntryPlace {
    pub(super) fn of(entry: &Entry) -> Self {
        Self::AwsAuth {
            key: entry.section.key(),
            line: Some(entry.line),
        }
    }

    #[must_use]
    pub(crate) const fn backend(&self) -> GrantBackend {
        match self {
            Self::AwsAuth { .. } => GrantBackend::ConfigMap,
            Self::AccessEntry(_) => GrantBackend::AccessEntry,
        }
    }
}

impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwsAuth {
                key,
                line: Some(line),
            } => write!(f, "{key} line {line}"),
            Self::AwsAuth { key, line: None } => f.write_str(key),
            Self::AccessEntry(arn) => write!(f, "access entry {arn}"),
        }
    }
}

/// An access policy that comes with an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    pub(crate) policy: String,
    /// The namespaces in which it holds, with `*` for any text; `None`: the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespaces: Option<BTreeSet<String>>,
}

impl Held {
    #[must_use]
    pub(crate) fn scope(&self) -> Scope {
        match &self.namespaces {
            None => Scope::Cluster,
            Some(namespaces) => Scope::Namespaces(namespaces.clone()),
        }
    }

    /// Whether it holds for something in this namespace; `None`: for something of the cluster itself, or of all namespaces.
    #[must_use]
    pub(crate) fn holds_in(&self, namespace: Option<&str>) -> bool {
        match (&self.namespaces, namespace) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(patterns), Some(namespace)) => {
                patterns.iter().any(|pattern| matches(pattern, namespace))
            }
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope() {
            Scope::Cluster => write!(f, "{} in all namespaces", self.policy),
            scope @ Scope::Namespaces(_) => write!(f, "{} in {scope}", self.policy),
        }
    }
}

/// Whether a text is of a pattern in which `*` means any text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// What an entry makes of those to whom it grants access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// The principal as the entry names it: an ARN, or an account's number.
    pub(crate) principal: String,
    #[serde(rename = "source")]
    pub(crate) place: EntryPlace,
    pub(crate) username: String,
    /// The Kubernetes groups as the entry gives them. Everyone is in system:authenticated too.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) access_policies: BTreeSet<Held>,
    /// What RBAC binds to the username and the groups; `None`: it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bindings: Option<Vec<Bound>>,
    /// Groups that no binding names, so that they give no rights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unbound_groups: Vec<String>,
    /// What makes it an administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) administrator: Option<String>,
    /// What makes it an administrator at some logins: what a placeholder can become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) possible_administrator: Option<String>,
    /// Whether it is a node's. An administrator with a node's username is a person.
    pub(crate) node: bool,
    /// The mapping that declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) declared: Option<DeclaringMapping>,
}

impl Identity {
    /// The groups, with the one that everyone is in.
    #[must_use]
    pub(crate) fn all_groups(&self) -> Vec<String> {
        let groups = self.groups.iter().cloned();
        groups.chain([AUTHENTICATED.to_owned()]).collect()
    }

    /// Whether only the account of its principal grants access.
    #[must_use]
    pub(crate) fn is_of_account(&self) -> bool {
        self.place
            == EntryPlace::AwsAuth {
                key: Section::Accounts.key(),
                line: None,
            }
    }

    /// Whether it has no username.
    #[must_use]
    pub(crate) fn is_nameless(&self) -> bool {
        self.username.is_empty()
    }

    /// Whether username or a group still holds a placeholder.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        is_templated(&self.username) || self.groups.iter().any(|group| is_templated(group))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PassedOver {
    /// The principal as the entry names it.
    pub(crate) principal: String,
    #[serde(rename = "source")]
    pub(crate) place: EntryPlace,
    /// Why it does not count.
    pub(crate) why: String,
}

impl PassedOver {
    pub(super) fn of_access_entry(principal_arn: &str, state: &EntryState, why: String) -> Self {
        let entry = state.entry.as_ref();
        Self {
            principal: principal_arn.to_owned(),
            place: EntryPlace::AccessEntry(
                entry.map(|entry| entry.arn.clone()).unwrap_or_default(),
            ),
            why,
        }
    }
}

/// An entry that grants access.
#[derive(Clone, Copy, Debug)]
pub(super) enum GrantSource<'s> {
    AwsAuth(&'s Entry),
    AccessEntry(&'s AccessEntry),
    /// An account of `mapAccounts`, whose callers get their own ARNs as usernames.
    Account {
        account: &'s str,
    },
}

impl Explainer<'_> {
    /// The identity that an entry gives: to this caller, or, without one, as it is written.
    pub(super) fn identity(&self, source: GrantSource<'_>, caller: Option<&Caller>) -> Identity {
        let (principal, place, written) = match source {
            GrantSource::AwsAuth(entry) => (
                entry.arn.clone(),
                EntryPlace::of(entry),
                EffectiveEntry::of_aws_auth(entry),
            ),
            GrantSource::AccessEntry(entry) => (
                entry.principal_arn.clone(),
                EntryPlace::AccessEntry(entry.arn.clone()),
                EffectiveEntry::of_access_entry(entry),
            ),
            GrantSource::Account { account } => (
                account.to_owned(),
                EntryPlace::AwsAuth {
                    key: Section::Accounts.key(),
                    line: None,
                },
                EffectiveEntry::of_account(
                    caller.map_or(OWN_ARN, |caller| caller.canonical.as_str()),
                ),
            ),
        };
        let effective = caller.map_or_else(|| written.clone(), |caller| caller.filled(&written));
        let administrator = self.effective.administrator(&effective);
        let possible = match (source, caller) {
            (GrantSource::Account { account }, None) => {
                self.effective.administrator_of_account(account)
            }
            _ => self.effective.possible_administrator(&effective),
        };
        let names = || effective.groups.iter().map(String::as_str);
        let unbound = |rbac: &crate::explain::rbac::Rbac<'_>| {
            let unbound = names().filter(|group| {
                *group != MASTERS && !is_templated(group) && !rbac.names_group(group)
            });
            unbound.map(str::to_owned).collect()
        };
        Identity {
            node: self.effective.is_node(&effective),
            bindings: self.rbac.as_ref().map(|rbac| match caller {
                // What everyone has is reported once, where all are listed.
                None => rbac.of(&effective.username, names()),
                Some(_) => rbac.of(&effective.username, names().chain([AUTHENTICATED])),
            }),
            unbound_groups: self.rbac.as_ref().map(unbound).unwrap_or_default(),
            possible_administrator: possible
                .filter(|_| administrator.is_none())
                .map(|what| what.to_string()),
            administrator: administrator.map(|what| what.to_string()),
            declared: self.declared(&principal),
            principal,
            place,
            access_policies: match source {
                GrantSource::AccessEntry(entry) => held(entry),
                GrantSource::AwsAuth(_) | GrantSource::Account { .. } => BTreeSet::new(),
            },
            username: effective.username,
            groups: effective.groups,
        }
    }

    /// The mapping that holds the principal of an entry.
    pub(super) fn declared(&self, principal: &str) -> Option<DeclaringMapping> {
        if self.scene.declared.is_empty() {
            return None;
        }
        let key = Key::parse_arn(principal)?;
        self.scene.declared.get(&key).cloned()
    }
}

pub(super) fn held(entry: &AccessEntry) -> BTreeSet<Held> {
    let policies = entry.policies.iter();
    policies
        .map(|(arn, association)| Held {
            policy: policy_name(arn).to_owned(),
            namespaces: match &association.scope {
                Scope::Cluster => None,
                Scope::Namespaces(namespaces) => Some(namespaces.clone()),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_namespaces() {
        for (pattern, text, expected) in [
            ("dev", "dev", true),
            ("dev", "dev-a", false),
            ("dev-*", "dev-a", true),
            ("dev-*", "dev-", true),
            ("dev-*", "test", false),
            ("*", "anything", true),
            ("*-prod", "a-prod", true),
            ("*-prod", "a-prod-b", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_policy_holds_where_its_scope_says() {
        let everywhere = Held {
            policy: "P".to_owned(),
            namespaces: None,
        };
        let some = Held {
            namespaces: Some(BTreeSet::from(["dev-*".to_owned()])),
            ..everywhere.clone()
        };
        assert!(everywhere.holds_in(None) && everywhere.holds_in(Some("a")));
        assert!(some.holds_in(Some("dev-a")) && !some.holds_in(Some("a")) && !some.holds_in(None));
    }
}
