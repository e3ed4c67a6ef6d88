//! What each mapping's status becomes: the conditions, and what is remembered of the entry.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Mapping;
use super::claim::{Claim, Drift, Step, identity};
use super::guard::MASTERS;
use super::verdict::{Finding, Verdict, verdict};
use super::view::View;
use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::{self, Backend, IdentityMappingStatus, WrittenEntry};
use crate::aws_auth::Section;
use crate::principal::Principal;

/// The new status of a mapping.
pub(super) fn status(view: &View<'_>, position: usize) -> IdentityMappingStatus {
    let mapping = view.plan.mappings[position];
    let verdict = verdict(view, position);
    let old = &mapping.status;
    let contested = view.contested(position);
    let conditions = conditions(view, mapping, &verdict, contested.as_deref());
    let spec = mapping.spec.as_ref().ok();
    let (last_synced, last_drift) = times(view, position, contested.is_some());
    IdentityMappingStatus {
        observed_generation: Some(mapping.generation),
        principal_arn: mapping
            .principal
            .as_ref()
            .map(Principal::arn)
            .or_else(|| old.principal_arn.clone()),
        username: spec
            .map(|spec| spec.meaning.username.clone())
            .or_else(|| old.username.clone()),
        backend: spec.map(|_| Backend::ConfigMap).or(old.backend),
        access_entry_arn: old.access_entry_arn.clone(),
        last_synced,
        last_drift,
        written: written(view, position),
        awaiting_confirmation: awaiting(view, position),
        seen_valid_until: seen_valid_until(mapping, view.plan.observed.now),
        conditions,
    }
}

fn conditions(
    view: &View<'_>,
    mapping: &Mapping,
    verdict: &Verdict,
    contested: Option<&str>,
) -> Vec<Condition> {
    let bad = [&verdict.accepted, &verdict.ready, &verdict.synced]
        .into_iter()
        .find(|finding| finding.status == "False")
        .cloned();
    let idle = |what: &str| Finding::no(Reason::NotApplicable, what);
    // Suspension, observation and adoption: Never are wishes, so nobody has to mend them.
    let wished = |reason: Reason| {
        matches!(
            reason,
            Reason::Suspended | Reason::Observing | Reason::NotOwned | Reason::Released
        )
    };
    let (stalled, reconciling) = match bad {
        Some(bad) if verdict.working => (
            idle("nobody has to act"),
            Finding::yes(bad.reason, bad.message),
        ),
        Some(bad) if !wished(bad.reason) => (
            Finding::yes(bad.reason, bad.message),
            idle("nothing is being retried"),
        ),
        Some(_) | None => (idle("nobody has to act"), idle("nothing is being retried")),
    };
    let contested = match contested {
        Some(who) => Finding::yes(Reason::Contested, who),
        None => idle("nobody undoes the entry"),
    };
    let groups = groups_bound(view, mapping);
    let finding = |type_: ConditionType| match type_ {
        ConditionType::Accepted => verdict.accepted.clone(),
        ConditionType::Contested => contested.clone(),
        ConditionType::GroupsBound => groups.clone(),
        ConditionType::Ready => verdict.ready.clone(),
        ConditionType::Reconciling => reconciling.clone(),
        ConditionType::Stalled => stalled.clone(),
        ConditionType::Synced => verdict.synced.clone(),
    };
    ConditionType::ALL
        .into_iter()
        .map(|type_| condition(mapping, type_, finding(type_), view.plan.observed.now))
        .collect()
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
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn groups_bound(view: &View<'_>, mapping: &Mapping) -> Finding {
    let bound =
        |group: &str| group == MASTERS || view.plan.observed.bindings.groups.contains(group);
    let literal = |group: &&String| !group.contains("{{");
    let unbound: Vec<&str> = mapping
        .groups
        .iter()
        .filter(literal)
        .map(String::as_str)
        .filter(|group| !bound(group))
        .collect();
    if !unbound.is_empty() {
        let message = format!(
            "no RoleBinding or ClusterRoleBinding names {}; the principal gets no rights by it",
            unbound.join(", ")
        );
        Finding::no(Reason::GroupsUnbound, message)
    } else if mapping.groups.iter().any(|group| !literal(&group)) {
        Finding {
            status: "Unknown",
            ..Finding::no(
                Reason::GroupsTemplated,
                "a group is a template, whose value only a login tells",
            )
        }
    } else {
        Finding::yes(Reason::GroupsBound, "some binding names each group")
    }
}

fn times(
    view: &View<'_>,
    position: usize,
    contested: bool,
) -> (Option<Time>, Option<v1alpha1::Drift>) {
    let old = &view.plan.mappings[position].status;
    let now = view.plan.observed.now;
    let Some(claim) = view
        .held(position)
        .filter(|claim| view.written && view.pending(claim))
    else {
        return (old.last_synced.clone(), old.last_drift.clone());
    };
    // In a fight a status a second would be written for each mapping and say nothing new.
    let recent = old
        .last_drift
        .as_ref()
        .is_some_and(|drift| drift.time.0 + super::memory::CONTEST_WINDOW > now);
    if contested && claim.drift.is_some() && recent {
        return (old.last_synced.clone(), old.last_drift.clone());
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
            old.last_synced.clone()
        },
        drift.or_else(|| old.last_drift.clone()),
    )
}

