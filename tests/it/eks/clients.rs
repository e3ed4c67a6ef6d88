//! The clients: the Rust SDK, and requests made by hand.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_eks::config::Credentials;
use aws_sdk_eks::config::retry::RetryConfig;
use aws_sdk_eks::config::timeout::TimeoutConfig;
use aws_sdk_eks::error::{ProvideErrorMetadata, SdkError};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::eks::{Eks, OPERATOR_KEY, Service};

/// The SDK's clients. They try each call once, so that a test sees each answer.
pub(super) struct Clients {
    pub(super) eks: aws_sdk_eks::Client,
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) sts: aws_sdk_sts::Client,
}

impl Clients {
    pub(super) async fn new(eks: &Eks) -> Self {
        let credentials = Credentials::new(OPERATOR_KEY, "no-real-secret", None, None, "test");
        Self::of(eks, credentials).await
    }

    pub(super) async fn of(eks: &Eks, credentials: Credentials) -> Self {
        let region = eks.world().cluster.region.clone();
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(30))
            .build();
        let shared = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(region))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .load()
            .await;
        let at = |service| {
            let url = format!("http://{}", eks.address(service));
            shared.to_builder().endpoint_url(url).build()
        };
        Self {
            eks: aws_sdk_eks::Client::new(&at(Service::Eks)),
            iam: aws_sdk_iam::Client::new(&at(Service::Iam)),
            sqs: aws_sdk_sqs::Client::new(&at(Service::Sqs)),
            sts: aws_sdk_sts::Client::new(&at(Service::Sts)),
        }
    }
}

/// Code and message of a refusal. Panics where the call was not refused.
pub(super) fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, String) {
    let error = result.expect_err("a refusal");
    let text = |part: Option<&str>| {
        part.unwrap_or_else(|| panic!("no refusal: {error:?}"))
            .to_owned()
    };
    (text(error.code()), text(error.message()))
}

/// An answer to a request made by hand.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The headers of a request that is signed for a service, by the operator.
pub(super) fn signed(service: &str, region: &str) -> Vec<(String, String)> {
    signed_by(OPERATOR_KEY, service, region)
}

/// The same with another access key id.
pub(super) fn signed_by(key: &str, service: &str, region: &str) -> Vec<(String, String)> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = &time[..8];
    let signature = "0".repeat(64);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key}/{date}/{region}/{service}/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
    );
    vec![
        ("x-amz-date".to_owned(), time),
        ("authorization".to_owned(), authorization),
    ]
}

/// Sends the bytes as they are; `None`: the connection ended without an answer.
pub(super) async fn send(
    eks: &Eks,
    service: Service,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &str,
) -> Option<Answer> {
    let address = eks.address(service);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    stream
        .write_all(format!("{request}\r\n{body}").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// A call of EKS, signed as it should be.
pub(super) async fn call(eks: &Eks, method: &str, target: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let headers = signed("eks", "eu-west-1");
    let answer = send(eks, Service::Eks, method, target, &headers, &body).await;
    answer.expect("an answer")
}

/// A text as a segment of a path.
pub(super) fn segment(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}
