//! The laws: what no step of the operator may do, whatever it believes. They are about what is really there before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::World;
use super::access::{Access, Accesses, By, TextEntry, folded};
use super::declared::{Since, WorldMapping};
use super::ledger::Ledger;
use crate::access_entry::{AccessEntry, INSTALLATION_TAG};
use crate::api::v1alpha1::Adoption;
use crate::aws_auth::{Document, Section};
use crate::observed::{ConfigMapView, Mode, Repair};
use crate::ownership::MARK_ANNOTATION;

/// Removals are counted for ten minutes.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// What was there before a step.
pub(super) struct Before {
    access: Arc<Accesses>,
    ledger: Ledger,
    config_map: Option<ConfigMapView>,
    entries: BTreeMap<String, AccessEntry>,
}

impl Before {
    pub(super) fn of(world: &World) -> Self {
        Self {
            access: Arc::clone(&world.access),
            ledger: world.ledger.clone(),
            config_map: world.config_map.clone(),
            entries: world.eks.entries.clone(),
        }
    }

    /// Principals of which something managed existed.
    fn managed(&self) -> BTreeSet<String> {
        let in_text = self
            .ledger
            .managed_text
            .iter()
            .map(|entry| entry.principal.clone());
        let entries = self.entries.keys();
        let in_eks = entries.filter(|arn| !self.ledger.unmanaged_entries.contains(*arn));
        in_text.chain(in_eks.map(|arn| folded(arn))).collect()
    }
}

/// A change of the operator's, and what it was decided by.
struct JudgedChange<'a> {
    world: &'a World,
    before: &'a Accesses,
    after: &'a Accesses,
    since: &'a Since,
}

/// Judges a step; `since` is what the operator decided it by, `None` where somebody else made it.
pub(super) fn judge(
    world: &mut World,
    before: &Before,
    since: Option<&Since>,
) -> Result<(), String> {
    let Before {
        access,
        ledger,
        config_map,
        entries,
    } = before;
    let after = Arc::clone(&world.access);
    if let Some(since) = since {
        let restored = restored(world, config_map.as_ref(), &ledger.good);
        take_over_text(world, config_map.as_ref(), since, &restored)?;
        take_over_entries(world, entries, since)?;
        let change = JudgedChange {
            world,
            before: access,
            after: &after,
            since,
        };
        change.nodes(&restored)?;
        change.last_administrator(ledger)?;
        change.unmanaged_wins(ledger)?;
        change.grant(config_map.as_ref(), &restored)?;
        change.continuity()?;
        change.broken_text(config_map.as_ref())?;
        change.definition()?;
        mass_removal(world, &before.managed(), since)?;
    } else {
        gifts(world, before);
        lost_administrators(world, access);
    }
    remember(world);
    outlived(world)
}

/// Entries that the step put back because a text did not parse or was gone: those of the last text that stood.
fn restored(world: &World, before: Option<&ConfigMapView>, good: &[TextEntry]) -> Vec<TextEntry> {
    let broken = before.is_none_or(|view| {
        let document = Document::parse(&view.data);
        Section::ALL
            .iter()
            .any(|section| document.section(*section).broken.is_some())
    });
    let last_good = world.settings.repair_in(Some(world.mode)) == Repair::LastGood;
    if broken && last_good {
        good.to_vec()
    } else {
        Vec::new()
    }
}

