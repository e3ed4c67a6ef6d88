//! Whether an identity is an administrator or a node.

use std::fmt;

use super::template::{becomes, can_become, is_templated};
use crate::access_entry::{ADMIN_POLICY, AccessEntry, Scope, Target};
use crate::aws_auth::Meaning;
use crate::observed::{AwsView, Bindings};

/// The group that Kubernetes lets do everything, bound or not
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles>).
pub const MASTERS: &str = "system:masters";
/// The group of every login (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles>).
pub const AUTHENTICATED: &str = "system:authenticated";
const NODE_USERNAME: &str = "system:node:";
const NODE_GROUPS: [&str; 2] = ["system:bootstrappers", "system:nodes"];

/// Whether an entry of aws-auth that says this is a node's.
pub(crate) fn is_node(meaning: &Meaning, bindings: &Bindings) -> bool {
    let groups = || meaning.groups.iter().map(String::as_str);
    // In aws-auth no policy makes an administrator.
    is_nodes(&meaning.username, groups())
        && !is_person(groups(), &meaning.username, false, bindings)
}

/// Whether this username or one of these groups is a node's. Its owner may be an administrator all the same: see
/// [`EffectiveEntry::is_node`](super::EffectiveEntry::is_node).
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
                write!(f, "group {MASTERS}, which has all permissions")
            }
            Self::Group(group) => write!(f, "group {group}, which is bound to cluster-admin"),
            Self::Username(username) => {
                write!(f, "username {username}, which is bound to cluster-admin")
            }
        }
    }
}

/// What makes an identity of this username and these groups an administrator's at every login; `None` where nothing does.
/// `cluster_admin`: whether AmazonEKSClusterAdminPolicy comes with it, in the whole cluster.
pub(super) fn administrator<'a>(
    groups: impl Iterator<Item = &'a str>,
    username: &str,
    cluster_admin: bool,
    bindings: &Bindings,
) -> Option<Administrator> {
    let own = administrator_by_own(groups, username, cluster_admin, bindings);
    own.or_else(|| {
        let everyone = bindings.admin_groups.contains(AUTHENTICATED);
        everyone.then(|| Administrator::Group(AUTHENTICATED.to_owned()))
    })
}

/// The same without what every login has.
fn administrator_by_own<'a>(
    groups: impl Iterator<Item = &'a str>,
    username: &str,
    cluster_admin: bool,
    bindings: &Bindings,
) -> Option<Administrator> {
    if cluster_admin {
        return Some(Administrator::Policy);
    }
    // What a login fills in never stays as it is written, so that a binding of the text itself binds nobody.
    let mut literal = groups.filter(|group| !is_templated(group));
    literal
        .find(|group| *group == MASTERS || bindings.admin_groups.contains(*group))
        .map(|group| Administrator::Group(group.to_owned()))
        .or_else(|| {
            let bound = bindings.admin_users.contains(username) && !is_templated(username);
            bound.then(|| Administrator::Username(username.to_owned()))
        })
}

/// Whether an identity with a node's username or groups is a person's: an administrator by something else than what every node has.
pub(super) fn is_person<'a>(
    groups: impl Iterator<Item = &'a str>,
    username: &str,
    cluster_admin: bool,
    bindings: &Bindings,
) -> bool {
    let own = groups.filter(|group| !NODE_GROUPS.contains(group));
    administrator_by_own(own, username, cluster_admin, bindings).is_some()
}

/// What some login can make an administrator of, by a username or group with placeholders: the group or username that it becomes.
pub(super) fn administrator_by_template<'a>(
    groups: impl Iterator<Item = &'a str>,
    username: &str,
    bindings: &Bindings,
) -> Option<Administrator> {
    let mut templated = groups.filter(|group| is_templated(group));
    let group = templated.find_map(|group| {
        let masters = can_become(group, MASTERS).then_some(MASTERS);
        masters.or_else(|| becomes(group, &bindings.admin_groups))
    });
    let username = || {
        let templated = is_templated(username);
        templated.then(|| becomes(username, &bindings.admin_users))?
    };
    group
        .map(|group| Administrator::Group(group.to_owned()))
        .or_else(|| username().map(|username| Administrator::Username(username.to_owned())))
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
