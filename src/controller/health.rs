//! Serves `/livez`, `/readyz` and `/metrics`, and decides what they answer.
//!
//! Ready means that the operator does its work: a first pass was made, passes succeed, watches work. A Pod that is not ready goes on
//! trying and repairing; the answer says why. Live means that a restart would not help: what is wrong outside never makes the
//! process dead, only a loop that no longer turns, or a pass that outlives the time limits of all its calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::http::{self, PageAnswer, Routes};
use super::metrics;
use crate::lease::Permit;

/// The loop turns at least every ten seconds; a pass that waits for a slow API server doesn't stop it.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// A loop that is silent for longer does no work: another replica may.
const LONGEST_PAUSE: Duration = Duration::from_secs(25);

/// A restart of the API server, or a conflict that lasts, is over by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pass takes milliseconds; one that meets time limits takes some tens of seconds.
const LONG_PASS: Duration = Duration::from_mins(1);

/// No pass can take longer than this: each of its calls ends within 5 s, it makes at most ten attempts of three calls in a row, and adds
/// finalizers for 30 s.
const LONGEST_PASS: Duration = Duration::from_mins(5);

/// The other side's words in an answer, in characters.
const MOST_WORDS: usize = 300;

/// What the loop reports of itself.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// Milliseconds after the start at which the loop last turned.
    last_turn: AtomicU64,
    /// Whether the watches of a standby have told all, and it remembers them.
    watched: AtomicBool,
    vitals: Mutex<Vitals>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            last_turn: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            vitals: Mutex::new(Vitals::default()),
        }
    }
}

impl Health {
    /// The loop turns.
    pub(super) fn turn(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_turn.store(elapsed, Ordering::Relaxed);
    }

    /// Whether the loop has turned lately.
    pub(super) fn is_turning(&self, now: Instant) -> bool {
        self.silence(now) < LONGEST_PAUSE
    }

    /// This replica is one of several, and does not lead. It has still to learn what is there.
    pub(super) fn stands_by(&self) {
        self.watched.store(false, Ordering::Relaxed);
        let mut vitals = self.vitals();
        vitals.role = ReplicaRole::Standby;
        vitals.pass_since = None;
        vitals.passes = None;
        vitals.unproven = None;
        // They begin anew, and report by themselves what fails.
        vitals.watches.clear();
    }

    /// This replica leads for as long as the permit of its term allows.
    pub(super) fn leads(&self, permit: Permit) {
        let mut vitals = self.vitals();
        vitals.role = ReplicaRole::Leader(permit);
        vitals.pass_since = None;
    }

