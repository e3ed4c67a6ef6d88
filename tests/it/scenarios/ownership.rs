//! Whose entry is it: losing the mark, taking over, leaving, adopting.

use serde_json::json;

use super::NO_TIMER;
use crate::support::mappings::{FOREIGN, role};
use crate::support::{Audit, Cluster, Operator};

const MARK: &str = "identity-mapper.dev/managed";

/// `kubectl replace` with a manifest of data alone, as from a Git repository that knows of no annotation.
fn replace_without_annotations(cluster: &Cluster, roles: &str) {
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "aws-auth", "namespace": "kube-system" },
        "data": { "mapRoles": roles },
    });
    cluster.kubectl_ok(&["replace", "-f", "-"], Some(&manifest.to_string()));
}

/// How many entries are marked as ours.
async fn marked(cluster: &Cluster) -> usize {
    let object = cluster.config_maps().get("aws-auth").await.unwrap();
    let annotations = object.metadata.annotations.unwrap_or_default();
    annotations
        .get(MARK)
        .map_or(0, |mark| mark.split_whitespace().count())
}

#[tokio::test]
async fn a_lost_mark_is_no_lost_ownership() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    let mark = cluster.audit().mark().await;
    cluster.establish("a", json!({})).await;

    // The finalizer stands before anything is granted.
    let audit = cluster.audit();
    let first = |records: Vec<crate::support::Record>| records[0].stage_timestamp.clone();
    let finalizer = audit
        .writes("identitymappings")
        .of("a")
        .by(Audit::OPERATOR)
        .since(mark);
    let granted = audit
        .writes("configmaps")
        .of("aws-auth")
        .by(Audit::OPERATOR)
        .since(mark);
    assert!(first(finalizer.records().await) < first(granted.records().await));

    for name in ["b", "c"] {
        cluster.establish(name, json!({})).await;
    }
    assert_eq!(marked(&cluster).await, 3);
    let text = cluster.roles().await;
    replace_without_annotations(&cluster, &text);
    cluster.establish("fence", json!({})).await;
    assert_eq!(marked(&cluster).await, 4);
    // `kubectl delete` returns when the entry is gone.
    cluster.kubectl_ok(&["delete", "idmap", "a"], None);
    let text = cluster.roles().await;
    assert!(!text.contains(&format!("{}\"", role("a"))), "{text}");

    // Both while nobody looks.
    assert!(operator.stop().await.0.success());
    replace_without_annotations(&cluster, &text);
    cluster.delete("b").await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.gone("b").await;
    cluster.has_entry("b", false).await;
    cluster.ready("c").await;
    assert_eq!(marked(&cluster).await, 2);

    // An entry that lost its mark and says something else is nobody's to remove; the event says that it stays.
    assert!(operator.stop().await.0.success());
    let text = cluster.roles().await;
    let (c, rest) = (text.find(&format!("{}\"", role("c"))).unwrap(), "team");
    let changed = format!("{}{}", &text[..c], text[c..].replacen(rest, "other", 1));
    replace_without_annotations(&cluster, &changed);
    cluster.delete("c").await;
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.gone("c").await;
    let note = cluster.note("EntryKept", "c").await;
    assert!(
        note.contains("stays") && note.contains("mapRoles line"),
        "{note}"
    );
    cluster.has_entry("c", true).await;
}

#[tokio::test]
async fn entries_change_hands_as_declared() {
    let cluster = Cluster::seeded().await;
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    retained_and_adopted(&cluster).await;
    unmanaged_entries_are_left_or_adopted(&cluster).await;
    suspended(&cluster).await;
    taken_over(&cluster).await;
    moved(&cluster).await;
}

async fn retained_and_adopted(cluster: &Cluster) {
    let delete = || cluster.kubectl_ok(&["delete", "idmap", "kept"], None);
    cluster
        .establish("kept", json!({ "deletion": "Retain" }))
        .await;
    let text = cluster.roles().await;
    delete();
    assert_eq!(
        (cluster.roles().await, marked(cluster).await),
        (text.clone(), 0)
    );

    cluster
        .declare("kept", json!({ "adoption": "Never" }))
        .await;
    cluster.until("kept", "Synced", "False NotManaged").await;
    cluster.until("kept", "Ready", "True InEffect").await;
    delete();
    assert_eq!(
        (cluster.roles().await, marked(cluster).await),
        (text.clone(), 0)
    );

    cluster.establish("kept", json!({})).await;
    assert_eq!((cluster.roles().await, marked(cluster).await), (text, 1));
    delete();
    assert_eq!(
        (cluster.roles().await, marked(cluster).await),
        (FOREIGN.to_owned(), 0)
    );
}

