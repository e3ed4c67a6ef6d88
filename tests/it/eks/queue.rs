//! The events of `CloudTrail` in a queue of SQS.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{Clients, refusal};
use super::{CLUSTER, OWN, policy};
use crate::support::eks::{Eks, World};

async fn started() -> (Eks, String, aws_sdk_sqs::Client) {
    let mut world = World::new(CLUSTER);
    let role = world.role(OWN, "/a/", "Dev").arn;
    world.person("alice");
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.sqs;
    (eks, role, client)
}

/// Receives and deletes all that is there.
async fn drain(eks: &Eks, client: &aws_sdk_sqs::Client) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let receive = client
            .receive_message()
            .queue_url(eks.queue_url())
            .max_number_of_messages(10);
        let received = receive.send().await.unwrap().messages.unwrap_or_default();
        if received.is_empty() {
            return events;
        }
        for message in received {
            events.push(serde_json::from_str(message.body().unwrap()).unwrap());
            let delete = client.delete_message().queue_url(eks.queue_url());
            delete
                .receipt_handle(message.receipt_handle().unwrap())
                .send()
                .await
                .unwrap();
        }
    }
}

fn details(events: &[Value]) -> Vec<(String, Value)> {
    let detail = |event: &Value| {
        let detail = &event["detail"];
        (
            detail["eventName"].as_str().unwrap().to_owned(),
            detail["requestParameters"].clone(),
        )
    };
    events.iter().map(detail).collect()
}

#[tokio::test]
async fn every_write_that_was_done_is_an_event() {
    let (eks, role, client) = started().await;
    let view = policy("AmazonEKSViewPolicy");
    let arn = json!({"principalArn": role});
    let made = eks.by_hand("CreateAccessEntry", arn.clone()).unwrap();
    eks.by_hand("CreateAccessEntry", arn.clone()).unwrap_err();
    eks.by_hand("DescribeAccessEntry", arn.clone()).unwrap();
    let scope = json!({"type": "cluster"});
    eks.by_hand(
        "AssociateAccessPolicy",
        json!({"principalArn": role, "policyArn": view, "accessScope": scope}),
    )
    .unwrap();
    eks.by_hand(
        "DisassociateAccessPolicy",
        json!({"principalArn": role, "policyArn": view}),
    )
    .unwrap();
    let entry = &made["accessEntry"]["accessEntryArn"];
    eks.by_hand(
        "TagResource",
        json!({"resourceArn": entry, "tags": {"a": "b"}}),
    )
    .unwrap();
    eks.by_hand(
        "UpdateAccessEntry",
        json!({"principalArn": role, "kubernetesGroups": ["g"]}),
    )
    .unwrap();
    eks.by_hand("DeleteAccessEntry", arn).unwrap();
    eks.by_hand(
        "UpdateClusterConfig",
        json!({"accessConfig": {"authenticationMode": "API"}}),
    )
    .unwrap();

    let events = drain(&eks, &client).await;
    let encoded = "arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fa%2FDev";
    let encoded_view = "arn%3Aaws%3Aeks%3A%3Aaws%3Acluster-access-policy%2FAmazonEKSViewPolicy";
    let encoded_entry = entry
        .as_str()
        .unwrap()
        .replace(':', "%3A")
        .replace('/', "%2F");
    let expected = [
        (
            "CreateAccessEntry",
            json!({"name": "test", "principalArn": role}),
        ),
        (
            "AssociateAccessPolicy",
            json!({"name": "test", "principalArn": encoded, "policyArn": view, "accessScope": scope}),
        ),
        (
            "DisassociateAccessPolicy",
            json!({"name": "test", "principalArn": encoded, "policyArn": encoded_view}),
        ),
        (
            "TagResource",
            json!({"resourceArn": encoded_entry, "tags": {"a": "b"}}),
        ),
        (
            "UpdateAccessEntry",
            json!({"name": "test", "principalArn": encoded, "kubernetesGroups": ["g"]}),
        ),
        (
            "DeleteAccessEntry",
            json!({"name": "test", "principalArn": encoded}),
        ),
        (
            "UpdateClusterConfig",
            json!({"name": "test", "accessConfig": {"authenticationMode": "API"}}),
        ),
    ];
    let expected = expected.map(|(name, parameters)| (name.to_owned(), parameters));
    assert_eq!(details(&events), expected);
    for event in &events {
        assert_eq!(event["source"], "aws.eks");
        assert_eq!(event["detail-type"], "AWS API Call via CloudTrail");
        assert_eq!(event["region"], "eu-west-1");
        assert_eq!(event["detail"]["eventSource"], "eks.amazonaws.com");
        assert_eq!(
            event["detail"]["userIdentity"]["arn"],
            "arn:aws:sts::111122223333:assumed-role/Console/alice"
        );
        assert!(event["detail"].get("errorCode").is_none());
    }
    let response = &events[0]["detail"]["responseElements"]["accessEntry"];
    assert_eq!(response["principalArn"], json!(role));

    eks.world().recreate_principal(&role);
    let events = drain(&eks, &client).await;
    let role_name = json!({"roleName": "Dev"});
    let expected = ["DeleteRole", "CreateRole"].map(|name| (name.to_owned(), role_name.clone()));
    assert_eq!(details(&events), expected);
    assert_eq!(
        (&events[0]["source"], &events[0]["region"]),
        (&json!("aws.iam"), &json!("us-east-1"))
    );
}

