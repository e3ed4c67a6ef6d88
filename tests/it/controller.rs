//! The loop against a real API server: what it writes, how often, and what it leaves alone.

use std::process::Command;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use identity_mapper::api::IdentityMapping;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::programs::operator_binary;
use crate::support::{Audit, Cluster, Operator, eventually, rights};

const SOON: Duration = Duration::from_secs(10);
/// For hundreds of objects on a busy machine.
const LATER: Duration = Duration::from_mins(2);
/// Enough for statuses and finalizers to take seconds.
const MANY: usize = 400;

/// What stands in aws-auth before the operator comes: a node role, by hand.
const FOREIGN: &str = "\
# by hand
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// Denies every change of aws-auth.
const FREEZE: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: freeze}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [configmaps], resourceNames: [aws-auth]}
  validations:
  - {expression: "false", message: "change freeze until Monday"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: freeze}
spec: {policyName: freeze, validationActions: [Deny]}
"#;

fn config_maps(cluster: &Cluster) -> Api<ConfigMap> {
    Api::namespaced(cluster.admin(), "kube-system")
}

fn mappings(cluster: &Cluster) -> Api<IdentityMapping> {
    Api::all(cluster.admin())
}

fn mapping(name: &str) -> IdentityMapping {
    let principal = json!({ "arn": format!("arn:aws:iam::111122223333:role/{name}") });
    serde_json::from_value(json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
        "metadata": { "name": name },
        "spec": { "principal": principal, "groups": ["team"] },
    }))
    .unwrap()
}

async fn create(cluster: &Cluster, name: &str) {
    let object = mapping(name);
    mappings(cluster)
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
}

async fn create_many(cluster: &Cluster) {
    let create = |number: usize| async move { create(cluster, &format!("r{number}")).await };
    stream::iter(0..MANY).for_each_concurrent(16, create).await;
}

/// A cluster whose aws-auth has a node role.
async fn seeded() -> Cluster {
    let cluster = Cluster::with_operator_rights().await;
    let object = json!({ "metadata": { "name": "aws-auth" }, "data": { "mapRoles": FOREIGN } });
    let object = serde_json::from_value(object).unwrap();
    config_maps(&cluster)
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    cluster
}

async fn roles(cluster: &Cluster) -> String {
    let object = config_maps(cluster).get("aws-auth").await.unwrap();
    object.data.unwrap().remove("mapRoles").unwrap()
}

