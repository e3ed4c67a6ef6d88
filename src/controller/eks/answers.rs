//! Handles answers of EKS, IAM and the queue.

use std::time::Instant;

use tracing::{debug, info, warn};

use super::super::metrics::Metrics;
use super::super::trigger::RETRY;
use super::aws_cache::FollowUp;
use super::in_force::ClusterReading;
use super::in_force::Trust;
use super::schedule::Task;
use super::{AFTER_CHANGE, EksAnswer, EksDriver};
use crate::access_entry::Call;
use crate::access_entry::Failure;
use crate::access_entry::Output;
use crate::aws::Batch;
use crate::aws::ClusterRead;
use crate::aws::event::AwsChange;
use crate::aws::event::ChangedObject;
use crate::principal::Key;
use crate::principal::PrincipalKind;
use crate::time::Timestamp;

impl EksDriver {
    /// Takes in an answer.
    pub(in crate::controller) fn take_in(&mut self, answer: EksAnswer, metrics: &mut Metrics) {
        self.compare_clocks();
        let now = Instant::now();
        match answer {
            EksAnswer::Cluster { read, trust, began } => {
                self.take_in_cluster(*read, trust, began, now);
            }
            EksAnswer::ApiServer => {
                self.reproving = Some(Timestamp::now());
                self.schedule.soon(&Task::Cluster, now);
            }
            EksAnswer::Entries { listed, started } => {
                self.ended(&Task::Entries, listed.as_ref().err(), now);
                self.cache.entries_listed(listed, started, Timestamp::now());
                self.refresh.retain(self.cache.entries());
            }
            EksAnswer::Policies(answer) => {
                self.ended(&Task::Policies, answer.as_ref().err(), now);
                if let Ok(policies) = answer {
                    self.cache.policies_listed(policies);
                }
            }
            EksAnswer::UsedBy {
                feature,
                users,
                asked,
            } => {
                if let Err(failure) = &users {
                    debug!(?feature, error = %failure, "reading the roles that EKS uses failed");
                }
                let task = Task::UsedBy(feature);
                self.schedule
                    .ended(&task, users.is_ok(), now, fastrand::f64());
                self.cache
                    .users_read(feature, users, asked, Timestamp::now());
            }
            EksAnswer::Iam(task, answer) => {
                if let Err(problem) = &answer {
                    debug!(?task, ?problem, "reading IAM failed");
                }
                self.schedule
                    .ended(&task, answer.is_ok(), now, fastrand::f64());
                if self.schedule.reads(&task) {
                    self.cache.iam_read(&task, answer);
                }
            }
            EksAnswer::Described {
                principal,
                answer,
                asked,
            } => {
                if let Err(failure) = &*answer {
                    debug!(principal, error = %failure, "describing an access entry failed");
                }
                let time = Timestamp::now();
                let (known, then) = self.cache.described(&principal, *answer, asked, time);
                let certain = self.cache.absence_counts_from(&principal);
                let certain = certain.filter(|from| *from > time);
                let certain = certain.and_then(|from| from.duration_since(time).try_into().ok());
                self.refresh
                    .ended(&principal, known, now, certain, fastrand::f64());
                self.then(then, now);
            }
            EksAnswer::Call(key, call, answer) => self.take_in_call(&key, &call, *answer, now),
            EksAnswer::Refused => {}
            EksAnswer::Queue { ours, batch } => self.take_in_batch(ours.as_deref(), batch, now),
        }
        self.look = now;
        metrics.show_eks(&self.numbers());
    }

    fn ended(&mut self, task: &Task, failure: Option<&Failure>, now: Instant) {
        if let Some(failure) = failure {
            warn!(?task, error = %failure, "reading EKS failed, retrying");
        }
        self.schedule
            .ended(task, failure.is_none(), now, fastrand::f64());
    }

