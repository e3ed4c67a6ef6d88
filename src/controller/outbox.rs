//! What a pass leaves to be sent: statuses, removals of finalizers, events.
//!
//! They don't hold up the next pass: three thousand statuses take seconds, and a node entry that someone deletes
//! meanwhile must be back long before. So they wait here by mapping, where a newer status replaces an older one that has
//! not been sent, and are sent side by side while the loop goes on. Invariants:
//!
//! - while a pass runs nothing more is sent: the API server's time belongs to aws-auth first;
//! - at most [`CONCURRENCY`] calls run, at most one of them for a mapping;
//! - a finalizer is taken off after the status that goes with it was tried;
//! - what fails is tried again, each mapping at its own pace; only events are forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use futures::future::{self, BoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tracing::{debug, warn};

use super::trigger::RETRY;
use crate::cluster::event::PublishedEvent;
use crate::cluster::mapping::SeenMapping;
use crate::cluster::state::WatchedState;
use crate::cluster::{CONCURRENCY, Cluster};
use crate::error::Error;
use crate::plan::{EventNote, FinalizerChange, StatusWrite};
use crate::safety::Cleared;
use crate::time::Timestamp;

/// More events than this are not kept waiting.
const MOST_EVENTS: usize = 1000;

/// The same event within this time is counted on the one before. client-go keeps a series as long (`tools/events`, `finishTime`).
const SERIES: Duration = Duration::from_mins(6);

/// What is to be done for one mapping.
#[derive(Clone, Debug, Default)]
struct Job {
    status: Option<StatusWrite>,
    removal: Option<(Cleared<FinalizerChange>, Vec<String>)>,
    failures: u32,
}

/// A call that ended.
pub(super) enum Finished {
    /// The calls for one mapping.
    Mapping(Box<MappingFinished>),
    /// The publication of an event.
    Event(Result<(), Error>),
}

/// The calls for one mapping that ended.
pub(super) struct MappingFinished {
    name: String,
    job: Job,
    /// The mapping as the write of its status returned it.
    status: Option<Result<Option<SeenMapping>, Error>>,
    removal: Option<Result<(), Error>>,
}

/// What waits to be sent, and what is in flight.
pub(super) struct Outbox {
    cluster: Cluster,
    jobs: HashMap<String, Job>,
    order: VecDeque<String>,
    /// Failed ones, by when they are tried again.
    delayed: BTreeSet<(Instant, String)>,
    events: VecDeque<(EventNote, Option<String>)>,
    /// What was published lately, by what it says.
    published: BTreeMap<EventNote, (PublishedEvent, Instant)>,
    running: BTreeSet<String>,
    /// Uids whose finalizers wait to be changed, or are being changed.
    removing: BTreeSet<String>,
    in_flight: FuturesUnordered<BoxFuture<'static, Finished>>,
    /// Whether the last call for a mapping failed: only the first failure of many is worth a warning.
    failing: bool,
    /// Whether everything was released: a status that fails is then not tried again.
    released: bool,
}

