//! Everything goes wrong at once, between two replicas and the API server and between them and AWS, while people go on declaring and
//! the leadership changes: nobody who is declared throughout is without access, nothing is lost, nothing is written twice, and once the
//! storm is over everything is as declared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::logins::enters;
use crate::scenarios::NO_TIMER;
use crate::scenarios::entries::stage::{ACCOUNT, CLUSTER, OTHER, world_of};
use crate::support::eks::{Caller, Eks, Gate, Mode, Service};
use crate::support::mappings::{FOREIGN, SOON, condition, role};
use crate::support::operator::ELECTED;
use crate::support::power::{Caller as Watched, Power, Witness};
use crate::support::programs::operator_binary;
use crate::support::proxy::{Fault, On, Proxy};
use crate::support::rights::NAMESPACE;
use crate::support::versions::{Versions, principals, without};
use crate::support::{Cluster, Logins, Operator, eventually};

const SEED: u64 = 20_261_129;
/// As long as it lasts.
const STORM: Duration = Duration::from_secs(40);
/// So long after it began the leader is stopped.
const DEPOSED: Duration = Duration::from_secs(8);
/// As often as people do something.
const EVERY: Duration = Duration::from_millis(700);
/// For what follows it. A watch that hangs is given up after 40 s, and a call to EKS that is not answered counts for half a minute more.
const LONG: Duration = Duration::from_mins(5);
/// Declared from before until after, of an account whose IAM is read through a role there.
const FAR: &str = "far";
/// Declared from before until after, half of them in each backend.
const KEPT: [&str; 8] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"];
/// What only the authenticator calls.
const OF_LOGINS: &str = "GetCallerIdentity";
/// The most that a replica may take more than before, and the chart's limit.
const GROWTH: u64 = 48 << 20;
const LIMIT: u64 = 256 << 20;

/// What `/proc` says of the memory of a process, in bytes.
fn memory(operator: &Operator, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let words = line.unwrap().trim_start_matches(':').trim();
    words.trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn spec(name: &str, backend: &str) -> Value {
    json!({"username": name, "backend": backend})
}

/// Where the mapping of this number goes.
fn backend(number: usize) -> &'static str {
    ["ConfigMap", "AccessEntry"][number % 2]
}

struct Sea {
    cluster: Cluster,
    eks: Eks,
    /// One for each replica.
    proxies: [Proxy; 2],
    witness: Witness,
    logins: Logins,
    refusals: Mutex<Vec<String>>,
}

