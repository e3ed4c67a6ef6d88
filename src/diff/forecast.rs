//! Predicts the effects of plans: the first plan, what follows and when, and the final status of each mapping.
//!
//! A handover takes several passes with a soak between them. They are told by the planner itself, on a world that takes each
//! plan as it is meant: writes stand, EKS answers as documented, nobody else does anything, and time goes from one wake to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::plan_diff::PlanDiff;
use crate::access_entry::{
    Call, Failure, FailureKind, PolicyTable, is_service_policy, policy_name,
};
use crate::api::condition::Reason;
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::desired::Desired;
use crate::effective::in_iam;
use crate::observed::{Attempt, AwsState, AwsView, ConfigMapView, Observed, Settings};
use crate::plan::{EventNote, Memory, Outcome, Plan, Regarding, Report, plan};
use crate::principal::{Key, Principal, PrincipalKind};
use crate::time::Timestamp;

/// So many plans are looked ahead at most: a handover takes six.
const MOST_PLANS: usize = 60;
/// A refusal that is older than this lasts.
const SETTLED: SignedDuration = SignedDuration::from_mins(10);
/// Later than anything that is looked at.
const NEVER: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// Beyond the soak nothing follows of itself but what `validUntil` says.
const BEYOND: SignedDuration = SignedDuration::from_mins(10);

#[derive(Clone, Debug)]
pub(crate) struct Forecast {
    /// The mappings that get our finalizer first.
    pub(crate) finalizers: Vec<String>,
    pub(crate) first: PlanDiff,
    pub(crate) then: Vec<LaterDiff>,
    /// What each mapping says once everything that can be done now is done, by name.
    pub(crate) mappings: Vec<(String, IdentityMappingStatus)>,
    /// What each says at the end, when nothing more follows by itself.
    pub(crate) at_end: Vec<(String, IdentityMappingStatus)>,
    /// What there is to say of aws-auth itself now.
    pub(crate) notes: Vec<EventNote>,
}

#[derive(Clone, Debug)]
pub(crate) struct LaterDiff {
    /// When, at the earliest. The same moment as before: as soon as what comes before it exists.
    pub(crate) at: Timestamp,
    pub(crate) diff: PlanDiff,
}

/// Looks ahead from the current state.
#[must_use]
pub(crate) fn forecast(desired: &Desired, observed: &Observed, settings: &Settings) -> Forecast {
    let mut world = Simulation {
        desired: desired.clone(),
        observed: observed.clone(),
        memory: Memory::default(),
    };
    let finalizers = world.add_finalizers(settings);
    let start = observed.now;
    let horizon = start
        .plus(settings.soak.max(settings.propagation))
        .plus(BEYOND);
    let mut diffs: Vec<LaterDiff> = Vec::new();
    let mut mappings = None;
    let mut notes = Vec::new();
    for number in 0..MOST_PLANS {
        let (diff, report, moved) = world.pass(settings);
        if number == 0 {
            notes = report
                .events
                .iter()
                .filter(|note| is_state(note))
                .cloned()
                .collect();
        }
        if number == 0 || !diff.is_empty() {
            diffs.push(LaterDiff {
                at: world.observed.now,
                diff,
            });
        }
        if moved {
            continue;
        }
        if mappings.is_none() {
            mappings = Some(world.statuses());
        }
        let now = world.observed.now;
        match report.wake {
            Some(wake) if wake <= horizon => {
                world.wait_until(wake.max(now.plus(SignedDuration::from_millis(1))));
            }
            Some(_) | None => break,
        }
    }
    let mut diffs = diffs.into_iter();
    let at_end = world.statuses();
    Forecast {
        finalizers,
        first: diffs.next().map(|first| first.diff).unwrap_or_default(),
        then: diffs.collect(),
        mappings: mappings.unwrap_or_else(|| at_end.clone()),
        at_end,
        notes,
    }
}