async fn vandalise(cluster: &Cluster) {
    let patch = Patch::Merge(json!({ "data": { "mapRoles": FOREIGN } }));
    config_maps(cluster)
        .patch("aws-auth", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Waits until aws-auth has an entry of this role, or has none.
async fn has_entry(cluster: &Cluster, name: &str, expected: bool) {
    let arn = format!("arn:aws:iam::111122223333:role/{name}\"");
    eventually("the entry is as expected", LATER, async || {
        let text = roles(cluster).await;
        if text.contains(&arn) == expected {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
}

fn is_ready(mapping: &IdentityMapping) -> bool {
    let status = serde_json::to_value(&mapping.status).unwrap();
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions
        .iter()
        .any(|condition: &Value| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Waits until so many mappings are there and all of them are ready.
async fn all_ready(cluster: &Cluster, count: usize) {
    eventually("every mapping is ready", LATER, async || {
        let list = mappings(cluster).list(&ListParams::default()).await;
        let items = list.unwrap().items;
        let ready = items.iter().filter(|mapping| is_ready(mapping)).count();
        if (items.len(), ready) == (count, count) {
            Ok(())
        } else {
            Err(format!("{ready} of {}", items.len()))
        }
    })
    .await;
}

#[tokio::test]
async fn a_mapping_comes_stays_and_goes() {
    let cluster = seeded().await;
    let operator = Operator::start(&cluster, &[]).await;
    let audit = cluster.audit();
    let mark = audit.mark().await;

    create(&cluster, "a").await;
    has_entry(&cluster, "a", true).await;
    all_ready(&cluster, 1).await;
    assert!(roles(&cluster).await.starts_with(FOREIGN));

    vandalise(&cluster).await;
    has_entry(&cluster, "a", true).await;

    let api = mappings(&cluster);
    api.delete("a", &DeleteParams::default()).await.unwrap();
    eventually("the object is gone", SOON, async || {
        let object = api.get_opt("a").await.unwrap();
        object.map_or(Ok(()), Err)
    })
    .await;
    assert_eq!(roles(&cluster).await, FOREIGN);

    let writes = audit.writes("configmaps").of("aws-auth");
    let writes = writes.by(Audit::OPERATOR).since(mark).count().await;
    assert_eq!(writes, 3, "one each for creation, repair and deletion");
    let metrics = operator.metrics().await;
    let written = Operator::metric(
        &metrics,
        "identity_mapper_writes_total",
        &[("result", "written")],
    );
    assert_eq!(written, Some(3.0));
    let (status, duration) = operator.stop().await;
    assert!(
        status.success() && duration < Duration::from_secs(1),
        "{status} after {duration:?}"
    );
}

#[tokio::test]
async fn mappings_that_are_there_at_the_start_cost_one_write() {
    let cluster = seeded().await;
    create_many(&cluster).await;
    let audit = cluster.audit();
    let mark = audit.mark().await;
    let _operator = Operator::start(&cluster, &[]).await;
    all_ready(&cluster, MANY).await;
    let writes = audit.writes("configmaps").of("aws-auth");
    assert_eq!(writes.by(Audit::OPERATOR).since(mark).count().await, 1);
    let statuses = audit.writes("identitymappings/status");
    let statuses = statuses.by(Audit::OPERATOR).since(mark).count().await;
    assert_eq!(statuses, MANY, "one for each mapping");
}

#[tokio::test]
async fn a_burst_costs_few_writes() {
    let cluster = seeded().await;
    let _operator = Operator::start(&cluster, &[]).await;
    let audit = cluster.audit();
    let mark = audit.mark().await;
    let begun = Instant::now();
    create_many(&cluster).await;
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    all_ready(&cluster, MANY).await;
    let writes = audit.writes("configmaps").of("aws-auth");
    let writes = writes.by(Audit::OPERATOR).since(mark).count().await;
    assert!(
        (1..=5 + seconds).contains(&writes),
        "{writes} writes in {seconds} s"
    );
}

#[tokio::test]
async fn drift_is_repaired_while_statuses_wait() {
    let cluster = seeded().await;
    create_many(&cluster).await;
    let _operator = Operator::start(&cluster, &[]).await;
    has_entry(&cluster, "r0", true).await;
    let text = roles(&cluster).await;
    vandalise(&cluster).await;
    eventually("the entries are back", SOON, async || {
        let found = roles(&cluster).await;
        if found == text { Ok(()) } else { Err(found) }
    })
    .await;
    let items = mappings(&cluster)
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert!(
        items.iter().any(|mapping| !is_ready(mapping)),
        "the statuses were not done before the repair"
    );
    all_ready(&cluster, MANY).await;
}

#[tokio::test]
async fn nothing_is_done_before_the_definition_is_there() {
    let cluster = Cluster::start().await;
    rights::grant(&cluster.admin(), "kube-system", "aws-auth").await;
    let mut operator = Operator::spawn(&cluster, &[]).await;
    eventually("the log names the mend", SOON, async || {
        let log = operator.log();
        if log.contains("is not installed") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    assert_eq!(operator.probe("/readyz").await, 503);
    assert_eq!(operator.probe("/livez").await, 200);
    rights::install_definitions(&cluster.admin()).await;
    operator.wait_ready().await.unwrap();
}

#[tokio::test]
async fn a_denied_write_is_told_in_the_denials_own_words() {
    let cluster = seeded().await;
    let operator = Operator::start(&cluster, &[]).await;
    let applied = cluster.kubectl(&["apply", "-f", "-"], Some(FREEZE));
    assert!(applied.status.success(), "{applied:?}");
    eventually("the policy is in force", SOON, async || {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
        let dry_run = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let api = config_maps(&cluster);
        match api.patch("aws-auth", &dry_run, &patch).await {
            Err(_) => Ok(()),
            Ok(object) => Err(object),
        }
    })
    .await;

    create(&cluster, "a").await;
    eventually("the status has the words", SOON, async || {
        let status = mappings(&cluster).get("a").await.unwrap().status;
        let text = serde_json::to_string(&status).unwrap();
        if text.contains("change freeze until Monday") {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    let metrics = operator.metrics().await;
    let denied = Operator::metric(
        &metrics,
        "identity_mapper_writes_total",
        &[("result", "denied")],
    );
    assert!(denied >= Some(1.0), "{metrics}");

    let binding = "validatingadmissionpolicybinding";
    let deleted = cluster.kubectl(&["delete", binding, "freeze"], None);
    assert!(deleted.status.success(), "{deleted:?}");
    has_entry(&cluster, "a", true).await;
    all_ready(&cluster, 1).await;
}

#[tokio::test]
async fn release_leaves_all_access_and_may_be_run_again() {
    let cluster = seeded().await;
    for name in ["a", "b", "c"] {
        create(&cluster, name).await;
    }
    let operator = Operator::start(&cluster, &[]).await;
    all_ready(&cluster, 3).await;
    let text = roles(&cluster).await;
    let release = || {
        let mut command = Command::new(operator_binary());
        let kubeconfig = cluster.admin_kubeconfig();
        command
            .args(["release", "--yes", "--kubeconfig"])
            .arg(kubeconfig);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = release();
    assert!(
        first.contains("3 statuses cleared, 3 finalizers removed"),
        "{first}"
    );
    eventually("the operator has seen it", SOON, async || {
        let metrics = operator.metrics().await;
        match Operator::metric(&metrics, "identity_mapper_released", &[]) {
            Some(1.0) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let second = release();
    assert!(second.contains("it has no mark"), "{second}");

    let api = mappings(&cluster);
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(
        api.get_opt("a").await.unwrap().is_none(),
        "no finalizer holds it"
    );
    let (status, _) = operator.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(roles(&cluster).await, text);
}
