//! The Prometheus metrics of the operator. Every name begins with `identity_mapper_`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use crate::api::v1alpha1::Backend;
use crate::aws::Calls;
use crate::cluster::api_server::ApiRequests;
use crate::observed::Mode;
use crate::plan::{AccessAction, AccessChange, Outcome, Summary, WriteFailure};
use crate::time::Timestamp;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Gauges of one family, whose labels may come and go: one that went shows 0, not its last value.
#[derive(Debug, Default)]
struct Gauges<const N: usize> {
    family: Family<Labels<N>, Gauge>,
    shown: BTreeSet<Labels<N>>,
}

impl<const N: usize> Gauges<N> {
    /// Shows nothing any more.
    fn clear(&mut self) {
        self.family.clear();
        self.shown.clear();
    }

    fn set(&mut self, values: impl IntoIterator<Item = (Labels<N>, u64)>) {
        let mut gone = std::mem::take(&mut self.shown);
        for (labels, value) in values {
            gone.remove(&labels);
            self.family.get_or_create(&labels).set(clamp(value));
            self.shown.insert(labels);
        }
        for labels in gone {
            self.family.get_or_create(&labels).set(0);
            self.shown.insert(labels);
        }
    }
}

/// The metrics of one controller.
#[derive(Debug)]
pub struct Metrics {
    passes: Counter,
    pass_duration: Histogram,
    writes: Family<Labels<1>, Counter>,
    change_to_written: Histogram,
    drift: Family<Labels<1>, Counter>,
    changes: Family<Labels<2>, Counter>,
    administrators: Gauges<2>,
    mappings: Gauges<2>,
    parses: Gauges<1>,
    dropped: Gauges<1>,
    held: Gauge,
    owned: Gauge,
    orphaned: Gauge,
    contested: Gauge,
    released: Gauge,
    leader: Gauge,
    eks: Option<EksMetrics>,
}

/// The metrics of EKS, where it is asked.
#[derive(Debug, Default)]
struct EksMetrics {
    mode: Gauges<1>,
    read: Gauge,
    reachable: Gauge,
    listed: Gauge,
    entries: Gauges<1>,
    works: Gauges<1>,
    queue: Gauge,
    events: Family<Labels<1>, Counter>,
    /// What they were when this replica began to lead: each term counts from zero.
    events_before: BTreeMap<&'static str, u64>,
    events_shown: BTreeMap<&'static str, u64>,
}

/// What is shown of EKS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EksNumbers {
    /// The authentication mode, where the cluster is proven.
    pub(super) mode: Option<Mode>,
    /// When it was last read.
    pub(super) read: Option<Timestamp>,
    /// Whether it could be read the last time.
    pub(super) reachable: bool,
    /// When the entries were last listed.
    pub(super) listed: Option<Timestamp>,
    /// Entries that are known, by name at least.
    pub(super) known: usize,
    /// Entries that were described, and that nothing made doubtful since.
    pub(super) described: usize,
    /// Entries that carry a mark of ours.
    pub(super) owned: usize,
    /// Principals whose calls wait.
    pub(super) waiting: usize,
    /// Principals whose calls are in flight.
    pub(super) running: usize,
    /// Whether the queue can be read, where there is one.
    pub(super) queue: Option<bool>,
    /// Messages from the SQS queue by outcome.
    pub(super) events: BTreeMap<&'static str, u64>,
}

