//! Publishing events.
//!
//! Each event is an object of its own, never a count on an earlier one: notes vary, and a series would repeat the first
//! note (kube's `Recorder` aggregates by reason). An event that can't be published is logged and forgotten.

use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::{Cluster, bounded};
use crate::error::Error;
use crate::plan::{EventNote, FIELD_MANAGER, Regarding};
use crate::time::Timestamp;

/// Events about objects without a namespace stand in this one (apiserver, `pkg/apis/core/validation/events.go`).
const CLUSTER_SCOPED: &str = "default";

/// The API server's own limit for a note of `events.k8s.io/v1`, in bytes.
const NOTE_LIMIT: usize = 1024;

/// Tells apart events of one nanosecond.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl Cluster {
    /// Publishes one event. `config_map_uid` is the uid of aws-auth where it is known.
    pub async fn publish_event(
        &self,
        note: &EventNote,
        config_map_uid: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let regarding = match &note.regarding {
            Regarding::Mapping { name, uid } => ObjectReference {
                api_version: Some("identity-mapper.dev/v1alpha1".to_owned()),
                kind: Some("IdentityMapping".to_owned()),
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            },
            Regarding::ConfigMap => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("ConfigMap".to_owned()),
                namespace: Some(self.config_map().namespace.clone()),
                name: Some(self.config_map().name.clone()),
                uid: config_map_uid.map(str::to_owned),
                ..ObjectReference::default()
            },
        };
        let event = event(note, regarding, &self.instance, now);
        let namespace = event
            .metadata
            .namespace
            .as_deref()
            .unwrap_or(CLUSTER_SCOPED);
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        bounded(api.create(&params, &event)).await.map(drop)
    }
}

fn event(note: &EventNote, regarding: ObjectReference, instance: &str, now: Timestamp) -> Event {
    let namespace = regarding
        .namespace
        .clone()
        .unwrap_or_else(|| CLUSTER_SCOPED.to_owned());
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(
                regarding.name.as_deref().unwrap_or_default(),
                now,
            )),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some(note.action.to_owned()),
        event_time: Some(now.into()),
        note: Some(shortened(&note.note)),
        reason: Some(note.reason.as_str().to_owned()),
        regarding: Some(regarding),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        // Plain success publishes nothing, so every event is one that a person should look at.
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

/// As client-go names events: the object, a dot, a hexadecimal time. At most 253 characters in all.
fn event_name(object: &str, now: Timestamp) -> String {
    let nanoseconds = now.as_nanosecond();
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed) & 0xffff;
    let object: String = object.chars().take(200).collect();
    format!(
        "{}.{nanoseconds:x}{sequence:04x}",
        object.trim_end_matches(['.', '-'])
    )
}

fn shortened(note: &str) -> String {
    if note.len() <= NOTE_LIMIT {
        return note.to_owned();
    }
    let mut end = NOTE_LIMIT - '…'.len_utf8();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_legal() {
        let now = Timestamp::UNIX_EPOCH;
        let first = event_name("team-a.admins", now);
        assert_ne!(first, event_name("team-a.admins", now));
        assert!(first.starts_with("team-a.admins."));
        let long = event_name(&format!("{}.", "a".repeat(199) + "."), now);
        assert!(long.len() <= 253 && !long.contains(".."), "{long}");
    }

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let short = "ü".repeat(NOTE_LIMIT / 2);
        assert_eq!(shortened(&short), short);
        let long = shortened(&"ü".repeat(NOTE_LIMIT));
        assert!(
            long.len() <= NOTE_LIMIT && long.ends_with("ü…"),
            "{}",
            long.len()
        );
    }
}
