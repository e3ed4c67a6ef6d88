//! What is never done without a person's word: node entries, the last administrator, mass removal.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::claim::{Block, Claim, Context, Eks, EntryStep, State, Step};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, Confirmation};
use crate::aws_auth::{Entry, Index, Meaning, fold_arn};
use crate::desired::resolve;
use crate::desired::{Mapping, Spec};
use crate::effective::{
    can_match, entry_administrator, is_administrator, is_node, is_target_administrator,
};
use crate::observed::Bindings;
use crate::observed::{AwsState, Mode};
use crate::ownership::KeyHash;
use crate::principal::{Key, Principal};
use crate::time::Timestamp;

/// Removals count for ten minutes.
const REMOVAL_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// So many keys may always vanish within the window.
const REMOVALS_ALWAYS: usize = 5;
/// Beyond that a quarter of the keys that were owned.
const REMOVALS_SHARE: usize = 4;

/// The access entries that let someone in, now and once a plan's calls are made. What the calls grant is not counted: they
/// may fail, and what is taken away must not depend on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Entrants {
    /// Which of them are administrators, by ARN as aws-auth matches it.
    administrators: BTreeMap<String, bool>,
}

impl Entrants {
    pub(super) fn now(eks: &Eks<'_>) -> Self {
        Self::counting(eks, &HashMap::new())
    }

    /// Whether an access entry lets this ARN in, as aws-auth matches it.
    pub(super) fn admit(&self, arn: &str) -> bool {
        self.administrators.contains_key(arn)
    }

    pub(super) fn after(eks: &Eks<'_>, claims: &[Claim]) -> Self {
        let claims = claims.iter().map(|claim| (&claim.hash, claim)).collect();
        Self::counting(eks, &claims)
    }

    fn counting(eks: &Eks<'_>, claims: &HashMap<&KeyHash, &Claim>) -> Self {
        let mut administrators = BTreeMap::new();
        for (hash, standing) in eks.standing.iter() {
            if standing.life.is_dead() {
                continue;
            }
            let Ok(principal) = Principal::parse(standing.principal_arn) else {
                continue;
            };
            let step = claims
                .get(hash)
                .map_or(EntryStep::Leave, |claim| claim.entry.effective());
            let stays = match step {
                EntryStep::Delete | EntryStep::Recreate => false,
                EntryStep::Leave
                | EntryStep::Keep
                | EntryStep::Describe
                | EntryStep::Create
                | EntryStep::Change
                | EntryStep::Release => true,
            };
            if !stays {
                continue;
            }
            let now = standing
                .known()
                .is_some_and(|entry| entry_administrator(entry, eks.view, eks.bindings).is_some());
            let target = claims
                .get(hash)
                .filter(|_| step == EntryStep::Change)
                .and_then(|claim| claim.entry.target.as_ref());
            let after =
                target.is_none_or(|target| is_target_administrator(target, eks.view, eks.bindings));
            administrators.insert(fold_arn(&principal.aws_auth_arn()), now && after);
        }
        Self { administrators }
    }
}

/// The ARNs, as aws-auth matches them, that are administrators in a mode. An access entry wins over aws-auth.
pub(super) fn administrators(
    index: &Index<'_>,
    bindings: &Bindings,
    mode: Option<Mode>,
    entrants: Option<&Entrants>,
) -> BTreeSet<String> {
    let none = Entrants::default();
    let entrants = &entrants.unwrap_or(&none).administrators;
    let by_entry = entrants
        .iter()
        .filter(|(_, administrator)| **administrator)
        .map(|(arn, _)| arn.clone());
    let by_text = index
        .winners()
        .filter(|entry| is_administrator(entry, bindings) && can_match(entry))
        .map(Entry::matched_arn)
        .filter(|arn| mode != Some(Mode::Api) && !entrants.contains_key(arn));
    by_text.chain(by_entry).collect()
}

fn annotate(confirmation: Confirmation) -> String {
    format!(
        "annotate the mapping with {CONFIRM_ANNOTATION}: {} to confirm",
        confirmation.as_str()
    )
}

pub(super) fn held(confirmation: Confirmation, reason: Reason, why: &str) -> Block {
    Block {
        awaiting: Some(confirmation),
        ..Block::lasting(reason, format!("{why}; {}", annotate(confirmation)))
    }
}

fn confirmed(context: &Context<'_>, claim: &Claim, confirmation: Confirmation) -> bool {
    if claim.orphan() {
        return context.orphans.contains(&confirmation);
    }
    let mappings = claim.holder.iter().chain(&claim.others);
    mappings
        .into_iter()
        .any(|position| context.mappings[*position].confirms(confirmation))
}

