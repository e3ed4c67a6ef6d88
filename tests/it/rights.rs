//! The operator's rules are exactly what it asks the API server for, by the API server's own log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::eks::{Eks, Mode, World};
use crate::support::mappings::SOON;
use crate::support::operator::ELECTED;
use crate::support::rights::{CLUSTER_SCOPED, NAMESPACE, Rules};
use crate::support::{Audit, Cluster, Operator, Record, eventually};

/// Resources that every user may ask about itself.
const OF_EVERYONE: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    namespace: &'static str,
    group: String,
    resource: String,
    verb: String,
    name: Option<String>,
}

impl Right {
    fn covers(&self, record: &Record) -> bool {
        self.namespace == record.namespace()
            && self.group == record.group()
            && self.resource == record.resource()
            && self.verb == record.verb
            && (self.name.is_none() || self.name.as_deref() == record.name())
    }
}

fn rights(namespace: &'static str, rules: &[PolicyRule]) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in rules {
        let names = match rule.resource_names.as_deref() {
            None | Some([]) => vec![None],
            Some(names) => names.iter().cloned().map(Some).collect(),
        };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.extend(names.iter().map(|name| Right {
                        namespace,
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
    }
    rights
}

/// What the chart's rules give.
fn given() -> BTreeSet<Right> {
    let rules = Rules::read("aws-auth");
    [
        rights("", &rules.cluster),
        rights("kube-system", &rules.config_map),
        rights("kube-system", &rules.events),
        rights(CLUSTER_SCOPED, &rules.events),
        rights(NAMESPACE, &rules.leader_election),
    ]
    .concat()
    .into_iter()
    .collect()
}

/// Those that no request so far has used.
async fn unused(audit: &Audit) -> BTreeSet<Right> {
    let records = audit.all().by(Audit::OPERATOR).records().await;
    let mut unused = given();
    unused.retain(|right| !records.iter().any(|record| right.covers(record)));
    unused
}

/// Waits until the first mapping's entry is in aws-auth again.
async fn restored(cluster: &Cluster) {
    let config_maps = cluster.config_maps();
    eventually("the entry is there again", SOON, async || {
        let found = config_maps.get_opt("aws-auth").await.unwrap();
        let roles = found.and_then(|it| it.data?.remove("mapRoles"));
        match roles {
            Some(roles) if roles.contains("role/first") => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn each_rule_is_used_and_nothing_else_is_asked_for() {
    let cluster = Cluster::with_operator_rights().await;
    let audit = cluster.audit();
    let operator = Operator::start(&cluster, &[&ELECTED[..], &["--resync=24h"]].concat()).await;

    // Neither aws-auth nor its history is there at first.
    cluster.establish("first", json!({})).await;
    // A deletion asks for the definition, and one that is held is an event on the mapping.
    cluster
        .establish("workers", json!({"type": "EC2Linux", "groups": []}))
        .await;
    cluster.delete("workers").await;
    cluster.note("RemovalNeedsConfirmation", "workers").await;
    // A text that does not parse is an event on aws-auth.
    let broken = format!("{}\n- rolearn: @someone\n", cluster.roles().await);
    cluster
        .write_text("kubectl-edit", "mapRoles", &broken)
        .await;
    cluster.note("InvalidYAMLRepaired", "aws-auth").await;

    // The same again is counted on the event before, on either object.
    for _ in 0..2 {
        let config_maps = cluster.config_maps();
        config_maps
            .delete("aws-auth", &DeleteParams::default())
            .await
            .unwrap();
        restored(&cluster).await;
        cluster.write_text("kubectl-edit", "mapRoles", "[]\n").await;
        restored(&cluster).await;
    }

    // What somebody else writes at the same moment is read again: it takes a few attempts to be as fast.
    let started = Instant::now();
    for round in 0.. {
        let missing = unused(&audit).await;
        if missing.iter().all(|right| right.verb == "watch") {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_mins(2),
            "never asked for: {missing:#?}"
        );
        let name = format!("contended-{round}");
        cluster.declare(&name, json!({})).await;
        let others = async {
            for turn in 0..8 {
                let finalizer = format!("example.com/{turn}");
                let others = json!({"metadata": {"finalizers": [finalizer]}});
                cluster.change(&name, others).await;
            }
        };
        let text = format!("# {round}\n[]\n");
        futures::join!(others, cluster.write_text("somebody", "mapUsers", &text));
        let none = json!({"metadata": {"finalizers": ["identity-mapper.dev/revoke"]}});
        cluster.change(&name, none).await;
    }

    // A watch is in the log once it ends.
    operator.stop().await;
    eventually("all rights are used", SOON, async || {
        let missing = unused(&audit).await;
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing)
        }
    })
    .await;
    assert_only_given(&audit).await;
}

/// The rules are the same in each mode. What access entries add to the requests is covered by them.
#[tokio::test]
async fn nothing_else_is_asked_for_where_eks_has_access_entries() {
    for mode in [Mode::ApiAndConfigMap, Mode::Api] {
        let cluster = Cluster::with_operator_rights().await;
        let audit = cluster.audit();
        let world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
            .mode(mode)
            .api_server(&cluster.authority(), cluster.url());
        let eks = Eks::start(world).await;
        for role in ["dev", "nodes"] {
            eks.world().role("111122223333", "/", role);
        }
        let operator = Operator::start_in(&cluster, &eks, &ELECTED).await;
        cluster.declare("dev", json!({})).await;
        cluster.ready("dev").await;
        let nodes = json!({ "type": "EC2Linux", "groups": [] });
        cluster.declare("nodes", nodes).await;
        cluster.ready("nodes").await;
        cluster.delete("nodes").await;
        cluster.note("RemovalNeedsConfirmation", "nodes").await;
        cluster.delete("dev").await;
        cluster.gone("dev").await;
        operator.stop().await;
        assert_only_given(&audit).await;
    }
}

/// No request is refused, and each is one that the rules name.
async fn assert_only_given(audit: &Audit) {
    let given = given();
    let records = audit.all().by(Audit::OPERATOR).records().await;
    assert!(!records.is_empty());
    for record in records {
        assert_ne!(record.code(), 403, "{record:?}");
        let covered = given.iter().any(|right| right.covers(&record));
        // Discovery names no resource.
        let everyone = record.resource().is_empty() || OF_EVERYONE.contains(&record.group());
        assert!(covered || everyone, "{record:?}");
    }
}