/// What the step made of the entries of aws-auth: none that is not the operator's may be changed but by adoption.
fn take_over_text(
    world: &mut World,
    before: Option<&ConfigMapView>,
    since: &Since,
    restored: &[TextEntry],
) -> Result<(), String> {
    if before == world.config_map.as_ref() {
        return Ok(());
    }
    let mut rest = TextEntry::all(world.config_map.as_ref());
    let mut unmanaged = Vec::new();
    let mut gone = Vec::new();
    for entry in std::mem::take(&mut world.ledger.unmanaged_text) {
        match rest.iter().rposition(|it| *it == entry) {
            Some(place) => unmanaged.push(rest.remove(place)),
            None => gone.push(entry),
        }
    }
    for entry in gone {
        let adopts = |it: &WorldMapping| it.live(since.decided) && it.adoption == Adoption::Always;
        if !since.of(&entry.principal).any(adopts) {
            return Err(format!(
                "unmanaged: an entry of someone else was taken from aws-auth: {entry:?}"
            ));
        }
    }
    // What was put back of others is still theirs.
    for entry in restored
        .iter()
        .filter(|entry| !world.ledger.good_managed.contains(entry))
    {
        if let Some(place) = rest.iter().position(|it| it == entry) {
            unmanaged.push(rest.remove(place));
        }
    }
    let mark = |view: Option<&ConfigMapView>| {
        let mark = view
            .and_then(|view| view.annotations.get(MARK_ANNOTATION))
            .cloned();
        mark.unwrap_or_default()
    };
    let (old, new) = (mark(before), mark(world.config_map.as_ref()));
    // Adoption: the mark says that an entry is the operator's that someone else made.
    let adopted = |entry: &TextEntry| {
        let marked = word(entry);
        new.contains(&marked) && !rest.contains(entry)
    };
    let (adopted, unmanaged): (Vec<_>, Vec<_>) = unmanaged.into_iter().partition(adopted);
    for entry in &adopted {
        let adopts = |it: &WorldMapping| {
            let identical =
                it.username == entry.username && it.groups == entry.groups || it.is_node();
            it.live(since.decided)
                && (it.adoption == Adoption::Always
                    || it.adoption == Adoption::IfIdentical && identical)
        };
        let again = world.ledger.lost.contains(&entry.principal);
        if !again && !since.of(&entry.principal).any(adopts) {
            return Err(format!(
                "unmanaged: the mark claims an entry of someone else: {entry:?}"
            ));
        }
    }
    rest.extend(adopted);
    // What the mark says no more, and still stands, was let go of.
    let released = |entry: &TextEntry| old.contains(&word(entry)) && !new.contains(&word(entry));
    let (released, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(released);
    world.ledger.unmanaged_text = unmanaged.into_iter().chain(released).collect();
    world.ledger.managed_text = rest;
    Ok(())
}

/// How the mark names an entry with this content.
fn word(entry: &TextEntry) -> String {
    let meaning = crate::aws_auth::Meaning {
        arn: entry.principal.clone(),
        username: entry.username.clone(),
        groups: entry.groups.clone(),
    };
    let Some(key) = crate::principal::Key::parse_arn(&entry.principal) else {
        return "none".to_owned();
    };
    let mark = crate::ownership::Mark(BTreeMap::from([(
        crate::ownership::KeyHash::of(&key),
        crate::ownership::MeaningHash::of(&meaning),
    )]));
    mark.render()
}

/// What the step made of the access entries.
fn take_over_entries(
    world: &mut World,
    before: &BTreeMap<String, AccessEntry>,
    since: &Since,
) -> Result<(), String> {
    let unmanaged = world.ledger.unmanaged_entries.clone();
    for principal_arn in &unmanaged {
        let (old, new) = (
            before.get(principal_arn),
            world.eks.entries.get(principal_arn),
        );
        let principal = folded(principal_arn);
        let (Some(old), false) = (old, old == new) else {
            continue;
        };
        // It became someone else's behind the operator's back: no call can be made conditional.
        let excused = world.unseen.contains(principal_arn) || since.touched.contains(&principal);
        let access = |entry| Access::of_entry(entry, &world.bindings);
        let adopts = |it: &WorldMapping| {
            it.live(since.decided)
                && match it.adoption {
                    Adoption::Always => true,
                    Adoption::IfIdentical => it.given_by(&access(old)),
                    Adoption::Never => false,
                }
        };
        let again = world.ledger.lost.contains(&principal);
        match new {
            Some(_) if excused || again || since.of(&principal).any(adopts) => {}
            None if excused => {}
            _ => {
                return Err(format!(
                    "unmanaged: the access entry of someone else was changed: {principal_arn}"
                ));
            }
        }
        let tagged = new.is_some_and(|entry| entry.tags.contains_key(INSTALLATION_TAG));
        if tagged || new.is_none() {
            world.ledger.unmanaged_entries.remove(principal_arn);
        }
    }
    for (principal_arn, entry) in &world.eks.entries {
        let tagged = |entry: &AccessEntry| entry.tags.contains_key(INSTALLATION_TAG);
        if before.get(principal_arn).is_some_and(tagged) && !tagged(entry) {
            world.ledger.unmanaged_entries.insert(principal_arn.clone());
        }
    }
    Ok(())
}

impl JudgedChange<'_> {
    fn principals(&self) -> BTreeSet<&String> {
        let after = self.after.by_principal.keys();
        self.before.by_principal.keys().chain(after).collect()
    }

    /// What the operator could not know: someone else changed it after it was decided, or in EKS, where no one has seen it yet.
    fn excused(&self, principal: &str) -> bool {
        let mut unseen = self.world.unseen.iter();
        self.since.touched.contains(principal) || unseen.any(|arn| folded(arn) == principal)
    }

    /// Who is let in as a node keeps exactly that identity.
    fn nodes(&self, restored: &[TextEntry]) -> Result<(), String> {
        for (principal, before) in &self.before.by_principal {
            let after = self.after.by_principal.get(principal);
            if !before.is_node() || after.is_some_and(|after| after.same(before)) {
                continue;
            }
            let typed = after.is_some() && self.since.of(principal).any(WorldMapping::is_node);
            let confirmed = self.since.confirms(principal, "node-entry");
            let put_back = restored.iter().any(|entry| entry.principal == *principal);
            if !typed && !confirmed && !put_back && !self.excused(principal) {
                return Err(format!(
                    "nodes: {principal} was a node, {before:?}, and becomes {after:?}"
                ));
            }
        }
        Ok(())
    }

    fn last_administrator(&self, ledger: &Ledger) -> Result<(), String> {
        let before = self.before.administrators();
        let lost: Vec<&&String> = before
            .iter()
            .filter(|principal| !self.after.administrators().contains(**principal))
            .filter(|principal| !ledger.gifts.contains(**principal))
            .collect();
        if lost.is_empty()
            || !self.after.administrators().is_empty()
            || self.since.administrator_lost
        {
            return Ok(());
        }
        let excused = |principal: &&&String| {
            self.since.confirms(principal, "last-administrator") || self.excused(principal)
        };
        let unseen = self.world.unseen.iter().any(|arn| {
            let principal = folded(arn);
            !self.after.administrators().contains(&principal)
        });
        if lost.iter().any(excused) || unseen {
            return Ok(());
        }
        Err(format!("last administrator: {lost:?} was the last one"))
    }

    /// An entry of someone else loses to one of the operator's only by adoption.
    fn unmanaged_wins(&self, ledger: &Ledger) -> Result<(), String> {
        for (principal, after) in &self.after.by_principal {
            let Some(before) = self.before.by_principal.get(principal) else {
                continue;
            };
            if before.by != By::Text || after.by != By::Entry || before.same(after) {
                continue;
            }
            let entry = TextEntry {
                principal: principal.clone(),
                username: before.username.clone(),
                groups: before.groups.clone(),
            };
            let theirs =
                ledger.unmanaged_text.contains(&entry) && !ledger.managed_text.contains(&entry);
            let always = |it: &WorldMapping| it.adoption == Adoption::Always;
            if theirs && !self.since.of(principal).any(always) && !self.excused(principal) {
                return Err(format!("unmanaged: {entry:?} loses to {after:?}"));
            }
        }
        Ok(())
    }

    /// Who gets more gets what a live mapping declares for this very principal.
    fn grant(
        &self,
        config_map: Option<&ConfigMapView>,
        restored: &[TextEntry],
    ) -> Result<(), String> {
        let stood = TextEntry::all(config_map);
        for principal in self.principals() {
            let (before, after) = (
                self.before.by_principal.get(principal),
                self.after.by_principal.get(principal),
            );
            let Some(after) = after else {
                continue;
            };
            if before.is_some_and(|before| after.within(before)) {
                continue;
            }
            let declares = |it: &WorldMapping| {
                it.live(self.since.decided) && it.gives_on_the_way(before, after)
            };
            let entry = TextEntry {
                principal: principal.clone(),
                username: after.username.clone(),
                groups: after.groups.clone(),
            };
            let uncovered = after.by == By::Text && stood.contains(&entry);
            let put_back = after.by == By::Text && restored.contains(&entry);
            // Someone else made the entry anew with other contents under the operator's call.
            let excused = after.by == By::Entry && self.excused(principal);
            if !self.since.of(principal).any(declares) && !uncovered && !put_back && !excused {
                return Err(format!(
                    "grant: {principal} becomes {after:?}, and was {before:?}"
                ));
            }
        }
        Ok(())
    }

    /// Who is declared all the time, and had what is declared, keeps it.
    fn continuity(&self) -> Result<(), String> {
        for (principal, before) in &self.before.by_principal {
            let now = self.world.clock();
            let Some(declared) = self.since.throughout(principal, now) else {
                continue;
            };
            let after = self.after.by_principal.get(principal);
            let had = declared.given_by(before);
            let loses = match after {
                None => true,
                Some(after) => had && before.administrator && !after.administrator,
            };
            if loses && had && !self.excused(principal) {
                return Err(format!(
                    "continuity: {principal} is declared as {before:?} and becomes {after:?}"
                ));
            }
        }
        Ok(())
    }

    /// While the definition goes nobody loses access.
    fn definition(&self) -> Result<(), String> {
        let mut lost = self.before.by_principal.keys();
        match lost.find(|principal| !self.after.by_principal.contains_key(*principal)) {
            Some(lost) if self.since.definition_deleting && !self.excused(lost) => {
                Err(format!("definition: {lost} loses access"))
            }
            _ => Ok(()),
        }
    }

    /// Nothing is written over a text that does not parse, but to put the last good one back.
    fn broken_text(&self, before: Option<&ConfigMapView>) -> Result<(), String> {
        let Some(view) = before else {
            return Ok(());
        };
        let repair = self.world.settings.repair_in(Some(self.world.mode));
        let document = Document::parse(&view.data);
        let after = self.world.config_map.as_ref();
        for section in Section::ALL {
            let text = after.and_then(|view| view.data.get(section.key()));
            let changed = text != view.data.get(section.key());
            let broken = document.section(section).broken.is_some();
            if broken && changed && repair == Repair::Off {
                return Err(format!(
                    "read: {section} does not parse and was written over"
                ));
            }
            let parsed = after.map(|view| Document::parse(&view.data));
            if changed && parsed.is_some_and(|it| it.section(section).broken.is_some()) {
                return Err(format!("read: {section} was written and does not parse"));
            }
        }
        Ok(())
    }
}

