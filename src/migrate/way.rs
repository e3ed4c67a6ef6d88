//! The progress of a migration, and its next step. Pure: everything follows from the current state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::difference::Becomes;
use super::implied::Way;
use super::migration::{Migration, PlannedOutcome, PrincipalPlan};
use crate::access_entry::{AccessEntry, BRIDGE_GROUP, INSTALLATION_TAG};
use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::Backend;
use crate::aws_auth::Document;
use crate::desired::{Desired, Mapping};
use crate::observed::{Handover, Mode, Observed};
use crate::ownership::Marked;
use crate::plan::{HANDOVER_ANNOTATION, can_revert};
use crate::principal::Key;
use crate::safety::clear_bridge;
use crate::time::Timestamp;

/// The name of the binding that is the bridge.
pub(crate) const BRIDGE: &str = "identity-mapper-bridge";

/// How far a principal has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Ahead,
    /// It is being worked on, and what is being done.
    Making(String),
    /// Its access entry exists, and its aws-auth copy is the way back for some time.
    Soaking {
        /// Until when, where we hand over ourselves: an operator has a soak of its own.
        until: Option<Timestamp>,
        /// What the mapping's conditions say of it.
        said: String,
    },
    /// It is where it is to be.
    There,
    /// It stays where it is, and why.
    Stays(String),
    /// A person has to clear something first.
    Blocked(String),
}

impl Stage {
    #[must_use]
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Ahead => "pending",
            Self::Making(_) => "migrating",
            Self::Soaking { .. } => "soaking",
            Self::There => "done",
            Self::Stays(_) => "staying",
            Self::Blocked(_) => "blocked",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The bridge: the binding that lets administrators keep their power while their access entries are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bridge {
    /// No binding has its name.
    Absent,
    /// It exists and is as required.
    Stands,
    /// A binding of its name binds something else.
    Other,
}

/// A principal and how far it has got.
#[derive(Clone, Debug)]
pub(crate) struct PrincipalProgress<'a> {
    /// What is known of it.
    pub(crate) verdict: &'a PrincipalPlan,
    /// How far it has got.
    pub(crate) stage: Stage,
}

/// Everyone, and what exists beside them.
#[derive(Clone, Debug)]
pub(crate) struct Situation<'a> {
    /// Everyone who is on the way, or could be.
    pub(crate) principals: Vec<PrincipalProgress<'a>>,
    /// What decides about the next step.
    pub(crate) standing: MigrationState,
    /// Whether an managed access entry has the group of the bridge.
    pub(crate) on_bridge: bool,
}

/// What decides about the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MigrationState {
    pub(crate) mode: Mode,
    /// The handover setting in the cluster; `None`: there is none.
    pub(crate) handover: Option<Handover>,
    /// How many are ahead of the handover, or in it.
    pub(crate) moving: usize,
    pub(crate) soaking: usize,
    /// How many no mapping declares that could be declared now: where an operator works, it hands over declared ones only.
    pub(crate) undeclared: usize,
    /// How many a person has to clear something for.
    pub(crate) blocked: usize,
    /// Whether somebody has to cross the bridge, or depends on it.
    pub(crate) needs_bridge: bool,
    pub(crate) bridge: Bridge,
    /// Whether a binding, of whatever name, gives the group of the bridge what it needs.
    pub(crate) bound: bool,
    /// How many have access by aws-auth alone, keys that nobody can read included.
    pub(crate) losers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MigrationGoal {
    /// The mode to end in.
    pub(crate) to: Mode,
    pub(crate) changes: ModeChange,
    /// Whether soaks are waited for.
    pub(crate) waits: bool,
    /// Whether mappings are made for what none declares.
    pub(crate) imports: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// We do: the cluster's name was typed out.
    Confirmed,
    /// Others do, and we wait for them.
    Awaited,
    /// Nobody said: we stop before it.
    NotAsked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// What no mapping declares is imported.
    Import,
    /// The mode changes, by us.
    ChangeMode(Mode),
    /// The mode is changed by others, and waited for.
    AwaitMode(Mode),
    /// Somebody has to change the mode: the end of what was asked for.
    StopForMode(Mode),
    /// Who is only in aws-auth would be out in the mode asked for: the end.
    StopForLosers,
    /// The handover setting is set.
    Set(Handover),
    MakeBridge,
    /// The bridge is taken away.
    RemoveBridge,
    /// The loop works, and is read.
    Work,
    /// Only the soaks are waited for.
    Soak,
    /// Nothing more is to be done.
    End,
}

