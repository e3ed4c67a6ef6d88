//! All known access entries of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::in_flight::{InFlight, later};
use super::{AccessEntry, Call, Output, Possible};
use crate::time::Timestamp;

/// All access entries of the cluster, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// When they were last listed whole; `None`: never, so that an entry that is not known may well stand.
    pub listed: Option<Timestamp>,
    /// By the principal's ARN.
    pub by_principal: BTreeMap<String, EntryState>,
    /// Principals of which EKS has said that they have no entry, by ARN. A listing alone never says so: it may lag behind.
    pub absent: BTreeMap<String, Absence>,
}

/// EKS was asked for an entry, and there was none; or it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// When it was asked.
    pub asked: Timestamp,
    /// When it answered.
    pub answered: Timestamp,
    /// When a call of ours deleted it, as far as is known: repeated answers do not renew it.
    pub removed: Option<Timestamp>,
    /// When it was first seen to be gone, unless a call of ours deleted it: then a listing that shows it within
    /// [`LAG`](super::LAG) lags behind.
    pub changed: Option<Timestamp>,
    /// Who deleted the entry by word of `CloudTrail`: the caller's ARN.
    pub deleted_by: Option<String>,
}

/// What is known of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryState {
    /// As last described, answers to our own calls included; `None`: listed only.
    pub entry: Option<AccessEntry>,
    /// When it was last described whole.
    pub described: Option<Timestamp>,
    /// Something may have changed since: it must be described again before anything is decided by it.
    pub doubtful: bool,
    /// It may have been deleted since.
    pub may_be_gone: bool,
    /// By the last listing, `AmazonEKSClusterAdminPolicy` is associated with it, in whatever scope.
    pub listed_as_admin: bool,
    /// As it was when this process first described it, with what calls of ours changed since, and without what somebody else did.
    pub untouched: Option<AccessEntry>,
    /// When a call of ours last changed it.
    pub written: Option<Timestamp>,
    /// When it was first seen to be other than calls of ours left it; `None`: as they left it, or not described yet.
    pub changed: Option<Timestamp>,
    /// Who changed it last by word of `CloudTrail`: the caller's ARN.
    pub changed_by: Option<String>,
    /// When something last said that it may exist, where no listing and no answer has ever shown it. `None`: one has.
    pub heard: Option<Timestamp>,
}

impl Absence {
    /// Whether a call of ours deleted the entry.
    #[must_use]
    pub const fn by_us(&self) -> bool {
        self.changed.is_none()
    }
}

impl EntryState {
    /// The entry, where it can be relied upon.
    #[must_use]
    pub fn known(&self) -> Option<&AccessEntry> {
        self.entry.as_ref().filter(|_| !self.doubtful)
    }
}

impl Entries {
    /// Takes in a whole listing. What is new in it is known by name only; what it lacks is to be described, for it may lag behind. An
    /// entry that is said to be an administrator's and is not known as one, or the reverse, is doubtful. A listing says nothing of
    /// what a call of ours changed less than [`LAG`](super::LAG) before it `started`.
    pub fn take_listing(
        &mut self,
        principals: &BTreeSet<String>,
        administrators: &BTreeSet<String>,
        admin_policy: &str,
        started: Timestamp,
        finished: Timestamp,
    ) {
        let newer = |state: &EntryState| state.written.is_some_and(|it| later(it) > started);
        // Anybody may have said that it exists, and EKS may answer no question about it: without an end it would count as a possible
        // entry for good. Twice the lag: a call may have taken effect so late, and a listing shows it as late after that.
        self.by_principal.retain(|principal, state| {
            let young = |heard: Timestamp| later(later(heard)) > started;
            principals.contains(principal) || state.heard.is_none_or(young)
        });
        for (principal, state) in &mut self.by_principal {
            if !principals.contains(principal) && !newer(state) {
                state.doubtful = true;
                state.may_be_gone = true;
            }
        }
        for principal in principals {
            let missed = self.absent.get(principal);
            let missed = missed.filter(|absence| later(absence.answered) > started);
            let lately = missed.is_some();
            if missed.is_some_and(Absence::by_us) {
                continue;
            }
            self.absent.remove(principal);
            let state = self.by_principal.entry(principal.clone()).or_default();
            state.heard = None;
            state.doubtful |= lately;
            state.may_be_gone |= lately;
            let listed = administrators.contains(principal);
            let known = state
                .entry
                .as_ref()
                .map(|entry| entry.policies.contains_key(admin_policy));
            if known.is_some_and(|known| known != listed) && !newer(state) {
                state.doubtful = true;
            }
            state.listed_as_admin = listed;
        }
        self.listed = Some(finished);
    }

