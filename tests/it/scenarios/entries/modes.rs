//! Which cluster it is, which mode is in force, and what each mode leaves alone.

use serde_json::json;

use super::stage::{CLUSTER, NO_TIMER, Stage, WATCHFUL, world_of};
use crate::support::eks::{Eks, Mark, Mode, Service};
use crate::support::mappings::{FOREIGN, condition, role};
use crate::support::{Cluster, Operator};

const NONE: [&str; 0] = [];

/// How often the operator wrote aws-auth at all.
async fn text_writes(stage: &Stage) -> usize {
    let audit = stage.cluster.audit();
    audit
        .writes("configmaps")
        .of("aws-auth")
        .by(crate::support::Audit::OPERATOR)
        .count()
        .await
}

/// The cluster is proven by its certificate authority: of another one nothing is written, and both are named.
#[tokio::test]
async fn another_cluster_s_name() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": FOREIGN })).await;
    let other = Cluster::start().await;
    let eks = Eks::start(world_of(&other, CLUSTER, Mode::ApiAndConfigMap)).await;
    drop(other);
    eks.world().role("111122223333", "/", "a");
    cluster.declare("a", json!({})).await;
    let operator = Operator::spawn_in(&cluster, &eks, &NO_TIMER).await;
    let seen = cluster.until("a", "Ready", "Unknown ClusterMismatch").await;
    let (status, body) = operator.answer("/readyz").await;
    assert!(
        status == 503 && body.contains("update-kubeconfig --name test"),
        "{status} {body}"
    );
    let fingerprints: Vec<&str> = seen
        .message
        .split(|character: char| !character.is_ascii_hexdigit())
        .filter(|word| word.len() == 64)
        .collect();
    assert_eq!(fingerprints.len(), 2, "{seen:?}");
    assert_ne!(fingerprints[0], fingerprints[1]);
    assert!(seen.message.contains("test"), "{seen:?}");
    assert_eq!(cluster.roles().await, FOREIGN);
    assert!(eks.world().cluster.entries.is_empty());
    let audit = cluster.audit();
    let writes = audit
        .writes("configmaps")
        .by(crate::support::Audit::OPERATOR);
    assert_eq!(writes.count().await, 0);
}

/// The last mode stays in force while EKS can't be asked, also across a restart, and aws-auth is still put right.
#[tokio::test]
async fn the_mode_is_kept_while_eks_cannot_be_reached() {
    let mut stage = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    let entry = stage.establish("entry", json!({})).await;
    stage
        .establish("text", json!({ "backend": "ConfigMap" }))
        .await;
    stage.stop().await;
    stage.eks.knobs().unreachable.insert(Service::Eks);
    let mark = stage.mark();
    stage.start(&NO_TIMER).await;
    let declared = stage.cluster.roles().await;
    stage
        .cluster
        .write_text("kubectl-edit", "mapRoles", FOREIGN)
        .await;
    stage
        .cluster
        .text_until("mapRoles", |text| text == declared)
        .await;
    // Grants and removals in aws-auth don't need EKS.
    stage
        .declare("late", json!({ "backend": "ConfigMap" }))
        .await;
    stage.cluster.has_entry("late", true).await;
    stage.delete(&["text"]);
    stage.cluster.has_entry("text", false).await;
    // What takes EKS waits, and says since when EKS was last asked.
    stage
        .declare("new", json!({ "backend": "AccessEntry" }))
        .await;
    let seen = stage.until("new", "Ready", "Unknown EksUnavailable").await;
    assert!(
        seen.message.contains("can't be reached (last try at"),
        "{seen:?}"
    );
    assert_eq!(stage.writes(mark), NONE);
    assert!(stage.entry(&entry).is_some());
}

/// Without a mode nothing is written, and the condition names the right that is missing.
#[tokio::test]
async fn neither_read_nor_kept() {
    let stage = Stage::prepared(Mode::ApiAndConfigMap, &NO_TIMER, |eks| {
        eks.knobs().deny("eks:DescribeCluster");
    })
    .await;
    stage.declare("a", json!({})).await;
    let seen = stage.until("a", "Ready", "Unknown ModeUnknown").await;
    assert_eq!(
        super::failures::statement(&seen),
        json!({ "Effect": "Allow", "Action": "eks:DescribeCluster", "Resource": CLUSTER })
    );
    stage.until("a", "Stalled", "True ModeUnknown").await;
    assert_eq!(text_writes(&stage).await, 0);
    assert_eq!(stage.writes(Mark::START), NONE);
}

