//! Refusals of all other calls.

use super::super::CLUSTER;
use super::super::clients::segment;
use super::super::policy;
use super::{
    LINKED, NEW, NO_ENTRY, NO_POLICY, NODE, NOT_FOUND, PARAMETER, PART_OF_AUTO_MODE, ROLE, Row,
    SERVICE_LINKED, associate, auto_mode, entry, policies, row, whole,
};
use serde_json::Value;
use serde_json::json;

#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn others() -> Vec<Row> {
    let namespaced = |namespaces: Value| json!({"policyArn": policy("AmazonEKSViewPolicy"), "accessScope": {"type": "namespace", "namespaces": namespaces}});
    let mut rows = vec![
        associate(
            "no namespace",
            ROLE,
            namespaced(json!([])),
            PARAMETER,
            "At least 1 namespace must be provided if the type is set as namespace",
        ),
        associate(
            "namespaces of the whole cluster",
            ROLE,
            json!({"policyArn": policy("AmazonEKSViewPolicy"), "accessScope": {"type": "cluster", "namespaces": ["a"]}}),
            PARAMETER,
            "accessScope should not include namespaces if the type is not set as namespace",
        ),
        associate(
            "a policy of IAM",
            ROLE,
            json!({"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "accessScope": {"type": "cluster"}}),
            PARAMETER,
            "The policyArn parameter format is not valid",
        ),
        associate(
            "a policy that is not there",
            ROLE,
            whole("AmazonEKSNothingPolicy"),
            NOT_FOUND,
            NO_POLICY,
        ),
        associate(
            "a policy of another partition",
            ROLE,
            json!({"policyArn": policy("AmazonEKSViewPolicy").replace("arn:aws:", "arn:aws-cn:"), "accessScope": {"type": "cluster"}}),
            NOT_FOUND,
            NO_POLICY,
        ),
        associate(
            "no entry",
            NEW,
            whole("AmazonEKSViewPolicy"),
            NOT_FOUND,
            NO_ENTRY,
        ),
        associate(
            "a service-linked role",
            LINKED,
            whole("AmazonEKSViewPolicy"),
            PARAMETER,
            SERVICE_LINKED,
        ),
        associate(
            "a node",
            NODE,
            whole("AmazonEKSViewPolicy"),
            PARAMETER,
            "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
        ),
        associate(
            "a scope of a type that is none",
            ROLE,
            json!({"policyArn": policy("AmazonEKSViewPolicy"), "accessScope": {"type": "Cluster"}}),
            PARAMETER,
            "1 validation error detected: Value 'Cluster' at 'accessScope.type' failed to satisfy constraint: Member must satisfy enum value set: [cluster, namespace]",
        ),
        row(
            "describe: no entry",
            entry("GET", NEW),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "describe: a malformed ARN",
            entry("GET", "arn:aws:sts::111122223333:assumed-role/Dev/ann"),
            Value::Null,
            PARAMETER,
            "The principalArn parameter format is not valid",
        ),
        row(
            "update: no entry",
            entry("POST", NEW),
            json!({}),
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "update: a reserved username",
            entry("POST", ROLE),
            json!({"username": "iam:x"}),
            PARAMETER,
            "The username must not begin with iam:",
        ),
        row(
            "update: a node's own username",
            entry("POST", NODE),
            json!({"username": "system:node:{{EC2PrivateDNSName}}"}),
            PARAMETER,
            "The username must not begin with system:",
        ),
        row(
            "update: a node's groups",
            entry("POST", NODE),
            json!({"kubernetesGroups": ["g"]}),
            PARAMETER,
            "The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when the type is \"EC2_LINUX\"",
        ),
        row(
            "update: a service-linked role",
            entry("POST", LINKED),
            json!({}),
            PARAMETER,
            SERVICE_LINKED,
        ),
        row(
            "delete: no entry",
            entry("DELETE", NEW),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "delete: a service-linked role",
            entry("DELETE", LINKED),
            Value::Null,
            PARAMETER,
            SERVICE_LINKED,
        ),
        row(
            "disassociate: no entry",
            (
                "DELETE",
                format!(
                    "{}/{}",
                    policies("DELETE", NEW).1,
                    segment(&policy("AmazonEKSViewPolicy"))
                ),
            ),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "disassociate: not associated",
            (
                "DELETE",
                format!(
                    "{}/{}",
                    policies("DELETE", ROLE).1,
                    segment(&policy("AmazonEKSViewPolicy"))
                ),
            ),
            Value::Null,
            NOT_FOUND,
            NO_POLICY,
        ),
        row(
            "list associated: no entry",
            policies("GET", NEW),
            Value::Null,
            NOT_FOUND,
            NO_ENTRY,
        ),
        row(
            "a page of 101",
            (
                "GET",
                "/clusters/test/access-entries?maxResults=101".to_owned(),
            ),
            Value::Null,
            PARAMETER,
            "1 validation error detected: Value '101' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 100",
        ),
        row(
            "a page of none",
            ("GET", "/access-policies?maxResults=0".to_owned()),
            Value::Null,
            PARAMETER,
            "1 validation error detected: Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        row(
            "a token that was not given",
            (
                "GET",
                "/clusters/test/access-entries?nextToken=x".to_owned(),
            ),
            Value::Null,
            PARAMETER,
            "The nextToken parameter is not valid",
        ),
        row(
            "a cluster that is not there",
            ("GET", "/clusters/nothing".to_owned()),
            Value::Null,
            NOT_FOUND,
            "No cluster found for name: nothing.",
        ),
        row(
            "two kinds of update",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({"accessConfig": {"authenticationMode": "API"}, "logging": {"clusterLogging": []}}),
            PARAMETER,
            "Only one type of update can be allowed.",
        ),
        row(
            "Auto Mode and another kind of update",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({"accessConfig": {"authenticationMode": "API"}, "computeConfig": {"enabled": true}}),
            PARAMETER,
            "Only one type of update can be allowed.",
        ),
        row(
            "no kind of update",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({}),
            PARAMETER,
            "The type for cluster update was not provided.",
        ),
        row(
            "a part of Auto Mode",
            ("POST", "/clusters/test/update-config".to_owned()),
            json!({"computeConfig": {"enabled": true}}),
            PARAMETER,
            PART_OF_AUTO_MODE,
        ),
        row(
            "Auto Mode half on",
            ("POST", "/clusters/test/update-config".to_owned()),
            {
                let mut half = auto_mode();
                half["storageConfig"]["blockStorage"]["enabled"] = false.into();
                half
            },
            PARAMETER,
            PART_OF_AUTO_MODE,
        ),
        row(
            "no tags",
            ("POST", format!("/tags/{}", segment(CLUSTER))),
            json!({"tags": {}}),
            "BadRequestException",
            "1 validation error detected: Value '{}' at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        row(
            "tags of nothing",
            (
                "POST",
                format!(
                    "/tags/{}",
                    segment(
                        "arn:aws:eks:eu-west-1:111122223333:access-entry/test/role/111122223333/x/y"
                    )
                ),
            ),
            json!({"tags": {"a": "b"}}),
            "NotFoundException",
            "Resource not found: arn:aws:eks:eu-west-1:111122223333:access-entry/test/role/111122223333/x/y",
        ),
        row(
            "tags of a role",
            ("POST", format!("/tags/{}", segment(ROLE))),
            json!({"tags": {"a": "b"}}),
            "BadRequestException",
            format!("{ROLE} is no ARN of a resource of EKS"),
        ),
    ];
    for arn in [
        "arn:aws:eks:aws:cluster-access-policy/AmazonEKSViewPolicy",
        "arn:aws:eks:::cluster-access-policy/AmazonEKSViewPolicy",
        "arn:aws:eks::aws:AmazonEKSViewPolicy",
    ] {
        rows.push(associate(
            "a malformed ARN of EKS",
            ROLE,
            json!({"policyArn": arn, "accessScope": {"type": "cluster"}}),
            NOT_FOUND,
            NO_POLICY,
        ));
    }
    for name in [
        "ClusterInsights",
        "Hybrid",
        "ComputeCluster",
        "BlockStorageCluster",
        "Compute",
        "BlockStorage",
    ] {
        rows.push(associate(
            "a policy for service-linked roles",
            ROLE,
            whole(&format!("AmazonEKS{name}Policy")),
            PARAMETER,
            "The specified policyArn can only be associated with service-linked roles",
        ));
    }
    rows
}
