//! Access entries that AWS makes and keeps: of node groups, Fargate profiles and capabilities.

use serde_json::json;

use super::stage::{ACCOUNT, NO_TIMER, Stage, WATCHFUL};
use crate::support::eks::{CapabilityKind, Eks, Mark, Mode, NodeKind};
use crate::support::eventually;
use crate::support::mappings::{SOON, role};

const NONE: [&str; 0] = [];
const ARGO: [&str; 2] = [
    "AmazonEKSArgoCDClusterPolicy cluster",
    "AmazonEKSArgoCDPolicy argocd",
];
/// The calls that ask which roles EKS uses.
const ASKED: [&str; 3] = ["ListNodegroups", "ListFargateProfiles", "ListCapabilities"];

/// EKS has a node group, a Fargate profile and an Argo CD capability.
fn features(eks: &Eks) {
    let mut world = eks.world();
    for name in ["web", "batch", "argo", "dev"] {
        world.role(ACCOUNT, "/", name);
    }
    world.make_node_group(&role("web"), NodeKind::Linux);
    world.make_node_group(&role("batch"), NodeKind::Fargate);
    world.make_capability("argo", CapabilityKind::ArgoCd, &role("argo"));
}

/// How often EKS was asked which roles it uses.
fn asked(stage: &Stage) -> usize {
    let counts = stage.eks.log().counts(Mark::START);
    ASKED
        .iter()
        .filter_map(|operation| counts.get(*operation))
        .sum()
}

/// What is not ours and AWS's is left alone by default; what a mapping adds to it by `adoption: Always` goes with the mapping.
#[tokio::test]
async fn entries_of_node_groups_fargate_profiles_and_capabilities() {
    let stage = Stage::prepared(Mode::Api, &NO_TIMER, features).await;
    stage
        .establish("ordinary", json!({ "groups": ["g"] }))
        .await;
    stage.delete(&["ordinary"]);
    assert_eq!(asked(&stage), 0, "nobody needs to know");

    let hub = |adoption: &str| {
        json!({
            "groups": ["hub"],
            "accessPolicies": [{ "policy": "AmazonEKSAdminViewPolicy" }],
            "adoption": adoption,
        })
    };
    stage.declare("argo", hub("IfIdentical")).await;
    stage
        .declare("web", json!({ "type": "EC2Linux", "groups": [] }))
        .await;
    stage
        .declare("batch", json!({ "type": "FargateLinux", "groups": [] }))
        .await;
    for (name, user) in [
        ("web", "node group \"web\""),
        ("batch", "Fargate profile \"batch\""),
    ] {
        let seen = stage.until(name, "Synced", "False NotManaged").await;
        assert!(
            seen.message.contains(&format!("AWS manages it for {user}")),
            "{seen:?}"
        );
        stage.until(name, "Ready", "True InEffect").await;
    }
    let seen = stage.until("argo", "Synced", "False UnmanagedEntry").await;
    assert!(
        seen.message
            .contains("AWS manages it for EKS capability \"argo\""),
        "{seen:?}"
    );
    assert!(
        !seen.message.contains("ArgoCD"),
        "AWS's are no difference: {seen:?}"
    );
    assert!(asked(&stage) >= ASKED.len());
    for name in ["argo", "web", "batch"] {
        assert_eq!(stage.writes_about(&role(name), Mark::START), NONE);
    }

    stage
        .cluster
        .change("argo", json!({ "spec": { "adoption": "Always" } }))
        .await;
    stage
        .cluster
        .change("web", json!({ "spec": { "adoption": "Always" } }))
        .await;
    stage.cluster.ready("argo").await;
    stage.until("argo", "Synced", "True Synced").await;
    stage.until("web", "Synced", "True Synced").await;
    let with_ours = ["AmazonEKSAdminViewPolicy cluster", ARGO[0], ARGO[1]];
    assert_eq!(stage.policies(&role("argo")), with_ours);
    assert_eq!(stage.entry(&role("argo")).unwrap().groups, ["hub"]);

    stage.cluster.confirm("web", "node-entry").await;
    stage.delete(&["argo", "web", "batch"]);
    assert_eq!(stage.policies(&role("argo")), ARGO);
    for name in ["argo", "web", "batch"] {
        let entry = stage.entry(&role(name)).unwrap();
        assert!(entry.tags.is_empty(), "{entry:?}");
        let calls = stage.writes_about(&role(name), Mark::START);
        assert!(
            !calls.contains(&"DeleteAccessEntry".to_owned()),
            "{calls:?}"
        );
    }
    assert_eq!(stage.entry(&role("argo")).unwrap().groups, NONE);
    let note = stage.cluster.note("EntryKept", "argo").await;
    assert!(note.contains("EKS capability \"argo\""), "{note}");
}

