//! `identity-mapper.dev/v1alpha1`.

// `KubeSchema` copies each struct, visibility included, into a function of its own, and the lint speaks of the copy.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The annotation with which a person allows one mapping what a guard holds: a comma-separated list of [`Confirmation`]s.
/// On the history ConfigMap it confirms the removal of keys that no object names.
pub const CONFIRM_ANNOTATION: &str = "identity-mapper.dev/confirm";
/// The finalizer that keeps a deleted mapping until its entry is gone.
pub const FINALIZER: &str = "identity-mapper.dev/revoke";

/// One principal, and the Kubernetes identity and access policies that it gets.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "identity-mapper.dev",
    version = "v1alpha1",
    kind = "IdentityMapping",
    plural = "identitymappings",
    shortname = "idmap",
    category = "aws",
    category = "eks",
    status = "IdentityMappingStatus",
    cel
)]
#[serde(rename_all = "camelCase")]
pub struct IdentityMappingSpec {
    /// Who: exactly one of an ARN and a permission set.
    pub principal: PrincipalSpec,
    /// The Kubernetes username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The Kubernetes groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// EKS access policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_policies: Vec<AccessPolicy>,
    /// The type of the entry.
    #[serde(default, rename = "type")]
    pub type_: EntryType,
    /// Where the mapping is put into effect.
    #[serde(default)]
    pub backend: BackendChoice,
    /// What to do with a foreign entry of the same principal.
    #[serde(default)]
    pub adoption: Adoption,
    /// What deleting the mapping does to its entry.
    #[serde(default)]
    pub deletion: Deletion,
    /// When the entry is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// No creation, change or repair while true.
    #[serde(default)]
    pub suspend: bool,
}

/// The principal of a mapping.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PrincipalSpec {
    /// The ARN of an IAM role or user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// An IAM Identity Center permission set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_set: Option<PermissionSet>,
}

/// A permission set in an account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PermissionSet {
    /// The exact name of the permission set.
    pub name: String,
    /// The account in which it is provisioned.
    pub account_id: String,
}

/// An EKS access policy and where it holds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicy {
    /// The policy's name.
    pub policy: String,
    /// Where it holds.
    #[serde(default)]
    pub scope: AccessScope,
}

/// Where an access policy holds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessScope {
    /// The whole cluster or some namespaces.
    #[serde(default, rename = "type")]
    pub type_: ScopeType,
    /// The namespaces, with `*` as EKS has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// The kind of an access scope.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeType {
    /// Cluster.
    #[default]
    Cluster,
    /// Namespace.
    Namespace,
}

/// The type of an access entry.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryType {
    /// People and workloads.
    #[default]
    Standard,
    /// Linux nodes.
    EC2Linux,
    /// Windows nodes.
    EC2Windows,
    /// Fargate pod execution roles.
    FargateLinux,
    /// Hybrid nodes.
    HybridLinux,
    /// EKS Auto Mode nodes.
    EC2,
    /// `HyperPod` nodes.
    HyperPodLinux,
}

/// Where a mapping is put into effect, as declared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// By the cluster's mode.
    #[default]
    Auto,
    /// aws-auth.
    ConfigMap,
    /// An access entry.
    AccessEntry,
}

/// Where a mapping is put into effect, as resolved.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// aws-auth.
    ConfigMap,
    /// An access entry.
    AccessEntry,
}

/// What to do with a foreign entry of the same principal.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adoption {
    /// Take it over where it says the same.
    #[default]
    IfIdentical,
    /// Take it over and make it say the same.
    Always,
    /// Leave it.
    Never,
}

/// What deleting the mapping does to its entry.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    /// Remove it.
    #[default]
    Revoke,
    /// Leave it, as a foreign one.
    Retain,
}

/// What a person can confirm with [`CONFIRM_ANNOTATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmation {
    /// `node-entry`
    NodeEntry,
    /// `last-administrator`
    LastAdministrator,
    /// `mass-removal`
    MassRemoval,
    /// `recreated-principal`
    RecreatedPrincipal,
}

/// What the operator has made of a mapping.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IdentityMappingStatus {
    /// The generation that the rest speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The principal as resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_arn: Option<String>,
    /// The username as resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The backend as resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// The access entry's ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_entry_arn: Option<String>,
    /// When this entry was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_synced: Option<Time>,
    /// The last drift that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drift: Option<Drift>,
    /// What we wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<WrittenEntry>,
    /// The confirmations that a held removal or change waits for, as words of the annotation `identity-mapper.dev/confirm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting_confirmation: Vec<String>,
    /// The validUntil that was seen while it still lay ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_valid_until: Option<Time>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A change of an owned entry that was not ours.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// When it was found.
    pub time: Time,
    /// What was found.
    pub what: String,
    /// The field manager that made it, or `unknown`.
    pub manager: String,
}

/// An entry as it was written.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct WrittenEntry {
    /// `namespace/name` of the ConfigMap.
    pub config_map: String,
    /// The ARN as it stands there.
    pub arn: String,
    /// The username.
    pub username: String,
    /// The groups, sorted.
    #[serde(default)]
    pub groups: Vec<String>,
}
