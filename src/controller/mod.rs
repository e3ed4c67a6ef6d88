//! The loop: events in, one pass at a time over everything, writes out.
//!
//! ```text
//! watches ─► WatchedState ─┬► trigger ─► pass: finalizers → history → aws-auth ─┬► report ─► outbox: statuses, finalizers, events
//!              ▲    │                 │                                    │
//!              └────│── answers ──────┘                                    │
//! EKS, IAM ──► EksDriver ─┘                                                      │
//!              └◄─ calls for access entries ───────────────────────────────┘
//! ```
//!
//! All of it is one task: the state, the pass that runs, the calls of the outbox and those to AWS are polled side by side,
//! so nothing is shared and nothing is locked. Invariants:
//!
//! - one pass at a time, on the whole set: however many mappings change, aws-auth is written once;
//! - a pass works on a snapshot; what happens meanwhile is judged when it is over, by what it left behind;
//! - no pass waits for AWS, but the first one, and that for seconds at most;
//! - nothing that goes wrong outside ends the loop;
//! - of several replicas one writes ([`election`], `leadership`).

mod eks;
pub mod election;
pub mod health;
mod http;
mod implied;
mod judge;
mod leadership;
mod log;
pub mod metrics;
mod outbox;
mod pass;
mod trigger;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::time::Timestamp;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::eks::{EksSettings, OtherCluster, Periods, Trust};
pub use self::implied::{Imply, Turn, Turns};

use self::eks::{EksAnswer, EksDriver};
use self::health::Health;
use self::implied::Implied;
use self::judge::{CallGuard, TextGrants};
use self::leadership::{Membership, not_leading, word};
use self::log::log;
use self::metrics::Metrics;
use self::outbox::Outbox;
use self::pass::{Done, FirstRead, Pass};
use self::trigger::{Comeback, Retry, Trigger};
use crate::aws::Aws;
use crate::cluster::Cluster;
use crate::cluster::bindings::Interest;
use crate::cluster::state::{Watched, WatchedState};
use crate::cluster::watch::{WatchEvent, Watches};
use crate::observed::{AwsState, Settings};
use crate::plan::{Memory, Outcome, WriteFailure, plan};

/// The longest interval between two turns of the loop, which `/livez` relies on.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The interval of reading the wall clock while a time of it is waited for: that clock can be set.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// At the end, a pass that runs and statuses that wait may take so long.
const LAST_PASS: Duration = Duration::from_millis(500);
const LAST_STATUSES: Duration = Duration::from_millis(300);

/// At the end, access entries that are being made or changed may take so long.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// A controller that can be run.
pub struct Controller {
    cluster: Cluster,
    /// The same cluster, as this replica may write to it now.
    writer: Cluster,
    /// Where it is one of several replicas.
    membership: Option<Membership>,
    settings: Settings,
    resync: Duration,
    health: Arc<Health>,
    metrics: Metrics,
    state: WatchedState,
    aws: Option<(Aws, EksSettings)>,
    /// EKS and IAM, while this replica leads.
    eks: Option<EksDriver>,
    /// Where no mappings are stored, what gives them, and who is notified.
    implied: Option<(Implied, watch::Sender<Option<Arc<Turn>>>)>,
    trigger: Trigger,
    comeback: Comeback,
    retry: Retry,
    outbox: Outbox,
    memory: Memory,
    /// aws-auth as the last pass left it behind.
    planned: Option<TextGrants>,
    /// When to plan again although nothing changes.
    wake: Option<Timestamp>,
    /// When to plan again in any case.
    next_resync: Instant,
    /// Whether the next pass is to read aws-auth itself.
    first_read: FirstRead,
    running: Option<RunningPass>,
    /// Whether a pass was made since this replica began to lead.
    begun: bool,
    /// What the watches search bindings for.
    interest: watch::Sender<Option<Arc<Interest>>>,
}

/// A pass that runs.
struct RunningPass {
    pass: BoxFuture<'static, Done>,
    interrupt: CancellationToken,
    started: Instant,
    /// Since when the first change that it takes in waited.
    since: Instant,
    /// When the first event after its start came.
    event: Option<Instant>,
}

