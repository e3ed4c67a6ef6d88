//! Writes that can't be made: what is said then, and that it goes on by itself once the cause is gone.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::NO_TIMER;
use crate::support::mappings::{FOREIGN, SOON};
use crate::support::rights::{NAMESPACE, SERVICE_ACCOUNT};
use crate::support::{Cluster, Operator, eventually};

/// Denies every change of aws-auth.
const FREEZE: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: freeze}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [configmaps], resourceNames: [aws-auth]}
  validations:
  - {expression: "false", message: "change freeze until Monday"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: freeze}
spec: {policyName: freeze, validationActions: [Deny]}
"#;

async fn writes(operator: &Operator, result: &str) -> f64 {
    let metrics = operator.metrics().await;
    let name = "identity_mapper_writes_total";
    Operator::metric(&metrics, name, &[("result", result)]).unwrap()
}

#[tokio::test]
async fn a_write_that_cannot_be_made_is_explained_and_made_later() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.establish("a", json!({})).await;

    denied_by_admission(&cluster, &operator).await;
    forbidden(&cluster, &operator).await;
    without_history(&cluster).await;
    full(&cluster).await;
    immutable(&cluster).await;

    let events = cluster.events_on_faults().await;
    let known = [
        "WriteDenied",
        "WriteForbidden",
        "HistoryUnwritable",
        "ConfigMapFull",
        "ConfigMapImmutable",
        "ConfigMapRestored",
        "DriftRepaired",
    ];
    for event in events {
        let reason = event.reason.unwrap();
        assert!(
            known.contains(&reason.as_str()),
            "{reason}: {:?}",
            event.note
        );
    }
}

/// Denies every change of aws-auth, and waits until that is so.
pub(super) async fn freeze(cluster: &Cluster) {
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(FREEZE));
    eventually("the policy is in force", SOON, async || {
        let dry_run = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
        let answer = cluster
            .config_maps()
            .patch("aws-auth", &dry_run, &patch)
            .await;
        answer.map_or(Ok(()), Err)
    })
    .await;
}

/// Allows it again.
pub(super) fn thaw(cluster: &Cluster) {
    cluster.kubectl_ok(
        &["delete", "validatingadmissionpolicybinding", "freeze"],
        None,
    );
}

async fn denied_by_admission(cluster: &Cluster, operator: &Operator) {
    freeze(cluster).await;
    cluster.declare("b", json!({})).await;
    let seen = cluster.until("b", "Ready", "False WriteDenied").await;
    assert!(
        seen.message.contains("change freeze until Monday"),
        "{seen:?}"
    );
    cluster.until("b", "Synced", "False WriteDenied").await;
    let note = cluster.note("WriteDenied", "aws-auth").await;
    assert!(note.contains("change freeze until Monday"), "{note}");
    assert!(writes(operator, "denied").await >= 1.0);
    // What stands is in effect all the same.
    cluster.ready("a").await;
    thaw(cluster);
    cluster.ready("b").await;
}

/// Leaves the operator these rules in kube-system, and waits until that is so for `patch` of the object.
pub(super) async fn rules(cluster: &Cluster, rules: &Value, name: &str, allowed: bool) {
    let patch = json!([{ "op": "replace", "path": "/rules", "value": rules }]);
    let (patch, role) = (patch.to_string(), SERVICE_ACCOUNT);
    cluster.kubectl_ok(
        &[
            "-n",
            "kube-system",
            "patch",
            "role",
            role,
            "--type=json",
            "-p",
            &patch,
        ],
        None,
    );
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    let object = format!("configmap/{name}");
    eventually("the rules are in force", SOON, async || {
        let answer = cluster.kubectl(
            &[
                "-n",
                "kube-system",
                "auth",
                "can-i",
                "patch",
                &object,
                &account,
            ],
            None,
        );
        answer.status.success() == allowed
    })
    .await;
}

