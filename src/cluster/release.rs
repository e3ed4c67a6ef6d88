//! Release: gives up ownership. Every mark of ownership is removed, every entry stays.
//!
//! The history `ConfigMap` is marked first. A running operator that sees it writes nothing any more, so what follows can't be undone by
//! it; what it had already sent is found by reading again, for the last time when all of that has ended. Mappings are read page by page,
//! with more time for each call than the operator takes. Each step may be run again after a crash, and goes on where it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList, Patch, PatchParams};
use serde_json::json;

use super::config_map::WriteError;
use super::history::HistoryError;
use super::{CALL_TIMEOUT, CONCURRENCY, Cluster};
use crate::api::IdentityMapping;
use crate::api::condition::{ConditionType, Reason};
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::MappingState;
use crate::backoff::Backoff;
use crate::error::{Category, Error};
use crate::ownership::MARK_ANNOTATION;
use crate::plan::{ConfigMapWrite, FIELD_MANAGER, HistoryWrite, RELEASED_ANNOTATION, WriteFailure};
use crate::safety::Clearance;
use crate::time::{Timestamp, to_the_second};

/// Mappings that are read and released at a time.
const PAGE: u32 = 100;

/// How often a call is made that may succeed later.
const TRIES: u32 = 5;
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));

/// What a running operator had sent when the history was marked has ended by then, and its watch has shown it the mark.
const SETTLED: Duration = CALL_TIMEOUT.saturating_mul(2);

/// What the status of each mapping says then.
const RELEASED: &str = "ownership was given up (identity-mapper release): the entry stays as it is, and no operator manages it or ends it at \
    validUntil";

/// How often a write is made anew after a conflict, and how often the mappings are read again.
pub(super) const ATTEMPTS: usize = 20;

/// What was released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetGo {
    /// Statuses that no longer say what we wrote.
    pub statuses: usize,
    /// Mappings whose finalizers were taken off.
    pub finalizers: usize,
}

/// Progress of the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Far {
    /// Mappings that were read.
    pub done: usize,
    /// All mappings, as far as is known.
    pub total: usize,
}

/// The result of reading all mappings once.
#[derive(Default)]
struct Round {
    /// Whether none was found with ownership left, on any page.
    clean: bool,
    /// Why the API server refused something that may be different when it is read again.
    refused: Option<Error>,
}

/// A mapping that still owns its entry, or whose status says that an operator works on it.
struct HeldMapping {
    name: String,
    uid: String,
    finalizers: Vec<String>,
    written: bool,
    /// Whether its status is of a running operator.
    outdated: bool,
}

impl HeldMapping {
    /// `None` where there is nothing to release.
    fn new(object: DynamicObject) -> Option<Self> {
        let status = &object.data["status"];
        let reported = status.as_object().is_some_and(|status| !status.is_empty());
        let holding = Self {
            written: status["written"]
                .as_array()
                .is_some_and(|written| !written.is_empty()),
            outdated: reported && status["state"] != json!(MappingState::Released),
            name: object.metadata.name.unwrap_or_default(),
            uid: object.metadata.uid.unwrap_or_default(),
            finalizers: object.metadata.finalizers.unwrap_or_default(),
        };
        (holding.owns() || holding.outdated).then_some(holding)
    }

    /// Whether it has anything by which an operator would know its entry.
    fn owns(&self) -> bool {
        self.written || self.finalizer()
    }

    /// Its status from now on. Without `Ready` and `observedGeneration` kstatus takes the object for settled, so that nothing waits for
    /// an operator.
    fn released_status(&self, released: Timestamp) -> serde_json::Value {
        let condition = Condition {
            type_: ConditionType::Synced.as_str().to_owned(),
            status: "False".to_owned(),
            reason: Reason::Released.as_str().to_owned(),
            message: RELEASED.to_owned(),
            observed_generation: None,
            last_transition_time: to_the_second(released).into(),
        };
        json!({ "metadata": { "uid": self.uid }, "status": {
            "written": null,
            "observedGeneration": null,
            "awaitingConfirmation": null,
            "state": MappingState::Released,
            "conditions": [condition],
        } })
    }

