//! A day in an hour: the release on a node, with hundreds of mappings that come and go, drift, EKS that throttles, credentials that
//! expire, and an API server that restarts every few minutes. Whatever grows all the time is a leak.

#![expect(clippy::cast_precision_loss, reason = "figures of a page")]
#![expect(clippy::print_stdout, reason = "who runs it watches for an hour")]

use std::env;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::aws::{ACCOUNT, Cloud, REGION};
use crate::support::mappings::{FOREIGN, role};
use crate::support::node::Node;
use crate::support::node::container::Container;
use crate::support::node::namespace::{Output, inside_within};
use crate::support::node::workload::Way;
use crate::support::rights::NAMESPACE;
use crate::support::wait::eventually;

const TEST: &str = "soak::nothing_grows";
/// How long it takes, in minutes.
const MINUTES: &str = "MINUTES";

const MAPPINGS: usize = 500;
/// Of those that come and go, how many are there at a time.
const VISITORS: usize = 20;
/// After a drift, a restart and whatever else is repaired.
const PATIENT: Duration = Duration::from_mins(5);

/// The annotation of aws-auth that says which entries are managed.
const MARK: &str = "identity-mapper.dev/managed";

/// Between two steps.
const STEP: Duration = Duration::from_secs(2);
// Each so many steps. Removals stay below the limit of ten minutes.
const VISIT: usize = 3;
const LOGIN: usize = 5;
const DRIFT: usize = 10;
const SAMPLE: usize = 15;
const RESTART: usize = 120;
const BURST: usize = 150;
/// How many steps a burst of throttling lasts.
const BURST_STEPS: usize = 30;

/// The most by which a figure may be above what it was early on. Half a run lies between the two: in half an hour the API server restarts
/// seven times, so one piece that each restart leaves behind is more.
const MEGABYTES: f64 = 3.0;
const PIECES: f64 = 4.0;
const LOG_BYTES: f64 = 15_000.0;
/// For each mapping that is made, and for each drift.
const EVENTS: usize = 5;

/// What is in use at one moment, of the replica that uses most.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    minute: f64,
    /// Resident memory in megabytes.
    resident: f64,
    tasks: f64,
    descriptors: f64,
    connections: f64,
    /// Watches of mappings at the API server.
    watches: f64,
    /// Since the last sample, of both logs.
    log_bytes: f64,
    events: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "soak: minute {:5.1}: {:5.1} MB, {} tasks, {} descriptors, {} connections, {} watches, {} bytes of log, {} events",
            self.minute,
            self.resident,
            self.tasks,
            self.descriptors,
            self.connections,
            self.watches,
            self.log_bytes,
            self.events
        )
    }
}

/// What is compared: its name, how to read it, and by how much it may grow.
type Figure = (&'static str, fn(&Sample) -> f64, f64);

const FIGURES: [Figure; 6] = [
    ("MB of memory", |it| it.resident, MEGABYTES),
    ("tasks", |it| it.tasks, PIECES),
    ("descriptors", |it| it.descriptors, PIECES),
    ("connections", |it| it.connections, PIECES),
    ("watches", |it| it.watches, PIECES),
    (
        "bytes of log between two samples",
        |it| it.log_bytes,
        LOG_BYTES,
    ),
];

fn median(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// By the method of least squares, an hour.
fn slope(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, value) = (mean(&|it| it.minute), mean(&of));
    let both = mean(&|it| (it.minute - time) * (of(it) - value));
    60.0 * both / mean(&|it| (it.minute - time).powi(2))
}

/// The numbers of a metric, over all its labels that contain these words.
fn metric(text: &str, name: &str, words: &[&str]) -> f64 {
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
            && words.iter().all(|word| line.contains(word))
    });
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold(0.0, |sum, value| sum + value)
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        // Logs are rotated while we look.
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |it| it.len()),
        _ => 0,
    });
    sizes.sum()
}

struct Day {
    node: Node,
    cloud: Cloud,
    begun: Instant,
    replicas: Vec<Container>,
    logged: u64,
    /// How many visitors were made.
    made: usize,
    drifts: usize,
}

