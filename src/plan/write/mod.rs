//! The writes of a plan: the history, aws-auth with its mark, and whether a repair waits.

pub(crate) mod history;
pub(crate) mod render;
pub(crate) mod review;
pub(crate) mod rewrite;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::api::v1alpha1::CONFIRM_ANNOTATION;
use crate::aws_auth::Section;
use crate::observed::Settings;
use crate::observed::{CLUSTER_ANNOTATION, Kept};
use crate::observed::{ConfigMapView, HistoryState, HistoryView, Observed};
use crate::ownership::{MARK_ANNOTATION, Mark};
use crate::plan::action::{
    ConfigMapWrite, EntryWork, HANDOVER_ANNOTATION, HistoryWrite, Outcome, PING_ANNOTATION,
    RELEASED_ANNOTATION,
};
use crate::plan::baseline::Base;
use crate::plan::claim::{Claim, EntryDrift, EntryStep, Step};
use crate::plan::memory::{LeftMark, RepairTarget};
use crate::plan::planned::Plan;
use crate::plan::write::history::KeptCopies;
use crate::safety::{REMOVALS_ANNOTATION, Removals};

/// The age of what is kept of the cluster is given to the hour; writing it more often would tell little.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The copy that must be kept if anything is written.
pub(crate) fn keep(
    claims: &[Claim],
    base: &Base,
    observed: &Observed,
    settings: &Settings,
) -> Result<KeptCopies, String> {
    let idle = base.restored.is_empty()
        && claims
            .iter()
            .all(|claim| claim.effective() == Step::Leave || claim.text_settled());
    let Some(standing) = observed
        .config_map
        .as_ref()
        .filter(|_| !idle && !settings.observe)
    else {
        return Ok(KeptCopies::default());
    };
    let view = match &observed.history {
        HistoryState::Missing => None,
        HistoryState::Present(view) => Some(view),
        HistoryState::Unwritable { .. } => return Ok(KeptCopies::default()),
    };
    history::keep(standing, view, observed.now)
}

