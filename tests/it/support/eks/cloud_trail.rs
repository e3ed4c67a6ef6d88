//! The events of `CloudTrail` as `EventBridge` hands them to a queue.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::knobs::Knobs;
use super::model::EKS;
use super::refusal::Refusal;
use super::sqs;
use super::world::{Caller, World};

/// Enqueues the event of a write to EKS that was done, or was refused where that is asked for.
pub(crate) fn tell(
    world: &mut World,
    knobs: &mut Knobs,
    caller: &Caller,
    operation: &str,
    input: &Map<String, Value>,
    result: Result<&Value, &Refusal>,
) {
    let modelled = &EKS.operations[operation];
    if modelled.http.method == "GET" || !knobs.events || (result.is_err() && !knobs.refused_events)
    {
        return;
    }
    let Some(queue) = world.attached().map(str::to_owned) else {
        return;
    };
    let body = event(world, caller, operation, input, result).to_string();
    if knobs.draw() < knobs.duplicate_events {
        sqs::send(world, &queue, body.clone(), 0);
    }
    sqs::send(world, &queue, body, 0);
    if knobs.draw() < knobs.reordered_events {
        let queue = world.queues.get_mut(&queue).expect("it was just sent to");
        let last = queue.messages.len().saturating_sub(1);
        queue.messages.swap(last.saturating_sub(1), last);
    }
}

fn event(
    world: &mut World,
    caller: &Caller,
    operation: &str,
    input: &Map<String, Value>,
    result: Result<&Value, &Refusal>,
) -> Value {
    let modelled = &EKS.operations[operation];
    let members = &EKS
        .input(modelled)
        .expect("every write of EKS has an input")
        .members;
    let mut parameters = Map::new();
    for (name, value) in input {
        // The cluster goes by the name that it has in the path, and what stands in the path is shown as it stands there.
        let member = members.get(name);
        let shown = member
            .and_then(|member| member.location_name.as_ref())
            .unwrap_or(name);
        let in_path = member.is_some_and(|member| member.location.as_deref() == Some("uri"));
        let value = match value.as_str() {
            Some(text) if in_path => percent_encoded(text).into(),
            _ => value.clone(),
        };
        parameters.insert(shown.clone(), value);
    }
    let answer = result
        .ok()
        .filter(|answer| answer.as_object().is_some_and(|it| !it.is_empty()));
    let mut detail = json!({
        "eventSource": "eks.amazonaws.com",
        "eventName": operation,
        "requestParameters": parameters,
        "responseElements": answer,
    });
    if let Err(refusal) = result {
        detail["errorCode"] = refusal.code.as_str().into();
        detail["errorMessage"] = refusal.message.as_str().into();
    }
    envelope(world, "aws.eks", Some(caller), &detail)
}

fn envelope(world: &mut World, source: &str, caller: Option<&Caller>, detail: &Value) -> Value {
    let (region, account) = (world.cluster.region.clone(), world.cluster.account.clone());
    let time = Timestamp::from_second(world.now.as_second())
        .unwrap_or(world.now)
        .to_string();
    let mut whole = json!({
        "eventVersion": "1.11",
        "userIdentity": caller.map(|caller| json!({
            "type": "AssumedRole",
            "principalId": caller.user_id,
            "arn": caller.arn,
            "accountId": caller.account,
        })),
        "eventTime": time,
        "awsRegion": region,
        "sourceIPAddress": "192.0.2.1",
        "requestID": world.uuid(),
        "eventID": world.uuid(),
        "readOnly": false,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": account,
        "eventCategory": "Management",
    });
    for (name, value) in detail.as_object().into_iter().flatten() {
        whole[name.as_str()] = value.clone();
    }
    json!({
        "version": "0",
        "id": world.uuid(),
        "detail-type": "AWS API Call via CloudTrail",
        "source": source,
        "account": account,
        "time": time,
        "region": region,
        "resources": [],
        "detail": whole,
    })
}

impl World {
    /// Enqueues the event of a principal that was made or deleted in IAM, forwarded from the region where IAM's events are.
    pub(super) fn tell_of_principal(&mut self, operation: &str, arn: &str) {
        let Some(queue) = self.attached().map(str::to_owned) else {
            return;
        };
        let name = arn.rsplit('/').next().unwrap_or_default();
        let parameter = if operation.ends_with("Role") {
            "roleName"
        } else {
            "userName"
        };
        let mut parameters = Map::new();
        parameters.insert(parameter.to_owned(), name.into());
        let detail = json!({
            "eventSource": "iam.amazonaws.com",
            "eventName": operation,
            "awsRegion": "us-east-1",
            "requestParameters": parameters,
            "responseElements": null,
        });
        let mut event = envelope(self, "aws.iam", None, &detail);
        let account = arn.split(':').nth(4).unwrap_or_default();
        event["account"] = account.into();
        event["region"] = "us-east-1".into();
        event["detail"]["recipientAccountId"] = account.into();
        sqs::send(self, &queue, event.to_string(), 0);
    }
}

/// As a path's segment is encoded: all but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}
