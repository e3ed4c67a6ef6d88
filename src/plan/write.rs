//! Which writes a decided plan makes: the history, aws-auth with its mark, and whether a repair waits for its second.

use std::collections::{BTreeMap, BTreeSet};

use super::base::Base;
use super::claim::{Claim, Step};
use super::guard::{REMOVALS_ANNOTATION, Removals};
use super::history::{self, Kept};
use super::mark::{MARK_ANNOTATION, Mark};
use super::memory::Target;
use super::observed::{ConfigMapView, HistoryState, Observed};
use super::{ConfigMapWrite, HistoryWrite, Plan, RELEASED_ANNOTATION, Settings, realize};
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, Confirmation};
use crate::aws_auth::Section;

/// The copy that must be kept if anything is written.
pub(super) fn keep(
    claims: &[Claim],
    base: &Base,
    observed: &Observed,
    settings: &Settings,
) -> Result<Kept, String> {
    let idle = base.restored.is_empty()
        && claims
            .iter()
            .all(|claim| claim.effective() == Step::Leave || claim.settled());
    let Some(standing) = observed
        .config_map
        .as_ref()
        .filter(|_| !idle && !settings.observe)
    else {
        return Ok(Kept::default());
    };
    let view = match &observed.history {
        HistoryState::Missing => None,
        HistoryState::Present(view) => Some(view),
        HistoryState::Unwritable { .. } => return Ok(Kept::default()),
    };
    history::keep(standing, view, observed.now)
}

impl Plan<'_> {
    pub(super) fn decide_writes(
        &mut self,
        kept: Kept,
        stored: &Removals,
        orphans: &BTreeSet<Confirmation>,
    ) {
        let changed = match &self.observed.config_map {
            Some(standing) => realize::changed_data(standing, &self.realized.data),
            None => self.realized.data.clone(),
        };
        let mark_differs = self.realized.mark != self.standing_mark();
        let mut write = if self.base.create {
            !self.realized.data.is_empty()
        } else {
            !changed.is_empty() || mark_differs
        };
        let now = self.observed.now;
        if write {
            let undone = self.find_undone(mark_differs);
            let contested = |target: &Target| self.memory.undone.contested(target, now);
            let only_contested =
                !self.fresh(&undone) && !undone.is_empty() && undone.iter().all(contested);
            if only_contested
                && self
                    .memory
                    .undone
                    .next_repair()
                    .is_some_and(|next| now < next)
            {
                self.postponed = true;
                write = false;
            } else {
                self.undone = undone;
            }
        }
        self.history = self.history_write(write, kept, stored, orphans);
        if write {
            self.config_map = Some(self.config_map_write(changed, mark_differs));
        }
    }

    /// The mark that really stands.
    fn standing_mark(&self) -> Mark {
        let value = self
            .observed
            .config_map
            .as_ref()
            .and_then(|view| view.annotations.get(MARK_ANNOTATION));
        value.map(|value| Mark::parse(value)).unwrap_or_default()
    }

    /// What this plan would put right that someone else undid.
    fn find_undone(&self, mark_differs: bool) -> BTreeSet<Target> {
        let drifted = self
            .claims
            .iter()
            .filter(|claim| claim.drift.is_some() && claim.changes_text());
        let mut undone: BTreeSet<Target> = drifted
            .map(|claim| Target::Entry(claim.hash.clone()))
            .collect();
        undone.extend(
            self.base
                .restored
                .iter()
                .map(|problem| Target::Text(problem.section)),
        );
        if self.base.create && self.base.deleted {
            undone.insert(Target::ConfigMap);
        }
        let mark_of = |view: &ConfigMapView| view.annotations.get(MARK_ANNOTATION).cloned();
        if let (true, Some(before), Some(standing)) = (
            mark_differs,
            &self.memory.standing,
            &self.observed.config_map,
        ) && mark_of(before) != mark_of(standing)
        {
            undone.insert(Target::Mark);
        }
        undone
    }

    /// Whether the plan does anything but put right what someone else undid.
    fn fresh(&self, undone: &BTreeSet<Target>) -> bool {
        self.claims.iter().any(|claim| match claim.effective() {
            Step::Add | Step::Replace | Step::Move => !claim.restores,
            Step::Remove => true,
            // Without a mark there is nothing to take off, and a lost mark is itself something undone.
            Step::Adopt => !undone.contains(&Target::Mark),
            Step::Unmark | Step::Retain => claim.marked.is_some(),
            Step::Leave | Step::Keep => false,
        })
    }

    fn history_write(
        &self,
        write: bool,
        kept: Kept,
        stored: &Removals,
        orphans: &BTreeSet<Confirmation>,
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
            if self.removals != *stored
                && self
                    .claims
                    .iter()
                    .any(|claim| claim.effective() == Step::Remove)
            {
                history
                    .annotations
                    .insert(REMOVALS_ANNOTATION.to_owned(), Some(self.removals.render()));
            }
            if self
                .claims
                .iter()
                .any(|claim| claim.orphan() && claim.effective() != Step::Leave)
                && !orphans.is_empty()
            {
                history
                    .annotations
                    .insert(CONFIRM_ANNOTATION.to_owned(), None);
            }
        }
        let empty =
            history.add.is_empty() && history.remove.is_empty() && history.annotations.is_empty();
        (!empty).then_some(history)
    }

    fn config_map_write(
        &self,
        changed: BTreeMap<String, String>,
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
                data: changed,
                binary_data: self.base.view.binary_data.clone(),
                labels: self.base.view.labels.clone(),
                annotations,
            }
        }
    }
}
