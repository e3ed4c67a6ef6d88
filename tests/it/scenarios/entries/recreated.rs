//! A principal that was deleted, or deleted and made again, under an entry that looks right.

use jiff::SignedDuration;
use serde_json::json;

use super::stage::{ACCOUNT, Stage, WATCHFUL};
use crate::support::eks::Mode;

const NONE: [&str; 0] = [];
const ANEW: [&str; 2] = ["DeleteAccessEntry", "CreateAccessEntry"];

/// The id of a principal in IAM.
fn id(stage: &Stage, arn: &str) -> String {
    stage.eks.world().find(arn).unwrap().id.clone()
}

#[tokio::test]
async fn principals_that_go_and_come_back() {
    let stage = Stage::new(Mode::Api, &WATCHFUL).await;
    a_recreated_role_is_reported_and_renewed_after_a_confirmation(&stage).await;
    a_recreated_role_of_a_permission_set_is_renewed(&stage).await;
    a_deleted_role_is_reported(&stage).await;
}

/// The entry of a recreated role lets nobody in, which is AWS's protection and a person's to undo.
async fn a_recreated_role_is_reported_and_renewed_after_a_confirmation(stage: &Stage) {
    let arn = stage.establish("reported", json!({})).await;
    // The id is tagged once IAM has been read.
    stage.tagged_with_id(&arn).await;
    let before = id(stage, &arn);
    stage.eks.world().recreate_principal(&arn);
    let after = id(stage, &arn);
    let mark = stage.mark();
    let seen = stage
        .until("reported", "Ready", "False PrincipalRecreated")
        .await;
    for word in [&before, &after, "identity-mapper.dev/confirm"] {
        assert!(seen.message.contains(word), "{word}: {seen:?}");
    }
    stage.fence("after-reported").await;
    assert_eq!(stage.writes_about(&arn, mark), NONE);
    stage
        .cluster
        .confirm("reported", "recreated-principal")
        .await;
    stage.cluster.ready("reported").await;
    assert_eq!(stage.writes_about(&arn, mark), ANEW);
    assert_eq!(stage.entry(&arn).unwrap().principal_id, Some(after));
}

/// The path of permission sets is reserved: nobody else can make a role there.
async fn a_recreated_role_of_a_permission_set_is_renewed(stage: &Stage) {
    let path = "/aws-reserved/sso.amazonaws.com/";
    let arn = stage.role_in(ACCOUNT, path, "AWSReservedSSO_Renewed_0123456789abcdef");
    stage.establish_for("renewed", &arn, json!({})).await;
    stage.tagged_with_id(&arn).await;
    stage.eks.world().recreate_principal(&arn);
    let after = id(stage, &arn);
    let mark = stage.mark();
    stage
        .entry_until("the entry is for the new role", &arn, |entry| {
            entry.is_some_and(|entry| entry.principal_id.as_ref() == Some(&after))
        })
        .await;
    stage.until("renewed", "Ready", "True InEffect").await;
    assert_eq!(stage.writes_about(&arn, mark), ANEW);
}

/// A deleted role's entry stays, and the condition says what it is worth.
async fn a_deleted_role_is_reported(stage: &Stage) {
    let arn = stage.establish("gone", json!({})).await;
    stage.listed().await;
    {
        let mut world = stage.eks.world();
        // A listing of IAM may lack a role that is as new as its entry.
        world.age(SignedDuration::from_hours(1));
        world.delete_principal(&arn);
    }
    let mark = stage.mark();
    let seen = stage
        .until("gone", "Ready", "False PrincipalNotFound")
        .await;
    assert!(seen.message.contains(&arn), "{seen:?}");
    assert!(seen.message.contains("no longer works"), "{seen:?}");
    assert_eq!(stage.writes_about(&arn, mark), NONE);
    assert!(stage.entry(&arn).is_some());
}

/// The setting renews people, and never administrators.
#[tokio::test]
async fn recreated_roles_are_renewed_where_that_is_set() {
    let args = [&WATCHFUL as &[&str], &["--recreated-principals=Renew"]].concat();
    let stage = Stage::new(Mode::Api, &args).await;
    let person = stage.establish("person", json!({})).await;
    let groups = json!({ "groups": ["system:masters"] });
    let administrator = stage.establish("administrator", groups).await;
    stage.listed().await;
    for arn in [&person, &administrator] {
        stage.eks.world().recreate_principal(arn);
    }
    let mark = stage.mark();
    stage
        .until("administrator", "Ready", "False PrincipalRecreated")
        .await;
    let after = id(&stage, &person);
    stage
        .entry_until("the entry is for the new role", &person, |entry| {
            entry.is_some_and(|entry| entry.principal_id.as_ref() == Some(&after))
        })
        .await;
    stage.until("person", "Ready", "True InEffect").await;
    assert_eq!(stage.writes_about(&person, mark), ANEW);
    assert_eq!(stage.writes_about(&administrator, mark), NONE);
}

/// A stale entry falls through to aws-auth: the condition says that aws-auth still lets the principal in.
#[tokio::test]
async fn a_recreated_role_in_aws_auth_has_access() {
    let stage = Stage::new(Mode::ApiAndConfigMap, &WATCHFUL).await;
    let arn = stage.establish("both", json!({})).await;
    stage.listed().await;
    let text = stage.cluster.roles().await;
    let text = format!("{text}- {{rolearn: '{arn}', username: back, groups: [door]}}\n");
    stage.cluster.write_text("eksctl", "mapRoles", &text).await;
    stage.eks.world().recreate_principal(&arn);
    let seen = stage
        .until("both", "Ready", "False PrincipalRecreated")
        .await;
    assert!(
        seen.message.contains("aws-auth still grants access"),
        "{seen:?}"
    );
}
