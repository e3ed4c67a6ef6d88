//! Calls of plans, descriptions and events of entries, and how they change the cache. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::{AwsCache, FollowUp};
use crate::access_entry::{Call, Failure, FailureKind, LAG, Output};
use crate::aws::event::{AwsChange, ChangedObject};
use crate::controller::eks::retry;
use crate::principal::{Key, Principal};
use crate::time::{Timestamp, to_the_second};

/// An event of a call of ours may be stamped so much later than its answer came: clocks differ, and events tell whole seconds.
const SAME_CALL_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// The longest ARN of a role or user: 12 digits, a path of 512 characters, a name of 64, and what is around them (IAM API reference).
const LONGEST_ARN: usize = 640;

/// A wall clock that is ahead by so much was set: what a time service corrects bit by bit is less.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(1);

/// What EKS answers of an entry that it does not find, while that is not certain.
const NOT_YET: &str =
    "EKS did not find the access entry; an earlier call may still create it until ";

/// What it means that EKS does not find an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// There is none.
    Gone,
    /// There may only be none yet; from this time on it is certain, where that is known.
    NotYet(Option<Timestamp>),
    /// It does not say so.
    Unsaid,
}

impl AwsCache {
    /// A call of a plan is sent.
    pub(in crate::controller::eks) fn sent(&mut self, key: &Key, call: &Call, now: Timestamp) {
        self.touched.insert(key.clone());
        let principal = call.principal_arn();
        let known = self.entries.possible(principal);
        let in_flight = Arc::make_mut(&mut self.in_flight);
        let before = in_flight.possible(principal, known);
        in_flight.sent(call.clone(), &before, now);
    }

    /// A call of a plan was answered. `last`: its work is at an end.
    pub(in crate::controller::eks) fn answered(
        &mut self,
        key: &Key,
        call: &Call,
        answer: Result<Output, Failure>,
        last: bool,
        now: Timestamp,
        jitter: f64,
    ) -> FollowUp {
        self.touched.insert(key.clone());
        self.changed |= last || answer.is_err();
        let asked = self.settle_call(call, answer.as_ref().err(), now).min(now);
        let mut failure = match answer {
            Ok(output) => {
                self.take_in(call, output, now);
                if matches!(call, Call::Delete { .. }) && self.may_come_back(key, asked) {
                    Arc::make_mut(&mut self.entries).doubt(call.principal_arn(), None, now);
                }
                if last && self.attempts.contains_key(key) {
                    Arc::make_mut(&mut self.attempts).remove(key);
                }
                return FollowUp::Nothing;
            }
            Err(failure) => failure,
        };
        let principal = call.principal_arn();
        let then = match failure.kind {
            FailureKind::ModeWithoutEntries => FollowUp::ReadMode,
            FailureKind::PolicyMissing => FollowUp::ListPolicies,
            _ => FollowUp::Nothing,
        };
        let missing = self.missing(call, &failure, asked, now);
        let changed_by_others = matches!(
            (&failure.kind, call),
            (FailureKind::InUse, Call::Create { .. }) | (FailureKind::EntryMissing, _)
        ) && !matches!(call, Call::Describe { .. } | Call::Delete { .. });
        if failure.kind.effect_unknown() || changed_by_others {
            Arc::make_mut(&mut self.entries).doubt(principal, None, now);
        }
        if missing == Missing::Gone {
            // The question was whether the entry exists, and it does not: that is an answer, not a failure.
            if self.attempts.contains_key(key) {
                Arc::make_mut(&mut self.attempts).remove(key);
            }
            return then;
        }
        let from = match missing {
            Missing::NotYet(from) => from,
            Missing::Gone | Missing::Unsaid => None,
        };
        if let Some(from) = from {
            NOT_YET.clone_into(&mut failure.message);
            failure.message.push_str(&to_the_second(from).to_string());
        }
        let attempts = Arc::make_mut(&mut self.attempts);
        retry::failed(attempts, key, call.clone(), failure, now, jitter);
        if let (Some(from), Some(attempt)) = (from, attempts.get_mut(key)) {
            // FollowUp it is certain: nobody waits longer than that.
            attempt.retry = attempt.retry.min(from.max(now));
        }
        then
    }

    /// Whether an earlier process may have sent a creation that takes effect after this deletion.
    fn may_come_back(&self, key: &Key, asked: Timestamp) -> bool {
        let inherited = self.inherited.as_ref();
        inherited.is_none_or(|inherited| inherited.contains(key))
            && !self.in_flight.earlier_are_over(asked)
    }