fn mass_removal(world: &mut World, before: &BTreeSet<String>, since: &Since) -> Result<(), String> {
    let now = world.now;
    world
        .ledger
        .vanished
        .retain(|_, time| time.plus(WINDOW) > now);
    let after = world.managed_now();
    let text = TextEntry::all(world.config_map.as_ref());
    let exists = |principal: &String| {
        text.iter().any(|entry| entry.principal == *principal)
            || world
                .eks
                .entries
                .keys()
                .any(|arn| folded(arn) == *principal)
    };
    let vanishes: Vec<String> = before
        .iter()
        .filter(|principal| !after.contains(*principal) && !exists(principal))
        .filter(|principal| !since.of(principal).any(|it| it.counts_for_no_limit(now)))
        .cloned()
        .collect();
    if vanishes.is_empty() || world.ledger.clock_set || world.ledger.removals_forgotten {
        return Ok(());
    }
    world
        .ledger
        .vanished
        .extend(vanishes.into_iter().map(|principal| (principal, now)));
    let gone = world.ledger.vanished.len();
    let keys: BTreeSet<&String> = after.iter().chain(world.ledger.vanished.keys()).collect();
    let limit = 5.max(keys.len() / 4);
    if gone > limit || keys.len() >= 3 && gone == keys.len() {
        return Err(format!(
            "mass removal: {gone} of {} keys vanished within ten minutes",
            keys.len()
        ));
    }
    Ok(())
}

