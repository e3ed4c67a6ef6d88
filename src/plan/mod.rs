//! The planner: what to write, what to refuse and why, what each mapping's status becomes.
//!
//! [`plan`] is a pure function of the desired set, the observed state, the settings and what this process remembers.
//! The controller executes a [`Plan`] and tells [`Plan::report`] what came of it; the report holds the statuses, events
//! and the memory for the next pass. Invariants:
//!
//! - `plan(desired, apply(observed, plan))` writes nothing;
//! - the order of the mappings does not matter;
//! - an unmanaged entry is changed or removed only by `adoption`;
//! - what could not be read is never taken as empty.

mod action;
mod backend;
mod baseline;
mod cause;
pub(crate) mod claim;
pub(crate) mod decide;
mod key_summary;
mod memory;
mod orphans;
mod planned;
mod report;
mod soak;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};

pub use action::{
    AccessAction, AccessChange, AccessIdentity, ConfigMapWrite, EntryWork, EventNote,
    FIELD_MANAGER, FinalizerChange, HANDOVER_ANNOTATION, HistoryWrite, Outcome, PING_ANNOTATION,
    RELEASED_ANNOTATION, Regarding, Report, StatusWrite, Summary, WriteFailure,
};
pub use backend::can_revert;
pub use cause::ChangeCause;
pub use key_summary::{InIam, Next, Obstacle, Prospect};
pub use memory::Memory;
pub use planned::Plan;
pub use write::history::{Backup, backup};
pub use write::rewrite::{Rewrite, rewrite};

use crate::desired::State;
use baseline::Base;
use claim::{Block, Claim, Context, Eks};
use decide::holds::{
    hold_contested_entries, hold_for_declared_mode, hold_for_finalizers, hold_for_history,
    hold_for_trial, hold_removals_for_grants,
};
use decide::text_first;
use orphans::Orphans;
use write::render;
use write::review::Facts;

use crate::access_entry::Persistence;
use crate::api::condition::Reason;
use crate::aws_auth::Index;
use crate::desired::{Desired, Mapping, resolve};
use crate::effective::StandingEntries;
use crate::observed::{AwsState, CLUSTER_ANNOTATION, Handover, Kept, Mode, Observed, Settings};
use crate::ownership::KeyHash;
use crate::ownership::{KnownUnmanaged, Mark};
use crate::plan::decide::takeover::Takeover;
use crate::plan::soak::awaited_accounts;
use crate::principal::Key;
use crate::safety::Removals;
use crate::time::to_the_second;

/// Plans. Pure: the same arguments give the same plan.
#[must_use]
pub fn plan<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    settings: &'a Settings,
    memory: &'a Memory,
) -> Plan<'a> {
    let base = Base::build(observed, settings, memory);
    let mark = Mark::of(&base.view);
    let eks = eks(observed, settings);
    let no_entries = StandingEntries::default();
    let managed = resolve::managed_sso_roles(
        &base.document,
        &mark,
        eks.as_ref().map_or(&no_entries, |eks| &eks.standing),
        &settings.config_map.to_string(),
    );
    let mappings = resolve::resolve_all(desired, &observed.aws, &managed);
    let states: Vec<State> = mappings
        .iter()
        .map(|mapping| State::of(mapping, observed.now))
        .collect();
    let config_map = settings.config_map.to_string();
    let keys = decide::Keys::new(&base, &mark, &mappings, &config_map, eks.as_ref());
    let history = observed.history.view();
    let orphans = Orphans::new(
        keys.orphans(),
        eks.as_ref().is_none_or(knows_all),
        history,
        memory.confirmed_orphans.as_ref(),
    );
    let copies = history.map_or(&[][..], |view| &view.recent);
    let unmanaged = KnownUnmanaged::new(&memory.unmanaged, copies);
    let index = Index::new(&base.document);
    let context = Context {
        mappings: &mappings,
        states: &states,
        base: &base,
        index: &index,
        memory,
        config_map: &config_map,
        orphans: &orphans,
        unmanaged: &unmanaged,
        mode: observed.aws.mode(),
        eks: eks.as_ref(),
        observed,
        now: observed.now,
        without_takeover: &BTreeSet::new(),
    };
    let halted = halted(observed);
    let (decided, takeovers) = decide_takeovers(&context, &mark, &keys, settings, halted.as_ref());
    let Decided {
        mut claims,
        kept,
        add_finalizers,
    } = decided;
    let facts = Facts::new(&context, &claims, &mark);
    let (realized, removals) = render::realize(&context, &facts, &mut claims);
    let removals = removals.with_ends(&facts.removals);
    text_first::find(&context, &mut claims);
    let mut iam = resolve::wants(&mappings, &observed.aws);
    if let Some(eks) = &eks {
        iam.soon
            .extend(awaited_accounts(&claims, eks, observed.now));
    }
    let mut plan = Plan {
        add_finalizers,
        history: None,
        config_map: None,
        entries: Vec::new(),
        released: released(observed, memory),
        halted,
        observed,
        settings,
        memory,
        realized,
        facts,
        removals,
        orphans,
        iam,
        takeovers,
        eks,
        undone: BTreeSet::new(),
        postponed: false,
        claims,
        base,
        mappings,
        states,
    };
    if plan.released {
        plan.add_finalizers.clear();
    } else if !settings.observe && plan.halted.is_none() {
        plan.decide_writes(kept.unwrap_or_default(), &Removals::recorded(observed));
    }
    plan
}

impl Plan<'_> {
    /// The mapping that holds each key, by the key as resolved: of two mappings of one principal the older.
    pub fn holders(&self) -> impl Iterator<Item = (&Key, &Mapping)> {
        self.claims.iter().filter_map(|claim| {
            let holder = &*self.mappings[claim.holder?];
            Some((claim.key.as_ref()?, holder))
        })
    }
}

