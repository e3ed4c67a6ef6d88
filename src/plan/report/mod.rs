//! The report of a plan and its results: statuses, finalizers, events, numbers, memory.

mod administrators;
mod audit;
mod bridge;
mod conditions;
mod config_map_events;
pub(crate) mod context;
pub(crate) mod event;
mod leaving;
mod status;
mod summary;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::access_entry::Call;
use crate::api::condition::ConditionType;
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::aws_auth::{Document, Section};
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::observed::ConfigMapView;
use crate::ownership::{KeyHash, MARK_ANNOTATION, MeaningHash, Unmanaged};
use crate::plan::action::{
    FinalizerChange, Outcome, RELEASED_ANNOTATION, Report, StatusWrite, Summary,
};
use crate::plan::memory::{LeftMark, Memory};
use crate::plan::planned::Plan;
use crate::plan::report::context::View;
use crate::plan::report::event::Events;
use crate::principal::Key;
use crate::safety::Cleared;
use crate::time::Timestamp;

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
        let effective = EffectiveAccess::with_entries(
            Sources {
                aws_auth: document,
                // A trial on a copy counts as if the copy were read.
                reading: Reading::AsAwsAuth,
                aws: &self.observed.aws,
                bindings: &self.observed.bindings,
            },
            self.eks
                .as_ref()
                .map(|eks| eks.standing.clone())
                .unwrap_or_default(),
        );
        let (held, named) = self.claims_by_mapping();
        let view = View {
            plan: self,
            outcome,
            written,
            standing: if written {
                &self.realized.document
            } else {
                &self.base.standing
            },
            mark: if written {
                self.realized.mark.clone()
            } else {
                self.standing_mark()
            },
            administrators: self.administrators(document),
            effective,
            memory: &memory,
            held,
            named,
        };
        let new: Vec<IdentityMappingStatus> = (0..self.mappings.len())
            .map(|position| status::status(&view, position))
            .collect();
        let changes = audit::changes(&view, &new);
        let Events {
            notes: events,
            said,
            uncovered,
        } = event::events(&view, &new, &changes);
        let summary = Summary {
            uncovered,
            ..view.summary(&new)
        };
        let change_finalizers: Vec<Cleared<FinalizerChange>> = (0..self.mappings.len())
            .filter_map(|position| leaving::change(&view, position))
            .collect();
        let wake = view.wake();
        let leaving: BTreeSet<&str> = change_finalizers
            .iter()
            .filter(|change| change.lets_go)
            .map(|change| change.uid.as_str())
            .collect();
        let statuses = self.mappings.iter().zip(new).filter(|(mapping, status)| {
            // After a release the statuses are nobody's, so that none of them brings back what the release took out.
            !self.released
                // What can't be read of it would be lost.
                && mapping.unreadable.as_deref() != Some("status.written")
                && !same(&mapping.status, status)
                && !leaving.contains(mapping.uid.as_str())
        });
        let statuses = statuses
            .map(|(mapping, status)| StatusWrite {
                name: mapping.name.clone(),
                uid: mapping.uid.clone(),
                status,
            })
            .collect();
        let causes = audit::open_causes(&view, &changes);
        let memory = Memory {
            causes,
            said,
            ..memory
        };
        Report {
            statuses,
            change_finalizers,
            changes,
            events,
            summary,
            memory,
            iam: self.iam.clone(),
            declared: self
                .claims
                .iter()
                .filter_map(|claim| claim.key.clone())
                .collect(),
            managed: self.claims.iter().any(|claim| claim.entry.asks),
            wake,
        }
    }

    /// The claims that each mapping holds, and those that name it.
    fn claims_by_mapping(&self) -> (HashMap<usize, usize>, HashMap<usize, Vec<usize>>) {
        let mut held = HashMap::new();
        let mut named: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, claim) in self.claims.iter().enumerate() {
            let holder = claim.holder.or(claim.waiting);
            held.extend(holder.map(|holder| (holder, number)));
            for position in claim.holder.iter().chain(&claim.others) {
                named.entry(*position).or_default().push(number);
            }
        }
        (held, named)
    }

    fn in_aws_auth_since(&self) -> BTreeMap<KeyHash, Timestamp> {
        let since = self.claims.iter().filter_map(|claim| {
            let of_place = claim
                .place
                .as_ref()
                .and_then(|place| place.in_aws_auth_since);
            let of_entry = claim.entry.in_aws_auth_since;
            Some((claim.hash.clone(), of_place.or(of_entry)?))
        });
        since.collect()
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
            // One that is missing and waits for its repair was not left so.
            if !self.postponed {
                memory.left_mark = Some(LeftMark::of(&standing));
            }
            memory.unmanaged = self.unmanaged(document);
            memory.standing = Some(standing);
        }
        memory.confirmed_orphans.clone_from(&self.orphans.confirmed);
        memory.in_aws_auth_since = self.in_aws_auth_since();
        memory.takeovers = self
            .takeovers
            .iter()
            .map(|(hash, takeover)| (hash.clone(), takeover.since))
            .collect();
        if written {
            memory.undone.repaired(self.undone.iter().cloned(), now);
        }
        let acts = !self.settings.observe && !self.released && self.halted.is_none();
        if acts {
            // Also where nothing is ordered now: what is on its way counts until ten minutes after its answer.
            memory.removals = self.removals.clone();
            memory.has_record = true;
        } else {
            // An end that was seen meanwhile was seen all the same.
            memory.removals = memory.removals.with_ends(&self.removals);
        }
        for claim in &self.claims {
            if let Some(drift) = self.begins_repair(claim) {
                memory
                    .undone
                    .entry_repaired(claim.hash.clone(), drift.seen, now);
            }
        }
        memory.bridge_idle = if bridge::is_idle(self) {
            memory.bridge_idle.or(Some(now))
        } else {
            None
        };
        self.learn_defaults(&mut memory);
        memory
    }

    /// A username that EKS answers where none was sent is its own default, whatever we expected.
    fn learn_defaults(&self, memory: &mut Memory) {
        let Some(eks) = &self.eks else {
            return;
        };
        // What nobody names and no listing holds may be anyone's word, and is forgotten.
        let named: BTreeSet<&Key> = self
            .claims
            .iter()
            .filter_map(|it| it.key.as_ref())
            .collect();
        let concerns = |principal: &String| {
            eks.view.entries.by_principal.contains_key(principal)
                || Key::parse_arn(principal).is_some_and(|key| named.contains(&key))
        };
        memory.defaults.retain(|principal, _| concerns(principal));
        memory.asked.retain(|principal, asked| {
            if !concerns(principal) {
                return false;
            }
            let Some(state) = eks.view.entries.by_principal.get(principal) else {
                return true;
            };
            let (Some(entry), Some(written)) = (state.known(), state.written) else {
                return true;
            };
            if written < *asked {
                return true;
            }
            memory
                .defaults
                .insert(principal.clone(), entry.username.clone());
            false
        });
        for call in self.entries.iter().flat_map(|work| &work.calls) {
            if let Call::Create { username: None, .. } | Call::Update { username: None, .. } = call
            {
                memory
                    .asked
                    .insert(call.principal_arn().to_owned(), self.observed.now);
            }
        }
    }

    /// aws-auth as it is after the write.
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

    /// The entries of a text that are unmanaged.
    fn unmanaged(&self, document: &Document) -> Unmanaged {
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
    // Every field by name, so that a new one is not forgotten here.
    let IdentityMappingStatus {
        observed_generation,
        state,
        summary,
        principal_arn,
        username,
        backend,
        access_entry_arn,
        last_synced,
        last_drift,
        written,
        awaiting_confirmation,
        seen_valid_until,
        conditions,
    } = new;
    let ours: Vec<&Condition> = ConditionType::ALL
        .into_iter()
        .filter_map(|type_| find(&standing.conditions, type_))
        .collect();
    standing.observed_generation == *observed_generation
        && standing.state == *state
        && standing.summary == *summary
        && standing.principal_arn == *principal_arn
        && standing.username == *username
        && standing.backend == *backend
        && standing.access_entry_arn == *access_entry_arn
        && standing.last_synced == *last_synced
        && standing.last_drift == *last_drift
        && standing.written == *written
        && standing.awaiting_confirmation == *awaiting_confirmation
        && standing.seen_valid_until == *seen_valid_until
        && ours == conditions.iter().collect::<Vec<_>>()
}

fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}
