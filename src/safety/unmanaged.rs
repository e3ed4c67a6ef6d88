//! Unmanaged entries keep their text's meaning and what they grant, but for adoption.

use std::collections::{BTreeMap, BTreeSet};

use super::last_administrator;
use super::possibility::Access;
use super::world::{Subject, World};
use super::{Refusal, Rule, Text};
use crate::api::condition::Reason;
use crate::api::v1alpha1::Adoption;
use crate::aws_auth::{Document, Entry, Meaning, Section};
use crate::desired::State;
use crate::effective::EffectiveEntry;
use crate::ownership::{KeyHash, MeaningHash};

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = world
        .subjects
        .iter()
        .filter_map(|subject| wins_over(world, subject))
        .collect();
    if let Some(text) = world.proposal.text
        && let Some(why) = changed(world, text)
    {
        refusals.push(Refusal {
            rule: Rule::Unmanaged,
            principal: None,
            reason: Reason::EditUnverified,
            why,
            confirmation: None,
            transient: false,
        });
    }
    refusals
}

/// Why the text does not keep every unmanaged entry, in its order.
fn changed(world: &World<'_>, text: Text<'_>) -> Option<String> {
    let before = world.before;
    let adopted: BTreeSet<&KeyHash> = text
        .mark
        .0
        .keys()
        .filter(|hash| !before.managed.contains_key(*hash))
        .collect();
    let managed_then = managed_in(text, before.managed);
    let released = released(world, text);
    let then = unmanaged(text.document, &managed_then, &adopted);
    let same = |now: &Document| {
        let now = unmanaged(now, before.managed, &adopted);
        Section::ALL.into_iter().all(|section| {
            let of = |all: &BTreeMap<Section, Vec<Meaning>>| {
                all.get(&section).cloned().unwrap_or_default()
            };
            of(&now) == without(of(&then), &released)
        })
    };
    let accounts = |now: &Document| {
        now.section(Section::Accounts).accounts == text.document.section(Section::Accounts).accounts
    };
    let kept = |now: &Document| same(now) && accounts(now);
    (!kept(before.text) && !kept(before.last_good)).then(|| {
        "the new text, read back, does not keep every unmanaged entry; nothing is written; report this with the ConfigMap"
            .to_owned()
    })
}

/// What the managed entry of each key means in the new text.
fn managed_in(text: Text<'_>, managed: &BTreeMap<KeyHash, Meaning>) -> BTreeMap<KeyHash, Meaning> {
    let mut all: BTreeMap<KeyHash, Meaning> = BTreeMap::new();
    for entry in text.document.entries() {
        let Some(hash) = entry.key().as_ref().map(KeyHash::of) else {
            continue;
        };
        let meaning = entry.meaning();
        let marked = text.mark.0.get(&hash);
        let as_marked = marked == Some(&MeaningHash::of(&meaning));
        // What is held keeps its mark, although somebody changed it.
        let as_before = marked.is_some() && managed.get(&hash) == Some(&meaning);
        if as_marked || (as_before && !all.contains_key(&hash)) {
            all.insert(hash, meaning);
        }
    }
    all
}

/// The unmanaged entries of each section, in order; of a managed key the last entry of its meaning is the managed one, and of
/// a key that is adopted none is looked at.
fn unmanaged(
    text: &Document,
    managed: &BTreeMap<KeyHash, Meaning>,
    adopted: &BTreeSet<&KeyHash>,
) -> BTreeMap<Section, Vec<Meaning>> {
    let mut all: BTreeMap<Section, Vec<Meaning>> = BTreeMap::new();
    let mut found: BTreeSet<KeyHash> = BTreeSet::new();
    let entries: Vec<_> = text.entries().collect();
    for entry in entries.into_iter().rev() {
        let hash = entry.key().as_ref().map(KeyHash::of);
        let meaning = entry.meaning();
        if let Some(hash) = hash {
            if adopted.contains(&hash) {
                continue;
            }
            if managed.get(&hash) == Some(&meaning) && found.insert(hash) {
                continue;
            }
        }
        all.entry(entry.section).or_default().push(meaning);
    }
    all
}

/// The entries that were managed, and that the new text keeps without a mark.
fn released<'m>(world: &World<'m>, text: Text<'_>) -> Vec<&'m Meaning> {
    let managed = world.before.managed.iter();
    let kept = |hash: &KeyHash, meaning: &Meaning| {
        let count = |entries: &[&Entry]| {
            let same = entries.iter().filter(|entry| entry.meaning() == *meaning);
            same.count()
        };
        count(world.then(hash)) >= count(world.now(hash))
    };
    managed
        .filter(|(hash, meaning)| !text.mark.0.contains_key(hash) && kept(hash, meaning))
        .map(|(_, meaning)| meaning)
        .collect()
}

fn without(mut entries: Vec<Meaning>, released: &[&Meaning]) -> Vec<Meaning> {
    for meaning in released {
        if let Some(place) = entries.iter().position(|entry| entry == *meaning) {
            entries.remove(place);
        }
    }
    entries
}

/// Whether the subject's unmanaged entry of aws-auth, which wins now, would lose to ours without leave.
fn wins_over(world: &World<'_>, subject: &Subject<'_>) -> Option<Refusal> {
    let mut winners = world.winners_now(subject).into_iter();
    winners.find_map(|winner| loses(world, subject, winner))
}

/// The same for one that wins now.
fn loses(world: &World<'_>, subject: &Subject<'_>, winner: &Entry) -> Option<Refusal> {
    let managed = world.before.managed.get(&subject.hash);
    let meaning = winner.meaning();
    if managed == Some(&meaning) {
        return None;
    }
    let wins = Access::Is(EffectiveEntry::of_meaning(&meaning));
    let replaced: Vec<&Access> = subject
        .transitions
        .iter()
        .filter(|transition| transition.before == wins && transition.after != wins)
        .map(|transition| &transition.after)
        .collect();
    if replaced.is_empty() {
        return None;
    }
    let adopts = world.declaring(&subject.hash).any(|(mapping, state)| {
        let adoption = mapping.spec.as_ref().ok().map(|spec| spec.adoption);
        state == State::Live && adoption == Some(Adoption::Always)
    });
    if adopts {
        return None;
    }
    let place = format!("{} line {}", winner.section, winner.line);
    let power = if world.is_node(&wins) {
        "it is a node entry"
    } else if world.may_be_administrator(&wins) && last_administrator::certain(world).is_empty() {
        "it is the last administrator"
    } else if managed.is_some() {
        // Ours moves behind it.
        return None;
    } else {
        "this mapping does not adopt it"
    };
    let reason = if managed.is_some() {
        Reason::Shadowed
    } else {
        Reason::UnmanagedEntry
    };
    let why = format!(
        "{place} is an unmanaged entry of the same principal, and {power}, so the operator writes nothing that wins over it; remove one of the two by hand"
    );
    Some(Refusal::lasting(Rule::Unmanaged, subject, reason, why))
}