    fn finalizer(&self) -> bool {
        !Finalizers::among(&self.finalizers).is_empty()
    }

    /// The operations that take ours off this very object, as it was seen.
    fn without_finalizer(&self) -> serde_json::Value {
        let others: Vec<&String> = self
            .finalizers
            .iter()
            .filter(|finalizer| !is_ours(finalizer))
            .collect();
        json!([
            { "op": "test", "path": "/metadata/uid", "value": self.uid },
            { "op": "test", "path": "/metadata/finalizers", "value": self.finalizers },
            { "op": "replace", "path": "/metadata/finalizers", "value": others },
        ])
    }
}

fn is_ours(finalizer: &String) -> bool {
    !Finalizers::among(std::slice::from_ref(finalizer)).is_empty()
}

/// Uids of what was released.
#[derive(Default)]
struct Gone {
    statuses: BTreeSet<String>,
    finalizers: BTreeSet<String>,
}

impl Gone {
    fn note(&mut self, mapping: &HeldMapping) {
        if mapping.written {
            self.statuses.insert(mapping.uid.clone());
        }
        if mapping.finalizer() {
            self.finalizers.insert(mapping.uid.clone());
        }
    }
}

/// A list that is read page by page.
#[derive(Default)]
struct Pages {
    token: Option<String>,
    over: bool,
    /// Whether the rest could not be read any more.
    expired: bool,
    read: usize,
    left: usize,
}

impl Pages {
    fn take(&mut self, page: &ObjectList<DynamicObject>) {
        self.read += page.items.len();
        self.token = page
            .metadata
            .continue_
            .clone()
            .filter(|token| !token.is_empty());
        self.over = self.token.is_none();
        let left = page.metadata.remaining_item_count.unwrap_or_default();
        self.left = usize::try_from(left).unwrap_or_default();
    }

    fn far(&self) -> Far {
        Far {
            done: self.read,
            total: self.read + self.left,
        }
    }
}

/// How long it takes until nothing that was sent before the mark is in flight. Clocks of two machines may differ.
fn settles(released: Timestamp, now: Timestamp) -> Duration {
    let since = Duration::try_from(now.duration_since(released)).unwrap_or_default();
    SETTLED.saturating_sub(since)
}

impl Cluster {
    /// The ARNs of the EKS clusters whose access entries were written, by what statuses say, each with the number of mappings.
    pub async fn clusters_written(&self) -> Result<BTreeMap<String, usize>, Error> {
        let mut clusters = BTreeMap::new();
        let mut pages = Pages::default();
        while let Some(page) = self.page(&mut pages).await? {
            for object in page {
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
        }
        Ok(clusters)
    }

    /// Marks the history as released at `now`; it is created where it is missing. Since when it is marked: an earlier mark stays.
    pub async fn mark_released(&self, now: Timestamp) -> Result<Timestamp, Error> {
        for _ in 0..ATTEMPTS {
            let view = self.read_history().await?;
            let marked = view
                .as_ref()
                .and_then(|view| view.annotations.get(RELEASED_ANNOTATION)?.parse().ok());
            if let Some(earlier) = marked {
                return Ok(earlier);
            }
            let write = HistoryWrite {
                resource_version: view.map(|view| view.resource_version),
                annotations: [(RELEASED_ANNOTATION.to_owned(), Some(now.to_string()))].into(),
                ..HistoryWrite::default()
            };
            match self.write_history(&write).await {
                Ok(_) => return Ok(now),
                Err(HistoryError::Stale) => {}
                Err(HistoryError::Failed(error)) => return Err(error),
            }
        }
        Err(beaten())
    }

    /// Removes the mark from aws-auth. Whether there was one.
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

    /// Takes what was written out of every status, and the finalizer off every mapping, until none is left and nothing that a running
    /// operator had sent before `released` can bring one back.
    pub async fn let_mappings_go(
        &self,
        released: Timestamp,
        mut far: impl FnMut(Far),
    ) -> Result<LetGo, Error> {
        let settles = settles(released, Timestamp::now());
        let settled = Instant::now() + settles;
        // What a running operator had already sent can bring one back: it still counts once.
        let mut gone = Gone::default();
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let began = Instant::now();
            let round = self.let_round_go(released, &mut gone, &mut far).await?;
            if round.clean && began >= settled {
                return Ok(LetGo {
                    statuses: gone.statuses.len(),
                    finalizers: gone.finalizers.len(),
                });
            }
            if round.clean {
                tokio::time::sleep_until(settled.into()).await;
            }
            refused = round.refused.or(refused);
        }
        Err(refused.unwrap_or_else(beaten))
    }

