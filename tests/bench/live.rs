//! The operator at work on a real API server, seen from a client: latencies, bursts, memory.

use std::collections::BTreeMap;
use std::fs;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{Stream, TryStreamExt};
use identity_mapper::api::IdentityMapping;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, Client};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::eks::{Change, Eks, Mode, Service, World};
use crate::support::{Audit, Cluster, Mark, Operator, fleet};
use crate::table::{Human, Sample, Table};

/// New mappings, one by one.
const CHANGES: usize = 100;
/// Of every other latency.
const SAMPLES: usize = 30;
/// After a second without a change the next one is a lone change.
const QUIET: Duration = Duration::from_millis(1100);

/// Calls to EKS a second at most: so many that the operator itself is what is measured.
const EKS_RATE: &str = "--eks-rate=1000";

/// A control plane with an aws-auth, and the operator on it.
struct Stage {
    cluster: Cluster,
    operator: Operator,
}

impl Stage {
    async fn set() -> Self {
        let cluster = Cluster::with_operator_rights().await;
        config_maps(&cluster.admin())
            .create(&PostParams::default(), &fleet::aws_auth(BTreeMap::new()))
            .await
            .expect("aws-auth is made");
        let operator = Operator::start(&cluster, &[]).await;
        Self { cluster, operator }
    }

    async fn writes(&self, resource: &str, since: Mark) -> usize {
        let writes = self.cluster.audit().writes(resource);
        writes.by(Audit::OPERATOR).since(since).count().await
    }

    fn memory(&self, field: &str) -> u64 {
        memory(&self.operator, field)
    }
}

/// Resident memory of the operator, in bytes (`VmRSS` and `VmHWM` of `proc_pid_status(5)`).
pub(crate) fn memory(operator: &Operator, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", operator.pid()));
    let status = status.expect("the operator runs on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.trim_matches([':', ' ', '\t']).strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes
        .and_then(|text| text.trim().parse().ok())
        .expect("a size in kB");
    kilobytes * 1024
}

fn config_maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "kube-system")
}

fn mappings(client: &Client) -> Api<IdentityMapping> {
    Api::all(client.clone())
}

/// The texts of `mapRoles` in this `ConfigMap` as a watch tells of them from now on.
async fn texts(
    client: &Client,
    name: &str,
) -> impl Stream<Item = Result<String, kube::Error>> + use<> {
    let api = config_maps(client);
    let now = api.get(name).await.expect("it stands");
    let version = now.metadata.resource_version.expect("it has a version");
    let params = WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(290);
    let events = api.watch(&params, &version).await.expect("a watch");
    events.try_filter_map(async |event| {
        Ok(match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                object.data.and_then(|mut data| data.remove("mapRoles"))
            }
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) | WatchEvent::Error(_) => None,
        })
    })
}

