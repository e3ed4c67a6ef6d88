//! AWS's answers, and what becomes of them.

use super::*;

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
const CALLER: &str = "User: arn:aws:sts::111122223333:assumed-role/identity-mapper/s";
const ENTRIES: &str = "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/*";

fn asked(operation: &'static str) -> Request {
    let resource = match operation {
        "CreateAccessEntry" | "ListAccessEntries" => Some(CLUSTER),
        "DescribeCluster" => None,
        "ListAccessPolicies" => Some("*"),
        _ => Some(ENTRIES),
    };
    Request {
        service: "eks",
        operation,
        resource: resource.map(str::to_owned),
    }
}

fn answer<'a>(code: &'a str, status: u16, message: &'a str) -> ErrorAnswer<'a> {
    ErrorAnswer {
        code: Some(code),
        message: Some(message),
        request_id: Some("3c5e"),
        status,
    }
}

/// What EKS says when it takes a call and the cluster, the entry or the principal is not as the call would have it: the code, its
/// status, and each text that is known, with the operation that it was seen at. The words reach the user as they are.
#[test]
fn refusals_of_eks_by_kind() {
    use FailureKind::*;
    let invalid = ("InvalidParameterException", 400);
    let request = ("InvalidRequestException", 400);
    let missing = ("ResourceNotFoundException", 404);
    let in_use = ("ResourceInUseException", 409);
    let (create, describe, delete) = (
        "CreateAccessEntry",
        "DescribeAccessEntry",
        "DeleteAccessEntry",
    );
    let (associate, disassociate) = ("AssociateAccessPolicy", "DisassociateAccessPolicy");
    let no_entry = "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.";
    let no_policy = "The specified policyArn could not be found. You can view your available access policies with 'list-access-policies'";
    let no_mode = "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.";
    let busy =
        "Cannot AccessConfigUpdate because cluster prod currently has update 50ca5dee in progress";
    let standing = "The specified access entry resource is already in use on this cluster.";
    let strange = "in words that are not known";
    let cases = [
        (
            create,
            invalid,
            "The specified principalArn is invalid: invalid principal.",
            InvalidPrincipal,
        ),
        (associate, invalid, no_policy, PolicyMissing),
        (associate, missing, no_policy, PolicyMissing),
        (associate, missing, no_entry, EntryMissing),
        (disassociate, missing, no_entry, EntryMissing),
        (disassociate, missing, strange, PolicyMissing),
        (describe, missing, strange, EntryMissing),
        ("DescribeCluster", missing, strange, ClusterMissing),
        (
            create,
            missing,
            "No cluster found for name: prod.",
            ClusterMissing,
        ),
        (
            delete,
            missing,
            "No cluster found for name: prod.",
            ClusterMissing,
        ),
        (create, request, no_mode, ModeWithoutEntries),
        (create, request, strange, Refused),
        (create, in_use, standing, InUse),
        ("UpdateClusterConfig", in_use, busy, InUse),
        (
            create,
            ("ResourceLimitExceededException", 400),
            strange,
            QuotaExceeded,
        ),
        (
            "TagResource",
            ("NotFoundException", 404),
            strange,
            EntryMissing,
        ),
        (
            "TagResource",
            ("BadRequestException", 400),
            strange,
            Refused,
        ),
        (create, ("ClientException", 400), strange, Refused),
    ];
    for (operation, (code, status), message, kind) in cases {
        let failure = classify(answer(code, status, message), &asked(operation));
        let message = message.to_owned();
        assert_eq!(failure, Failure { kind, message }, "{operation}: {code}");
    }
}

/// Codes that any service answers with.
#[test]
fn refusals_of_any_service_by_kind() {
    use FailureKind::*;
    let cases = [
        (("ThrottlingException", 429), "Rate exceeded", Throttled),
        (("ThrottlingException", 400), "Rate exceeded", Throttled),
        (
            ("TooManyRequestsException", 429),
            "Too Many Requests",
            Throttled,
        ),
        (("SomethingNew", 429), "slow down", Throttled),
        (
            ("UnrecognizedClientException", 403),
            "The security token included in the request is invalid.",
            Unauthenticated,
        ),
        (
            ("ExpiredTokenException", 403),
            "The security token included in the request is expired",
            Unauthenticated,
        ),
        (
            ("InvalidSignatureException", 403),
            "Signature expired",
            Unauthenticated,
        ),
    ];
    for ((code, status), message, kind) in cases {
        let failure = classify(answer(code, status, message), &asked("CreateAccessEntry"));
        let message = message.to_owned();
        assert_eq!(failure, Failure { kind, message }, "{code}");
    }
}