#[tokio::test]
async fn events_arrive_twice_in_disorder_or_not_at_all() {
    let (eks, _, client) = started().await;
    let tag = |number: usize| {
        let input = json!({"resourceArn": CLUSTER, "tags": {"number": number.to_string()}});
        eks.by_hand("TagResource", input).unwrap();
    };
    let numbers = |events: &[Value]| -> Vec<usize> {
        let number = |event: &Value| {
            event["detail"]["requestParameters"]["tags"]["number"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        };
        events.iter().map(number).collect()
    };
    eks.knobs().duplicate_events = 0.5;
    (0..40).for_each(tag);
    let arrived = numbers(&drain(&eks, &client).await);
    assert!(
        arrived.is_sorted() && arrived.len() > 50 && arrived.len() < 70,
        "{arrived:?}"
    );
    eks.knobs().duplicate_events = 0.0;
    eks.knobs().reordered_events = 0.5;
    (0..40).for_each(tag);
    let mut arrived = numbers(&drain(&eks, &client).await);
    assert!(!arrived.is_sorted(), "{arrived:?}");
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..40));
    eks.knobs().refused_events = true;
    let nobody = json!({"principalArn": "arn:aws:iam::111122223333:role/Nobody"});
    eks.by_hand("CreateAccessEntry", nobody).unwrap_err();
    let events = drain(&eks, &client).await;
    let detail = &events[0]["detail"];
    assert_eq!(detail["errorCode"], "InvalidParameterException");
    assert!(detail["responseElements"].is_null());
    eks.knobs().events = false;
    tag(1);
    assert!(drain(&eks, &client).await.is_empty());
}

#[tokio::test]
async fn who_waits_for_a_message_gets_it_when_it_comes() {
    let (eks, _, client) = started().await;
    let url = eks.queue_url();
    let receive = client
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(20);
    let waiting = tokio::spawn(receive.send());
    // A call that comes after the other has begun to wait; were it not so, the test would hold all the more.
    let other = client
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(1);
    let began = Instant::now();
    assert!(other.send().await.unwrap().messages.is_none());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let sent = client
        .send_message()
        .queue_url(&url)
        .message_body("<&>")
        .send()
        .await
        .unwrap();
    let received = waiting.await.unwrap().unwrap().messages.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(received[0].body(), Some("<&>"));
    assert_eq!(received[0].message_id(), sent.message_id());

    // It is hidden, then comes again, with another receipt.
    let again = || client.receive_message().queue_url(&url).send();
    assert!(again().await.unwrap().messages.is_none());
    eks.advance(Duration::from_secs(31));
    let second = again().await.unwrap().messages.unwrap();
    assert_ne!(second[0].receipt_handle(), received[0].receipt_handle());
    let entry = |id: &str, receipt: &str| {
        let entry = aws_sdk_sqs::types::DeleteMessageBatchRequestEntry::builder();
        entry.id(id).receipt_handle(receipt).build().unwrap()
    };
    let batch = client.delete_message_batch().queue_url(&url);
    let batch = batch
        .entries(entry("a", second[0].receipt_handle().unwrap()))
        .entries(entry("b", "none"));
    let deleted = batch.send().await.unwrap();
    assert_eq!(
        (deleted.successful()[0].id(), deleted.failed()[0].id()),
        ("a", "b")
    );
    eks.advance(Duration::from_secs(31));
    assert!(again().await.unwrap().messages.is_none());
}

#[tokio::test]
async fn a_queue_says_what_it_is() {
    let (eks, _, client) = started().await;
    let url = client
        .get_queue_url()
        .queue_name("changes")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    assert_eq!(url, eks.queue_url());
    let attributes = client.get_queue_attributes().queue_url(&url);
    let attributes = attributes
        .attribute_names(aws_sdk_sqs::types::QueueAttributeName::All)
        .send()
        .await
        .unwrap();
    let attributes = attributes.attributes.unwrap();
    let arn = &attributes[&aws_sdk_sqs::types::QueueAttributeName::QueueArn];
    assert_eq!(arn, "arn:aws:sqs:eu-west-1:111122223333:changes");
    let missing = refusal(
        client
            .receive_message()
            .queue_url(url.replace("changes", "none"))
            .send()
            .await,
    );
    assert_eq!(missing.1, "The specified queue does not exist.");
    let too_many = refusal(
        client
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(11)
            .send()
            .await,
    );
    assert_eq!(too_many.0, "InvalidParameterValue");
    eks.knobs().deny("sqs:ReceiveMessage");
    let denied = refusal(client.receive_message().queue_url(&url).send().await);
    assert!(
        denied.1.starts_with("User: arn:aws:sts::111122223333:assumed-role/identity-mapper/operator is not authorized to perform: sqs:receivemessage on resource: arn:aws:sqs:eu-west-1:111122223333:changes"),
        "{}",
        denied.1
    );
}