/// In `CONFIG_MAP` access entries are not asked for, and what needs one says so.
#[tokio::test]
async fn in_config_map_mode() {
    let stage = Stage::new(Mode::ConfigMap, &WATCHFUL).await;
    stage.establish("plain", json!({})).await;
    stage.cluster.has_entry("plain", true).await;
    let cases = [
        (
            "entry",
            json!({ "backend": "AccessEntry" }),
            "BackendUnavailable",
            "CONFIG_MAP",
        ),
        (
            "hybrid",
            json!({ "type": "HybridLinux", "groups": [] }),
            "BackendUnavailable",
            "HybridLinux",
        ),
        (
            "policies",
            json!({ "accessPolicies": [{ "policy": "AmazonEKSViewPolicy" }] }),
            "AccessPoliciesIneffective",
            "accessPolicies",
        ),
    ];
    for (name, spec, reason, word) in cases {
        stage.declare(name, spec).await;
        let expected = format!("False {reason}");
        let seen = stage.cluster.until(name, "Ready", &expected).await;
        assert!(seen.message.contains(word), "{seen:?}");
    }
    let counts = stage.eks.log().counts(Mark::START);
    let asked: Vec<&String> = counts
        .keys()
        .filter(|name| name.contains("Access"))
        .collect();
    assert!(asked.is_empty(), "{asked:?}");
}

/// Very old clusters have no access configuration, which is `CONFIG_MAP`.
#[tokio::test]
async fn a_cluster_without_access_configuration() {
    let stage = Stage::prepared(Mode::ConfigMap, &NO_TIMER, |eks| {
        eks.world().cluster.mode_described = false;
    })
    .await;
    stage.establish("plain", json!({})).await;
    stage.cluster.has_entry("plain", true).await;
}

/// In API aws-auth is not read, so it is neither made nor changed.
#[tokio::test]
async fn in_api_mode() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    stage.establish("plain", json!({})).await;
    stage
        .declare("text", json!({ "backend": "ConfigMap" }))
        .await;
    let seen = stage
        .cluster
        .until("text", "Ready", "False BackendUnavailable")
        .await;
    assert!(seen.message.contains("isn't read"), "{seen:?}");
    let object = stage
        .cluster
        .config_maps()
        .get_opt("aws-auth")
        .await
        .unwrap();
    assert_eq!(object, None);
    assert_eq!(text_writes(&stage).await, 0);
}

/// Where both count, each mapping goes where it belongs.
#[tokio::test]
async fn in_both_modes() {
    let stage = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    let auto = stage.establish("auto", json!({})).await;
    let text = stage
        .establish("text", json!({ "backend": "ConfigMap" }))
        .await;
    let entry = stage
        .establish("entry", json!({ "backend": "AccessEntry" }))
        .await;
    assert!(stage.entry(&auto).is_some() && stage.entry(&entry).is_some());
    assert!(stage.entry(&text).is_none());
    stage.cluster.has_entry("text", true).await;
    // What no access entry can say stays in aws-auth, and the condition says why.
    let spec = json!({ "groups": ["system:nodes-watchers"] });
    let reserved = stage.establish("reserved", spec).await;
    let linked = role("AWSServiceRoleForAmazonEMRContainers");
    stage.establish_for("linked", &linked, json!({})).await;
    for (name, word) in [("reserved", "reserves"), ("linked", "service-linked role")] {
        let object = stage.object(name).await;
        let seen = condition(&object, "Accepted").unwrap();
        assert!(seen.message.contains(word), "{seen:?}");
        assert!(seen.message.contains("stays in aws-auth"), "{seen:?}");
    }
    let roles = stage.cluster.roles().await;
    assert!(
        roles.contains(&reserved) && roles.contains(&linked),
        "{roles}"
    );
    for arn in [&reserved, &linked, &text] {
        assert_eq!(stage.writes_about(arn, Mark::START), NONE);
    }
}

/// No cluster goes back to an earlier mode: an answer without access configuration changes nothing and forgets nothing, also across a
/// restart.
#[tokio::test]
async fn an_answer_that_takes_the_mode_back_is_not_believed() {
    let mut stage = Stage::new(Mode::ApiAndConfigMap, &WATCHFUL).await;
    let arn = stage.establish("entry", json!({})).await;
    let written = stage.object("entry").await.status.unwrap().written;
    stage.eks.world().cluster.mode_described = false;
    stage.stop().await;
    let mark = stage.mark();
    stage.start(&WATCHFUL).await;
    let regroup = json!({ "spec": { "groups": ["other"] } });
    stage.cluster.change("entry", regroup).await;
    let seen = stage.until("entry", "Synced", "False EksUnavailable").await;
    assert!(
        seen.message.contains("never returns to an earlier mode"),
        "{seen:?}"
    );
    assert_eq!(stage.object("entry").await.status.unwrap().written, written);
    assert_eq!(stage.cluster.roles().await, FOREIGN);
    assert_eq!(stage.writes(mark), NONE);
    assert!(stage.entry(&arn).is_some());
    // Once EKS says it again, everything goes on.
    stage.eks.world().cluster.mode_described = true;
    stage
        .entry_until("it is changed", &arn, |entry| {
            entry.is_some_and(|entry| entry.groups.iter().eq(["other"]))
        })
        .await;
    stage.until("entry", "Ready", "True InEffect").await;
}
