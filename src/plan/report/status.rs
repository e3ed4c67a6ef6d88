//! The status of each mapping: the conditions, and the record of its entry.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::{self, IdentityMappingStatus, MappingState, WrittenEntry};
use crate::aws_auth::Section;
use crate::desired::{Mapping, State};
use crate::effective::MASTERS;
use crate::ownership::record_of;
use crate::plan::claim::{Claim, EntryStep, Step, TextDrift, identity};
use crate::plan::decide::access_entry;
use crate::plan::report::conditions::{Finding, Verdict, verdict};
use crate::plan::report::context::{View, entry_resolved};
use crate::plan::report::leaving;
use crate::plan::report::summary::summary;
use crate::principal::Principal;
use crate::time::{Timestamp, to_the_second};

/// The conditions that hold a message, first to last; others with the same reason point there.
pub(crate) const MESSAGES: [ConditionType; 4] = [
    ConditionType::Ready,
    ConditionType::Synced,
    ConditionType::Accepted,
    ConditionType::Contested,
];

/// The new status of a mapping.
pub(crate) fn status(view: &View<'_>, position: usize) -> IdentityMappingStatus {
    let mapping: &Mapping = &view.plan.mappings[position];
    let verdict = verdict(view, position);
    let old = &mapping.status;
    let contested = view.contested(position);
    let spec = mapping.spec.as_ref().ok();
    let held = view.held(position);
    let target = held.and_then(|claim| claim.entry.target.as_ref());
    let (last_synced, last_drift) = times(view, position, contested.is_some());
    let awaiting = awaiting(view, position);
    let phase = view.plan.states[position];
    let mut status = IdentityMappingStatus {
        observed_generation: Some(mapping.generation),
        state: Some(state(phase, &verdict, !awaiting.is_empty())),
        principal_arn: target
            .map(|target| target.principal_arn.clone())
            .or_else(|| mapping.principal.as_ref().map(Principal::arn))
            .or_else(|| old.principal_arn.clone()),
        username: spec
            .and_then(|spec| spec.form.as_ref())
            .map(|form| form.meaning.username.clone())
            .or_else(|| target.map(|target| target.default_username.clone()))
            .or_else(|| old.username.clone()),
        backend: held
            .and_then(|claim| claim.place.as_ref())
            .filter(|place| place.refusal.is_none())
            .map(|place| place.backend)
            .or_else(|| spec.and(old.backend))
            .or(old.backend),
        access_entry_arn: match (&view.plan.eks, held) {
            (Some(_), Some(claim)) => claim.entry.entry_arn.clone(),
            (Some(_), None) => None,
            (None, _) => old.access_entry_arn.clone(),
        },
        last_synced,
        last_drift,
        written: written(view, position),
        awaiting_confirmation: awaiting,
        seen_valid_until: view.plan.removals.seen_end(mapping).map(Time::from),
        conditions: conditions(view, mapping, verdict, contested),
        summary: None,
    };
    status.summary = summary(view, position, &status);
    status
}

/// Every condition that applies. A message is in one of them; the others point to it.
fn conditions(
    view: &View<'_>,
    mapping: &Mapping,
    verdict: Verdict,
    contested: Option<String>,
) -> Vec<Condition> {
    let now = view.plan.observed.now;
    let mut findings = BTreeMap::from([
        (ConditionType::Accepted, verdict.accepted),
        (ConditionType::Ready, verdict.ready),
        (ConditionType::Synced, verdict.synced),
    ]);
    // Without groups there is nothing that a binding could name.
    if !mapping.groups.is_empty() {
        findings.insert(ConditionType::GroupsBound, groups_bound(view, mapping));
    }
    if let Some(who) = contested {
        findings.insert(
            ConditionType::Contested,
            Finding::yes(Reason::Contested, who),
        );
    }
    if let Some((type_, reason)) = verdict.action {
        let place = place_of_message(&findings, reason).unwrap_or(type_);
        let finding = match type_ {
            ConditionType::Reconciling => format!("the operator retries; see {place}"),
            _ => format!("the operator can't resolve this by itself; see {place}"),
        };
        findings.insert(type_, Finding::yes(reason, finding));
    }
    for (type_, what) in [
        (ConditionType::Accepted, "the spec is not put into effect"),
        (ConditionType::Synced, "the entry is not as declared"),
        (
            ConditionType::Contested,
            "another writer keeps reverting the entry",
        ),
    ] {
        let Some(reason) = findings.get(&type_).map(|finding| finding.reason) else {
            continue;
        };
        let place = place_of_message(&findings, reason).filter(|place| *place != type_);
        if let (Some(place), Some(finding)) = (place, findings.get_mut(&type_)) {
            finding.message = format!("{what}; see {place}");
        }
    }
    let written = |(type_, finding)| condition(mapping, type_, finding, now);
    findings.into_iter().map(written).collect()
}

