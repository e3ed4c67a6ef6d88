//! Which events a pass publishes: transitions only, few, and each note true when it is written.

use std::collections::{BTreeMap, BTreeSet};

use super::Repair;
use super::action::{EventNote, EventType, Outcome, Regarding};
use super::claim::Step;
use super::memory::Target;
use super::report::View;
use super::status::{claim_section, describe};
use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::aws_auth::{Problem, Section};
use crate::principal::Key;

/// So many events on single mappings a pass publishes at most; of more of one reason, one on aws-auth tells.
const MOST_PER_MAPPING: usize = 10;
/// Kubernetes takes notes of at most so many bytes (`noteLengthLimit` in k8s.io/kubernetes/pkg/apis/core/validation/events.go).
const NOTE_BYTES: usize = 1024;

/// The events of this pass, and which states of aws-auth they have told of.
pub(super) fn events(
    view: &View<'_>,
    new: &[IdentityMappingStatus],
) -> (Vec<EventNote>, BTreeSet<String>) {
    let mut notes: Vec<EventNote> = Vec::new();
    for (position, status) in new.iter().enumerate() {
        notes.extend(transition(view, position, status));
        notes.extend(repair(view, position));
        notes.extend(left(view, position));
    }
    let mut notes = bounded(notes);
    let states = states(view);
    let said = states.iter().map(|(key, _)| key.clone()).collect();
    let fresh = states
        .into_iter()
        .filter(|(key, _)| !view.plan.memory.said.contains(key));
    notes.extend(fresh.map(|(_, note)| note));
    for note in &mut notes {
        shorten(&mut note.note);
    }
    (notes, said)
}

fn regarding(view: &View<'_>, position: usize) -> Regarding {
    let mapping = view.plan.mappings[position];
    Regarding::Mapping {
        name: mapping.name.clone(),
        uid: mapping.uid.clone(),
    }
}

/// The first condition of those that matter which is false, with its reason.
fn worst(status: &IdentityMappingStatus) -> Option<(&str, &str)> {
    let types = [
        ConditionType::Accepted,
        ConditionType::Ready,
        ConditionType::Synced,
    ];
    let find = |type_: ConditionType| {
        let condition = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_.as_str())?;
        (condition.status == "False")
            .then_some((condition.reason.as_str(), condition.message.as_str()))
    };
    types.into_iter().find_map(find)
}

fn transition(view: &View<'_>, position: usize, new: &IdentityMappingStatus) -> Option<EventNote> {
    if view.leaves(position) {
        return None;
    }
    let (reason, message) = worst(new)?;
    let before = worst(&view.plan.mappings[position].status).map(|(reason, _)| reason);
    let reason = *Reason::ALL.iter().find(|known| known.as_str() == reason)?;
    let wished = matches!(
        reason,
        Reason::Suspended
            | Reason::Observing
            | Reason::NotOwned
            | Reason::Released
            | Reason::FinalizerPending
    );
    (before != Some(reason.as_str()) && !wished).then(|| EventNote {
        regarding: regarding(view, position),
        type_: EventType::Warning,
        reason,
        action: "Reconcile",
        note: message.to_owned(),
    })
}

fn repair(view: &View<'_>, position: usize) -> Option<EventNote> {
    let claim = view
        .held(position)
        .filter(|claim| view.written && claim.changes_text())?;
    let drift = claim.drift?;
    if view
        .memory
        .undone
        .contested(&Target::Entry(claim.hash.clone()), view.plan.observed.now)
    {
        return None;
    }
    let manager = view.manager(claim_section(view, claim));
    Some(EventNote {
        regarding: regarding(view, position),
        type_: EventType::Warning,
        reason: Reason::DriftRepaired,
        action: "Repair",
        note: format!(
            "{}, by {manager}; it stands as declared again",
            describe(drift, claim)
        ),
    })
}