/// How long it takes from now until the watch shows a text that is as `wanted`.
async fn until(
    started: Instant,
    mut texts: std::pin::Pin<&mut impl Stream<Item = Result<String, kube::Error>>>,
    wanted: impl Fn(&str) -> bool,
) -> Duration {
    let shown = async {
        while let Some(text) = texts.try_next().await.expect("the watch goes on") {
            if wanted(&text) {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(fleet::LONG, shown)
        .await
        .expect("the operator writes");
    started.elapsed()
}

/// A patch of a `ConfigMap` as large as aws-auth, and its echo in a watch: what nobody can be faster than.
async fn round_trips(stage: &Stage) -> Sample {
    const COPY: &str = "round-trips";
    let client = stage.cluster.admin();
    let api = config_maps(&client);
    let standing = api.get("aws-auth").await.expect("aws-auth stands");
    let copy = ConfigMap {
        metadata: ObjectMeta {
            name: Some(COPY.to_owned()),
            annotations: standing.metadata.annotations,
            ..ObjectMeta::default()
        },
        data: standing.data,
        ..ConfigMap::default()
    };
    let created = api.create(&PostParams::default(), &copy).await;
    created.expect("a copy that nobody watches");
    let before = &copy.data.as_ref().expect("aws-auth has data")["mapRoles"];
    let mut texts = pin!(texts(&client, COPY).await);
    let mut sample = Vec::new();
    for number in 0..SAMPLES {
        let text = format!("{before}# round {number}\n");
        let patch = Patch::Merge(json!({"data": {"mapRoles": text}}));
        let started = Instant::now();
        let patched = api.patch(COPY, &PatchParams::default(), &patch).await;
        patched.expect("a patch");
        sample.push(until(started, texts.as_mut(), |shown| shown == text).await);
    }
    let deleted = api.delete(COPY, &DeleteParams::default()).await;
    deleted.expect("the copy goes");
    sample.into_iter().collect()
}

/// From the creation of a mapping to the watch event that shows its entry.
async fn changes(stage: &Stage) -> Sample {
    let client = stage.cluster.admin();
    let mut sample = Vec::new();
    let mut texts = pin!(texts(&client, "aws-auth").await);
    for number in 0..CHANGES {
        tokio::time::sleep(QUIET).await;
        let role = fleet::role(number);
        let object = fleet::mapping(number);
        let started = Instant::now();
        mappings(&client)
            .create(&PostParams::default(), &object)
            .await
            .expect("a mapping");
        sample.push(until(started, texts.as_mut(), |text| text.contains(&role)).await);
    }
    sample.into_iter().collect()
}

/// From the vandalism of an entry to the watch event that shows it as declared.
async fn repairs(stage: &Stage) -> Sample {
    let client = stage.cluster.admin();
    let mut sample = Vec::new();
    let mut texts = pin!(texts(&client, "aws-auth").await);
    // Each entry but once: one that is undone three times in a minute is contested.
    for number in 0..SAMPLES {
        tokio::time::sleep(QUIET).await;
        let object = config_maps(&client)
            .get("aws-auth")
            .await
            .expect("aws-auth stands");
        let good = object.data.expect("data")["mapRoles"].clone();
        let name = format!("{}/{{{{SessionName}}}}", fleet::role(number));
        let bad = good.replacen(&name, "vandal", 1);
        assert_ne!(good, bad);
        let patch = Patch::Merge(json!({"data": {"mapRoles": bad}}));
        let started = Instant::now();
        config_maps(&client)
            .patch("aws-auth", &PatchParams::default(), &patch)
            .await
            .expect("a patch");
        sample.push(until(started, texts.as_mut(), |text| text == good).await);
    }
    sample.into_iter().collect()
}

/// A burst of new mappings, and what it cost.
async fn burst(stage: &Stage, numbers: std::ops::Range<usize>, table: &mut Table) {
    let mark = stage.cluster.audit().mark().await;
    let count = numbers.len();
    let last = numbers.end;
    let started = Instant::now();
    let arrived = fleet::create(&stage.cluster.admin(), numbers).await;
    fleet::until_ready(&stage.cluster.admin(), last).await;
    let settled = started.elapsed();
    let what = |rest: &str| format!("burst of {count}: {rest}");
    table.row(what("until the API server took the last"), Human(arrived));
    table.row(what("until each says Ready"), Human(settled));
    table.row(
        what("writes of aws-auth"),
        stage.writes("configmaps", mark).await,
    );
    table.row(
        what("writes of statuses"),
        stage.writes("identitymappings/status", mark).await,
    );
    table.row(
        what("writes of finalizers"),
        stage.writes("identitymappings", mark).await,
    );
}

fn times(sample: &Sample, unit: &Sample) -> String {
    times_of(sample, unit, "round trips")
}

fn times_of(sample: &Sample, unit: &Sample, name: &str) -> String {
    let ratio =
        |percent| sample.percentile(percent).as_secs_f64() / unit.percentile(50).as_secs_f64();
    format!("{sample} ({:.1} and {:.1} {name})", ratio(50), ratio(99))
}

pub(crate) fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// Measures and prints.
pub(crate) async fn run() {
    let stage = Stage::set().await;
    let mut table = Table::default();
    let empty = stage.memory("VmRSS");
    table.row("resident memory without mappings", megabytes(empty));
    let trip = round_trips(&stage).await;
    table.row(
        "round trip: a patch of a ConfigMap as large, and its watch event",
        &trip,
    );
    let new = changes(&stage).await;
    table.row(
        "a new mapping until its entry stands, of 100",
        times(&new, &trip),
    );
    table.row(
        "a vandalised entry until it is back, of 100",
        times(&repairs(&stage).await, &trip),
    );

    burst(&stage, CHANGES..1000, &mut table).await;
    let thousand = stage.memory("VmRSS");
    table.row("resident memory with 1,000 mappings", megabytes(thousand));
    let trip = round_trips(&stage).await;
    table.row("round trip, with 1,000 entries", &trip);
    table.row(
        "a vandalised entry until it is back, of 1,000",
        times(&repairs(&stage).await, &trip),
    );

    burst(&stage, 1000..3000, &mut table).await;
    let three = stage.memory("VmRSS");
    table.row("resident memory with 3,000 mappings", megabytes(three));
    table.row(
        "the most that it ever was",
        megabytes(stage.memory("VmHWM")),
    );
    table.row(
        "memory per mapping",
        format!("{} kB", (three.saturating_sub(empty)) / 3000 / 1000),
    );
    let trip = round_trips(&stage).await;
    table.row("round trip, with 3,000 entries", &trip);
    table.row(
        "a vandalised entry until it is back, of 3,000",
        times(&repairs(&stage).await, &trip),
    );

    // A process that starts with all of them never holds more than it needs for one list and one pass.
    let Stage { cluster, operator } = stage;
    operator.stop().await;
    let operator = Operator::start(&cluster, &[]).await;
    let stage = Stage { cluster, operator };
    table.row(
        "resident memory after a restart with 3,000",
        megabytes(stage.memory("VmRSS")),
    );
    stage.operator.stop().await;
    table.print("The operator on a real API server");
}

/// From the creation of a mapping to the effect of the call that makes its access entry, one by one. Both times are by this
/// machine's clock.
async fn entries_made(cluster: &Cluster, eks: &Eks, numbers: std::ops::Range<usize>) -> Sample {
    let api = mappings(&cluster.admin());
    let mut changes = eks.subscribe();
    let mut sample = Vec::new();
    for number in numbers {
        tokio::time::sleep(QUIET).await;
        let object = fleet::mapping(number);
        let role = fleet::role(number);
        let started = Instant::now();
        let created = api.create(&PostParams::default(), &object).await;
        created.expect("a mapping");
        let made = async {
            loop {
                match changes.recv().await {
                    Ok(Change::Described(arn)) if arn.ends_with(&role) => return,
                    Ok(_) => {}
                    Err(error) => panic!("the stand-in tells of its changes: {error}"),
                }
            }
        };
        let made = tokio::time::timeout(fleet::LONG, made).await;
        made.expect("the operator makes the entry");
        sample.push(started.elapsed());
    }
    sample.into_iter().collect()
}

/// A call to the stand-in over HTTP and its answer: what no entry can be made faster than.
async fn calls(eks: &Eks) -> Sample {
    let mut sample = Vec::new();
    for _ in 0..SAMPLES {
        let started = Instant::now();
        let stream = tokio::net::TcpStream::connect(eks.address(Service::Eks)).await;
        let mut stream = stream.expect("the stand-in listens");
        let request =
            b"GET /clusters/bench HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
        sample.push(started.elapsed());
    }
    sample.into_iter().collect()
}

/// Measures and prints the same of access entries.
pub(crate) async fn run_entries() {
    let cluster = Cluster::with_operator_rights().await;
    let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/bench")
        .mode(Mode::ApiAndConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    let path = "/aws-reserved/sso.amazonaws.com/eu-west-1/";
    for number in 0..3000 {
        world.role("111122223333", path, &fleet::role(number));
    }
    let eks = Eks::start(world).await;
    let made = config_maps(&cluster.admin())
        .create(&PostParams::default(), &fleet::aws_auth(BTreeMap::new()))
        .await;
    made.expect("aws-auth is made");
    let operator = Operator::start_in(&cluster, &eks, &[EKS_RATE]).await;
    let mut table = Table::default();
    let empty = memory(&operator, "VmRSS");
    table.row("resident memory without mappings", megabytes(empty));
    let call = calls(&eks).await;
    table.row("a call to the stand-in", &call);
    let new = entries_made(&cluster, &eks, 0..CHANGES).await;
    table.row(
        "a new mapping until its access entry stands, of 100",
        times_of(&new, &call, "calls"),
    );
    let started = Instant::now();
    fleet::create(&cluster.admin(), CHANGES..3000 - CHANGES).await;
    fleet::until_ready(&cluster.admin(), 3000 - CHANGES).await;
    table.row("2,800 more until each says Ready", Human(started.elapsed()));
    let new = entries_made(&cluster, &eks, 3000 - CHANGES..3000).await;
    table.row(
        "a new mapping until its access entry stands, of 3,000",
        times_of(&new, &call, "calls"),
    );
    let three = memory(&operator, "VmRSS");
    table.row(
        "resident memory with 3,000 access entries",
        megabytes(three),
    );
    table.row(
        "the most that it ever was",
        megabytes(memory(&operator, "VmHWM")),
    );
    table.row(
        "memory per mapping",
        format!("{} kB", three.saturating_sub(empty) / 3000 / 1000),
    );
    operator.stop().await;
    table.print("Access entries, on a real API server and the stand-in for EKS");
}
