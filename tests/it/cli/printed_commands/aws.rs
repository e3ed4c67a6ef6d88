//! Printed commands of the AWS CLI: AWS's own models know them, and the CLI runs them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use serde_json::json;

use super::super::run;
use super::{commands_in, texts, unfolded};
use crate::support::eks::{Eks, Mode, NodeKind, World};
use crate::support::programs::{aws_cli, python, repository};

const ACCOUNT: &str = "111122223333";

/// Where nothing listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// What the stand-in does not serve, and why not. The CLI checks names, values and what is required, and finds nobody to call.
const UNSERVED: [(&str, &str); 7] = [
    (
        "cloudtrail lookup-events",
        "the operator reads what CloudTrail records from a queue",
    ),
    (
        "eks create-pod-identity-association",
        "the operator gets credentials, and associates nothing",
    ),
    (
        "eks list-pod-identity-associations",
        "the operator gets credentials, and associates nothing",
    ),
    (
        "events put-rule",
        "events reach the queue without EventBridge",
    ),
    (
        "events put-targets",
        "events reach the queue without EventBridge",
    ),
    (
        "iam get-instance-profile",
        "instance profiles can't be mapped",
    ),
    ("sqs create-queue", "queues exist from the start"),
];

/// Commands of which a text gives no more than the name.
const NAMED: [&str; 5] = [
    "eks describe-access-entry",
    "eks get-token",
    "eks update-kubeconfig",
    "iam get-role",
    "sqs set-queue-attributes",
];

/// What a reader fills in, and what a stand-in has under it. Everything else is as printed: `NAME` is the name of a role.
const ARN: &str = "arn:aws:iam::111122223333:role/teams/Dev";

/// Commands that run at the same time, on two cores: each needs half a second of one to start.
const AT_ONCE: usize = 4;

/// ARNs for which `lint` gives the command that prints the right one.
const WRONG_ARNS: [&str; 6] = [
    "arn:aws:iam::111122223333:role/teams/",
    "arn:aws:iam::111122223333:permissionSet/View",
    "arn:aws:iam::111122223333:instance-profile/nodes",
    "arn:aws:iam::111122223333:role/<name>",
    "arn:aws:iam::111122223333:role/AWSReservedSSO_View",
    "arn:aws:iam::111122223333:role/AWSReservedSSO_View_*",
];

/// What `lint` prints about them, and about a user without an ARN.
fn findings() -> String {
    let role = |arn: &&str| format!("    - {{rolearn: \"{arn}\", username: dev}}\n");
    let roles: String = WRONG_ARNS.iter().map(role).collect();
    let users = "    - {userarn: ann, username: ann}\n";
    let data = format!("data:\n  mapRoles: |\n{roles}  mapUsers: |\n{users}");
    let head =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: aws-auth, namespace: kube-system}\n";
    let found = run(&["lint", "-"], format!("{head}{data}"));
    let commands = found.matches("`aws iam ").count();
    assert_eq!(commands, WRONG_ARNS.len() + 1, "{found}");
    found
}

/// Of snapshots and pages, of what tests of the sources expect, and of what `lint` prints.
fn commands() -> BTreeSet<String> {
    let mut all = texts();
    sources(&repository().join("src"), &mut all);
    all.push(findings());
    let mut commands = commands_in(&all, "aws");
    // Those of a format have the names of variables.
    commands.retain(|command| !command.contains('{'));
    commands
}

