//! A pass, one effect at a time, in the order of the real controller.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;

use super::World;
use super::act::next;
use super::declared::Since;
use super::operator::Fate;
use crate::api::IdentityMapping;
use crate::api::finalizer::{Finalizer, Finalizers};
use crate::desired::{Desired, Mapping};
use crate::observed::{
    AwsState, CLUSTER_ANNOTATION, ConfigMapView, HistoryState, HistoryView, Kept, Manager, Observed,
};
use crate::plan::{
    ConfigMapWrite, EntryWork, FIELD_MANAGER, FinalizerChange, HistoryWrite, Outcome, Report,
    StatusWrite, WriteFailure, plan,
};
use crate::safety::Cleared;
use crate::time::Timestamp;

/// A pass that has begun.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    desired: Desired,
    observed: Observed,
    pub(super) since: Since,
    finalizers_added: bool,
    todo: Todo,
}

/// The next effect of a pass.
#[derive(Clone, Debug)]
enum Todo {
    Finalizers(Vec<FinalizerChange>),
    History(HistoryWrite),
    Text(ConfigMapWrite),
}

/// What is to be sent for one mapping.
#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    status: Option<StatusWrite>,
    removal: Option<Cleared<FinalizerChange>>,
}

impl World {
    /// Begins a pass with what is there now.
    pub(super) fn begin_pass(&mut self) {
        let now = self.clock();
        let since = self.since();
        let kept = self.kept();
        self.read_users();
        let aws = self.operator.known.hand_out(kept.as_ref(), now);
        let observed = self.observed(now, aws);
        self.text_read();
        self.operator.dirty = false;
        if self.operator.wake.is_some_and(|wake| wake <= now) {
            self.operator.wake = None;
        }
        let pass = Pass {
            desired: self.desired(),
            observed,
            since,
            finalizers_added: false,
            todo: Todo::Finalizers(Vec::new()),
        };
        self.go_on(pass);
    }

    /// What the watches know, with what is known of EKS.
    pub(super) fn observed(&self, now: Timestamp, aws: AwsState) -> Observed {
        let history = self.history_view();
        Observed {
            now,
            config_map: self.config_map.clone(),
            history: history.map_or(HistoryState::Missing, HistoryState::Present),
            bindings: self.bindings.iter().collect(),
            aws,
            crd_deleting: self.definition_deleting,
        }
    }

    /// What the history keeps of the cluster.
    pub(super) fn kept(&self) -> Option<Kept> {
        self.history_view().as_ref().and_then(kept)
    }

    fn text_read(&mut self) {
        let version = |view: &ConfigMapView| view.resource_version.clone();
        self.operator.text_read = self.config_map.as_ref().map(version);
    }

    fn history_view(&self) -> Option<HistoryView> {
        self.history.as_ref().map(HistoryView::from_object)
    }

    /// The mappings, with statuses that are about to be written.
    pub(super) fn desired(&self) -> Desired {
        let mapping = |(name, object): (&String, &IdentityMapping)| {
            let mut mapping = Mapping::from_object(object);
            if let Some((uid, status)) = self.operator.assumed.get(name)
                && *uid == mapping.uid
            {
                mapping.status.clone_from(status);
            }
            mapping
        };
        Desired {
            mappings: self.objects.iter().map(mapping).collect(),
        }
    }

    /// Plans, up to the next effect.
    fn go_on(&mut self, mut pass: Pass) {
        pass.observed.now = self.clock();
        pass.since.decided = pass.observed.now;
        let (settings, memory) = (self.settings.clone(), self.operator.memory.clone());
        let planned = plan(&pass.desired, &pass.observed, &settings, &memory);
        let todo = if !pass.finalizers_added && !planned.add_finalizers.is_empty() {
            Todo::Finalizers(planned.add_finalizers.clone())
        } else if let Some(write) = planned.history.clone() {
            Todo::History(write)
        } else if let Some(write) = planned.config_map.as_deref().cloned() {
            Todo::Text(write)
        } else {
            let report = planned.report(&Outcome::NothingToWrite);
            let works = planned.works_after(&Outcome::NothingToWrite);
            let since = pass.since.clone();
            drop(planned);
            self.finish(report, works, since);
            return;
        };
        drop(planned);
        pass.todo = todo;
        self.operator.pass = Some(Box::new(pass));
    }

    /// The next effect of the pass.
    pub(super) fn write(&mut self, fate: Fate) -> Option<Since> {
        let mut pass = *self.operator.pass.take()?;
        let since = pass.since.clone();
        match std::mem::replace(&mut pass.todo, Todo::Finalizers(Vec::new())) {
            Todo::Finalizers(changes) => self.add_finalizers(pass, changes, fate),
            Todo::History(write) => self.write_history(pass, write, fate),
            Todo::Text(write) => self.write_aws_auth(pass, write, fate),
        }
        Some(since)
    }

