//! Errors of access entries as AWS's guide lists them: each situation from the broken state, by what our output says alone, to the
//! mended one. The stand-in refuses in EKS's own words.

use std::fs;

use serde_json::{Value, json};

use super::{Ran, Run};
use crate::scenarios::entries::failures::statement;
use crate::scenarios::entries::stage::{ACCOUNT, CLUSTER, OTHER, Stage, WATCHFUL};
use crate::support::eks::Mode;
use crate::support::mappings::{Seen, mapping, role};

const BATCH: &str =
    "arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch";

#[tokio::test]
async fn errors_of_access_entries() {
    let mut stage = Stage::without_operator(CLUSTER, Mode::ConfigMap).await;
    modes_that_cannot_be_reached(&stage).await;
    stage.start(&WATCHFUL).await;
    let denied = a_right_is_missing(&stage).await;
    types_that_are_misspelt_or_do_not_fit(&stage).await;
    roles_that_are_not_there(&stage).await;
    permissions_are_missing_although_the_entry_is_there(&stage).await;
    a_service_linked_role_stays_in_aws_auth(&stage).await;
    stage.stop().await;
    change_mode(&stage, "API").expect("EKS takes it from here");
    stage.start(&WATCHFUL).await;
    // A call that was denied is made again after a minute, and after a restart at once.
    stage.until("denied", "Ready", "True InEffect").await;
    assert!(stage.entry(&denied).is_some());
    names_that_eks_reserves(&stage).await;
    a_service_linked_role_waits_for_its_service(&stage).await;
}

/// Runs the command line on the cluster and with AWS.
async fn cli(stage: &Stage, arguments: &[&str]) -> Ran {
    let place = ["--cluster-name=test", "--region=eu-west-1"];
    let run = Run::new([arguments, &place].concat());
    run.on(&stage.cluster).with(&stage.eks).run_aside().await
}

/// A person changes the mode; the refusal is in EKS's words.
fn change_mode(stage: &Stage, mode: &str) -> Result<(), String> {
    let change = json!({ "accessConfig": { "authenticationMode": mode } });
    let answer = stage.eks.by_hand("UpdateClusterConfig", change);
    answer.map(|_| ()).map_err(|refusal| refusal.message)
}

/// What follows these words, up to a character that ends it.
fn after<'t>(text: &'t str, words: &str, ends: &[char]) -> &'t str {
    let (_, rest) = text
        .split_once(words)
        .unwrap_or_else(|| panic!("{words:?} is not said in: {text}"));
    rest.split(ends).next().unwrap()
}

async fn modes_that_cannot_be_reached(stage: &Stage) {
    let refusal = change_mode(stage, "API").expect_err("two steps in one");
    assert_eq!(
        refusal,
        "Unsupported authentication mode update from CONFIG_MAP to API"
    );
    let refused = cli(stage, &["migrate", "plan", "--to=API"]).await;
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (1, ""),
        "{}",
        refused.shown()
    );
    let possible = after(&refused.stderr, "change to ", &[' ']);

    let gate = cli(stage, &["migrate", "plan", "--to", possible]).await;
    assert_eq!(gate.code, 0, "{}", gate.shown());
    let mode = after(&gate.stdout, "authenticationMode=", &[' ', '\n', ',']);
    change_mode(stage, mode).expect("it is the one that is possible");

    assert!(
        change_mode(stage, mode).is_err(),
        "EKS refuses the same again"
    );
    let same = cli(stage, &["migrate", "plan", "--to", mode]).await;
    let words = format!("already in mode {mode}: nothing to change");
    assert!(same.stdout.contains(&words), "{}", same.shown());
    assert!(change_mode(stage, "CONFIG_MAP").is_err());
    let back = cli(stage, &["migrate", "plan", "--to=CONFIG_MAP"]).await;
    assert_eq!(
        (back.code, back.stdout.as_str()),
        (1, ""),
        "{}",
        back.shown()
    );
    let words = "can't change a cluster back";
    assert!(back.stderr.contains(words), "{}", back.shown());
}

