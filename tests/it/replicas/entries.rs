//! Two replicas that also manage access entries. EKS knows nothing of the Lease, so what is never sent is shown by its log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{EXPIRED, FAILOVER, LEADER, STANDBY, of_eks};
use crate::scenarios::entries::stage::{CLUSTER, NO_TIMER, Stage};
use crate::support::eks::Mode;
use crate::support::link::{Link, Quality};
use crate::support::mappings::{FOREIGN, SOON};
use crate::support::operator::ELECTED;
use crate::support::programs::operator_binary;
use crate::support::{Operator, eventually};

/// So many calls, of which one is made in a second, last longer than the Lease.
const BURST: u32 = 25;

/// What is promised after a crash where EKS answers slowly: a new leader waits ten seconds for it.
const SLOW_FAILOVER: Duration = Duration::from_secs(20);
/// So slowly: shorter than a call may take, and the first few calls together take longer than a leader waits.
const SLOWLY: Duration = Duration::from_secs(4);
/// Longer than it takes until a standby leads, and shorter than that leader expects calls of the one before.
const LATE: Duration = Duration::from_secs(20);

/// A replica, and the ARN by which EKS knows it.
struct OfEks {
    operator: Operator,
    caller: String,
}

impl OfEks {
    async fn start(stage: &Stage, session: &str, link: &Link, args: &[&str]) -> Self {
        Self::start_program(stage, session, link, args, &operator_binary()).await
    }

    async fn start_program(
        stage: &Stage,
        session: &str,
        link: &Link,
        args: &[&str],
        program: &Path,
    ) -> Self {
        let (caller, key) = {
            let mut world = stage.eks.world();
            let account = world.cluster.account.clone();
            world.role(&account, "/", session);
            let caller = world.session(&account, session, "pod");
            (caller.arn.clone(), world.key_of(caller))
        };
        let kubeconfig = stage.cluster.operator_kubeconfig().await;
        let kubeconfig = link.kubeconfig(&stage.cluster, &kubeconfig);
        let way = of_eks(kubeconfig, key);
        let args = [&ELECTED[..], &NO_TIMER, args].concat();
        let operator = Operator::start_by(&stage.cluster, &stage.eks, program, &way, &args).await;
        Self { operator, caller }
    }

    async fn says(&self, expected: &str) {
        eventually(
            &format!("it answers {expected:?}"),
            3 * SOON,
            async || match self.operator.answer("/readyz").await {
                (200, body) if body == expected => Ok(()),
                other => Err((other, self.operator.log())),
            },
        )
        .await;
    }

    /// The calls of it that change something, and had their turn since that many calls.
    fn changes(&self, stage: &Stage, since: crate::support::eks::Mark) -> Vec<String> {
        let log = stage.eks.log();
        let ours = log.since(since).iter().filter(|call| {
            let reads = ["Describe", "List", "Get", "Receive"];
            call.caller == self.caller && !reads.iter().any(|it| call.operation.starts_with(it))
        });
        ours.map(|call| format!("{} {:?}", call.operation, call.principal))
            .collect()
    }
}

/// A leader in the middle of a burst loses its network to the API server, and goes on reaching EKS.
#[tokio::test]
async fn a_leader_without_its_lease_calls_eks_no_more() {
    let stage = Stage::without_operator(CLUSTER, Mode::Api).await;
    let cut = Link::to(&stage.cluster, Quality::Fast).await;
    let whole = Link::to(&stage.cluster, Quality::Fast).await;
    // A call a second, so that the burst lasts longer than the Lease.
    let first = OfEks::start(&stage, "First", &cut, &["--eks-rate=1"]).await;
    first.says(LEADER).await;
    let second = OfEks::start(&stage, "Second", &whole, &[]).await;
    second.says(STANDBY).await;
    assert!(
        second
            .changes(&stage, crate::support::eks::Mark::START)
            .is_empty()
    );
    stage.establish("before", json!({})).await;

    for number in 0..BURST {
        stage.declare(&format!("m{number:02}"), json!({})).await;
    }
    eventually("the burst has begun", SOON, async || {
        let changes = first.changes(&stage, crate::support::eks::Mark::START);
        (changes.len() > 2).then_some(()).ok_or(changes)
    })
    .await;
    cut.set(Quality::Cut);
    second.says(LEADER).await;
    let taken = stage.eks.log().mark();
    // The next leader finishes the burst, and meanwhile the first one is alive and idle.
    for number in 0..BURST {
        stage.cluster.ready(&format!("m{number:02}")).await;
    }
    assert_eq!(first.changes(&stage, taken), Vec::<String>::new());
    assert_eq!(first.operator.probe("/livez").await, 200);

    // What the second one removes meanwhile, the first one does not create again when it wakes up.
    let last = format!("m{:02}", BURST - 1);
    stage.cluster.delete(&last).await;
    stage.gone(&last).await;
    cut.set(Quality::Fast);
    first.says(STANDBY).await;
    assert!(second.operator.stop().await.0.success());
    first.says(LEADER).await;
    // It describes the entries first, one in a second.
    stage.declare("after", json!({})).await;
    stage.until("after", "Ready", "True InEffect").await;
    let again = first.changes(&stage, taken);
    assert!(again.iter().all(|it| it.contains("after")), "{again:?}");
}