/// What EKS refuses for what it says: it would again.
#[test]
fn what_eks_refuses_for_good() {
    for (operation, message) in [
        (
            "CreateAccessEntry",
            "The principalArn parameter format is not valid",
        ),
        (
            "DescribeAccessEntry",
            "The principalArn parameter format is not valid",
        ),
        (
            "CreateAccessEntry",
            "AccessEntry principalArn must be from the same account as the cluster when using types [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, HYBRID_LINUX, EC2]",
        ),
        (
            "CreateAccessEntry",
            "AccessEntry principalArn must be IAM role when using types [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, HYBRID_LINUX, EC2]",
        ),
        (
            "CreateAccessEntry",
            "AccessEntry type must be one of [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, STANDARD]",
        ),
        (
            "CreateAccessEntry",
            "The username must not begin with system:",
        ),
        (
            "UpdateAccessEntry",
            "The kubernetes group name system:cdkpf is invalid, it cannot start with system:",
        ),
        (
            "CreateAccessEntry",
            "The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when the type is \"EC2_LINUX\"",
        ),
        (
            "CreateAccessEntry",
            "The specified username is invalid: setting username is not allowed when the type is \"EC2_LINUX\"",
        ),
        (
            "CreateAccessEntry",
            "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role",
        ),
        (
            "UpdateClusterConfig",
            "Unsupported authentication mode update from CONFIG_MAP to API",
        ),
        (
            "AssociateAccessPolicy",
            "The specified policyArn can only be associated with service-linked roles",
        ),
        (
            "AssociateAccessPolicy",
            "At least 1 namespace must be provided if the type is set as namespace",
        ),
        (
            "AssociateAccessPolicy",
            "accessScope should not include namespaces if the type is not set as namespace",
        ),
        (
            "AssociateAccessPolicy",
            "The policyArn parameter format is not valid",
        ),
        (
            "AssociateAccessPolicy",
            "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
        ),
    ] {
        let failure = classify(
            answer("InvalidParameterException", 400, message),
            &asked(operation),
        );
        assert_eq!(failure.kind, FailureKind::Refused, "{message}");
        assert_eq!(failure.message, message);
    }
}

#[test]
fn what_needs_support_names_the_request() {
    use FailureKind::*;
    let create = asked("CreateAccessEntry");
    let bare = |code, status| ErrorAnswer {
        code,
        status,
        ..ErrorAnswer::default()
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
            "EKS returned SomethingNew for CreateAccessEntry: oh (request 3c5e)",
        ),
        (
            bare(Some("SomethingNew"), 418),
            Unknown,
            "EKS returned SomethingNew for CreateAccessEntry",
        ),
        (
            bare(None, 403),
            Unknown,
            "CreateAccessEntry returned HTTP 403 without an error code of EKS; there may be a proxy in between",
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
fn denial(asked: &Request, code: &str, message: &str) -> (String, String, String) {
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

/// AWS's words (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
fn not_authorized(action: &str, resource: &str) -> String {
    format!(
        "{CALLER} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
    )
}

#[test]
fn a_denied_action_comes_with_its_statement() {
    let iam = |operation| Request {
        service: "iam",
        operation,
        resource: Some("*".to_owned()),
    };
    let queue = "arn:aws:sqs:eu-west-1:111122223333:q";
    let sqs = |operation| Request {
        service: "sqs",
        operation,
        resource: Some(queue.to_owned()),
    };
    let node = "arn:aws:iam::111122223333:role/node";
    let reader = "arn:aws:iam::444455556666:role/reader";
    let entry =
        "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/role/111122223333/Dev/50ca5dee";
    let assume = Request {
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
}

#[test]
fn denials_with_unusual_messages() {
    let queue = "arn:aws:sqs:eu-west-1:111122223333:q";
    let receive = Request {
        service: "sqs",
        operation: "ReceiveMessage",
        resource: Some(queue.to_owned()),
    };
    let lower = not_authorized("sqs:receivemessage", queue);
    let (action, _, _) = denial(&receive, "AccessDenied", &lower);
    assert_eq!(action, "sqs:ReceiveMessage");
    let (action, resource, _) = denial(&asked("DeleteAccessEntry"), "AccessDeniedException", "no");
    assert_eq!(
        (action.as_str(), resource.as_str()),
        ("eks:DeleteAccessEntry", ENTRIES)
    );
    let describe = asked("DescribeCluster");
    assert_eq!(denial(&describe, "AccessDeniedException", "").1, "*");
    let short = format!(
        "{CALLER} is not authorized to perform: eks:DescribeCluster on resource: {CLUSTER}."
    );
    assert_eq!(denial(&describe, "AccessDenied", &short).1, CLUSTER);
    let explicit = format!(
        "{CALLER} is not authorized to perform: eks:CreateAccessEntry on resource: {CLUSTER} with an explicit deny in a service control policy"
    );
    let (_, _, message) = denial(
        &asked("CreateAccessEntry"),
        "AccessDeniedException",
        &explicit,
    );
    assert!(message.starts_with(&explicit), "{message}");
    assert!(
        message.contains("change the policy that denies it"),
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
    let asked = Request {
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
