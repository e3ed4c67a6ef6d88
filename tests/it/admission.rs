//! The chart's admission policies on a real API server: nobody grants by a mapping what they don't hold.

mod limits;
mod removals;

use identity_mapper::api::IdentityMapping;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::mappings::{SOON, mapping, role};
use crate::support::{Audit, Cluster, chart, eventually, rights};

/// A username that Ann may impersonate, so that rules about other fields speak.
const USERNAME: &str = "team-a:{{SessionName}}";

/// What one person may do to mappings, tried without effect.
struct Person(Api<IdentityMapping>);

impl Person {
    /// Somebody who may write mappings, and whatever else roles give to this name.
    async fn editor(cluster: &Cluster, name: &str) -> Self {
        Self(Api::all(cluster.client_as(name, &["editors"]).await))
    }

    async fn create(&self, mapping: &IdentityMapping) -> Result<(), String> {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let made = self.0.create(&params, mapping).await;
        made.map(drop).map_err(|error| error.to_string())
    }

    async fn patch(&self, name: &str, patch: &Value) -> Result<(), String> {
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let made = self.0.patch(name, &params, &Patch::Merge(patch)).await;
        made.map(drop).map_err(|error| error.to_string())
    }

    /// Rights and policies reach the API server by watches, so an answer is waited for; the last one counts.
    async fn may_create(&self, what: &str, mapping: &IdentityMapping) {
        eventually(what, SOON, async || self.create(mapping).await).await;
    }

    async fn may_not_create(&self, mapping: &IdentityMapping, words: &str) {
        eventually(words, SOON, async || {
            refused(self.create(mapping).await, words)
        })
        .await;
    }

    async fn may_patch(&self, name: &str, patch: &Value) {
        let what = patch.to_string();
        eventually(&what, SOON, async || self.patch(name, patch).await).await;
    }

    async fn may_not_patch(&self, name: &str, patch: &Value, words: &str) {
        let refusal = async || refused(self.patch(name, patch).await, words);
        eventually(&format!("{patch}: {words}"), SOON, refusal).await;
    }
}

fn refused(answer: Result<(), String>, words: &str) -> Result<(), String> {
    match answer {
        Err(message)
            if message.contains("ValidatingAdmissionPolicy") && message.contains(words) =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    }
}

/// A mapping with Ann's username and these further fields.
fn granting(spec: &Value) -> IdentityMapping {
    let mut whole = json!({ "username": USERNAME, "groups": [] });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    mapping("one", &whole)
}

