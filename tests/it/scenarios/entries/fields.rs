//! Username, groups and type of an entry: what is sent, what is refused before AWS is asked, what is changed in place.

use serde_json::{Value, json};

use super::stage::{ACCOUNT, NO_TIMER, Stage, WATCHFUL};
use crate::support::eks::Mode;
use crate::support::eventually;
use crate::support::mappings::SOON;

const RESERVED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];
const NONE: [&str; 0] = [];

#[tokio::test]
async fn usernames_and_groups() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    an_update_sends_both_username_and_groups(&stage).await;
    the_order_of_sets_means_nothing(&stage).await;
    reserved_prefixes_are_refused_before_a_call(&stage).await;
    a_session_name_needs_a_colon_before_it(&stage).await;
    a_cleared_username_is_eks_own_again(&stage).await;
}

/// An update replaces, so that what is not sent falls back to EKS's default.
async fn an_update_sends_both_username_and_groups(stage: &Stage) {
    let spec = json!({ "username": "ops:{{SessionName}}", "groups": ["a", "b"] });
    let arn = stage.establish("both", spec).await;
    let mark = stage.mark();
    for (patch, username, groups) in [
        (
            json!({ "groups": ["a", "c"] }),
            "ops:{{SessionName}}",
            ["a", "c"],
        ),
        (json!({ "username": "dev" }), "dev", ["a", "c"]),
    ] {
        stage.cluster.change("both", json!({ "spec": patch })).await;
        stage.cluster.ready("both").await;
        let entry = stage.entry(&arn).unwrap();
        let mut standing = entry.groups.clone();
        standing.sort();
        assert_eq!(
            (entry.username.as_str(), standing),
            (username, groups.map(str::to_owned).to_vec())
        );
    }
    assert_eq!(stage.writes_about(&arn, mark), ["UpdateAccessEntry"; 2]);
}

/// Groups, namespaces and policies in another order are no change.
async fn the_order_of_sets_means_nothing(stage: &Stage) {
    let policy = |name: &str, namespaces: [&str; 2]| json!({ "policy": name, "scope": { "type": "Namespace", "namespaces": namespaces } });
    let spec = |turned: bool| {
        let [a, b] = if turned { ["b", "a"] } else { ["a", "b"] };
        let mut policies = vec![
            policy("AmazonEKSViewPolicy", [a, b]),
            policy("AmazonEKSEditPolicy", [a, b]),
        ];
        if turned {
            policies.reverse();
        }
        json!({ "groups": [a, b], "accessPolicies": policies })
    };
    let arn = stage.establish("sets", spec(false)).await;
    let mark = stage.mark();
    stage
        .cluster
        .change("sets", json!({ "spec": spec(true) }))
        .await;
    stage.cluster.ready("sets").await;
    stage.fence("after-sets").await;
    assert_eq!(stage.writes_about(&arn, mark), NONE);
}

/// EKS reserves five prefixes, in usernames and groups alike.
async fn reserved_prefixes_are_refused_before_a_call(stage: &Stage) {
    for (number, prefix) in RESERVED.into_iter().enumerate() {
        let fields: [(&str, Value); 2] = [
            (
                "username",
                json!({ "username": format!("{prefix}someone") }),
            ),
            ("groups", json!({ "groups": [format!("{prefix}some")] })),
        ];
        for (field, spec) in fields {
            let name = format!("reserved-{field}-{number}");
            let mark = stage.mark();
            let arn = stage.declare(&name, spec).await;
            let seen = stage
                .cluster
                .until(&name, "Ready", "False NotExpressible")
                .await;
            for word in [prefix, &format!("spec.{field}"), "reserves"] {
                assert!(seen.message.contains(word), "{word}: {seen:?}");
            }
            // Mended it is made: by then the refused one has been dealt with.
            stage
                .cluster
                .change(
                    &name,
                    json!({ "spec": { "username": null, "groups": ["system"] } }),
                )
                .await;
            stage.cluster.ready(&name).await;
            assert_eq!(stage.writes_about(&arn, mark), ["CreateAccessEntry"]);
        }
    }
}

/// A colon must stand before a session's name.
async fn a_session_name_needs_a_colon_before_it(stage: &Stage) {
    for (number, placeholder) in ["{{SessionName}}", "{{SessionNameRaw}}"]
        .into_iter()
        .enumerate()
    {
        let name = format!("colon-{number}");
        let mark = stage.mark();
        let arn = stage
            .declare(&name, json!({ "username": format!("john{placeholder}") }))
            .await;
        let seen = stage
            .cluster
            .until(&name, "Ready", "False NotExpressible")
            .await;
        let mended = format!("john:{placeholder}");
        assert!(seen.message.contains(&mended), "{seen:?}");
        // What the message proposes is accepted.
        stage
            .cluster
            .change(&name, json!({ "spec": { "username": mended } }))
            .await;
        stage.cluster.ready(&name).await;
        assert_eq!(stage.writes_about(&arn, mark), ["CreateAccessEntry"]);
        assert_eq!(stage.entry(&arn).unwrap().username, mended);
    }
}

