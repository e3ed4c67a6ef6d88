//! What each mapping's status becomes: the conditions, and what is remembered of the entry.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::claim::{Block, Claim, Drift, State, Step};
use super::guard::{self, MASTERS};
use super::mark::MeaningHash;
use super::report::View;
use super::{Mapping, Spec};
use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::{self, Backend, IdentityMappingStatus, WrittenEntry};
use crate::aws_auth::{Entry, Lookup, Section};
use crate::principal::Principal;

/// The status of one condition with its reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    status: &'static str,
    reason: Reason,
    message: String,
}

impl Finding {
    fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: "True",
            reason,
            message: message.into(),
        }
    }

    fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: "False",
            reason,
            message: message.into(),
        }
    }
}

/// How far a mapping has got: the three conditions that matter, and who must act.
struct Verdict {
    accepted: Finding,
    synced: Finding,
    ready: Finding,
    /// It passes by itself.
    working: bool,
}

impl Verdict {
    /// A verdict in which the entry is as far from declared as `block` says.
    fn blocked(block: &Block, in_effect: bool) -> Self {
        let no = Finding::no(block.reason, block.message.clone());
        let ready = if in_effect {
            in_effect_finding()
        } else {
            no.clone()
        };
        Self {
            accepted: accepted(),
            synced: no,
            ready,
            working: block.transient,
        }
    }
}

fn accepted() -> Finding {
    Finding::yes(Reason::Accepted, "the spec can be put into effect")
}

fn in_effect_finding() -> Finding {
    Finding::yes(
        Reason::InEffect,
        "the authenticator gives the principal the declared username and groups",
    )
}