impl Sea {
    async fn set() -> Self {
        let cluster = Cluster::with_logins().await;
        cluster.seed(json!({"mapRoles": FOREIGN})).await;
        let bindings = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "team"},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "team"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "team"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team"}],
            },
        ]});
        cluster.kubectl_ok(&["apply", "-f", "-"], Some(&bindings.to_string()));
        let mut world = world_of(&cluster, CLUSTER, Mode::ApiAndConfigMap);
        for name in KEPT {
            world.role(ACCOUNT, "/", name);
        }
        for number in 0..100 {
            world.role(ACCOUNT, "/", &format!("s{number:02}"));
        }
        world.role(OTHER, "/", FAR);
        world.assumable_role(OTHER, "/", "reader", None);
        world.attach_queue("changes");
        let eks = Eks::start(world).await;
        let witness = Witness::start(&cluster, &eks, BTreeMap::new()).await;
        let logins = Logins::start(&cluster, &eks).await;
        let gate = Gate::default();
        let proxies = [
            Proxy::start(&cluster, &gate).await,
            Proxy::start(&cluster, &gate).await,
        ];
        Self {
            cluster,
            eks,
            proxies,
            witness,
            logins,
            refusals: Mutex::default(),
        }
    }

    async fn replica(&self, proxy: &Proxy) -> Operator {
        let kubeconfig = self.cluster.operator_kubeconfig().await;
        let kubeconfig = proxy.kubeconfig(&self.cluster, &kubeconfig);
        let way = [("KUBECONFIG".into(), kubeconfig.into())];
        let queue = format!("--queue-url={}", self.eks.queue_url());
        let account = format!("--iam-account={OTHER}");
        let args = [
            "--propagation=1s",
            "--listing-period=10s",
            "--iam-role=arn:aws:iam::{account}:role/reader",
            &account,
            &queue,
        ];
        let args = [&ELECTED[..], &args].concat();
        Operator::start_by(&self.cluster, &self.eks, &operator_binary(), &way, &args).await
    }

    /// Two replicas, of which the first leads.
    async fn replicas(&self) -> [Operator; 2] {
        let first = self.replica(&self.proxies[0]).await;
        eventually("the first one leads", SOON, async || leads(&first).await).await;
        [first, self.replica(&self.proxies[1]).await]
    }

    /// How often the Lease has changed hands.
    async fn transitions(&self) -> i32 {
        let leases: Api<Lease> = Api::namespaced(self.cluster.admin(), NAMESPACE);
        let lease = leases.get("identity-mapper").await.unwrap();
        lease.spec.unwrap().lease_transitions.unwrap_or_default()
    }

    /// The leader is stopped until the other replica leads, and wakes up with all that it had to do. From then on both are alive at any
    /// time, for ever.
    async fn depose(&self, replicas: &mut [Operator; 2]) {
        tokio::time::sleep(DEPOSED).await;
        let [first, second] = replicas;
        let (leader, standby) = if leads(first).await {
            (first, second)
        } else {
            (second, first)
        };
        leader.signal("STOP");
        eventually("the other one leads", STORM, async || leads(standby).await).await;
        leader.signal("CONT");
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            for replica in [&*leader, &*standby] {
                assert_eq!(replica.probe("/livez").await, 200, "{}", replica.log());
            }
        }
    }

    fn caller(&self, name: &str) -> Caller {
        self.eks.world().session(ACCOUNT, name, "x")
    }

    /// Everything at once.
    fn rise(&self) {
        for (seed, proxy) in (SEED..).zip(&self.proxies) {
            let mut faults = proxy.faults();
            faults.seed(seed);
            faults.latency = Duration::from_millis(300);
            for fault in Fault::ALL {
                let share = match fault {
                    Fault::WatchDrop | Fault::StaleList => 0.3,
                    Fault::GoneLater => 0.15,
                    Fault::Gone => 0.1,
                    _ => 0.03,
                };
                faults.put(On::Any, fault, share);
            }
        }
        let mut knobs = self.eks.knobs();
        knobs.seed(SEED);
        knobs.unreliable = Service::ALL.into();
        // The authenticator asks it at each login, and refuses whom it can't ask about.
        knobs.spared = [OF_LOGINS.to_owned()].into();
        knobs.throttled = 0.1;
        knobs.server_errors = 0.1;
        knobs.timeouts = 0.05;
        knobs.dropped = 0.05;
        knobs.slow = Some((Duration::ZERO, Duration::from_secs(2)));
        knobs.listing_delay = Duration::from_secs(3);
        knobs.duplicate_events = 0.3;
        knobs.reordered_events = 0.3;
    }

    fn calm(&self) {
        for proxy in &self.proxies {
            proxy.faults().calm();
        }
        let mut knobs = self.eks.knobs();
        knobs.throttled = 0.0;
        knobs.server_errors = 0.0;
        knobs.timeouts = 0.0;
        knobs.dropped = 0.0;
        knobs.slow = None;
        knobs.listing_delay = Duration::ZERO;
    }

    /// People come to the door each second, for ever.
    async fn visit(&self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            for name in KEPT {
                let user = enters(&self.logins, &self.eks, &self.caller(name)).await;
                let found = user.map(|(username, _)| username);
                if found.as_deref() != Some(name) {
                    let story = format!("{} {name}: {found:?}", jiff::Timestamp::now());
                    self.refusals.lock().unwrap().push(story);
                }
            }
        }
    }

    /// Mappings are made, changed and deleted, and a person writes comments into aws-auth. How many mappings were made; the versions
    /// of aws-auth that the person wrote.
    async fn live(&self) -> (usize, BTreeSet<String>) {
        let begun = Instant::now();
        let mut beat = tokio::time::interval(EVERY);
        let (mut made, mut written) = (0, BTreeSet::new());
        while begun.elapsed() < STORM {
            beat.tick().await;
            let name = format!("s{made:02}");
            let spec = spec(&name, backend(made));
            self.cluster.declare(&name, spec).await;
            made += 1;
            if made > 8 && made % 3 == 0 {
                let groups = json!({"spec": {"groups": ["team", format!("g{made}")]}});
                self.cluster
                    .change(&format!("s{:02}", made - 5), groups)
                    .await;
            }
            if made >= 9 && is_deleted(made, made - 9) {
                self.cluster.delete(&format!("s{:02}", made - 9)).await;
            }
            if made % 4 == 0 {
                written.insert(self.comment(made).await);
            }
        }
        (made, written)
    }

    /// A person adds a comment at the top, by the version that they read.
    async fn comment(&self, number: usize) -> String {
        let maps = self.cluster.config_maps();
        eventually("the person writes", LONG, async || {
            let mut object = maps.get("aws-auth").await.unwrap();
            let data = object.data.get_or_insert_default();
            let text = data.entry("mapRoles".to_owned()).or_default();
            *text = format!("# comment {number}\n{text}");
            let params = PostParams::default();
            let written = maps.replace("aws-auth", &params, &object).await;
            written.map(|it| it.resource_version().unwrap())
        })
        .await
    }

    /// What was ever written.
    fn judge(&self, versions: &[ConfigMap], made: usize, by_person: &BTreeSet<String>) {
        let ours = ["role/k", "role/s"];
        let mut intervals: BTreeMap<String, usize> = BTreeMap::new();
        for pair in versions.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            let (before, after) = (principals(old), principals(new));
            for (name, count) in &after {
                assert_eq!(*count, 1, "{name}");
                if !before.contains_key(name) {
                    *intervals.entry(name.clone()).or_default() += 1;
                }
            }
            if !by_person.contains(&new.resource_version().unwrap()) {
                assert_eq!(without(old, &ours), without(new, &ours));
                assert_ne!(old.data, new.data, "nothing is written for nothing");
            }
        }
        let twice: Vec<_> = intervals.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "came more than once: {twice:?}");
        let mut creations: BTreeMap<String, usize> = BTreeMap::new();
        for call in self.eks.log().all() {
            if call.operation == "CreateAccessEntry" && call.had_effect() {
                let principal = call.principal.clone().unwrap_or_default();
                *creations.entry(principal).or_default() += 1;
            }
        }
        let twice: Vec<_> = creations.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "created more than once: {twice:?}");
        // Some mappings are deleted before EKS has answered anything.
        assert!(creations.len() > made / 3, "{creations:?}");
    }
}

