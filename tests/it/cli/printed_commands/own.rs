//! Printed commands of ours, run on a cluster whose kubeconfig is as `aws eks update-kubeconfig` writes it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::super::run;
use super::printed;
use crate::support::eks::{Eks, Mode, World};
use crate::support::programs::{operator_binary, repository};
use crate::support::{Cluster, Operator};

const ACCOUNT: &str = "111122223333";

/// What is not run, and why not.
const NOT_RUN: [(&str, &str); 1] = [("run", "the operator, which ends by a signal alone")];

/// Commands of which a text gives no more than the name.
const NAMED: [&str; 2] = ["explain", "migrate"];

/// Commands that change something, and would ask first.
const CHANGES: [&str; 5] = [
    "lint --fix",
    "migrate apply",
    "migrate revert",
    "release",
    "rollback restore",
];

/// What an error says that is an answer of a command that works.
const ANSWERS: [&str; 2] = ["would lose access in API", "would not become ready"];

/// Commands that run at the same time, on two cores.
const AT_ONCE: usize = 4;

/// A folder as the examples name its files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let examples = repository().join("tests/examples");
        for copy in ["tests/examples", "tests/examples/mappings", "mappings"] {
            fs::create_dir_all(folder.path().join(copy)).unwrap();
            let name = copy.trim_start_matches("tests/examples").trim_matches('/');
            for entry in fs::read_dir(examples.join(name)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let to = folder.path().join(copy).join(path.file_name().unwrap());
                    fs::copy(&path, to).unwrap();
                }
            }
        }
        let this = Self(folder);
        let entries = examples.join("access-entries.json").display().to_string();
        let report = run(&["access", "--access-entries", &entries, "-o=json"], "");
        let (_, report) = report.split_once("--- stdout\n").unwrap();
        let report = report.split("--- stderr").next().unwrap();
        for month in ["january.json", "february.json"] {
            this.write(month, report);
        }
        let page = fs::read_to_string(repository().join("docs/cli.md")).unwrap();
        let lines = page.lines().skip_while(|line| *line != "    clusters:");
        let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        this.write("clusters.yaml", &lines.join("\n"));
        this
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The kubeconfig of this EKS cluster, under the names of the contexts in the examples. `aws eks get-token` gives the administrator's
/// certificate, since the authenticator, which takes tokens, is no part of this cluster.
fn write_kubeconfig(cluster: &Cluster, folder: &Folder, name: &str) {
    let admin = fs::read_to_string(cluster.admin_kubeconfig()).unwrap();
    let mut file: Value = serde_json::from_str(&admin).unwrap();
    let user = &file["users"][0]["user"];
    let pem = |field: &str| fs::read_to_string(user[field].as_str().unwrap()).unwrap();
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "kind": "ExecCredential",
        "status": {"clientCertificateData": pem("client-certificate"), "clientKeyData": pem("client-key")},
    });
    let credential = folder.write("credential.json", &credential.to_string());
    folder.program("aws", &format!("exec cat {}", credential.display()));
    file["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", name, "--output", "json"],
        "interactiveMode": "IfAvailable",
    }});
    let context = file["contexts"][0]["context"].clone();
    for name in ["prod-eu", "prod-us"] {
        let contexts = file["contexts"].as_array_mut().unwrap();
        contexts.push(json!({"name": name, "context": context}));
    }
    folder.write(&format!("{name}.kubeconfig"), &file.to_string());
}

/// The name of the EKS cluster that the command is about.
fn cluster_name(command: &str) -> &str {
    let words = command.split(' ');
    let mut after = words.skip_while(|word| *word != "--cluster-name").skip(1);
    after.next().unwrap_or("main")
}

/// The mode in which there is something to do for the command.
fn mode(command: &str) -> Mode {
    let early = command.contains(" migrate ") || command.contains(" rollback ");
    if early && !command.contains("--to API") && !command.contains(" revert") {
        Mode::ConfigMap
    } else {
        Mode::ApiAndConfigMap
    }
}