pub(super) fn standing_rules(cluster: &Cluster) -> Value {
    let role = cluster.kubectl_ok(
        &[
            "-n",
            "kube-system",
            "get",
            "role",
            SERVICE_ACCOUNT,
            "-o",
            "json",
        ],
        None,
    );
    serde_json::from_str::<Value>(&role).unwrap()["rules"].clone()
}

/// The same rules, but for this object only those of reading.
pub(super) fn read_only(all: &Value, name: &str) -> Value {
    let mut rules = all.as_array().unwrap().clone();
    let mut reading = rules[0].clone();
    reading["resourceNames"] = json!([name]);
    reading["verbs"] = json!(["get", "list", "watch"]);
    let names = rules[0]["resourceNames"].as_array_mut().unwrap();
    names.retain(|known| known != name);
    rules.push(reading);
    json!(rules)
}

async fn forbidden(cluster: &Cluster, operator: &Operator) {
    let all = standing_rules(cluster);
    rules(cluster, &read_only(&all, "aws-auth"), "aws-auth", false).await;
    cluster.declare("c", json!({})).await;
    let seen = cluster.until("c", "Ready", "False WriteForbidden").await;
    assert!(
        seen.message.contains("cannot patch resource") && seen.message.contains("Role"),
        "{seen:?}"
    );
    cluster.note("WriteForbidden", "aws-auth").await;
    assert!(writes(operator, "forbidden").await >= 1.0);
    assert!(operator.log().contains("cannot patch resource"));
    rules(cluster, &all, "aws-auth", true).await;
    cluster.ready("c").await;
}

/// Nothing new is granted without a way back; what was granted is kept and revoked.
async fn without_history(cluster: &Cluster) {
    let all = standing_rules(cluster);
    let history = "aws-auth-history";
    rules(cluster, &read_only(&all, history), history, false).await;
    cluster.declare("d", json!({})).await;
    let seen = cluster.until("d", "Ready", "False HistoryUnwritable").await;
    assert!(seen.message.contains(history), "{seen:?}");
    cluster
        .write_text("kubectl-edit", "mapRoles", FOREIGN)
        .await;
    cluster.has_entry("a", true).await;
    cluster.delete("c").await;
    cluster.gone("c").await;
    cluster.has_entry("c", false).await;
    cluster.has_entry("d", false).await;
    rules(cluster, &all, history, true).await;
    cluster.ready("d").await;
}

async fn full(cluster: &Cluster) {
    let used: usize = {
        let object = cluster.config_maps().get("aws-auth").await.unwrap();
        object.data.unwrap().values().map(String::len).sum()
    };
    // Room for 10 bytes more.
    let filler = "x".repeat(1_048_576 - used - 10);
    cluster.write_text("kubectl-edit", "filler", &filler).await;
    cluster.declare("e", json!({})).await;
    let seen = cluster.until("e", "Ready", "False ConfigMapFull").await;
    assert!(
        seen.message.contains("has 10 and") && seen.message.contains("1048576"),
        "{seen:?}"
    );
    // A removal always goes through, and makes room.
    cluster.delete("d").await;
    cluster.gone("d").await;
    cluster.ready("e").await;
    cluster
        .patch_aws_auth("kubectl-edit", json!({ "data": { "filler": null } }))
        .await;
}

async fn immutable(cluster: &Cluster) {
    cluster
        .patch_aws_auth("kubectl-edit", json!({ "immutable": true }))
        .await;
    cluster.declare("f", json!({})).await;
    let seen = cluster
        .until("f", "Ready", "False ConfigMapImmutable")
        .await;
    assert!(seen.message.contains("delete it"), "{seen:?}");
    // As the message says.
    cluster.kubectl_ok(
        &["-n", "kube-system", "delete", "configmap", "aws-auth"],
        None,
    );
    for name in ["a", "b", "e", "f"] {
        cluster.ready(name).await;
    }
    assert!(cluster.roles().await.starts_with(FOREIGN));
}
