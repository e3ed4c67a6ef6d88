//! Two replicas on a real API server: one writes, the other takes over, and what wakes up late writes nothing.
//!
//! Each has a token of its own, by which the audit log tells what it asked for.

mod entries;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::scenarios::NO_TIMER;
use crate::support::eks::Gate;
use crate::support::link::{Link, Quality};
use crate::support::mappings::{FOREIGN, SOON};
use crate::support::operator::ELECTED;
use crate::support::programs::operator_binary;
use crate::support::proxy::{Fault, On, Proxy};
use crate::support::rights::NAMESPACE;
use crate::support::{Cluster, Mark, Operator, Record, eventually};

/// What is promised after a crash.
const FAILOVER: Duration = Duration::from_secs(10);
/// Shorter than it takes a Lease that was not released to expire.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Longer than that.
const EXPIRED: Duration = Duration::from_secs(30);

/// So much time passes where it is the time itself that matters.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(12);

const LEADER: &str = "ok\nleader\n";
const STANDBY: &str = "ok\nstandby\n";

/// One of several.
struct Replica {
    operator: Operator,
    token: String,
}

/// The id of the token in a kubeconfig, as the audit log has it.
fn token_id(kubeconfig: &PathBuf) -> String {
    let text = std::fs::read(kubeconfig).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    let token = whole["users"][0]["user"]["token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    format!("JTI={}", claims["jti"].as_str().unwrap())
}

impl Replica {
    async fn start(cluster: &Cluster) -> Self {
        Self::start_by(cluster, None).await
    }

    /// The same, by this link.
    async fn start_by(cluster: &Cluster, link: Option<&Link>) -> Self {
        let kubeconfig = cluster.operator_kubeconfig().await;
        let way = link.map_or(kubeconfig.clone(), |it| it.kubeconfig(cluster, &kubeconfig));
        Self::start_with(cluster, &kubeconfig, &way).await
    }

    /// The same with a kubeconfig, and one that leads the same way or another one.
    async fn start_with(cluster: &Cluster, kubeconfig: &PathBuf, way: &Path) -> Self {
        let token = token_id(kubeconfig);
        let args = [&ELECTED[..], &NO_TIMER].concat();
        let mut operator = Operator::spawn_program(cluster, &operator_binary(), &args, way);
        operator.wait_ready().await.unwrap();
        Self { operator, token }
    }

    async fn says(&self, expected: &str, within: Duration) {
        eventually(
            &format!("it answers {expected:?}"),
            within,
            async || match self.operator.answer("/readyz").await {
                (200, body) if body == expected => Ok(()),
                other => Err((other, self.operator.log())),
            },
        )
        .await;
    }

    async fn leads(&self, within: Duration) {
        self.says(LEADER, within).await;
    }

    /// What it asked the API server to write since then, without the Lease.
    async fn writes(&self, cluster: &Cluster, mark: Mark) -> Vec<Record> {
        let mut records = cluster.audit().all_writes().since(mark).records().await;
        records.retain(|it| it.token_id() == self.token && it.resource() != "leases");
        records
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        Operator::metric(&self.operator.metrics().await, name, &[])
    }

    fn signal(&mut self, name: &str) {
        self.operator.signal(name);
    }
}

/// Two of them, of which the first leads.
async fn two(cluster: &Cluster) -> [Replica; 2] {
    let first = Replica::start(cluster).await;
    first.leads(SOON).await;
    let second = Replica::start(cluster).await;
    second.says(STANDBY, SOON).await;
    [first, second]
}

fn leases(cluster: &Cluster) -> Api<Lease> {
    Api::namespaced(cluster.admin(), NAMESPACE)
}

async fn holder(cluster: &Cluster) -> Option<String> {
    let lease = leases(cluster).get_opt("identity-mapper").await.unwrap();
    lease?.spec?.holder_identity
}

#[tokio::test]
async fn one_writes_and_after_a_crash_the_other_within_ten_seconds() {
    let cluster = Cluster::seeded().await;
    let start = cluster.audit().mark().await;
    let [first, second] = two(&cluster).await;
    cluster.establish("a", json!({})).await;
    cluster.write_text("vandal", "mapRoles", FOREIGN).await;
    cluster.has_entry("a", true).await;
    assert!(!first.writes(&cluster, start).await.is_empty());
    assert_eq!(second.writes(&cluster, start).await.len(), 0);
    assert_eq!(first.metric("identity_mapper_leader").await, Some(1.0));
    assert_eq!(second.metric("identity_mapper_leader").await, Some(0.0));
    let shown = second.operator.metrics().await;
    let parses = Operator::metric(&shown, "identity_mapper_aws_auth_parses", &[]);
    assert_eq!(parses, None, "a standby shows no state");

    // Drift at the moment of the crash, and a mapping that nobody has seen.
    first.operator.kill().await;
    cluster.write_text("vandal", "mapRoles", FOREIGN).await;
    cluster.declare("b", json!({})).await;
    eventually("the other one works", FAILOVER, async || {
        let roles = cluster.roles().await;
        let both = ["role/a\"", "role/b\""].iter().all(|it| roles.contains(it));
        if both { Ok(()) } else { Err(roles) }
    })
    .await;
    second.leads(SOON).await;
    cluster.ready("b").await;
}

#[tokio::test]
async fn a_graceful_end_lets_the_other_replica_lead_at_once() {
    let cluster = Cluster::seeded().await;
    let [first, second] = two(&cluster).await;
    cluster.establish("a", json!({})).await;
    let (status, _) = first.operator.stop().await;
    assert!(status.success());
    second.leads(AT_ONCE).await;
    cluster.establish("b", json!({})).await;
    // And the last one leaves a Lease that the next takes at once.
    assert!(second.operator.stop().await.0.success());
    assert_eq!(holder(&cluster).await.as_deref(), Some(""));
    let third = Replica::start(&cluster).await;
    third.leads(AT_ONCE).await;
    cluster.establish("c", json!({})).await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_writes_nothing_by_its_old_view() {
    let cluster = Cluster::seeded().await;
    let [mut first, second] = two(&cluster).await;
    for name in ["a", "b", "c"] {
        cluster.establish(name, json!({})).await;
    }
    first.signal("STOP");
    second.leads(EXPIRED).await;
    // It sees all of this when it wakes up: drift, a deletion, a new mapping, a text that does not parse.
    cluster.write_text("vandal", "mapRoles", FOREIGN).await;
    cluster.has_entry("a", true).await;
    cluster.delete("a").await;
    cluster.gone("a").await;
    cluster.establish("d", json!({})).await;
    let good = cluster.roles().await;
    let broken = format!("{good}\n- rolearn: @someone\n");
    cluster.write_text("vandal", "mapRoles", &broken).await;
    cluster.text_until("mapRoles", |text| text == good).await;

    let mark = cluster.audit().mark().await;
    first.signal("CONT");
    first.says(STANDBY, SOON).await;
    cluster.establish("e", json!({})).await;
    assert_eq!(first.writes(&cluster, mark).await.len(), 0);
    assert!(!cluster.roles().await.contains("role/a\""));

    // It has learned what is there, and works by that once it leads again.
    second.operator.kill().await;
    first.leads(EXPIRED).await;
    cluster.establish("f", json!({})).await;
    let roles = cluster.roles().await;
    for (name, expected) in [
        ("a", false),
        ("b", true),
        ("c", true),
        ("d", true),
        ("e", true),
    ] {
        assert_eq!(
            roles.contains(&format!("role/{name}\"")),
            expected,
            "{name}: {roles}"
        );
    }
}

/// Two hundred statuses wait to be sent, and sixteen calls are in flight.
#[tokio::test]
async fn a_leader_that_was_stopped_in_a_burst_sends_no_more_of_it() {
    let cluster = Cluster::seeded().await;
    let slow = Quality::Slow {
        bytes_per_second: 1_000_000,
        latency: Duration::from_millis(100),
    };
    let link = Link::to(&cluster, slow).await;
    let mut first = Replica::start_by(&cluster, Some(&link)).await;
    first.leads(SOON).await;
    let second = Replica::start(&cluster).await;
    let names: Vec<String> = (0..200).map(|number| format!("m{number:03}")).collect();
    for name in &names {
        cluster.declare(name, json!({})).await;
    }
    eventually("some statuses are written", SOON, async || {
        let written = cluster.audit().writes("identitymappings/status");
        let written = written.count().await;
        if written >= 20 { Ok(()) } else { Err(written) }
    })
    .await;
    first.signal("STOP");
    second.leads(EXPIRED).await;
    for name in &names {
        cluster.ready(name).await;
    }
    let mark = cluster.audit().mark().await;
    first.signal("CONT");
    first.says(STANDBY, SOON).await;
    cluster.establish("later", json!({})).await;
    assert_eq!(first.writes(&cluster, mark).await.len(), 0);
}

#[tokio::test]
async fn a_leader_that_was_cut_off_writes_nothing_by_its_old_view() {
    let cluster = Cluster::seeded().await;
    let link = Link::to(&cluster, Quality::Fast).await;
    let first = Replica::start_by(&cluster, Some(&link)).await;
    first.leads(SOON).await;
    let second = Replica::start(&cluster).await;
    cluster.establish("a", json!({})).await;

    link.set(Quality::Cut);
    second.leads(EXPIRED).await;
    cluster.delete("a").await;
    cluster.gone("a").await;
    cluster.write_text("vandal", "mapRoles", FOREIGN).await;
    cluster.establish("b", json!({})).await;
    assert_eq!(first.metric("identity_mapper_leader").await, Some(0.0));

    let mark = cluster.audit().mark().await;
    link.set(Quality::Fast);
    first.says(STANDBY, 3 * SOON).await;
    cluster.establish("c", json!({})).await;
    assert_eq!(first.writes(&cluster, mark).await.len(), 0);
    assert!(!cluster.roles().await.contains("role/a\""));
    assert!(second.operator.stop().await.0.success());
    first.leads(AT_ONCE).await;
    cluster.establish("d", json!({})).await;
}

#[tokio::test]
async fn the_last_good_text_outlives_its_leader() {
    let cluster = Cluster::seeded().await;
    let [first, second] = two(&cluster).await;
    cluster.establish("a", json!({})).await;
    let good = cluster.roles().await;
    first.operator.kill().await;
    // While nobody leads, everyone is locked out.
    let broken = format!("{good}\n- rolearn: @someone\n");
    cluster
        .write_text("kubectl-edit", "mapRoles", &broken)
        .await;
    cluster.text_until("mapRoles", |text| text == good).await;
    cluster.note("InvalidYAMLRepaired", "aws-auth").await;
    second.leads(SOON).await;
}

/// A watch can hang without an error. What its replica remembers may hold what was revoked since.
#[tokio::test]
async fn a_text_from_before_a_watch_hung_is_not_restored() {
    let cluster = Cluster::seeded().await;
    let first = Replica::start(&cluster).await;
    first.leads(SOON).await;
    cluster.establish("a", json!({})).await;
    let kubeconfig = cluster.operator_kubeconfig().await;
    let proxy = Proxy::start(&cluster, &Gate::default()).await;
    proxy
        .faults()
        .put(On::Watches("configmaps"), Fault::HalfOpen, 1.0);
    let way = proxy.kubeconfig(&cluster, &kubeconfig);
    let second = Replica::start_with(&cluster, &kubeconfig, &way).await;
    second.says(STANDBY, SOON).await;

    let revoked = cluster.roles().await.replace(FOREIGN, "");
    cluster
        .write_text("kubectl-edit", "mapRoles", &revoked)
        .await;
    cluster.establish("b", json!({})).await;
    first.operator.kill().await;
    let broken = format!("{}\n- rolearn: @someone\n", cluster.roles().await);
    cluster
        .write_text("kubectl-edit", "mapRoles", &broken)
        .await;
    second.leads(EXPIRED).await;
    cluster.until("a", "Ready", "False InvalidYAML").await;
    assert_eq!(cluster.roles().await, broken);
}

#[tokio::test]
async fn removals_that_one_ordered_and_held_are_the_next_ones_too() {
    let cluster = Cluster::seeded().await;
    let [first, second] = two(&cluster).await;
    let names: Vec<String> = (0..12).map(|number| format!("m{number:02}")).collect();
    for name in &names {
        cluster.declare(name, json!({})).await;
    }
    for name in &names {
        cluster.ready(name).await;
    }
    // Three that were ordered, and three more that are too many.
    for name in &names[..3] {
        cluster.delete(name).await;
        cluster.gone(name).await;
    }
    for name in &names[3..6] {
        cluster.delete(name).await;
    }
    for name in &names[3..6] {
        let reason = "False RemovalNeedsConfirmation";
        cluster.until(name, "Ready", reason).await;
    }
    first.operator.kill().await;
    second.leads(EXPIRED).await;
    cluster.establish("later", json!({})).await;
    for name in &names[3..6] {
        cluster.has_entry(name, true).await;
        let reason = "False RemovalNeedsConfirmation";
        cluster.until(name, "Ready", reason).await;
    }
    // One more is still one too many; the confirmed ones are removed.
    for name in &names[3..6] {
        cluster.confirm(name, "mass-removal").await;
    }
    for name in &names[3..6] {
        cluster.gone(name).await;
    }
}

#[tokio::test]
async fn a_release_holds_for_the_standby_too() {
    let cluster = Cluster::seeded().await;
    let [first, second] = two(&cluster).await;
    cluster.establish("a", json!({})).await;
    let release = std::process::Command::new(operator_binary())
        .args(["release", "--yes", "--kubeconfig"])
        .arg(cluster.admin_kubeconfig())
        .output()
        .unwrap();
    assert!(release.status.success(), "{release:?}");
    first.operator.kill().await;
    second.leads(EXPIRED).await;
    let mark = cluster.audit().mark().await;
    cluster.declare("b", json!({})).await;
    eventually("the leader knows that all is released", SOON, async || {
        second.metric("identity_mapper_released").await == Some(1.0)
    })
    .await;
    assert_eq!(cluster.writes_since(mark).await, 0);
    // A replica that starts after the release begins anew, as one alone does.
    let third = Replica::start(&cluster).await;
    assert!(second.operator.stop().await.0.success());
    third.leads(AT_ONCE).await;
    cluster.ready("b").await;
}

#[tokio::test]
async fn a_single_replica_continues_after_it_was_stopped() {
    let cluster = Cluster::seeded().await;
    let mut only = Replica::start(&cluster).await;
    only.leads(SOON).await;
    cluster.establish("a", json!({})).await;
    let good = cluster.roles().await;
    only.signal("STOP");
    let held = holder(&cluster).await;
    let renewed = async || leases(&cluster).get("identity-mapper").await.unwrap();
    let before = renewed().await.metadata.resource_version;
    // The Lease has run out by any clock.
    tokio::time::sleep(LONGER_THAN_A_LEASE).await;
    assert_eq!(renewed().await.metadata.resource_version, before);
    let broken = format!("{good}\n- rolearn: @someone\n");
    cluster
        .write_text("kubectl-edit", "mapRoles", &broken)
        .await;
    only.signal("CONT");
    // As without a Lease: nobody else wrote, so what it remembers still holds.
    cluster.text_until("mapRoles", |text| text == good).await;
    cluster.establish("b", json!({})).await;
    assert_eq!(holder(&cluster).await, held);
    assert_eq!(only.operator.log().matches("this replica leads").count(), 1);
}

/// The times in a Lease are those of another machine's clock, which may be set to anything.
#[tokio::test]
async fn a_holder_is_alive_while_it_renews_whatever_its_clock_says() {
    let cluster = Cluster::seeded().await;
    let at = |seconds: i64| MicroTime(jiff::Timestamp::from_second(seconds).unwrap());
    let spec = |renewed: i64| LeaseSpec {
        holder_identity: Some("another".to_owned()),
        lease_duration_seconds: Some(8),
        renew_time: Some(at(renewed)),
        ..LeaseSpec::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some("identity-mapper".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(spec(0)),
    };
    leases(&cluster)
        .create(&PostParams::default(), &lease)
        .await
        .unwrap();
    let replica = Replica::start(&cluster).await;
    let api = leases(&cluster);
    let renew = async |seconds: i64| {
        let renewal = Patch::Merge(json!({ "spec": { "renewTime": at(seconds) } }));
        let params = PatchParams::default();
        let renewed = api.patch("identity-mapper", &params, &renewal);
        renewed.await.unwrap();
    };
    // It renews, by a clock that stands in 1970, for longer than its Lease lasts.
    let end = Instant::now() + LONGER_THAN_A_LEASE;
    let mut seconds = 0;
    while Instant::now() < end {
        seconds += 1;
        renew(seconds).await;
        assert_eq!(replica.operator.answer("/readyz").await.1, STANDBY);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Its last words are of a time to come, and it falls silent.
    renew(4_000_000_000).await;
    replica.leads(EXPIRED).await;
    cluster.establish("a", json!({})).await;
}

/// Arguments of a replica that also asks EKS, with credentials of its own.
fn of_eks(kubeconfig: PathBuf, key: String) -> [(OsString, OsString); 2] {
    [
        ("KUBECONFIG".into(), kubeconfig.into()),
        ("AWS_ACCESS_KEY_ID".into(), key.into()),
    ]
}