fn rule(group: &str, resource: &str, verb: &str, names: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: vec![verb.to_owned()],
        resource_names: Some(names.iter().map(|&name| name.to_owned()).collect()),
        ..PolicyRule::default()
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn subject(kind: &str, name: &str) -> Vec<Subject> {
    vec![Subject {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..Subject::default()
    }]
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: "rbac.authorization.k8s.io".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

/// Gives these rules to a person, in the whole cluster.
async fn give(admin: &Client, person: &str, rules: Vec<PolicyRule>) {
    let role = ClusterRole {
        metadata: named(person),
        rules: Some(rules),
        ..ClusterRole::default()
    };
    let binding = ClusterRoleBinding {
        metadata: named(person),
        role_ref: role_ref("ClusterRole", person),
        subjects: Some(subject("User", person)),
    };
    let params = PostParams::default();
    Api::all(admin.clone())
        .create(&params, &role)
        .await
        .unwrap();
    Api::all(admin.clone())
        .create(&params, &binding)
        .await
        .unwrap();
}

/// Gives these rules to a person, in one namespace.
async fn give_in(admin: &Client, namespace: &str, person: &str, rules: Vec<PolicyRule>) {
    let home = Namespace {
        metadata: named(namespace),
        ..Namespace::default()
    };
    let role = Role {
        metadata: named(person),
        rules: Some(rules),
    };
    let binding = RoleBinding {
        metadata: named(person),
        role_ref: role_ref("Role", person),
        subjects: Some(subject("User", person)),
    };
    let params = PostParams::default();
    Api::all(admin.clone())
        .create(&params, &home)
        .await
        .unwrap();
    Api::namespaced(admin.clone(), namespace)
        .create(&params, &role)
        .await
        .unwrap();
    Api::namespaced(admin.clone(), namespace)
        .create(&params, &binding)
        .await
        .unwrap();
}

/// A cluster with the definition and the policies of these values, in which the group `editors` may write mappings and Ann may
/// impersonate the group team-a and her username.
async fn guarded(values: &[&str]) -> Cluster {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    rights::install_definitions(&admin).await;
    rights::install_policies(&admin, &chart::policies(values)).await;
    let params = PostParams::default();
    let editor: ClusterRole = chart::object("ClusterRole", "identity-mapper-editor", values);
    Api::all(admin.clone())
        .create(&params, &editor)
        .await
        .unwrap();
    let binding = ClusterRoleBinding {
        metadata: named("editors"),
        role_ref: role_ref("ClusterRole", "identity-mapper-editor"),
        subjects: Some(subject("Group", "editors")),
    };
    Api::all(admin.clone())
        .create(&params, &binding)
        .await
        .unwrap();
    let rules = vec![
        rule("", "groups", "impersonate", &["team-a"]),
        rule("", "users", "impersonate", &[USERNAME]),
    ];
    give(&admin, "ann", rules).await;
    cluster
}

#[tokio::test]
async fn authors_grant_only_what_they_may_impersonate() {
    let cluster = guarded(&[]).await;
    let admin = cluster.admin();
    let edit = rule(
        "identity-mapper.dev",
        "accesspolicies",
        "grant",
        &["AmazonEKSEditPolicy"],
    );
    give_in(&admin, "team-a", "ann", vec![edit]).await;
    let (ann, bob) = (
        Person::editor(&cluster, "ann").await,
        Person::editor(&cluster, "bob").await,
    );
    let policy =
        |name: &str, scope: Value| json!({"accessPolicies": [{"policy": name, "scope": scope}]});
    let in_team_a = json!({"type": "Namespace", "namespaces": ["team-a"]});

    // Without any right but to write mappings: nothing.
    bob.may_not_create(
        &granting(&json!({})),
        "'bob' grants the username 'team-a:{{SessionName}}'",
    )
    .await;
    let nameless = mapping("one", &json!({"groups": []}));
    bob.may_not_create(&nameless, "without the right to impersonate any user")
        .await;
    bob.may_not_create(
        &mapping("one", &json!({"groups": [], "type": "EC2Linux"})),
        "ValidatingAdmissionPolicy",
    )
    .await;

    // What one holds, and nothing beside it.
    ann.may_create("her own group", &granting(&json!({"groups": ["team-a"]})))
        .await;
    for (spec, words) in [
        (
            json!({"groups": ["team-a", "system:masters"]}),
            "'ann' grants the group 'system:masters' without the right to impersonate it",
        ),
        (
            json!({"groups": ["team-{{AccountID}}"]}),
            "group 'team-{{AccountID}}'",
        ),
        (
            json!({"groups": ["team-a"], "username": "{{SessionName}}"}),
            "username '{{SessionName}}'",
        ),
        (
            json!({"username": "kubernetes-admin"}),
            "username 'kubernetes-admin'",
        ),
        (
            json!({"username": "system:serviceaccount:kube-system:deployer"}),
            "of a ServiceAccount",
        ),
        (
            policy("AmazonEKSClusterAdminPolicy", json!({})),
            "lacks the verb grant for the access policy AmazonEKSClusterAdminPolicy.",
        ),
        (
            policy("AmazonEKSEditPolicy", json!({})),
            "access policy AmazonEKSEditPolicy.",
        ),
        (
            policy("AmazonEKSAdminPolicy", in_team_a.clone()),
            "access policy AmazonEKSAdminPolicy in the namespace team-a.",
        ),
        (
            policy(
                "AmazonEKSEditPolicy",
                json!({"type": "Namespace", "namespaces": ["team-a", "kube-system"]}),
            ),
            "access policy AmazonEKSEditPolicy.",
        ),
        (
            policy(
                "AmazonEKSEditPolicy",
                json!({"type": "Namespace", "namespaces": ["team-*"]}),
            ),
            "access policy AmazonEKSEditPolicy.",
        ),
        (json!({"adoption": "Always"}), "lacks the verb adopt"),
    ] {
        ann.may_not_create(&granting(&spec), words).await;
    }
    ann.may_create(
        "in her namespace",
        &granting(&policy("AmazonEKSEditPolicy", in_team_a)),
    )
    .await;

    // Who may do anything may grant anything.
    let root = Person(Api::all(admin));
    let all = json!({
        "groups": ["system:masters"], "username": "{{SessionName}}", "adoption": "Always",
        "accessPolicies": [{"policy": "AmazonEKSClusterAdminPolicy"}],
    });
    root.may_create("an administrator", &granting(&all)).await;
}

/// The names of `ServiceAccounts` are another resource for impersonation, also where a placeholder becomes one.
#[tokio::test]
async fn names_of_service_accounts_take_the_right_to_be_one() {
    let cluster = guarded(&[]).await;
    let admin = cluster.admin();
    give_in(
        &admin,
        "ci",
        "sam",
        vec![rule("", "serviceaccounts", "impersonate", &["deployer"])],
    )
    .await;
    let sam = Person::editor(&cluster, "sam").await;
    let own = json!({"username": "system:serviceaccount:ci:deployer"});
    sam.may_create("his ServiceAccount", &granting(&own)).await;
    for username in [
        "system:serviceaccount:ci:other",
        "system:serviceaccount:ci:{{SessionName}}",
        "{{SessionName}}:serviceaccount:ci:deployer",
    ] {
        let spec = granting(&json!({"username": username}));
        sam.may_not_create(&spec, &format!("'sam' grants the username '{username}'"))
            .await;
    }
    give(
        &admin,
        "uma",
        vec![PolicyRule {
            resource_names: None,
            ..rule("", "users", "impersonate", &[])
        }],
    )
    .await;
    let uma = Person::editor(&cluster, "uma").await;
    uma.may_create("any user", &mapping("one", &json!({"groups": []})))
        .await;
    let becomes = granting(&json!({"username": "system:{{SessionName}}:kube-system:deployer"}));
    uma.may_not_create(&becomes, "of a ServiceAccount").await;
}

/// A delegate of the chart's values has all that its team's mapping takes, and no more.
#[tokio::test]
async fn a_delegate_grants_what_its_team_has() {
    let delegates = r#"delegates=[{"name": "team-a", "subjects": [{"kind": "Group", "name": "team-a-leads"}],
        "mappings": ["one"], "groups": ["team-a"], "usernames": ["team-a:{{SessionName}}"]}]"#;
    let cluster = guarded(&[delegates]).await;
    let (admin, params) = (cluster.admin(), PostParams::default());
    let role: ClusterRole = chart::object(
        "ClusterRole",
        "identity-mapper-delegate-team-a",
        &[delegates],
    );
    let binding: ClusterRoleBinding = chart::object(
        "ClusterRoleBinding",
        "identity-mapper-delegate-team-a",
        &[delegates],
    );
    Api::all(admin.clone())
        .create(&params, &role)
        .await
        .unwrap();
    Api::all(admin).create(&params, &binding).await.unwrap();
    let lead = Person(Api::all(cluster.client_as("lea", &["team-a-leads"]).await));
    let own = granting(&json!({"groups": ["team-a"]}));
    lead.may_not_create(
        &granting(&json!({"groups": ["admins"]})),
        "the group 'admins'",
    )
    .await;
    lead.may_create("her team's", &own).await;
    for name in ["one", "two"] {
        let made = mapping(name, &json!({"groups": ["team-a", "admins"]}));
        cluster.mappings().create(&params, &made).await.unwrap();
    }
    let fewer = json!({"spec": {"groups": ["team-a"]}});
    lead.may_patch("one", &fewer).await;
    let other = lead.patch("two", &fewer).await.unwrap_err();
    assert!(other.contains("cannot patch resource"), "{other}");
}

