//! The process: when it is ready, how it ends, what `--observe`, another `ConfigMap` and `release` mean.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::NO_TIMER;
use crate::support::mappings::{FOREIGN, SOON, role};
use crate::support::programs::operator_binary;
use crate::support::{Audit, Cluster, Operator, eventually, rights};

#[tokio::test]
async fn observing_writes_statuses_alone() {
    let cluster = Cluster::seeded().await;
    cluster.declare("a", json!({})).await;
    cluster.declare("nodes", json!({})).await;
    let mark = cluster.audit().mark().await;
    let operator = Operator::start(&cluster, &["--resync=24h", "--observe"]).await;
    let seen = cluster.until("a", "Ready", "False Observing").await;
    assert!(seen.message.contains("--observe"), "{seen:?}");
    cluster
        .until("nodes", "Ready", "False UnmanagedEntry")
        .await;
    let metrics = operator.metrics().await;
    let waiting = [("condition", "Ready"), ("status", "False")];
    assert_eq!(
        Operator::metric(&metrics, "identity_mapper_mappings", &waiting),
        Some(2.0)
    );
    // A text that breaks is told, and left.
    cluster.write_text("kubectl-edit", "mapRoles", "- {").await;
    cluster.note("InvalidYAML", "aws-auth").await;
    cluster
        .write_text("kubectl-edit", "mapRoles", FOREIGN)
        .await;
    cluster.until("a", "Ready", "False Observing").await;
    // Nothing of ours holds up what others do.
    cluster.kubectl_ok(&["delete", "idmap", "nodes"], None);
    let all = cluster.audit().all_writes().by(Audit::OPERATOR).since(mark);
    for record in all.records().await {
        let resource = record.resource();
        assert!(
            ["identitymappings/status", "events"].contains(&resource.as_str()),
            "{record:#?}"
        );
    }
    assert!(operator.stop().await.0.success());

    // The same set, put into effect: whoever is ready is so from the first pass on.
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    assert!(cluster.roles().await.contains(&format!("{}\"", role("a"))));
    cluster.ready("a").await;
    let (status, duration) = operator.stop().await;
    assert!(
        status.success() && duration < Duration::from_secs(1),
        "{status} after {duration:?}"
    );
}

#[tokio::test]
async fn a_trial_on_a_copy_touches_nothing_else() {
    let cluster = Cluster::start().await;
    rights::install_definitions(&cluster.admin()).await;
    let namespace = serde_json::from_value::<Namespace>(json!({ "metadata": { "name": "trial" } }));
    let namespaces = Api::<Namespace>::all(cluster.admin());
    namespaces
        .create(&PostParams::default(), &namespace.unwrap())
        .await
        .unwrap();
    rights::grant(&cluster.admin(), "trial", "aws-auth-copy").await;
    cluster.seed(json!({ "mapRoles": FOREIGN })).await;
    let copies = Api::<ConfigMap>::namespaced(cluster.admin(), "trial");
    let copy = json!({ "metadata": { "name": "aws-auth-copy" }, "data": { "mapRoles": FOREIGN } });
    copies
        .create(
            &PostParams::default(),
            &serde_json::from_value(copy).unwrap(),
        )
        .await
        .unwrap();
    let before = cluster.config_maps().get("aws-auth").await.unwrap();

    let name = [
        "--config-map-namespace=trial",
        "--config-map-name=aws-auth-copy",
        "--resync=24h",
    ];
    let operator = Operator::start(&cluster, &name).await;
    cluster.establish("a", json!({})).await;
    let copy = copies.get("aws-auth-copy").await.unwrap();
    let text = copy.data.unwrap()["mapRoles"].clone();
    assert!(
        text.starts_with(FOREIGN) && text.contains(&role("a")),
        "{text}"
    );
    copies.get("aws-auth-copy-history").await.unwrap();
    let after = cluster.config_maps().get("aws-auth").await.unwrap();
    assert_eq!(after, before);
    let others = cluster.audit().all_writes().by(Audit::OPERATOR);
    for record in others.records().await {
        assert!(
            !matches!(record.name(), Some("aws-auth" | "aws-auth-history")),
            "{record:#?}"
        );
    }
    cluster.kubectl_ok(&["delete", "idmap", "a"], None);
    assert_eq!(
        copies.get("aws-auth-copy").await.unwrap().data.unwrap()["mapRoles"],
        FOREIGN
    );
    assert!(operator.stop().await.0.success());
}

