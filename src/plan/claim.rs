//! Who claims which key, which entry of aws-auth is ours for it, and what is to become of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::base::Base;
use super::desired::{Mapping, Spec};
use super::guard::is_node;
use super::mark::{KeyHash, Mark, MeaningHash};
use super::memory::Memory;
use crate::api::condition::Reason;
use crate::api::v1alpha1::{Adoption, Confirmation, Deletion};
use crate::aws_auth::{Entry, Index, Lookup, Meaning, Section};
use crate::principal::{Key, PrincipalKind};

/// What a mapping is to the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be put into effect.
    Live,
    /// `suspend: true`.
    Suspended,
    /// Its spec can't be put into effect.
    Refused,
    /// It carries a deletionTimestamp.
    Deleting,
    /// Its `validUntil` has passed.
    Expired,
}

impl State {
    pub(super) fn of(mapping: &Mapping, now: Timestamp) -> Self {
        if mapping.deleting {
            Self::Deleting
        } else if mapping.expired(now) {
            Self::Expired
        } else if mapping.suspend {
            Self::Suspended
        } else if mapping.spec.is_err() {
            Self::Refused
        } else {
            Self::Live
        }
    }
}

/// How an owned entry was found to differ from what we wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drift {
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
    /// A foreign duplicate stands behind it and wins.
    Displaced,
}

impl Drift {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Displaced => "displaced",
        }
    }
}

/// An entry of the document, as far as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) section: Section,
    pub(super) item: usize,
    pub(super) line: usize,
    pub(super) meaning: Meaning,
}

impl From<&Entry> for Found {
    fn from(entry: &Entry) -> Self {
        Self {
            section: entry.section,
            item: entry.item,
            line: entry.line,
            meaning: entry.meaning(),
        }
    }
}

/// What is to be done for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the entry and its mark stay as they are.
    Leave,
    /// The entry stands as declared; its mark is renewed where it was lost.
    Keep,
    /// The entry is written anew at the end of its list.
    Add,
    /// The found entry is rewritten in its place.
    Replace,
    /// The found entry is written anew at the end of its list, so that it wins.
    Move,
    /// The identical foreign entry becomes ours.
    Adopt,
    /// The found entry goes.
    Remove,
    /// The entry is gone already: the mark goes.
    Unmark,
    /// `deletion: Retain`: the mark goes, and the entry stays as a foreign one.
    Retain,
}

/// Why a step is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// It passes by itself; otherwise a person must mend it.
    pub(super) transient: bool,
    /// The confirmation that lifts it.
    pub(super) awaiting: Option<Confirmation>,
}

impl Block {
    pub(super) fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            transient: false,
            awaiting: None,
        }
    }

    pub(super) fn passing(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::lasting(reason, message)
        }
    }
}

/// One key: who claims it, what stands for it, what is done.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) hash: KeyHash,
    /// Unknown for a mark whose entry is gone and that no mapping names.
    pub(super) key: Option<Key>,
    /// The mapping that holds it.
    pub(super) holder: Option<usize>,
    /// The other mappings that name it in spec or status.
    pub(super) others: Vec<usize>,
    /// What the mark says.
    pub(super) marked: Option<MeaningHash>,
    /// The entry that is ours, or with [`Step::Adopt`] and a foreign [`Step::Replace`] becomes ours.
    pub(super) found: Option<Found>,
    /// The found entry is ours, by the mark or by what a status remembers.
    pub(super) ours: bool,
    /// Whether, beside the found one, entries of this key stand.
    pub(super) beside: bool,
    pub(super) drift: Option<Drift>,
    pub(super) step: Step,
    pub(super) block: Option<Block>,
    /// A key that no mapping names: only a confirmation on the history `ConfigMap` removes it.
    pub(super) orphan: bool,
    /// Where a foreign entry of this key never matches: its lines, for the message.
    pub(super) dead_lines: Vec<usize>,
}

impl Claim {
    /// The step, unless something blocks it.
    pub(super) fn effective(&self) -> Step {
        if self.block.is_some() {
            Step::Leave
        } else {
            self.step.clone()
        }
    }