/// What is wrong with a command, as a run of it shows.
async fn problem(cluster: &Cluster, folder: &Folder, command: &str) -> Option<String> {
    let name = cluster_name(command);
    let mut world = World::new(&format!("arn:aws:eks:eu-west-1:{ACCOUNT}:cluster/{name}"))
        .mode(mode(command))
        .api_server(&cluster.authority(), cluster.url());
    world.assumable_role(ACCOUNT, "/", "audit", Some("shared"));
    for role in ["main-nodes", "ci-deployer", "a", "b", "c"] {
        world.role(ACCOUNT, "/", role);
    }
    world.role(ACCOUNT, "/teams/data/", "data-reader");
    world.user(ACCOUNT, "/people/", "maria");
    let person = world.person("pat");
    let key = world.key_of(person);
    let eks = Eks::start(world).await;
    let mut script = command
        .replace("EXAMPLES/", "tests/examples/")
        .replace(" ARN", " arn:aws:iam::111122223333:role/b")
        .replace(" REASON", " InvalidSpec");
    let changes = CHANGES.iter().any(|verb| command.contains(verb));
    if changes {
        script.push_str(" --dry-run");
    }
    let path = std::env::var("PATH").unwrap();
    let own = format!(
        "identity-mapper() {{ '{}' \"$@\"; }}; {script}",
        operator_binary().display()
    );
    let mut child = tokio::process::Command::new("bash")
        .args(["-c", &own])
        .current_dir(folder.path())
        .env_clear()
        .envs(eks.env_as(&key))
        .env("HOME", folder.path())
        .env(
            "KUBECONFIG",
            folder.path().join(format!("{name}.kubeconfig")),
        )
        .env("PATH", format!("{}/bin:{path}", folder.path().display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let input = fs::read(folder.path().join("tests/examples/aws-auth.yaml")).unwrap();
    // A command that needs no input ends without reading it.
    let _ = child.stdin.take().unwrap().write_all(&input).await;
    let output = child.wait_with_output().await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = command.split(' ').collect();
    if words.len() == 2 && NAMED.contains(&words[1]) {
        let is_named = stderr.contains("Usage: ");
        return (!is_named).then(|| format!("{command}: {stderr}"));
    }
    // 1 and 2 are answers too: findings, differences, no access.
    let answers = matches!(output.status.code(), Some(0..=2));
    let fails = stderr.lines().any(|line| {
        line.starts_with("error: ") && !ANSWERS.iter().any(|answer| line.contains(answer))
    });
    let succeeds = answers && !fails;
    (!succeeds).then(|| format!("{script}: {}: {stdout}{stderr}", output.status))
}

#[tokio::test]
async fn every_printed_command_of_ours_runs() {
    let commands = printed("identity-mapper");
    for name in NOT_RUN.map(|(name, _)| name).iter().chain(&NAMED) {
        let is_printed = commands.contains(&format!("identity-mapper {name}"));
        assert!(is_printed, "{name} is not printed any more");
    }
    let cluster = Cluster::with_operator_rights().await;
    let example = fs::read_to_string(repository().join("tests/examples/aws-auth.yaml")).unwrap();
    let example: Value = serde_saphyr::from_str(&example).unwrap();
    cluster.seed(example["data"].clone()).await;
    // Its history has the copies that the examples restore.
    let operator = Operator::start(&cluster, &[]).await;
    for name in ["a", "b", "c"] {
        cluster.establish(name, json!({})).await;
    }
    operator.stop().await;
    let before = cluster.roles().await;
    let folder = Folder::new();
    let names: BTreeSet<&str> = commands.iter().map(|it| cluster_name(it)).collect();
    for name in names {
        write_kubeconfig(&cluster, &folder, name);
    }
    let runs = stream::iter(&commands)
        .filter(|command| {
            let is_run = NOT_RUN
                .iter()
                .all(|(name, _)| **command != format!("identity-mapper {name}"));
            futures::future::ready(is_run)
        })
        .map(async |command| problem(&cluster, &folder, command).await)
        .buffer_unordered(AT_ONCE);
    let found: Vec<Option<String>> = runs.collect().await;
    assert!(found.len() > 40, "{}", found.len());
    let found: Vec<String> = found.into_iter().flatten().collect();
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(cluster.roles().await, before, "--dry-run changes nothing");
}
