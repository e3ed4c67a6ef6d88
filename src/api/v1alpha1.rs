//! `identity-mapper.dev/v1alpha1`.
//!
//! The documentation of the fields is what `kubectl explain` shows, so it is written for the people who write mappings.
//! Bounds and rules stand in the generated CRD, where the API server applies them, and [`crate::api::check()`] applies the
//! same ones without a server. No field is immutable: a changed principal moves the entry.
//!
//! Optional fields are described to schemars as their inner type: a `null` is then the same as leaving the field out, as
//! the API server drops it.

// `KubeSchema` copies each struct, visibility included, into a function of its own, and the lint speaks of the copy.
#![allow(unreachable_pub)]

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The annotation with which a person allows one mapping what a guard holds: a comma-separated list of [`Confirmation`]s.
/// On the history `ConfigMap` it confirms the removal of keys that no object names.
pub const CONFIRM_ANNOTATION: &str = "identity-mapper.dev/confirm";

/// The access that is declared.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "identity-mapper.dev",
    version = "v1alpha1",
    kind = "IdentityMapping",
    plural = "identitymappings",
    shortname = "idmap",
    shortname = "idmaps",
    category = "aws",
    category = "eks",
    status = "IdentityMappingStatus",
    derive = "PartialEq",
    doc = "An IdentityMapping declares one IAM principal, and the Kubernetes identity and EKS access policies of the principal in this cluster. Write access to mappings is write access to everything in the cluster.",
    printcolumn = r#"{"name": "Principal", "type": "string", "jsonPath": ".status.summary.principal", "description": "The role or user, with its account if that is not the cluster's; sso/ is a permission set"}"#,
    printcolumn = r#"{"name": "Username", "type": "string", "jsonPath": ".status.summary.username", "description": "The Kubernetes username; (default) is the one that EKS sets"}"#,
    printcolumn = r#"{"name": "Groups", "type": "string", "jsonPath": ".status.summary.groups", "description": "The Kubernetes groups"}"#,
    printcolumn = r#"{"name": "Policies", "type": "string", "jsonPath": ".status.summary.accessPolicies", "description": "The EKS access policies, without AmazonEKS and Policy; (ns) means in some namespaces only"}"#,
    printcolumn = r#"{"name": "Backend", "type": "string", "jsonPath": ".status.backend", "description": "Where the mapping is put into effect"}"#,
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".status.state", "description": "The mapping's state in one word"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1, "description": "Why it is ready or not"}"#,
    printcolumn = r#"{"name": "Until", "type": "string", "jsonPath": ".spec.validUntil", "priority": 1, "description": "When the entry is removed"}"#,
    printcolumn = r#"{"name": "ARN", "type": "string", "jsonPath": ".status.principalArn", "priority": 1, "description": "The role or user, as resolved"}"#,
    printcolumn = r#"{"name": "Full username", "type": "string", "jsonPath": ".status.username", "priority": 1, "description": "The Kubernetes username, as resolved"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct IdentityMappingSpec {
    /// The principal that gets access: exactly one of `arn` and `permissionSet`. If you change it, the entry moves to
    /// the new principal.
    pub principal: PrincipalSpec,
    /// The Kubernetes username, at most 256 characters. Can contain `{{SessionName}}` (with `@` replaced by `-`),
    /// `{{SessionNameRaw}}`, `{{AccountID}}`, `{{AccessKeyID}}` and `{{EC2PrivateDNSName}}`, which are filled in at
    /// each login. Default: the username that EKS sets, which is
    /// `arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/{{SessionName}}` for a role and the ARN for a user. Not allowed
    /// for node types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 256), extend("x-kubernetes-validations" = rules::username()))]
    pub username: Option<String>,
    /// The Kubernetes groups: at most 50, of at most 256 characters each. RBAC bindings grant them permissions. Can
    /// contain the placeholders of `username`. Default: none, so that permissions come only from bindings of the
    /// username and from access policies. Not allowed for node types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 50), inner(length(max = 256)), extend("x-kubernetes-validations" = rules::groups()))]
    pub groups: Vec<String>,
    /// EKS access policies, at most 20. They take effect only in an access entry; the conditions of a mapping in
    /// aws-auth report that they have no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["policy".into()]))]
    #[schemars(length(max = 20))]
    pub access_policies: Vec<AccessPolicy>,
    /// The type of the entry. `Standard`, the default, is for people and workloads. The other types are for node roles
    /// in the cluster's own account, and EKS sets their username and groups: `EC2Linux`, `EC2Windows` and
    /// `FargateLinux`; and, only as access entries, `HybridLinux`, `EC2` (EKS Auto Mode) and `HyperPodLinux`.
    #[serde(default, rename = "type")]
    pub type_: EntryType,
    /// Where the mapping is put into effect: in aws-auth (`ConfigMap`) or in an EKS access entry (`AccessEntry`). With
    /// `Auto`, the default, the cluster's authentication mode and the existing entries decide. If you change it, the
    /// principal moves to the other backend without an access gap.
    #[serde(default)]
    pub backend: BackendChoice,
    /// What to do with an unmanaged entry of the same principal: adopt it if it grants the same identity
    /// (`IfIdentical`, the default), adopt it and change it to this identity (`Always`), or leave it unmanaged
    /// (`Never`). The conditions report an entry that stays unmanaged.
    #[serde(default)]
    pub adoption: Adoption,
    /// What happens to the entry when the mapping is deleted: it is removed (`Revoke`, the default), or it stays active
    /// and becomes unmanaged (`Retain`).
    #[serde(default)]
    pub deletion: Deletion,
    /// When the entry is removed, such as `2026-12-24T18:00:00Z`, in the years 2000 to 2999. The mapping stays, with
    /// the state Expired. API servers can accept cached logins for some more minutes, and open streams continue.
    /// Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 64), extend("x-kubernetes-validations" = rules::valid_until()))]
    pub valid_until: Option<Time>,
    /// If true, the operator creates, changes and repairs nothing; deletion and `validUntil` still take effect.
    /// Default: false.
    #[serde(default)]
    pub suspend: bool,
}

