//! The calls to AWS, made to the stand-in: what each gives back, and what each failure becomes.

mod faults;
mod iam;
mod policies;
mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_eks::config::{Credentials, SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use identity_mapper::access_entry::EksCluster;
use identity_mapper::access_entry::{
    AccessEntry, Association, Call, Failure, FailureKind, Kind, Output, Scope,
};
use identity_mapper::api::v1alpha1::EntryType;
use identity_mapper::aws::{Aws, AwsSettings, Priority, fingerprint};
use identity_mapper::observed::Mode;
use identity_mapper::principal::AccountId;
use identity_mapper::time::Timestamp;
use serde_json::json;

use crate::support::eks::{self, Eks, Fault, OPERATOR_KEY, World};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
const OWN: &str = "111122223333";
const OTHER: &str = "444455556666";
const SECOND: Duration = Duration::from_secs(1);

/// The environment of the stand-in, for clients in this process.
#[derive(Debug)]
struct Environment(BTreeMap<String, String>);

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let of_service = format!("{}_{}", key.env(), key.service_id().to_uppercase());
        self.0
            .get(&of_service)
            .or_else(|| self.0.get(key.env()))
            .cloned()
    }
}

async fn config(eks: &Eks, credentials: impl ProvideCredentials + 'static) -> SdkConfig {
    let environment = Environment(eks.env().into_iter().collect());
    let region = environment.0["AWS_REGION"].clone();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(aws_config::Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    loader
        .load()
        .await
        .into_builder()
        .service_config(environment)
        .build()
}

fn operator() -> Credentials {
    Credentials::new(OPERATOR_KEY, "no-real-secret", None, None, "test")
}

async fn aws_with(eks: &Eks, settings: &AwsSettings) -> Aws {
    Aws::new(&config(eks, operator()).await, settings).unwrap()
}

/// Without a rate that would slow a test down.
async fn aws(eks: &Eks) -> Aws {
    aws_with(eks, &fast()).await
}

fn fast() -> AwsSettings {
    AwsSettings {
        rate: 1000.0,
        ..AwsSettings::default()
    }
}

fn cluster() -> EksCluster {
    EksCluster::parse(CLUSTER).unwrap()
}

fn world() -> World {
    World::new(CLUSTER).mode(eks::Mode::ApiAndConfigMap)
}

fn policy(name: &str) -> String {
    format!("arn:aws:eks::aws:cluster-access-policy/{name}")
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn account(digits: &str) -> AccountId {
    digits.parse().unwrap()
}

fn create(principal_arn: &str) -> Call {
    Call::Create {
        principal_arn: principal_arn.to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: None,
        groups: BTreeSet::new(),
        tags: BTreeMap::new(),
    }
}

fn describe(principal_arn: &str) -> Call {
    Call::Describe {
        principal_arn: principal_arn.to_owned(),
    }
}

fn delete(principal_arn: &str) -> Call {
    Call::Delete {
        principal_arn: principal_arn.to_owned(),
    }
}

fn associate(principal_arn: &str, policy_arn: &str, scope: Scope) -> Call {
    Call::Associate {
        principal_arn: principal_arn.to_owned(),
        policy_arn: policy_arn.to_owned(),
        scope,
    }
}

/// One that has to succeed.
async fn done(aws: &Aws, call: Call) -> Output {
    let result = aws.call(&cluster(), &call, Priority::Urgent).await;
    result.unwrap_or_else(|failure| panic!("{call:?}: {failure:?}"))
}

/// One that has to fail.
async fn failed(aws: &Aws, call: Call) -> Failure {
    let result = aws.call(&cluster(), &call, Priority::Urgent).await;
    result.expect_err("a failure")
}

async fn described(aws: &Aws, principal_arn: &str) -> AccessEntry {
    match done(aws, describe(principal_arn)).await {
        Output::Described(entry) => *entry,
        other => panic!("{other:?}"),
    }
}

fn entry_of(output: Output) -> AccessEntry {
    match output {
        Output::Entry(entry) => *entry,
        other => panic!("{other:?}"),
    }
}

fn association_of(output: Output) -> Association {
    match output {
        Output::Associated(association) => association,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_cluster_with_mode_and_authority() {
    let made = rcgen::generate_simple_self_signed(["kubernetes".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let world = world().api_server(pem.as_bytes(), "https://127.0.0.1:6443");
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let read = aws.describe_cluster("test").await.unwrap();
    assert_eq!(read.cluster, cluster());
    assert_eq!(read.mode, Mode::ApiAndConfigMap);
    assert_eq!(
        read.authorities,
        BTreeSet::from([fingerprint(made.cert.der())])
    );
    assert_eq!(read.endpoint, "https://127.0.0.1:6443");
    assert_eq!(read.status, "ACTIVE");
    assert!(read.platform_version.starts_with("eks."), "{read:?}");

    // As of a cluster from before there were access entries.
    eks.world().cluster.mode = eks::Mode::ConfigMap;
    eks.world().cluster.mode_described = false;
    let read = aws.describe_cluster("test").await.unwrap();
    assert_eq!(read.mode, Mode::ConfigMap);

    eks.world().cluster.authorities[0].pem = "not a certificate".to_owned();
    let failure = aws
        .describe_cluster("test")
        .await
        .expect_err("no certificate");
    assert_eq!(failure.kind, FailureKind::Unreadable);
    assert!(
        failure.message.contains("contains no certificate"),
        "{failure}"
    );

    let failure = aws
        .describe_cluster("other")
        .await
        .expect_err("no such cluster");
    assert_eq!(failure.kind, FailureKind::ClusterMissing);
    assert!(failure.message.contains("other"), "{failure}");
}

#[tokio::test]
async fn every_call_for_an_entry() {
    let mut world = world();
    let role = world.role(OWN, "/teams/a/", "Dev").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;

    let made = entry_of(
        done(
            &aws,
            Call::Create {
                principal_arn: role.clone(),
                kind: Kind::Known(EntryType::Standard),
                username: Some("dev:{{SessionName}}".to_owned()),
                groups: set(&["b", "a"]),
                tags: tags(&[("owner", "x")]),
            },
        )
        .await,
    );
    assert_eq!(made.principal_arn, role);
    assert!(
        made.arn
            .starts_with("arn:aws:eks:eu-west-1:111122223333:access-entry/test/role/"),
        "{}",
        made.arn
    );
    assert_eq!(made.kind, Kind::Known(EntryType::Standard));
    assert_eq!(made.username, "dev:{{SessionName}}");
    assert_eq!(made.groups, set(&["a", "b"]));
    assert_eq!(made.tags, tags(&[("owner", "x")]));
    let age = Timestamp::now().duration_since(made.created).as_secs();
    assert!((-5..60).contains(&age), "{made:?}");
    assert_eq!(described(&aws, &role).await, made);

    // What is not sent goes back to EKS's default, and groups are sent when there are none.
    let updated = entry_of(
        done(
            &aws,
            Call::Update {
                principal_arn: role.clone(),
                username: None,
                groups: BTreeSet::new(),
            },
        )
        .await,
    );
    assert_eq!(
        updated.username,
        "arn:aws:sts::111122223333:assumed-role/Dev/{{SessionName}}"
    );
    assert_eq!(updated.groups, BTreeSet::new());

    let (view, edit) = (policy("AmazonEKSViewPolicy"), policy("AmazonEKSEditPolicy"));
    let namespaces = Scope::Namespaces(set(&["team-a", "dev-*"]));
    let first = association_of(done(&aws, associate(&role, &view, namespaces.clone())).await);
    assert_eq!(first.scope, namespaces);
    let second = association_of(done(&aws, associate(&role, &view, Scope::Cluster)).await);
    assert_eq!(
        (second.scope.clone(), second.associated),
        (Scope::Cluster, first.associated)
    );
    let third = association_of(done(&aws, associate(&role, &edit, Scope::Cluster)).await);
    assert_eq!(
        described(&aws, &role).await.policies,
        BTreeMap::from([(view.clone(), second), (edit.clone(), third)])
    );
}

#[tokio::test]
async fn what_is_gone_already_is_done() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let (view, edit) = (policy("AmazonEKSViewPolicy"), policy("AmazonEKSEditPolicy"));
    let mut call = create(&role);
    if let Call::Create { tags: created, .. } = &mut call {
        *created = tags(&[("owner", "x")]);
    }
    let made = entry_of(done(&aws, call).await);
    for policy in [&view, &edit] {
        done(&aws, associate(&role, policy, Scope::Cluster)).await;
    }
    let disassociate = || Call::Disassociate {
        principal_arn: role.clone(),
        policy_arn: edit.clone(),
    };
    assert_eq!(done(&aws, disassociate()).await, Output::Done);
    assert_eq!(
        done(&aws, disassociate()).await,
        Output::Done,
        "it is gone already"
    );
    let (principal_arn, entry_arn) = (role.clone(), made.arn.clone());
    let tag = Call::Tag {
        principal_arn,
        entry_arn,
        tags: tags(&[("owner", "y"), ("id", "z")]),
    };
    assert_eq!(done(&aws, tag).await, Output::Done);
    let (principal_arn, entry_arn) = (role.clone(), made.arn.clone());
    let untag = Call::Untag {
        principal_arn,
        entry_arn,
        keys: set(&["owner", "never-there"]),
    };
    assert_eq!(done(&aws, untag).await, Output::Done);
    let entry = described(&aws, &role).await;
    assert_eq!(entry.tags, tags(&[("id", "z")]));
    assert_eq!(entry.policies.into_keys().collect::<Vec<_>>(), [view]);

    assert_eq!(done(&aws, delete(&role)).await, Output::Done);
    assert_eq!(
        done(&aws, delete(&role)).await,
        Output::Done,
        "it is gone already"
    );
    assert_eq!(
        failed(&aws, describe(&role)).await.kind,
        FailureKind::EntryMissing
    );
    assert_eq!(
        failed(&aws, disassociate()).await.kind,
        FailureKind::EntryMissing,
        "the whole entry"
    );
}

#[tokio::test]
async fn node_types_take_neither_username_nor_groups() {
    let mut world = world();
    let role = world.role(OWN, "/", "node").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let made = entry_of(
        done(
            &aws,
            Call::Create {
                principal_arn: role.clone(),
                kind: Kind::Known(EntryType::EC2Linux),
                username: None,
                groups: BTreeSet::new(),
                tags: tags(&[("owner", "x")]),
            },
        )
        .await,
    );
    assert_eq!(made.kind, Kind::Known(EntryType::EC2Linux));
    assert_eq!(made.groups, set(&["system:nodes"]));
    assert_eq!(described(&aws, &role).await, made);
}

/// What EKS refuses, over the wire.
#[tokio::test]
async fn refusals_are_distinguished() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let second = world.role(OWN, "/", "Second").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;

    let nobody = "arn:aws:iam::111122223333:role/Nobody";
    assert_eq!(
        failed(&aws, create(nobody)).await.kind,
        FailureKind::InvalidPrincipal
    );
    done(&aws, create(&role)).await;
    assert_eq!(failed(&aws, create(&role)).await.kind, FailureKind::InUse);
    let unknown = associate(&role, &policy("AmazonEKSNoPolicy"), Scope::Cluster);
    assert_eq!(failed(&aws, unknown).await.kind, FailureKind::PolicyMissing);
    let view = policy("AmazonEKSViewPolicy");
    assert_eq!(
        failed(&aws, associate(&second, &view, Scope::Cluster))
            .await
            .kind,
        FailureKind::EntryMissing
    );
    let reserved = Call::Update {
        principal_arn: role.clone(),
        username: None,
        groups: set(&["system:masters"]),
    };
    let failure = failed(&aws, reserved).await;
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(
        failure.message.contains("it cannot start with system:"),
        "{failure}"
    );
    let elsewhere = Call::Tag {
        principal_arn: second.clone(),
        entry_arn: format!("arn:aws:eks:eu-west-1:{OWN}:access-entry/test/role/{OWN}/Second/none"),
        tags: tags(&[("a", "b")]),
    };
    assert_eq!(
        failed(&aws, elsewhere).await.kind,
        FailureKind::EntryMissing
    );
    eks.knobs().quota = 1;
    assert_eq!(
        failed(&aws, create(&second)).await.kind,
        FailureKind::QuotaExceeded
    );
    eks.world().cluster.mode = eks::Mode::ConfigMap;
    assert_eq!(
        failed(&aws, create(&second)).await.kind,
        FailureKind::ModeWithoutEntries
    );
    let failure = aws
        .list_entries(&cluster(), None)
        .await
        .expect_err("no entries");
    assert_eq!(failure.kind, FailureKind::ModeWithoutEntries);

    let nowhere = EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/gone").unwrap();
    let failure = aws
        .call(&nowhere, &describe(&role), Priority::Urgent)
        .await
        .expect_err("no cluster");
    assert_eq!(failure.kind, FailureKind::ClusterMissing);
}

#[tokio::test]
async fn listings_are_whole() {
    let eks = Eks::start(world()).await;
    let mut expected = BTreeSet::new();
    for number in 0..3000 {
        let role = eks.world().role(OWN, "/", &format!("role-{number}")).arn;
        eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
            .unwrap();
        expected.insert(role);
    }
    let admin = policy("AmazonEKSClusterAdminPolicy");
    let admins: BTreeSet<String> = expected.iter().take(120).cloned().collect();
    for role in &admins {
        let input =
            json!({"principalArn": role, "policyArn": admin, "accessScope": {"type": "cluster"}});
        eks.by_hand("AssociateAccessPolicy", input).unwrap();
    }
    let aws = aws(&eks).await;
    let mark = eks.log().mark();
    assert_eq!(aws.list_entries(&cluster(), None).await.unwrap(), expected);
    assert_eq!(eks.log().count("ListAccessEntries", mark), 30);
    let mark = eks.log().mark();
    assert_eq!(
        aws.list_entries(&cluster(), Some(&admin)).await.unwrap(),
        admins
    );
    assert_eq!(eks.log().count("ListAccessEntries", mark), 2);

    // A page that is not answered is asked for again, and then the listing fails: there is no part of it.
    eks.knobs().script("ListAccessEntries", Fault::ServerError);
    assert_eq!(aws.list_entries(&cluster(), None).await.unwrap(), expected);
    eks.knobs()
        .denied
        .insert("eks:ListAccessEntries".to_owned());
    let failure = aws
        .list_entries(&cluster(), None)
        .await
        .expect_err("denied");
    assert!(
        matches!(failure.kind, FailureKind::Denied { .. }),
        "{failure:?}"
    );

    let policies = aws.list_policies().await.unwrap();
    assert_eq!(policies.len(), eks::POLICIES.len());
    assert!(policies.contains(&admin), "{policies:?}");
}

/// The beginning of the log.
fn start() -> eks::Mark {
    eks::Log::default().mark()
}

#[tokio::test]
async fn what_is_denied_comes_with_its_statement() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let entries = "arn:aws:eks:eu-west-1:111122223333:access-entry/test/*";
    let made = entry_of(done(&aws, create(&role)).await);
    let view = policy("AmazonEKSViewPolicy");
    let (principal_arn, entry_arn) = (role.clone(), made.arn);
    let cases = [
        (create(&role), CLUSTER),
        (describe(&role), entries),
        (
            Call::Update {
                principal_arn: role.clone(),
                username: None,
                groups: BTreeSet::new(),
            },
            entries,
        ),
        (delete(&role), entries),
        (associate(&role, &view, Scope::Cluster), entries),
        (
            Call::Disassociate {
                principal_arn: role.clone(),
                policy_arn: view,
            },
            entries,
        ),
        (
            Call::Tag {
                principal_arn: principal_arn.clone(),
                entry_arn: entry_arn.clone(),
                tags: tags(&[("a", "b")]),
            },
            entries,
        ),
        (
            Call::Untag {
                principal_arn,
                entry_arn,
                keys: set(&["a"]),
            },
            entries,
        ),
    ];
    for (call, resource) in cases {
        let expected = format!("eks:{}", call.operation());
        eks.knobs().deny(&expected);
        let failure = failed(&aws, call).await;
        eks.knobs().allow(&expected);
        assert!(
            failure.message.contains("is not authorized to perform"),
            "{failure}"
        );
        let FailureKind::Denied { action, statement } = failure.kind else {
            panic!("{expected}: {failure:?}");
        };
        assert_eq!(action, expected);
        let statement: serde_json::Value = serde_json::from_str(&statement).unwrap();
        assert_eq!(
            statement,
            json!({"Effect": "Allow", "Action": expected, "Resource": resource})
        );
    }
    eks.knobs().deny("eks:DescribeCluster");
    let failure = aws.describe_cluster("test").await.expect_err("denied");
    let FailureKind::Denied { statement, .. } = failure.kind else {
        panic!("{failure:?}");
    };
    assert!(statement.contains(CLUSTER), "{statement}");
}

/// A source of credentials that has none.
#[derive(Debug)]
struct Nothing;

impl ProvideCredentials for Nothing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nothing is set")))
    }
}

#[tokio::test]
async fn who_we_are_and_who_we_are_not() {
    let eks = Eks::start(world()).await;
    let known = aws(&eks).await;
    let identity = known.identity().await.unwrap();
    assert_eq!(identity.account, account(OWN));
    assert_eq!(
        identity.arn,
        "arn:aws:sts::111122223333:assumed-role/identity-mapper/operator"
    );
    known.identity().await.unwrap();
    assert_eq!(
        eks.log().count("GetCallerIdentity", start()),
        1,
        "asked once"
    );

    let strange = Credentials::new("AKIDEXAMPLEUNKNOWN00", "no-real-secret", None, None, "test");
    let aws = Aws::new(&config(&eks, strange).await, &fast()).unwrap();
    let failure = aws
        .describe_cluster("test")
        .await
        .expect_err("an unknown key");
    assert_eq!(failure.kind, FailureKind::Unauthenticated, "{failure}");

    let aws = Aws::new(&config(&eks, Nothing).await, &fast()).unwrap();
    let failure = aws
        .describe_cluster("test")
        .await
        .expect_err("no credentials");
    assert_eq!(failure.kind, FailureKind::Unauthenticated, "{failure}");
    for way in [
        "nothing is set",
        "EKS Pod Identity",
        "eks.amazonaws.com/role-arn",
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
    ] {
        assert!(failure.message.contains(way), "{way}: {failure}");
    }
}