pub(super) fn claim_section(view: &View<'_>, claim: &Claim) -> Section {
    let spec = claim
        .holder
        .and_then(|holder| view.plan.mappings[holder].spec.as_ref().ok());
    claim
        .found
        .as_ref()
        .map(|found| found.section)
        .or_else(|| spec.map(|spec| spec.entry.section))
        .unwrap_or(Section::Roles)
}

/// What was found, as it stands in `status.lastDrift.what`.
fn describe(drift: Drift, claim: &Claim) -> String {
    match (drift, &claim.found) {
        (Drift::Changed, Some(found)) => format!("the entry had {}", identity(&found.meaning)),
        (Drift::Displaced, _) => {
            "another entry of the same principal stood behind ours and won".to_owned()
        }
        (Drift::Removed | Drift::Changed, _) => "the entry was gone".to_owned(),
    }
}

/// What the status remembers of our entries, so that they are known again where the mark is lost.
fn written(view: &View<'_>, position: usize) -> Vec<WrittenEntry> {
    let mapping = view.plan.mappings[position];
    let config_map = view.plan.settings.config_map.to_string();
    let mut written: Vec<WrittenEntry> = Vec::new();
    for claim in view.named(position) {
        let standing = || {
            mapping
                .status
                .written
                .iter()
                .filter(|entry| entry.config_map == config_map && same_key(entry, claim))
                .cloned()
        };
        if claim.holder != Some(position) {
            if !view.resolved(claim) || (claim.holder.is_none() && claim.step == Step::Leave) {
                written.extend(standing());
            }
            continue;
        }
        match (&mapping.spec, claim.effective()) {
            (Ok(spec), Step::Keep | Step::Add | Step::Replace | Step::Move | Step::Adopt)
                if view.resolved(claim) =>
            {
                written.push(WrittenEntry {
                    config_map: config_map.clone(),
                    arn: spec.entry.arn.clone(),
                    username: spec.meaning.username.clone(),
                    groups: spec.meaning.groups.iter().cloned().collect(),
                });
            }
            // Also where a conflict stands in its place: what comes back exactly so is known again.
            _ => written.extend(standing()),
        }
    }
    written.sort();
    written
}

fn same_key(entry: &WrittenEntry, claim: &Claim) -> bool {
    claim.key.is_some() && crate::principal::Key::parse_arn(&entry.arn) == claim.key
}

fn awaiting(view: &View<'_>, position: usize) -> Vec<String> {
    let blocks = view
        .named(position)
        .filter_map(|claim| claim.block.as_ref()?.awaiting);
    let words: std::collections::BTreeSet<&str> =
        blocks.map(v1alpha1::Confirmation::as_str).collect();
    words.into_iter().map(str::to_owned).collect()
}

fn seen_valid_until(mapping: &Mapping, now: Timestamp) -> Option<Time> {
    let until = mapping.valid_until?;
    let seen = mapping
        .status
        .seen_valid_until
        .clone()
        .filter(|seen| seen.0 == until);
    if until > now { Some(Time(until)) } else { seen }
}
