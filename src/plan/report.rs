//! What follows from a plan and what came of it: statuses, finalizers, events, numbers, memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::action::{FinalizerChange, Outcome, Report, StatusWrite, Summary, WriteFailure};
use super::claim::{Block, Claim, State, Step};
use super::mark::{KeyHash, MeaningHash};
use super::memory::{Memory, Target};
use super::observed::ConfigMapView;
use super::{MARK_ANNOTATION, Mapping, Plan, RELEASED_ANNOTATION, event, guard, status};
use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::aws_auth::{Document, Index, ProblemKind, Section};
use crate::principal::Key;

/// The plan together with what stands after its execution.
pub(super) struct View<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) outcome: &'a Outcome,
    /// The write was made.
    pub(super) written: bool,
    /// What stands now.
    standing: &'a Document,
    /// Who is let in, by what stands or will stand within the second.
    pub(super) index: Index<'a>,
    pub(super) administrators: BTreeSet<String>,
    pub(super) memory: &'a Memory,
    held: HashMap<usize, usize>,
    named: HashMap<usize, Vec<usize>>,
}

impl Plan<'_> {
    /// What follows. Call it once, with what came of [`Plan::config_map`].
    #[must_use]
    pub fn report(&self, outcome: &Outcome) -> Report {
        let memory = self.remember(outcome);
        let written = matches!(outcome, Outcome::Written { .. });
        // A contested text is put right within a second: that is a state of aws-auth, and no mapping's condition flickers.
        let document = if written || self.postponed {
            &self.realized.document
        } else {
            &self.base.standing
        };
        let index = Index::new(document);
        let mut held = HashMap::new();
        let mut named: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, claim) in self.claims.iter().enumerate() {
            held.extend(claim.holder.map(|holder| (holder, number)));
            for position in claim.holder.iter().chain(&claim.others) {
                named.entry(*position).or_default().push(number);
            }
        }
        let view = View {
            plan: self,
            outcome,
            written,
            standing: if written {
                &self.realized.document
            } else {
                &self.base.standing
            },
            administrators: guard::administrators(&index, &self.observed.bindings),
            index,
            memory: &memory,
            held,
            named,
        };
        let new: Vec<IdentityMappingStatus> = (0..self.mappings.len())
            .map(|position| status::status(&view, position))
            .collect();
        let (events, said) = event::events(&view, &new);
        let summary = view.summary(&new);
        let remove_finalizers = view.remove_finalizers();
        let wake = view.wake();
        let leaving: BTreeSet<&str> = remove_finalizers
            .iter()
            .map(|change| change.uid.as_str())
            .collect();
        let statuses = self.mappings.iter().zip(new).filter(|(mapping, status)| {
            !same(&mapping.status, status) && !leaving.contains(mapping.uid.as_str())
        });
        let statuses = statuses
            .map(|(mapping, status)| StatusWrite {
                name: mapping.name.clone(),
                uid: mapping.uid.clone(),
                status,
            })
            .collect();
        let memory = Memory { said, ..memory };
        Report {
            statuses,
            remove_finalizers,
            events,
            summary,
            memory,
            wake,
        }
    }

    fn remember(&self, outcome: &Outcome) -> Memory {
        let now = self.observed.now;
        let mut memory = self.memory.clone();
        if !memory.started {
            let released = self
                .observed
                .history
                .view()
                .and_then(|view| view.annotations.get(RELEASED_ANNOTATION));
            memory.release_at_start = released.cloned();
            memory.started = true;
        }
        let standing = match outcome {
            Outcome::Written {
                resource_version,
                uid,
            } => Some(self.after(resource_version, uid)),
            Outcome::NothingToWrite | Outcome::Failed(_) => self.observed.config_map.clone(),
        };
        let written = matches!(outcome, Outcome::Written { .. });
        let document = if written {
            &self.realized.document
        } else {
            &self.base.standing
        };
        if let Some(standing) = standing {
            for section in Section::ALL {
                let view = document.section(section);
                match standing.data.get(section.key()) {
                    Some(text) if view.broken.is_none() => {
                        memory.good.insert(section, text.clone());
                    }
                    Some(_) => {}
                    None => {
                        memory.good.remove(&section);
                    }
                }
            }
            memory.foreign = self.foreign(document);
            memory.standing = Some(standing);
        }
        if written {
            memory.undone.repaired(self.undone.iter().cloned(), now);
            memory.removals = self.removals.clone();
        }
        memory
    }

    /// aws-auth as it stands after the write.
    fn after(&self, resource_version: &str, uid: &str) -> ConfigMapView {
        let mut view = ConfigMapView {
            uid: uid.to_owned(),
            resource_version: resource_version.to_owned(),
            data: self.realized.data.clone(),
            managers: BTreeMap::new(),
            ..self
                .observed
                .config_map
                .clone()
                .unwrap_or_else(|| self.base.view.clone())
        };
        view.annotations.remove(MARK_ANNOTATION);
        if !self.realized.mark.0.is_empty() {
            view.annotations
                .insert(MARK_ANNOTATION.to_owned(), self.realized.mark.render());
        }
        view
    }

    /// The entries that stand and are not ours.
    fn foreign(&self, document: &Document) -> BTreeSet<(KeyHash, MeaningHash)> {
        let all = document.entries().filter_map(|entry| {
            Some((
                KeyHash::of(&Key::parse_arn(&entry.arn)?),
                MeaningHash::of(&entry.meaning()),
            ))
        });
        // An entry of ours that someone changed is still ours, whether it is repaired or not.
        let changed = self
            .claims
            .iter()
            .filter(|claim| claim.ours)
            .filter_map(|claim| {
                Some((&claim.hash, MeaningHash::of(&claim.found.as_ref()?.meaning)))
            });
        let changed: HashMap<&KeyHash, MeaningHash> = changed.collect();
        let ours = |key: &KeyHash, meaning: &MeaningHash| {
            self.realized.mark.0.get(key) == Some(meaning) || changed.get(key) == Some(meaning)
        };
        all.filter(|(key, meaning)| !ours(key, meaning)).collect()
    }
}