/// The condition whose message explains a reason.
fn place_of_message(
    findings: &BTreeMap<ConditionType, Finding>,
    reason: Reason,
) -> Option<ConditionType> {
    MESSAGES.into_iter().find(|type_| {
        findings
            .get(type_)
            .is_some_and(|finding| finding.reason == reason)
    })
}

/// The state in one word.
fn state(phase: State, verdict: &Verdict, held: bool) -> MappingState {
    let ready = verdict.ready.status == "True";
    match (phase, &verdict.action) {
        (State::Suspended, _) => MappingState::Suspended,
        _ if held => MappingState::Held,
        (_, Some((ConditionType::Stalled, _))) => MappingState::Failed,
        (State::Expired, _) if ready => MappingState::Expired,
        _ if ready => MappingState::Active,
        _ => MappingState::Pending,
    }
}

fn condition(
    mapping: &Mapping,
    type_: ConditionType,
    finding: Finding,
    now: Timestamp,
) -> Condition {
    let before = mapping
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str());
    let since = before
        .filter(|before| before.status == finding.status)
        .map(|before| before.last_transition_time.clone());
    Condition {
        type_: type_.as_str().to_owned(),
        status: finding.status.to_owned(),
        reason: finding.reason.as_str().to_owned(),
        message: finding.message,
        observed_generation: Some(mapping.generation),
        last_transition_time: since.unwrap_or_else(|| seconds(now)),
    }
}

/// Kubernetes keeps times of conditions in whole seconds; comparing what we wrote with what we read needs the same.
fn seconds(time: Timestamp) -> Time {
    to_the_second(time).into()
}

fn groups_bound(view: &View<'_>, mapping: &Mapping) -> Finding {
    let bound =
        |group: &str| group == MASTERS || view.plan.observed.bindings.groups.contains(group);
    let literal = |group: &&String| !group.contains("{{");
    let (unread, unbound): (Vec<&str>, Vec<&str>) = mapping
        .groups
        .iter()
        .filter(literal)
        .map(String::as_str)
        .filter(|group| !bound(group))
        .partition(|group| view.plan.observed.bindings.unread.contains(*group));
    if !unbound.is_empty() {
        let message = format!(
            "no RoleBinding or ClusterRoleBinding names {}, so it gives the principal no permissions",
            unbound.join(", ")
        );
        Finding::no(Reason::GroupsUnbound, message)
    } else if !unread.is_empty() {
        let message = format!("bindings are being searched for {}", unread.join(", "));
        Finding {
            status: "Unknown",
            ..Finding::no(Reason::BindingsNotRead, message)
        }
    } else if mapping.groups.iter().any(|group| !literal(&group)) {
        Finding {
            status: "Unknown",
            ..Finding::no(
                Reason::GroupsTemplated,
                "a group contains a placeholder, whose value is known only at login",
            )
        }
    } else {
        Finding::yes(Reason::GroupsBound, "a binding names each group")
    }
}