    fn take_in_cluster(
        &mut self,
        answer: Result<ClusterRead, Failure>,
        trust: Result<Trust, String>,
        began: Timestamp,
        now: Instant,
    ) {
        let before = self.cache.proven().map(|(_, mode)| mode);
        if self.reproving.is_some_and(|since| since <= began) {
            self.reproving = None;
        }
        match trust {
            Ok(trust) => {
                self.server_seen = true;
                self.cache.trusts(trust);
            }
            // Nothing is known that was not known before.
            Err(error) => {
                debug!(error, "reading the API server's certificate failed");
                self.schedule.changing_until(now + AFTER_CHANGE);
            }
        }
        if answer.as_ref().is_ok_and(|read| read.status == "UPDATING") {
            self.schedule.changing_until(now + AFTER_CHANGE);
        }
        self.ended(&Task::Cluster, answer.as_ref().err(), now);
        let reading = answer.map(|read| ClusterReading {
            cluster: read.cluster,
            mode: read.mode,
            authorities: read.authorities,
            users: read.users,
            at: began,
        });
        self.cache.cluster_read(reading);
        let after = self.cache.proven().map(|(_, mode)| mode);
        if after != before {
            if let Some(mode) = after {
                info!(cluster = self.name, %mode, "the authentication mode was read");
            } else {
                // Of a rotation that we are in the middle of, the other side follows soon.
                self.schedule.changing_until(now + AFTER_CHANGE);
                let why = self.cache.unproven().unwrap_or_default();
                warn!(cluster = self.name, "no writes: {why}");
            }
        }
        self.schedule.mode(after, now);
    }

    fn take_in_call(
        &mut self,
        key: &Key,
        call: &Call,
        answer: Result<Output, Failure>,
        now: Instant,
    ) {
        let (operation, principal) = (call.operation(), call.principal_arn());
        let more = match &answer {
            Ok(_) => {
                info!(operation, principal, "EKS call succeeded");
                self.call_queue.succeeded(key)
            }
            Err(failure) => {
                self.call_queue.failed(key);
                info!(operation, principal, error = %failure, "EKS call failed");
                false
            }
        };
        let (time, jitter) = (Timestamp::now(), fastrand::f64());
        let then = self.cache.answered(key, call, answer, !more, time, jitter);
        self.then(then, now);
    }

    fn then(&mut self, then: FollowUp, now: Instant) {
        match then {
            FollowUp::Nothing => {}
            FollowUp::ReadMode => {
                self.schedule.changing_until(now + AFTER_CHANGE);
                self.schedule.soon(&Task::Cluster, now);
            }
            FollowUp::ListPolicies => self.schedule.soon(&Task::Policies, now),
        }
    }

    fn take_in_batch(&mut self, ours: Option<&str>, batch: Result<Batch, Failure>, now: Instant) {
        let Some(polling) = &mut self.queue else {
            return;
        };
        polling.running = false;
        let (changes, failure) = match batch {
            Ok(batch) => {
                for (why, count) in batch.passed_over {
                    *polling.passed_over.entry(why).or_default() += count;
                }
                polling.changes += batch.changes.len() as u64;
                (batch.changes, batch.undeleted)
            }
            Err(failure) => (Vec::new(), Some(failure)),
        };
        if let Some(failure) = &failure {
            warn!(queue = %polling.url, error = %failure, "reading the SQS queue failed, changes are found by listing instead");
            polling.due = now + RETRY.pause(polling.failures, fastrand::f64());
            polling.failures = polling.failures.saturating_add(1);
        } else {
            polling.due = now;
            polling.failures = 0;
        }
        self.cache.queue_read(failure);
        for change in changes {
            self.notified(&change, ours, now);
        }
    }

    fn notified(&mut self, change: &AwsChange, ours: Option<&str>, now: Instant) {
        debug!(?change, "received a change from the queue");
        if let Some(principal) = self.cache.notified_principal(&change.what) {
            self.cache
                .notified(&principal, change, ours, Timestamp::now());
        }
        match &change.what {
            ChangedObject::Entry { .. } | ChangedObject::Tags { .. } => {}
            ChangedObject::ClusterConfig => {
                self.schedule.changing_until(now + AFTER_CHANGE);
                self.schedule.soon_by_message(&Task::Cluster, now);
            }
            ChangedObject::Principal {
                account,
                kind,
                permission_set,
                ..
            } => {
                if *permission_set {
                    self.schedule
                        .soon_by_message(&Task::Sso(account.clone()), now);
                }
                let task = match kind {
                    PrincipalKind::Role => Task::Roles(account.clone()),
                    PrincipalKind::User => Task::Users(account.clone()),
                };
                self.schedule.soon_by_message(&task, now);
            }
        }
    }
}
