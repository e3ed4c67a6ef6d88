//! Which principal an entry is for: paths, users, other accounts, and those that are none of our business.

use kube::api::PostParams;
use serde_json::json;

use super::stage::{ACCOUNT, NO_TIMER, OTHER, PATIENT, Stage, WATCHFUL};
use crate::support::eks::{Entry, Mark, Mode};
use crate::support::eventually;
use crate::support::mappings::{condition, mapping, role};

#[tokio::test]
async fn principals() {
    let stage = Stage::new(Mode::Api, &NO_TIMER).await;
    a_full_arn_keeps_its_path(&stage).await;
    a_stripped_arn_is_completed_by_iam(&stage).await;
    a_user_keeps_its_path_and_gets_its_arn_as_username(&stage).await;
    a_principal_of_another_account_is_standard(&stage).await;
    a_node_type_for_another_account_or_a_user_is_refused_before_a_call(&stage).await;
    a_service_linked_role_is_never_asked_for(&stage).await;
    a_principal_of_another_partition_is_refused_before_a_call(&stage).await;
    a_principal_that_iam_spells_differently_is_named(&stage).await;
}

/// An access entry takes the full ARN with its path.
async fn a_full_arn_keeps_its_path(stage: &Stage) {
    let arn = stage.role_in(ACCOUNT, "/teams/blue/", "Full");
    stage.establish_for("full", &arn, json!({})).await;
    assert!(stage.entry(&arn).is_some());
    assert!(stage.entry(&role("Full")).is_none());
    let status = stage.object("full").await.status.unwrap();
    assert_eq!(status.principal_arn.as_deref(), Some(arn.as_str()));
    let entry_arn = stage.entry(&arn).unwrap().arn.clone();
    assert_eq!(status.access_entry_arn, Some(entry_arn));
}

/// EKS refuses a stripped ARN, so IAM completes it.
async fn a_stripped_arn_is_completed_by_iam(stage: &Stage) {
    let sso = "AWSReservedSSO_Support_0123456789abcdef";
    let full = [
        stage.role_in(ACCOUNT, "/teams/", "Stripped"),
        stage.role_in(ACCOUNT, "/aws-reserved/sso.amazonaws.com/eu-west-1/", sso),
    ];
    for (name, written, full) in [
        ("stripped", role("Stripped"), &full[0]),
        ("stripped-sso", role(sso), &full[1]),
    ] {
        // Roles were listed before this one was made: EKS refuses what is written, and IAM is read again for that.
        stage.declare_for(name, &written, json!({})).await;
        stage.until(name, "Ready", "True InEffect").await;
        assert!(stage.entry(full).is_some(), "{name}");
        assert!(stage.entry(&written).is_none(), "{name}");
        let status = stage.object(name).await.status.unwrap();
        assert_eq!(status.principal_arn.as_ref(), Some(full));
    }
}

/// The full ARN, which is also the username that EKS gives.
async fn a_user_keeps_its_path_and_gets_its_arn_as_username(stage: &Stage) {
    let arn = stage.eks.world().user(ACCOUNT, "/humans/", "carol").arn;
    stage.establish_for("carol", &arn, json!({})).await;
    assert_eq!(stage.entry(&arn).unwrap().username, arn);
    let status = stage.object("carol").await.status.unwrap();
    assert_eq!(status.username, Some(arn));
}

/// An entry of type Standard may be another account's principal.
async fn a_principal_of_another_account_is_standard(stage: &Stage) {
    let arn = stage.role_in(OTHER, "/", "Guest");
    stage.establish_for("guest", &arn, json!({})).await;
    let entry = stage.entry(&arn).unwrap();
    assert_eq!(entry.type_, "STANDARD");
    assert_eq!(
        entry.username,
        format!("arn:aws:sts::{OTHER}:assumed-role/Guest/{{{{SessionName}}}}")
    );
}

/// Types for nodes are for roles of the cluster's own account.
async fn a_node_type_for_another_account_or_a_user_is_refused_before_a_call(stage: &Stage) {
    let mark = stage.mark();
    let spec = json!({ "type": "EC2Linux", "groups": [] });
    let arn = stage.role_in(OTHER, "/", "ForeignNodes");
    stage.declare_for("foreign-nodes", &arn, spec.clone()).await;
    let seen = stage
        .cluster
        .until("foreign-nodes", "Accepted", "False NotExpressible")
        .await;
    assert!(
        seen.message.contains("is of another") && seen.message.contains("Standard"),
        "{seen:?}"
    );
    stage.fence("after-foreign-nodes").await;
    assert!(stage.writes_about(&arn, mark).is_empty());
    // A user needs no look at the cluster: the API server refuses it.
    let robot = stage.eks.world().user(ACCOUNT, "/", "robot").arn;
    let mut user = mapping("user-nodes", &spec);
    user.spec.principal.arn = Some(robot);
    let mappings = stage.cluster.mappings();
    let params = PostParams::default();
    let made = mappings.create(&params, &user);
    let refusal = made.await.unwrap_err().to_string();
    assert!(refusal.contains("or type Standard"), "{refusal}");
}

