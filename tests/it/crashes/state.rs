//! Everything that lasts, as one text: two ends are the same where their texts are.

use std::collections::{BTreeMap, BTreeSet};

use identity_mapper::api::IdentityMapping;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, ResourceExt as _};
use regex::Regex;
use serde::Serialize;
use serde_json::{Value, json};

use super::site::Stage;
use crate::support::eks::Entry;

/// What an entry in our own form begins with, in JSON.
const OURS: &str = r#"- rolearn: \""#;

impl Stage<'_> {
    /// Everything that lasts, without times.
    pub(super) async fn state(&self) -> String {
        let cluster = self.cluster();
        let aws_auth = cluster.config_maps().get_opt("aws-auth").await.unwrap();
        let history = cluster
            .config_maps()
            .get_opt("aws-auth-history")
            .await
            .unwrap();
        let copies = cluster.history().await.into_values();
        // How many texts of ours were overwritten depends on what came together.
        let copies = copies.map(|copy| copy["data"].to_string());
        let copies = copies.filter(|text| !text.contains(OURS)).collect();
        let bindings = Api::<ClusterRoleBinding>::all(cluster.admin());
        let bridge = bindings.get_opt("identity-mapper-bridge").await.unwrap();
        let mappings = self.site.mappings().await;
        let world = self.eks.world();
        let entries = world.cluster.entries.iter();
        let state = State {
            aws_auth: aws_auth.as_ref().map(of_config_map),
            copies,
            history: history.as_ref().map(annotations).unwrap_or_default(),
            bridge: bridge.is_some(),
            mappings: mappings.iter().map(of_mapping).collect(),
            mode: world.cluster.mode.as_str(),
            entries: entries
                .map(|(arn, entry)| (arn.clone(), of_entry(entry)))
                .collect(),
        };
        serde_json::to_string_pretty(&state).expect("JSON")
    }
}

#[derive(Serialize)]
struct State<'a> {
    aws_auth: Option<Value>,
    copies: BTreeSet<String>,
    /// The annotations of the history.
    history: BTreeMap<String, String>,
    bridge: bool,
    mappings: BTreeMap<String, Value>,
    mode: &'a str,
    entries: BTreeMap<String, Value>,
}

fn of_config_map(object: &ConfigMap) -> Value {
    json!({"data": object.data, "annotations": object.metadata.annotations})
}

fn of_mapping(mapping: &IdentityMapping) -> (String, Value) {
    let mut status = json!(mapping.status);
    if let Some(status) = status.as_object_mut() {
        // The first is a time. The second tells of what a process saw: one that died has told nobody.
        for field in ["lastSynced", "lastDrift"] {
            status.remove(field);
        }
    }
    let finalizers: BTreeSet<&String> = mapping.finalizers().iter().collect();
    let text = json!({"finalizers": finalizers, "status": status}).to_string();
    let value = serde_json::from_str(&timeless(&text)).expect("still JSON");
    (mapping.name_any(), value)
}

fn of_entry(entry: &Entry) -> Value {
    let policies = entry.policies.iter();
    let policies = policies.map(|(policy, it)| (policy.clone(), json!(it.namespaces)));
    let groups: BTreeSet<&String> = entry.groups.iter().collect();
    // A role that is made anew has another id each time that a situation is played.
    let mut tags = entry.tags.clone();
    if let Some(id) = tags.get_mut("identity-mapper.dev/principal-id") {
        "ID".clone_into(id);
    }
    json!({
        "type": entry.type_, "username": entry.username, "groups": groups, "tags": tags,
        "policies": policies.collect::<BTreeMap<String, Value>>(),
    })
}

/// What the history says beside its copies.
fn annotations(history: &ConfigMap) -> BTreeMap<String, String> {
    let annotations = history.annotations().iter();
    let annotations = annotations.map(|(name, value)| (name.clone(), timeless(value)));
    annotations.collect()
}

/// Without points in time, also in seconds since the epoch, and how far off they are.
fn timeless(text: &str) -> String {
    let times = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\d\d:\d\d(:\d\d)? UTC|\b\d+ (ms|s|m|h)\b|\b1\d{9}\b";
    let times = Regex::new(times).expect("a pattern");
    times.replace_all(text, "TIME").into_owned()
}