impl EksMetrics {
    fn register(registry: &mut Registry, calls: &Calls) -> Self {
        let metrics = Self::default();
        registry.register(
            "eks_calls",
            "Calls to EKS by operation and outcome, retries included",
            calls.calls.clone(),
        );
        registry.register(
            "eks_call_duration_seconds",
            "Duration of EKS calls by operation, without the wait for the rate limit",
            calls.duration.clone(),
        );
        registry.register(
            "aws_calls",
            "Calls to IAM, STS and SQS by service, operation and outcome",
            calls.others.clone(),
        );
        registry.register(
            "aws_call_duration_seconds",
            "Duration of calls to IAM, STS and SQS by service and operation, retries included",
            calls.others_duration.clone(),
        );
        registry.register(
            "eks_call_rate",
            "Current limit of EKS calls per second; below the configured rate while EKS throttles",
            calls.rate.clone(),
        );
        registry.register(
            "eks_wait_seconds",
            "Total seconds that EKS calls waited for the rate limit",
            calls.waited.clone(),
        );
        registry.register(
            "authentication_mode",
            "1 for the cluster's authentication mode as last read; 0 for all while it is unknown or the cluster does not match the API server",
            metrics.mode.family.clone(),
        );
        registry.register(
            "authentication_mode_read_timestamp_seconds",
            "Unix time of the last read of the authentication mode, 0 before the first",
            metrics.read.clone(),
        );
        registry.register(
            "eks_reachable",
            "1 if the last DescribeCluster succeeded",
            metrics.reachable.clone(),
        );
        registry.register(
            "access_entries_listed_timestamp_seconds",
            "Unix time of the last complete listing of access entries, 0 before the first",
            metrics.listed.clone(),
        );
        registry.register(
            "access_entries",
            "Access entries by state: known (listed), described (details current), managed (by an installation of this operator)",
            metrics.entries.family.clone(),
        );
        registry.register(
            "access_entry_queue",
            "Principals with EKS calls by state: waiting or in_flight",
            metrics.works.family.clone(),
        );
        registry.register(
            "queue_readable",
            "1 if the last read of the SQS queue succeeded; 0 if not or if no queue is configured",
            metrics.queue.clone(),
        );
        registry.register(
            "queue_messages",
            "Messages from the SQS queue by outcome",
            metrics.events.clone(),
        );
        metrics
    }

    fn show(&mut self, numbers: &EksNumbers) {
        self.mode.set(
            [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api].map(|mode| {
                (
                    [("mode", mode.as_str())],
                    u64::from(numbers.mode == Some(mode)),
                )
            }),
        );
        let seconds = |time: Option<Timestamp>| time.map_or(0, Timestamp::as_second);
        self.read.set(seconds(numbers.read));
        self.reachable.set(i64::from(numbers.reachable));
        self.listed.set(seconds(numbers.listed));
        self.entries.set([
            ([("state", "known")], numbers.known as u64),
            ([("state", "described")], numbers.described as u64),
            ([("state", "managed")], numbers.owned as u64),
        ]);
        self.works.set([
            ([("state", "waiting")], numbers.waiting as u64),
            ([("state", "in_flight")], numbers.running as u64),
        ]);
        self.queue.set(i64::from(numbers.queue == Some(true)));
        for (outcome, count) in &numbers.events {
            let counter = self.events.get_or_create(&[("outcome", *outcome)]);
            let before = self.events_before.get(outcome).copied().unwrap_or(0);
            counter.inc_by((before + count).saturating_sub(counter.get()));
        }
        self.events_shown.clone_from(&numbers.events);
    }

    /// The term is over.
    fn hide(&mut self) {
        for (outcome, count) in std::mem::take(&mut self.events_shown) {
            *self.events_before.entry(outcome).or_default() += count;
        }
        self.show(&EksNumbers::default());
    }
}

impl Metrics {
    /// All metrics at zero, and the registry that shows them; those of EKS only where it is called.
    #[must_use]
    pub fn new(calls: Option<&Calls>, requests: &ApiRequests) -> (Self, Registry) {
        let mut registry = Registry::with_prefix("identity_mapper");
        let metrics = Self {
            passes: Counter::default(),
            // From a millisecond to some 8 s, and to some 65 s.
            pass_duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            writes: Family::default(),
            change_to_written: Histogram::new(exponential_buckets(0.001, 2.0, 17)),
            drift: Family::default(),
            changes: Family::default(),
            administrators: Gauges::default(),
            mappings: Gauges::default(),
            parses: Gauges::default(),
            dropped: Gauges::default(),
            held: Gauge::default(),
            owned: Gauge::default(),
            orphaned: Gauge::default(),
            contested: Gauge::default(),
            released: Gauge::default(),
            leader: Gauge::default(),
            eks: calls.map(|calls| EksMetrics::register(&mut registry, calls)),
        };
        metrics.register(&mut registry);
        register_process(&mut registry, requests);
        metrics.begin();
        (metrics, registry)
    }

