//! Letting go: everything that says that an entry is ours goes, every entry stays.
//!
//! The history `ConfigMap` is marked first. A running operator that sees it writes nothing any more, so what follows
//! can't be undone by it; what it had already sent is met by looking again. Each step may be run again after a crash.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;

use super::config_map::WriteError;
use super::history::HistoryError;
use super::{CONCURRENCY, Cluster, bounded};
use crate::api::IdentityMapping;
use crate::api::finalizer::Finalizers;
use crate::error::{Category, Error};
use crate::ownership::MARK_ANNOTATION;
use crate::plan::{
    ConfigMapWrite, FIELD_MANAGER, FinalizerChange, HistoryWrite, RELEASED_ANNOTATION, WriteFailure,
};
use crate::safety::Clearance;
use crate::time::Timestamp;

/// How often a write is made anew after a conflict, and how often the mappings are looked at again.
pub(super) const ATTEMPTS: usize = 20;

/// What was let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetGo {
    /// Statuses that no longer say what we wrote.
    pub statuses: usize,
    /// Mappings whose finalizers were taken off.
    pub finalizers: usize,
}

/// A mapping that still holds on to its entry.
struct Holding {
    name: String,
    uid: String,
    finalizers: Vec<String>,
    written: bool,
}

impl Holding {
    fn ours(&self) -> Finalizers {
        Finalizers::among(&self.finalizers)
    }
}

impl Cluster {
    /// The ARNs of the EKS clusters whose access entries were written, by what statuses say, each with the number of mappings.
    pub async fn clusters_written(&self) -> Result<BTreeMap<String, usize>, Error> {
        let mut clusters = BTreeMap::new();
        for object in self.all_mappings().await? {
            let written = object.data["status"]["written"].as_array();
            let named: BTreeSet<&str> = written
                .into_iter()
                .flatten()
                .filter_map(|entry| entry["cluster"].as_str())
                .collect();
            for cluster in named {
                *clusters.entry(cluster.to_owned()).or_default() += 1;
            }
        }
        Ok(clusters)
    }

    /// Marks the history as released at `now`; it is created where it is missing.
    pub async fn mark_released(&self, now: Timestamp) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let write = HistoryWrite {
                resource_version: self.read_history().await?.map(|view| view.resource_version),
                annotations: [(RELEASED_ANNOTATION.to_owned(), Some(now.to_string()))].into(),
                ..HistoryWrite::default()
            };
            match self.write_history(&write).await {
                Ok(_) => return Ok(()),
                Err(HistoryError::Stale) => {}
                Err(HistoryError::Failed(error)) => return Err(error),
            }
        }
        Err(beaten())
    }

    /// Takes the mark off aws-auth. Whether there was one.
    pub async fn remove_mark(&self) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let Some(view) = self.read_config_map().await? else {
                return Ok(false);
            };
            if !view.annotations.contains_key(MARK_ANNOTATION) {
                return Ok(false);
            }
            let write = ConfigMapWrite::Patch {
                resource_version: view.resource_version.clone(),
                data: [].into(),
                annotations: [(MARK_ANNOTATION.to_owned(), None)].into(),
            };
            let Some(clearance) =
                Clearance::of_same_texts(&view.data, &write.applied(Some(&view)).data)
            else {
                return Ok(false);
            };
            match self.write_config_map(&clearance.clear(write)).await {
                Ok(_) => return Ok(true),
                Err(WriteError::Stale) => {}
                Err(WriteError::Failed(failure)) => return Err(refused(failure)),
            }
        }
        Err(beaten())
    }

    /// Takes what was written out of every status, and the finalizers off every mapping, until none is left.
    pub async fn let_mappings_go(&self) -> Result<LetGo, Error> {
        // What a running operator had already sent can bring one back: it still counts once.
        let (mut statuses, mut finalizers) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..ATTEMPTS {
            let holding = self.holding().await?;
            if holding.is_empty() {
                return Ok(LetGo {
                    statuses: statuses.len(),
                    finalizers: finalizers.len(),
                });
            }
            statuses.extend(
                holding
                    .iter()
                    .filter(|mapping| mapping.written)
                    .map(|mapping| mapping.uid.clone()),
            );
            finalizers.extend(
                holding
                    .iter()
                    .filter(|mapping| !mapping.ours().is_empty())
                    .map(|mapping| mapping.uid.clone()),
            );
            stream::iter(holding)
                .map(Ok)
                .try_for_each_concurrent(CONCURRENCY, |mapping| self.let_mapping_go(mapping))
                .await?;
        }
        Err(beaten())
    }

    async fn let_mapping_go(&self, mapping: Holding) -> Result<(), Error> {
        if mapping.written {
            let patch =
                json!({ "metadata": { "uid": mapping.uid }, "status": { "written": null } });
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            match bounded(self.raw_mappings().patch_status(
                &mapping.name,
                &params,
                &Patch::Merge(patch),
            ))
            .await
            {
                Ok(_) => {}
                // Made anew or gone meanwhile; the next look finds what is left.
                Err(error) if matches!(error.category, Category::Conflict | Category::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        if !mapping.ours().is_empty() {
            let change = FinalizerChange {
                remove: mapping.ours(),
                name: mapping.name,
                uid: mapping.uid,
                ..FinalizerChange::default()
            };
            self.change_finalizers(&change, &mapping.finalizers).await?;
        }
        Ok(())
    }

    async fn holding(&self) -> Result<Vec<Holding>, Error> {
        let all = self.all_mappings().await?;
        let holding = all.into_iter().map(|object| Holding {
            written: object.data["status"]["written"]
                .as_array()
                .is_some_and(|written| !written.is_empty()),
            name: object.metadata.name.unwrap_or_default(),
            uid: object.metadata.uid.unwrap_or_default(),
            finalizers: object.metadata.finalizers.unwrap_or_default(),
        });
        Ok(holding
            .filter(|mapping| mapping.written || !mapping.ours().is_empty())
            .collect())
    }

    async fn all_mappings(&self) -> Result<Vec<DynamicObject>, Error> {
        match bounded(self.raw_mappings().list(&ListParams::default())).await {
            Ok(list) => Ok(list.items),
            // Without the CustomResourceDefinition there are none.
            Err(error) if error.category == Category::Missing => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Also those that can't be decoded: they have to be let go of too.
    fn raw_mappings(&self) -> Api<DynamicObject> {
        Api::all_with(
            self.client.clone(),
            &ApiResource::erase::<IdentityMapping>(&()),
        )
    }
}

pub(super) fn beaten() -> Error {
    let message = format!("someone else wrote in between {ATTEMPTS} times; run it again");
    Error {
        category: Category::Conflict,
        message,
    }
}

fn refused(failure: WriteFailure) -> Error {
    let (category, message) = match failure {
        WriteFailure::Denied(message) => (Category::Denied, message),
        WriteFailure::Forbidden(message) => (Category::Forbidden, message),
        WriteFailure::Invalid(message) => (Category::Invalid, message),
        WriteFailure::Unavailable(message) => (Category::Transient, message),
    };
    Error { category, message }
}
