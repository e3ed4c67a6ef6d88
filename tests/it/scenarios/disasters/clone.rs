//! What belongs to one cluster comes to another: a backup, or a command by a person.

use std::collections::BTreeMap;

use identity_mapper::api::IdentityMapping;
use identity_mapper::observed::CLUSTER_ANNOTATION;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cli::Run;
use crate::scenarios::entries::stage::{ACCOUNT, CLUSTER, NO_TIMER, Stage};
use crate::support::Cluster;
use crate::support::eks::Mode;
use crate::support::fleet;
use crate::support::mappings::{FOREIGN, role};

/// A cluster of the same name in another region.
const CLONE: &str = "arn:aws:eks:us-east-1:111122223333:cluster/test";

/// What a tool such as Velero keeps of a cluster, with the statuses.
struct Backup {
    mappings: Vec<IdentityMapping>,
    config_maps: Vec<ConfigMap>,
}

/// What a restore gives back of an object's metadata.
fn kept(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        annotations: metadata.annotations,
        labels: metadata.labels,
        finalizers: metadata.finalizers,
        ..ObjectMeta::default()
    }
}

impl Backup {
    async fn of(cluster: &Cluster) -> Self {
        let mut config_maps = Vec::new();
        for name in ["aws-auth", "aws-auth-history"] {
            config_maps.push(cluster.config_maps().get(name).await.unwrap());
        }
        Self {
            mappings: fleet::list(&cluster.admin()).await,
            config_maps,
        }
    }

    /// All but the mappings of these names.
    async fn restore(&self, cluster: &Cluster, without: &[&str]) {
        let params = PostParams::default();
        for config_map in &self.config_maps {
            let mut object = config_map.clone();
            object.metadata = kept(object.metadata);
            let made = cluster.config_maps().create(&params, &object).await;
            made.unwrap();
        }
        for mapping in &self.mappings {
            if without.contains(&mapping.name_any().as_str()) {
                continue;
            }
            let mut object = mapping.clone();
            object.metadata = kept(object.metadata);
            let mappings = cluster.mappings();
            mappings.create(&params, &object).await.unwrap();
            let (name, params) = (mapping.name_any(), PatchParams::default());
            let status = Patch::Merge(json!({ "status": mapping.status }));
            let restored = mappings.patch_status(&name, &params, &status).await;
            restored.unwrap();
        }
    }
}

async fn record(cluster: &Cluster) -> String {
    let history = cluster.config_maps().get("aws-auth-history").await.unwrap();
    history.annotations()[CLUSTER_ANNOTATION].clone()
}

/// A cluster with a mapping in each backend, and one whose mapping is lost; then its clone, which has an access entry of its own.
async fn cloned(mode: Mode) -> (Stage, Stage, String) {
    let mut original = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    let text = json!({ "backend": "ConfigMap" });
    original.establish("text", text.clone()).await;
    original.establish("lost", text).await;
    let entry = json!({ "accessPolicies": [{ "policy": "AmazonEKSViewPolicy" }] });
    original.establish("entry", entry).await;
    original.stop().await;
    let backup = Backup::of(&original.cluster).await;

    let cluster = Cluster::with_operator_rights().await;
    let clone = Stage::of(cluster, CLONE, mode).await;
    backup.restore(&clone.cluster, &["lost"]).await;
    assert!(record(&clone.cluster).await.contains(CLUSTER));
    for name in ["text", "lost", "entry", "own"] {
        clone.role(name);
    }
    let own = role("own");
    if mode != Mode::ConfigMap {
        clone.made_by_hand(&own, &["team"]);
    }
    (original, clone, own)
}