/// No managed entry outlives the mappings that ever named its principal.
fn outlived(world: &World) -> Result<(), String> {
    let alive: BTreeSet<&String> = world
        .objects
        .values()
        .filter_map(|object| world.ledger.names.get(object.metadata.uid.as_ref()?))
        .flatten()
        .collect();
    let orphans: Vec<String> = world
        .managed_now()
        .into_iter()
        .filter(|principal| !alive.contains(principal) && !world.ledger.lost.contains(principal))
        .collect();
    if orphans.is_empty() {
        return Ok(());
    }
    Err(format!("finalizer: {orphans:?} outlive their mappings"))
}

/// An administrator that someone else makes by editing an entry of the operator's counts for nothing.
fn gifts(world: &mut World, before: &Before) {
    let managed = before.managed();
    let now: BTreeSet<String> = world.access.administrators().into_iter().cloned().collect();
    for principal in &now {
        if !before.access.administrators().contains(principal) && managed.contains(principal) {
            world.ledger.gifts.insert(principal.clone());
        }
    }
    world
        .ledger
        .gifts
        .retain(|principal| now.contains(principal));
}

/// Someone else took an administrator's access: what is in flight could not know.
fn lost_administrators(world: &mut World, before: &Accesses) {
    let now = Arc::clone(&world.access);
    let lost = before
        .administrators()
        .into_iter()
        .any(|it| !now.administrators().contains(it));
    if lost {
        world
            .contexts()
            .for_each(|since| since.administrator_lost = true);
    }
}