/// Whether it tells of aws-auth itself, as it is now; what befalls mappings their conditions tell.
fn is_state(note: &EventNote) -> bool {
    note.regarding == Regarding::ConfigMap
        && matches!(
            note.reason,
            Reason::InvalidYAML | Reason::OrphanedEntries | Reason::TemporaryBindingLeft
        )
}

/// A world in which everything goes as it is meant.
struct Simulation {
    desired: Desired,
    observed: Observed,
    memory: Memory,
}

impl Simulation {
    /// Finalizers are set before anything is granted, in the same pass.
    fn add_finalizers(&mut self, settings: &Settings) -> Vec<String> {
        let wanted = plan(&self.desired, &self.observed, settings, &self.memory).add_finalizers;
        let wanted: BTreeMap<String, Finalizers> = wanted
            .into_iter()
            .map(|change| (change.name, change.add))
            .collect();
        for mapping in &mut self.desired.mappings {
            if let Some(add) = wanted.get(&mapping.name) {
                mapping.finalizers = mapping.finalizers.with(*add);
            }
        }
        wanted.into_keys().collect()
    }

    /// Plans and carries it out. Whether it did anything that the next plan sees.
    fn pass(&mut self, settings: &Settings) -> (PlanDiff, Report, bool) {
        // A handover needs the finalizer of the other backend.
        self.add_finalizers(settings);
        let plan = plan(&self.desired, &self.observed, settings, &self.memory);
        let mut diff = plan.diff();
        let config_map = plan.written();
        let calls: Vec<Call> = plan
            .entries
            .iter()
            .flat_map(|work| work.calls.clone())
            .collect();
        if let AwsState::Known(view) = &self.observed.aws {
            leave_out_refused(&mut diff, view);
        }
        let outcome = match &config_map {
            Some(view) => Outcome::Written {
                resource_version: view.resource_version.clone(),
                uid: view.uid.clone(),
            },
            None => Outcome::NothingToWrite,
        };
        let report = plan.report(&outcome);
        let mut moved = config_map.is_some();
        if config_map.is_some() {
            self.observed.config_map = config_map;
        }
        let now = self.observed.now;
        if let AwsState::Known(view) = &mut self.observed.aws {
            for call in &calls {
                moved |= take(view, call, now);
            }
        }
        for write in &report.statuses {
            let of = |mapping: &&mut crate::desired::Mapping| mapping.name == write.name;
            if let Some(mapping) = self.desired.mappings.iter_mut().find(of) {
                mapping.status = write.status.clone();
            }
        }
        for change in &report.change_finalizers {
            if change.lets_go {
                moved = true;
                self.desired
                    .mappings
                    .retain(|mapping| mapping.name != change.name);
            }
            let of = |mapping: &&mut crate::desired::Mapping| mapping.name == change.name;
            if let Some(mapping) = self.desired.mappings.iter_mut().find(of) {
                let finalizers = mapping.finalizers.without(change.remove);
                mapping.finalizers = finalizers.with(change.add);
            }
        }
        self.memory = report.memory.clone();
        (diff, report, moved)
    }

    fn statuses(&self) -> Vec<(String, IdentityMappingStatus)> {
        let mappings = self.desired.mappings.iter();
        let mut all: Vec<(String, IdentityMappingStatus)> = mappings
            .map(|mapping| (mapping.name.clone(), mapping.status.clone()))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Time goes on, and the operator asks IAM and EKS again and finds what it found before.
    fn wait_until(&mut self, now: Timestamp) {
        self.observed.now = now;
        let AwsState::Known(view) = &mut self.observed.aws else {
            return;
        };
        for account in Arc::make_mut(&mut view.iam).accounts.values_mut() {
            let listings = [&mut account.roles, &mut account.users, &mut account.sso];
            for listing in listings.into_iter().flatten() {
                listing.read = now;
            }
        }
        for answer in Arc::make_mut(&mut view.managed).answers.values_mut() {
            if let Some((read, _)) = &mut answer.users {
                *read = now;
            }
        }
    }
}

impl Plan<'_> {
    /// aws-auth as it is after the plan's write; `None` where it has none.
    #[must_use]
    pub(crate) fn written(&self) -> Option<ConfigMapView> {
        let write = self.config_map.as_ref()?;
        Some(write.applied(self.observed.config_map.as_ref()))
    }
}

