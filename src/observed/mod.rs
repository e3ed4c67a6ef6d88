//! The state of the cluster as plain values. [`crate::cluster`] reads it.

mod aws;
mod copy;
mod managed;
#[cfg(test)]
pub(crate) mod misread;
mod rbac;
mod settings;
mod texts;
mod trust;

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use serde::{Deserialize, Serialize};

pub use aws::{
    Attempt, AwsState, AwsView, CLUSTER_ANNOTATION, Iam, IamAccount, IamPrincipal, IamProblem,
    IamProblems, IamWants, Kept, Listing, Mode, Unreachable,
};
pub use copy::{CopyName, KeptCopy, PackedCopy, UnreadableCopy};
pub(crate) use copy::{NewCopy, is_hex};
pub use managed::{ANSWER_COUNTS, Answer, Feature, ManagedPrincipals, Reliance, Users};
pub use rbac::{Binding, BoundRole};
pub use settings::{ConfigMapName, Handover, RecreatedPrincipals, Repair, Settings};
pub(crate) use texts::is_older;
pub use texts::{SeenText, SeenTexts};
pub use trust::{OtherCluster, Trust};

/// Everything that a plan looks at beside the mappings.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The operator's clock.
    pub now: Timestamp,
    /// aws-auth; `None` where the API server said that it does not exist. A failed read never gets here.
    pub config_map: Option<ConfigMapView>,
    /// The history `ConfigMap` beside it.
    pub history: HistoryState,
    /// What RBAC binds.
    pub bindings: Bindings,
    /// EKS and IAM.
    pub aws: AwsState,
    /// Whether the `CustomResourceDefinition` carries a deletionTimestamp: its objects then vanish without anyone's wish.
    pub crd_deleting: bool,
}

/// A `ConfigMap` as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapView {
    /// Its uid.
    pub uid: String,
    /// The resourceVersion that a write must carry.
    pub resource_version: String,
    /// The text of each key.
    pub data: BTreeMap<String, String>,
    /// Keys whose value is not UTF-8. They count for the size and are left alone.
    pub binary_data: BTreeMap<String, Vec<u8>>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, our mark among them.
    pub annotations: BTreeMap<String, String>,
    /// `immutable: true`: the API server refuses any change of data.
    pub immutable: bool,
    /// Which field manager last wrote each key of `data`.
    pub managers: BTreeMap<String, Manager>,
}

/// A field manager and when it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Its name, e.g. `kubectl-edit`.
    pub name: String,
    /// When it last wrote, where Kubernetes keeps it.
    pub time: Option<Timestamp>,
}

impl ConfigMapView {
    /// The view of an object as the API server returned it.
    #[must_use]
    pub fn from_object(object: &ConfigMap) -> Self {
        let metadata = &object.metadata;
        let mut managers: BTreeMap<String, Manager> = BTreeMap::new();
        for field in metadata.managed_fields.iter().flatten() {
            let Some(keys) = field
                .fields_v1
                .as_ref()
                .and_then(|fields| fields.0.get("f:data")?.as_object())
            else {
                continue;
            };
            let manager = Manager {
                name: field
                    .manager
                    .clone()
                    .unwrap_or_else(|| "unknown".to_owned()),
                time: field.time.as_ref().map(Into::into),
            };
            for key in keys.keys().filter_map(|key| key.strip_prefix("f:")) {
                // A key can have several owners by server-side apply; the latest is the one that matters.
                match managers.get(key) {
                    Some(earlier) if earlier.time >= manager.time => {}
                    _ => {
                        managers.insert(key.to_owned(), manager.clone());
                    }
                }
            }
        }
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            data: object.data.clone().unwrap_or_default(),
            binary_data: object
                .binary_data
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.0.clone()))
                .collect(),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            immutable: object.immutable.unwrap_or(false),
            managers,
        }
    }
}

/// The history `ConfigMap`, or why it can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryState {
    /// It does not exist yet.
    Missing,
    /// As it is.
    Present(HistoryView),
    /// It could not be written in this pass: additions wait, repairs and revocations go on.
    Unwritable {
        /// What it holds, where it exists.
        view: Option<HistoryView>,
        /// Why, in the API server's words.
        error: String,
    },
}

impl HistoryState {
    /// What it holds, written or not.
    #[must_use]
    pub fn view(&self) -> Option<&HistoryView> {
        match self {
            Self::Missing => None,
            Self::Present(view) => Some(view),
            Self::Unwritable { view, .. } => view.as_ref(),
        }
    }
}

