//! The operations of SQS: standard queues, as far as one reader needs them.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::cluster::Cluster;
use super::page::hex;
use super::refusal::Refusal;
use super::world::World;

type Input = Map<String, Value>;
type Answer = Result<Value, Refusal>;

/// A queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// Its ARN.
    pub(crate) arn: String,
    /// Its messages, oldest first.
    pub(super) messages: VecDeque<Message>,
    visibility: SignedDuration,
    created: Timestamp,
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    id: String,
    body: String,
    sent: Timestamp,
    received: u32,
    /// Until then nobody else receives it.
    hidden_until: Timestamp,
    receipt: String,
}

impl Queue {
    pub(super) fn new(cluster: &Cluster, name: &str, now: Timestamp) -> Self {
        let (partition, region, account) = (&cluster.partition, &cluster.region, &cluster.account);
        Self {
            arn: format!("arn:{partition}:sqs:{region}:{account}:{name}"),
            messages: VecDeque::new(),
            visibility: SignedDuration::from_secs(30),
            created: now,
        }
    }
}

/// Puts a message into a queue, and gives its id.
pub(super) fn send(world: &mut World, queue: &str, body: String, delay: i64) -> Option<String> {
    let (id, now) = (world.uuid(), world.now);
    let message = Message {
        id: id.clone(),
        body,
        sent: now,
        received: 0,
        hidden_until: later(now, delay),
        receipt: String::new(),
    };
    world.queues.get_mut(queue)?.messages.push_back(message);
    world.arrived += 1;
    Some(id)
}

fn later(now: Timestamp, seconds: i64) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// Executes an operation of the model. `url` makes a queue's URL of its name.
pub(crate) fn call(
    world: &mut World,
    operation: &str,
    input: &Input,
    url: impl Fn(&str, &str) -> String,
) -> Answer {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    let number =
        |name: &str, default: i64| input.get(name).and_then(Value::as_i64).unwrap_or(default);
    if operation == "GetQueueUrl" {
        let name = text("QueueName");
        world.queues.get(name).ok_or_else(no_queue)?;
        return Ok(json!({"QueueUrl": url(&world.cluster.account, name)}));
    }
    let name = text("QueueUrl")
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let now = world.now;
    if !world.queues.contains_key(&name) {
        return Err(no_queue());
    }
    match operation {
        "SendMessage" => {
            let body = text("MessageBody").to_owned();
            let digest = md5(&body);
            let id = send(world, &name, body, number("DelaySeconds", 0));
            Ok(json!({"MessageId": id, "MD5OfMessageBody": digest}))
        }
        "ReceiveMessage" => {
            let most = number("MaxNumberOfMessages", 1);
            if !(1..=10).contains(&most) {
                return Err(invalid(&format!(
                    "Value {most} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
                )));
            }
            let wait = number("WaitTimeSeconds", 0);
            if !(0..=20).contains(&wait) {
                return Err(invalid(&format!(
                    "Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
                )));
            }
            Ok(receive(
                world,
                &name,
                usize::try_from(most).unwrap_or(1),
                input,
            ))
        }
        "DeleteMessage" => {
            delete(world, &name, text("ReceiptHandle"))?;
            Ok(json!({}))
        }
        "DeleteMessageBatch" => delete_batch(world, &name, input),
        "GetQueueAttributes" => {
            let queue = &world.queues[&name];
            let (visible, hidden): (Vec<_>, Vec<_>) = queue
                .messages
                .iter()
                .partition(|message| message.hidden_until <= now);
            let all = json!({
                "QueueArn": queue.arn,
                "ApproximateNumberOfMessages": visible.len().to_string(),
                "ApproximateNumberOfMessagesNotVisible": hidden.len().to_string(),
                "ApproximateNumberOfMessagesDelayed": "0",
                "VisibilityTimeout": queue.visibility.as_secs().to_string(),
                "CreatedTimestamp": queue.created.as_second().to_string(),
                "MessageRetentionPeriod": "345600",
            });
            let asked = input.get("AttributeNames").and_then(Value::as_array);
            let asked: Vec<&str> = asked
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let attributes = all.as_object().cloned().unwrap_or_default();
            let chosen = attributes
                .into_iter()
                .filter(|(name, _)| asked.contains(&"All") || asked.contains(&name.as_str()));
            Ok(json!({"Attributes": chosen.collect::<Input>()}))
        }
        _ => unreachable!("the model has no {operation}"),
    }
}

