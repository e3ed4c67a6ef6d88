//! What a cluster has where the operator is installed: the custom resource definition, and the operator's ServiceAccount
//! under the chart's rules. The same as `helm install` makes, without helm; a test holds the two together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::programs::repository;
use super::wait::eventually;

/// The namespace that the operator runs in.
pub(crate) const NAMESPACE: &str = "identity-mapper";
/// The operator's ServiceAccount, and the name of its roles and bindings.
pub(crate) const SERVICE_ACCOUNT: &str = "identity-mapper";

/// The namespace of events on cluster-scoped objects.
pub(crate) const CLUSTER_SCOPED: &str = "default";

const GROUP: &str = "rbac.authorization.k8s.io";

/// The operator's rules, as the chart's file has them.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rules {
    /// For the ClusterRole.
    pub(crate) cluster: Vec<PolicyRule>,
    /// For the Roles in the namespaces of events.
    pub(crate) events: Vec<PolicyRule>,
    /// For the Role in the namespace of aws-auth.
    pub(crate) config_map: Vec<PolicyRule>,
    /// For the Role in the operator's own namespace.
    pub(crate) leader_election: Vec<PolicyRule>,
}

impl Rules {
    /// The rules where aws-auth has this name.
    pub(crate) fn read(config_map: &str) -> Self {
        let path = repository().join("charts/identity-mapper/files/rules.yaml");
        let text = fs::read_to_string(&path).expect("the chart's rules are readable");
        let text = text
            .replace("{{ .Values.configMap.name }}", config_map)
            .replace("{{ .Chart.Name }}", SERVICE_ACCOUNT);
        serde_saphyr::from_str(&text).expect("the chart's rules parse")
    }

    /// The rules of the Role in each namespace, where aws-auth is in this one. A namespace that is several has the rules of all.
    pub(crate) fn by_namespace<'a>(
        &self,
        config_map: &'a str,
    ) -> BTreeMap<&'a str, Vec<PolicyRule>> {
        let mut roles: BTreeMap<&str, Vec<PolicyRule>> = BTreeMap::new();
        let of_config_map = roles.entry(config_map).or_default();
        of_config_map.extend(self.config_map.clone());
        for namespace in BTreeSet::from([config_map, CLUSTER_SCOPED]) {
            let of_events = roles.entry(namespace).or_default();
            of_events.extend(self.events.clone());
        }
        let of_lease = roles.entry(NAMESPACE).or_default();
        of_lease.extend(self.leader_election.clone());
        roles
    }
}

/// Creates the definitions of `crds/` and waits until the API server serves them.
pub(crate) async fn install_definitions(admin: &Client) {
    let definitions = Api::<CustomResourceDefinition>::all(admin.clone());
    for definition in generated_definitions() {
        create(&definitions, &definition).await;
        let name = definition.metadata.name.unwrap_or_default();
        eventually(
            "the definition is established",
            Duration::from_secs(30),
            async || {
                let definition = definitions.get(&name).await?;
                let conditions = definition
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                let established = conditions
                    .iter()
                    .any(|c| c.type_ == "Established" && c.status == "True");
                Ok::<_, kube::Error>(established.then_some(()))
            },
        )
        .await;
    }
}

/// The definitions that stand in `crds/`.
pub(crate) fn generated_definitions() -> Vec<CustomResourceDefinition> {
    let folder = repository().join("crds");
    let files = fs::read_dir(&folder).expect("crds/ is there: `make crd` generates it");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("crds/ is readable").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    paths.sort();
    assert!(!paths.is_empty(), "crds/ is empty: `make crd` generates it");
    let parse = |path| {
        let text = fs::read_to_string(path).expect("a generated definition is readable");
        serde_saphyr::from_str(&text).expect("a generated definition parses")
    };
    paths.iter().map(parse).collect()
}