#[must_use]
pub(crate) fn next(standing: &MigrationState, asked: MigrationGoal) -> NextStep {
    let change = |mode: Mode| match asked.changes {
        ModeChange::Confirmed => NextStep::ChangeMode(mode),
        ModeChange::Awaited => NextStep::AwaitMode(mode),
        ModeChange::NotAsked => NextStep::StopForMode(mode),
    };
    let left = standing.moving + standing.soaking;
    match standing.mode {
        _ if asked.imports && standing.undeclared > 0 => NextStep::Import,
        Mode::ConfigMap => change(Mode::ApiAndConfigMap),
        Mode::ApiAndConfigMap | Mode::Api
            if left > 0 && standing.handover != Some(Handover::Auto) =>
        {
            NextStep::Set(Handover::Auto)
        }
        Mode::ApiAndConfigMap
            if standing.needs_bridge && standing.bridge == Bridge::Absent && !standing.bound =>
        {
            NextStep::MakeBridge
        }
        Mode::ApiAndConfigMap | Mode::Api
            if !standing.needs_bridge && standing.bridge == Bridge::Stands =>
        {
            NextStep::RemoveBridge
        }
        Mode::ApiAndConfigMap | Mode::Api if standing.moving > 0 => NextStep::Work,
        Mode::ApiAndConfigMap if standing.soaking > 0 && asked.waits => NextStep::Soak,
        Mode::ApiAndConfigMap if standing.soaking > 0 => NextStep::End,
        Mode::ApiAndConfigMap if asked.to == Mode::Api && standing.losers > 0 => {
            NextStep::StopForLosers
        }
        Mode::ApiAndConfigMap if asked.to == Mode::Api => change(Mode::Api),
        Mode::ApiAndConfigMap | Mode::Api => NextStep::End,
    }
}

/// The next step back. The setting returns to `Manual` once all are back, so that one that is interrupted goes on.
#[must_use]
pub(crate) fn next_back(standing: &MigrationState) -> NextStep {
    if standing.moving > 0 && standing.handover != Some(Handover::Revert) {
        NextStep::Set(Handover::Revert)
    } else if standing.moving > 0 {
        NextStep::Work
    } else if !standing.needs_bridge && standing.bridge == Bridge::Stands {
        NextStep::RemoveBridge
    } else if matches!(standing.handover, Some(Handover::Revert | Handover::Auto)) {
        NextStep::Set(Handover::Manual)
    } else {
        NextStep::End
    }
}

/// Whether a step is the last one, although it changes something. Who is not back by then stays; under the setting `Manual` nobody could
/// tell them from those that have not begun.
#[must_use]
pub(crate) fn ends(way: Way, step: NextStep) -> bool {
    way == Way::Back && step == NextStep::Set(Handover::Manual)
}

/// How far everyone has got. `desired` carries the statuses of the one that works: an operator's, or our own.
#[must_use]
pub(crate) fn situation<'a>(
    migration: &'a Migration,
    desired: &Desired,
    observed: &Observed,
    installation: &str,
    bridge: Bridge,
    way: Way,
) -> Situation<'a> {
    let mappings: BTreeMap<&str, &Mapping> = desired
        .mappings
        .iter()
        .map(|mapping| (mapping.name.as_str(), mapping))
        .collect();
    let twins = twins(observed);
    let mode = observed.aws.mode().unwrap_or(migration.from);
    let bound = observed.bindings.admin_groups.contains(BRIDGE_GROUP);
    let unbridgeable = (way == Way::Forth && !bound)
        .then(|| unbridgeable(observed, installation, bridge))
        .flatten();
    let principals: Vec<PrincipalProgress<'_>> = migration
        .verdicts
        .iter()
        .map(|verdict| {
            let mapping = verdict.mapping.as_deref();
            let mapping = mapping.and_then(|name| mappings.get(name)).copied();
            let twin = verdict.who.key().is_some_and(|key| twins.contains(key));
            let stage = match way {
                Way::Forth => forth(verdict, mapping, twin, mode),
                Way::Back => back(verdict, mapping),
            };
            let stage = match (stage, &unbridgeable) {
                (Stage::Ahead, Some(why)) if verdict.bridge => Stage::Blocked(why.clone()),
                (stage, _) => stage,
            };
            PrincipalProgress { verdict, stage }
        })
        .collect();
    let count = |of: &dyn Fn(&Stage) -> bool| {
        principals
            .iter()
            .filter(|principal| of(&principal.stage))
            .count()
    };
    let crosses = |principal: &PrincipalProgress<'_>| {
        way == Way::Forth
            && principal.verdict.bridge
            && matches!(principal.stage, Stage::Ahead | Stage::Making(_))
    };
    let on_it = bridge_entries(observed).any(|entry| is_ours(entry, installation));
    let handover = observed.history.view();
    let handover = handover.and_then(|view| view.annotations.get(HANDOVER_ANNOTATION));
    let standing = MigrationState {
        mode,
        handover: handover.and_then(|word| word.parse().ok()),
        moving: count(&|stage| matches!(stage, Stage::Ahead | Stage::Making(_))),
        soaking: count(&|stage| matches!(stage, Stage::Soaking { .. })),
        undeclared: undeclared(migration, mode).count(),
        blocked: count(&|stage| matches!(stage, Stage::Blocked(_))),
        needs_bridge: principals.iter().any(crosses) || on_it,
        bridge,
        bound,
        losers: migration.losers(Mode::Api).count()
            + migration.broken_nodes().count()
            + migration.unreadable.len()
            + migration.unknown_lines().count(),
    };
    Situation {
        principals,
        standing,
        on_bridge: on_it,
    }
}

