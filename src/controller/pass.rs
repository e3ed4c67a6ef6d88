//! One pass: observe, plan, write, report.
//!
//! A pass owns what it works on, so that the loop goes on taking in events meanwhile. Its order is fixed: finalizers,
//! so that nothing is granted that a deletion could not revoke; then history, so that no text is overwritten without a
//! copy; then aws-auth. Whatever turns out not to be as it was read is read again and planned again: nothing is ever
//! sent twice. Statuses, finalizers to take off and events are left to the [outbox](super::outbox), calls to EKS to the
//! loop's [side of EKS](super::eks). A write of aws-auth that is not made holds only the calls that the plan marks as needing it.

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::implied::Implied;
use crate::aws_auth::{Document, Section};
use crate::cluster::config_map::WriteError;
use crate::cluster::history::HistoryError;
use crate::cluster::mapping::SeenMapping;
use crate::cluster::state::Snapshot;
use crate::cluster::{CONCURRENCY, Cluster};
use crate::desired::{Desired, Mapping};
use crate::error::Error;
use crate::observed::{ConfigMapView, HistoryState, HistoryView, Observed, Repair, Settings};
use crate::plan::{EntryWork, FinalizerChange, Memory, Outcome, Report, WriteFailure, plan};
use crate::time::Timestamp;

/// How often one pass reads again after a conflict. A writer that is faster than this is met again in the next pass.
const MOST_CONFLICTS: u32 = 10;

/// How long one pass adds finalizers: what is left is added in the next one, so that each pass ends in time however slow the API
/// server is.
const FINALIZERS_TIME: Duration = Duration::from_secs(30);

/// The error of a pass that met more.
const CONFLICTS: &str = "other writers keep changing it in between";

/// The error of a pass that would bring back a text over one that no watch has shown.
const UNSEEN: &str = "it was broken or deleted a moment ago, and the watch has not reported yet what it was before; the operator retries";

/// Whether a pass reads aws-auth and the history itself first, rather than believe the watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FirstRead {
    /// It believes the watches.
    #[default]
    Watched,
    /// It reads both.
    Direct,
    /// It reads both as a new leader: where the watch did not show what is there, the texts that it remembers may hold what was revoked
    /// since. A watch can hang without an error.
    AfterAnotherLeader,
}

/// A pass that can be run.
pub(super) struct Pass {
    pub(super) cluster: Cluster,
    /// Gives the mappings of each plan where none are stored.
    pub(super) implied: Option<Implied>,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    pub(super) snapshot: Snapshot,
    pub(super) first_read: FirstRead,
    /// Cancelled when aws-auth changes: finalizers that are still to be added then wait for the next pass.
    pub(super) interrupt: CancellationToken,
}

/// What came of a pass.
pub(super) struct Done {
    /// The mappings that the last plan was for.
    pub(super) desired: Desired,
    /// What it began with.
    pub(super) seen: Observed,
    /// What it left behind, as far as it knows.
    pub(super) left: Observed,
    /// The calls to EKS that are now to be made.
    pub(super) entries: Vec<EntryWork>,
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
        let Self {
            cluster,
            implied,
            settings,
            mut memory,
            snapshot,
            first_read,
            interrupt,
        } = self;
        let seen = snapshot.observed.clone();
        let mut work = Work {
            cluster,
            implied,
            snapshot,
            mappings: Vec::new(),
            unwritable: None,
            given_up: None,
            conflicts: 0,
            retry: None,
            interrupted: false,
        };
        if first_read != FirstRead::Watched
            && let Err(error) = work.read_again().await
        {
            // The watches' view is used; a write from a stale one would conflict.
            debug!(error = %error, "reading aws-auth directly failed");
            work.retry = Some(error.message);
        }
        if first_read == FirstRead::AfterAnotherLeader
            && (work.retry.is_some() || version(&work.snapshot.observed) != version(&seen))
        {
            memory = memory.without_texts();
        }
        work.hold_unseen(&settings, &memory);
        work.look_at_definition().await;
        let mut finalizers_added = false;
        let (report, outcome, entries) = loop {
            work.snapshot.observed.now = Timestamp::now();
            work.imply();
            match work
                .plan_and_write(&settings, &memory, finalizers_added)
                .await
            {
                PassStep::AddFinalizers(changes) => {
                    finalizers_added = true;
                    work.add_finalizers(&changes, &interrupt).await;
                    work.hold_unseen(&settings, &memory);
                }
                PassStep::HistoryFailed(error) => {
                    work.after_history_error(error).await;
                    work.hold_unseen(&settings, &memory);
                }
                PassStep::Stale { history } => {
                    work.take_over(history, None);
                    // What does not need aws-auth is planned and done all the same.
                    work.given_up = work.after_conflict().await.err();
                    work.hold_unseen(&settings, &memory);
                }
                PassStep::Over(over) => {
                    let Over {
                        history,
                        config_map,
                        report,
                        outcome,
                        entries,
                    } = *over;
                    work.take_over(history, config_map);
                    break (report, outcome, entries);
                }
            }
        };
        if let Outcome::Failed(failure) = &outcome {
            work.retry = Some(words(failure).to_owned());
        }
        Done {
            desired: work.snapshot.desired,
            seen,
            left: work.snapshot.observed,
            entries,
            mappings: work.mappings,
            report,
            outcome,
            conflicts: work.conflicts,
            retry: work.retry,
            interrupted: work.interrupted,
        }
    }
}