/// Of a clone the operator makes what its mappings declare, and takes away nothing.
#[tokio::test]
async fn a_backup_comes_to_another_cluster_of_the_same_name() {
    let (original, mut clone, own) = cloned(Mode::ApiAndConfigMap).await;
    let (before, roles) = (clone.entries(), clone.cluster.roles().await);
    let untouched = (original.mark(), original.entries());

    clone.start(&NO_TIMER).await;
    clone.cluster.ready("text").await;
    clone.cluster.ready("entry").await;
    let note = clone.cluster.note("ClusterChanged", "aws-auth").await;
    assert!(note.contains(CLUSTER) && note.contains(CLONE), "{note}");
    clone.fence("afterwards").await;

    // The mark came with aws-auth: what no mapping names is an orphan, and stays.
    assert_eq!(clone.cluster.roles().await, roles);
    assert!(roles.contains(&role("lost")) && roles.contains(FOREIGN.trim()));
    let note = clone.cluster.note("OrphanedEntries", "aws-auth").await;
    assert!(note.contains("role/lost"), "{note}");
    let mut entries = clone.entries();
    assert_eq!(entries.remove(&own), before.get(&own).cloned());
    assert!(entries.remove(&role("afterwards")).is_some());
    let names: Vec<&String> = entries.keys().collect();
    assert_eq!(names, [&role("entry")]);
    assert_eq!(
        clone.policies(&role("entry")),
        ["AmazonEKSViewPolicy cluster"]
    );
    assert!(entries[&role("entry")].arn.contains("us-east-1"));
    let record = record(&clone.cluster).await;
    assert!(record.contains(CLONE) && !record.contains(CLUSTER));
    let object = clone.object("entry").await;
    let arn = object.status.unwrap().access_entry_arn.unwrap();
    assert!(arn.contains("us-east-1"), "{arn}");

    // The original is another cluster for all of that.
    assert_eq!(original.entries(), untouched.1);
    assert!(original.writes(untouched.0).is_empty());

    // What goes there goes there alone.
    clone.delete(&["text", "entry"]);
    clone
        .entry_until("the entry is gone", &role("entry"), |it| it.is_none())
        .await;
    clone.cluster.has_entry("text", false).await;
    assert_eq!(original.entries(), untouched.1);
    original.cluster.has_entry("text", true).await;
}

/// The record of another cluster says nothing of this one's mode, so a clone may be in an earlier mode than the original.
#[tokio::test]
async fn a_clone_in_an_earlier_mode() {
    let (_original, mut clone, _) = cloned(Mode::ConfigMap).await;
    let roles = clone.cluster.roles().await;
    clone.start(&NO_TIMER).await;
    clone.cluster.ready("text").await;
    clone.cluster.has_entry("entry", true).await;
    let with_entry = clone.cluster.roles().await;
    assert!(with_entry.starts_with(roles.trim_end()), "{with_entry}");
    assert!(record(&clone.cluster).await.contains("CONFIG_MAP"));
    assert!(clone.entries().is_empty());
}

/// Whoever runs a command on the wrong cluster is told which it is, and asked, before anything changes.
#[tokio::test]
async fn commands_name_the_cluster_before_they_ask() {
    let stage = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    let text = json!({ "backend": "ConfigMap" });
    stage.establish("text", text).await;
    let lintable = format!(
        "{}- rolearn: {}\n  username: bob:{{{{SessionName}}}}\n- rolearn: arn:aws:iam::{ACCOUNT}:role/team/pathed\n  username: pathed\n",
        stage.cluster.roles().await,
        role("text-2"),
    );
    stage
        .cluster
        .write_text("kubectl", "mapRoles", &lintable)
        .await;
    let before = state(&stage.cluster).await;
    let name = "--cluster-name=test";
    for arguments in [
        &["release", name][..],
        &["lint", "--fix", name],
        &["rollback", "restore", "1", name],
        &["migrate", "apply", "--to=API_AND_CONFIG_MAP", name],
        &["migrate", "revert", name],
    ] {
        let run = Run::new(arguments).on(&stage.cluster).with(&stage.eks);
        let ran = run.run_aside().await;
        let shown = format!("{arguments:?}: {}", ran.shown());
        assert_eq!(ran.code, 1, "{shown}");
        let cluster = format!("cluster:    {}", stage.cluster.url());
        for named in [cluster.trim_end_matches('/'), "context:    ", CLUSTER] {
            assert!(ran.stdout.contains(named), "{named} in {shown}");
        }
        assert!(
            ran.stderr.contains("not confirmed; nothing was changed"),
            "{shown}"
        );
        assert_eq!(state(&stage.cluster).await, before, "{shown}");
    }

    // EKS's answer is of another cluster than the kubeconfig: that is said instead of a question.
    let other = Cluster::seeded().await;
    let untouched = state(&other).await;
    let run = Run::new(["release", "--yes", name]).on(&other);
    let ran = run.with(&stage.eks).run_aside().await;
    assert_eq!(ran.code, 1, "{}", ran.shown());
    assert!(
        ran.stderr.contains("they are different clusters"),
        "{}",
        ran.shown()
    );
    assert_eq!(state(&other).await, untouched);
}

/// Both `ConfigMap`s, as far as a command could change them.
async fn state(cluster: &Cluster) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for name in ["aws-auth", "aws-auth-history"] {
        let object = cluster.config_maps().get_opt(name).await.unwrap();
        let version = object.and_then(|it| it.resource_version());
        all.insert(name.to_owned(), json!(version));
    }
    all
}
