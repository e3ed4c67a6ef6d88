//! The differences between an access entry and the entry of aws-auth that it replaces.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::access_entry::{ADMIN_POLICY, AccessEntry, Kind, Target, policy_name};
use crate::api::v1alpha1::EntryType;
use crate::effective::MASTERS;

const BOOTSTRAPPERS: &str = "system:bootstrappers";

/// What a principal is or becomes as an access entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Becomes {
    /// The full ARN under which the entry exists.
    pub(crate) principal_arn: String,
    /// The type, as EKS spells it.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) username: String,
    /// Whether EKS gives the username, for none is sent.
    pub(crate) username_generated: bool,
    pub(crate) groups: BTreeSet<String>,
    /// The access policies: name and scope.
    pub(crate) policies: Vec<(String, String)>,
}

impl Becomes {
    /// What a mapping asks for.
    pub(super) fn of_target(target: &Target) -> Self {
        let node = crate::access_entry::node_defaults(target.type_);
        let groups = match node {
            Some(node) => node
                .groups
                .iter()
                .map(|group| (*group).to_owned())
                .collect(),
            None => target.groups.clone(),
        };
        let policies = target.policies.iter();
        Self {
            principal_arn: target.principal_arn.clone(),
            kind: Kind::Known(target.type_).to_string(),
            username_generated: target.username.is_none(),
            username: target
                .username
                .clone()
                .unwrap_or_else(|| target.default_username.clone()),
            groups,
            policies: policies
                .map(|(policy, scope)| (policy_name(policy).to_owned(), scope.to_string()))
                .collect(),
        }
    }

    pub(super) fn of_entry(entry: &AccessEntry) -> Self {
        let policies = entry.policies.iter();
        Self {
            principal_arn: entry.principal_arn.clone(),
            kind: entry.kind.to_string(),
            username: entry.username.clone(),
            username_generated: entry.kind != Kind::Known(EntryType::Standard),
            groups: entry.groups.clone(),
            policies: policies
                .map(|(policy, association)| {
                    (
                        policy_name(policy).to_owned(),
                        association.scope.to_string(),
                    )
                })
                .collect(),
        }
    }

    /// Whether it is an entry of nodes.
    #[must_use]
    pub(crate) fn is_node(&self) -> bool {
        self.kind != Kind::Known(EntryType::Standard).as_str()
    }
}

/// One thing in which the two differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryDifference {
    /// The power of system:masters comes from an access policy.
    MastersByPolicy,
    /// Nodes lose system:bootstrappers, which they don't need on EKS.
    BootstrappersDropped,
    /// EKS gives the username, and it comes out the same.
    UsernameGenerated(String),
    /// The username is another one.
    Username { now: String, then: String },
    /// A group that only aws-auth gives.
    GroupLost(String),
    /// A group that only the access entry gives.
    GroupGained(String),
    /// An access policy that the access entry gives, and that aws-auth could not.
    PolicyGained { policy: String, scope: String },
}

impl EntryDifference {
    /// A few words, for a table.
    #[must_use]
    pub(crate) fn short(&self) -> String {
        match self {
            Self::MastersByPolicy => format!("{MASTERS} as {ADMIN_POLICY}"),
            Self::BootstrappersDropped => format!("without {BOOTSTRAPPERS}"),
            Self::UsernameGenerated(_) => "username left to EKS".to_owned(),
            Self::Username { then, .. } => format!("username {then}"),
            Self::GroupLost(group) => format!("without group {group}"),
            Self::GroupGained(group) => format!("with group {group}"),
            Self::PolicyGained { policy, scope } => format!("with {policy} ({scope})"),
        }
    }

    /// Whether the two are not the same entry: what exists for system:masters is the policy, and nodes only start with their
    /// bootstrapping group.
    #[must_use]
    pub(crate) const fn is_of_meaning(&self) -> bool {
        match self {
            Self::MastersByPolicy | Self::UsernameGenerated(_) | Self::BootstrappersDropped => {
                false
            }
            Self::Username { .. }
            | Self::GroupLost(_)
            | Self::GroupGained(_)
            | Self::PolicyGained { .. } => true,
        }
    }
}

impl Serialize for EntryDifference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for EntryDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MastersByPolicy => write!(
                f,
                "{MASTERS} becomes {ADMIN_POLICY} for the whole cluster. The group bypasses authorization; the policy is \
                    evaluated by EKS's authorizer: it can be removed at any time, and does not apply while the caller \
                    impersonates someone else (kubectl --as)"
            ),
            Self::BootstrappersDropped => write!(
                f,
                "group {BOOTSTRAPPERS} is dropped: nodes on EKS sign in as nodes from the start, and EKS omits it from its own \
                    access entries too"
            ),
            Self::UsernameGenerated(username) => {
                write!(
                    f,
                    "the username is EKS's default, which is the same: {username:?}"
                )
            }
            Self::Username { now, then } => {
                write!(f, "the username is {then:?} instead of {now:?}")
            }
            Self::GroupLost(group) => write!(f, "without group {group:?}"),
            Self::GroupGained(group) => write!(f, "with additional group {group:?}"),
            Self::PolicyGained { policy, scope } => {
                write!(f, "with {policy} ({scope}), which aws-auth can't give")
            }
        }
    }
}

/// In what an access entry differs from what aws-auth gives, the weightiest first.
pub(super) fn differences(now: &TextIdentity, then: &Becomes) -> Vec<EntryDifference> {
    let mut found = BTreeSet::new();
    let given: BTreeSet<&str> = then.groups.iter().map(String::as_str).collect();
    let had: BTreeSet<&str> = now.groups.iter().map(String::as_str).collect();
    let administrator = (ADMIN_POLICY, "cluster");
    let by_policy = then
        .policies
        .iter()
        .any(|(policy, scope)| (policy.as_str(), scope.as_str()) == administrator);
    for group in had.difference(&given) {
        found.insert(match *group {
            MASTERS if by_policy => EntryDifference::MastersByPolicy,
            BOOTSTRAPPERS if then.is_node() => EntryDifference::BootstrappersDropped,
            group => EntryDifference::GroupLost(group.to_owned()),
        });
    }
    for group in given.difference(&had) {
        found.insert(EntryDifference::GroupGained((*group).to_owned()));
    }
    for (policy, scope) in &then.policies {
        let of_masters =
            (policy.as_str(), scope.as_str()) == administrator && had.contains(MASTERS);
        if !of_masters {
            found.insert(EntryDifference::PolicyGained {
                policy: policy.clone(),
                scope: scope.clone(),
            });
        }
    }
    if now.username != then.username {
        found.insert(EntryDifference::Username {
            now: now.username.clone(),
            then: then.username.clone(),
        });
    } else if then.username_generated {
        found.insert(EntryDifference::UsernameGenerated(then.username.clone()));
    }
    found.into_iter().collect()
}

/// What an entry of aws-auth gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TextIdentity {
    /// The username, templates as written.
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
}
