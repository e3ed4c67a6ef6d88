//! Every refusal of EKS whose text is known, row by row, over HTTP.
//!
//! The texts are those that EKS gives: of its API reference and user guide, and of what people copied into issues.

mod creations;
mod others;

use serde_json::{Value, json};

use creations::creations;
use others::others;

use super::clients::{call, segment};
use super::{CLUSTER, OTHER, OWN, policy};
use crate::support::eks::{Eks, Entry, Mode, World};

const ROLE: &str = "arn:aws:iam::111122223333:role/teams/Dev";
const USER: &str = "arn:aws:iam::111122223333:user/ann";
const NODE: &str = "arn:aws:iam::111122223333:role/node";
const AUTO: &str = "arn:aws:iam::111122223333:role/auto";
const NEW: &str = "arn:aws:iam::111122223333:role/New";
const FOREIGN: &str = "arn:aws:iam::444455556666:role/Foreign";
const SSO: &str = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef";
const LINKED: &str = "arn:aws:iam::111122223333:role/aws-service-role/emr-containers.amazonaws.com/AWSServiceRoleForAmazonEMRContainers";

const PARAMETER: &str = "InvalidParameterException";
const REQUEST: &str = "InvalidRequestException";
const NOT_FOUND: &str = "ResourceNotFoundException";
const IN_USE: &str = "ResourceInUseException";

const INVALID_PRINCIPAL: &str = "The specified principalArn is invalid: invalid principal.";
const NO_ENTRY: &str = "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.";
const NO_POLICY: &str = "The specified policyArn could not be found. You can view your available access policies with 'list-access-policies'";
const SERVICE_LINKED: &str = "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role";
const NODE_TYPES: &str = "[EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, HYBRID_LINUX, EC2]";
const WRONG_MODE: &str = "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.";

const PART_OF_AUTO_MODE: &str = "For EKS Auto Mode, please ensure that all required configs, including computeConfig, kubernetesNetworkConfig, and blockStorage are all either fully enabled or fully disabled.";

/// EKS Auto Mode as it is switched on.
fn auto_mode() -> Value {
    json!({
        "computeConfig": {"enabled": true},
        "kubernetesNetworkConfig": {"elasticLoadBalancing": {"enabled": true}},
        "storageConfig": {"blockStorage": {"enabled": true}},
    })
}

/// A request and how it is refused.
struct Row {
    what: &'static str,
    method: &'static str,
    target: String,
    body: Value,
    status: u16,
    code: &'static str,
    message: String,
}

