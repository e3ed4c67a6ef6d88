//! The state that the watches have reported, as one value.
//!
//! Events go in, the planner's input comes out. A *change* is a difference between what is known now and what the last
//! pass left behind, so our own writes are none, whether their watch event comes before or after their answer.
//! Invariants:
//!
//! - nothing is handed out before every first list was complete;
//! - a status that waits to be written counts as written: the next plan builds on it, not on the older one that the API
//!   server still shows.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bindings::{Interest, KnownBindings};
use super::mapping::SeenMapping;
pub use super::versioned::WatchChange;
use super::versioned::{Collection, Versioned};
use super::watch::MAPPINGS;
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::desired::resolve::is_of_set;
use crate::desired::{Desired, Mapping, State};
use crate::observed::{
    AwsState, BindingSubjects, Bindings, CLUSTER_ANNOTATION, ConfigMapName, ConfigMapView,
    HistoryState, HistoryView, Kept, Observed, SeenTexts,
};
use crate::principal::{Key, Principal};
use crate::time::Timestamp;

/// One event of one of the watches.
#[derive(Clone, Debug)]
pub enum Watched {
    /// Of the mappings, by name.
    Mapping(WatchChange<SeenMapping>),
    /// Of aws-auth, by namespace and name.
    ConfigMap(WatchChange<ConfigMapView>),
    /// Of the history, by namespace and name.
    History(WatchChange<HistoryView>),
    /// Of the `RoleBinding`s, by namespace and name, and what they were narrowed to.
    RoleBinding(WatchChange<BindingSubjects>, Arc<Interest>),
    /// Of the `ClusterRoleBinding`s, by name, and what they were narrowed to.
    ClusterRoleBinding(WatchChange<BindingSubjects>, Arc<Interest>),
    /// Of our `CustomResourceDefinition`, by name.
    Definition(WatchChange<Definition>),
}

/// What is kept of our `CustomResourceDefinition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Whether it carries a deletionTimestamp.
    pub deleting: bool,
}

impl Versioned for Definition {
    fn resource_version(&self) -> &'static str {
        ""
    }
}

impl Versioned for ConfigMapView {
    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

impl Versioned for HistoryView {
    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// The planner's input at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The mappings.
    pub desired: Desired,
    /// Everything else.
    pub observed: Observed,
    /// The finalizers of each mapping, by name.
    pub finalizers: BTreeMap<String, Vec<String>>,
    /// The version of aws-auth that the watch showed last, which a direct read may have overtaken; `None`: none is there.
    pub shown: Option<String>,
}

/// What a pass leaves behind; a difference to it is a change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    config_map: Option<(String, String)>,
    history: Option<BTreeMap<String, String>>,
    bindings: Bindings,
    crd_deleting: bool,
}

/// Everything that the watches have told.
#[derive(Debug)]
pub struct WatchedState {
    name: ConfigMapName,
    mappings: Collection<SeenMapping>,
    config_map: Collection<ConfigMapView>,
    history: Collection<HistoryView>,
    bindings: KnownBindings,
    definition: Collection<Definition>,
    /// Statuses that are to be written, by name, with the uid.
    assumed: BTreeMap<String, (String, IdentityMappingStatus)>,
    /// Uids of the mappings whose finalizer we take off.
    let_go: BTreeSet<String>,
    mappings_changed: bool,
    /// The keys that mappings named before or name since they changed, until they are taken.
    stirred: BTreeSet<Key>,
    settled: Option<Settled>,
    /// What aws-auth was, until it is taken.
    texts: SeenTexts,
    /// The version of aws-auth that the watch showed last; `None`: it showed that there is none.
    shown: Option<String>,
}

impl WatchedState {
    /// Nothing known yet. `name` is the `ConfigMap` that is kept.
    #[must_use]
    pub fn new(name: ConfigMapName) -> Self {
        Self {
            name,
            mappings: Collection::default(),
            config_map: Collection::default(),
            history: Collection::default(),
            bindings: KnownBindings::default(),
            definition: Collection::default(),
            assumed: BTreeMap::new(),
            let_go: BTreeSet::new(),
            mappings_changed: false,
            stirred: BTreeSet::new(),
            settled: None,
            texts: SeenTexts::default(),
            shown: None,
        }
    }