impl Outbox {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            jobs: HashMap::new(),
            order: VecDeque::new(),
            delayed: BTreeSet::new(),
            events: VecDeque::new(),
            published: BTreeMap::new(),
            running: BTreeSet::new(),
            removing: BTreeSet::new(),
            in_flight: FuturesUnordered::new(),
            failing: false,
            released: false,
        }
    }

    /// Takes what a report asks for. `state` counts it as done from here.
    pub(super) fn submit(
        &mut self,
        statuses: Vec<StatusWrite>,
        changes: Vec<Cleared<FinalizerChange>>,
        events: Vec<EventNote>,
        state: &mut WatchedState,
    ) {
        for status in statuses {
            state.assume_status(&status.name, &status.uid, &status.status);
            let name = status.name.clone();
            self.job(&name).status = Some(status);
            self.enqueue(name, false);
        }
        for removal in changes {
            // Until its end is seen, each pass asks again for the same object.
            if self.removing.insert(removal.uid.clone()) {
                if removal.lets_go {
                    state.let_go(&removal.uid);
                }
                let name = removal.name.clone();
                self.job(&name).removal = Some((removal, state.finalizers(&name).to_vec()));
                self.enqueue(name, true);
            }
        }
        let uid = state.config_map().map(|view| view.uid.clone());
        for event in events {
            if self.events.len() < MOST_EVENTS {
                self.events.push_back((event, uid.clone()));
            } else {
                warn!(note = event.note, "event queue full, event only logged");
            }
        }
    }

    /// While everything is `released`, no status that waits may bring back what the release takes out.
    pub(super) fn set_released(&mut self, released: bool, state: &mut WatchedState) {
        self.released = released;
        if !released {
            return;
        }
        for (name, job) in &mut self.jobs {
            if job.status.take().is_some() {
                state.release_status(name);
            }
        }
        self.jobs.retain(|_, job| job.removal.is_some());
        self.delayed
            .retain(|(_, name)| self.jobs.contains_key(name));
        self.released = true;
    }

    /// The job of a mapping, as a fresh one that has not failed yet.
    fn job(&mut self, name: &str) -> &mut Job {
        let job = self.jobs.entry(name.to_owned()).or_default();
        job.failures = 0;
        job
    }

    /// Somebody may be waiting for `kubectl delete`: removals come first.
    fn enqueue(&mut self, name: String, first: bool) {
        if self.running.contains(&name) {
            return;
        }
        if first {
            self.order.push_front(name);
        } else {
            self.order.push_back(name);
        }
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.events.is_empty() && self.in_flight.is_empty()
    }

    /// Sends what waits, unless it is to `hold`, and returns the next call that ends. Can be dropped and called again
    /// at any time.
    pub(super) async fn finished(&mut self, hold: bool) -> Finished {
        loop {
            if !hold {
                self.start(Instant::now());
            }
            let next = self.delayed.first().map(|(at, _)| *at).filter(|_| !hold);
            let delay = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                Some(finished) = self.in_flight.next() => return finished,
                () = delay => {}
            }
        }
    }

    fn start(&mut self, now: Instant) {
        while self.delayed.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, name)) = self.delayed.pop_first() {
                self.enqueue(name, false);
            }
        }
        while self.in_flight.len() < CONCURRENCY {
            if let Some(name) = self.order.pop_front() {
                // A name can wait twice, for a status and a removal: the first call does both.
                if let Some(job) = self.jobs.remove(&name) {
                    self.running.insert(name.clone());
                    self.in_flight
                        .push(send(self.cluster.clone(), name, job).boxed());
                }
            } else if let Some((event, uid)) = self.events.pop_front() {
                let cluster = self.cluster.clone();
                let published = self.series(&event, now);
                let call = async move {
                    let time = Timestamp::now();
                    let uid = uid.as_deref();
                    Finished::Event(cluster.publish_event(&event, &published, uid, time).await)
                };
                self.in_flight.push(call.boxed());
            } else {
                break;
            }
        }
    }

    /// The event that was published with the same words, counted once more; or a new one.
    fn series(&mut self, event: &EventNote, now: Instant) -> PublishedEvent {
        self.published
            .retain(|_, (_, last)| now.duration_since(*last) < SERIES);
        if let Some((published, last)) = self.published.get_mut(event) {
            published.count = published.count.saturating_add(1);
            *last = now;
            return published.clone();
        }
        let new = self.cluster.new_event(event, Timestamp::now());
        self.published.insert(event.clone(), (new.clone(), now));
        new
    }

    /// Takes in what came of a call.
    pub(super) fn settle(&mut self, finished: Finished, state: &mut WatchedState) {
        match finished {
            Finished::Mapping(finished) => self.settle_mapping(*finished, state),
            Finished::Event(Ok(())) => {}
            Finished::Event(Err(error)) => warn!(error = %error, "publishing an event failed"),
        }
    }

    fn settle_mapping(&mut self, finished: MappingFinished, state: &mut WatchedState) {
        let MappingFinished {
            name,
            job,
            status,
            removal,
        } = finished;
        self.running.remove(&name);
        let mut again = Job {
            failures: job.failures + 1,
            ..Job::default()
        };
        let mut failure = None;
        match status {
            Some(Ok(seen)) => {
                let newer_waits = self
                    .jobs
                    .get(&name)
                    .is_some_and(|waiting| waiting.status.is_some());
                if !newer_waits {
                    state.release_status(&name);
                }
                if let Some(seen) = seen {
                    state.absorb_mapping(&name, seen);
                }
            }
            Some(Err(_)) if self.released => state.release_status(&name),
            Some(Err(error)) => {
                again.status = job.status;
                failure = Some(error);
            }
            None => {}
        }
        match removal {
            Some(Ok(())) => {
                if let Some((change, _)) = job.removal {
                    self.removing.remove(&change.uid);
                }
            }
            Some(Err(error)) => {
                again.removal = job.removal;
                failure = Some(error);
            }
            None => {}
        }
        if let Some(error) = failure {
            if std::mem::replace(&mut self.failing, true) {
                debug!(mapping = name, error = %error, "writing a status or finalizer failed");
            } else {
                warn!(mapping = name, error = %error, "writing a status or finalizer failed, retrying");
            }
            self.try_again(name, again);
        } else {
            self.failing = false;
            if self.jobs.contains_key(&name) {
                self.enqueue(name, false);
            }
        }
    }

    fn try_again(&mut self, name: String, again: Job) {
        let at = Instant::now() + RETRY.pause(again.failures.saturating_sub(1), fastrand::f64());
        if let Some(waiting) = self.jobs.get_mut(&name) {
            // What came meanwhile is newer and has not failed.
            waiting.status = waiting.status.take().or(again.status);
            waiting.removal = waiting.removal.take().or(again.removal);
            self.enqueue(name, false);
        } else {
            self.jobs.insert(name.clone(), again);
            self.delayed.insert((at, name));
        }
    }
}