impl Day {
    async fn begin(cgroup: &str) -> Self {
        let node = Node::start(cgroup).await;
        node.cluster.seed(json!({"mapRoles": FOREIGN})).await;
        let queue = format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/changes");
        let cloud = Cloud::start(&node, Way::PodIdentity, |world| {
            world.attach_queue("changes");
            for number in 0..MAPPINGS {
                world.role(ACCOUNT, "/", &format!("k{number:03}"));
            }
        })
        .await;
        let queue = format!("eks.queueUrl={queue}");
        cloud.install(&node, &["replicas=2", &queue]);
        for number in 0..MAPPINGS {
            let name = format!("k{number:03}");
            node.cluster.declare(&name, spec(&name, number)).await;
        }
        for number in 0..MAPPINGS {
            node.cluster.ready(&format!("k{number:03}")).await;
        }
        trouble(&cloud, 0.05, 0.02);
        let replicas = Container::find("/identity-mapper");
        assert_eq!(replicas.len(), 2, "{replicas:?}");
        let mut this = Self {
            node,
            cloud,
            begun: Instant::now(),
            replicas,
            logged: 0,
            made: 0,
            drifts: 0,
        };
        this.logged = this.log_size();
        this
    }

    fn log_size(&self) -> u64 {
        size(&self.node.folder().join("pods"))
    }

    async fn sample(&mut self) -> Sample {
        let pods = self.node.kubectl(&[
            "get",
            "pods",
            "--namespace",
            NAMESPACE,
            "--output=jsonpath={.items[*].metadata.name}",
        ]);
        let mut tasks: f64 = 0.0;
        for pod in pods.split(' ') {
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics");
            let text = self.node.kubectl(&["get", "--raw", &path]);
            tasks = tasks.max(metric(&text, "identity_mapper_tasks", &[]));
        }
        let server = self.node.kubectl(&["get", "--raw", "/metrics"]);
        let events = self.node.cluster.events().await.len();
        let logged = self.log_size();
        let most = |of: &dyn Fn(Container) -> f64| {
            self.replicas.iter().map(|it| of(*it)).fold(0.0, f64::max)
        };
        let sample = Sample {
            minute: self.begun.elapsed().as_secs_f64() / 60.0,
            resident: most(&|it| {
                let kilobytes = it.status()["VmRSS"].trim_end_matches(" kB").parse::<f64>();
                kilobytes.unwrap() / 1024.0
            }),
            tasks,
            descriptors: most(&|it| it.descriptors() as f64),
            connections: most(&|it| it.connections() as f64),
            watches: metric(
                &server,
                "apiserver_longrunning_requests",
                &["resource=\"identitymappings\"", "verb=\"WATCH\""],
            ),
            log_bytes: logged.saturating_sub(self.logged) as f64,
            events: events as f64,
        };
        self.logged = logged;
        println!("{sample}");
        sample
    }

    /// One comes, one changes, one goes.
    async fn visit(&mut self) {
        let cluster = &self.node.cluster;
        let name = |number: usize| format!("v{number:04}");
        self.cloud.eks.world().role(ACCOUNT, "/", &name(self.made));
        let spec = spec(&name(self.made), self.made);
        cluster.declare(&name(self.made), spec).await;
        if let Some(number) = self.made.checked_sub(VISITORS / 2) {
            let change = json!({"spec": {"groups": ["team", "more"]}});
            cluster.change(&name(number), change).await;
        }
        if let Some(number) = self.made.checked_sub(VISITORS) {
            cluster.delete(&name(number)).await;
        }
        self.made += 1;
    }

    /// Someone changes something by hand, which is repaired.
    async fn drift(&mut self) {
        // Another mapping each time; even ones are in aws-auth.
        let number = self.drifts * 2 % MAPPINGS;
        let (text, entry) = (format!("k{number:03}"), format!("k{:03}", number + 1));
        match self.drifts % 4 {
            0 => {
                let roles = self.node.cluster.roles().await;
                let arn = role(&text);
                let other = roles.replace(&arn, &role("nobody"));
                self.write(&other).await;
                self.node
                    .cluster
                    .text_until("mapRoles", |it| it.contains(&arn))
                    .await;
            }
            1 => {
                let arn = role(&entry);
                let input = json!({ "principalArn": arn });
                self.cloud.eks.by_hand("DeleteAccessEntry", input).unwrap();
                eventually("the access entry is back", PATIENT, async || {
                    self.cloud.eks.world().cluster.entries.contains_key(&arn)
                })
                .await;
            }
            2 => {
                let roles = self.node.cluster.roles().await;
                let note = format!("# checked {} times\n", self.drifts);
                self.write(&(note + &roles)).await;
            }
            _ => {
                let cleared = json!({"metadata": {"annotations": {MARK: null}}});
                self.node.cluster.patch_aws_auth("a-person", cleared).await;
                eventually("the mark is back", PATIENT, async || {
                    let object = self
                        .node
                        .cluster
                        .config_maps()
                        .get("aws-auth")
                        .await
                        .unwrap();
                    object
                        .metadata
                        .annotations
                        .unwrap_or_default()
                        .contains_key(MARK)
                })
                .await;
            }
        }
        self.drifts += 1;
    }

