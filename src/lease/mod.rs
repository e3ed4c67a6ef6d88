//! Who of several replicas may write: leader election by a Lease, as a value. Pure.
//!
//! [`Election`] says which request is due, and takes in the answers. It gets the time as an argument, and knows the monotonic clock of
//! this process alone: the times in the Lease are for people. Invariants:
//!
//! - every write carries the resourceVersion that was read, so of two replicas that claim the Lease one is refused;
//! - a holder counts its time from the moment before it sent the request, the others from the moment after they saw the result. So as
//!   long as no clock runs faster than another by more than [`MARGIN`] in [`DURATION`], two never believe to hold it at once;
//! - only observed time counts: who could not read the Lease for [`LONGEST_GAP`] begins to count anew.
//!
//! Safety does not rest on it. Writes of aws-auth and its history are compare-and-swap, and each leader begins with what it reads.

mod permit;

use std::time::{Duration, Instant};

pub use self::permit::{LeaseLost, Permit, Term};

use crate::error::Error;

/// How long others leave a holder alone that they don't see renew it: with [`POLL`] and a pass, a crash is over within ten seconds.
pub const DURATION: Duration = Duration::from_secs(8);

/// A holder stops so much earlier.
pub const MARGIN: Duration = Duration::from_millis(500);

/// How long a holder relies on it, from before its request.
pub const HELD: Duration = DURATION.saturating_sub(MARGIN);

/// The interval of renewals. After a quick one as much is left as any call may take, with a second to spare.
pub const RENEWAL: Duration = Duration::from_millis(1500);

/// The interval of reading who holds it.
pub const POLL: Duration = Duration::from_millis(500);

/// After a failed request, and after one of many.
const RETRY: Duration = Duration::from_millis(250);
const LONG_RETRY: Duration = Duration::from_secs(1);

/// How long one request for the Lease may take.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// A replica that had no answer for so long may have missed what another one wrote.
pub const LONGEST_GAP: Duration = Duration::from_secs(5);

/// No other version of the operator may keep the Lease longer, whatever the object says: it could be anyone's word.
const LONGEST_DURATION: Duration = Duration::from_mins(1);

/// A Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its resourceVersion.
    pub version: String,
    /// Who holds it; `None`: it was released.
    pub holder: Option<String>,
    /// How long its holder asks to be left alone.
    pub duration: Duration,
    /// How often it has changed hands.
    pub transitions: i32,
}

/// A write of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWrite {
    /// The resourceVersion that it replaces; `None`: it is created.
    pub version: Option<String>,
    /// The holder that it names; `None`: it is released.
    pub holder: Option<String>,
    /// How often it has changed hands.
    pub transitions: i32,
    /// Whether the holder begins to hold it.
    pub begins: bool,
}

/// Why a write of the Lease does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseRefusal {
    /// It is not as it was read.
    Stale,
    /// Refused or not answered.
    Failed,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Nothing until then.
    Wait(Instant),
    /// To read it.
    Read,
    /// To write it.
    Write(LeaseWrite),
}

/// What was last read of it.
#[derive(Clone, Debug)]
struct Sighting {
    /// `None`: it does not exist.
    record: Option<LeaseRecord>,
    /// Since when it is known to be so.
    since: Instant,
    /// Whether it may have changed by a write whose answer is not known, or was a refusal.
    stale: bool,
}

/// The replica's part in the election.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    due: Instant,
    sighting: Option<Sighting>,
    /// Until when it may be relied on. Past that it is still ours, unless someone else took it.
    until: Option<Instant>,
    /// When the first write of this version began whose answer never came.
    unanswered: Option<Instant>,
    /// When the last answer came.
    heard: Option<Instant>,
    /// Whether the Lease was ever seen to exist.
    existed: bool,
    gaps: u64,
}

impl Election {
    /// A replica that has just started. No other process ever has the same identity.
    #[must_use]
    pub fn new(identity: String, now: Instant) -> Self {
        Self {
            identity,
            due: now,
            sighting: None,
            until: None,
            unanswered: None,
            heard: None,
            existed: false,
            gaps: 0,
        }
    }

    /// Until when this replica may write; a time that has passed where it could not renew. `None`: it does not lead.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How often this replica may have missed what another one wrote.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }

    /// What is due at `now`. `able`: this replica can do the work of a leader.
    #[must_use]
    pub fn step(&self, now: Instant, able: bool) -> LeaseStep {
        if now < self.due {
            return LeaseStep::Wait(self.due);
        }
        // Who was stopped for so long knows nothing of what others did meanwhile.
        let Some(sighting) = self
            .sighting
            .as_ref()
            .filter(|it| !it.stale && !self.is_gap(now))
        else {
            return LeaseStep::Read;
        };
        if !able || !self.may_claim(sighting, now) {
            return LeaseStep::Read;
        }
        let begins = self.until.is_none();
        LeaseStep::Write(match &sighting.record {
            Some(record) => LeaseWrite {
                version: Some(record.version.clone()),
                holder: Some(self.identity.clone()),
                transitions: record.transitions.saturating_add(i32::from(begins)),
                begins,
            },
            None => LeaseWrite {
                version: None,
                holder: Some(self.identity.clone()),
                transitions: 0,
                begins,
            },
        })
    }