/// What EKS would refuse is no change: an entry that is not made gets no policies either.
fn leave_out_refused(diff: &mut PlanDiff, view: &AwsView) {
    let creates = |call: &Call| matches!(call, Call::Create { .. });
    for entry in &mut diff.entries {
        let refused = |call: &Call| refusal(call, view).is_some();
        if entry
            .calls
            .iter()
            .any(|call| creates(call) && refused(call))
        {
            entry.calls.clear();
        } else {
            entry.calls.retain(|call| !refused(call));
        }
    }
    diff.entries.retain(|entry| !entry.calls.is_empty());
}

/// What EKS is known to refuse.
fn refusal(call: &Call, view: &AwsView) -> Option<Failure> {
    match call {
        Call::Create { principal_arn, .. } => is_unknown(principal_arn, view).then(|| Failure {
            kind: FailureKind::InvalidPrincipal,
            message: "it makes access entries only for principals that IAM has, with their path"
                .to_owned(),
        }),
        Call::Associate {
            principal_arn,
            policy_arn,
            ..
        } => {
            let policy = policy_name(policy_arn);
            let has_it = view.entries.by_principal.get(principal_arn);
            let has_it = has_it
                .and_then(|state| state.entry.as_ref())
                .is_some_and(|entry| entry.policies.contains_key(policy_arn));
            let why = if is_service_policy(policy) {
                format!(
                    "{policy} can only be associated with service-linked roles; take it out of spec.accessPolicies"
                )
            } else {
                let meant = PolicyTable::published().misspelled(policy)?;
                format!("EKS has no access policy {policy}; write {meant} in spec.accessPolicies")
            };
            (!has_it).then_some(Failure {
                kind: FailureKind::Refused,
                message: why,
            })
        }
        Call::Describe { .. }
        | Call::Update { .. }
        | Call::Delete { .. }
        | Call::Disassociate { .. }
        | Call::Tag { .. }
        | Call::Untag { .. } => None,
    }
}

/// Whether EKS does not know a principal, by IAM's word: it has none of that name, or has it under another path. A role of IAM Identity
/// Center always has a path.
fn is_unknown(principal_arn: &str, view: &AwsView) -> bool {
    let Ok(principal) = Principal::parse(principal_arn) else {
        return false;
    };
    let account = view.iam.accounts.get(&principal.account);
    let listed = account.and_then(|account| match principal.kind {
        PrincipalKind::Role => account.roles.as_ref(),
        PrincipalKind::User => account.users.as_ref(),
    });
    match in_iam(&principal, &view.iam) {
        Some(found) => found.arn != *principal_arn,
        None => listed.is_some() || (principal.sso().is_some() && principal.path == "/"),
    }
}

/// EKS refuses a call. Whether that is new.
fn refuse(view: &mut AwsView, call: &Call, failure: Failure, now: Timestamp) -> bool {
    let Some(key) = Key::parse_arn(call.principal_arn()) else {
        return false;
    };
    let attempt = Attempt {
        call: call.clone(),
        failure,
        // Nothing that was just read passes by itself.
        since: now.minus(SETTLED),
        count: 1,
        retry: now.plus(NEVER),
    };
    let attempts = Arc::make_mut(&mut view.attempts);
    let before = attempts.insert(key, attempt);
    before.is_none_or(|before| before.call != *call)
}

/// EKS answers a call. Whether it did anything.
fn take(view: &mut AwsView, call: &Call, now: Timestamp) -> bool {
    if let Some(failure) = refusal(call, view) {
        return refuse(view, call, failure, now);
    }
    let entries = Arc::make_mut(&mut view.entries);
    let standing = entries.by_principal.get(call.principal_arn());
    let standing = standing.and_then(|state| state.entry.as_ref());
    let Some(output) = call.expected(standing, now) else {
        return false;
    };
    entries.apply(call, output, now);
    true
}
