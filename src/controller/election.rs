//! The replica's part in leader election: a task beside the loop that sends the requests that [`Election`] asks for.
//!
//! It is no part of the loop, so that no long plan delays a renewal; but a loop that hangs lets the Lease go.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::health::Health;
use crate::cluster::lease::LeaseClient;
use crate::error::Error;
use crate::lease::{Election, LeaseRefusal, LeaseStep, LeaseWrite, Permit, Term};

/// Whether this replica leads.
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    /// The term in which it does.
    pub permit: Option<Permit>,
    /// How often it may have missed what another replica wrote.
    pub gaps: u64,
}

/// Takes part in the election.
pub struct Contender {
    lease: LeaseClient,
    identity: String,
    election: Election,
    health: Arc<Health>,
    gauge: Gauge,
    grant: Option<Term>,
    sender: watch::Sender<Leadership>,
    failing: bool,
}

impl Contender {
    /// A contender of this name, which no process ever had, and word of whether it leads.
    #[must_use]
    pub fn new(
        lease: LeaseClient,
        identity: String,
        health: Arc<Health>,
        gauge: Gauge,
    ) -> (Self, watch::Receiver<Leadership>) {
        gauge.set(0);
        let (sender, leadership) = watch::channel(Leadership::default());
        let contender = Self {
            lease,
            election: Election::new(identity.clone(), Instant::now()),
            identity,
            health,
            gauge,
            grant: None,
            sender,
            failing: false,
        };
        (contender, leadership)
    }

    /// Takes part until `end`, and then lets another replica begin at once. Everything that this one writes has to be over by then.
    pub async fn run(mut self, end: CancellationToken) {
        while !end.is_cancelled() {
            let now = Instant::now();
            let able = self.is_able(now);
            match self.election.step(now, able) {
                LeaseStep::Wait(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until.into()) => {}
                        () = end.cancelled() => {}
                    }
                }
                LeaseStep::Read => self.read().await,
                LeaseStep::Write(write) => self.write(&write, now).await,
            }
            self.publish();
        }
        self.release().await;
    }

    /// Whether this replica can do the work of a leader. One that leads goes on as long as its loop turns.
    fn is_able(&self, now: Instant) -> bool {
        let leads = self.election.until().is_some();
        self.health.is_turning(now) && (leads || self.health.may_lead())
    }

    async fn read(&mut self) {
        let answer = self.lease.read().await;
        self.log("reading", answer.as_ref().err());
        let now = Instant::now();
        let able = self.is_able(now);
        self.election.read(answer, now, able);
    }

    async fn write(&mut self, write: &LeaseWrite, began: Instant) {
        let answer = self.lease.write(write).await;
        match &answer {
            // Another one was first, or the holder is alive.
            Err((LeaseRefusal::Stale, error)) => debug!(error = %error, "the Lease has changed"),
            answer => self.log("writing", answer.as_ref().err().map(|(_, error)| error)),
        }
        let answer = answer.map_err(|(refusal, _)| refusal);
        self.election.written(write, answer, began, Instant::now());
    }

    /// Only the first failure of many is worth a warning.
    fn log(&mut self, doing: &str, error: Option<&Error>) {
        match error {
            None => self.failing = false,
            Some(error) if std::mem::replace(&mut self.failing, true) => {
                debug!(error = %error, "{doing} the Lease failed");
            }
            Some(error) => warn!(error = %error, "{doing} the Lease failed, retrying"),
        }
    }

    fn publish(&mut self) {
        let until = self.election.until();
        self.gauge
            .set(i64::from(until.is_some_and(|until| until > Instant::now())));
        let gaps = self.election.gaps();
        let term = match (until, &self.grant) {
            (Some(until), Some(grant)) => {
                grant.extend(until);
                self.sender.borrow().permit.clone()
            }
            (Some(until), None) => {
                info!(identity = self.identity, "this replica leads");
                let (grant, permit) = Term::new(until);
                self.grant = Some(grant);
                Some(permit)
            }
            (None, Some(_)) => {
                warn!(
                    identity = self.identity,
                    "another replica took the Lease: this one is a standby now"
                );
                self.grant = None;
                None
            }
            (None, None) => None,
        };
        self.sender.send_if_modified(|told| {
            let same = told.gaps == gaps
                && match (&told.permit, &term) {
                    (None, None) => true,
                    (Some(told), Some(term)) => told.is_same(term),
                    (None, Some(_)) | (Some(_), None) => false,
                };
            if !same {
                *told = Leadership { permit: term, gaps };
            }
            !same
        });
    }

    async fn release(&mut self) {
        self.grant = None;
        self.gauge.set(0);
        let Some(write) = self.election.release() else {
            return;
        };
        match self.lease.write(&write).await {
            Ok(_) => info!(identity = self.identity, "released the Lease"),
            Err((_, error)) => {
                warn!(error = %error, "releasing the Lease failed: another replica waits until it expires");
            }
        }
    }
}
