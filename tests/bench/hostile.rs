//! How much memory others can make the operator take: any Pod by its HTTP server, whoever administers a namespace by bindings.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::live::{megabytes, memory};
use crate::support::{Cluster, Operator, eventually, fleet};
use crate::table::Table;

/// What took 302 MB before there was a limit.
const CONNECTIONS: usize = 700;
const HEADERS: usize = 360_000;

/// The most that a kernel of its defaults lets one address open at once is some 28,000.
const HALF_OPEN: usize = 16_000;

const MAPPINGS: usize = 100;

/// Bindings of a megabyte each, as the API server takes them.
const BINDINGS: usize = 100;
const SUBJECTS: usize = 13_000;

/// The operator's memory, at its start and since.
struct Gauge<'a> {
    operator: &'a Operator,
    before: u64,
}

impl Gauge<'_> {
    /// The most that it ever was, and in relation to what it was before.
    fn row(&self, table: &mut Table, what: &str) {
        let most = memory(self.operator, "VmHWM");
        let tenths = most * 10 / self.before.max(1);
        let times = format!("{}.{}", tenths / 10, tenths % 10);
        table.row(what, format!("{}, {times} times", megabytes(most)));
    }
}

/// Measures and prints.
pub(crate) async fn run() {
    let cluster = Cluster::with_operator_rights().await;
    let aws_auth = fleet::aws_auth(BTreeMap::new());
    Api::<ConfigMap>::namespaced(cluster.admin(), "kube-system")
        .create(&PostParams::default(), &aws_auth)
        .await
        .expect("aws-auth is made");
    let operator = Operator::start(&cluster, &[]).await;
    fleet::create(&cluster.admin(), 0..MAPPINGS).await;
    fleet::until_ready(&cluster.admin(), MAPPINGS).await;
    let mut table = Table::default();
    let gauge = Gauge {
        operator: &operator,
        before: memory(&operator, "VmHWM"),
    };
    gauge.row(&mut table, "before: 100 mappings, the most so far");

    let [metrics, health] = operator.addresses();
    for address in [metrics, health] {
        large_heads(address).await;
    }
    gauge.row(
        &mut table,
        "700 connections with headers of 360 kB, to each port",
    );
    let held = half_open(health).await;
    answers(&operator).await;
    gauge.row(&mut table, "16,000 half-open connections");
    drop(held);

    large_bindings(&cluster).await;
    // A pass that comes later than their events.
    fleet::create(&cluster.admin(), MAPPINGS..MAPPINGS + 1).await;
    fleet::until_ready(&cluster.admin(), MAPPINGS + 1).await;
    gauge.row(&mut table, "100 RoleBindings of 1 MB, while they come");
    let before = gauge.before;
    operator.stop().await;

    let operator = Operator::start(&cluster, &[]).await;
    let gauge = Gauge {
        operator: &operator,
        before,
    };
    gauge.row(&mut table, "a start with 100 RoleBindings of 1 MB");
    operator.stop().await;
    table.print("Memory under hostile load");
}

async fn large_heads(address: SocketAddr) {
    let head = format!(
        "GET /metrics HTTP/1.1\r\nhost: x\r\n{}",
        format!("a: {}\r\n", "x".repeat(3_600)).repeat(HEADERS / 3_600)
    );
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // It may end while this is written: that is the point.
        let _ = stream.write_all(head.as_bytes()).await;
        open.push(stream);
    }
}

async fn half_open(address: SocketAddr) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..HALF_OPEN {
        match TcpStream::connect(address).await {
            Ok(mut stream) => {
                let _ = stream.write_all(b"GET /livez HTTP/1.1\r\n").await;
                open.push(stream);
            }
            Err(error) => panic!("{} are open: {error}", open.len()),
        }
    }
    open
}

async fn answers(operator: &Operator) {
    eventually("it answers all the same", fleet::LONG, async || {
        operator.probe("/readyz").await == 200
    })
    .await;
}

async fn large_bindings(cluster: &Cluster) {
    let api = Api::<RoleBinding>::namespaced(cluster.admin(), "default");
    let create = |number: usize| {
        let api = api.clone();
        async move {
            let subjects: Vec<_> = (0..SUBJECTS)
                .map(|subject| {
                    json!({
                        "apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                        "name": format!("{number}-{subject}"),
                    })
                })
                .collect();
            let binding = json!({
                "metadata": { "name": format!("large-{number}") },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none" },
                "subjects": subjects,
            });
            let binding = serde_json::from_value(binding).expect("a RoleBinding");
            let made = api.create(&PostParams::default(), &binding).await;
            made.expect("the API server takes it");
        }
    };
    stream::iter(0..BINDINGS)
        .for_each_concurrent(4, create)
        .await;
}
