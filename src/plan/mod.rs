//! The planner: what to write, what to refuse and why, what each mapping's status becomes.
//!
//! [`plan`] is a pure function of the desired set, the observed state, the settings and what this process remembers.
//! The controller executes a [`Plan`] and tells [`Plan::report`] what came of it; the report holds the statuses, events
//! and the memory for the next pass. Invariants:
//!
//! - `plan(desired, apply(observed, plan))` writes nothing;
//! - the order of the mappings does not matter;
//! - a foreign entry is changed or removed only by `adoption`;
//! - what could not be read is never taken as empty.

mod action;
mod base;
mod claim;
mod desired;
mod event;
mod guard;
mod history;
mod mark;
mod memory;
mod observed;
mod realize;
mod report;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub use action::{
    ConfigMapWrite, EventNote, EventType, FinalizerChange, HistoryWrite, Outcome, Regarding,
    Report, StatusWrite, Summary, WriteFailure,
};
pub use desired::{Desired, Mapping, Refusal, Spec};
pub use mark::MARK_ANNOTATION;
pub use memory::Memory;
pub use observed::{
    BindingSubjects, Bindings, ConfigMapView, HistoryState, HistoryView, Manager, Observed,
};

use base::Base;
use claim::{Block, Claim, Context, State, Step};
use guard::{REMOVALS_ANNOTATION, Removals};
use history::Kept;
use mark::Mark;
use memory::Target;
use realize::Realized;

use crate::api::condition::Reason;
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, Confirmation};
use crate::aws_auth::Index;

/// The annotation on the history `ConfigMap` that says that everything was let go of: a running operator then writes nothing
/// until it is restarted.
pub const RELEASED_ANNOTATION: &str = "identity-mapper.dev/released";

/// The name under which we write (`metadata.managedFields`).
pub const FIELD_MANAGER: &str = "identity-mapper";

/// A `ConfigMap` by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ConfigMapName {
    /// The history `ConfigMap` beside it. A copy that is tried on first has a history of its own.
    #[must_use]
    pub fn history(&self) -> Self {
        let name = match self.name.as_str() {
            "aws-auth" => "identity-mapper-history".to_owned(),
            other => format!("identity-mapper-history-{other}"),
        };
        Self {
            namespace: self.namespace.clone(),
            name,
        }
    }
}

impl Default for ConfigMapName {
    fn default() -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            name: "aws-auth".to_owned(),
        }
    }
}

impl fmt::Display for ConfigMapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What to do about a key of aws-auth that does not parse, or a deleted aws-auth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// Put back the last text that this process saw standing and parsing, foreign entries included.
    #[default]
    LastGood,
    /// Write nothing over a text that does not parse; make a deleted aws-auth again with our entries only.
    Off,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastGood => "LastGood",
            Self::Off => "Off",
        })
    }
}

impl FromStr for Repair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "LastGood" => Ok(Self::LastGood),
            "Off" => Ok(Self::Off),
            other => Err(format!(
                "{other:?} is no repair setting; write LastGood or Off"
            )),
        }
    }
}

/// How the operator was started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The `ConfigMap` that is kept, `kube-system/aws-auth` but for a trial on a copy.
    pub config_map: ConfigMapName,
    /// What to do about broken texts.
    pub repair: Repair,
    /// Write no backend and no finalizer; statuses show the plan.
    pub observe: bool,
}

/// What to do, and everything that the report of it needs.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Finalizers to set before anything is granted. Set them, observe and plan again.
    pub add_finalizers: Vec<FinalizerChange>,
    /// To be written before [`Plan::config_map`]. If it can't be, observe [`HistoryState::Unwritable`] and plan again.
    pub history: Option<HistoryWrite>,
    /// The write of aws-auth.
    pub config_map: Option<ConfigMapWrite>,
    mappings: Vec<&'a Mapping>,
    states: Vec<State>,
    observed: &'a Observed,
    settings: &'a Settings,
    memory: &'a Memory,
    released: bool,
    base: Base,
    claims: Vec<Claim>,
    realized: Realized,
    removals: Removals,
    /// What this plan puts right that someone else undid.
    undone: BTreeSet<Target>,
    /// A repair of contested targets that waits for its second.
    postponed: bool,
}