    /// A standby has made a pass: it knows what is there.
    pub(super) fn has_watched(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    /// Whether a standby could begin to lead.
    pub(super) fn may_lead(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// What the first pass waits for.
    pub(super) fn waits_for(&self, what: &[&str]) {
        self.vitals().waits_for = what.join(", ");
    }

    /// A pass begins.
    pub(super) fn pass_begins(&self, now: Instant) {
        self.vitals().pass_since = Some(now);
    }

    /// The pass is over; `failure` says what has to be tried again.
    pub(super) fn pass_ends(&self, now: Instant, failure: Option<&str>) {
        let mut vitals = self.vitals();
        vitals.pass_since = None;
        vitals.first_pass_made = true;
        Failing::note(&mut vitals.passes, now, failure);
    }

    /// The cluster in EKS is not proven to be the one whose API server this is, or is again.
    pub(super) fn unproven(&self, now: Instant, why: Option<&str>) {
        Failing::note(&mut self.vitals().unproven, now, why);
    }

    /// A watch fails with these words, or works again.
    pub(super) fn watch(&self, name: &'static str, now: Instant, failure: Option<&str>) {
        let mut vitals = self.vitals();
        let mut failing = vitals.watches.remove(name);
        Failing::note(&mut failing, now, failure);
        if let Some(failing) = failing {
            vitals.watches.insert(name, failing);
        }
    }

    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        // No step of a change can panic, so what is there is whole.
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silence(&self, now: Instant) -> Duration {
        let last = self.started + Duration::from_millis(self.last_turn.load(Ordering::Relaxed));
        now.saturating_duration_since(last)
    }

    fn live(&self, now: Instant) -> PageAnswer {
        let silence = self.silence(now);
        let looping = if silence < LONGEST_SILENCE {
            None
        } else {
            Some(format!(
                "the main loop has been hanging for {} s",
                silence.as_secs()
            ))
        };
        let reasons: Vec<String> = looping
            .into_iter()
            .chain(self.vitals().hangs(now))
            .collect();
        answer(&reasons, None)
    }

    fn ready(&self, now: Instant) -> PageAnswer {
        let vitals = self.vitals();
        answer(&vitals.unready(now), vitals.role.word())
    }
}

/// The part of this replica.
#[derive(Clone, Debug, Default)]
enum ReplicaRole {
    /// There is no election.
    #[default]
    Only,
    Leader(Permit),
    Standby,
}

impl ReplicaRole {
    /// What a replica that is ready says of itself. One that could not renew the Lease in time leads no more, even before it learns that
    /// another replica holds it.
    fn word(&self) -> Option<&'static str> {
        match self {
            Self::Only => None,
            Self::Leader(permit) if permit.allows(Duration::ZERO) => Some("leader"),
            Self::Leader(_) | Self::Standby => Some("standby"),
        }
    }
}

fn answer(reasons: &[String], role: Option<&str>) -> PageAnswer {
    if reasons.is_empty() {
        let role = role.map(|role| format!("{role}\n")).unwrap_or_default();
        PageAnswer::text(StatusCode::OK, format!("ok\n{role}"))
    } else {
        PageAnswer::text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

/// What fails, since when.
#[derive(Debug)]
struct Failing {
    since: Instant,
    words: String,
}

impl Failing {
    fn note(failing: &mut Option<Self>, now: Instant, failure: Option<&str>) {
        *failing = failure.map(|words| Self {
            since: failing.as_ref().map_or(now, |failing| failing.since),
            words: words.chars().take(MOST_WORDS).collect(),
        });
    }

    /// How long it has failed, and the words; `None` while that is bearable.
    fn lasting(&self, now: Instant, patience: Duration) -> Option<(u64, &str)> {
        let lasts = now.saturating_duration_since(self.since);
        (lasts >= patience).then_some((lasts.as_secs(), self.words.as_str()))
    }
}

/// What readiness is judged by.
#[derive(Debug, Default)]
struct Vitals {
    role: ReplicaRole,
    first_pass_made: bool,
    /// What the first pass waits for.
    waits_for: String,
    /// Since when a pass runs.
    pass_since: Option<Instant>,
    passes: Option<Failing>,
    unproven: Option<Failing>,
    watches: BTreeMap<&'static str, Failing>,
}

impl Vitals {
    /// Why it is not ready; nothing where it is.
    fn unready(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.first_pass_made {
            let what = match self.waits_for.as_str() {
                "" => "the first pass",
                what => what,
            };
            reasons.push(format!("waiting for {what}"));
        }
        // Before the first pass nothing has worked yet that could work again in a moment.
        let patience = if self.first_pass_made {
            PATIENCE
        } else {
            Duration::ZERO
        };
        for (name, failing) in &self.watches {
            if let Some((seconds, words)) = failing.lasting(now, patience) {
                reasons.push(format!(
                    "the watch of {name} has been failing for {seconds} s: {words}"
                ));
            }
        }
        if let Some((seconds, words)) = self
            .passes
            .as_ref()
            .and_then(|failing| failing.lasting(now, PATIENCE))
        {
            reasons.push(format!(
                "reconciliations have been failing for {seconds} s: {words}"
            ));
        }
        // Both sides were read: it is so from the first moment.
        if let Some((seconds, words)) = self
            .unproven
            .as_ref()
            .and_then(|failing| failing.lasting(now, Duration::ZERO))
        {
            reasons.push(format!("nothing has been written for {seconds} s: {words}"));
        }
        reasons.extend(self.runs(now, LONG_PASS));
        reasons
    }

    fn hangs(&self, now: Instant) -> Option<String> {
        self.runs(now, LONGEST_PASS)
    }

    fn runs(&self, now: Instant, limit: Duration) -> Option<String> {
        let runs = now.saturating_duration_since(self.pass_since?);
        (runs >= limit)
            .then(|| format!("a reconciliation has been running for {} s", runs.as_secs()))
    }
}

fn health_route(health: &Health, path: &str) -> Option<PageAnswer> {
    match path {
        "/livez" => Some(health.live(Instant::now())),
        "/readyz" => Some(health.ready(Instant::now())),
        _ => None,
    }
}

fn metrics_route(registry: &Registry, path: &str) -> Option<PageAnswer> {
    (path == "/metrics").then(|| PageAnswer {
        status: StatusCode::OK,
        content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        body: metrics::text(registry),
    })
}

/// Serves both until `shutdown`; one listener where the addresses are the same. An error where one can't be bound.
pub async fn serve(
    health_address: SocketAddr,
    metrics_address: SocketAddr,
    health: Arc<Health>,
    registry: Registry,
    shutdown: &CancellationToken,
) -> Result<(), BindError> {
    let servers: Vec<(SocketAddr, Arc<Routes>)> = if health_address == metrics_address {
        let both = move |path: &str| {
            health_route(&health, path).or_else(|| metrics_route(&registry, path))
        };
        vec![(health_address, Arc::new(both))]
    } else {
        vec![
            (
                health_address,
                Arc::new(move |path: &str| health_route(&health, path)),
            ),
            (
                metrics_address,
                Arc::new(move |path: &str| metrics_route(&registry, path)),
            ),
        ]
    };
    for (address, routes) in servers {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| BindError { address, source })?;
        let ends = shutdown.clone().cancelled_owned();
        // Not a graceful shutdown: a scraper that is slow would hold up the end.
        tokio::spawn(async move {
            tokio::select! {
                () = ends => {}
                never = http::serve(listener, routes) => match never {},
            }
        });
    }
    Ok(())
}

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "listening on {address} failed: {source}; set another address with --health-address or --metrics-address"
)]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Term;

    fn after(now: Instant, time: Duration) -> Instant {
        now + time
    }

    fn made(now: Instant) -> Health {
        let health = Health::default();
        health.pass_begins(now);
        health.pass_ends(now, None);
        health
    }

    fn unready(health: &Health, now: Instant) -> Option<String> {
        let PageAnswer { status, body, .. } = health.ready(now);
        assert_eq!(status == StatusCode::OK, body == "ok\n", "{body}");
        (body != "ok\n").then_some(body)
    }

    #[test]
    fn ready_once_the_first_pass_was_made() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!(
            unready(&health, now).as_deref(),
            Some("waiting for the first pass\n")
        );
        health.waits_for(&["IdentityMappings", "RoleBindings"]);
        health.watch("RoleBindings", now, Some("forbidden"));
        assert_eq!(
            unready(&health, now).as_deref(),
            Some(
                "waiting for IdentityMappings, RoleBindings\nthe watch of RoleBindings has been failing for 0 s: forbidden\n"
            )
        );
        health.watch("RoleBindings", now, None);
        health.pass_begins(now);
        health.pass_ends(now, None);
        assert_eq!(unready(&health, now), None);
    }

    #[test]
    fn a_watch_that_keeps_failing_makes_it_unready_until_it_works_again() {
        let now = Instant::now();
        let health = made(now);
        health.watch("the ConfigMap", now, Some("connection refused"));
        assert_eq!(unready(&health, now), None, "it may be back in a moment");
        let later = after(now, PATIENCE);
        health.watch("the ConfigMap", later, Some("connection reset"));
        assert_eq!(
            unready(&health, later).as_deref(),
            Some("the watch of the ConfigMap has been failing for 20 s: connection reset\n")
        );
        assert_eq!(health.live(later).status, StatusCode::OK);
        health.watch("the ConfigMap", later, None);
        assert_eq!(unready(&health, later), None);
    }

    #[test]
    fn passes_that_keep_failing_make_it_unready_until_one_succeeds() {
        let now = Instant::now();
        let health = made(now);
        let later = after(now, PATIENCE);
        for time in [now, later] {
            health.pass_begins(time);
            health.pass_ends(time, Some("no answer"));
        }
        assert_eq!(
            unready(&health, later).as_deref(),
            Some("reconciliations have been failing for 20 s: no answer\n")
        );
        health.pass_begins(later);
        health.pass_ends(later, None);
        assert_eq!(unready(&health, later), None);
    }

    #[test]
    fn a_pass_that_never_ends_makes_it_unready_and_then_dead() {
        let now = Instant::now();
        let health = made(now);
        health.pass_begins(now);
        let live = |time: Duration| {
            // The loop turns all the while.
            health.last_turn.store(u64::MAX / 4, Ordering::Relaxed);
            health.live(after(now, time)).status
        };
        assert_eq!(unready(&health, after(now, LONG_PASS / 2)), None);
        assert_eq!(
            unready(&health, after(now, LONG_PASS)).as_deref(),
            Some("a reconciliation has been running for 60 s\n")
        );
        assert_eq!(live(LONG_PASS), StatusCode::OK);
        assert_eq!(live(LONGEST_PASS), StatusCode::SERVICE_UNAVAILABLE);
        health.pass_ends(after(now, LONGEST_PASS), None);
        assert_eq!(live(LONGEST_PASS), StatusCode::OK);
    }

    #[test]
    fn long_error_messages_are_cut() {
        let now = Instant::now();
        let health = Health::default();
        health.watch("RoleBindings", now, Some(&"é".repeat(10_000)));
        let body = unready(&health, now).expect("it fails");
        assert!(body.chars().count() < MOST_WORDS + 100, "{}", body.len());
    }

    #[test]
    fn a_replica_says_whether_it_leads_and_may_lead_once_it_has_watched() {
        let health = Health::default();
        let now = Instant::now();
        health.stands_by();
        assert!(!health.may_lead());
        health.pass_begins(now);
        health.pass_ends(now, None);
        health.has_watched();
        assert!(health.may_lead());
        assert_eq!(health.ready(now).body, "ok\nstandby\n");
        let (term, permit) = Term::new(Instant::now() + LONGEST_PAUSE);
        health.leads(permit);
        assert_eq!(health.ready(now).body, "ok\nleader\n");
        term.extend(Instant::now());
        assert_eq!(
            health.ready(now).body,
            "ok\nstandby\n",
            "the Lease has expired, and its loss is not known yet"
        );
        term.extend(Instant::now() + LONGEST_PAUSE);
        assert_eq!(health.ready(now).body, "ok\nleader\n");
        assert_eq!(health.live(now).body, "ok\n");
        // It was cut off and lost the Lease, and has to watch anew.
        health.watch("RoleBindings", now, Some("connection refused"));
        health.stands_by();
        assert_eq!(health.ready(now + PATIENCE).status, StatusCode::OK);
        assert!(!health.may_lead());
        assert!(health.is_turning(Instant::now()));
        let hung = Instant::now() + LONGEST_PAUSE;
        assert!(!health.is_turning(hung), "another replica may do the work");
    }

    #[test]
    fn live_while_the_loop_turns() {
        let health = Health::default();
        health.turn();
        let now = Instant::now();
        assert_eq!(health.live(now).status, StatusCode::OK);
        let hung = health.live(after(now, 2 * LONGEST_SILENCE));
        assert_eq!(hung.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            hung.body.starts_with("the main loop has been hanging for "),
            "{}",
            hung.body
        );
    }
}
