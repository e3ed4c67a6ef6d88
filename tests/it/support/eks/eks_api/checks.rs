//! What EKS checks of principals, names, types, tags, policies and scopes.

use super::super::refusal::Refusal;
use super::{Input, RESERVED};
use serde_json::Value;
use std::collections::BTreeMap;

/// An IAM principal that an access entry can be for.
pub(super) struct Principal {
    pub(super) arn: String,
    pub(super) partition: String,
    pub(super) account: String,
    /// `role`, `user` or `root`.
    pub(super) kind: &'static str,
}

impl Principal {
    pub(super) fn parse(arn: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::parameter("The principalArn parameter format is not valid");
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let &["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
            return Err(refused());
        };
        let kind = match resource.split_once('/') {
            Some(("role", name)) if !name.is_empty() => "role",
            Some(("user", name)) if !name.is_empty() => "user",
            None if resource == "root" => "root",
            _ => return Err(refused()),
        };
        let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !partition.starts_with("aws") || !digits {
            return Err(refused());
        }
        Ok(Self {
            arn: arn.to_owned(),
            partition: partition.to_owned(),
            account: account.to_owned(),
            kind,
        })
    }

    /// The shape of the ARN alone decides, not whether the role is there.
    pub(super) fn not_service_linked(&self) -> Result<(), Refusal> {
        if self.arn.contains(":role/aws-service-role/") {
            return Err(Refusal::parameter(
                "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role",
            ));
        }
        Ok(())
    }
}

pub(super) fn reserved(name: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|prefix| name.starts_with(prefix))
}

pub(super) fn check_names(username: Option<&str>, groups: &[String]) -> Result<(), Refusal> {
    if let Some(username) = username {
        if let Some(prefix) = reserved(username) {
            return Err(Refusal::parameter(format!(
                "The username must not begin with {prefix}"
            )));
        }
        let placeholder = ["{{SessionName}}", "{{SessionNameRaw}}"];
        let first = placeholder.iter().filter_map(|it| username.find(it)).min();
        if first.is_some_and(|at| !username[..at].contains(':')) {
            // The rule is EKS's, the wording is ours.
            return Err(Refusal::parameter(
                "The specified username is invalid: a colon must stand before {{SessionName}} or {{SessionNameRaw}}",
            ));
        }
    }
    for group in groups {
        if let Some(prefix) = reserved(group) {
            return Err(Refusal::parameter(format!(
                "The kubernetes group name {group} is invalid, it cannot start with {prefix}"
            )));
        }
    }
    Ok(())
}

pub(super) fn check_type(
    type_: &str,
    username: Option<&str>,
    groups: &[String],
) -> Result<(), Refusal> {
    let set = [
        ("kubernetesGroups", !groups.is_empty()),
        ("username", username.is_some()),
    ];
    for (what, given) in set {
        if given && type_ != "STANDARD" {
            return Err(Refusal::parameter(format!(
                "The specified {what} is invalid: setting {what} is not allowed when the type is \"{type_}\""
            )));
        }
    }
    Ok(())
}

pub(super) fn check_tags<M: Fn(String) -> Refusal>(
    tags: &BTreeMap<String, String>,
    refused: M,
) -> Result<(), Refusal> {
    match tags
        .keys()
        .find(|key| key.to_lowercase().starts_with("aws:"))
    {
        // Our own wording.
        Some(key) => Err(refused(format!(
            "The tag key {key} begins with aws:, which is reserved"
        ))),
        None => Ok(()),
    }
}

/// The name in an access policy's ARN; `None`: it is one of EKS, and none of an access policy, so that none is found by it.
pub(super) fn policy_name(arn: &str) -> Result<Option<&str>, Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "eks", "", "aws", resource] => Ok(resource
            .strip_prefix("cluster-access-policy/")
            .filter(|name| !name.is_empty())),
        ["arn", _, "eks", ..] => Ok(None),
        _ => Err(Refusal::parameter(
            "The policyArn parameter format is not valid",
        )),
    }
}

/// The namespaces of a scope; `None`: the whole cluster.
pub(super) fn namespaces(scope: Option<&Input>) -> Result<Option<Vec<String>>, Refusal> {
    let given = |name: &str| scope.and_then(|scope| scope.get(name));
    let namespaces: Vec<String> = given("namespaces")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|namespace| namespace.as_str().map(str::to_owned))
        .collect();
    match given("type").and_then(Value::as_str) {
        Some("namespace") if namespaces.is_empty() => Err(Refusal::parameter(
            "At least 1 namespace must be provided if the type is set as namespace",
        )),
        Some("namespace") => Ok(Some(namespaces)),
        Some(_) if namespaces.is_empty() => Ok(None),
        Some(_) => Err(Refusal::parameter(
            "accessScope should not include namespaces if the type is not set as namespace",
        )),
        // The user guide requires a type, the model does not; our own wording.
        None => Err(Refusal::parameter("accessScope must have a type")),
    }
}