fn remember(world: &mut World) {
    let Some(view) = &world.config_map else {
        return;
    };
    // The operator can only put back what it saw.
    let seen = world.operator.text_read.as_ref() == Some(&view.resource_version);
    let document = Document::parse(&view.data);
    if seen
        && Section::ALL
            .iter()
            .all(|section| document.section(*section).broken.is_none())
    {
        world.ledger.good = TextEntry::all(Some(view));
        world.ledger.good_managed = world.ledger.managed_text.clone();
    }
}

impl World {
    pub(super) fn managed_now(&self) -> BTreeSet<String> {
        let in_text = self
            .ledger
            .managed_text
            .iter()
            .map(|entry| entry.principal.clone());
        let entries = self.eks.entries.keys();
        let in_eks = entries.filter(|arn| !self.ledger.unmanaged_entries.contains(*arn));
        in_text.chain(in_eks.map(|arn| folded(arn))).collect()
    }

    /// What must hold once nothing is left to happen.
    pub(super) fn judge_rest(&self) -> Result<(), String> {
        for (name, object) in &self.objects {
            let status = object.status.clone().unwrap_or_default();
            let condition = |type_: &str| {
                let mut all = status.conditions.iter();
                all.find(|it| it.type_ == type_)
                    .map(|it| (it.status.as_str(), it.reason.as_str()))
            };
            let deleting = object.metadata.deletion_timestamp.is_some();
            if deleting
                && !self.definition_deleting
                && condition("Stalled").is_none_or(|(stalled, _)| stalled != "True")
            {
                return Err(format!(
                    "rest: {name} is being deleted for ever: {:?}",
                    status.conditions
                ));
            }
            let Some(declared) = self.declared.iter().find(|it| it.name == *name) else {
                continue;
            };
            if condition("Ready") == Some(("True", "InEffect")) {
                let access = self.access.by_principal.get(&declared.principal);
                let unseen = self
                    .unseen
                    .iter()
                    .any(|arn| folded(arn) == declared.principal);
                if !unseen && !access.is_some_and(|access| declared.given_by(access)) {
                    return Err(format!(
                        "ready: {name} says so, and its principal becomes {access:?}"
                    ));
                }
            }
        }
        if self.mode != Mode::ConfigMap && !self.flights.is_empty() {
            return Err("rest: calls are in flight for ever".to_owned());
        }
        Ok(())
    }
}
