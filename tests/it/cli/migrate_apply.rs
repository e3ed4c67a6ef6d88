//! `migrate apply` takes two hundred principals all the way from aws-auth to access entries, with the operator and without it, killed
//! at every step and run again: the same end, and nobody is ever without the power that they had.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use identity_mapper::access_entry::MAPPING_TAG;
use identity_mapper::aws_auth::Document;
use serde_json::json;

use crate::handover::cast::{self, Cast, Course, migrants};
use crate::support::eks::{Change, Eks, Mode, World};
use crate::support::power::{Power, Witness};
use crate::support::programs::operator_binary;
use crate::support::supervise::Supervised;
use crate::support::{Cluster, Operator, eventually, fleet, rights};

const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
/// For what takes a pass over two hundred, on a machine that is busy with other things.
const LONG: Duration = Duration::from_mins(5);
/// From a change of an entry to its force, and from the association of a policy.
const ENTRY_DELAY: Duration = Duration::from_millis(700);
const POLICY_DELAY: Duration = Duration::from_millis(1500);

/// A cluster before it moves on, everyone in it, and who watches them.
struct Stage {
    cluster: Cluster,
    eks: Eks,
    cast: Cast,
    witness: Witness,
    /// The access key of the person who migrates.
    key: String,
}

impl Stage {
    async fn set(cluster: Cluster) -> Self {
        let mut world = World::new(ARN)
            .mode(Mode::ConfigMap)
            .api_server(&cluster.authority(), cluster.url());
        let cast = migrants(&mut world);
        let person = world.person("alice");
        let key = world.key_of(person);
        let eks = Eks::start(world).await;
        {
            let mut knobs = eks.knobs();
            knobs.entry_delay = ENTRY_DELAY;
            knobs.policy_delay = POLICY_DELAY;
            knobs.update = Duration::from_secs(1);
            knobs.mode_error = Duration::from_secs(1);
        }
        cluster
            .seed(json!({"mapRoles": cast.roles, "mapUsers": cast.users}))
            .await;
        let bindings = cast::bindings().to_string();
        cluster.kubectl_ok(&["apply", "-f", "-"], Some(&bindings));
        let witness = Witness::start(&cluster, &eks, cast.instances.clone()).await;
        for part in &cast.parts {
            let power = witness.keep(&part.name, part.caller.clone()).await;
            assert!(power != Power::default(), "{part:?}");
        }
        for (name, caller, _) in &cast.foreign {
            witness.keep(name, caller.clone()).await;
        }
        Self {
            cluster,
            eks,
            cast,
            witness,
            key,
        }
    }

    /// A run of the command line, which is killed when it is dropped.
    fn start(&self, args: &[&str]) -> Supervised {
        let scratch = self.cluster.scratch();
        let log = scratch
            .path()
            .join(format!("migrate-{}.log", self.cluster.next_file()));
        let mut environment: Vec<(OsString, OsString)> = self
            .eks
            .env_as(&self.key)
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        environment.push(("KUBECONFIG".into(), self.cluster.admin_kubeconfig().into()));
        environment.push(("HOME".into(), scratch.path().into()));
        environment.push(("RUST_BACKTRACE".into(), "1".into()));
        Supervised::spawn(&operator_binary(), args, environment, &log)
    }

    /// Runs a command again and again, and kills it whenever it tells of a step that no earlier run told of, and after every so
    /// many changes in EKS, until it ends by itself. The steps.
    async fn run_killed(&self, args: &[&str], changes: u32) -> Vec<String> {
        let mut steps = Vec::new();
        let mut made = 0;
        loop {
            let mut process = self.start(args);
            let mut told = self.eks.subscribe();
            let step = eventually("a step, or the end", LONG, async || {
                while let Ok(change) = told.try_recv() {
                    made += u32::from(matches!(change, Change::Described(_)));
                }
                let log = process.log();
                let new = log.lines().filter_map(step_of);
                if let Some(step) = new.into_iter().find(|step| !steps.contains(step)) {
                    return Ok(Some(step));
                }
                if made >= changes {
                    made = 0;
                    return Ok(Some("changes".to_owned()));
                }
                match process.exited() {
                    Some(status) if status.success() => Ok(None),
                    Some(_) => panic!("it ended with an error:\n{log}"),
                    None => Err(log),
                }
            })
            .await;
            drop(process);
            match step {
                Some(step) => steps.push(step),
                None => return steps,
            }
        }
    }

    /// What must be so in the end, however it was reached.
    async fn judge(&self) {
        // What was done last comes into force, too.
        self.eks.advance(POLICY_DELAY);
        self.witness.acquit(&self.eks).await;
        let world = self.eks.world();
        let entries = &world.cluster.entries;
        assert_eq!(world.cluster.mode, Mode::Api);
        for part in &self.cast.parts {
            let entry = entries.get(&part.principal.arn);
            let entry = entry.unwrap_or_else(|| panic!("{part:?} has no access entry"));
            assert!(part.is_arrived(entry), "{part:?}: {entry:?}");
        }
        // EKS's own entries are as EKS made them.
        for name in ["eks-linux", "eks-windows", "eks-fargate", "Creator"] {
            let entry = &entries[&format!("arn:aws:iam::{}:role/{name}", cast::ACCOUNT)];
            assert!(
                entry.tags.is_empty() && entry.created == entry.modified,
                "{entry:?}"
            );
        }
        drop(world);
        let bindings = self
            .cluster
            .kubectl_ok(&["get", "clusterrolebindings", "-o", "name"], None);
        assert!(!bindings.contains("identity-mapper-bridge"), "{bindings}");
        // Those who moved have left aws-auth; nodes and what lets nobody in are as they were.
        let standing = self.in_text().await;
        for part in &self.cast.parts {
            let stays = part.course == Course::Doubles;
            assert_eq!(standing.contains(&part.principal.name), stays, "{part:?}");
        }
        let text = self.cluster.text("mapRoles").await;
        assert!(text.contains("# by hand\n"), "{text}");
        assert!(
            text.contains("role/dead/Dead\n  username: dead\n  groups: [team-1]\n"),
            "{text}"
        );
    }

