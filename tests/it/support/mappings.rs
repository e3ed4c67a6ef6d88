//! Mappings, aws-auth and what is said of them, in the words in which tests speak.
//!
//! All of it is done and read as the administrator: what the operator may do, only the operator shows.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::read::GzDecoder;
use futures::{StreamExt, TryStreamExt};
use identity_mapper::api::IdentityMapping;
use identity_mapper::api::v1alpha1::Drift;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::audit::{Audit, Mark};
use super::cluster::Cluster;
use super::wait::eventually;

/// For what takes milliseconds, on a machine that is busy with other things.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What stands in aws-auth before the operator comes: a node role, by hand.
pub(crate) const FOREIGN: &str = "\
# by hand
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// The ARN of a role.
pub(crate) fn role(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

/// A mapping of the role of its own name, with these further fields of its spec.
pub(crate) fn mapping(name: &str, spec: &Value) -> IdentityMapping {
    let mut whole = json!({ "principal": { "arn": role(name) }, "groups": ["team"] });
    for (field, value) in spec.as_object().expect("fields of a spec") {
        whole[field] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
        "metadata": { "name": name }, "spec": whole,
    }))
    .expect("a mapping")
}

/// A condition as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: String,
    /// One word.
    pub(crate) reason: String,
    /// A sentence.
    pub(crate) message: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

/// The condition of this type, with its message or that of the condition that it points to.
pub(crate) fn condition(mapping: &IdentityMapping, type_: &str) -> Option<Seen> {
    let conditions = &mapping.status.as_ref()?.conditions;
    let find = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
    let found = find(type_)?;
    let place = found.message.split_once("; see ").map(|(_, place)| place);
    Some(Seen {
        status: found.status.clone(),
        reason: found.reason.clone(),
        message: place
            .map_or(found, |place| find(place).expect("is there"))
            .message
            .clone(),
    })
}

impl Cluster {
    /// A new control plane where the operator is installed, and an aws-auth with [`FOREIGN`].
    pub(crate) async fn seeded() -> Self {
        let cluster = Self::with_operator_rights().await;
        cluster.seed(json!({ "mapRoles": FOREIGN })).await;
        cluster
    }