fn times(
    view: &View<'_>,
    position: usize,
    contested: bool,
) -> (Option<Time>, Option<v1alpha1::Drift>) {
    let old = &view.plan.mappings[position].status;
    let now = view.plan.observed.now;
    let (old_synced, entry_drift) = entry_times(view, position, old);
    let Some(claim) = view
        .held(position)
        .filter(|claim| view.written && view.pending(claim))
    else {
        return (old_synced, entry_drift.or_else(|| old.last_drift.clone()));
    };
    // In a fight a status a second would be written for each mapping and say nothing new.
    let recent = old
        .last_drift
        .as_ref()
        .map(|drift| now.duration_since(Timestamp::from(&drift.time)))
        .is_some_and(|age| !age.is_negative() && age < crate::plan::memory::CONTEST_WINDOW);
    if contested && claim.drift.is_some() && recent {
        return (old_synced, old.last_drift.clone());
    }
    let drift = claim.drift.map(|drift| v1alpha1::Drift {
        time: seconds(now),
        what: describe(drift, claim),
        manager: view.manager(claim_section(view, claim)),
    });
    let synced = claim.changes_text() || claim.step == Step::Adopt;
    (
        if synced {
            Some(seconds(now))
        } else {
            old_synced
        },
        drift.or(entry_drift).or_else(|| old.last_drift.clone()),
    )
}

/// When the access entry was last written, and what is being repaired about it.
fn entry_times(
    view: &View<'_>,
    position: usize,
    old: &IdentityMappingStatus,
) -> (Option<Time>, Option<v1alpha1::Drift>) {
    let (Some(eks), Some(claim)) = (&view.plan.eks, view.held(position)) else {
        return (old.last_synced.clone(), None);
    };
    let written = eks
        .standing
        .of(&claim.hash)
        .iter()
        .filter(|_| claim.entry.ours)
        .filter_map(|standing| standing.state.written)
        .max()
        .map(seconds);
    let synced = match (&old.last_synced, written) {
        (Some(before), Some(written)) if before.0 < written.0 => Some(written),
        (Some(before), _) => Some(before.clone()),
        (None, written) => written,
    };
    let drift = view.plan.drift_in_repair(claim);
    let drift = drift.map(|drift| v1alpha1::Drift {
        time: seconds(drift.seen),
        what: drift.what.clone(),
        manager: access_entry::changed_by(Some(eks), claim),
    });
    (synced, drift)
}

pub(crate) fn claim_section(view: &View<'_>, claim: &Claim) -> Section {
    let spec = claim
        .holder
        .and_then(|holder| view.plan.mappings[holder].spec.as_ref().ok());
    claim
        .found
        .as_ref()
        .map(|found| found.section)
        .or_else(|| spec.and_then(|spec| Some(spec.form.as_ref()?.entry.section)))
        .unwrap_or(Section::Roles)
}

/// What was found, as it is in `status.lastDrift.what`.
fn describe(drift: TextDrift, claim: &Claim) -> String {
    match (drift, &claim.found) {
        (TextDrift::Changed, Some(found)) => format!("the entry had {}", identity(&found.meaning)),
        (TextDrift::Displaced, _) => {
            "a later entry of the same principal took precedence over the managed one".to_owned()
        }
        (TextDrift::Removed | TextDrift::Changed, _) => "the entry was removed".to_owned(),
    }
}

