//! Control planes that go from one test to the next: a start and the installation take some three seconds of a core.
//!
//! A test must neither fail nor pass because of the one before it. So a control plane is used again only where the audit log shows that
//! nothing was written but objects that the API server keeps no state of beside its watch cache ([`PLAIN`]), and where each object that
//! was there before the test is as it was. Then what is new is deleted in etcd, past finalizers and admission, and the API server lists
//! what was there before. All others end with their test: those of a test that fails, those whose servers or certificates something was
//! done to, those where rights, definitions, policies, namespaces or accounts were written.
//!
//! `IDENTITY_MAPPER_FRESH=1` starts a new one for each test.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Request;
use kube::Client;
use serde_json::Value;

use super::audit::{Audit, Mark, Record};
use super::etcd;
use super::servers::Servers;

/// Group, resource, keys in etcd, and path of what tests may write: no admission, authentication or authorization goes by it, and no
/// controller of the API server.
const PLAIN: [(&str, &str, &str, &str); 5] = [
    (
        "",
        "configmaps",
        "/registry/configmaps/",
        "/api/v1/configmaps",
    ),
    ("", "events", "/registry/events/", "/api/v1/events"),
    (
        "events.k8s.io",
        "events",
        "/registry/events/",
        "/apis/events.k8s.io/v1/events",
    ),
    (
        "coordination.k8s.io",
        "leases",
        "/registry/leases/",
        "/apis/coordination.k8s.io/v1/leases",
    ),
    (
        "identity-mapper.dev",
        "identitymappings",
        "/registry/identity-mapper.dev/identitymappings/",
        "/apis/identity-mapper.dev/v1alpha1/identitymappings",
    ),
];

/// What is created and not stored: questions, and tokens.
const QUESTIONS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// The API server's own Lease, which it renews.
const OWN: &str = "/registry/leases/kube-system/apiserver-";
const OWN_NAME: &str = "apiserver-";
const API_SERVER: &str = "system:apiserver";

/// Set by who wants a new control plane for each test.
const FRESH: &str = "IDENTITY_MAPPER_FRESH";

/// The API server begins another audit log at 100 MB.
const LONGEST_LOG: u64 = 50_000_000;

/// To delete more takes about as long as a start.
const MOST_DELETED: usize = 500;

/// Connections of a test end with it, a moment after its control plane was given back.
const DEADLINE: Duration = Duration::from_secs(5);

/// The open connections of this machine: Linux has them.
const CONNECTIONS: &str = "/proc/net/tcp";

static IDLE: Mutex<Vec<(Servers, Pristine)>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<(Servers, Pristine)>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether each test has a new one. Demo and benchmark have one, or measure it.
pub(crate) fn is_off() -> bool {
    !cfg!(test) || env::var_os(FRESH).is_some() || !Path::new(CONNECTIONS).exists()
}

/// One that no test has, as the last one left it.
pub(super) fn take() -> Option<(Servers, Pristine)> {
    idle().pop()
}

/// One that its test is done with.
pub(super) fn give_back(servers: Servers, pristine: Pristine) {
    idle().push((servers, pristine));
}

/// Ends those for which there is no room beside a new one, where so many more may run.
pub(super) fn make_room(more: usize) {
    let surplus = {
        let mut idle = idle();
        let count = idle.len().saturating_sub(more);
        idle.drain(..count).collect::<Vec<_>>()
    };
    drop(surplus);
}

/// What a control plane holds before a test.
pub(super) struct Pristine {
    /// Its plain objects, with their revisions.
    objects: BTreeMap<String, String>,
    /// Where the audit log of the last test begins.
    audited: Mark,
}

impl Pristine {
    /// What it holds now; `None` where it is not to be used again.
    pub(super) async fn of(servers: &Servers, admin: &Client) -> Option<Self> {
        if is_off() {
            return None;
        }
        let log = Audit::new(admin.clone(), servers.audit_log(), Mark::START);
        let audited = log.mark().await;
        let objects = plain_objects(servers).await.ok()?;
        Some(Self { objects, audited })
    }

    /// Where the audit log of the last test begins.
    pub(super) fn audited(&self) -> Mark {
        self.audited
    }

