//! What no write may do, no matter who planned it.
//!
//! The reference monitor of every write to aws-auth and every call that changes an access entry. [`review`] is asked on a whole
//! [`Proposal`], of which any subset may happen, and on each call again as it is sent. It decides from effective access before and
//! after, never from the steps or the memory of the proposer; it imports nothing of the planner. Pure.
//!
//! *Before* is not one world: of each principal everything is counted that is possible while calls are in flight, and the rules
//! ask for what is certain where something is relied upon. Possibilities of two principals are never multiplied.
//!
//! One file a rule. What a rule refuses is held: the [`Refusal`] says why, and which confirmation lifts it.

mod bridge;
mod call;
mod cleared;
mod definition;
mod ends;
pub(crate) mod finalizer;
mod grant;
mod last_administrator;
mod mass_removal;
mod mode_change;
mod nodes;
mod possibility;
mod read;
mod removal;
mod responsible;
#[cfg(test)]
pub(crate) mod switch;
mod unmanaged;
mod world;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub use bridge::{BridgeBinding, clear_bridge};
pub(crate) use call::{clear_call, may_take};
pub use cleared::{Clearance, Cleared};
pub(crate) use mass_removal::{REMOVALS_ANNOTATION, Removals};
pub use mode_change::clear_mode_change;

use crate::access_entry::{Call, EksCluster};
use crate::api::condition::Reason;
use crate::api::v1alpha1::Confirmation;
use crate::aws_auth::{Document, Meaning};
use crate::desired::{Mapping, State};
use crate::effective::StandingEntries;
use crate::observed::{AwsView, Bindings, Iam, Mode};
use crate::ownership::{KeyHash, Mark};
use crate::time::Timestamp;
use world::{Subject, World};

/// A rule of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    /// A node keeps exactly its identity.
    Nodes,
    /// Somebody is certainly an administrator afterwards.
    LastAdministrator,
    /// Unmanaged entries keep text and effective entry.
    Unmanaged,
    /// Who gets more gets what a live mapping declares.
    Grant,
    /// Only what is managed is removed, and nothing that a live mapping claims.
    Removal,
    /// Few principals vanish within ten minutes.
    MassRemoval,
    /// Nothing is revoked while the definition is being deleted.
    Definition,
    /// Nothing is written from what could not be read.
    Read,
}

impl Rule {
    /// All rules.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::Nodes,
        Self::LastAdministrator,
        Self::Unmanaged,
        Self::Grant,
        Self::Removal,
        Self::MassRemoval,
        Self::Definition,
        Self::Read,
    ];
}

/// Why a proposal is refused as far as one principal goes: both its text and its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The rule.
    pub(crate) rule: Rule,
    /// The principal; `None` where the whole text is refused.
    pub(crate) principal: Option<KeyHash>,
    /// The reason of the condition.
    pub(crate) reason: Reason,
    /// Why, in a sentence.
    pub(crate) why: String,
    /// The confirmation that lifts it.
    pub(crate) confirmation: Option<Confirmation>,
    /// It ends by itself, without anybody's doing.
    pub(crate) transient: bool,
}

impl Refusal {
    fn lasting(rule: Rule, subject: &Subject<'_>, reason: Reason, why: impl Into<String>) -> Self {
        Self {
            rule,
            principal: Some(subject.hash.clone()),
            reason,
            why: why.into(),
            confirmation: None,
            transient: false,
        }
    }

    fn until(self, confirmation: Confirmation) -> Self {
        Self {
            confirmation: Some(confirmation),
            ..self
        }
    }

    fn passing(self) -> Self {
        Self {
            transient: true,
            ..self
        }
    }
}