/// What the status remembers of our entries, so that they are known again where the mark is lost.
fn written(view: &View<'_>, position: usize) -> Vec<WrittenEntry> {
    let mapping = &view.plan.mappings[position];
    let config_map = view.plan.settings.config_map.to_string();
    let mut written: Vec<WrittenEntry> = Vec::new();
    if view.plan.eks.is_none() {
        // What was known of access entries stays, whatever the mode is said to be.
        let entries = mapping.status.written.iter();
        written.extend(entries.filter(|entry| entry.cluster.is_some()).cloned());
    }
    for claim in view.named(position) {
        let standing = || {
            mapping
                .status
                .written
                .iter()
                .filter(|entry| {
                    entry.config_map.as_ref() == Some(&config_map) && same_key(entry, claim)
                })
                .cloned()
        };
        written.extend(written_entry(view, position, claim));
        if claim.holder != Some(position) {
            // What can't be read may still hold it, and a holder that is stuck leaves it as it is.
            if !view.text_resolved(claim)
                || !leaving::is_readable(view, claim)
                || claim.is_stuck()
                || (claim.holder.is_none() && claim.step == Step::Leave)
            {
                written.extend(standing());
            }
            continue;
        }
        let form = mapping
            .spec
            .as_ref()
            .ok()
            .and_then(|spec| spec.form.as_ref());
        match (form, claim.effective()) {
            // It was handed over, so that nothing of it is left here.
            (_, Step::Remove | Step::Unmark)
                if view.text_resolved(claim) && leaving::is_readable(view, claim) => {}
            (_, Step::Leave)
                if claim.found.is_none()
                    && claim.marked.is_none()
                    && claim.block.is_none()
                    && claim.place.is_some() => {}
            (Some(form), Step::Keep | Step::Add | Step::Replace | Step::Move | Step::Adopt)
                if view.text_resolved(claim) =>
            {
                written.push(WrittenEntry {
                    config_map: Some(config_map.clone()),
                    arn: form.entry.arn.clone(),
                    username: form.meaning.username.clone(),
                    groups: form.meaning.groups.iter().cloned().collect(),
                    ..WrittenEntry::default()
                });
            }
            // Also where a conflict stands in its place: what comes back exactly so is known again.
            _ => written.extend(standing()),
        }
    }
    written.sort();
    written
}

/// What the status remembers of our access entry of a key.
fn written_entry(view: &View<'_>, position: usize, claim: &Claim) -> Option<WrittenEntry> {
    let eks = view.plan.eks.as_ref()?;
    let mapping = &view.plan.mappings[position];
    let remembered = || {
        let written = mapping.written_entries(&eks.view.cluster.arn);
        written
            .get(claim.key.as_ref()?)
            .map(|entry| (*entry).clone())
    };
    if claim.holder != Some(position) {
        // Of a principal that the spec does not name, what is not tagged as ours any more is left: it would be remembered for ever.
        let keeps = |entry: &WrittenEntry| {
            let known = claim.entry.ours || mapping.names(&entry.arn);
            !entry_resolved(claim)
                || ((claim.holder.is_none() || claim.is_stuck()) && claim.entry.may_exist && known)
        };
        return remembered().filter(keeps);
    }
    let standing = eks.standing.of(&claim.hash).iter().find_map(|standing| {
        let target = claim.entry.target.as_ref()?;
        standing
            .known()
            .filter(|entry| entry.principal_arn == target.principal_arn)
    });
    match (claim.entry.step, standing) {
        (EntryStep::Keep, Some(entry)) if claim.entry.ours => {
            Some(record_of(&eks.view.cluster.arn, entry, &claim.entry.of_aws))
        }
        // Nothing of ours stands, and nothing is to.
        (EntryStep::Leave, None) if claim.entry.block.is_none() && !claim.entry.may_exist => None,
        // Also where a conflict stands in its place: what comes back exactly so is known again.
        _ => remembered(),
    }
}

fn same_key(entry: &WrittenEntry, claim: &Claim) -> bool {
    claim.key.is_some() && crate::principal::Key::parse_arn(&entry.arn) == claim.key
}

fn awaiting(view: &View<'_>, position: usize) -> Vec<String> {
    let blocks = view
        .named(position)
        .flat_map(|claim| [claim.block.as_ref(), claim.entry.block.as_ref()])
        .filter_map(|block| block?.awaiting);
    let hold = leaving::hold(view, position).and_then(|block| block.awaiting);
    let blocks = blocks.chain(hold);
    let words: std::collections::BTreeSet<&str> =
        blocks.map(v1alpha1::Confirmation::as_str).collect();
    words.into_iter().map(str::to_owned).collect()
}
