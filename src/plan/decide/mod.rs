//! The decision for each key: who holds it, which entry of aws-auth is ours for it, which step follows.

pub(crate) mod access_entry;
pub(crate) mod holds;
pub(crate) mod leaves;
pub(crate) mod takeover;
pub(crate) mod text_first;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::api::condition::Reason;
use crate::api::v1alpha1::{Adoption, Confirmation};
use crate::aws_auth::{Entry, Lookup, Meaning, Section};
use crate::desired::{Form, Mapping, Remembered, Spec, State};
use crate::effective::{EffectiveEntry, can_match, is_node};
use crate::observed::Bindings;
use crate::ownership::{Evidence, KeyHash, Mark, MeaningHash, Recognised, is_tagged, recognise};
use crate::plan::backend::{Outlook, Site, Want, place};
use crate::plan::baseline::Base;
use crate::plan::claim::{
    Block, Claim, Context, Eks, EntrySide, EntryStep, Found, Step, TextDrift, identity,
};
use crate::plan::decide::leaves::{Leaves, is_anothers, kept_by_another, leaves};
use crate::plan::decide::takeover::gives_way;
use crate::principal::{Key, PrincipalKind};

/// The keys that matter to a plan: those that a mapping names, the mark holds or a tag says are ours; each with its entries of aws-auth.
#[allow(
    clippy::struct_field_names,
    reason = "one field holds the keys themselves"
)]
pub(crate) struct Keys<'a> {
    entries: HashMap<KeyHash, Vec<&'a Entry>>,
    /// Unknown for a mark whose entry is gone and that no mapping names.
    keys: BTreeMap<KeyHash, Key>,
    named: BTreeMap<KeyHash, Named>,
    managed: BTreeSet<KeyHash>,
}

/// The mappings that name a key.
#[derive(Default)]
struct Named {
    specs: Vec<usize>,
    statuses: Vec<Written>,
    /// Those whose status remembers an access entry.
    entries: Vec<usize>,
}

impl Named {
    /// All of them, some more than once.
    fn positions(&self) -> impl Iterator<Item = usize> {
        let statuses = self.statuses.iter().map(|written| written.position);
        let others = self.specs.iter().chain(&self.entries).copied();
        others.chain(statuses)
    }
}

/// What a status remembers of an entry of aws-auth.
struct Written {
    position: usize,
    meaning: Meaning,
    /// The mapping's spec names this very principal: only then does the status recognise the entry.
    own: bool,
}

impl<'a> Keys<'a> {
    /// Collects them. The mappings are sorted by age.
    pub(crate) fn new(
        base: &'a Base,
        mark: &Mark,
        mappings: &[Cow<'_, Mapping>],
        config_map: &str,
        eks: Option<&Eks<'_>>,
    ) -> Self {
        let mut all = Self {
            entries: HashMap::new(),
            keys: BTreeMap::new(),
            named: BTreeMap::new(),
            managed: mark.0.keys().cloned().collect(),
        };
        for entry in base.document.entries() {
            if let Some(key) = Key::parse_arn(&entry.arn) {
                let hash = KeyHash::of(&key);
                all.entries.entry(hash.clone()).or_default().push(entry);
                all.keys.insert(hash, key);
            }
        }
        for (position, mapping) in mappings.iter().enumerate() {
            if let Some(key) = mapping.key() {
                all.name(key).specs.push(position);
            }
            for (key, Remembered { meaning, own }) in mapping.written(config_map) {
                all.name(key).statuses.push(Written {
                    position,
                    meaning,
                    own,
                });
            }
            if let Some(eks) = eks {
                for key in mapping.written_entries(&eks.view.cluster.arn).into_keys() {
                    all.name(key).entries.push(position);
                }
            }
        }
        if let Some(eks) = eks {
            for (hash, standing) in eks.standing.iter() {
                if is_tagged(standing.state, &eks.installation) {
                    all.managed.insert(hash.clone());
                    all.keys.insert(hash.clone(), standing.key.clone());
                }
            }
        }
        all
    }

    fn name(&mut self, key: Key) -> &mut Named {
        let hash = KeyHash::of(&key);
        self.keys.insert(hash.clone(), key);
        self.named.entry(hash).or_default()
    }

    /// The managed keys that no mapping names in spec or status.
    pub(crate) fn orphans(&self) -> BTreeSet<KeyHash> {
        let managed = self.managed.iter();
        managed
            .filter(|hash| !self.named.contains_key(hash))
            .cloned()
            .collect()
    }
}

/// Decides for every key that a mapping names, or that is managed.
pub(crate) fn claims(context: &Context<'_>, mark: &Mark, keys: &Keys<'_>) -> Vec<Claim> {
    let none = Named::default();
    let decide = |hash: &KeyHash| {
        let standing = keys
            .entries
            .get(hash)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let by = keys.named.get(hash).unwrap_or(&none);
        decide(
            context,
            hash,
            keys.keys.get(hash),
            by,
            standing,
            mark.0.get(hash),
        )
    };
    let hashes: BTreeSet<&KeyHash> = keys.named.keys().chain(&keys.managed).collect();
    hashes.into_iter().map(decide).collect()
}

/// The managed entry of a key. A changed one that is a node's now is never taken for ours, unless a mapping of the key is one of nodes or
/// confirms it: rather a conflict than nodes locked out.
fn managed<'a>(
    context: &Context<'_>,
    named: &Named,
    standing: &[&'a Entry],
    marked: Option<&MeaningHash>,
) -> Recognised<'a> {
    let own = named.statuses.iter().filter(|written| written.own);
    let written: Vec<&Meaning> = own.map(|written| &written.meaning).collect();
    let of_nodes = named.specs.iter().any(|position| {
        let mapping = &context.mappings[*position];
        mapping.confirms(Confirmation::NodeEntry) || mapping.spec.as_ref().is_ok_and(Spec::is_node)
    });
    recognise(
        standing,
        &Evidence {
            mark: marked,
            written: &written,
            known: context.unmanaged,
            never_ours: &|entry| !of_nodes && is_node_entry(entry, &context.observed.bindings),
        },
    )
}

