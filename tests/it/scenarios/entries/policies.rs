//! Access policies: names and ARNs, scopes, the order of grants and removals, what EKS refuses.

use serde_json::{Value, json};

use super::stage::{CLUSTER, NO_TIMER, Stage};
use crate::support::eks::{Mode, POLICIES};

const NONE: [&str; 0] = [];

fn policy(name: &str, namespaces: &[&str]) -> Value {
    if namespaces.is_empty() {
        json!({ "policy": name })
    } else {
        json!({ "policy": name, "scope": { "type": "Namespace", "namespaces": namespaces } })
    }
}

async fn change(stage: &Stage, name: &str, policies: &[Value]) {
    let spec = json!({ "spec": { "accessPolicies": policies } });
    stage.cluster.change(name, spec).await;
}

#[tokio::test]
async fn policies() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    a_changed_scope_is_one_association(&stage).await;
    grants_come_before_removals(&stage).await;
    namespaces_need_not_exist_and_may_be_patterns(&stage).await;
    a_policy_that_eks_does_not_offer_is_refused_before_a_call(&stage).await;
    a_policy_of_service_linked_roles_is_refused_in_eks_words(&stage).await;
    system_masters_is_the_administrators_policy(&stage).await;
}

/// A scope is changed in place, so that no gap opens.
async fn a_changed_scope_is_one_association(stage: &Stage) {
    let spec = json!({ "accessPolicies": [policy("AmazonEKSEditPolicy", &["a"])] });
    let arn = stage.establish("scoped", spec).await;
    assert_eq!(stage.policies(&arn), ["AmazonEKSEditPolicy a"]);
    for (namespaces, expected) in [
        (&["a", "b"] as &[&str], "AmazonEKSEditPolicy a,b"),
        (&[], "AmazonEKSEditPolicy cluster"),
        (&["c"], "AmazonEKSEditPolicy c"),
    ] {
        let mark = stage.mark();
        change(
            stage,
            "scoped",
            &[policy("AmazonEKSEditPolicy", namespaces)],
        )
        .await;
        stage.cluster.ready("scoped").await;
        assert_eq!(stage.policies(&arn), [expected]);
        assert_eq!(stage.writes_about(&arn, mark), ["AssociateAccessPolicy"]);
    }
}

/// In every change what is gained is gained before anything is lost.
async fn grants_come_before_removals(stage: &Stage) {
    let spec = json!({ "accessPolicies": [policy("AmazonEKSViewPolicy", &[])] });
    let arn = stage.establish("exchange", spec).await;
    let mark = stage.mark();
    let patch = json!({ "spec": {
        "groups": ["others"], "accessPolicies": [policy("AmazonEKSAdminPolicy", &["a"])],
    }});
    stage.cluster.change("exchange", patch).await;
    stage.cluster.ready("exchange").await;
    assert_eq!(
        stage.writes_about(&arn, mark),
        [
            "AssociateAccessPolicy",
            "UpdateAccessEntry",
            "DisassociateAccessPolicy"
        ]
    );
    assert_eq!(stage.policies(&arn), ["AmazonEKSAdminPolicy a"]);
}

/// Namespaces are not looked up, and `*` stands for any text.
async fn namespaces_need_not_exist_and_may_be_patterns(stage: &Stage) {
    let spec = json!({ "accessPolicies": [policy("AmazonEKSViewPolicy", &["dev-*", "nowhere"])] });
    let arn = stage.establish("patterns", spec).await;
    assert_eq!(stage.policies(&arn), ["AmazonEKSViewPolicy dev-*,nowhere"]);
}

/// What `ListAccessPolicies` does not name is not asked for, and what it names needs no new version.
async fn a_policy_that_eks_does_not_offer_is_refused_before_a_call(stage: &Stage) {
    assert!(!POLICIES.contains(&"AmazonEKSVeiwPolicy"));
    let mark = stage.mark();
    let spec = json!({ "accessPolicies": [policy("AmazonEKSVeiwPolicy", &[])] });
    let arn = stage.declare("misspelt", spec).await;
    let seen = stage
        .cluster
        .until("misspelt", "Ready", "False AccessPolicyUnknown")
        .await;
    for word in [
        "AmazonEKSVeiwPolicy",
        "list-access-policies",
        "spec.accessPolicies",
    ] {
        assert!(seen.message.contains(word), "{word}: {seen:?}");
    }
    stage.fence("after-misspelt").await;
    assert_eq!(stage.writes_about(&arn, mark), NONE);
    change(stage, "misspelt", &[policy("AmazonEKSViewPolicy", &[])]).await;
    stage.cluster.ready("misspelt").await;
    assert_eq!(
        stage.writes_about(&arn, mark),
        ["CreateAccessEntry", "AssociateAccessPolicy"]
    );
}

/// Policies for service-linked roles are listed too, and only EKS knows that they are not for everyone.
async fn a_policy_of_service_linked_roles_is_refused_in_eks_words(stage: &Stage) {
    let spec = json!({ "accessPolicies": [policy("AmazonEKSComputePolicy", &[])] });
    stage.declare("linked", spec).await;
    let seen = stage.until("linked", "Ready", "False EksRefused").await;
    assert!(
        seen.message
            .contains("can only be associated with service-linked roles"),
        "{seen:?}"
    );
    stage.until("linked", "Stalled", "True EksRefused").await;
    change(stage, "linked", &[]).await;
    stage.cluster.ready("linked").await;
}

/// EKS refuses system:masters as a group, so it is `AmazonEKSClusterAdminPolicy` in the cluster.
async fn system_masters_is_the_administrators_policy(stage: &Stage) {
    let spec = json!({ "groups": ["system:masters", "others"] });
    let arn = stage.establish("masters", spec).await;
    let entry = stage.entry(&arn).unwrap();
    assert_eq!(entry.groups, ["others"]);
    assert_eq!(
        stage.policies(&arn),
        ["AmazonEKSClusterAdminPolicy cluster"]
    );
}

/// The ARN of a policy is of the cluster's partition.
#[tokio::test]
async fn policies_are_of_the_cluster_s_partition() {
    let arn = CLUSTER
        .replace("arn:aws:", "arn:aws-cn:")
        .replace("eu-west-1", "cn-north-1");
    let mut stage = Stage::without_operator(&arn, Mode::Api).await;
    stage.start(&NO_TIMER).await;
    let role = stage.role("china");
    assert!(role.starts_with("arn:aws-cn:iam::"));
    let spec = json!({ "accessPolicies": [policy("AmazonEKSViewPolicy", &[])] });
    stage.establish_for("china", &role, spec).await;
    let entry = stage.entry(&role).unwrap();
    let policies: Vec<&String> = entry.policies.keys().collect();
    assert_eq!(
        policies,
        ["arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"]
    );
}
