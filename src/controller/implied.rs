//! Mappings that are not stored as objects: the entries in the cluster imply them.
//!
//! A migration without the operator is the same loop with the same planner. In place of `IdentityMapping` objects it takes what aws-auth
//! and the access entries say. Their statuses live as long as the process; what they remember follows from the entries, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::api::IdentityMapping;
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::desired::{Desired, Mapping};
use crate::observed::Observed;
use crate::plan::{Outcome, StatusWrite};
use crate::time::Timestamp;

/// Derives the mappings that the entries imply. Pure: the same state gives the same mappings under the same names.
pub type Imply = Arc<dyn Fn(&Observed) -> Vec<IdentityMapping> + Send + Sync>;

/// The result of a pass, for observers.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The mappings, with their statuses.
    pub desired: Desired,
    /// The current entries.
    pub observed: Observed,
    /// What came of the write of aws-auth.
    pub outcome: Outcome,
    /// Whether the definition of mappings is in the cluster: an operator may run.
    pub installed: bool,
}

/// The turns of a loop; `None` before the first.
pub type Turns = watch::Receiver<Option<Arc<Turn>>>;

/// The mappings with the statuses that plans gave them.
#[derive(Clone)]
pub(super) struct Implied {
    imply: Imply,
    statuses: Arc<BTreeMap<String, IdentityMappingStatus>>,
    started: Timestamp,
}

impl Implied {
    pub(super) fn new(imply: Imply) -> Self {
        Self {
            imply,
            statuses: Arc::default(),
            started: Timestamp::now(),
        }
    }

    /// The mappings that a state implies.
    pub(super) fn desired(&self, observed: &Observed) -> Desired {
        let mappings = (self.imply)(observed).into_iter().map(|mut object| {
            let name = object.metadata.name.clone().unwrap_or_default();
            object.metadata.generation = Some(1);
            object.metadata.uid = Some(format!("implied-{name}"));
            object.status = Some(self.status(&name));
            Mapping {
                // It can't be deleted, so no finalizer has to keep it until its entry is removed.
                finalizers: Finalizers::BOTH,
                ..Mapping::from_object(&object)
            }
        });
        Desired {
            mappings: mappings.collect(),
        }
    }

    fn status(&self, name: &str) -> IdentityMappingStatus {
        // When the entries were written is not known: as late as can be.
        let unknown = || IdentityMappingStatus {
            last_synced: Some(self.started.into()),
            ..IdentityMappingStatus::default()
        };
        self.statuses.get(name).cloned().unwrap_or_else(unknown)
    }

    /// Takes the statuses that a report gives. Those of mappings that are implied no more are forgotten.
    pub(super) fn take(&mut self, desired: &mut Desired, writes: Vec<StatusWrite>) {
        let mut new: BTreeMap<String, IdentityMappingStatus> = writes
            .into_iter()
            .map(|write| (write.name, write.status))
            .collect();
        for mapping in &mut desired.mappings {
            if let Some(status) = new.remove(&mapping.name) {
                mapping.status = status;
            }
        }
        self.statuses = Arc::new(
            desired
                .mappings
                .iter()
                .map(|mapping| (mapping.name.clone(), mapping.status.clone()))
                .collect(),
        );
    }
}