/// The principal that gets access: exactly one of `arn` and `permissionSet`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::principal()))]
pub struct PrincipalSpec {
    /// The ARN of an IAM role or user, including its path. The operator removes the path of a role where aws-auth needs
    /// it removed. Sessions (`assumed-role`), federated users, groups and the root user are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // The longest ARN of a role: `arn:aws-us-gov:iam::` with account, `:role`, a path of 512 and a name of 64. The rest
    // is room for a session's, so that the rule about sessions speaks.
    #[schemars(with = "String", length(max = 640), extend("x-kubernetes-validations" = rules::arn()))]
    pub arn: Option<String>,
    /// A permission set of IAM Identity Center in an account. The operator resolves it to its role in that account and
    /// follows the role when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PermissionSet")]
    pub permission_set: Option<PermissionSet>,
}

/// A permission set of IAM Identity Center, as provisioned in an account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PermissionSet {
    /// The exact name of the permission set, not of its role.
    // Room for the name of the role, so that the rule about it speaks.
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::permission_set_name()))]
    pub name: String,
    /// The account in which it is provisioned: 12 digits, in quotes.
    // Room for `1111-2222-3333`, so that the rule about it speaks.
    #[schemars(length(max = 20), extend("x-kubernetes-validations" = rules::account_id()))]
    pub account_id: String,
}

/// An EKS access policy and its scope.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicy {
    /// The policy's name, such as `AmazonEKSViewPolicy`; never its ARN.
    #[schemars(length(max = 128), extend("x-kubernetes-validations" = rules::policy()))]
    pub policy: String,
    /// Where the policy applies. Default: in the whole cluster.
    #[serde(default)]
    pub scope: AccessScope,
}

/// Where an access policy applies.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::scope()))]
pub struct AccessScope {
    /// `Cluster`, the default, or `Namespace`.
    #[serde(default, rename = "type")]
    pub type_: ScopeType,
    /// With type `Namespace`: the namespaces, at most 50. `*` matches any text, such as in `dev-*`. The namespaces need
    /// not exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 50), inner(length(max = 63)), extend("x-kubernetes-validations" = rules::namespaces()))]
    pub namespaces: Vec<String>,
}

/// The kind of an access scope.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeType {
    /// The whole cluster.
    #[default]
    Cluster,
    /// The namespaces that are listed.
    Namespace,
}

