//! A cluster as a value: plans are executed on it as the controller executes them on a real one. For tests.

mod cloud;

pub(crate) use cloud::{Cloud, Power};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    AccessChange, ConfigMapWrite, EntryWork, EventNote, FIELD_MANAGER, FinalizerChange,
    HistoryWrite, Memory, Outcome, Report, WriteFailure, plan,
};
use crate::access_entry::EksCluster;
use crate::access_entry::simulation::Eks;
use crate::access_entry::{BRIDGE_GROUP, Call, Entries, Failure, FailureKind, InFlight};
use crate::api::IdentityMapping;
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, MappingState};
use crate::aws_auth::{Document, Index};
use crate::desired::{Desired, Mapping};
use crate::observed::Users;
use crate::observed::{
    Attempt, AwsState, AwsView, BindingSubjects, ConfigMapView, Feature, HistoryState, HistoryView,
    Iam, IamAccount, IamPrincipal, Listing, ManagedPrincipals, Manager, Mode, Observed, SeenTexts,
    Settings, Unreachable,
};
use crate::ownership::MARK_ANNOTATION;
use crate::principal::{Key, Principal};
use crate::safety::{clear_call, may_take};
use crate::time::Timestamp;

/// What stands in the cluster and in the operator's memory.
#[derive(Clone, Debug)]
pub(crate) struct Simulation {
    pub(crate) now: Timestamp,
    pub(crate) objects: BTreeMap<String, IdentityMapping>,
    pub(crate) config_map: Option<ConfigMapView>,
    pub(crate) history: Option<HistoryView>,
    /// The copies in it.
    pub(crate) copies: BTreeMap<String, Vec<u8>>,
    pub(crate) bindings: Vec<BindingSubjects>,
    pub(crate) crd_deleting: bool,
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
    /// Answers to the next writes of aws-auth other than success.
    pub(crate) write_failure: Option<WriteFailure>,
    pub(crate) history_failure: Option<String>,
    pub(crate) writes: usize,
    pub(crate) status_writes: usize,
    pub(crate) events: Vec<EventNote>,
    pub(crate) changes: Vec<AccessChange>,
    /// EKS and IAM; `None`: the mode was declared.
    pub(crate) cloud: Option<Cloud>,
    /// What is known of the cluster in place of what [`Self::cloud`] says, where it can't be read or is another one.
    pub(crate) astray: Option<AwsState>,
    /// Who had which power after each change since watching began.
    pub(crate) watched: Option<Vec<BTreeMap<String, Power>>>,
    /// Objects of which no patch succeeds.
    pub(crate) unpatchable: BTreeSet<String>,
    version: u64,
    created: i64,
}

impl Simulation {
    pub(crate) fn new() -> Self {
        Self {
            now: Timestamp::from_second(1_800_000_000).expect("in range"),
            objects: BTreeMap::new(),
            config_map: Some(ConfigMapView {
                uid: "cm".to_owned(),
                resource_version: "1".to_owned(),
                ..ConfigMapView::default()
            }),
            history: None,
            copies: BTreeMap::new(),
            bindings: Vec::new(),
            crd_deleting: false,
            settings: Settings::default(),
            memory: Memory::default(),
            write_failure: None,
            history_failure: None,
            writes: 0,
            status_writes: 0,
            events: Vec::new(),
            changes: Vec::new(),
            cloud: None,
            astray: None,
            watched: None,
            unpatchable: BTreeSet::new(),
            version: 1,
            created: 0,
        }
    }

    pub(crate) fn with_roles(text: &str) -> Self {
        let mut simulation = Self::new();
        simulation.vandalise("mapRoles", text);
        // It was like this before the operator started.
        simulation.restart();
        simulation
    }

