//! What is lost or put back behind the operator's back: docs/disasters.md says what to do then.

mod clone;

use std::time::Duration;

use kube::api::PostParams;
use serde_json::json;

use super::NO_TIMER;
use super::entries::stage::{self, Stage};
use crate::cli::Run;
use crate::support::eks::Mode;
use crate::support::mappings::{mapping, role};
use crate::support::rights;
use crate::support::wait::eventually;
use crate::support::{Cluster, Operator};

/// An API server that starts anew has to answer first, and a watch then to begin again.
const PATIENT: Duration = Duration::from_mins(3);

/// Mappings, aws-auth and history go back in time together, and so do the versions that watches go on from.
#[tokio::test]
async fn an_older_backup_of_etcd_is_restored() {
    let mut cluster = Cluster::seeded().await;
    let mut operator = Operator::start(&cluster, &NO_TIMER).await;
    for name in ["stays", "revoked"] {
        cluster.establish(name, json!({})).await;
    }
    cluster.back_up().await;
    cluster.ready("stays").await;
    cluster.delete("revoked").await;
    cluster.gone("revoked").await;
    for number in 0..20 {
        cluster
            .establish(&format!("later-{number}"), json!({}))
            .await;
    }

    cluster.restore().await;
    // What the backup holds is declared again; what it does not hold is not.
    eventually(
        "what was made after the backup is gone",
        PATIENT,
        async || {
            let text = cluster.kubectl_ok(&["get", "idmap", "--output=name"], None);
            if text.contains("later-0") {
                Err(text)
            } else {
                Ok(())
            }
        },
    )
    .await;
    cluster.declare("afterwards", json!({})).await;
    eventually(
        "a mapping made after the restore takes effect",
        PATIENT,
        async || {
            let roles = cluster.roles().await;
            if roles.contains(&role("afterwards")) {
                Ok(())
            } else {
                Err(roles)
            }
        },
    )
    .await;
    for name in ["stays", "revoked"] {
        cluster.ready(name).await;
        cluster.has_entry(name, true).await;
    }
    cluster.has_entry("later-0", false).await;
    assert!(operator.exited().is_none(), "{}", operator.log());
}

/// EKS is in no backup of etcd: an access entry that was made after the backup outlives its mapping.
#[tokio::test]
async fn an_access_entry_outlives_its_mapping_in_a_restore() {
    let mut stage = Stage::new(Mode::ApiAndConfigMap, &stage::NO_TIMER).await;
    let stays = stage.establish("stays", json!({})).await;
    stage.stop().await;
    stage.cluster.back_up().await;
    stage.start(&stage::NO_TIMER).await;
    let later = stage.establish("later", json!({})).await;
    let entries = stage.entries();

    // As the page says: the operator is stopped before.
    stage.stop().await;
    stage.cluster.restore().await;
    let mark = stage.mark();
    stage.start(&stage::NO_TIMER).await;
    let note = stage.cluster.note("OrphanedEntries", "aws-auth").await;
    assert!(note.contains("role/later"), "{note}");
    assert!(!note.contains("role/stays"), "{note}");
    stage.fence("afterwards").await;
    for arn in [&stays, &later] {
        assert_eq!(stage.entry(arn).as_ref(), entries.get(arn), "{arn}");
        assert!(stage.writes_about(arn, mark).is_empty(), "{arn}");
    }
    let access = Run::new(["access", "--cluster-name=test", "--output=json"]);
    let ran = access.on(&stage.cluster).with(&stage.eks).run_aside().await;
    assert!(ran.stdout.contains(&later), "{}", ran.shown());

    // Its manifest is applied again: it is managed as before.
    stage.establish_for("later", &later, json!({})).await;
    let (again, before) = (stage.entry(&later).unwrap(), &entries[&later]);
    assert_eq!(
        (again.created, &again.username, &again.groups),
        (before.created, &before.username, &before.groups)
    );
    stage.delete(&["later"]);
    stage
        .entry_until("it goes with its mapping", &later, |it| it.is_none())
        .await;
}

/// Texts of before are lost; what is managed is not.
#[tokio::test]
async fn the_history_is_deleted() {
    let cluster = Cluster::seeded().await;
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    for name in ["stays", "goes"] {
        cluster.establish(name, json!({})).await;
    }
    let history = ["configmap", "aws-auth-history", "-n", "kube-system"];
    cluster.kubectl_ok(&[&["delete"][..], &history].concat(), None);
    cluster.establish("later", json!({})).await;
    cluster.kubectl_ok(&[&["get"][..], &history].concat(), None);
    cluster.delete("goes").await;
    cluster.gone("goes").await;
    cluster.has_entry("goes", false).await;
    for name in ["stays", "later"] {
        cluster.ready(name).await;
        cluster.has_entry(name, true).await;
    }
}

/// All mappings go with it, and come back from where they are declared: nobody loses anything meanwhile.
#[tokio::test]
async fn the_definition_is_deleted_and_applied_again() {
    let cluster = Cluster::seeded().await;
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    let names = ["a", "b", "c"];
    for name in names {
        cluster.establish(name, json!({})).await;
    }
    let before = cluster.roles().await;
    let definition = "identitymappings.identity-mapper.dev";
    cluster.kubectl_ok(&["delete", "crd", definition, "--wait=false"], None);
    let nothing = r#"{"metadata":{"finalizers":null}}"#;
    for name in names {
        cluster.kubectl_ok(
            &["patch", "idmap", name, "--type=merge", "-p", nothing],
            None,
        );
    }
    eventually("the definition is gone", PATIENT, async || {
        let found = ["get", "crd", definition, "--ignore-not-found", "-o", "name"];
        let text = cluster.kubectl_ok(&found, None);
        if text.is_empty() { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(cluster.roles().await, before);

    rights::install_definitions(&cluster.admin()).await;
    // It is served a moment after it is established.
    eventually("mappings can be made", PATIENT, async || {
        let made = mapping("probe", &json!({}));
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        cluster.mappings().create(&params, &made).await
    })
    .await;
    for name in names {
        cluster.establish(name, json!({})).await;
    }
    assert_eq!(cluster.roles().await, before);
    // They are managed as before.
    cluster.delete("a").await;
    cluster.gone("a").await;
    cluster.has_entry("a", false).await;
}