/// Plans. Pure: the same arguments give the same plan.
#[must_use]
pub fn plan<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    settings: &'a Settings,
    memory: &'a Memory,
) -> Plan<'a> {
    let mut mappings: Vec<&Mapping> = desired.mappings.iter().collect();
    mappings.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let states: Vec<State> = mappings
        .iter()
        .map(|mapping| State::of(mapping, observed.now))
        .collect();
    let base = Base::build(observed, settings, memory);
    let mark = Mark::parse(
        base.view
            .annotations
            .get(MARK_ANNOTATION)
            .map(String::as_str)
            .unwrap_or_default(),
    );
    let orphans = orphans_confirmed(observed);
    let config_map = settings.config_map.to_string();
    let index = Index::new(&base.document);
    let context = Context {
        mappings: &mappings,
        states: &states,
        base: &base,
        index: &index,
        memory,
        config_map: &config_map,
        orphans: &orphans,
    };
    let mut claims = claim::claims(&context, &mark);
    guard::hold_while_crd_goes(&mut claims, observed.crd_deleting);
    guard::hold_node_entries(&context, &mut claims);
    let stored = observed
        .history
        .view()
        .and_then(|view| view.annotations.get(REMOVALS_ANNOTATION));
    let stored = stored
        .map(|value| Removals::parse(value))
        .unwrap_or_default();
    let removals = guard::hold_mass_removal(
        &context,
        &mut claims,
        stored.clone().merge(&memory.removals),
        observed.now,
    );
    let kept = keep(&claims, &base, observed, settings);
    hold_for_history(&mut claims, &kept, &observed.history);
    let add_finalizers = if settings.observe {
        Vec::new()
    } else {
        hold_for_finalizers(&context, &mut claims)
    };
    hold_removals_for_grants(&context, &mut claims);
    let realized = realize::realize(&context, &mut claims, &observed.bindings);
    let mut plan = Plan {
        add_finalizers,
        history: None,
        config_map: None,
        released: released(observed, memory),
        observed,
        settings,
        memory,
        base,
        claims,
        realized,
        removals,
        undone: BTreeSet::new(),
        postponed: false,
        mappings,
        states,
    };
    if plan.released {
        plan.add_finalizers.clear();
    } else if !settings.observe {
        plan.decide_writes(kept.unwrap_or_default(), &stored, &orphans);
    }
    plan
}

fn released(observed: &Observed, memory: &Memory) -> bool {
    let value = observed
        .history
        .view()
        .and_then(|view| view.annotations.get(RELEASED_ANNOTATION));
    memory.started && value.is_some() && value != memory.release_at_start.as_ref()
}

fn orphans_confirmed(observed: &Observed) -> BTreeSet<Confirmation> {
    let words = observed
        .history
        .view()
        .and_then(|view| view.annotations.get(CONFIRM_ANNOTATION));
    words
        .map(|words| Confirmation::parse_list(words).0)
        .unwrap_or_default()
}

/// Without a way back nothing new is granted; what was granted is still kept and revoked.
fn hold_for_history(claims: &mut [Claim], kept: &Result<Kept, String>, history: &HistoryState) {
    let error = match (history, kept) {
        (HistoryState::Unwritable { error, .. }, _) | (_, Err(error)) => error,
        (HistoryState::Missing | HistoryState::Present(_), Ok(_)) => return,
    };
    for claim in claims.iter_mut().filter(|claim| claim.grants()) {
        let message =
            format!("the history of aws-auth can't be written, so nothing new is granted: {error}");
        claim.hold(Block::passing(Reason::HistoryUnwritable, message));
    }
}