/// The actions that a policy statement allows.
fn actions(statement: &Value) -> Vec<String> {
    let action = &statement["Action"];
    let all = action
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![action.clone()]);
    all.iter()
        .map(|action| action.as_str().unwrap().to_owned())
        .collect()
}

/// `AccessDenied`: the statement that is named is added. The operator's denial is left to be tried again.
async fn a_right_is_missing(stage: &Stage) -> String {
    stage.eks.knobs().deny("eks:CreateAccessEntry");
    let arn = stage.declare("denied", json!({})).await;
    let seen = stage.until("denied", "Ready", "False AccessDenied").await;
    for action in actions(&statement(&seen)) {
        stage.eks.knobs().allow(&action);
    }

    stage.eks.knobs().deny("eks:ListAccessEntries");
    let refused = cli(stage, &["plan"]).await;
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (1, ""),
        "{}",
        refused.shown()
    );
    let json = &refused.stderr[refused.stderr.find('{').expect("a statement")..];
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    for action in actions(&values.next().unwrap().unwrap()) {
        stage.eks.knobs().allow(&action);
    }
    let planned = cli(stage, &["plan"]).await;
    assert_ne!(planned.code, 1, "{}", planned.shown());
    arn
}

/// Applies a mapping as a person does. What the API server says where it refuses.
fn apply(stage: &Stage, name: &str, spec: &Value) -> Result<(), String> {
    let object = serde_json::to_string(&mapping(name, spec)).unwrap();
    refusal(stage, &object)
}

fn refusal(stage: &Stage, object: &str) -> Result<(), String> {
    let output = stage.cluster.kubectl(&["apply", "-f", "-"], Some(object));
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}

async fn types_that_are_misspelt_or_do_not_fit(stage: &Stage) {
    stage.role("nodes-of-linux");
    let object = |spec: Value| {
        json!({
            "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
            "metadata": { "name": "nodes-of-linux" }, "spec": spec,
        })
        .to_string()
    };
    let principal = json!({ "arn": role("nodes-of-linux") });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.json");
    let mut spec = json!({ "principal": principal, "type": "EC2_LINUX", "groups": ["team"] });

    // EKS's own spelling is not ours; the one that is meant is named.
    let refused = refusal(stage, &object(spec.clone())).expect_err("a type of EKS's spelling");
    let known = after(&refused, "supported values: ", &['\n']).replace('"', "");
    let meant = known
        .split(", ")
        .find(|known| known.eq_ignore_ascii_case("EC2Linux"))
        .unwrap_or_else(|| panic!("not named: {refused}"));
    fs::write(&file, object(spec.clone())).unwrap();
    let planned = cli(stage, &["plan", "-f", file.to_str().unwrap()]).await;
    assert_eq!(
        (planned.code, planned.stdout.as_str()),
        (1, ""),
        "{}",
        planned.shown()
    );
    assert!(
        planned.stderr.contains("spec.type") && planned.stderr.contains("EC2Linux"),
        "{}",
        planned.stderr
    );

    // EKS sets the groups of nodes.
    spec["type"] = json!(meant);
    let refused = refusal(stage, &object(spec.clone())).expect_err("groups of nodes");
    let field = after(&refused, "remove ", &[',', ' ', '\n']).to_owned();
    let words = stage.eks.by_hand(
        "CreateAccessEntry",
        json!({ "principalArn": role("nodes-of-linux"), "type": "EC2_LINUX", "kubernetesGroups": ["team"] }),
    );
    assert!(
        words
            .unwrap_err()
            .message
            .contains("setting kubernetesGroups is not allowed")
    );
    let field = field.trim_start_matches("spec.");
    spec.as_object_mut()
        .unwrap()
        .remove(field)
        .unwrap_or_else(|| panic!("{field}: {refused}"));
    refusal(stage, &object(spec)).expect("it is mended");
    stage
        .until("nodes-of-linux", "Ready", "True InEffect")
        .await;
    assert_eq!(
        stage.entry(&role("nodes-of-linux")).unwrap().type_,
        "EC2_LINUX"
    );
}

