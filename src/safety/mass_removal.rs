//! Few principals vanish within ten minutes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::ends::Ends;
use super::world::{Subject, World};
use super::{Refusal, Rule};
use crate::access_entry::{Call, INSTALLATION_TAG};
use crate::api::condition::Reason;
use crate::api::v1alpha1::Confirmation;
use crate::aws_auth::Section;
use crate::desired::{Mapping, State, resolve};
use crate::observed::{Mode, Observed};
use crate::ownership::KeyHash;
use crate::principal::Key;
use crate::time::Timestamp;

/// Removals count for ten minutes.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// So many keys may always vanish within the window.
const ALWAYS: usize = 5;
/// Beyond that a quarter of the keys that are managed now or were removed within the window.
const SHARE: usize = 4;

/// The annotation on the history `ConfigMap` that carries [`Removals`].
pub(crate) const REMOVALS_ANNOTATION: &str = "identity-mapper.dev/removals";

/// The time of a key whose removal is held: it stays so until it is confirmed, also where its mapping's status is lost. Where it is held
/// before an end that was seen in time, it is that end as a negative number: authors of mappings can hold no removal beyond it.
const HELD: i64 = 0;

/// When the removal of each key was ordered, in seconds since the epoch, or that it is held ([`HELD`]), and which ends were seen in time:
/// an annotation on the history `ConfigMap`, so that a restart does not forget it. It holds keys and times and no counts: who can write
/// it can hold removals, or forget that some are held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, i64>", into = "BTreeMap<String, i64>")]
pub(crate) struct Removals {
    keys: BTreeMap<String, i64>,
    ends: Ends,
    /// Of the keys those whose order nothing but the record shows: who can write it may have added them.
    unproven: BTreeSet<String>,
}

impl From<BTreeMap<String, i64>> for Removals {
    fn from(mut keys: BTreeMap<String, i64>) -> Self {
        let ends = Ends::take_out(&mut keys);
        Self {
            keys,
            ends,
            unproven: BTreeSet::new(),
        }
    }
}

impl From<Removals> for BTreeMap<String, i64> {
    fn from(removals: Removals) -> Self {
        let ends: Vec<(String, i64)> = removals.ends.stored().collect();
        removals.keys.into_iter().chain(ends).collect()
    }
}

impl Removals {
    /// Reads the annotation. What can't be read counts as none.
    #[must_use]
    pub(crate) fn parse(value: &str) -> Self {
        serde_json::from_str(value).unwrap_or_default()
    }

    /// What the history holds.
    #[must_use]
    pub(crate) fn recorded(observed: &Observed) -> Self {
        let view = observed.history.view();
        let value = view.and_then(|view| view.annotations.get(REMOVALS_ANNOTATION));
        value.map(|value| Self::parse(value)).unwrap_or_default()
    }

    /// The annotation's value.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// What counts: what this process remembers, and of the record what it holds. What the record orders counts only at the beginning,
    /// when it is of a leader before this one: later this process alone orders removals.
    #[must_use]
    pub(crate) fn known(observed: &Observed, remembered: &Self, begins: bool) -> Self {
        let recorded = Self::recorded(observed);
        let recorded = if begins { recorded } else { recorded.lasting() };
        let unproven = recorded
            .ordered()
            .filter(|key| !remembered.keys.contains_key(*key));
        let unproven = unproven.map(str::to_owned);
        let unproven = unproven
            .chain(remembered.unproven.iter().cloned())
            .collect();
        Self {
            unproven,
            ..recorded.merge(remembered)
        }
    }

    /// What either remembers. What is held stays held.
    #[must_use]
    pub(crate) fn merge(mut self, other: &Self) -> Self {
        for (key, time) in &other.keys {
            let known = self.keys.entry(key.clone()).or_insert(*time);
            *known = match (*known <= HELD, *time <= HELD) {
                (true, false) => *known,
                (false, true) => *time,
                (true, true) | (false, false) => (*known).max(*time),
            };
        }
        self.ends.merge(&other.ends);
        self
    }

