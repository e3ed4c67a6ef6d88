//! RBAC bindings by name, for people. Plans use `Bindings`.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use kube::ResourceExt as _;
use serde::Serialize;

/// One `RoleBinding` or `ClusterRoleBinding`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Its namespace; `None` for a `ClusterRoleBinding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The role that it binds.
    pub role: BoundRole,
    /// The groups that it names.
    pub groups: BTreeSet<String>,
    /// The users that it names.
    pub users: BTreeSet<String>,
    /// The `ServiceAccounts` that it names, as `namespace/name`.
    pub service_accounts: BTreeSet<String>,
}

/// The role that a binding binds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BoundRole {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Binding {
    /// A `ClusterRoleBinding` by name.
    #[must_use]
    pub fn of_cluster_role_binding(binding: &ClusterRoleBinding) -> Self {
        let subjects = binding.subjects.as_ref();
        Self::new(None, binding.name_any(), &binding.role_ref, subjects)
    }

    /// A `RoleBinding` by name.
    #[must_use]
    pub fn of_role_binding(binding: &RoleBinding) -> Self {
        let subjects = binding.subjects.as_ref();
        let namespace = Some(binding.namespace().unwrap_or_default());
        Self::new(namespace, binding.name_any(), &binding.role_ref, subjects)
    }

    fn new(
        namespace: Option<String>,
        name: String,
        role: &RoleRef,
        subjects: Option<&Vec<Subject>>,
    ) -> Self {
        let named = |kind: &str| {
            let subjects = subjects.into_iter().flatten();
            let of_kind = subjects.filter(|subject| subject.kind == kind);
            of_kind.map(|subject| subject.name.clone()).collect()
        };
        let service_accounts = subjects
            .into_iter()
            .flatten()
            .filter(|subject| subject.kind == "ServiceAccount")
            .map(|subject| {
                let own = namespace.as_deref().unwrap_or_default();
                let of = subject.namespace.as_deref().unwrap_or(own);
                format!("{of}/{}", subject.name)
            })
            .collect();
        Self {
            service_accounts,
            namespace,
            name,
            role: BoundRole {
                kind: role.kind.clone(),
                name: role.name.clone(),
            },
            groups: named("Group"),
            users: named("User"),
        }
    }

    /// Whether it binds `cluster-admin` in the whole cluster.
    #[must_use]
    pub fn is_cluster_admin(&self) -> bool {
        self.namespace.is_none()
            && self.role.kind == "ClusterRole"
            && self.role.name == "cluster-admin"
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BoundRole { kind, name } = &self.role;
        match &self.namespace {
            None => write!(f, "ClusterRoleBinding {} to {kind} {name}", self.name),
            Some(namespace) => {
                write!(f, "RoleBinding {namespace}/{} to {kind} {name}", self.name)
            }
        }
    }
}
