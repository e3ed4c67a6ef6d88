//! The knobs, seen by a client.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_eks::error::SdkError;
use serde_json::{Value, json};

use super::clients::{self, Clients, call, refusal, segment, send, signed, signed_by};
use super::{CLUSTER, OWN, policy};
use crate::support::eks::{Eks, Fault, Mode, Outcome, Service, World};

async fn started() -> (Eks, String) {
    let mut world = World::new(CLUSTER).mode(Mode::ApiAndConfigMap);
    let role = world.role(OWN, "/a/", "Dev").arn;
    (Eks::start(world).await, role)
}

async fn create(eks: &Eks, arn: &str) -> clients::Answer {
    call(
        eks,
        "POST",
        "/clusters/test/access-entries",
        &json!({"principalArn": arn}),
    )
    .await
}

fn entry(arn: &str) -> String {
    format!("/clusters/test/access-entries/{}", segment(arn))
}

fn message(answer: &clients::Answer) -> String {
    answer.json()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn the_first_creations_find_an_invalid_principal() {
    let (eks, role) = started().await;
    eks.knobs().invalid_principal = 1;
    eks.knobs().invalid_principal_each = 2;
    for _ in 0..3 {
        let answer = create(&eks, &role).await;
        assert_eq!(
            message(&answer),
            "The specified principalArn is invalid: invalid principal."
        );
    }
    assert_eq!(create(&eks, &role).await.status, 200);
    // Or by the principal's age.
    eks.knobs().invalid_principal_each = 0;
    eks.knobs().principal_delay = Duration::from_secs(20);
    let young = eks.world().role(OWN, "/", "Young").arn;
    assert_eq!(create(&eks, &young).await.status, 400);
    eks.advance(Duration::from_secs(21));
    assert_eq!(create(&eks, &young).await.status, 200);
}

#[tokio::test]
async fn an_entry_is_not_found_just_after_it_was_made() {
    let (eks, role) = started().await;
    eks.knobs().not_found_after_create = 2;
    assert_eq!(create(&eks, &role).await.status, 200);
    let associate =
        json!({"policyArn": policy("AmazonEKSViewPolicy"), "accessScope": {"type": "cluster"}});
    let target = format!("{}/access-policies", entry(&role));
    assert_eq!(call(&eks, "POST", &target, &associate).await.status, 404);
    assert_eq!(
        call(&eks, "GET", &entry(&role), &Value::Null).await.status,
        404
    );
    assert_eq!(call(&eks, "POST", &target, &associate).await.status, 200);
}

#[tokio::test]
async fn the_mode_error_lingers_after_a_switch() {
    let mut world = World::new(CLUSTER).mode(Mode::ConfigMap);
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    eks.knobs().mode_error = Duration::from_secs(30);
    eks.by_hand(
        "UpdateClusterConfig",
        json!({"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}}),
    )
    .unwrap();
    let answer = create(&eks, &role).await;
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (400, Some("InvalidRequestException"))
    );
    eks.advance(Duration::from_secs(31));
    assert_eq!(create(&eks, &role).await.status, 200);
}

#[tokio::test]
async fn an_operation_is_throttled_beyond_its_rate() {
    let (eks, role) = started().await;
    eks.knobs().throttle("DescribeCluster", 0.01, 3.0);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(
            call(&eks, "GET", "/clusters/test", &Value::Null)
                .await
                .status,
        );
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(
        create(&eks, &role).await.status,
        200,
        "each operation has its own"
    );
    eks.advance(Duration::from_mins(2));
    assert_eq!(
        call(&eks, "GET", "/clusters/test", &Value::Null)
            .await
            .status,
        200
    );
    eks.knobs().script("DescribeCluster", Fault::Throttled);
    let client = Clients::new(&eks).await.eks;
    let refused = refusal(client.describe_cluster().name("test").send().await);
    assert_eq!(
        refused,
        ("ThrottlingException".to_owned(), "Rate exceeded".to_owned())
    );
}

#[tokio::test]
async fn answers_are_lost_before_and_after_the_effect() {
    let (eks, role) = started().await;
    let mark = eks.log().mark();
    let client = Clients::new(&eks).await.eks;
    let send_create = || {
        client
            .create_access_entry()
            .cluster_name("test")
            .principal_arn(&role)
            .send()
    };
    let there = || eks.world().cluster.entries.contains_key(&role);

    eks.knobs().script("CreateAccessEntry", Fault::ServerError);
    assert_eq!(refusal(send_create().await).0, "ServerException");
    assert!(!there());
    eks.knobs()
        .script("CreateAccessEntry", Fault::DroppedAfterEffect);
    let dropped = send_create().await.unwrap_err();
    assert!(
        matches!(dropped, SdkError::DispatchFailure(_)),
        "{dropped:?}"
    );
    assert!(there());
    eks.by_hand("DeleteAccessEntry", json!({"principalArn": role}))
        .unwrap();
    eks.knobs()
        .script("CreateAccessEntry", Fault::ServerErrorAfterEffect);
    assert_eq!(refusal(send_create().await).0, "ServerException");
    assert!(there());
    eks.by_hand("DeleteAccessEntry", json!({"principalArn": role}))
        .unwrap();
    for (fault, effect) in [(Fault::Timeout, false), (Fault::TimeoutAfterEffect, true)] {
        eks.knobs().script("CreateAccessEntry", fault);
        let waited = tokio::time::timeout(Duration::from_millis(300), send_create()).await;
        assert!(waited.is_err(), "{fault:?}: {waited:?}");
        assert_eq!(there(), effect);
    }

    let log = eks.log();
    let outcomes: Vec<_> = log
        .since(mark)
        .iter()
        .filter(|call| !call.by_hand)
        .map(|call| call.outcome.clone())
        .collect();
    let lost = |effect, how| Outcome::Lost { effect, how };
    assert_eq!(
        outcomes,
        [
            lost(false, Fault::ServerError),
            lost(true, Fault::DroppedAfterEffect),
            lost(true, Fault::ServerErrorAfterEffect),
            lost(false, Fault::Timeout),
            lost(true, Fault::TimeoutAfterEffect),
        ]
    );
    assert!(
        log.since(mark)
            .iter()
            .all(|call| call.principal.as_deref() == Some(role.as_str()))
    );
    assert_eq!(
        log.counts(mark),
        [("CreateAccessEntry".to_owned(), 5)].into()
    );
}

#[tokio::test]
async fn shares_are_kept_and_follow_from_the_seed() {
    let (eks, _) = started().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mark = eks.log().mark();
        eks.knobs().seed(7);
        eks.knobs().throttled = 0.2;
        eks.knobs().server_errors = 0.05;
        eks.knobs().dropped = 0.02;
        for _ in 0..1000 {
            let headers = signed("eks", "eu-west-1");
            send(&eks, Service::Eks, "GET", "/clusters/test", &headers, "").await;
        }
        let outcomes: Vec<_> = eks
            .log()
            .since(mark)
            .iter()
            .map(|call| call.outcome.clone())
            .collect();
        let count = |wanted: &[Fault]| {
            let lost =
                |it: &&Outcome| matches!(it, Outcome::Lost { how, .. } if wanted.contains(how));
            outcomes.iter().filter(lost).count()
        };
        let throttled = count(&[Fault::Throttled]);
        let errors = count(&[Fault::ServerError, Fault::ServerErrorAfterEffect]);
        let dropped = count(&[Fault::DroppedAfterEffect]);
        assert!((150..250).contains(&throttled), "{throttled}");
        assert!((25..80).contains(&errors), "{errors}");
        assert!((5..40).contains(&dropped), "{dropped}");
        runs.push(outcomes);
    }
    assert!(runs[0] == runs[1]);
}

#[tokio::test]
async fn a_service_that_is_cut_off_answers_nothing() {
    let (eks, _) = started().await;
    let clients = Clients::new(&eks).await;
    eks.knobs().unreachable = BTreeSet::from([Service::Iam, Service::Sts]);
    let failed = clients.iam.list_roles().send().await.unwrap_err();
    assert!(matches!(failed, SdkError::DispatchFailure(_)), "{failed:?}");
    let failed = clients.sts.get_caller_identity().send().await.unwrap_err();
    assert!(matches!(failed, SdkError::DispatchFailure(_)), "{failed:?}");
    clients
        .eks
        .describe_cluster()
        .name("test")
        .send()
        .await
        .unwrap();
    eks.knobs().unreachable.clear();
    clients.iam.list_roles().send().await.unwrap();
}

#[tokio::test]
async fn answers_take_as_long_as_they_are_told_to() {
    let (eks, _) = started().await;
    eks.knobs().latency = Duration::from_millis(200);
    let started = Instant::now();
    let calls = (0..5).map(|_| call(&eks, "GET", "/clusters/test", &Value::Null));
    futures::future::join_all(calls).await;
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_millis(900),
        "{took:?}"
    );
}

