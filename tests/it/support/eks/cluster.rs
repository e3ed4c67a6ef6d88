//! The cluster in EKS, its access entries and updates, as values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::authorities::{CertificateAuthority, Rotation};
use super::features::Capability;
use super::world::uuid_of;

/// The cluster as EKS describes it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: String,
    /// Its ARN.
    pub(crate) arn: String,
    /// `aws`, `aws-cn` or another.
    pub(crate) partition: String,
    /// Its region.
    pub(crate) region: String,
    /// Its account.
    pub(crate) account: String,
    /// The API server's certificate authorities, in the order in which they were made.
    pub(crate) authorities: Vec<CertificateAuthority>,
    /// The API server's address.
    pub(crate) endpoint: String,
    /// Its authentication mode, as described.
    pub(crate) mode: Mode,
    /// Whether the description names the mode; very old clusters have no `accessConfig`.
    pub(crate) mode_described: bool,
    /// When the mode was last switched.
    pub(crate) switched: Option<Timestamp>,
    /// Whether EKS Auto Mode is enabled.
    pub(crate) auto_mode: bool,
    /// The IAM principal that made it.
    pub(crate) creator: Option<String>,
    /// The role of the nodes of EKS Auto Mode.
    pub(crate) auto_node_role: Option<String>,
    /// The roles of its managed node groups and Fargate profiles.
    pub(crate) node_groups: BTreeMap<String, NodeKind>,
    /// The names of its OIDC identity providers.
    pub(crate) identity_providers: BTreeSet<String>,
    /// Its capabilities, by name.
    pub(crate) capabilities: BTreeMap<String, Capability>,
    /// Its Kubernetes version.
    pub(crate) version: String,
    /// Its platform version.
    pub(crate) platform_version: String,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// Its access entries, by principal ARN, as described.
    pub(crate) entries: BTreeMap<String, Arc<Entry>>,
    /// Its updates, oldest first.
    pub(crate) updates: Vec<Update>,
    /// Answers of creations, by their idempotency token.
    pub(super) tokens: BTreeMap<String, (Value, Value)>,
}

/// A cluster's authentication mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `CONFIG_MAP`.
    ConfigMap,
    /// `API_AND_CONFIG_MAP`.
    #[default]
    ApiAndConfigMap,
    /// `API`.
    Api,
}

/// What runs on the nodes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// A managed node group of Linux nodes.
    Linux,
    /// A managed node group of Windows nodes.
    Windows,
    /// A Fargate profile.
    Fargate,
}

/// An access entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The principal's ARN.
    pub(crate) principal_arn: String,
    /// The entry's own ARN.
    pub(crate) arn: String,
    /// Its type, such as `STANDARD`.
    pub(crate) type_: String,
    /// Its username.
    pub(crate) username: String,
    /// Its groups.
    pub(crate) groups: Vec<String>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// The id that the principal had when the entry was made; `None`: an account's root, which no caller matches.
    pub(crate) principal_id: Option<String>,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// When username or groups were last changed.
    pub(crate) modified: Timestamp,
    /// Its policies, by their ARN.
    pub(crate) policies: BTreeMap<String, Association>,
}

/// The association of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Association {
    /// The namespaces; `None`: the whole cluster.
    pub(crate) namespaces: Option<Vec<String>>,
    /// When it was first made.
    pub(crate) associated: Timestamp,
    /// When its scope was last set.
    pub(crate) modified: Timestamp,
}

/// An update of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// Its id.
    pub(crate) id: String,
    /// `InProgress`, `Failed`, `Cancelled` or `Successful`.
    pub(crate) status: &'static str,
    /// What it changes.
    pub(crate) kind: UpdateKind,
    /// When it began.
    pub(crate) created: Timestamp,
}

/// What an update changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateKind {
    /// The authentication mode.
    AccessConfig(Mode),
    /// EKS Auto Mode.
    AutoMode(bool),
    /// The certificate authorities.
    Authority(Rotation),
}

impl Mode {
    /// EKS's spelling.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "CONFIG_MAP",
            Self::ApiAndConfigMap => "API_AND_CONFIG_MAP",
            Self::Api => "API",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let modes = [Self::ConfigMap, Self::ApiAndConfigMap, Self::Api];
        let found = modes.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| {
            format!("no authentication mode: {text:?}; write CONFIG_MAP, API_AND_CONFIG_MAP or API")
        })
    }
}

