//! What `identity-mapper lint` prints for other programs, read by them; and what it leaves out when asked to.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use super::{Ran, Run, run};
use crate::support::programs::{python, repository};

const TEXT: &str = r"kind: ConfigMap
metadata: {name: aws-auth, namespace: kube-system}
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/team/dev
      username: dev
      groups: [system:master]
    - rolearn: arn:aws:iam::111122223333:role/viewer
      username: viewer
";

/// A value on one line with everything that a format has to escape, among them what no XML can contain.
const ODD: &str = r#"{"kind":"ConfigMap","metadata":{"name":"aws-auth"},"data":{"mapRoles":"- rolearn: arn:aws:iam::111122223333:role/a/b\n  username: x\n  groups: [\"a,b: 100% <&> ' \\u0001 \\ufffe \", 'system:master']"}}"#;

/// A folder with a text of each kind, and a run in it.
fn run_in_folder(arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("aws auth,100%.yaml", TEXT);
    write("odd.json", ODD);
    write("other.yaml", "kind: Deployment\n");
    Run::new(arguments).within(folder.path()).run()
}

/// What the reader of a format makes of a text.
fn read(format: &[&str], text: &str) -> String {
    let mut reader = Command::new(python());
    reader.arg("tests/it/cli/read_formats.py").args(format);
    reader.current_dir(repository()).stdin(Stdio::piped());
    let child = reader.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}\n{text}");
    String::from_utf8(output.stdout).unwrap()
}

const SCHEMA: &str = "tests/schemas/sarif-2.1.0.json";

#[test]
fn sarif_is_valid_and_marks_the_lines() {
    let ran = run_in_folder(&["lint", ".", "-o", "sarif"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert_snapshot!(read(&["sarif", SCHEMA], &ran.stdout), @"");
    // Without findings it is a log too, and so are those of a cluster's path.
    let none = run(
        &["lint", "-", "-o", "sarif"],
        "kind: ConfigMap\nmetadata: {name: aws-auth}\n",
    );
    let (_, none) = none.split_once("--- stdout\n").unwrap();
    assert_eq!(read(&["sarif", SCHEMA], none), "");
    let absolute = tempfile::tempdir().unwrap();
    let path = absolute.path().join("a b.yaml");
    fs::write(&path, TEXT).unwrap();
    let ran = Run::new([Path::new("lint"), &path, Path::new("-osarif")]).run();
    let shown = read(&["sarif", SCHEMA], &ran.stdout);
    let place = format!("file://{}/a%20b.yaml:5:16", absolute.path().display());
    assert!(shown.contains(&place), "{shown}");
}

#[test]
fn junit_is_read_as_tests_of_files() {
    let ran = run_in_folder(&["lint", ".", "-o", "junit"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert_snapshot!(read(&["junit"], &ran.stdout), @"");
}

#[test]
fn workflow_commands_are_one_line_each_and_escaped() {
    let ran = run_in_folder(&["lint", ".", "-o", "github"]);
    assert_snapshot!(ran.shown(), @"");
}

#[test]
fn findings_are_left_out_by_code_severity_and_comment() {
    let lint = |arguments: &[&str], text: &str| {
        let arguments = ["lint", "-"].iter().chain(arguments);
        Run::new(arguments).stdin(text).run()
    };
    let codes = |ran: &Ran| {
        let lines = ran.stdout.lines().filter(|line| line.contains("[IM"));
        let codes = lines.map(|line| line.split_once(']').unwrap().0.to_owned());
        (ran.code, codes.collect::<Vec<_>>())
    };
    let all = ["error[IM020", "error[IM041", "note[IM040"].map(str::to_owned);
    assert_eq!(codes(&lint(&[], TEXT)), (1, all.to_vec()));
    let warnings = lint(&["--min-severity", "warning"], TEXT);
    assert_eq!(codes(&warnings), (1, all[..2].to_vec()));
    assert!(
        warnings
            .stdout
            .ends_with("\n2 errors; 1 fixable with --fix (1 not shown)\n"),
        "{}",
        warnings.stdout
    );
    let by_code = lint(&["--ignore", "im020,IM041", "--ignore=IM040"], TEXT);
    assert_snapshot!(by_code.shown(), @"");
    let commented = TEXT
        .replace("    - rolearn: arn:aws:iam::111122223333:role/team", "    # identity-mapper: ignore IM020\n    - rolearn: arn:aws:iam::111122223333:role/team")
        .replace("[system:master]", "[system:master] # identity-mapper: ignore IM041 their own group");
    assert_eq!(codes(&lint(&[], &commented)), (0, all[2..].to_vec()));
    // What is ignored is not fixed either.
    assert_eq!(lint(&["--fix"], &commented).stdout, commented);
    assert_eq!(lint(&["--fix", "--ignore", "IM020"], TEXT).stdout, TEXT);
    assert_snapshot!(lint(&["--ignore", "IM040,IM001"], &TEXT.replace("viewer", "viewer # identity-mapper: ignore IM020, IM999")).shown(), @"");
    assert_snapshot!(lint(&["--ignore", "IM999"], "").shown(), @"");
}

#[test]
fn input_without_anything_to_check_is_no_failure_where_that_is_allowed() {
    assert_snapshot!(run(&["lint", "-", "--allow-empty"], "kind: Deployment\n"), @"");
}
