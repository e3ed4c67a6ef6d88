//! Thousands of mappings: few writes, counted by the API server itself, and nothing lost or touched that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use identity_mapper::api::IdentityMapping;
use identity_mapper::aws_auth::Document;
use identity_mapper::ownership::MARK_ANNOTATION;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use crate::support::link::{Link, Quality};
use crate::support::programs::operator_binary;
use crate::support::{Audit, Cluster, Mark, Operator, eventually, fleet};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// `TotalAnnotationSizeLimitB` in k8s.io/apimachinery/pkg/api/validation.
const ANNOTATIONS_LIMIT: usize = 262_144;

fn config_maps(cluster: &Cluster) -> Api<ConfigMap> {
    Api::namespaced(cluster.admin(), "kube-system")
}

async fn seed(cluster: &Cluster, annotations: BTreeMap<String, String>) {
    let object = fleet::aws_auth(annotations);
    config_maps(cluster)
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
}

async fn aws_auth(cluster: &Cluster) -> ConfigMap {
    config_maps(cluster).get("aws-auth").await.unwrap()
}

/// Successful writes of aws-auth by the operator.
async fn writes(cluster: &Cluster, since: Mark) -> usize {
    let writes = cluster.audit().writes("configmaps").of("aws-auth");
    writes.by(Audit::OPERATOR).since(since).count().await
}

