//! What can be made to go wrong, and how long things take. All of it can be set while the stand-in runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Service;
use super::random::Random;
use super::world::World;

/// The knobs of the stand-in. As made, nothing goes wrong and everything holds at once.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a knob of its own")]
pub(crate) struct Knobs {
    /// The services that the shares below hold for; EKS alone, unless it is changed.
    pub(crate) unreliable: BTreeSet<Service>,
    /// Operations of these services that the shares spare.
    pub(crate) spared: BTreeSet<String>,
    /// The share of calls, 0 to 1, that are answered `ThrottlingException`.
    pub(crate) throttled: f64,
    /// The share of calls that are answered with a 5xx. Half of them have had their effect.
    pub(crate) server_errors: f64,
    /// The share of calls whose answer never comes. Half of them have had their effect.
    pub(crate) timeouts: f64,
    /// The share of calls after whose effect the connection is dropped.
    pub(crate) dropped: f64,
    /// How long each answer takes.
    pub(crate) latency: Duration,
    /// How long each answer of an operation takes in addition.
    pub(crate) latencies: BTreeMap<String, Duration>,
    /// How long each answer of those services takes in addition, at least and at most. The effect comes at any time of it.
    pub(crate) slow: Option<(Duration, Duration)>,
    /// Services that can't be reached: connections are dropped at once.
    pub(crate) unreachable: BTreeSet<Service>,
    /// Whether EC2 can't be reached: connections to it are dropped at once.
    pub(crate) no_instances: bool,
    /// Actions that the operator is denied, such as `eks:CreateAccessEntry`. A person is denied nothing.
    pub(crate) denied: BTreeSet<String>,
    /// The first so many creations are refused with 'invalid principal', whoever it is.
    pub(crate) invalid_principal: u32,
    /// So are the first so many creations for each principal.
    pub(crate) invalid_principal_each: u32,
    /// A principal is not known to EKS for so long after IAM made it.
    pub(crate) principal_delay: Duration,
    /// The first so many calls about an entry that was just made are answered with 404.
    pub(crate) not_found_after_create: u32,
    /// For so long after the mode was switched on, EKS says that it is not.
    pub(crate) mode_error: Duration,
    /// How long an update of the cluster takes.
    pub(crate) update: Duration,
    /// An entry is in no listing for so long after it was made.
    pub(crate) listing_delay: Duration,
    /// Principals whose entries no listing has.
    pub(crate) unlisted: BTreeSet<String>,
    /// From a change of an entry to its force.
    pub(crate) entry_delay: Duration,
    /// From a change of an entry's policies to their force.
    pub(crate) policy_delay: Duration,
    /// The quota of access entries (<https://docs.aws.amazon.com/general/latest/gr/eks.html>).
    pub(crate) quota: usize,
    /// Whether a creation that is sent again with its idempotency token gets its first answer; EKS documents neither.
    pub(crate) replay_tokens: bool,
    /// The most principals on one page of IAM, which may return fewer than asked for.
    pub(crate) iam_page: usize,
    /// The share of events that arrive twice.
    pub(crate) duplicate_events: f64,
    /// The share of events that change places with the one that arrived before.
    pub(crate) reordered_events: f64,
    /// Whether the attached queue gets events at all.
    pub(crate) events: bool,
    /// Whether it gets those of calls that were refused, too, as `CloudTrail` tells of them.
    pub(crate) refused_events: bool,
    /// How many calls of each operation wait out the latency now.
    pub(super) delayed: BTreeMap<String, usize>,
    buckets: BTreeMap<String, Bucket>,
    scripted: BTreeMap<String, VecDeque<Fault>>,
    creations: BTreeMap<String, u32>,
    absences: BTreeMap<String, u32>,
    random: Random,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 429, no effect.
    Throttled,
    /// 500, no effect.
    ServerError,
    /// 500 after the effect.
    ServerErrorAfterEffect,
    /// No answer, no effect.
    Timeout,
    /// No answer after the effect.
    TimeoutAfterEffect,
    /// The connection ends after the effect.
    DroppedAfterEffect,
    /// 400 with a code that no documentation names, no effect.
    UnheardOf,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Timestamp,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            unreliable: BTreeSet::from([Service::Eks]),
            spared: BTreeSet::new(),
            throttled: 0.0,
            server_errors: 0.0,
            timeouts: 0.0,
            dropped: 0.0,
            latency: Duration::ZERO,
            latencies: BTreeMap::new(),
            slow: None,
            unreachable: BTreeSet::new(),
            no_instances: false,
            denied: BTreeSet::new(),
            invalid_principal: 0,
            invalid_principal_each: 0,
            principal_delay: Duration::ZERO,
            not_found_after_create: 0,
            mode_error: Duration::ZERO,
            update: Duration::ZERO,
            listing_delay: Duration::ZERO,
            unlisted: BTreeSet::new(),
            entry_delay: Duration::ZERO,
            policy_delay: Duration::ZERO,
            quota: 3000,
            replay_tokens: false,
            iam_page: 1000,
            duplicate_events: 0.0,
            reordered_events: 0.0,
            events: true,
            refused_events: false,
            delayed: BTreeMap::new(),
            buckets: BTreeMap::new(),
            scripted: BTreeMap::new(),
            creations: BTreeMap::new(),
            absences: BTreeMap::new(),
            random: Random::new(0x1D_A5_0F_EE),
        }
    }
}

impl Knobs {
    /// What the shares make of each call follows from the seed and the order of calls alone.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// Lets an operation through so many times a second, `burst` at once; what is more is throttled. `*` is every
    /// operation that has no bucket of its own, each with one of its own.
    pub(crate) fn throttle(&mut self, operation: &str, rate: f64, burst: f64) {
        let bucket = Bucket {
            rate,
            burst,
            tokens: burst,
            filled: Timestamp::MIN,
        };
        self.buckets.insert(operation.to_owned(), bucket);
    }