    /// Takes in the answer to a call of ours.
    pub fn apply(&mut self, call: &Call, output: Output, now: Timestamp) {
        let principal = call.principal_arn();
        match (call, output) {
            (Call::Delete { .. }, _) => {
                self.by_principal.remove(principal);
                let absence = Absence {
                    asked: now,
                    answered: now,
                    removed: Some(now),
                    changed: None,
                    deleted_by: None,
                };
                self.absent.insert(principal.to_owned(), absence);
                return;
            }
            (_, Output::Described(entry)) => {
                self.absent.remove(principal);
                let state = self.by_principal.entry(principal.to_owned()).or_default();
                state.heard = None;
                // What someone did is undone again, or was nothing: the next change is not theirs.
                if state.entry.as_ref() == Some(&*entry) {
                    state.changed_by = None;
                } else {
                    state.changed = state.changed.or(Some(now));
                }
                if state.untouched.is_none() {
                    state.untouched = Some((*entry).clone());
                }
                state.entry = Some(*entry);
                state.described = Some(now);
                state.doubtful = false;
                state.may_be_gone = false;
                return;
            }
            (_, Output::Entry(entry)) => {
                self.absent.remove(principal);
                let state = self.by_principal.entry(principal.to_owned()).or_default();
                let changed = |before: &mut Option<AccessEntry>| {
                    let policies = match call {
                        // A new entry has none, whatever an older one of the name had.
                        Call::Create { .. } => Some(BTreeMap::new()),
                        _ => before.take().map(|before| before.policies),
                    };
                    // Without its policies, an entry that was listed only is still not known.
                    let entry = (*entry).clone();
                    *before = policies.map(|policies| AccessEntry { policies, ..entry });
                };
                changed(&mut state.entry);
                changed(&mut state.untouched);
                state.may_be_gone = false;
                state.heard = None;
                if matches!(call, Call::Create { .. }) {
                    state.described = Some(now);
                    state.doubtful = false;
                }
            }
            (Call::Associate { policy_arn, .. }, Output::Associated(association)) => {
                for entry in self.entries_mut(principal) {
                    entry
                        .policies
                        .insert(policy_arn.clone(), association.clone());
                }
            }
            (Call::Disassociate { policy_arn, .. }, _) => {
                for entry in self.entries_mut(principal) {
                    entry.policies.remove(policy_arn);
                }
            }
            (Call::Tag { tags, .. }, _) => {
                for entry in self.entries_mut(principal) {
                    entry.tags.extend(tags.clone());
                }
            }
            (Call::Untag { keys, .. }, _) => {
                for entry in self.entries_mut(principal) {
                    entry.tags.retain(|key, _| !keys.contains(key));
                }
            }
            (_, Output::Associated(_) | Output::Done) => {}
        }
        if let Some(state) = self.by_principal.get_mut(principal) {
            state.written = Some(now);
            state.changed = None;
            // A repair was told with the name of whoever made it needed.
            state.changed_by = None;
        }
    }

    /// The entry as it is, and as it would be without what somebody else did.
    fn entries_mut(&mut self, principal: &str) -> impl Iterator<Item = &mut AccessEntry> {
        let state = self.by_principal.get_mut(principal).into_iter();
        state.flat_map(|state| state.entry.iter_mut().chain(&mut state.untouched))
    }

    /// Someone else changed or deleted the entry, by word of `CloudTrail`, or a call of ours may have.
    pub fn doubt(&mut self, principal: &str, by: Option<&str>, now: Timestamp) {
        let known = self.by_principal.get(principal);
        let shown = known.is_some_and(|state| state.heard.is_none());
        let state = self.by_principal.entry(principal.to_owned()).or_default();
        state.heard = (!shown).then_some(now);
        state.doubtful = true;
        state.may_be_gone = true;
        if by.is_some() {
            state.changed_by = by.map(str::to_owned);
        }
    }

