//! What went wrong with a call, in our own words: [`Failure`].
//!
//! Many codes that matter are not in the service models (`AccessDeniedException`, `ThrottlingException` for the operations on
//! access entries), so they are told apart by their text, never by the SDK's types. The SDK's own rendering of an error is
//! "service error", which helps nobody: a message here is AWS's, or names what the connection met, cause by cause.

use std::error::Error;
use std::fmt::Write as _;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_eks::config::http::HttpResponse;
use aws_sdk_eks::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_eks::operation::RequestId as _;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use serde::Serialize;

use crate::access_entry::{Failure, FailureKind};

/// What was asked for: enough to say what right it takes.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// As actions of its service begin: `eks`, `iam`, `sts`, `sqs`.
    pub(super) service: &'static str,
    /// The operation.
    pub(super) operation: &'static str,
    /// The resource that a policy statement must name; `None`: the one that AWS's message names.
    pub(super) resource: Option<String>,
}

/// An answer that is an error, as far as it can be decided by.
#[derive(Clone, Copy, Debug, Default)]
struct Refusal<'a> {
    code: Option<&'a str>,
    message: Option<&'a str>,
    request_id: Option<&'a str>,
    status: u16,
}

/// How to give credentials (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>).
const CREDENTIALS: &str = "in a cluster, associate an IAM role with the service account (EKS Pod Identity, or the annotation \
    eks.amazonaws.com/role-arn); elsewhere set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// What the error of a call means.
pub(super) fn failure<E>(error: &SdkError<E, HttpResponse>, asked: &Asked) -> Failure
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
    let causes = causes(error);
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
pub(super) fn unexpected(asked: &Asked, what: &str) -> Failure {
    Failure {
        kind: FailureKind::Unknown,
        message: format!(
            "{}'s answer to {} {what}",
            asked.service.to_uppercase(),
            asked.operation
        ),
    }
}

