//! Objects and statuses that the operator can't read: stored before there was a bound, by a newer version, or by hand.

use serde_json::{Value, json};

use super::NO_TIMER;
use super::entries::stage::{self, PATIENT, Stage};
use crate::support::eks::Mode;
use crate::support::mappings::{FOREIGN, SOON, role};
use crate::support::{Cluster, Operator, eventually};

const DEFINITION: &str = "identitymappings.identity-mapper.dev";
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

/// Replaces the schema of specs, and gives back the one that was there.
async fn set_schema(cluster: &Cluster, schema: &Value) -> Value {
    eventually("the definition is replaced", SOON, async || {
        let text = cluster.kubectl_ok(&["get", "crd", DEFINITION, "-o", "json"], None);
        let mut definition: Value = serde_json::from_str(&text).expect("JSON");
        let place = definition.pointer_mut(SPEC).expect("specs have a schema");
        let before = std::mem::replace(place, schema.clone());
        let output = cluster.kubectl(&["replace", "-f", "-"], Some(&definition.to_string()));
        if output.status.success() {
            Ok(before)
        } else {
            Err(output)
        }
    })
    .await
}

fn try_patch(cluster: &Cluster, name: &str, spec: &Value, more: &[&str]) -> bool {
    let patch = json!({ "spec": spec }).to_string();
    let args = ["patch", "idmap", name, "--type=merge", "-p", &patch];
    cluster
        .kubectl(&[&args, more].concat(), None)
        .status
        .success()
}

/// Changes specs past the definition's rules.
async fn spoil(cluster: &Cluster, specs: &[(&str, Value)]) {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let strict = set_schema(cluster, &anything).await;
    for (name, spec) in specs {
        eventually("anything is taken", SOON, async || {
            try_patch(cluster, name, spec, &[])
        })
        .await;
    }
    set_schema(cluster, &strict).await;
    eventually("the rules hold again", SOON, async || {
        !try_patch(
            cluster,
            specs[0].0,
            &json!({ "type": "None" }),
            &["--dry-run=server"],
        )
    })
    .await;
}

/// An object as it is stored; `None`: it is gone.
fn raw(cluster: &Cluster, name: &str) -> Option<Value> {
    let args = ["get", "idmap", name, "-o", "json", "--ignore-not-found"];
    let text = cluster.kubectl_ok(&args, None);
    (!text.is_empty()).then(|| serde_json::from_str(&text).expect("JSON"))
}

async fn gone(cluster: &Cluster, name: &str) {
    eventually(&format!("{name} is gone"), PATIENT, async || {
        raw(cluster, name).map_or(Ok(()), |object| Err(object["status"].to_string()))
    })
    .await;
}

fn delete(cluster: &Cluster, name: &str) {
    cluster.kubectl_ok(&["delete", "idmap", name, "--wait=false"], None);
}

/// Waits until Ready says this in its message.
async fn says(cluster: &Cluster, name: &str, words: &[&str]) {
    eventually(
        &format!("Ready of {name} names {words:?}"),
        PATIENT,
        async || {
            let object = raw(cluster, name).expect("it is there");
            let conditions = object["status"]["conditions"].as_array();
            let ready = conditions
                .into_iter()
                .flatten()
                .find(|condition| condition["type"] == "Ready");
            let message = ready.and_then(|ready| ready["message"].as_str());
            let named =
                message.is_some_and(|message| words.iter().all(|word| message.contains(word)));
            if named && ready.is_some_and(|ready| ready["status"] == "False") {
                Ok(())
            } else {
                Err(object["status"].to_string())
            }
        },
    )
    .await;
}

/// Waits until the entry of a mapping exists, or does not.
async fn has_entry(stage: &Stage, mode: Mode, name: &str, expected: bool) {
    let arn = role(name);
    eventually(&format!("{name}: {expected}"), PATIENT, async || {
        let exists = match mode {
            Mode::Api => stage.entry(&arn).is_some(),
            _ => stage.cluster.roles().await.contains(&arn),
        };
        exists == expected
    })
    .await;
}

#[tokio::test]
async fn objects_that_cannot_be_read_follow_the_rule_in_aws_auth() {
    story(Mode::ConfigMap).await;
}

#[tokio::test]
async fn objects_that_cannot_be_read_follow_the_rule_in_access_entries() {
    story(Mode::Api).await;
}

