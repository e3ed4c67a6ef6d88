//! What a plan submits to `safety`, and how a refusal holds claims.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::api::v1alpha1::Confirmation;
use crate::aws_auth::{Document, Meaning};
use crate::desired::{Mapping, State};
use crate::effective::StandingEntries;
use crate::observed::{HistoryState, Observed};
use crate::ownership::{KeyHash, Mark};
use crate::plan::claim::{Block, Claim, Context, Eks};
use crate::plan::decide::access_entry;
use crate::safety::{Authority, Before, Clearance, Proposal, Refusal, Removals, Text, review};

/// What safety is given beside what was observed.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) mark: Mark,
    managed: BTreeMap<KeyHash, Meaning>,
    managed_entries: BTreeSet<String>,
    /// The texts that this process last saw in force, where one of them may come back.
    last_good: Option<Document>,
    pub(crate) removals: Removals,
    recordable: bool,
    orphans: BTreeSet<Confirmation>,
    confirmed_orphans: BTreeSet<KeyHash>,
    no_entries: StandingEntries<'static>,
}

impl Facts {
    pub(crate) fn new(context: &Context<'_>, claims: &[Claim], mark: &Mark) -> Self {
        let (observed, memory) = (context.observed, context.memory);
        let managed = claims
            .iter()
            .filter(|claim| claim.ours)
            .filter_map(|claim| {
                let found = claim.found.as_ref()?;
                Some((claim.hash.clone(), found.meaning.clone()))
            });
        let entries = claims.iter().flat_map(|claim| {
            let eks = context.eks;
            let standing = eks
                .map(|eks| eks.standing.of(&claim.hash))
                .unwrap_or_default();
            let ours = standing.iter().filter(move |standing| {
                eks.is_some_and(|eks| access_entry::owner::is_ours(eks, context, claim, standing))
            });
            ours.map(|standing| standing.principal_arn.to_owned())
        });
        Self {
            mark: mark.clone(),
            managed: managed.collect(),
            managed_entries: entries.collect(),
            last_good: context.base.last_good(memory),
            removals: Removals::known(observed, &memory.removals, !memory.has_record)
                .with_ends_of(context.mappings, observed.now),
            recordable: !matches!(observed.history, HistoryState::Unwritable { .. }),
            orphans: context.orphans.words(),
            confirmed_orphans: context.orphans.confirmed_keys(),
            no_entries: StandingEntries::default(),
        }
    }

    /// What is known before a write, with aws-auth read so.
    pub(crate) fn before<'b>(
        &'b self,
        text: &'b Document,
        config_map: &'b str,
        mappings: &'b [Cow<'b, Mapping>],
        states: &'b [State],
        observed: &'b Observed,
        eks: Option<&'b Eks<'b>>,
    ) -> Before<'b> {
        Before {
            now: observed.now,
            mode: observed.aws.mode(),
            text,
            last_good: self.last_good.as_ref().unwrap_or(text),
            mark: &self.mark,
            managed: &self.managed,
            managed_entries: &self.managed_entries,
            view: eks.map(|eks| eks.view),
            iam: observed.aws.iam(),
            entries: eks.map_or(&self.no_entries, |eks| &eks.standing),
            bindings: &observed.bindings,
            mappings,
            states,
            config_map,
            removals: &self.removals,
            recordable: self.recordable,
            orphans: &self.orphans,
            confirmed_orphans: &self.confirmed_orphans,
            definition_deleting: observed.crd_deleting,
        }
    }
}

/// What came of a review.
pub(crate) enum ReviewOutcome {
    /// All of it may happen, once this record of removals is written.
    Cleared(Clearance, Removals),
    /// Claims were held: what is left is to be reviewed anew. The removals among them stay held.
    Held(Removals),
    /// It is refused, and no claim is to be held for it: nothing may be written.
    Refused(Block),
}

/// Asks safety about what the claims come to, and holds those that it refuses.
pub(crate) fn ask(
    context: &Context<'_>,
    facts: &Facts,
    claims: &mut [Claim],
    text: Option<Text<'_>>,
) -> ReviewOutcome {
    let reviewed = {
        let calls = claims.iter().filter(|claim| claim.entry.pending());
        let proposal = Proposal {
            text,
            calls: calls
                .map(|claim| (&claim.hash, claim.entry.calls.as_slice()))
                .collect(),
            authority: Authority::Mappings,
        };
        let before = facts.before(
            &context.base.standing,
            context.config_map,
            context.mappings,
            context.states,
            context.observed,
            context.eks,
        );
        review(&before, &proposal)
    };
    let mut held = false;
    for refusal in &reviewed.refusals {
        held |= hold(claims, refusal);
    }
    match (reviewed.clearance, reviewed.refusals.first()) {
        (Some(clearance), _) => ReviewOutcome::Cleared(clearance, reviewed.removals),
        (None, Some(refusal)) if !held => ReviewOutcome::Refused(Block::of_refusal(refusal)),
        (None, _) => ReviewOutcome::Held(reviewed.removals.lasting()),
    }
}

/// Holds what a refusal is about. Whether that changes anything.
fn hold(claims: &mut [Claim], refusal: &Refusal) -> bool {
    let block = Block::of_refusal(refusal);
    let mut held = false;
    let concerned = claims.iter_mut().filter(|claim| match &refusal.principal {
        Some(hash) => claim.hash == *hash,
        None => claim.changes_text(),
    });
    for claim in concerned {
        held |= claim.block.is_none() || claim.entry.pending();
        claim.hold_both(&block);
    }
    held
}