async fn leads(replica: &Operator) -> bool {
    let metrics = replica.metrics().await;
    Operator::metric(&metrics, "identity_mapper_leader", &[]) == Some(1.0)
}

/// Whether the mapping of this number is deleted once so many are made.
fn is_deleted(made: usize, number: usize) -> bool {
    number.is_multiple_of(5) && made >= number + 9
}

#[expect(clippy::too_many_lines, reason = "one storm from its rise to its end")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_access_is_lost_in_a_storm_of_faults_that_ends_as_declared() {
    let sea = Sea::set().await;
    let mut replicas = sea.replicas().await;
    for (number, name) in KEPT.into_iter().enumerate() {
        sea.cluster.declare(name, spec(name, backend(number))).await;
    }
    for name in KEPT {
        sea.cluster.ready(name).await;
        let caller = sea.caller(name);
        let id = caller.user_id.split(':').next().unwrap_or_default();
        let power = sea
            .witness
            .keep(name, Watched::session(&role(name), id, "x"))
            .await;
        assert_ne!(power, Power::default());
        eventually("the authenticator knows them", LONG, async || {
            enters(&sea.logins, &sea.eks, &caller).await.is_some()
        })
        .await;
    }
    let far = json!({"principal": {"arn": format!("arn:aws:iam::{OTHER}:role/{FAR}")}, "username": FAR, "backend": "ConfigMap"});
    sea.cluster.establish(FAR, far).await;
    let before = replicas.each_ref().map(|it| memory(it, "VmRSS"));
    let versions = Versions::of(&sea.cluster).await;

    let (terms, risen) = (sea.transitions().await, sea.eks.log().mark());
    sea.rise();
    let (made, by_person) = tokio::select! {
        done = sea.live() => done,
        () = sea.visit() => unreachable!("for ever"),
        () = sea.depose(&mut replicas) => unreachable!("for ever"),
    };
    let terms = sea.transitions().await - terms;
    sea.calm();
    let calm = Instant::now();
    let gone = |number: usize| is_deleted(made, number);
    let ends = async {
        for number in 0..made {
            let name = format!("s{number:02}");
            let what = format!("{name} is as declared");
            eventually(&what, LONG, async || {
                let object = sea.cluster.mappings().get_opt(&name).await.unwrap();
                let entry = sea.eks.world().cluster.entries.contains_key(&role(&name));
                let Some(object) = object else {
                    return if gone(number) && !entry {
                        Ok(())
                    } else {
                        Err("no mapping".to_owned())
                    };
                };
                let generation = object.metadata.generation;
                let status = object.status.clone().unwrap_or_default();
                let ready = status
                    .conditions
                    .iter()
                    .any(|it| it.type_ == "Ready" && it.status == "True");
                if !gone(number) && ready && status.observed_generation == generation {
                    return Ok(());
                }
                Err(serde_json::to_string_pretty(&object).unwrap())
            })
            .await;
        }
        for name in KEPT.into_iter().chain([FAR]) {
            sea.cluster.ready(name).await;
        }
    };
    tokio::select! {
        () = ends => {}
        () = sea.visit() => unreachable!("for ever"),
    }
    let took = calm.elapsed();

    // And nothing is left to do: one more mapping is one write.
    let mark = sea.cluster.audit().mark().await;
    sea.cluster.establish("s99", spec("s99", "ConfigMap")).await;
    assert_eq!(sea.cluster.writes_since(mark).await, 1);
    let last = sea.cluster.config_maps().get("aws-auth").await.unwrap();
    let standing: BTreeSet<String> = principals(&last).into_keys().collect();
    let mut expected: BTreeSet<String> = (0..made)
        .filter(|number| number % 2 == 0 && !gone(*number))
        .map(|number| format!("s{number:02}"))
        .collect();
    expected.extend(KEPT.into_iter().step_by(2).map(str::to_owned));
    expected.extend(["nodes", FAR, "s99"].map(str::to_owned));
    assert_eq!(standing, expected);

    let all = versions.until(&last.resource_version().unwrap()).await;
    sea.judge(&all, made, &by_person);
    sea.witness.acquit(&sea.eks).await;
    let refusals = sea.refusals.lock().unwrap().clone();
    assert!(refusals.is_empty(), "{}", refusals.join("\n"));
    let after = replicas.each_ref().map(|it| memory(it, "VmRSS"));
    let most = replicas.each_ref().map(|it| memory(it, "VmHWM"));
    let mut met: BTreeMap<Fault, usize> = BTreeMap::new();
    for proxy in &sea.proxies {
        for (fault, count) in proxy.faults().met() {
            *met.entry(*fault).or_default() += count;
        }
    }
    let megabytes = |bytes: [u64; 2]| bytes.map(|it| it >> 20);
    println!(
        "{made} mappings, {} versions, {terms} changes of the leader, converged {took:?} after the storm; memory in MB {:?} before, {:?} \
            after, {:?} at most; {} faults, {met:?}",
        all.len(),
        megabytes(before),
        megabytes(after),
        megabytes(most),
        met.values().sum::<usize>(),
    );
    for fault in Fault::ALL {
        assert!(met.contains_key(&fault), "{fault:?} befell nothing");
    }
    assert!(terms > 0, "one replica led throughout");
    for service in Service::ALL {
        let log = sea.eks.log();
        let mut calls = log.since(risen).iter().filter(|it| !it.by_hand);
        let called = calls.any(|it| it.service == service && it.operation != OF_LOGINS);
        assert!(called, "no replica called {service:?}");
    }
    for ((before, after), most) in before.into_iter().zip(after).zip(most) {
        assert!(
            after < before + GROWTH && most < LIMIT,
            "{before} {after} {most}"
        );
    }
    let mut leaders = 0;
    for replica in &mut replicas {
        assert!(replica.exited().is_none());
        assert_eq!(replica.probe("/livez").await, 200);
        leaders += usize::from(leads(replica).await);
    }
    assert_eq!(leaders, 1);
    for replica in replicas {
        assert!(replica.stop().await.0.success());
    }
}