async fn roles_that_are_not_there(stage: &Stage) {
    // Never made.
    stage
        .declare_for("absent", &role("absent"), json!({}))
        .await;
    // Of IAM Identity Center, with the path left out, as aws-auth wants it.
    let path = "/aws-reserved/sso.amazonaws.com/eu-west-1/";
    let name = "AWSReservedSSO_Dev_0123456789abcdef";
    let whole = stage.role_in(ACCOUNT, path, name);
    stage.declare_for("stripped", &role(name), json!({})).await;
    // The same in an account that can't be read.
    let elsewhere = stage.role_in(OTHER, "/teams/", "elsewhere");
    let stripped = elsewhere.replace("/teams/", "/");
    stage.declare_for("elsewhere", &stripped, json!({})).await;

    let mut seen = stage
        .until("absent", "Ready", "False PrincipalInvalid")
        .await;
    assert!(seen.message.contains("invalid principal"), "{seen:?}");
    while !seen.message.contains("IAM does not list it: create it") {
        stage.listed().await;
        seen = stage
            .until("absent", "Ready", "False PrincipalInvalid")
            .await;
    }
    stage.role("absent");
    let seen = stage
        .until("elsewhere", "Ready", "False PrincipalInvalid")
        .await;
    assert!(seen.message.contains("or it has a path"), "{seen:?}");
    let principal = json!({ "spec": { "principal": { "arn": elsewhere } } });
    stage.cluster.change("elsewhere", principal).await;
    for (mapping, arn) in [
        ("stripped", &whole),
        ("elsewhere", &elsewhere),
        ("absent", &role("absent")),
    ] {
        stage.until(mapping, "Ready", "True InEffect").await;
        assert!(stage.entry(arn).is_some(), "{arn}");
    }
}

/// The annotation that a sentence tells to set.
fn confirmation(seen: &Seen) -> &str {
    after(&seen.message, "identity-mapper.dev/confirm=", &['`'])
}

async fn permissions_are_missing_although_the_entry_is_there(stage: &Stage) {
    // Nothing binds the group.
    let arn = stage
        .establish("unbound", json!({ "groups": ["readers"] }))
        .await;
    let can = ["explain", arn.as_str(), "--can", "get", "pods"];
    let told = cli(stage, &can).await;
    assert_eq!(told.code, 1, "{}", told.shown());
    let seen = stage
        .until("unbound", "GroupsBound", "False GroupsUnbound")
        .await;
    assert!(seen.message.contains("readers"), "{seen:?}");
    for arguments in [
        "create clusterrole readers --verb=get --resource=pods",
        "create clusterrolebinding readers --clusterrole=readers --group=readers",
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        stage.cluster.kubectl_ok(&arguments, None);
    }
    stage
        .until("unbound", "GroupsBound", "True GroupsBound")
        .await;
    let told = cli(stage, &can).await;
    assert_eq!(told.code, 0, "{}", told.shown());

    // The policy holds in another namespace.
    let view = |scope: Value| json!([{ "policy": "AmazonEKSViewPolicy", "scope": scope }]);
    let scoped = json!({ "type": "Namespace", "namespaces": ["a"] });
    let arn = stage
        .establish("scoped", json!({ "accessPolicies": view(scoped) }))
        .await;
    let told = cli(stage, &["explain", &arn]).await;
    assert!(
        told.stdout.contains("AmazonEKSViewPolicy") && told.stdout.contains("namespace"),
        "{}",
        told.shown()
    );
    let wider = json!({ "spec": { "accessPolicies": view(json!({ "type": "Namespace", "namespaces": ["a", "b"] })) } });
    stage.cluster.change("scoped", wider).await;
    stage.cluster.ready("scoped").await;
    assert_eq!(stage.policies(&arn), ["AmazonEKSViewPolicy a,b"]);

    // The role was deleted and made again: the entry is for the older one.
    let arn = stage.establish("recreated", json!({})).await;
    stage.tagged_with_id(&arn).await;
    let now = stage.eks.world().recreate_principal(&arn);
    let seen = stage
        .until("recreated", "Ready", "False PrincipalRecreated")
        .await;
    assert_ne!(
        stage.entry(&arn).unwrap().principal_id.as_ref(),
        Some(&now.id)
    );
    stage
        .cluster
        .confirm("recreated", confirmation(&seen))
        .await;
    stage.until("recreated", "Ready", "True InEffect").await;
    assert_eq!(stage.entry(&arn).unwrap().principal_id, Some(now.id));
}

