//! The policies of docs/iam.md: that they allow what the operator calls, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use identity_mapper::access_entry::{Call, Scope};
use identity_mapper::aws::{ASKED_FEATURES, AwsSettings, IamRoles};
use identity_mapper::aws_auth::Document;
use identity_mapper::effective::{EffectiveAccess, Reading, Sources};
use identity_mapper::observed::{AwsState, Bindings, Mode};
use identity_mapper::principal::SSO_PATH;
use identity_mapper::safety::clear_mode_change;
use serde_json::Value;

use super::{
    OTHER, OWN, account, associate, aws_with, cluster, create, delete, describe, described, done,
    fast, policy, start, tags, world,
};
use crate::support::eks::{CapabilityKind, Eks, NodeKind, Service};

/// The JSON blocks of the page.
fn blocks() -> Vec<Value> {
    let page = include_str!("../../../docs/iam.md");
    let blocks = page.split("```json\n").skip(1).map(|rest| {
        let (block, _) = rest.split_once("\n```").expect("the block ends");
        serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"))
    });
    blocks.collect()
}

/// The statements of its policies.
fn statements() -> Vec<Value> {
    let policies = blocks()
        .into_iter()
        .filter(|block| block["Version"] == "2012-10-17");
    let statements =
        policies.flat_map(|policy| policy["Statement"].as_array().expect("a list").clone());
    statements.collect()
}

fn one_or_more(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(one_or_more).collect(),
        value => vec![value.as_str().expect("a text").to_owned()],
    }
}

/// What the statements of an effect name, but for those of trust policies and of the queue's own.
fn actions(effect: &str) -> BTreeSet<String> {
    let statements = statements();
    let ours = statements
        .iter()
        .filter(|statement| statement["Effect"] == effect && statement.get("Principal").is_none());
    ours.flat_map(|statement| one_or_more(&statement["Action"]))
        .collect()
}

/// Makes every call that the operator can make, and gives the actions that they are.
async fn called() -> BTreeSet<String> {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    world.assumable_role(OTHER, "/", "reader", None);
    world.attach_queue("changes");
    let [web, batch, kro] = ["web", "batch", "kro"].map(|name| world.role(OWN, "/", name).arn);
    world.make_node_group(&web, NodeKind::Linux);
    world.make_node_group(&batch, NodeKind::Fargate);
    world.make_capability("kro", CapabilityKind::Kro, &kro);
    let eks = Eks::start(world).await;
    let iam_roles =
        IamRoles::parse(["arn:aws:iam::{account}:role/reader"], [account(OTHER)]).unwrap();
    let aws = aws_with(
        &eks,
        &AwsSettings {
            iam_roles,
            ..fast()
        },
    )
    .await;
    aws.identity().await.unwrap();
    aws.describe_cluster("test").await.unwrap();
    aws.list_entries(&cluster(), None).await.unwrap();
    aws.list_identity_providers(&cluster()).await.unwrap();
    aws.list_policies().await.unwrap();
    for feature in ASKED_FEATURES {
        let users = aws.users_of(&cluster(), feature).await.unwrap();
        assert_eq!(users.len(), 1, "{feature:?}");
    }
    aws.roles(&account(OWN), SSO_PATH).await.unwrap();
    aws.users(&account(OTHER)).await.unwrap();
    done(&aws, create(&role)).await;
    let arn = described(&aws, &role).await.arn;
    let (principal_arn, policy_arn) = (role.clone(), policy("AmazonEKSViewPolicy"));
    let calls = [
        describe(&role),
        Call::Update {
            principal_arn: role.clone(),
            username: None,
            groups: BTreeSet::new(),
        },
        associate(&role, &policy_arn, Scope::Cluster),
        Call::Disassociate {
            principal_arn,
            policy_arn,
        },
        Call::Tag {
            principal_arn: role.clone(),
            entry_arn: arn.clone(),
            tags: tags(&[("a", "b")]),
        },
        Call::Untag {
            principal_arn: role.clone(),
            entry_arn: arn,
            keys: BTreeSet::from(["a".to_owned()]),
        },
        delete(&role),
    ];
    for call in calls {
        // A new kind of call belongs above.
        match call {
            Call::Describe { .. }
            | Call::Create { .. }
            | Call::Update { .. }
            | Call::Delete { .. }
            | Call::Associate { .. }
            | Call::Disassociate { .. }
            | Call::Tag { .. }
            | Call::Untag { .. } => done(&aws, call).await,
        };
    }
    // What only a person's migration asks for.
    let nobody = Document::parse(&BTreeMap::new());
    let bindings = Bindings::default();
    let access = EffectiveAccess::new(Sources {
        aws_auth: &nobody,
        reading: Reading::AsAwsAuth,
        aws: &AwsState::Off,
        bindings: &bindings,
    });
    let cleared = clear_mode_change(&access, Mode::Api, |_| false, None).unwrap();
    let update = aws.change_mode(&cluster(), &cleared).await.unwrap();
    aws.describe_update(&cluster(), &update).await.unwrap();
    let queue = aws.queue(&eks.queue_url().parse().unwrap(), &cluster());
    let batch = queue.receive().await.unwrap();
    assert!(!batch.changes.is_empty(), "there is something to delete");
    let log = eks.log();
    let made = log.since(start()).iter().filter(|call| !call.by_hand);
    let actions = made.filter_map(|call| match (call.service, call.operation.as_str()) {
        // It takes no right
        // (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>).
        (Service::Sts, "GetCallerIdentity") => None,
        (Service::Sqs, "DeleteMessageBatch") => Some("sqs:DeleteMessage".to_owned()),
        (service, operation) => Some(format!("{}:{operation}", service.signing_name())),
    });
    actions.collect()
}