    /// Takes all limits of [`Self::throttle`] away.
    pub(crate) fn unthrottle(&mut self) {
        self.buckets.clear();
    }

    /// The next call of the operation goes wrong in this way, after those that were scripted before.
    pub(crate) fn script(&mut self, operation: &str, fault: Fault) {
        self.scripted
            .entry(operation.to_owned())
            .or_default()
            .push_back(fault);
    }

    /// How many calls of an operation wait out the latency now, and have no effect yet.
    pub(crate) fn delayed(&self, operation: &str) -> usize {
        self.delayed.get(operation).copied().unwrap_or_default()
    }

    /// Denies an action such as `eks:CreateAccessEntry`.
    pub(crate) fn deny(&mut self, action: &str) {
        self.denied.insert(action.to_owned());
    }

    /// Allows it again.
    pub(crate) fn allow(&mut self, action: &str) {
        self.denied.remove(action);
    }

    /// What goes wrong with a call of this operation now.
    pub(super) fn fault(
        &mut self,
        service: Service,
        operation: &str,
        now: Timestamp,
    ) -> Option<Fault> {
        if let Some(fault) = self
            .scripted
            .get_mut(operation)
            .and_then(VecDeque::pop_front)
        {
            return Some(fault);
        }
        if !self.take_token(operation, now) {
            return Some(Fault::Throttled);
        }
        if !self.is_unreliable(service, operation) {
            return None;
        }
        let shares = [
            (self.throttled, [Fault::Throttled; 2]),
            (
                self.server_errors,
                [Fault::ServerError, Fault::ServerErrorAfterEffect],
            ),
            (self.timeouts, [Fault::Timeout, Fault::TimeoutAfterEffect]),
            (self.dropped, [Fault::DroppedAfterEffect; 2]),
        ];
        let mut drawn = self.draw();
        for (share, [one, other]) in shares {
            if drawn < share {
                return Some(if drawn * 2.0 < share { one } else { other });
            }
            drawn -= share;
        }
        None
    }

    fn take_token(&mut self, operation: &str, now: Timestamp) -> bool {
        if !self.buckets.contains_key(operation) {
            let Some(common) = self.buckets.get("*").copied() else {
                return true;
            };
            self.buckets.insert(operation.to_owned(), common);
        }
        let bucket = self
            .buckets
            .get_mut(operation)
            .expect("it is there or was just put there");
        let passed = now.duration_since(bucket.filled).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed * bucket.rate).min(bucket.burst);
        bucket.filled = now;
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }

    /// Does something as whoever waits out what is refused only for a while. How long things take holds for them too.
    pub(super) fn patiently<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let kept = [
            self.invalid_principal,
            self.invalid_principal_each,
            self.not_found_after_create,
        ];
        let waits = [self.principal_delay, self.mode_error];
        let hidden = std::mem::take(&mut self.absences);
        [
            self.invalid_principal,
            self.invalid_principal_each,
            self.not_found_after_create,
        ] = [0; 3];
        [self.principal_delay, self.mode_error] = [Duration::ZERO; 2];
        let done = act(self);
        [
            self.invalid_principal,
            self.invalid_principal_each,
            self.not_found_after_create,
        ] = kept;
        [self.principal_delay, self.mode_error] = waits;
        self.absences = hidden;
        done
    }

    /// Whether a creation for this principal is to be refused as if EKS did not know it yet.
    pub(super) fn refuses_principal(&mut self, arn: &str) -> bool {
        if self.invalid_principal > 0 {
            self.invalid_principal -= 1;
            return true;
        }
        let tried = self.creations.entry(arn.to_owned()).or_default();
        *tried += 1;
        *tried <= self.invalid_principal_each
    }

    /// An entry was made.
    pub(super) fn entry_made(&mut self, arn: &str) {
        self.absences
            .insert(arn.to_owned(), self.not_found_after_create);
    }

    /// Whether a call about this entry is to be answered as if it were not there yet.
    pub(super) fn hides_entry(&mut self, arn: &str) -> bool {
        match self.absences.get_mut(arn) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    fn is_unreliable(&self, service: Service, operation: &str) -> bool {
        self.unreliable.contains(&service) && !self.spared.contains(operation)
    }

    /// How long a call waits for its effect, and then for its answer.
    pub(super) fn waits(&mut self, service: Service, operation: &str) -> (Duration, Duration) {
        let more = self.latencies.get(operation).copied().unwrap_or_default();
        let latency = self.latency + more;
        let unreliable = self.is_unreliable(service, operation);
        let Some((least, most)) = self.slow.filter(|_| unreliable) else {
            return (latency, Duration::ZERO);
        };
        let whole = least + most.saturating_sub(least).mul_f64(self.draw());
        let before = whole.mul_f64(self.draw());
        (latency + before, whole.saturating_sub(before))
    }

    /// A number from 0 up to 1.
    pub(super) fn draw(&mut self) -> f64 {
        self.random.draw()
    }
}

/// A duration on the world's own clock.
pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl World {
    /// All access entries and principals were made so much earlier.
    pub(crate) fn age(&mut self, by: SignedDuration) {
        for entry in self.cluster.entries.values_mut() {
            Arc::make_mut(entry).created -= by;
        }
        for account in self.accounts.values_mut() {
            let principals = account.roles.values_mut().chain(account.users.values_mut());
            for principal in principals {
                principal.created -= by;
            }
        }
    }
}
