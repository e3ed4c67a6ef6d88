//! Someone changes entries of ours: they are back at once, and everybody is told once.

use serde_json::json;

use super::NO_TIMER;
use crate::support::mappings::{Diary, FOREIGN, role};
use crate::support::{Cluster, Operator};

/// The metric of drift that was put right.
async fn repaired(operator: &Operator, kind: &str) -> Option<f64> {
    let metrics = operator.metrics().await;
    let name = "identity_mapper_drift_repaired_total";
    Operator::metric(&metrics, name, &[("kind", kind)])
}

#[tokio::test]
async fn a_changed_managed_entry_is_restored_and_a_changed_unmanaged_one_stays() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    assert_eq!(cluster.history().await.len(), 0);
    cluster.establish("a", json!({})).await;
    cluster.establish("b", json!({})).await;
    let history = cluster.history().await;
    let before_us = history.iter().find(|(name, _)| name.starts_with("first-"));
    let (_, before_us) = before_us.expect("the text before the first write is kept");
    assert_eq!(before_us["data"]["mapRoles"], FOREIGN);

    let declared = cluster.roles().await;
    assert!(declared.starts_with(FOREIGN), "{declared}");
    let diary = Diary::of(&cluster, "a").await;
    let mark = cluster.audit().mark().await;

    // Both entries get another group; one write puts both right.
    let vandalised = declared.replace("team", "system:masters");
    assert_eq!(vandalised.matches("system:masters").count(), 2);
    cluster
        .write_text("terraform", "mapRoles", &vandalised)
        .await;
    cluster
        .text_until("mapRoles", |text| text == declared)
        .await;
    let note = cluster.note("DriftRepaired", "a").await;
    assert!(
        note.contains("system:masters") && note.contains("terraform"),
        "{note}"
    );
    cluster.note("DriftRepaired", "b").await;
    assert_eq!(cluster.writes_since(mark).await, 1);
    cluster.establish("fence1", json!({})).await;
    let drift = cluster.drift("a").await;
    assert_eq!(drift.manager, "terraform");
    assert!(drift.what.contains("system:masters"), "{}", drift.what);
    assert_eq!(repaired(&operator, "changed").await, Some(2.0));

    // One entry is taken out.
    let declared = cluster.roles().await;
    let start = declared.rfind("- rolearn: \"").unwrap();
    assert!(declared[start..].contains(&role("fence1")));
    cluster
        .write_text("kubectl-edit", "mapRoles", &declared[..start])
        .await;
    cluster.has_entry("fence1", true).await;
    cluster.establish("fence2", json!({})).await;
    let drift = cluster.drift("fence1").await;
    assert_eq!(drift.manager, "kubectl-edit");
    assert_eq!(repaired(&operator, "removed").await, Some(1.0));
    // A drift that is mended in the same pass flips no condition.
    assert_eq!(diary.conditions(&cluster, "Ready").await, ["True InEffect"]);
    assert_eq!(diary.conditions(&cluster, "Synced").await, ["True Synced"]);

    // Someone else's entries, comments, keys, labels: none of our business.
    let mark = cluster.audit().mark().await;
    let by_hand = cluster
        .roles()
        .await
        .replace("# by hand", "# by\n# another hand");
    let by_hand = by_hand.replace("[system:bootstrappers, system:nodes]", "[system:nodes]");
    let patch = json!({ "metadata": { "labels": { "a": "b" } }, "data": { "mapRoles": by_hand, "mapUsers": "[]", "x": "y" } });
    cluster.patch_aws_auth("kubectl-edit", patch).await;
    cluster.establish("fence3", json!({})).await;
    assert_eq!(cluster.writes_since(mark).await, 1, "for fence3 alone");
    let after = cluster.roles().await;
    assert!(after.starts_with(&by_hand), "{after}");

    // The whole key goes: ours are back, what was foreign in it was somebody's to remove.
    cluster
        .patch_aws_auth("kubectl-edit", json!({ "data": { "mapRoles": null } }))
        .await;
    let back = cluster
        .text_until("mapRoles", |text| text.contains(&role("fence3")))
        .await;
    for name in ["a", "b", "fence1", "fence2"] {
        assert!(
            back.contains(&format!("{}\"", role(name))),
            "{name}: {back}"
        );
    }
    assert!(!back.contains("nodes"), "{back}");
    for name in ["a", "b", "fence1", "fence2", "fence3"] {
        cluster.ready(name).await;
    }
}
