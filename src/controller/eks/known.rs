//! What EKS and IAM have told, as one value. Pure.
//!
//! Answers go in, the planner's input comes out. A *change* is something that a plan could care about: the end of a principal's
//! calls, an entry that is not as it was known, another mode. Reading again what is known already is none. What changed after the
//! planner's input was handed out is remembered by principal, so that a plan from the older input is not carried out for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::in_force::{InForce, Reading, Trust, in_force};
use super::refresh::is_owned;
use super::retry;
use super::schedule::Task;
use crate::access_entry::EksCluster;
use crate::access_entry::{ADMIN_POLICY, Call, Entries, Failure, FailureKind, Output, policy_arn};
use crate::aws::event::{Change, Changed};
use crate::observed::{
    Attempt, AwsState, AwsView, Iam, IamAccount, IamProblem, IamWants, Kept, Listing, Mode,
};
use crate::plan::EntryWork;
use crate::principal::{AccountId, Key, Partition};
use crate::time::Timestamp;

/// A change in EKS may take so long until every answer shows it ("several seconds", EKS user guide, "Create access entries").
const CONSISTENT_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// An event of a call of ours may be stamped so much later than its answer came: clocks differ, and events tell whole seconds.
const SAME_CALL_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// Failures of a kind that passes by itself are worth telling from the second in a row on.
const WORTH_TELLING: u32 = 2;

/// Why something could not be read, and how often in a row.
#[derive(Clone, Debug)]
struct Failing {
    failure: Failure,
    count: u32,
}

impl Failing {
    /// One more failure. The words of the first of its kind stay: request ids differ, and mean nothing to a plan.
    fn again(before: Option<Self>, failure: Failure) -> Self {
        match before {
            Some(before) if before.failure.kind.as_str() == failure.kind.as_str() => Self {
                count: before.count.saturating_add(1),
                ..before
            },
            before => Self {
                count: before.map_or(1, |before| before.count.saturating_add(1)),
                failure,
            },
        }
    }

    fn worth_telling(&self) -> bool {
        let passes = matches!(
            self.failure.kind,
            FailureKind::Throttled | FailureKind::Unavailable
        );
        !passes || self.count >= WORTH_TELLING
    }
}

/// What an answer asks for beyond being remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// The mode is not what it was taken for.
    ReadMode,
    /// EKS does not offer an access policy that it was taken to offer.
    ListPolicies,
}

/// Everything that EKS and IAM have told.
#[derive(Debug)]
pub(super) struct Known {
    name: String,
    trust: Trust,
    reading: Option<Reading>,
    failing: Option<Failing>,
    entries: Arc<Entries>,
    unlisted: Option<Failure>,
    policies: Option<Arc<BTreeSet<String>>>,
    iam: Arc<Iam>,
    /// Why each reading of IAM failed.
    problems: BTreeMap<Task, IamProblem>,
    attempts: Arc<BTreeMap<Key, Attempt>>,
    queue: Option<Failure>,
    changed: bool,
    /// Principals of which something is known that the last input did not hold.
    touched: BTreeSet<Key>,
    /// Whether mode, cluster or the listing are not as in the last input.
    shifted: bool,
    /// When the last input was handed out.
    handed_out: Timestamp,
}

impl Known {
    /// Nothing known yet of the cluster of this name.
    pub(super) fn new(name: String, trust: Trust) -> Self {
        Self {
            name,
            trust,
            reading: None,
            failing: None,
            entries: Arc::default(),
            unlisted: None,
            policies: None,
            iam: Arc::default(),
            problems: BTreeMap::new(),
            attempts: Arc::default(),
            queue: None,
            changed: false,
            touched: BTreeSet::new(),
            shifted: false,
            handed_out: Timestamp::MIN,
        }
    }

    fn shift(&mut self) {
        self.changed = true;
        self.shifted = true;
    }

    fn touch(&mut self, principal: &str) {
        self.touched.extend(Key::parse_arn(principal));
    }