    /// An operator whose mappings say what stands finds its own entries, and has nothing to do.
    async fn an_operator_comes_later(&self) {
        let tags = {
            let world = self.eks.world();
            let entries = world.cluster.entries.values();
            let named = entries.filter_map(|entry| {
                Some((
                    entry.principal_arn.clone(),
                    entry.tags.get(MAPPING_TAG)?.clone(),
                ))
            });
            named.collect::<BTreeMap<String, String>>()
        };
        rights::install_definitions(&self.cluster.admin()).await;
        rights::grant(&self.cluster.admin(), "kube-system", "aws-auth").await;
        let parts = self.cast.parts.iter();
        let mappings = parts.clone().map(|part| {
            let object = json!({
                "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
                "metadata": {"name": tags[&part.principal.arn]}, "spec": part.spec,
            });
            serde_json::from_value(object).expect("a mapping")
        });
        fleet::create_all(&self.cluster.admin(), mappings).await;
        let mark = self.eks.log().mark();
        let operator = Operator::start_in(&self.cluster, &self.eks, &["--eks-rate=200"]).await;
        fleet::until_ready(&self.cluster.admin(), self.cast.parts.len()).await;
        let counts = self.eks.log().counts(mark);
        let reads = ["Describe", "List", "Get"];
        let writes = counts.into_keys();
        let writes: Vec<String> = writes
            .filter(|operation| !reads.iter().any(|read| operation.starts_with(read)))
            .collect();
        assert_eq!(writes, [""; 0]);
        operator.stop().await;
    }

    async fn in_text(&self) -> BTreeSet<String> {
        let object = self.cluster.config_maps().get("aws-auth").await.unwrap();
        let document = Document::parse(&object.data.unwrap_or_default());
        let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
        document.entries().map(|entry| name(&entry.arn)).collect()
    }
}

/// The step that a line tells of, without its numbers.
fn step_of(line: &str) -> Option<String> {
    let words = [
        "backup:",
        "import:",
        "mode:",
        "handover:",
        "binding:",
        "EKS created",
    ];
    let counts = ["pending", "migrating", "soaking", "done"];
    if words.iter().any(|word| line.starts_with(word)) {
        let text = line.split(" (").next().unwrap_or(line);
        return Some(text.split(" of arn").next().unwrap_or(text).to_owned());
    }
    // `12 pending, 3 migrating`: which there are at all.
    let kinds: Vec<&str> = counts
        .into_iter()
        .filter(|kind| line.contains(&format!(" {kind}")))
        .collect();
    let is_line = line.starts_with(|c: char| c.is_ascii_digit());
    (is_line && !kinds.is_empty()).then(|| kinds.join(", "))
}

/// What the command is told, with or without an operator.
const APPLY: [&str; 6] = [
    "migrate",
    "apply",
    "--cluster-name=test",
    "--to=API",
    "--confirm=test",
    "--eks-rate=200",
];
/// The pace of whoever hands over: the least soak that can be asked for.
const PACE: [&str; 3] = ["--soak=60s", "--propagation=2s", "--listing-period=10s"];

/// Without the operator, killed at every step; one that is installed later knows what was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_move_without_the_operator_killed_at_every_step() {
    let stage = Stage::set(Cluster::start().await).await;
    let args = [&APPLY[..], &PACE[..]].concat();
    let steps = stage.run_killed(&args, 150).await;
    killed_enough(&steps);
    stage.judge().await;
    stage.an_operator_comes_later().await;
}

/// With the operator, which does the work, while the command is killed at every step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_move_with_the_operator_killed_at_every_step() {
    let stage = Stage::set(Cluster::with_operator_rights().await).await;
    let pace = [&PACE[..], &["--eks-rate=200"][..]].concat();
    let operator = Operator::start_in(&stage.cluster, &stage.eks, &pace).await;
    let args = [&APPLY[..], &["--import"][..]].concat();
    let steps = stage.run_killed(&args, 150).await;
    killed_enough(&steps);
    stage.judge().await;
    // Nobody is left, and running it once more finds nothing to do.
    let mut process = stage.start(&args);
    let status = eventually("it ends", LONG, async || {
        process.exited().ok_or_else(|| process.log())
    })
    .await;
    let told = process.log();
    assert!(status.success(), "{told}");
    assert!(told.contains("\nprincipals: 203 done\n"), "{told}");
    operator.stop().await;
}

/// Each step was met by a kill, or one beside it where the machine was slow to kill.
fn killed_enough(steps: &[String]) {
    let binding = "binding:";
    let phases: [&[&str]; 5] = [
        &[
            "mode: requested the change from CONFIG_MAP",
            "mode: EKS answered",
            "mode: now API_AND",
        ],
        &[&format!("{binding} created"), "migrating, done"],
        &["changes", "migrating, soaking"],
        &[&format!("{binding} deleted"), "soaking, done"],
        &[
            "mode: requested the change from API_AND_CONFIG_MAP to",
            "mode:       API",
        ],
    ];
    for phase in phases {
        let met = |start: &&str| steps.iter().any(|step| step.starts_with(*start));
        assert!(phase.iter().any(met), "{phase:?}: {steps:#?}");
    }
    assert!(steps.len() > 12, "{steps:#?}");
}