/// They keep what they have until they are deleted, and are then removed by what of them can be read; all others go on.
async fn story(mode: Mode) {
    let mut stage = Stage::new(mode, &stage::NO_TIMER).await;
    for name in [
        "stays-1", "stays-2", "stays-3", "year", "zone", "word", "unsure", "ended",
    ] {
        stage.establish(name, json!({})).await;
    }
    stage
        .establish("retain", json!({ "deletion": "Retain" }))
        .await;
    spoil(
        &stage.cluster,
        &[
            ("year", json!({ "validUntil": "9999-12-31T23:59:59Z" })),
            ("zone", json!({ "validUntil": "2020-12-24T18:00:00+99:99" })),
            ("word", json!({ "type": "Quantum" })),
            ("unsure", json!({ "deletion": "Perhaps" })),
            ("retain", json!({ "validUntil": "9999-12-31T23:59:59Z" })),
            (
                "ended",
                json!({ "type": "Quantum", "validUntil": "2020-12-24T18:00:00Z" }),
            ),
        ],
    )
    .await;
    has_entry(&stage, mode, "ended", false).await;
    for name in ["year", "zone", "word", "unsure", "retain"] {
        let edit = format!("kubectl edit identitymapping {name}");
        says(&stage.cluster, name, &["can't be read", &edit]).await;
        has_entry(&stage, mode, name, true).await;
    }
    stage.establish("after", json!({})).await;

    delete(&stage.cluster, "year");
    gone(&stage.cluster, "year").await;
    has_entry(&stage, mode, "year", false).await;
    // While nobody works, and some of them are there from the start.
    stage.stop().await;
    for name in ["zone", "retain"] {
        delete(&stage.cluster, name);
    }
    stage.start(&stage::NO_TIMER).await;
    for (name, stays) in [("zone", false), ("retain", true)] {
        gone(&stage.cluster, name).await;
        has_entry(&stage, mode, name, stays).await;
    }
    delete(&stage.cluster, "word");
    gone(&stage.cluster, "word").await;
    has_entry(&stage, mode, "word", false).await;

    // Nobody can tell whether this one's entry is to be removed, until somebody says so.
    delete(&stage.cluster, "unsure");
    says(&stage.cluster, "unsure", &["spec.deletion"]).await;
    stage.establish("later", json!({})).await;
    has_entry(&stage, mode, "unsure", true).await;
    let revoke = json!({ "deletion": "Revoke" });
    assert!(try_patch(&stage.cluster, "unsure", &revoke, &[]));
    gone(&stage.cluster, "unsure").await;
    has_entry(&stage, mode, "unsure", false).await;
    for name in ["stays-1", "stays-2", "stays-3", "after", "later"] {
        stage.cluster.ready(name).await;
        has_entry(&stage, mode, name, true).await;
    }
}

fn write_status(cluster: &Cluster, name: &str, status: &Value) {
    let patch = json!({ "status": status }).to_string();
    let subresource = "--subresource=status";
    let args = [
        "patch",
        "idmap",
        name,
        subresource,
        "--type=merge",
        "-p",
        &patch,
    ];
    cluster.kubectl_ok(&args, None);
}

/// Times that the API server takes, in every field of a status that holds one, and in what Kubernetes keeps of writers.
#[tokio::test]
async fn statuses_of_any_content_neither_end_the_process_nor_hold_others_up() {
    const LAST: &str = "9999-12-30T21:59:59Z";
    const BEYOND: &str = "9999-12-31T23:59:59Z";
    const NOWHERE: &str = "2026-12-24T18:00:00+99:99";
    let drift = |time: &str| json!({ "time": time, "what": "changed", "manager": "somebody" });
    let ready = |time: &str| {
        json!([{
            "type": "Ready", "status": "True", "reason": "InEffect", "message": "",
            "lastTransitionTime": time,
        }])
    };
    let cluster = Cluster::seeded().await;
    let mut operator = Operator::start(&cluster, &NO_TIMER).await;
    let mut names = Vec::new();
    for (number, time) in [LAST, BEYOND, NOWHERE, "0001-01-01T00:00:00Z"]
        .into_iter()
        .enumerate()
    {
        for (field, value) in [
            ("lastDrift", drift(time)),
            ("lastSynced", json!(time)),
            ("seenValidUntil", json!(time)),
            ("conditions", ready(time)),
        ] {
            let name = format!("{}-{number}", field.to_lowercase());
            cluster.declare(&name, json!({})).await;
            cluster.ready(&name).await;
            write_status(&cluster, &name, &json!({ field: value }));
            names.push(name);
        }
    }
    // What is found of it, drift of every one included, is told and repaired all the same.
    cluster.establish("fence", json!({})).await;
    cluster.write_text("vandal", "mapRoles", FOREIGN).await;
    for name in &names {
        cluster.has_entry(name, true).await;
    }
    // Also in the first pass after a start.
    assert!(operator.exited().is_none(), "{}", operator.log());
    assert!(operator.stop().await.0.success());
    for name in &names[..4] {
        write_status(&cluster, name, &json!({ "lastDrift": drift(LAST) }));
    }
    let mut operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.establish("another", json!({})).await;

    // The times of writers are theirs to choose.
    let patch = json!([
        { "op": "replace", "path": "/metadata/managedFields/0/time", "value": BEYOND },
    ]);
    let patch = patch.to_string();
    for object in [
        ["configmap", "aws-auth"],
        ["configmap", "aws-auth-history"],
        ["crd", DEFINITION],
    ] {
        let args = ["patch", object[0], object[1], "-n", "kube-system"];
        cluster.kubectl_ok(&[&args[..], &["--type=json", "-p", &patch]].concat(), None);
        let args = [
            "get",
            object[0],
            object[1],
            "-n",
            "kube-system",
            "-o",
            "json",
        ];
        let text = cluster.kubectl_ok(&[&args[..], &["--show-managed-fields"]].concat(), None);
        // Of the others the API server may set the time itself.
        assert!(object[1] != "aws-auth" || text.contains(BEYOND), "{text}");
    }
    cluster.establish("third", json!({})).await;
    delete(&cluster, &names[0]);
    gone(&cluster, &names[0]).await;
    let args = ["get", "configmap", "aws-auth", "-n", "kube-system"];
    let text = cluster.kubectl_ok(&[&args[..], &["-o", "yaml"]].concat(), None);
    assert!(text.contains(&role("third")) && !text.contains(&format!("{}\"", role(&names[0]))));
    assert!(operator.exited().is_none(), "{}", operator.log());
    assert!(operator.stop().await.0.success());
}