/// So many copies say which entries were unmanaged: a text that was kept a moment ago may lack the managed entry that tells them apart.
const RECENT_COPIES: usize = 4;

/// The history `ConfigMap` with the bytes of its newest copies: of the others only the sizes are kept in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryView {
    /// The resourceVersion that a write must carry.
    pub resource_version: String,
    /// Its annotations: removals, confirmation, release.
    pub annotations: BTreeMap<String, String>,
    /// The keys of `binaryData` with the size of each value in bytes.
    pub copies: BTreeMap<String, usize>,
    /// The newest copies, the newest first: what was there before the last writes that a copy was kept for.
    pub recent: Vec<PackedCopy>,
}

impl HistoryView {
    /// The view of an object as the API server returned it.
    #[must_use]
    pub fn from_object(object: &ConfigMap) -> Self {
        let copies = || object.binary_data.iter().flatten();
        Self {
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            annotations: object.metadata.annotations.clone().unwrap_or_default(),
            copies: copies()
                .map(|(name, bytes)| (name.clone(), bytes.0.len()))
                .collect(),
            recent: Self::recent(copies().map(|(name, bytes)| (name.as_str(), bytes.0.as_slice()))),
        }
    }

    /// The newest of some copies, by their names.
    pub(crate) fn recent<'a>(copies: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<PackedCopy> {
        let dated =
            copies.filter_map(|(name, bytes)| Some(((CopyName::parse(name)?.time, name), bytes)));
        let mut dated: Vec<_> = dated.collect();
        dated.sort_by(|(one, _), (other, _)| other.cmp(one));
        let recent = dated.into_iter().take(RECENT_COPIES);
        recent
            .map(|((_, name), bytes)| PackedCopy {
                name: name.to_owned(),
                bytes: bytes.into(),
            })
            .collect()
    }
}

/// The subjects of one binding, of `RoleBinding` or `ClusterRoleBinding`: all that is kept of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingSubjects {
    /// Groups that it names.
    pub groups: BTreeSet<String>,
    /// Users that it names.
    pub users: BTreeSet<String>,
    /// Whether it is a `ClusterRoleBinding` to `cluster-admin`.
    pub cluster_admin: bool,
}

impl BindingSubjects {
    fn new(
        subjects: Option<&Vec<k8s_openapi::api::rbac::v1::Subject>>,
        cluster_admin: bool,
    ) -> Self {
        let named = |kind: &str| {
            subjects
                .into_iter()
                .flatten()
                .filter(|s| s.kind == kind)
                .map(|s| s.name.clone())
                .collect()
        };
        Self {
            groups: named("Group"),
            users: named("User"),
            cluster_admin,
        }
    }

    /// What is kept of a `ClusterRoleBinding`.
    #[must_use]
    pub fn of_cluster_role_binding(binding: &ClusterRoleBinding) -> Self {
        let role = &binding.role_ref;
        Self::new(
            binding.subjects.as_ref(),
            role.kind == "ClusterRole" && role.name == "cluster-admin",
        )
    }

    /// What is kept of a `RoleBinding`.
    #[must_use]
    pub fn of_role_binding(binding: &RoleBinding) -> Self {
        Self::new(binding.subjects.as_ref(), false)
    }
}

/// What all bindings name together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// Groups that some binding names.
    pub groups: BTreeSet<String>,
    /// Groups that a `ClusterRoleBinding` binds to `cluster-admin`.
    pub admin_groups: BTreeSet<String>,
    /// Users that a `ClusterRoleBinding` binds to `cluster-admin`.
    pub admin_users: BTreeSet<String>,
    /// Groups that mappings name and that bindings have not been searched for yet: whether one is bound is not known.
    pub unread: BTreeSet<String>,
}

impl<'a> FromIterator<&'a BindingSubjects> for Bindings {
    fn from_iter<I: IntoIterator<Item = &'a BindingSubjects>>(bindings: I) -> Self {
        let mut all = Self::default();
        for binding in bindings {
            all.groups.extend(binding.groups.iter().cloned());
            if binding.cluster_admin {
                all.admin_groups.extend(binding.groups.iter().cloned());
                all.admin_users.extend(binding.users.iter().cloned());
            }
        }
        all
    }
}