/// The API server answers 409 to a forced apply of a status, too, where others write the object faster than it tries again.
#[tokio::test]
async fn a_status_that_meets_a_conflict_is_written_again() {
    let cluster = Cluster::seeded().await;
    let proxy = Proxy::start(&cluster, &Gate::default()).await;
    let kubeconfig = proxy.kubeconfig(&cluster, &cluster.operator_kubeconfig().await);
    let mut operator =
        Operator::spawn_program(&cluster, &operator_binary(), &NO_TIMER, &kubeconfig);
    operator.wait_ready().await.unwrap();
    cluster.establish("a", json!({})).await;
    // The last that a new mapping's status waits for.
    let bound = eventually("bindings were searched", SOON, async || {
        let object = cluster.mappings().get("a").await.unwrap();
        condition(&object, "GroupsBound").filter(|seen| seen.status != "Unknown")
    });
    bound.await;
    let status = On::Effect("patch identitymappings/status".to_owned());
    proxy.faults().put(status, Fault::Conflict, 1.0);
    let change = json!({"spec": {"username": "other"}});
    cluster.change("a", change).await;
    eventually("a status met a conflict", SOON, async || {
        proxy.faults().met().contains_key(&Fault::Conflict)
    })
    .await;
    proxy.faults().calm();
    cluster.ready("a").await;
    assert!(operator.stop().await.0.success());
}
