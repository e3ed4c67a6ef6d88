//! The actions of a plan, their results, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::cause::ChangeCause;
use super::memory::Memory;
use crate::access_entry::Call;
use crate::api::condition::{ConditionType, Reason};
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::{Backend, IdentityMappingStatus, WrittenEntry, WrittenPolicy};
use crate::aws_auth::{Meaning, Section};
use crate::observed::ConfigMapView;
use crate::observed::IamWants;
use crate::principal::Key;
use crate::safety::Cleared;
use crate::time::Timestamp;

/// The annotation on the history `ConfigMap` that says that everything was released: a running operator then writes nothing
/// until it is restarted.
pub const RELEASED_ANNOTATION: &str = "identity-mapper.dev/released";

/// The annotation on the history `ConfigMap` that asks whether an operator works: one that does takes it off.
pub const PING_ANNOTATION: &str = "identity-mapper.dev/ping";

/// The annotation on the history `ConfigMap` that carries the handover setting.
pub const HANDOVER_ANNOTATION: &str = "identity-mapper.dev/handover";

/// The name under which we write (`metadata.managedFields`).
pub const FIELD_MANAGER: &str = "identity-mapper";

/// A change of one mapping's finalizers: additions and removals are one write.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FinalizerChange {
    /// The mapping's name.
    pub name: String,
    /// Its uid, so that an object made anew under the name is not touched.
    pub uid: String,
    /// Those to add.
    pub add: Finalizers,
    /// Those to take off.
    pub remove: Finalizers,
    /// Whether a deleted mapping then waits for nothing of ours any more.
    pub lets_go: bool,
    /// The principals that were found to have no access entry of ours. Once more is known of one of them, the change must not be made.
    pub relies_on: BTreeSet<Key>,
}

/// A write of the history `ConfigMap`, made before the one of aws-auth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryWrite {
    /// The resourceVersion that the write carries; `None`: the `ConfigMap` is created.
    pub resource_version: Option<String>,
    /// Copies to add: key of `binaryData` and bytes.
    pub add: BTreeMap<String, Vec<u8>>,
    /// Copies to remove.
    pub remove: Vec<String>,
    /// Annotations to set, or with `None` to remove.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// The write of aws-auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigMapWrite {
    /// It does not exist: create it.
    Create {
        /// The texts.
        data: BTreeMap<String, String>,
        /// Keys whose value is not UTF-8.
        binary_data: BTreeMap<String, Vec<u8>>,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Its annotations, the mark among them.
        annotations: BTreeMap<String, String>,
    },
    /// A merge patch that carries the resourceVersion that was read.
    Patch {
        /// The resourceVersion that was read.
        resource_version: String,
        /// The changed keys only; `None` removes.
        data: BTreeMap<String, Option<String>>,
        /// The changed annotations only; `None` removes.
        annotations: BTreeMap<String, Option<String>>,
    },
}

impl ConfigMapWrite {
    /// aws-auth as the write leaves it, but for what the API server sets.
    #[must_use]
    pub fn applied(&self, standing: Option<&ConfigMapView>) -> ConfigMapView {
        match self {
            Self::Create {
                data,
                binary_data,
                labels,
                annotations,
            } => ConfigMapView {
                data: data.clone(),
                binary_data: binary_data.clone(),
                labels: labels.clone(),
                annotations: annotations.clone(),
                ..ConfigMapView::default()
            },
            Self::Patch {
                data, annotations, ..
            } => {
                let mut view = standing.cloned().unwrap_or_default();
                merge(&mut view.data, data);
                merge(&mut view.annotations, annotations);
                view
            }
        }
    }
}

fn merge(into: &mut BTreeMap<String, String>, changes: &BTreeMap<String, Option<String>>) {
    for (key, value) in changes {
        match value {
            Some(value) => into.insert(key.clone(), value.clone()),
            None => into.remove(key),
        };
    }
}

/// Calls for one principal, in order. The first that fails ends them; what is left is planned anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryWork {
    /// The principal.
    pub key: Key,
    /// The calls.
    pub calls: Vec<Call>,
    /// Whether they are right only once the plan's write of aws-auth is made.
    pub needs_text: bool,
}

/// Why a write of aws-auth was not made or not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteFailure {
    /// Admission denied it: the denial's own words.
    Denied(String),
    /// The API server says that we may not: its words.
    Forbidden(String),
    /// The API server refused the object as invalid: its words.
    Invalid(String),
    /// It could not be reached, was throttled or timed out; retried.
    Unavailable(String),
}

/// What came of the write of aws-auth. On a conflict there is no outcome: the controller observes and plans again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The plan asked for no write.
    NothingToWrite,
    /// It exists, with this resourceVersion and uid.
    Written {
        /// The new resourceVersion.
        resource_version: String,
        /// The object's uid.
        uid: String,
    },
    /// It does not stand.
    Failed(WriteFailure),
}

/// A status to write, whole. Only those that differ from what exists are reported.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// The mapping's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The new status.
    pub status: IdentityMappingStatus,
}

/// What an event speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regarding {
    /// A mapping.
    Mapping {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// aws-auth itself.
    ConfigMap,
}

/// An event to publish. Never aggregated by the publisher: each note is true for the moment it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventNote {
    /// What it speaks of.
    pub regarding: Regarding,
    /// Why, from the one enum of reasons.
    pub reason: Reason,
    /// What was done: an imperative word such as `Repair`.
    pub action: &'static str,
    /// The sentence, at most 1 kB.
    pub note: String,
}

