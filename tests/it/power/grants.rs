//! What covers what.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::support::power::{Identity, Power, Request, Via};

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of its kind")
}

/// A ClusterRole of this rule, and a binding of it to the group of the same name; in a namespace, where one is given.
fn bound(objects: &mut Objects, group: &str, namespace: Option<&str>, allowed: &Value) {
    let subjects =
        json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}]);
    let mut role = json!({"metadata": {"name": group}, "rules": [allowed]});
    let kind = if namespace.is_some() {
        "Role"
    } else {
        "ClusterRole"
    };
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": group});
    let mut binding =
        json!({"metadata": {"name": group}, "subjects": subjects, "roleRef": role_ref});
    if let Some(namespace) = namespace {
        role["metadata"]["namespace"] = json!(namespace);
        binding["metadata"]["namespace"] = json!(namespace);
        objects.roles.push(object::<Role>(role));
        objects.role_bindings.push(object::<RoleBinding>(binding));
    } else {
        objects.cluster_roles.push(object::<ClusterRole>(role));
        objects
            .cluster_role_bindings
            .push(object::<ClusterRoleBinding>(binding));
    }
}

fn rule(verbs: &[&str], group: &str, resources: &[&str], names: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "resourceNames": names})
}

fn power(objects: &Objects, username: &str, groups: &[&str], policies: &[(&str, Scope)]) -> Power {
    let mut scene = scene(Mode::Api, vec![], "", "");
    scene.rbac = Arc::new(Rbac::new(objects));
    let arn = |name: &str| format!("arn:aws:eks::aws:cluster-access-policy/{name}");
    scene.power_of(&Identity {
        username: username.to_owned(),
        groups: set(groups),
        via: Via::Account,
        policies: policies
            .iter()
            .map(|(name, scope)| (arn(name), scope.clone()))
            .collect(),
    })
}

fn objects() -> Objects {
    let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    let path = |path: &str| json!({"verbs": ["get"], "nonResourceURLs": [path]});
    let pods = |verbs: &[&str], names: &[&str]| rule(verbs, "", &["pods"], names);
    let mut all = Objects::default();
    for (group, namespace, allowed) in [
        ("full", None, &everything),
        ("full-in-a", Some("a"), &everything),
        ("readers", None, &pods(&["get", "list"], &[])),
        ("readers-in-a", Some("a"), &pods(&["get"], &[])),
        ("one-pod", Some("a"), &pods(&["get"], &["p"])),
        ("loggers", None, &rule(&["get"], "", &["pods/log"], &[])),
        ("all-logs", None, &rule(&["get"], "*", &["*/log"], &[])),
        ("health", None, &path("/healthz/*")),
        ("ping", None, &path("/healthz/ping")),
        ("path-in-a", Some("a"), &path("/x")),
    ] {
        bound(&mut all, group, namespace, allowed);
    }
    all
}

#[test]
fn groups_cover_what_they_allow_and_no_more() {
    let objects = objects();
    let of = |group: &str| power(&objects, "u", &[group], &[]);
    for (more, less) in [
        ("system:masters", "full"),
        ("full", "full-in-a"),
        ("full", "readers"),
        ("full-in-a", "readers-in-a"),
        ("readers", "readers-in-a"),
        ("readers-in-a", "one-pod"),
        ("all-logs", "loggers"),
        ("full", "all-logs"),
        ("health", "ping"),
        ("ping", "path-in-a"),
        ("system:masters", "health"),
    ] {
        assert!(of(more).covers(&of(less)), "{more} over {less}");
        assert!(!of(less).covers(&of(more)), "{less} over {more}");
    }
    assert!(of("system:masters").is_everything() && !of("full").is_everything());
    assert!(!of("full").covers(&of("health")), "paths are no resources");
    assert!(
        !of("readers").covers(&of("loggers")),
        "nor subresources their resource"
    );
    assert!(
        !of("full-in-a").covers(&of("readers")),
        "nor one namespace all"
    );
    assert_eq!(
        of("path-in-a"),
        of("nobody"),
        "paths do not count in a namespace"
    );
}

