//! Permission sets: found in IAM by their exact name, followed when their role changes, never dropped by themselves.

use serde_json::json;

use super::stage::{ACCOUNT, NO_TIMER, OTHER, PATIENT, Stage, WATCHFUL};
use crate::support::eks::{Mark, Mode};
use crate::support::eventually;
use crate::support::mappings::condition;

const NONE: [&str; 0] = [];
const SSO: &str = "/aws-reserved/sso.amazonaws.com/";
const OLD: &str = "0123456789abcdef";
const NEW: &str = "fedcba9876543210";

/// Makes the role of a permission set, as IAM Identity Center does: its ARN.
fn provisioned(stage: &Stage, account: &str, region: &str, set: &str, suffix: &str) -> String {
    let path = format!("{SSO}{region}");
    stage.role_in(account, &path, &format!("AWSReservedSSO_{set}_{suffix}"))
}

/// Makes a mapping of a permission set.
fn declare(stage: &Stage, name: &str, set: &str, account: &str) {
    let mapping = json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": { "name": name },
        "spec": {
            "principal": { "permissionSet": { "name": set, "accountId": account } },
            "username": format!("{name}:{{{{SessionName}}}}"), "groups": ["team"],
        },
    });
    let manifest = mapping.to_string();
    stage
        .cluster
        .kubectl_ok(&["apply", "-f", "-"], Some(&manifest));
}

/// The role that a mapping is resolved to.
async fn resolved(stage: &Stage, name: &str) -> Option<String> {
    stage.object(name).await.status?.principal_arn
}