/// What still stands of a mapping that goes.
fn left(view: &View<'_>, position: usize) -> Option<EventNote> {
    let mapping = view.plan.mappings[position];
    if !view.leaves(position) {
        return None;
    }
    let retained = view.named(position).any(|claim| claim.step == Step::Retain);
    let taken_over = view.named(position).any(|claim| claim.holder.is_some());
    let what = mapping
        .principal
        .as_ref()
        .and_then(|principal| view.lets_in(principal))?;
    let wrote = !mapping.status.written.is_empty();
    let unmarked = view
        .named(position)
        .any(|claim| claim.step == Step::Unmark && claim.beside);
    let (reason, note) = match (retained || taken_over || !wrote, unmarked) {
        (true, _) => return None,
        (false, true) => (
            Reason::EntryLeft,
            format!(
                "the entry on {what} differs from what was written and is not marked as ours any more, so it stays; remove it by hand to end the access"
            ),
        ),
        (false, false) => (
            Reason::Uncovered,
            format!(
                "the entry is removed, but {what} still lets the principal in; remove it by hand to end the access"
            ),
        ),
    };
    Some(EventNote {
        regarding: regarding(view, position),
        type_: EventType::Warning,
        reason,
        action: "Revoke",
        note,
    })
}

/// At most ten events on single mappings. What befalls many at once is one event on aws-auth.
fn bounded(notes: Vec<EventNote>) -> Vec<EventNote> {
    let mut by_reason: BTreeMap<Reason, Vec<EventNote>> = BTreeMap::new();
    for note in notes {
        by_reason.entry(note.reason).or_default().push(note);
    }
    let mut single = Vec::new();
    let mut rest: Vec<EventNote> = Vec::new();
    for (_, notes) in by_reason {
        if notes.len() + single.len() > MOST_PER_MAPPING {
            rest.extend(together(&notes));
        } else {
            single.extend(notes);
        }
    }
    single.extend(rest);
    single
}

fn together(notes: &[EventNote]) -> Option<EventNote> {
    let first = notes.first()?;
    let name = |note: &EventNote| match &note.regarding {
        Regarding::Mapping { name, .. } => name.clone(),
        Regarding::ConfigMap => "aws-auth".to_owned(),
    };
    let names: Vec<String> = notes.iter().take(10).map(name).collect();
    let more = if notes.len() > names.len() {
        ", …"
    } else {
        ""
    };
    Some(EventNote {
        regarding: Regarding::ConfigMap,
        type_: first.type_,
        reason: first.reason,
        action: first.action,
        note: format!(
            "{} mappings: {}{more}. For {}: {}",
            notes.len(),
            names.join(", "),
            names[0],
            first.note
        ),
    })
}

