//! Prepares an observation for `explain` and `access`.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::IdentityMapping;
use crate::api::condition::ConditionType;
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::aws_auth::Document;
use crate::cli::snapshot::{Observation, ObserveArgs};
use crate::desired::Mapping;
use crate::explain::{DeclaringMapping, IdleMapping, IdleReason, Scene, quoted};
use crate::observed::Settings;
use crate::plan::{Memory, Outcome, RELEASED_ANNOTATION, plan};
use crate::principal::Key;
use crate::time::{Timestamp, to_the_second};

/// What is kept beside an observation for as long as questions are asked of it.
pub(super) struct Looked<'a> {
    observation: &'a Observation,
    document: Document,
    declared: BTreeMap<Key, DeclaringMapping>,
    without_key: Vec<IdleMapping>,
    flags: String,
}

impl<'a> Looked<'a> {
    /// `flags` are those with which a command reads the same.
    pub(super) fn new(observation: &'a Observation, flags: String) -> Self {
        let data = observation.observed.config_map.as_ref();
        let data = data.map(|view| view.data.clone()).unwrap_or_default();
        let (declared, without_key) = declared(observation);
        Self {
            document: Document::parse(&data),
            declared,
            without_key,
            flags,
            observation,
        }
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        let Observation {
            live,
            desired: _,
            objects: _,
            observed,
            rbac,
            installed,
            config_map,
            aws_auth_source: _,
            identity_providers,
        } = self.observation;
        Scene {
            identity_providers: identity_providers.as_ref(),
            now: observed.now,
            flags: &self.flags,
            fix_data: |data, is_kept| crate::lint::fix_data(data, is_kept, &BTreeSet::new()).data,
            data: observed.config_map.as_ref().map(|view| &view.data),
            document: &self.document,
            aws: &observed.aws,
            bindings: &observed.bindings,
            rbac: live.as_ref().map(|_| rbac.as_slice()),
            declared: &self.declared,
            without_key: &self.without_key,
            // Of files nobody knows, and what needs nothing of ours is sure to work.
            installed: live.is_some() && *installed,
            released: is_released(self.observation),
            config_map,
        }
    }
}

/// The flags with which a command reads the same: the files, or the cluster.
pub(super) fn flags(observe: &ObserveArgs, observation: &Observation) -> String {
    if !observe.is_offline() {
        return observe.live_flags(None);
    }
    let arn = observation
        .observed
        .aws
        .view()
        .map(|view| view.cluster.arn.clone());
    let given = [
        (
            "aws-auth",
            observe
                .aws_auth
                .as_ref()
                .map(|path| path.display().to_string()),
        ),
        (
            "access-entries",
            observe
                .access_entries
                .as_ref()
                .map(|path| path.display().to_string()),
        ),
        ("mode", observe.mode.map(|mode| mode.to_string())),
        ("cluster-arn", arn.filter(|_| observe.cluster_arn.is_some())),
    ];
    given
        .into_iter()
        .filter_map(|(flag, value)| Some(format!(" --{flag} {}", quoted(&value?))))
        .collect()
}

/// Which mapping holds each key, by the planner; and the mappings that hold none.
fn declared(observation: &Observation) -> (BTreeMap<Key, DeclaringMapping>, Vec<IdleMapping>) {
    if observation.desired.mappings.is_empty() {
        return (BTreeMap::new(), Vec::new());
    }
    let settings = Settings {
        config_map: observation.config_map.clone(),
        ..Settings::default()
    };
    let memory = Memory::default();
    let plan = plan(
        &observation.desired,
        &observation.observed,
        &settings,
        &memory,
    );
    let objects: BTreeMap<&str, &IdentityMapping> = observation
        .objects
        .iter()
        .filter_map(|object| Some((object.metadata.name.as_deref()?, object)))
        .collect();
    let now = observation.observed.now;
    let released = is_released(observation);
    let holders: BTreeMap<Key, DeclaringMapping> = plan
        .holders()
        .map(|(key, mapping)| {
            let object = objects.get(mapping.name.as_str());
            let declared = DeclaringMapping {
                mapping: mapping.name.clone(),
                // After a release no operator removes the entry.
                until: mapping.valid_until.filter(|_| !released),
                not_ready: if released {
                    Some(RELEASED.to_owned())
                } else {
                    object.and_then(|object| not_ready(object))
                },
                reported: object.is_some_and(|object| object.status.is_some()),
            };
            (key.clone(), declared)
        })
        .collect();
    let holding: BTreeSet<&str> = holders.values().map(|it| it.mapping.as_str()).collect();
    let others = observation.desired.mappings.iter();
    let others = others.filter(|mapping| !holding.contains(mapping.name.as_str()));
    let report = plan.report(&Outcome::NothingToWrite);
    let planned: BTreeMap<&str, &IdentityMappingStatus> = report
        .statuses
        .iter()
        .map(|write| (write.name.as_str(), &write.status))
        .collect();
    let idle = others.map(|mapping| {
        let said = objects.get(mapping.name.as_str());
        let status = planned.get(mapping.name.as_str()).copied();
        idle(
            mapping,
            now,
            status.or(said.and_then(|object| object.status.as_ref())),
        )
    });
    let idle = idle.collect();
    (holders, idle)
}

/// Why a mapping is not active after a release.
const RELEASED: &str = "Released: ownership was given up (`identity-mapper release`), so its entry is unmanaged and validUntil is not enforced";

/// Whether ownership was given up, and no operator has started since: the first write of a new one removes the annotation.
fn is_released(observation: &Observation) -> bool {
    let history = observation.observed.history.view();
    history.is_some_and(|view| view.annotations.contains_key(RELEASED_ANNOTATION))
}

/// A mapping that holds no key, with its words.
fn idle(mapping: &Mapping, now: Timestamp, status: Option<&IdentityMappingStatus>) -> IdleMapping {
    let until = mapping.valid_until.filter(|until| *until <= now);
    let (why, words) = match (mapping.is_deleting(), until, mapping.suspend) {
        (true, ..) => (IdleReason::Deleting, "it is being deleted".to_owned()),
        (false, Some(until), _) => (
            IdleReason::Expired,
            format!("it expired at {}", to_the_second(until)),
        ),
        (false, None, true) => (IdleReason::Suspended, "spec.suspend is true".to_owned()),
        (false, None, false) => {
            let words = status.and_then(not_ready_words);
            let refusal = mapping.spec.as_ref().err();
            (
                IdleReason::Refused,
                words
                    .or_else(|| refusal.map(|refusal| refusal.message.clone()))
                    .unwrap_or_else(|| "the operator has not reported a status yet".to_owned()),
            )
        }
    };
    IdleMapping {
        mapping: mapping.name.clone(),
        key: mapping.key(),
        permission_set: mapping
            .permission_set()
            .map(|set| (set.name.clone(), set.account_id.clone())),
        why,
        words,
    }
}

/// Why a mapping is not in effect as declared, in the operator's words.
fn not_ready(object: &IdentityMapping) -> Option<String> {
    not_ready_words(object.status.as_ref()?)
}

fn not_ready_words(status: &IdentityMappingStatus) -> Option<String> {
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready.as_str())?;
    (ready.status != "True").then(|| format!("{}: {}", ready.reason, ready.message))
}