    /// The `ConfigMap`s beside aws-auth.
    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.admin(), "kube-system")
    }

    /// All mappings.
    pub(crate) fn mappings(&self) -> Api<IdentityMapping> {
        Api::all(self.admin())
    }

    /// Makes aws-auth.
    pub(crate) async fn seed(&self, data: Value) {
        let object = json!({ "metadata": { "name": "aws-auth" }, "data": data });
        let object = serde_json::from_value(object).expect("a ConfigMap");
        let made = self
            .config_maps()
            .create(&PostParams::default(), &object)
            .await;
        made.expect("there is none yet");
    }

    /// Changes aws-auth by a merge patch, under this field manager.
    pub(crate) async fn patch_aws_auth(&self, manager: &str, patch: Value) {
        let params = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let answer = self
            .config_maps()
            .patch("aws-auth", &params, &Patch::Merge(patch))
            .await;
        answer.expect("the administrator may");
    }

    /// Writes one key of aws-auth, under this field manager.
    pub(crate) async fn write_text(&self, manager: &str, key: &str, text: &str) {
        self.patch_aws_auth(manager, json!({ "data": { key: text } }))
            .await;
    }

    /// One key of aws-auth; empty where it does not exist.
    pub(crate) async fn text(&self, key: &str) -> String {
        let object = self.config_maps().get_opt("aws-auth").await;
        let data = object.expect("the API server answers").and_then(|o| o.data);
        data.unwrap_or_default().remove(key).unwrap_or_default()
    }

    /// `mapRoles`.
    pub(crate) async fn roles(&self) -> String {
        self.text("mapRoles").await
    }

    /// Waits until a key of aws-auth satisfies a condition, and gives it back.
    pub(crate) async fn text_until(&self, key: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually("aws-auth is as expected", SOON, async || {
            let text = self.text(key).await;
            if wanted(&text) { Ok(text) } else { Err(text) }
        })
        .await
    }

    /// Waits until `mapRoles` has an entry of ours for the role of this name, or none.
    pub(crate) async fn has_entry(&self, name: &str, expected: bool) {
        let arn = format!("{}\"", role(name));
        self.text_until("mapRoles", |text| text.contains(&arn) == expected)
            .await;
    }

    /// Makes the mapping of [`mapping`].
    pub(crate) async fn declare(&self, name: &str, spec: Value) {
        let object = mapping(name, &spec);
        let made = self
            .mappings()
            .create(&PostParams::default(), &object)
            .await;
        made.expect("the administrator may make a good mapping");
    }

    /// Makes the mapping and waits until it is in effect: by then the operator has seen all that came before.
    pub(crate) async fn establish(&self, name: &str, spec: Value) {
        self.declare(name, spec).await;
        self.ready(name).await;
    }

    /// Changes a mapping by a merge patch.
    pub(crate) async fn change(&self, name: &str, patch: Value) {
        let answer = self
            .mappings()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        answer.expect("the administrator may");
    }

    /// Confirms what a guard holds.
    pub(crate) async fn confirm(&self, name: &str, word: &str) {
        let annotations = json!({ "identity-mapper.dev/confirm": word });
        self.change(name, json!({ "metadata": { "annotations": annotations } }))
            .await;
    }

    /// Asks for the deletion of a mapping, without waiting for its end.
    pub(crate) async fn delete(&self, name: &str) {
        let answer = self.mappings().delete(name, &DeleteParams::default()).await;
        answer.expect("the administrator may");
    }

    /// Waits until a mapping is gone.
    pub(crate) async fn gone(&self, name: &str) {
        // What an operator found at its start is known to be gone half a minute later.
        eventually("the mapping is gone", 3 * SOON, async || {
            let object = self.mappings().get_opt(name).await;
            object
                .expect("the API server answers")
                .map_or(Ok(()), |object| {
                    Err(serde_json::to_string_pretty(&object.status).expect("JSON"))
                })
        })
        .await;
    }

    /// Waits until a condition has this status and reason (`"False InvalidYAML"`) for the present generation.
    pub(crate) async fn until(&self, name: &str, type_: &str, expected: &str) -> Seen {
        let what = format!("{type_} of {name} is {expected}");
        eventually(&what, SOON, async || {
            let object = self.mappings().get(name).await.expect("it is there");
            let status = object.status.as_ref();
            let current = status.and_then(|s| s.observed_generation) == object.metadata.generation;
            match condition(&object, type_) {
                Some(seen) if current && seen.to_string() == expected => Ok(seen),
                _ => Err(serde_json::to_string_pretty(&object.status).expect("JSON")),
            }
        })
        .await
    }

    /// Waits until a mapping is in effect.
    pub(crate) async fn ready(&self, name: &str) {
        self.until(name, "Ready", "True InEffect").await;
        self.until(name, "Synced", "True Synced").await;
    }

    /// Waits until a mapping is managed again after `release`, which leaves the conditions as they were.
    pub(crate) async fn managed_again(&self, name: &str) {
        eventually(&format!("{name} is managed"), SOON, async || {
            let object = self.mappings().get(name).await.expect("it is there");
            let written = object
                .status
                .is_some_and(|status| !status.written.is_empty());
            written.then_some(()).ok_or("status.written is empty")
        })
        .await;
        self.ready(name).await;
    }

    /// All events of the operator, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let list = Api::<Event>::all(self.admin())
            .list(&ListParams::default())
            .await
            .expect("the administrator may");
        let ours = |event: &Event| event.reporting_controller.as_deref() == Some("identity-mapper");
        let mut events: Vec<Event> = list.items.into_iter().filter(ours).collect();
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        events
    }

    /// The same without those that only report a change of access.
    pub(crate) async fn events_on_faults(&self) -> Vec<Event> {
        let of_access = |event: &Event| {
            let reason = event.reason.as_deref().unwrap_or_default();
            reason.starts_with("Access") || reason == "EntryAdopted"
        };
        let mut events = self.events().await;
        events.retain(|event| !of_access(event));
        events
    }

    /// The notes of all events with this reason about the object of this name.
    pub(crate) async fn notes(&self, reason: &str, about: &str) -> Vec<String> {
        let events = self.events().await;
        let wanted = |event: &Event| {
            let name = event.regarding.as_ref().and_then(|r| r.name.as_deref());
            event.reason.as_deref() == Some(reason) && name == Some(about)
        };
        let notes = events.into_iter().filter(wanted);
        notes.map(|event| event.note.unwrap_or_default()).collect()
    }

    /// Waits for an event with this reason about the object of this name; its note.
    pub(crate) async fn note(&self, reason: &str, about: &str) -> String {
        eventually(
            &format!("event {reason} on {about}"),
            SOON,
            async || match self.notes(reason, about).await.pop() {
                Some(note) => Ok(note),
                None => Err(self.events().await),
            },
        )
        .await
    }

    /// Waits for the first drift that the status of a mapping tells of.
    pub(crate) async fn drift(&self, name: &str) -> Drift {
        eventually(&format!("drift of {name}"), SOON, async || {
            let mapping = self.mappings().get(name).await;
            let status = mapping.expect("nobody deletes it").status;
            status.and_then(|status| status.last_drift)
        })
        .await
    }

    /// How often the operator wrote aws-auth since then.
    pub(crate) async fn writes_since(&self, mark: Mark) -> usize {
        let writes = self.audit().writes("configmaps").of("aws-auth");
        writes.by(Audit::OPERATOR).since(mark).count().await
    }

    /// The copies in the history of aws-auth by name, unpacked.
    pub(crate) async fn history(&self) -> BTreeMap<String, Value> {
        let object = self.config_maps().get_opt("aws-auth-history").await;
        let copies = object
            .expect("the API server answers")
            .and_then(|object| object.binary_data)
            .unwrap_or_default();
        let unpack = |(name, bytes): (String, k8s_openapi::ByteString)| {
            let mut text = String::new();
            GzDecoder::new(bytes.0.as_slice())
                .read_to_string(&mut text)
                .expect("a copy is gzipped text");
            (name, serde_json::from_str(&text).expect("a copy is JSON"))
        };
        copies.into_iter().map(unpack).collect()
    }

    /// Runs kubectl as the administrator, and gives back what it printed.
    pub(crate) fn kubectl_ok(&self, args: &[&str], stdin: Option<&str>) -> String {
        let output = self.kubectl(args, stdin);
        assert!(output.status.success(), "kubectl {args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("kubectl prints text")
    }
}

