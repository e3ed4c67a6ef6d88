//! One replica at least is there during a drain, a rollout, and the loss of a node or a zone.

use serde_json::{Value, json};

use super::{documents, find, render};

/// What selects the replicas, of a Deployment.
fn selector(deployment: &Value) -> Value {
    let selector = deployment["spec"]["selector"].clone();
    let wanted = selector["matchLabels"].as_object().unwrap();
    assert!(!wanted.is_empty());
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (key, value) in wanted {
        assert_eq!(labels[key], *value, "{key}");
    }
    selector
}

#[test]
fn two_replicas_are_apart_where_possible_and_never_evicted_together() {
    let documents = documents(&render(&[]));
    let deployment = find(&documents, "Deployment");
    let selector = selector(&deployment);
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(
        deployment["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
    );
    let budget = find(&documents, "PodDisruptionBudget");
    for field in ["name", "namespace"] {
        assert_eq!(budget["metadata"][field], deployment["metadata"][field]);
    }
    assert_eq!(
        budget["spec"],
        json!({
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": selector,
        })
    );
    // Preferred: with a single node both run there.
    let spec = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        spec["affinity"],
        json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector},
        }]}})
    );
    assert_eq!(
        spec["topologySpreadConstraints"],
        json!([{
            "topologyKey": "topology.kubernetes.io/zone",
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }])
    );
}

/// With a budget its only Pod could never be evicted, or it would be one that allows everything.
#[test]
fn a_single_replica_has_no_disruption_budget() {
    let documents = documents(&render(&["replicas=1"]));
    let budgets = documents
        .iter()
        .filter(|document| document["kind"] == "PodDisruptionBudget");
    assert_eq!(budgets.count(), 0);
    let deployment = find(&documents, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 1);
    // The new Pod starts before the old one ends.
    let rollout = &deployment["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(*rollout, json!({"maxUnavailable": 0, "maxSurge": 1}));
}

#[test]
fn ones_own_affinity_and_spread_replace_those_of_the_chart() {
    let constraint = r#"topologySpreadConstraints=[{"topologyKey": "rack", "maxSkew": 2}]"#;
    let documents = documents(&render(&["affinity.nodeAffinity.x=y", constraint]));
    let spec = &find(&documents, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(spec["affinity"], json!({"nodeAffinity": {"x": "y"}}));
    assert_eq!(
        spec["topologySpreadConstraints"],
        json!([{"topologyKey": "rack", "maxSkew": 2}])
    );
}
