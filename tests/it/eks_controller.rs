//! The loop's side of EKS: which calls go first, what the end of the process waits for, what metrics show.

use std::time::Duration;

use serde_json::json;

use crate::support::eks::{Call, Eks, Mark, Mode, World};
use crate::support::{Cluster, Operator, eventually};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
const PATIENT: Duration = Duration::from_mins(2);

/// A control plane, and AWS with it as its cluster.
async fn stage(mode: Mode) -> (Cluster, Eks) {
    let cluster = Cluster::with_operator_rights().await;
    let world = World::new(CLUSTER)
        .mode(mode)
        .api_server(&cluster.authority(), cluster.url());
    let eks = Eks::start(world).await;
    (cluster, eks)
}

/// The principals whose entries were made, in order.
fn made(eks: &Eks) -> Vec<String> {
    let log = eks.log();
    let calls = log.all().iter();
    let creates = calls.filter(|call: &&Call| call.operation == "CreateAccessEntry");
    creates.filter_map(|call| call.principal.clone()).collect()
}

async fn until_made(eks: &Eks, what: &str, enough: impl Fn(&[String]) -> bool) {
    eventually(what, PATIENT, async || {
        let made = made(eks);
        if enough(&made) { Ok(()) } else { Err(made) }
    })
    .await;
}

/// An entry without its policies is less than was declared: the end waits for the rest of what was begun.
#[tokio::test]
async fn an_entry_that_was_begun_is_made_whole_before_the_end() {
    let (cluster, eks) = stage(Mode::Api).await;
    let arn = eks.world().role("111122223333", "/", "dev").arn;
    // One call in two seconds: the end is asked for in between.
    let operator = Operator::start_in(&cluster, &eks, &["--eks-rate=0.5"]).await;
    let policies =
        json!([{ "policy": "AmazonEKSViewPolicy" }, { "policy": "AmazonEKSEditPolicy" }]);
    let spec = json!({ "accessPolicies": policies });
    cluster.declare("dev", spec).await;
    until_made(&eks, "the entry is made", |made| !made.is_empty()).await;
    let (status, took) = operator.stop().await;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    let world = eks.world();
    let entry = &world.cluster.entries[&arn];
    assert_eq!(entry.policies.len(), 2, "{entry:?}");
}

/// One change waits neither for a burst of others nor for what is described in turn.
#[tokio::test]
async fn a_single_change_has_priority_over_a_burst() {
    const BURST: usize = 60;
    let (cluster, eks) = stage(Mode::Api).await;
    for number in 0..BURST {
        let name = format!("burst-{number:02}");
        eks.world().role("111122223333", "/", &name);
        cluster.declare(&name, json!({})).await;
    }
    let lone = eks.world().role("111122223333", "/", "lone").arn;
    let _operator = Operator::start_in(&cluster, &eks, &["--eks-rate=4"]).await;
    until_made(&eks, "the burst has begun", |made| made.len() >= 3).await;
    cluster.declare("lone", json!({})).await;
    until_made(&eks, "all are made", |made| made.len() > BURST).await;
    let made = made(&eks);
    assert_eq!(made.len(), BURST + 1, "none twice: {made:?}");
    let place = made.iter().position(|arn| *arn == lone).unwrap();
    assert!(place < BURST / 2, "the {place}th of {made:?}");
    cluster.ready("lone").await;
}

/// What stands in EKS, how it is asked, and in which mode, in numbers.
#[tokio::test]
async fn metrics_tell_of_eks() {
    let (cluster, eks) = stage(Mode::ApiAndConfigMap).await;
    eks.world().role("111122223333", "/", "dev");
    let foreign = eks.world().role("111122223333", "/", "foreign").arn;
    let by_hand = eks.by_hand("CreateAccessEntry", json!({ "principalArn": foreign }));
    assert!(by_hand.is_ok(), "{by_hand:?}");
    let operator = Operator::start_in(&cluster, &eks, &[]).await;
    cluster.declare("dev", json!({})).await;
    cluster.ready("dev").await;
    let standing = eks.world().cluster.entries.len();
    let described = standing.to_string().parse::<f64>().unwrap();
    eventually("all entries are described", PATIENT, async || {
        let text = operator.metrics().await;
        let number = |state| {
            let name = "identity_mapper_access_entries";
            Operator::metric(&text, name, &[("state", state)])
        };
        let numbers = [number("known"), number("described"), number("managed")];
        if numbers == [Some(described), Some(described), Some(1.0)] {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    let text = operator.metrics().await;
    let metric = |name: &str, labels: &[(&str, &str)]| {
        Operator::metric(&text, &format!("identity_mapper_{name}"), labels)
    };
    let mode = |mode| metric("authentication_mode", &[("mode", mode)]);
    assert_eq!(mode("API_AND_CONFIG_MAP"), Some(1.0));
    assert_eq!([mode("CONFIG_MAP"), mode("API")], [Some(0.0); 2]);
    assert_eq!(metric("eks_reachable", &[]), Some(1.0));
    assert_eq!(metric("eks_call_rate", &[]), Some(10.0));
    for name in [
        "authentication_mode_read_timestamp_seconds",
        "access_entries_listed_timestamp_seconds",
    ] {
        assert!(metric(name, &[]) > Some(1e9), "{name}: {text}");
    }
    // As the server counts them.
    let counts = eks.log().counts(Mark::START);
    let shown = |operation: &str| {
        metric(
            "eks_calls_total",
            &[("operation", operation), ("outcome", "ok")],
        )
    };
    for operation in ["CreateAccessEntry", "ListAccessEntries", "DescribeCluster"] {
        let count = counts[operation].to_string().parse::<f64>().unwrap();
        assert_eq!(shown(operation), Some(count), "{operation}: {text}");
    }
}
