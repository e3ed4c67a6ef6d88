//! The evaluator against the API server's own authorizer. Against people who log in it is held by `logins::model`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::*;
use crate::support::power::{Identity, Request, Via};
use crate::support::{Cluster, eventually};

const RBAC: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [
    {"apiGroups": ["", "apps"], "resources": ["pods", "deployments", "pods/log"], "verbs": ["get", "list"]},
    {"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scaler"}, "rules": [
    {"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["*"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "keeper", "namespace": "default"}, "rules": [
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one", "two"], "verbs": ["get", "update"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "readers"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"},
      {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "carol"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "dangling"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "gone"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "scalers", "namespace": "default"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "scaler"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "scalers"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "readers", "namespace": "kube-system"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "some-readers"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "keepers", "namespace": "default"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "keeper"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "keepers"},
      {"kind": "ServiceAccount", "name": "robot", "namespace": "kube-system"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bridge"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "identity-mapper:bridge"}]}
]}
"#;

const PEOPLE: [(&str, &[&str]); 11] = [
    ("", &["readers"]),
    ("nobody", &[]),
    ("carol", &[]),
    ("reader", &["readers"]),
    ("some-reader", &["some-readers"]),
    ("scaler", &["scalers", "some-readers"]),
    ("keeper", &["keepers"]),
    ("system:serviceaccount:kube-system:robot", &[]),
    ("system:serviceaccount:default:robot", &[]),
    ("bridged", &["identity-mapper:bridge"]),
    ("master", &["system:masters"]),
];

/// Group, resource or path, and the verbs to ask for.
const THINGS: [(&str, &str, &[&str]); 12] = [
    ("", "pods", &["get", "list", "delete"]),
    ("", "pods/log", &["get"]),
    ("apps", "deployments", &["list", "patch"]),
    ("apps", "deployments/scale", &["get", "patch"]),
    ("", "secrets", &["get", "list", "update"]),
    ("", "nodes", &["get"]),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        &["create"],
    ),
    ("example.com", "things", &["get"]),
    ("", "/metrics", &["get", "post"]),
    ("", "/logs/a/b", &["get"]),
    ("", "/healthz", &["get"]),
    ("", "/version", &["get", "head"]),
];

fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for (group, resource, verbs) in THINGS {
        for verb in verbs.iter().copied() {
            let mut ask = |namespace, name| {
                requests.push(Request {
                    verb,
                    group,
                    resource,
                    namespace,
                    name,
                });
            };
            if resource.starts_with('/') {
                ask(None, None);
                continue;
            }
            for namespace in [None, Some("default"), Some("kube-system")] {
                ask(namespace, None);
                if resource == "secrets" {
                    ask(namespace, Some("one"));
                    ask(namespace, Some("three"));
                }
            }
        }
    }
    requests
}

/// All objects of a kind.
pub(crate) async fn all<K>(client: &Client) -> Vec<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let list = Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await;
    list.unwrap().items
}

async fn allowed(client: &Client, username: &str, groups: &[&str], request: &Request) -> bool {
    let text = |value: &str| Some(value.to_owned());
    let mut spec = SubjectAccessReviewSpec {
        user: text(username),
        // What a login adds by itself.
        groups: Some(
            groups
                .iter()
                .chain(&["system:authenticated"])
                .map(|it| (*it).to_owned())
                .collect(),
        ),
        ..Default::default()
    };
    if request.resource.starts_with('/') {
        spec.non_resource_attributes = Some(NonResourceAttributes {
            path: text(request.resource),
            verb: text(request.verb),
        });
    } else {
        let (resource, subresource) = match request.resource.split_once('/') {
            Some((resource, subresource)) => (resource, text(subresource)),
            None => (request.resource, None),
        };
        spec.resource_attributes = Some(ResourceAttributes {
            group: text(request.group),
            resource: text(resource),
            subresource,
            verb: text(request.verb),
            namespace: request.namespace.map(str::to_owned),
            name: request.name.map(str::to_owned),
            ..Default::default()
        });
    }
    let review = SubjectAccessReview {
        spec,
        ..Default::default()
    };
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    let answer = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    answer.status.is_some_and(|status| status.allowed)
}

#[tokio::test]
async fn the_api_server_allows_exactly_what_the_evaluator_does() {
    let cluster = Cluster::start().await;
    let applied = cluster.kubectl(&["apply", "-f", "-"], Some(RBAC));
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
    let client = cluster.admin();
    let objects = Objects {
        cluster_roles: all::<ClusterRole>(&client).await,
        cluster_role_bindings: all::<ClusterRoleBinding>(&client).await,
        roles: all::<Role>(&client).await,
        role_bindings: all::<RoleBinding>(&client).await,
    };
    let mut scene = scene(Mode::Api, vec![], "", "");
    scene.rbac = Arc::new(Rbac::new(&objects));
    let last = &requests()[0];
    eventually(
        "the bindings are in force",
        Duration::from_secs(30),
        async || {
            allowed(&client, "bridged", &["identity-mapper:bridge"], last).await
                && allowed(&client, "carol", &[], last).await
                && allowed(
                    &client,
                    "x",
                    &["keepers"],
                    &Request {
                        verb: "get",
                        group: "",
                        resource: "secrets",
                        namespace: Some("default"),
                        name: Some("one"),
                    },
                )
                .await
        },
    )
    .await;
    let (mut yes, mut no) = (0, 0);
    for (username, groups) in PEOPLE {
        let power = scene.power_of(&Identity {
            username: username.to_owned(),
            groups: set(groups),
            via: Via::Account,
            policies: BTreeMap::new(),
        });
        for request in requests() {
            let real = allowed(&client, username, groups, &request).await;
            assert_eq!(
                power.allows(&request),
                real,
                "{username} in {groups:?}: {request:?}"
            );
            *(if real { &mut yes } else { &mut no }) += 1;
        }
        assert_eq!(
            power.is_everything(),
            ["bridged", "master"].contains(&username),
            "{username}"
        );
    }
    assert!(
        yes > 50 && no > 50,
        "{yes} allowed, {no} refused: both kinds are asked for"
    );
}
