//! Commands that are printed work as they are printed: those of ours, of kubectl and of the AWS CLI that are in a snapshot or on a page.

mod aws;
mod own;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::Cluster;
use crate::support::programs::{operator_binary, program, repository};

/// Words in the place of something that the reader knows.
const PLACEHOLDERS: [&str; 4] = ["COPY", "FILE", "MODE", "…"];

/// What ends a command in a line: the next one, or a comment.
const ENDS: [&str; 8] = [" | ", " > ", " >", " # ", " && ", "; ", ", then ", " \\"];

fn files(folder: &Path, extension: &str, all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Not these tests themselves, which have wrong ones.
            if path
                .file_name()
                .is_none_or(|name| name != "printed_commands")
            {
                files(&path, extension, all);
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            all.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// The texts of snapshots and pages, with each folded line in one.
fn texts() -> Vec<String> {
    let root = repository();
    let mut texts = Vec::new();
    for page in ["README.md", "charts/identity-mapper/values.yaml"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        // A paragraph may begin with the program's name.
        let lines = text.lines().filter(|line| line.starts_with([' ', '#']));
        texts.push(lines.collect::<Vec<_>>().join("\n"));
    }
    files(&root.join("tests/it/cli"), "rs", &mut texts);
    files(&root.join("docs"), "md", &mut texts);
    texts.iter().map(|text| unfolded(text)).collect()
}

/// YAML folds long texts, and the source of a test breaks them behind a backslash: what continues a line is put behind it.
fn unfolded(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut item = None;
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        let goes_on = lines.last().is_some_and(|last| {
            let quotes = last.matches('`').count();
            last.ends_with('\\') || !quotes.is_multiple_of(2) && !last.contains("```")
        });
        let folded = item.is_some_and(|item| indent == item + 2) && !content.is_empty();
        match lines.last_mut() {
            Some(last) if goes_on => {
                let before = last.trim_end_matches('\\').trim_end();
                *last = format!("{before} {content}");
            }
            Some(last) if folded && !content.starts_with("- ") => {
                last.push(' ');
                last.push_str(content);
            }
            _ => {
                item = content.starts_with("- ").then_some(indent);
                lines.push(line.to_owned());
            }
        }
    }
    lines.join("\n")
}

/// The commands of a program in snapshots and pages.
fn printed(name: &str) -> BTreeSet<String> {
    commands_in(&texts(), name)
}

/// The commands of a program: alone in a line, or between backticks.
fn commands_in(texts: &[String], name: &str) -> BTreeSet<String> {
    let begins = format!("{name} ");
    let mut commands = BTreeSet::new();
    for text in texts {
        for line in text.lines() {
            let alone = line.trim();
            let alone = ["$ ", "- ", ">- ", "# "]
                .iter()
                .fold(alone, |line, sign| line.strip_prefix(sign).unwrap_or(line));
            let quoted = line.split('`').skip(1).step_by(2).map(str::trim);
            let piped = alone.split(" | ").skip(1).map(str::trim);
            for command in [alone].into_iter().chain(quoted).chain(piped) {
                if !command.starts_with(&begins) {
                    continue;
                }
                let end = ENDS.iter().filter_map(|end| command.find(end)).min();
                let command = command[..end.unwrap_or(command.len())].trim();
                let command = command.trim_end_matches(['.', ',', ';', ')', '`', '\\']);
                // The code of a test and what a format fills in are no commands; an odd quote is the end of a string of the code.
                let is_code = command.contains("{}")
                    || command.contains("\\\"")
                    || !command.matches('"').count().is_multiple_of(2)
                    || !command.matches('\'').count().is_multiple_of(2);
                if !is_code && !command.split(' ').any(|word| PLACEHOLDERS.contains(&word)) {
                    commands.insert(command.to_owned());
                }
            }
        }
    }
    commands
}

#[test]
fn every_printed_command_of_ours_is_one_that_the_program_takes() {
    let commands = printed("identity-mapper");
    assert!(commands.len() > 40, "{commands:?}");
    let whole = "identity-mapper migrate apply --to API --confirm main --cluster-name main --region eu-west-1";
    assert!(
        commands.contains(whole),
        "folded lines are whole: {commands:?}"
    );
    let mut wrong = Vec::new();
    for command in commands {
        let script = format!(
            "identity-mapper() {{ {:?} \"$@\"; }}; {command}",
            operator_binary()
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(repository())
            .stdin(Stdio::null())
            .env("KUBECONFIG", "/nowhere/kubeconfig")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // A command that is only named.
        let is_name = command.split(' ').count() == 2 && said.contains("were not provided");
        if said.contains("For more information, try '--help'") && !is_name {
            wrong.push(format!("{command}: {said}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Verbs that only read.
const READS: [&str; 12] = [
    "api-resources",
    "auth",
    "config",
    "describe",
    "events",
    "explain",
    "get",
    "logs",
    "rollout",
    "top",
    "version",
    "wait",
];
/// Verbs that change something, and what keeps them from it.
const CHANGES: [&str; 8] = [
    "annotate", "apply", "create", "delete", "label", "patch", "replace", "scale",
];

/// The command as it can be run without changing anything; `None` where it only names kubectl.
fn harmless(command: &str) -> Option<String> {
    let verb = command.split(' ').nth(1)?;
    // Only the form of the output is meant.
    if command
        .split(' ')
        .nth(2)
        .is_some_and(|word| word.starts_with("-o"))
    {
        return None;
    }
    let command = command
        .replace("NAME", "name")
        .replace("GROUP", "group")
        .replace("POD", "pod");
    if READS.contains(&verb) && command.split(' ').count() > 2 {
        // Nothing of what is waited for happens here.
        let patient = |word: &&str| !word.starts_with("--timeout=");
        let words: Vec<&str> = command.split(' ').filter(patient).collect();
        let command = words.join(" ");
        return Some(command.replace("kubectl wait ", "kubectl wait --timeout=1s "));
    }
    if verb == "edit" && command.split(' ').count() > 3 {
        return Some(command);
    }
    let is_whole = command.split(' ').count() > 2 && CHANGES.contains(&verb);
    is_whole.then(|| format!("{command} --dry-run=server"))
}

fn kubectl(cluster: &Cluster, command: &str) -> Output {
    let script = format!(
        "kubectl() {{ '{}' \"$@\"; }}; {command}",
        program("kubectl").display()
    );
    Command::new("bash")
        .args(["-c", &script])
        .current_dir(repository())
        .stdin(Stdio::null())
        .env("KUBECONFIG", cluster.admin_kubeconfig())
        // An editor that changes nothing.
        .env("KUBE_EDITOR", "true")
        .output()
        .unwrap()
}

/// What the API server, and not kubectl, says where an object of the example does not exist here.
const ABSENT: [&str; 5] = [
    "timed out waiting for the condition",
    "(NotFound)",
    "no objects passed",
    "does not exist",
    "no matching resources found",
];

#[tokio::test]
async fn every_printed_command_of_kubectl_is_one_that_the_api_server_takes() {
    let cluster = Cluster::with_operator_rights().await;
    let commands = printed("kubectl");
    let commands: BTreeSet<String> = commands.iter().filter_map(|it| harmless(it)).collect();
    assert!(commands.len() > 15, "{commands:?}");
    let mut wrong = Vec::new();
    for command in &commands {
        let output = kubectl(&cluster, command);
        let said = String::from_utf8_lossy(&output.stderr);
        // `can-i` answers no by its exit code.
        let is_no = said.is_empty() && output.stdout == b"no\n";
        let absent = is_no || ABSENT.iter().any(|words| said.contains(words));
        if !output.status.success() && !absent {
            wrong.push(format!("{command}: {said}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
