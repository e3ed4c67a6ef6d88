//! Which events a pass publishes: only transitions, and few of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::{Backend, IdentityMappingStatus};
use crate::plan::action::{AccessAction, AccessChange, AccessIdentity, EventNote, Regarding};
use crate::plan::claim::{Claim, Step, TextDrift, identity};
use crate::plan::decide::access_entry;
use crate::plan::memory::RepairTarget;
use crate::plan::report::config_map_events;
use crate::plan::report::context::View;
use crate::plan::report::leaving;
use crate::plan::report::status::{MESSAGES, claim_section};
use crate::principal::Key;

/// So many events of one reason a pass publishes on mappings at most; of more, one on aws-auth tells.
const MOST_OF_A_REASON: usize = 10;
/// Kubernetes takes notes of at most so many bytes (`noteLengthLimit` in k8s.io/kubernetes/pkg/apis/core/validation/events.go).
const NOTE_BYTES: usize = 1024;

/// The events of a pass.
pub(crate) struct Events {
    pub(crate) notes: Vec<EventNote>,
    /// States of aws-auth that they have told of.
    pub(crate) said: BTreeSet<String>,
    /// How many mappings were found to leave their principals access by something else.
    pub(crate) uncovered: u64,
}

/// The events of this pass.
pub(crate) fn events(
    view: &View<'_>,
    new: &[IdentityMappingStatus],
    changes: &[AccessChange],
) -> Events {
    let mut notes: Vec<EventNote> = Vec::new();
    for (position, status) in new.iter().enumerate() {
        notes.extend(transition(view, position, status));
        notes.extend(repair(view, position));
        notes.extend(entry_repair(view, position));
        notes.extend(left(view, position));
        notes.extend(left_behind(view, position, status));
        notes.extend(unverified(view, position));
    }
    let uncovers =
        |note: &&EventNote| matches!(note.reason, Reason::StillGranted | Reason::EntryKept);
    let uncovered = notes.iter().filter(uncovers).count() as u64;
    notes.extend(changes.iter().filter_map(access_event));
    let mut notes = bounded(notes);
    let states = config_map_events::states(view);
    let said = states.iter().map(|(key, _)| key.clone()).collect();
    let fresh = states
        .into_iter()
        .filter(|(key, _)| !view.plan.memory.said.contains(key));
    notes.extend(fresh.map(|(_, note)| note));
    for note in &mut notes {
        shorten(&mut note.note);
    }
    Events {
        notes,
        said,
        uncovered,
    }
}

pub(crate) fn regarding(view: &View<'_>, position: usize) -> Regarding {
    let mapping = &view.plan.mappings[position];
    Regarding::Mapping {
        name: mapping.name.clone(),
        uid: mapping.uid.clone(),
    }
}

/// The first condition of those that matter which is false, with its reason and the message that explains it.
fn worst(status: &IdentityMappingStatus) -> Option<(&str, &str)> {
    let types = [
        ConditionType::Accepted,
        ConditionType::Ready,
        ConditionType::Synced,
    ];
    let find = |type_: ConditionType| {
        let mut conditions = status.conditions.iter();
        conditions.find(|condition| condition.type_ == type_.as_str())
    };
    let bad = types
        .into_iter()
        .filter_map(find)
        .find(|condition| condition.status == "False")?;
    let mut places = MESSAGES.into_iter().filter_map(find);
    let message = places.find(|condition| condition.reason == bad.reason)?;
    Some((bad.reason.as_str(), message.message.as_str()))
}

/// Before IAM has answered for the first time nobody has to be told that it has not.
fn is_being_looked_up(status: &IdentityMappingStatus, reason: &str) -> bool {
    let reconciling = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Reconciling.as_str());
    reason == Reason::PermissionSetUnresolved.as_str()
        && reconciling.is_some_and(|condition| condition.status == "True")
}

