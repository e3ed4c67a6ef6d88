//! A `RoleBinding` or `ClusterRoleBinding` of which only names are decoded: lists of them can be large.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer};

use crate::observed::BindingSubjects;

/// A binding of kind `K`.
#[derive(Clone, Debug)]
pub(super) struct SlimBinding<K> {
    metadata: ObjectMeta,
    subjects: BindingSubjects,
    kind: PhantomData<K>,
}

impl<K> SlimBinding<K> {
    pub(super) fn subjects(self) -> BindingSubjects {
        self.subjects
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    metadata: WireMetadata,
    role_ref: WireRole,
    #[serde(default)]
    subjects: Option<Vec<WireSubject>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct WireRole {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct WireSubject {
    kind: SubjectKind,
    name: String,
}

#[derive(Deserialize, PartialEq, Eq)]
enum SubjectKind {
    Group,
    User,
    #[serde(other)]
    Other,
}

impl<'de, K: Resource<DynamicType = ()>> Deserialize<'de> for SlimBinding<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire {
            metadata,
            role_ref,
            subjects,
        } = Wire::deserialize(deserializer)?;
        let (mut groups, mut users) = (BTreeSet::new(), BTreeSet::new());
        for WireSubject { kind, name } in subjects.into_iter().flatten() {
            match kind {
                SubjectKind::Group => _ = groups.insert(name),
                SubjectKind::User => _ = users.insert(name),
                SubjectKind::Other => {}
            }
        }
        let whole_cluster = K::kind(&()) == "ClusterRoleBinding";
        Ok(Self {
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                resource_version: metadata.resource_version,
                ..ObjectMeta::default()
            },
            subjects: BindingSubjects {
                groups,
                users,
                cluster_admin: whole_cluster
                    && role_ref.kind == "ClusterRole"
                    && role_ref.name == "cluster-admin",
            },
            kind: PhantomData,
        })
    }
}

read_as!(SlimBinding<K>, K, any K; binding => (&binding.metadata, &mut binding.metadata));

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
    use serde_json::json;

    use super::*;

    #[test]
    fn it_says_the_same_as_the_whole_object() {
        for role in ["cluster-admin", "view"] {
            let object = json!({
                "metadata": {
                    "name": "b", "namespace": "ns", "resourceVersion": "7", "annotations": { "a": "x" },
                    "managedFields": [{ "manager": "kubectl" }],
                },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
                "subjects": [
                    { "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "g" },
                    { "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u" },
                    { "kind": "ServiceAccount", "name": "s", "namespace": "ns" },
                ],
            });
            let slim: SlimBinding<ClusterRoleBinding> =
                serde_json::from_value(object.clone()).expect("it decodes");
            let meta = slim.meta().clone();
            assert_eq!(
                (meta.name.as_deref(), meta.namespace.as_deref()),
                (Some("b"), Some("ns"))
            );
            assert_eq!(meta.resource_version.as_deref(), Some("7"));
            assert_eq!((meta.annotations, meta.managed_fields), (None, None));
            let whole = serde_json::from_value(object.clone()).expect("it decodes");
            assert_eq!(
                slim.subjects(),
                BindingSubjects::of_cluster_role_binding(&whole)
            );
            let slim: SlimBinding<RoleBinding> =
                serde_json::from_value(object.clone()).expect("it decodes");
            let whole = serde_json::from_value(object).expect("it decodes");
            assert_eq!(slim.subjects(), BindingSubjects::of_role_binding(&whole));
        }
        let bare = json!({ "metadata": {}, "roleRef": { "kind": "Role", "name": "r" } });
        let slim: SlimBinding<RoleBinding> = serde_json::from_value(bare).expect("it decodes");
        assert_eq!(slim.subjects(), BindingSubjects::default());
    }
}