    /// Whether the text changes for it.
    pub(super) fn changes_text(&self) -> bool {
        match self.effective() {
            Step::Add | Step::Replace | Step::Move | Step::Remove => true,
            Step::Leave | Step::Keep | Step::Adopt | Step::Unmark | Step::Retain => false,
        }
    }

    /// Whether it gives someone something that was not there a moment ago.
    pub(super) fn grants(&self) -> bool {
        match self.effective() {
            Step::Add | Step::Replace => self.drift.is_none(),
            Step::Adopt => true,
            Step::Leave | Step::Keep | Step::Move | Step::Remove | Step::Unmark | Step::Retain => {
                false
            }
        }
    }

    /// Whether its entry stands as declared and is marked so, as far as can be told without the spec.
    pub(super) fn settled(&self) -> bool {
        self.step == Step::Keep && self.marked.is_some() && self.drift.is_none()
    }

    /// Blocks it, unless it is blocked already: the first reason is the one that a person can act upon first.
    pub(super) fn hold(&mut self, block: Block) {
        self.block.get_or_insert(block);
    }
}

/// Everything that deciding needs.
pub(super) struct Context<'a> {
    pub(super) mappings: &'a [&'a Mapping],
    pub(super) states: &'a [State],
    pub(super) base: &'a Base,
    pub(super) index: &'a Index<'a>,
    pub(super) memory: &'a Memory,
    /// `namespace/name` of the `ConfigMap`.
    pub(super) config_map: &'a str,
    /// What the history `ConfigMap` confirms for keys that no mapping names.
    pub(super) orphans: &'a BTreeSet<Confirmation>,
}

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
            named
                .entry(hash.clone())
                .or_default()
                .by_spec
                .push(position);
            keys.insert(hash, key);
        }
        for (key, meaning) in mapping.written(context.config_map) {
            let hash = KeyHash::of(&key);
            named
                .entry(hash.clone())
                .or_default()
                .by_status
                .push((position, meaning));
            keys.insert(hash, key);
        }
    }
    let hashes: BTreeSet<&KeyHash> = named.keys().chain(mark.0.keys()).collect();
    let none = Named::default();
    let decide = |hash: &KeyHash| {
        let standing = entries.get(hash).map(Vec::as_slice).unwrap_or_default();
        let names = named.get(hash).unwrap_or(&none);
        decide(
            context,
            hash,
            keys.get(hash),
            names,
            standing,
            mark.0.get(hash),
        )
    };
    hashes.into_iter().map(decide).collect()
}

/// The mappings that name a key.
#[derive(Default)]
struct Named {
    by_spec: Vec<usize>,
    by_status: Vec<(usize, Meaning)>,
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
    let wrote = |position: usize| {
        named
            .by_status
            .iter()
            .any(|(writer, _)| *writer == position)
    };
    let holds = |position: &&usize| match context.states[**position] {
        State::Live => true,
        State::Suspended | State::Refused => found.is_some() && wrote(**position),
        State::Deleting | State::Expired => false,
    };
    let holder = named.by_spec.iter().find(holds).copied();
    let by_status = named.by_status.iter().map(|(position, _)| *position);
    let others: BTreeSet<usize> = named
        .by_spec
        .iter()
        .copied()
        .chain(by_status)
        .filter(|position| Some(*position) != holder)
        .collect();
    let mut claim = Claim {
        hash: hash.clone(),
        key: key.cloned(),
        holder,
        orphan: holder.is_none() && others.is_empty(),
        others: others.into_iter().collect(),
        marked: marked.cloned(),
        ours: found.is_some(),
        beside: standing.len() > usize::from(found.is_some()),
        found: found.map(Found::from),
        drift: drifted.then_some(Drift::Changed),
        step: Step::Leave,
        block: None,
        dead_lines: Vec::new(),
    };
    match holder {
        Some(position) => match (&context.mappings[position].spec, context.states[position]) {
            (Ok(spec), State::Live) => {
                hold_as_declared(context, &mut claim, position, spec, named, standing)
            }
            // A suspended or refused mapping keeps what it wrote, as it stands.
            _ => claim.drift = None,
        },
        None => let_go(context, &mut claim, &wrote),
    }
    if let Some(section) = broken_section(context.base, &claim) {
        hold_for_broken_text(context.base, &mut claim, section);
    }
    claim
}

