//! What EKS and IAM have answered so far, as one value. Pure.
//!
//! Answers go in, the planner's input comes out. A *change* is something that a plan could care about: the end of a principal's
//! calls, an entry that is not as it was known, another mode. Reading again what is known already is none. What changed after the
//! planner's input was handed out is remembered by principal, so that a plan from the older input is not executed for it: its calls are
//! neither queued, nor sent where they have waited.

mod calls;
mod iam;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::event_throttle::EventThrottle;
use super::in_force::{ClusterReading, InForce, in_force, went_back};
use super::refresh::is_owned;
use super::schedule::Task;
use crate::access_entry::EksCluster;
use crate::access_entry::{ADMIN_POLICY, Entries, Failure, InFlight, Persistence, policy_arn};
use crate::observed::{
    Attempt, AwsState, AwsView, Feature, Iam, IamProblem, Kept, ManagedPrincipals, Mode, Reliance,
    Trust, Users,
};
use crate::plan::EntryWork;
use crate::principal::{Key, Partition};
use crate::time::Timestamp;

/// Brief failures are reported from the second in a row on.
const WORTH_REPORTING: u32 = 2;

/// Why something could not be read, and how often in a row.
#[derive(Clone, Debug)]
struct RepeatedFailure {
    failure: Failure,
    count: u32,
}

impl RepeatedFailure {
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

    fn worth_reporting(&self) -> bool {
        self.failure.kind.persistence() != Persistence::Brief || self.count >= WORTH_REPORTING
    }
}

/// What an answer asks for beyond being remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FollowUp {
    /// Nothing.
    Nothing,
    /// The mode is not what it was taken for.
    ReadMode,
    /// EKS does not offer an access policy that it was taken to offer.
    ListPolicies,
}

/// What others changed: nothing that was planned before is sent for it.
#[derive(Clone, Debug, Default)]
struct Invalidated {
    principals: BTreeSet<Key>,
    /// Mode, cluster or the first listing, and so everything.
    all: bool,
}

/// Everything that EKS and IAM have answered.
#[derive(Clone, Debug)]
pub(super) struct AwsCache {
    name: String,
    trust: Trust,
    reading: Option<ClusterReading>,
    failing: Option<RepeatedFailure>,
    entries: Arc<Entries>,
    in_flight: Arc<InFlight>,
    /// The principals that mappings, marks and tags name: events of others are ignored.
    declared: BTreeSet<Key>,
    /// Those of them that the first pass found: of these an earlier process may have sent creations. `None`: before it.
    inherited: Option<BTreeSet<Key>>,
    words: EventThrottle,
    unlisted: Option<Failure>,
    policies: Option<Arc<BTreeSet<String>>>,
    iam: Arc<Iam>,
    managed: Arc<ManagedPrincipals>,
    /// Why each reading of IAM failed.
    problems: BTreeMap<Task, IamProblem>,
    attempts: Arc<BTreeMap<Key, Attempt>>,
    queue: Option<Failure>,
    changed: bool,
    /// Principals of which something is known that the last input did not hold.
    touched: BTreeSet<Key>,
    /// What others changed since the last input.
    stirred: Invalidated,
    /// What others changed before it and after the input of the plan whose calls wait.
    stirred_before: Invalidated,
    /// The latest time that was passed in.
    latest: Timestamp,
    /// The wall clock and the steady one, as they were last compared.
    clocks: (Timestamp, Duration),
    /// When the last input was handed out.
    handed_out: Timestamp,
}

impl AwsCache {
    /// Empty, for the cluster of this name, by a process that has begun now.
    pub(super) fn new(name: String, trust: Trust, now: Timestamp) -> Self {
        Self {
            name,
            trust,
            reading: None,
            failing: None,
            entries: Arc::default(),
            in_flight: Arc::new(InFlight::since(now)),
            declared: BTreeSet::new(),
            inherited: None,
            words: EventThrottle::default(),
            unlisted: None,
            policies: None,
            iam: Arc::default(),
            managed: Arc::new(ManagedPrincipals {
                asked: true,
                ..ManagedPrincipals::default()
            }),
            problems: BTreeMap::new(),
            attempts: Arc::default(),
            queue: None,
            changed: false,
            touched: BTreeSet::new(),
            stirred: Invalidated::default(),
            stirred_before: Invalidated::default(),
            latest: now,
            clocks: (now, Duration::ZERO),
            handed_out: Timestamp::MIN,
        }
    }

    fn shift(&mut self) {
        self.changed = true;
        self.stirred.all = true;
    }

    fn stir(&mut self, principal: &str) {
        if let Some(key) = Key::parse_arn(principal) {
            self.stir_key(key);
        }
    }

    /// What is declared of a principal has changed.
    pub(super) fn stir_key(&mut self, key: Key) {
        self.touched.insert(key.clone());
        self.stirred.principals.insert(key);
    }