/// How far a plan got.
enum PassStep {
    /// Finalizers come first.
    AddFinalizers(Vec<FinalizerChange>),
    /// The history can't be written.
    HistoryFailed(HistoryError),
    /// Someone else wrote aws-auth in between.
    Stale { history: Option<HistoryView> },
    /// To the end.
    Over(Box<Over>),
}

/// A plan that was carried out, or failed for good.
struct Over {
    history: Option<HistoryView>,
    config_map: Option<ConfigMapView>,
    report: Report,
    outcome: Outcome,
    entries: Vec<EntryWork>,
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

/// Which aws-auth it is.
fn version(observed: &Observed) -> Option<&str> {
    let view = observed.config_map.as_ref()?;
    Some(&view.resource_version)
}

/// Whether a text that the memory has was broken or deleted since the watch has shown this version.
fn broke_unseen(observed: &Observed, shown: Option<&str>, memory: &Memory) -> bool {
    version(observed) != shown
        && match &observed.config_map {
            None => memory.has_texts(),
            Some(view) => {
                let document = Document::parse(&view.data);
                let mut sections = Section::ALL.iter();
                sections.any(|section| {
                    memory.has_text(*section) && document.section(*section).broken.is_some()
                })
            }
        }
}

/// A pass at work.
struct Work {
    cluster: Cluster,
    implied: Option<Implied>,
    snapshot: Snapshot,
    mappings: Vec<(String, SeenMapping)>,
    /// Why the history can't be written in this pass.
    unwritable: Option<String>,
    /// Why aws-auth is not written by this pass any more.
    given_up: Option<WriteFailure>,
    conflicts: u32,
    retry: Option<String>,
    interrupted: bool,
}

impl Work {
    /// The current entries imply the mappings, so they are of the very text that is planned for.
    fn imply(&mut self) {
        if let Some(implied) = &self.implied {
            self.snapshot.desired = implied.desired(&self.snapshot.observed);
        }
    }

    /// Reads aws-auth and the history. Where either can't be read, both stay as they were.
    async fn read_again(&mut self) -> Result<(), Error> {
        let (config_map, history) =
            futures::join!(self.cluster.read_config_map(), self.cluster.read_history());
        let (config_map, history) = (config_map?, history?);
        self.snapshot.observed.config_map = config_map;
        self.snapshot.observed.history = match (&self.unwritable, history) {
            (Some(error), view) => HistoryState::Unwritable {
                view,
                error: error.clone(),
            },
            (None, Some(view)) => HistoryState::Present(view),
            (None, None) => HistoryState::Missing,
        };
        Ok(())
    }

    /// Where a direct read finds aws-auth broken or gone and the watch has not shown that yet, there may have been a text in between
    /// that took access away: what is remembered is not brought back over it, but by the next pass, which knows what the watch shows.
    fn hold_unseen(&mut self, settings: &Settings, memory: &Memory) {
        let observed = &self.snapshot.observed;
        let restores = settings.repair_in(observed.aws.mode()) == Repair::LastGood;
        let shown = self.snapshot.shown.as_deref();
        if restores && broke_unseen(observed, shown, memory) && self.given_up.is_none() {
            self.given_up = Some(WriteFailure::Unavailable(UNSEEN.to_owned()));
        }
    }

    /// Deletions may all follow from the one of the definition, which revokes nothing. The two have watches of their own,
    /// and that of the mappings may report first.
    async fn look_at_definition(&mut self) {
        let Snapshot {
            desired, observed, ..
        } = &mut self.snapshot;
        if observed.crd_deleting || !desired.mappings.iter().any(Mapping::is_deleting) {
            return;
        }
        match self.cluster.definition_goes().await {
            Ok(goes) => observed.crd_deleting = goes,
            Err(error) => {
                warn!(error = %error, "reading whether the CustomResourceDefinition is being deleted failed: nothing is revoked");
                observed.crd_deleting = true;
                self.retry = Some(error.message);
            }
        }
    }

    /// Plans, and writes the history and then aws-auth as the plan asks for.
    async fn plan_and_write(
        &self,
        settings: &Settings,
        memory: &Memory,
        finalizers_added: bool,
    ) -> PassStep {
        let mut plan = plan(
            &self.snapshot.desired,
            &self.snapshot.observed,
            settings,
            memory,
        );
        if !finalizers_added && !plan.add_finalizers.is_empty() {
            return PassStep::AddFinalizers(std::mem::take(&mut plan.add_finalizers));
        }
        let history = match &plan.history {
            Some(write) => match self.cluster.write_history(write).await {
                Ok(view) => Some(view),
                Err(error) => return PassStep::HistoryFailed(error),
            },
            None => None,
        };
        let (config_map, outcome) = match (&plan.config_map, &self.given_up) {
            (None, _) => (None, Outcome::NothingToWrite),
            (Some(_), Some(failure)) => (None, Outcome::Failed(failure.clone())),
            (Some(write), None) => match self.cluster.write_config_map(write).await {
                Ok(view) => {
                    let (resource_version, uid) = (view.resource_version.clone(), view.uid.clone());
                    (
                        Some(view),
                        Outcome::Written {
                            resource_version,
                            uid,
                        },
                    )
                }
                Err(WriteError::Failed(failure)) => (None, Outcome::Failed(failure)),
                Err(WriteError::Stale) => return PassStep::Stale { history },
            },
        };
        PassStep::Over(Box::new(Over {
            history,
            config_map,
            report: plan.report(&outcome),
            entries: plan.works_after(&outcome),
            outcome,
        }))
    }

