//! The decision for each key: who holds it, which entry of aws-auth is ours for it, which step follows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::base::Base;
use super::claim::{Block, Claim, Context, Drift, EntrySide, Found, Step, identity};
use super::entry;
use super::memory::Memory;
use super::place::{Outlook, Site, Want, place};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{Adoption, Confirmation, Deletion};
use crate::aws_auth::{Entry, Lookup, Meaning, Section};
use crate::desired::State;
use crate::desired::{Form, Spec};
use crate::effective::{can_match, is_node};
use crate::ownership::{KeyHash, Mark, MeaningHash};
use crate::principal::{Key, PrincipalKind};

/// Decides for every key that a mapping names or the mark holds. The mappings are sorted by age.
pub(super) fn claims(context: &Context<'_>, mark: &Mark) -> Vec<Claim> {
    let mut entries: HashMap<KeyHash, Vec<&Entry>> = HashMap::new();
    let mut keys: BTreeMap<KeyHash, Key> = BTreeMap::new();
    for entry in context.base.document.entries() {
        if let Some(key) = Key::parse_arn(&entry.arn) {
            let hash = KeyHash::of(&key);
            entries.entry(hash.clone()).or_default().push(entry);
            keys.insert(hash, key);
        }
    }
    let mut named: BTreeMap<KeyHash, Named> = BTreeMap::new();
    for (position, mapping) in context.mappings.iter().enumerate() {
        if let Some(key) = mapping.key() {
            let hash = KeyHash::of(&key);
            named.entry(hash.clone()).or_default().specs.push(position);
            keys.insert(hash, key);
        }
        for (key, meaning) in mapping.written(context.config_map) {
            let hash = KeyHash::of(&key);
            named
                .entry(hash.clone())
                .or_default()
                .statuses
                .push((position, meaning));
            keys.insert(hash, key);
        }
        let Some(eks) = context.eks else {
            continue;
        };
        for key in mapping.written_entries(&eks.view.cluster.arn).into_keys() {
            let hash = KeyHash::of(&key);
            let named = named.entry(hash.clone()).or_default();
            named.entries.push(position);
            keys.insert(hash, key);
        }
    }
    let mut tagged: BTreeSet<&KeyHash> = BTreeSet::new();
    for (hash, standing) in context.eks.iter().flat_map(|eks| eks.standing.iter()) {
        let eks = context.eks;
        if eks.is_some_and(|eks| entry::is_tagged(eks, standing.state)) {
            tagged.insert(hash);
            keys.insert(hash.clone(), standing.key.clone());
        }
    }
    let hashes: BTreeSet<&KeyHash> = named.keys().chain(mark.0.keys()).chain(tagged).collect();
    let none = Named::default();
    let decide = |hash: &KeyHash| {
        let standing = entries.get(hash).map(Vec::as_slice).unwrap_or_default();
        let by = named.get(hash).unwrap_or(&none);
        decide(
            context,
            hash,
            keys.get(hash),
            by,
            standing,
            mark.0.get(hash),
        )
    };
    hashes.into_iter().map(decide).collect()
}

/// The mappings that name a key.
#[derive(Default)]
pub(super) struct Named {
    specs: Vec<usize>,
    statuses: Vec<(usize, Meaning)>,
    /// Those whose status remembers an access entry.
    entries: Vec<usize>,
}

fn decide(
    context: &Context<'_>,
    hash: &KeyHash,
    key: Option<&Key>,
    named: &Named,
    standing: &[&Entry],
    marked: Option<&MeaningHash>,
) -> Claim {
    let (found, drifted) = recognise(context.memory, hash, named, standing, marked);
    let wrote = |position: usize| named.statuses.iter().any(|(writer, _)| *writer == position);
    let entry_stands = context
        .eks
        .is_some_and(|eks| !eks.standing.of(hash).is_empty());
    let holds = |position: &&usize| match context.states[**position] {
        State::Live => true,
        State::Suspended | State::Refused => {
            (found.is_some() && wrote(**position))
                || (entry_stands && named.entries.contains(position))
        }
        State::Deleting | State::Expired => false,
    };
    let holder = named.specs.iter().find(holds).copied();
    let statuses = named.statuses.iter().map(|(position, _)| *position);
    let others: BTreeSet<usize> = named
        .specs
        .iter()
        .copied()
        .chain(statuses)
        .chain(named.entries.iter().copied())
        .filter(|position| Some(*position) != holder)
        .collect();
    let mut claim = Claim {
        entry: EntrySide::default(),
        place: None,
        hands_over: false,
        hash: hash.clone(),
        key: key.cloned(),
        holder,
        others: others.into_iter().collect(),
        marked: marked.cloned(),
        ours: found.is_some(),
        beside: standing.iter().any(|entry| {
            found.is_none_or(|found| !std::ptr::eq(*entry, found)) && can_match(entry)
        }),
        found: found.map(Found::from),
        drift: drifted.then_some(Drift::Changed),
        restores: false,
        step: Step::Leave,
        block: None,
        dead_lines: Vec::new(),
    };
    let live_spec = holder
        .filter(|position| context.states[*position] == State::Live)
        .and_then(|position| Some((position, context.mappings[position].spec.as_ref().ok()?)));
    if let Some((position, spec)) = live_spec {
        live(context, &mut claim, position, spec, named, standing);
    } else {
        if holder.is_some() {
            // A suspended or refused mapping keeps what it wrote, as it stands.
            claim.drift = None;
        } else if context.mode.is_some() {
            let_go(context, &mut claim);
        }
        if let Some(eks) = context.eks {
            entry::let_go(context, eks, &mut claim);
        }
    }
    if let Some(section) = broken_section(context.base, &claim) {
        hold_for_broken_text(context.base, &mut claim, section);
    }
    claim
}