fn transition(view: &View<'_>, position: usize, new: &IdentityMappingStatus) -> Option<EventNote> {
    if leaving::leaves(view, position) {
        return None;
    }
    let (reason, message) = worst(new)?;
    if is_being_looked_up(new, reason) {
        return None;
    }
    let old = &view.plan.mappings[position].status;
    let before = worst(old)
        .map(|(reason, _)| reason)
        .filter(|reason| !is_being_looked_up(old, reason));
    let reason = *Reason::ALL.iter().find(|known| known.as_str() == reason)?;
    let wished = matches!(
        reason,
        Reason::Suspended
            | Reason::Observing
            | Reason::NotManaged
            | Reason::Released
            | Reason::FinalizerPending
            | Reason::EntryPending
            | Reason::HandingOver
    );
    (before != Some(reason.as_str()) && !wished).then(|| EventNote {
        regarding: regarding(view, position),
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
    if view.memory.undone.contested(
        &RepairTarget::Entry(claim.hash.clone()),
        view.plan.observed.now,
    ) {
        return None;
    }
    let manager = view.manager(claim_section(view, claim));
    Some(EventNote {
        regarding: regarding(view, position),
        reason: Reason::DriftRepaired,
        action: "Repair",
        note: format!("{}; the operator repaired it", deed(drift, claim, &manager)),
    })
}

/// An access entry is being repaired. Its calls are in flight; what comes of them a condition tells.
fn entry_repair(view: &View<'_>, position: usize) -> Option<EventNote> {
    let claim = view
        .held(position)
        .filter(|claim| view.plan.begins_repair(claim).is_some())?;
    let target = RepairTarget::AccessEntry(claim.hash.clone());
    if view
        .memory
        .undone
        .contested(&target, view.plan.observed.now)
    {
        return None;
    }
    Some(EventNote {
        regarding: regarding(view, position),
        reason: Reason::DriftRepaired,
        action: "Repair",
        note: format!(
            "{}, by {}; the operator repairs it",
            claim.entry.drift.as_ref()?.what,
            access_entry::changed_by(view.plan.eks.as_ref(), claim)
        ),
    })
}

/// Who did what.
pub(crate) fn deed(drift: TextDrift, claim: &Claim, manager: &str) -> String {
    let who = match manager {
        "unknown" => "someone",
        known => known,
    };
    match (drift, &claim.found) {
        (TextDrift::Changed, Some(found)) => {
            format!("{who} gave the entry {}", identity(&found.meaning))
        }
        (TextDrift::Displaced, _) => {
            format!(
                "{who} added another entry of the same principal after the managed one, where it won"
            )
        }
        (TextDrift::Removed | TextDrift::Changed, _) => format!("{who} removed the entry"),
    }
}

/// An access entry that a person's word took from the mapping although nobody could look for it.
fn unverified(view: &View<'_>, position: usize) -> Option<EventNote> {
    let mapping = &view.plan.mappings[position];
    let change = leaving::change(view, position)
        .filter(|change| change.remove.keeps(Backend::AccessEntry))?;
    let why =
        leaving::unasked(view, position).filter(|_| change.lets_go || change.add.is_empty())?;
    let arn = mapping.principal.as_ref()?.arn();
    Some(EventNote {
        regarding: regarding(view, position),
        reason: Reason::EntryKept,
        action: "Revoke",
        note: format!(
            "the finalizer was removed as confirmed, although {why}; an access entry of {arn} may still grant access; once EKS can be reached, check with: aws eks describe-access-entry --cluster-name NAME --principal-arn {arn}"
        ),
    })
}

/// What still exists of a mapping that goes.
fn left(view: &View<'_>, position: usize) -> Option<EventNote> {
    let mapping = &view.plan.mappings[position];
    if !leaving::leaves(view, position) {
        return None;
    }
    let retained = view.named(position).any(|claim| claim.step == Step::Retain);
    let taken_over = view.named(position).any(|claim| claim.holder.is_some());
    let principal = mapping.principal.as_ref()?;
    let what = view.lets_in(principal)?;
    let written = &mapping.status.written;
    let wrote_in = |cluster: Option<&str>| {
        let here = |arn: &str| Key::parse_arn(arn).as_ref() == Some(&principal.key());
        let mut written = written.iter();
        written.any(|written| written.cluster.as_deref() == cluster && here(&written.arn))
    };
    // What stands where we wrote is what became of ours; elsewhere it stood beside ours.
    let by_entry = view.has_entry(principal);
    let kept = view.kept_by_aws(principal).filter(|_| by_entry);
    let (unmarked, subject) = if let (Some(eks), true) = (&view.plan.eks, by_entry) {
        (wrote_in(Some(&eks.view.cluster.arn)), what.clone())
    } else {
        let beside = |claim: &Claim| claim.step == Step::Unmark && claim.beside;
        let unmarked = wrote_in(None) && view.named(position).any(beside);
        (unmarked, format!("the entry on {what}"))
    };
    let quiet = retained || taken_over || written.is_empty();
    let (reason, note) = match (quiet, unmarked, kept) {
        (true, ..) => return None,
        (false, _, Some(cause)) => (
            Reason::EntryKept,
            format!("what this mapping added was removed, and {what} stays: {cause}"),
        ),
        (false, true, None) => (
            Reason::EntryKept,
            format!(
                "{subject} differs from what was written and is no longer managed, so it stays; remove it by hand to end the access"
            ),
        ),
        (false, false, None) => (
            Reason::StillGranted,
            format!(
                "the entry was removed, but {what} still grants the principal access; remove that by hand to end the access"
            ),
        ),
    };
    Some(EventNote {
        regarding: regarding(view, position),
        reason,
        action: "Revoke",
        note,
    })
}

/// What stays of principals that the spec does not name any more: where mark or tag is lost, the status alone removes nothing.
fn left_behind(view: &View<'_>, position: usize, new: &IdentityMappingStatus) -> Vec<EventNote> {
    let mapping = &view.plan.mappings[position];
    let forgotten = mapping.status.written.iter().filter(|written| {
        !mapping.names(&written.arn)
            && (leaving::leaves(view, position) || !new.written.contains(written))
    });
    let left = forgotten.filter_map(|written| {
        let key = Key::parse_arn(&written.arn);
        let mut named = view.named(position);
        let claim = named.find(|claim| claim.key == key && claim.holder.is_none())?;
        let place = view.place_of(claim, written)?;
        Some(EventNote {
            regarding: regarding(view, position),
            reason: Reason::EntryKept,
            action: "Revoke",
            note: format!(
                "the spec no longer names {}, and {place} is no longer managed, so it stays; remove it by hand to end the access",
                written.arn
            ),
        })
    });
    left.collect()
}

/// The event that tells of a change; repairs and entries that are left have events of their own, which say what to do.
fn access_event(change: &AccessChange) -> Option<EventNote> {
    let (reason, action) = match change.action {
        AccessAction::Granted => (Reason::AccessGranted, "Grant"),
        AccessAction::Changed => (Reason::AccessChanged, "Change"),
        AccessAction::Moved => (Reason::AccessMoved, "Move"),
        AccessAction::Adopted => (Reason::EntryAdopted, "Adopt"),
        AccessAction::Revoked | AccessAction::OrphanRemoved => (Reason::AccessRevoked, "Revoke"),
        AccessAction::Repaired | AccessAction::Released | AccessAction::Found => return None,
    };
    Some(EventNote {
        regarding: change.regarding.clone(),
        reason,
        action,
        note: access_sentence(change),
    })
}

fn access_sentence(change: &AccessChange) -> String {
    let AccessChange {
        action,
        backend,
        principal,
        now,
        before,
        cause,
        ..
    } = change;
    let (place, entry) = match backend {
        Backend::ConfigMap => ("aws-auth", "aws-auth entry"),
        Backend::AccessEntry => ("an access entry", "access entry"),
    };
    let identity = |identity: &Option<AccessIdentity>| {
        identity
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), AccessIdentity::to_string)
    };
    let what = match (action, now) {
        (AccessAction::Granted, _) => format!(
            "{principal} can access the cluster through {place}, with {}",
            identity(now)
        ),
        (AccessAction::Changed | AccessAction::Repaired, _) => format!(
            "the access of {principal} through {place} changed from {} to {}",
            identity(before),
            identity(now)
        ),
        (AccessAction::Moved, Some(_)) => format!("{principal} now has access through {place}"),
        (AccessAction::Moved, None) => {
            format!("the former {entry} of {principal} was removed")
        }
        (AccessAction::Adopted, _) => match before {
            Some(_) => format!(
                "the {entry} of {principal} is now managed and changed from {} to {}",
                identity(before),
                identity(now)
            ),
            None => format!(
                "the {entry} of {principal} is now managed, with {}",
                identity(now)
            ),
        },
        (AccessAction::Found, _) => format!(
            "the {entry} of {principal} already existed, with {}",
            identity(now)
        ),
        (AccessAction::Revoked | AccessAction::OrphanRemoved | AccessAction::Released, _) => {
            format!(
                "the access of {principal} through {place} was removed: {}",
                identity(before)
            )
        }
    };
    format!("{what} ({cause})")
}