/// A mapping's entry must not outlive the mapping, so its finalizer comes first.
fn hold_for_finalizers(context: &Context<'_>, claims: &mut [Claim]) -> Vec<FinalizerChange> {
    let mut wanted = Vec::new();
    for claim in claims {
        let Some(mapping) = claim.holder.map(|holder| context.mappings[holder]) else {
            continue;
        };
        if mapping.finalizer || claim.effective() == Step::Leave {
            continue;
        }
        wanted.push(FinalizerChange {
            name: mapping.name.clone(),
            uid: mapping.uid.clone(),
        });
        if claim.grants() {
            claim.hold(Block::passing(
                Reason::FinalizerPending,
                "the finalizer is being set; the entry follows",
            ));
        }
    }
    wanted
}

/// A principal that a mapping leaves keeps its entry until the one that it moves to can be written.
fn hold_removals_for_grants(context: &Context<'_>, claims: &mut [Claim]) {
    let waiting: BTreeMap<usize, Block> = claims
        .iter()
        .filter_map(|claim| {
            let block = claim.block.as_ref().filter(|block| block.transient)?;
            Some((claim.holder?, block.clone()))
        })
        .collect();
    for claim in claims.iter_mut().filter(|claim| claim.step == Step::Remove) {
        let mover = claim.others.iter().find(|position| {
            context.states[**position] == State::Live && waiting.contains_key(position)
        });
        if let Some(block) = mover.and_then(|position| waiting.get(position)) {
            claim.hold(block.clone());
        }
    }
}

/// The copy that must be kept if anything is written.
fn keep(
    claims: &[Claim],
    base: &Base,
    observed: &Observed,
    settings: &Settings,
) -> Result<Kept, String> {
    let idle = base.restored.is_empty()
        && claims
            .iter()
            .all(|claim| claim.effective() == Step::Leave || claim.settled());
    let Some(standing) = observed
        .config_map
        .as_ref()
        .filter(|_| !idle && !settings.observe)
    else {
        return Ok(Kept::default());
    };
    let view = match &observed.history {
        HistoryState::Missing => None,
        HistoryState::Present(view) => Some(view),
        HistoryState::Unwritable { .. } => return Ok(Kept::default()),
    };
    history::keep(standing, view, observed.now)
}

