//! What AWS denies, refuses or can't do: said with the mend, and nobody else waits for it.

use identity_mapper::api::IdentityMapping;
use serde_json::{Value, json};

use super::stage::{ACCOUNT, CLUSTER, NO_TIMER, PATIENT, Stage};
use crate::support::eks::{Fault, Mark, Mode, Service};
use crate::support::eventually;
use crate::support::mappings::{Seen, condition};

/// The IAM policy statement in a message.
pub(crate) fn statement(seen: &Seen) -> Value {
    let (_, json) = seen
        .message
        .split_once("IAM policy: ")
        .unwrap_or_else(|| panic!("a statement: {seen:?}"));
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    values.next().unwrap().unwrap()
}

/// The first false condition of a mapping with this reason.
fn with_reason(object: &IdentityMapping, reason: &str) -> Option<Seen> {
    ["Ready", "Synced", "Accepted"]
        .into_iter()
        .filter_map(|type_| condition(object, type_))
        .find(|seen| seen.reason == reason)
}

/// `AccessDenied` names the action, the resource and the statement to add; others go on meanwhile.
#[tokio::test]
async fn each_denied_action_is_named_with_its_statement() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let policy = |name: &str| json!({ "accessPolicies": [{ "policy": name }] });
    for name in ["update", "delete", "associate"] {
        stage.establish(name, json!({})).await;
    }
    for name in ["disassociate", "describe"] {
        stage.establish(name, policy("AmazonEKSViewPolicy")).await;
    }
    stage
        .establish("untag", json!({ "deletion": "Retain" }))
        .await;
    let tagged = stage.role("tag");
    stage.made_by_hand(&tagged, &["team"]);
    let operations = [
        ("create", "CreateAccessEntry"),
        ("update", "UpdateAccessEntry"),
        ("delete", "DeleteAccessEntry"),
        ("associate", "AssociateAccessPolicy"),
        ("disassociate", "DisassociateAccessPolicy"),
        ("untag", "UntagResource"),
    ];
    for (_, operation) in operations {
        stage.eks.knobs().deny(&format!("eks:{operation}"));
    }
    let mark = stage.mark();
    let changes = [
        ("update", json!({ "groups": ["other"] })),
        ("associate", policy("AmazonEKSEditPolicy")),
        ("disassociate", json!({ "accessPolicies": [] })),
    ];
    for (name, spec) in changes {
        stage.cluster.change(name, json!({ "spec": spec })).await;
    }
    stage.declare("create", json!({})).await;
    for name in ["delete", "untag"] {
        stage.cluster.delete(name).await;
    }
    for (name, operation) in operations {
        let seen = eventually(&format!("{operation} is denied"), PATIENT, async || {
            let object = stage.object(name).await;
            with_reason(&object, "AccessDenied").ok_or((object.status, stage.calls()))
        })
        .await;
        let resource = match operation {
            "CreateAccessEntry" => CLUSTER.to_owned(),
            _ => CLUSTER.replace(":cluster/test", ":access-entry/test/*"),
        };
        assert_eq!(
            statement(&seen),
            json!({ "Effect": "Allow", "Action": format!("eks:{operation}"), "Resource": resource }),
            "{seen:?}"
        );
        assert!(
            seen.message.contains("is not authorized to perform"),
            "{seen:?}"
        );
    }
    // Each was tried once, and is not tried again and again.
    for (name, operation) in operations {
        let arn = crate::support::mappings::role(name);
        assert_eq!(stage.writes_about(&arn, mark), [operation], "{name}");
    }
    // A right that is given is used at the next change, at the latest a minute later.
    for (_, operation) in operations {
        stage.eks.knobs().allow(&format!("eks:{operation}"));
    }
    stage
        .cluster
        .change("create", json!({ "spec": { "groups": ["given"] } }))
        .await;
    stage.cluster.ready("create").await;
}

/// Without the right to tag, what was made stays, and the condition says what is missing.
#[tokio::test]
async fn a_denied_tag_call_does_not_prevent_access() {
    let stage = Stage::prepared(Mode::Api, &NO_TIMER, |eks| {
        let arn = eks.world().role(ACCOUNT, "/", "tag").arn;
        let input = json!({ "principalArn": arn, "kubernetesGroups": ["team"] });
        eks.by_hand("CreateAccessEntry", input).unwrap();
        eks.knobs().deny("eks:TagResource");
    })
    .await;
    stage.declare("tag", json!({})).await;
    let seen = eventually("the denial is told", PATIENT, async || {
        let object = stage.object("tag").await;
        with_reason(&object, "AccessDenied").ok_or((object.status, stage.calls()))
    })
    .await;
    assert_eq!(statement(&seen)["Action"], "eks:TagResource");
}

/// Per-principal tries: a mapping that fails delays no other.
#[tokio::test]
async fn one_bad_mapping_delays_no_other() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    let bad = crate::support::mappings::role("nowhere");
    let mark = stage.mark();
    stage.declare_for("bad", &bad, json!({})).await;
    let names: Vec<String> = (0..12).map(|number| format!("good-{number}")).collect();
    for name in &names {
        stage.declare(name, json!({})).await;
    }
    for name in &names {
        stage.cluster.ready(name).await;
    }
    stage.until("bad", "Ready", "False PrincipalInvalid").await;
    stage
        .called("CreateAccessEntry", names.len() + 3, mark)
        .await;
    let log = stage.eks.log();
    let creations: Vec<&str> = log
        .since(mark)
        .iter()
        .filter(|call| call.operation == "CreateAccessEntry")
        .filter_map(|call| call.principal.as_deref())
        .collect();
    let third = creations
        .iter()
        .enumerate()
        .filter(|(_, arn)| **arn == bad)
        .nth(2);
    let (third, _) = third.expect("it is tried again");
    let good = creations[..third].iter().filter(|arn| **arn != bad).count();
    assert_eq!(
        good,
        names.len(),
        "all good ones before its third try: {creations:?}"
    );
    assert_eq!(
        creations.len() - good,
        3,
        "each good one once: {creations:?}"
    );
}

