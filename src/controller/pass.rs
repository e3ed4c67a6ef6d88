//! One pass: observe, plan, write, report.
//!
//! A pass owns what it works on, so that the loop goes on taking in events meanwhile. Its order is fixed: finalizers,
//! so that nothing is granted that a deletion could not revoke; then history, so that no text is overwritten without a
//! copy; then aws-auth. Whatever turns out not to be as it was read is read again and planned again: nothing is ever
//! sent twice. Statuses, finalizers to take off and events are left to the [outbox](super::outbox).

use std::collections::HashMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::cluster::config_map::WriteError;
use crate::cluster::history::HistoryError;
use crate::cluster::mapping::SeenMapping;
use crate::cluster::state::Snapshot;
use crate::cluster::{CONCURRENCY, Cluster};
use crate::error::Error;
use crate::plan::{
    FinalizerChange, HistoryState, HistoryWrite, Memory, Observed, Outcome, Report, Settings, WriteFailure, plan,
};

/// How often one pass reads again after a conflict. A writer that is faster than this is met again in the next pass.
const MOST_CONFLICTS: u32 = 10;

/// A pass that can be run.
pub(super) struct Pass {
    pub(super) cluster: Cluster,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    pub(super) snapshot: Snapshot,
    /// Read aws-auth and the history first, rather than believe the watches.
    pub(super) reread: bool,
    /// Cancelled when aws-auth changes: finalizers that are still to be added then wait for the next pass.
    pub(super) interrupt: CancellationToken,
}

/// What came of a pass.
pub(super) struct Done {
    /// What it began with.
    pub(super) seen: Observed,
    /// What it left behind, as far as it knows.
    pub(super) left: Observed,
    /// Mappings as the additions of finalizers returned them, by name.
    pub(super) mappings: Vec<(String, SeenMapping)>,
    pub(super) report: Report,
    pub(super) outcome: Outcome,
    pub(super) conflicts: u32,
    /// Why it has to be run again although nothing changes.
    pub(super) retry: Option<String>,
    /// Whether additions of finalizers were left to the next pass.
    pub(super) interrupted: bool,
}

impl Pass {
    /// Runs it. Never fails: what went wrong is part of what came of it.
    pub(super) async fn run(self) -> Done {
        let Self { cluster, settings, memory, snapshot, reread, interrupt } = self;
        let seen = snapshot.observed.clone();
        let mut work = Work {
            cluster,
            snapshot,
            mappings: Vec::new(),
            unwritable: None,
            conflicts: 0,
            retry: None,
            interrupted: false,
        };
        if reread && let Err(error) = work.read_again().await {
            // The watches' view still stands; a write from it would conflict if it were old.
            debug!(error = %error, "aws-auth can't be read directly");
        }
        let mut finalizers_added = false;
        let (report, outcome) = loop {
            work.snapshot.observed.now = Timestamp::now();
            let plan = plan(&work.snapshot.desired, &work.snapshot.observed, &settings, &memory);
            if !finalizers_added && !plan.add_finalizers.is_empty() {
                finalizers_added = true;
                work.add_finalizers(&plan.add_finalizers, &interrupt).await;
                continue;
            }
            if let Some(write) = &plan.history
                && work.unwritable.is_none()
                && !work.write_history(write).await
            {
                continue;
            }
            let outcome = match &plan.config_map {
                None => Outcome::NothingToWrite,
                Some(write) => match work.cluster.write_config_map(write).await {
                    Ok(view) => {
                        let written =
                            Outcome::Written { resource_version: view.resource_version.clone(), uid: view.uid.clone() };
                        work.snapshot.observed.config_map = Some(view);
                        written
                    }
                    Err(WriteError::Failed(failure)) => Outcome::Failed(failure),
                    Err(WriteError::Stale) => match work.after_conflict().await {
                        Ok(()) => continue,
                        Err(failure) => Outcome::Failed(failure),
                    },
                },
            };
            break (plan.report(&outcome), outcome);
        };
        if let Outcome::Failed(failure) = &outcome {
            work.retry = Some(words(failure).to_owned());
        }
        Done {
            seen,
            left: work.snapshot.observed,
            mappings: work.mappings,
            report,
            outcome,
            conflicts: work.conflicts,
            retry: work.retry,
            interrupted: work.interrupted,
        }
    }
}