/// The new status of a mapping.
pub(super) fn status(view: &View<'_>, position: usize) -> IdentityMappingStatus {
    let mapping = view.plan.mappings[position];
    let verdict = verdict(view, position);
    let old = &mapping.status;
    let contested = view.contested(position);
    let conditions = conditions(view, mapping, verdict, contested.as_deref());
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

fn verdict(view: &View<'_>, position: usize) -> Verdict {
    let mapping = view.plan.mappings[position];
    let claim = view.held(position);
    match (view.plan.states[position], &mapping.spec) {
        (State::Deleting | State::Expired, _) => leaving(view, position),
        (_, Err(refusal)) => {
            let no = Finding::no(refusal.reason, refusal.message.clone());
            Verdict {
                accepted: no.clone(),
                synced: no.clone(),
                ready: no,
                working: false,
            }
        }
        (State::Live | State::Suspended | State::Refused, Ok(spec)) => match claim {
            None => duplicate(view, position, spec),
            Some(claim) if view.plan.states[position] == State::Suspended => {
                suspended(view, Some(claim), spec)
            }
            Some(claim) => live(view, position, claim, spec),
        },
    }
}

/// A mapping whose entry is to go.
fn leaving(view: &View<'_>, position: usize) -> Verdict {
    let mapping = view.plan.mappings[position];
    let accepted = match view.plan.states[position] {
        State::Expired => Finding::yes(Reason::Expired, "validUntil has passed"),
        State::Live | State::Suspended | State::Refused | State::Deleting => accepted(),
    };
    if let Some(block) = view.unresolved(position) {
        return Verdict {
            accepted,
            ..Verdict::blocked(&block, false)
        };
    }
    let uncovered = mapping
        .principal
        .as_ref()
        .and_then(|principal| view.lets_in(principal));
    let ready = match uncovered {
        Some(what) => Finding::no(
            Reason::Uncovered,
            format!(
                "the entry is removed, but {what} still lets the principal in; remove it by hand"
            ),
        ),
        None => Finding::yes(
            Reason::Expired,
            "validUntil has passed and the entry is removed; logins that the API server remembers may work for some minutes more",
        ),
    };
    Verdict {
        accepted,
        synced: Finding::yes(Reason::Synced, "the entry is removed"),
        ready,
        working: false,
    }
}

/// A mapping that does not hold its key.
fn duplicate(view: &View<'_>, position: usize, spec: &Spec) -> Verdict {
    let mapping = view.plan.mappings[position];
    if view.plan.states[position] == State::Suspended {
        return suspended(view, None, spec);
    }
    let holder = mapping.key().and_then(|key| view.holder_of(&key));
    let name = holder.map_or("another mapping", |holder| holder.name.as_str());
    let no = Finding::no(
        Reason::DuplicatePrincipal,
        format!(
            "the older mapping {name} names the same principal {}; delete one of the two",
            spec.entry.arn
        ),
    );
    Verdict {
        accepted: no.clone(),
        synced: no.clone(),
        ready: no,
        working: false,
    }
}

fn suspended(view: &View<'_>, claim: Option<&Claim>, spec: &Spec) -> Verdict {
    let no = Finding::no(
        Reason::Suspended,
        "spec.suspend is true: nothing is created, changed or repaired",
    );
    let ready = match (claim, view.shadow(spec)) {
        (Some(_), None) => in_effect_finding(),
        (Some(_) | None, _) => no.clone(),
    };
    Verdict {
        accepted: accepted(),
        synced: no,
        ready,
        working: false,
    }
}

/// A mapping that holds its key and is to be in effect.
fn live(view: &View<'_>, position: usize, claim: &Claim, spec: &Spec) -> Verdict {
    let shadow = view.shadow(spec);
    let mut verdict = if let (None, Some(who)) = (&claim.block, view.contested(position)) {
        // The same in every pass of a fight, whether this one repairs or waits.
        Verdict::blocked(&Block::passing(Reason::Contested, who), false)
    } else if let Some(block) = &claim.block {
        Verdict::blocked(block, shadow.is_none())
    } else if let (true, Some(failure)) = (view.pending(claim), view.not_written()) {
        Verdict::blocked(&failure, shadow.is_none())
    } else {
        let mut message = "the entry stands as declared and is marked as ours".to_owned();
        if !claim.dead_lines.is_empty() {
            let lines: Vec<String> = claim.dead_lines.iter().map(ToString::to_string).collect();
            message = format!(
                "{message}; the same name stands on line {} with another path and never matches this principal",
                lines.join(", ")
            );
        }
        let ready = match &shadow {
            None => in_effect_finding(),
            Some(what) => Finding::no(Reason::Shadowed, format!("{what}; remove it by hand")),
        };
        Verdict {
            accepted: accepted(),
            synced: Finding::yes(Reason::Synced, message),
            ready,
            working: false,
        }
    };
    if spec.access_policies {
        verdict.accepted.message = "the spec can be put into effect but for accessPolicies, which take effect only through access entries".to_owned();
        if verdict.ready.status == "True" {
            verdict.ready = Finding::no(
                Reason::AccessPoliciesIneffective,
                "username and groups are in effect, but accessPolicies can't be in the authentication mode CONFIG_MAP; remove them or change the mode to API_AND_CONFIG_MAP",
            );
        }
    }
    if let (Some(_), Some(why)) = (
        view.plan.mappings[position].valid_until,
        view.will_be_held(position, spec),
    ) {
        verdict.accepted.message = format!("{}; {why}", verdict.accepted.message);
    }
    // The principal that the spec named before may wait for a confirmation to go.
    if let (true, Some(block)) = (verdict.synced.status == "True", view.unresolved(position)) {
        verdict.synced = Finding::no(
            block.reason,
            format!(
                "the entry of the principal named before still stands: {}",
                block.message
            ),
        );
        verdict.working = block.transient;
    }
    verdict
}

fn conditions(
    view: &View<'_>,
    mapping: &Mapping,
    verdict: Verdict,
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

/// What was found, in a sentence.
pub(super) fn describe(drift: Drift, claim: &Claim) -> String {
    match (drift, &claim.found) {
        (Drift::Changed, Some(found)) => {
            format!(
                "the entry had username {:?} and groups {:?}",
                found.meaning.username, found.meaning.groups
            )
        }
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

impl View<'_> {
    /// What gives the principal something else than declared; `None` where it gets exactly that.
    pub(super) fn shadow(&self, spec: &Spec) -> Option<String> {
        let same = |entry: &Entry| entry.meaning() == spec.meaning;
        let place = |entry: &Entry| format!("{} line {}", entry.section, entry.line);
        match self.index.lookup(&spec.entry.arn) {
            Lookup::Role(entry) | Lookup::User(entry) if same(entry) => None,
            Lookup::Role(entry) | Lookup::User(entry) => Some(format!(
                "{} maps the principal to username {:?} and groups {:?}, and wins",
                place(entry),
                entry.username,
                entry.groups
            )),
            Lookup::AmbiguousUser(entries) if entries.iter().all(|entry| same(entry)) => None,
            Lookup::AmbiguousUser(entries) => {
                let places: Vec<String> = entries.iter().map(|entry| place(entry)).collect();
                Some(format!(
                    "{} differ only in the case of the ARN, and the authenticator picks one at random",
                    places.join(" and ")
                ))
            }
            Lookup::Account => {
                Some("mapAccounts lets the whole account in, without groups".to_owned())
            }
            Lookup::None => Some("no entry of aws-auth lets the principal in".to_owned()),
        }
    }

    /// What lets a principal in that has no mapping in effect.
    pub(super) fn lets_in(&self, principal: &Principal) -> Option<String> {
        match self.index.lookup(&principal.aws_auth_arn()) {
            Lookup::Role(entry) | Lookup::User(entry) => {
                Some(format!("{} line {}", entry.section, entry.line))
            }
            Lookup::AmbiguousUser(entries) => entries
                .first()
                .map(|entry| format!("{} line {}", entry.section, entry.line)),
            Lookup::Account => Some(format!("mapAccounts with account {}", principal.account)),
            Lookup::None => None,
        }
    }

    fn will_be_held(&self, position: usize, spec: &Spec) -> Option<String> {
        guard::removal_will_be_held(
            self.plan.mappings[position],
            &spec.meaning,
            &self.administrators,
        )
    }

    /// Whether the write would change the text or the mark for this claim.
    pub(super) fn pending(&self, claim: &Claim) -> bool {
        match claim.effective() {
            Step::Add | Step::Replace | Step::Move | Step::Remove | Step::Adopt => true,
            Step::Unmark | Step::Retain => claim.marked.is_some(),
            Step::Keep => {
                let spec = claim
                    .holder
                    .and_then(|holder| self.plan.mappings[holder].spec.as_ref().ok());
                spec.map(|spec| MeaningHash::of(&spec.meaning)) != claim.marked
            }
            Step::Leave => false,
        }
    }
}