impl Plan<'_> {
    fn decide_writes(&mut self, kept: Kept, stored: &Removals, orphans: &BTreeSet<Confirmation>) {
        let changed = match &self.observed.config_map {
            Some(standing) => realize::changed_data(standing, &self.realized.data),
            None => self.realized.data.clone(),
        };
        let mark_differs = self.realized.mark != self.standing_mark();
        let mut write = if self.base.create {
            !self.realized.data.is_empty()
        } else {
            !changed.is_empty() || mark_differs
        };
        let now = self.observed.now;
        if write {
            let undone = self.find_undone(mark_differs);
            let contested = |target: &Target| self.memory.undone.contested(target, now);
            let only_contested =
                !self.fresh(&undone) && !undone.is_empty() && undone.iter().all(contested);
            if only_contested
                && self
                    .memory
                    .undone
                    .next_repair()
                    .is_some_and(|next| now < next)
            {
                self.postponed = true;
                write = false;
            } else {
                self.undone = undone;
            }
        }
        self.history = self.history_write(write, kept, stored, orphans);
        if write {
            self.config_map = Some(self.config_map_write(changed, mark_differs));
        }
    }

    /// The mark that really stands.
    fn standing_mark(&self) -> Mark {
        let value = self
            .observed
            .config_map
            .as_ref()
            .and_then(|view| view.annotations.get(MARK_ANNOTATION));
        value.map(|value| Mark::parse(value)).unwrap_or_default()
    }

    /// What this plan would put right that someone else undid.
    fn find_undone(&self, mark_differs: bool) -> BTreeSet<Target> {
        let drifted = self
            .claims
            .iter()
            .filter(|claim| claim.drift.is_some() && claim.changes_text());
        let mut undone: BTreeSet<Target> = drifted
            .map(|claim| Target::Entry(claim.hash.clone()))
            .collect();
        undone.extend(
            self.base
                .restored
                .iter()
                .map(|problem| Target::Text(problem.section)),
        );
        if self.base.create && self.base.deleted {
            undone.insert(Target::ConfigMap);
        }
        let mark_of = |view: &ConfigMapView| view.annotations.get(MARK_ANNOTATION).cloned();
        if let (true, Some(before), Some(standing)) = (
            mark_differs,
            &self.memory.standing,
            &self.observed.config_map,
        ) && mark_of(before) != mark_of(standing)
        {
            undone.insert(Target::Mark);
        }
        undone
    }

    /// Whether the plan does anything but put right what someone else undid.
    fn fresh(&self, undone: &BTreeSet<Target>) -> bool {
        self.claims.iter().any(|claim| match claim.effective() {
            Step::Add | Step::Replace | Step::Move => claim.drift.is_none(),
            Step::Remove => true,
            // Without a mark there is nothing to take off, and a lost mark is itself something undone.
            Step::Adopt => !undone.contains(&Target::Mark),
            Step::Unmark | Step::Retain => claim.marked.is_some(),
            Step::Leave | Step::Keep => false,
        })
    }

    fn history_write(
        &self,
        write: bool,
        kept: Kept,
        stored: &Removals,
        orphans: &BTreeSet<Confirmation>,
    ) -> Option<HistoryWrite> {
        let view = match &self.observed.history {
            HistoryState::Missing => None,
            HistoryState::Present(view) => Some(view),
            HistoryState::Unwritable { .. } => return None,
        };
        let mut history = HistoryWrite {
            resource_version: view.map(|view| view.resource_version.clone()),
            ..HistoryWrite::default()
        };
        if view.is_some_and(|view| view.annotations.contains_key(RELEASED_ANNOTATION)) {
            history
                .annotations
                .insert(RELEASED_ANNOTATION.to_owned(), None);
        }
        if write {
            // In a fight the good texts alternate; one of each is kept already.
            let fight = self
                .undone
                .iter()
                .any(|target| self.memory.undone.contested(target, self.observed.now));
            let parses = crate::aws_auth::Section::ALL
                .iter()
                .all(|section| self.base.standing.section(*section).broken.is_none());
            if !(fight && parses) {
                history.add = kept.add;
                history.remove = kept.remove;
            }
            if self.removals != *stored
                && self
                    .claims
                    .iter()
                    .any(|claim| claim.effective() == Step::Remove)
            {
                history
                    .annotations
                    .insert(REMOVALS_ANNOTATION.to_owned(), Some(self.removals.render()));
            }
            if self
                .claims
                .iter()
                .any(|claim| claim.orphan && claim.effective() != Step::Leave)
                && !orphans.is_empty()
            {
                history
                    .annotations
                    .insert(CONFIRM_ANNOTATION.to_owned(), None);
            }
        }
        let empty =
            history.add.is_empty() && history.remove.is_empty() && history.annotations.is_empty();
        (!empty).then_some(history)
    }

    fn config_map_write(
        &self,
        changed: BTreeMap<String, String>,
        mark_differs: bool,
    ) -> ConfigMapWrite {
        let mark = (!self.realized.mark.0.is_empty()).then(|| self.realized.mark.render());
        match &self.observed.config_map {
            Some(standing) => ConfigMapWrite::Patch {
                resource_version: standing.resource_version.clone(),
                data: changed,
                annotations: if mark_differs {
                    [(MARK_ANNOTATION.to_owned(), mark)].into()
                } else {
                    BTreeMap::new()
                },
            },
            None => {
                let mut annotations = self.base.view.annotations.clone();
                annotations.remove(MARK_ANNOTATION);
                annotations.extend(mark.map(|mark| (MARK_ANNOTATION.to_owned(), mark)));
                ConfigMapWrite::Create {
                    data: changed,
                    binary_data: self.base.view.binary_data.clone(),
                    labels: self.base.view.labels.clone(),
                    annotations,
                }
            }
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