/// A leader is stopped while a call of it is in flight, and while it has more to send.
#[tokio::test]
async fn a_stopped_leader_calls_eks_no_more_when_it_wakes_up() {
    let stage = Stage::without_operator(CLUSTER, Mode::Api).await;
    let link = Link::to(&stage.cluster, Quality::Fast).await;
    let mut first = OfEks::start(&stage, "First", &link, &["--eks-rate=1"]).await;
    first.says(LEADER).await;
    let second = OfEks::start(&stage, "Second", &link, &[]).await;
    second.says(STANDBY).await;
    for number in 0..30 {
        stage.declare(&format!("m{number:02}"), json!({})).await;
    }
    eventually("the burst has begun", SOON, async || {
        let changes = first.changes(&stage, crate::support::eks::Mark::START);
        (changes.len() > 2).then_some(()).ok_or(changes)
    })
    .await;
    first.operator.signal("STOP");
    eventually("the other one leads", EXPIRED, async || {
        let answer = second.operator.answer("/readyz").await;
        (answer.1 == LEADER).then_some(()).ok_or(answer)
    })
    .await;
    for number in 0..30 {
        stage.cluster.ready(&format!("m{number:02}")).await;
    }
    stage.cluster.delete("m29").await;
    stage.gone("m29").await;
    let woken = stage.eks.log().mark();
    first.operator.signal("CONT");
    first.says(STANDBY).await;
    stage.establish("after", json!({})).await;
    assert_eq!(first.changes(&stage, woken), Vec::<String>::new());
}

/// A call that a leader sent before it died takes effect when another one leads, and the mapping that it was for is deleted by then.
#[tokio::test]
async fn a_creation_that_comes_after_its_leader_died_goes_with_its_mapping() {
    let stage = Stage::without_operator(CLUSTER, Mode::Api).await;
    let link = Link::to(&stage.cluster, Quality::Fast).await;
    let first = OfEks::start(&stage, "First", &link, &[]).await;
    first.says(LEADER).await;
    let second = OfEks::start(&stage, "Second", &link, &[]).await;
    stage.establish("before", json!({})).await;

    let creation = "CreateAccessEntry";
    stage.eks.knobs().latencies = [(creation.to_owned(), LATE)].into();
    let late = stage.declare("late", json!({})).await;
    stage.in_flight(creation).await;
    stage.eks.knobs().latencies.clear();
    let mark = stage.mark();
    first.operator.kill().await;
    stage.cluster.delete("late").await;
    second.says(LEADER).await;
    assert_eq!(stage.eks.knobs().delayed(creation), 1, "it is late");
    assert!(stage.entry(&late).is_none());

    let seen = |stage: &Stage| {
        let log = stage.eks.log();
        let mut calls = log.since(mark).iter().filter(|it| it.had_effect());
        calls.any(|it| it.operation == creation)
    };
    eventually("it takes effect", EXPIRED, async || {
        // Whether the mapping is there is asked first: it may go as soon as the entry has come and gone.
        let mapping = stage.cluster.mappings().get_opt("late").await.unwrap();
        let done = seen(&stage);
        assert!(mapping.is_some() || done, "nothing would remove it");
        done
    })
    .await;
    stage.gone("late").await;
    assert!(stage.entry(&late).is_none(), "{:?}", stage.calls());
    assert_eq!(
        stage.writes_about(&late, mark),
        [creation, "DeleteAccessEntry"]
    );
    stage.fence("after").await;
    assert!(stage.entry(&late).is_none());
}

