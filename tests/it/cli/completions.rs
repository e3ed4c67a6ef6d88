//! Completion in the real shells: the first word, a flag, a value, a name with colons, and kubectl's plugin.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::Run;
use crate::support::programs::{operator_binary, program};
use crate::support::supervise::Scratch;

const KUBECONFIG: &str = r"apiVersion: v1
kind: Config
contexts:
- {name: 'arn:aws:eks:eu-west-1:111122223333:cluster/main', context: {cluster: c, user: u}}
- {name: other, context: {cluster: c, user: u}}
";

/// What is typed, and what must be among the answers.
const TYPED: [(&str, &str); 6] = [
    ("identity-mapper li", "lint"),
    ("identity-mapper rollback li", "list"),
    ("identity-mapper access --out", "--output"),
    ("identity-mapper access -o htm", "html"),
    ("identity-mapper access --context oth", "other"),
    (
        "identity-mapper access --context arn:aws:eks:eu-west-1:1111",
        "arn:aws:eks:eu-west-1:111122223333:cluster/main",
    ),
];

/// A folder with the program under all its names, a kubeconfig, and the scripts.
fn folder() -> Scratch {
    let folder = Scratch::new();
    for name in ["identity-mapper", "kubectl-idmap", "kubectl_complete-idmap"] {
        symlink(operator_binary(), folder.path().join(name)).unwrap();
    }
    symlink(program("kubectl"), folder.path().join("kubectl")).unwrap();
    std::fs::write(folder.path().join("kubeconfig"), KUBECONFIG).unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ran = Run::new(["completions", shell]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shell}");
        std::fs::write(folder.path().join(shell), ran.stdout).unwrap();
    }
    folder
}

/// Runs a program with the folder's programs; `None` where it is missing.
fn answers(folder: &Path, shell: &str, arguments: &[&str]) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let ran = Command::new(shell)
        .args(arguments)
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .env("HOME", folder)
        .current_dir(folder)
        .output();
    let output = ran.ok()?;
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shell} {arguments:?}: {words}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn assert_offers(shell: &str, typed: &str, wanted: &str, answers: &str) {
    let offered = |line: &str| {
        let value = line.split('\t').next().unwrap_or_default();
        value == wanted || value.trim_end() == wanted
    };
    assert!(
        answers.lines().any(offered),
        "{shell}: {typed:?} offers {answers:?}, not {wanted}"
    );
}

/// On standard error itself, which libtest does not keep back.
fn skipped(shell: &str) {
    let line = format!("skipped: cli::completions::{shell} ({shell} is not installed)\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn bash() {
    let folder = folder();
    for (typed, wanted) in TYPED {
        // As bash does it: the line, the cursor, and words that are cut at COMP_WORDBREAKS.
        let script = format!(
            "source ./bash; COMP_LINE={typed:?}; COMP_POINT=${{#COMP_LINE}}; _identity_mapper; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let Some(found) = answers(folder.path(), "bash", &["--norc", "-c", &script]) else {
            return skipped("bash");
        };
        // bash replaces what stands after the last colon.
        let (last, _) = typed
            .rsplit_once(' ')
            .map_or((typed, ""), |(_, last)| (last, ""));
        let done = last.rfind([':', '=']).map_or(0, |at| at + 1);
        assert_offers("bash", typed, &wanted[done..], &found);
    }
    let files = "source ./bash; COMP_LINE='identity-mapper lint kubec'; COMP_POINT=${#COMP_LINE}; compopt() { :; }; _identity_mapper; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let found = answers(folder.path(), "bash", &["--norc", "-c", files]).unwrap();
    assert_offers("bash", "a file", "kubeconfig", &found);
    let registered = answers(
        folder.path(),
        "bash",
        &[
            "--norc",
            "-c",
            "source ./bash; complete -p identity-mapper kubectl-idmap",
        ],
    );
    assert_eq!(
        registered.unwrap().matches("-F _identity_mapper").count(),
        2
    );
}

#[test]
fn zsh() {
    let folder = folder();
    for (typed, wanted) in TYPED {
        // Without a terminal zsh offers nothing, so what it would offer is printed.
        let words = typed.split(' ').collect::<Vec<_>>();
        let script = format!(
            "compdef() {{ : }}; _files() {{ print FILES }}; _describe() {{ print -l -- \"${{values[@]//\\\\:/:}}\" }}; source ./zsh; words=({}); CURRENT={}; _identity_mapper",
            words
                .iter()
                .map(|word| format!("'{word}'"))
                .collect::<Vec<_>>()
                .join(" "),
            words.len()
        );
        let Some(found) = answers(folder.path(), "zsh", &["-f", "-c", &script]) else {
            return skipped("zsh");
        };
        let begins = |line: &str| line == wanted || line.starts_with(&format!("{wanted}:"));
        assert!(
            found.lines().any(begins),
            "{typed:?} offers {found:?}, not {wanted}"
        );
    }
}

#[test]
fn fish() {
    let folder = folder();
    for (typed, wanted) in TYPED {
        let script = format!("source ./fish; complete -C '{typed}'");
        let Some(found) = answers(folder.path(), "fish", &["--no-config", "-c", &script]) else {
            return skipped("fish");
        };
        assert_offers("fish", typed, wanted, &found);
    }
}

#[test]
fn powershell() {
    let folder = folder();
    for (typed, wanted) in TYPED {
        let script = format!(
            "Get-Content -Raw ./powershell | Invoke-Expression; (TabExpansion2 '{typed}' {}).CompletionMatches.CompletionText",
            typed.len()
        );
        let Some(found) = answers(folder.path(), "pwsh", &["-NoProfile", "-Command", &script])
        else {
            return skipped("pwsh");
        };
        assert_offers("pwsh", typed, wanted, &found);
    }
}

#[test]
fn kubectl_completes_the_plugin() {
    let folder = folder();
    for (words, wanted) in [
        (&["idmap", "acc"][..], "access"),
        (&["idmap", "access", "-o", "htm"], "html"),
        (&["idmap", "access", "--context", "oth"], "other"),
    ] {
        let arguments = [&["__complete"], words].concat();
        let kubectl = folder.path().join("kubectl");
        let found = answers(folder.path(), kubectl.to_str().unwrap(), &arguments).unwrap();
        assert_offers("kubectl", &words.join(" "), wanted, &found);
    }
}