impl NodeKind {
    /// The type of entry that EKS makes for it.
    pub(crate) const fn entry_type(self) -> &'static str {
        match self {
            Self::Linux => "EC2_LINUX",
            Self::Windows => "EC2_WINDOWS",
            Self::Fargate => "FARGATE_LINUX",
        }
    }
}

impl Cluster {
    pub(super) fn new(arn: &str, now: Timestamp) -> Self {
        let parts: Vec<&str> = arn.split(':').collect();
        let (&["arn", partition, "eks", region, account, resource], Some(name)) =
            (parts.as_slice(), arn.split("cluster/").nth(1))
        else {
            panic!("no ARN of an EKS cluster: {arn}");
        };
        assert!(
            resource.starts_with("cluster/"),
            "no ARN of an EKS cluster: {arn}"
        );
        Self {
            name: name.to_owned(),
            arn: arn.to_owned(),
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            authorities: Vec::new(),
            endpoint: "https://127.0.0.1".to_owned(),
            mode: Mode::default(),
            mode_described: true,
            switched: None,
            auto_mode: false,
            creator: None,
            auto_node_role: None,
            node_groups: BTreeMap::new(),
            identity_providers: BTreeSet::new(),
            capabilities: BTreeMap::new(),
            version: "1.33".to_owned(),
            platform_version: "eks.1".to_owned(),
            created: now,
            tags: BTreeMap::new(),
            entries: BTreeMap::new(),
            updates: Vec::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// The update that runs now.
    pub(crate) fn running_update(&self) -> Option<&Update> {
        self.updates
            .iter()
            .find(|update| update.status == "InProgress")
    }

    /// The ARN of an access policy in this cluster's partition.
    pub(crate) fn policy_arn(&self, name: &str) -> String {
        format!(
            "arn:{}:eks::aws:cluster-access-policy/{name}",
            self.partition
        )
    }

    /// The ARN of its own role.
    pub(crate) fn role_arn(&self) -> String {
        format!(
            "arn:{}:iam::{}:role/eks-cluster",
            self.partition, self.account
        )
    }

    /// The issuer of its `ServiceAccounts`' tokens.
    fn issuer(&self) -> String {
        let id = uuid_of(&self.arn).replace('-', "").to_uppercase();
        format!("https://oidc.eks.{}.amazonaws.com/id/{id}", self.region)
    }

    /// As `DescribeCluster` gives it.
    pub(super) fn describe(&self) -> Value {
        let updating = self.running_update().is_some();
        let mut cluster = json!({
            "name": self.name,
            "arn": self.arn,
            "createdAt": epoch(self.created),
            "version": self.version,
            "endpoint": self.endpoint,
            "roleArn": self.role_arn(),
            "status": if updating { "UPDATING" } else { "ACTIVE" },
            "certificateAuthority": self.describe_authorities(),
            "platformVersion": self.platform_version,
            "tags": self.tags,
            "computeConfig": {"enabled": self.auto_mode, "nodeRoleArn": self.auto_node_role},
            "identity": {"oidc": {"issuer": self.issuer()}},
        });
        if self.mode_described {
            cluster["accessConfig"] = json!({"authenticationMode": self.mode.as_str()});
        }
        cluster
    }
}

impl Entry {
    /// An entry with EKS's own username and groups; `None` where `principal_arn` is no role, user or root.
    pub(crate) fn new(
        cluster: &Cluster,
        principal_arn: &str,
        type_: &str,
        principal_id: Option<String>,
        now: Timestamp,
    ) -> Option<Self> {
        let account = principal_arn.split(':').nth(4)?;
        let resource = principal_arn.split(':').nth(5)?;
        let kind = resource.split('/').next()?;
        let name = resource.rsplit('/').next()?;
        let uuid = uuid_of(&format!("{} {principal_arn}", cluster.arn));
        Some(Self {
            principal_arn: principal_arn.to_owned(),
            arn: format!(
                "arn:{}:eks:{}:{}:access-entry/{}/{kind}/{account}/{name}/{uuid}",
                cluster.partition, cluster.region, cluster.account, cluster.name
            ),
            type_: type_.to_owned(),
            username: default_username(principal_arn, type_),
            groups: default_groups(type_),
            tags: BTreeMap::new(),
            principal_id,
            created: now,
            modified: now,
            policies: BTreeMap::new(),
        })
    }

    /// As `DescribeAccessEntry` gives it.
    pub(super) fn describe(&self, cluster: &str) -> Value {
        json!({
            "clusterName": cluster,
            "principalArn": self.principal_arn,
            "kubernetesGroups": self.groups,
            "accessEntryArn": self.arn,
            "createdAt": epoch(self.created),
            "modifiedAt": epoch(self.modified),
            "tags": self.tags,
            "username": self.username,
            "type": self.type_,
        })
    }
}

impl Association {
    /// As `ListAssociatedAccessPolicies` gives it.
    pub(super) fn describe(&self, policy_arn: &str) -> Value {
        let type_ = if self.namespaces.is_some() {
            "namespace"
        } else {
            "cluster"
        };
        json!({
            "policyArn": policy_arn,
            "accessScope": {"type": type_, "namespaces": self.namespaces.clone().unwrap_or_default()},
            "associatedAt": epoch(self.associated),
            "modifiedAt": epoch(self.modified),
        })
    }
}

impl Update {
    /// As `DescribeUpdate` gives it.
    pub(super) fn describe(&self) -> Value {
        let (type_, param, value) = match self.kind {
            UpdateKind::AccessConfig(mode) => (
                "AccessConfigUpdate",
                "AuthenticationMode",
                json!(mode.as_str()).to_string(),
            ),
            UpdateKind::AutoMode(enabled) => (
                "AutoModeUpdate",
                "ComputeConfig",
                json!({"enabled": enabled}).to_string(),
            ),
            UpdateKind::Authority(rotation) => (
                "CertificateAuthorityUpdate",
                "CertificateAuthorityId",
                rotation.id(),
            ),
        };
        json!({
            "id": self.id,
            "status": self.status,
            "type": type_,
            // The value is JSON in a text.
            "params": [{"type": param, "value": value}],
            "createdAt": epoch(self.created),
            "errors": [],
        })
    }

    /// `AccessConfigUpdate` or another.
    pub(super) const fn type_(&self) -> &'static str {
        self.kind.type_()
    }
}

impl UpdateKind {
    /// EKS's name of it.
    pub(super) const fn type_(self) -> &'static str {
        match self {
            UpdateKind::AccessConfig(_) => "AccessConfigUpdate",
            UpdateKind::AutoMode(_) => "AutoModeUpdate",
            UpdateKind::Authority(_) => "CertificateAuthorityUpdate",
        }
    }
}

