//! The part of the loop for EKS and IAM: schedules reads and sends the calls of plans.
//!
//! ```text
//! schedule, refresh ─► reads ─► AwsCache ─► the planner's input
//!                                 ▲
//! plan's works ─► CallQueue ─► calls ─┘
//!                     ▲
//!                   judge, when each is sent
//! ```
//!
//! Nothing of it is part of a pass: reads and calls run beside it, in the one task of the loop, and what they answer is a change or
//! is none. The modules of this directory are pure and get the time as an argument; this one makes the calls that they ask for. Invariants:
//!
//! - for one principal there is one call at a time, descriptions included, so that no older answer overtakes a newer one;
//! - nothing is asked of a cluster that is not proven to be the one whose API server we talk to, but what it is;
//! - nothing that EKS, IAM or the queue answer ends the loop.

mod answers;
mod aws_cache;
mod call_queue;
mod event_throttle;
mod in_force;
mod refresh;
mod retry;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::time::Timestamp;
use futures::future::{self, BoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tracing::{info, warn};

pub use self::in_force::{OtherCluster, Trust};
pub use self::schedule::Periods;

use self::aws_cache::AwsCache;
use self::call_queue::{CallQueue, NextCall};
use self::refresh::Refresh;
use self::schedule::{Schedule, Task};
use super::metrics::{EksNumbers, Metrics};
use crate::access_entry::EksCluster;
use crate::access_entry::{Call, Failure, Output};
use crate::aws::event::IgnoredEvent;
use crate::aws::{Aws, Batch, ClusterRead, Priority, QueueUrl};
use crate::cluster::api_server::{ApiServer, Changes};
use crate::observed::{AwsState, Feature, IamProblem, IamWants, Kept, Listing, Mode, Users};
use crate::plan::EntryWork;
use crate::principal::{Key, SSO_PATH};

/// The first pass waits so long for the mode and the first listings together, so that no status tells for a moment what is not so. It waits
/// no longer: aws-auth must be kept also when AWS can't be reached, and a new leader has to be at work within 20 s after a crash.
const PATIENCE: Duration = Duration::from_secs(10);

/// So late after it was judged a change may be sent. One that fails is planned and judged anew.
const JUDGED_FOR: Duration = Duration::from_secs(10);

/// After word of a change of the cluster's configuration, the mode is read often for so long.
const AFTER_CHANGE: Duration = Duration::from_mins(2);

/// Which entry is described next is looked at again after so long at the earliest, should nothing happen.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is to be known of the cluster, and how.
#[derive(Clone, Debug)]
pub struct EksSettings {
    /// The cluster's name in EKS.
    pub cluster_name: String,
    /// The API server, which has to be this cluster's.
    pub api_server: ApiServer,
    /// How often things are read.
    pub periods: Periods,
    /// The queue that tells of changes.
    pub queue: Option<QueueUrl>,
}

/// What is asked before a call of a plan is sent: it may have waited for minutes.
pub(super) trait CallCheck {
    /// Whether it can't be judged yet.
    fn waits(&self, call: &Call, aws: &AwsState) -> bool;

    /// Judges the first of a principal's calls by what is known now.
    ///
    /// # Errors
    ///
    /// Says why it is not to be sent.
    fn judge(&self, key: &Key, calls: &[Call], aws: &AwsState) -> Result<(), String>;
}

/// Something that was asked has been answered.
pub(super) enum EksAnswer {
    Cluster {
        read: Box<Result<ClusterRead, Failure>>,
        /// What the API server's certificate was signed by just after; an error: it could not be asked.
        trust: Result<Trust, String>,
        began: Timestamp,
    },
    /// What the API server's certificate is checked by may have changed.
    ApiServer,
    Entries {
        listed: Result<(BTreeSet<String>, BTreeSet<String>), Failure>,
        started: Timestamp,
    },
    Policies(Result<BTreeSet<String>, Failure>),
    UsedBy {
        feature: Feature,
        users: Result<Users, Failure>,
        asked: Timestamp,
    },
    Iam(Task, Result<Listing, IamProblem>),
    Described {
        principal: String,
        answer: Box<Result<Output, Failure>>,
        asked: Timestamp,
    },
    Call(Key, Box<Call>, Box<Result<Output, Failure>>),
    /// Nothing was: a call was not sent.
    Refused,
    Queue {
        /// Our own ARN, where it is known.
        ours: Option<String>,
        batch: Result<Batch, Failure>,
    },
}

/// The queue that is polled.
struct Polling {
    url: QueueUrl,
    running: bool,
    failures: u32,
    due: Instant,
    passed_over: BTreeMap<IgnoredEvent, u64>,
    changes: u64,
}

/// EKS and IAM as the loop sees them.
pub(super) struct EksDriver {
    aws: Aws,
    name: String,
    api_server: ApiServer,
    changes: Changes,
    /// Since when the proof that the cluster is the API server's is being made anew: nothing is sent meanwhile.
    reproving: Option<Timestamp>,
    /// Whether the API server's certificate was ever looked at.
    server_seen: bool,
    cache: AwsCache,
    started: Instant,
    schedule: Schedule,
    refresh: Refresh,
    /// When to look for an entry to describe.
    look: Instant,
    call_queue: CallQueue,
    queue: Option<Polling>,
    reads: FuturesUnordered<BoxFuture<'static, EksAnswer>>,
    calls: FuturesUnordered<BoxFuture<'static, EksAnswer>>,
    /// Since when the first pass waits for the mode and the listings; `None`: it waits no more.
    waits: Option<Instant>,
    /// Whether it is known what the mappings want to know of IAM.
    iam_asked: bool,
}

impl EksDriver {
    pub(super) fn new(aws: &Aws, settings: EksSettings) -> Self {
        let now = Instant::now();
        let EksSettings {
            cluster_name,
            api_server,
            periods,
            queue,
        } = settings;
        let unasked =
            Trust::Unknown("not known yet, because the API server has not answered".to_owned());
        Self {
            aws: aws.sending_changes_within(JUDGED_FOR),
            cache: AwsCache::new(cluster_name.clone(), unasked, Timestamp::now()),
            started: now,
            name: cluster_name,
            changes: api_server.changes(),
            api_server,
            reproving: None,
            server_seen: false,
            schedule: Schedule::new(periods, now),
            refresh: Refresh::new(periods.refresh, now),
            look: now,
            call_queue: CallQueue::default(),
            queue: queue.map(|url| Polling {
                url,
                running: false,
                failures: 0,
                due: now,
                passed_over: BTreeMap::new(),
                changes: 0,
            }),
            reads: FuturesUnordered::new(),
            calls: FuturesUnordered::new(),
            waits: Some(now),
            iam_asked: false,
        }
    }

    /// What the first pass still waits for.
    pub(super) fn missing(&self) -> Option<&'static str> {
        let since = self.waits?;
        if since.elapsed() >= PATIENCE {
            return None;
        }
        if !self.schedule.tried(&Task::Cluster) {
            return Some("the cluster's authentication mode");
        }
        if !self.server_seen {
            return Some("the API server's certificate");
        }
        self.cache.proven()?;
        if !self.schedule.tried(&Task::Entries) {
            return Some("the access entries");
        }
        if !self.iam_asked || !self.schedule.tried_iam() {
            return Some("IAM");
        }
        None
    }

    /// Why the cluster is not proven to be the API server's, where it was read.
    pub(super) fn unproven(&self) -> Option<String> {
        self.cache.unproven()
    }

    /// When the first pass stops waiting, whatever is missing.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        self.waits.map(|since| since + PATIENCE)
    }

    /// Whether it is to be found out what the mappings want to know of IAM, before the first pass.
    pub(super) fn asks_for_wants(&self) -> bool {
        self.waits.is_some() && !self.iam_asked && self.cache.proven().is_some()
    }

    /// What plans want to know of IAM, and whether they do which roles EKS uses.
    pub(super) fn want(&mut self, wants: &IamWants, managed: bool) {
        let now = Instant::now();
        self.iam_asked = true;
        self.cache.want_iam(wants);
        self.schedule.iam(wants, now);
        self.schedule.managed(managed, now);
    }

    /// The principals that mappings, marks and tags name now.
    pub(super) fn declare(&mut self, declared: BTreeSet<Key>) {
        self.cache.declare(declared);
    }

    /// What is declared of these principals has changed: nothing is sent for them that was planned before.
    pub(super) fn stir(&mut self, keys: BTreeSet<Key>) {
        for key in keys {
            self.cache.stir_key(key);
        }
    }

    /// Whether something is known of a principal, or was sent for it, that the last input did not hold.
    pub(super) fn is_touched(&self, key: &Key) -> bool {
        self.cache.is_touched(key)
    }

    /// Whether a plan would see something that the last one did not.
    pub(super) fn changed(&self) -> bool {
        self.cache.changed(Timestamp::now())
    }

    /// When something that failed may be tried again.
    pub(super) fn retry(&self) -> Option<Timestamp> {
        self.cache.retry()
    }

    /// The planner's input, without counting changes anew.
    pub(super) fn state(&self, kept: Option<&Kept>) -> AwsState {
        self.cache.state(kept)
    }

    /// The planner's input for a pass. The first of them ends the waiting.
    pub(super) fn hand_out(&mut self, kept: Option<&Kept>, now: Timestamp) -> AwsState {
        self.waits = None;
        self.compare_clocks();
        self.cache.hand_out(kept, now)
    }

    fn compare_clocks(&mut self) {
        let steady = self.started.elapsed();
        self.cache.compare_clocks(Timestamp::now(), steady);
    }

    /// Takes the works of a plan that was made from what was handed out last, in place of what waited of the one before, and begins them,
    /// so that passes which follow each other at once hold nothing up. `certain`: it is known what became of the plan's write of
    /// aws-auth; otherwise the rest of works that have begun is planned anew.
    pub(super) fn hand_over(
        &mut self,
        works: Vec<EntryWork>,
        certain: bool,
        kept: Option<&Kept>,
        judge: &impl CallCheck,
    ) {
        let cache = &self.cache;
        self.call_queue
            .cut(|key| !certain || cache.permits(key).is_err());
        self.call_queue.replace(self.cache.accept(works));
        self.begin(Instant::now(), kept, judge);
    }

    /// Begins what is due, and returns the next answer. Can be dropped and called again at any time. Each call of a plan is judged
    /// when it is sent; where one is refused, a new plan is due, which [`EksAnswer::Refused`] says.
    pub(super) async fn answer(
        &mut self,
        kept: Option<&Kept>,
        judge: &impl CallCheck,
    ) -> EksAnswer {
        loop {
            let now = Instant::now();
            if self.begin(now, kept, judge) {
                return EksAnswer::Refused;
            }
            let due = [
                self.schedule.due(),
                Some(self.look),
                self.queue
                    .as_ref()
                    .filter(|queue| !queue.running && self.cache.proven().is_some())
                    .map(|queue| queue.due),
            ];
            let due = due.into_iter().flatten().min();
            let due = due.map(|due| due.max(now + LOOK_AGAIN));
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                Some(answer) = self.calls.next() => return answer,
                Some(answer) = self.reads.next() => return answer,
                () = self.changes.next() => return EksAnswer::ApiServer,
                () = sleep => {}
            }
        }
    }

    /// Begins what is due. Whether a call was refused.
    fn begin(&mut self, now: Instant, kept: Option<&Kept>, judge: &impl CallCheck) -> bool {
        self.compare_clocks();
        self.cache.tick(Timestamp::now());
        while let Some(task) = self.schedule.start(now) {
            let read = self.read(task);
            self.reads.push(read);
        }
        let Some((cluster, mode)) = self.cache.proven() else {
            return self.call_queue.drop_unsent();
        };
        self.begin_polling(&cluster, now);
        if mode == Mode::ConfigMap {
            return self.call_queue.drop_unsent();
        }
        if self.reproving.is_some() {
            return false;
        }
        let refused = self.begin_calls(&cluster, kept, judge);
        self.begin_descriptions(&cluster, now);
        refused
    }

    /// Sends the calls that may be. Whether one was refused.
    fn begin_calls(
        &mut self,
        cluster: &EksCluster,
        kept: Option<&Kept>,
        judge: &impl CallCheck,
    ) -> bool {
        let mut refused = false;
        loop {
            let (refresh, cache) = (&self.refresh, &self.cache);
            let known = cache.state(kept);
            let waits =
                |call: &Call| refresh.describes(call.principal_arn()) || judge.waits(call, &known);
            let judge = |key: &Key, calls: &[Call]| {
                cache.permits(key)?;
                judge.judge(key, calls, &known)
            };
            match self.call_queue.next(waits, judge) {
                None => return refused,
                Some(NextCall::Send(key, call, priority)) => {
                    self.cache.sent(&key, &call, Timestamp::now());
                    let call = make(self.aws.clone(), cluster.clone(), key, call, priority);
                    self.calls.push(call);
                }
                Some(NextCall::Refused(key, call, why)) => {
                    let (operation, principal) = (call.operation(), call.principal_arn());
                    info!(operation, principal, why, "planning a call to EKS again");
                    self.cache.refused(&key);
                    refused = true;
                }
            }
        }
    }

    fn begin_descriptions(&mut self, cluster: &EksCluster, now: Instant) {
        if self.look > now {
            return;
        }
        let queue = &self.call_queue;
        let taken = |principal: &str| {
            Key::parse_arn(principal)
                .is_some_and(|key| queue.has_in_flight(&key) || queue.will_describe(&key))
        };
        let entries = self.cache.entries();
        while let Some((principal, priority)) = self.refresh.start(entries, now, taken) {
            let (aws, cluster) = (self.aws.clone(), cluster.clone());
            let read = async move {
                let call = Call::Describe {
                    principal_arn: principal.clone(),
                };
                let asked = Timestamp::now();
                let answer = Box::new(aws.call(&cluster, &call, priority).await);
                EksAnswer::Described {
                    principal,
                    answer,
                    asked,
                }
            };
            self.reads.push(read.boxed());
        }
        let next = self.refresh.due(entries, now);
        // Something that takes a principal ends with an answer, which looks again.
        self.look = next.map_or(now + PATIENCE, |next| next.max(now + LOOK_AGAIN));
    }

    fn begin_polling(&mut self, cluster: &EksCluster, now: Instant) {
        let Some(polling) = self
            .queue
            .as_mut()
            .filter(|queue| !queue.running && queue.due <= now)
        else {
            return;
        };
        polling.running = true;
        let queue = self.aws.queue(&polling.url, cluster);
        let aws = self.aws.clone();
        let read = async move {
            let batch = queue.receive().await;
            let news = batch.as_ref().is_ok_and(|batch| !batch.changes.is_empty());
            let ours = if news {
                aws.identity().await.ok().map(|us| us.arn.clone())
            } else {
                None
            };
            EksAnswer::Queue { ours, batch }
        };
        self.reads.push(read.boxed());
    }

    fn read(&self, task: Task) -> BoxFuture<'static, EksAnswer> {
        let (aws, name) = (self.aws.clone(), self.name.clone());
        let api_server = self.api_server.clone();
        let cluster = self.cache.proven().map(|(cluster, _)| cluster);
        async move {
            match (task, cluster) {
                (Task::Cluster, _) => {
                    let began = Timestamp::now();
                    let read = Box::new(aws.describe_cluster(&name).await);
                    // In this order: EKS names a new authority long before the API server uses it.
                    let trust = api_server.trust().await;
                    EksAnswer::Cluster { read, trust, began }
                }
                (Task::Entries, Some(cluster)) => {
                    let started = Timestamp::now();
                    let policy = AwsCache::admin_policy(&cluster);
                    let listed = future::try_join(
                        aws.list_entries(&cluster, None),
                        aws.list_entries(&cluster, Some(&policy)),
                    );
                    EksAnswer::Entries {
                        listed: Box::pin(listed).await,
                        started,
                    }
                }
                (Task::UsedBy(feature), Some(cluster)) => {
                    let asked = Timestamp::now();
                    let users = Box::pin(aws.users_of(&cluster, feature)).await;
                    EksAnswer::UsedBy {
                        feature,
                        users,
                        asked,
                    }
                }
                // It is wanted only where the cluster is proven, which it is no more.
                (Task::Entries | Task::UsedBy(_), None) => future::pending().await,
                (Task::Policies, _) => EksAnswer::Policies(aws.list_policies().await),
                (Task::Sso(account), _) => {
                    let listing = aws.roles(&account, SSO_PATH).await;
                    EksAnswer::Iam(Task::Sso(account), listing)
                }
                (Task::Roles(account), _) => {
                    let listing = aws.roles(&account, "/").await;
                    EksAnswer::Iam(Task::Roles(account), listing)
                }
                (Task::Users(account), _) => {
                    let listing = aws.users(&account).await;
                    EksAnswer::Iam(Task::Users(account), listing)
                }
            }
        }
        .boxed()
    }

    /// At the end: works that have begun get until `deadline` to be made whole, for an entry without its policies is less than was
    /// declared. Nothing new begins.
    pub(super) async fn wind_up(
        &mut self,
        deadline: tokio::time::Instant,
        metrics: &mut Metrics,
        kept: Option<&Kept>,
        judge: &impl CallCheck,
    ) {
        self.call_queue.replace(Vec::new());
        self.reads = FuturesUnordered::new();
        while !self.calls.is_empty() {
            match tokio::time::timeout_at(deadline, self.calls.next()).await {
                Ok(Some(answer)) => {
                    self.take_in(answer, metrics);
                    if let Some((cluster, _)) = self.cache.proven() {
                        self.begin_calls(&cluster, kept, judge);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    warn!(
                        calls = self.calls.len(),
                        "abandoned EKS calls in flight; the next start reads whether they took effect"
                    );
                    break;
                }
            }
        }
    }

    fn numbers(&self) -> EksNumbers {
        let known = self.cache.numbers();
        let (waiting, running) = self.call_queue.count();
        EksNumbers {
            mode: known.mode,
            read: known.read,
            reachable: known.reachable,
            listed: known.listed,
            known: known.known,
            described: known.described,
            owned: known.owned,
            waiting,
            running,
            queue: self.queue.as_ref().map(|_| known.queue),
            events: self.queue.as_ref().map_or_else(BTreeMap::new, |queue| {
                let passed_over = queue.passed_over.iter();
                let mut events: BTreeMap<&'static str, u64> = passed_over
                    .map(|(why, count)| (why.as_str(), *count))
                    .collect();
                events.insert("change", queue.changes);
                events
            }),
        }
    }
}

/// Makes one call of a work.
fn make(
    aws: Aws,
    cluster: EksCluster,
    key: Key,
    call: Call,
    priority: Priority,
) -> BoxFuture<'static, EksAnswer> {
    async move {
        let answer = aws.call(&cluster, &call, priority).await;
        EksAnswer::Call(key, Box::new(call), Box::new(answer))
    }
    .boxed()
}

#[cfg(test)]
mod world;
