//! Every version that aws-auth ever had, and what stands in each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use identity_mapper::aws_auth::Document;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{WatchEvent, WatchParams};
use tokio::task::JoinHandle;

use super::cluster::Cluster;
use super::wait::eventually;

/// A watch is some milliseconds behind, on a machine that is busy with other things.
const LONG: Duration = Duration::from_mins(2);

/// Every version of aws-auth, in order.
pub(crate) struct Versions {
    all: Arc<Mutex<Vec<ConfigMap>>>,
    task: JoinHandle<()>,
}

impl Versions {
    /// From the present one on.
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        let api = cluster.config_maps();
        let first = api.get("aws-auth").await.expect("it is there");
        let mut version = version_of(&first);
        let all = Arc::new(Mutex::new(vec![first]));
        let seen = all.clone();
        let task = tokio::spawn(async move {
            loop {
                // Less than what the API server grants at most: one that ends goes on from where it was.
                let params = WatchParams::default()
                    .fields("metadata.name=aws-auth")
                    .timeout(200);
                let events = api.watch(&params, &version).await;
                let mut events = events.expect("the administrator may").boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    if let WatchEvent::Modified(object) = event {
                        version = version_of(&object);
                        seen.lock().expect("nobody panics with it").push(object);
                    }
                }
            }
        });
        Self { all, task }
    }

    /// All until this one.
    pub(crate) async fn until(&self, version: &str) -> Vec<ConfigMap> {
        eventually("the watch has caught up", LONG, async || {
            let all = self.all.lock().expect("nobody panics with it").clone();
            let last = all.last().map(version_of);
            (last.as_deref() == Some(version)).then_some(all)
        })
        .await
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The version that an object of the API server has.
pub(crate) fn version_of(object: &ConfigMap) -> String {
    object.resource_version().unwrap_or_default()
}

/// A key's text; empty where there is none.
pub(crate) fn text(object: &ConfigMap, key: &str) -> String {
    let data = object.data.as_ref();
    data.and_then(|data| data.get(key))
        .cloned()
        .unwrap_or_default()
}

/// The comments and entries of a text, each with all of its lines.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match parts.last_mut() {
            Some(part) if line.starts_with(' ') => part.push_str(line),
            _ => parts.push(line.to_owned()),
        }
    }
    parts
}

/// Those of both lists in which none of these words is: the entries of ours are recognised by the names of their principals.
pub(crate) fn without(object: &ConfigMap, words: &[&str]) -> BTreeMap<&'static str, Vec<String>> {
    ["mapRoles", "mapUsers"]
        .map(|key| {
            let mut parts = parts(&text(object, key));
            parts.retain(|part| !words.iter().any(|word| part.contains(word)));
            (key, parts)
        })
        .into()
}

/// How often each principal stands there, by the last part of its ARN.
pub(crate) fn principals(object: &ConfigMap) -> BTreeMap<String, usize> {
    let none = BTreeMap::new();
    let document = Document::parse(object.data.as_ref().unwrap_or(&none));
    let mut counts = BTreeMap::new();
    for entry in document.entries() {
        let name = entry.arn.rsplit('/').next().unwrap_or_default();
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}