/// EKS lets nobody but AWS make entries of service-linked roles.
async fn a_service_linked_role_is_never_asked_for(stage: &Stage) {
    let name = "AWSServiceRoleForAmazonEMRContainers";
    let full = stage.role_in(
        ACCOUNT,
        "/aws-service-role/emr-containers.amazonaws.com/",
        name,
    );
    for (mapping, arn) in [("slr", &full), ("slr-stripped", &role(name))] {
        let mark = stage.mark();
        stage.declare_for(mapping, arn, json!({})).await;
        let seen = stage
            .cluster
            .until(mapping, "Ready", "False NotExpressible")
            .await;
        assert!(seen.message.contains("service-linked role"), "{seen:?}");
        assert!(seen.message.contains("its own access entry"), "{seen:?}");
        stage.fence(&format!("after-{mapping}")).await;
        assert!(stage.writes_about(arn, mark).is_empty());
        assert!(stage.writes_about(&full, mark).is_empty());
        stage.delete(&[mapping]);
    }
}

/// IAM is apart in each partition: a principal of another partition is in another IAM.
async fn a_principal_of_another_partition_is_refused_before_a_call(stage: &Stage) {
    let arn = "arn:aws-cn:iam::111122223333:role/Elsewhere";
    let mark = stage.mark();
    stage.declare_for("elsewhere", arn, json!({})).await;
    let seen = stage
        .cluster
        .until("elsewhere", "Ready", "False NotExpressible")
        .await;
    assert!(seen.message.contains("aws-cn"), "{seen:?}");
    stage.fence("after-elsewhere").await;
    assert!(stage.writes_about(arn, mark).is_empty());
}

/// EKS knows a principal by its exact ARN; IAM tells what was meant.
async fn a_principal_that_iam_spells_differently_is_named(stage: &Stage) {
    let right = stage.role_in(ACCOUNT, "/", "CamelCase");
    let wrong = role("camelcase");
    stage.declare_for("camel", &wrong, json!({})).await;
    let seen = stage
        .until("camel", "Ready", "False PrincipalInvalid")
        .await;
    assert!(seen.message.contains(&wrong), "{seen:?}");
    // IAM is read again for this, and the condition then names what it has.
    eventually("IAM's ARN is named", PATIENT, async || {
        let object = stage.object("camel").await;
        let seen = condition(&object, "Ready").unwrap();
        if seen.message.contains(&format!("IAM has {right}")) {
            Ok(())
        } else {
            Err((seen, stage.calls()))
        }
    })
    .await;
}

/// What AWS and others made stays as it is.
#[tokio::test]
async fn entries_of_others_are_untouched() {
    let stage = Stage::prepared(Mode::ApiAndConfigMap, &WATCHFUL, |eks| {
        let mut world = eks.world();
        let nodes = world.role(ACCOUNT, "/", "NodeGroup").arn;
        let linked = "/aws-service-role/eks.amazonaws.com/";
        let linked = world
            .role(ACCOUNT, linked, "AWSServiceRoleForAmazonEKS")
            .arn;
        let root = format!("arn:aws:iam::{ACCOUNT}:root");
        let person = world.role(ACCOUNT, "/", "Person").arn;
        for (arn, type_) in [
            (&nodes, "EC2_LINUX"),
            (&linked, "STANDARD"),
            (&root, "STANDARD"),
            (&person, "STANDARD"),
        ] {
            let id = world.find(arn).map(|principal| principal.id.clone());
            let entry = Entry::new(&world.cluster, arn, type_, id, world.now).unwrap();
            world.standing_entry(entry);
        }
    })
    .await;
    let before = stage.entries();
    assert_eq!(before.len(), 4);
    let arn = stage.establish("ours", json!({})).await;
    stage.listed().await;
    stage.delete(&["ours"]);
    assert!(stage.entry(&arn).is_none());
    assert_eq!(stage.entries(), before);
    for arn in before.keys() {
        assert!(stage.writes_about(arn, Mark::START).is_empty());
    }
}

/// A stripped ARN where IAM can't be read; 'invalid principal' then names this cause.
#[tokio::test]
async fn a_stripped_arn_where_iam_is_denied() {
    let stage = Stage::prepared(Mode::Api, &NO_TIMER, |eks| {
        eks.knobs().deny("iam:ListRoles");
    })
    .await;
    stage.role_in(ACCOUNT, "/teams/", "Dev");
    stage.declare_for("dev", &role("Dev"), json!({})).await;
    stage.until("dev", "Ready", "False PrincipalInvalid").await;
    eventually("the cause is named", PATIENT, async || {
        let object = stage.object("dev").await;
        let seen = condition(&object, "Ready").unwrap();
        let mut words = ["invalid principal", "it has a path", "iam:ListRoles"].into_iter();
        if words.all(|word| seen.message.contains(word)) {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
    // A role without a path needs no IAM.
    stage.establish("plain", json!({})).await;
}

/// A username that is not set is EKS's to choose, and nothing is done about it again and again.
#[tokio::test]
async fn a_username_that_is_not_set_is_left_to_eks() {
    let stage = Stage::new(Mode::ApiAndConfigMap, &WATCHFUL).await;
    let default =
        |name: &str| format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{{{{SessionName}}}}");
    let unset = stage.establish("unset", json!({})).await;
    // Spelt out it is the same.
    let spelt = stage
        .establish("spelt", json!({ "username": default("spelt") }))
        .await;
    assert_eq!(stage.entry(&unset).unwrap().username, default("unset"));
    assert_eq!(stage.entry(&spelt).unwrap().username, default("spelt"));
    stage.listed().await;
    let mark = stage.mark();
    stage.listed().await;
    assert_eq!(stage.writes(mark), Vec::<String>::new());
}
