//! What a mapping granted does not stay behind because its author wants it so.

use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::{Person, give, guarded, rule};
use crate::support::eventually;
use crate::support::mappings::{SOON, mapping};
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
    let stays = "the entry of the mapping 'one' stays when the mapping goes";

    ann.may_not_patch("one", &keep(&FINALIZERS[1..]), stays)
        .await;
    ann.may_not_patch("one", &keep(&[]), stays).await;
    ann.may_not_patch("one", &retain, "with deletion: Retain the entry stays")
        .await;
    // The finalizers of others, and one more of ours, are none of this policy's business.
    ann.may_patch("one", &keep(&FINALIZERS[..2])).await;
    ann.may_patch(
        "one",
        &keep(&[&FINALIZERS[..], &["identity-mapper.dev/entry"]].concat()),
    )
    .await;
    rita.may_patch("one", &keep(&[])).await;
    rita.may_patch("one", &retain).await;

    // Without an end there is nothing that it could outlive. One that is retained already may be edited.
    let endless = mapping("endless", &json!({"groups": []}));
    mappings
        .create(&PostParams::default(), &endless)
        .await
        .unwrap();
    ann.may_patch("endless", &retain).await;
    let retained =
        json!({"groups": [], "validUntil": "2030-06-01T00:00:00Z", "deletion": "Retain"});
    mappings
        .create(&PostParams::default(), &mapping("retained", &retained))
        .await
        .unwrap();
    ann.may_patch(
        "retained",
        &json!({"spec": {"validUntil": "2029-06-01T00:00:00Z"}}),
    )
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
