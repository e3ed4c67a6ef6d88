//! What `explain` and `access` make of an observation.

use std::collections::BTreeMap;

use crate::api::IdentityMapping;
use crate::api::condition::ConditionType;
use crate::aws_auth::Document;
use crate::cli::snapshot::Observation;
use crate::explain::{DeclaringMapping, Scene};
use crate::observed::Settings;
use crate::plan::{Memory, plan};
use crate::principal::Key;

/// What is kept beside an observation for as long as questions are asked of it.
pub(super) struct Looked<'a> {
    observation: &'a Observation,
    document: Document,
    declared: BTreeMap<Key, DeclaringMapping>,
}

impl<'a> Looked<'a> {
    pub(super) fn new(observation: &'a Observation) -> Self {
        let data = observation.observed.config_map.as_ref();
        let data = data.map(|view| view.data.clone()).unwrap_or_default();
        Self {
            document: Document::parse(&data),
            declared: declared(observation),
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
        } = self.observation;
        Scene {
            fix_data: |data, is_kept| crate::lint::fix_data(data, is_kept).data,
            data: observed.config_map.as_ref().map(|view| &view.data),
            document: &self.document,
            aws: &observed.aws,
            bindings: &observed.bindings,
            rbac: live.as_ref().map(|_| rbac.as_slice()),
            declared: &self.declared,
            // Of files nobody knows, and what needs nothing of ours is sure to work.
            installed: live.is_some() && *installed,
            config_map,
        }
    }
}

/// Which mapping holds each key, by the planner.
fn declared(observation: &Observation) -> BTreeMap<Key, DeclaringMapping> {
    if observation.desired.mappings.is_empty() {
        return BTreeMap::new();
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
    plan.holders()
        .map(|(key, mapping)| {
            let object = objects.get(mapping.name.as_str());
            let declared = DeclaringMapping {
                mapping: mapping.name.clone(),
                until: mapping.valid_until,
                not_ready: object.and_then(|object| not_ready(object)),
            };
            (key.clone(), declared)
        })
        .collect()
}

/// Why a mapping is not in effect as declared, in the operator's words.
fn not_ready(object: &IdentityMapping) -> Option<String> {
    let conditions = &object.status.as_ref()?.conditions;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready.as_str())?;
    (ready.status != "True").then(|| format!("{}: {}", ready.reason, ready.message))
}