/// At most ten events of each reason on mappings, what needs somebody first. What befalls more of them at once is one event on aws-auth;
/// an event that is alone with its reason stays on its mapping, whatever happens to others.
fn bounded(notes: Vec<EventNote>) -> Vec<EventNote> {
    let mut by_reason: BTreeMap<(bool, Reason), Vec<EventNote>> = BTreeMap::new();
    for note in notes {
        let reason = (note.reason.is_done(), note.reason);
        by_reason.entry(reason).or_default().push(note);
    }
    let mut bounded = Vec::new();
    for (_, notes) in by_reason {
        if notes.len() > MOST_OF_A_REASON {
            bounded.extend(together(&notes));
        } else {
            bounded.extend(notes);
        }
    }
    bounded
}

fn together(notes: &[EventNote]) -> Option<EventNote> {
    let first = notes.first()?;
    let name = |note: &EventNote| match &note.regarding {
        Regarding::Mapping { name, .. } => name.clone(),
        Regarding::ConfigMap => "aws-auth".to_owned(),
    };
    let names: Vec<String> = notes.iter().take(10).map(name).collect();
    let more = if notes.len() > names.len() {
        " and more"
    } else {
        ""
    };
    Some(EventNote {
        regarding: Regarding::ConfigMap,
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

fn shorten(note: &mut String) {
    if note.len() > NOTE_BYTES {
        note.truncate(note.floor_char_boundary(NOTE_BYTES - '…'.len_utf8()));
        note.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &str, reason: Reason) -> EventNote {
        let regarding = Regarding::Mapping {
            name: name.to_owned(),
            uid: String::new(),
        };
        EventNote {
            regarding,
            reason,
            action: "Reconcile",
            note: format!("of {name}"),
        }
    }

    #[test]
    fn only_reasons_of_more_than_ten_mappings_are_one_event() {
        let of = |count: usize, reason: Reason| {
            (0..count).map(move |number| note(&format!("m{number}"), reason))
        };
        let ten = of(10, Reason::AccessGranted);
        let one = [note("alone", Reason::DuplicatePrincipal)];
        let shown = bounded(ten.chain(one).collect());
        assert_eq!(shown.len(), 11);
        assert!(
            shown
                .iter()
                .all(|it| matches!(it.regarding, Regarding::Mapping { .. }))
        );
        assert_eq!(shown[0].note, "of alone", "what needs somebody comes first");

        let eleven = of(11, Reason::AccessGranted);
        let ten = of(10, Reason::AccessRevoked);
        let shown = bounded(eleven.chain(ten).collect());
        assert_eq!(shown.len(), 1 + 10);
        let together = shown
            .iter()
            .find(|it| it.reason == Reason::AccessGranted)
            .expect("one for all");
        assert_eq!(together.regarding, Regarding::ConfigMap);
        assert_eq!(
            together.note,
            "11 mappings: m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and more. For m0: of m0"
        );
    }
}