/// Whether two statuses say the same. Conditions of other writers are none of our business.
fn same(standing: &IdentityMappingStatus, new: &IdentityMappingStatus) -> bool {
    let ours = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        ConditionType::ALL
            .iter()
            .any(|type_| type_.as_str() == condition.type_)
    };
    let mut standing = standing.clone();
    standing.conditions.retain(ours);
    standing.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    standing == *new
}

impl<'a> View<'a> {
    /// The claim that a mapping holds.
    pub(super) fn held(&self, position: usize) -> Option<&'a Claim> {
        self.held
            .get(&position)
            .map(|number| &self.plan.claims[*number])
    }

    /// All claims that name a mapping.
    pub(super) fn named(&self, position: usize) -> impl Iterator<Item = &'a Claim> {
        self.named
            .get(&position)
            .into_iter()
            .flatten()
            .map(|number| &self.plan.claims[*number])
    }

    pub(super) fn holder_of(&self, key: &Key) -> Option<&'a Mapping> {
        let hash = KeyHash::of(key);
        let claim = self.plan.claims.iter().find(|claim| claim.hash == hash)?;
        claim.holder.map(|holder| self.plan.mappings[holder])
    }

    /// Why nothing was written although the plan has something to write.
    pub(super) fn not_written(&self) -> Option<Block> {
        if self.plan.released {
            return Some(Block::lasting(
                Reason::Released,
                "everything was released; restart the operator to take it up again",
            ));
        }
        if self.plan.settings.observe {
            return Some(Block::lasting(
                Reason::Observing,
                "the operator runs with --observe: it would write the entry and does not",
            ));
        }
        match self.outcome {
            Outcome::Written { .. } => None,
            Outcome::NothingToWrite if self.plan.postponed => {
                Some(Block::passing(Reason::Contested, self.who(None)))
            }
            Outcome::NothingToWrite => None,
            Outcome::Failed(WriteFailure::Denied(words)) => Some(Block::lasting(
                Reason::WriteDenied,
                format!("admission denied the write of aws-auth: {words}"),
            )),
            Outcome::Failed(WriteFailure::Forbidden(words)) => Some(Block::lasting(
                Reason::WriteForbidden,
                format!(
                    "the API server forbids the write of aws-auth: {words}; check the operator's Role"
                ),
            )),
            Outcome::Failed(WriteFailure::Invalid(words)) => Some(Block::lasting(
                Reason::WriteInvalid,
                format!("the API server refused the write of aws-auth: {words}"),
            )),
            Outcome::Failed(WriteFailure::Unavailable(words)) => Some(Block::passing(
                Reason::WriteFailed,
                format!("the write of aws-auth did not get through and is retried: {words}"),
            )),
        }
    }

    /// Whether what the claim asks for stands.
    pub(super) fn resolved(&self, claim: &Claim) -> bool {
        claim.block.is_none() && (!self.pending(claim) || self.not_written().is_none())
    }

    /// Why an entry that the mapping should have no more still stands.
    pub(super) fn unresolved(&self, position: usize) -> Option<Block> {
        let open = self
            .named(position)
            .find(|claim| claim.holder != Some(position) && !self.resolved(claim))?;
        open.block.clone().or_else(|| self.not_written())
    }

    /// Who contests the mapping's entry, if someone does.
    pub(super) fn contested(&self, position: usize) -> Option<String> {
        let claim = self.held(position)?;
        let contested = self
            .memory
            .undone
            .contested(&Target::Entry(claim.hash.clone()), self.plan.observed.now);
        contested.then(|| {
            let before = &self.plan.mappings[position].status;
            // The manager that is known from the last repair stays, so that the message does not flicker.
            self.who(
                before
                    .last_drift
                    .as_ref()
                    .map(|drift| drift.manager.as_str())
                    .filter(|_| claim.drift.is_none()),
            )
        })
    }

    fn who(&self, known: Option<&str>) -> String {
        let manager = known.map_or_else(|| self.manager(Section::Roles), str::to_owned);
        format!(
            "{manager} undoes the entry again and again; it is repaired once a second; make one of the two stop"
        )
    }

    /// The field manager that last wrote a section, as far as Kubernetes keeps it.
    pub(super) fn manager(&self, section: Section) -> String {
        let managers = self
            .plan
            .observed
            .config_map
            .as_ref()
            .map(|view| &view.managers);
        let manager = managers
            .and_then(|managers| managers.get(section.key()))
            .map(|manager| manager.name.as_str());
        manager
            .filter(|name| *name != super::FIELD_MANAGER)
            .unwrap_or("unknown")
            .to_owned()
    }

    /// Whether the mapping is deleted and nothing keeps it any more.
    pub(super) fn leaves(&self, position: usize) -> bool {
        let acts = !self.plan.settings.observe && !self.plan.released;
        let leaving =
            self.plan.states[position] == State::Deleting && self.plan.mappings[position].finalizer;
        acts && leaving && self.unresolved(position).is_none()
    }

    fn remove_finalizers(&self) -> Vec<FinalizerChange> {
        let leaving = self
            .plan
            .mappings
            .iter()
            .enumerate()
            .filter(|(position, _)| self.leaves(*position));
        leaving
            .map(|(_, mapping)| FinalizerChange {
                name: mapping.name.clone(),
                uid: mapping.uid.clone(),
            })
            .collect()
    }

    fn wake(&self) -> Option<Timestamp> {
        let now = self.plan.observed.now;
        let expiries = self
            .plan
            .mappings
            .iter()
            .filter_map(|mapping| mapping.valid_until)
            .filter(|until| *until > now)
            .min();
        let repair = self
            .plan
            .postponed
            .then(|| self.memory.undone.next_repair())
            .flatten();
        [expiries, repair, self.memory.undone.next_rest(now)]
            .into_iter()
            .flatten()
            .min()
    }

    fn summary(&self, new: &[IdentityMappingStatus]) -> Summary {
        let mut conditions: BTreeMap<(ConditionType, &'static str), u64> = BTreeMap::new();
        for type_ in ConditionType::ALL {
            for status in ["True", "False", "Unknown"] {
                let count = new.iter().flat_map(|status| &status.conditions);
                let count = count
                    .filter(|condition| {
                        condition.type_ == type_.as_str() && condition.status == status
                    })
                    .count();
                conditions.insert((type_, status), count as u64);
            }
        }
        let mut drift: BTreeMap<&'static str, u64> = BTreeMap::new();
        if self.written {
            for claim in self.plan.claims.iter().filter(|claim| claim.changes_text()) {
                if let Some(found) = claim.drift {
                    *drift.entry(found.as_str()).or_default() += 1;
                }
            }
            for (kind, count) in [
                ("text", self.plan.base.restored.len()),
                (
                    "deleted",
                    usize::from(self.plan.base.create && self.plan.base.deleted),
                ),
            ] {
                if count > 0 {
                    drift.insert(kind, count as u64);
                }
            }
        }
        let present = |section: &Section| self.standing.section(*section).present;
        let dropped = |section: Section| {
            self.standing
                .section(section)
                .problems
                .iter()
                .filter(|problem| problem.kind == ProblemKind::EntryDropped)
                .count() as u64
        };
        let count = |wanted: &dyn Fn(&Claim) -> bool| {
            self.plan
                .claims
                .iter()
                .filter(|claim| wanted(claim))
                .count() as u64
        };
        Summary {
            conditions,
            parses: Section::ALL
                .into_iter()
                .filter(present)
                .map(|s| (s, self.standing.section(s).broken.is_none()))
                .collect(),
            dropped: Section::ALL
                .into_iter()
                .filter(present)
                .map(|s| (s, dropped(s)))
                .collect(),
            held: count(&|claim| {
                claim
                    .block
                    .as_ref()
                    .is_some_and(|block| block.reason == Reason::RemovalHeld)
            }),
            owned: self.plan.realized.mark.0.len() as u64,
            orphaned: count(&|claim| claim.orphan && claim.effective() == Step::Leave),
            contested: self
                .memory
                .undone
                .all_contested(self.plan.observed.now)
                .count() as u64,
            drift,
            released: self.plan.released,
        }
    }
}
