//! The SQS queue of changes, which EventBridge fills from `CloudTrail`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};

use super::event::{self, AwsChange, IgnoredEvent};
use super::failure::{Request, failure, refused};
use super::{Aws, Calls};
use crate::access_entry::EksCluster;
use crate::access_entry::Failure;
use crate::lease::Permit;
use crate::principal::{AccountId, Partition};

/// The longest that SQS holds a poll, and the most messages that it gives (SQS API reference, `ReceiveMessage`).
const WAIT_SECONDS: i32 = 20;
const MESSAGES: i32 = 10;

/// The URL of a queue, such as `https://sqs.eu-west-1.amazonaws.com/111122223333/identity-mapper`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueUrl {
    url: String,
    account: AccountId,
    name: String,
}

/// A text that is not the URL of a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an SQS queue URL: expected https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, as printed by `aws sqs get-queue-url`"
)]
pub struct InvalidQueueUrl(pub String);

impl FromStr for QueueUrl {
    type Err = InvalidQueueUrl;

    fn from_str(text: &str) -> Result<Self, InvalidQueueUrl> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let mut parts = rest.into_iter().flat_map(|rest| rest.split('/'));
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match (
            parts.next(),
            parts.next().map(str::parse),
            parts.next(),
            parts.next(),
        ) {
            (Some(host), Some(Ok(account)), Some(name), None)
                if !host.is_empty() && is_name(name) =>
            {
                Ok(Self {
                    url: text.to_owned(),
                    account,
                    name: name.to_owned(),
                })
            }
            _ => Err(InvalidQueueUrl(text.to_owned())),
        }
    }
}

impl fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The queue of one cluster.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: QueueUrl,
    arn: String,
    cluster: EksCluster,
    calls: Calls,
    permit: Permit,
}

/// What a poll gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What has changed, as far as it matters here.
    pub changes: Vec<AwsChange>,
    /// Messages that were passed over, by why.
    pub passed_over: BTreeMap<IgnoredEvent, u64>,
    /// Why what was read could not be deleted: it will come again.
    pub undeleted: Option<Failure>,
}

impl Aws {
    /// A queue that tells of changes of this cluster.
    #[must_use]
    pub fn queue(&self, url: &QueueUrl, cluster: &EksCluster) -> Queue {
        let partition = cluster.partition().unwrap_or(Partition::Aws);
        let (region, QueueUrl { account, name, .. }) = (self.region(), url);
        Queue {
            client: self.0.sqs.clone(),
            url: url.clone(),
            arn: format!("arn:{partition}:sqs:{region}:{account}:{name}"),
            cluster: cluster.clone(),
            calls: self.calls().clone(),
            permit: self.0.permit.clone(),
        }
    }
}

impl Queue {
    /// Waits up to 20 seconds for messages, and deletes them at once: what they say is only remembered in memory, and after a
    /// restart everything is read anew. A replica that does not lead any more leaves them to the one that does.
    pub async fn receive(&self) -> Result<Batch, Failure> {
        let asked = self.asked("ReceiveMessage");
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url.url)
            .wait_time_seconds(WAIT_SECONDS)
            .max_number_of_messages(MESSAGES);
        let call = async {
            let answer = request.send().await;
            answer.map_err(|error| failure(&error, &asked))
        };
        let answer = self.calls.other(&asked, call).await?;
        let messages = answer.messages.unwrap_or_default();
        let mut batch = Batch::default();
        for message in &messages {
            match event::read(message.body().unwrap_or_default(), &self.cluster) {
                Ok(change) => batch.changes.push(change),
                Err(why) => {
                    tracing::debug!(id = message.message_id(), %why, "event ignored");
                    *batch.passed_over.entry(why).or_default() += 1;
                }
            }
        }
        if !messages.is_empty() && self.permit.allows(Duration::ZERO) {
            batch.undeleted = self.delete(&messages).await.err();
        }
        Ok(batch)
    }

    async fn delete(&self, messages: &[Message]) -> Result<(), Failure> {
        // A batch takes the right to delete one.
        let asked = self.asked("DeleteMessage");
        let mut request = self.client.delete_message_batch().queue_url(&self.url.url);
        for (id, message) in messages.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .receipt_handle(message.receipt_handle().unwrap_or_default())
                .build()
                .expect("it has an id and a handle");
            request = request.entries(entry);
        }
        let call = async {
            let answer = request.send().await;
            answer.map_err(|error| failure(&error, &asked))
        };
        let answer = self.calls.other(&asked, call).await?;
        match answer.failed.first() {
            None => Ok(()),
            Some(failed) => Err(refused(failed.code(), failed.message(), &asked)),
        }
    }

    fn asked(&self, operation: &'static str) -> Request {
        Request {
            service: "sqs",
            operation,
            resource: Some(self.arn.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_queues() {
        for text in [
            "https://sqs.eu-west-1.amazonaws.com/111122223333/identity-mapper",
            "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/a_b-1",
            "http://127.0.0.1:4566/111122223333/q",
        ] {
            let url: QueueUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), text);
            assert_eq!(url.account.as_str(), "111122223333");
        }
        for text in [
            "",
            "identity-mapper",
            "arn:aws:sqs:eu-west-1:111122223333:identity-mapper",
            "https://sqs.eu-west-1.amazonaws.com/identity-mapper",
            "https://sqs.eu-west-1.amazonaws.com/1111/identity-mapper",
            "https://sqs.eu-west-1.amazonaws.com/111122223333/",
            "https://sqs.eu-west-1.amazonaws.com/111122223333/a/b",
            "https:///111122223333/q",
        ] {
            let error = text.parse::<QueueUrl>().expect_err(text);
            assert!(error.to_string().contains("get-queue-url"), "{error}");
        }
    }
}