/// A mapping that is to be in effect: where, and what that means for each backend.
fn live(
    context: &Context<'_>,
    claim: &mut Claim,
    position: usize,
    spec: &Spec,
    named: &Named,
    standing: &[&Entry],
) {
    let mapping = &context.mappings[position];
    let eks = context.eks;
    let target = eks.map(|eks| entry::target_of(eks, claim, spec));
    let outlook = match (eks, &target) {
        (Some(eks), Some(Ok(target))) => entry::outlook(context, eks, claim, position, target),
        (Some(eks), Some(Err(_))) => entry::outlook_of_inexpressible(context, eks, claim),
        _ => Outlook::None,
    };
    let placement = place(
        context,
        &Site {
            spec,
            target: target.as_ref().map(Result::as_ref),
            outlook: &outlook,
            claim,
            synced: mapping.status.last_synced.as_ref().map(Into::into),
            known: mapping.status.backend,
        },
    );
    match (placement.config_map, &spec.form) {
        (Want::Declared, Some(form)) => {
            hold_as_declared(context, claim, position, spec, form, named, standing);
        }
        (Want::Gone, _) => {
            claim.drift = None;
            claim.hands_over = true;
            claim.step = if claim.found.is_some() {
                Step::Remove
            } else {
                Step::Unmark
            };
        }
        (Want::Declared, None) | (Want::Untouched, _) => claim.drift = None,
    }
    claim.hands_over |= placement.entry == Want::Gone;
    if let Some(eks) = eks {
        match target {
            Some(Ok(target)) => entry::hold_as_declared(
                context,
                eks,
                claim,
                &entry::Holding {
                    position,
                    spec,
                    outlook: &outlook,
                    placement: &placement,
                    text: standing,
                },
                target,
            ),
            Some(Err(_)) | None => {
                entry::hold_inexpressible(context, eks, claim, &outlook, &placement);
            }
        }
    }
    claim.place = Some(placement.place);
}

/// Finds the entry that is ours, and whether it says something else than we wrote.
pub(super) fn recognise<'a>(
    memory: &Memory,
    hash: &KeyHash,
    named: &Named,
    standing: &[&'a Entry],
    marked: Option<&MeaningHash>,
) -> (Option<&'a Entry>, bool) {
    // Of identical entries the last one wins, so that one is ours.
    let last = |wanted: &dyn Fn(&Entry) -> bool| {
        standing.iter().rev().copied().find(|entry| wanted(entry))
    };
    let exact = match marked {
        Some(mark) => last(&|entry| MeaningHash::of(&entry.meaning()) == *mark),
        None => last(&|entry| {
            named
                .statuses
                .iter()
                .any(|(_, written)| *written == entry.meaning())
        }),
    };
    match (exact, marked) {
        (Some(entry), _) => (Some(entry), false),
        (None, None) => (None, false),
        // What stood beside ours before is not ours now.
        (None, Some(_)) => {
            let ours = |entry: &Entry| {
                !memory
                    .foreign
                    .contains(&(hash.clone(), MeaningHash::of(&entry.meaning())))
            };
            let changed = last(&ours);
            (changed, changed.is_some())
        }
    }
}

/// What the holder's spec asks for in aws-auth.
fn hold_as_declared(
    context: &Context<'_>,
    claim: &mut Claim,
    position: usize,
    spec: &Spec,
    form: &Form,
    named: &Named,
    standing: &[&Entry],
) {
    let winner = context.index.lookup(&form.entry.arn);
    let remembered = named
        .statuses
        .iter()
        .any(|(writer, written)| *writer == position && *written == form.meaning);
    let as_written = match &claim.marked {
        Some(marked) => *marked == form.meaning_hash,
        None => remembered,
    };
    claim.dead_lines = standing
        .iter()
        .filter(|entry| entry.matched_arn() != form.meaning.arn)
        .map(|entry| entry.line)
        .collect();
    let Some(found) = claim.found.clone() else {
        if claim.marked.is_some() {
            claim.step = Step::Add;
            claim.drift = Some(Drift::Removed);
        } else {
            adopt_or_add(claim, spec.adoption, form, &winner);
            if claim.step == Step::Add && remembered {
                claim.drift = Some(Drift::Removed);
            }
        }
        claim.restores = claim.drift.is_some() && as_written;
        return;
    };
    claim.dead_lines.retain(|line| *line != found.line);
    if found.meaning == form.meaning {
        claim.step = Step::Keep;
        claim.drift = None;
    } else {
        claim.step = Step::Replace;
    }
    // Rewriting in place does not help where a foreign duplicate behind it wins.
    let displaced = match &winner {
        Lookup::Role(entry) | Lookup::User(entry) => {
            let wins = entry.section == found.section
                && entry.item > found.item
                && entry.meaning() != form.meaning;
            // Winning over it would unseat a node.
            wins && !is_node(&entry.meaning(), &context.observed.bindings)
        }
        Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => false,
    };
    if displaced {
        claim.step = Step::Move;
        claim.drift = Some(Drift::Displaced);
    }
    claim.restores = claim.drift.is_some() && as_written;
}