    /// EKS refuses to look for such an entry: one that it has never shown is none. Whether that was known otherwise.
    pub fn refused(&mut self, principal: &str) -> bool {
        let state = self.by_principal.get(principal);
        let heard = state.is_some_and(|state| state.heard.is_some());
        if heard {
            self.by_principal.remove(principal);
        }
        heard
    }

    /// Takes in the answer to a call of ours, and what it shows of earlier ones whose answers were lost.
    pub fn apply_after(
        &mut self,
        in_flight: &mut InFlight,
        call: &Call,
        output: Output,
        now: Timestamp,
    ) {
        let principal = call.principal_arn();
        let lost = in_flight.lost_answer(principal);
        if let Output::Described(entry) = &output {
            in_flight.seen(principal, Some(entry));
        }
        self.apply(call, output, now);
        if lost {
            self.attribute_to_us(principal);
        }
    }

    /// EKS says that there is no such entry, which may be the effect of a call whose answer was lost.
    pub fn gone_after(
        &mut self,
        in_flight: &mut InFlight,
        principal: &str,
        asked: Timestamp,
        answered: Timestamp,
    ) {
        let lost = in_flight.lost_answer(principal);
        in_flight.seen(principal, None);
        self.gone(principal, asked, answered);
        if lost {
            self.attribute_to_us(principal);
        }
    }

    /// Nobody else is said to have changed what was seen last.
    fn attribute_to_us(&mut self, principal: &str) {
        if let Some(state) = self.by_principal.get_mut(principal) {
            state.changed = None;
            state.untouched.clone_from(&state.entry);
        }
        if let Some(absence) = self.absent.get_mut(principal) {
            absence.changed = None;
            absence.removed = absence.removed.or(Some(absence.answered));
        }
    }

    /// No time of it lies ahead of now.
    pub fn clock_set_back(&mut self, now: Timestamp) {
        self.listed = self.listed.map(|time| time.min(now));
        for state in self.by_principal.values_mut() {
            state.described = state.described.map(|time| time.min(now));
            state.written = state.written.map(|time| time.min(now));
            state.changed = state.changed.map(|time| time.min(now));
            state.heard = state.heard.map(|time| time.min(now));
        }
        for absence in self.absent.values_mut() {
            absence.asked = absence.asked.min(now);
            absence.answered = absence.answered.min(now);
            absence.changed = absence.changed.map(|time| time.min(now));
            absence.removed = absence.removed.map(|time| time.min(now));
        }
    }

    /// What was written or answered lately is as young as before.
    pub fn clock_set_forward(&mut self, by: SignedDuration) {
        for state in self.by_principal.values_mut() {
            state.written = state.written.map(|time| time.plus(by));
            state.heard = state.heard.map(|time| time.plus(by));
        }
        for absence in self.absent.values_mut() {
            absence.asked = absence.asked.plus(by);
            absence.answered = absence.answered.plus(by);
            absence.removed = absence.removed.map(|time| time.plus(by));
        }
    }

    /// EKS says that there is no such entry. Who deleted it is remembered, where that is known.
    pub fn gone(&mut self, principal: &str, asked: Timestamp, answered: Timestamp) {
        let state = self.by_principal.remove(principal);
        let before = self.absent.remove(principal);
        let told = state.and_then(|state| state.changed_by);
        let changed = match &before {
            Some(absence) => absence.changed,
            None => Some(answered),
        };
        let absence = Absence {
            asked,
            answered,
            removed: before.as_ref().and_then(|absence| absence.removed),
            changed,
            deleted_by: told.or_else(|| before?.deleted_by),
        };
        self.absent.insert(principal.to_owned(), absence);
    }

    /// What the entry of a principal may be, but for calls in flight. Without a word of it a listing is believed.
    #[must_use]
    pub fn possible(&self, principal: &str) -> Possible {
        match self.by_principal.get(principal) {
            Some(state) => Possible {
                absent: state.may_be_gone,
                entries: state.entry.clone().into_iter().collect(),
                unseen: state.known().is_none(),
            },
            None if self.listed.is_none() && !self.absent.contains_key(principal) => {
                Possible::unknown()
            }
            None => Possible::none(),
        }
    }

    /// Whether EKS has said of this very principal that it has no entry.
    #[must_use]
    pub fn is_absent(&self, principal: &str) -> bool {
        self.absent.contains_key(principal) && !self.by_principal.contains_key(principal)
    }
}
