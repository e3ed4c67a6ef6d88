//! Manual pages, as `man` shows them.

use std::io::Write as _;
use std::process::Command;

use insta::assert_snapshot;

use super::Run;
use crate::support::supervise::Scratch;

#[test]
fn pages_are_read_in_man() {
    let folder = Scratch::new();
    let ran = Run::new(["man", folder.path().to_str().unwrap()]).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.lines().count() > 20, "{}", ran.stdout);
    for path in ran.stdout.lines() {
        let shown = Command::new("man")
            .args(["--warnings", "--local-file", path])
            .env("MANWIDTH", "80")
            .env("MANPAGER", "cat")
            .env("MAN_KEEP_FORMATTING", "")
            .output();
        let Ok(shown) = shown else {
            let line = "skipped: cli::manual::pages_are_read_in_man (man is not installed; apt-get install man-db)\n";
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return;
        };
        let warnings = String::from_utf8_lossy(&shown.stderr);
        assert!(
            shown.status.success() && warnings.is_empty(),
            "{path}: {warnings}"
        );
        let page = String::from_utf8(shown.stdout).unwrap();
        let section = |from: &str, to: &str| {
            let (_, rest) = page
                .split_once(from)
                .unwrap_or_else(|| panic!("{from}: {page}"));
            rest.split(to).next().unwrap().to_owned()
        };
        if path.ends_with("/identity-mapper-access-diff.1") {
            assert_snapshot!(section("\nOPTIONS\n", "\nEXAMPLES\n"), @"
                   OLD_FILE
                          The earlier report; `-` for standard input.

                   NEW_FILE
                          The later report; `-` for standard input.

                   -o, --output OUTPUT
                          Output format.
                          text: Human-readable.
                          json: One JSON document.
                          html: A self-contained page for auditors.
                          Default: text.

                   -v, --verbose
                          More  logs  on  standard  error:  -v for the requests to the API
                          server and to AWS, -vv for everything.

                   -h, --help
                          Print help (see a summary with '-h').
            ");
        }
        if path.ends_with("/identity-mapper-plan.1") {
            let group = section("   Cluster and AWS", "EXAMPLES");
            assert!(group.contains("--kubeconfig"), "{group}");
            assert!(
                group.contains("Environment: IDENTITY_MAPPER_KUBECONFIG."),
                "{page}"
            );
        }
    }
}
