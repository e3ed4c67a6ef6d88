//! The cluster's certificate authority rotates while the operator runs: appended, activated, the old one deleted.
//!
//! The API server presents certificates of either authority in turn, EKS names both, and the files that the operator reads follow
//! as a kubelet or `aws eks update-kubeconfig` writes them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity_mapper::api::IdentityMapping;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::stage::{CLUSTER, PATIENT, Stage, WATCHFUL};
use crate::support::eks::{CertificateAuthority, Mode};
use crate::support::mappings::{FOREIGN, mapping};
use crate::support::programs::operator_binary;
use crate::support::{Cluster, Operator, eventually};

/// Between two changes of mappings.
const PACE: Duration = Duration::from_millis(400);

/// The Pod's files, where kube looks for them, seen by this process alone.
const IN_A_POD: &str = r#"#!/bin/sh
exec unshare --user --map-root-user --mount sh -c '
  mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io &&
  ln -s "$POD_FILES" /var/run/secrets/kubernetes.io/serviceaccount && exec "$0" "$@"' OPERATOR "$@"
"#;

/// How the operator finds the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the files of a Pod's service account.
    Pod,
    /// By a kubeconfig with the authorities in it.
    Kubeconfig,
    /// By a kubeconfig that names files.
    Files,
}

/// What the operator reads.
struct Files {
    way: Way,
    folder: PathBuf,
    url: String,
    token: String,
    versions: usize,
}

impl Files {
    async fn new(way: Way, cluster: &Cluster) -> Self {
        let folder = cluster.scratch().path().join("operator");
        fs::create_dir(&folder).expect("the folder is new");
        let token = cluster.operator_token().await;
        let mut files = Self {
            way,
            folder,
            url: cluster.url().to_owned(),
            token,
            versions: 0,
        };
        files.trust(&String::from_utf8(cluster.authority()).expect("PEM is ASCII"));
        files
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The operator is to trust these, and no other.
    fn trust(&mut self, bundle: &str) {
        self.project(bundle);
        let (cluster, user) = match self.way {
            Way::Pod => return,
            Way::Kubeconfig => (
                json!({"server": self.url, "certificate-authority-data": STANDARD.encode(bundle)}),
                json!({"token": self.token}),
            ),
            Way::Files => (
                json!({"server": self.url, "certificate-authority": self.folder.join("ca.crt")}),
                json!({"tokenFile": self.folder.join("token")}),
            ),
        };
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        let next = self.folder.join("kubeconfig.next");
        fs::write(&next, text.to_string()).expect("the folder is writable");
        fs::rename(next, self.kubeconfig()).expect("the folder is writable");
    }

    /// As a kubelet exchanges the files of a projected volume: all at once, by a link.
    fn project(&mut self, bundle: &str) {
        self.versions += 1;
        let version = format!("..{}", self.versions);
        let folder = self.folder.join(&version);
        fs::create_dir(&folder).expect("the folder is new");
        let files = [
            ("ca.crt", bundle),
            ("token", &self.token),
            ("namespace", "default"),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("the folder is writable");
        }
        let next = self.folder.join("..next");
        symlink(version, &next).expect("the folder is writable");
        fs::rename(next, self.folder.join("..data")).expect("the folder is writable");
        for (name, _) in files {
            // It was made the first time, and points at what is there now.
            let _ = symlink(Path::new("..data").join(name), self.folder.join(name));
        }
    }

    async fn start(&self, stage: &mut Stage, args: &[&str]) {
        let program = operator_binary();
        let (program, environment) = match self.way {
            Way::Kubeconfig | Way::Files => {
                let kubeconfig = OsString::from(self.kubeconfig());
                (program, vec![("KUBECONFIG", kubeconfig)])
            }
            Way::Pod => {
                let script = self.folder.join("in-a-pod");
                let text = IN_A_POD.replace("OPERATOR", &program.display().to_string());
                fs::write(&script, text).expect("the folder is writable");
                fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
                let (host, port) = self
                    .url
                    .trim_start_matches("https://")
                    .split_once(':')
                    .unwrap();
                let environment = vec![
                    ("POD_FILES", self.folder.clone().into()),
                    ("KUBERNETES_SERVICE_HOST", host.into()),
                    ("KUBERNETES_SERVICE_PORT", port.into()),
                ];
                (script, environment)
            }
        };
        let environment: Vec<(OsString, OsString)> = environment
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect();
        let operator = Operator::start_by(&stage.cluster, &stage.eks, &program, &environment, args);
        stage.enter(operator.await);
    }
}

/// Makes and changes mappings until it is told to stop: how many it made.
struct Load {
    api: watch::Sender<Option<Api<IdentityMapping>>>,
    task: JoinHandle<usize>,
}

impl Load {
    fn start(stage: &Stage) -> Self {
        for number in 0..1000 {
            stage.role(&format!("load-{number}"));
        }
        let (api, mut current) = watch::channel(Some(stage.cluster.mappings()));
        let task = tokio::spawn(async move {
            let mut made = 0;
            loop {
                let Some(api) = current.borrow_and_update().clone() else {
                    return made;
                };
                let backend = ["AccessEntry", "ConfigMap"][made % 2];
                let object = mapping(&format!("load-{made}"), &json!({"backend": backend}));
                api.create(&PostParams::default(), &object).await.unwrap();
                made += 1;
                tokio::time::sleep(PACE).await;
                let patch = Patch::Merge(json!({"spec": {"groups": ["more"]}}));
                let name = format!("load-{}", made - 1);
                api.patch(&name, &PatchParams::default(), &patch)
                    .await
                    .unwrap();
            }
        });
        Self { api, task }
    }