    /// What becomes of a call in flight by its answer. Gives the time at which it was sent.
    fn settle_call(&mut self, call: &Call, failure: Option<&Failure>, now: Timestamp) -> Timestamp {
        let in_flight = Arc::make_mut(&mut self.in_flight);
        let sent = in_flight.of(call.principal_arn()).iter();
        let since = sent
            .filter(|sent| sent.call == *call && sent.given_up.is_none())
            .map(|sent| sent.since)
            .next();
        if failure.is_some_and(|failure| failure.kind.effect_unknown()) {
            in_flight.given_up(call, now);
        } else {
            in_flight.answered(call);
        }
        since.unwrap_or(now)
    }

    fn take_in(&mut self, call: &Call, output: Output, now: Timestamp) {
        let entries = Arc::make_mut(&mut self.entries);
        if self.in_flight.of(call.principal_arn()).is_empty() {
            entries.apply(call, output, now);
        } else {
            entries.apply_after(Arc::make_mut(&mut self.in_flight), call, output, now);
        }
    }

    /// Takes in that there is no entry to describe or to delete.
    fn missing(
        &mut self,
        call: &Call,
        failure: &Failure,
        asked: Timestamp,
        now: Timestamp,
    ) -> Missing {
        let principal = call.principal_arn();
        // The clock may have been set back meanwhile: nothing was asked later than now.
        let asked = asked.min(now);
        let tells = matches!(call, Call::Describe { .. } | Call::Delete { .. });
        if !tells || failure.kind != FailureKind::EntryMissing {
            // A word about what is no principal to EKS is no entry that may exist: it would never be answered otherwise.
            let no_principal = matches!(
                failure.kind,
                FailureKind::Refused | FailureKind::InvalidPrincipal
            );
            return if tells && no_principal && Arc::make_mut(&mut self.entries).refused(principal) {
                Missing::Gone
            } else {
                Missing::Unsaid
            };
        }
        let counts = self.absence_counts_from(principal);
        if counts.is_some_and(|from| from <= asked) {
            let in_flight = Arc::make_mut(&mut self.in_flight);
            Arc::make_mut(&mut self.entries).gone_after(in_flight, principal, asked, now);
            Missing::Gone
        } else {
            Arc::make_mut(&mut self.entries).doubt(principal, None, now);
            Missing::NotYet(counts)
        }
    }

    /// From when on a 404 means that a principal has no entry; `None`: not before an answer.
    pub(in crate::controller::eks) fn absence_counts_from(
        &self,
        principal: &str,
    ) -> Option<Timestamp> {
        let state = self.entries.by_principal.get(principal);
        let written = state.and_then(|state| state.written);
        let shown = written.map_or(Timestamp::MIN, |written| written.plus(LAG));
        let counts = self.in_flight.absence_counts_from(principal)?;
        Some(counts.max(shown))
    }

    /// An entry was described beside the plans. `true`: what was to be known of it is known.
    pub(in crate::controller::eks) fn described(
        &mut self,
        principal: &str,
        answer: Result<Output, Failure>,
        asked: Timestamp,
        now: Timestamp,
    ) -> (bool, FollowUp) {
        let call = Call::Describe {
            principal_arn: principal.to_owned(),
        };
        let before = self
            .entries
            .by_principal
            .get(principal)
            .and_then(|state| state.known().cloned());
        let (known, then) = match answer {
            Ok(output) => {
                self.take_in(&call, output, now);
                (true, FollowUp::Nothing)
            }
            Err(failure) => {
                let then = if failure.kind == FailureKind::ModeWithoutEntries {
                    FollowUp::ReadMode
                } else {
                    FollowUp::Nothing
                };
                (
                    self.missing(&call, &failure, asked, now) == Missing::Gone,
                    then,
                )
            }
        };
        let after = self
            .entries
            .by_principal
            .get(principal)
            .and_then(|state| state.known());
        if known && (after.is_none() || before.as_ref() != after) {
            self.stir(principal);
            self.changed = true;
        }
        (known, then)
    }