async fn send(cluster: Cluster, name: String, job: Job) -> Finished {
    let status = match &job.status {
        Some(write) => Some(
            cluster
                .write_status(write)
                .await
                .map(|object| object.map(|object| SeenMapping::from_any(&object))),
        ),
        None => None,
    };
    let removal = match &job.removal {
        Some((change, seen)) => Some(cluster.change_finalizers(change, seen).await.map(drop)),
        None => None,
    };
    Finished::Mapping(Box::new(MappingFinished {
        name,
        job,
        status,
        removal,
    }))
}

#[cfg(test)]
mod tests {
    use kube::{Client, Config};

    use super::*;
    use crate::api::v1alpha1::IdentityMappingStatus;
    use crate::error::Category;
    use crate::observed::ConfigMapName;

    fn status(name: &str) -> StatusWrite {
        StatusWrite {
            name: name.to_owned(),
            uid: "u".to_owned(),
            status: IdentityMappingStatus::default(),
        }
    }

    fn failed(name: &str) -> Finished {
        let error = Error {
            category: Category::Transient,
            message: "no answer".to_owned(),
        };
        Finished::Mapping(Box::new(MappingFinished {
            name: name.to_owned(),
            job: Job {
                status: Some(status(name)),
                ..Job::default()
            },
            status: Some(Err(error)),
            removal: None,
        }))
    }

    #[tokio::test]
    async fn the_same_event_again_is_counted_on_the_first() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let nowhere = "http://127.0.0.1:1".parse().expect("a URL");
        let client = Client::try_from(Config::new(nowhere)).expect("a client");
        let mut outbox = Outbox::new(Cluster::new(client, ConfigMapName::default(), ""));
        let note = |note: &str| EventNote {
            regarding: crate::plan::Regarding::ConfigMap,
            reason: crate::api::condition::Reason::WriteDenied,
            action: "Write",
            note: note.to_owned(),
        };
        let begin = Instant::now();
        let first = outbox.series(&note("no"), begin);
        let other = outbox.series(&note("never"), begin);
        let again = outbox.series(&note("no"), begin + SERIES / 2);
        assert_eq!((first.count, other.count, again.count), (1, 1, 2));
        let third = outbox.series(&note("no"), begin + SERIES);
        let mut expected = first;
        expected.count = 2;
        assert_eq!(again, expected);
        expected.count = 3;
        assert_eq!(third, expected);
        let much_later = outbox.series(&note("no"), begin + SERIES * 3);
        assert_eq!(much_later.count, 1);
        assert_ne!(much_later, other);
        assert_eq!(outbox.published.len(), 1, "what is old is forgotten");
    }

    #[tokio::test]
    async fn after_a_release_no_status_waits_or_is_tried_again() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let nowhere = "http://127.0.0.1:1".parse().expect("a URL");
        let client = Client::try_from(Config::new(nowhere)).expect("a client");
        let name = ConfigMapName {
            namespace: "kube-system".to_owned(),
            name: "aws-auth".to_owned(),
        };
        let mut state = WatchedState::new(name.clone());
        let mut outbox = Outbox::new(Cluster::new(client, name, ""));
        outbox.submit(vec![status("a")], Vec::new(), Vec::new(), &mut state);
        outbox.settle(failed("b"), &mut state);
        assert_eq!((outbox.jobs.len(), outbox.delayed.len()), (2, 1));
        outbox.set_released(true, &mut state);
        assert!(outbox.is_idle() && outbox.delayed.is_empty());
        // What was in flight fails only now.
        outbox.settle(failed("c"), &mut state);
        assert!(outbox.is_idle());
        outbox.set_released(false, &mut state);
        outbox.settle(failed("c"), &mut state);
        assert!(!outbox.is_idle());
    }
}