impl Controller {
    /// A controller for `cluster`, and for its access entries where `eks` says how to reach them. It plans again at least every
    /// `resync`.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        eks: Option<(Aws, EksSettings)>,
        settings: Settings,
        resync: Duration,
        health: Arc<Health>,
        metrics: Metrics,
    ) -> Self {
        Self {
            state: WatchedState::new(cluster.config_map().clone()),
            eks: eks
                .as_ref()
                .map(|(aws, settings)| EksDriver::new(aws, settings.clone())),
            aws: eks,
            implied: None,
            outbox: Outbox::new(cluster.clone()),
            writer: cluster.clone(),
            membership: None,
            cluster,
            settings,
            resync,
            health,
            metrics,
            trigger: Trigger::default(),
            comeback: Comeback::default(),
            retry: Retry::default(),
            memory: Memory::default(),
            planned: None,
            wake: None,
            next_resync: Instant::now() + resync,
            first_read: FirstRead::default(),
            running: None,
            begun: false,
            interest: watch::Sender::new(None),
        }
    }

    /// The same without stored mappings: `imply` gives them. Nothing is written of them, and no event is published; each pass is reported to
    /// the holder of the turns.
    #[must_use]
    pub fn implied(mut self, imply: Imply) -> (Self, Turns) {
        let (sender, turns) = watch::channel(None);
        self.implied = Some((Implied::new(imply), sender));
        self.state.keep_all_bindings();
        (self, turns)
    }

    /// Runs until `shutdown`. A write that is in flight then gets half a second, and access entries that are being made some
    /// seconds; the next start reads whether it took effect.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut watches = self.watches();
        loop {
            self.health.turn();
            self.begin_what_is_due();
            let sleep = tokio::time::sleep_until(self.sleep_until().into());
            let hold = self.running.is_some();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = word(&mut self.membership) => if self.take_in_leadership() {
                    watches = self.watches();
                },
                Some(told) = watches.next() => self.take_in_watch_event(told),
                done = finished(&mut self.running) => self.finish(done),
                finished = self.outbox.finished(hold) => self.outbox.settle(finished, &mut self.state),
                answer = answer(&mut self.eks, CallGuard {
                    state: &self.state,
                    implied: self.implied.as_ref().map(|(implied, _)| implied),
                    planned: self.planned.as_ref(),
                    memory: &self.memory,
                    pass_runs: hold,
                }) => self.take_in_answer(answer),
                () = sleep => {}
            }
        }
        drop(watches);
        self.wind_up().await;
    }

    fn watches(&self) -> Watches {
        let interest = self.interest.subscribe();
        match &self.implied {
            None => self.cluster.watch(interest),
            Some(_) => self.cluster.watch_without_mappings(interest),
        }
    }

    async fn wind_up(mut self) {
        info!("shutting down");
        if self.running.is_some() {
            if let Ok(done) = tokio::time::timeout(LAST_PASS, finished(&mut self.running)).await {
                self.finish(done);
            } else {
                warn!("abandoned a pass; the next start reads whether its write took effect");
            }
        }
        if let Some(eks) = &mut self.eks {
            let deadline = tokio::time::Instant::now() + LAST_CALLS;
            let kept = self.state.kept();
            let implied = self.implied.as_ref().map(|(implied, _)| implied);
            let judge = CallGuard {
                state: &self.state,
                implied,
                planned: self.planned.as_ref(),
                memory: &self.memory,
                // The write of one that was abandoned may still be made.
                pass_runs: self.running.is_some(),
            };
            eks.wind_up(deadline, &mut self.metrics, kept.as_ref(), &judge)
                .await;
        }
        let deadline = tokio::time::Instant::now() + LAST_STATUSES;
        while !self.outbox.is_idle() {
            match tokio::time::timeout_at(deadline, self.outbox.finished(false)).await {
                Ok(finished) => self.outbox.settle(finished, &mut self.state),
                Err(_) => break,
            }
        }
    }

    fn take_in_watch_event(&mut self, told: WatchEvent) {
        match told {
            WatchEvent::Event(event) => self.take_in(event),
            WatchEvent::Health { watch, failure } => {
                self.comeback
                    .health(watch, failure.is_some(), Instant::now());
                let words = failure.as_ref().map(|error| error.message.as_str());
                self.health.watch(watch, Instant::now(), words);
            }
        }
    }

    fn take_in(&mut self, event: Watched) {
        let of_config_map = matches!(event, Watched::ConfigMap(_));
        let version =
            |state: &WatchedState| state.config_map().map(|view| view.resource_version.clone());
        let before = of_config_map.then(|| version(&self.state));
        self.comeback.event(&event);
        self.state.apply(event);
        let stirred = self.state.take_stirred();
        if let Some(eks) = &mut self.eks {
            eks.stir(stirred);
        }
        self.interest.send_if_modified(|told| {
            let wanted = self.state.interest();
            let same = wanted.map(Arc::as_ptr) == told.as_ref().map(Arc::as_ptr);
            if !same {
                *told = wanted.cloned();
            }
            !same
        });
        if let Some(running) = &mut self.running {
            running.event.get_or_insert_with(Instant::now);
            if before.is_some_and(|before| before != version(&self.state)) {
                running.interrupt.cancel();
            }
        } else if self.state.changed() {
            self.trigger.changed(Instant::now());
        }
        self.before_first_pass();
    }

    fn take_in_answer(&mut self, answer: EksAnswer) {
        if let Some(eks) = &mut self.eks {
            eks.take_in(answer, &mut self.metrics);
            self.health
                .unproven(Instant::now(), eks.unproven().as_deref());
            if eks.changed() {
                let now = Instant::now();
                match &mut self.running {
                    Some(running) => _ = running.event.get_or_insert(now),
                    None => self.trigger.changed(now),
                }
            }
        }
        self.before_first_pass();
    }

    /// What the first pass waits for.
    fn missing(&self) -> Vec<&'static str> {
        let mut missing = self.state.missing();
        missing.extend(self.eks.as_ref().and_then(EksDriver::missing));
        missing
    }

    /// Until the first pass was made, of all or of a leader: reports what it waits for, and finds out what the mappings want to know of IAM, so that the
    /// first statuses know it already.
    fn before_first_pass(&mut self) {
        if self.begun {
            return;
        }
        if let Some(eks) = self.eks.as_mut().filter(|eks| eks.asks_for_wants()) {
            let aws = eks.state(self.state.kept().as_ref());
            if let Some(mut input) = self.state.input(Timestamp::now(), aws) {
                if let Some((implied, _)) = &self.implied {
                    input.desired = implied.desired(&input.observed);
                }
                let plan = plan(
                    &input.desired,
                    &input.observed,
                    &self.settings,
                    &self.memory,
                );
                let report = plan.report(&Outcome::NothingToWrite);
                eks.want(&report.iam, report.managed);
            }
        }
        let missing = self.missing();
        self.health.waits_for(&missing);
    }

    /// Everything that is due counts as a change; a pass begins where none runs.
    fn begin_what_is_due(&mut self) {
        let now = Instant::now();
        let held = self.comeback.holds_until(now).is_some();
        if held || self.running.is_some() || !self.missing().is_empty() {
            return;
        }
        // It becomes due also without an event: what failed may be tried again, and patience ends.
        if self.trigger.due().is_none() && self.eks.as_ref().is_some_and(EksDriver::changed) {
            self.trigger.changed(now);
        }
        if self.wake.is_some_and(|wake| wake <= Timestamp::now()) {
            self.wake = None;
            self.trigger.changed(now);
        }
        if self.retry.due().is_some_and(|due| due <= now) || self.next_resync <= now {
            self.retry.started();
            self.next_resync = now + self.resync;
            self.first_read = self.first_read.max(FirstRead::Direct);
            self.trigger.changed(now);
        }
        if self.trigger.due().is_some_and(|due| due <= now) {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Instant) {
        let time = Timestamp::now();
        let kept = self.state.kept();
        let leads = self.leads();
        let aws = match &mut self.eks {
            Some(eks) => eks.hand_out(kept.as_ref(), time),
            None if leads => AwsState::Off,
            None => not_leading(),
        };
        let Some(snapshot) = self.state.snapshot(time, aws) else {
            return;
        };
        self.memory.see(self.state.take_texts());
        let since = self.trigger.started(now).unwrap_or(now);
        self.retry.started();
        self.next_resync = now + self.resync;
        self.health.pass_begins(now);
        let interrupt = CancellationToken::new();
        let pass = Pass {
            cluster: self.writer.clone(),
            implied: self.implied.as_ref().map(|(implied, _)| implied.clone()),
            settings: self.settings.clone(),
            memory: self.memory.clone(),
            snapshot,
            first_read: std::mem::take(&mut self.first_read),
            interrupt: interrupt.clone(),
        };
        self.running = Some(RunningPass {
            pass: pass.run().boxed(),
            interrupt,
            started: now,
            since,
            event: None,
        });
    }

    fn sleep_until(&self) -> Instant {
        let now = Instant::now();
        let mut until = now + LONGEST_SLEEP;
        if self.running.is_some() {
            return until;
        }
        if let Some(end) = self.comeback.holds_until(now) {
            return until.min(end);
        }
        if !self.missing().is_empty() {
            let patience_ends = self.eks.as_ref().and_then(EksDriver::patience_ends);
            return patience_ends.map_or(until, |ends| until.min(ends.max(now + CLOCK_CHECK)));
        }
        let retry = self.eks.as_ref().and_then(EksDriver::retry);
        for wake in [self.wake, retry].into_iter().flatten() {
            let ahead =
                Duration::try_from(wake.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
            until = until.min(now + ahead.min(CLOCK_CHECK));
        }
        [self.trigger.due(), self.retry.due(), Some(self.next_resync)]
            .into_iter()
            .flatten()
            .fold(until, Instant::min)
    }

    fn finish(&mut self, (done, running): (Done, RunningPass)) {
        if !self.leads() {
            return self.finish_standby(done, &running);
        }
        self.begun = true;
        let now = Instant::now();
        let Done {
            mut desired,
            seen,
            left,
            entries,
            mappings,
            mut report,
            outcome,
            conflicts,
            retry,
            interrupted,
        } = done;
        let certain = !matches!(outcome, Outcome::Failed(WriteFailure::Unavailable(_)));
        self.trigger.ended(now);
        self.health.pass_ends(now, retry.as_deref());
        self.metrics
            .pass(now - running.started, conflicts, &outcome);
        self.metrics.show(&report.summary);
        self.metrics.changed(&report.changes);
        if matches!(outcome, Outcome::Written { .. }) {
            self.metrics.written_after(now - running.since);
        }
        log(&outcome, conflicts, now - running.started, &report);

        for (name, mapping) in mappings {
            self.state.absorb_mapping(&name, mapping);
        }
        let text = left.config_map.as_ref();
        if text.is_none_or(|text| self.planned.as_ref().is_none_or(|it| !it.is_of(text))) {
            self.planned = text.map(TextGrants::of);
        }
        self.state.settle(&seen, &left);
        if let Some(eks) = &mut self.eks {
            eks.want(&report.iam, report.managed);
            eks.declare(std::mem::take(&mut report.declared));
            // A call that was sent or answered meanwhile may have made the entry that was found to be gone.
            report
                .change_finalizers
                .retain(|change| !change.relies_on.iter().any(|key| eks.is_touched(key)));
        }
        if let Some((implied, turns)) = &mut self.implied {
            implied.take(&mut desired, std::mem::take(&mut report.statuses));
            report.change_finalizers.clear();
            report.events.clear();
            turns.send_replace(Some(Arc::new(Turn {
                desired,
                observed: left,
                outcome,
                installed: self.state.defined(),
            })));
        }
        self.memory = report.memory;
        if !certain {
            self.first_read = self.first_read.max(FirstRead::Direct);
        }
        if let Some(eks) = &mut self.eks {
            let judge = CallGuard {
                state: &self.state,
                implied: self.implied.as_ref().map(|(implied, _)| implied),
                planned: self.planned.as_ref(),
                memory: &self.memory,
                pass_runs: false,
            };
            let kept = self.state.kept();
            eks.hand_over(entries, certain, kept.as_ref(), &judge);
        }
        self.wake = report.wake;
        self.outbox
            .set_released(report.summary.released, &mut self.state);
        self.outbox.submit(
            report.statuses,
            report.change_finalizers,
            report.events,
            &mut self.state,
        );
        match retry {
            Some(_) => self.retry.failed(now, fastrand::f64()),
            None => self.retry.succeeded(),
        }
        let told = self.eks.as_ref().is_some_and(EksDriver::changed);
        if interrupted || told || self.state.changed() {
            self.trigger.changed(running.event.unwrap_or(now));
        }
    }
}

/// Waits for the pass that runs, for ever where none does.
async fn finished(running: &mut Option<RunningPass>) -> (Done, RunningPass) {
    let Some(current) = running else {
        return std::future::pending().await;
    };
    let done = (&mut current.pass).await;
    match running.take() {
        Some(current) => (done, current),
        None => std::future::pending().await,
    }
}

/// Waits for the next answer of EKS or IAM, for ever where none is asked. Calls of plans are sent meanwhile.
async fn answer(eks: &mut Option<EksDriver>, judge: CallGuard<'_>) -> EksAnswer {
    match eks {
        Some(eks) => {
            let kept = judge.state.kept();
            eks.answer(kept.as_ref(), &judge).await
        }
        None => std::future::pending().await,
    }
}