#[tokio::test]
async fn an_update_is_judged_by_what_it_adds() {
    let cluster = guarded(&[]).await;
    let spec = json!({
        "username": "somebody", "groups": ["team-a", "admins", "others"], "validUntil": "2030-06-01T00:00:00Z",
        "accessPolicies": [
            {"policy": "AmazonEKSViewPolicy", "scope": {"type": "Namespace", "namespaces": ["a", "b"]}},
            {"policy": "AmazonEKSEditPolicy"},
        ],
    });
    let mappings = cluster.mappings();
    let params = PostParams::default();
    mappings
        .create(&params, &mapping("one", &spec))
        .await
        .unwrap();
    let asleep = json!({"suspend": true, "groups": ["admins"]});
    mappings
        .create(&params, &mapping("asleep", &asleep))
        .await
        .unwrap();
    let policies = |view: Value, edit: Value| {
        json!({"spec": {"accessPolicies": [
            {"policy": "AmazonEKSViewPolicy", "scope": view}, {"policy": "AmazonEKSEditPolicy", "scope": edit},
        ]}})
    };
    let in_namespaces = |names: &[&str]| json!({"type": "Namespace", "namespaces": names});
    let whole = json!({"type": "Cluster"});
    let (ann, bob) = (
        Person::editor(&cluster, "ann").await,
        Person::editor(&cluster, "bob").await,
    );

    for (patch, words) in [
        (
            json!({"spec": {"groups": ["admins", "ops"]}}),
            "the group 'ops'",
        ),
        (
            json!({"spec": {"username": "other"}}),
            "the username 'other'",
        ),
        (
            json!({"spec": {"username": null}}),
            "a username that AWS sets",
        ),
        (
            json!({"spec": {"principal": {"arn": role("bob")}}}),
            "ValidatingAdmissionPolicy",
        ),
        (
            json!({"spec": {"validUntil": null}}),
            "ValidatingAdmissionPolicy",
        ),
        (
            json!({"spec": {"validUntil": "2030-06-01T00:00:01Z"}}),
            "ValidatingAdmissionPolicy",
        ),
        (
            json!({"spec": {"backend": "ConfigMap"}}),
            "ValidatingAdmissionPolicy",
        ),
        (
            json!({"spec": {"adoption": "Always"}}),
            "ValidatingAdmissionPolicy",
        ),
        (
            policies(in_namespaces(&["a", "c"]), whole.clone()),
            "AmazonEKSViewPolicy",
        ),
        (
            policies(whole.clone(), whole.clone()),
            "AmazonEKSViewPolicy",
        ),
    ] {
        bob.may_not_patch("one", &patch, words).await;
    }
    let awake = json!({"spec": {"suspend": false}});
    bob.may_not_patch("asleep", &awake, "ValidatingAdmissionPolicy")
        .await;
    // Ann holds team-a alone, and so can't wake up a mapping of admins either.
    ann.may_not_patch("asleep", &awake, "ValidatingAdmissionPolicy")
        .await;
    ann.may_patch(
        "one",
        &json!({"spec": {"username": USERNAME, "groups": ["admins", "team-a"]}}),
    )
    .await;

    for patch in [
        json!({"spec": {"groups": ["admins"]}}),
        json!({"spec": {"groups": ["others", "admins", "team-a"]}}),
        json!({"spec": {"validUntil": "2030-05-01T00:00:00+02:00"}}),
        json!({"spec": {"suspend": true, "adoption": "Never"}}),
        json!({"spec": {"accessPolicies": []}}),
        policies(in_namespaces(&["b"]), in_namespaces(&["a"])),
        json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "x"}, "finalizers": ["example.com/x"]}}),
    ] {
        bob.may_patch("one", &patch).await;
    }
}

