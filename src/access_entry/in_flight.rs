//! Calls that may change an access entry and whose effect is not certain yet: no answer has arrived, or the answer was lost.
//!
//! A call takes effect once, at any time between its sending and [`LAG`] after it was given up. Invariants:
//!
//! - what is in flight for one principal says nothing of another;
//! - a call that was sent is in here until its effect is known, or can't come any more;
//! - a call that was given up and whose effect a later description shows has taken effect: it can't do so again.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{AccessEntry, Call, Entries, EntryState, Possible};
use crate::principal::Key;
use crate::time::Timestamp;

/// EKS shows a change within so long in each answer ("several seconds", EKS user guide, *Create access entries*), and a call whose
/// answer was lost takes effect within so long or never.
pub const LAG: SignedDuration = SignedDuration::from_secs(30);

/// More contents than these are one that is not known.
const MOST_CONTENTS: usize = 16;

/// A call that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The call.
    pub call: Call,
    /// When it was sent.
    pub since: Timestamp,
    /// When it was given up without an answer that tells its effect; `None`: the answer is awaited.
    pub given_up: Option<Timestamp>,
    /// The entry was certainly not as the call leaves it: a reader who finds it so later sees what the call did.
    telling: bool,
    /// The principal's key, for [`InFlight::of_key`].
    key: Option<Key>,
}

impl Sent {
    /// Whether it can change the entry.
    #[must_use]
    pub const fn changes(&self) -> bool {
        !matches!(self.call, Call::Describe { .. })
    }

    /// When it can't take effect any more; `None` while its answer is awaited.
    fn ends(&self) -> Option<Timestamp> {
        self.given_up.map(later)
    }
}

/// The end of [`LAG`] from this time on.
pub(super) fn later(time: Timestamp) -> Timestamp {
    time.plus(LAG)
}

/// All calls whose effect is not certain, by principal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Since when this process sends and remembers; calls of an earlier one may take effect until [`LAG`] later. `None`: it only
    /// reads, and takes a listing at its word.
    started: Option<Timestamp>,
    calls: BTreeMap<String, Vec<Sent>>,
}

impl InFlight {
    /// Nothing has been sent by this process, which has begun now.
    #[must_use]
    pub const fn since(started: Timestamp) -> Self {
        Self {
            started: Some(started),
            calls: BTreeMap::new(),
        }
    }

    /// A call is sent. `before`: all that the entry may be at that moment.
    pub fn sent(&mut self, call: Call, before: &Possible, now: Timestamp) {
        let absent = before.absent.then_some(None);
        let mut states = before.entries.iter().map(Some).chain(absent);
        let telling = !before.unseen && !states.any(|entry| shows(&call, entry));
        let calls = self
            .calls
            .entry(call.principal_arn().to_owned())
            .or_default();
        if !matches!(call, Call::Describe { .. }) {
            // From here on what a description shows may be the doing of this call.
            for sent in calls.iter_mut() {
                sent.telling = false;
            }
        }
        calls.push(Sent {
            key: Key::parse_arn(call.principal_arn()),
            call,
            since: now,
            given_up: None,
            telling,
        });
    }

    /// The answer tells its effect, or that there is none.
    pub fn answered(&mut self, call: &Call) {
        let is_it = |sent: &Sent| sent.given_up.is_none() && sent.call == *call;
        self.remove(call.principal_arn(), is_it);
    }

    /// No answer tells its effect, and none will.
    pub fn given_up(&mut self, call: &Call, now: Timestamp) {
        if matches!(call, Call::Describe { .. }) {
            return self.answered(call);
        }
        let calls = self.calls.get_mut(call.principal_arn());
        let waiting = calls
            .into_iter()
            .flatten()
            .find(|sent| sent.given_up.is_none() && sent.call == *call);
        if let Some(sent) = waiting {
            sent.given_up = Some(now);
        }
    }

    /// Whether a change may have taken effect of which no answer told.
    pub(crate) fn lost_answer(&self, principal_arn: &str) -> bool {
        self.of(principal_arn)
            .iter()
            .any(|sent| sent.given_up.is_some() && sent.changes())
    }

    /// A description from after they were given up shows the entry so: calls whose effect it shows are over.
    pub fn seen(&mut self, principal_arn: &str, entry: Option<&AccessEntry>) {
        let is_over =
            |sent: &Sent| sent.given_up.is_some() && sent.telling && shows(&sent.call, entry);
        self.remove(principal_arn, is_over);
    }

    /// Takes out what can't take effect any more. Gives the principals whose entries must be described again: nothing has shown
    /// what became of them.
    pub fn settle(&mut self, now: Timestamp) -> Vec<String> {
        let mut settled = Vec::new();
        self.started = self.started.map(|started| started.min(now));
        self.calls.retain(|principal, calls| {
            let before = calls.len();
            for sent in calls.iter_mut() {
                // The clock was set back: nothing lasts longer for that than it would from now on.
                sent.given_up = sent.given_up.map(|given_up| given_up.min(now));
                sent.since = sent.since.min(now);
            }
            calls.retain(|sent| sent.ends().is_none_or(|ends| ends > now));
            if calls.len() < before {
                settled.push(principal.clone());
            }
            !calls.is_empty()
        });
        settled
    }

    /// Nothing that was sent has had more time for that.
    pub fn clock_set_forward(&mut self, by: SignedDuration) {
        self.started = self.started.map(|started| started.plus(by));
        for sent in self.calls.values_mut().flatten() {
            sent.given_up = sent.given_up.map(|given_up| given_up.plus(by));
            sent.since = sent.since.plus(by);
        }
    }

