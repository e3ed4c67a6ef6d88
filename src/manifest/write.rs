//! Mappings as manifests to commit: only what is not the default, with comments above.

use std::fmt::Write as _;

use kube::{Resource as _, ResourceExt as _};
use serde::Serialize;

use crate::api::IdentityMapping;
use crate::api::v1alpha1::{
    AccessPolicy, AccessScope, Adoption, BackendChoice, Deletion, EntryType, IdentityMappingSpec,
    PrincipalSpec, ScopeType,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenManifest<'a> {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: WrittenSpec<'a>,
}

#[derive(Serialize)]
struct Metadata {
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSpec<'a> {
    principal: &'a PrincipalSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    access_policies: Vec<Policy<'a>>,
    #[serde(rename = "type", skip_serializing_if = "is_default")]
    type_: EntryType,
    #[serde(skip_serializing_if = "is_default")]
    backend: BackendChoice,
    #[serde(skip_serializing_if = "is_default")]
    adoption: Adoption,
    #[serde(skip_serializing_if = "is_default")]
    deletion: Deletion,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    suspend: bool,
}

#[derive(Serialize)]
struct Policy<'a> {
    policy: &'a str,
    #[serde(skip_serializing_if = "is_cluster")]
    scope: &'a AccessScope,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference to the field, which is one itself"
)]
fn is_cluster(scope: &&AccessScope) -> bool {
    scope.type_ == ScopeType::Cluster
}

impl<'a> WrittenManifest<'a> {
    fn of(object: &'a IdentityMapping) -> Self {
        let IdentityMappingSpec {
            principal,
            username,
            groups,
            access_policies,
            type_,
            backend,
            adoption,
            deletion,
            valid_until,
            suspend,
        } = &object.spec;
        let policy = |AccessPolicy { policy, scope }: &'a AccessPolicy| Policy { policy, scope };
        Self {
            api_version: IdentityMapping::api_version(&()).into_owned(),
            kind: IdentityMapping::kind(&()).into_owned(),
            metadata: Metadata {
                name: object.name_any(),
            },
            spec: WrittenSpec {
                principal,
                username: username.as_ref(),
                groups,
                access_policies: access_policies.iter().map(policy).collect(),
                type_: *type_,
                backend: *backend,
                adoption: *adoption,
                deletion: *deletion,
                valid_until: valid_until.as_ref().map(|time| time.0.to_string()),
                suspend: *suspend,
            },
        }
    }
}

/// The manifest of a mapping as YAML, its comments above it. It is read back as the same name and spec.
pub fn write(
    object: &IdentityMapping,
    comments: &[String],
) -> Result<String, serde_saphyr::SerializeError> {
    let mut text = String::new();
    for comment in comments {
        let _ = writeln!(text, "# {comment}");
    }
    serde_saphyr::to_fmt_writer(&mut text, &WrittenManifest::of(object))?;
    Ok(text)
}

/// The same as a value of JSON.
pub fn to_value(object: &IdentityMapping) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(WrittenManifest::of(object))
}

#[cfg(test)]
mod tests {
    use super::super::{Source, mappings};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(spec: &serde_json::Value) -> IdentityMapping {
        let object = json!({"apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": {"name": "a.b"}, "spec": spec});
        serde_json::from_value(object).expect("a mapping")
    }

    #[test]
    fn only_what_is_not_the_default_is_written() {
        let all = object(&json!({
            "principal": {"permissionSet": {"name": "Admin", "accountId": "011122223333"}},
            "username": "yes: {{SessionName}}",
            "groups": ["on", "012"],
            "accessPolicies": [
                {"policy": "AmazonEKSViewPolicy", "scope": {"type": "Namespace", "namespaces": ["dev-*", "*"]}},
                {"policy": "AmazonEKSEditPolicy"},
            ],
            "adoption": "Always", "backend": "ConfigMap", "deletion": "Retain",
            "validUntil": "2026-12-24T18:00:00Z", "suspend": true,
        }));
        insta::assert_snapshot!(write(&all, &["who: platform".to_owned()]).expect("written"), @r#"
        # who: platform
        apiVersion: identity-mapper.dev/v1alpha1
        kind: IdentityMapping
        metadata:
          name: a.b
        spec:
          principal:
            permissionSet:
              name: Admin
              accountId: "011122223333"
          username: "yes: {{SessionName}}"
          groups:
          - "on"
          - "012"
          accessPolicies:
          - policy: AmazonEKSViewPolicy
            scope:
              type: Namespace
              namespaces:
              - dev-*
              - "*"
          - policy: AmazonEKSEditPolicy
          backend: ConfigMap
          adoption: Always
          deletion: Retain
          validUntil: "2026-12-24T18:00:00Z"
          suspend: true
        "#);
        let least = object(&json!({"principal": {"arn": "arn:aws:iam::111122223333:role/a"}}));
        insta::assert_snapshot!(write(&least, &[]).expect("written"), @"
        apiVersion: identity-mapper.dev/v1alpha1
        kind: IdentityMapping
        metadata:
          name: a.b
        spec:
          principal:
            arn: arn:aws:iam::111122223333:role/a
        ");
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn what_is_written_is_read_back(
            username in prop::option::of("[a-z0-9~:#{}'\"\\\\ \\PC]{1,12}"),
            groups in prop::collection::btree_set("(yes|no|on|y|n|null|~|0x1f|1e3|1_000|012|.inf|2026-01-01|<<|=|[!-~]{1,6}|[ -~é]{1,6})", 0..4),
            comments in prop::collection::vec("[ -~é]{0,10}", 0..3),
        ) {
            let principal = json!({"arn": "arn:aws:iam::111122223333:role/a"});
            let written = object(&json!({"principal": principal, "username": username, "groups": groups}));
            let valid = crate::api::check(&written).is_ok();
            let text = write(&written, &comments).expect("written");
            let read = mappings(&[Source { name: String::new(), text: text.clone() }]);
            if valid {
                prop_assert!(read.complaints.is_empty(), "{:?}\n{}", read.complaints, text);
                prop_assert_eq!(&read.declared[0].object, &written, "{}", text);
            }
        }
    }
}