#[tokio::test]
async fn a_confirmation_takes_its_verb() {
    let cluster = guarded(&[]).await;
    let confirm = rule(
        "identity-mapper.dev",
        "identitymappings",
        "confirm",
        &["one"],
    );
    give(&cluster.admin(), "cat", vec![confirm]).await;
    let annotated =
        |words: Value| json!({"metadata": {"annotations": {"identity-mapper.dev/confirm": words}}});
    let mappings = cluster.mappings();
    for name in ["one", "two"] {
        let made = mapping(name, &json!({"groups": ["admins", "others"]}));
        mappings
            .create(&PostParams::default(), &made)
            .await
            .unwrap();
    }
    let (bob, cat) = (
        Person::editor(&cluster, "bob").await,
        Person::editor(&cluster, "cat").await,
    );
    let words = json!("last-administrator");
    bob.may_not_patch(
        "one",
        &annotated(words.clone()),
        "'bob' lacks the verb confirm",
    )
    .await;
    cat.may_patch("one", &annotated(words.clone())).await;
    cat.may_not_patch("two", &annotated(words.clone()), "lacks the verb confirm")
        .await;

    let params = PatchParams::default();
    let both = annotated(json!("last-administrator, node-entry"));
    mappings
        .patch("one", &params, &Patch::Merge(&both))
        .await
        .unwrap();
    // What somebody confirmed stays theirs: others may withdraw it, and may not use it for a change of their own.
    bob.may_patch("one", &annotated(words)).await;
    bob.may_patch("one", &annotated(Value::Null)).await;
    bob.may_not_patch(
        "one",
        &annotated(json!("mass-removal")),
        "lacks the verb confirm",
    )
    .await;
    let fewer = json!({"spec": {"groups": ["others"]}});
    bob.may_not_patch("one", &fewer, "lacks the verb confirm")
        .await;
    cat.may_patch("one", &fewer).await;
    bob.may_patch("two", &fewer).await;
    let blanks = annotated(json!(" ".repeat(257)));
    cat.may_not_patch("one", &blanks, "is longer than 256 characters")
        .await;
}

