//! EKS, IAM, STS and SQS: calls, and what comes back as plain values. Nothing is decided here.
//!
//! Invariants:
//!
//! - every call to EKS passes one gate (`limiter`), which keeps the rate, finds a lower one where EKS throttles, and lets the calls
//!   of a change go first;
//! - a listing is whole or an error, never a part;
//! - a write whose answer was lost is never made again here: it is [`FailureKind::Unavailable`], and its caller reads first what is there;
//! - a leader's calls that change something are sent only while the Lease is held for longer than they may take (`fenced`);
//! - every [`Failure`] has AWS's message or the connection's error, and a denied one the statement that would allow it.
//!
//! Region, credentials and endpoints come from the SDK's own chain (environment, profile, EKS Pod Identity, IRSA, instance), so
//! whatever works for the AWS CLI works here.
//!
//! The SDK's own retries are off for EKS: the gate does not see them, so a throttled call would be repeated at an
//! unchanged rate, and a write whose answer was lost would be made twice. IAM, STS and SQS keep them: calls there change
//! nothing, or may be made twice.
//!
//! [`FailureKind::Unavailable`]: crate::access_entry::FailureKind::Unavailable

mod authority;
mod eks;
pub mod event;
mod failure;
mod fenced;
mod iam;
mod limiter;
mod managed;
mod mode;
mod pace;
mod queue;
mod roles;
mod survey;
mod untag;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::OnceCell;

pub use self::authority::{fingerprint, fingerprints};
pub use self::eks::ClusterRead;
pub use self::limiter::{Calls, DurationFamily, OtherDurationFamily};
pub use self::managed::ASKED as ASKED_FEATURES;
pub use self::mode::UpdateState;
pub use self::pace::{DEFAULT_RATE, Priority};
pub use self::queue::{Batch, InvalidQueueUrl, Queue, QueueUrl};
pub use self::roles::{IamRoles, InvalidIamRole};
pub use self::untag::Untagged;

use self::failure::{Request, failure, unexpected};
use self::limiter::Limiter;
use crate::access_entry::Failure;
use crate::lease::Permit;
use crate::principal::AccountId;

/// One call to EKS. EKS answers in well under a second; after ten the answer is lost.
const EKS_ATTEMPT: Duration = Duration::from_secs(10);
/// One call to EKS with what comes before it: credentials that have to be fetched first.
const EKS_OPERATION: Duration = Duration::from_secs(30);
/// One call to IAM or STS. Their answers are optional: nothing may wait for them for long.
const IAM_ATTEMPT: Duration = Duration::from_secs(3);
/// The same with what comes before it, and repeated where it fails.
const IAM_OPERATION: Duration = Duration::from_secs(10);
/// One call to SQS: longer than a poll.
const QUEUE_ATTEMPT: Duration = Duration::from_secs(25);
/// The same with what comes before it, and repeated where it fails.
const QUEUE_OPERATION: Duration = Duration::from_secs(55);

/// As our sessions by roles that we assume are called in `CloudTrail`.
const SESSION: &str = "identity-mapper";

/// The configuration of the AWS clients.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsSettings {
    /// The region; `None`: the SDK's chain gives it.
    pub region: Option<String>,
    /// The role to assume first, whose credentials then make all calls.
    pub assumed_role: Option<AssumedRole>,
    /// The most calls to EKS per second.
    pub rate: f64,
    /// The roles to assume for reading the IAM of other accounts.
    pub iam_roles: IamRoles,
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumedRole {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy may ask for (`sts:ExternalId`).
    pub external_id: Option<String>,
}

impl Default for AwsSettings {
    fn default() -> Self {
        Self {
            region: None,
            assumed_role: None,
            rate: DEFAULT_RATE,
            iam_roles: IamRoles::default(),
        }
    }
}

/// No region is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no AWS region: set --region, AWS_REGION, or `region` in the AWS profile")]
pub struct NoRegion;

/// The operator's own identity in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The account.
    pub account: AccountId,
    /// The ARN of the session or user, as `CloudTrail` names the caller.
    pub arn: String,
    /// The unique id: `AROA…:session`, or `AIDA…` of a user.
    pub user_id: String,
}

/// The clients. Clones share them, the gate and its numbers.
#[derive(Clone, Debug)]
pub struct Aws(Arc<Shared>);

