//! The test bed keeps its own promises: what it starts ends, what it counts is right.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::mappings::FOREIGN;
use crate::support::operator::ELECTED;
use crate::support::programs::program;
use crate::support::reuse;
use crate::support::supervise::{Scratch, Supervised};
use crate::support::wait::eventually;
use crate::support::{Audit, Cluster, Judge, Operator};

const SOON: Duration = Duration::from_secs(10);
const NONE: [(&str, &str); 0] = [];

/// Set in a process that holds a cluster until it is killed.
const HOLD: &str = "IDENTITY_MAPPER_HOLD_A_CLUSTER";

fn config_map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    ConfigMap {
        metadata,
        ..Default::default()
    }
}

fn runs(pid: u32) -> bool {
    let probe = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("kill -0 {pid} 2>/dev/null"))
        .status();
    probe.unwrap().success()
}

#[tokio::test]
async fn writes_are_counted_by_who_made_them_and_what_came_of_it() {
    let cluster = Cluster::start().await;
    let audit = cluster.audit();
    let admins = Api::<ConfigMap>::namespaced(cluster.admin(), "kube-system");
    let mallorys =
        Api::<ConfigMap>::namespaced(cluster.client_as("mallory", &["dev"]).await, "kube-system");

    admins
        .create(&PostParams::default(), &config_map("aws-auth"))
        .await
        .unwrap();
    let mark = audit.mark().await;
    let patch = Patch::Merge(json!({"data": {"mapRoles": "[]"}}));
    admins
        .patch("aws-auth", &PatchParams::default(), &patch)
        .await
        .unwrap();
    admins
        .create(&PostParams::default(), &config_map("other"))
        .await
        .unwrap();
    admins.get("aws-auth").await.unwrap();
    mallorys
        .patch("aws-auth", &PatchParams::default(), &patch)
        .await
        .unwrap_err();

    let all = audit.writes("configmaps");
    // The API server makes some of its own at its start.
    let by_admin = all.clone().by("admin");
    assert_eq!((by_admin.count().await, by_admin.failed().await), (3, 0));
    assert_eq!(by_admin.since(mark).count().await, 2);
    assert_eq!(all.clone().since(mark).failed().await, 1);
    assert_eq!(
        all.clone().of("aws-auth").count().await,
        2,
        "a creation counts by the object's name"
    );
    assert_eq!(
        all.clone()
            .of("aws-auth")
            .verbs(&["patch"])
            .since(mark)
            .count()
            .await,
        1
    );
    assert_eq!(all.clone().of("aws-auth").verbs(&["get"]).count().await, 1);
    let by_mallory = all.clone().by("mallory");
    assert_eq!(
        (by_mallory.count().await, by_mallory.failed().await),
        (0, 1)
    );
    assert_eq!(by_mallory.records().await[0].code(), 403);
    assert_eq!(all.by(Audit::OPERATOR).count().await, 0);
}

#[tokio::test]
async fn what_a_killed_process_started_ends() {
    if env::var_os(HOLD).is_some() {
        let cluster = Cluster::start().await;
        let [etcd, api_server] = cluster.pids();
        println!(
            "\nholding {etcd} {api_server} {}",
            cluster.scratch().path().display()
        );
        std::future::pending::<()>().await;
    }
    for signal in ["KILL", "INT"] {
        let mut holder = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "harness::what_a_killed_process_started_ends",
                "--nocapture",
            ])
            .env(HOLD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(holder.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let line = lines
            .into_iter()
            .find(|line| line.starts_with("holding"))
            .expect("the cluster starts");
        let words: Vec<&str> = line.split(' ').collect();
        let pids: [u32; 2] = [words[1].parse().unwrap(), words[2].parse().unwrap()];
        let folder = PathBuf::from(words[3]);
        assert!(pids.into_iter().all(runs) && folder.is_dir());

        let kill = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("kill -s {signal} {}", holder.id()))
            .status();
        assert!(kill.unwrap().success());
        holder.wait().unwrap();
        eventually("servers and folder are gone", SOON, async || {
            let left = (pids.map(runs), folder.exists());
            if left == ([false, false], false) {
                Ok(())
            } else {
                Err(left)
            }
        })
        .await;
    }
}

