//! Publishing events.
//!
//! The same event again, to the letter, is counted on the one before (its series). Events of one reason with different notes stay apart: a
//! series keeps the first note only. An event that can't be published is logged and forgotten.

use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Cluster, bounded};
use crate::error::{Category, Error};
use crate::plan::{EventNote, FIELD_MANAGER, Regarding};
use crate::time::Timestamp;

/// Events about objects without a namespace stand in this one (apiserver, `pkg/apis/core/validation/events.go`).
const CLUSTER_SCOPED: &str = "default";

/// The API server's own limit for a note of `events.k8s.io/v1`, in bytes.
const NOTE_LIMIT: usize = 1024;

/// Tells apart events of one nanosecond.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// An event that was published, to count repetitions on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    namespace: String,
    name: String,
    /// How often it happened.
    pub count: i32,
}

impl Cluster {
    /// The name for a new event.
    #[must_use]
    pub fn new_event(&self, note: &EventNote, now: Timestamp) -> PublishedEvent {
        let (namespace, object) = match &note.regarding {
            Regarding::Mapping { name, .. } => (CLUSTER_SCOPED, name),
            Regarding::ConfigMap => {
                let config_map = self.config_map();
                (config_map.namespace.as_str(), &config_map.name)
            }
        };
        PublishedEvent {
            namespace: namespace.to_owned(),
            name: event_name(object, now),
            count: 1,
        }
    }

    /// Publishes an event, or counts it once more where it was published before. `config_map_uid` is the uid of aws-auth where it is known.
    pub async fn publish_event(
        &self,
        note: &EventNote,
        published: &PublishedEvent,
        config_map_uid: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let PublishedEvent {
            namespace,
            name,
            count,
        } = published;
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if *count > 1 {
            let series =
                json!({"series": {"count": count, "lastObservedTime": MicroTime::from(now)}});
            let params = PatchParams::apply(FIELD_MANAGER);
            match bounded(api.patch(name, &params, &Patch::Merge(series))).await {
                // The API server keeps events for an hour, by default.
                Err(error) if error.category == Category::Missing => {}
                answer => return answer.map(drop),
            }
        }
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
        let event = event(note, regarding, &self.instance, published, now);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        bounded(api.create(&params, &event)).await.map(drop)
    }
}

fn event(
    note: &EventNote,
    regarding: ObjectReference,
    instance: &str,
    published: &PublishedEvent,
    now: Timestamp,
) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(published.name.clone()),
            namespace: Some(published.namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some(note.action.to_owned()),
        event_time: Some(now.into()),
        note: Some(shortened(&note.note)),
        reason: Some(note.reason.as_str().to_owned()),
        regarding: Some(regarding),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(
            if note.reason.is_done() {
                "Normal"
            } else {
                "Warning"
            }
            .to_owned(),
        ),
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