/// Whether an entry of aws-auth, which has no policies, is a node's.
pub(crate) fn is_node_entry(entry: &Entry, bindings: &Bindings) -> bool {
    EffectiveEntry::of_aws_auth(entry).is_node(bindings, "")
}

fn decide(
    context: &Context<'_>,
    hash: &KeyHash,
    key: Option<&Key>,
    named: &Named,
    standing: &[&Entry],
    marked: Option<&MeaningHash>,
) -> Claim {
    let recognised = managed(context, named, standing, marked);
    let wrote_text = |position: usize| {
        let mut statuses = named.statuses.iter();
        statuses.any(|written| written.position == position)
    };
    let entry_stands = context
        .eks
        .is_some_and(|eks| !eks.standing.of(hash).is_empty());
    let holds = |position: &&usize| match context.states[**position] {
        State::Live => true,
        State::Suspended | State::Refused => {
            ((recognised.entry().is_some() && wrote_text(**position))
                || (entry_stands && named.entries.contains(position)))
                && {
                    let naming: Vec<usize> = named.positions().collect();
                    !is_anothers(context, (hash, key), marked, &naming, **position)
                }
        }
        State::Deleting | State::Expired => false,
    };
    let of_key = OfKey {
        hash,
        key,
        named,
        standing,
        marked,
    };
    let held_by = |holder| decide_for(context, &of_key, &recognised, holder);
    // One that gives way leaves the principal to the next.
    let mut waiting = None;
    let candidates: Vec<usize> = named.specs.iter().filter(holds).copied().collect();
    // Of several the one that wrote what exists goes on, and else the oldest: one whose principal is changed takes nothing over that
    // another one holds.
    let is_writer = |position: &usize| {
        context.states[*position] != State::Live
            || wrote_text(*position)
            || named.entries.contains(position)
    };
    let (writers, others): (Vec<usize>, Vec<usize>) = candidates.into_iter().partition(is_writer);
    for holder in writers.into_iter().chain(others) {
        let claim = held_by(Some(holder));
        if !gives_way(context, &claim, holder) {
            return claim;
        }
        let block = claim.block.or(claim.entry.block);
        waiting.get_or_insert((holder, claim.place, block));
    }
    let claim = held_by(None);
    match waiting {
        Some((waiting, place, waits_for)) => Claim {
            waiting: Some(waiting),
            waits_for,
            place,
            ..claim
        },
        None => claim,
    }
}

/// What exists for one key, and which mappings name it.
struct OfKey<'k, 'a> {
    hash: &'k KeyHash,
    key: Option<&'k Key>,
    named: &'k Named,
    standing: &'k [&'a Entry],
    marked: Option<&'k MeaningHash>,
}