#[test]
fn policies_cover_what_they_allow_and_no_more() {
    let objects = objects();
    let of = |policies: &[(&str, Scope)]| power(&objects, "u", &[], policies);
    let in_cluster = |name| of(&[(name, Scope::Cluster)]);
    let in_spaces = |name, names: &[&str]| of(&[(name, namespaces(names))]);
    let admin = in_cluster("AmazonEKSClusterAdminPolicy");
    assert!(admin.is_everything());
    assert_eq!(admin, power(&objects, "u", &["system:masters"], &[]));
    assert!(admin.covers(&in_cluster("AmazonEKSSecretReaderPolicy")));

    let admin_in_dev = in_spaces("AmazonEKSClusterAdminPolicy", &["dev-*"]);
    assert!(!admin_in_dev.is_everything());
    assert!(admin_in_dev.covers(&in_spaces("AmazonEKSEditPolicy", &["dev-a", "dev-b-*"])));
    assert!(!admin_in_dev.covers(&in_spaces("AmazonEKSEditPolicy", &["dev"])));
    assert!(!admin_in_dev.covers(&in_cluster("AmazonEKSEditPolicy")));

    let edit = in_spaces("AmazonEKSEditPolicy", &["a", "b"]);
    assert!(edit.covers(&in_spaces("AmazonEKSViewPolicy", &["b"])));
    assert!(!edit.covers(&in_spaces("AmazonEKSAdminPolicy", &["b"])));
    assert!(!edit.covers(&in_spaces("AmazonEKSViewPolicy", &["c"])));
    assert!(!edit.covers(&in_spaces("AmazonEKSSecretReaderPolicy", &["a"])));
    let full_in_a = power(&objects, "u", &["full-in-a"], &[]);
    assert!(full_in_a.covers(&in_spaces("AmazonEKSAdminPolicy", &["a"])));
}

#[test]
fn a_node_is_itself_alone() {
    let objects = Objects::default();
    let node = |username, groups: &[&str]| power(&objects, username, groups, &[]);
    let (one, two) = (
        node("system:node:one", &["system:nodes"]),
        node("system:node:two", &["system:nodes"]),
    );
    assert!(!one.covers(&two) && one.covers(&node("system:node:one", &[])));
    assert!(
        !node("system:node:one", &[]).covers(&one),
        "only in its group"
    );
    let person = node("one", &["system:nodes"]);
    assert!(!person.covers(&one));
}

#[test]
fn policies_allow_what_is_published_in_their_scope() {
    let scope = |names: Option<&[&str]>| names.map_or(Scope::Cluster, namespaces);
    for (policy, scoped, group, resource, verb, namespace, allowed) in [
        ("View", Some(&["a"][..]), "", "pods", "get", Some("a"), true),
        ("View", Some(&["a"]), "", "pods", "get", Some("b"), false),
        ("View", Some(&["a"]), "", "pods", "delete", Some("a"), false),
        ("View", Some(&["a"]), "", "secrets", "get", Some("a"), false),
        (
            "Edit",
            Some(&["dev-*"]),
            "apps",
            "deployments/scale",
            "patch",
            Some("dev-x"),
            true,
        ),
        (
            "Edit",
            Some(&["dev-*"]),
            "apps",
            "deployments/scale",
            "patch",
            Some("dev"),
            false,
        ),
        ("Edit", None, "", "secrets", "get", Some("b"), true),
        (
            "Edit",
            None,
            "example.com",
            "things",
            "get",
            Some("b"),
            false,
        ),
        ("Edit", None, "", "nodes", "get", None, false),
        ("AdminView", None, "", "secrets", "list", None, true),
        ("AdminView", None, "", "secrets", "delete", None, false),
        ("SecretReader", None, "", "secrets", "get", Some("a"), true),
        (
            "SecretReader",
            None,
            "",
            "secrets",
            "delete",
            Some("a"),
            false,
        ),
    ] {
        let name = format!("AmazonEKS{policy}Policy");
        let power = power(&Objects::default(), "u", &[], &[(&name, scope(scoped))]);
        let request = Request {
            verb,
            group,
            resource,
            namespace,
            name: None,
        };
        assert_eq!(power.allows(&request), allowed, "{policy}: {request:?}");
    }
}

