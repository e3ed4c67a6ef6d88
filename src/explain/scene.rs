//! The data of a cluster, prepared for many questions.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::aws_auth::{Document, Entry};
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::explain::rbac::Rbac;
use crate::observed::{AwsState, Binding, Bindings, ConfigMapName, Mode};
use crate::principal::Key;
use crate::time::Timestamp;

/// Fixes the `data` of an aws-auth.
pub(crate) type FixData =
    fn(&BTreeMap<String, String>, &dyn Fn(&Entry) -> bool) -> BTreeMap<String, String>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// The texts of aws-auth; `None`: it does not exist.
    pub(crate) data: Option<&'a BTreeMap<String, String>>,
    /// What the authenticator makes of them.
    pub(crate) document: &'a Document,
    pub(crate) aws: &'a AwsState,
    pub(crate) bindings: &'a Bindings,
    /// Every binding by name; `None`: RBAC was not read.
    pub(crate) rbac: Option<&'a [Binding]>,
    /// The mappings, by the key that each holds.
    pub(crate) declared: &'a BTreeMap<Key, DeclaringMapping>,
    /// Mappings that name a principal and hold no key.
    pub(crate) without_key: &'a [IdleMapping],
    /// The OIDC identity providers of the cluster, or why they could not be read; `None`: EKS was not asked.
    pub(crate) identity_providers: Option<&'a Result<Vec<String>, String>>,
    /// When all that was read.
    pub(crate) now: Timestamp,
    /// Whether mappings can be made: our definition is in the cluster.
    pub(crate) installed: bool,
    /// Whether ownership was given up, and no operator has started since.
    pub(crate) released: bool,
    /// The `ConfigMap` that is meant.
    pub(crate) config_map: &'a ConfigMapName,
    /// The flags with which a command of ours reads the same cluster; each after a space.
    pub(crate) flags: &'a str,
    /// What `lint --fix` would make of a text; the function says which entries it leaves alone.
    pub(crate) fix_data: FixData,
}

/// The mapping that holds a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeclaringMapping {
    pub(crate) mapping: String,
    /// When its entry is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// Why it is not in effect as declared, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_ready: Option<String>,
    /// Whether the operator has reported on it.
    #[serde(skip)]
    pub(crate) reported: bool,
}

/// A mapping that names a principal and grants it nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdleMapping {
    pub(crate) mapping: String,
    /// The key of the principal that it names.
    pub(crate) key: Option<Key>,
    /// The permission set that it names, with the account.
    pub(crate) permission_set: Option<(String, String)>,
    /// Why it grants nothing.
    pub(crate) why: IdleReason,
    /// The operator's words, or the planner's.
    pub(crate) words: String,
}

/// Why a mapping holds no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdleReason {
    Suspended,
    /// Its `validUntil` has passed.
    Expired,
    /// It is refused, unresolved, or another mapping names the same principal.
    Refused,
    Deleting,
}

/// What was read, made ready for many questions: one walk over everything, then each answer without another.
#[derive(Debug)]
pub(crate) struct Explainer<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) effective: EffectiveAccess<'a>,
    pub(super) rbac: Option<Rbac<'a>>,
}

impl<'a> Explainer<'a> {
    #[must_use]
    pub(crate) fn new(scene: Scene<'a>) -> Self {
        Self {
            effective: EffectiveAccess::new(Sources {
                aws_auth: scene.document,
                reading: Reading::of(scene.config_map),
                aws: scene.aws,
                bindings: scene.bindings,
            }),
            rbac: scene.rbac.map(Rbac::new),
            scene,
        }
    }

    /// The authentication mode; `None` where it is not known, and aws-auth counts as read.
    #[must_use]
    pub(crate) fn mode(&self) -> Option<Mode> {
        self.effective.mode()
    }

    /// The cluster's name in EKS, for a command.
    pub(super) fn cluster_name(&self) -> &str {
        self.scene
            .aws
            .view()
            .map_or("CLUSTER", |view| view.cluster.name.as_str())
    }
}