    /// Reads all mappings once, page by page, and releases each that is not yet.
    async fn let_round_go(
        &self,
        released: Timestamp,
        gone: &mut Gone,
        far: &mut impl FnMut(Far),
    ) -> Result<Round, Error> {
        let mut round = Round {
            clean: true,
            refused: None,
        };
        let mut pages = Pages::default();
        while let Some(page) = self.page(&mut pages).await? {
            let holding: Vec<HeldMapping> = page.into_iter().filter_map(HeldMapping::new).collect();
            round.clean &= !holding.iter().any(HeldMapping::owns);
            for mapping in &holding {
                gone.note(mapping);
            }
            let mut calls = stream::iter(holding)
                .map(|mapping| self.let_mapping_go(mapping, released))
                .buffer_unordered(CONCURRENCY);
            while let Some(answer) = calls.next().await {
                round.refused = answer?.or(round.refused);
            }
            far(pages.far());
        }
        // A list that is older than the API server keeps them ends early.
        round.clean &= !pages.expired;
        Ok(round)
    }

    /// Releases one. What the API server refused because the mapping has changed is returned: the next round finds what is left.
    async fn let_mapping_go(
        &self,
        mapping: HeldMapping,
        released: Timestamp,
    ) -> Result<Option<Error>, Error> {
        let api = self.raw_mappings();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        if mapping.written || mapping.outdated {
            let patch = Patch::Merge(mapping.released_status(released));
            let answer = self
                .tried(|| api.patch_status(&mapping.name, &params, &patch))
                .await;
            match answer {
                Ok(_) => {}
                // Recreated or deleted meanwhile.
                Err(error) if matches!(error.category, Category::Conflict | Category::Missing) => {}
                // An object that the API server would refuse today keeps its words; it owns nothing.
                Err(error) if !mapping.written && error.category == Category::Invalid => {}
                Err(error) => return Err(error),
            }
        }
        if !mapping.finalizer() {
            return Ok(None);
        }
        let patch = serde_json::from_value(mapping.without_finalizer())
            .expect("the operations are those of RFC 6902");
        let patch = Patch::Json::<()>(patch);
        match self
            .tried(|| api.patch(&mapping.name, &params, &patch))
            .await
        {
            Ok(_) => Ok(None),
            Err(error) if error.category == Category::Missing => Ok(None),
            // A failed test is 422, a race inside the API server 409.
            Err(error) if matches!(error.category, Category::Invalid | Category::Conflict) => {
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }

    /// The next page of mappings; `None` after the last.
    async fn page(&self, pages: &mut Pages) -> Result<Option<Vec<DynamicObject>>, Error> {
        if pages.over {
            return Ok(None);
        }
        let mut params = ListParams::default().limit(PAGE);
        if let Some(token) = &pages.token {
            params = params.continue_token(token);
        }
        let api = self.raw_mappings();
        match self.tried(|| api.list(&params)).await {
            Ok(list) => {
                pages.take(&list);
                Ok(Some(list.items))
            }
            // Without the CustomResourceDefinition there are none.
            Err(error) if error.category == Category::Missing => {
                pages.over = true;
                Ok(None)
            }
            // 410: the API server keeps a list for some minutes only.
            Err(error) if error.category == Category::Invalid && pages.token.is_some() => {
                pages.over = true;
                pages.expired = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a call again that may succeed later.
    async fn tried<T, C>(&self, call: impl Fn() -> C) -> Result<T, Error>
    where
        C: Future<Output = Result<T, kube::Error>>,
    {
        let mut failures = 0;
        loop {
            let error = match self.bounded(call()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = RETRY.pause(failures, 0.0);
            failures += 1;
            if failures == TRIES
                || !matches!(error.category, Category::Transient | Category::Throttled)
            {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Also those that can't be decoded: they have to be released too.
    fn raw_mappings(&self) -> Api<DynamicObject> {
        Api::all_with(
            self.client.clone(),
            &ApiResource::erase::<IdentityMapping>(&()),
        )
    }
}

pub(super) fn beaten() -> Error {
    let message = format!(
        "other writers changed the object {ATTEMPTS} times in between; run the command again"
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::finalizer::Finalizer;

    fn held(metadata: &serde_json::Value, status: &serde_json::Value) -> Option<HeldMapping> {
        let object = json!({
            "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
            "metadata": metadata, "status": status,
        });
        HeldMapping::new(serde_json::from_value(object).expect("an object"))
    }

    fn holding(metadata: &serde_json::Value, written: &serde_json::Value) -> Option<HeldMapping> {
        held(
            metadata,
            &json!({ "state": "Released", "written": written }),
        )
    }

    #[test]
    fn a_status_of_a_running_operator_is_replaced_once() {
        let metadata = json!({ "name": "a", "uid": "u" });
        for state in ["Active", "Pending", "Suspended"] {
            let mapping = held(&metadata, &json!({ "state": state })).expect("it is outdated");
            assert!(!mapping.owns(), "{state}");
            let patch = mapping.released_status(Timestamp::UNIX_EPOCH);
            let mut status = patch["status"].clone();
            assert_eq!(status["observedGeneration"], json!(null));
            assert_eq!(status["conditions"][0]["reason"], "Released");
            // kstatus waits while Ready is not True, and not at all where it is absent.
            assert_eq!(status["conditions"].as_array().map(Vec::len), Some(1));
            // A merge patch removes what is null.
            if let Some(status) = status.as_object_mut() {
                status.retain(|_, value| !value.is_null());
            }
            assert!(held(&metadata, &status).is_none(), "{status}");
        }
        assert!(held(&metadata, &json!(null)).is_none(), "never reported on");
    }

    #[test]
    fn only_what_holds_on_is_touched() {
        let metadata = json!({ "name": "a", "uid": "u", "finalizers": ["other"] });
        assert!(holding(&metadata, &json!([])).is_none());
        assert!(holding(&metadata, &json!(null)).is_none());
        assert!(holding(&metadata, &json!([{}])).is_some_and(|mapping| !mapping.finalizer()));
    }

    #[test]
    fn finalizers_of_others_stay() {
        let ours = Finalizer::AwsAuth.as_str();
        let metadata = json!({ "name": "a", "uid": "u", "finalizers": ["one", ours, "two"] });
        let mapping = holding(&metadata, &json!([])).expect("it has our finalizer");
        let patch = mapping.without_finalizer();
        assert_eq!(
            patch[0],
            json!({ "op": "test", "path": "/metadata/uid", "value": "u" })
        );
        assert_eq!(patch[1]["value"], json!(["one", ours, "two"]));
        assert_eq!(patch[2]["value"], json!(["one", "two"]));
        let parsed: Patch<()> = Patch::Json(serde_json::from_value(patch).expect("RFC 6902"));
        assert!(matches!(parsed, Patch::Json(_)));
    }

    #[test]
    fn what_was_sent_before_the_mark_ends() {
        let now = Timestamp::UNIX_EPOCH;
        let ago = |seconds| now.minus(jiff::SignedDuration::from_secs(seconds));
        assert_eq!(settles(now, now), SETTLED);
        assert_eq!(settles(ago(4), now), Duration::from_secs(6));
        assert_eq!(settles(ago(3600), now), Duration::ZERO);
        assert_eq!(settles(ago(-5), now), SETTLED, "the other clock is ahead");
    }
}