#[tokio::test]
async fn what_is_called_is_allowed_and_nothing_else() {
    let mut allowed = actions("Allow");
    // Which EKS checks beside CreateAccessEntry; and what EventBridge's role may do, which is not ours.
    for beside in ["iam:PassRole", "events:PutEvents"] {
        assert!(allowed.remove(beside), "{beside} is not in the page");
    }
    let called = Box::pin(called()).await;
    assert_eq!(allowed, called);
    let denied = actions("Deny");
    assert!(
        denied.is_subset(&called),
        "what is never called need not be denied: {denied:?}"
    );
}

/// The mode is changed by a person alone.
#[test]
fn the_policy_of_the_operator_does_not_change_the_mode() {
    let changes = |policy: &Value| {
        let statements = policy["Statement"].as_array().expect("a list").iter();
        let mut actions = statements.flat_map(|statement| one_or_more(&statement["Action"]));
        actions.any(|action| action == "eks:UpdateClusterConfig")
    };
    let policies: Vec<Value> = blocks()
        .into_iter()
        .filter(|block| block["Version"] == "2012-10-17")
        .collect();
    let changing: Vec<usize> = (0..policies.len())
        .filter(|number| changes(&policies[*number]))
        .collect();
    assert_eq!(changing.len(), 1, "in a policy of its own");
    assert_ne!(changing[0], 0, "not in the operator's");
}

/// Each action on the kind of resource that it can be narrowed to
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html>).
#[test]
fn actions_stand_with_resources_that_they_take() {
    let kinds = BTreeMap::from([
        ("eks:DescribeCluster", ":cluster/prod"),
        ("eks:ListAccessEntries", ":cluster/prod"),
        ("eks:CreateAccessEntry", ":cluster/prod"),
        ("eks:UpdateClusterConfig", ":cluster/prod"),
        ("eks:DescribeUpdate", ":cluster/prod"),
        ("eks:ListNodegroups", ":cluster/prod"),
        ("eks:ListFargateProfiles", ":cluster/prod"),
        ("eks:ListCapabilities", ":cluster/prod"),
        ("eks:ListIdentityProviderConfigs", ":cluster/prod"),
        ("eks:DescribeNodegroup", ":nodegroup/prod/*"),
        ("eks:DescribeFargateProfile", ":fargateprofile/prod/*"),
        ("eks:DescribeCapability", ":capability/prod/*"),
        ("eks:ListAccessPolicies", "*"),
        ("iam:ListRoles", "*"),
        ("iam:ListUsers", "*"),
        ("iam:PassRole", ":role/"),
        ("sts:AssumeRole", ":role/"),
        ("sqs:ReceiveMessage", ":sqs:"),
        ("sqs:DeleteMessage", ":sqs:"),
        ("events:PutEvents", ":event-bus/"),
    ]);
    for statement in statements() {
        if statement["Effect"] != "Allow" || statement.get("Principal").is_some() {
            continue;
        }
        for action in one_or_more(&statement["Action"]) {
            let kind = kinds
                .get(action.as_str())
                .copied()
                .unwrap_or(":access-entry/prod/*");
            for resource in one_or_more(&statement["Resource"]) {
                let fits = if kind == "*" {
                    resource == "*"
                } else {
                    resource.contains(kind)
                };
                assert!(fits, "{action} on {resource}");
            }
        }
    }
}

/// The rule hands on what the queue's reader understands.
#[test]
fn the_pattern_lets_through_what_is_read() {
    use identity_mapper::aws::event::read;

    let patterns: Vec<Value> = blocks()
        .into_iter()
        .filter(|block| block.get("detail-type").is_some())
        .collect();
    assert_eq!(
        patterns.len(),
        2,
        "the rule of the region, and that for IAM"
    );
    for operation in one_or_more(&patterns[0]["detail"]["eventName"]) {
        let iam = one_or_more(&patterns[1]["detail"]["eventName"]).contains(&operation);
        let source = if iam {
            "iam.amazonaws.com"
        } else {
            "eks.amazonaws.com"
        };
        let event = serde_json::json!({
            "detail-type": "AWS API Call via CloudTrail",
            "detail": {
                "eventSource": source,
                "eventName": operation,
                "eventTime": "2026-01-02T03:04:05Z",
                "recipientAccountId": OWN,
                "requestParameters": {
                    "name": "test",
                    "principalArn": format!("arn:aws:iam::{OWN}:role/Dev"),
                    "resourceArn": format!("arn:aws:eks:eu-west-1:{OWN}:access-entry/test/role/{OWN}/Dev/1"),
                    "roleName": "Dev",
                    "userName": "Bob",
                },
            },
        });
        let told = read(&event.to_string(), &cluster());
        assert!(told.is_ok(), "{operation}: {told:?}");
        assert!(one_or_more(&patterns[0]["detail"]["eventSource"]).contains(&source.to_owned()));
    }
}