    /// Makes the control plane what it was before its last test. The error is why it can't be, or why that can't be shown.
    pub(super) async fn recover(
        mut self,
        servers: &Servers,
        admin: &Client,
    ) -> Result<Self, String> {
        let log = servers.audit_log();
        if fs::metadata(&log).is_ok_and(|log| log.len() > LONGEST_LOG) {
            return Err("its audit log is long".to_owned());
        }
        let audit = Audit::new(admin.clone(), log, self.audited);
        let written = audit.all_writes().records().await;
        if let Some(other) = written.iter().find(|record| !is_plain(record)) {
            return Err(format!("{other:?}"));
        }
        let found = plain_objects(servers).await?;
        let kept = |(key, revision)| found.get(key) == Some(revision);
        if let Some((key, _)) = self.objects.iter().find(|it| !kept(*it)) {
            return Err(format!("{key} was written"));
        }
        let new = found.keys().filter(|key| !self.objects.contains_key(*key));
        let new: Vec<&str> = new.map(String::as_str).collect();
        if new.len() > MOST_DELETED {
            return Err(format!("it has {} new objects", new.len()));
        }
        etcd::delete(servers.storage, &new).await?;

        // A list without a version is as new as etcd: from here on the watch cache is too.
        for (_, _, prefix, path) in PLAIN {
            let listed = list(admin, path).await?;
            let expected = self.objects.keys().filter(|key| key.starts_with(prefix));
            if listed != expected.count() {
                return Err(format!("{path} still has {listed} objects"));
            }
        }
        // Nothing that was still being answered came after it.
        if plain_objects(servers).await? != self.objects {
            return Err("something was written late".to_owned());
        }
        self.audited = audit.mark().await;
        Ok(self)
    }
}

/// Whether a request wrote nothing, or what [`PLAIN`] has.
fn is_plain(record: &Record) -> bool {
    let resource = record.resource();
    let plain = PLAIN.iter().any(|(group, name, ..)| {
        let status = resource.strip_suffix("/status").unwrap_or(&resource);
        record.group() == *group && status == *name
    });
    if record.user() == API_SERVER {
        return !plain || resource == "leases";
    }
    let question = QUESTIONS.contains(&record.group()) || resource == "serviceaccounts/token";
    record.code() >= 400 || plain || question
}

async fn plain_objects(servers: &Servers) -> Result<BTreeMap<String, String>, String> {
    let mut objects = etcd::revisions(servers.storage).await?;
    objects.retain(|key, _| {
        let plain = PLAIN
            .iter()
            .any(|(_, _, prefix, _)| key.starts_with(prefix));
        plain && !key.starts_with(OWN)
    });
    Ok(objects)
}

/// How many objects a list has, without the API server's own.
async fn list(admin: &Client, path: &str) -> Result<usize, String> {
    let request = Request::get(path).body(Vec::new());
    let request = request.expect("a valid request");
    let answer: Result<Value, _> = admin.request(request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let items = answer["items"].as_array().into_iter().flatten();
    let names = items.filter_map(|item| item["metadata"]["name"].as_str());
    Ok(names.filter(|name| !name.starts_with(OWN_NAME)).count())
}

/// Waits until nobody is connected to the API server but itself; false where somebody stays, or may.
pub(super) async fn is_left(servers: &Servers) -> bool {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        match visitors(servers.api_server.pid(), servers.address) {
            Some(0) => return true,
            Some(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            None => return false,
        }
    }
    false
}

/// Connections to the API server that are not its own.
fn visitors(pid: u32, address: SocketAddr) -> Option<usize> {
    let own = sockets(&Path::new("/proc").join(pid.to_string()).join("fd"))?;
    let table = fs::read_to_string(CONNECTIONS).ok()?;
    let port = format!(":{:04X}", address.port());
    let connections = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some((
            *fields.get(1)?,
            *fields.get(2)?,
            *fields.get(3)?,
            *fields.get(9)?,
        ))
    });
    let connections: Vec<_> = connections.collect();
    // Both ends of a connection are on this machine, each with a line: it is the API server's own where both belong to it.
    let own_ends = connections
        .iter()
        .filter(|(_, remote, _, inode)| {
            remote.ends_with(&port) && own.contains(&format!("socket:[{inode}]"))
        })
        .map(|(local, ..)| *local)
        .collect::<Vec<_>>();
    let (listening, past) = ("0A", "06");
    let visits = connections.iter().filter(|(local, remote, state, _)| {
        local.ends_with(&port) && ![listening, past].contains(state) && !own_ends.contains(remote)
    });
    Some(visits.count())
}

fn sockets(descriptors: &Path) -> Option<Vec<String>> {
    let links = fs::read_dir(descriptors).ok()?;
    let targets = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    Some(
        targets
            .map(|target| target.to_string_lossy().into_owned())
            .collect(),
    )
}