#[test]
fn a_start_that_fails_is_tried_again() {
    let scratch = Scratch::new();
    let assets = scratch.path();
    for name in ["kube-apiserver", "kubectl"] {
        symlink(program(name), assets.join(name)).unwrap();
    }
    // Fails once, as where another process took the port.
    let script = format!(
        "#!/bin/sh\nmkdir '{}' 2>/dev/null && exit 1\nexec '{}' \"$@\"\n",
        assets.join("failed").display(),
        program("etcd").display()
    );
    let etcd = assets.join("etcd");
    fs::write(&etcd, script).unwrap();
    fs::set_permissions(&etcd, Permissions::from_mode(0o755)).unwrap();

    // In a process of its own: the programs are found by the environment.
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "harness::an_operator_that_ends_is_not_waited_for",
        ])
        .env("KUBEBUILDER_ASSETS", assets)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(assets.join("failed").is_dir());
}

#[test]
fn what_a_panicking_test_started_ends() {
    let mut left = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let scratch = Scratch::new();
        let sleeper = sh(&scratch, "sleep 1000");
        assert!(runs(sleeper.pid()));
        left = Some((sleeper.pid(), scratch.path().to_owned()));
        panic!("as a failing assertion does");
    }));
    assert!(panicked.is_err());
    let (pid, folder) = left.unwrap();
    assert!(!runs(pid));
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_program_passes_its_output_and_exit_code_on_and_gets_signals() {
    let scratch = Scratch::new();
    let mut program = sh(
        &scratch,
        "trap 'echo asked; exit 7' TERM; echo up; while :; do sleep 0.01; done",
    );
    eventually("the trap is set", SOON, async || {
        program.log().contains("up")
    })
    .await;
    assert_eq!(program.exited(), None);
    program.signal("TERM");
    let status = eventually("the program ends", SOON, async || program.exited()).await;
    assert_eq!(status.code(), Some(7));
    assert_eq!(program.log(), "up\nasked\n");
}

fn sh(scratch: &Scratch, script: &str) -> Supervised {
    let log = scratch.path().join("log");
    Supervised::spawn(Path::new("/bin/sh"), ["-c", script], NONE, &log)
}