    /// Records what writes returned.
    fn take_over(&mut self, history: Option<HistoryView>, config_map: Option<ConfigMapView>) {
        if let Some(view) = history {
            self.snapshot.observed.history = HistoryState::Present(view);
        }
        if let Some(view) = config_map {
            self.snapshot.observed.config_map = Some(view);
        }
    }

    /// After someone else's write: reads again, or says why this is the end of the pass.
    async fn after_conflict(&mut self) -> Result<(), WriteFailure> {
        self.conflicts += 1;
        if self.conflicts > MOST_CONFLICTS {
            return Err(WriteFailure::Unavailable(CONFLICTS.to_owned()));
        }
        self.read_again().await.map_err(WriteFailure::from)
    }

    /// After a failed write of the history: reads again, or goes on without.
    async fn after_history_error(&mut self, error: HistoryError) {
        let error = match error {
            HistoryError::Failed(error) => error.message,
            HistoryError::Stale => match self.after_conflict().await {
                Ok(()) => return,
                Err(failure) => words(&failure).to_owned(),
            },
        };
        warn!(error = %error, "writing the history ConfigMap failed: additions wait");
        self.snapshot.observed.history = HistoryState::Unwritable {
            view: self.snapshot.observed.history.view().cloned(),
            error: error.clone(),
        };
        self.retry = Some(error.clone());
        self.unwritable = Some(error);
    }

    /// Adds finalizers side by side. A change of aws-auth ends it early and is then planned for: thousands of new
    /// mappings must not keep drift waiting.
    async fn add_finalizers(&mut self, changes: &[FinalizerChange], interrupt: &CancellationToken) {
        let seen: Vec<_> = changes
            .iter()
            .map(|change| {
                (
                    change.clone(),
                    self.snapshot
                        .finalizers
                        .get(&change.name)
                        .cloned()
                        .unwrap_or_default(),
                )
            })
            .collect();
        let cluster = self.cluster.clone();
        let calls = stream::iter(seen).map(move |(change, seen)| {
            let cluster = cluster.clone();
            async move {
                let answer = cluster.add_finalizers(&change, &seen).await;
                (change, answer)
            }
        });
        let answers: Vec<_> = calls
            .buffer_unordered(CONCURRENCY)
            .take_until(tokio::time::timeout(FINALIZERS_TIME, interrupt.cancelled()))
            .collect()
            .await;
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
                    let mut fresh = SeenMapping::from_any(&object);
                    if let Some(place) = places.get(&change.name) {
                        let known = &mut self.snapshot.desired.mappings[*place];
                        // A status that waits to be written is newer than the one that the API server shows.
                        fresh.mapping.status = known.status.clone();
                        known.clone_from(&fresh.mapping);
                    }
                    self.mappings.push((change.name.clone(), fresh));
                }
                // Its end is in flight as an event.
                Ok(None) => {}
                Err(error) => {
                    if self.retry.is_none() {
                        warn!(mapping = change.name, error = %error, "adding a finalizer failed: the mapping waits");
                    }
                    self.retry = Some(error.message);
                }
            }
        }
        if self.interrupted
            && let Err(error) = self.read_again().await
        {
            debug!(error = %error, "reading aws-auth directly failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::simulation::Simulation;

    #[test]
    fn a_break_that_the_watch_has_not_shown_is_told_from_one_that_it_has() {
        let mut simulation = Simulation::with_roles("[]");
        simulation.pass();
        let before = simulation.observed();
        let shown = version(&before);
        let unseen = |simulation: &Simulation, shown: Option<&str>| {
            broke_unseen(&simulation.observed(), shown, &simulation.memory)
        };
        simulation.vandalise("mapRoles", "[]\n# another\n");
        assert!(!unseen(&simulation, shown), "it parses");
        simulation.vandalise("mapRoles", "]");
        let broken = simulation.observed();
        assert!(unseen(&simulation, shown));
        assert!(!unseen(&simulation, version(&broken)));
        simulation.config_map = None;
        assert!(unseen(&simulation, version(&broken)));
        assert!(!unseen(&simulation, None));

        let mut simulation = Simulation::with_roles("]");
        simulation.pass();
        let before = simulation.observed();
        simulation.vandalise("mapUsers", "[]");
        assert!(
            !unseen(&simulation, version(&before)),
            "what was broken from the start has no text to bring back"
        );
    }
}