/// What a mapping's status said from now on, state by state.
pub(crate) struct Diary {
    entries: Arc<Mutex<Vec<IdentityMapping>>>,
    task: JoinHandle<()>,
}

impl Diary {
    /// Watches one mapping, which is there; its present state is the first.
    pub(crate) async fn of(cluster: &Cluster, name: &str) -> Self {
        let entries = Arc::new(Mutex::new(Vec::new()));
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let states = watcher(cluster.mappings(), config).applied_objects();
        let book = Arc::clone(&entries);
        let task = tokio::spawn(async move {
            let mut states = states.boxed();
            while let Ok(Some(state)) = states.try_next().await {
                book.lock().expect("no writer panics").push(state);
            }
        });
        let diary = Self { entries, task };
        eventually("the mapping is watched", SOON, async || {
            diary.states().into_iter().next()
        })
        .await;
        diary
    }

    fn states(&self) -> Vec<IdentityMapping> {
        self.entries.lock().expect("no writer panics").clone()
    }

    /// Every value that a condition had, once for each time that it changed, up to the object's present state.
    pub(crate) async fn conditions(&self, cluster: &Cluster, type_: &str) -> Vec<String> {
        let states = eventually("the watch has caught up", SOON, async || {
            let states = self.states();
            let last = states.last()?;
            let now = cluster.mappings().get(&last.name_any()).await.ok()?;
            (now.resource_version() == last.resource_version()).then_some(states)
        })
        .await;
        let values = states.iter().map(|state| condition(state, type_));
        let mut values: Vec<String> = values.flatten().map(|seen| seen.to_string()).collect();
        values.dedup();
        values
    }
}

impl Drop for Diary {
    fn drop(&mut self) {
        self.task.abort();
    }
}