/// The type of an access entry (EKS API reference, `CreateAccessEntry`, in Kubernetes' spelling). In aws-auth, a node
/// type means the username and groups that EKS itself writes there.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum EntryType {
    /// `STANDARD`: people and workloads.
    #[default]
    Standard,
    /// `EC2_LINUX`: Linux nodes and self-managed Bottlerocket ones.
    EC2Linux,
    /// `EC2_WINDOWS`: Windows nodes.
    EC2Windows,
    /// `FARGATE_LINUX`: pod execution roles of Fargate.
    FargateLinux,
    /// `HYBRID_LINUX`: hybrid nodes. Only as an access entry.
    HybridLinux,
    /// `EC2`: nodes of EKS Auto Mode. Only as an access entry; the only node type with access policies.
    EC2,
    /// `HYPERPOD_LINUX`: nodes of `SageMaker` `HyperPod`. Only as an access entry.
    HyperPodLinux,
}

/// Where a mapping is put into effect, as declared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// By the cluster's authentication mode.
    #[default]
    Auto,
    /// In the aws-auth `ConfigMap`.
    ConfigMap,
    /// In an EKS access entry.
    AccessEntry,
}

/// Where a mapping is put into effect, as resolved.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum Backend {
    /// In the aws-auth `ConfigMap`.
    ConfigMap,
    /// In an EKS access entry.
    AccessEntry,
}

impl Backend {
    /// The word in statuses, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::AccessEntry => "AccessEntry",
        }
    }
}

/// What to do with an unmanaged entry of the same principal.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adoption {
    /// Adopt it if it gives the same identity; otherwise leave it unmanaged.
    #[default]
    IfIdentical,
    /// Adopt it and change it to this identity.
    Always,
    /// Leave it unmanaged, whatever it gives.
    Never,
}

/// What deleting the mapping does to its entry.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    /// Remove it.
    #[default]
    Revoke,
    /// Leave it active and unmanaged.
    Retain,
}

/// What a person can confirm with [`CONFIRM_ANNOTATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmation {
    /// `node-entry`: an entry of nodes may be changed or removed.
    NodeEntry,
    /// `last-administrator`: the last administrator's entry may be changed or removed.
    LastAdministrator,
    /// `mass-removal`: the entry may be removed although very many are.
    MassRemoval,
    /// `recreated-principal`: an administrator's role that was deleted and recreated may get access again.
    RecreatedPrincipal,
    /// `unverified-removal`: the finalizer of a deleted mapping is removed although EKS can't confirm that its access entry is gone.
    UnverifiedRemoval,
}

impl Confirmation {
    /// All confirmations.
    pub const ALL: [Self; 5] = [
        Self::NodeEntry,
        Self::LastAdministrator,
        Self::MassRemoval,
        Self::RecreatedPrincipal,
        Self::UnverifiedRemoval,
    ];

    /// The value in the annotation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeEntry => "node-entry",
            Self::LastAdministrator => "last-administrator",
            Self::MassRemoval => "mass-removal",
            Self::RecreatedPrincipal => "recreated-principal",
            Self::UnverifiedRemoval => "unverified-removal",
        }
    }

    /// Reads the annotation: what it confirms, and the words that confirm nothing, in order.
    ///
    /// Spaces around values and empty values are ignored. Values are case-sensitive, so that a confirmation is never a
    /// guess.
    #[must_use]
    pub fn parse_list(annotation: &str) -> (BTreeSet<Self>, Vec<String>) {
        let mut confirmed = BTreeSet::new();
        let mut unknown = Vec::new();
        for word in annotation
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match Self::ALL
                .into_iter()
                .find(|confirmation| confirmation.as_str() == word)
            {
                Some(confirmation) => {
                    confirmed.insert(confirmation);
                }
                None => unknown.push(word.to_owned()),
            }
        }
        (confirmed, unknown)
    }
}

impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The operator's report on a mapping. It is never an input: nothing written here grants access.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IdentityMappingStatus {
    /// The `metadata.generation` that the rest of the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The mapping's state in one word; the conditions have the details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MappingState>,
    /// What `kubectl get` shows, shortened for its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MappingSummary")]
    pub summary: Option<MappingSummary>,
    /// The role or user, as resolved: its full ARN as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_arn: Option<String>,
    /// The Kubernetes username as resolved, placeholders included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Where the mapping is put into effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// The ARN of the access entry, if one exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_entry_arn: Option<String>,
    /// When this mapping's entry was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_synced: Option<Time>,
    /// The last change of the entry by another writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drift: Option<Drift>,
    /// The entries that were written for this mapping and not yet removed. The operator recognizes its entries by this
    /// if the mark on aws-auth is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<WrittenEntry>,
    /// The confirmations that a held removal or change waits for, as values of the annotation `identity-mapper.dev/confirm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting_confirmation: Vec<String>,
    /// The `validUntil` that the operator saw well before it passed: the removal at that time needs no confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_valid_until: Option<Time>,
    /// Ready (the principal now gets exactly this identity), Accepted and Synced; `GroupsBound` if the mapping has
    /// groups; Stalled, Reconciling and Contested only while they are True. Each message is in one condition; the
    /// others refer to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A mapping in the short forms of the columns of `kubectl get`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MappingSummary {
    /// The role or user, with its account if that is not the cluster's.
    pub principal: String,
    /// The Kubernetes username; `(default)` is the one that EKS sets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The Kubernetes groups, or some of them and the number of others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub groups: String,
    /// The access policies, or some of them and the number of others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub access_policies: String,
}

/// The state of a mapping in one word.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingState {
    /// The principal gets exactly the declared identity.
    Active,
    /// `validUntil` has passed, and nothing grants the principal access any more.
    Expired,
    /// `suspend: true`.
    Suspended,
    /// A change or removal needs a confirmation.
    Held,
    /// The mapping needs manual action; the condition Stalled is True.
    Failed,
    /// The operator is working on it or retries.
    Pending,
    /// Ownership was given up (`identity-mapper release`): the entry stays, and no operator manages it.
    Released,
}

/// A change of a managed entry by another writer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// When it was found.
    pub time: Time,
    /// What was found.
    pub what: String,
    /// The field manager that made it, or `unknown` if Kubernetes has no record of it.
    pub manager: String,
}

/// An entry as it was written, in aws-auth (`configMap`) or as an access entry (`cluster`).
#[derive(
    KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord,
)]
#[serde(rename_all = "camelCase")]
pub struct WrittenEntry {
    /// `namespace/name` of the `ConfigMap` that contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub config_map: Option<String>,
    /// The ARN of the EKS cluster whose access entry it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cluster: Option<String>,
    /// The principal's ARN as written there.
    pub arn: String,
    /// The username.
    pub username: String,
    /// The groups, sorted.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The type of an access entry.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EntryType")]
    pub type_: Option<EntryType>,
    /// The access policies of an access entry, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_policies: Vec<WrittenPolicy>,
}

/// An access policy as it was associated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct WrittenPolicy {
    /// The policy's ARN.
    pub policy: String,
    /// The namespaces in which it applies, sorted. Without namespaces it applies in the whole cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// The `CustomResourceDefinition`, with every bound and rule.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    IdentityMapping::crd()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_are_read_word_by_word() {
        use Confirmation::{LastAdministrator, MassRemoval, NodeEntry, RecreatedPrincipal};
        for (annotation, confirmed, unknown) in [
            ("", vec![], vec![]),
            ("node-entry", vec![NodeEntry], vec![]),
            (
                " last-administrator ,node-entry,",
                vec![NodeEntry, LastAdministrator],
                vec![],
            ),
            ("mass-removal,mass-removal", vec![MassRemoval], vec![]),
            (
                "recreated-principal,Node-Entry,yes",
                vec![RecreatedPrincipal],
                vec!["Node-Entry", "yes"],
            ),
            (
                "node-entry last-administrator",
                vec![],
                vec!["node-entry last-administrator"],
            ),
        ] {
            let (found, rest) = Confirmation::parse_list(annotation);
            assert_eq!(found, confirmed.into_iter().collect(), "{annotation}");
            assert_eq!(rest, unknown, "{annotation}");
        }
        for confirmation in Confirmation::ALL {
            assert_eq!(
                Confirmation::parse_list(&confirmation.to_string()).0,
                BTreeSet::from([confirmation])
            );
        }
    }
}