#[test]
fn those_who_are_named_as_unknown_are_not_everyone() {
    let mut objects = Objects::default();
    bound(
        &mut objects,
        "system:authenticated",
        None,
        &rule(&["get"], "", &["pods"], &[]),
    );
    bound(
        &mut objects,
        "system:unauthenticated",
        None,
        &rule(&["get"], "", &["nodes"], &[]),
    );
    let allows = |username, groups: &[&str], resource| {
        let request = Request {
            verb: "get",
            group: "",
            resource,
            namespace: None,
            name: None,
        };
        power(&objects, username, groups, &[]).allows(&request)
    };
    let unknown: &[&str] = &["system:unauthenticated"];
    assert!(allows("u", &[], "pods") && !allows("u", &[], "nodes"));
    assert!(!allows("u", unknown, "pods") && allows("u", unknown, "nodes"));
    let anonymous = power(&objects, "system:anonymous", &[], &[]);
    assert_eq!(anonymous, Power::default());
}

const VERBS: [&str; 3] = ["*", "get", "list"];
const KINDS: [&str; 5] = ["*", "pods", "pods/log", "*/log", "nodes"];
const SPACES: [Option<&str>; 3] = [None, Some("a"), Some("b")];
const PATHS: [&str; 4] = ["*", "/healthz", "/healthz*", "/healthz/ping"];

fn some_objects() -> impl Strategy<Value = Objects> {
    let names = subsequence(vec!["p", "q"], 0..=2);
    let one = (
        select(&SPACES[..]),
        select(&VERBS[..]),
        select(&KINDS[..]),
        names,
        select(&PATHS[..]),
        any::<bool>(),
    );
    prop::collection::vec(one, 0..4).prop_map(|rules| {
        let mut objects = Objects::default();
        for (number, (namespace, verb, kind, names, path, is_path)) in rules.into_iter().enumerate()
        {
            let allowed = if is_path {
                json!({"verbs": [verb], "nonResourceURLs": [path]})
            } else {
                rule(&[verb], "", &[kind], &names)
            };
            bound(&mut objects, &format!("g{number}"), namespace, &allowed);
        }
        objects
    })
}

fn requests() -> impl Strategy<Value = Request> {
    let resource = select(vec![
        "pods",
        "pods/log",
        "nodes",
        "services",
        "/healthz",
        "/healthz/ping",
        "/healthzz",
        "/x",
    ]);
    let namespace = select(vec![None, Some("a"), Some("b"), Some("c")]);
    let name = select(vec![None, Some("p"), Some("q"), Some("r")]);
    (
        select(vec!["get", "list", "delete"]),
        resource,
        namespace,
        name,
    )
        .prop_map(|(verb, resource, namespace, name)| Request {
            verb,
            group: "",
            resource,
            namespace,
            name,
        })
}

proptest! {
    /// Who covers another is allowed whatever they are; and what is said that both may do, each may.
    #[test]
    fn covering_is_sound(some in some_objects(), others in some_objects(), request in requests()) {
        let groups = ["g0", "g1", "g2", "g3"];
        let (one, two) = (power(&some, "u", &groups, &[]), power(&others, "u", &groups, &[]));
        prop_assert!(one.covers(&one));
        if one.covers(&two) {
            prop_assert!(one.allows(&request) || !two.allows(&request));
        }
        let both = one.meet(&two);
        prop_assert!(one.covers(&both) && two.covers(&both));
        prop_assert!(!both.allows(&request) || (one.allows(&request) && two.allows(&request)));
        prop_assert_eq!(one.lacks(&two).is_empty(), one.covers(&two));
    }
}