    /// When [`Self::settle`] has something to do, should nothing else happen.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.calls.values().flatten().filter_map(Sent::ends).min()
    }

    /// What is in flight for a principal, by its ARN, in the order in which it was sent.
    #[must_use]
    pub fn of(&self, principal_arn: &str) -> &[Sent] {
        self.calls
            .get(principal_arn)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// What is in flight for all principals of a key: of one role there may be entries under several paths.
    pub fn of_key(&self, key: &Key) -> impl Iterator<Item = &Sent> {
        let all = self.calls.values().flatten();
        all.filter(move |sent| sent.key.as_ref() == Some(key))
    }

    /// The principals with something in flight.
    pub fn principals(&self) -> impl Iterator<Item = &str> {
        self.calls.keys().map(String::as_str)
    }

    /// Whether a listing that lacks an entry is taken at its word.
    #[must_use]
    pub const fn believes_listings(&self) -> bool {
        self.started.is_none()
    }

    /// Whether no call of an earlier process can take effect any more.
    #[must_use]
    pub fn earlier_are_over(&self, now: Timestamp) -> bool {
        self.started.is_none_or(|started| later(started) <= now)
    }

    /// From when on a 404 means that there is no entry, as far as calls in flight go: before, it may mean that there is none yet.
    /// `None`: not before the answer to a creation.
    #[must_use]
    pub fn absence_counts_from(&self, principal_arn: &str) -> Option<Timestamp> {
        let calls = self.of(principal_arn).iter();
        let mut creates = calls.filter(|sent| matches!(sent.call, Call::Create { .. }));
        let begun = self.started.map_or(Timestamp::MIN, later);
        creates.try_fold(begun, |latest, sent| Some(latest.max(sent.ends()?)))
    }

    /// Whether a 404 to a question that was asked then means that there is no entry, as far as calls in flight go.
    #[must_use]
    pub fn absence_counts(&self, principal_arn: &str, asked: Timestamp) -> bool {
        self.absence_counts_from(principal_arn)
            .is_some_and(|from| from <= asked)
    }

    /// Until when calls of an earlier process may take effect, of which this one knows nothing; `None`: it only reads.
    #[must_use]
    pub fn earlier_calls_end(&self) -> Option<Timestamp> {
        self.started.map(later)
    }

    /// What the entry may be, given what it may be without what is in flight: each of the calls has taken effect or not.
    #[must_use]
    pub fn possible(&self, principal_arn: &str, known: Possible) -> Possible {
        let calls = self.of(principal_arn).iter().filter(|sent| sent.changes());
        let mut possible = known;
        // An order is not assumed: one that was given up may take effect after a later one.
        loop {
            let before = possible.clone();
            for Sent { call, since, .. } in calls.clone() {
                let present = possible.entries.clone();
                let absent = possible.absent.then_some(None);
                for entry in present.iter().map(Some).chain(absent) {
                    possible.add(after(call, entry, *since));
                }
                possible.absent |= matches!(call, Call::Delete { .. });
                // Each further call may double them.
                if possible.entries.len() > MOST_CONTENTS {
                    let mut calls = calls;
                    return Possible {
                        absent: possible.absent
                            || calls.any(|sent| matches!(sent.call, Call::Delete { .. })),
                        entries: Vec::new(),
                        unseen: true,
                    };
                }
            }
            if possible == before {
                return possible;
            }
        }
    }

    fn remove(&mut self, principal_arn: &str, is_it: impl Fn(&Sent) -> bool) {
        let Some(calls) = self.calls.get_mut(principal_arn) else {
            return;
        };
        calls.retain(|sent| !is_it(sent));
        if calls.is_empty() {
            self.calls.remove(principal_arn);
        }
    }
}

impl Possible {
    fn add(&mut self, entry: Option<AccessEntry>) {
        match entry {
            None => self.absent = true,
            Some(entry) if self.entries.contains(&entry) => {}
            Some(entry) => self.entries.push(entry),
        }
    }
}

/// The entry once the call has taken effect.
fn after(call: &Call, entry: Option<&AccessEntry>, at: Timestamp) -> Option<AccessEntry> {
    let Some(output) = call.expected(entry, at) else {
        return entry.cloned();
    };
    let state = |entry: &AccessEntry| EntryState {
        entry: Some(entry.clone()),
        ..EntryState::default()
    };
    let principal = call.principal_arn();
    let mut entries = Entries::default();
    entries
        .by_principal
        .extend(entry.map(|entry| (principal.to_owned(), state(entry))));
    entries.apply(call, output, at);
    entries.by_principal.remove(principal)?.entry
}

/// Whether the entry is as the call would have left it.
fn shows(call: &Call, entry: Option<&AccessEntry>) -> bool {
    let Some(entry) = entry else {
        return matches!(call, Call::Delete { .. });
    };
    match call {
        Call::Describe { .. } => true,
        Call::Delete { .. } => false,
        Call::Create { .. } => after(call, None, entry.created).is_some_and(|created| {
            created.kind == entry.kind
                && created.username == entry.username
                && created.groups == entry.groups
                && created.tags == entry.tags
        }),
        Call::Update {
            username, groups, ..
        } => {
            let same = |username: &String| *username == entry.username;
            *groups == entry.groups && username.as_ref().is_none_or(same)
        }
        Call::Associate {
            policy_arn, scope, ..
        } => entry
            .policies
            .get(policy_arn)
            .is_some_and(|association| association.scope == *scope),
        Call::Disassociate { policy_arn, .. } => !entry.policies.contains_key(policy_arn),
        Call::Tag { tags, .. } => tags
            .iter()
            .all(|(key, value)| entry.tags.get(key) == Some(value)),
        Call::Untag { keys, .. } => keys.iter().all(|key| !entry.tags.contains_key(key)),
    }
}