/// What is known before a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before<'a> {
    /// The operator's clock.
    pub(crate) now: Timestamp,
    /// The mode in force.
    pub(crate) mode: Option<Mode>,
    /// aws-auth as it was read.
    pub(crate) text: &'a Document,
    /// The texts that `LastGood` may bring back: the last that this process saw in force.
    pub(crate) last_good: &'a Document,
    /// The mark of aws-auth as it was read.
    pub(crate) mark: &'a Mark,
    /// What the managed entry of each key in aws-auth means.
    pub(crate) managed: &'a BTreeMap<KeyHash, Meaning>,
    /// The principals of the access entries that are managed.
    pub(crate) managed_entries: &'a BTreeSet<String>,
    /// EKS, where access entries count.
    pub(crate) view: Option<&'a AwsView>,
    /// IAM, in every mode.
    pub(crate) iam: Option<&'a Iam>,
    /// The access entries by key.
    pub(crate) entries: &'a StandingEntries<'a>,
    /// What RBAC binds.
    pub(crate) bindings: &'a Bindings,
    /// The mappings, principals resolved, oldest first.
    pub(crate) mappings: &'a [Cow<'a, Mapping>],
    /// What each of them is.
    pub(crate) states: &'a [State],
    /// `namespace/name` of aws-auth.
    pub(crate) config_map: &'a str,
    /// Removals that were ordered within the last ten minutes.
    pub(crate) removals: &'a Removals,
    /// Whether the record of removals can be written.
    pub(crate) recordable: bool,
    /// What a person confirmed for the managed keys that no mapping names.
    pub(crate) orphans: &'a BTreeSet<Confirmation>,
    /// Those of them whose removal a person confirmed, by the name of their set.
    pub(crate) confirmed_orphans: &'a BTreeSet<KeyHash>,
    /// Whether the definition carries a deletionTimestamp.
    pub(crate) definition_deleting: bool,
}

impl Before<'_> {
    /// The cluster in EKS.
    fn cluster(&self) -> Option<&EksCluster> {
        self.view.map(|view| &view.cluster)
    }
}

/// The text of aws-auth as a proposal leaves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// What the authenticator makes of it.
    pub(crate) document: &'a Document,
    /// The mark that goes with it.
    pub(crate) mark: &'a Mark,
}

/// What somebody wants to write. Any subset of it may happen: the text or not, of each principal the first calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proposal<'a> {
    /// The new text, where it changes.
    pub(crate) text: Option<Text<'a>>,
    /// The calls to EKS, in order, by principal.
    pub(crate) calls: BTreeMap<&'a KeyHash, &'a [Call]>,
    /// By whose word.
    pub(crate) authority: Authority,
}

/// By whose word something is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Authority {
    /// As mappings declare it.
    #[default]
    Mappings,
    /// As a person confirmed it from the diff: only what takes access away from nodes or the last administrator is held.
    Person,
}

/// What becomes of a proposal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Review {
    /// What is refused of it; a proposal without these parts is to be reviewed anew.
    pub(crate) refusals: Vec<Refusal>,
    /// The record of removals with those that the proposal orders, to be written before any of it.
    pub(crate) removals: Removals,
    /// Nothing is refused: the proposal may be written, as far as it is still what was reviewed.
    pub(crate) clearance: Option<Clearance>,
}

/// Reviews a proposal.
#[must_use]
pub(crate) fn review(before: &Before<'_>, proposal: &Proposal<'_>) -> Review {
    let world = World::new(before, proposal);
    let mut refusals = Vec::new();
    let mut apply = |rule: Rule, refused: &dyn Fn() -> Vec<Refusal>| {
        #[cfg(test)]
        if switch::is_off(rule) {
            return;
        }
        let _ = rule;
        refusals.extend(refused());
    };
    // The first reason is the one that a person is told.
    let mapped = proposal.authority == Authority::Mappings;
    apply(Rule::Read, &|| read::refuse(&world));
    if mapped {
        apply(Rule::Definition, &|| definition::refuse(&world));
        apply(Rule::Removal, &|| removal::refuse(&world));
        apply(Rule::Unmanaged, &|| unmanaged::refuse(&world));
        apply(Rule::Grant, &|| grant::refuse(&world));
    }
    apply(Rule::Nodes, &|| nodes::refuse(&world));
    apply(Rule::LastAdministrator, &|| {
        last_administrator::refuse(&world)
    });
    let mut removals = before.removals.clone();
    if mapped {
        let (held, ordered) = mass_removal::refuse(&world);
        apply(Rule::MassRemoval, &|| held.clone());
        removals = ordered;
    }
    let clearance = refusals.is_empty().then(Clearance::new);
    Review {
        refusals,
        removals,
        clearance,
    }
}

/// The ARNs, as aws-auth matches them, that certainly are administrators.
#[must_use]
pub(crate) fn administrators(before: &Before<'_>) -> BTreeSet<String> {
    last_administrator::certain(&World::new(before, &Proposal::default()))
}

#[cfg(test)]
mod tests;