/// AWS adds to an entry that we made: on one that a capability uses it stays, on any other it is drift; also after a restart.
#[tokio::test]
async fn an_association_that_aws_adds_to_one_of_ours() {
    let mut stage = Stage::prepared(Mode::Api, &WATCHFUL, features).await;
    let hub = stage.establish("dev", json!({ "groups": ["g"] })).await;
    let plain = stage.establish("plain", json!({ "groups": ["g"] })).await;
    let associate = json!({
        "principalArn": plain,
        "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSKROPolicy",
        "accessScope": { "type": "cluster" },
    });
    stage.by_hand("AssociateAccessPolicy", associate);
    stage
        .eks
        .world()
        .make_capability("dev", CapabilityKind::Kro, &hub);
    stage
        .entry_until("what nobody declares is taken off", &plain, |entry| {
            entry.is_some_and(|entry| entry.policies.is_empty())
        })
        .await;
    let tag = "identity-mapper.dev/aws-policies";
    stage
        .entry_until("what AWS associated is remembered", &hub, |entry| {
            entry.is_some_and(|entry| entry.tags.contains_key(tag))
        })
        .await;
    stage.stop().await;
    stage.start(&WATCHFUL).await;
    stage.fence("after").await;
    stage.cluster.ready("dev").await;
    assert_eq!(stage.policies(&hub), ["AmazonEKSKROPolicy cluster"]);

    stage.delete(&["dev", "plain"]);
    assert!(stage.entry(&plain).is_none());
    assert_eq!(
        stage.policies(&hub),
        ["AmazonEKSKROPolicy cluster"],
        "kro needs it"
    );
    assert_eq!(stage.entry(&hub).unwrap().groups, NONE);
}

/// Without the rights to ask, an entry of nodes or with a policy of capabilities counts as AWS's unless we made it; others don't.
#[tokio::test]
async fn without_the_rights_to_ask() {
    let stage = Stage::prepared(Mode::Api, &NO_TIMER, |eks| {
        features(eks);
        let denied = ASKED.map(|operation| format!("eks:{operation}"));
        eks.knobs().denied.extend(denied);
        let person = eks.world().role(ACCOUNT, "/", "person").arn;
        let input = json!({ "principalArn": person, "kubernetesGroups": ["g"] });
        eks.by_hand("CreateAccessEntry", input).unwrap();
    })
    .await;
    stage
        .declare("web", json!({ "type": "EC2Linux", "groups": [] }))
        .await;
    stage.declare("argo", json!({ "groups": [] })).await;
    stage.establish("person", json!({ "groups": ["g"] })).await;
    stage.until("person", "Synced", "True Synced").await;
    for name in ["web", "argo"] {
        let seen = stage.until(name, "Synced", "False NotManaged").await;
        assert!(seen.message.contains("can't be read here"), "{seen:?}");
        stage.until(name, "Ready", "True InEffect").await;
    }
    stage
        .establish("made", json!({ "type": "EC2Linux", "groups": [] }))
        .await;
    stage.cluster.confirm("made", "node-entry").await;
    stage.delete(&["made", "person", "web", "argo"]);
    eventually("what we made or adopted is gone", SOON, async || {
        let left = stage.entries();
        let gone = ["made", "person"]
            .iter()
            .all(|name| !left.contains_key(&role(name)));
        if gone { Ok(()) } else { Err(stage.calls()) }
    })
    .await;
    assert_eq!(stage.policies(&role("argo")), ARGO);
    assert!(stage.entry(&role("web")).is_some());
    assert_eq!(stage.writes_about(&role("web"), Mark::START), NONE);
}
