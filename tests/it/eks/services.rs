//! What IAM, STS and SQS say, and the tokens that are redeemed at STS.

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, QueueAttributeName};
use jiff::{SignedDuration, Timestamp};

use super::CLUSTER;
use super::clients::{Answer, Clients, refusal, send};
use crate::support::eks::{Eks, OPERATOR_KEY, Service, World, caller_identity_url};

async fn started() -> (Eks, Clients) {
    let mut world = World::new(CLUSTER);
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    let clients = Clients::new(&eks).await;
    (eks, clients)
}

fn pair(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn a_role_has_no_user_of_its_own() {
    let (_eks, clients) = started().await;
    let refused = clients.iam.get_user().send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 400);
    let text = "Must specify userName when calling with non-User credentials";
    assert_eq!(
        refusal(clients.iam.get_user().send().await),
        pair("ValidationError", text)
    );
}

#[tokio::test]
async fn sts_names_members_by_their_first_letter_in_lower_case() {
    let (_eks, clients) = started().await;
    let role = "arn:aws:iam::111122223333:role/identity-mapper";
    for (name, text) in [
        (
            "a",
            "1 validation error detected: Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2",
        ),
        (
            "at 'RoleArn'",
            "1 validation error detected: Value 'at 'RoleArn'' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*",
        ),
    ] {
        let assume = clients.sts.assume_role().role_arn(role);
        let refused = refusal(assume.role_session_name(name).send().await);
        assert_eq!(refused, pair("ValidationError", text));
    }
}

#[tokio::test]
async fn sqs_has_errors_of_its_own_for_ids_and_attributes() {
    let (eks, clients) = started().await;
    let entry = |receipt: &str| {
        let entry = DeleteMessageBatchRequestEntry::builder().id("one");
        entry.receipt_handle(receipt).build().unwrap()
    };
    let batch = clients
        .sqs
        .delete_message_batch()
        .queue_url(eks.queue_url());
    let batch = batch
        .entries(entry("receipt-a"))
        .entries(entry("receipt-b"));
    assert_eq!(
        refusal(batch.send().await),
        pair(
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            "Id one repeated."
        )
    );
    let attributes = clients
        .sqs
        .get_queue_attributes()
        .queue_url(eks.queue_url());
    let attributes = attributes.attribute_names(QueueAttributeName::from("Colour"));
    assert_eq!(
        refusal(attributes.send().await),
        pair("InvalidAttributeName", "Unknown Attribute Colour.")
    );
}

/// A request that was signed at this time.
async fn at(eks: &Eks, time: Timestamp) -> Answer {
    let (sent, day) = (
        time.strftime("%Y%m%dT%H%M%SZ").to_string(),
        time.strftime("%Y%m%d").to_string(),
    );
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={OPERATOR_KEY}/{day}/eu-west-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
        "0".repeat(64)
    );
    let headers = [
        ("x-amz-date".to_owned(), sent),
        ("authorization".to_owned(), authorization),
    ];
    let form = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer = send(eks, Service::Sts, "POST", "/", &headers, form).await;
    answer.expect("an answer")
}

#[tokio::test]
async fn clocks_that_are_off_are_told_which_way() {
    let (eks, _) = started().await;
    let now = Timestamp::now();
    for (minutes, status, text) in [
        (-20, 403, "Signature expired: "),
        (-14, 200, "<Account>111122223333</Account>"),
        (14, 200, "<Account>111122223333</Account>"),
        (20, 403, "Signature not yet current: "),
    ] {
        let answer = at(&eks, now + SignedDuration::from_mins(minutes)).await;
        assert_eq!(answer.status, status, "{minutes}: {answer:?}");
        assert!(answer.body.contains(text), "{minutes}: {answer:?}");
        let refused = answer.body.contains("<Code>SignatureDoesNotMatch</Code>");
        assert_eq!(refused, status == 403, "{minutes}: {answer:?}");
    }
}

/// The path and query of the URL in a token of `aws eks get-token` for this cluster.
fn target(eks: &Eks, cluster: &str, key: &str, time: Timestamp) -> String {
    let host = eks.address(Service::Sts).to_string();
    let url = caller_identity_url(&host, "eu-west-1", cluster, (key, None), time);
    url.replace(&format!("https://{host}"), "")
}

#[tokio::test]
async fn tokens_of_get_token_are_redeemed() {
    const MISMATCH: &str = "<Code>SignatureDoesNotMatch</Code>";
    let (eks, _) = started().await;
    let now = Timestamp::now();
    let header = [("x-k8s-aws-id".to_owned(), "test".to_owned())];
    let caller = "<Arn>arn:aws:sts::111122223333:assumed-role/identity-mapper/operator</Arn>";
    let made = |time| target(&eks, "test", OPERATOR_KEY, time);
    let unsigned = made(now).replace("X-Amz-Signature", "X-Amz-Nothing");
    let any_host = made(now).replace("host%3B", "");
    let forged = made(now).replace("X-Amz-Expires=60", "X-Amz-Expires=61");
    let nobody = target(&eks, "test", "AKIDEXAMPLE999999999", now);
    // STS takes one for 15 minutes, whatever X-Amz-Expires says.
    let late = made(now - SignedDuration::from_mins(14));
    let old = made(now - SignedDuration::from_mins(16));
    let of_another = target(&eks, "other", OPERATOR_KEY, now);
    for (what, target, headers, status, text) in [
        ("as it is", made(now), &header[..], 200, caller),
        ("after 14 minutes", late, &header, 200, caller),
        ("after 16 minutes", old, &header, 403, "Signature expired: "),
        (
            "without the header that was signed",
            made(now),
            &[],
            403,
            MISMATCH,
        ),
        (
            "of another cluster's name",
            of_another,
            &header,
            403,
            MISMATCH,
        ),
        ("changed on the way", forged, &header, 403, MISMATCH),
        ("for any host", any_host, &header, 403, MISMATCH),
        (
            "without a signature",
            unsigned,
            &header,
            403,
            "<Code>IncompleteSignature</Code>",
        ),
        (
            "by nobody",
            nobody,
            &header,
            403,
            "<Code>InvalidClientTokenId</Code>",
        ),
    ] {
        let answer = send(&eks, Service::Sts, "GET", &target, headers, "").await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.body.contains(text), "{what}: {answer:?}");
    }
}
