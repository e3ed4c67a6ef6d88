//! Every refusal of EKS whose text is known, row by row, over HTTP.
//!
//! The texts are those that EKS gives: of its API reference and user guide, and of what people copied into issues.

use serde_json::{Value, json};

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

#[allow(clippy::too_many_lines, reason = "a table")]
fn creations() -> Vec<Row> {
    let mut rows = vec![
        create(
            "a session",
            json!({"principalArn": "arn:aws:sts::111122223333:assumed-role/Dev/ann"}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "an IAM group",
            json!({"principalArn": "arn:aws:iam::111122223333:group/devs"}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "an account",
            json!({"principalArn": OWN}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "a federated user",
            json!({"principalArn": "arn:aws:sts::111122223333:federated-user/ann"}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "a role that is not there",
            json!({"principalArn": "arn:aws:iam::111122223333:role/Nobody"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a role without its path",
            json!({"principalArn": "arn:aws:iam::111122223333:role/Dev"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "an SSO role without its path",
            json!({"principalArn": SSO.replace("aws-reserved/sso.amazonaws.com/eu-west-1/", "")}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a role in another case",
            json!({"principalArn": NEW.replace("New", "new")}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a root of another partition",
            json!({"principalArn": "arn:aws-cn:iam::111122223333:root"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a service-linked role",
            json!({"principalArn": LINKED}),
            SERVICE_LINKED,
        ),
        create(
            "a service-linked role of another account",
            json!({"principalArn": LINKED.replace(OWN, OTHER), "type": "EC2_LINUX"}),
            SERVICE_LINKED,
        ),
        create(
            "a service-linked role without its path",
            json!({"principalArn": "arn:aws:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a type in another case",
            json!({"principalArn": NEW, "type": "Standard"}),
            "AccessEntry type must be one of [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, STANDARD, HYBRID_LINUX, EC2, HYPERPOD_LINUX]",
        ),
        create(
            "no colon before the session's name",
            json!({"principalArn": NEW, "username": "john{{SessionName}}"}),
            "The specified username is invalid: a colon must stand before {{SessionName}} or {{SessionNameRaw}}",
        ),
        create(
            "no colon before the raw session's name",
            json!({"principalArn": NEW, "username": "{{SessionNameRaw}}:x"}),
            "The specified username is invalid: a colon must stand before {{SessionName}} or {{SessionNameRaw}}",
        ),
        create(
            "EC2_LINUX with groups",
            json!({"principalArn": NEW, "type": "EC2_LINUX", "kubernetesGroups": ["g"]}),
            "The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when the type is \"EC2_LINUX\"",
        ),
        create(
            "EC2_LINUX with a username",
            json!({"principalArn": NEW, "type": "EC2_LINUX", "username": "u"}),
            "The specified username is invalid: setting username is not allowed when the type is \"EC2_LINUX\"",
        ),
        create(
            "a node type's own username",
            json!({"principalArn": NEW, "type": "EC2_LINUX", "username": "system:node:{{EC2PrivateDNSName}}"}),
            "The username must not begin with system:",
        ),
        create(
            "a tag key that AWS keeps to itself",
            json!({"principalArn": NEW, "tags": {"aws:x": "y"}}),
            "The tag key aws:x begins with aws:, which is reserved",
        ),
        row(
            "a duplicate",
            entries(),
            json!({"principalArn": ROLE}),
            IN_USE,
            "The specified access entry resource is already in use on this cluster.",
        ),
        row(
            "another cluster",
            ("POST", "/clusters/other/access-entries".to_owned()),
            json!({"principalArn": NEW}),
            NOT_FOUND,
            "No cluster found for name: other.",
        ),
        row(
            "names come before the cluster",
            ("POST", "/clusters/other/access-entries".to_owned()),
            json!({"principalArn": NEW, "kubernetesGroups": ["system:masters"]}),
            PARAMETER,
            "The kubernetes group name system:masters is invalid, it cannot start with system:",
        ),
        row(
            "the cluster comes before the principal's existence",
            ("POST", "/clusters/other/access-entries".to_owned()),
            json!({"principalArn": "arn:aws:iam::111122223333:role/Nobody"}),
            NOT_FOUND,
            "No cluster found for name: other.",
        ),
    ];
    for type_ in [
        "EC2_LINUX",
        "EC2_WINDOWS",
        "FARGATE_LINUX",
        "HYBRID_LINUX",
        "EC2",
        "HYPERPOD_LINUX",
    ] {
        let message =
            format!("AccessEntry principalArn must be IAM role when using types {NODE_TYPES}");
        rows.push(create(
            "a user as a node",
            json!({"principalArn": USER, "type": type_}),
            &message,
        ));
    }
    for type_ in [
        "EC2_LINUX",
        "EC2_WINDOWS",
        "FARGATE_LINUX",
        "HYBRID_LINUX",
        "EC2",
        "HYPERPOD_LINUX",
    ] {
        let message = format!(
            "AccessEntry principalArn must be from the same account as the cluster when using types {NODE_TYPES}"
        );
        rows.push(create(
            "another account's node",
            json!({"principalArn": FOREIGN, "type": type_}),
            &message,
        ));
    }
    for prefix in ["system:", "eks:", "aws:", "amazon:", "iam:"] {
        let message = format!("The username must not begin with {prefix}");
        rows.push(create(
            "a reserved username",
            json!({"principalArn": NEW, "username": format!("{prefix}x")}),
            &message,
        ));
        let message = format!(
            "The kubernetes group name {prefix}x is invalid, it cannot start with {prefix}"
        );
        rows.push(create(
            "a reserved group",
            json!({"principalArn": NEW, "kubernetesGroups": ["fine", format!("{prefix}x")]}),
            &message,
        ));
    }
    rows
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn others() -> Vec<Row> {
    let namespaced = |namespaces: Value| json!({"policyArn": policy("AmazonEKSViewPolicy"), "accessScope": {"type": "namespace", "namespaces": namespaces}});
    let mut rows = vec![
        associate(
            "no namespace",
            ROLE,
            namespaced(json!([])),
            PARAMETER,
            "At least 1 namespace must be provided if the type is set as namespace",
        ),
        associate(
            "namespaces of the whole cluster",
            ROLE,
            json!({"policyArn": policy("AmazonEKSViewPolicy"), "accessScope": {"type": "cluster", "namespaces": ["a"]}}),
            PARAMETER,
            "accessScope should not include namespaces if the type is not set as namespace",
        ),
        associate(
            "a policy of IAM",
            ROLE,
            json!({"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "accessScope": {"type": "cluster"}}),
            PARAMETER,
            "The policyArn parameter format is not valid",
        ),
        associate(
            "a policy that is not there",
            ROLE,
            whole("AmazonEKSNothingPolicy"),
            NOT_FOUND,
            NO_POLICY,
        ),
        associate(
            "a policy of another partition",
            ROLE,
            json!({"policyArn": policy("AmazonEKSViewPolicy").replace("arn:aws:", "arn:aws-cn:"), "accessScope": {"type": "cluster"}}),
            NOT_FOUND,
            NO_POLICY,
        ),
        associate(
            "no entry",
            NEW,
            whole("AmazonEKSViewPolicy"),
            NOT_FOUND,
            NO_ENTRY,
        ),
        associate(
            "a service-linked role",
            LINKED,
            whole("AmazonEKSViewPolicy"),
            PARAMETER,
            SERVICE_LINKED,
        ),
        associate(
            "a node",
            NODE,
            whole("AmazonEKSViewPolicy"),
            PARAMETER,
            "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
        ),
        associate(
            "a scope of a type that is none",
            ROLE,
            json!({"policyArn": policy("AmazonEKSViewPolicy"), "accessScope": {"type": "Cluster"}}),
            PARAMETER,
            "1 validation error detected: Value 'Cluster' at 'accessScope.type' failed to satisfy constraint: Member must satisfy enum value set: [cluster, namespace]",
        ),
        row(
            "describe: no entry",
            entry("GET", NEW),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "describe: a malformed ARN",
            entry("GET", "arn:aws:sts::111122223333:assumed-role/Dev/ann"),
            Value::Null,
            PARAMETER,
            "The principalArn parameter format is not valid",
        ),
        row(
            "update: no entry",
            entry("POST", NEW),
            json!({}),
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "update: a reserved username",
            entry("POST", ROLE),
            json!({"username": "iam:x"}),
            PARAMETER,
            "The username must not begin with iam:",
        ),
        row(
            "update: a node's own username",
            entry("POST", NODE),
            json!({"username": "system:node:{{EC2PrivateDNSName}}"}),
            PARAMETER,
            "The username must not begin with system:",
        ),
        row(
            "update: a node's groups",
            entry("POST", NODE),
            json!({"kubernetesGroups": ["g"]}),
            PARAMETER,
            "The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when the type is \"EC2_LINUX\"",
        ),
        row(
            "update: a service-linked role",
            entry("POST", LINKED),
            json!({}),
            PARAMETER,
            SERVICE_LINKED,
        ),
        row(
            "delete: no entry",
            entry("DELETE", NEW),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "delete: a service-linked role",
            entry("DELETE", LINKED),
            Value::Null,
            PARAMETER,
            SERVICE_LINKED,
        ),
        row(
            "disassociate: no entry",
            (
                "DELETE",
                format!(
                    "{}/{}",
                    policies("DELETE", NEW).1,
                    segment(&policy("AmazonEKSViewPolicy"))
                ),
            ),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "disassociate: not associated",
            (
                "DELETE",
                format!(
                    "{}/{}",
                    policies("DELETE", ROLE).1,
                    segment(&policy("AmazonEKSViewPolicy"))
                ),
            ),
            Value::Null,
            NOT_FOUND,
            NO_POLICY,
        ),
        row(
            "list associated: no entry",
            policies("GET", NEW),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "a page of 101",
            (
                "GET",
                "/clusters/test/access-entries?maxResults=101".to_owned(),
            ),
            Value::Null,
            PARAMETER,
            "1 validation error detected: Value '101' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 100",
        ),
        row(
            "a page of none",
            ("GET", "/access-policies?maxResults=0".to_owned()),
            Value::Null,
            PARAMETER,
            "1 validation error detected: Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        row(
            "a token that was not given",
            (
                "GET",
                "/clusters/test/access-entries?nextToken=x".to_owned(),
            ),
            Value::Null,
            PARAMETER,
            "The nextToken parameter is not valid",
        ),
        row(
            "a cluster that is not there",
            ("GET", "/clusters/nothing".to_owned()),
            Value::Null,
            NOT_FOUND,
            "No cluster found for name: nothing.",
        ),
        row(
            "two kinds of update",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({"accessConfig": {"authenticationMode": "API"}, "logging": {"clusterLogging": []}}),
            PARAMETER,
            "Only one type of update can be allowed.",
        ),
        row(
            "Auto Mode and another kind of update",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({"accessConfig": {"authenticationMode": "API"}, "computeConfig": {"enabled": true}}),
            PARAMETER,
            "Only one type of update can be allowed.",
        ),
        row(
            "no kind of update",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({}),
            PARAMETER,
            "The type for cluster update was not provided.",
        ),
        row(
            "a part of Auto Mode",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({"computeConfig": {"enabled": true}}),
            PARAMETER,
            PART_OF_AUTO_MODE,
        ),
        row(
            "Auto Mode half on",
            ("POST", "/clusters/test/update-config".to_owned()),
            {
                let mut half = auto_mode();
                half["storageConfig"]["blockStorage"]["enabled"] = false.into();
                half
            },
            PARAMETER,
            PART_OF_AUTO_MODE,
        ),
        row(
            "no tags",
            ("POST", format!("/tags/{}", segment(CLUSTER))),
            json!({"tags": {}}),
            "BadRequestException",
            "1 validation error detected: Value '{}' at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        row(
            "tags of nothing",
            (
                "POST",
                format!(
                    "/tags/{}",
                    segment(
                        "arn:aws:eks:eu-west-1:111122223333:access-entry/test/role/111122223333/x/y"
                    )
                ),
            ),
            json!({"tags": {"a": "b"}}),
            "NotFoundException",
            "Resource not found: arn:aws:eks:eu-west-1:111122223333:access-entry/test/role/111122223333/x/y",
        ),
        row(
            "tags of a role",
            ("POST", format!("/tags/{}", segment(ROLE))),
            json!({"tags": {"a": "b"}}),
            "BadRequestException",
            format!("{ROLE} is no ARN of a resource of EKS"),
        ),
    ];
    for arn in [
        "arn:aws:eks:aws:cluster-access-policy/AmazonEKSViewPolicy",
        "arn:aws:eks:::cluster-access-policy/AmazonEKSViewPolicy",
        "arn:aws:eks::aws:AmazonEKSViewPolicy",
    ] {
        rows.push(associate(
            "a malformed ARN of EKS",
            ROLE,
            json!({"policyArn": arn, "accessScope": {"type": "cluster"}}),
            NOT_FOUND,
            NO_POLICY,
        ));
    }
    for name in [
        "ClusterInsights",
        "Hybrid",
        "ComputeCluster",
        "BlockStorageCluster",
        "Compute",
        "BlockStorage",
    ] {
        rows.push(associate(
            "a policy for service-linked roles",
            ROLE,
            whole(&format!("AmazonEKS{name}Policy")),
            PARAMETER,
            "The specified policyArn can only be associated with service-linked roles",
        ));
    }
    rows
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
