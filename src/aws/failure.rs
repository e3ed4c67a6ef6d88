//! [`Failure`]: why a call failed, in the operator's own words.
//!
//! Many codes that matter are not in the service models (`AccessDeniedException`, `ThrottlingException` for the operations on
//! access entries), so they are told apart by their text, never by the SDK's types. The SDK's own rendering of an error is
//! "service error", which helps nobody: a message here is AWS's, or names what the connection met, cause by cause.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_eks::config::http::HttpResponse;
use aws_sdk_eks::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_eks::operation::RequestId as _;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use serde::Serialize;

use crate::access_entry::{Failure, FailureKind};
use crate::error::connection_cause;

/// What was asked for: enough to say what right it takes.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// As actions of its service begin: `eks`, `iam`, `sts`, `sqs`.
    pub(super) service: &'static str,
    /// The operation.
    pub(super) operation: &'static str,
    /// The resource that a policy statement must name; `None`: the one that AWS's message names.
    pub(super) resource: Option<String>,
}

/// An answer that is an error, as far as it can be decided by.
#[derive(Clone, Copy, Debug, Default)]
struct ErrorAnswer<'a> {
    code: Option<&'a str>,
    message: Option<&'a str>,
    request_id: Option<&'a str>,
    status: u16,
}

/// How to give credentials (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>).
const CREDENTIALS: &str = "in a cluster, associate an IAM role with the service account (EKS Pod Identity, or the annotation \
    eks.amazonaws.com/role-arn); elsewhere set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// What the error of a call means.
pub(super) fn failure<E>(error: &SdkError<E, HttpResponse>, asked: &Request) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let SdkError::ServiceError(context) = error {
        let refusal = refusal(context.err(), error.request_id(), context.raw());
        return classify(refusal, asked);
    }
    if let Some(failure) = of_credentials(error) {
        return failure;
    }
    let causes = connection_cause(error);
    let service = asked.service.to_uppercase();
    match error {
        SdkError::ConstructionFailure(_) => Failure {
            kind: FailureKind::Refused,
            message: format!("{} can't be called: {causes}", asked.operation),
        },
        SdkError::TimeoutError(_) => unavailable(format!("no answer from {service}: {causes}")),
        SdkError::DispatchFailure(_) => {
            unavailable(format!("{service} can't be reached: {causes}"))
        }
        _ => unavailable(format!("the answer of {service} can't be read: {causes}")),
    }
}

fn unavailable(message: String) -> Failure {
    Failure {
        kind: FailureKind::Unavailable,
        message,
    }
}

/// An answer that is not what the API promises.
pub(super) fn unexpected(asked: &Request, what: &str) -> Failure {
    Failure {
        kind: FailureKind::Unreadable,
        message: format!(
            "{}'s answer to {} {what}",
            asked.service.to_uppercase(),
            asked.operation
        ),
    }
}

/// A refusal of one part of a call whose other parts were done.
pub(super) fn refused(code: &str, message: Option<&str>, asked: &Request) -> Failure {
    let refusal = ErrorAnswer {
        code: Some(code),
        message,
        request_id: None,
        status: 200,
    };
    classify(refusal, asked)
}

fn refusal<'a>(
    error: &'a (impl ProvideErrorMetadata + ?Sized),
    request_id: Option<&'a str>,
    raw: &HttpResponse,
) -> ErrorAnswer<'a> {
    ErrorAnswer {
        code: error.code(),
        message: error.message(),
        request_id,
        status: raw.status().as_u16(),
    }
}

/// The failure to get credentials for the call; `None` where it was something else.
fn of_credentials(error: &(dyn Error + 'static)) -> Option<Failure> {
    let credentials = chain(error).find_map(|error| error.downcast_ref::<CredentialsError>())?;
    for cause in chain(error) {
        if let Some(SdkError::ServiceError(context)) =
            cause.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>()
        {
            let asked = Request {
                service: "sts",
                operation: "AssumeRole",
                resource: None,
            };
            return Some(classify(
                refusal(
                    context.err(),
                    context.err().meta().request_id(),
                    context.raw(),
                ),
                &asked,
            ));
        }
        if let Some(SdkError::ServiceError(context)) =
            cause.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>()
        {
            let refusal = refusal(
                context.err(),
                context.err().meta().request_id(),
                context.raw(),
            );
            return Some(Failure {
                kind: FailureKind::Unauthenticated,
                message: format!(
                    "STS does not accept the service account's token for the role of AWS_ROLE_ARN: {}; its trust policy must name \
                     the cluster's OIDC provider and this service account",
                    words(refusal)
                ),
            });
        }
    }
    let message = format!("no credentials for AWS: {}", connection_cause(credentials));
    Some(match credentials {
        CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
            Failure {
                kind: FailureKind::Unauthenticated,
                message: format!("{message}; {CREDENTIALS}"),
            }
        }
        // STS or the Pod CallerIdentity agent did not answer: it may the next time.
        _ => unavailable(message),
    })
}

