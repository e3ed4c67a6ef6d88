//! The API server's own log of what was asked of it: the honest way to count writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::Deserialize;

use super::wait::eventually;

/// The verbs that change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// Names of the requests that mark a place in a log, unique in this process.
static MARKS: AtomicUsize = AtomicUsize::new(0);

/// The audit log of one control plane.
#[derive(Clone)]
pub(crate) struct Audit {
    admin: Client,
    path: PathBuf,
    start: Mark,
}

/// A moment in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

impl Mark {
    /// Before everything.
    pub(crate) const START: Self = Self(0);
}

/// One answered request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: String,
    /// When the answer was complete.
    pub(crate) stage_timestamp: String,
    stage: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<ResponseStatus>,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    /// Empty for a login that was refused, and for one without a name.
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    resource: String,
    subresource: Option<String>,
    api_group: String,
    namespace: String,
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct ResponseStatus {
    code: u16,
}

impl Record {
    /// Who asked: the impersonated person where there is one.
    pub(crate) fn user(&self) -> &str {
        &self
            .impersonated_user
            .as_ref()
            .unwrap_or(&self.user)
            .username
    }

    /// The id of the token that it came with (`JTI=…`); empty without one.
    pub(crate) fn token_id(&self) -> &str {
        let ids = self
            .user
            .extra
            .get("authentication.kubernetes.io/credential-id");
        ids.and_then(|ids| ids.first()).map_or("", String::as_str)
    }

    /// The resource in the plural, with its subresource: `identitymappings/status`.
    pub(crate) fn resource(&self) -> String {
        match &self.object_ref.subresource {
            Some(subresource) => format!("{}/{subresource}", self.object_ref.resource),
            None => self.object_ref.resource.clone(),
        }
    }

    /// The resource's API group; empty for the core.
    pub(crate) fn group(&self) -> &str {
        &self.object_ref.api_group
    }

    /// The object's namespace; empty where it has none.
    pub(crate) fn namespace(&self) -> &str {
        &self.object_ref.namespace
    }

    /// The object's name; a list has none, unless a field selector gives one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.object_ref.name.as_deref()
    }

    /// The HTTP status of the answer.
    pub(crate) fn code(&self) -> u16 {
        self.response_status.map_or(0, |status| status.code)
    }

    fn succeeded(&self) -> bool {
        (200..300).contains(&self.code())
    }
}

impl Audit {
    /// The log from a moment on.
    pub(crate) fn new(admin: Client, path: PathBuf, start: Mark) -> Self {
        Self { admin, path, start }
    }

    /// The present moment: all that was answered before is in the log, and stands before the mark.
    pub(crate) async fn mark(&self) -> Mark {
        // An answer may be seen a moment before its line is written. A request of our own that is written after it
        // shows that the line is there.
        let name = format!("audit-mark-{}", MARKS.fetch_add(1, Ordering::Relaxed));
        let start = self.path.metadata().expect("the audit log is there").len();
        let missing = Api::<ConfigMap>::namespaced(self.admin.clone(), "default")
            .get_opt(&name)
            .await;
        assert!(missing.expect("the API server answers").is_none());
        eventually(
            "a request is in the audit log",
            Duration::from_secs(10),
            async || {
                let text = self.text(Mark(start));
                let (before, line) = text.split_once(&format!("/{name}\""))?;
                let length = before.len() + name.len() + 2 + line.find('\n')? + 1;
                Some(Mark(start + u64::try_from(length).expect("a file fits")))
            },
        )
        .await
    }

    /// The requests that write this resource (`configmaps`, `identitymappings/status`), to be narrowed further.
    pub(crate) fn writes(&self, resource: &str) -> Requests {
        Requests {
            resource: Some(resource.to_owned()),
            ..self.all_writes()
        }
    }

    /// All requests, to be narrowed further.
    pub(crate) fn all(&self) -> Requests {
        let reads = ["get", "list", "watch"];
        self.all_writes().verbs(&[&WRITES[..], &reads].concat())
    }

    /// The requests that write anything at all, to be narrowed further.
    pub(crate) fn all_writes(&self) -> Requests {
        Requests {
            audit: self.clone(),
            verbs: WRITES.map(str::to_owned).to_vec(),
            resource: None,
            name: None,
            user: None,
            since: self.start,
        }
    }

    fn text(&self, since: Mark) -> String {
        let mut text = String::new();
        let mut file = File::open(&self.path).expect("the audit log is readable");
        file.seek(SeekFrom::Start(since.0))
            .expect("the audit log is a file");
        file.read_to_string(&mut text)
            .expect("the audit log is text");
        text
    }
}

/// A choice of requests.
#[derive(Clone)]
pub(crate) struct Requests {
    audit: Audit,
    verbs: Vec<String>,
    resource: Option<String>,
    name: Option<String>,
    user: Option<String>,
    since: Mark,
}

impl Requests {
    /// Only those of these verbs, reads too.
    pub(crate) fn verbs(mut self, verbs: &[&str]) -> Self {
        self.verbs = verbs.iter().map(|&verb| verb.to_owned()).collect();
        self
    }

    /// Only those on the object of this name.
    pub(crate) fn of(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only those by this user, such as [`Audit::OPERATOR`].
    pub(crate) fn by(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Only those after this moment.
    pub(crate) fn since(mut self, mark: Mark) -> Self {
        self.since = mark;
        self
    }

    /// How many succeeded, up to now.
    pub(crate) async fn count(&self) -> usize {
        self.records()
            .await
            .iter()
            .filter(|record| record.succeeded())
            .count()
    }

    /// How many were refused or failed, up to now.
    pub(crate) async fn failed(&self) -> usize {
        self.records()
            .await
            .iter()
            .filter(|record| !record.succeeded())
            .count()
    }

    /// All that were answered, up to now, whatever the answer.
    pub(crate) async fn records(&self) -> Vec<Record> {
        self.audit.mark().await;
        let text = self.audit.text(self.since);
        let records = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("an audit record"));
        records.filter(|record| self.chooses(record)).collect()
    }

    fn chooses(&self, record: &Record) -> bool {
        record.stage == "ResponseComplete"
            && self.verbs.contains(&record.verb)
            && self
                .resource
                .as_deref()
                .is_none_or(|resource| record.resource() == resource)
            && self
                .name
                .as_deref()
                .is_none_or(|name| record.name() == Some(name))
            && self
                .user
                .as_deref()
                .is_none_or(|user| record.user() == user)
    }
}

impl Audit {
    /// The operator's name in the log.
    pub(crate) const OPERATOR: &str = "system:serviceaccount:identity-mapper:identity-mapper";
}