    fn add_finalizers(&mut self, mut pass: Pass, mut changes: Vec<FinalizerChange>, fate: Fate) {
        if !changes.is_empty() {
            let change = changes.remove(0);
            let object = self.objects.get_mut(&change.name).filter(|object| {
                object.metadata.uid.as_deref() == Some(change.uid.as_str())
                    && object.metadata.deletion_timestamp.is_none()
                    && fate != Fate::Refused
            });
            if let Some(object) = object {
                change_finalizers(object, &change);
                let fresh = Mapping::from_object(object);
                let mut known = pass.desired.mappings.iter_mut();
                if fate == Fate::Done
                    && let Some(known) = known.find(|known| known.name == change.name)
                {
                    let status = known.status.clone();
                    *known = Mapping { status, ..fresh };
                }
            }
        }
        if changes.is_empty() {
            pass.finalizers_added = true;
            self.go_on(pass);
        } else {
            pass.todo = Todo::Finalizers(changes);
            self.operator.pass = Some(Box::new(pass));
        }
    }

    fn write_history(&mut self, mut pass: Pass, write: HistoryWrite, fate: Fate) {
        let version = self.history_view().map(|view| view.resource_version);
        if fate != Fate::Refused && write.resource_version != version {
            self.read_again(&mut pass);
            self.text_read();
            return self.go_on(pass);
        }
        if fate == Fate::Refused {
            self.ledger.unrecorded = true;
        } else {
            let history = self.history.get_or_insert_default();
            let version = history
                .metadata
                .resource_version
                .clone()
                .unwrap_or_default();
            history.metadata.resource_version = Some(next(&version));
            let copies = history.binary_data.get_or_insert_default();
            copies.retain(|name, _| !write.remove.contains(name));
            let added = write.add.into_iter();
            copies.extend(added.map(|(name, bytes)| (name, ByteString(bytes))));
            let annotations = history.metadata.annotations.get_or_insert_default();
            merge(annotations, write.annotations);
        }
        if fate != Fate::Done {
            pass.observed.history = HistoryState::Unwritable {
                view: pass.observed.history.view().cloned(),
                error: "no answer".to_owned(),
            };
            self.operator.dirty = true;
            return self.go_on(pass);
        }
        // The plan is a pure function of what the pass holds: made again, it is the one whose write this was.
        let (settings, memory) = (self.settings.clone(), self.operator.memory.clone());
        let planned = plan(&pass.desired, &pass.observed, &settings, &memory);
        if let Some(write) = planned.config_map.as_deref().cloned() {
            drop(planned);
            pass.todo = Todo::Text(write);
            self.operator.pass = Some(Box::new(pass));
        } else {
            let report = planned.report(&Outcome::NothingToWrite);
            let works = planned.works_after(&Outcome::NothingToWrite);
            drop(planned);
            self.finish(report, works, pass.since.clone());
        }
    }

    fn read_again(&self, pass: &mut Pass) {
        pass.observed.config_map.clone_from(&self.config_map);
        let history = self.history_view();
        pass.observed.history = match (&pass.observed.history, history) {
            (HistoryState::Unwritable { error, .. }, view) => HistoryState::Unwritable {
                view,
                error: error.clone(),
            },
            (_, Some(view)) => HistoryState::Present(view),
            (_, None) => HistoryState::Missing,
        };
    }

    fn write_aws_auth(&mut self, mut pass: Pass, write: ConfigMapWrite, fate: Fate) {
        let current = match (&write, &self.config_map) {
            (ConfigMapWrite::Create { .. }, None) => true,
            (
                ConfigMapWrite::Patch {
                    resource_version, ..
                },
                Some(view),
            ) => *resource_version == view.resource_version,
            _ => false,
        };
        if fate != Fate::Refused && !current {
            self.read_again(&mut pass);
            self.text_read();
            return self.go_on(pass);
        }
        // The plan is a pure function of what the pass holds: made again, it is the one whose write this is.
        let (settings, memory) = (self.settings.clone(), self.operator.memory.clone());
        let planned = plan(&pass.desired, &pass.observed, &settings, &memory);
        let outcome = if fate == Fate::Refused {
            Outcome::Failed(WriteFailure::Unavailable("no route".to_owned()))
        } else {
            self.store(write);
            self.text_read();
            let view = self.config_map.as_ref();
            match (fate, view) {
                (Fate::Done, Some(view)) => Outcome::Written {
                    resource_version: view.resource_version.clone(),
                    uid: view.uid.clone(),
                },
                _ => Outcome::Failed(WriteFailure::Unavailable("no answer".to_owned())),
            }
        };
        let report = planned.report(&outcome);
        let failed = matches!(outcome, Outcome::Failed(_));
        if failed {
            self.operator.works.cut(|_| true);
        }
        let works = planned.works_after(&outcome);
        drop(planned);
        self.operator.dirty |= failed;
        self.finish(report, works, pass.since.clone());
    }