/// What to do where nothing that stands is ours.
fn adopt_or_add(claim: &mut Claim, adoption: Adoption, form: &Form, winner: &Lookup<'_>) {
    let foreign = match winner {
        Lookup::Role(entry) | Lookup::User(entry) => *entry,
        Lookup::AmbiguousUser(entries) => {
            let lines: Vec<String> = entries.iter().map(|entry| entry.line.to_string()).collect();
            let message = format!(
                "mapUsers holds {} on lines {} in spellings that differ in case, of which the authenticator picks one at random; \
                 remove all but one by hand",
                form.entry.arn,
                lines.join(", ")
            );
            claim.step = Step::Add;
            claim.hold(Block::lasting(Reason::ForeignEntry, message));
            return;
        }
        Lookup::Account | Lookup::None => {
            claim.step = Step::Add;
            return;
        }
    };
    let identical = foreign.meaning() == form.meaning;
    claim.found = Some(Found::from(foreign));
    claim.step = if identical {
        Step::Adopt
    } else {
        Step::Replace
    };
    let place = format!("{} line {}", foreign.section, foreign.line);
    match (adoption, identical) {
        (Adoption::IfIdentical | Adoption::Always, true) | (Adoption::Always, false) => {}
        (Adoption::Never, true) => {
            let message = format!(
                "{place} holds an identical entry that is not ours, and adoption: Never leaves it so; deleting this mapping will leave it too"
            );
            claim.hold(Block::lasting(Reason::NotOwned, message));
        }
        (Adoption::IfIdentical | Adoption::Never, false) => {
            let message = format!(
                "{place} already maps {} to {}, and that entry is not ours; remove it there, declare the same here, or write \
                 adoption: Always to take it over",
                form.entry.arn,
                identity(&foreign.meaning())
            );
            claim.hold(Block::lasting(Reason::ForeignEntry, message));
        }
    }
}

/// What becomes of a key that no mapping holds any more.
fn let_go(context: &Context<'_>, claim: &mut Claim) {
    claim.drift = None;
    if claim.orphan() {
        claim.step = match (
            &claim.found,
            context.orphans.contains(&Confirmation::MassRemoval),
        ) {
            (Some(_), true) => Step::Remove,
            (None, true) => Step::Unmark,
            (_, false) => Step::Leave,
        };
        return;
    }
    if claim
        .others
        .iter()
        .any(|position| keeps(context, claim, *position))
    {
        return;
    }
    let retains = |position: &usize| {
        context.states[*position] == State::Deleting
            && context.mappings[*position].deletion == Deletion::Retain
    };
    claim.step = if claim.others.iter().any(retains) {
        Step::Retain
    } else if claim.found.is_some() {
        Step::Remove
    } else {
        Step::Unmark
    };
}

/// Whether a mapping that does not hold the key keeps what stands for it.
pub(super) fn keeps(context: &Context<'_>, claim: &Claim, position: usize) -> bool {
    match context.states[position] {
        State::Suspended => true,
        // It names this very principal, or one that can't be read and may be this one.
        State::Refused => {
            let key = context.mappings[position].key();
            key.is_none() || key == claim.key
        }
        State::Live | State::Deleting | State::Expired => false,
    }
}

/// The section in which the entry stands or belongs, if it does not parse.
fn broken_section(base: &Base, claim: &Claim) -> Option<Section> {
    let section = match (&claim.found, &claim.key) {
        (Some(found), _) => found.section,
        (None, Some(key)) => match key.kind() {
            PrincipalKind::Role => Section::Roles,
            PrincipalKind::User => Section::Users,
        },
        (None, None) => return None,
    };
    base.document
        .section(section)
        .broken
        .is_some()
        .then_some(section)
}

fn hold_for_broken_text(base: &Base, claim: &mut Claim, section: Section) {
    let concerned = match claim.step {
        Step::Leave | Step::Keep | Step::Adopt | Step::Retain => false,
        Step::Add | Step::Replace | Step::Move | Step::Remove => true,
        // The entry may well stand in the text that can't be read.
        Step::Unmark => claim.marked.is_some(),
    };
    if let (true, Some(problem)) = (concerned, &base.document.section(section).broken) {
        let message = format!(
            "{section} does not parse, so the authenticator drops it whole: line {}, column {}, at `{}`: {}; mend it with kubectl edit, \
             then this goes on by itself",
            problem.line, problem.column, problem.offending, problem.message
        );
        claim.drift = None;
        claim.hold(Block::lasting(Reason::TextBroken, message));
    }
}
