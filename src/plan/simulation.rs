//! A cluster as a value: plans are executed on it as the controller executes them on a real one. For tests.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{
    BindingSubjects, ConfigMapView, ConfigMapWrite, Desired, EventNote, FIELD_MANAGER,
    HistoryState, HistoryView, HistoryWrite, MARK_ANNOTATION, Manager, Mapping, Memory, Observed,
    Outcome, Report, Settings, WriteFailure, plan,
};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, FINALIZER};
use crate::aws_auth::Document;

/// What stands in the cluster and in the operator's memory.
#[derive(Clone, Debug)]
pub(super) struct Simulation {
    pub(super) now: Timestamp,
    pub(super) objects: BTreeMap<String, IdentityMapping>,
    pub(super) config_map: Option<ConfigMapView>,
    pub(super) history: Option<HistoryView>,
    pub(super) bindings: Vec<BindingSubjects>,
    pub(super) crd_deleting: bool,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    /// Answers to the next writes of aws-auth other than success.
    pub(super) write_failure: Option<WriteFailure>,
    pub(super) history_failure: Option<String>,
    pub(super) writes: usize,
    pub(super) status_writes: usize,
    pub(super) events: Vec<EventNote>,
    version: u64,
    created: i64,
}

impl Simulation {
    pub(super) fn new() -> Self {
        Self {
            now: Timestamp::from_second(1_800_000_000).expect("in range"),
            objects: BTreeMap::new(),
            config_map: Some(ConfigMapView {
                uid: "cm".to_owned(),
                resource_version: "1".to_owned(),
                ..ConfigMapView::default()
            }),
            history: None,
            bindings: Vec::new(),
            crd_deleting: false,
            settings: Settings::default(),
            memory: Memory::default(),
            write_failure: None,
            history_failure: None,
            writes: 0,
            status_writes: 0,
            events: Vec::new(),
            version: 1,
            created: 0,
        }
    }

    pub(super) fn with_roles(text: &str) -> Self {
        let mut simulation = Self::new();
        simulation.vandalise("mapRoles", text);
        simulation
    }

    /// Creates a mapping of a role, older ones first. `spec` is merged over principal and groups.
    pub(super) fn create(&mut self, name: &str, role: &str, spec: &Value) {
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
                "creationTimestamp": Time(Timestamp::from_second(1_700_000_000 + self.created).expect("in range")),
            },
            "spec": all,
        }))
        .expect("a mapping");
        self.objects.insert(name.to_owned(), object);
    }

    pub(super) fn edit(&mut self, name: &str, change: impl FnOnce(&mut IdentityMapping)) {
        let object = self.objects.get_mut(name).expect("exists");
        let before = object.spec.clone();
        change(object);
        if object.spec != before {
            *object.metadata.generation.get_or_insert_default() += 1;
        }
    }

    pub(super) fn confirm(&mut self, name: &str, words: &str) {
        self.edit(name, |object| {
            object
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(CONFIRM_ANNOTATION.to_owned(), words.to_owned());
        });
    }

    pub(super) fn delete(&mut self, name: &str) {
        let now = self.now;
        let object = self.objects.get_mut(name).expect("exists");
        if object.metadata.finalizers.iter().flatten().next().is_none() {
            self.objects.remove(name);
        } else {
            object.metadata.deletion_timestamp = Some(Time(now));
        }
    }

    /// Someone else writes a key of aws-auth.
    pub(super) fn vandalise(&mut self, key: &str, text: &str) {
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
    }

    /// Someone replaces a part of `mapRoles`.
    pub(super) fn replace_in_roles(&mut self, from: &str, to: &str) {
        let text = self.roles().replace(from, to);
        assert_ne!(text, self.roles(), "{from:?} does not stand in:\n{text}");
        self.vandalise("mapRoles", &text);
    }

    pub(super) fn roles(&self) -> String {
        self.config_map
            .as_ref()
            .and_then(|view| view.data.get("mapRoles").cloned())
            .unwrap_or_default()
    }

    pub(super) fn mark(&self) -> &str {
        let view = self.config_map.as_ref();
        view.and_then(|view| view.annotations.get(MARK_ANNOTATION))
            .map(String::as_str)
            .unwrap_or_default()
    }

    pub(super) fn restart(&mut self) {
        self.memory = Memory::default();
    }

    pub(super) fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn observed(&self) -> Observed {
        Observed {
            now: self.now,
            config_map: self.config_map.clone(),
            history: self
                .history
                .clone()
                .map_or(HistoryState::Missing, HistoryState::Present),
            bindings: self.bindings.iter().collect(),
            aws: super::AwsState::Off,
            crd_deleting: self.crd_deleting,
        }
    }

    fn desired(&self) -> Desired {
        Desired {
            mappings: self.objects.values().map(Mapping::from_object).collect(),
        }
    }

    /// One pass, executed as the controller does it.
    pub(super) fn pass(&mut self) -> Report {
        let (settings, memory) = (self.settings.clone(), self.memory.clone());
        let (mut desired, mut observed) = (self.desired(), self.observed());
        let finalizers = plan(&desired, &observed, &settings, &memory).add_finalizers;
        if !finalizers.is_empty() {
            for change in finalizers {
                let object = self.objects.get_mut(&change.name).expect("exists");
                object
                    .metadata
                    .finalizers
                    .get_or_insert_default()
                    .push(FINALIZER.to_owned());
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
        let outcome = match planned.config_map.clone() {
            None => Outcome::NothingToWrite,
            Some(write) => self.write(write),
        };
        let report = planned.report(&outcome);
        self.memory = report.memory.clone();
        for status in &report.statuses {
            self.status_writes += 1;
            self.objects.get_mut(&status.name).expect("exists").status =
                Some(status.status.clone());
        }
        for change in &report.remove_finalizers {
            self.objects.remove(&change.name);
        }
        self.events.extend(report.events.iter().cloned());
        report
    }

    /// Passes until nothing is written any more; returns the number of writes of aws-auth.
    pub(super) fn settle(&mut self) -> usize {
        let before = self.writes;
        for _ in 0..20 {
            let (writes, statuses, objects) = (self.writes, self.status_writes, self.objects.len());
            self.pass();
            if (writes, statuses, objects) == (self.writes, self.status_writes, self.objects.len())
            {
                return self.writes - before;
            }
        }
        panic!("no rest after 20 passes:\n{}", self.roles());
    }

    fn write_history(&mut self, write: HistoryWrite) {
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
        }
        view.copies.extend(
            write
                .add
                .into_iter()
                .map(|(name, bytes)| (name, bytes.len())),
        );
        for (key, value) in write.annotations {
            match value {
                Some(value) => view.annotations.insert(key, value),
                None => view.annotations.remove(&key),
            };
        }
    }

    fn write(&mut self, write: ConfigMapWrite) -> Outcome {
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
    pub(super) fn condition(&self, name: &str, type_: &str) -> String {
        let status = self.objects[name].status.clone().unwrap_or_default();
        let condition = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == type_);
        condition
            .map(|condition| format!("{} {}", condition.status, condition.reason))
            .unwrap_or_default()
    }

    pub(super) fn message(&self, name: &str, type_: &str) -> String {
        let status = self.objects[name].status.clone().unwrap_or_default();
        let condition = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == type_);
        condition
            .map(|condition| condition.message)
            .unwrap_or_default()
    }

    pub(super) fn ready(&self, name: &str) -> String {
        self.condition(name, "Ready")
    }

    /// `(arn's name, username, groups)` of every entry, in document order.
    pub(super) fn entries(&self) -> Vec<(String, String, String)> {
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