/// While the CRD goes, its objects vanish without anyone having wished it of each.
pub(super) fn hold_while_crd_goes(claims: &mut [Claim], crd_deleting: bool) {
    if !crd_deleting {
        return;
    }
    let goes = |claim: &Claim| {
        matches!(claim.step, Step::Remove | Step::Unmark)
            || matches!(claim.entry.step, EntryStep::Delete | EntryStep::Describe)
    };
    for claim in claims
        .iter_mut()
        .filter(|claim| claim.holder.is_none() && goes(claim))
    {
        let message = "the CustomResourceDefinition is being deleted, and deleting it revokes nothing; run identity-mapper release to let go of everything";
        claim.hold_both(&Block::lasting(Reason::RemovalHeld, message));
    }
}

/// Node entries are removed, changed or made only with a node type or a confirmation.
pub(super) fn hold_node_entries(context: &Context<'_>, claims: &mut [Claim]) {
    for claim in claims {
        hold_node_access_entry(context, claim);
        let Some(found) = claim.found.as_ref().map(|found| &found.meaning) else {
            hold_new_node_entry(context, claim, None);
            continue;
        };
        match claim.step {
            Step::Remove
                if is_node(found)
                    && !claim.hands_over
                    && !confirmed(context, claim, Confirmation::NodeEntry) =>
            {
                claim.hold(held(
                    Confirmation::NodeEntry,
                    Reason::RemovalHeld,
                    "the entry is a node entry: without it nodes can't join or stay in the cluster",
                ));
            }
            Step::Replace if !claim.restores => {
                let found = found.clone();
                hold_new_node_entry(context, claim, Some(&found));
            }
            Step::Leave
            | Step::Keep
            | Step::Add
            | Step::Replace
            | Step::Move
            | Step::Adopt
            | Step::Remove
            | Step::Unmark
            | Step::Retain => {}
        }
    }
}

fn hold_node_access_entry(context: &Context<'_>, claim: &mut Claim) {
    if !claim.entry.node || confirmed(context, claim, Confirmation::NodeEntry) {
        return;
    }
    let node_type = claim
        .holder
        .and_then(|holder| context.mappings[holder].spec.as_ref().ok())
        .is_some_and(Spec::is_node);
    let why = match claim.entry.step {
        EntryStep::Delete if !claim.hands_over => {
            "the access entry is a node's: without it nodes can't join or stay in the cluster"
        }
        EntryStep::Recreate if !node_type => {
            "the standing access entry is a node's, and changing it can lock nodes out"
        }
        EntryStep::Delete
        | EntryStep::Recreate
        | EntryStep::Leave
        | EntryStep::Keep
        | EntryStep::Describe
        | EntryStep::Create
        | EntryStep::Change
        | EntryStep::Release => return,
    };
    let block = held(Confirmation::NodeEntry, Reason::RemovalHeld, why);
    claim.hold_both(&block);
}

fn hold_new_node_entry(context: &Context<'_>, claim: &mut Claim, before: Option<&Meaning>) {
    if claim.restores || !matches!(claim.step, Step::Add | Step::Replace) {
        return;
    }
    let Some(Ok(spec)) = claim.holder.map(|holder| &context.mappings[holder].spec) else {
        return;
    };
    let declared = spec
        .form
        .as_ref()
        .is_some_and(|form| is_node(&form.meaning));
    let concerned = declared || before.is_some_and(is_node);
    if concerned && !spec.is_node() && !confirmed(context, claim, Confirmation::NodeEntry) {
        let why = if before.is_some_and(is_node) {
            "the standing entry is a node entry, and changing it can lock nodes out"
        } else {
            "username or groups are those of nodes; write the node's spec.type instead"
        };
        claim.hold(held(
            Confirmation::NodeEntry,
            Reason::NodeEntryUnconfirmed,
            why,
        ));
    }
}