    /// Whether no other replica holds it.
    fn may_claim(&self, sighting: &Sighting, now: Instant) -> bool {
        let left_alone = |duration| now.saturating_duration_since(sighting.since) >= duration;
        match &sighting.record {
            // Someone deleted it, and its holder may not know yet.
            None => {
                let held = self.until.is_some_and(|until| until > now);
                held || !self.existed || left_alone(DURATION)
            }
            Some(record) => match &record.holder {
                None => true,
                // Where etcd was restored, this name can be of a time that others have gone on from.
                Some(holder) => {
                    let ours = *holder == self.identity && self.until.is_some();
                    ours || left_alone(record.patience())
                }
            },
        }
    }

    /// It was read, or could not be.
    pub fn read(&mut self, answer: Result<Option<LeaseRecord>, Error>, now: Instant, able: bool) {
        let Ok(record) = answer else {
            self.due = now + if self.is_gap(now) { LONG_RETRY } else { RETRY };
            return;
        };
        let gap = self.is_gap(now);
        self.heard = Some(now);
        let ours = record
            .as_ref()
            .is_some_and(|record| record.holder.as_ref() == Some(&self.identity));
        let lapsed = self.until.is_some_and(|until| until <= now);
        if self.until.is_some() && !ours && (record.is_some() || lapsed) {
            self.until = None;
        }
        if gap && self.until.is_none() {
            self.gaps = self.gaps.saturating_add(1);
        }
        self.existed |= record.is_some();
        let version = |record: &Option<LeaseRecord>| record.as_ref().map(|it| it.version.clone());
        let before = self.sighting.take();
        let changed = before
            .as_ref()
            .is_none_or(|it| version(&it.record) != version(&record));
        if changed {
            // It names us and is another one than the unanswered writes were to replace: it is one of them. The others can't succeed now.
            if let Some(began) = self.unanswered.take().filter(|_| ours) {
                self.until = Some(began + HELD);
            }
        }
        let same = before.filter(|_| !gap && !changed);
        let sighting = Sighting {
            since: same.map_or(now, |it| it.since),
            record,
            stale: false,
        };
        let patience = sighting.record.as_ref();
        let patience = patience.map_or(DURATION, LeaseRecord::patience);
        self.due = match (self.may_claim(&sighting, now), able) {
            (true, true) => now,
            (true, false) => now + POLL,
            // Not later than its time is over.
            (false, _) => (now + POLL).min(sighting.since + patience),
        };
        self.sighting = Some(sighting);
    }

    /// It was written as `write` says, by a request that began at `began`, or was not.
    pub fn written(
        &mut self,
        write: &LeaseWrite,
        answer: Result<LeaseRecord, LeaseRefusal>,
        began: Instant,
        now: Instant,
    ) {
        match answer {
            // A write that changes nothing has no new version, and others do not see it.
            Ok(record) if write.version.as_ref() != Some(&record.version) => {
                self.heard = Some(now);
                self.existed = true;
                self.unanswered = None;
                self.until = write.holder.is_some().then(|| began + HELD);
                self.sighting = Some(Sighting {
                    record: Some(record),
                    since: now,
                    stale: false,
                });
                self.due = began + RENEWAL;
            }
            Ok(_) | Err(_) => {
                if let Some(sighting) = &mut self.sighting {
                    sighting.stale = true;
                }
                if matches!(answer, Err(LeaseRefusal::Failed)) {
                    self.unanswered.get_or_insert(began);
                }
                self.due = match answer {
                    Err(LeaseRefusal::Stale) => now,
                    Ok(_) | Err(LeaseRefusal::Failed) => now + RETRY,
                };
            }
        }
    }

    /// The write that lets another replica begin at once; `None` where there is nothing to release. Nothing may be written from here on.
    #[must_use]
    pub fn release(&mut self) -> Option<LeaseWrite> {
        self.until.take()?;
        let record = self.sighting.as_ref()?.record.as_ref()?;
        (record.holder.as_ref() == Some(&self.identity)).then(|| LeaseWrite {
            version: Some(record.version.clone()),
            holder: None,
            transitions: record.transitions,
            begins: false,
        })
    }

    /// Whether the last answer came too long ago.
    fn is_gap(&self, now: Instant) -> bool {
        self.heard
            .is_some_and(|last| now.saturating_duration_since(last) > LONGEST_GAP)
    }
}

impl LeaseRecord {
    /// How long it is left to a holder that does not renew it.
    fn patience(&self) -> Duration {
        self.duration.clamp(DURATION, LONGEST_DURATION)
    }
}

#[cfg(test)]
mod every_schedule;
#[cfg(test)]
mod tests;