fn receive(world: &mut World, name: &str, most: usize, input: &Input) -> Value {
    let now = world.now;
    let mut received = Vec::new();
    let Some(mut queue) = world.queues.remove(name) else {
        return json!({});
    };
    let visibility = input.get("VisibilityTimeout").and_then(Value::as_i64);
    let visibility = visibility.unwrap_or(queue.visibility.as_secs());
    let visible = queue
        .messages
        .iter_mut()
        .filter(|message| message.hidden_until <= now);
    for message in visible.take(most) {
        message.hidden_until = later(now, visibility);
        message.received += 1;
        message.receipt = format!("receipt-{}-{}", message.id, message.received);
        received.push(json!({
            "MessageId": message.id,
            "ReceiptHandle": message.receipt,
            "MD5OfBody": md5(&message.body),
            "Body": message.body,
            "Attributes": {
                "SentTimestamp": message.sent.as_millisecond().to_string(),
                "ApproximateReceiveCount": message.received.to_string(),
            },
        }));
    }
    world.queues.insert(name.to_owned(), queue);
    if received.is_empty() {
        json!({})
    } else {
        json!({"Messages": received})
    }
}

/// A receipt of an earlier receipt of the message deletes nothing and is no error; one that was never given is.
fn delete(world: &mut World, name: &str, receipt: &str) -> Result<(), Refusal> {
    if !receipt.starts_with("receipt-") {
        return Err(Refusal::new(
            "ReceiptHandleIsInvalid",
            404,
            format!("The input receipt handle \"{receipt}\" is not a valid receipt handle."),
        ));
    }
    if let Some(queue) = world.queues.get_mut(name) {
        queue.messages.retain(|message| message.receipt != receipt);
    }
    Ok(())
}

fn delete_batch(world: &mut World, name: &str, input: &Input) -> Answer {
    let entries = input
        .get("Entries")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if entries.is_empty() {
        return Err(batch(
            "EmptyBatchRequest",
            "There should be at least one DeleteMessageBatchRequestEntry in the request.",
        ));
    }
    if entries.len() > 10 {
        return Err(batch(
            "TooManyEntriesInBatchRequest",
            "Maximum number of entries per request are 10.",
        ));
    }
    let mut ids = BTreeSet::new();
    if let Some(again) = entries.iter().find(|it| !ids.insert(it["Id"].as_str())) {
        let id = again["Id"].as_str().unwrap_or_default();
        return Err(batch(
            "BatchEntryIdsNotDistinct",
            &format!("Id {id} repeated."),
        ));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in &entries {
        match delete(world, name, entry["ReceiptHandle"].as_str().unwrap_or_default()) {
            Ok(()) => successful.push(json!({"Id": entry["Id"]})),
            Err(refusal) => failed.push(json!({
                "Id": entry["Id"], "SenderFault": true, "Code": refusal.code, "Message": refusal.message,
            })),
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

fn batch(code: &str, message: &str) -> Refusal {
    Refusal::new(code, 400, message)
}

fn invalid(message: &str) -> Refusal {
    Refusal::new("InvalidParameterValue", 400, message)
}

fn no_queue() -> Refusal {
    Refusal::new(
        "QueueDoesNotExist",
        400,
        "The specified queue does not exist.",
    )
}

fn md5(text: &str) -> String {
    hex(&Md5::digest(text))
}