/// Holds what would take the last administrator away. Returns whether it held anything: then the plan is made anew.
pub(super) fn hold_last_administrator(
    context: &Context<'_>,
    claims: &mut [Claim],
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> bool {
    if before.is_empty() || !after.is_empty() {
        return false;
    }
    let mut any = false;
    for claim in claims {
        // Putting an entry back as declared takes away only what someone else gave: whoever makes a mapping's principal an
        // administrator by hand must not be the last one thereby.
        let touches = match claim.effective() {
            Step::Replace if claim.restores => false,
            Step::Remove | Step::Replace | Step::Move => claim
                .found
                .as_ref()
                .is_some_and(|found| before.contains(&found.meaning.arn)),
            Step::Leave | Step::Keep | Step::Add | Step::Adopt | Step::Unmark | Step::Retain => {
                false
            }
        };
        let entry_touches = match claim.entry.effective() {
            EntryStep::Change if claim.entry.restores => false,
            EntryStep::Delete | EntryStep::Recreate | EntryStep::Change => {
                claim.key.as_ref().is_some_and(|key| {
                    before
                        .iter()
                        .any(|arn| Key::parse_arn(arn).as_ref() == Some(key))
                })
            }
            EntryStep::Leave
            | EntryStep::Keep
            | EntryStep::Describe
            | EntryStep::Create
            | EntryStep::Release => false,
        };
        let touches = touches || entry_touches;
        if !touches || confirmed(context, claim, Confirmation::LastAdministrator) {
            continue;
        }
        let block = if claim.step == Step::Move {
            Block::lasting(
                Reason::Shadowed,
                "a foreign duplicate behind the entry wins, and it is the last administrator; remove one of the two by hand",
            )
        } else {
            held(
                Confirmation::LastAdministrator,
                Reason::RemovalHeld,
                "no administrator would be left",
            )
        };
        claim.hold_both(&block);
        any = true;
    }
    any
}

/// Why the removal at `validUntil` will be held, so that the condition can say it in time.
pub(super) fn removal_will_be_held(
    mapping: &Mapping,
    spec: &Spec,
    administrators: &BTreeSet<String>,
) -> Option<String> {
    let node = spec.is_node()
        || spec
            .form
            .as_ref()
            .is_some_and(|form| is_node(&form.meaning));
    if node && !mapping.confirms(Confirmation::NodeEntry) {
        return Some(format!(
            "at validUntil the removal will be held, because the entry is a node entry; {}",
            annotate(Confirmation::NodeEntry)
        ));
    }
    let arn = fold_arn(&spec.principal.aws_auth_arn());
    let last = administrators.len() == 1 && administrators.contains(&arn);
    (last && !mapping.confirms(Confirmation::LastAdministrator)).then(|| {
        format!(
            "at validUntil the removal will be held if no other administrator stands then; {}",
            annotate(Confirmation::LastAdministrator)
        )
    })
}

/// The removals of the last ten minutes, and how many keys were owned when: an annotation on the history `ConfigMap`, so that
/// a restart does not forget them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Removals {
    /// When each key vanished, in seconds since the epoch.
    #[serde(default)]
    vanished: BTreeMap<String, i64>,
    /// How many keys were owned just before some vanished.
    #[serde(default)]
    owned: BTreeMap<i64, usize>,
}

/// The annotation on the history `ConfigMap` that carries [`Removals`].
pub(super) const REMOVALS_ANNOTATION: &str = "identity-mapper.dev/removals";

impl Removals {
    /// Reads the annotation. One that can't be read counts as none: it was written by us alone.
    pub(super) fn parse(value: &str) -> Self {
        serde_json::from_str(value).unwrap_or_default()
    }

    /// The annotation's value.
    pub(super) fn render(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// What either remembers.
    pub(super) fn merge(mut self, other: &Self) -> Self {
        self.vanished.extend(
            other
                .vanished
                .iter()
                .map(|(key, time)| (key.clone(), *time)),
        );
        for (time, owned) in &other.owned {
            let most = self.owned.entry(*time).or_default();
            *most = (*most).max(*owned);
        }
        self
    }

    /// Without what is older than the window, and without keys that stand again.
    pub(super) fn current(mut self, now: Timestamp, standing: &BTreeSet<&KeyHash>) -> Self {
        let since = now.minus(REMOVAL_WINDOW).as_second();
        let standing: BTreeSet<&str> = standing.iter().map(|hash| hash.as_str()).collect();
        self.vanished
            .retain(|key, time| *time > since && !standing.contains(key.as_str()));
        self.owned.retain(|time, _| *time > since);
        self
    }

    /// Whether so many more may vanish, of `owned` that are owned now.
    fn allows(&self, more: usize, owned: usize) -> bool {
        let most = self
            .owned
            .values()
            .copied()
            .max()
            .unwrap_or_default()
            .max(owned);
        let gone = self.vanished.len() + more;
        let limit = REMOVALS_ALWAYS.max(most / REMOVALS_SHARE);
        gone <= limit && !(most >= 3 && gone >= most)
    }

    fn record<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a KeyHash>,
        owned: usize,
        now: Timestamp,
    ) {
        let now = now.as_second();
        for key in keys {
            self.vanished.insert(key.as_str().to_owned(), now);
            let most = self.owned.entry(now).or_default();
            *most = (*most).max(owned);
        }
    }
}

