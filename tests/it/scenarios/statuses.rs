//! What statuses and events say, and how seldom.

use identity_mapper::api::v1alpha1::IdentityMappingStatus;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::NO_TIMER;
use crate::support::mappings::{Diary, FOREIGN, SOON, condition};
use crate::support::{Audit, Cluster, Operator, eventually};

#[tokio::test]
async fn statuses_and_events_speak_of_transitions() {
    let cluster = Cluster::seeded().await;
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    let names: Vec<String> = (0..14).map(|number| format!("m{number:02}")).collect();
    for name in &names {
        cluster.declare(name, json!({})).await;
    }
    for name in &names {
        cluster.ready(name).await;
        let object = cluster.mappings().get(name).await.unwrap();
        assert_eq!(condition(&object, "Accepted").unwrap().status, "True");
        for type_ in ["Reconciling", "Stalled", "Contested"] {
            assert!(condition(&object, type_).is_none(), "{type_}");
        }
    }
    assert!(
        cluster.events_on_faults().await.is_empty(),
        "no fault: {:#?}",
        cluster.events_on_faults().await
    );

    // Each grant is in an event that nobody has to act upon.
    eventually("every grant is reported", SOON, async || {
        let mut events = cluster.events().await;
        events.retain(|it| it.reason.as_deref() == Some("AccessGranted"));
        assert!(
            events
                .iter()
                .all(|it| it.type_.as_deref() == Some("Normal"))
        );
        let about = |event: &Event, name: &str| {
            let own = event.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(name);
            own || event
                .note
                .as_deref()
                .is_some_and(|note| note.contains("mappings: m"))
        };
        let missing = names
            .iter()
            .find(|name| !events.iter().any(|it| about(it, name)));
        missing.map_or(Ok(()), |name| Err(format!("{name}: {events:#?}")))
    })
    .await;

    // What befalls many at once is one event.
    cluster.write_text("terraform", "mapRoles", FOREIGN).await;
    cluster.has_entry("m13", true).await;
    let note = cluster.note("DriftRepaired", "aws-auth").await;
    assert!(
        note.starts_with("14 mappings: m00, ")
            && note.contains("m09 and more")
            && note.contains("terraform"),
        "{note}"
    );
    assert_eq!(cluster.events_on_faults().await.len(), 1);

    bindings(&cluster).await;
    spec_and_status(&cluster).await;
}

/// `GroupsBound` follows the bindings of both kinds, and nothing else follows it.
async fn bindings(cluster: &Cluster) {
    let diary = Diary::of(cluster, "m00").await;
    cluster
        .until("m00", "GroupsBound", "False GroupsUnbound")
        .await;
    let role = [
        "create",
        "rolebinding",
        "team",
        "--clusterrole=view",
        "--group=team",
    ];
    cluster.kubectl_ok(&role, None);
    cluster
        .until("m00", "GroupsBound", "True GroupsBound")
        .await;
    cluster.kubectl_ok(&["delete", "rolebinding", "team"], None);
    cluster
        .until("m00", "GroupsBound", "False GroupsUnbound")
        .await;
    cluster.kubectl_ok(
        &[
            "create",
            "clusterrolebinding",
            "team",
            "--clusterrole=view",
            "--group=team",
        ],
        None,
    );
    cluster
        .until("m00", "GroupsBound", "True GroupsBound")
        .await;
    let spec = json!({ "spec": { "groups": ["team", "{{SessionName}}"] } });
    cluster.change("m00", spec).await;
    cluster
        .until("m00", "GroupsBound", "Unknown GroupsTemplated")
        .await;
    cluster.ready("m00").await;
    assert_eq!(diary.conditions(cluster, "Ready").await, ["True InEffect"]);
    let unbound = cluster.notes("GroupsUnbound", "m00").await;
    assert!(
        unbound.is_empty(),
        "a warning in the status is enough: {unbound:?}"
    );
}

/// A status follows each change of the spec, once, and nobody else's words in it are touched.
async fn spec_and_status(cluster: &Cluster) {
    let mark = cluster.audit().mark().await;
    cluster
        .change("m01", json!({ "spec": { "username": "somebody" } }))
        .await;
    cluster.ready("m01").await;
    cluster.establish("fence", json!({})).await;
    let statuses = cluster.audit().writes("identitymappings/status").of("m01");
    assert_eq!(statuses.by(Audit::OPERATOR).since(mark).count().await, 1);
    let object = cluster.mappings().get("m01").await.unwrap();
    let status = object.status.unwrap();
    assert_eq!(status.observed_generation, object.metadata.generation);
    assert_eq!(status.username.as_deref(), Some("somebody"));
    assert_eq!(status.written.len(), 1);
    assert_eq!(
        status.written[0].config_map.as_deref(),
        Some("kube-system/aws-auth")
    );
}

#[tokio::test]
async fn a_status_that_someone_else_changes_is_written_again() {
    let cluster = Cluster::seeded().await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster.establish("a", json!({})).await;
    // Bindings are searched for a new group, and the status follows once more.
    cluster
        .until("a", "GroupsBound", "False GroupsUnbound")
        .await;
    let before = cluster.mappings().get("a").await.unwrap().status.unwrap();
    let told = |status: &IdentityMappingStatus| -> Vec<[String; 3]> {
        let conditions = status.conditions.iter();
        conditions
            .map(|it| [&it.type_, &it.status, &it.reason].map(Clone::clone))
            .collect()
    };
    let mut forged = before.conditions.clone();
    for condition in &mut forged {
        condition.status = "False".to_owned();
    }
    for patch in [
        json!({ "status": null }),
        json!({ "status": { "conditions": forged } }),
        json!({ "status": { "written": null } }),
        json!({ "status": { "principalArn": null, "username": "somebody" } }),
    ] {
        let mark = cluster.audit().mark().await;
        let patch = Patch::Merge(patch);
        let patched = cluster
            .mappings()
            .patch_status("a", &PatchParams::default(), &patch)
            .await
            .unwrap();
        assert_ne!(patched.status.as_ref(), Some(&before));
        eventually("the status is as before", SOON, async || {
            let status = cluster.mappings().get("a").await.unwrap().status;
            let status = status.unwrap_or_default();
            let same = status.written == before.written
                && status.username == before.username
                && status.principal_arn == before.principal_arn
                && told(&status) == told(&before);
            if same { Ok(()) } else { Err(status) }
        })
        .await;
        // What follows is dealt with later than any echo of that write.
        cluster.establish("fence", json!({})).await;
        cluster.delete("fence").await;
        let statuses = cluster.audit().writes("identitymappings/status").of("a");
        assert_eq!(statuses.by(Audit::OPERATOR).since(mark).count().await, 1);
    }
    assert!(operator.stop().await.0.success());
}
