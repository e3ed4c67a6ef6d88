//! What RBAC binds to an identity, by name.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use crate::observed::{Binding, BoundRole};

/// A binding that an identity has, and by what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bound {
    /// The binding's namespace; `None` for a `ClusterRoleBinding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    /// The role that it binds.
    pub(crate) role: BoundRole,
    /// What of the identity it names, as in `group developers`.
    pub(crate) through: String,
}

impl Bound {
    fn new(binding: &Binding, through: String) -> Self {
        Self {
            namespace: binding.namespace.clone(),
            name: binding.name.clone(),
            role: binding.role.clone(),
            through,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BoundRole { kind, name } = &self.role;
        match &self.namespace {
            None => write!(f, "{kind} {name} in all namespaces")?,
            Some(namespace) => write!(f, "{kind} {name} in namespace {namespace}")?,
        }
        let binding = match &self.namespace {
            None => "ClusterRoleBinding",
            Some(_) => "RoleBinding",
        };
        write!(f, ", by {binding} {} ({})", self.name, self.through)
    }
}

/// All bindings, by what they name.
#[derive(Debug)]
pub(super) struct Rbac<'a> {
    groups: HashMap<&'a str, Vec<&'a Binding>>,
    users: HashMap<&'a str, Vec<&'a Binding>>,
}

impl<'a> Rbac<'a> {
    pub(super) fn new(bindings: &'a [Binding]) -> Self {
        let mut rbac = Self {
            groups: HashMap::new(),
            users: HashMap::new(),
        };
        for binding in bindings {
            for group in &binding.groups {
                rbac.groups.entry(group).or_default().push(binding);
            }
            for user in &binding.users {
                rbac.users.entry(user).or_default().push(binding);
            }
        }
        rbac
    }

    /// What a username and groups have.
    pub(super) fn of<'g>(
        &self,
        username: &str,
        groups: impl IntoIterator<Item = &'g str>,
    ) -> Vec<Bound> {
        let mut bound: Vec<Bound> = groups
            .into_iter()
            .flat_map(|group| self.of_group(group))
            .collect();
        for binding in self.users.get(username).into_iter().flatten() {
            bound.push(Bound::new(binding, format!("username {username}")));
        }
        bound.sort();
        bound
    }

    pub(super) fn of_group(&self, group: &str) -> Vec<Bound> {
        let bindings = self.groups.get(group).into_iter().flatten();
        bindings
            .map(|binding| Bound::new(binding, format!("group {group}")))
            .collect()
    }

    /// Whether some binding names the group.
    pub(super) fn names_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }
}
