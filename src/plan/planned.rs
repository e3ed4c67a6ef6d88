//! A plan, as its steps pass it on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::aws_auth::Document;
use crate::desired::{Mapping, State};
use crate::observed::{IamWants, Observed, Settings};
use crate::ownership::KeyHash;
use crate::plan::action::{ConfigMapWrite, EntryWork, FinalizerChange, HistoryWrite};
use crate::plan::baseline::Base;
use crate::plan::claim::{Block, Claim, Eks};
use crate::plan::decide::takeover::Takeover;
use crate::plan::memory::{Memory, RepairTarget};
use crate::plan::orphans::Orphans;
use crate::plan::write::render::Realized;
use crate::plan::write::review::Facts;
use crate::safety::{Cleared, Removals, administrators};

/// What to do, and everything that the report of it needs.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Finalizers to set before anything is granted. Set them, observe and plan again.
    pub add_finalizers: Vec<FinalizerChange>,
    /// To be written before [`Plan::config_map`]. If it can't be, observe [`crate::observed::HistoryState::Unwritable`] and plan again.
    pub history: Option<HistoryWrite>,
    /// The write of aws-auth.
    pub config_map: Option<Cleared<ConfigMapWrite>>,
    /// Calls to EKS, by principal, made side by side. [`Plan::works_after`] gives those that may be made.
    pub entries: Vec<EntryWork>,
    pub(crate) mappings: Vec<Cow<'a, Mapping>>,
    pub(crate) states: Vec<State>,
    pub(crate) observed: &'a Observed,
    pub(crate) settings: &'a Settings,
    pub(crate) memory: &'a Memory,
    pub(crate) released: bool,
    /// Why nothing may be written at all.
    pub(crate) halted: Option<Block>,
    pub(crate) base: Base,
    pub(crate) claims: Vec<Claim>,
    pub(crate) realized: Realized,
    pub(crate) facts: Facts,
    /// The record of removals with those that this plan orders.
    pub(crate) removals: Removals,
    pub(crate) orphans: Orphans,
    pub(crate) iam: IamWants,
    /// Since when a mapping can't take over what another one wrote that has ended, by key.
    pub(crate) takeovers: BTreeMap<KeyHash, Takeover>,
    pub(crate) eks: Option<Eks<'a>>,
    /// What this plan repairs that someone else undid.
    pub(crate) undone: BTreeSet<RepairTarget>,
    /// A repair of contested targets that waits for its second.
    pub(crate) postponed: bool,
}

impl Plan<'_> {
    /// The ARNs, as aws-auth matches them, that certainly are administrators with this text of aws-auth.
    pub(crate) fn administrators(&self, text: &Document) -> BTreeSet<String> {
        administrators(&self.facts.before(
            text,
            &self.settings.config_map.to_string(),
            &self.mappings,
            &self.states,
            self.observed,
            self.eks.as_ref(),
        ))
    }
}