    /// What is in force.
    pub(super) fn in_force(&self, kept: Option<&Kept>) -> InForce {
        let failure = self
            .failing
            .as_ref()
            .filter(|failing| self.reading.is_none() || failing.worth_telling())
            .map(|failing| &failing.failure);
        in_force(
            &self.name,
            &self.trust,
            self.reading.as_ref(),
            kept,
            failure,
        )
    }

    /// The cluster and mode that were read, where it is the one that we talk to.
    pub(super) fn proven(&self) -> Option<(EksCluster, Mode)> {
        let reading = self.reading.as_ref()?;
        match self.in_force(None) {
            InForce::Known { .. } => Some((reading.cluster.clone(), reading.mode)),
            InForce::Unproven { .. } | InForce::Unknown { .. } => None,
        }
    }

    /// The ARN of the policy that makes administrators, in the cluster's partition.
    pub(super) fn admin_policy(cluster: &EksCluster) -> String {
        policy_arn(cluster.partition().unwrap_or(Partition::Aws), ADMIN_POLICY)
    }

    /// The cluster was read, or could not be.
    pub(super) fn cluster_read(&mut self, answer: Result<Reading, Failure>) {
        let before = self.in_force(None);
        match answer {
            Ok(reading) => {
                self.failing = None;
                let moved = self
                    .reading
                    .as_ref()
                    .is_some_and(|before| before.cluster != reading.cluster);
                if moved || reading.mode == Mode::ConfigMap {
                    self.entries = Arc::default();
                    self.unlisted = None;
                }
                self.reading = Some(reading);
            }
            Err(failure) => {
                self.failing = Some(Failing::again(self.failing.take(), failure));
            }
        }
        if self.in_force(None) != before {
            self.shift();
        }
    }

    /// The entries were listed whole, or could not be.
    pub(super) fn entries_listed(
        &mut self,
        answer: Result<(BTreeSet<String>, BTreeSet<String>), Failure>,
        started: Timestamp,
        finished: Timestamp,
    ) {
        let Some((cluster, _)) = self.proven() else {
            return;
        };
        let (principals, administrators) = match answer {
            Ok(listed) => listed,
            Err(failure) => {
                let same = self
                    .unlisted
                    .as_ref()
                    .is_some_and(|before| before.kind.as_str() == failure.kind.as_str());
                if !same {
                    self.unlisted = Some(failure);
                    self.changed = true;
                }
                return;
            }
        };
        if self.unlisted.take().is_some() || self.entries.listed.is_none() {
            self.shift();
        }
        let before = Arc::clone(&self.entries);
        Arc::make_mut(&mut self.entries).take_listing(
            &principals,
            &administrators,
            &Self::admin_policy(&cluster),
            started,
            finished,
        );
        let after = Arc::clone(&self.entries);
        let known = |entries: &Entries, principal: &String| {
            let state = entries.by_principal.get(principal)?;
            Some((state.doubtful, state.listed_as_admin))
        };
        let names: BTreeSet<&String> = before
            .by_principal
            .keys()
            .chain(after.by_principal.keys())
            .collect();
        for principal in names {
            if known(&before, principal) != known(&after, principal) {
                self.touch(principal);
                self.changed = true;
            }
        }
    }

    /// The access policies were listed.
    pub(super) fn policies_listed(&mut self, policies: BTreeSet<String>) {
        if self.policies.as_deref() != Some(&policies) {
            self.policies = Some(Arc::new(policies));
            self.changed = true;
        }
    }

