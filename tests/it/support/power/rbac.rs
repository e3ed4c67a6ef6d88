//! Roles and bindings as values, and what they let an identity do: as the API server's own authorizer finds it
//! (`plugin/pkg/auth/authorizer/rbac` of kubernetes), and its authorizer of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::grants::{Grant, Place, Power};

const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";

/// All objects of RBAC in a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    /// The `ClusterRole`s.
    pub(crate) cluster_roles: Vec<ClusterRole>,
    /// The `ClusterRoleBinding`s.
    pub(crate) cluster_role_bindings: Vec<ClusterRoleBinding>,
    /// The `Role`s of all namespaces.
    pub(crate) roles: Vec<Role>,
    /// The `RoleBinding`s of all namespaces.
    pub(crate) role_bindings: Vec<RoleBinding>,
}

/// What is bound to whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rbac {
    bindings: Vec<Binding>,
}

#[derive(Clone, Debug)]
struct Binding {
    place: Place,
    subjects: Vec<Subject>,
    rules: Arc<Vec<PolicyRule>>,
}

impl Rbac {
    /// Joins roles and bindings.
    pub(crate) fn new(objects: &Objects) -> Self {
        let shared: BTreeMap<String, Arc<Vec<PolicyRule>>> = objects
            .cluster_roles
            .iter()
            .map(|role| {
                let name = text(role.metadata.name.as_ref());
                (name, Arc::new(rules(role.rules.as_ref())))
            })
            .collect();
        let roles: BTreeMap<(String, String), Arc<Vec<PolicyRule>>> = objects
            .roles
            .iter()
            .map(|role| {
                let key = (
                    text(role.metadata.namespace.as_ref()),
                    text(role.metadata.name.as_ref()),
                );
                (key, Arc::new(rules(role.rules.as_ref())))
            })
            .collect();
        let referred = |role: &RoleRef, namespace: &str| match role.kind.as_str() {
            "ClusterRole" => shared.get(role.name.as_str()).cloned(),
            _ => roles
                .get(&(namespace.to_owned(), role.name.clone()))
                .cloned(),
        };
        let in_cluster = objects.cluster_role_bindings.iter().filter_map(|binding| {
            Some(Binding {
                place: Place::Cluster,
                subjects: binding.subjects.clone().unwrap_or_default(),
                rules: referred(&binding.role_ref, "")?,
            })
        });
        let in_namespaces = objects.role_bindings.iter().filter_map(|binding| {
            let namespace = text(binding.metadata.namespace.as_ref());
            Some(Binding {
                rules: referred(&binding.role_ref, &namespace)?,
                place: Place::Namespaces(namespace),
                subjects: binding.subjects.clone().unwrap_or_default(),
            })
        });
        Self {
            bindings: in_cluster.chain(in_namespaces).collect(),
        }
    }

    /// What somebody of this name in these groups may do, once let in.
    pub(super) fn power(&self, username: &str, groups: &BTreeSet<String>) -> Power {
        let mut power = Power::default();
        let authenticated = username != ANONYMOUS && !groups.contains(UNAUTHENTICATED);
        if authenticated {
            power.add(Grant::LoggedIn);
        }
        if groups.contains(MASTERS) {
            power.add_all(Place::Cluster);
        }
        if let Some(node) = username.strip_prefix(NODE)
            && groups.contains(NODES)
        {
            power.add(Grant::Node(node.to_owned()));
        }
        for binding in &self.bindings {
            let named = |subject: &Subject| {
                (authenticated && is_everyone(subject))
                    || is_named(subject, &binding.place, username, groups)
            };
            if binding.subjects.iter().any(named) {
                for grant in grants(&binding.rules, &binding.place) {
                    power.add(grant);
                }
            }
        }
        power
    }
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

fn rules(rules: Option<&Vec<PolicyRule>>) -> Vec<PolicyRule> {
    rules.cloned().unwrap_or_default()
}

/// Whether the subject is the group that the API server adds to those whom it knows
/// (`k8s.io/apiserver/pkg/authentication/group`).
fn is_everyone(subject: &Subject) -> bool {
    subject.kind == "Group" && subject.name == AUTHENTICATED
}

fn is_named(subject: &Subject, place: &Place, username: &str, groups: &BTreeSet<String>) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == username,
        "Group" => groups.contains(&subject.name),
        "ServiceAccount" => {
            let namespace = match (&subject.namespace, place) {
                (Some(namespace), _) | (None, Place::Namespaces(namespace)) => namespace,
                (None, Place::Cluster) => return false,
            };
            username == format!("system:serviceaccount:{namespace}:{}", subject.name)
        }
        _ => false,
    }
}

/// One grant for each verb, group, resource and name of each rule. Paths count only in the whole cluster.
pub(super) fn grants<'a>(
    rules: &'a [PolicyRule],
    place: &'a Place,
) -> impl Iterator<Item = Grant> + 'a {
    rules.iter().flat_map(move |rule| {
        let mut grants = Vec::new();
        let names = rule.resource_names.clone().unwrap_or_default();
        let names: Vec<Option<String>> = if names.is_empty() {
            vec![None]
        } else {
            names.into_iter().map(Some).collect()
        };
        for verb in &rule.verbs {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    grants.extend(names.iter().map(|name| Grant::Resource {
                        place: place.clone(),
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                    }));
                }
            }
            if *place == Place::Cluster {
                let paths = rule.non_resource_urls.iter().flatten();
                grants.extend(paths.map(|path| Grant::Path {
                    verb: verb.clone(),
                    path: path.clone(),
                }));
            }
        }
        grants
    })
}