#[tokio::test]
async fn the_chart_s_lists_hold_for_everybody() {
    let cluster = guarded(&[
        r#"admissionPolicy.allowedAccounts=["111122223333"]"#,
        r#"admissionPolicy.deniedGroups=["system:masters","admin-*"]"#,
        r#"admissionPolicy.deniedAccessPolicies=["AmazonEKSClusterAdminPolicy"]"#,
        r#"admissionPolicy.validUntilRequiredFor=["oncall"]"#,
    ])
    .await;
    let root = Person(Api::all(cluster.admin()));
    for (spec, words) in [
        (
            json!({"principal": {"arn": "arn:aws:iam::444455556666:role/one"}}),
            "not in an allowed account: 111122223333",
        ),
        (
            json!({"principal": {"permissionSet": {"name": "Admin", "accountId": "444455556666"}}}),
            "not in an allowed account: 111122223333",
        ),
        (
            json!({"groups": ["system:masters"]}),
            "the group 'system:masters' is denied",
        ),
        (
            json!({"groups": ["a", "admin-x"]}),
            "the group 'admin-x' is denied",
        ),
        // A placeholder may become the rest of the name.
        (json!({"groups": ["system:{{SessionName}}"]}), "is denied"),
        (json!({"groups": ["admin{{SessionName}}"]}), "is denied"),
        (
            json!({"accessPolicies": [{"policy": "AmazonEKSClusterAdminPolicy"}]}),
            "AmazonEKSClusterAdminPolicy is denied",
        ),
        (
            json!({"groups": ["oncall"]}),
            "spec.validUntil is required for groups among oncall",
        ),
    ] {
        root.may_not_create(&granting(&spec), words).await;
    }
    for spec in [
        json!({"groups": ["system:master", "admins", "team-{{SessionName}}"]}),
        json!({"groups": ["oncall"], "validUntil": "2030-06-01T00:00:00Z"}),
        json!({"principal": {"permissionSet": {"name": "Admin", "accountId": "111122223333"}}}),
    ] {
        root.may_create(&spec.to_string(), &granting(&spec)).await;
    }

    let cluster = guarded(&[r#"admissionPolicy.validUntilRequiredFor=["*"]"#]).await;
    let root = Person(Api::all(cluster.admin()));
    root.may_not_create(&granting(&json!({})), "required for every mapping")
        .await;
}

/// Whoever holds its token may do no more, whatever roles it is given.
#[tokio::test]
async fn the_operator_writes_statuses_and_its_finalizers_and_nothing_else() {
    let cluster = Cluster::with_operator_rights().await;
    let mut one = mapping("one", &json!({}));
    one.metadata.finalizers = Some(vec!["example.com/x".to_owned()]);
    cluster
        .mappings()
        .create(&PostParams::default(), &one)
        .await
        .unwrap();
    let operator = Person(Api::all(
        cluster
            .client_as(Audit::OPERATOR, &["system:masters"])
            .await,
    ));
    let words = "the operator changes only the status";
    for patch in [
        json!({"spec": {"groups": ["system:masters"]}}),
        json!({"metadata": {"annotations": {"identity-mapper.dev/confirm": "node-entry"}}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["identity-mapper.dev/revoke"]}}),
    ] {
        operator.may_not_patch("one", &patch, words).await;
    }
    operator
        .may_not_create(&mapping("two", &json!({})), words)
        .await;
    let params = kube::api::DeleteParams {
        dry_run: true,
        ..kube::api::DeleteParams::default()
    };
    let deleted = operator.0.delete("one", &params).await.map(drop);
    refused(deleted.map_err(|error| error.to_string()), words).unwrap();
    let ours = json!({"metadata": {"finalizers": ["example.com/x", "identity-mapper.dev/revoke"]}});
    operator.may_patch("one", &ours).await;
    let status = json!({"status": {"principalArn": role("one")}});
    let params = PatchParams::default();
    let patched = operator
        .0
        .patch_status("one", &params, &Patch::Merge(&status))
        .await;
    assert_eq!(
        patched.unwrap().status.unwrap().principal_arn.unwrap(),
        role("one")
    );
}