    fn store(&mut self, write: ConfigMapWrite) {
        match write {
            ConfigMapWrite::Create {
                data,
                binary_data,
                labels,
                annotations,
            } => {
                self.config_map = Some(ConfigMapView {
                    uid: "cm-made".to_owned(),
                    resource_version: "2000".to_owned(),
                    data,
                    binary_data,
                    labels,
                    annotations,
                    ..ConfigMapView::default()
                });
            }
            ConfigMapWrite::Patch {
                data, annotations, ..
            } => {
                let now = self.now;
                let Some(view) = &mut self.config_map else {
                    return;
                };
                view.resource_version = next(&view.resource_version);
                for key in data.keys() {
                    let manager = Manager {
                        name: FIELD_MANAGER.to_owned(),
                        time: Some(now),
                    };
                    view.managers.insert(key.clone(), manager);
                }
                merge(&mut view.data, data);
                merge(&mut view.annotations, annotations);
            }
        }
    }

    /// What the loop does with a pass that is over.
    fn finish(&mut self, mut report: Report, works: Vec<EntryWork>, since: Since) {
        let operator = &mut self.operator;
        operator.known.want_iam(&report.iam);
        operator.known.declare(std::mem::take(&mut report.declared));
        let known = &operator.known;
        operator.works.cut(|key| known.permits(key).is_err());
        let works = operator.known.accept(works);
        operator.works.replace(works);
        let known = &operator.known;
        report
            .change_finalizers
            .retain(|change| !change.relies_on.iter().any(|key| known.is_touched(key)));
        operator.planned = Some(since);
        operator.memory = report.memory;
        operator.wake = report.wake;
        for status in report.statuses {
            let assumed = (status.uid.clone(), status.status.clone());
            operator.assumed.insert(status.name.clone(), assumed);
            let job = operator.outbox.entry(status.name.clone()).or_default();
            job.status = Some(status);
        }
        for removal in report.change_finalizers {
            let job = operator.outbox.entry(removal.name.clone()).or_default();
            job.removal = Some(removal);
        }
        if operator.outbox.is_empty() {
            operator.slow = false;
        }
    }

    /// The first status or finalizer that waits reaches the API server.
    pub(super) fn post(&mut self) -> Option<Since> {
        let since = self.operator.planned.clone();
        let mut first = self.operator.outbox.first_entry()?;
        let name = first.key().clone();
        let object = self.objects.get_mut(&name);
        if let Some(write) = first.get_mut().status.take() {
            self.operator.assumed.remove(&name);
            let same = |object: &&mut IdentityMapping| {
                object.metadata.uid.as_deref() == Some(write.uid.as_str())
            };
            if let Some(object) = object.filter(same) {
                object.status = Some(write.status.clone());
            }
        } else if let Some(change) = first.get_mut().removal.take()
            && let Some(object) = object
            && object.metadata.uid.as_deref() == Some(change.uid.as_str())
        {
            change_finalizers(object, &change);
            let none_left = object.metadata.finalizers.iter().flatten().next().is_none();
            if none_left && object.metadata.deletion_timestamp.is_some() {
                self.objects.remove(&name);
            }
        }
        let mut first = self.operator.outbox.first_entry()?;
        let job = first.get_mut();
        if job.status.is_none() && job.removal.is_none() {
            first.remove();
        }
        since
    }
}

/// As the patch of the API server does it: what is added and what is taken off at once.
fn change_finalizers(object: &mut IdentityMapping, change: &FinalizerChange) {
    let finalizers = object.metadata.finalizers.get_or_insert_default();
    let removed: Vec<&str> = change.remove.iter().map(Finalizer::as_str).collect();
    finalizers.retain(|name| !removed.contains(&name.as_str()));
    let present = Finalizers::among(finalizers);
    let added = change.add.without(present).iter();
    finalizers.extend(added.map(|it| Finalizer::as_str(it).to_owned()));
}

fn kept(history: &HistoryView) -> Option<Kept> {
    Kept::parse(history.annotations.get(CLUSTER_ANNOTATION)?)
}

fn merge(into: &mut BTreeMap<String, String>, changes: BTreeMap<String, Option<String>>) {
    for (key, value) in changes {
        match value {
            Some(value) => into.insert(key, value),
            None => into.remove(&key),
        };
    }
}
