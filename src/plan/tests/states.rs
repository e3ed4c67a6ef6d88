//! `status.state`, and which conditions a mapping has.

use serde_json::json;

use super::cluster;
use crate::api::v1alpha1::MappingState;
use crate::plan::WriteFailure;

#[test]
fn a_settled_mapping_has_the_conditions_that_apply_and_no_others() {
    let simulation = cluster(&["a"]);
    let status = simulation.objects["a"].status.clone().expect("written");
    let types: Vec<&str> = status
        .conditions
        .iter()
        .map(|it| it.type_.as_str())
        .collect();
    assert_eq!(types, ["Accepted", "GroupsBound", "Ready", "Synced"]);
}

#[test]
fn a_condition_that_no_longer_applies_is_removed_from_the_status() {
    let mut simulation = cluster(&["a"]);
    simulation.create("b", "role/a", &json!({}));
    simulation.settle();
    assert_eq!(
        simulation.condition("b", "Stalled"),
        "True DuplicatePrincipal"
    );
    simulation.edit("b", |object| {
        object.spec.principal.arn = Some("arn:aws:iam::111122223333:role/b".to_owned());
    });
    simulation.settle();
    assert_eq!(simulation.condition("b", "Stalled"), "");
    assert_eq!(simulation.ready("b"), "True InEffect");
}

#[test]
fn kubectl_gets_short_values() {
    let mut simulation = cluster(&["a"]);
    let summary = |simulation: &crate::plan::simulation::Simulation, name: &str| {
        let status = simulation.objects[name].status.clone();
        status.and_then(|it| it.summary).expect("written")
    };
    let short = summary(&simulation, "a");
    assert_eq!(
        (
            short.principal.as_str(),
            short.username.as_str(),
            short.groups.as_str()
        ),
        ("role/a (111122223333)", "a", "g")
    );
    let policy = |name: &str, scope: &serde_json::Value| json!({"policy": name, "scope": scope});
    let cluster = json!({"type": "Cluster"});
    let namespace = json!({"type": "Namespace", "namespaces": ["a"]});
    simulation.create(
        "b",
        "role/with-a-name-that-is-very-long-indeed",
        &json!({
            "username": "someone:{{SessionName}}:somewhere:{{AccountID}}",
            "groups": ["first-group", "second-group", "third-group"],
            "accessPolicies": [policy("AmazonEKSViewPolicy", &namespace), policy("AmazonEKSClusterAdminPolicy", &cluster)],
        }),
    );
    simulation.create("c", "role/c", &json!({"username": null}));
    simulation.settle();
    let short = summary(&simulation, "b");
    assert_eq!(
        [
            &short.principal,
            &short.username,
            &short.groups,
            &short.access_policies
        ],
        [
            "role/wit…indeed (…3333)",
            "someon…{{…}}",
            "firs…roup +2",
            "View (ns) +1"
        ]
    );
    assert_eq!(summary(&simulation, "c").username, "(default)");
    assert_eq!(
        simulation.condition("c", "GroupsBound"),
        "False GroupsUnbound"
    );
    simulation.edit("c", |object| object.spec.groups.clear());
    simulation.settle();
    assert_eq!(simulation.condition("c", "GroupsBound"), "", "it has none");
}

#[test]
fn the_state_is_one_word() {
    let mut simulation = cluster(&["active", "paused"]);
    simulation.edit("paused", |object| object.spec.suspend = true);
    simulation.create("failed", "role/active", &json!({}));
    simulation.create(
        "held",
        "role/held",
        &json!({"type": "EC2Linux", "username": null, "groups": null}),
    );
    simulation.create(
        "expired",
        "role/expired",
        &json!({"validUntil": "2020-01-01T00:00:00Z"}),
    );
    simulation.settle();
    simulation.delete("held");
    simulation.settle();
    for (name, state) in [
        ("active", MappingState::Active),
        ("paused", MappingState::Suspended),
        ("failed", MappingState::Failed),
        ("expired", MappingState::Expired),
        ("held", MappingState::Held),
    ] {
        assert_eq!(simulation.state(name), Some(state), "{name}");
    }
    simulation.write_failure = Some(WriteFailure::Unavailable("no answer".to_owned()));
    simulation.create("pending", "role/pending", &json!({}));
    simulation.settle();
    assert_eq!(simulation.state("pending"), Some(MappingState::Pending));
}
