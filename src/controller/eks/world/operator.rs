//! The operator's process: its memory, and what it reads and calls, as in the real loop.

#![allow(
    clippy::struct_excessive_bools,
    reason = "findings that are independent of each other"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;

use super::World;
use super::calls::Flight;
use super::declared::Since;
use super::pass::{Job, Pass};
use crate::access_entry::{Call, EksCluster, Failure, Output};
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::controller::eks::aws_cache::{AwsCache, FollowUp};
use crate::controller::eks::call_queue::{CallQueue, NextCall};
use crate::controller::eks::in_force::{ClusterReading, Trust};
use crate::observed::{AwsState, Feature, Mode, Observed, Users};
use crate::plan::Memory;
use crate::principal::Key;
use crate::safety::{clear_call, may_take};
use crate::time::Timestamp;

/// The first pass waits so long for the first listing.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// A description that told nothing is made again after so long.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

/// What a process holds, and loses when it ends.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) started: Timestamp,
    pub(super) known: AwsCache,
    pub(super) works: CallQueue,
    pub(super) memory: Memory,
    pub(super) pass: Option<Box<Pass>>,
    /// The version of aws-auth that it read or wrote last.
    pub(super) text_read: Option<String>,
    /// By what the works that wait were planned.
    pub(super) planned: Option<Since>,
    /// By what the works that have begun were planned.
    begun: BTreeMap<Key, Since>,
    /// Descriptions that told nothing, and until when none is made again.
    pauses: BTreeMap<String, Timestamp>,
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
    /// Principals whose absence it tells, and that no one has changed since.
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
            known: AwsCache::new("main".to_owned(), trust, started),
            begun: BTreeMap::new(),
            pauses: BTreeMap::new(),
            works: CallQueue::default(),
            memory: Memory::default(),
            pass: None,
            text_read: None,
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
        pass.chain(&mut self.planned).chain(self.begun.values_mut())
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

    /// When something is due although nothing happens.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let known = &self.operator.known;
        let state = known.state(None);
        let ends = state.view().and_then(|view| view.in_flight.next_end());
        let pauses = self.operator.pauses.values().copied();
        let wakes = [self.operator.wake, known.retry(), ends];
        let wakes = wakes.into_iter().flatten().chain(pauses);
        wakes.filter(|wake| *wake > self.clock()).min()
    }

    /// What EKS itself uses is read again before it is too old; here it uses nothing.
    pub(super) fn read_users(&mut self) {
        let now = self.clock();
        for feature in Feature::ALL {
            let users = Ok(Users::default());
            self.operator.known.users_read(feature, users, now, now);
        }
    }

    /// A turn of the loop: time has passed.
    pub(super) fn turn(&mut self) {
        let now = self.clock();
        let steady = Duration::from_secs(self.now.as_second().unsigned_abs());
        self.operator.known.compare_clocks(now, steady);
        self.operator.known.tick(now);
        self.operator.pauses.retain(|_, until| *until > now);
    }

    pub(super) fn read_cluster(&mut self) {
        let reading = ClusterReading {
            cluster: EksCluster::parse(CLUSTER).expect("an ARN"),
            mode: self.mode,
            authorities: ["ab".to_owned()].into(),
            users: Users::default(),
            at: self.clock(),
        };
        self.operator.mode_unread = false;
        self.operator.known.cluster_read(Ok(reading));
        if !self.operator.reads_entries() {
            self.operator.works.drop_unsent();
        }
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
        if self.operator.pauses.contains_key(principal) {
            return false;
        }
        let waited_for = self
            .flights
            .iter()
            .filter(|flight| flight.abandoned.is_none());
        !waited_for
            .clone()
            .any(|flight| flight.principal() == principal)
            && Key::parse_arn(principal)
                .is_some_and(|key| !works.has_in_flight(&key) && !works.will_describe(&key))
    }

    pub(super) fn describe(&mut self, principal: &str) {
        let call = Call::Describe {
            principal_arn: principal.to_owned(),
        };
        if let Some(key) = Key::parse_arn(principal).filter(|_| self.may_describe(principal)) {
            self.send(key, call, true);
        }
    }

    /// Whether a call of the works may be sent, or is to be planned anew.
    pub(super) fn may_send(&self) -> bool {
        let mut works = self.operator.works.clone();
        let described = self.described();
        self.operator.reads_entries()
            && works
                .next(
                    |call| described.contains(call.principal_arn()) || self.waits(call),
                    |_, _| Ok(()),
                )
                .is_some()
    }

    /// Whether the call may take access while a pass runs.
    fn waits(&self, call: &Call) -> bool {
        let aws = self.operator.known.state(self.kept().as_ref());
        let bindings = self.bindings.iter().collect();
        self.operator.pass.is_some() && may_take(&aws, &bindings, call)
    }

    /// Principals whose entry is being described beside the plans.
    fn described(&self) -> BTreeSet<String> {
        let flights = self.flights.iter();
        let beside = flights.filter(|flight| flight.beside && flight.abandoned.is_none());
        beside.map(|flight| flight.principal().to_owned()).collect()
    }

    pub(super) fn send_next(&mut self) {
        let (now, described) = (self.clock(), self.described());
        let live: BTreeSet<Option<Key>> = self
            .declared
            .iter()
            .filter(|it| !it.deleting && it.valid_until.is_none_or(|until| until > now))
            .map(|it| Key::parse_arn(&it.principal))
            .collect();
        let definition_goes = self.definition_deleting;
        let (desired, kept) = (self.desired(), self.kept());
        let observed = self.observed(now, AwsState::Off);
        let runs = self.operator.pass.is_some();
        let config_map = self.settings.config_map.to_string();
        let Operator {
            works,
            known,
            planned,
            begun,
            memory,
            ..
        } = &mut self.operator;
        let waits = |call: &Call| {
            let aws = known.state(kept.as_ref());
            let takes = || may_take(&aws, &observed.bindings, call);
            described.contains(call.principal_arn()) || runs && takes()
        };
        let next = works.next(waits, |key, calls| {
            let Some(call) = calls.first() else {
                return Ok(());
            };
            let deletes = matches!(call, Call::Delete { .. });
            if deletes && definition_goes && !live.contains(&Some(key.clone())) {
                return Err("the definition goes".to_owned());
            }
            known.permits(key)?;
            let observed = Observed {
                aws: known.state(kept.as_ref()),
                ..observed.clone()
            };
            if may_take(&observed.aws, &observed.bindings, call) {
                clear_call(&observed, &desired, &config_map, memory.removals(), calls)?;
            }
            Ok(())
        });
        match next {
            None => {}
            Some(NextCall::Refused(key, ..)) => {
                known.refused(&key);
                begun.remove(&key);
            }
            Some(NextCall::Send(key, call, _)) => {
                known.sent(&key, &call, now);
                let planned = planned.clone();
                let since = match begun.get(&key) {
                    Some(since) => since.clone(),
                    None => planned.unwrap_or_else(|| self.since()),
                };
                self.operator.begun.insert(key.clone(), since.clone());
                self.send(key, call, false);
                if let Some(sent) = self.flights.back_mut() {
                    sent.since = since;
                }
            }
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
            let asked = flight.asked;
            let (told, then) = operator.known.described(&principal, answer, asked, now);
            if !told {
                operator.pauses.insert(principal, now.plus(PAUSE));
            }
            then
        } else {
            let more = if answer.is_ok() {
                operator.works.succeeded(key)
            } else {
                operator.works.failed(key);
                false
            };
            if !more {
                operator.begun.remove(key);
            }
            operator.known.answered(key, call, answer, !more, now, 0.0)
        };
        self.operator.mode_unread |= then == FollowUp::ReadMode;
    }

    fn entry_is_gone(&self, principal: &str) -> bool {
        !self.eks.entries.contains_key(principal)
    }

    /// The process ends, and another one starts.
    pub(super) fn die(&mut self) {
        self.abandon();
        self.ledger.removals_forgotten |= std::mem::take(&mut self.ledger.unrecorded);
        self.operator = Operator::new(self.clock());
        self.turn();
    }
}