    async fn write(&self, text: &str) {
        self.node
            .cluster
            .write_text("a-person", "mapRoles", text)
            .await;
    }

    /// A person that was declared all the time gets in, as who they are.
    async fn login(&self, number: usize) {
        let name = format!("k{:03}", number * 7 % MAPPINGS);
        let caller = self.cloud.eks.world().session(ACCOUNT, &name, "ann");
        eventually(&format!("{name} gets in"), PATIENT, async || {
            let user = self.cloud.logins.who(&self.cloud.eks.token(&caller)).await;
            match user {
                Ok(user) if user.username.as_deref() == Some(name.as_str()) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    fn throttle(&self, step: usize) {
        let share = match step % BURST {
            0 => 0.6,
            BURST_STEPS => 0.05,
            _ => return,
        };
        self.cloud.eks.knobs().throttled = share;
    }

    async fn restart(&mut self) {
        self.node.cluster.restart().await;
        eventually("mappings are served", PATIENT, async || {
            self.node.cluster.mappings().get("k000").await.is_ok()
        })
        .await;
    }

    async fn live(&mut self, time: Duration) -> Vec<Sample> {
        let mut beat = interval(STEP);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut samples = Vec::new();
        let mut step = 0;
        while self.begun.elapsed() < time {
            beat.tick().await;
            step += 1;
            let every = |count: usize| step % count == 0;
            self.throttle(step);
            if every(VISIT) {
                self.visit().await;
            }
            if every(LOGIN) {
                self.login(step).await;
            }
            if every(DRIFT) {
                self.drift().await;
            }
            if every(RESTART) {
                self.restart().await;
            }
            if every(SAMPLE) {
                samples.push(self.sample().await);
            }
        }
        samples
    }

    /// Whether all is as declared.
    async fn end(&mut self) {
        trouble(&self.cloud, 0.0, 0.0);
        for number in 0..self.made.saturating_sub(VISITORS) {
            self.node.cluster.gone(&format!("v{number:04}")).await;
        }
        for number in self.made.saturating_sub(VISITORS)..self.made {
            self.node.cluster.ready(&format!("v{number:04}")).await;
        }
        for number in 0..MAPPINGS {
            self.node.cluster.ready(&format!("k{number:03}")).await;
        }
        let pods = self.node.kubectl(&[
            "get",
            "pods",
            "--namespace",
            NAMESPACE,
            "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}",
        ]);
        assert_eq!(pods, "0 0", "no replica was restarted");
        let expired = self.cloud.credentials();
        assert!(expired > 2, "credentials were made {expired} times");
    }
}

/// Which share of calls EKS throttles, and which fails.
fn trouble(cloud: &Cloud, throttled: f64, failed: f64) {
    let mut knobs = cloud.eks.knobs();
    (knobs.throttled, knobs.server_errors) = (throttled, failed);
}

fn spec(name: &str, number: usize) -> Value {
    let backend = ["ConfigMap", "AccessEntry"][number % 2];
    json!({"username": name, "backend": backend})
}

#[test]
#[ignore = "it takes an hour: make soak"]
fn nothing_grows() {
    let minutes = env::var(MINUTES).ok().map(|it| it.parse().unwrap());
    let time = Duration::from_mins(minutes.unwrap_or(60));
    let deadline = time + Duration::from_mins(30);
    inside_within(deadline, Output::Shown, &[MINUTES], TEST, async |cgroup| {
        let mut day = Day::begin(cgroup).await;
        let samples = day.live(time).await;
        day.end().await;

        let quarter = samples.len() / 4;
        assert!(quarter > 0, "too short: {samples:?}");
        let (early, late) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
        println!(
            "soak: {} mappings came, {} drifts were repaired, {} credentials, {} events",
            day.made,
            day.drifts,
            day.cloud.credentials(),
            late[late.len() - 1].events,
        );
        let mut grown = Vec::new();
        for (name, of, most) in FIGURES {
            let (before, after) = (median(early, of), median(late, of));
            let change = slope(&samples[quarter..], of);
            println!("soak: {before:.1} {name} early, {after:.1} late, {change:+.1} an hour");
            if after > before + most {
                grown.push(name);
            }
        }
        assert!(grown.is_empty(), "{grown:?} grew");
        let events = late[late.len() - 1].events;
        let most = EVENTS * (MAPPINGS + day.made + day.drifts);
        assert!(events <= most as f64, "{events} events, more than {most}");
    });
}