/// Creates the operator's ServiceAccount, roles and bindings, and waits until the API server goes by them.
pub(crate) async fn grant(admin: &Client, namespace: &str, config_map: &str) {
    let rules = Rules::read(config_map);
    let metadata = || ObjectMeta {
        name: Some(SERVICE_ACCOUNT.to_owned()),
        ..Default::default()
    };
    let role_ref = |kind: &str| RoleRef {
        api_group: GROUP.to_owned(),
        kind: kind.to_owned(),
        name: SERVICE_ACCOUNT.to_owned(),
    };
    let subjects = vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: SERVICE_ACCOUNT.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        ..Default::default()
    }];

    let home = ObjectMeta {
        name: Some(NAMESPACE.to_owned()),
        ..Default::default()
    };
    create(
        &Api::all(admin.clone()),
        &Namespace {
            metadata: home,
            ..Default::default()
        },
    )
    .await;
    let account = ServiceAccount {
        metadata: metadata(),
        ..Default::default()
    };
    create(&Api::namespaced(admin.clone(), NAMESPACE), &account).await;
    let role = ClusterRole {
        metadata: metadata(),
        rules: Some(rules.cluster.clone()),
        ..Default::default()
    };
    create(&Api::all(admin.clone()), &role).await;
    let binding = ClusterRoleBinding {
        metadata: metadata(),
        role_ref: role_ref("ClusterRole"),
        subjects: Some(subjects.clone()),
    };
    create(&Api::all(admin.clone()), &binding).await;
    for (namespace, rules) in rules.by_namespace(namespace) {
        let role = Role {
            metadata: metadata(),
            rules: Some(rules),
        };
        create(&Api::namespaced(admin.clone(), namespace), &role).await;
        let binding = RoleBinding {
            metadata: metadata(),
            role_ref: role_ref("Role"),
            subjects: Some(subjects.clone()),
        };
        create(&Api::namespaced(admin.clone(), namespace), &binding).await;
    }

    in_force(
        admin,
        NAMESPACE,
        SERVICE_ACCOUNT,
        ResourceAttributes {
            group: Some("identity-mapper.dev".to_owned()),
            resource: Some("identitymappings".to_owned()),
            verb: Some("patch".to_owned()),
            ..Default::default()
        },
    )
    .await;
    in_force(
        admin,
        NAMESPACE,
        SERVICE_ACCOUNT,
        ResourceAttributes {
            resource: Some("configmaps".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(config_map.to_owned()),
            verb: Some("patch".to_owned()),
            ..Default::default()
        },
    )
    .await;
    in_force(
        admin,
        NAMESPACE,
        SERVICE_ACCOUNT,
        ResourceAttributes {
            group: Some("coordination.k8s.io".to_owned()),
            resource: Some("leases".to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            verb: Some("create".to_owned()),
            ..Default::default()
        },
    )
    .await;
}

/// Creates admission policies and their bindings, as the chart renders them. The API server goes by them some moments later.
pub(crate) async fn install_policies(admin: &Client, documents: &[Value]) {
    for document in documents {
        if document["kind"] == "ValidatingAdmissionPolicy" {
            let policy: ValidatingAdmissionPolicy = parsed(document);
            create(&Api::all(admin.clone()), &policy).await;
        } else {
            let binding: ValidatingAdmissionPolicyBinding = parsed(document);
            create(&Api::all(admin.clone()), &binding).await;
        }
    }
}

fn parsed<T: DeserializeOwned>(document: &Value) -> T {
    serde_json::from_value(document.clone()).expect("the chart renders an object of Kubernetes")
}

/// Waits until a ServiceAccount may do this: the authorizer learns of a binding by a watch, some milliseconds later.
pub(crate) async fn in_force(
    admin: &Client,
    namespace: &str,
    account: &str,
    what: ResourceAttributes,
) {
    let reviews = Api::<SubjectAccessReview>::all(admin.clone());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{account}")),
            resource_attributes: Some(what),
            ..Default::default()
        },
        ..Default::default()
    };
    eventually(
        "the rules are in force",
        Duration::from_secs(30),
        async || {
            let answer = reviews.create(&PostParams::default(), &review).await?;
            Ok::<_, kube::Error>(
                answer
                    .status
                    .is_some_and(|status| status.allowed)
                    .then_some(()),
            )
        },
    )
    .await;
}

async fn create<K>(api: &Api<K>, object: &K)
where
    K: kube::Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    api.create(&PostParams::default(), object)
        .await
        .expect("the administrator creates it in an empty cluster");
}