/// Finds the entry that is ours, and whether it says something else than we wrote.
fn recognise<'a>(
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
                .by_status
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

/// What the holder's spec asks for.
fn hold_as_declared(
    context: &Context<'_>,
    claim: &mut Claim,
    position: usize,
    spec: &Spec,
    named: &Named,
    standing: &[&Entry],
) {
    let winner = context.index.lookup(&spec.entry.arn);
    claim.dead_lines = standing
        .iter()
        .filter(|entry| entry.matched_arn() != spec.meaning.arn)
        .map(|entry| entry.line)
        .collect();
    let Some(found) = claim.found.clone() else {
        let remembered = named
            .by_status
            .iter()
            .any(|(writer, written)| *writer == position && *written == spec.meaning);
        if claim.marked.is_some() {
            claim.step = Step::Add;
            claim.drift = Some(Drift::Removed);
        } else {
            adopt_or_add(claim, spec, &winner);
            if claim.step == Step::Add && remembered {
                claim.drift = Some(Drift::Removed);
            }
        }
        return;
    };
    claim.dead_lines.retain(|line| *line != found.line);
    if found.meaning != spec.meaning {
        claim.step = Step::Replace;
    } else {
        claim.step = Step::Keep;
        claim.drift = None;
    }
    // Rewriting in place does not help where a foreign duplicate behind it wins.
    let displaced = match &winner {
        Lookup::Role(entry) | Lookup::User(entry) => {
            let wins = entry.section == found.section
                && entry.item > found.item
                && entry.meaning() != spec.meaning;
            // Winning over it would unseat a node.
            wins && !is_node(&entry.meaning())
        }
        Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => false,
    };
    if displaced {
        claim.step = Step::Move;
        claim.drift = Some(Drift::Displaced);
    }
}

/// What to do where nothing that stands is ours.
fn adopt_or_add(claim: &mut Claim, spec: &Spec, winner: &Lookup<'_>) {
    let foreign = match winner {
        Lookup::Role(entry) | Lookup::User(entry) => *entry,
        Lookup::AmbiguousUser(entries) => {
            let lines: Vec<String> = entries.iter().map(|entry| entry.line.to_string()).collect();
            let message = format!(
                "mapUsers holds {} on lines {} in spellings that differ in case, of which the authenticator picks one at random; \
                 remove all but one by hand",
                spec.entry.arn,
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
    let identical = foreign.meaning() == spec.meaning;
    claim.found = Some(Found::from(foreign));
    claim.step = if identical {
        Step::Adopt
    } else {
        Step::Replace
    };
    let place = format!("{} line {}", foreign.section, foreign.line);
    match (spec.adoption, identical) {
        (Adoption::IfIdentical | Adoption::Always, true) | (Adoption::Always, false) => {}
        (Adoption::Never, true) => {
            let message = format!(
                "{place} holds an identical entry that is not ours, and adoption: Never leaves it so; deleting this mapping will leave it too"
            );
            claim.hold(Block::lasting(Reason::NotOwned, message));
        }
        (Adoption::IfIdentical | Adoption::Never, false) => {
            let message = format!(
                "{place} already maps {} to username {:?} and groups {:?}, and that entry is not ours; remove it there, declare the \
                 same here, or write adoption: Always to take it over",
                spec.entry.arn,
                foreign.username,
                foreign.meaning().groups
            );
            claim.hold(Block::lasting(Reason::ForeignEntry, message));
        }
    }
}

/// What becomes of a key that no mapping holds any more.
fn let_go(context: &Context<'_>, claim: &mut Claim, wrote: &dyn Fn(usize) -> bool) {
    claim.drift = None;
    if claim.orphan {
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
    let keeps = |position: &usize| {
        let mapping = context.mappings[*position];
        match context.states[*position] {
            State::Suspended => wrote(*position),
            // A principal that can't be read may be this very one.
            State::Refused => wrote(*position) && mapping.principal.is_none(),
            State::Live | State::Deleting | State::Expired => false,
        }
    };
    if claim.others.iter().any(keeps) {
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