#[derive(Clone, Debug)]
struct Shared {
    region: String,
    eks: aws_sdk_eks::Client,
    /// What a call to EKS or SQS that changes something asks for.
    permit: Permit,
    /// How late after it was asked for a call to EKS that changes something may be sent.
    changes_within: Option<Duration>,
    limiter: Arc<Limiter>,
    sts: aws_sdk_sts::Client,
    sqs: aws_sdk_sqs::Client,
    /// What the clients of IAM are made of.
    quick: SdkConfig,
    iam_roles: IamRoles,
    iam: Arc<Mutex<BTreeMap<AccountId, aws_sdk_iam::Client>>>,
    identity: Arc<OnceCell<CallerIdentity>>,
}

impl Aws {
    /// Reads region, profile and endpoints; nothing is called yet, and credentials are first fetched when they are needed.
    pub async fn connect(settings: &AwsSettings) -> Result<Self, NoRegion> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let config = loader.load().await;
        let Some(AssumedRole { arn, external_id }) = &settings.assumed_role else {
            return Self::new(&config, settings);
        };
        let mut provider = AssumeRoleProvider::builder(arn)
            .configure(&config)
            .session_name(SESSION);
        if let Some(external_id) = external_id {
            provider = provider.external_id(external_id);
        }
        let provider = SharedCredentialsProvider::new(provider.build().await);
        let config = config.to_builder().credentials_provider(provider).build();
        Self::new(&config, settings)
    }

    /// The same with a configuration that was read already.
    ///
    /// # Panics
    ///
    /// Never: the name that we go by has the form that the SDK asks for.
    pub fn new(config: &SdkConfig, settings: &AwsSettings) -> Result<Self, NoRegion> {
        let region = settings.region.clone().map(Region::new);
        let region = region
            .or_else(|| config.region().cloned())
            .ok_or(NoRegion)?;
        let with = |attempt, operation, retries| {
            let timeouts = TimeoutConfig::builder()
                .operation_attempt_timeout(attempt)
                .operation_timeout(operation);
            config
                .to_builder()
                .region(region.clone())
                .app_name(AppName::new("identity-mapper").expect("letters and a hyphen"))
                .timeout_config(timeouts.build())
                .retry_config(retries)
                .build()
        };
        let slow = with(EKS_ATTEMPT, EKS_OPERATION, RetryConfig::disabled());
        let quick = with(IAM_ATTEMPT, IAM_OPERATION, RetryConfig::standard());
        let polling = with(QUEUE_ATTEMPT, QUEUE_OPERATION, RetryConfig::standard());
        Ok(Self(Arc::new(Shared {
            region: region.to_string(),
            eks: aws_sdk_eks::Client::new(&slow),
            permit: Permit::unlimited(),
            changes_within: None,
            limiter: Arc::new(Limiter::new(settings.rate)),
            sts: aws_sdk_sts::Client::new(&quick),
            sqs: aws_sdk_sqs::Client::new(&polling),
            quick,
            iam_roles: settings.iam_roles.clone(),
            iam: Arc::default(),
            identity: Arc::default(),
        })))
    }

    /// The same clients for a caller that judges each change when it asks for it: one that would be sent much later fails instead.
    #[must_use]
    pub fn sending_changes_within(&self, limit: Duration) -> Self {
        Self(Arc::new(Shared {
            changes_within: Some(limit),
            ..Shared::clone(&self.0)
        }))
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// What is counted of the calls.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        self.0.limiter.calls()
    }

    /// The operator's own identity by STS, kept after the first answer.
    pub async fn identity(&self) -> Result<&CallerIdentity, Failure> {
        let asked = Request {
            service: "sts",
            operation: "GetCallerIdentity",
            resource: None,
        };
        self.0
            .identity
            .get_or_try_init(async || {
                let call = async {
                    let answer = self.0.sts.get_caller_identity().send().await;
                    answer.map_err(|error| failure(&error, &asked))
                };
                let answer = self.calls().other(&asked, call).await?;
                let account = answer.account().and_then(|account| account.parse().ok());
                match (account, answer.arn, answer.user_id) {
                    (Some(account), Some(arn), Some(user_id)) => Ok(CallerIdentity {
                        account,
                        arn,
                        user_id,
                    }),
                    _ => Err(unexpected(&asked, "names no account, ARN and user id")),
                }
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_needed() {
        let nothing = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .build();
        let error = Aws::new(&nothing, &AwsSettings::default()).expect_err("no region");
        assert!(error.to_string().contains("--region"), "{error}");
        let settings = AwsSettings {
            region: Some("eu-west-1".to_owned()),
            ..AwsSettings::default()
        };
        let aws = Aws::new(&nothing, &settings).expect("a region");
        assert_eq!(aws.region(), "eu-west-1");
    }
}
