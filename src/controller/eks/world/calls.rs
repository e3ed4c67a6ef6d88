//! Calls to EKS that take time, and what reads of EKS can return.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::declared::Since;
use super::{LAG, TIME_LIMIT, World};
use crate::access_entry::{AccessEntry, Call, Failure, FailureKind, Output};
use crate::observed::Mode;
use crate::principal::Key;
use crate::time::Timestamp;

/// A call in flight.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) key: Key,
    pub(super) call: Call,
    /// A description beside the plans.
    pub(super) beside: bool,
    pub(super) sent: Timestamp,
    /// The same by the operator's clock.
    pub(super) asked: Timestamp,
    /// What EKS answers, once the call took effect or was refused.
    pub(super) answer: Option<Result<Output, FailureKind>>,
    /// Since when nobody waits for the answer.
    pub(super) abandoned: Option<Timestamp>,
    /// It is held up until nothing else happens.
    pub(super) slow: bool,
    pub(super) since: Since,
}

impl Flight {
    /// Until when it may take effect.
    pub(super) fn latest(&self) -> Timestamp {
        match self.abandoned {
            Some(abandoned) => abandoned.plus(LAG),
            None => self.sent.plus(TIME_LIMIT),
        }
    }

    pub(super) fn principal(&self) -> &str {
        self.call.principal_arn()
    }

    pub(super) fn reads(&self) -> bool {
        matches!(self.call, Call::Describe { .. })
    }
}

/// The access entries as they were lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Past(VecDeque<(Timestamp, BTreeMap<String, AccessEntry>)>);

impl World {
    /// The entries are about to change.
    pub(super) fn keep_past(&mut self) {
        let (now, past) = (self.now, &mut self.past.0);
        past.retain(|(until, _)| until.plus(LAG) >= now);
        past.push_back((now, self.eks.entries.clone()));
    }

    /// The entries as the oldest listing shows them that EKS may still answer.
    pub(super) fn entries_behind(&self) -> &BTreeMap<String, AccessEntry> {
        let mut past = self.past.0.iter();
        let oldest = past.find(|(until, _)| until.plus(LAG) >= self.now);
        oldest.map_or(&self.eks.entries, |(_, entries)| entries)
    }

    /// Whether a listing may show something else than what is there.
    pub(super) fn may_be_behind(&self) -> bool {
        self.entries_behind().keys().ne(self.eks.entries.keys())
    }

    pub(super) fn send(&mut self, key: Key, call: Call, beside: bool) {
        let flight = Flight {
            key,
            call,
            beside,
            sent: self.now,
            asked: self.clock(),
            answer: None,
            abandoned: None,
            slow: false,
            since: self.since(),
        };
        self.flights.push_back(flight);
    }

    /// The call takes effect. `twice`: it arrives once more, and that is what is answered.
    pub(super) fn effect(&mut self, place: usize, twice: bool) -> Option<Since> {
        let flight = self.flights.get(place).cloned()?;
        if !flight.reads() {
            self.keep_past();
        }
        let mut answer = self.serve(&flight.call);
        if twice {
            answer = self.serve(&flight.call);
        }
        if flight.abandoned.is_some() {
            // The next listing and the next description in turn will tell.
            self.unread.insert(flight.principal().to_owned());
            self.operator.news = true;
            self.flights.remove(place);
        } else if let Some(flight) = self.flights.get_mut(place) {
            flight.answer = Some(answer);
        }
        Some(flight.since)
    }

    fn serve(&mut self, call: &Call) -> Result<Output, FailureKind> {
        if self.mode == Mode::ConfigMap {
            return Err(FailureKind::ModeWithoutEntries);
        }
        self.eks.now = self.now;
        let exists = self.eks.entries.contains_key(call.principal_arn());
        self.eks.call(call).map_err(|_| match call {
            Call::Create { .. } if exists => FailureKind::InUse,
            _ if !exists => FailureKind::EntryMissing,
            _ => FailureKind::Refused,
        })
    }

    /// The operator gets the answer.
    pub(super) fn answer(&mut self, place: usize) {
        let Some(flight) = self.flights.remove(place) else {
            return;
        };
        if let Some(answer) = flight.answer.clone() {
            let answer = answer.map_err(failure);
            self.take_in(&flight, answer);
        }
    }

    /// The operator waits no longer; the call may still take effect.
    pub(super) fn give_up(&mut self, place: usize) {
        let Some(flight) = self.flights.get(place).cloned() else {
            return;
        };
        if flight.answer.is_some() || flight.reads() {
            self.flights.remove(place);
        } else if let Some(flight) = self.flights.get_mut(place) {
            flight.abandoned = Some(self.now);
        }
        self.take_in(&flight, Err(failure(FailureKind::Unavailable)));
    }

    /// The operator's process is gone; what it sent may still take effect.
    pub(super) fn abandon(&mut self) {
        let now = self.now;
        self.flights
            .retain(|flight| flight.answer.is_none() && !flight.reads());
        for flight in &mut self.flights {
            flight.abandoned.get_or_insert(now);
        }
    }

    /// Time passes: what could take effect until now did not.
    pub(super) fn pass_time(&mut self, by: jiff::SignedDuration) {
        self.now = self.now.plus(by);
        let now = self.now;
        while let Some(place) = self
            .flights
            .iter()
            .position(|it| it.abandoned.is_none() && it.latest() < now)
        {
            self.give_up(place);
        }
        self.flights.retain(|flight| flight.latest() >= now);
        self.past.0.retain(|(until, _)| until.plus(LAG) >= now);
    }

    /// What the operator was told of a principal's entry began to be read after everyone else's last change of it.
    pub(super) fn seen(&mut self, principals: impl IntoIterator<Item = String>) {
        let seen: BTreeSet<String> = principals.into_iter().collect();
        self.unseen.retain(|principal| !seen.contains(principal));
        self.unread.retain(|principal| !seen.contains(principal));
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        message: format!("the words of {kind}"),
        kind,
    }
}