/// The tests among the sources.
fn sources(folder: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.components().any(|part| {
            let name = part.as_os_str();
            name == "tests" || name == "tests.rs"
        });
        if path.is_dir() {
            sources(&path, all);
        } else if is_test {
            let text = unfolded(&fs::read_to_string(&path).unwrap());
            let lines = text.lines().map(|line| string(line).unwrap_or(line));
            all.push(lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// A string that is alone in its line.
fn string(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix('"')?;
    let string = rest.trim_end_matches([',', ';']).strip_suffix('"')?;
    (!string.contains('"')).then_some(string)
}

/// AWS's own models know each operation, each parameter and what is required.
#[test]
fn every_printed_command_of_the_aws_cli_is_one_that_aws_has() {
    let commands = commands();
    assert!(commands.len() > 20, "{commands:?}");
    let commands: Vec<String> = commands.into_iter().collect();
    let root = repository();
    let mut child = Command::new(python())
        .arg(root.join("tests/it/cli/printed_commands/aws_models.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // What is wrong must be found, or nothing is.
    let wrong = "aws eks describe-cluster --cluster-name x";
    writeln!(input, "{}\n{wrong}", commands.join("\n")).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        found,
        format!("{wrong}: describe-cluster has no --cluster-name\n")
    );
}

/// The word behind a flag.
fn given<'a>(command: &'a str, flag: &str) -> Option<&'a str> {
    command.split(' ').skip_while(|word| *word != flag).nth(1)
}

/// Service and operation.
fn operation(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').skip(1).take(2).collect();
    words.join(" ")
}

/// AWS with what the command names, in the state in which someone runs it.
async fn stand_in(command: &str) -> Eks {
    let name = ["--cluster-name", "--name"]
        .iter()
        .find_map(|flag| given(command, flag));
    let mode = if command.contains("authenticationMode=API_AND_CONFIG_MAP") {
        Mode::ConfigMap
    } else {
        Mode::ApiAndConfigMap
    };
    let arn = format!(
        "arn:aws:eks:eu-west-1:{ACCOUNT}:cluster/{}",
        name.unwrap_or("main")
    );
    let mut world = World::new(&arn)
        .mode(mode)
        .api_server(b"PEM", "https://127.0.0.1:6443");
    let node = world.role(ACCOUNT, "/", "NAME").arn;
    world = world.node_group(&node, NodeKind::Linux);
    let path = "/aws-reserved/sso.amazonaws.com/eu-west-1/";
    world.role(ACCOUNT, path, "AWSReservedSSO_View_0123456789abcdef");
    world.user(
        ACCOUNT,
        "/",
        given(command, "--user-name").unwrap_or("user"),
    );
    for arn in [Some(ARN), given(command, "--principal-arn")] {
        let role = arn.and_then(|arn| arn.split_once(":role"));
        if let Some((path, name)) = role.and_then(|(_, role)| role.rsplit_once('/')) {
            world.role(ACCOUNT, &format!("{path}/"), name);
        }
    }
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    if mode != Mode::ConfigMap && operation(command) != "eks create-access-entry" {
        let given = given(command, "--principal-arn").filter(|arn| *arn != "\"$arn\"");
        let entry = json!({ "principalArn": given.unwrap_or(ARN) });
        eks.by_hand("CreateAccessEntry", entry).unwrap();
    }
    eks
}

/// Runs a script in which `aws` is the AWS CLI, which finds this stand-in and no other service.
async fn shell(eks: &Eks, folder: &Path, script: &str) -> Output {
    let mut command = tokio::process::Command::new("bash");
    command
        .args(["-c", &format!("{}; {script}", aws_cli())])
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_clear()
        .envs(eks.env())
        .env("AWS_ENDPOINT_URL", NOWHERE)
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("HOME", folder)
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("arn", ARN)
        .kill_on_drop(true);
    command.output().await.unwrap()
}

/// What is wrong with a command, as a run of it shows.
async fn problem(command: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pattern.json"), pattern()).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let filled: Vec<&str> = words
        .iter()
        .map(|word| if *word == "ARN" { ARN } else { *word })
        .collect();
    let filled = filled.join(" ");
    let eks = stand_in(&filled).await;
    let mut script = filled.replace(" URL ", &format!(" {} ", eks.queue_url()));
    let operation = operation(command);
    let is_served = UNSERVED.iter().all(|(name, _)| *name != operation);
    if !is_served {
        script = format!("{script} --endpoint-url {NOWHERE}");
    } else if operation.starts_with("sqs ") {
        // The CLI of version 1 has hosts of its own for queues, which go before the variable.
        script.push_str(" --endpoint-url \"$AWS_ENDPOINT_URL_SQS\"");
    }
    let output = shell(&eks, folder.path(), &script).await;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    if words.len() == 3 && NAMED.contains(&operation.as_str()) {
        let needs = ["arguments are required", "must be specified"];
        let exists = needs.iter().any(|words| stderr.contains(words));
        return (!exists).then(|| format!("{command}: {stderr}"));
    }
    // A query that finds nothing asks for what is not there.
    let found_nothing =
        command.contains("--query") && matches!(stdout.trim(), "" | "null" | "None" | "[]" | "0");
    let succeeds = if is_served {
        output.status.success() && !found_nothing
    } else {
        stderr.contains("Could not connect to the endpoint URL")
    };
    (!succeeds).then(|| format!("{script}: {}: {stdout}{stderr}", output.status))
}

/// The pattern of events that docs/iam.md gives.
fn pattern() -> String {
    let page = fs::read_to_string(repository().join("docs/iam.md")).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let pattern = blocks.find(|block| block.contains("\"detail-type\""));
    pattern.expect("a pattern of events").to_owned()
}

#[tokio::test]
async fn every_printed_command_of_the_aws_cli_runs() {
    let commands = commands();
    for name in UNSERVED.map(|(name, _)| name).iter().chain(&NAMED) {
        let begins = format!("aws {name}");
        let is_printed = commands.iter().any(|it| it.starts_with(&begins));
        assert!(is_printed, "{name} is not printed any more");
    }
    // What is wrong must be found, or nothing is.
    let wrong = [
        "aws eks describe-cluster --name main --query cluster.mode",
        "aws eks describe-access-entry --cluster-name main",
        "aws sqs create-queue --queue-nme x",
        "aws cloudtrail lookup-events --lookup-attributes Key=EventName",
        "aws ec2 describe-instances",
    ];
    let all = commands.into_iter().chain(wrong.map(str::to_owned));
    let runs = stream::iter(all)
        .map(async |command| (problem(&command).await, command))
        .buffer_unordered(AT_ONCE);
    let problems: Vec<(Option<String>, String)> = runs.collect().await;
    let (expected, others): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .partition(|(_, command)| wrong.contains(&command.as_str()));
    for (problem, command) in expected {
        assert!(problem.is_some(), "{command} works");
    }
    let found: Vec<String> = others.into_iter().filter_map(|(it, _)| it).collect();
    assert_eq!(found, Vec::<String>::new());
}

/// The loop that the program prints where it is given a list of principals, which docs/cli.md has too.
#[tokio::test]
async fn the_loop_that_saves_access_entries_makes_the_file() {
    let listing = json!({ "accessEntries": [ARN] }).to_string();
    let refused = run(&["access", "--access-entries", "-"], listing);
    let lines = refused.lines().map(str::trim);
    let lines = lines.skip_while(|line| !line.starts_with("for arn in"));
    let (mut lines, mut script) = (lines, String::new());
    for line in lines.by_ref() {
        script.push_str(line);
        script.push('\n');
        if line.starts_with("done") {
            break;
        }
    }
    let page = fs::read_to_string(repository().join("docs/cli.md")).unwrap();
    let page: Vec<&str> = page.lines().map(str::trim).collect();
    assert!(
        !script.is_empty() && page.join("\n").contains(script.trim()),
        "{script}\n{refused}"
    );

    let mut world =
        World::new(&format!("arn:aws:eks:eu-west-1:{ACCOUNT}:cluster/CLUSTER")).mode(Mode::Api);
    let roles = [
        world.role(ACCOUNT, "/teams/", "Dev"),
        world.role(ACCOUNT, "/", "ops"),
    ];
    let eks = Eks::start(world).await;
    for role in &roles {
        let entry = json!({"principalArn": role.arn, "kubernetesGroups": ["developers"]});
        eks.by_hand("CreateAccessEntry", entry).unwrap();
    }
    let policy = json!({
        "principalArn": roles[1].arn,
        "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
        "accessScope": {"type": "namespace", "namespaces": ["apps"]},
    });
    eks.by_hand("AssociateAccessPolicy", policy).unwrap();
    eks.advance(Duration::from_mins(1));
    let folder = tempfile::tempdir().unwrap();
    let output = shell(&eks, folder.path(), &script).await;
    assert!(output.status.success(), "{output:?}");
    let saved = fs::read(folder.path().join("access-entries.json")).unwrap();
    let access = run(&["access", "--access-entries", "-", "-o", "csv"], saved);
    for role in &roles {
        assert!(access.contains(&role.arn), "{access}");
    }
    assert!(access.contains("AmazonEKSViewPolicy"), "{access}");
}