/// Whom no mapping declares and one could. Before EKS has made entries for its own nodes nobody knows which are left to us.
pub(crate) fn undeclared(
    migration: &Migration,
    mode: Mode,
) -> impl Iterator<Item = &PrincipalPlan> {
    let is_node = |verdict: &PrincipalPlan| verdict.becomes.as_ref().is_some_and(Becomes::is_node);
    migration
        .undeclared()
        .filter(move |verdict| mode != Mode::ConfigMap || !is_node(verdict))
}

fn is_ours(entry: &AccessEntry, installation: &str) -> bool {
    entry.tags.get(INSTALLATION_TAG).map(String::as_str) == Some(installation)
}

/// The access entries with the group of the bridge.
fn bridge_entries(observed: &Observed) -> impl Iterator<Item = &AccessEntry> {
    let view = observed.aws.view();
    view.into_iter()
        .flat_map(|view| view.entries.by_principal.values())
        .filter_map(|state| state.entry.as_ref())
        .filter(|entry| entry.groups.contains(BRIDGE_GROUP))
}

/// Why the bridge can't be made: everyone who has its group would be an administrator while it exists.
fn unbridgeable(observed: &Observed, installation: &str, bridge: Bridge) -> Option<String> {
    if bridge == Bridge::Other {
        return Some(format!(
            "it needs the temporary ClusterRoleBinding {BRIDGE}, which exists but binds something else; delete it: kubectl delete \
                clusterrolebinding {BRIDGE}"
        ));
    }
    let why = clear_bridge(observed, installation).err()?;
    Some(format!(
        "it needs the temporary ClusterRoleBinding {BRIDGE}, which makes every member of group {BRIDGE_GROUP} an administrator: \
            {why}"
    ))
}

/// The principals whose entries of aws-auth are managed, as far as they are now.
fn twins(observed: &Observed) -> BTreeSet<Key> {
    let Some(view) = &observed.config_map else {
        return BTreeSet::new();
    };
    let marked = Marked::of(view);
    let document = Document::parse(&view.data);
    let keys = document.entries().filter_map(crate::aws_auth::Entry::key);
    keys.filter(|key| marked.holds(key)).collect()
}

/// What a mapping's conditions say.
struct ReportedConditions<'a> {
    ready: bool,
    synced: Option<&'a Condition>,
    stalled: Option<&'a Condition>,
    reconciling: Option<&'a Condition>,
}

impl<'a> ReportedConditions<'a> {
    /// `None`: nothing yet of what the mapping declares now.
    fn of(mapping: &'a Mapping) -> Option<Self> {
        let status = &mapping.status;
        let find = |type_: ConditionType| {
            let mut all = status.conditions.iter();
            all.find(|condition| condition.type_ == type_.as_str())
        };
        let yes = |type_| find(type_).filter(|condition| condition.status == "True");
        (status.observed_generation == Some(mapping.generation) && !status.conditions.is_empty())
            .then(|| Self {
                ready: yes(ConditionType::Ready).is_some(),
                synced: find(ConditionType::Synced),
                stalled: yes(ConditionType::Stalled),
                reconciling: yes(ConditionType::Reconciling),
            })
    }

    fn is_synced(&self) -> bool {
        self.synced
            .is_some_and(|condition| condition.status == "True")
    }

    /// The one that works has been told not to.
    fn is_held(&self) -> bool {
        [Reason::Observing, Reason::Released, Reason::Suspended]
            .iter()
            .any(|reason| reason.as_str() == self.reason())
    }

