//! The calls to AWS, made to the stand-in: what each gives back, and what each failure becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_eks::config::{Credentials, SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use identity_mapper::access_entry::{
    Association, Call, Entry, Failure, FailureKind, Kind, Output, Scope,
};
use identity_mapper::api::v1alpha1::EntryType;
use identity_mapper::aws::event::{Changed, PassedOver};
use identity_mapper::aws::{Aws, IamRoles, Priority, Settings, fingerprint};
use identity_mapper::plan::{EksCluster, IamProblem, Mode};
use identity_mapper::principal::{AccountId, PrincipalKind, SSO_PATH};
use jiff::Timestamp;
use serde_json::json;

use crate::support::eks::{self, Eks, Fault, OPERATOR_KEY, Outcome, Service, World};
use crate::support::eventually;

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

async fn aws_with(eks: &Eks, settings: &Settings) -> Aws {
    Aws::new(&config(eks, operator()).await, settings).unwrap()
}

/// Without a rate that would slow a test down.
async fn aws(eks: &Eks) -> Aws {
    aws_with(eks, &fast()).await
}

fn fast() -> Settings {
    Settings {
        rate: 1000.0,
        ..Settings::default()
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

async fn described(aws: &Aws, principal_arn: &str) -> Entry {
    match done(aws, describe(principal_arn)).await {
        Output::Described(entry) => *entry,
        other => panic!("{other:?}"),
    }
}

fn entry_of(output: Output) -> Entry {
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

    eks.world().cluster.certificate_authority = "bm90IGEgY2VydGlmaWNhdGU=".to_owned();
    let failure = aws
        .describe_cluster("test")
        .await
        .expect_err("no certificate");
    assert_eq!(failure.kind, FailureKind::Unknown);
    assert!(
        failure.message.contains("holds no certificate"),
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
async fn refusals_are_told_apart() {
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

#[tokio::test]
async fn a_part_of_a_listing_is_an_error() {
    let eks = Eks::start(world()).await;
    for number in 0..150 {
        let role = eks.world().role(OWN, "/", &format!("role-{number}")).arn;
        eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
            .unwrap();
    }
    let aws = aws(&eks).await;
    // The first page comes after one failure; the second never does.
    for fault in [Fault::ServerError, Fault::DroppedAfterEffect] {
        eks.knobs().script("ListAccessEntries", fault);
    }
    let listed = aws.list_entries(&cluster(), None).await.unwrap();
    assert_eq!(listed.len(), 150);
    eks.knobs().throttle("ListAccessEntries", 0.0, 1.0);
    let failure = aws
        .list_entries(&cluster(), None)
        .await
        .expect_err("half a listing");
    assert_eq!(failure.kind, FailureKind::Throttled);
}

#[tokio::test]
async fn throttling_lowers_the_rate_and_success_raises_it() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    eks.knobs().throttle("DescribeAccessEntry", 10.0, 5.0);
    let aws = aws_with(
        &eks,
        &Settings {
            rate: 100.0,
            ..Settings::default()
        },
    )
    .await;
    let calls = (0..40).map(|_| described(&aws, &role));
    futures::future::join_all(calls).await;
    let rate = || aws.calls().rate.get();
    let lowered = rate();
    assert!(lowered < 50.0, "{lowered} calls a second");
    let counted = |outcome| {
        let labels = [("operation", "DescribeAccessEntry"), ("outcome", outcome)];
        aws.calls().calls.get_or_create(&labels).get()
    };
    assert_eq!(counted("ok"), 40);
    let (throttled, refused) = (
        counted("throttled"),
        eks.log().count("DescribeAccessEntry", start()),
    );
    assert_eq!(
        usize::try_from(throttled + 40).unwrap(),
        refused,
        "all attempts are counted"
    );
    assert!(
        (1..40).contains(&throttled),
        "{throttled} calls were throttled"
    );
    assert!(aws.calls().waited.get() > 0.0);

    eks.knobs().unthrottle();
    eventually("the rate recovers", 30 * SECOND, async || {
        described(&aws, &role).await;
        let now = rate();
        if now >= lowered + 10.0 {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
}

/// The beginning of the log.
fn start() -> eks::Mark {
    eks::Log::default().mark()
}

#[tokio::test]
async fn a_change_goes_before_what_waits_in_the_background() {
    let mut world = world();
    let (role, changed) = (
        world.role(OWN, "/", "Dev").arn,
        world.role(OWN, "/", "Changed").arn,
    );
    let eks = Eks::start(world).await;
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    let aws = aws_with(
        &eks,
        &Settings {
            rate: 20.0,
            ..Settings::default()
        },
    )
    .await;
    let (cluster, describe, create) = (cluster(), describe(&role), create(&changed));
    let background = futures::future::join_all(
        (0..30).map(|_| aws.call(&cluster, &describe, Priority::Background)),
    );
    let urgent = async {
        eventually("the first ones are made", 10 * SECOND, async || {
            eks.log().count("DescribeAccessEntry", start()) >= 15
        })
        .await;
        aws.call(&cluster, &create, Priority::Urgent).await
    };
    let (background, urgent) = futures::join!(background, urgent);
    assert!(urgent.is_ok() && background.iter().all(Result::is_ok));
    let log = eks.log();
    let made: Vec<&str> = log
        .all()
        .iter()
        .filter(|call| !call.by_hand)
        .map(|call| call.operation.as_str())
        .collect();
    let place = made
        .iter()
        .position(|made| *made == "CreateAccessEntry")
        .unwrap();
    assert!(place < made.len() - 15, "{place} of {}", made.len());
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_made_again() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let mark = eks.log().mark();
    eks.knobs()
        .script("CreateAccessEntry", Fault::DroppedAfterEffect);
    let failure = failed(&aws, create(&role)).await;
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.kind.effect_unknown());
    assert!(
        failure.message.starts_with("EKS can't be reached: "),
        "{failure}"
    );
    assert!(!failure.message.contains("service error"), "{failure}");
    assert_eq!(eks.log().count("CreateAccessEntry", mark), 1);
    described(&aws, &role).await;

    eks.knobs()
        .script("UpdateAccessEntry", Fault::ServerErrorAfterEffect);
    let update = Call::Update {
        principal_arn: role.clone(),
        username: None,
        groups: set(&["dev"]),
    };
    assert_eq!(failed(&aws, update).await.kind, FailureKind::Unavailable);
    assert_eq!(eks.log().count("UpdateAccessEntry", mark), 1);
    assert_eq!(described(&aws, &role).await.groups, set(&["dev"]));

    // A read is made again.
    let mark = eks.log().mark();
    eks.knobs()
        .script("DescribeAccessEntry", Fault::DroppedAfterEffect);
    eks.knobs()
        .script("DescribeAccessEntry", Fault::ServerError);
    described(&aws, &role).await;
    assert_eq!(eks.log().count("DescribeAccessEntry", mark), 3);
}

#[tokio::test]
async fn no_answer_in_time() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    eks.knobs()
        .script("CreateAccessEntry", Fault::TimeoutAfterEffect);
    let failure = tokio::time::timeout(20 * SECOND, failed(&aws, create(&role))).await;
    let failure = failure.expect("it gives up after ten seconds");
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(
        failure.message.starts_with("no answer from EKS: "),
        "{failure}"
    );
    described(&aws, &role).await;
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

#[tokio::test]
async fn roles_and_users_of_our_own_account() {
    let mut world = world();
    for number in 0..2500 {
        world.role(OWN, "/many/", &format!("Role-{number}"));
    }
    let view = world.role(
        OWN,
        &format!("{SSO_PATH}eu-west-1/"),
        "AWSReservedSSO_View_0123456789abcdef",
    );
    let bob = world.user(OWN, "/people/", "Bob");
    let eks = Eks::start(world).await;
    // IAM may give fewer than it is asked for.
    eks.knobs().iam_page = 700;
    let aws = aws(&eks).await;
    let before = Timestamp::now();
    let listing = aws.roles(&account(OWN), "/").await.unwrap();
    // With the operator's own.
    assert_eq!(listing.principals.len(), 2502);
    assert!(listing.read >= before && listing.read <= Timestamp::now());
    assert_eq!(eks.log().count("ListRoles", start()), 4);
    let listing = aws.roles(&account(OWN), SSO_PATH).await.unwrap();
    let principals: Vec<_> = listing.principals.iter().collect();
    let [(name, principal)] = principals.as_slice() else {
        panic!("{principals:?}");
    };
    assert_eq!(name.as_str(), "awsreservedsso_view_0123456789abcdef");
    assert_eq!((&principal.arn, &principal.id), (&view.arn, &view.id));
    let made = principal
        .created
        .unwrap()
        .duration_since(view.created)
        .abs();
    assert!(made.as_secs() <= 1, "{principal:?}");
    let users = aws.users(&account(OWN)).await.unwrap();
    assert_eq!(users.principals["bob"].arn, bob.arn);
    assert_eq!(users.principals["bob"].id, bob.id);
}

#[tokio::test]
async fn other_accounts_through_their_roles() {
    let mut world = world();
    let reader = world
        .assumable_role(OTHER, "/", "reader", Some("shared"))
        .arn;
    world.role("777788889999", "/", "reader");
    let dev = world.role(OTHER, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let other = account(OTHER);

    let aws = aws(&eks).await;
    assert_eq!(aws.roles(&other, "/").await, Err(IamProblem::NoRole));
    assert_eq!(aws.users(&other).await, Err(IamProblem::NoRole));

    let mut iam_roles = IamRoles::parse(["arn:aws:iam::{account}:role/reader"]).unwrap();
    iam_roles.external_id = Some("shared".to_owned());
    let aws = aws_with(
        &eks,
        &Settings {
            iam_roles,
            ..fast()
        },
    )
    .await;
    let listing = aws.roles(&other, "/").await.unwrap();
    assert_eq!(listing.principals["dev"].arn, dev);
    aws.users(&other).await.unwrap();
    assert_eq!(
        eks.log().count("AssumeRole", start()),
        1,
        "the credentials are kept"
    );
    assert!(
        aws.roles(&account(OWN), "/").await.is_ok(),
        "our own account needs no role"
    );
    assert_eq!(eks.log().count("AssumeRole", start()), 1);

    // A role that does not let us in, and one that wants another external id.
    let closed = aws
        .roles(&account("777788889999"), "/")
        .await
        .expect_err("closed");
    let reader_there = "arn:aws:iam::777788889999:role/reader";
    let expect_denied = |problem: IamProblem, role: &str| {
        let IamProblem::Denied { message, statement } = problem else {
            panic!("{problem:?}");
        };
        assert!(message.contains("sts:AssumeRole"), "{message}");
        let statement: serde_json::Value = serde_json::from_str(&statement).unwrap();
        assert_eq!(
            statement,
            json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role})
        );
    };
    expect_denied(closed, reader_there);
    let iam_roles = IamRoles::parse([reader.as_str()]).unwrap();
    let aws = aws_with(
        &eks,
        &Settings {
            iam_roles,
            ..fast()
        },
    )
    .await;
    expect_denied(
        aws.roles(&other, "/").await.expect_err("the external id"),
        &reader,
    );
}

#[tokio::test]
async fn iam_that_is_unreachable_is_not_iam_that_denies() {
    let mut world = world();
    world.assumable_role(OTHER, "/", "reader", None);
    let eks = Eks::start(world).await;
    let iam_roles = IamRoles::parse(["arn:aws:iam::{account}:role/reader"]).unwrap();
    let aws = aws_with(
        &eks,
        &Settings {
            iam_roles,
            ..fast()
        },
    )
    .await;
    let unreachable = |problem: IamProblem, service: &str| match problem {
        IamProblem::Unreachable(message) => assert!(message.contains(service), "{message}"),
        other => panic!("{other:?}"),
    };
    // Without STS nobody knows whose account it is.
    eks.knobs().unreachable = BTreeSet::from([Service::Sts]);
    unreachable(
        aws.roles(&account(OWN), "/").await.expect_err("no STS"),
        "STS",
    );
    eks.knobs().unreachable = BTreeSet::from([Service::Iam]);
    unreachable(
        aws.roles(&account(OWN), "/").await.expect_err("no IAM"),
        "IAM",
    );
    eks.knobs().unreachable = BTreeSet::from([Service::Sts]);
    unreachable(
        aws.roles(&account(OTHER), "/").await.expect_err("no STS"),
        "no credentials",
    );
    eks.knobs().unreachable.clear();
    for (action, users) in [("iam:ListRoles", false), ("iam:ListUsers", true)] {
        eks.knobs().deny(action);
        let problem = if users {
            aws.users(&account(OWN)).await.expect_err(action)
        } else {
            aws.roles(&account(OWN), SSO_PATH).await.expect_err(action)
        };
        let IamProblem::Denied { statement, .. } = problem else {
            panic!("{problem:?}");
        };
        let statement: serde_json::Value = serde_json::from_str(&statement).unwrap();
        assert_eq!(
            statement,
            json!({"Effect": "Allow", "Action": action, "Resource": "*"})
        );
    }
    eks.knobs().denied.clear();
    assert!(aws.roles(&account(OTHER), "/").await.is_ok(), "it recovers");
}

#[tokio::test]
async fn a_queue_tells_of_changes() {
    let mut world = world();
    let role = world.role(OWN, "/teams/", "Dev").arn;
    world.person("alice");
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let queue = aws.queue(&eks.queue_url().parse().unwrap(), &cluster());
    eks.knobs().duplicate_events = 1.0;
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    let view = policy("AmazonEKSViewPolicy");
    let input =
        json!({"principalArn": role, "policyArn": view, "accessScope": {"type": "cluster"}});
    eks.by_hand("AssociateAccessPolicy", input).unwrap();
    let arn = eks.world().cluster.entries[&role].arn.clone();
    eks.by_hand(
        "TagResource",
        json!({"resourceArn": arn, "tags": {"a": "b"}}),
    )
    .unwrap();
    let set = "AWSReservedSSO_View_0123456789abcdef";
    let set_arn = eks
        .world()
        .role(OWN, &format!("{SSO_PATH}eu-west-1/"), set)
        .arn;
    eks.world().delete_principal(&set_arn);
    eks.by_hand(
        "UpdateClusterConfig",
        json!({"accessConfig": {"authenticationMode": "API"}}),
    )
    .unwrap();

    let mut changes = Vec::new();
    let mut passed_over = 0;
    eventually("all events", 30 * SECOND, async || {
        let batch = queue.receive().await.unwrap();
        assert_eq!(batch.undeleted, None);
        passed_over += batch.passed_over.values().sum::<u64>();
        changes.extend(batch.changes);
        let config = changes
            .iter()
            .filter(|change| change.what == Changed::ClusterConfig)
            .count();
        if config == 2 {
            Ok(())
        } else {
            Err(changes.clone())
        }
    })
    .await;
    assert_eq!(passed_over, 0);
    let caller = eks.world().person("alice").arn;
    let entry = Changed::Entry {
        principal_arn: role.clone(),
    };
    for (operation, what) in [
        ("CreateAccessEntry", entry.clone()),
        ("AssociateAccessPolicy", entry),
        ("TagResource", Changed::Tags { entry_arn: arn }),
        ("UpdateClusterConfig", Changed::ClusterConfig),
    ] {
        let told: Vec<_> = changes
            .iter()
            .filter(|change| change.operation == operation)
            .collect();
        assert_eq!(told.len(), 2, "{operation}, twice each: {changes:#?}");
        assert_eq!(told[0].what, what);
        assert_eq!(told[0].caller.as_ref(), Some(&caller));
    }
    let deleted = Changed::Principal {
        account: account(OWN),
        kind: PrincipalKind::Role,
        name: set.to_owned(),
        permission_set: true,
    };
    assert!(
        changes.iter().any(|change| change.what == deleted),
        "{changes:#?}"
    );

    // Of another cluster of the account.
    let other = EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/other").unwrap();
    let queue = aws.queue(&eks.queue_url().parse().unwrap(), &other);
    eks.by_hand("DeleteAccessEntry", json!({"principalArn": role}))
        .unwrap();
    let batch = queue.receive().await.unwrap();
    assert_eq!(batch.changes, []);
    assert_eq!(
        batch.passed_over,
        BTreeMap::from([(PassedOver::OtherCluster, 2)])
    );
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_says_why() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    world.person("alice");
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let url = eks.queue_url();
    let queue = aws.queue(&url.parse().unwrap(), &cluster());
    let queue_arn = "arn:aws:sqs:eu-west-1:111122223333:changes";
    let statement = |failure: Failure| match failure.kind {
        FailureKind::Denied { statement, .. } => {
            serde_json::from_str::<serde_json::Value>(&statement).unwrap()
        }
        other => panic!("{other:?}"),
    };
    eks.knobs().deny("sqs:ReceiveMessage");
    let denied = statement(queue.receive().await.expect_err("denied"));
    assert_eq!(
        denied,
        json!({"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": queue_arn})
    );
    eks.knobs().allow("sqs:ReceiveMessage");

    // What can't be deleted is told all the same.
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    eks.knobs().deny("sqs:DeleteMessage");
    let batch = queue.receive().await.unwrap();
    assert_eq!(batch.changes.len(), 1);
    let denied = statement(batch.undeleted.expect("it was not deleted"));
    assert_eq!(
        denied,
        json!({"Effect": "Allow", "Action": "sqs:DeleteMessage", "Resource": queue_arn})
    );

    let gone = aws.queue(&url.replace("changes", "gone").parse().unwrap(), &cluster());
    let failure = gone.receive().await.expect_err("no such queue");
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(
        failure.message.contains("queue does not exist"),
        "{failure}"
    );
    eks.knobs().unreachable = BTreeSet::from([Service::Sqs]);
    let failure = queue.receive().await.expect_err("unreachable");
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(
        failure.message.starts_with("SQS can't be reached"),
        "{failure}"
    );
}

/// Everything that goes wrong at once: nothing is done twice and nothing is lost.
#[tokio::test]
async fn calls_under_faults_do_no_more_than_they_say() {
    let mut world = world();
    let roles: Vec<String> = (0..60)
        .map(|number| world.role(OWN, "/", &format!("role-{number}")).arn)
        .collect();
    let eks = Eks::start(world).await;
    {
        let mut knobs = eks.knobs();
        knobs.throttled = 0.2;
        knobs.server_errors = 0.05;
        knobs.dropped = 0.05;
    }
    let aws = aws_with(
        &eks,
        &Settings {
            rate: 200.0,
            ..Settings::default()
        },
    )
    .await;
    let outcomes = futures::future::join_all(roles.iter().map(async |role| {
        let result = aws.call(&cluster(), &create(role), Priority::Urgent).await;
        (role, result)
    }))
    .await;
    let standing: BTreeSet<String> = eks.world().cluster.entries.keys().cloned().collect();
    for (role, result) in outcomes {
        match result {
            Ok(_) => assert!(standing.contains(role), "{role} was said to be made"),
            Err(failure) if failure.kind.effect_unknown() => {}
            Err(failure) if failure.kind == FailureKind::Throttled => {
                assert!(!standing.contains(role))
            }
            Err(failure) => panic!("{role}: {failure:?}"),
        }
    }
    for role in &roles {
        let log = eks.log();
        let effects = log.all().iter().filter(|call| {
            call.operation == "CreateAccessEntry"
                && call.principal.as_ref() == Some(role)
                && call.had_effect()
        });
        let lost = |call: &&eks::Call| matches!(call.outcome, Outcome::Lost { .. });
        let effects: Vec<_> = effects.collect();
        assert!(effects.len() <= 1, "{effects:?}");
        let after = effects.iter().find(lost).map(|lost| lost.time);
        let again = log.all().iter().any(|call| {
            call.principal.as_ref() == Some(role) && after.is_some_and(|after| call.time > after)
        });
        assert!(!again, "{role} was called for after an answer was lost");
    }
}