fn classify(refusal: ErrorAnswer<'_>, asked: &Request) -> Failure {
    let code = refusal.code.unwrap_or_default();
    // Some services write `com.amazonaws.sqs#QueueDoesNotExist`.
    let code = code.rsplit('#').next().unwrap_or(code);
    let text = refusal.message.unwrap_or_default();
    let kind = match code {
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
            return denied(refusal, asked);
        }
        "ThrottlingException"
        | "ThrottledException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown" => FailureKind::Throttled,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => FailureKind::Unauthenticated,
        "ResourceNotFoundException" | "NotFoundException" => missing(text, asked),
        "ResourceInUseException" => FailureKind::InUse,
        "ResourceLimitExceededException" => FailureKind::QuotaExceeded,
        "InvalidParameterException" | "InvalidRequestException" => invalid(text),
        "BadRequestException"
        | "ClientException"
        | "InvalidInput"
        | "InvalidParameterValue"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue"
        | "RegionDisabledException"
        | "ValidationError"
        | "ValidationException" => FailureKind::Refused,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServerException"
        | "ServiceFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => FailureKind::Unavailable,
        _ if refusal.status == 429 => FailureKind::Throttled,
        _ if refusal.status >= 500 => FailureKind::Unavailable,
        _ => {
            return Failure {
                kind: FailureKind::Unknown,
                message: unknown(refusal, asked),
            };
        }
    };
    // A refusal reads as AWS wrote it; what may need AWS's support names the request.
    let message = match kind {
        FailureKind::Unavailable => format!("{}{}", words(refusal), request(refusal)),
        _ => words(refusal),
    };
    Failure { kind, message }
}

/// The texts are EKS's own: <https://github.com/terraform-aws-modules/terraform-aws-eks/issues/2969> and
/// <https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/eks/access_entry.go>.
fn invalid(text: &str) -> FailureKind {
    if text.contains("invalid principal") {
        FailureKind::InvalidPrincipal
    } else if text.contains("authentication mode must be set to one of") {
        FailureKind::ModeWithoutEntries
    } else if text.contains("policyArn could not be found") {
        FailureKind::PolicyMissing
    } else {
        FailureKind::Refused
    }
}

/// What is missing: by EKS's words, and where they are unknown by what the operation is about.
fn missing(text: &str, asked: &Request) -> FailureKind {
    if text.contains("No cluster found") {
        FailureKind::ClusterMissing
    } else if text.contains("policyArn could not be found") {
        FailureKind::PolicyMissing
    } else if text.contains("principalArn could not be found") {
        FailureKind::EntryMissing
    } else {
        match asked.operation {
            "DescribeCluster"
            | "ListAccessEntries"
            | "ListCapabilities"
            | "ListFargateProfiles"
            | "ListNodegroups"
            | "CreateAccessEntry" => FailureKind::ClusterMissing,
            "DisassociateAccessPolicy" => FailureKind::PolicyMissing,
            _ => FailureKind::EntryMissing,
        }
    }
}

fn denied(refusal: ErrorAnswer<'_>, asked: &Request) -> Failure {
    let text = refusal.message.unwrap_or_default();
    let asked_for = format!("{}:{}", asked.service, asked.operation);
    // SQS writes its own in lower case.
    let action = after(text, "is not authorized to perform: ")
        .filter(|action| !action.eq_ignore_ascii_case(&asked_for))
        .unwrap_or(&asked_for);
    let named = after(text, " on resource: ").filter(|resource| resource.starts_with("arn:"));
    // AWS may check another action beside the one that was called, such as iam:PassRole; its message then names the resource.
    let ours = asked.resource.as_deref().filter(|_| action == asked_for);
    let mut message = words(refusal);
    if text.contains("explicit deny") {
        message.push_str(
            " (explicit deny: change the policy that denies it, a further Allow has no effect)",
        );
    }
    Failure {
        kind: FailureKind::Denied {
            action: action.to_owned(),
            statement: statement(action, ours.or(named).unwrap_or("*")),
        },
        message,
    }
}

/// The word after a phrase.
fn after<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let word = text.split_once(phrase)?.1.split_whitespace().next()?;
    Some(word.trim_end_matches(['.', ',']))
}

/// A statement of an IAM policy that allows the action.
pub(super) fn statement(action: &str, resource: &str) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Statement<'a> {
        effect: &'a str,
        action: &'a str,
        resource: &'a str,
    }
    let statement = Statement {
        effect: "Allow",
        action,
        resource,
    };
    serde_json::to_string_pretty(&statement).expect("three strings are JSON")
}

/// AWS's words.
fn words(refusal: ErrorAnswer<'_>) -> String {
    match (refusal.message, refusal.code) {
        (Some(message), _) if !message.is_empty() => message.to_owned(),
        (_, Some(code)) => format!("{code} (HTTP {})", refusal.status),
        (_, None) => format!("HTTP {}", refusal.status),
    }
}

fn unknown(refusal: ErrorAnswer<'_>, asked: &Request) -> String {
    let service = asked.service.to_uppercase();
    let request = request(refusal);
    match (refusal.code, refusal.message) {
        (Some(code), Some(message)) => {
            format!(
                "{service} returned {code} for {}: {message}{request}",
                asked.operation
            )
        }
        (Some(code), None) => {
            format!("{service} returned {code} for {}{request}", asked.operation)
        }
        (None, _) => format!(
            "{} returned HTTP {} without an error code of {service}; there may be a proxy in between{request}",
            asked.operation, refusal.status
        ),
    }
}

fn request(refusal: ErrorAnswer<'_>) -> String {
    let id = refusal.request_id.map(|id| format!(" (request {id})"));
    id.unwrap_or_default()
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests;
