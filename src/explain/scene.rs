//! What was read from the cluster, prepared for many questions.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::aws_auth::{Document, Entry};
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::explain::rbac::Rbac;
use crate::observed::{AwsState, Binding, Bindings, ConfigMapName, Mode};
use crate::principal::Key;
use crate::time::Timestamp;

/// Fixes the `data` of an aws-auth.
pub type FixData =
    fn(&BTreeMap<String, String>, &dyn Fn(&Entry) -> bool) -> BTreeMap<String, String>;

/// What was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The texts of aws-auth; `None`: it does not exist.
    pub data: Option<&'a BTreeMap<String, String>>,
    /// What the authenticator makes of them.
    pub document: &'a Document,
    /// EKS and IAM.
    pub aws: &'a AwsState,
    /// What plans decide by.
    pub bindings: &'a Bindings,
    /// Every binding by name; `None`: RBAC was not looked at.
    pub rbac: Option<&'a [Binding]>,
    /// The mappings, by the key that each holds.
    pub declared: &'a BTreeMap<Key, DeclaringMapping>,
    /// Whether mappings can be made: our definition is in the cluster.
    pub installed: bool,
    /// The `ConfigMap` that is meant.
    pub config_map: &'a ConfigMapName,
    /// What `lint --fix` would make of a text; the function says which entries it leaves alone.
    pub fix_data: FixData,
}

/// The mapping that holds a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaringMapping {
    /// Its name.
    pub mapping: String,
    /// When its entry is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why it is not in effect as declared, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<String>,
}

/// What was looked at, made ready for many questions: one walk over everything, then each answer without another.
#[derive(Debug)]
pub struct Explainer<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) effective: EffectiveAccess<'a>,
    pub(super) rbac: Option<Rbac<'a>>,
}

impl<'a> Explainer<'a> {
    /// Makes it ready.
    #[must_use]
    pub fn new(scene: Scene<'a>) -> Self {
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
    pub fn mode(&self) -> Option<Mode> {
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
