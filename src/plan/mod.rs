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
mod aws;
mod base;
mod claim;
mod decide;
mod desired;
mod event;
mod guard;
mod history;
mod mark;
mod memory;
mod observed;
mod realize;
mod report;
mod settings;
mod states;
mod status;
mod verdict;
mod view;
mod write;

use std::collections::{BTreeMap, BTreeSet};

pub use action::{
    ConfigMapWrite, EntryWork, EventNote, FinalizerChange, HistoryWrite, Outcome, Regarding,
    Report, StatusWrite, Summary, WriteFailure,
};
pub use aws::{
    Attempt, AwsState, AwsView, CLUSTER_ANNOTATION, EksCluster, Iam, IamAccount, IamPrincipal,
    IamProblem, IamWants, Kept, Listing, Mode, NotACluster, Unreachable,
};
pub use desired::{Desired, Mapping, Refusal, Spec};
pub use mark::MARK_ANNOTATION;
pub use memory::Memory;
pub use observed::{
    BindingSubjects, Bindings, ConfigMapView, HistoryState, HistoryView, Manager, Observed,
};
pub use settings::{ConfigMapName, Handover, RecreatedPrincipals, Repair, Settings};

use base::Base;
use claim::{Block, Claim, Context, State, Step};
use guard::{REMOVALS_ANNOTATION, Removals};
use history::Kept as KeptCopy;
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

/// What to do, and everything that the report of it needs.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Finalizers to set before anything is granted. Set them, observe and plan again.
    pub add_finalizers: Vec<FinalizerChange>,
    /// To be written before [`Plan::config_map`]. If it can't be, observe [`HistoryState::Unwritable`] and plan again.
    pub history: Option<HistoryWrite>,
    /// The write of aws-auth.
    pub config_map: Option<ConfigMapWrite>,
    /// Calls to EKS, by principal. They are made side by side, and none of them waits for the write of aws-auth: what must
    /// come after it is asked for by a later plan.
    pub entries: Vec<EntryWork>,
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
    let mut claims = decide::claims(&context, &mark);
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
    let kept = write::keep(&claims, &base, observed, settings);
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
        entries: Vec::new(),
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
fn hold_for_history(claims: &mut [Claim], kept: &Result<KeptCopy, String>, history: &HistoryState) {
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

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
