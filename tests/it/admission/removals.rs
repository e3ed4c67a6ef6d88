//! What a mapping granted does not stay behind because its author wants it so.

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Person, USERNAME, give, guarded, refused, rule};
use crate::support::eventually;
use crate::support::mappings::{SOON, mapping, role};
use crate::support::rights::NAMESPACE;

const FINALIZERS: [&str; 3] = [
    "identity-mapper.dev/aws-auth",
    "identity-mapper.dev/access-entry",
    "example.com/backup",
];

#[tokio::test]
async fn an_entry_outlives_its_mapping_only_by_the_verb_release() {
    let cluster = guarded(&[]).await;
    let admin = cluster.admin();
    let release = rule(
        "identity-mapper.dev",
        "identitymappings",
        "release",
        &["one"],
    );
    give(&admin, "rita", vec![release]).await;
    let mut object = mapping(
        "one",
        &json!({"groups": [], "validUntil": "2030-06-01T00:00:00Z"}),
    );
    object.metadata.finalizers = Some(FINALIZERS.map(str::to_owned).to_vec());
    let mappings = cluster.mappings();
    mappings
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let (ann, rita) = (
        Person::editor(&cluster, "ann").await,
        Person::editor(&cluster, "rita").await,
    );
    let keep = |kept: &[&str]| json!({"metadata": {"finalizers": kept}});
    let retain = json!({"spec": {"deletion": "Retain"}});
    let stays = "the entry of the mapping 'one' stays when the mapping is deleted";

    ann.may_not_patch("one", &keep(&FINALIZERS[1..]), stays)
        .await;
    ann.may_not_patch("one", &keep(&[]), stays).await;
    ann.may_not_patch("one", &retain, "with deletion: Retain the entry stays")
        .await;
    // The finalizers of others are none of this policy's business.
    ann.may_patch("one", &keep(&FINALIZERS[..2])).await;
    let invented = keep(&[&FINALIZERS[..], &["identity-mapper.dev/entry"]].concat());
    ann.may_not_patch(
        "one",
        &invented,
        "the operator removes only its own finalizers",
    )
    .await;
    rita.may_patch("one", &keep(&[])).await;
    rita.may_patch("one", &retain).await;

    // Whoever grants for good may leave it for good from the start.
    let endless = |name: &str, spec: Value| {
        let mut whole = json!({"username": USERNAME, "groups": []});
        whole
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        mapping(name, &whole)
    };
    let own = endless("own", json!({"deletion": "Retain"}));
    ann.may_create("her own, for good", &own).await;
    let until = json!({"deletion": "Retain", "validUntil": "2030-06-01T00:00:00Z"});
    ann.may_not_create(
        &endless("own", until.clone()),
        "with deletion: Retain the entry stays",
    )
    .await;
    mappings
        .create(&PostParams::default(), &endless("retained", until))
        .await
        .unwrap();
    let earlier = json!({"spec": {"validUntil": "2029-06-01T00:00:00Z"}});
    ann.may_patch("retained", &earlier).await;
    let moved = json!({"spec": {"principal": {"arn": role("annsown")}}});
    ann.may_not_patch("retained", &moved, "with deletion: Retain the entry stays")
        .await;

    // A deleted mapping waits for the operator, whose own update passes.
    mappings
        .delete("one", &DeleteParams::default())
        .await
        .unwrap();
    ann.may_not_patch("one", &keep(&[]), stays).await;
    let operator = format!("system:serviceaccount:{NAMESPACE}:identity-mapper");
    let service = cluster.client_as(
        &operator,
        &["system:serviceaccounts", "system:authenticated", "editors"],
    );
    let operator = Person(Api::all(service.await));
    eventually("the operator takes its finalizers off", SOON, async || {
        operator.patch("one", &keep(&["example.com/backup"])).await
    })
    .await;
}

/// A suspended or refused spec leaves the entry as it is, so harmless words must not take its end away.
#[tokio::test]
async fn an_end_is_only_put_off_for_what_is_in_force_as_declared() {
    let cluster = guarded(&[]).await;
    let mappings = cluster.mappings();
    let spec =
        json!({"username": USERNAME, "groups": ["team-a"], "validUntil": "2030-06-01T00:00:00Z"});
    let create = PostParams::default();
    mappings
        .create(&create, &mapping("one", &spec))
        .await
        .unwrap();
    let ann = Person::editor(&cluster, "ann").await;
    let without_end = json!({"spec": {"validUntil": null}});
    let words = "a later validUntil extends the current access";
    ann.may_not_patch("one", &without_end, words).await;

    let seen = mappings.get("one").await.unwrap().metadata.generation;
    let status = json!({"status": {
        "observedGeneration": seen,
        "conditions": conditions(&["Ready", "Synced"]),
    }});
    let params = PatchParams::default();
    mappings
        .patch_status("one", &params, &Patch::Merge(&status))
        .await
        .unwrap();
    ann.may_patch("one", &without_end).await;
    for change in [
        json!({"suspend": true, "groups": [], "validUntil": null}),
        json!({"backend": "AccessEntry", "groups": [], "validUntil": null}),
        json!({"principal": {"arn": role("other")}, "suspend": true, "validUntil": "2031-01-01T00:00:00Z"}),
    ] {
        ann.may_not_patch("one", &json!({ "spec": change }), "change validUntil alone")
            .await;
    }

    // In two steps: the second finds a generation that nobody has put into effect.
    let emptied = json!({"spec": {"suspend": true, "groups": []}});
    mappings
        .patch("one", &params, &Patch::Merge(&emptied))
        .await
        .unwrap();
    ann.may_not_patch("one", &without_end, words).await;
}