    /// An event tells that the entry of `principal` was changed. Word of a call of our own (`ours`: our ARN), whose answer is known
    /// or awaited, says nothing new.
    pub(in crate::controller::eks) fn notified(
        &mut self,
        principal: &str,
        change: &AwsChange,
        ours: Option<&str>,
        now: Timestamp,
    ) {
        let state = self.entries.by_principal.get(principal);
        let by_us = change.caller.is_some() && change.caller.as_deref() == ours;
        if state.is_none() && !self.may_be_new(principal) {
            return;
        }
        let mut sent = self.in_flight.of(principal).iter();
        let awaited = sent.any(|sent| sent.given_up.is_none() && sent.changes());
        // After a delete of ours nothing is left to remember when that was.
        let deleted = state.is_none() && change.operation == "DeleteAccessEntry";
        let answered = state
            .filter(|state| !state.doubtful)
            .and_then(|state| state.written)
            .is_some_and(|written| change.time.duration_since(written) <= SAME_CALL_WITHIN);
        if by_us && (deleted || answered || awaited) {
            return;
        }
        let by = change.caller.as_deref().filter(|_| !by_us);
        if state.is_none() && !self.words.heed_new(&key_of(principal), now) {
            return;
        }
        if self.words.heed(principal, by, now) {
            self.doubt(principal, by, now);
        }
    }

    /// Whether an entry that is not known may have been made for a declared principal. Of a principal with a known entry, one under
    /// another path is found by a listing: who may send to the queue can invent paths.
    fn may_be_new(&self, principal: &str) -> bool {
        let known = |key: &Key| {
            let mut all = self.entries.by_principal.keys();
            all.any(|it| Key::parse_arn(it).as_ref() == Some(key))
        };
        principal.len() <= LONGEST_ARN
            && Principal::parse(principal).is_ok_and(|principal| {
                let key = principal.key();
                self.declared.contains(&key) && !known(&key)
            })
    }

    /// The entry of a principal may not be as it was known. Nothing is decided by it before it was described, and that is a change.
    fn doubt(&mut self, principal: &str, by: Option<&str>, now: Timestamp) {
        Arc::make_mut(&mut self.entries).doubt(principal, by, now);
        self.stir(principal);
    }

    /// Time has passed: what waited for it is due.
    pub(in crate::controller::eks) fn tick(&mut self, now: Timestamp) {
        if now < self.latest {
            self.clock_set_back(now);
        }
        self.latest = now;
        for (principal, by) in self.words.due(now) {
            self.doubt(&principal, by.as_deref(), now);
        }
        if self.in_flight.next_end().is_some_and(|end| end <= now) {
            for principal in Arc::make_mut(&mut self.in_flight).settle(now) {
                self.doubt(&principal, None, now);
            }
        }
    }

    /// Compares the wall clock with the time since the start by a steady one. Where the wall clock was set forward, what is in flight or
    /// was written a moment ago is still as young as before: else a call could take effect after it was taken for over.
    pub(in crate::controller::eks) fn compare_clocks(&mut self, now: Timestamp, steady: Duration) {
        let (wall, then) = std::mem::replace(&mut self.clocks, (now, steady));
        let passed = SignedDuration::try_from(steady.saturating_sub(then)).unwrap_or_default();
        let ahead = now.duration_since(wall).saturating_sub(passed);
        if ahead >= CLOCK_STEP {
            Arc::make_mut(&mut self.entries).clock_set_forward(ahead);
            Arc::make_mut(&mut self.in_flight).clock_set_forward(ahead);
        }
    }

    /// No time that was told lies ahead of now: nothing would come to its end until that has passed once more.
    fn clock_set_back(&mut self, now: Timestamp) {
        Arc::make_mut(&mut self.entries).clock_set_back(now);
        for principal in Arc::make_mut(&mut self.in_flight).settle(now) {
            self.doubt(&principal, None, now);
        }
        for attempt in Arc::make_mut(&mut self.attempts).values_mut() {
            attempt.since = attempt.since.min(now);
            attempt.retry = attempt.retry.min(now);
        }
        self.handed_out = self.handed_out.min(now);
        self.changed = true;
    }

    /// The principal whose entry has this ARN.
    pub(in crate::controller::eks) fn principal_of(&self, entry_arn: &str) -> Option<String> {
        let states = self.entries.by_principal.iter();
        let entry = states
            .filter_map(|(principal, state)| Some((principal, state.entry.as_ref()?)))
            .find(|(_, entry)| entry.arn == entry_arn);
        entry.map(|(principal, _)| principal.clone())
    }

    /// The principal that an event is about, where it is about an entry.
    pub(in crate::controller::eks) fn notified_principal(
        &self,
        what: &ChangedObject,
    ) -> Option<String> {
        match what {
            ChangedObject::Entry { principal_arn } => Some(principal_arn.clone()),
            ChangedObject::Tags { entry_arn } => self.principal_of(entry_arn),
            ChangedObject::ClusterConfig | ChangedObject::Principal { .. } => None,
        }
    }
}

/// The principal of an ARN, whatever its path, as a text.
fn key_of(principal: &str) -> String {
    Key::parse_arn(principal).map_or_else(|| principal.to_owned(), |key| key.to_string())
}
