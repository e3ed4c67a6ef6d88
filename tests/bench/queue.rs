//! How much memory whoever may send to the queue can make the operator take.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::live::{megabytes, memory};
use crate::support::eks::{Eks, Mode, World};
use crate::support::{Cluster, Operator, eventually, fleet};
use crate::table::Table;

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/bench";
const MAPPINGS: usize = 100;

/// Principals that no mapping names and no listing has.
const STRANGERS: usize = 10_000;
/// Events about a declared principal by a caller whose name nearly fills a message of SQS.
const LONG_NAMES: usize = 400;
const LONG: usize = 240_000;

/// Measures and prints.
pub(crate) async fn run() {
    let cluster = Cluster::with_operator_rights().await;
    let aws_auth = fleet::aws_auth(BTreeMap::new());
    Api::<ConfigMap>::namespaced(cluster.admin(), "kube-system")
        .create(&PostParams::default(), &aws_auth)
        .await
        .expect("aws-auth is made");
    let mut world = World::new(CLUSTER)
        .mode(Mode::Api)
        .api_server(&cluster.authority(), cluster.url());
    for number in 0..MAPPINGS {
        let path = "/aws-reserved/sso.amazonaws.com/eu-west-1/";
        world.role("111122223333", path, &fleet::role(number));
    }
    world.attach_queue("events");
    let eks = Eks::start(world).await;
    let queue = format!("--queue-url={}", eks.queue_url());
    let operator = Operator::start_in(&cluster, &eks, &[&queue]).await;
    fleet::create(&cluster.admin(), 0..MAPPINGS).await;
    fleet::until_ready(&cluster.admin(), MAPPINGS).await;
    drained(&eks).await;

    let mut table = Table::default();
    let before = memory(&operator, "VmHWM");
    let mut row = |what: &str| {
        let most = memory(&operator, "VmHWM");
        let tenths = most * 10 / before.max(1);
        let times = format!("{}.{}", tenths / 10, tenths % 10);
        table.row(what, format!("{}, {times} times", megabytes(most)));
    };
    row("before: 100 mappings, the most so far");
    for number in 0..STRANGERS {
        let principal = format!("arn:aws:iam::111122223333:role/stranger-{number}");
        eks.send_message(event(&principal, "arn:aws:iam::111122223333:user/mallory"));
    }
    drained(&eks).await;
    row("10,000 events on principals that nobody declared");
    let path = "aws-reserved/sso.amazonaws.com/eu-west-1";
    let declared = format!("arn:aws:iam::111122223333:role/{path}/{}", fleet::role(0));
    for number in 0..LONG_NAMES {
        let caller = format!(
            "arn:aws:iam::111122223333:user/{number}-{}",
            "x".repeat(LONG)
        );
        eks.send_message(event(&declared, &caller));
    }
    drained(&eks).await;
    row("400 events by callers with names of 240 kB");
    operator.stop().await;
    table.print("Memory under a hostile queue");
}

/// Waits until the operator has taken every message.
async fn drained(eks: &Eks) {
    eventually("the queue is empty", fleet::LONG, async || {
        match eks.messages() {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

fn event(principal: &str, caller: &str) -> String {
    let principal = principal.replace(':', "%3A").replace('/', "%2F");
    json!({
        "version": "0",
        "id": "0",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.eks",
        "account": "111122223333",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "eventSource": "eks.amazonaws.com",
            "eventName": "UpdateAccessEntry",
            "eventTime": "2026-01-01T00:00:00Z",
            "awsRegion": "eu-west-1",
            "recipientAccountId": "111122223333",
            "userIdentity": { "type": "IAMUser", "arn": caller },
            "requestParameters": { "name": "bench", "principalArn": principal },
            "responseElements": null,
        },
    })
    .to_string()
}
