//! `release` where access entries stand: tags go too, entries and access stay.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use identity_mapper::api::v1alpha1::MappingState;
use serde_json::json;

use crate::support::eks::Fault::{DroppedAfterEffect, ServerError, Throttled};
use crate::support::eks::{Eks, Entry, Mark, Mode, World};
use crate::support::mappings::role;
use crate::support::programs::operator_binary;
use crate::support::{Cluster, Operator};

const END: &str = "2099-01-01T00:00:00Z";
const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

/// AWS with the roles `a`, `b`, `c` and `theirs`, the last with an access entry that somebody tagged.
async fn aws(authority: &[u8], url: &str) -> Eks {
    let world = World::new(CLUSTER).mode(Mode::ApiAndConfigMap);
    let mut world = world.api_server(authority, url);
    for name in ["a", "b", "c", "theirs"] {
        world.role("111122223333", "/", name);
    }
    let eks = Eks::start(world).await;
    let theirs = json!({
        "principalArn": role("theirs"),
        "tags": {"team": "x", "identity-mapper.dev/installation": "kube-system/another"},
    });
    eks.by_hand("CreateAccessEntry", theirs)
        .expect("there is none yet");
    eks
}

fn release(cluster: &Cluster, eks: &Eks, args: &[&str]) -> Output {
    let mut command = Command::new(operator_binary());
    command
        .args(["release", "--yes", "--kubeconfig"])
        .arg(cluster.admin_kubeconfig())
        .args(args)
        .envs(eks.env());
    command.output().unwrap()
}

/// What it says on standard error, where it refuses or fails.
fn error(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn entries(eks: &Eks) -> BTreeMap<String, Entry> {
    let world = eks.world();
    let entries = world.cluster.entries.values();
    entries
        .map(|entry| (entry.principal_arn.clone(), Entry::clone(entry)))
        .collect()
}

fn tags(entry: &Entry) -> Vec<&str> {
    entry.tags.keys().map(String::as_str).collect()
}

/// Nothing says that anything was released, and everything is as it was.
async fn untouched(cluster: &Cluster, eks: &Eks, before: &BTreeMap<String, Entry>) {
    let history = cluster.config_maps().get("aws-auth-history").await.unwrap();
    let annotations = history.metadata.annotations.unwrap_or_default();
    assert!(
        !annotations.contains_key("identity-mapper.dev/released"),
        "{annotations:?}"
    );
    assert_eq!(entries(eks), *before);
    let mapping = cluster.mappings().get("a").await.unwrap();
    assert!(!mapping.status.unwrap().written.is_empty());
    assert!(mapping.metadata.finalizers.is_some());
}

/// Neither statuses nor commands say that anything is managed, or ends.
async fn nothing_is_said_to_be_enforced(cluster: &Cluster, eks: &Eks) {
    for name in ["a", "b", "c"] {
        let status = cluster.mappings().get(name).await.unwrap().status.unwrap();
        let said: Vec<_> = status
            .conditions
            .iter()
            .map(|it| (it.type_.as_str(), it.status.as_str(), it.reason.as_str()))
            .collect();
        assert_eq!(
            said,
            [("Synced", "False", "Released")],
            "{name}: nothing that Flux waits for"
        );
        assert_eq!(status.state, Some(MappingState::Released));
        assert_eq!(status.observed_generation, None);
    }
    for command in [&["access"][..], &["explain", &role("c")]] {
        let output = Command::new(operator_binary())
            .args(command)
            .args(["--cluster-name=main", "-o=json", "--kubeconfig"])
            .arg(cluster.admin_kubeconfig())
            .envs(eks.env())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("ownership was given up"),
            "{command:?}: {said}"
        );
        assert!(
            !said.contains(END),
            "{command:?}: no operator ends the access then: {said}"
        );
    }
}

