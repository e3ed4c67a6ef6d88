//! The gate that every call of a leader that changes an access entry passes.
//!
//! It is asked twice: before the call is prepared, where it can wait for a renewal, and by the SDK when the signed request is about to be
//! sent, for fetching credentials may have taken its time.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_eks::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_eks::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_eks::error::BoxError;

use super::{Aws, Shared};
use crate::access_entry::{Failure, FailureKind};
use crate::lease::{LeaseLost, Permit};

/// How long a leader waits for an answer to a change, with all that comes before: no longer than the Lease lasts after a renewal. One that
/// is not answered in time is one whose effect is not known.
const CHANGE: Duration = Duration::from_secs(5);

/// How long a change waits for a renewal: it was judged before, and two renewals fit.
const RENEWED_WITHIN: Duration = Duration::from_secs(3);

impl Aws {
    /// The same clients for one term of a leader.
    #[must_use]
    pub fn fenced(&self, permit: Permit) -> Self {
        if !permit.is_limited() {
            return self.clone();
        }
        let config = self.0.eks.config().to_builder();
        let config = config.interceptor(FencedCalls(permit.clone()));
        Self(Arc::new(Shared {
            eks: aws_sdk_eks::Client::from_conf(config.build()),
            permit,
            ..Shared::clone(&self.0)
        }))
    }

    /// Makes a call that changes something.
    pub(super) async fn change<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let permit = &self.0.permit;
        if !permit.is_limited() {
            return call.await;
        }
        let unavailable = |message| Failure {
            kind: FailureKind::Unavailable,
            message,
        };
        let lost = |lost: LeaseLost| unavailable(lost.to_string());
        let granted = permit.granted_within(CHANGE, RENEWED_WITHIN).await;
        granted.map_err(lost)?;
        match tokio::time::timeout(CHANGE, permit.while_held(call)).await {
            Ok(answer) => answer.map_err(lost)?,
            Err(_) => Err(unavailable(format!(
                "no answer from EKS within {} s",
                CHANGE.as_secs()
            ))),
        }
    }
}

/// Lets reads pass, and anything else while the Lease is held for longer than it may take.
#[derive(Debug)]
struct FencedCalls(Permit);

impl Intercept for FencedCalls {
    fn name(&self) -> &'static str {
        "FencedCalls"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.request().method() == "GET" || self.0.allows(CHANGE) {
            Ok(())
        } else {
            Err(LeaseLost::NotSent.into())
        }
    }
}