    /// Takes in an event.
    pub fn apply(&mut self, event: Watched) {
        match event {
            Watched::Mapping(change) => self.apply_mapping(change),
            Watched::ConfigMap(change) => self.apply_config_map(change),
            Watched::History(change) => {
                self.history.apply(change, |_, _| true);
            }
            Watched::RoleBinding(change, interest) => {
                self.bindings.apply_role_binding(change, interest);
            }
            Watched::ClusterRoleBinding(change, interest) => {
                self.bindings.apply_cluster_role_binding(change, interest);
            }
            Watched::Definition(change) => {
                self.definition.apply(change, |_, _| true);
            }
        }
    }

    /// A read of ours may have overtaken the watch. What it shows later is no news then, and still tells what was there in between.
    fn apply_config_map(&mut self, change: WatchChange<ConfigMapView>) {
        let name = self.name.to_string();
        let complete = matches!(change, WatchChange::Complete);
        match &change {
            WatchChange::Listed(key, view) | WatchChange::Applied(key, view) if *key == name => {
                self.texts.see(view);
                self.shown = Some(view.resource_version.clone());
            }
            WatchChange::Deleted { key, .. } if *key == name => self.shown = None,
            WatchChange::Listed(..)
            | WatchChange::Applied(..)
            | WatchChange::Deleted { .. }
            | WatchChange::Restart
            | WatchChange::Complete => {}
        }
        self.config_map.apply(change, |_, _| true);
        if complete && self.config_map.get(&name).is_none() {
            self.shown = None;
        }
    }

    fn apply_mapping(&mut self, change: WatchChange<SeenMapping>) {
        let change = match change {
            WatchChange::Listed(name, seen) => {
                WatchChange::Listed(name.clone(), self.with_assumed(&name, seen))
            }
            WatchChange::Applied(name, seen) => {
                WatchChange::Applied(name.clone(), self.with_assumed(&name, seen))
            }
            other
            @ (WatchChange::Restart | WatchChange::Complete | WatchChange::Deleted { .. }) => other,
        };
        let deleted = match &change {
            WatchChange::Deleted { key, .. } => self.mappings.get(key).map(|seen| seen.uid.clone()),
            WatchChange::Restart
            | WatchChange::Listed(..)
            | WatchChange::Complete
            | WatchChange::Applied(..) => None,
        };
        let listed = matches!(change, WatchChange::Complete);
        let new_groups = match &change {
            WatchChange::Applied(_, seen) => self.bindings.is_new_to(&seen.mapping),
            WatchChange::Complete => true,
            WatchChange::Restart | WatchChange::Listed(..) | WatchChange::Deleted { .. } => false,
        };
        let let_go = &self.let_go;
        let stirred = RefCell::new(BTreeSet::new());
        let differs = |before: Option<&SeenMapping>, after: Option<&SeenMapping>| {
            let by_us = after.is_none() && before.is_some_and(|seen| let_go.contains(&seen.uid));
            let differs = !by_us && SeenMapping::differs(before, after);
            if differs {
                let both = before.into_iter().chain(after);
                stirred
                    .borrow_mut()
                    .extend(both.filter_map(|seen| seen.mapping.key()));
            }
            differs
        };
        let changed = self.mappings.apply(change, differs);
        self.mappings_changed |= changed;
        self.stirred.extend(stirred.into_inner());
        if listed && changed {
            // A list is compared up to its first difference.
            let all = self.mappings.iter();
            self.stirred
                .extend(all.filter_map(|(_, seen)| seen.mapping.key()));
        }
        if new_groups && self.mappings.is_complete() {
            self.bindings
                .ask(self.mappings.iter().map(|(_, seen)| &*seen.mapping));
        }
        if let Some(uid) = deleted {
            self.let_go.remove(&uid);
        }
        if listed {
            let present: BTreeSet<&str> = self
                .mappings
                .iter()
                .map(|(_, seen)| seen.uid.as_str())
                .collect();
            self.let_go.retain(|uid| present.contains(uid.as_str()));
        }
    }