/// What became of a principal's access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessAction {
    /// There was none by this operator.
    Granted,
    /// Another identity.
    Changed,
    /// The same identity by the other backend; without an identity, the former entry was removed.
    Moved,
    /// Someone else's change was undone.
    Repaired,
    /// An existing entry is now managed.
    Adopted,
    /// An entry with our mark that no status named: a status was lost, or we ended before it was written.
    Found,
    /// The entry was removed.
    Revoked,
    /// An entry that no mapping named was removed.
    OrphanRemoved,
    /// The entry stays and is no longer managed.
    Released,
}

impl AccessAction {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Granted,
        Self::Changed,
        Self::Moved,
        Self::Repaired,
        Self::Adopted,
        Self::Found,
        Self::Revoked,
        Self::OrphanRemoved,
        Self::Released,
    ];

    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Changed => "changed",
            Self::Moved => "moved",
            Self::Repaired => "repaired",
            Self::Adopted => "adopted",
            Self::Found => "found",
            Self::Revoked => "revoked",
            Self::OrphanRemoved => "orphan_removed",
            Self::Released => "released",
        }
    }
}

/// What a principal becomes by an entry, for the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessIdentity {
    /// The username, placeholders included.
    pub username: String,
    /// The groups, sorted.
    pub groups: Vec<String>,
    /// The access policies by name, with the namespaces where they hold.
    pub policies: Vec<String>,
}

impl From<&WrittenEntry> for AccessIdentity {
    fn from(entry: &WrittenEntry) -> Self {
        let policy = |written: &WrittenPolicy| {
            let name = written.policy.rsplit('/').next().unwrap_or_default();
            match written.namespaces.as_slice() {
                [] => name.to_owned(),
                namespaces => format!("{name} in {}", namespaces.join(" ")),
            }
        };
        Self {
            username: entry.username.clone(),
            groups: entry.groups.clone(),
            policies: entry.access_policies.iter().map(policy).collect(),
        }
    }
}

impl From<&Meaning> for AccessIdentity {
    fn from(meaning: &Meaning) -> Self {
        Self {
            username: meaning.username.clone(),
            groups: meaning.groups.iter().cloned().collect(),
            policies: Vec::new(),
        }
    }
}

impl fmt::Display for AccessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "username {:?}", self.username)?;
        if !self.groups.is_empty() {
            write!(f, ", groups {}", self.groups.join(", "))?;
        }
        if !self.policies.is_empty() {
            write!(f, ", access policies {}", self.policies.join(", "))?;
        }
        Ok(())
    }
}

/// One change of one principal's access: a line of the log, a count, and where it is worth one an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessChange {
    /// What happened.
    pub action: AccessAction,
    /// In which backend.
    pub backend: Backend,
    /// The principal's ARN.
    pub principal: String,
    /// What it is now; `None`: nothing by this entry.
    pub now: Option<AccessIdentity>,
    /// What it was.
    pub before: Option<AccessIdentity>,
    /// Whose entry it is.
    pub regarding: Regarding,
    /// The mapping's generation.
    pub generation: Option<i64>,
    /// Why.
    pub cause: ChangeCause,
    /// Who changed what before a repair.
    pub detail: Option<String>,
}

/// Numbers for metrics. Gauges are the state after the pass; counters what this pass adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Mappings by condition type and status (`True`, `False`, `Unknown`): a gauge.
    pub conditions: BTreeMap<(ConditionType, &'static str), u64>,
    /// For each key that exists, whether it parses: a gauge.
    pub parses: BTreeMap<Section, bool>,
    /// For each key, entries that the authenticator drops: a gauge.
    pub dropped: BTreeMap<Section, u64>,
    /// Removals that wait for a confirmation: a gauge.
    pub held: u64,
    /// Owned keys: a gauge.
    pub owned: u64,
    /// Owned keys that no object names: a gauge.
    pub orphaned: u64,
    /// Entries that are contested, and texts: a gauge.
    pub contested: u64,
    /// Drift repaired in this pass, by kind (`changed`, `removed`, `displaced`, `text`, `deleted`): a counter.
    pub drift: BTreeMap<&'static str, u64>,
    /// Mappings that are gone or expired whose principals something else still grants access, as this pass found: a counter.
    pub uncovered: u64,
    /// Principals that certainly are administrators, by backend and source (`policy`, `group`, `username`): a gauge.
    pub administrators: BTreeMap<(Backend, &'static str), u64>,
    /// Whether a binding gives cluster-admin to the bridge group: a gauge.
    pub bridge: bool,
    /// Whether the history `ConfigMap` says that everything was released: a gauge.
    pub released: bool,
}

/// What follows from a plan and its outcome.
#[derive(Clone, Debug)]
pub struct Report {
    /// Statuses that change.
    pub statuses: Vec<StatusWrite>,
    /// Finalizers to take off or to exchange, after the statuses.
    pub change_finalizers: Vec<Cleared<FinalizerChange>>,
    /// Who got access, whose changed and who lost it.
    pub changes: Vec<AccessChange>,
    /// Events.
    pub events: Vec<EventNote>,
    /// Numbers.
    pub summary: Summary,
    /// For the next pass.
    pub memory: Memory,
    /// Which of IAM the next plans want to know.
    pub iam: IamWants,
    /// The principals that a mapping, the mark or a tag of ours names.
    pub declared: BTreeSet<Key>,
    /// Whether they want to know which principals EKS itself makes access entries for.
    pub managed: bool,
    /// When to plan again although nothing changes: a validUntil, a contested entry's next repair.
    pub wake: Option<Timestamp>,
}