    /// What is in force.
    pub(super) fn in_force(&self, kept: Option<&Kept>) -> InForce {
        let failure = self
            .failing
            .as_ref()
            .filter(|failing| self.reading.is_none() || failing.worth_reporting())
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

    /// Why the cluster that was read is not the one that we talk to.
    pub(super) fn unproven(&self) -> Option<String> {
        match self.in_force(None) {
            // The fix comes first: probes cut what is long.
            InForce::Unproven { eks, server } => Some(format!(
                "EKS cluster {name} is not verified as the cluster of this API server; correct --cluster-name or --region, or update the \
                 kubeconfig (aws eks update-kubeconfig --name {name}): EKS reports certificate authority {eks}, and the API server's \
                 certificate is signed by {server}",
                name = self.name
            )),
            InForce::Known { .. } | InForce::Unknown { .. } => None,
        }
    }

    /// What the API server's certificate is signed by now.
    pub(super) fn trusts(&mut self, trust: Trust) {
        let before = self.in_force(None);
        self.trust = trust;
        if self.in_force(None) != before {
            self.shift();
        }
    }

    /// The ARN of the policy that makes administrators, in the cluster's partition.
    pub(super) fn admin_policy(cluster: &EksCluster) -> String {
        policy_arn(cluster.partition().unwrap_or(Partition::Aws), ADMIN_POLICY)
    }

    /// The cluster was read, or could not be.
    pub(super) fn cluster_read(&mut self, answer: Result<ClusterReading, Failure>) {
        let before = self.in_force(None);
        let answer = answer.and_then(|reading| {
            let known = self.reading.as_ref();
            let known = known.filter(|known| known.cluster == reading.cluster);
            let back = known.and_then(|it| went_back(&it.cluster, reading.mode, it.mode, it.at));
            back.map_or(Ok(reading), Err)
        });
        match answer {
            Ok(reading) => {
                self.failing = None;
                let users = Ok(reading.users.clone());
                self.users_read(Feature::Cluster, users, reading.at, reading.at);
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
                self.failing = Some(RepeatedFailure::again(self.failing.take(), failure));
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
            Some((state.doubtful, state.may_be_gone, state.listed_as_admin))
        };
        let names: BTreeSet<&String> = before
            .by_principal
            .keys()
            .chain(after.by_principal.keys())
            .collect();
        for principal in names {
            if known(&before, principal) != known(&after, principal) {
                self.stir(principal);
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

    /// The roles that a part of EKS uses were read, or could not be: at this time, as asked for at the other.
    pub(super) fn users_read(
        &mut self,
        feature: Feature,
        users: Result<Users, Failure>,
        asked: Timestamp,
        now: Timestamp,
    ) {
        let word = |managed: &ManagedPrincipals| match managed.reliance(feature, now) {
            Reliance::Known => "known",
            Reliance::Waits(None) => "asked",
            Reliance::Waits(Some(failure)) => failure.kind.as_str(),
            Reliance::Unreadable => "unreadable",
        };
        let users_of = |managed: &ManagedPrincipals| {
            let answer = managed.answers.get(&feature)?;
            answer.users.as_ref().map(|(_, users)| users.clone())
        };
        let before = (word(&self.managed), users_of(&self.managed));
        Arc::make_mut(&mut self.managed).take(feature, users, asked);
        self.changed |= before != (word(&self.managed), users_of(&self.managed));
    }

    /// The principals that mappings, marks and tags name now. What is not named any more is forgotten.
    pub(super) fn declare(&mut self, declared: BTreeSet<Key>) {
        self.inherited.get_or_insert_with(|| declared.clone());
        self.declared = declared;
        let named = |principal: &String| {
            let key = Key::parse_arn(principal);
            key.is_some_and(|key| self.declared.contains(&key))
        };
        let forgotten: Vec<String> = self
            .entries
            .absent
            .keys()
            .filter(|principal| !named(principal))
            .cloned()
            .collect();
        for principal in forgotten {
            Arc::make_mut(&mut self.entries).absent.remove(&principal);
        }
    }

    /// Whether a call that was planned may still be sent, or why not.
    pub(super) fn permits(&self, key: &Key) -> Result<(), String> {
        let stirred = [&self.stirred, &self.stirred_before];
        let refusal = if self.proven().is_none() {
            "the EKS cluster is not verified as the cluster of this API server"
        } else if stirred.iter().any(|stirred| stirred.all) {
            "the cluster's authentication mode changed after planning"
        } else if stirred.iter().any(|it| it.principals.contains(key)) {
            "the mapping or the access entry changed after planning"
        } else {
            return Ok(());
        };
        Err(refusal.to_owned())
    }

    /// A call that was planned is not sent: a new plan is due.
    pub(super) fn refused(&mut self, key: &Key) {
        self.touched.insert(key.clone());
        self.changed = true;
    }

    /// Whether something is known of a principal, or was sent, that the last input did not hold.
    pub(super) fn is_touched(&self, key: &Key) -> bool {
        self.touched.contains(key)
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
    pub(super) fn hand_out(&mut self, kept: Option<&Kept>, now: Timestamp) -> AwsState {
        self.tick(now);
        self.changed = false;
        let stirred = std::mem::take(&mut self.stirred);
        self.stirred_before.all |= stirred.all;
        self.stirred_before.principals.extend(stirred.principals);
        self.touched.clear();
        self.handed_out = now;
        self.state(kept)
    }

    /// The same without counting anew.
    pub(super) fn state(&self, kept: Option<&Kept>) -> AwsState {
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
                in_flight: Arc::clone(&self.in_flight),
                managed: Arc::clone(&self.managed),
                queue: self.queue.clone(),
            })),
        }
    }

    /// The works of a plan that was made from the last input and may be carried out: none of a principal of which more is known by
    /// now, and none at all where the mode was found to be another. Failures that the plan does not want to try again, although it
    /// may, are forgotten.
    pub(super) fn accept(&mut self, works: Vec<EntryWork>) -> Vec<EntryWork> {
        // What waited of the plan before is replaced.
        self.stirred_before = Invalidated::default();
        if self.stirred.all || self.proven().is_none() {
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
mod interleavings;
#[cfg(test)]
mod tests;
