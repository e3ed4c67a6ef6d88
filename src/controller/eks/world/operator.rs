//! The operator's process: what it knows and remembers, and what it reads and calls, as the loop's side of EKS does.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::World;
use super::calls::Flight;
use super::declared::Since;
use super::pass::{Job, Pass};
use crate::access_entry::{Call, EksCluster, Failure, Output};
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::controller::eks::in_force::{Reading, Trust};
use crate::controller::eks::known::{Known, Then};
use crate::controller::eks::works::Works;
use crate::observed::Mode;
use crate::plan::Memory;
use crate::principal::Key;
use crate::time::Timestamp;

/// The first pass waits so long for the first listing.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

/// What a process holds, and loses when it ends.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) started: Timestamp,
    pub(super) known: Known,
    pub(super) works: Works,
    pub(super) memory: Memory,
    pub(super) pass: Option<Box<Pass>>,
    /// By what the works that wait were planned.
    pub(super) planned: Option<Since>,
    pub(super) outbox: BTreeMap<String, Job>,
    /// Statuses that are to be written count as written.
    pub(super) assumed: BTreeMap<String, (String, IdentityMappingStatus)>,
    listing: Option<Listing>,
    /// Whether the mode may be another than the one that it read.
    pub(super) mode_unread: bool,
    /// Whether a watch told of something that no pass has seen.
    pub(super) dirty: bool,
    /// Whether the next listing and descriptions would bring something new.
    pub(super) news: bool,
    /// Whether statuses and finalizers are held up until nothing else happens.
    pub(super) slow: bool,
    pub(super) wake: Option<Timestamp>,
}

/// A listing that was read and is not answered.
#[derive(Clone, Debug)]
struct Listing {
    started: Timestamp,
    principals: BTreeSet<String>,
    administrators: BTreeSet<String>,
    /// Principals whose absence it tells, and that nobody has changed since.
    current: bool,
}

/// What becomes of a write to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// It is made, and the answer is lost.
    Lost,
    /// The API server can't be reached.
    Refused,
}

impl Operator {
    /// A process that has just started.
    pub(super) fn new(started: Timestamp) -> Self {
        let trust = Trust::Authorities(["ab".to_owned()].into());
        Self {
            started,
            known: Known::new("main".to_owned(), trust),
            works: Works::default(),
            memory: Memory::default(),
            pass: None,
            planned: None,
            outbox: BTreeMap::new(),
            assumed: BTreeMap::new(),
            listing: None,
            mode_unread: true,
            dirty: true,
            news: true,
            slow: false,
            wake: None,
        }
    }

    pub(super) fn contexts(&mut self) -> impl Iterator<Item = &mut Since> {
        let pass = self.pass.iter_mut().map(|pass| &mut pass.since);
        pass.chain(&mut self.planned)
    }

    pub(super) fn passing(&self) -> bool {
        self.pass.is_some()
    }

    pub(super) fn posts(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn lists(&self) -> bool {
        self.listing.is_some()
    }

    pub(super) fn never_listed(&self) -> bool {
        self.known.entries().listed.is_none()
    }

    pub(super) fn reads_entries(&self) -> bool {
        self.known
            .proven()
            .is_some_and(|(_, mode)| mode != Mode::ConfigMap)
    }
}

impl World {
    /// Whether a pass may begin.
    pub(super) fn may_pass(&self) -> bool {
        let operator = &self.operator;
        let patient = self.clock() < operator.started.plus(PATIENCE);
        let ready = match operator.known.proven() {
            Some((_, Mode::ConfigMap)) => true,
            Some(_) => !operator.never_listed() || !patient,
            None => !patient,
        };
        ready && operator.pass.is_none()
    }

    /// Whether a pass would see something new.
    pub(super) fn pass_is_due(&self) -> bool {
        let now = self.clock();
        let operator = &self.operator;
        let woken = operator.wake.is_some_and(|wake| wake <= now);
        self.may_pass() && (operator.dirty || woken || operator.known.changed(now))
    }

    /// When a pass is due although nothing happens.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let wakes = [self.operator.wake, self.operator.known.retry()];
        wakes
            .into_iter()
            .flatten()
            .filter(|wake| *wake > self.clock())
            .min()
    }

    pub(super) fn read_cluster(&mut self) {
        let reading = Reading {
            cluster: EksCluster::parse(CLUSTER).expect("an ARN"),
            mode: self.mode,
            authorities: ["ab".to_owned()].into(),
            at: self.clock(),
        };
        self.operator.mode_unread = false;
        self.operator.known.cluster_read(Ok(reading));
    }