/// Waits until the mappings are as `settled` wants them, and returns them.
async fn mappings(
    cluster: &Cluster,
    what: &str,
    settled: impl Fn(&[IdentityMapping]) -> bool,
) -> Vec<IdentityMapping> {
    eventually(what, fleet::LONG, async || {
        let found = fleet::list(&cluster.admin()).await;
        if settled(&found) {
            return Ok(found);
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for mapping in &found {
            *counts.entry(fleet::ready(mapping)).or_default() += 1;
        }
        Err(counts)
    })
    .await
}

/// Every foreign byte stands where it stood, and behind it exactly these mappings, as declared.
fn assert_stands(object: &ConfigMap, numbers: &BTreeSet<usize>) {
    let data = object.data.as_ref().unwrap();
    assert!(data["mapRoles"].starts_with(fleet::ROLES));
    assert_eq!(data["mapUsers"], fleet::USERS);
    assert_eq!(data["notes"], fleet::NOTES);
    let document = Document::parse(data);
    let role = |entry: &identity_mapper::aws_auth::Entry| {
        let groups = entry.groups.join(",");
        format!("{} {} {groups}", entry.arn, entry.username)
    };
    let found: Vec<String> = document.entries().map(role).collect();
    let nodes = "arn:aws:iam::111122223333:role/node system:node:{{EC2PrivateDNSName}} system:bootstrappers,system:nodes";
    assert_eq!(found[0], nodes);
    assert_eq!(
        found[1],
        "arn:aws:iam::111122223333:role/ops ops system:masters"
    );
    let (carol, ours) = found[2..].split_last().unwrap();
    assert_eq!(*carol, "arn:aws:iam::111122223333:user/carol carol ");
    let declared = |number: &usize| {
        let role = fleet::role(*number);
        format!(
            "arn:aws:iam::111122223333:role/{role} arn:aws:sts::111122223333:assumed-role/{role}/{{{{SessionName}}}} platform-engineers,team-{:02}",
            number % 50
        )
    };
    let declared: BTreeSet<String> = numbers.iter().map(declared).collect();
    assert_eq!(ours.len(), declared.len());
    assert_eq!(ours.iter().cloned().collect::<BTreeSet<_>>(), declared);
    let marks = object.annotations().get(MARK_ANNOTATION);
    let marks = marks.map_or(0, |mark| mark.split(' ').count());
    assert_eq!(marks, numbers.len());
}

#[tokio::test]
async fn a_thousand_that_are_there_at_the_start_cost_one_write() {
    let cluster = Cluster::with_operator_rights().await;
    seed(&cluster, BTreeMap::new()).await;
    fleet::create(&cluster.admin(), 0..1000).await;
    let mark = cluster.audit().mark().await;
    let operator = Operator::start(&cluster, &[]).await;
    fleet::until_ready(&cluster.admin(), 1000).await;
    assert_eq!(writes(&cluster, mark).await, 1);
    assert_stands(&aws_auth(&cluster).await, &(0..1000).collect());
    let statuses = cluster
        .audit()
        .writes("identitymappings/status")
        .since(mark);
    assert_eq!(statuses.count().await, 1000, "one status each");
    operator.stop().await;

    // What stands is known again.
    let mark = cluster.audit().mark().await;
    let operator = Operator::start(&cluster, &[]).await;
    let (status, _) = operator.stop().await;
    assert!(status.success());
    let everything = ["configmaps", "identitymappings", "identitymappings/status"];
    for resource in everything {
        let writes = cluster.audit().writes(resource);
        let writes = writes.by(Audit::OPERATOR).since(mark);
        assert_eq!(writes.records().await.len(), 0, "{resource}");
    }
}

/// At most five writes, and one more for each second that was begun while changes came.
fn assert_few(writes: usize, took: Duration) {
    let most = 5 + took.as_millis().div_ceil(1000);
    assert!(
        writes as u128 <= most,
        "{writes} writes for changes that came within {took:?}"
    );
}

#[tokio::test]
async fn a_burst_of_a_thousand_costs_few_writes_both_ways() {
    let cluster = Cluster::with_operator_rights().await;
    seed(&cluster, BTreeMap::new()).await;
    let operator = Operator::start(&cluster, &[]).await;

    let mark = cluster.audit().mark().await;
    let took = fleet::create(&cluster.admin(), 0..1000).await;
    fleet::until_ready(&cluster.admin(), 1000).await;
    assert_few(writes(&cluster, mark).await, took);
    assert_stands(&aws_auth(&cluster).await, &(0..1000).collect());

    let mark = cluster.audit().mark().await;
    let took = fleet::delete(&cluster.admin(), 0..1000).await;
    mappings(&cluster, "all are gone", <[_]>::is_empty).await;
    assert_few(writes(&cluster, mark).await, took);
    let object = aws_auth(&cluster).await;
    assert_eq!(object.data.unwrap()["mapRoles"], fleet::ROLES);
    assert!(
        !object
            .metadata
            .annotations
            .unwrap_or_default()
            .contains_key(MARK_ANNOTATION)
    );
    operator.stop().await;
}

#[tokio::test]
async fn of_three_thousand_beside_a_large_annotation_the_youngest_are_refused() {
    let cluster = Cluster::with_operator_rights().await;
    let last_applied = (LAST_APPLIED.to_owned(), "x".repeat(200_000));
    seed(&cluster, [last_applied].into()).await;
    fleet::create(&cluster.admin(), 0..3000).await;
    let mark = cluster.audit().mark().await;
    let operator = Operator::start(&cluster, &[]).await;
    let known = |mapping: &IdentityMapping| !fleet::ready(mapping).is_empty();
    let before = mappings(&cluster, "all have a status", |all| all.iter().all(known)).await;
    assert_eq!(writes(&cluster, mark).await, 1);
    let fitting = assert_full(&aws_auth(&cluster).await, &before);

    // Room is made, and those who waited longest take it.
    let mark = cluster.audit().mark().await;
    let oldest: Vec<usize> = by_age(&before).into_iter().take(20).collect();
    for number in &oldest {
        fleet::delete(&cluster.admin(), *number..number + 1).await;
    }
    let after = mappings(&cluster, "the room is taken", |all| {
        let fit = all
            .iter()
            .filter(|mapping| fleet::ready(mapping) == "True InEffect");
        all.len() == 2980 && fit.count() == fitting
    })
    .await;
    assert_full(&aws_auth(&cluster).await, &after);
    assert!(writes(&cluster, mark).await <= 20);
    operator.stop().await;
}

/// The numbers of mappings, oldest first.
fn by_age(mappings: &[IdentityMapping]) -> Vec<usize> {
    let mut all: Vec<_> = mappings.iter().collect();
    all.sort_by_key(|mapping| (mapping.creation_timestamp(), mapping.name_any()));
    let number =
        |mapping: &IdentityMapping| mapping.name_any()["mapping-".len()..].parse().unwrap();
    all.into_iter().map(number).collect()
}

/// As many stand as there is room for marks, the oldest ones; returns how many.
fn assert_full(object: &ConfigMap, mappings: &[IdentityMapping]) -> usize {
    let (fit, refused): (Vec<_>, Vec<_>) = mappings
        .iter()
        .partition(|mapping| fleet::ready(mapping) == "True InEffect");
    let refused_as_full =
        |mapping: &&&IdentityMapping| fleet::ready(mapping) == "False ConfigMapFull";
    assert_eq!(
        refused.iter().filter(refused_as_full).count(),
        refused.len()
    );
    let oldest: BTreeSet<usize> = by_age(mappings).into_iter().take(fit.len()).collect();
    assert_stands(object, &oldest);
    let annotations = object.annotations().iter();
    let bytes: usize = annotations
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let free = ANNOTATIONS_LIMIT - bytes;
    assert!(free < 26, "{free} bytes of annotations are free");
    fit.len()
}

/// Six pages of mappings, or as many mappings as `MAPPINGS` says. A page is read, let go of and forgotten before the next, so thirty
/// pages differ from six in time alone.
fn release_count() -> usize {
    let count = std::env::var("MAPPINGS").ok();
    count.map_or(600, |count| count.parse().expect("a number of mappings"))
}

/// What still says that something is ours.
async fn held(cluster: &Cluster) -> usize {
    let all = fleet::list(&cluster.admin()).await;
    let holds = |mapping: &&IdentityMapping| {
        let written = mapping
            .status
            .as_ref()
            .is_some_and(|status| !status.written.is_empty());
        written || !mapping.finalizers().is_empty()
    };
    all.iter().filter(holds).count()
}

fn release(kubeconfig: &Path) -> Command {
    let mut command = Command::new(operator_binary());
    command
        .args(["release", "--yes", "--kubeconfig"])
        .arg(kubeconfig);
    command
}

/// A list of all mappings takes longer than the operator gives any call.
#[tokio::test]
async fn a_release_continues_where_it_ended_and_nothing_comes_back() {
    let count = release_count();
    let cluster = Cluster::with_operator_rights().await;
    seed(&cluster, BTreeMap::new()).await;
    let slow = Quality::Slow {
        bytes_per_second: 200_000,
        latency: Duration::from_millis(10),
    };
    let link = Link::to(&cluster, slow).await;
    let of_operator = link.kubeconfig(&cluster, &cluster.operator_kubeconfig().await);
    let mut operator = Operator::spawn_program(&cluster, &operator_binary(), &[], &of_operator);
    operator.wait_ready().await.unwrap();
    fleet::create(&cluster.admin(), 0..count).await;
    // Statuses are being written, and more of them wait.
    mappings(&cluster, "some are ready", |all| {
        all.iter()
            .filter(|mapping| fleet::ready(mapping) == "True InEffect")
            .count()
            >= count / 6
    })
    .await;

    let of_admin = link.kubeconfig(&cluster, cluster.admin_kubeconfig());
    let mut first = release(&of_admin).spawn().unwrap();
    eventually("some are let go of", fleet::LONG, async || {
        let all = fleet::list(&cluster.admin()).await;
        let free = all
            .iter()
            .filter(|mapping| mapping.finalizers().is_empty())
            .count();
        if free >= count / 6 { Ok(()) } else { Err(free) }
    })
    .await;
    first.kill().unwrap();
    assert!(!first.wait().unwrap().success());
    assert!(held(&cluster).await > 0, "it was killed on its way");

    let second = tokio::process::Command::from(release(&of_admin))
        .output()
        .await
        .unwrap();
    assert!(second.status.success(), "{second:?}");
    assert_eq!(held(&cluster).await, 0);
    let (status, _) = operator.stop().await;
    assert!(status.success());
    assert_eq!(
        held(&cluster).await,
        0,
        "what had waited to be sent came back"
    );
    let all = fleet::list(&cluster.admin()).await;
    assert_eq!(all.len(), count);
    let marks = aws_auth(&cluster)
        .await
        .metadata
        .annotations
        .unwrap_or_default();
    assert!(!marks.contains_key(MARK_ANNOTATION), "{marks:?}");
}