async fn a_service_linked_role_stays_in_aws_auth(stage: &Stage) {
    stage.role_in(
        ACCOUNT,
        "/aws-service-role/batch.amazonaws.com/",
        "AWSServiceRoleForBatch",
    );
    let words = stage
        .eks
        .by_hand("CreateAccessEntry", json!({ "principalArn": BATCH }));
    assert!(words.unwrap_err().message.contains("Service Linked Role"));
    stage
        .declare_for("batch", BATCH, json!({ "username": "aws-batch" }))
        .await;
    let seen = stage.until("batch", "Ready", "True InEffect").await;
    assert_eq!(seen.reason, "InEffect");
    let accepted = stage.until("batch", "Accepted", "True Accepted").await;
    assert!(
        accepted.message.contains("stays in aws-auth"),
        "{accepted:?}"
    );
    assert!(
        stage
            .cluster
            .roles()
            .await
            .contains("role/AWSServiceRoleForBatch")
    );
}

/// Where aws-auth is not read, nothing but AWS itself can let it in, and the condition says so.
async fn a_service_linked_role_waits_for_its_service(stage: &Stage) {
    let seen = stage.until("batch", "Ready", "False NotExpressible").await;
    let who = "only the AWS service that owns the role can grant it access";
    assert!(seen.message.contains(who), "{seen:?}");
}

async fn names_that_eks_reserves(stage: &Stage) {
    let words = stage.eks.by_hand(
        "CreateAccessEntry",
        json!({ "principalArn": stage.role("by-hand"), "kubernetesGroups": ["system:auditors"] }),
    );
    assert_eq!(
        words.unwrap_err().message,
        "The kubernetes group name system:auditors is invalid, it cannot start with system:"
    );
    let cases = [
        (
            "group",
            json!({ "groups": ["system:auditors"] }),
            "write that one",
        ),
        (
            "group-of-eks",
            json!({ "groups": ["eks:auditors"] }),
            "write that one",
        ),
        (
            "username",
            json!({ "username": "system:auditor" }),
            "leave it out",
        ),
        (
            "colon",
            json!({ "username": "auditor-{{SessionName}}" }),
            "as in ",
        ),
    ];
    for (name, spec, _) in &cases {
        stage.role(name);
        apply(stage, name, spec).expect("only the mode forbids it");
    }
    for (name, _, fix) in &cases {
        let seen = stage.until(name, "Accepted", "False NotExpressible").await;
        let told = after(&seen.message, fix, &['\n']);
        let patch = match *fix {
            "write that one" => json!({ "groups": ["auditors"] }),
            "leave it out" => json!({ "username": null }),
            _ => json!({ "username": told.trim().trim_matches('"') }),
        };
        stage.cluster.change(name, json!({ "spec": patch })).await;
    }
    for (name, _, _) in &cases {
        stage.until(name, "Ready", "True InEffect").await;
        assert!(stage.entry(&role(name)).is_some(), "{name}");
    }
    let entry = stage.entry(&role("colon")).unwrap();
    assert!(
        entry.username.contains(":{{SessionName}}"),
        "{}",
        entry.username
    );
}