    /// Reads the listing; it is answered later.
    pub(super) fn list(&mut self, behind: bool) {
        let entries = if behind {
            self.entries_behind()
        } else {
            &self.eks.entries
        };
        let administrators = entries
            .values()
            .filter(|entry| entry.policies.contains_key(super::access::ADMIN_POLICY));
        let listing = Listing {
            started: self.clock(),
            principals: entries.keys().cloned().collect(),
            administrators: administrators
                .map(|entry| entry.principal_arn.clone())
                .collect(),
            current: !behind,
        };
        self.operator.news = behind;
        self.operator.listing = Some(listing);
    }

    pub(super) fn listed(&mut self) {
        let now = self.clock();
        let Some(listing) = self.operator.listing.take() else {
            return;
        };
        if listing.current {
            let gone = self.unseen.iter().filter(|principal| {
                !listing.principals.contains(*principal)
                    && !self.eks.entries.contains_key(*principal)
            });
            let gone: Vec<String> = gone.cloned().collect();
            self.seen(gone);
        }
        let listed = Ok((listing.principals, listing.administrators));
        self.operator
            .known
            .entries_listed(listed, listing.started, now);
    }

    /// Principals whose entry is to be described beside the plans.
    pub(super) fn to_describe(&self) -> Vec<String> {
        let entries = self.operator.known.entries().by_principal.iter();
        let wanted = entries.filter(|(principal, state)| {
            state.known().is_none() || self.unread.contains(*principal)
        });
        wanted
            .map(|(principal, _)| principal.clone())
            .filter(|principal| self.may_describe(principal))
            .collect()
    }

    fn may_describe(&self, principal: &str) -> bool {
        let works = &self.operator.works;
        let waited_for = self
            .flights
            .iter()
            .filter(|flight| flight.abandoned.is_none());
        !waited_for
            .clone()
            .any(|flight| flight.principal() == principal)
            && Key::parse_arn(principal)
                .is_some_and(|key| !works.is_busy(&key) && !works.will_describe(&key))
    }

    pub(super) fn describe(&mut self, principal: &str) {
        let call = Call::Describe {
            principal_arn: principal.to_owned(),
        };
        if let Some(key) = Key::parse_arn(principal).filter(|_| self.may_describe(principal)) {
            self.send(key, call, true);
        }
    }

    /// The next call of the works that wait.
    pub(super) fn next_call(&self) -> Option<String> {
        self.operator
            .known
            .proven()
            .filter(|(_, mode)| *mode != Mode::ConfigMap)?;
        let mut works = self.operator.works.clone();
        let (_, call, _) = works.start(|call| self.is_described(call.principal_arn()))?;
        Some(call.principal_arn().to_owned())
    }

    fn is_described(&self, principal: &str) -> bool {
        let mut flights = self.flights.iter();
        flights.any(|flight| {
            flight.beside && flight.abandoned.is_none() && flight.principal() == principal
        })
    }

    pub(super) fn send_next(&mut self) {
        let described: BTreeSet<String> = self
            .flights
            .iter()
            .filter(|flight| flight.beside && flight.abandoned.is_none())
            .map(|flight| flight.principal().to_owned())
            .collect();
        let taken = |call: &Call| described.contains(call.principal_arn());
        if let Some((key, call, _)) = self.operator.works.start(taken) {
            self.send(key, call, false);
            self.decided_by_plan();
        }
    }

    /// The call that was sent last was decided when its plan was made.
    fn decided_by_plan(&mut self) {
        if let (Some(flight), Some(planned)) = (self.flights.back_mut(), &self.operator.planned) {
            flight.since = planned.clone();
        }
    }

    /// An answer is taken in, as the loop does it.
    pub(super) fn take_in(&mut self, flight: &Flight, answer: Result<Output, Failure>) {
        let now = self.clock();
        let Flight { key, call, .. } = flight;
        let principal = call.principal_arn().to_owned();
        let read = flight.reads() && (answer.is_ok() || self.entry_is_gone(&principal));
        if read
            && !flight
                .since
                .touched
                .contains(&super::access::folded(&principal))
        {
            self.seen([principal.clone()]);
        }
        let operator = &mut self.operator;
        let then = if flight.beside {
            operator.known.described(&principal, answer, now).1
        } else {
            let next = if answer.is_ok() {
                operator.works.succeeded(key)
            } else {
                operator.works.failed(key);
                None
            };
            let then = operator
                .known
                .answered(key, call, answer, next.is_none(), now, 0.0);
            if let Some((call, _)) = next {
                let since = flight.since.clone();
                self.send(key.clone(), call, false);
                if let Some(sent) = self.flights.back_mut() {
                    sent.since = since;
                }
            }
            then
        };
        self.operator.mode_unread |= then == Then::ReadMode;
    }

    fn entry_is_gone(&self, principal: &str) -> bool {
        !self.eks.entries.contains_key(principal)
    }

    /// The process ends, and another one starts.
    pub(super) fn die(&mut self) {
        self.abandon();
        self.operator = Operator::new(self.clock());
    }
}
