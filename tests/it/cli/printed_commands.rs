//! Commands that are printed work as they are printed: the program takes each of ours that is in a snapshot or on a page.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::programs::{operator_binary, repository};

/// Words in the place of something that the reader knows.
const PLACEHOLDERS: [&str; 4] = ["COPY", "FILE", "MODE", "…"];

fn files(folder: &Path, extension: &str, all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, all);
        } else if path.extension().is_some_and(|it| it == extension) {
            all.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// The commands of ours that stand alone in a line, as a shell takes them.
fn printed() -> BTreeSet<String> {
    let root = repository();
    let mut texts = Vec::new();
    files(&root.join("tests/it/cli"), "rs", &mut texts);
    files(&root.join("docs"), "md", &mut texts);
    let mut commands = BTreeSet::new();
    for text in texts {
        for line in text.replace("\\\n", " ").lines() {
            let line = line.trim();
            let line = ["$ ", "- "]
                .iter()
                .fold(line, |line, sign| line.strip_prefix(sign).unwrap_or(line));
            let line = line
                .split(['|', '>', '#', ';'])
                .next()
                .unwrap_or_default()
                .trim();
            let placeholder = line.split(' ').any(|word| PLACEHOLDERS.contains(&word));
            // YAML folds a long command; its end is in the next line.
            let folded = line.ends_with("--region");
            if line.starts_with("identity-mapper ") && !placeholder && !folded {
                commands.insert(line.to_owned());
            }
        }
    }
    commands
}

#[test]
fn every_printed_command_of_ours_is_one_that_the_program_takes() {
    let commands = printed();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let script = format!(
            "identity-mapper() {{ {:?} \"$@\"; }}; {command}",
            operator_binary()
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(repository())
            .env("KUBECONFIG", "/nowhere/kubeconfig")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !said.contains("For more information, try '--help'"),
            "{command}: {said}"
        );
    }
}