    /// Creates a mapping of a role, older ones first. `spec` is merged over principal and groups.
    pub(crate) fn create(&mut self, name: &str, role: &str, spec: &Value) {
        let mut all = json!({"principal": {"arn": format!("arn:aws:iam::111122223333:{role}")}, "username": name, "groups": ["g"]});
        all.as_object_mut()
            .expect("an object")
            .extend(spec.as_object().expect("an object").clone());
        all.as_object_mut()
            .expect("an object")
            .retain(|_, value| !value.is_null());
        self.created += 1;
        let object: IdentityMapping = serde_json::from_value(json!({
            "apiVersion": "identity-mapper.dev/v1alpha1",
            "kind": "IdentityMapping",
            "metadata": {
                "name": name,
                "uid": format!("uid-{name}-{}", self.created),
                "generation": 1,
                "creationTimestamp": Timestamp::from_second(1_700_000_000 + self.created).expect("in range"),
            },
            "spec": all,
        }))
        .expect("a mapping");
        self.objects.insert(name.to_owned(), object);
    }

    pub(crate) fn edit(&mut self, name: &str, change: impl FnOnce(&mut IdentityMapping)) {
        let object = self.objects.get_mut(name).expect("exists");
        let before = object.spec.clone();
        change(object);
        if object.spec != before {
            *object.metadata.generation.get_or_insert_default() += 1;
        }
    }

    pub(crate) fn confirm(&mut self, name: &str, words: &str) {
        self.edit(name, |object| {
            object
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(CONFIRM_ANNOTATION.to_owned(), words.to_owned());
        });
    }

    pub(crate) fn delete(&mut self, name: &str) {
        let now = self.now;
        let object = self.objects.get_mut(name).expect("exists");
        if object.metadata.finalizers.iter().flatten().next().is_none() {
            self.objects.remove(name);
        } else {
            object.metadata.deletion_timestamp = Some(now.into());
        }
    }

    /// Someone else writes a key of aws-auth.
    pub(crate) fn vandalise(&mut self, key: &str, text: &str) {
        self.version += 1;
        let (version, now) = (self.version.to_string(), self.now);
        let view = self.config_map.get_or_insert_default();
        view.resource_version = version;
        view.data.insert(key.to_owned(), text.to_owned());
        view.managers.insert(
            key.to_owned(),
            Manager {
                name: "vandal".to_owned(),
                time: Some(now),
            },
        );
        self.watch_shows();
    }

    /// Someone else takes an annotation off aws-auth.
    pub(crate) fn take_annotation(&mut self, key: &str) {
        self.version += 1;
        let version = self.version.to_string();
        let view = self.config_map.get_or_insert_default();
        view.resource_version = version;
        view.annotations.remove(key);
        self.watch_shows();
    }

    /// The watch shows aws-auth, whether or not a pass comes before the next change.
    fn watch_shows(&mut self) {
        let mut seen = SeenTexts::default();
        seen.see(self.config_map.get_or_insert_default());
        self.memory.see(seen);
    }

    /// Someone replaces a part of `mapRoles`.
    pub(crate) fn replace_in_roles(&mut self, from: &str, to: &str) {
        let text = self.roles().replace(from, to);
        assert_ne!(text, self.roles(), "{from:?} does not stand in:\n{text}");
        self.vandalise("mapRoles", &text);
    }

    pub(crate) fn roles(&self) -> String {
        self.config_map
            .as_ref()
            .and_then(|view| view.data.get("mapRoles").cloned())
            .unwrap_or_default()
    }