/// The default username comes back where none is declared any more.
async fn a_cleared_username_is_eks_own_again(stage: &Stage) {
    let arn = stage.establish("cleared", json!({ "username": "x" })).await;
    let mark = stage.mark();
    stage
        .cluster
        .change("cleared", json!({ "spec": { "username": null } }))
        .await;
    stage.cluster.ready("cleared").await;
    let entry = stage.entry(&arn).unwrap();
    assert_eq!(
        (entry.username.as_str(), entry.groups.as_slice()),
        (
            format!("arn:aws:sts::{ACCOUNT}:assumed-role/cleared/{{{{SessionName}}}}").as_str(),
            ["team".to_owned()].as_slice()
        )
    );
    assert_eq!(stage.writes_about(&arn, mark), ["UpdateAccessEntry"]);
}

#[tokio::test]
async fn types() {
    let stage = Stage::new(Mode::Api, &WATCHFUL).await;
    node_types_get_username_and_groups_from_eks(&stage).await;
    a_node_s_type_is_changed_only_when_confirmed(&stage).await;
    a_type_is_changed_by_deleting_and_making_anew(&stage).await;
}

/// EKS sets username and groups of nodes, and nobody updates them.
async fn node_types_get_username_and_groups_from_eks(stage: &Stage) {
    let instance = "system:node:{{EC2PrivateDNSName}}";
    let session = "system:node:{{SessionName}}";
    let types = [
        ("EC2Linux", "EC2_LINUX", instance),
        ("EC2Windows", "EC2_WINDOWS", instance),
        ("FargateLinux", "FARGATE_LINUX", session),
        ("HybridLinux", "HYBRID_LINUX", session),
        ("EC2", "EC2", session),
        ("HyperPodLinux", "HYPERPOD_LINUX", session),
    ];
    let mut arns = Vec::new();
    for (type_, eks, username) in types {
        let name = type_.to_lowercase();
        // Of the types for nodes only EC2 takes access policies.
        let policies = match type_ {
            "EC2" => json!([{ "policy": "AmazonEKSAutoNodePolicy" }]),
            _ => json!([]),
        };
        let spec = json!({ "type": type_, "groups": [], "accessPolicies": policies });
        let arn = stage.establish(&name, spec).await;
        let entry = stage.entry(&arn).unwrap();
        assert_eq!(
            (entry.type_.as_str(), entry.username.as_str()),
            (eks, username)
        );
        arns.push(arn);
    }
    assert_eq!(
        stage.policies(&arns[4]),
        ["AmazonEKSAutoNodePolicy cluster"]
    );
    stage.listed().await;
    let mark = stage.mark();
    stage.listed().await;
    assert_eq!(stage.writes(mark), NONE);
}

/// A type can't be changed in place, and nodes would lose their access meanwhile.
async fn a_node_s_type_is_changed_only_when_confirmed(stage: &Stage) {
    let spec = json!({ "type": "EC2Linux", "groups": [] });
    let arn = stage.establish("nodes", spec).await;
    let mark = stage.mark();
    stage
        .cluster
        .change("nodes", json!({ "spec": { "type": "Standard" } }))
        .await;
    let seen = stage
        .until("nodes", "Synced", "False RemovalNeedsConfirmation")
        .await;
    assert!(seen.message.contains("node-entry"), "{seen:?}");
    assert_eq!(stage.writes_about(&arn, mark), NONE);
    stage.cluster.confirm("nodes", "node-entry").await;
    stage.cluster.ready("nodes").await;
    assert_eq!(
        stage.writes_about(&arn, mark),
        ["DeleteAccessEntry", "CreateAccessEntry"]
    );
    assert_eq!(stage.entry(&arn).unwrap().type_, "STANDARD");
}

/// The type can't be changed in place.
async fn a_type_is_changed_by_deleting_and_making_anew(stage: &Stage) {
    let arn = stage.establish("becomes-nodes", json!({})).await;
    let mark = stage.mark();
    stage
        .cluster
        .change(
            "becomes-nodes",
            json!({ "spec": { "type": "FargateLinux", "groups": [] } }),
        )
        .await;
    stage.cluster.ready("becomes-nodes").await;
    assert_eq!(
        stage.writes_about(&arn, mark),
        ["DeleteAccessEntry", "CreateAccessEntry"]
    );
    assert_eq!(stage.entry(&arn).unwrap().type_, "FARGATE_LINUX");
}

/// A type can't be changed in place; where aws-auth counts too, it takes the principal in first.
#[tokio::test]
async fn a_type_is_changed_behind_the_back_of_aws_auth() {
    let stage = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    let arn = stage.establish("fargate", json!({})).await;
    let mark = stage.mark();
    let audit = stage.cluster.audit().mark().await;
    stage
        .cluster
        .change(
            "fargate",
            json!({ "spec": { "type": "FargateLinux", "groups": [] } }),
        )
        .await;
    stage.cluster.ready("fargate").await;
    assert_eq!(
        stage.writes_about(&arn, mark),
        ["DeleteAccessEntry", "CreateAccessEntry"]
    );
    // aws-auth had it when the entry went.
    let deleted = {
        let log = stage.eks.log();
        let mut calls = log.since(mark).iter();
        calls
            .find(|call| call.operation == "DeleteAccessEntry")
            .unwrap()
            .time
    };
    let writes = stage
        .cluster
        .audit()
        .writes("configmaps")
        .of("aws-auth")
        .since(audit);
    let first = eventually("aws-auth was written", SOON, async || {
        writes.records().await.first().cloned()
    })
    .await;
    assert!(
        first.stage_timestamp.parse::<jiff::Timestamp>().unwrap() < deleted,
        "{first:?} and {deleted}"
    );
}