/// The username that EKS gives where none is asked for
/// (<https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html>).
pub(super) fn default_username(principal_arn: &str, type_: &str) -> String {
    match type_ {
        "EC2_LINUX" | "EC2_WINDOWS" => "system:node:{{EC2PrivateDNSName}}".to_owned(),
        "STANDARD" => {
            let parts: Vec<&str> = principal_arn.split(':').collect();
            let resource = parts.get(5).copied().unwrap_or_default();
            if !resource.starts_with("role/") {
                return principal_arn.to_owned();
            }
            let (partition, account) = (parts[1], parts[4]);
            let name = resource.rsplit('/').next().unwrap_or_default();
            format!("arn:{partition}:sts::{account}:assumed-role/{name}/{{{{SessionName}}}}")
        }
        _ => "system:node:{{SessionName}}".to_owned(),
    }
}

/// The groups that EKS gives.
pub(super) fn default_groups(type_: &str) -> Vec<String> {
    let groups: &[&str] = match type_ {
        "STANDARD" => &[],
        "EC2_WINDOWS" => &["system:nodes", "eks:kube-proxy-windows"],
        "FARGATE_LINUX" => &["system:nodes", "system:node-proxier"],
        _ => &["system:nodes"],
    };
    groups.iter().map(|&group| group.to_owned()).collect()
}

/// Seconds since 1970, with milliseconds as EKS gives them.
pub(super) fn epoch(time: Timestamp) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 need 41 of the 52 bits"
    )]
    let milliseconds = time.as_millisecond() as f64;
    milliseconds / 1000.0
}