/// Waits until `Accepted` says this.
async fn accepted_says(stage: &Stage, name: &str, word: &str) {
    eventually(
        &format!("Accepted of {name} says {word}"),
        PATIENT,
        async || {
            let object = stage.object(name).await;
            let seen = condition(&object, "Accepted");
            match seen {
                Some(seen) if seen.message.contains(word) => Ok(()),
                _ => Err(object.status),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn permission_sets() {
    let stage = Stage::new(Mode::Api, &WATCHFUL).await;
    a_set_is_found_by_its_exact_name(&stage).await;
    a_changed_suffix_is_followed_grant_first(&stage).await;
    a_missing_set_keeps_its_last_role(&stage).await;
    of_two_roles_the_one_in_force_stays(&stage).await;
    a_set_that_never_existed_is_reported(&stage).await;
}

/// Regions, the missing segment of us-east-1, names with `+=,.@-`, and names that begin alike.
async fn a_set_is_found_by_its_exact_name(stage: &Stage) {
    for (name, set, region) in [
        ("regional", "View", "eu-west-1/"),
        ("us-east-1", "Admin", ""),
        ("odd", "a+b=c,d.e@f-g", "eu-west-1/"),
    ] {
        for other in ["_Extra", "er"] {
            provisioned(stage, ACCOUNT, region, &format!("{set}{other}"), OLD);
        }
        let arn = provisioned(stage, ACCOUNT, region, set, OLD);
        declare(stage, name, set, ACCOUNT);
        stage.until(name, "Ready", "True InEffect").await;
        assert_eq!(resolved(stage, name).await, Some(arn.clone()));
        let entry = stage.entry(&arn).unwrap();
        assert_eq!(entry.username, format!("{name}:{{{{SessionName}}}}"));
    }
    let entries = stage.entries();
    assert!(
        !entries
            .keys()
            .any(|arn| arn.contains("_Extra") || arn.contains("er_")),
        "{entries:?}"
    );
}

/// A set that is assigned anew has another suffix; the new role is let in before the old one goes.
async fn a_changed_suffix_is_followed_grant_first(stage: &Stage) {
    let old = provisioned(stage, ACCOUNT, "", "Moves", OLD);
    declare(stage, "moves", "Moves", ACCOUNT);
    stage.until("moves", "Ready", "True InEffect").await;
    let mark = stage.mark();
    let new = {
        let mut world = stage.eks.world();
        world.delete_principal(&old);
        world
            .role(ACCOUNT, SSO, &format!("AWSReservedSSO_Moves_{NEW}"))
            .arn
    };
    stage
        .entry_until("the old entry is gone", &old, |entry| entry.is_none())
        .await;
    stage.until("moves", "Ready", "True InEffect").await;
    assert_eq!(resolved(stage, "moves").await.as_ref(), Some(&new));
    assert_eq!(stage.writes_about(&new, mark), ["CreateAccessEntry"]);
    assert_eq!(stage.writes_about(&old, mark), ["DeleteAccessEntry"]);
    let log = stage.eks.log();
    let time = |operation: &str| {
        let mut calls = log.since(mark).iter();
        calls.find(|call| call.operation == operation).unwrap().time
    };
    assert!(time("CreateAccessEntry") < time("DeleteAccessEntry"));
}

/// A set without a role now may be assigned again: nothing is dropped, and the condition says so.
async fn a_missing_set_keeps_its_last_role(stage: &Stage) {
    let arn = provisioned(stage, ACCOUNT, "", "Gone", OLD);
    declare(stage, "gone", "Gone", ACCOUNT);
    stage.until("gone", "Ready", "True InEffect").await;
    let mark = stage.mark();
    stage.eks.world().delete_principal(&arn);
    stage
        .until("gone", "Accepted", "True PermissionSetUnresolved")
        .await;
    accepted_says(stage, "gone", "no longer has").await;
    assert_eq!(resolved(stage, "gone").await.as_ref(), Some(&arn));
    assert_eq!(stage.writes_about(&arn, mark), NONE);
    assert!(stage.entry(&arn).is_some());
}

/// Which of two roles is meant, only a person can tell.
async fn of_two_roles_the_one_in_force_stays(stage: &Stage) {
    let mark = stage.mark();
    let first = provisioned(stage, ACCOUNT, "", "Two", OLD);
    let second = provisioned(stage, ACCOUNT, "eu-west-1/", "Two", NEW);
    declare(stage, "two", "Two", ACCOUNT);
    eventually("both are named", PATIENT, async || {
        let object = stage.object("two").await;
        match condition(&object, "Ready") {
            Some(seen) if seen.message.contains(&first) && seen.message.contains(&second) => Ok(()),
            _ => Err(object.status),
        }
    })
    .await;
    stage
        .until("two", "Ready", "False PermissionSetUnresolved")
        .await;
    for arn in [&first, &second] {
        assert_eq!(stage.writes_about(arn, mark), NONE);
    }
    stage.eks.world().delete_principal(&second);
    stage.until("two", "Ready", "True InEffect").await;
    let mark = stage.mark();
    provisioned(stage, ACCOUNT, "eu-west-1/", "Two", NEW);
    accepted_says(stage, "two", "the current one stays").await;
    stage.until("two", "Ready", "True InEffect").await;
    assert_eq!(resolved(stage, "two").await, Some(first));
    assert_eq!(stage.writes(mark), NONE);
}

/// A set that nobody was ever assigned to has no role.
async fn a_set_that_never_existed_is_reported(stage: &Stage) {
    declare(stage, "never", "Never", ACCOUNT);
    let seen = stage
        .until("never", "Stalled", "True PermissionSetUnresolved")
        .await;
    assert!(seen.message.contains("assign the set"), "{seen:?}");
}

/// Another account's roles are read through a role there, where one is given.
#[tokio::test]
async fn permission_sets_of_other_accounts() {
    let mut stage = Stage::without_operator(super::stage::CLUSTER, Mode::Api).await;
    let arn = provisioned(&stage, OTHER, "eu-west-1/", "View", OLD);
    stage.eks.world().assumable_role(OTHER, "/", "reader", None);
    declare(&stage, "other", "View", OTHER);
    stage.start(&NO_TIMER).await;
    let seen = stage
        .until("other", "Stalled", "True PermissionSetUnresolved")
        .await;
    assert!(seen.message.contains("--iam-role"), "{seen:?}");
    assert!(seen.message.contains("--iam-account"), "{seen:?}");
    assert_eq!(stage.writes(Mark::START), NONE);
    stage.stop().await;
    let account = format!("--iam-account={OTHER}");
    let role = ["--iam-role=arn:aws:iam::{account}:role/reader", &account];
    stage.start(&[&NO_TIMER as &[&str], &role].concat()).await;
    stage.until("other", "Ready", "True InEffect").await;
    assert!(stage.entry(&arn).is_some());
    // A role that can't be assumed is named, and what was found stays.
    stage.stop().await;
    stage.eks.knobs().deny("sts:AssumeRole");
    let mark = stage.mark();
    stage.start(&[&NO_TIMER as &[&str], &role].concat()).await;
    accepted_says(&stage, "other", "sts:AssumeRole").await;
    stage.until("other", "Ready", "True InEffect").await;
    assert_eq!(stage.writes(mark), NONE);
}
