//! Refusals of `CreateAccessEntry`.

use super::super::OTHER;
use super::super::OWN;
use super::{
    FOREIGN, IN_USE, INVALID_PRINCIPAL, LINKED, NEW, NODE_TYPES, NOT_FOUND, PARAMETER, ROLE, Row,
    SERVICE_LINKED, SSO, USER, create, entries, row,
};
use serde_json::json;

#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn creations() -> Vec<Row> {
    let mut rows = vec![
        create(
            "a session",
            json!({"principalArn": "arn:aws:sts::111122223333:assumed-role/Dev/ann"}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "an IAM group",
            json!({"principalArn": "arn:aws:iam::111122223333:group/devs"}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "an account",
            json!({"principalArn": OWN}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "a federated user",
            json!({"principalArn": "arn:aws:sts::111122223333:federated-user/ann"}),
            "The principalArn parameter format is not valid",
        ),
        create(
            "a role that is not there",
            json!({"principalArn": "arn:aws:iam::111122223333:role/Nobody"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a role without its path",
            json!({"principalArn": "arn:aws:iam::111122223333:role/Dev"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "an SSO role without its path",
            json!({"principalArn": SSO.replace("aws-reserved/sso.amazonaws.com/eu-west-1/", "")}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a role in another case",
            json!({"principalArn": NEW.replace("New", "new")}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a root of another partition",
            json!({"principalArn": "arn:aws-cn:iam::111122223333:root"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a service-linked role",
            json!({"principalArn": LINKED}),
            SERVICE_LINKED,
        ),
        create(
            "a service-linked role of another account",
            json!({"principalArn": LINKED.replace(OWN, OTHER), "type": "EC2_LINUX"}),
            SERVICE_LINKED,
        ),
        create(
            "a service-linked role without its path",
            json!({"principalArn": "arn:aws:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers"}),
            INVALID_PRINCIPAL,
        ),
        create(
            "a type in another case",
            json!({"principalArn": NEW, "type": "Standard"}),
            "AccessEntry type must be one of [EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, STANDARD, HYBRID_LINUX, EC2, HYPERPOD_LINUX]",
        ),
        create(
            "no colon before the session's name",
            json!({"principalArn": NEW, "username": "john{{SessionName}}"}),
            "The specified username is invalid: a colon must stand before {{SessionName}} or {{SessionNameRaw}}",
        ),
        create(
            "no colon before the raw session's name",
            json!({"principalArn": NEW, "username": "{{SessionNameRaw}}:x"}),
            "The specified username is invalid: a colon must stand before {{SessionName}} or {{SessionNameRaw}}",
        ),
        create(
            "EC2_LINUX with groups",
            json!({"principalArn": NEW, "type": "EC2_LINUX", "kubernetesGroups": ["g"]}),
            "The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when the type is \"EC2_LINUX\"",
        ),
        create(
            "EC2_LINUX with a username",
            json!({"principalArn": NEW, "type": "EC2_LINUX", "username": "u"}),
            "The specified username is invalid: setting username is not allowed when the type is \"EC2_LINUX\"",
        ),
        create(
            "a node type's own username",
            json!({"principalArn": NEW, "type": "EC2_LINUX", "username": "system:node:{{EC2PrivateDNSName}}"}),
            "The username must not begin with system:",
        ),
        create(
            "a tag key that AWS keeps to itself",
            json!({"principalArn": NEW, "tags": {"aws:x": "y"}}),
            "The tag key aws:x begins with aws:, which is reserved",
        ),
        row(
            "a duplicate",
            entries(),
            json!({"principalArn": ROLE}),
            IN_USE,
            "The specified access entry resource is already in use on this cluster.",
        ),
        row(
            "another cluster",
            ("POST", "/clusters/other/access-entries".to_owned()),
            json!({"principalArn": NEW}),
            NOT_FOUND,
            "No cluster found for name: other.",
        ),
        row(
            "names come before the cluster",
            ("POST", "/clusters/other/access-entries".to_owned()),
            json!({"principalArn": NEW, "kubernetesGroups": ["system:masters"]}),
            PARAMETER,
            "The kubernetes group name system:masters is invalid, it cannot start with system:",
        ),
        row(
            "the cluster comes before the principal's existence",
            ("POST", "/clusters/other/access-entries".to_owned()),
            json!({"principalArn": "arn:aws:iam::111122223333:role/Nobody"}),
            NOT_FOUND,
            "No cluster found for name: other.",
        ),
    ];
    for type_ in [
        "EC2_LINUX",
        "EC2_WINDOWS",
        "FARGATE_LINUX",
        "HYBRID_LINUX",
        "EC2",
        "HYPERPOD_LINUX",
    ] {
        let message =
            format!("AccessEntry principalArn must be IAM role when using types {NODE_TYPES}");
        rows.push(create(
            "a user as a node",
            json!({"principalArn": USER, "type": type_}),
            &message,
        ));
    }
    for type_ in [
        "EC2_LINUX",
        "EC2_WINDOWS",
        "FARGATE_LINUX",
        "HYBRID_LINUX",
        "EC2",
        "HYPERPOD_LINUX",
    ] {
        let message = format!(
            "AccessEntry principalArn must be from the same account as the cluster when using types {NODE_TYPES}"
        );
        rows.push(create(
            "another account's node",
            json!({"principalArn": FOREIGN, "type": type_}),
            &message,
        ));
    }
    for prefix in ["system:", "eks:", "aws:", "amazon:", "iam:"] {
        let message = format!("The username must not begin with {prefix}");
        rows.push(create(
            "a reserved username",
            json!({"principalArn": NEW, "username": format!("{prefix}x")}),
            &message,
        ));
        let message = format!(
            "The kubernetes group name {prefix}x is invalid, it cannot start with {prefix}"
        );
        rows.push(create(
            "a reserved group",
            json!({"principalArn": NEW, "kubernetesGroups": ["fine", format!("{prefix}x")]}),
            &message,
        ));
    }
    rows
}
