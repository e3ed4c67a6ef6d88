//! Examples in README and docs that show what is printed: run as they stand, and compared.
//!
//! A block of the language `console` is a session in a shell, begun in the repository's folder: lines that begin with `$ ` are typed, what
//! follows each is printed, standard output and standard error as they come. `make examples` writes what is printed now.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::support::programs::{operator_binary, repository};

/// Where this is set, the pages are written anew.
const WRITE: &str = "IDENTITY_MAPPER_WRITE_EXAMPLES";

/// The width of the terminal that the pages show.
const COLUMNS: &str = "120";

#[test]
fn console_sessions_print_the_documented_output() {
    let mut sessions = 0;
    for (path, text) in super::pages() {
        let mut written = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("```console\n") {
            let (session, after) = after.split_once("```").expect("the block ends");
            let _ = write!(written, "{before}```console\n{}```", replay(session));
            rest = after;
            sessions += 1;
        }
        written += rest;
        if written == text {
            continue;
        }
        if env::var_os(WRITE).is_some() {
            fs::write(&path, written).unwrap();
        } else {
            let diff = similar::TextDiff::from_lines(&text, &written);
            panic!(
                "{} shows what is not printed any more (`make examples` writes it anew):\n{}",
                path.display(),
                diff.unified_diff()
            );
        }
    }
    assert!(sessions > 0, "no page has a session");
}

/// The session as it goes now.
fn replay(session: &str) -> String {
    let binary = operator_binary();
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let (mut replayed, mut status) = (String::new(), 0);
    let mut lines = session.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else {
            continue;
        };
        let mut typed = first.to_owned();
        let _ = writeln!(replayed, "{line}");
        while typed.ends_with('\\')
            && let Some(more) = lines.next()
        {
            let _ = write!(typed, "\n{more}");
            let _ = writeln!(replayed, "{more}");
        }
        let mut shell = Command::new("sh");
        shell
            .current_dir(repository())
            .env_clear()
            .env("PATH", &path)
            .env("HOME", "/nowhere")
            .env("COLUMNS", COLUMNS)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .args(["-c", &format!("exec 2>&1; (exit {status}); {typed}")]);
        let output = shell.output().unwrap();
        status = output.status.code().expect("it ends by itself");
        replayed += &String::from_utf8(output.stdout).unwrap();
        if lines.peek().is_some_and(|line| line.starts_with("$ ")) && !replayed.ends_with('\n') {
            replayed.push('\n');
        }
    }
    replayed
}
