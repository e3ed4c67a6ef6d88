//! What is never done without a person's word, and how that word is given.

use serde_json::json;

use super::NO_TIMER;
use crate::support::mappings::{FOREIGN, role};
use crate::support::{Audit, Cluster, Operator};

async fn held(operator: &Operator) -> Option<f64> {
    let metrics = operator.metrics().await;
    Operator::metric(&metrics, "identity_mapper_removals_held", &[])
}

#[tokio::test]
async fn nodes_and_the_last_administrator_are_kept() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": "" })).await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;

    cluster
        .establish("workers", json!({ "type": "EC2Linux", "groups": [] }))
        .await;
    let text = cluster.roles().await;
    cluster.delete("workers").await;
    let seen = cluster
        .until("workers", "Ready", "False RemovalNeedsConfirmation")
        .await;
    assert!(
        seen.message
            .contains("identity-mapper.dev/confirm: node-entry"),
        "{seen:?}"
    );
    let note = cluster.note("RemovalNeedsConfirmation", "workers").await;
    assert!(note.contains("node"), "{note}");
    assert_eq!(
        (cluster.roles().await, held(&operator).await),
        (text, Some(1.0))
    );
    cluster.confirm("workers", "node-entry").await;
    cluster.gone("workers").await;
    cluster.has_entry("workers", false).await;
    // A node's names without a node's type are a slip.
    cluster
        .declare("slip", json!({ "groups": ["system:nodes"] }))
        .await;
    cluster
        .until("slip", "Ready", "False NodeEntryNeedsConfirmation")
        .await;
    cluster.has_entry("slip", false).await;
    cluster.kubectl_ok(&["delete", "idmap", "slip"], None);

    cluster
        .establish("root", json!({ "groups": ["system:masters"] }))
        .await;
    cluster.delete("root").await;
    let seen = cluster
        .until("root", "Ready", "False RemovalNeedsConfirmation")
        .await;
    assert!(
        seen.message
            .contains("identity-mapper.dev/confirm: last-administrator"),
        "{seen:?}"
    );
    cluster.note("RemovalNeedsConfirmation", "root").await;
    cluster.has_entry("root", true).await;
    // Any other way in for an administrator lets it go: here by a binding to cluster-admin.
    cluster
        .establish("admins", json!({ "groups": ["platform-admins"] }))
        .await;
    cluster.has_entry("root", true).await;
    let bind = [
        "create",
        "clusterrolebinding",
        "platform",
        "--clusterrole=cluster-admin",
        "--group=platform-admins",
    ];
    cluster.kubectl_ok(&bind, None);
    cluster.gone("root").await;
    cluster.has_entry("root", false).await;
    // Now that one is the last, and a change counts as a removal.
    cluster
        .change("admins", json!({ "spec": { "groups": ["team"] } }))
        .await;
    cluster
        .until("admins", "Synced", "False RemovalNeedsConfirmation")
        .await;
    assert!(cluster.roles().await.contains("platform-admins"));
    assert_eq!(held(&operator).await, Some(1.0));
    cluster.confirm("admins", "last-administrator").await;
    cluster.ready("admins").await;
    assert_eq!(held(&operator).await, Some(0.0));
}

#[tokio::test]
async fn a_mass_removal_waits_for_a_word_over_passes_and_restarts() {
    let cluster = Cluster::seeded().await;
    let names: Vec<String> = (0..12).map(|number| format!("m{number:02}")).collect();
    for name in &names {
        cluster.declare(name, json!({})).await;
    }
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    for name in &names {
        cluster.ready(name).await;
    }

    // Three, one by one.
    for name in &names[..3] {
        cluster.kubectl_ok(&["delete", "idmap", name], None);
    }
    assert!(operator.stop().await.0.success());
    // Three more at once, while nobody works: six in ten minutes.
    for name in &names[3..6] {
        cluster.delete(name).await;
    }
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    for name in &names[3..6] {
        let seen = cluster
            .until(name, "Ready", "False RemovalNeedsConfirmation")
            .await;
        assert!(
            seen.message
                .contains("identity-mapper.dev/confirm: mass-removal"),
            "{seen:?}"
        );
        cluster.note("RemovalNeedsConfirmation", name).await;
        cluster.has_entry(name, true).await;
    }
    assert_eq!(held(&operator).await, Some(3.0));
    // What is held is not repaired meanwhile; additions and repairs of others go on.
    let text = cluster.roles().await;
    let without = text
        .replace(&role("m04"), &role("other"))
        .replace(&role("m08"), &role("another"));
    cluster
        .write_text("kubectl-edit", "mapRoles", &without)
        .await;
    cluster.has_entry("m08", true).await;
    cluster.establish("new", json!({})).await;
    cluster.has_entry("m04", false).await;
    // Few enough by themselves, and still held after another start.
    assert!(operator.stop().await.0.success());
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.has_entry("m03", true).await;
    cluster.has_entry("m05", true).await;
    for name in ["m03", "m05"] {
        assert_eq!(
            cluster.notes("RemovalNeedsConfirmation", name).await.len(),
            1,
            "one event for each"
        );
    }
    // deletion: Retain lets one go and leaves its entry; a confirmation removes it.
    cluster
        .change("m03", json!({ "spec": { "deletion": "Retain" } }))
        .await;
    cluster.gone("m03").await;
    cluster.has_entry("m03", true).await;
    cluster.confirm("m05", "mass-removal").await;
    cluster.gone("m05").await;
    cluster.has_entry("m05", false).await;
    drop(operator);
}

#[tokio::test]
async fn deleting_the_definition_revokes_nothing() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    // Two: so few would go unnoticed by the guard against mass removal.
    for name in ["a", "b"] {
        cluster.establish(name, json!({})).await;
    }
    let text = cluster.roles().await;
    // The watch of the definition may lag behind that of the mappings, so each deletion has it looked at anew.
    cluster.establish("c", json!({})).await;
    cluster.kubectl_ok(&["delete", "idmap", "c"], None);
    let looks = cluster
        .audit()
        .writes("customresourcedefinitions")
        .verbs(&["get"]);
    assert_ne!(looks.by(Audit::OPERATOR).count().await, 0);
    assert_eq!(cluster.roles().await, text);

    let definition = "identitymappings.identity-mapper.dev";
    cluster.kubectl_ok(&["delete", "crd", definition, "--wait=false"], None);
    for name in ["a", "b"] {
        let seen = cluster
            .until(name, "Ready", "False RemovalNeedsConfirmation")
            .await;
        assert!(
            seen.message.contains("CustomResourceDefinition") && seen.message.contains("release"),
            "{seen:?}"
        );
        cluster.note("RemovalNeedsConfirmation", name).await;
    }
    assert_eq!(cluster.roles().await, text);
    // Entries are kept as they were: with the entries of others there, all goes on.
    cluster
        .write_text("kubectl-edit", "mapRoles", &format!("# note\n{text}"))
        .await;
    assert!(operator.stop().await.0.success());
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    assert_eq!(cluster.roles().await, format!("# note\n{text}"));
    assert!(text.starts_with(FOREIGN));
    // What the condition advises ends it without revoking anything.
    let output = std::process::Command::new(crate::support::programs::operator_binary())
        .args(["release", "--yes", "--kubeconfig"])
        .arg(cluster.admin_kubeconfig())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    cluster.kubectl_ok(
        &["wait", "--for=delete", "crd", definition, "--timeout=30s"],
        None,
    );
    assert_eq!(cluster.roles().await, format!("# note\n{text}"));
    assert!(operator.stop().await.0.success());
}