async fn unmanaged_entries_are_left_or_adopted(cluster: &Cluster) {
    let with = |group: &str| {
        format!(
            "{FOREIGN}- {{groups: [{group}], username: x, rolearn: '{}'}} # eksctl\n",
            role("theirs")
        )
    };
    cluster.write_text("eksctl", "mapRoles", &with("ops")).await;
    cluster.declare("theirs", json!({ "username": "x" })).await;
    let seen = cluster
        .until("theirs", "Ready", "False UnmanagedEntry")
        .await;
    assert!(
        seen.message.contains("mapRoles line 5") && seen.message.contains("ops"),
        "{seen:?}"
    );
    cluster.note("UnmanagedEntry", "theirs").await;
    assert_eq!(cluster.roles().await, with("ops"));
    // Theirs becomes what is declared: adopted as it is written.
    cluster
        .write_text("eksctl", "mapRoles", &with("team"))
        .await;
    cluster.ready("theirs").await;
    assert_eq!(
        (cluster.roles().await, marked(cluster).await),
        (with("team"), 1)
    );
    cluster.kubectl_ok(&["delete", "idmap", "theirs"], None);
    // Always: taken over and changed.
    cluster.write_text("eksctl", "mapRoles", &with("ops")).await;
    cluster
        .establish("theirs", json!({ "username": "x", "adoption": "Always" }))
        .await;
    let text = cluster.roles().await;
    assert!(text.starts_with(FOREIGN) && !text.contains("ops"), "{text}");
    cluster.kubectl_ok(&["delete", "idmap", "theirs"], None);
    cluster.write_text("eksctl", "mapRoles", FOREIGN).await;
}

async fn suspended(cluster: &Cluster) {
    cluster.establish("paused", json!({})).await;
    cluster
        .change("paused", json!({ "spec": { "suspend": true } }))
        .await;
    cluster.until("paused", "Synced", "False Suspended").await;
    cluster.until("paused", "Ready", "True InEffect").await;
    let vandalised = cluster.roles().await.replace("team", "other");
    cluster
        .write_text("kubectl-edit", "mapRoles", &vandalised)
        .await;
    cluster.until("paused", "Ready", "False Suspended").await;
    cluster
        .change("paused", json!({ "spec": { "groups": ["third"] } }))
        .await;
    cluster.establish("fence", json!({})).await;
    let text = cluster.roles().await;
    assert!(text.starts_with(&vandalised), "{text}");
    cluster
        .change("paused", json!({ "spec": { "suspend": false } }))
        .await;
    cluster.ready("paused").await;
    assert!(cluster.roles().await.contains("third"));
    // Deletion acts all the same.
    cluster
        .change("paused", json!({ "spec": { "suspend": true } }))
        .await;
    // With those before them they are all that was managed within ten minutes.
    for name in ["paused", "fence"] {
        cluster.confirm(name, "mass-removal").await;
    }
    cluster.kubectl_ok(&["delete", "idmap", "paused", "fence"], None);
    assert_eq!(cluster.roles().await, FOREIGN);
}

async fn taken_over(cluster: &Cluster) {
    let same = |group: &str| json!({ "principal": { "arn": role("shared") }, "groups": [group] });
    cluster.establish("older", same("first")).await;
    cluster.declare("younger", same("second")).await;
    let seen = cluster
        .until("younger", "Ready", "False DuplicatePrincipal")
        .await;
    assert!(seen.message.contains("older"), "{seen:?}");
    cluster.note("DuplicatePrincipal", "younger").await;
    let mark = cluster.audit().mark().await;
    cluster.kubectl_ok(&["delete", "idmap", "older"], None);
    let text = cluster.roles().await;
    assert!(text.contains("second") && !text.contains("first"), "{text}");
    cluster.ready("younger").await;
    assert_eq!(
        cluster.writes_since(mark).await,
        1,
        "the next one holds it in the same write"
    );
    cluster.confirm("younger", "mass-removal").await;
    cluster.kubectl_ok(&["delete", "idmap", "younger"], None);
}

/// A changed principal moves the entry, in one write; a path is no other principal in aws-auth.
async fn moved(cluster: &Cluster) {
    cluster.establish("moving", json!({})).await;
    // Again all that was managed within ten minutes.
    cluster.confirm("moving", "mass-removal").await;
    let mark = cluster.audit().mark().await;
    let principal = |arn: String| json!({ "spec": { "principal": { "arn": arn } } });
    cluster.change("moving", principal(role("elsewhere"))).await;
    cluster.ready("moving").await;
    cluster.has_entry("moving", false).await;
    cluster.has_entry("elsewhere", true).await;
    assert_eq!(cluster.writes_since(mark).await, 1);
    cluster
        .change("moving", principal(role("with/a/path/elsewhere")))
        .await;
    cluster.ready("moving").await;
    cluster.has_entry("elsewhere", true).await;
    assert_eq!(cluster.writes_since(mark).await, 1);
    cluster.kubectl_ok(&["delete", "idmap", "moving"], None);
    assert_eq!(cluster.roles().await, FOREIGN);
}