    fn register(&self, registry: &mut Registry) {
        // The library adds `_total` to counters and the full stop to every help.
        registry.register(
            "passes",
            "Reconciliations of all mappings",
            self.passes.clone(),
        );
        registry.register(
            "pass_duration_seconds",
            "Duration of a reconciliation",
            self.pass_duration.clone(),
        );
        registry.register(
            "writes",
            "Writes of aws-auth by result",
            self.writes.clone(),
        );
        registry.register(
            "change_to_written_seconds",
            "Seconds from the watch event of a change to the completed write of aws-auth",
            self.change_to_written.clone(),
        );
        registry.register(
            "drift_repaired",
            "Repaired changes of managed entries by kind",
            self.drift.clone(),
        );
        registry.register(
            "access_changes",
            "Changes of principals' access by action and backend",
            self.changes.clone(),
        );
        registry.register(
            "administrators",
            "Principals that are administrators by backend and by what makes them one",
            self.administrators.family.clone(),
        );
        registry.register(
            "mappings",
            "Mappings by condition",
            self.mappings.family.clone(),
        );
        registry.register(
            "aws_auth_parses",
            "1 for each key of aws-auth that the authenticator can parse, 0 for one that it ignores",
            self.parses.family.clone(),
        );
        registry.register(
            "aws_auth_dropped_entries",
            "Entries of aws-auth that the authenticator ignores, by key",
            self.dropped.family.clone(),
        );
        registry.register(
            "removals_held",
            "Removals waiting for confirmation",
            self.held.clone(),
        );
        registry.register(
            "managed_keys",
            "Principals with a managed entry",
            self.owned.clone(),
        );
        registry.register(
            "orphaned_keys",
            "Principals with a managed entry but no mapping",
            self.orphaned.clone(),
        );
        registry.register(
            "contested",
            "Entries and keys of aws-auth that another writer keeps changing",
            self.contested.clone(),
        );
        registry.register(
            "released",
            "1 after identity-mapper release: no writes",
            self.released.clone(),
        );
        registry.register(
            "leader",
            "1 while this replica holds the Lease, or runs without leader election",
            self.leader.clone(),
        );
    }

    /// Counters at zero: a rate needs the value before the first.
    fn begin(&self) {
        self.leader.set(1);
        for action in AccessAction::ALL {
            for backend in [Backend::ConfigMap, Backend::AccessEntry] {
                let labels = [("action", action.as_str()), ("backend", backend.as_str())];
                drop(self.changes.get_or_create(&labels));
            }
        }
        for result in [
            "written",
            "conflict",
            "denied",
            "forbidden",
            "invalid",
            "unavailable",
        ] {
            drop(self.writes.get_or_create(&[("result", result)]));
        }
    }

    /// Whether this replica leads: at first, as where there is no election.
    #[must_use]
    pub fn leader(&self) -> Gauge {
        self.leader.clone()
    }

    /// Shows no state any more: a standby plans nothing, and what it showed before would be taken for what is.
    pub(super) fn hide(&mut self) {
        self.administrators.clear();
        self.mappings.clear();
        self.parses.clear();
        self.dropped.clear();
        for gauge in [
            &self.held,
            &self.owned,
            &self.orphaned,
            &self.contested,
            &self.released,
        ] {
            gauge.set(0);
        }
        if let Some(eks) = &mut self.eks {
            eks.hide();
        }
    }