/// How long nobody works after a crash of the leader: until the other one has repaired aws-auth.
async fn failover(latency: Duration) -> Duration {
    let stage = Stage::without_operator(CLUSTER, Mode::ApiAndConfigMap).await;
    let link = Link::to(&stage.cluster, Quality::Fast).await;
    let first = OfEks::start(&stage, "First", &link, &[]).await;
    first.says(LEADER).await;
    let second = OfEks::start(&stage, "Second", &link, &[]).await;
    second.says(STANDBY).await;
    for (name, backend) in [("text", "ConfigMap"), ("entry", "AccessEntry")] {
        stage.establish(name, json!({ "backend": backend })).await;
    }

    stage.eks.knobs().latency = latency;
    let crash = Instant::now();
    first.operator.kill().await;
    let vandal = stage.cluster.write_text("vandal", "mapRoles", FOREIGN);
    vandal.await;
    stage.cluster.has_entry("text", true).await;
    let took = crash.elapsed();
    stage.eks.knobs().latency = Duration::ZERO;
    // Access entries follow.
    let backend = json!({ "backend": "AccessEntry" });
    stage.declare("later", backend).await;
    stage.until("later", "Ready", "True InEffect").await;
    second.says(LEADER).await;
    took
}

#[tokio::test]
async fn after_a_crash_the_other_works_within_ten_seconds_or_twenty_where_eks_is_slow() {
    let (took, slowly) = futures::join!(failover(Duration::ZERO), failover(SLOWLY));
    println!("{took:.1?}, where EKS is slow {slowly:.1?}");
    assert!(took < FAILOVER, "{took:?}");
    assert!(slowly < SLOW_FAILOVER, "{slowly:?}");
    assert!(slowly > FAILOVER, "it waited for EKS: {slowly:?}");
}

/// All that leaders write but events, about mappings that exist at that time.
async fn written(stage: &Stage, names: &[String]) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for name in names {
        let object = stage.object(name).await;
        let conditions = object.status.unwrap_or_default().conditions.into_iter();
        let told: Vec<_> = conditions
            .map(|it| (it.type_, it.status, it.reason))
            .collect();
        found.insert(format!("mapping {name}"), json!(told));
    }
    for (arn, entry) in stage.entries() {
        // The principal's id is tagged once IAM was read, which may be in a later turn.
        let mut tags = entry.tags.clone();
        tags.retain(|tag, _| !tag.ends_with("principal-id"));
        let policies: Vec<&String> = entry.policies.keys().collect();
        let content = json!([entry.username, entry.groups, policies, tags]);
        found.insert(format!("entry {arn}"), content);
    }
    let text = stage.cluster.config_maps().get("aws-auth").await.unwrap();
    let lines = text.data.unwrap_or_default().into_values();
    for line in lines.flat_map(|it| it.lines().map(str::to_owned).collect::<Vec<_>>()) {
        found.insert(format!("line {line}"), Value::Null);
    }
    found
}

/// During an upgrade, or a downgrade, an old and a new version take turns. What the first turn of each changes, no later turn undoes.
#[tokio::test]
#[ignore = "needs another version of the operator: make versions OTHER=PROGRAM"]
async fn of_two_versions_neither_undoes_what_the_other_wrote() {
    let other = PathBuf::from(std::env::var_os("OTHER").expect("OTHER names a program"));
    let stage = Stage::without_operator(CLUSTER, Mode::ApiAndConfigMap).await;
    let link = Link::to(&stage.cluster, Quality::Fast).await;
    let programs = [other, operator_binary()];
    let mut leader = OfEks::start_program(&stage, "Turn", &link, &[], &programs[0]).await;
    leader.says(LEADER).await;
    let mut names = Vec::new();
    let mut before = BTreeMap::new();
    for turn in 0..6 {
        for (name, spec) in [
            ("entry", json!({ "groups": ["team"] })),
            (
                "policies",
                json!({ "accessPolicies": [{ "policy": "AmazonEKSViewPolicy" }] }),
            ),
            (
                "text",
                json!({ "groups": ["team"], "backend": "ConfigMap" }),
            ),
        ] {
            let name = format!("{name}-{turn}");
            let arn = stage.role(&name);
            stage.declare_for(&name, &arn, spec).await;
            stage.cluster.ready(&name).await;
            names.push(name);
        }
        stage.fence(&format!("fence-{turn}")).await;

        let now = written(&stage, &names).await;
        // Both have had a turn with these.
        if turn > 1 {
            let changed = |(key, value): &(&String, &Value)| now.get(*key) != Some(*value);
            let undone: Vec<_> = before.iter().filter(changed).collect();
            assert!(undone.is_empty(), "turn {turn}: {undone:#?}");
        }
        before = now;

        let next = format!("Turn{turn}");
        let program = &programs[(turn + 1) % 2];
        let standby = OfEks::start_program(&stage, &next, &link, &[], program).await;
        standby.says(STANDBY).await;
        assert!(leader.operator.stop().await.0.success());
        standby.says(LEADER).await;
        leader = standby;
    }
}