    /// Goes on by another client.
    fn use_client(&self, api: Api<IdentityMapping>) {
        self.api.send_replace(Some(api));
    }

    async fn stop(self) -> usize {
        self.api.send_replace(None);
        self.task.await.expect("every change was taken")
    }
}

/// The rotation from the side of EKS.
struct Rotation {
    old: String,
    new: CertificateAuthority,
}

impl Rotation {
    async fn append(stage: &Stage) -> Self {
        let old = stage.eks.world().cluster.authorities[0].id.clone();
        stage.by_hand("CreateCertificateAuthority", json!({}));
        let new = eventually("the new one is trusted", PATIENT, async || {
            let authorities = stage.eks.world().cluster.authorities.clone();
            let new = authorities.into_iter().nth(1);
            new.filter(|it| it.distribution == "COMPLETE")
        })
        .await;
        Self { old, new }
    }

    /// EKS activates it, and the API server presents its certificate.
    async fn activate(&self, stage: &Stage) {
        let id = json!({ "certificateAuthorityId": self.new.id });
        stage.by_hand("ActivateCertificateAuthority", id);
        let issuer = self.new.issuer.as_deref().expect("EKS made it");
        stage.cluster.present(issuer);
        eventually("the new certificate is presented", PATIENT, async || {
            let signs = stage.eks.world().cluster.authorities[1].signing == "IN_USE";
            signs && stage.cluster.presents(&self.new.pem).await
        })
        .await;
    }