    pub(crate) fn mark(&self) -> &str {
        let view = self.config_map.as_ref();
        view.and_then(|view| view.annotations.get(MARK_ANNOTATION))
            .map(String::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn restart(&mut self) {
        self.memory = Memory::default();
    }

    pub(crate) fn later(&mut self, seconds: i64) {
        self.now = self.now.plus(SignedDuration::from_secs(seconds));
        let now = self.now;
        if let Some(cloud) = &mut self.cloud {
            cloud.known.clock_set_back(now);
            for principal in cloud.in_flight.settle(now) {
                cloud.known.doubt(&principal, None, now);
            }
        }
    }

    pub(crate) fn observed(&self) -> Observed {
        Observed {
            now: self.now,
            config_map: self.config_map.clone(),
            history: self
                .history
                .clone()
                .map_or(HistoryState::Missing, HistoryState::Present),
            bindings: self.bindings.iter().collect(),
            aws: match &self.cloud {
                Some(cloud) => self.astray.clone().unwrap_or_else(|| cloud.observed()),
                None => AwsState::Off,
            },
            crd_deleting: self.crd_deleting,
        }
    }

    pub(crate) fn desired(&self) -> Desired {
        Desired {
            mappings: self.objects.values().map(Mapping::from_object).collect(),
        }
    }

    /// One pass, executed as the controller does it.
    pub(crate) fn pass(&mut self) -> Report {
        let (settings, memory) = (self.settings.clone(), self.memory.clone());
        let (mut desired, mut observed) = (self.desired(), self.observed());
        let finalizers = plan(&desired, &observed, &settings, &memory).add_finalizers;
        if !finalizers.is_empty() {
            for change in finalizers {
                if self.unpatchable.contains(&change.name) {
                    continue;
                }
                self.change_finalizers(&change);
            }
            desired = self.desired();
        }
        let mut planned = plan(&desired, &observed, &settings, &memory);
        if let Some(write) = planned.history.take() {
            if let Some(error) = self.history_failure.clone() {
                drop(planned);
                observed.history = HistoryState::Unwritable {
                    view: self.history.clone(),
                    error,
                };
                planned = plan(&desired, &observed, &settings, &memory);
                assert!(planned.history.is_none());
            } else {
                self.write_history(write);
            }
        }
        let outcome = match planned.config_map.as_deref().cloned() {
            None => Outcome::NothingToWrite,
            Some(write) => self.write(write),
        };
        let work = planned.works_after(&outcome);
        let report = planned.report(&outcome);
        self.execute(&work);
        self.memory = report.memory.clone();
        for status in &report.statuses {
            let conditions = &status.status.conditions;
            let messages: BTreeSet<&str> =
                conditions.iter().map(|it| it.message.as_str()).collect();
            assert_eq!(messages.len(), conditions.len(), "{conditions:#?}");
            self.status_writes += 1;
            self.objects.get_mut(&status.name).expect("exists").status =
                Some(status.status.clone());
        }
        for change in &report.change_finalizers {
            self.change_finalizers(change);
        }
        self.changes.extend(report.changes.iter().cloned());
        // Of what only happened there is an event for each change; tests of events are about the others.
        let told = report.events.iter().filter(|it| {
            !it.reason.is_done() || it.reason == crate::api::condition::Reason::DriftRepaired
        });
        self.events.extend(told.cloned());
        if let Some(cloud) = self.cloud.as_mut().filter(|_| report.managed) {
            cloud.tell_uses(self.now);
        }
        report
    }

    /// As the API server does it: a deleted object takes no new finalizer, and goes with its last.
    pub(crate) fn change_finalizers(&mut self, change: &FinalizerChange) {
        let object = self.objects.get_mut(&change.name).expect("exists");
        let deleting = object.metadata.deletion_timestamp.is_some();
        assert!(
            !deleting || change.add.is_empty(),
            "{change:?} of a deleted object"
        );
        let names = object.metadata.finalizers.get_or_insert_default();
        let before = Finalizers::among(names);
        let after = before.without(change.remove).with(change.add);
        names.retain(|name| !before.iter().any(|ours| ours.as_str() == name));
        names.extend(after.iter().map(|ours| ours.as_str().to_owned()));
        if deleting && names.is_empty() {
            assert!(change.lets_go, "{change:?} was the last");
            self.objects.remove(&change.name);
        }
    }

    /// Nothing has changed since the plan, so what safety let the plan pass has to pass as it is sent: else the operator would plan it
    /// for ever.
    fn assert_cleared(&self, calls: &[Call]) {
        let observed = self.observed();
        // Dear, and no other answer, in a large fleet.
        if self.objects.len() > 50 || !may_take(&observed.aws, &observed.bindings, &calls[0]) {
            return;
        }
        let config_map = self.settings.config_map.to_string();
        let cleared = clear_call(
            &observed,
            &self.desired(),
            &config_map,
            &self.memory.removals,
            calls,
        );
        assert_eq!(cleared, Ok(()), "{calls:#?}");
    }

    /// Makes the calls as the controller does, each to its end before the next pass.
    fn execute(&mut self, work: &[EntryWork]) {
        let (now, mode) = (self.now, self.cloud.as_ref().map(|cloud| cloud.mode));
        for EntryWork { calls, .. } in work {
            self.assert_cleared(calls);
        }
        if let Some(cloud) = self.cloud.as_mut().filter(|cloud| cloud.slow) {
            for EntryWork { key, calls, .. } in work {
                let call = calls.first().expect("a work has calls");
                cloud.calls.push(call.clone());
                let known = cloud.known.possible(call.principal_arn());
                cloud.in_flight.sent(call.clone(), &known, now);
                cloud.awaited.push((key.clone(), call.clone()));
            }
            return;
        }
        for EntryWork { key, calls, .. } in work {
            for (made, call) in calls.iter().enumerate() {
                self.assert_cleared(&calls[made..]);
                let cloud = self.cloud.as_mut().expect("EKS is there to be called");
                assert_ne!(mode, Some(Mode::ConfigMap), "no entries in this mode");
                cloud.calls.push(call.clone());
                let principal = call.principal_arn();
                let heard = cloud.known.by_principal.contains_key(principal);
                if let Err(failure) = cloud.call(call, now) {
                    let asked = matches!(call, Call::Describe { .. });
                    // A refusal disposes of the word of it.
                    let refused = heard && !cloud.known.by_principal.contains_key(principal);
                    if asked && (refused || cloud.known.is_absent(principal)) {
                        cloud.attempts.remove(key);
                    } else {
                        cloud.failed(key, call, failure, now);
                    }
                    break;
                }
                cloud.attempts.remove(key);
                self.watch();
            }
        }
    }

    /// Every state on the way is looked at: who has power now.
    fn watch(&mut self) {
        let powers = self.powers();
        if let Some(watched) = &mut self.watched {
            watched.push(powers);
        }
    }

    /// Passes until nothing is written any more; returns the number of writes of aws-auth.
    pub(crate) fn settle(&mut self) -> usize {
        let before = self.writes;
        for _ in 0..20 {
            let (made, told) = (self.calls_made(), self.managed());
            let report = self.pass();
            let asked = report.wake.is_some_and(|wake| wake <= self.now) || told != self.managed();
            if asked || made != self.calls_made() {
                continue;
            }
            // Our own writes are no change, so nobody would look again now: there must be nothing left to do.
            let (writes, made, last) = (self.writes, self.calls_made(), self.roles());
            let again = self.pass();
            if (writes, made) == (self.writes, self.calls_made()) {
                let overslept = again
                    .wake
                    .is_some_and(|due| report.wake.is_none_or(|wake| wake > due));
                assert!(
                    self.cloud.is_none() || !overslept,
                    "the next pass is due at {:?}, and was asked for at {:?}",
                    again.wake,
                    report.wake
                );
                return self.writes - before;
            }
            assert!(
                self.cloud.is_none(),
                "a pass that nobody asked for had something to do after:\n{last}\nnow:\n{}\n{:?}",
                self.roles(),
                self.cloud.as_ref().map(|cloud| &cloud.calls[made..])
            );
        }
        panic!("no rest after 20 passes:\n{}", self.roles());
    }

    /// What EKS has told of the roles that it uses.
    fn managed(&self) -> Option<ManagedPrincipals> {
        self.cloud.as_ref().map(|cloud| cloud.managed.clone())
    }

    fn calls_made(&self) -> usize {
        self.cloud.as_ref().map_or(0, |cloud| cloud.calls.len())
    }

    pub(crate) fn write_history(&mut self, write: HistoryWrite) {
        assert_eq!(
            write.resource_version,
            self.history
                .as_ref()
                .map(|view| view.resource_version.clone())
        );
        self.version += 1;
        let version = self.version.to_string();
        let view = self.history.get_or_insert_default();
        view.resource_version = version;
        for name in &write.remove {
            assert!(view.copies.remove(name).is_some());
            self.copies.remove(name);
        }
        self.copies.extend(write.add.clone());
        view.copies.extend(
            write
                .add
                .into_iter()
                .map(|(name, bytes)| (name, bytes.len())),
        );
        let packed = self.copies.iter();
        view.recent = HistoryView::recent(packed.map(|(name, bytes)| (name.as_str(), &bytes[..])));
        for (key, value) in write.annotations {
            match value {
                Some(value) => view.annotations.insert(key, value),
                None => view.annotations.remove(&key),
            };
        }
    }

    pub(crate) fn write(&mut self, write: ConfigMapWrite) -> Outcome {
        if let Some(failure) = self.write_failure.clone() {
            return Outcome::Failed(failure);
        }
        self.version += 1;
        self.writes += 1;
        let resource_version = self.version.to_string();
        match write {
            ConfigMapWrite::Create {
                data,
                binary_data,
                labels,
                annotations,
            } => {
                assert!(self.config_map.is_none(), "created over a standing one");
                let uid = format!("cm-{}", self.version);
                self.config_map = Some(ConfigMapView {
                    uid,
                    data,
                    binary_data,
                    labels,
                    annotations,
                    ..ConfigMapView::default()
                });
            }
            ConfigMapWrite::Patch {
                resource_version,
                data,
                annotations,
            } => {
                let view = self.config_map.as_mut().expect("exists");
                assert_eq!(view.resource_version, resource_version);
                assert!(
                    !view.immutable || data.is_empty(),
                    "data of an immutable ConfigMap written"
                );
                for (key, text) in data {
                    let Some(text) = text else {
                        view.data.remove(&key);
                        continue;
                    };
                    view.managers.insert(
                        key.clone(),
                        Manager {
                            name: FIELD_MANAGER.to_owned(),
                            time: Some(self.now),
                        },
                    );
                    view.data.insert(key, text);
                }
                for (key, value) in annotations {
                    match value {
                        Some(value) => view.annotations.insert(key, value),
                        None => view.annotations.remove(&key),
                    };
                }
            }
        }
        self.watch();
        let view = self.config_map.as_mut().expect("exists");
        view.resource_version.clone_from(&resource_version);
        let parsed = Document::parse(&view.data);
        let data: usize = view.data.values().map(String::len).sum();
        assert!(data <= 1_048_576, "{data} bytes of data");
        drop(parsed);
        Outcome::Written {
            resource_version,
            uid: view.uid.clone(),
        }
    }

    /// `status reason` of a condition.
    pub(crate) fn condition(&self, name: &str, type_: &str) -> String {
        let status = self.objects[name].status.clone().unwrap_or_default();
        let condition = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == type_);
        condition
            .map(|condition| format!("{} {}", condition.status, condition.reason))
            .unwrap_or_default()
    }

    /// The message of a condition, or of the one that it points to.
    pub(crate) fn message(&self, name: &str, type_: &str) -> String {
        let status = self.objects[name].status.clone().unwrap_or_default();
        let find = |type_: &str| {
            let mut conditions = status.conditions.iter();
            conditions.find(|condition| condition.type_ == type_)
        };
        let message = find(type_).map_or("", |condition| condition.message.as_str());
        match message.split_once("; see ") {
            Some((_, place)) => find(place).expect("what is pointed to").message.clone(),
            None => message.to_owned(),
        }
    }

    /// `status.state`.
    pub(crate) fn state(&self, name: &str) -> Option<MappingState> {
        self.objects[name].status.as_ref()?.state
    }

    pub(crate) fn ready(&self, name: &str) -> String {
        self.condition(name, "Ready")
    }

    /// `(arn's name, username, groups)` of every entry, in document order.
    pub(crate) fn entries(&self) -> Vec<(String, String, String)> {
        let empty = BTreeMap::new();
        let document = Document::parse(self.config_map.as_ref().map_or(&empty, |view| &view.data));
        let entry = |entry: &crate::aws_auth::Entry| {
            let name = entry
                .arn
                .split_once("111122223333:")
                .map_or(entry.arn.as_str(), |(_, name)| name);
            (
                name.to_owned(),
                entry.username.clone(),
                entry.groups.join(","),
            )
        };
        document.entries().map(entry).collect()
    }
}