    /// A call of a plan was answered. `last`: its work is at an end.
    pub(super) fn answered(
        &mut self,
        key: &Key,
        call: &Call,
        answer: Result<Output, Failure>,
        last: bool,
        now: Timestamp,
        jitter: f64,
    ) -> Then {
        self.touched.insert(key.clone());
        self.changed |= last || answer.is_err();
        let failure = match answer {
            Ok(output) => {
                Arc::make_mut(&mut self.entries).apply(call, output, now);
                if last && self.attempts.contains_key(key) {
                    Arc::make_mut(&mut self.attempts).remove(key);
                }
                return Then::Nothing;
            }
            Err(failure) => failure,
        };
        let principal = call.principal_arn();
        let then = match failure.kind {
            FailureKind::ModeWithoutEntries => Then::ReadMode,
            FailureKind::PolicyMissing => Then::ListPolicies,
            _ => Then::Nothing,
        };
        let looked_and_gone = self.missing(call, &failure, now);
        let changed_by_others = matches!(
            (&failure.kind, call),
            (FailureKind::InUse, Call::Create { .. }) | (FailureKind::EntryMissing, _)
        ) && !matches!(call, Call::Describe { .. });
        if failure.kind.effect_unknown() || changed_by_others {
            Arc::make_mut(&mut self.entries).doubt(principal, None);
        }
        if looked_and_gone {
            // It was asked whether the entry stands, and it does not: that is an answer, not a failure.
            if self.attempts.contains_key(key) {
                Arc::make_mut(&mut self.attempts).remove(key);
            }
        } else {
            let attempts = Arc::make_mut(&mut self.attempts);
            retry::failed(attempts, key, call.clone(), failure, now, jitter);
        }
        then
    }

    /// Takes in that a description found no entry; `false` where it may only have been made a moment ago.
    fn missing(&mut self, call: &Call, failure: &Failure, now: Timestamp) -> bool {
        let principal = call.principal_arn();
        let asked = matches!(call, Call::Describe { .. });
        if !asked || failure.kind != FailureKind::EntryMissing {
            return false;
        }
        let young = self
            .entries
            .by_principal
            .get(principal)
            .and_then(|state| state.written)
            .is_some_and(|written| now < written.plus(CONSISTENT_WITHIN));
        let entries = Arc::make_mut(&mut self.entries);
        if young {
            entries.doubt(principal, None);
        } else {
            entries.gone(principal);
        }
        !young
    }

    /// An entry was described beside the plans. `true`: what was to be known of it is known.
    pub(super) fn described(
        &mut self,
        principal: &str,
        answer: Result<Output, Failure>,
        now: Timestamp,
    ) -> (bool, Then) {
        let call = Call::Describe {
            principal_arn: principal.to_owned(),
        };
        let before = self
            .entries
            .by_principal
            .get(principal)
            .and_then(|state| state.known().cloned());
        let (known, then) = match answer {
            Ok(output) => {
                Arc::make_mut(&mut self.entries).apply(&call, output, now);
                (true, Then::Nothing)
            }
            Err(failure) => {
                let then = if failure.kind == FailureKind::ModeWithoutEntries {
                    Then::ReadMode
                } else {
                    Then::Nothing
                };
                (self.missing(&call, &failure, now), then)
            }
        };
        let after = self
            .entries
            .by_principal
            .get(principal)
            .and_then(|state| state.known());
        if known && (after.is_none() || before.as_ref() != after) {
            self.touch(principal);
            self.changed = true;
        }
        (known, then)
    }

    /// An event tells that the entry of `principal` was changed. Word of a call of our own (`ours`: our ARN), whose answer is known,
    /// says nothing new.
    pub(super) fn told(&mut self, principal: &str, change: &Change, ours: Option<&str>) {
        let state = self.entries.by_principal.get(principal);
        let by_us = change.caller.is_some() && change.caller.as_deref() == ours;
        // After a delete of ours nothing is left to remember when that was.
        let deleted = state.is_none() && change.operation == "DeleteAccessEntry";
        let answered = state
            .filter(|state| !state.doubtful)
            .and_then(|state| state.written)
            .is_some_and(|written| change.time <= written.plus(SAME_CALL_WITHIN));
        if by_us && (deleted || answered) {
            return;
        }
        let by = change.caller.as_deref().filter(|_| !by_us);
        Arc::make_mut(&mut self.entries).doubt(principal, by);
        self.touch(principal);
        // Nothing is decided by it before it was described, and that is a change again.
    }