/// A refusal of one part of a call whose other parts were done.
pub(super) fn refused(code: &str, message: Option<&str>, asked: &Asked) -> Failure {
    let refusal = Refusal {
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
) -> Refusal<'a> {
    Refusal {
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
            let asked = Asked {
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
    let message = format!("no credentials for AWS: {}", causes(credentials));
    Some(match credentials {
        CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
            Failure {
                kind: FailureKind::Unauthenticated,
                message: format!("{message}; {CREDENTIALS}"),
            }
        }
        // STS or the Pod Identity agent did not answer: it may the next time.
        _ => unavailable(message),
    })
}

fn classify(refusal: Refusal<'_>, asked: &Asked) -> Failure {
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
fn missing(text: &str, asked: &Asked) -> FailureKind {
    if text.contains("No cluster found") {
        FailureKind::ClusterMissing
    } else if text.contains("policyArn could not be found") {
        FailureKind::PolicyMissing
    } else if text.contains("principalArn could not be found") {
        FailureKind::EntryMissing
    } else {
        match asked.operation {
            "DescribeCluster" | "ListAccessEntries" | "CreateAccessEntry" => {
                FailureKind::ClusterMissing
            }
            "DisassociateAccessPolicy" => FailureKind::PolicyMissing,
            _ => FailureKind::EntryMissing,
        }
    }
}

fn denied(refusal: Refusal<'_>, asked: &Asked) -> Failure {
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
        message.push_str(" (what is denied explicitly can't be allowed by a further statement: change the policy that denies it)");
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
fn words(refusal: Refusal<'_>) -> String {
    match (refusal.message, refusal.code) {
        (Some(message), _) if !message.is_empty() => message.to_owned(),
        (_, Some(code)) => format!("{code} (HTTP {})", refusal.status),
        (_, None) => format!("HTTP {}", refusal.status),
    }
}

fn unknown(refusal: Refusal<'_>, asked: &Asked) -> String {
    let service = asked.service.to_uppercase();
    let request = request(refusal);
    match (refusal.code, refusal.message) {
        (Some(code), Some(message)) => {
            format!(
                "{service} answered {} with {code}: {message}{request}",
                asked.operation
            )
        }
        (Some(code), None) => {
            format!(
                "{service} answered {} with {code}{request}",
                asked.operation
            )
        }
        (None, _) => format!(
            "{} was answered with HTTP {} and no error code of {service}: a proxy may stand between{request}",
            asked.operation, refusal.status
        ),
    }
}

fn request(refusal: Refusal<'_>) -> String {
    let id = refusal.request_id.map(|id| format!(" (request {id})"));
    id.unwrap_or_default()
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error with all its causes, each once: alone, the outermost says nothing.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error) {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
    const ENTRIES: &str = "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/*";

    fn asked(operation: &'static str) -> Asked {
        let resource = match operation {
            "CreateAccessEntry" | "ListAccessEntries" => Some(CLUSTER),
            "DescribeCluster" => None,
            "ListAccessPolicies" => Some("*"),
            _ => Some(ENTRIES),
        };
        Asked {
            service: "eks",
            operation,
            resource: resource.map(str::to_owned),
        }
    }

    fn answer<'a>(code: &'a str, status: u16, message: &'a str) -> Refusal<'a> {
        Refusal {
            code: Some(code),
            message: Some(message),
            request_id: Some("3c5e"),
            status,
        }
    }

    /// Every error text of EKS that is known, with what it means here. The words reach the user as they are.
    #[test]
    fn what_eks_says() {
        use FailureKind::*;
        let create = "CreateAccessEntry";
        let texts = [
            (
                create,
                "InvalidParameterException",
                400,
                "The specified principalArn is invalid: invalid principal.",
                InvalidPrincipal,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "The principalArn parameter format is not valid",
                Refused,
            ),
            (
                "DescribeAccessEntry",
                "InvalidParameterException",
                400,
                "The principalArn parameter format is not valid",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "AccessEntry principalArn must be from the same account as the cluster when using types [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, HYBRID_LINUX, EC2]",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "AccessEntry principalArn must be IAM role when using types [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, HYBRID_LINUX, EC2]",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "AccessEntry type must be one of [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, STANDARD]",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "The username must not begin with system:",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "The kubernetes group name system:cdkpf is invalid, it cannot start with system:",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when the type is \"EC2_LINUX\"",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "The specified username is invalid: setting username is not allowed when the type is \"EC2_LINUX\"",
                Refused,
            ),
            (
                create,
                "InvalidParameterException",
                400,
                "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role",
                Refused,
            ),
            (
                "UpdateClusterConfig",
                "InvalidParameterException",
                400,
                "Unsupported authentication mode update from CONFIG_MAP to API",
                Refused,
            ),
            (
                "AssociateAccessPolicy",
                "InvalidParameterException",
                400,
                "The specified policyArn can only be associated with service-linked roles",
                Refused,
            ),
            (
                "AssociateAccessPolicy",
                "InvalidParameterException",
                400,
                "At least 1 namespace must be provided if the type is set as namespace",
                Refused,
            ),
            (
                "AssociateAccessPolicy",
                "InvalidParameterException",
                400,
                "accessScope should not include namespaces if the type is not set as namespace",
                Refused,
            ),
            (
                "AssociateAccessPolicy",
                "InvalidParameterException",
                400,
                "The policyArn parameter format is not valid",
                Refused,
            ),
            (
                "AssociateAccessPolicy",
                "InvalidParameterException",
                400,
                "This operation can only be performed on Access Entries with a type of \"STANDARD\"",
                Refused,
            ),
            (
                "AssociateAccessPolicy",
                "ResourceNotFoundException",
                404,
                "The specified policyArn could not be found. You can view your available access policies with 'list-access-policies'",
                PolicyMissing,
            ),
            (
                "AssociateAccessPolicy",
                "InvalidParameterException",
                400,
                "The specified policyArn could not be found. You can view your available access policies with 'list-access-policies'",
                PolicyMissing,
            ),
            (
                "AssociateAccessPolicy",
                "ResourceNotFoundException",
                404,
                "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.",
                EntryMissing,
            ),
            (
                "DisassociateAccessPolicy",
                "ResourceNotFoundException",
                404,
                "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.",
                EntryMissing,
            ),
            (
                "DisassociateAccessPolicy",
                "ResourceNotFoundException",
                404,
                "in words that are not known",
                PolicyMissing,
            ),
            (
                "DescribeAccessEntry",
                "ResourceNotFoundException",
                404,
                "in words that are not known",
                EntryMissing,
            ),
            (
                "DescribeCluster",
                "ResourceNotFoundException",
                404,
                "in words that are not known",
                ClusterMissing,
            ),
            (
                create,
                "ResourceNotFoundException",
                404,
                "No cluster found for name: prod.",
                ClusterMissing,
            ),
            (
                "DeleteAccessEntry",
                "ResourceNotFoundException",
                404,
                "No cluster found for name: prod.",
                ClusterMissing,
            ),
            (
                create,
                "InvalidRequestException",
                400,
                "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.",
                ModeWithoutEntries,
            ),
            (
                create,
                "InvalidRequestException",
                400,
                "in words that are not known",
                Refused,
            ),
            (
                create,
                "ResourceInUseException",
                409,
                "The specified access entry resource is already in use on this cluster.",
                InUse,
            ),
            (
                "UpdateClusterConfig",
                "ResourceInUseException",
                409,
                "Cannot AccessConfigUpdate because cluster prod currently has update 50ca5dee in progress",
                InUse,
            ),
            (
                create,
                "ResourceLimitExceededException",
                400,
                "too many",
                QuotaExceeded,
            ),
            (
                create,
                "ThrottlingException",
                429,
                "Rate exceeded",
                Throttled,
            ),
            (
                create,
                "ThrottlingException",
                400,
                "Rate exceeded",
                Throttled,
            ),
            (
                create,
                "TooManyRequestsException",
                429,
                "Too Many Requests",
                Throttled,
            ),
            (create, "SomethingNew", 429, "slow down", Throttled),
            (
                create,
                "UnrecognizedClientException",
                403,
                "The security token included in the request is invalid.",
                Unauthenticated,
            ),
            (
                create,
                "ExpiredTokenException",
                403,
                "The security token included in the request is expired",
                Unauthenticated,
            ),
            (
                create,
                "InvalidSignatureException",
                403,
                "Signature expired",
                Unauthenticated,
            ),
            (
                "TagResource",
                "NotFoundException",
                404,
                "no such entry",
                EntryMissing,
            ),
            (
                "TagResource",
                "BadRequestException",
                400,
                "too many tags",
                Refused,
            ),
            (create, "ClientException", 400, "no", Refused),
        ];
        for (operation, code, status, message, kind) in texts {
            let failure = classify(answer(code, status, message), &asked(operation));
            let expected = Failure {
                kind,
                message: message.to_owned(),
            };
            assert_eq!(failure, expected, "{operation}: {code}");
        }
    }

    #[test]
    fn what_needs_support_names_the_request() {
        use FailureKind::*;
        let create = asked("CreateAccessEntry");
        let bare = |code, status| Refusal {
            code,
            status,
            ..Refusal::default()
        };
        let cases = [
            (
                answer("ServerException", 500, "internal"),
                Unavailable,
                "internal (request 3c5e)",
            ),
            (
                answer("ServiceUnavailableException", 503, "busy"),
                Unavailable,
                "busy (request 3c5e)",
            ),
            (
                answer("SomethingNew", 500, "oh"),
                Unavailable,
                "oh (request 3c5e)",
            ),
            (bare(None, 502), Unavailable, "HTTP 502"),
            (
                bare(Some("ServerException"), 500),
                Unavailable,
                "ServerException (HTTP 500)",
            ),
            (
                answer("SomethingNew", 400, "oh"),
                Unknown,
                "EKS answered CreateAccessEntry with SomethingNew: oh (request 3c5e)",
            ),
            (
                bare(Some("SomethingNew"), 418),
                Unknown,
                "EKS answered CreateAccessEntry with SomethingNew",
            ),
            (
                bare(None, 403),
                Unknown,
                "CreateAccessEntry was answered with HTTP 403 and no error code of EKS: a proxy may stand between",
            ),
        ];
        for (refusal, kind, message) in cases {
            let failure = classify(refusal, &create);
            assert_eq!(
                failure,
                Failure {
                    kind,
                    message: message.to_owned()
                }
            );
        }
    }

    /// Action and resource of the statement.
    fn denial(asked: &Asked, code: &str, message: &str) -> (String, String, String) {
        let failure = classify(answer(code, 403, message), asked);
        let FailureKind::Denied { action, statement } = failure.kind else {
            panic!("{message}: {:?}", failure.kind);
        };
        let statement: serde_json::Value = serde_json::from_str(&statement).expect("JSON");
        assert_eq!(statement["Effect"], "Allow");
        assert_eq!(statement["Action"], action.as_str());
        let resource = statement["Resource"].as_str().expect("a text").to_owned();
        (action, resource, failure.message)
    }

    #[test]
    fn a_denied_action_comes_with_its_statement() {
        let caller = "arn:aws:sts::111122223333:assumed-role/identity-mapper/s";
        let not_authorized = |action: &str, resource: &str| {
            format!(
                "User: {caller} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
            )
        };
        let iam = |operation| Asked {
            service: "iam",
            operation,
            resource: Some("*".to_owned()),
        };
        let queue = "arn:aws:sqs:eu-west-1:111122223333:q";
        let sqs = |operation| Asked {
            service: "sqs",
            operation,
            resource: Some(queue.to_owned()),
        };
        let node = "arn:aws:iam::111122223333:role/node";
        let reader = "arn:aws:iam::444455556666:role/reader";
        let entry =
            "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/role/111122223333/Dev/50ca5dee";
        let assume = Asked {
            service: "sts",
            operation: "AssumeRole",
            resource: None,
        };
        let cases = [
            (
                asked("CreateAccessEntry"),
                "AccessDeniedException",
                "eks:CreateAccessEntry",
                CLUSTER,
                CLUSTER,
            ),
            (
                asked("UpdateAccessEntry"),
                "AccessDeniedException",
                "eks:UpdateAccessEntry",
                entry,
                ENTRIES,
            ),
            (
                asked("TagResource"),
                "AccessDeniedException",
                "eks:TagResource",
                entry,
                ENTRIES,
            ),
            (
                asked("ListAccessPolicies"),
                "AccessDeniedException",
                "eks:ListAccessPolicies",
                "*",
                "*",
            ),
            (
                asked("DescribeCluster"),
                "AccessDeniedException",
                "eks:DescribeCluster",
                CLUSTER,
                CLUSTER,
            ),
            // What AWS checks beside the call.
            (
                asked("CreateAccessEntry"),
                "AccessDeniedException",
                "iam:PassRole",
                node,
                node,
            ),
            (
                asked("CreateAccessEntry"),
                "AccessDeniedException",
                "eks:TagResource",
                CLUSTER,
                CLUSTER,
            ),
            (assume, "AccessDenied", "sts:AssumeRole", reader, reader),
            (
                iam("ListRoles"),
                "AccessDenied",
                "iam:ListRoles",
                "arn:aws:iam::111122223333:role/",
                "*",
            ),
            (
                sqs("ReceiveMessage"),
                "AccessDenied",
                "sqs:ReceiveMessage",
                queue,
                queue,
            ),
        ];
        for (asked, code, action, named, resource) in cases {
            let message = not_authorized(action, named);
            let found = denial(&asked, code, &message);
            assert_eq!(found, (action.to_owned(), resource.to_owned(), message));
        }
        let lower = not_authorized("sqs:receivemessage", queue);
        let (action, _, _) = denial(&sqs("ReceiveMessage"), "AccessDenied", &lower);
        assert_eq!(action, "sqs:ReceiveMessage");
        // Words of which nothing is known.
        let (action, resource, _) =
            denial(&asked("DeleteAccessEntry"), "AccessDeniedException", "no");
        assert_eq!(
            (action.as_str(), resource.as_str()),
            ("eks:DeleteAccessEntry", ENTRIES)
        );
        let (_, resource, _) = denial(&asked("DescribeCluster"), "AccessDeniedException", "");
        assert_eq!(resource, "*");
        let short = format!(
            "User: {caller} is not authorized to perform: eks:DescribeCluster on resource: {CLUSTER}."
        );
        assert_eq!(
            denial(&asked("DescribeCluster"), "AccessDenied", &short).1,
            CLUSTER
        );
        let explicit = format!(
            "User: {caller} is not authorized to perform: eks:CreateAccessEntry on resource: {CLUSTER} with an explicit deny in a service control policy"
        );
        let (_, _, message) = denial(
            &asked("CreateAccessEntry"),
            "AccessDeniedException",
            &explicit,
        );
        assert!(
            message.starts_with(&explicit) && message.contains("change the policy that denies it"),
            "{message}"
        );
    }

    #[test]
    fn a_statement_reads_as_people_write_it() {
        assert_eq!(
            statement("eks:CreateAccessEntry", CLUSTER),
            "{\n  \"Effect\": \"Allow\",\n  \"Action\": \"eks:CreateAccessEntry\",\n  \"Resource\": \"arn:aws:eks:eu-west-1:111122223333:cluster/prod\"\n}"
        );
    }

    #[test]
    fn other_services_prefix_their_codes() {
        let asked = Asked {
            service: "sqs",
            operation: "ReceiveMessage",
            resource: None,
        };
        let message = "The specified queue does not exist.";
        for code in [
            "com.amazonaws.sqs#QueueDoesNotExist",
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
        ] {
            let failure = classify(answer(code, 400, message), &asked);
            assert_eq!(failure.kind, FailureKind::Refused, "{code}");
            assert_eq!(failure.message, message);
        }
    }
}