/// Holds a mass removal, and returns what the record becomes.
pub(super) fn hold_mass_removal(
    context: &Context<'_>,
    claims: &mut [Claim],
    removals: Removals,
    aws: &AwsState,
) -> Removals {
    let now = context.now;
    let standing: BTreeSet<&KeyHash> = claims
        .iter()
        .filter(|claim| claim.found.is_some() || claim.entry.stands)
        .map(|claim| &claim.hash)
        .collect();
    let mut removals = removals.current(now, &standing);
    let owned = claims
        .iter()
        .filter(|claim| claim.ours || claim.entry.ours)
        .count();
    let vanishes = |claim: &Claim| claim.vanishes() && !claim.beside && !claim.orphan();
    let free = |claim: &Claim| {
        claim
            .key
            .as_ref()
            .is_some_and(|key| resolve::gone_from_iam(key, aws))
            || confirmed(context, claim, Confirmation::MassRemoval)
            || claim
                .others
                .iter()
                .any(|position| expired_as_seen(context, *position))
    };
    // What was held once stays held until it is confirmed, however few it is by then.
    let held_before = |claim: &Claim| {
        claim.others.iter().any(|position| {
            let waiting = &context.mappings[*position].status.awaiting_confirmation;
            waiting
                .iter()
                .any(|word| word == Confirmation::MassRemoval.as_str())
        })
    };
    let unconfirmed = |claim: &Claim| vanishes(claim) && !free(claim);
    let fresh: Vec<usize> = (0..claims.len())
        .filter(|i| unconfirmed(&claims[*i]) && !held_before(&claims[*i]))
        .collect();
    let allowed = removals.allows(fresh.len(), owned);
    if allowed {
        removals.record(fresh.iter().map(|i| &claims[*i].hash), owned, now);
    }
    for claim in claims.iter_mut().filter(|claim| unconfirmed(claim)) {
        if !allowed || held_before(claim) {
            let why = "too many principals would lose their entries within ten minutes (more than five and more than a quarter, or all of them), so none of these is removed";
            claim.hold_both(&held(Confirmation::MassRemoval, Reason::RemovalHeld, why));
        }
    }
    removals
}

/// Whether the mapping expired at a time that we had seen lying ahead: nobody can have set it by mistake just now.
fn expired_as_seen(context: &Context<'_>, position: usize) -> bool {
    let mapping = &context.mappings[position];
    let seen = mapping.status.seen_valid_until.as_ref().map(Into::into);
    context.states[position] == State::Expired && seen.is_some() && seen == mapping.valid_until
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn hash(number: usize) -> KeyHash {
        KeyHash::parse(&format!("{number:016x}")).expect("16 digits")
    }

    #[test]
    fn at_most_five_or_a_quarter_and_never_all_of_three() {
        let cases = [
            (1, 1, true),
            (2, 2, true),
            (3, 3, false),
            (2, 3, true),
            (4, 5, true),
            (5, 5, false),
            (5, 6, true),
            (6, 20, false),
            (5, 20, true),
            (6, 24, true),
            (7, 24, false),
            (250, 1000, true),
            (251, 1000, false),
        ];
        for (more, owned, allowed) in cases {
            assert_eq!(
                Removals::default().allows(more, owned),
                allowed,
                "{more} of {owned}"
            );
        }
    }

    #[test]
    fn removals_count_over_passes_and_restarts_for_ten_minutes() {
        let mut removals = Removals::default();
        let gone: Vec<KeyHash> = (0..4).map(hash).collect();
        removals.record(&gone, 20, at(1000));
        let read = Removals::parse(&removals.render());
        assert_eq!(read, removals);
        let later = read.current(at(1500), &BTreeSet::new());
        assert!(later.allows(1, 16));
        assert!(!later.allows(2, 16));
        let returned = later.clone().current(at(1500), &[&gone[0]].into());
        assert!(returned.allows(2, 17), "a key that returns is taken off");
        let much_later = later.current(at(1600), &BTreeSet::new());
        assert!(much_later.allows(5, 16));
    }

    #[test]
    fn the_most_keys_owned_within_the_window_count() {
        let mut removals = Removals::default();
        removals.record(&[hash(1)], 100, at(0));
        assert!(
            removals.allows(24, 40),
            "a quarter of 100, one of which is gone"
        );
        assert!(!removals.allows(25, 40));
    }
}