/// EKS, where access entries count.
fn eks<'a>(observed: &'a Observed, settings: &'a Settings) -> Option<Eks<'a>> {
    let view = observed
        .aws
        .view()
        .filter(|view| view.mode != Mode::ConfigMap)?;
    Some(Eks {
        view,
        standing: StandingEntries::new(view),
        settings,
        installation: settings.config_map.to_string(),
        handover: handover(observed, settings),
        bindings: &observed.bindings,
    })
}

/// The claims, with everything held that can be told before the text is written, and what that takes.
struct Decided {
    claims: Vec<Claim>,
    kept: Result<write::history::KeptCopies, String>,
    add_finalizers: Vec<FinalizerChange>,
}

/// The claims, where what has ended goes without the takeovers that have been blocked for too long.
fn decide_takeovers(
    context: &Context<'_>,
    mark: &Mark,
    keys: &decide::Keys<'_>,
    settings: &Settings,
    halted: Option<&Block>,
) -> (Decided, BTreeMap<KeyHash, Takeover>) {
    let mut decided = decide_claims(context, mark, keys, settings, halted);
    let takeovers = decide::takeover::waiting_takeovers(context, &decided.claims);
    let without_takeover: BTreeSet<KeyHash> = takeovers
        .iter()
        .filter(|(_, takeover)| takeover.is_overdue(context.now))
        .map(|(hash, _)| hash.clone())
        .collect();
    if !without_takeover.is_empty() {
        // Its finalizer may be what a takeover waits for: it is asked for all the same.
        let wanted = std::mem::take(&mut decided.add_finalizers);
        let context = Context {
            without_takeover: &without_takeover,
            ..*context
        };
        decided = decide_claims(&context, mark, keys, settings, halted);
        let others = decided.add_finalizers.iter();
        let known: BTreeSet<String> = others.map(|change| change.uid.clone()).collect();
        let wanted = wanted
            .into_iter()
            .filter(|change| !known.contains(&change.uid));
        decided.add_finalizers.extend(wanted);
    }
    (decided, takeovers)
}

fn decide_claims(
    context: &Context<'_>,
    mark: &Mark,
    keys: &decide::Keys<'_>,
    settings: &Settings,
    halted: Option<&Block>,
) -> Decided {
    let mut claims = held_claims(context, mark, keys, halted);
    let kept = write::keep(&claims, context.base, context.observed, settings);
    hold_for_history(
        &mut claims,
        &context.observed.history,
        kept.as_ref().map(|_| ()),
    );
    let add_finalizers = if settings.observe || halted.is_some() {
        Vec::new()
    } else {
        hold_for_finalizers(context, &mut claims)
    };
    hold_removals_for_grants(context, &mut claims);
    Decided {
        claims,
        kept,
        add_finalizers,
    }
}

/// The claims, with everything held that can be told from each alone.
fn held_claims(
    context: &Context<'_>,
    mark: &Mark,
    keys: &decide::Keys<'_>,
    halted: Option<&Block>,
) -> Vec<Claim> {
    let mut claims = decide::claims(context, mark, keys);
    if let Some(block) = halted {
        for claim in &mut claims {
            claim.hold_both(block);
        }
    }
    hold_for_declared_mode(context, &mut claims);
    hold_for_trial(context, &mut claims);
    hold_contested_entries(context, &mut claims);
    hold_removals_for_grants(context, &mut claims);
    claims
}

/// The handover setting in force: what exists in the cluster, else what the operator was started with.
fn handover(observed: &Observed, settings: &Settings) -> Handover {
    let kept = observed
        .history
        .view()
        .and_then(|view| view.annotations.get(HANDOVER_ANNOTATION));
    kept.and_then(|value| value.parse().ok())
        .unwrap_or(settings.handover)
}

/// Whether every access entry of the cluster is known with its tags.
fn knows_all(eks: &Eks<'_>) -> bool {
    eks.view.entries.listed.is_some()
        && eks
            .standing
            .iter()
            .all(|(_, standing)| standing.state.entry.is_some())
}

/// Why nothing may be written at all, and how old what the statuses say is.
fn halted(observed: &Observed) -> Option<Block> {
    let kept = observed
        .history
        .view()
        .and_then(|view| view.annotations.get(CLUSTER_ANNOTATION))
        .and_then(|value| Kept::parse(value));
    let age = kept.map_or_else(String::new, |kept| {
        format!("; EKS was last known at {}", to_the_second(kept.read))
    });
    match &observed.aws {
        AwsState::Off | AwsState::Known(_) => None,
        AwsState::Unproven { name, eks, server } => Some(Block::lasting(
            Reason::ClusterMismatch,
            format!(
                "the EKS cluster {name} (certificate authority {eks}) and the Kubernetes API server (certificate authority {server}) are different clusters, so nothing is written; fix --cluster-name, --region or the kubeconfig{age}"
            ),
        )),
        AwsState::Unknown { failure } => {
            let message = format!(
                "the cluster's authentication mode can't be read, so nothing is written: {failure}{age}"
            );
            Some(match failure.kind.persistence() {
                Persistence::Lasting => Block::lasting(Reason::ModeUnknown, message),
                Persistence::Brief | Persistence::Settling => {
                    Block::passing(Reason::ModeUnknown, message)
                }
            })
        }
    }
}

fn released(observed: &Observed, memory: &Memory) -> bool {
    let value = observed
        .history
        .view()
        .and_then(|view| view.annotations.get(RELEASED_ANNOTATION));
    memory.started && value.is_some() && value != memory.release_at_start.as_ref()
}

#[cfg(any(test, fuzzing))]
pub(crate) mod simulation;
#[cfg(test)]
pub(crate) mod tests;
