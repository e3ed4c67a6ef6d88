//! Who is let in as what: what plans are made by, and what people are told.

use std::fmt;
use std::str::FromStr as _;

use super::access_entries::Standing;
use crate::access_entry::{ADMIN_POLICY, Entry as AccessEntry, Scope, Target};
use crate::aws_auth::{Entry, Lookup, Meaning};
use crate::observed::Bindings;
use crate::observed::{AwsView, Mode};
use crate::principal::{Arn, Resource};

/// The group that Kubernetes lets do everything, bound or not
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles>).
pub const MASTERS: &str = "system:masters";
const NODE_USERNAME: &str = "system:node:";
const NODE_GROUPS: [&str; 2] = ["system:bootstrappers", "system:nodes"];

/// What lets a principal in.
#[derive(Debug)]
pub enum Entrance<'s, 'a> {
    /// This access entry, whatever aws-auth says.
    AccessEntry(&'s Standing<'a>),
    /// What aws-auth says.
    AwsAuth(Lookup<'a>),
    /// Nothing: no access entry lets it in, and aws-auth is not read.
    Closed,
}

/// What lets a principal in: the first of its access entries that is not known to let nobody in, else aws-auth where that is read.
/// A mode that is not known counts as one that reads it.
pub fn entrance<'s, 'a>(
    mode: Option<Mode>,
    standing: &'s [Standing<'a>],
    aws_auth: impl FnOnce() -> Lookup<'a>,
) -> Entrance<'s, 'a> {
    if let Some(wins) = standing.iter().find(|standing| !standing.life.is_dead()) {
        return Entrance::AccessEntry(wins);
    }
    match mode {
        Some(Mode::Api) => Entrance::Closed,
        Some(Mode::ConfigMap | Mode::ApiAndConfigMap) | None => Entrance::AwsAuth(aws_auth()),
    }
}

/// Whether an identity is a node's.
pub(crate) fn is_node(meaning: &Meaning) -> bool {
    is_nodes(&meaning.username, meaning.groups.iter().map(String::as_str))
}

/// Whether an identity of this username and these groups is a node's.
#[must_use]
pub fn is_nodes<'a>(username: &str, mut groups: impl Iterator<Item = &'a str>) -> bool {
    username.starts_with(NODE_USERNAME) || groups.any(|group| NODE_GROUPS.contains(&group))
}

/// What makes an identity an administrator's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Administrator {
    /// AmazonEKSClusterAdminPolicy in the whole cluster.
    Policy,
    /// This group, which is system:masters or bound to cluster-admin.
    Group(String),
    /// This username, which is bound to cluster-admin.
    Username(String),
}

impl fmt::Display for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => write!(f, "{ADMIN_POLICY} in the whole cluster"),
            Self::Group(group) if group == MASTERS => {
                write!(f, "group {MASTERS}, which may do everything")
            }
            Self::Group(group) => write!(f, "group {group}, which is bound to cluster-admin"),
            Self::Username(username) => {
                write!(f, "username {username}, which is bound to cluster-admin")
            }
        }
    }
}

/// What makes an identity an administrator's; `None` where nothing does. `cluster_admin`: whether AmazonEKSClusterAdminPolicy
/// comes with it, in the whole cluster.
#[must_use]
pub fn administrator<'a>(
    mut groups: impl Iterator<Item = &'a str>,
    username: &str,
    cluster_admin: bool,
    bindings: &Bindings,
) -> Option<Administrator> {
    if cluster_admin {
        return Some(Administrator::Policy);
    }
    groups
        .find(|group| *group == MASTERS || bindings.admin_groups.contains(*group))
        .map(|group| Administrator::Group(group.to_owned()))
        .or_else(|| {
            let bound = bindings.admin_users.contains(username);
            bound.then(|| Administrator::Username(username.to_owned()))
        })
}

/// Why an entry of aws-auth lets nobody in, whoever calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmatchable {
    /// An entry for a permission set, which EKS does not look at.
    Sso,
    /// A role's ARN with its path, which callers come without.
    Path,
    /// The ARN of a session, which callers are turned into their roles from.
    Session,
    /// No ARN of an identity: with a space, a wildcard, or of something else.
    NotAnIdentity,
    /// It has no username, and without one the API server takes no login.
    NoUsername,
}

/// Why no caller can be let in by the entry. A session's ARN is turned into its role's before the lookup, and a role's
/// comes without its path (`pkg/arn/arn.go` of aws-iam-authenticator).
#[must_use]
pub fn unmatchable(entry: &Entry) -> Option<Unmatchable> {
    if entry.sso {
        return Some(Unmatchable::Sso);
    }
    // The comparison is without regard to case, so the ARN need not be spelt as IAM would.
    match Arn::from_str(&entry.matched_arn()).map(|arn| arn.resource) {
        Ok(Resource::Role { path, .. }) if path != "/" => Some(Unmatchable::Path),
        Ok(Resource::AssumedRole { .. }) => Some(Unmatchable::Session),
        Err(_) => Some(Unmatchable::NotAnIdentity),
        Ok(
            Resource::Role { .. }
            | Resource::User { .. }
            | Resource::FederatedUser { .. }
            | Resource::Root,
        ) => entry.username.is_empty().then_some(Unmatchable::NoUsername),
    }
}

/// Whether some caller can be let in by the entry.
pub(crate) fn can_match(entry: &Entry) -> bool {
    unmatchable(entry).is_none()
}

/// What makes the identity of an access entry an administrator's.
#[must_use]
pub fn entry_administrator(
    entry: &AccessEntry,
    view: &AwsView,
    bindings: &Bindings,
) -> Option<Administrator> {
    administrator(
        entry.groups.iter().map(String::as_str),
        &entry.username,
        has_admin_policy(entry, view),
        bindings,
    )
}

/// Whether AmazonEKSClusterAdminPolicy comes with an access entry, in the whole cluster.
#[must_use]
pub fn has_admin_policy(entry: &AccessEntry, view: &AwsView) -> bool {
    let policy = entry.policies.get(&view.admin_policy());
    policy.is_some_and(|association| association.scope == Scope::Cluster)
}

/// Whether what is to stand as an access entry is an administrator's.
pub(crate) fn is_target_administrator(
    target: &Target,
    view: &AwsView,
    bindings: &Bindings,
) -> bool {
    let username = target.username.as_deref();
    administrator(
        target.groups.iter().map(String::as_str),
        username.unwrap_or(&target.default_username),
        target.policies.get(&view.admin_policy()) == Some(&Scope::Cluster),
        bindings,
    )
    .is_some()
}
