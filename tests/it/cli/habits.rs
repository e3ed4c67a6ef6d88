//! What all commands have in common: names, help, completions, colours, exit codes.

use std::os::unix::fs::symlink;
use std::process::Command;

use insta::assert_snapshot;

use super::{Run, run};
use crate::support::programs::{operator_binary, program};

#[test]
fn version() {
    let expected = format!(
        "exit code 0\n--- stdout\nidentity-mapper {}\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(run(&["version"], ""), expected);
    assert_eq!(run(&["--version"], ""), expected);
}

#[test]
fn kubectl_finds_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    symlink(operator_binary(), folder.path().join("kubectl-idmap")).unwrap();
    let kubectl = |args: &[&str]| {
        let output = Command::new(program("kubectl"))
            .args(args)
            .env("PATH", folder.path())
            .env("HOME", folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(kubectl(&["plugin", "list"]).contains("kubectl-idmap"));
    assert!(kubectl(&["idmap", "version"]).starts_with("identity-mapper "));
    let help = kubectl(&["idmap", "effective", "--help"]);
    assert!(help.contains("Usage: kubectl idmap effective"), "{help}");
}

#[test]
fn what_is_no_command_names_the_nearest() {
    assert_snapshot!(run(&["effectve"], ""), @r"
    exit code 1
    --- stderr
    error: unrecognized subcommand 'effectve'

      tip: a similar subcommand exists: 'effective'

    Usage: identity-mapper [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

/// Elsewhere than on a terminal there are no colours; `CLICOLOR_FORCE` asks for them, and `NO_COLOR` forbids them all the same.
#[test]
fn colours_are_for_terminals() {
    let broken = "kind: ConfigMap\ndata: {mapRoles: \"username: {{x}}\"}\n";
    let ran = |variables: &[(&str, &str)]| {
        let run = Run::new(["effective", "-"]).stdin(broken);
        let run = variables
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value));
        run.run().stdout.contains('\u{1b}')
    };
    assert!(!ran(&[]));
    assert!(ran(&[("CLICOLOR_FORCE", "1")]));
    assert!(!ran(&[("NO_COLOR", "1")]));
}

#[test]
fn every_command_says_what_it_does() {
    let help = run(&["--help"], "");
    let (_, commands) = help.split_once("\nCommands:\n").unwrap();
    let commands = commands.lines().map_while(|line| line.strip_prefix("  "));
    for line in commands.filter(|line| !line.starts_with(' ') && !line.starts_with("help ")) {
        let (name, about) = line.split_once(' ').unwrap();
        assert!(about.trim().len() > 10, "{name}: {about:?}");
        let own = run(&[name, "--help"], "");
        assert!(own.starts_with("exit code 0\n"), "{name}: {own}");
    }
}