    /// The principal whose entry has this ARN.
    pub(super) fn principal_of(&self, entry_arn: &str) -> Option<String> {
        let states = self.entries.by_principal.iter();
        let entry = states
            .filter_map(|(principal, state)| Some((principal, state.entry.as_ref()?)))
            .find(|(_, entry)| entry.arn == entry_arn);
        entry.map(|(principal, _)| principal.clone())
    }

    /// The principal that an event is about, where it is about an entry.
    pub(super) fn principal_told(&self, what: &Changed) -> Option<String> {
        match what {
            Changed::Entry { principal_arn } => Some(principal_arn.clone()),
            Changed::Tags { entry_arn } => self.principal_of(entry_arn),
            Changed::ClusterConfig | Changed::Principal { .. } => None,
        }
    }

    /// A listing of IAM was read, or could not be.
    pub(super) fn iam_read(&mut self, task: &Task, answer: Result<Listing, IamProblem>) {
        let (Task::Sso(account) | Task::Roles(account) | Task::Users(account)) = task else {
            return;
        };
        let mut all = IamAccount::clone(
            self.iam
                .accounts
                .get(account)
                .unwrap_or(&IamAccount::default()),
        );
        let before = all.clone();
        match answer {
            Ok(listing) => {
                self.problems.remove(task);
                let place = match task {
                    Task::Sso(_) => &mut all.sso,
                    Task::Users(_) => &mut all.users,
                    _ => &mut all.roles,
                };
                let answers = |before: &Listing| {
                    // A principal that EKS refused since the last listing was asked for.
                    let mut attempts = self.attempts.values();
                    attempts
                        .any(|attempt| before.read < attempt.since && attempt.since <= listing.read)
                };
                let same = place.as_ref().is_some_and(|before| {
                    before.principals == listing.principals && !answers(before)
                });
                self.changed |= !same;
                *place = Some(listing);
            }
            Err(problem) => {
                self.problems.insert(task.clone(), problem);
            }
        }
        let mut problems = [Task::Sso, Task::Roles, Task::Users]
            .map(|task| task(account.clone()))
            .into_iter();
        let problem = problems.find_map(|task| self.problems.get(&task));
        let kind = std::mem::discriminant;
        if problem.map(kind) != before.problem.as_ref().map(kind) {
            all.problem = problem.cloned();
            self.changed = true;
        }
        Arc::make_mut(&mut self.iam)
            .accounts
            .insert(account.clone(), all);
    }

    /// Forgets of IAM what no plan wants to know any more: it would grow old.
    pub(super) fn want_iam(&mut self, wants: &IamWants) {
        let stale = |account: &AccountId, known: &IamAccount| {
            (known.sso.is_some() && !wants.sso.contains(account))
                || (known.roles.is_some() && !wants.roles.contains(account))
                || (known.users.is_some() && !wants.users.contains(account))
        };
        let wanted = |account: &AccountId| {
            wants.sso.contains(account)
                || wants.roles.contains(account)
                || wants.users.contains(account)
        };
        self.problems.retain(|task, _| match task {
            Task::Sso(account) => wants.sso.contains(account),
            Task::Roles(account) => wants.roles.contains(account),
            Task::Users(account) => wants.users.contains(account),
            Task::Cluster | Task::Entries | Task::Policies => false,
        });
        let mut accounts = self.iam.accounts.iter();
        if accounts.any(|(account, known)| !wanted(account) || stale(account, known)) {
            let accounts = &mut Arc::make_mut(&mut self.iam).accounts;
            accounts.retain(|account, _| wanted(account));
            for (account, known) in accounts {
                known.sso = known.sso.take().filter(|_| wants.sso.contains(account));
                known.roles = known.roles.take().filter(|_| wants.roles.contains(account));
                known.users = known.users.take().filter(|_| wants.users.contains(account));
            }
        }
    }