impl Plan<'_> {
    pub(crate) fn decide_writes(&mut self, kept: KeptCopies, stored: &Removals) {
        let none = ConfigMapView::default();
        let standing = self.observed.config_map.as_ref().unwrap_or(&none);
        let changed = render::changed_data(standing, &self.realized.data);
        let mark_differs = self.realized.mark != self.standing_mark();
        let mut write = if self.base.create {
            !self.realized.data.is_empty()
        } else {
            !changed.is_empty() || mark_differs
        };
        let now = self.observed.now;
        if write {
            let undone = self.find_undone(mark_differs);
            let contested = |target: &RepairTarget| self.memory.undone.contested(target, now);
            let only_contested =
                !self.fresh(&undone) && !undone.is_empty() && undone.iter().all(contested);
            if only_contested
                && self
                    .memory
                    .undone
                    .next_repair(now)
                    .is_some_and(|next| now < next)
            {
                self.postponed = true;
                write = false;
            } else {
                self.undone = undone;
            }
        }
        self.history = self.history_write(write, kept, stored);
        if write {
            let cleared = self.realized.clearance.as_ref();
            self.config_map = cleared
                .map(|clearance| clearance.clear(self.config_map_write(changed, mark_differs)));
        }
        let work = |claim: &Claim| {
            Some(EntryWork {
                key: claim.key.clone()?,
                calls: claim.entry.calls.clone(),
                needs_text: claim.entry.needs_text,
            })
        };
        self.entries = self
            .claims
            .iter()
            .filter(|claim| claim.entry.pending())
            .filter_map(work)
            .collect();
    }

    /// The calls to EKS that may be made after this came of the write of aws-auth: a write that is not made holds only those that
    /// need it.
    #[must_use]
    pub fn works_after(&self, outcome: &Outcome) -> Vec<EntryWork> {
        let stands = match outcome {
            Outcome::Written { .. } => true,
            Outcome::NothingToWrite => !self.postponed,
            Outcome::Failed(_) => false,
        };
        let works = self.entries.iter();
        works
            .filter(|work| stands || !work.needs_text)
            .cloned()
            .collect()
    }

    /// What someone changed of the claim's access entry, where this plan puts it right.
    pub(crate) fn drift_in_repair<'c>(&self, claim: &'c Claim) -> Option<&'c EntryDrift> {
        let side = &claim.entry;
        let repairs = !self.entries.is_empty() && side.pending() && !side.failed;
        side.drift.as_ref().filter(|_| repairs)
    }

    /// The same, unless an earlier pass has told of it: until the calls are answered, each pass plans them again.
    pub(crate) fn begins_repair<'c>(&self, claim: &'c Claim) -> Option<&'c EntryDrift> {
        let undone = &self.memory.undone;
        self.drift_in_repair(claim)
            .filter(|drift| !undone.told(&claim.hash, drift.seen))
    }

    /// The mark that really exists.
    pub(crate) fn standing_mark(&self) -> Mark {
        let standing = self.observed.config_map.as_ref();
        standing.map(Mark::of).unwrap_or_default()
    }

    /// What this plan would repair that someone else undid.
    fn find_undone(&self, mark_differs: bool) -> BTreeSet<RepairTarget> {
        let drifted = self
            .claims
            .iter()
            .filter(|claim| claim.drift.is_some() && claim.changes_text());
        let mut undone: BTreeSet<RepairTarget> = drifted
            .map(|claim| RepairTarget::Entry(claim.hash.clone()))
            .collect();
        undone.extend(
            self.base
                .restored
                .iter()
                .map(|problem| RepairTarget::Text(problem.section)),
        );
        if self.base.create && self.base.deleted {
            undone.insert(RepairTarget::ConfigMap);
        }
        if let (true, Some(left), Some(standing)) = (
            mark_differs,
            &self.memory.left_mark,
            &self.observed.config_map,
        ) && *left != LeftMark::of(standing)
        {
            undone.insert(RepairTarget::Mark);
        }
        undone
    }

    /// Whether the plan does anything but repair what someone else undid.
    fn fresh(&self, undone: &BTreeSet<RepairTarget>) -> bool {
        self.claims.iter().any(|claim| match claim.effective() {
            Step::Add | Step::Replace | Step::Move => !claim.restores,
            Step::Remove => true,
            // Without a mark there is nothing to take off, and a lost mark is itself something undone.
            Step::Adopt => !undone.contains(&RepairTarget::Mark),
            Step::Unmark | Step::Retain => claim.marked.is_some(),
            Step::Leave | Step::Keep => false,
        })
    }

    fn history_write(
        &self,
        write: bool,
        kept: KeptCopies,
        stored: &Removals,
    ) -> Option<HistoryWrite> {
        let view = match &self.observed.history {
            HistoryState::Missing => None,
            HistoryState::Present(view) => Some(view),
            HistoryState::Unwritable { .. } => return None,
        };
        let mut history = HistoryWrite {
            resource_version: view.map(|view| view.resource_version.clone()),
            ..HistoryWrite::default()
        };
        if view.is_some_and(|view| view.annotations.contains_key(RELEASED_ANNOTATION)) {
            history
                .annotations
                .insert(RELEASED_ANNOTATION.to_owned(), None);
        }
        if view.is_some_and(|view| view.annotations.contains_key(PING_ANNOTATION)) {
            history.annotations.insert(PING_ANNOTATION.to_owned(), None);
        }
        if write {
            // In a fight the good texts alternate; one of each is kept already.
            let fight = self
                .undone
                .iter()
                .any(|target| self.memory.undone.contested(target, self.observed.now));
            let parses = Section::ALL
                .iter()
                .all(|section| self.base.standing.section(*section).broken.is_none());
            if !(fight && parses) {
                history.add = kept.add;
                history.remove = kept.remove;
            }
        }
        let entry_goes =
            |claim: &Claim| claim.entry.pending() && claim.entry.effective() == EntryStep::Delete;
        let text_goes = |claim: &Claim| write && claim.effective() == Step::Remove;
        let orders = || {
            let mut claims = self.claims.iter();
            claims.any(|claim| text_goes(claim) || entry_goes(claim))
        };
        let removals = self.removals.to_record(self.observed.now);
        if removals != *stored && (removals.lasting() != stored.lasting() || orders()) {
            history
                .annotations
                .insert(REMOVALS_ANNOTATION.to_owned(), Some(removals.render()));
        }
        if self.orphans.used_up() {
            history
                .annotations
                .insert(CONFIRM_ANNOTATION.to_owned(), None);
        }
        history.annotations.extend(self.kept_annotations(view));
        let empty =
            history.add.is_empty() && history.remove.is_empty() && history.annotations.is_empty();
        (!empty).then_some(history)
    }

    /// What is kept of the cluster, for the time when EKS can't be asked, and the first value of the handover setting.
    fn kept_annotations(&self, view: Option<&HistoryView>) -> BTreeMap<String, Option<String>> {
        let mut annotations = BTreeMap::new();
        let Some(aws) = self.observed.aws.view() else {
            return annotations;
        };
        let standing = |name: &str| view.and_then(|view| view.annotations.get(name));
        if standing(HANDOVER_ANNOTATION).is_none() {
            annotations.insert(
                HANDOVER_ANNOTATION.to_owned(),
                Some(self.settings.handover.to_string()),
            );
        }
        let now = self.observed.now;
        let kept = Kept {
            arn: aws.cluster.arn.clone(),
            mode: aws.mode.to_string(),
            authority: aws.authority.clone(),
            read: now,
        };
        let current = standing(CLUSTER_ANNOTATION)
            .and_then(|value| Kept::parse(value))
            .is_some_and(|before| {
                let age = now.duration_since(before.read);
                age < KEPT_FOR
                    && kept
                        == Kept {
                            read: now,
                            ..before
                        }
            });
        if aws.unreachable.is_none() && !current {
            annotations.insert(CLUSTER_ANNOTATION.to_owned(), Some(kept.render()));
        }
        annotations
    }

    fn config_map_write(
        &self,
        changed: BTreeMap<String, Option<String>>,
        mark_differs: bool,
    ) -> ConfigMapWrite {
        let mark = (!self.realized.mark.0.is_empty()).then(|| self.realized.mark.render());
        if let Some(standing) = &self.observed.config_map {
            ConfigMapWrite::Patch {
                resource_version: standing.resource_version.clone(),
                data: changed,
                annotations: if mark_differs {
                    [(MARK_ANNOTATION.to_owned(), mark)].into()
                } else {
                    BTreeMap::new()
                },
            }
        } else {
            let mut annotations = self.base.view.annotations.clone();
            annotations.remove(MARK_ANNOTATION);
            annotations.extend(mark.map(|mark| (MARK_ANNOTATION.to_owned(), mark)));
            ConfigMapWrite::Create {
                data: self.realized.data.clone(),
                binary_data: self.base.view.binary_data.clone(),
                labels: self.base.view.labels.clone(),
                annotations,
            }
        }
    }
}