fn row(
    what: &'static str,
    (method, target): (&'static str, String),
    body: Value,
    code: &'static str,
    message: impl Into<String>,
) -> Row {
    let status = match code {
        NOT_FOUND | "NotFoundException" => 404,
        IN_USE => 409,
        _ => 400,
    };
    let message = message.into();
    Row {
        what,
        method,
        target,
        body,
        status,
        code,
        message,
    }
}

fn entries() -> (&'static str, String) {
    ("POST", "/clusters/test/access-entries".to_owned())
}

fn entry(method: &'static str, arn: &str) -> (&'static str, String) {
    (
        method,
        format!("/clusters/test/access-entries/{}", segment(arn)),
    )
}

fn policies(method: &'static str, arn: &str) -> (&'static str, String) {
    (
        method,
        format!(
            "/clusters/test/access-entries/{}/access-policies",
            segment(arn)
        ),
    )
}

fn create(what: &'static str, body: Value, message: &str) -> Row {
    row(what, entries(), body, PARAMETER, message)
}

fn associate(what: &'static str, arn: &str, body: Value, code: &'static str, message: &str) -> Row {
    row(what, policies("POST", arn), body, code, message)
}

fn whole(name: &str) -> Value {
    json!({"policyArn": policy(name), "accessScope": {"type": "cluster"}})
}

/// A world with entries of a role, a Linux node and an Auto Mode node.
fn world(mode: Mode) -> World {
    let mut world = World::new(CLUSTER).mode(mode);
    world.role(OWN, "/teams/", "Dev");
    world.role(OWN, "/", "New");
    world.role(OWN, "/", "node");
    world.role(OWN, "/", "auto");
    world.role(OTHER, "/", "Foreign");
    world.role(
        OWN,
        "/aws-reserved/sso.amazonaws.com/eu-west-1/",
        "AWSReservedSSO_Admin_0123456789abcdef",
    );
    world.user(OWN, "/", "ann");
    if mode != Mode::ConfigMap {
        for (arn, type_) in [(ROLE, "STANDARD"), (NODE, "EC2_LINUX"), (AUTO, "EC2")] {
            let id = world.find(arn).map(|role| role.id.clone());
            let entry = Entry::new(&world.cluster, arn, type_, id, world.now);
            world.standing_entry(entry.unwrap());
        }
    }
    world
}

async fn hold(eks: &Eks, rows: Vec<Row>) {
    let before = eks.world().cluster.entries.clone();
    let mut wrong = Vec::new();
    for row in rows {
        let answer = call(eks, row.method, &row.target, &row.body).await;
        let code = answer
            .header("x-amzn-errortype")
            .unwrap_or_default()
            .to_owned();
        let body = answer.json();
        let message = body["message"].as_str().unwrap_or_default();
        if (answer.status, code.as_str(), message) != (row.status, row.code, row.message.as_str()) {
            wrong.push(format!(
                "{}:\n  expected {} {}: {}\n  answered {} {code}: {}",
                row.what, row.status, row.code, row.message, answer.status, answer.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        eks.world().cluster.entries == before,
        "a refusal changed an entry"
    );
}

#[tokio::test]
async fn creations_are_refused_in_eks_own_words() {
    let eks = Eks::start(world(Mode::ApiAndConfigMap)).await;
    hold(&eks, creations()).await;
}

#[tokio::test]
async fn other_calls_are_refused_in_eks_own_words() {
    let eks = Eks::start(world(Mode::ApiAndConfigMap)).await;
    hold(&eks, others()).await;
}

/// Only `DescribeCluster` leaves out the member that names the cluster.
#[tokio::test]
async fn an_unknown_cluster_is_named_by_all_but_describe_cluster() {
    let eks = Eks::start(world(Mode::ApiAndConfigMap)).await;
    for (target, named) in [
        ("/clusters/nothing", None),
        ("/clusters/nothing/access-entries", Some("nothing")),
        ("/clusters/nothing/updates", Some("nothing")),
    ] {
        let answer = call(&eks, "GET", target, &Value::Null).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.json()["clusterName"].as_str(), named, "{target}");
    }
}

#[tokio::test]
async fn auto_mode_is_one_update_of_three_parts() {
    let eks = Eks::start(world(Mode::ApiAndConfigMap)).await;
    let answer = call(&eks, "POST", "/clusters/test/update-config", &auto_mode()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["update"]["type"], "AutoModeUpdate");
    crate::support::eventually("it is on", std::time::Duration::from_secs(30), async || {
        eks.world().cluster.auto_mode
    })
    .await;
}

#[tokio::test]
async fn a_cluster_of_config_map_has_no_access_entries() {
    let eks = Eks::start(world(Mode::ConfigMap)).await;
    let policy = segment(&policy("AmazonEKSViewPolicy"));
    let rows = vec![
        row(
            "create",
            entries(),
            json!({"principalArn": NEW}),
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "create: the mode comes before the type",
            entries(),
            json!({"principalArn": NEW, "type": "EC2", "username": "u"}),
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "describe",
            entry("GET", ROLE),
            Value::Null,
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "update",
            entry("POST", ROLE),
            json!({}),
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "delete",
            entry("DELETE", ROLE),
            Value::Null,
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "list",
            ("GET", entries().1),
            Value::Null,
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "associate",
            policies("POST", ROLE),
            whole("AmazonEKSViewPolicy"),
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "disassociate",
            ("DELETE", format!("{}/{policy}", policies("DELETE", ROLE).1)),
            Value::Null,
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "list associated",
            policies("GET", ROLE),
            Value::Null,
            REQUEST,
            WRONG_MODE,
        ),
        row(
            "Auto Mode",
            ("POST", "/clusters/test/update-config".to_owned()),
            auto_mode(),
            PARAMETER,
            "When EKS Auto Mode is enabled, you must use an EKS access config authentication mode of API_AND_CONFIG_MAP or API",
        ),
    ];
    hold(&eks, rows).await;
}

#[tokio::test]
async fn modes_go_one_step_and_one_way() {
    let allowed = [
        (Mode::ConfigMap, Mode::ApiAndConfigMap),
        (Mode::ApiAndConfigMap, Mode::Api),
    ];
    let modes = [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api];
    for standing in modes {
        for wanted in modes {
            let eks = Eks::start(world(standing)).await;
            let update = ("POST", "/clusters/test/update-config".to_owned());
            let body = json!({"accessConfig": {"authenticationMode": wanted.as_str()}});
            if allowed.contains(&(standing, wanted)) {
                let answer = call(&eks, update.0, &update.1, &body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                continue;
            }
            let message =
                format!("Unsupported authentication mode update from {standing} to {wanted}");
            hold(&eks, vec![row("a mode", update, body, PARAMETER, message)]).await;
        }
    }
}

#[tokio::test]
async fn one_update_at_a_time() {
    let eks = Eks::start(world(Mode::ConfigMap)).await;
    eks.knobs().update = std::time::Duration::from_hours(1);
    let update = ("POST", "/clusters/test/update-config".to_owned());
    let body = json!({"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}});
    let answer = call(&eks, update.0, &update.1, &body).await.json();
    let id = answer["update"]["id"].as_str().unwrap();
    let message = format!(
        "Cannot AccessConfigUpdate because cluster test currently has update {id} in progress"
    );
    hold(
        &eks,
        vec![row("a second update", update, body, IN_USE, message)],
    )
    .await;
    let cancel = ("POST", format!("/clusters/test/updates/{id}/cancel-update"));
    let message =
        format!("Update {id} of type AccessConfigUpdate is InProgress and can't be cancelled");
    let unknown = ("GET", "/clusters/test/updates/none".to_owned());
    let rows = vec![
        row(
            "cancelling it",
            cancel,
            json!({}),
            "InvalidStateException",
            message,
        ),
        row(
            "another",
            unknown,
            Value::Null,
            NOT_FOUND,
            "No update found for ID: none",
        ),
    ];
    hold(&eks, rows).await;
}

#[tokio::test]
async fn the_quota_counts_every_entry() {
    let mut world = world(Mode::Api);
    world.role(OWN, "/", "One");
    let eks = Eks::start(world).await;
    // Three stand there already, two of them nodes'.
    eks.knobs().quota = 4;
    let create = json!({"principalArn": "arn:aws:iam::111122223333:role/One"});
    let answer = call(&eks, "POST", &entries().1, &create).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let message = "Access entries limit exceeded: the cluster already has 4";
    let full = row(
        "one more",
        entries(),
        json!({"principalArn": NEW}),
        "ResourceLimitExceededException",
        message,
    );
    hold(&eks, vec![full]).await;
}

#[tokio::test]
async fn what_is_denied_is_named_as_aws_names_it() {
    let eks = Eks::start(world(Mode::Api)).await;
    for action in [
        "CreateAccessEntry",
        "DescribeAccessEntry",
        "ListAccessPolicies",
    ] {
        eks.knobs().deny(&format!("eks:{action}"));
    }
    let caller = "arn:aws:sts::111122223333:assumed-role/identity-mapper/operator";
    let standing = eks.world().cluster.entries[ROLE].arn.clone();
    let described = entry("GET", ROLE).1;
    let calls = [
        (
            "POST",
            entries().1,
            json!({"principalArn": NEW}),
            "CreateAccessEntry",
            CLUSTER,
        ),
        (
            "GET",
            described,
            Value::Null,
            "DescribeAccessEntry",
            standing.as_str(),
        ),
        (
            "GET",
            "/access-policies".to_owned(),
            Value::Null,
            "ListAccessPolicies",
            "*",
        ),
    ];
    for (method, target, body, action, resource) in calls {
        let answer = call(&eks, method, &target, &body).await;
        assert_eq!(answer.status, 403);
        assert_eq!(
            answer.header("x-amzn-errortype"),
            Some("AccessDeniedException")
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        let expected = format!(
            "User: {caller} is not authorized to perform: eks:{action} on resource: {resource}"
        );
        assert!(message.starts_with(&expected), "{message}");
    }
    eks.knobs().allow("eks:ListAccessPolicies");
    let answer = call(&eks, "GET", "/access-policies", &Value::Null).await;
    assert_eq!(answer.status, 200);
}