    /// The same with the ends that the mappings have now, as far as they are seen in time.
    #[must_use]
    pub(crate) fn with_ends_of(mut self, mappings: &[Cow<'_, Mapping>], now: Timestamp) -> Self {
        self.ends.see(mappings, now);
        self
    }

    /// The part of it that is recorded.
    #[must_use]
    pub(crate) fn to_record(&self, now: Timestamp) -> Self {
        Self {
            keys: self.keys.clone(),
            ends: self.ends.to_record(now),
            unproven: BTreeSet::new(),
        }
    }

    /// The same with the ends of another record.
    #[must_use]
    pub(crate) fn with_ends(mut self, other: &Self) -> Self {
        self.ends.clone_from(&other.ends);
        self
    }

    /// The end of a mapping that was seen well before it passed.
    #[must_use]
    pub(crate) fn seen_end(&self, mapping: &Mapping) -> Option<Timestamp> {
        self.ends.of(mapping)
    }

    /// The keys whose removal was ordered.
    fn ordered(&self) -> impl Iterator<Item = &str> {
        let ordered = self.keys.iter().filter(|(_, time)| **time > HELD);
        ordered.map(|(key, _)| key.as_str())
    }

    fn is_ordered(&self, hash: &KeyHash) -> bool {
        self.keys
            .get(hash.as_str())
            .is_some_and(|time| *time > HELD)
    }

    /// Until when the removal is held, in seconds since the epoch.
    fn held_until(&self, hash: &KeyHash) -> Option<i64> {
        let time = *self.keys.get(hash.as_str())?;
        (time <= HELD).then(|| match time {
            HELD => i64::MAX,
            end => end.saturating_neg(),
        })
    }

    /// What is held, alone, and the ends: what is to be recorded although nothing is ordered.
    #[must_use]
    pub(crate) fn lasting(&self) -> Self {
        let held = self.keys.iter().filter(|(_, time)| **time <= HELD);
        Self {
            keys: held.map(|(key, time)| (key.clone(), *time)).collect(),
            ends: self.ends.clone(),
            unproven: BTreeSet::new(),
        }
    }

    /// The same without what is held: it is recorded, and another leader may have seen it confirmed since.
    #[must_use]
    pub(crate) fn without_held(mut self) -> Self {
        self.keys.retain(|_, time| *time > HELD);
        self
    }

    /// `until`: the end that was seen in time. What is held already keeps its own.
    fn hold(&mut self, hash: &KeyHash, until: Option<Timestamp>) {
        if self.held_until(hash).is_none() {
            let end = until.map_or(HELD, |until| until.as_second().max(1).saturating_neg());
            self.keys.insert(hash.as_str().to_owned(), end);
        }
    }

    fn order(&mut self, hash: &KeyHash, now: Timestamp) {
        self.unproven.remove(hash.as_str());
        self.keys.insert(hash.as_str().to_owned(), now.as_second());
    }
}

/// Refuses a mass removal; gives the record with what the proposal orders.
pub(super) fn refuse(world: &World<'_>) -> (Vec<Refusal>, Removals) {
    let before = world.before;
    let managed = world.managed_keys();
    let vanishing: BTreeMap<&KeyHash, &Subject<'_>> = world
        .subjects
        .iter()
        .filter(|subject| subject.vanishes())
        .map(|subject| (&subject.hash, subject))
        .collect();
    let mut record = current(world, &vanishing);
    let orphan = |subject: &Subject<'_>| world.naming(&subject.hash).next().is_none();
    let (mut fresh, mut unproven, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for subject in vanishing.values() {
        if free(world, subject) || orphan(subject) {
            continue;
        }
        let ended = ended_as_seen(world, subject);
        let held_still = match record.held_until(&subject.hash) {
            Some(until) => !(ended && until <= before.now.as_second()),
            None => held_before(world, subject),
        };
        if held_still {
            held.push(*subject);
        } else if ended {
        } else if record.unproven.contains(subject.hash.as_str()) {
            unproven.push(*subject);
        } else if record.is_ordered(&subject.hash) {
            // Ordered already, and counted.
            record.order(&subject.hash, before.now);
        } else {
            fresh.push(*subject);
        }
    }
    // Only what a spec names counts as managed here: marks and tags can be written by others, and would lift the limit.
    let waiting: BTreeSet<&str> = unproven.iter().map(|it| it.hash.as_str()).collect();
    let all: BTreeSet<&str> = managed
        .iter()
        .filter(|hash| world.declaring(hash).next().is_some())
        .map(KeyHash::as_str)
        .chain(record.ordered())
        .chain(fresh.iter().map(|subject| subject.hash.as_str()))
        .collect();
    // Without keys that were recorded and name nobody: they would raise the limit.
    let real = all
        .iter()
        .filter(|key| waiting.contains(*key) || !record.unproven.contains(**key))
        .count();
    let all = all.len();
    let gone = record.ordered().count() + fresh.len();
    let share = ALWAYS.max(all / SHARE);
    let most = if before.recordable { share } else { ALWAYS };
    // What a leader before this one ordered goes on within the limit, the oldest first.
    let goes_on = if real >= 3 && unproven.len() >= real {
        0
    } else {
        ALWAYS.max(real / SHARE)
    };
    unproven.sort_by_key(|subject| record.keys.get(subject.hash.as_str()).copied());
    held.extend(unproven.split_off(goes_on.min(unproven.len())));
    for subject in unproven {
        record.order(&subject.hash, before.now);
    }
    if gone <= most && !(all >= 3 && gone >= all) {
        for subject in fresh {
            record.order(&subject.hash, before.now);
        }
    } else {
        held.extend(fresh);
    }
    for subject in &held {
        record.hold(&subject.hash, seen_end(world, subject));
    }
    let why = "too many principals would lose their entries within ten minutes (more than five and more than a quarter, or all of them), so none of these is removed";
    let refusals = held.into_iter().map(|subject| {
        Refusal::lasting(
            Rule::MassRemoval,
            subject,
            Reason::RemovalNeedsConfirmation,
            why,
        )
        .until(Confirmation::MassRemoval)
    });
    (refusals.collect(), record)
}

/// The record without what is older than the window, lies ahead, or is declared and exists again. What only waits, for EKS throttles it,
/// goes on counting.
fn current(world: &World<'_>, vanishing: &BTreeMap<&KeyHash, &Subject<'_>>) -> Removals {
    let now = world.before.now.as_second();
    let mut record = world.before.removals.clone();
    let standing = world.certainly_managed_keys();
    let (in_flight, answered) = (world.removals_in_flight(), world.removals_answered());
    let declared = |hash: &KeyHash| {
        world.declaring(hash).any(|(mapping, state)| {
            let key = mapping.key();
            key.is_some_and(|key| world.holds(mapping, state, &key))
        })
    };
    record.keys.retain(|key, ordered| {
        let Some(hash) = KeyHash::parse(key) else {
            return false;
        };
        // Until it is removed, or declared again.
        if *ordered <= HELD {
            return !declared(&hash) && world.may_be_managed(&hash);
        }
        if *ordered > now {
            return false;
        }
        // It counts until ten minutes after its answer.
        if in_flight.contains(&hash) {
            *ordered = now;
            return true;
        }
        if let Some(answered) = answered.get(&hash) {
            *ordered = (*ordered).max(*answered).min(now);
        }
        let returned =
            standing.contains(&hash) && !vanishing.contains_key(&hash) && declared(&hash);
        now.saturating_sub(*ordered) < WINDOW.as_secs() && !returned
    });
    record
}

/// Whether the removal surprises nobody.
fn free(world: &World<'_>, subject: &Subject<'_>) -> bool {
    let entries = world.before.entries.of(&subject.hash).iter();
    let entries = entries.filter_map(|standing| Some(standing.known()?.created));
    let declared = world.naming(&subject.hash);
    let declared = declared.filter_map(|(mapping, _)| mapping.created);
    let since = entries.chain(declared).max();
    world.confirmed(subject, Confirmation::MassRemoval)
        || world
            .before
            .iam
            .is_some_and(|iam| resolve::gone_from_iam(&subject.key, iam, since))
}

/// Whether the mapping is over, and an end of it that was seen ten minutes before it passed has passed too: nobody can have set it by
/// mistake just now. An earlier one that was set later is covered by it, so that it can't make the removal wait for longer.
fn ended_as_seen(world: &World<'_>, subject: &Subject<'_>) -> bool {
    let now = world.before.now;
    let over = world.responsible(subject).is_some_and(|(mapping, state)| {
        matches!(state, State::Expired | State::Deleting)
            && mapping.valid_until.is_some_and(|until| until <= now)
    });
    over && seen_end(world, subject).is_some_and(|seen| seen <= now)
}

/// The end of the mapping that was seen in time, if it is not before the one that its spec names now.
fn seen_end(world: &World<'_>, subject: &Subject<'_>) -> Option<Timestamp> {
    let (mapping, _) = world.responsible(subject)?;
    let seen = world.before.removals.seen_end(mapping)?;
    (mapping.valid_until?.as_second() <= seen.as_second()).then_some(seen)
}

/// What was held once stays held until it is confirmed, however few it is by then. A status counts only where the record can't be
/// written: who can write statuses would hold a removal for good.
fn held_before(world: &World<'_>, subject: &Subject<'_>) -> bool {
    !world.before.recordable
        && world.naming(&subject.hash).any(|(mapping, _)| {
            let waiting = &mapping.status.awaiting_confirmation;
            waiting
                .iter()
                .any(|word| word == Confirmation::MassRemoval.as_str())
        })
}

impl World<'_> {
    /// The keys with a managed entry in either backend.
    fn managed_keys(&self) -> BTreeSet<KeyHash> {
        self.managed_keys_where(|_| true)
    }

    /// Those of them whose entry exists for certain: one that EKS did not find, or that a call may have deleted, has not returned.
    fn certainly_managed_keys(&self) -> BTreeSet<KeyHash> {
        let view = self.before.view;
        self.managed_keys_where(|arn| view.is_some_and(|view| view.possible(arn).exists()))
    }

    /// Whether a managed entry of the key may exist: it is one, or nothing shows that there is none.
    fn may_be_managed(&self, hash: &KeyHash) -> bool {
        let unread = Section::ALL
            .iter()
            .any(|section| self.before.text.section(*section).broken.is_some());
        let view = self.before.view;
        // Before the first listing, and where EKS can't be reached, nothing shows that there is no entry.
        let unlisted = self.before.mode != Some(Mode::ConfigMap)
            && view.is_none_or(|view| view.entries.listed.is_none());
        let possible = |arn: &str| view.is_some_and(|view| view.possible(arn).may_exist());
        unread || unlisted || self.managed_keys_where(possible).contains(hash)
    }

    fn managed_keys_where(&self, counts: impl Fn(&str) -> bool) -> BTreeSet<KeyHash> {
        let by_entry = self.before.entries.all().filter(|standing| {
            let tags = standing.state.entry.as_ref().map(|entry| &entry.tags);
            let tag = tags.and_then(|tags| tags.get(INSTALLATION_TAG));
            let managed = tag.map(String::as_str) == Some(self.before.config_map)
                || self.before.managed_entries.contains(standing.principal_arn);
            managed && counts(standing.principal_arn)
        });
        let by_entry = by_entry.map(|standing| KeyHash::of(&standing.key));
        let by_text = self.before.managed.keys().cloned();
        by_text.chain(by_entry).collect()
    }

    /// The keys of which a deletion of the access entry is in flight, or may still take effect.
    fn removals_in_flight(&self) -> BTreeSet<KeyHash> {
        let Some(view) = self.before.view else {
            return BTreeSet::new();
        };
        let deletes = |arn: &&str| {
            let mut sent = view.in_flight.of(arn).iter();
            sent.any(|sent| matches!(sent.call, Call::Delete { .. }))
        };
        let removed = view.in_flight.principals().filter(deletes);
        removed.filter_map(hash_of).collect()
    }

    /// When the deletion of an access entry was answered, by key, in seconds since the epoch.
    fn removals_answered(&self) -> BTreeMap<KeyHash, i64> {
        let absent = self.before.view.map(|view| &view.entries.absent);
        let absent = absent.into_iter().flatten();
        absent
            .filter_map(|(arn, absence)| Some((hash_of(arn)?, absence.removed?.as_second())))
            .collect()
    }
}

fn hash_of(arn: &str) -> Option<KeyHash> {
    Key::parse_arn(arn).as_ref().map(KeyHash::of)
}
