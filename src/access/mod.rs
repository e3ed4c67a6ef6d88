//! Who gets into the cluster, as what, by what, and why someone does not.
//!
//! Pure, and never a second opinion: which entry lets a principal in, which let nobody in and what makes an administrator is asked
//! of [`crate::plan`], the reading of aws-auth of [`crate::aws_auth`]. What is added is words: the identity with its placeholders
//! filled in, what RBAC binds to it, and for whoever is not let in the nearest entries with the likely cause and the mend.

mod caller;
mod cause;
mod explain;
mod identity;
mod mend;
mod nearest;
mod question;
mod rbac;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::time::Timestamp;
use serde::Serialize;

pub use caller::{Caller, CallerError};
pub use cause::{Cause, CauseKind};
pub use explain::Explanation;
pub use identity::{Backend, Held, Identity, PassedOver, Place};
pub use mend::{Edit, Mend, way_in};
pub use question::{Answer, Object, Question, Verdict};
pub use rbac::Bound;
pub use report::{Creator, Report, Row, RowKind};

use rbac::Rbac;

use crate::aws_auth::{Document, Index};
use crate::effective::{StandingEntries, Unmatchable};
use crate::observed::{AwsState, AwsView, Binding, Bindings, ConfigMapName, Mode};
use crate::principal::Key;

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
    pub declared: &'a BTreeMap<Key, Declared>,
    /// Whether mappings can be made: our definition is in the cluster.
    pub installed: bool,
    /// The `ConfigMap` that is meant.
    pub config_map: &'a ConfigMapName,
}

/// The mapping that holds a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Declared {
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
pub struct Door<'a> {
    scene: Scene<'a>,
    index: Index<'a>,
    /// EKS, where access entries count.
    eks: Option<&'a AwsView>,
    standing: StandingEntries<'a>,
    rbac: Option<Rbac<'a>>,
}

impl<'a> Door<'a> {
    /// Makes it ready.
    #[must_use]
    pub fn new(scene: Scene<'a>) -> Self {
        let eks = scene.aws.view().filter(|view| view.mode != Mode::ConfigMap);
        Self {
            index: Index::new(scene.document),
            standing: eks.map(StandingEntries::new).unwrap_or_default(),
            rbac: scene.rbac.map(Rbac::new),
            eks,
            scene,
        }
    }

    /// The authentication mode; `None` where it is not known, and aws-auth counts as read.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.scene.aws.mode()
    }

    /// The cluster's name in EKS, for a command.
    fn cluster_name(&self) -> &str {
        self.scene
            .aws
            .view()
            .map_or("CLUSTER", |view| view.cluster.name.as_str())
    }
}

/// Why an entry lets nobody in, whoever calls, in words.
fn unmatchable_words(why: Unmatchable) -> &'static str {
    match why {
        Unmatchable::Sso => "EKS does not look at entries with `sso`",
        Unmatchable::Path => "its ARN has the role's path, and whoever signs in comes without it",
        Unmatchable::Session => {
            "its ARN is a session's, and whoever signs in with a role is looked up as the role"
        }
        Unmatchable::NotAnIdentity => "its ARN is none of a role or user, so nobody comes with it",
        Unmatchable::NoUsername => {
            "it has no username, and without one the API server takes no login"
        }
    }
}