/// `Ready` counts only with `Synced`: what drifted, or is held, is not in force as declared.
#[tokio::test]
async fn an_end_is_not_put_off_for_what_is_ready_but_not_synced() {
    let cluster = guarded(&[]).await;
    let mappings = cluster.mappings();
    let spec = json!({
        "username": USERNAME, "groups": ["team-a"], "validUntil": "2030-06-01T00:00:00Z",
        "accessPolicies": [{"policy": "AmazonEKSViewPolicy", "scope": {"type": "Namespace", "namespaces": ["a", "b"]}}],
    });
    let created = mappings
        .create(&PostParams::default(), &mapping("one", &spec))
        .await
        .unwrap();
    let status = |types: &[&str]| {
        json!({"status": {
            "observedGeneration": created.metadata.generation,
            "conditions": conditions(types),
        }})
    };
    let report = async |types: &[&str]| {
        let params = PatchParams::default();
        let patch = Patch::Merge(status(types));
        mappings.patch_status("one", &params, &patch).await.unwrap();
    };
    let policies = rule(
        "identity-mapper.dev",
        "accesspolicies",
        "grant",
        &["AmazonEKSViewPolicy"],
    );
    let username = rule("", "users", "impersonate", &[USERNAME]);
    let group = rule("", "groups", "impersonate", &["team-a"]);
    give(&cluster.admin(), "rita", vec![policies, username, group]).await;
    let rita = Person::editor(&cluster, "rita").await;
    let without_end = json!({"spec": {"validUntil": null}});
    report(&["Ready"]).await;
    rita.may_not_patch("one", &without_end, "a later validUntil extends")
        .await;
    report(&["Ready", "Synced"]).await;
    // The order of namespaces grants nothing.
    let reordered = json!({"spec": {"validUntil": null, "accessPolicies": [
        {"policy": "AmazonEKSViewPolicy", "scope": {"type": "Namespace", "namespaces": ["b", "a"]}},
    ]}});
    rita.may_patch("one", &reordered).await;
}

/// The operator adds them to what it has seen: an object that comes with them would wait for a removal of what nobody wrote.
#[tokio::test]
async fn a_new_mapping_has_no_finalizers_of_the_operator() {
    let cluster = guarded(&[]).await;
    let ann = Person::editor(&cluster, "ann").await;
    let mut object = mapping("one", &json!({"username": USERNAME, "groups": []}));
    object.metadata.finalizers = Some(vec![FINALIZERS[0].to_owned()]);
    ann.may_not_create(&object, "remove metadata.finalizers")
        .await;
    object.metadata.finalizers = Some(vec![FINALIZERS[2].to_owned()]);
    ann.may_create("a finalizer of others", &object).await;
}

/// Conditions of these types as the operator writes them of a mapping in effect.
fn conditions(types: &[&str]) -> Value {
    let condition = |kind: &&str| {
        json!({
            "type": kind, "status": "True", "reason": "InEffect", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    types.iter().map(condition).collect()
}

/// A confirmation was given for a change that its giver saw.
#[tokio::test]
async fn a_confirmation_of_others_does_not_lift_the_guards_for_a_deletion() {
    let cluster = guarded(&[]).await;
    let mut object = mapping("one", &json!({"groups": []}));
    let confirmed = (
        "identity-mapper.dev/confirm".to_owned(),
        "last-administrator".to_owned(),
    );
    object.metadata.annotations = Some([confirmed].into());
    let mappings = cluster.mappings();
    mappings
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let editor = Person::editor(&cluster, "bob").await;
    let delete = async || {
        let params = DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        };
        let gone = editor.0.delete("one", &params).await;
        gone.map(drop).map_err(|error| error.to_string())
    };
    let words = "also confirms its deletion, and 'bob' lacks the verb confirm";
    eventually(words, SOON, async || refused(delete().await, words)).await;
    for nothing in [json!(null), json!({"identity-mapper.dev/confirm": " , "})] {
        let without = Patch::Merge(json!({"metadata": {"annotations": nothing}}));
        mappings
            .patch("one", &PatchParams::default(), &without)
            .await
            .unwrap();
        delete().await.unwrap();
    }
}