    /// Counts a pass, the conflicts that it met and what came of its write.
    pub fn pass(&self, duration: Duration, conflicts: u32, outcome: &Outcome) {
        self.passes.inc();
        self.pass_duration.observe(duration.as_secs_f64());
        self.writes
            .get_or_create(&[("result", "conflict")])
            .inc_by(conflicts.into());
        if let Some(result) = write_result(outcome) {
            self.writes.get_or_create(&[("result", result)]).inc();
        }
    }

    /// Counts the time from a change to the write that follows from it.
    pub fn written_after(&self, duration: Duration) {
        self.change_to_written.observe(duration.as_secs_f64());
    }

    /// Shows what is known of EKS.
    pub(super) fn show_eks(&mut self, numbers: &EksNumbers) {
        if let Some(eks) = &mut self.eks {
            eks.show(numbers);
        }
    }

    /// Counts changes of access.
    pub fn changed(&self, changes: &[AccessChange]) {
        for change in changes {
            let labels = [
                ("action", change.action.as_str()),
                ("backend", change.backend.as_str()),
            ];
            self.changes.get_or_create(&labels).inc();
        }
    }

    /// Shows the state after a pass.
    pub fn show(&mut self, summary: &Summary) {
        self.mappings
            .set(summary.conditions.iter().map(|((type_, status), count)| {
                ([("condition", type_.as_str()), ("status", *status)], *count)
            }));
        let administrators = summary.administrators.iter();
        self.administrators
            .set(administrators.map(|((backend, source), count)| {
                ([("backend", backend.as_str()), ("source", *source)], *count)
            }));
        self.parses.set(
            summary
                .parses
                .iter()
                .map(|(section, parses)| ([("key", section.key())], u64::from(*parses))),
        );
        self.dropped.set(
            summary
                .dropped
                .iter()
                .map(|(section, count)| ([("key", section.key())], *count)),
        );
        self.held.set(clamp(summary.held));
        self.owned.set(clamp(summary.owned));
        self.orphaned.set(clamp(summary.orphaned));
        self.contested.set(clamp(summary.contested));
        self.released.set(i64::from(summary.released));
        for (kind, count) in &summary.drift {
            self.drift.get_or_create(&[("kind", *kind)]).inc_by(*count);
        }
    }
}

/// What the process itself is and does.
fn register_process(registry: &mut Registry, requests: &ApiRequests) {
    registry.register(
        "api_server_requests",
        "Requests to the API server by verb and HTTP status; error: without an answer",
        requests.requests.clone(),
    );
    registry.register(
        "api_server_request_duration_seconds",
        "Time until the API server began to answer, by verb",
        requests.duration.clone(),
    );
    let build = Family::<Labels<1>, Gauge>::default();
    build
        .get_or_create(&[("version", env!("CARGO_PKG_VERSION"))])
        .set(1);
    registry.register("build_info", "1, with the version of the operator", build);
    registry.register_collector(Box::new(Tasks));
}

/// What the process runs side by side: a number that only grows is a leak.
#[derive(Debug)]
struct Tasks;

impl Collector for Tasks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Ok(runtime) = Handle::try_current() else {
            return Ok(());
        };
        let alive = runtime.metrics().num_alive_tasks();
        let gauge = ConstGauge::new(i64::try_from(alive).unwrap_or(i64::MAX));
        let kind = gauge.metric_type();
        gauge.encode(encoder.encode_descriptor(
            "tasks",
            "Asynchronous tasks that are running or waiting",
            None,
            kind,
        )?)
    }
}

/// The text that Prometheus reads (`application/openmetrics-text; version=1.0.0`).
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String has no error.
    let _ = encode(&mut text, registry);
    text
}

fn write_result(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::NothingToWrite => None,
        Outcome::Written { .. } => Some("written"),
        Outcome::Failed(WriteFailure::Denied(_)) => Some("denied"),
        Outcome::Failed(WriteFailure::Forbidden(_)) => Some("forbidden"),
        Outcome::Failed(WriteFailure::Invalid(_)) => Some("invalid"),
        Outcome::Failed(WriteFailure::Unavailable(_)) => Some("unavailable"),
    }
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