    /// The principals whose mappings have changed since this was asked last.
    pub fn take_stirred(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.stirred)
    }

    /// What the watch has shown of aws-auth since this was asked last: a later event hides what an earlier one showed.
    pub fn take_texts(&mut self) -> SeenTexts {
        std::mem::take(&mut self.texts)
    }

    fn with_assumed(&self, name: &str, mut seen: SeenMapping) -> SeenMapping {
        if let Some((uid, status)) = self.assumed.get(name)
            && *uid == seen.uid
        {
            seen.mapping.status.clone_from(status);
        }
        seen
    }

    /// Keeps every group that a binding names: the mappings are not stored, and what they name is known to others.
    pub fn keep_all_bindings(&mut self) {
        self.bindings.keep_all();
    }

    /// What bindings are to be searched for; `None` before the mappings are known.
    #[must_use]
    pub fn interest(&self) -> Option<&Arc<Interest>> {
        self.bindings.interest()
    }

    /// What has not been listed yet, in words for people; empty when a pass may begin.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (MAPPINGS, self.mappings.is_complete()),
            ("the ConfigMap", self.config_map.is_complete()),
            ("the history ConfigMap", self.history.is_complete()),
            (
                "the CustomResourceDefinition",
                self.definition.is_complete(),
            ),
        ]
        .into_iter()
        .filter_map(|(what, complete)| (!complete).then_some(what))
        .chain(self.bindings.missing())
        .collect()
    }

    /// Whether a pass is due: everything is known, and it is not as the last pass left it.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.missing().is_empty()
            && (self.mappings_changed
                || !self
                    .settled
                    .as_ref()
                    .is_some_and(|settled| self.stands_as(settled)))
    }

    /// The planner's input with what EKS and IAM say, or `None` before everything is known. Changes are counted anew from here.
    pub fn snapshot(&mut self, now: Timestamp, aws: AwsState) -> Option<Snapshot> {
        let snapshot = self.input(now, aws)?;
        self.mappings_changed = false;
        self.settled = Some(self.standing());
        Some(snapshot)
    }

    /// The `ConfigMap` that is kept.
    #[must_use]
    pub const fn name(&self) -> &ConfigMapName {
        &self.name
    }

    /// What RBAC binds.
    #[must_use]
    pub fn bindings(&self) -> &Bindings {
        self.bindings.all()
    }

    /// The same without counting anew.
    #[must_use]
    pub fn input(&self, now: Timestamp, aws: AwsState) -> Option<Snapshot> {
        if !self.missing().is_empty() {
            return None;
        }
        Some(Snapshot {
            desired: Desired {
                mappings: self
                    .mappings
                    .iter()
                    .map(|(_, seen)| Mapping::clone(&seen.mapping))
                    .collect(),
            },
            observed: Observed {
                now,
                config_map: self.config_map().cloned(),
                history: self
                    .history()
                    .cloned()
                    .map_or(HistoryState::Missing, HistoryState::Present),
                bindings: self.bindings.all().clone(),
                aws,
                crd_deleting: self.crd_deleting(),
            },
            finalizers: self
                .mappings
                .iter()
                .map(|(name, seen)| (name.clone(), seen.finalizers.clone()))
                .collect(),
            shown: self.shown.clone(),
        })
    }

    /// Takes in what a pass that began with `seen` read and wrote, so that it is no change.
    pub fn settle(&mut self, seen: &Observed, left: &Observed) {
        match (&left.config_map, &seen.config_map) {
            (Some(view), _) => self.config_map.absorb(&self.name.to_string(), view),
            (None, Some(view)) => self
                .config_map
                .absorb_missing(&self.name.to_string(), &view.resource_version),
            (None, None) => {}
        }
        let history = self.name.history().to_string();
        match (left.history.view(), seen.history.view()) {
            (Some(view), _) => self.history.absorb(&history, view),
            (None, Some(view)) => self
                .history
                .absorb_missing(&history, &view.resource_version),
            (None, None) => {}
        }
        if let Some(settled) = &mut self.settled {
            settled.config_map = left.config_map.as_ref().map(identity);
            settled.history = left.history.view().map(|view| view.annotations.clone());
        }
    }

    /// Takes in a mapping as a write of ours returned it.
    pub fn absorb_mapping(&mut self, name: &str, seen: SeenMapping) {
        let seen = self.with_assumed(name, seen);
        self.mappings.absorb(name, &seen);
    }

    /// Counts a status as written that is about to be.
    pub fn assume_status(&mut self, name: &str, uid: &str, status: &IdentityMappingStatus) {
        self.assumed
            .insert(name.to_owned(), (uid.to_owned(), status.clone()));
        if let Some(seen) = self.mappings.get_mut(name).filter(|seen| seen.uid == uid) {
            seen.mapping.status = status.clone();
        }
    }

    /// A status is no longer about to be written: it was, or never will be.
    pub fn release_status(&mut self, name: &str) {
        self.assumed.remove(name);
    }

    /// The finalizer of this object is about to be taken off by us, so its end is no change.
    pub fn let_go(&mut self, uid: &str) {
        self.let_go.insert(uid.to_owned());
    }

    /// The finalizers of a mapping as last seen.
    #[must_use]
    pub fn finalizers(&self, name: &str) -> &[String] {
        self.mappings.get(name).map_or(&[], |seen| &seen.finalizers)
    }

    /// aws-auth as last seen.
    #[must_use]
    pub fn config_map(&self) -> Option<&ConfigMapView> {
        self.config_map.get(&self.name.to_string())
    }

    /// The mode and authority that an earlier process kept on the history.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        Kept::parse(self.history()?.annotations.get(CLUSTER_ANNOTATION)?)
    }

    fn history(&self) -> Option<&HistoryView> {
        self.history.get(&self.name.history().to_string())
    }

    /// Whether our definition is in the cluster.
    #[must_use]
    pub fn defined(&self) -> bool {
        self.definition.iter().next().is_some()
    }

    /// Whether an entry of this key would go only because the definition does, which revokes nothing.
    #[must_use]
    pub fn goes_with_definition(&self, key: &Key, now: Timestamp) -> bool {
        let holds = |mapping: &Mapping| {
            !mapping.is_deleting() && !mapping.expired(now) && mapping.key().as_ref() == Some(key)
        };
        self.crd_deleting() && !self.mappings.iter().any(|(_, seen)| holds(&seen.mapping))
    }

    /// Whether no mapping of the principal is active any more: nothing is granted to it then, whatever was planned before.
    #[must_use]
    pub fn is_over(&self, principal: &Principal, now: Timestamp) -> bool {
        let key = principal.key();
        let declares = |mapping: &Mapping| match mapping.permission_set() {
            Some(set) => is_of_set(principal, set),
            None => mapping.key().as_ref() == Some(&key),
        };
        // A permission set counts as refused until its role is known, which is not seen here.
        let is_over = |mapping: &Mapping| match State::of(mapping, now) {
            State::Live => false,
            State::Refused => mapping.permission_set().is_none(),
            State::Suspended | State::Deleting | State::Expired => true,
        };
        let mappings = self.mappings.iter().map(|(_, seen)| &*seen.mapping);
        let mut declaring = mappings.filter(|mapping| declares(mapping)).peekable();
        declaring.peek().is_some() && declaring.all(is_over)
    }

    fn crd_deleting(&self) -> bool {
        self.definition
            .iter()
            .any(|(_, definition)| definition.deleting)
    }

    fn standing(&self) -> Settled {
        Settled {
            config_map: self.config_map().map(identity),
            history: self.history().map(|view| view.annotations.clone()),
            bindings: self.bindings.all().clone(),
            crd_deleting: self.crd_deleting(),
        }
    }

    fn stands_as(&self, settled: &Settled) -> bool {
        let config_map = self
            .config_map()
            .map(|view| (view.uid.as_str(), view.resource_version.as_str()));
        config_map
            == settled
                .config_map
                .as_ref()
                .map(|(uid, version)| (uid.as_str(), version.as_str()))
            && self.history().map(|view| &view.annotations) == settled.history.as_ref()
            && *self.bindings.all() == settled.bindings
            && self.crd_deleting() == settled.crd_deleting
    }
}

/// What tells two states of one object apart.
fn identity(view: &ConfigMapView) -> (String, String) {
    (view.uid.clone(), view.resource_version.clone())
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