/// Asks a service with headers that are not as they should be, and gives code and message of the refusal.
async fn refused(eks: &Eks, service: Service, headers: &[(String, String)]) -> (u16, String) {
    let answer = match service {
        Service::Eks => send(eks, service, "GET", "/clusters/test", headers, "").await,
        Service::Sqs => {
            let mut headers = headers.to_vec();
            headers.push((
                "x-amz-target".to_owned(),
                "AmazonSQS.GetQueueUrl".to_owned(),
            ));
            send(eks, service, "POST", "/", &headers, r#"{"QueueName": "q"}"#).await
        }
        Service::Iam => {
            send(
                eks,
                service,
                "POST",
                "/",
                headers,
                "Action=ListRoles&Version=2010-05-08",
            )
            .await
        }
        Service::Sts => {
            send(
                eks,
                service,
                "POST",
                "/",
                headers,
                "Action=GetCallerIdentity&Version=2011-06-15",
            )
            .await
        }
    };
    let answer = answer.expect("an answer");
    (
        answer.status,
        format!(
            "{}\n{}",
            answer.header("x-amzn-errortype").unwrap_or_default(),
            answer.body
        ),
    )
}

#[tokio::test]
async fn who_is_not_signed_as_the_service_asks_is_refused() {
    let (eks, _) = started().await;
    let edited = |service: &str, from: &str, to: &str| {
        let mut headers = signed(service, "eu-west-1");
        for (_, value) in &mut headers {
            *value = value.replace(from, to);
        }
        headers
    };
    for service in Service::ALL {
        let name = service.signing_name();
        let query = matches!(service, Service::Iam | Service::Sts);
        let other = if service == Service::Eks {
            "iam"
        } else {
            "eks"
        };
        let old = {
            let mut headers = signed(name, "eu-west-1");
            headers[0].1 = "20200101T000000Z".to_owned();
            headers
        };
        let rows = [
            ("nothing", Vec::new(), "MissingAuthenticationToken"),
            (
                "another algorithm",
                edited(name, "AWS4-HMAC-SHA256", "AWS3"),
                "MissingAuthenticationToken",
            ),
            (
                "another region",
                signed(name, "ap-south-1"),
                "Credential should be scoped to a valid region, not 'ap-south-1'.",
            ),
            (
                "another service",
                signed(other, "eu-west-1"),
                "Credential should be scoped to correct service",
            ),
            (
                "a host that is not signed",
                edited(name, "host;", ""),
                "'host' must be a signed header",
            ),
            (
                "half a signature",
                edited(name, "00000000", ""),
                "Signature must be 64 hexadecimal digits",
            ),
            (
                "another day",
                old,
                "Date in Credential scope does not match",
            ),
            (
                "a key that nobody has",
                signed_by("AKIDEXAMPLE999999999", name, "eu-west-1"),
                if query {
                    "InvalidClientTokenId"
                } else {
                    "The security token included in the request is invalid."
                },
            ),
        ];
        for (what, headers, text) in rows {
            let (status, answer) = refused(&eks, service, &headers).await;
            assert!(
                status == 403 && answer.contains(text),
                "{name}, {what}: {status} {answer}"
            );
        }
    }
    // IAM and STS are signed for their partition's main region, too.
    let answer = refused(&eks, Service::Iam, &signed("iam", "us-east-1")).await;
    assert_eq!(answer.0, 200);
    let (_, code) = refused(&eks, Service::Eks, &[]).await;
    assert!(
        code.starts_with("MissingAuthenticationTokenException\n"),
        "{code}"
    );
}

#[tokio::test]
async fn what_is_no_request_is_refused_as_such() {
    let (eks, role) = started().await;
    let headers = signed("eks", "eu-west-1");
    let send = |method: &'static str, target: String, body: &'static str| {
        let (eks, headers) = (&eks, headers.clone());
        async move {
            send(eks, Service::Eks, method, &target, &headers, body)
                .await
                .unwrap()
        }
    };
    let entries = "/clusters/test/access-entries".to_owned();
    let rows = [
        ("POST", entries.clone(), "{", 400, "SerializationException"),
        ("POST", entries.clone(), "[]", 400, "SerializationException"),
        (
            "POST",
            entries.clone(),
            r#"{"principalArn": 1}"#,
            400,
            "SerializationException",
        ),
        (
            "POST",
            entries.clone(),
            "{}",
            400,
            "InvalidParameterException",
        ),
        (
            "GET",
            format!("{entries}?maxResults=x"),
            "",
            400,
            "SerializationException",
        ),
        ("PUT", entries.clone(), "", 404, "UnknownOperationException"),
        (
            "GET",
            "/clusters//access-entries".to_owned(),
            "",
            404,
            "UnknownOperationException",
        ),
        // A path whose slashes are not encoded is another path.
        (
            "GET",
            format!("{entries}/{role}"),
            "",
            404,
            "UnknownOperationException",
        ),
    ];
    for (method, target, body, status, code) in rows {
        let answer = send(method, target.clone(), body).await;
        let found = (answer.status, answer.header("x-amzn-errortype"));
        assert_eq!(
            found,
            (status, Some(code)),
            "{method} {target} {body}: {}",
            answer.body
        );
    }
    let answer = send("POST", entries, "{}").await;
    assert_eq!(
        message(&answer),
        "1 validation error detected: Value at 'principalArn' failed to satisfy constraint: Member must not be null"
    );
}