/// The other side's words.
pub(super) fn words(failure: &WriteFailure) -> &str {
    match failure {
        WriteFailure::Denied(words)
        | WriteFailure::Forbidden(words)
        | WriteFailure::Invalid(words)
        | WriteFailure::Unavailable(words) => words,
    }
}

/// A pass at work.
struct Work {
    cluster: Cluster,
    snapshot: Snapshot,
    mappings: Vec<(String, SeenMapping)>,
    /// Why the history can't be written in this pass.
    unwritable: Option<String>,
    conflicts: u32,
    retry: Option<String>,
    interrupted: bool,
}

impl Work {
    /// Reads aws-auth and the history. Where either can't be read, both stay as they were.
    async fn read_again(&mut self) -> Result<(), Error> {
        let (config_map, history) = futures::join!(self.cluster.read_config_map(), self.cluster.read_history());
        let (config_map, history) = (config_map?, history?);
        self.snapshot.observed.config_map = config_map;
        self.snapshot.observed.history = match (&self.unwritable, history) {
            (Some(error), view) => HistoryState::Unwritable { view, error: error.clone() },
            (None, Some(view)) => HistoryState::Present(view),
            (None, None) => HistoryState::Missing,
        };
        Ok(())
    }

    /// After someone else's write: reads again, or says why this is the end of the pass.
    async fn after_conflict(&mut self) -> Result<(), WriteFailure> {
        self.conflicts += 1;
        if self.conflicts > MOST_CONFLICTS {
            let words = format!("someone else wrote in between {MOST_CONFLICTS} times in a row");
            return Err(WriteFailure::Unavailable(words));
        }
        self.read_again().await.map_err(WriteFailure::from)
    }

    /// Writes the history. Whether the plan still stands; otherwise what it looks at has changed.
    async fn write_history(&mut self, write: &HistoryWrite) -> bool {
        let error = match self.cluster.write_history(write).await {
            Ok(view) => {
                self.snapshot.observed.history = HistoryState::Present(view);
                return true;
            }
            Err(HistoryError::Failed(error)) => error.message,
            Err(HistoryError::Stale) => match self.after_conflict().await {
                Ok(()) => return false,
                Err(failure) => words(&failure).to_owned(),
            },
        };
        warn!(error = %error, "the history ConfigMap can't be written: additions wait");
        self.snapshot.observed.history =
            HistoryState::Unwritable { view: self.snapshot.observed.history.view().cloned(), error: error.clone() };
        self.retry = Some(error.clone());
        self.unwritable = Some(error);
        false
    }

    /// Adds finalizers side by side. A change of aws-auth ends it early and is then looked at: thousands of new
    /// mappings must not keep drift waiting.
    async fn add_finalizers(&mut self, changes: &[FinalizerChange], interrupt: &CancellationToken) {
        let seen: Vec<_> = changes
            .iter()
            .map(|change| (change.clone(), self.snapshot.finalizers.get(&change.name).cloned().unwrap_or_default()))
            .collect();
        let cluster = self.cluster.clone();
        let calls = stream::iter(seen).map(move |(change, seen)| {
            let cluster = cluster.clone();
            async move {
                let answer = cluster.add_finalizer(&change, &seen).await;
                (change, answer)
            }
        });
        let answers: Vec<_> =
            calls.buffer_unordered(CONCURRENCY).take_until(interrupt.cancelled()).collect().await;
        self.interrupted = answers.len() < changes.len();
        let places: HashMap<String, usize> = self
            .snapshot
            .desired
            .mappings
            .iter()
            .enumerate()
            .map(|(place, mapping)| (mapping.name.clone(), place))
            .collect();
        for (change, answer) in answers {
            match answer {
                Ok(Some(object)) => {
                    let mut fresh = SeenMapping::from_object(&object);
                    if let Some(place) = places.get(&change.name) {
                        let known = &mut self.snapshot.desired.mappings[*place];
                        // A status that waits to be written is newer than the one that the API server shows.
                        fresh.mapping.status = known.status.clone();
                        *known = fresh.mapping.clone();
                    }
                    self.mappings.push((change.name.clone(), fresh));
                }
                // Its end is on its way as an event.
                Ok(None) => {}
                Err(error) => {
                    if self.retry.is_none() {
                        warn!(mapping = change.name, error = %error, "a finalizer can't be added: the mapping waits");
                    }
                    self.retry = Some(error.message);
                }
            }
        }
        if self.interrupted
            && let Err(error) = self.read_again().await
        {
            debug!(error = %error, "aws-auth can't be read directly");
        }
    }
}