/// Throttling, faults and lost answers: all converge, none twice, none lost.
#[tokio::test]
async fn an_unreliable_eks() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    {
        let mut knobs = stage.eks.knobs();
        knobs.throttled = 0.2;
        knobs.server_errors = 0.05;
        knobs.dropped = 0.02;
    }
    let names: Vec<String> = (0..30).map(|number| format!("m-{number}")).collect();
    let spec = json!({ "accessPolicies": [{ "policy": "AmazonEKSViewPolicy" }] });
    for name in &names {
        stage.declare(name, spec.clone()).await;
    }
    for name in &names {
        stage.until(name, "Ready", "True InEffect").await;
    }
    let log = stage.eks.log();
    let made = log
        .all()
        .iter()
        .filter(|call| call.operation == "CreateAccessEntry" && call.had_effect());
    assert_eq!(made.count(), names.len());
    drop(log);
    for name in &names {
        let arn = crate::support::mappings::role(name);
        assert_eq!(stage.policies(&arn), ["AmazonEKSViewPolicy cluster"]);
    }
}

/// Errors that no documentation names are told as they come, and tried again.
#[tokio::test]
async fn an_unknown_error_is_named() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    stage.script("CreateAccessEntry", &[Fault::UnheardOf; 3]);
    stage.declare("moon", json!({})).await;
    let seen = stage.until("moon", "Ready", "False EksRefused").await;
    for word in [
        "MoonPhaseException",
        "The moon is waning",
        "CreateAccessEntry",
    ] {
        assert!(seen.message.contains(word), "{word}: {seen:?}");
    }
    stage.until("moon", "Ready", "True InEffect").await;
}

/// What EKS has no room for stays in aws-auth where that is read.
#[tokio::test]
async fn over_the_quota_where_aws_auth_is_read() {
    let stage = Stage::prepared(Mode::ApiAndConfigMap, &NO_TIMER, |eks| {
        eks.knobs().quota = 1;
    })
    .await;
    let first = stage.establish("first", json!({})).await;
    let second = stage.declare("second", json!({})).await;
    stage.until("second", "Ready", "True InEffect").await;
    assert!(stage.entry(&first).is_some() && stage.entry(&second).is_none());
    stage.cluster.has_entry("second", true).await;
    let object = stage.object("second").await;
    let accepted = condition(&object, "Accepted").unwrap();
    assert!(
        accepted.message.contains("the maximum that EKS allows"),
        "{accepted:?}"
    );
}

/// Where only access entries count, the mapping says that there is no room.
#[tokio::test]
async fn over_the_quota_where_only_entries_count() {
    let stage = Stage::prepared(Mode::Api, &NO_TIMER, |eks| {
        eks.knobs().quota = 1;
    })
    .await;
    stage.establish("first", json!({})).await;
    stage.declare("second", json!({})).await;
    let seen = stage
        .until("second", "Ready", "False EntryQuotaExceeded")
        .await;
    assert!(
        seen.message
            .contains("maximum number of access entries that EKS allows"),
        "{seen:?}"
    );
}

/// IAM that does not answer is told apart from IAM that denies, and neither holds up a pass.
#[tokio::test]
async fn iam_unreachable_is_not_iam_denied() {
    let set = json!({ "permissionSet": { "name": "Support", "accountId": ACCOUNT } });
    let mut stage = Stage::prepared(Mode::Api, &NO_TIMER, |eks| {
        eks.knobs().unreachable.insert(Service::Iam);
    })
    .await;
    let mapping = json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
        "metadata": { "name": "support" }, "spec": { "principal": set },
    });
    stage
        .cluster
        .kubectl_ok(&["apply", "-f", "-"], Some(&mapping.to_string()));
    let seen = stage
        .until("support", "Ready", "False PermissionSetUnresolved")
        .await;
    assert!(!seen.message.contains("iam:ListRoles"), "{seen:?}");
    let object = stage.object("support").await;
    assert!(condition(&object, "Stalled").is_none(), "{object:?}");
    // The plain ones are made without IAM.
    stage.establish("plain", json!({})).await;
    eventually("the cause is told", PATIENT, async || {
        let object = stage.object("support").await;
        let seen = condition(&object, "Ready").unwrap();
        if seen.message.contains("did not answer") {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;

    stage.stop().await;
    {
        let mut knobs = stage.eks.knobs();
        knobs.unreachable.clear();
        knobs.deny("iam:ListRoles");
    }
    stage.start(&NO_TIMER).await;
    let seen = eventually("the denial is told", PATIENT, async || {
        let object = stage.object("support").await;
        let seen = condition(&object, "Ready").unwrap();
        if seen.message.contains("IAM policy: ") {
            Ok(seen)
        } else {
            Err(seen)
        }
    })
    .await;
    assert_eq!(statement(&seen)["Action"], "iam:ListRoles");
    stage
        .until("support", "Stalled", "True PermissionSetUnresolved")
        .await;
    assert_eq!(stage.eks.log().count("AssumeRole", Mark::START), 0);
}
