//! A text that does not parse, and an aws-auth that is gone: the lock-outs that the operator lives through.

use serde_json::{Value, json};

use super::NO_TIMER;
use crate::support::mappings::FOREIGN;
use crate::support::{Audit, Cluster, Operator};

const MARK: &str = "identity-mapper.dev/managed";

/// Whether the history holds this text of `mapRoles`.
async fn keeps(cluster: &Cluster, text: &str) -> bool {
    let history = cluster.history().await;
    history
        .values()
        .any(|copy: &Value| copy["data"]["mapRoles"] == text)
}

fn delete_aws_auth(cluster: &Cluster) {
    cluster.kubectl_ok(
        &["-n", "kube-system", "delete", "configmap", "aws-auth"],
        None,
    );
}

#[tokio::test]
async fn what_was_lost_is_put_back_as_it_last_stood() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.establish("a", json!({})).await;
    let good = cluster.roles().await;

    let mark = cluster.audit().mark().await;
    let broken = format!("{good}\n- rolearn: @someone\n");
    cluster
        .write_text("kubectl-edit", "mapRoles", &broken)
        .await;
    cluster.text_until("mapRoles", |text| text == good).await;
    assert_eq!(cluster.writes_since(mark).await, 1);
    let note = cluster.note("InvalidYAMLRepaired", "aws-auth").await;
    let line = broken.lines().count();
    for part in [
        "mapRoles",
        &format!("line {line}, column 12"),
        "@someone",
        "kubectl-edit",
    ] {
        assert!(note.contains(part), "{part} is not in {note:?}");
    }
    assert!(keeps(&cluster, &broken).await, "the broken text is kept");
    let metrics = operator.metrics().await;
    let metric = |name, labels| Operator::metric(&metrics, name, labels);
    assert_eq!(
        metric("identity_mapper_drift_repaired_total", &[("kind", "text")]),
        Some(1.0)
    );
    assert_eq!(
        metric("identity_mapper_aws_auth_parses", &[("key", "mapRoles")]),
        Some(1.0)
    );

    // The whole ConfigMap comes back, foreign entries, label and mark included.
    cluster
        .patch_aws_auth(
            "kubectl-label",
            json!({ "metadata": { "labels": { "team": "platform" } } }),
        )
        .await;
    cluster.establish("b", json!({})).await;
    let good = cluster.roles().await;
    let before = cluster.config_maps().get("aws-auth").await.unwrap();
    let mark = cluster.audit().mark().await;
    delete_aws_auth(&cluster);
    cluster.text_until("mapRoles", |text| text == good).await;
    let after = cluster.config_maps().get("aws-auth").await.unwrap();
    assert_eq!(after.metadata.labels, before.metadata.labels);
    assert_eq!(after.metadata.annotations, before.metadata.annotations);
    assert_eq!(cluster.writes_since(mark).await, 1);
    cluster.note("ConfigMapRestored", "aws-auth").await;

    revoked_while_broken(&cluster).await;
    let last = cluster.roles().await;
    assert!(last.starts_with(FOREIGN), "{last}");
    assert!(
        cluster.notes("DriftRepaired", "a").await.is_empty(),
        "no mapping is blamed"
    );
}

/// A mapping that goes while the text is broken goes for good.
async fn revoked_while_broken(cluster: &Cluster) {
    let good = cluster.roles().await;
    cluster.delete("b").await;
    cluster
        .write_text("kubectl-edit", "mapRoles", &format!("{good}\t- broken"))
        .await;
    cluster.gone("b").await;
    cluster.has_entry("a", true).await;
    cluster.has_entry("b", false).await;
    cluster.ready("a").await;
}

#[tokio::test]
async fn with_repair_off_a_person_decides() {
    let cluster = Cluster::seeded().await;
    let user = json!({ "principal": { "arn": "arn:aws:iam::111122223333:user/u" } });
    let operator = Operator::start(&cluster, &["--resync=24h", "--repair=Off"]).await;
    cluster.establish("a", json!({})).await;
    let good = cluster.roles().await;

    let mark = cluster.audit().mark().await;
    let broken = format!("{good}- rolearn: [\n");
    cluster
        .write_text("kubectl-edit", "mapRoles", &broken)
        .await;
    let seen = cluster.until("a", "Ready", "False InvalidYAML").await;
    assert!(
        seen.message.contains("mapRoles") && seen.message.contains("line"),
        "{seen:?}"
    );
    cluster.until("a", "Stalled", "True InvalidYAML").await;
    let note = cluster.note("InvalidYAML", "aws-auth").await;
    assert!(
        note.contains("kubectl-edit") && note.contains("fix"),
        "{note}"
    );
    assert_eq!(cluster.writes_since(mark).await, 0);
    let metrics = operator.metrics().await;
    let parses = Operator::metric(
        &metrics,
        "identity_mapper_aws_auth_parses",
        &[("key", "mapRoles")],
    );
    assert_eq!(parses, Some(0.0));
    // The other key is as good as ever.
    cluster.establish("u", user).await;
    assert_eq!(cluster.roles().await, broken);

    // Found broken at the start, it is a person's to mend, whatever the setting: the history may be out of date.
    assert!(operator.stop().await.0.success());
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.declare("c", json!({})).await;
    cluster.until("c", "Ready", "False InvalidYAML").await;
    assert_eq!(cluster.roles().await, broken);
    cluster.write_text("kubectl-edit", "mapRoles", &good).await;
    cluster.ready("a").await;
    cluster.ready("c").await;
    assert!(cluster.roles().await.starts_with(&good));
    assert!(operator.stop().await.0.success());

    // Deleted: made again with ours alone, and the event says what is missing.
    let operator = Operator::start(&cluster, &["--resync=24h", "--repair=Off"]).await;
    delete_aws_auth(&cluster);
    let roles = cluster
        .text_until("mapRoles", |text| text.contains("role/c"))
        .await;
    assert!(
        roles.contains("role/a") && !roles.contains("role/nodes"),
        "{roles}"
    );
    let note = cluster.note("ConfigMapDeleted", "aws-auth").await;
    assert!(
        note.contains("1 unmanaged entr") && note.contains("role/nodes"),
        "{note}"
    );
    for name in ["a", "c", "u"] {
        cluster.ready(name).await;
    }
    let object = cluster.config_maps().get("aws-auth").await.unwrap();
    let annotations = object.metadata.annotations.unwrap_or_default();
    assert!(annotations.contains_key(MARK), "{annotations:?}");
    // Gone while nobody looked, it is no loss that this process saw: made with what is declared.
    assert!(operator.stop().await.0.success());
    delete_aws_auth(&cluster);
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.has_entry("a", true).await;
    let created = cluster
        .audit()
        .writes("configmaps")
        .of("aws-auth")
        .verbs(&["create"]);
    assert_eq!(created.by(Audit::OPERATOR).count().await, 2);
}