fn release(cluster: &Cluster) -> String {
    let mut command = Command::new(operator_binary());
    command
        .args(["release", "--yes", "--kubeconfig"])
        .arg(cluster.admin_kubeconfig());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn release_gives_up_everything_and_leaves_all_access() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    for name in ["a", "b", "c"] {
        cluster.establish(name, json!({})).await;
    }
    let text = cluster.roles().await;
    let mark = cluster.audit().mark().await;
    let said = release(&cluster);
    assert!(
        said.contains("3 statuses cleared, 3 finalizers removed"),
        "{said}"
    );
    assert!(
        release(&cluster).contains("it has no mark"),
        "it may be run again"
    );
    let object = cluster.config_maps().get("aws-auth").await.unwrap();
    let annotations = object.metadata.annotations.unwrap_or_default();
    assert!(
        !annotations
            .keys()
            .any(|key| key.starts_with("identity-mapper.dev/")),
        "{annotations:?}"
    );

    // The running operator says so, and leaves everything as it is.
    let note = cluster.note("Released", "aws-auth").await;
    assert!(note.contains("restarted"), "{note}");
    for name in ["a", "b", "c"] {
        let object = cluster.mappings().get(name).await.unwrap();
        assert_eq!(object.metadata.finalizers, None);
        assert!(object.status.unwrap().written.is_empty());
    }
    let metrics = operator.metrics().await;
    assert_eq!(
        Operator::metric(&metrics, "identity_mapper_released", &[]),
        Some(1.0)
    );
    let passes = async || {
        let metrics = operator.metrics().await;
        Operator::metric(&metrics, "identity_mapper_passes_total", &[])
    };
    let before = passes().await;
    cluster.declare("d", json!({})).await;
    eventually("a pass has seen it", SOON, async || passes().await > before).await;
    cluster.kubectl_ok(&["delete", "idmap", "a"], None);
    assert_eq!(cluster.roles().await, text);
    assert_eq!(
        cluster.writes_since(mark).await,
        0,
        "released by the administrator, not by the operator"
    );

    // A restart takes it up again: what stands as declared is adopted as it stands, and a's entry is now anybody's.
    assert!(operator.stop().await.0.success());
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    for name in ["b", "c", "d"] {
        cluster.ready(name).await;
        let finalizers = cluster
            .mappings()
            .get(name)
            .await
            .unwrap()
            .metadata
            .finalizers;
        assert_eq!(finalizers.unwrap(), ["identity-mapper.dev/aws-auth"]);
    }
    assert!(cluster.roles().await.starts_with(&text));
    cluster.kubectl_ok(&["delete", "idmap", "b"], None);
    cluster.has_entry("a", true).await;
    cluster.has_entry("b", false).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let cluster = Cluster::seeded().await;
    // The operator may not list bindings.
    let rule = r#"[{"op": "test", "path": "/rules/3/apiGroups/0", "value": "rbac.authorization.k8s.io"}, {"op": "remove", "path": "/rules/3"}]"#;
    let account = rights::SERVICE_ACCOUNT;
    let saved = cluster.kubectl_ok(&["get", "clusterrole", account, "-o", "json"], None);
    cluster.kubectl_ok(
        &["patch", "clusterrole", account, "--type=json", "-p", rule],
        None,
    );
    let person = format!("--as=system:serviceaccount:{}:{account}", rights::NAMESPACE);
    eventually("the rule is gone", SOON, async || {
        !cluster
            .kubectl(
                &["auth", "can-i", "list", "clusterrolebindings", &person],
                None,
            )
            .status
            .success()
    })
    .await;
    cluster.declare("a", json!({})).await;
    let mut operator = Operator::spawn(&cluster, &NO_TIMER).await;
    eventually("the log names the right", SOON, async || {
        let log = operator.log();
        let named = log.contains("cannot list resource") && log.contains("clusterrolebindings");
        if named { Ok(()) } else { Err(log) }
    })
    .await;
    // What it can't see it never takes as empty.
    assert_eq!(operator.probe("/readyz").await, 503);
    assert_eq!(cluster.roles().await, FOREIGN);
    cluster.kubectl_ok(&["replace", "--force", "-f", "-"], Some(&saved));
    operator.wait_ready().await.unwrap();
    cluster.ready("a").await;
}