#[tokio::test]
#[should_panic(expected = "not within 50ms: the moon is blue\nlast seen: \"grey\"")]
async fn a_deadline_that_passes_says_what_was_waited_for_and_seen() {
    eventually("the moon is blue", Duration::from_millis(50), async || {
        Err::<(), _>("grey")
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "no look came back")]
async fn a_look_that_hangs_does_not_outlive_the_deadline() {
    eventually("anything", Duration::from_millis(50), async || {
        std::future::pending::<bool>().await
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_ends_is_not_waited_for() {
    let cluster = Cluster::start().await;
    let kubeconfig = cluster.admin_kubeconfig();
    let mut operator = Operator::spawn_program(&cluster, Path::new("/bin/sh"), &[], kubeconfig);
    let status = operator.wait_ready().await.unwrap_err();
    assert_ne!(
        status.code(),
        Some(0),
        "a shell finds no script of the name `run`: {}",
        operator.log()
    );
}

/// A test that has a control plane after another one finds nothing of it.
#[tokio::test]
async fn a_control_plane_is_used_again_as_it_was() {
    if reuse::is_off() {
        return;
    }
    let mut cluster = Cluster::with_operator_rights().await;
    let url = cluster.url().to_owned();
    for _ in 0..3 {
        // The API server renews its own Lease.
        let mut written = cluster.audit().all_writes().records().await;
        written.retain(|record| record.user() != "system:apiserver");
        assert!(written.is_empty(), "{written:?}");
        cluster.seed(json!({"mapRoles": FOREIGN})).await;
        let operator = Operator::start(&cluster, &ELECTED).await;
        // With a finalizer, a status and an event.
        cluster.establish("a", json!({})).await;
        operator.kill().await;

        cluster = cluster.again().await.unwrap();
        assert_eq!(cluster.url(), url);
        let left = cluster.kubectl_ok(
            &[
                "get",
                "-A",
                "-o",
                "name",
                "identitymappings,events,leases,configmaps",
            ],
            None,
        );
        let left: Vec<_> = left
            .lines()
            .filter(|name| !name.contains("apiserver-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What may change what the next test sees is not used again, and says why.
#[tokio::test]
async fn a_control_plane_that_is_not_as_it_was_ends() {
    if reuse::is_off() {
        return;
    }
    let cluster = Cluster::with_operator_rights().await;
    let config_maps = cluster.config_maps();
    config_maps.list(&ListParams::default()).await.unwrap();
    let why = cluster.again().await.err().unwrap();
    assert_eq!(why, "somebody is still connected");
    drop(config_maps);

    let cluster = Cluster::with_operator_rights().await;
    for verb in ["create", "delete"] {
        let role = [
            "clusterrole",
            "short-lived",
            "--verb=get",
            "--resource=pods",
        ];
        let args = if verb == "create" {
            &role[..]
        } else {
            &role[..2]
        };
        cluster.kubectl_ok(&[&[verb], args].concat(), None);
    }
    let why = cluster.again().await.err().unwrap();
    assert!(why.contains("clusterroles"), "{why}");

    let cluster = Cluster::with_operator_rights().await;
    let own = cluster.config_maps().list(&ListParams::default()).await;
    let own = own.unwrap().items.remove(0).metadata.name.unwrap();
    cluster.kubectl_ok(
        &["annotate", "-n", "kube-system", "configmap", &own, "a=b"],
        None,
    );
    let why = cluster.again().await.err().unwrap();
    assert!(why.ends_with(&format!("{own} was written")), "{why}");
}

#[test]
fn metrics_are_read_by_name_and_labels() {
    let text = "# TYPE writes counter\n\
                writes_total{result=\"written\",kind=\"a\"} 3\n\
                writes_total{result=\"conflict\",kind=\"a\"} 1\n\
                writes 9\n\
                ready 0.5\n";
    let writes = |labels| Operator::metric(text, "writes_total", labels);
    assert_eq!(writes(&[]), Some(4.0));
    assert_eq!(writes(&[("result", "written")]), Some(3.0));
    assert_eq!(writes(&[("kind", "a"), ("result", "conflict")]), Some(1.0));
    assert_eq!(writes(&[("kind", "b")]), None);
    assert_eq!(Operator::metric(text, "ready", &[]), Some(0.5));
    assert_eq!(Operator::metric(text, "missing", &[]), None);
}

#[test]
fn the_judge_parses_each_document() {
    let entry = "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups: [g]\n";
    let documents = [entry, "- rolearn: [", ""]
        .map(|text| BTreeMap::from([("mapRoles".to_owned(), text.to_owned())]));
    let seen = Judge::parse(&documents);
    let roles = seen
        .iter()
        .map(|seen| seen["roles"].as_array().map_or(0, Vec::len));
    assert_eq!(roles.collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(seen[0]["roles"][0]["username"], "a");
    assert_ne!(seen[1]["errors"], 0);
}

#[tokio::test]
async fn the_judge_follows_aws_auth() {
    let cluster = Cluster::start().await;
    let mut judge = Judge::watch(cluster.admin_kubeconfig());
    let caller = "arn:aws:sts::111122223333:assumed-role/a/session";
    assert_eq!(judge.map(caller)["mapped"], false);

    let mut document = config_map("aws-auth");
    let entry = "- {rolearn: 'arn:aws:iam::111122223333:role/a', username: a, groups: [g]}";
    document.data = Some(BTreeMap::from([("mapRoles".to_owned(), entry.to_owned())]));
    let config_maps = Api::<ConfigMap>::namespaced(cluster.admin(), "kube-system");
    config_maps
        .create(&PostParams::default(), &document)
        .await
        .unwrap();
    let answer = eventually("the judge lets the role in", SOON, async || {
        let answer = judge.map(caller);
        if answer["mapped"] == true {
            Ok(answer)
        } else {
            Err(answer)
        }
    })
    .await;
    assert_eq!(
        (&answer["username"], &answer["groups"]),
        (&json!("a"), &json!(["g"]))
    );
}