#[tokio::test]
async fn release_takes_tags_off_entries_and_leaves_all_access() {
    let cluster = Cluster::seeded().await;
    let eks = aws(&cluster.authority(), cluster.url()).await;
    let operator = Operator::start_in(&cluster, &eks, &["--resync=24h"]).await;
    for name in ["a", "b"] {
        cluster.establish(name, json!({})).await;
    }
    cluster
        .establish("c", json!({"backend": "ConfigMap", "validUntil": END}))
        .await;
    let before = entries(&eks);
    assert_eq!(before.len(), 3, "{before:#?}");
    let ours = tags(&before[&role("a")]);
    assert!(
        ours.contains(&"identity-mapper.dev/installation")
            && ours.contains(&"identity-mapper.dev/mapping"),
        "{ours:?}"
    );
    let text = cluster.roles().await;

    // Tags would be forgotten.
    let said = error(&release(&cluster, &eks, &[]));
    assert!(
        said.contains("2 mappings have managed access entries")
            && said.contains("--cluster-name main"),
        "{said}"
    );
    untouched(&cluster, &eks, &before).await;

    // Another cluster of the same name.
    let other = Cluster::start().await;
    let elsewhere = aws(&other.authority(), other.url()).await;
    drop(other);
    let said = error(&release(&cluster, &elsewhere, &["--cluster-name=main"]));
    assert!(
        said.contains("nothing was changed") && said.contains("certificate authority"),
        "{said}"
    );
    untouched(&cluster, &eks, &before).await;

    // A right that lacks is named with the statement; what was begun can be ended.
    eks.knobs().deny("eks:UntagResource");
    let said = error(&release(&cluster, &eks, &["--cluster-name=main"]));
    assert!(
        said.contains("run the same command again") && said.contains("\"eks:UntagResource\""),
        "{said}"
    );
    assert!(operator.stop().await.0.success());
    eks.knobs().allow("eks:UntagResource");

    let mark = eks.log().mark();
    let output = release(&cluster, &eks, &["--cluster-name=main"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    for part in [
        "arn:aws:eks:eu-west-1:111122223333:cluster/main (API_AND_CONFIG_MAP)",
        "tags removed from 2 of 3",
        "3 statuses cleared, 3 finalizers removed",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let counts = eks.log().counts(mark);
    assert_eq!(counts["UntagResource"], 2, "{counts:?}");
    let after = entries(&eks);
    for (arn, entry) in &after {
        let mut expected = before[arn].clone();
        expected.tags.clone_from(&entry.tags);
        assert_eq!(*entry, expected, "only tags changed");
    }
    assert!(tags(&after[&role("a")]).is_empty() && tags(&after[&role("b")]).is_empty());
    assert_eq!(after[&role("theirs")].tags, before[&role("theirs")].tags);
    assert_eq!(cluster.roles().await, text);
    nothing_is_said_to_be_enforced(&cluster, &eks).await;
    let again = release(&cluster, &eks, &["--cluster-name=main"]);
    let said = String::from_utf8(again.stdout).unwrap();
    assert!(said.contains("removed from 0 of 3"), "{said}");

    // Nobody's: a deleted mapping leaves its entry, and a restart adopts what stands as declared.
    cluster.kubectl_ok(&["delete", "idmap", "a"], None);
    let _operator = Operator::start_in(&cluster, &eks, &["--resync=24h"]).await;
    cluster.managed_again("b").await;
    assert!(entries(&eks).contains_key(&role("a")));
    cluster.kubectl_ok(&["delete", "idmap", "b"], None);
    let left = entries(&eks);
    assert!(!left.contains_key(&role("b")), "{left:#?}");
    assert_eq!(left.len(), 2);
}

#[tokio::test]
async fn answers_that_are_lost_leave_no_tag_behind() {
    let cluster = Cluster::seeded().await;
    let eks = aws(&cluster.authority(), cluster.url()).await;
    let operator = Operator::start_in(&cluster, &eks, &["--resync=24h"]).await;
    for name in ["a", "b", "c"] {
        cluster.establish(name, json!({})).await;
    }
    assert!(operator.stop().await.0.success());
    {
        let mut knobs = eks.knobs();
        knobs.script("UntagResource", DroppedAfterEffect);
        knobs.script("UntagResource", ServerError);
        knobs.script("UntagResource", Throttled);
        knobs.script("DescribeAccessEntry", DroppedAfterEffect);
    }
    let output = release(&cluster, &eks, &["--cluster-name=main"]);
    assert!(output.status.success(), "{output:?}");
    for name in ["a", "b", "c"] {
        assert!(tags(&entries(&eks)[&role(name)]).is_empty(), "{name}");
    }
    assert!(eks.log().count("UntagResource", Mark::START) >= 4);
}