    fn message(&self) -> String {
        self.synced
            .map(|condition| condition.message.clone())
            .unwrap_or_default()
    }

    fn reason(&self) -> &str {
        self.synced
            .map_or("", |condition| condition.reason.as_str())
    }
}

/// Why the verdict says that it does not get there.
fn why(verdict: &PrincipalPlan) -> String {
    verdict
        .why
        .as_ref()
        .map(|why| why.message.clone())
        .unwrap_or_default()
}

fn forth(verdict: &PrincipalPlan, mapping: Option<&Mapping>, twin: bool, mode: Mode) -> Stage {
    match verdict.outcome {
        PlannedOutcome::Blocked => return Stage::Blocked(why(verdict)),
        PlannedOutcome::Stays | PlannedOutcome::Leaves | PlannedOutcome::Gone => {
            return Stage::Stays(why(verdict));
        }
        PlannedOutcome::Stands | PlannedOutcome::Differs => return Stage::There,
        PlannedOutcome::Moves | PlannedOutcome::Moved => {}
    }
    let Some(mapping) = mapping else {
        // Nobody declares it, so nobody hands it over.
        return match mode {
            Mode::ConfigMap => Stage::Ahead,
            Mode::ApiAndConfigMap | Mode::Api => Stage::Blocked(
                "no mapping declares it; run the same command again with --import, or import it by hand"
                    .to_owned(),
            ),
        };
    };
    let Some(said) = ReportedConditions::of(mapping) else {
        return Stage::Ahead;
    };
    let by_entry = mapping.status.backend == Some(Backend::AccessEntry);
    let node = mapping
        .spec
        .as_ref()
        .is_ok_and(crate::desired::Spec::is_node);
    let blocked_by_bridge = said.reason() == Reason::HandoverBlocked.as_str() && verdict.bridge;
    match (said.stalled, said.reconciling) {
        _ if said.is_held() => Stage::Blocked(said.message()),
        (Some(_), _) if blocked_by_bridge => Stage::Ahead,
        (Some(stalled), _) => Stage::Blocked(stalled.message.clone()),
        (None, Some(working)) => Stage::Making(working.message.clone()),
        (None, None) if by_entry && said.ready && said.reason() == Reason::NotManaged.as_str() => {
            Stage::There
        }
        (None, None) if by_entry && said.ready && said.is_synced() => {
            if twin && !node && mode == Mode::ApiAndConfigMap {
                Stage::Soaking {
                    until: verdict.soaks_until,
                    said: said.message(),
                }
            } else {
                Stage::There
            }
        }
        (None, None) => Stage::Ahead,
    }
}

fn back(verdict: &PrincipalPlan, mapping: Option<&Mapping>) -> Stage {
    let Some(mapping) = mapping else {
        return Stage::There;
    };
    let spec = match &mapping.spec {
        Ok(spec) => Some(spec),
        // Its role is known only by a look at IAM, which the operator takes; its status has the outcome.
        Err(_) if mapping.permission_set().is_some() => None,
        Err(refusal) => return Stage::Blocked(refusal.message.clone()),
    };
    match verdict.outcome {
        PlannedOutcome::Leaves => return Stage::Stays(why(verdict)),
        PlannedOutcome::Stands | PlannedOutcome::Differs => {
            return Stage::Stays("it has access by an unmanaged access entry".to_owned());
        }
        PlannedOutcome::Gone
        | PlannedOutcome::Blocked
        | PlannedOutcome::Stays
        | PlannedOutcome::Moves
        | PlannedOutcome::Moved => {}
    }
    if let Some(Err(why)) = spec.map(can_revert) {
        return Stage::Stays(why.to_owned());
    }
    let Some(said) = ReportedConditions::of(mapping) else {
        return Stage::Ahead;
    };
    let by_entry = mapping.status.backend == Some(Backend::AccessEntry);
    match (said.stalled, said.reconciling) {
        _ if by_entry && said.is_held() => Stage::Blocked(said.message()),
        // It waits for a bridge to access entries, and goes nowhere.
        (Some(_), _) if !by_entry && said.ready => Stage::There,
        (Some(stalled), _) => Stage::Blocked(stalled.message.clone()),
        (None, Some(working)) => Stage::Making(working.message.clone()),
        (None, None) if !by_entry && said.ready && said.is_synced() => Stage::There,
        (None, None) if said.reason() == Reason::NotManaged.as_str() => {
            Stage::Stays("it has access by an unmanaged entry".to_owned())
        }
        (None, None) => Stage::Ahead,
    }
}