/// States of aws-auth that are worth one event each, by a key that stays the same while the state does.
fn states(view: &View<'_>) -> Vec<(String, EventNote)> {
    let mut states = Vec::new();
    let mut say =
        |key: String, type_: EventType, reason: Reason, action: &'static str, note: String| {
            states.push((
                key,
                EventNote {
                    regarding: Regarding::ConfigMap,
                    type_,
                    reason,
                    action,
                    note,
                },
            ));
        };
    let base = &view.plan.base;
    for section in Section::ALL {
        let Some(problem) = &base.standing.section(section).broken else {
            continue;
        };
        let text = view
            .plan
            .observed
            .config_map
            .as_ref()
            .and_then(|view| view.data.get(section.key()));
        let hash = text
            .map(|text| super::mark::hex(&<sha2::Sha256 as sha2::Digest>::digest(text), 16))
            .unwrap_or_default();
        let mended = view.written
            && base
                .restored
                .iter()
                .any(|restored| restored.section == section);
        let contested = view
            .memory
            .undone
            .contested(&Target::Text(section), view.plan.observed.now);
        if !contested {
            let (reason, what) = if mended {
                (
                    Reason::TextRestored,
                    "its last good text has been put back, and the broken one is kept in the history",
                )
            } else {
                (
                    Reason::TextBroken,
                    "nothing of it is in effect until it is mended with kubectl edit",
                )
            };
            let note = format!(
                "{}, written by {}; {what}",
                broken(problem),
                view.manager(section)
            );
            say(
                format!("{}/{section}/{hash}", reason.as_str()),
                EventType::Warning,
                reason,
                "Repair",
                note,
            );
        }
    }
    if base.deleted && base.create {
        let (reason, note) = deleted(view);
        say(
            reason.as_str().to_owned(),
            EventType::Warning,
            reason,
            "Repair",
            note,
        );
    }
    for target in view.memory.undone.all_contested(view.plan.observed.now) {
        let what = match target {
            Target::Text(section) => format!("the text of {section}"),
            Target::ConfigMap => "aws-auth itself".to_owned(),
            Target::Mark => "the ownership mark".to_owned(),
            Target::Entry(_) => continue,
        };
        let note = format!(
            "{what} is undone again and again, last by {}; it is repaired once a second; make one of the two stop",
            view.manager(Section::Roles)
        );
        say(
            format!("contested/{target:?}"),
            EventType::Warning,
            Reason::Contested,
            "Repair",
            note,
        );
    }
    let orphans: Vec<&str> = view
        .plan
        .claims
        .iter()
        .filter(|claim| claim.orphan && claim.effective() == Step::Leave)
        .map(|claim| claim.hash.as_str())
        .collect();
    if !orphans.is_empty() {
        let history = view.plan.settings.config_map.history();
        let keys = view
            .plan
            .claims
            .iter()
            .filter(|claim| claim.orphan)
            .filter_map(|claim| claim.key.as_ref())
            .map(Key::to_string);
        let note = format!(
            "{} entries are marked as ours and no mapping names them: {}; they stay; to remove them, annotate the ConfigMap {history} with {}: mass-removal",
            orphans.len(),
            keys.take(10).collect::<Vec<_>>().join(", "),
            crate::api::v1alpha1::CONFIRM_ANNOTATION
        );
        say(
            format!("orphans/{}", orphans.join("/")),
            EventType::Warning,
            Reason::OrphanedEntries,
            "Reconcile",
            note,
        );
    }
    if view.plan.released {
        let note =
            "everything was released: the operator writes nothing until it is restarted".to_owned();
        say(
            "released".to_owned(),
            EventType::Warning,
            Reason::Released,
            "Reconcile",
            note,
        );
    }
    if let Outcome::Failed(_) = view.outcome
        && let Some(block) = view.not_written()
    {
        say(
            format!("failed/{}", block.reason),
            EventType::Warning,
            block.reason,
            "Write",
            block.message,
        );
    }
    states
}

fn broken(problem: &Problem) -> String {
    format!(
        "{} does not parse, so the authenticator drops it whole: line {}, column {}, at `{}`: {}",
        problem.section, problem.line, problem.column, problem.offending, problem.message
    )
}

/// aws-auth was deleted: what was put back, and what was not.
fn deleted(view: &View<'_>) -> (Reason, String) {
    let before = view
        .plan
        .memory
        .standing
        .as_ref()
        .map(|standing| crate::aws_auth::Document::parse(&standing.data));
    match (view.plan.settings.repair, view.written) {
        (Repair::LastGood, true) => (Reason::ConfigMapRestored, "the ConfigMap was deleted and has been made again as it last stood, with the mappings applied".to_owned()),
        (Repair::Off | Repair::LastGood, written) => {
            let ours = &view.plan.memory.foreign;
            let entries: Vec<_> = before.iter().flat_map(|document| document.entries().cloned().collect::<Vec<_>>()).collect();
            let foreign = entries.iter().filter(|entry| Key::parse_arn(&entry.arn).is_none_or(|key| {
                ours.contains(&(super::mark::KeyHash::of(&key), super::mark::MeaningHash::of(&entry.meaning())))
            }));
            let foreign: Vec<_> = foreign.collect();
            let nodes: Vec<&str> = foreign.iter().filter(|entry| super::guard::is_node(&entry.meaning())).map(|entry| entry.arn.as_str()).collect();
            let made = if written { "has been made again with our entries only" } else { "does not exist any more" };
            let note = format!(
                "the ConfigMap was deleted and {made}: {} foreign entries are gone, node entries among them: {}; bring them back from the copies in {}",
                foreign.len(),
                if nodes.is_empty() { "none".to_owned() } else { nodes.join(", ") },
                view.plan.settings.config_map.history()
            );
            (Reason::ConfigMapDeleted, note)
        }
    }
}

fn shorten(note: &mut String) {
    if note.len() > NOTE_BYTES {
        note.truncate(note.floor_char_boundary(NOTE_BYTES - '…'.len_utf8()));
        note.push('…');
    }
}