    fn delete_old(&self, stage: &Stage) {
        let id = json!({ "certificateAuthorityId": self.old });
        stage.by_hand("DeleteCertificateAuthority", id);
    }
}

/// Waits until `DescribeCluster` was answered again, and what it said has been dealt with.
async fn reread(stage: &Stage) {
    let mark = stage.mark();
    stage.called("DescribeCluster", 2, mark).await;
}

async fn rotate(way: Way) {
    let mut stage = Stage::without_operator(CLUSTER, Mode::ApiAndConfigMap).await;
    let mut files = Files::new(way, &stage.cluster).await;
    stage.eks.world().attach_queue("events");
    let queue = format!("--queue-url={}", stage.eks.queue_url());
    files
        .start(&mut stage, &[&WATCHFUL[..], &[&queue]].concat())
        .await;
    let pid = stage.operator().pid();
    let entry = stage
        .establish("entry", json!({ "backend": "AccessEntry" }))
        .await;
    stage
        .establish("text", json!({ "backend": "ConfigMap" }))
        .await;
    let load = Load::start(&stage);
    let begun = stage.mark();

    let rotation = Rotation::append(&stage).await;
    let first = String::from_utf8(stage.cluster.authority()).expect("PEM is ASCII");
    files.trust(&format!("{first}{}", rotation.new.pem));
    stage.cluster.trust(&rotation.new.pem).await;
    load.use_client(stage.cluster.mappings());
    stage.establish("appended", json!({})).await;
    reread(&stage).await;

    rotation.activate(&stage).await;
    stage.establish("activated", json!({})).await;
    reread(&stage).await;

    rotation.delete_old(&stage);
    files.trust(&rotation.new.pem);
    stage.establish("deleted", json!({})).await;
    reread(&stage).await;

    // The old one is gone on both sides: all goes on as before.
    stage.by_hand("DeleteAccessEntry", json!({ "principalArn": entry }));
    stage
        .entry_until("the entry is made again", &entry, |it| it.is_some())
        .await;
    let declared = stage.cluster.roles().await;
    stage
        .cluster
        .write_text("kubectl-edit", "mapRoles", FOREIGN)
        .await;
    stage
        .cluster
        .text_until("mapRoles", |text| text.contains("role/text"))
        .await;
    assert!(declared.contains("role/text"), "{declared}");

    let made = load.stop().await;
    assert!(made > 10, "{made} mappings in all that time");
    for number in 0..made {
        let name = format!("load-{number}");
        stage.cluster.ready(&name).await;
        let arn = stage.role(&name);
        if number % 2 == 0 {
            stage
                .entry_until("the change is in EKS", &arn, |it| {
                    it.is_some_and(|it| it.groups == ["more"])
                })
                .await;
        }
    }
    assert_eq!(stage.operator().pid(), pid);
    assert_eq!(stage.operator().answer("/readyz").await.0, 200);
    let log = stage.operator().log();
    assert!(!log.contains("not verified"), "{log}");
    let deleted = stage.writes(begun);
    assert!(
        !deleted.iter().any(|it| it == "DeleteAccessEntry"),
        "{deleted:?}"
    );
}

#[tokio::test]
async fn by_a_kubeconfig_under_load() {
    rotate(Way::Kubeconfig).await;
}

#[tokio::test]
async fn by_files_that_a_kubeconfig_names_under_load() {
    rotate(Way::Files).await;
}

#[tokio::test]
async fn in_a_pod_under_load() {
    let probe = [
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "tmpfs",
        "/run",
    ];
    let may = Command::new("unshare").args(probe).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "skipped: scenarios::entries::rotation::in_a_pod_under_load (unshare may not make a mount namespace here)"
        );
        return;
    }
    rotate(Way::Pod).await;
}

/// Files that lag behind, as of a kubeconfig that nobody has updated: nothing is sent to EKS, and it is said until they follow.
#[tokio::test]
async fn files_that_lag_behind_hold_everything_until_they_follow() {
    let mut stage = Stage::without_operator(CLUSTER, Mode::ApiAndConfigMap).await;
    let mut files = Files::new(Way::Kubeconfig, &stage.cluster).await;
    files.start(&mut stage, &WATCHFUL).await;
    stage.establish("before", json!({})).await;

    let rotation = Rotation::append(&stage).await;
    stage.cluster.trust(&rotation.new.pem).await;
    rotation.activate(&stage).await;
    rotation.delete_old(&stage);
    eventually("it is said", PATIENT, async || {
        let (status, body) = stage.operator().answer("/readyz").await;
        if status == 503 && body.contains("not verified") {
            Ok(body)
        } else {
            Err((status, body))
        }
    })
    .await;
    let mark = stage.mark();
    let arn = stage
        .declare("meanwhile", json!({ "backend": "AccessEntry" }))
        .await;
    reread(&stage).await;
    let calls = stage.eks.log().counts(mark);
    let others: Vec<&String> = calls
        .keys()
        .filter(|name| *name != "DescribeCluster")
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(stage.entry(&arn).is_none());

    files.trust(&rotation.new.pem);
    stage.until("meanwhile", "Ready", "True InEffect").await;
    assert!(stage.entry(&arn).is_some());
    eventually("it is ready again", PATIENT, async || {
        let answer = stage.operator().answer("/readyz").await;
        if answer.0 == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
}