fn decide_for(
    context: &Context<'_>,
    of_key: &OfKey<'_, '_>,
    recognised: &Recognised<'_>,
    holder: Option<usize>,
) -> Claim {
    let OfKey {
        hash,
        key,
        named,
        standing,
        marked,
    } = *of_key;
    let found = recognised.entry();
    let others: BTreeSet<usize> = named
        .positions()
        .filter(|position| Some(*position) != holder)
        .collect();
    let mut claim = Claim {
        entry: EntrySide::default(),
        place: None,
        hands_over: false,
        hash: hash.clone(),
        key: key.cloned(),
        holder,
        waiting: None,
        waits_for: None,
        others: others.into_iter().collect(),
        marked: marked.cloned(),
        loses_mark: found.is_none() && standing.iter().any(|entry| can_match(entry)),
        ours: found.is_some(),
        beside: standing.iter().any(|entry| {
            found.is_none_or(|found| !std::ptr::eq(*entry, found)) && can_match(entry)
        }),
        found: found.map(Found::from),
        drift: recognised.is_changed().then_some(TextDrift::Changed),
        restores: false,
        narrows: false,
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
            access_entry::let_go(context, eks, &mut claim);
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
    let target = eks.map(|eks| access_entry::target_of(eks, claim, spec));
    let outlook = match (eks, &target) {
        (Some(eks), Some(Ok(target))) => {
            access_entry::outlook(context, eks, claim, position, target)
        }
        (Some(eks), Some(Err(_))) => access_entry::outlook_of_inexpressible(context, eks, claim),
        _ => Outlook::None,
    };
    let placement = place(
        context,
        &Site {
            spec,
            target: target.as_ref().map(Result::as_ref),
            outlook: &outlook,
            claim,
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
            Some(Ok(target)) => access_entry::hold_as_declared(
                context,
                eks,
                claim,
                &access_entry::Holding {
                    position,
                    spec,
                    outlook: &outlook,
                    placement: &placement,
                    text: standing,
                },
                target,
            ),
            Some(Err(_)) | None => {
                access_entry::hold_inexpressible(context, eks, claim, &outlook, &placement);
            }
        }
    }
    if mapping.remembered {
        keep_only(claim);
    }
    claim.place = Some(placement.place);
}

/// Whether a meaning is another one with less groups: it takes access away, and gives none.
fn narrows(before: &Meaning, then: &Meaning) -> bool {
    before.arn == then.arn
        && before.username == then.username
        && then.groups.is_subset(&before.groups)
}

/// The role of a permission set that only a status remembers keeps what is managed; nothing is made for it.
fn keep_only(claim: &mut Claim) {
    if claim.ours || claim.marked.is_some() {
        return;
    }
    let block = Block::passing(
        Reason::PermissionSetUnresolved,
        "IAM has not confirmed the permission set's role, so no entry is created or adopted for it yet; the operator retries",
    );
    if claim.text_grants() {
        claim.hold(block.clone());
    }
    let describes = claim.entry.step == EntryStep::Describe;
    if claim.entry.pending() && !claim.entry.ours && !describes {
        claim.entry.hold(block);
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
        .any(|written| written.position == position && written.meaning == form.meaning);
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
        // Where someone took ours away and an unmanaged entry of the principal remains, that one is not ours to win over.
        adopt_or_add(claim, spec.adoption, form, &winner);
        if claim.step == Step::Add && (claim.marked.is_some() || remembered) {
            claim.drift = Some(TextDrift::Removed);
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
        // What another mapping wrote is taken over, which wants a finalizer first.
        let wrote = named
            .statuses
            .iter()
            .any(|written| written.position == position);
        claim.narrows = wrote && narrows(&found.meaning, &form.meaning);
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
        claim.narrows = false;
        claim.drift = Some(TextDrift::Displaced);
    }
    claim.restores = claim.drift.is_some() && as_written;
}

/// What to do where nothing that exists is ours.
fn adopt_or_add(claim: &mut Claim, adoption: Adoption, form: &Form, winner: &Lookup<'_>) {
    let foreign = match winner {
        Lookup::Role(entry) | Lookup::User(entry) => *entry,
        Lookup::AmbiguousUser(entries) => {
            let lines: Vec<String> = entries.iter().map(|entry| entry.line.to_string()).collect();
            let message = format!(
                "mapUsers has {} on lines {} in spellings that differ in case, and the authenticator picks one at random; remove all but one by hand",
                form.entry.arn,
                lines.join(", ")
            );
            claim.step = Step::Add;
            claim.hold(Block::lasting(Reason::UnmanagedEntry, message));
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
                "{place} is an identical unmanaged entry, and adoption: Never leaves it unmanaged; deleting this mapping leaves it too"
            );
            claim.hold(Block::lasting(Reason::NotManaged, message));
        }
        (Adoption::IfIdentical | Adoption::Never, false) => {
            let message = format!(
                "{place} is an unmanaged entry that maps {} to {}; remove it, declare the same here, or set spec.adoption: Always to adopt it",
                form.entry.arn,
                identity(&foreign.meaning())
            );
            claim.hold(Block::lasting(Reason::UnmanagedEntry, message));
        }
    }
}

/// What becomes of a key that no mapping holds any more.
fn let_go(context: &Context<'_>, claim: &mut Claim) {
    claim.drift = None;
    if let Some(block) = kept_by_another(context, claim) {
        claim.hold(block);
    }
    claim.step = match leaves(context, claim) {
        Leaves::Stay => Step::Leave,
        Leaves::Free => Step::Retain,
        Leaves::Go if claim.found.is_some() => Step::Remove,
        Leaves::Go => Step::Unmark,
    };
}

/// The section in which the entry is or belongs, if it does not parse.
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
            "{section} does not parse, so the authenticator drops all of it: {}: {}; fix it with kubectl edit, then the \
                operator continues",
            problem.place(),
            problem.message
        );
        claim.drift = None;
        claim.hold(Block::lasting(Reason::InvalidYAML, message));
    }
}