    /// The queue was read (`None`), or could not be.
    pub(super) fn queue_read(&mut self, failure: Option<Failure>) {
        let kind = |failure: &Option<Failure>| failure.as_ref().map(|it| it.kind.as_str());
        if kind(&failure) != kind(&self.queue) {
            self.queue = failure;
            self.changed = true;
        }
    }

    /// Whether a plan would see something that the last one did not, or may try again what failed.
    pub(super) fn changed(&self, now: Timestamp) -> bool {
        self.changed || self.retry().is_some_and(|retry| retry <= now)
    }

    /// When something that failed may be tried again, and no plan was made since.
    pub(super) fn retry(&self) -> Option<Timestamp> {
        let retries = self.attempts.values().map(|attempt| attempt.retry);
        retries.filter(|retry| *retry > self.handed_out).min()
    }

    /// The planner's input. Changes are counted anew from here.
    pub(super) fn hand_out(
        &mut self,
        kept: Option<&Kept>,
        busy: &Arc<BTreeSet<Key>>,
        now: Timestamp,
    ) -> AwsState {
        self.changed = false;
        self.shifted = false;
        self.touched.clear();
        self.handed_out = now;
        self.state(kept, busy)
    }

    /// The same without counting anew.
    pub(super) fn state(&self, kept: Option<&Kept>, busy: &Arc<BTreeSet<Key>>) -> AwsState {
        match self.in_force(kept) {
            InForce::Unproven { eks, server } => AwsState::Unproven {
                name: self.name.clone(),
                eks,
                server,
            },
            InForce::Unknown { failure } => AwsState::Unknown { failure },
            InForce::Known {
                cluster,
                mode,
                authority,
                unreachable,
            } => AwsState::Known(Box::new(AwsView {
                cluster,
                mode,
                authority,
                unreachable,
                entries: Arc::clone(&self.entries),
                unlisted: self.unlisted.clone(),
                policies: self.policies.clone(),
                iam: Arc::clone(&self.iam),
                attempts: Arc::clone(&self.attempts),
                busy: Arc::clone(busy),
                queue: self.queue.clone(),
            })),
        }
    }

    /// The works of a plan that was made from the last input and may be carried out: none of a principal of which more is known by
    /// now, and none at all where the mode was found to be another. Failures that the plan does not want to try again, although it
    /// may, are forgotten.
    pub(super) fn accept(&mut self, works: Vec<EntryWork>) -> Vec<EntryWork> {
        if self.shifted || self.proven().is_none() {
            return Vec::new();
        }
        let wanted: BTreeSet<&Key> = works.iter().map(|work| &work.key).collect();
        let over = |key: &Key, attempt: &Attempt| {
            attempt.retry <= self.handed_out && !wanted.contains(key) && !self.touched.contains(key)
        };
        if self
            .attempts
            .iter()
            .any(|(key, attempt)| over(key, attempt))
        {
            let mut attempts = BTreeMap::clone(&self.attempts);
            attempts.retain(|key, attempt| !over(key, attempt));
            self.attempts = Arc::new(attempts);
        }
        let mut works = works;
        works.retain(|work| !self.touched.contains(&work.key));
        works
    }

    /// The entries.
    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Numbers for metrics.
    pub(super) fn numbers(&self) -> Numbers {
        let states = self.entries.by_principal.values();
        Numbers {
            mode: self.proven().map(|(_, mode)| mode),
            read: self.reading.as_ref().map(|reading| reading.at),
            reachable: self.reading.is_some() && self.failing.is_none(),
            listed: self.entries.listed,
            known: states.len(),
            described: states.clone().filter(|it| it.known().is_some()).count(),
            owned: states.filter(|state| is_owned(state)).count(),
            queue: self.queue.is_none(),
        }
    }
}

/// What metrics show of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) mode: Option<Mode>,
    pub(super) read: Option<Timestamp>,
    pub(super) reachable: bool,
    pub(super) listed: Option<Timestamp>,
    pub(super) known: usize,
    pub(super) described: usize,
    pub(super) owned: usize,
    pub(super) queue: bool,
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
