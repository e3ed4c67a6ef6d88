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
    assert_snapshot!(read(&["sarif", SCHEMA], &ran.stdout), @r#"
    error IM020 aws%20auth%2C100%25.yaml:5:16-5:55 role path in `rolearn`: never matches: the principal has no access
    error IM041 aws%20auth%2C100%25.yaml:7:16-7:29 misspelled group "system:master": the authenticator sees the group "system:master", which grants nothing
    note IM040 aws%20auth%2C100%25.yaml:8:7-9:23 entry without groups: the authenticator sees username "viewer" and no groups
    error IM020 odd.json:1:83-1:117 role path in `rolearn`: never matches: the principal has no access
    error IM035 odd.json:1:145-1:181 placeholder `<&>` in the group "a,b: 100% <&> ' \u{1} \u{fffe} ", which was not filled in: the authenticator sees the group "a,b: 100% <&> ' \u{1} \u{fffe} "
    error IM041 odd.json:1:183-1:198 misspelled group "system:master": the authenticator sees the group "system:master", which grants nothing
    "#);
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
    assert_snapshot!(read(&["junit"], &ran.stdout), @r#"
    7 tests, 5 failures
    'aws auth,100%.yaml': 3 tests, 2 failures
      'IM020 line 5: role path in `rolearn`' Failure IM020: role path in `rolearn`
      'IM041 line 7: misspelled group "system:master"' Failure IM041: misspelled group "system:master"
      'IM040 line 8: entry without groups' note: aws auth,100%.yaml:8
    'odd.json': 3 tests, 3 failures
      'IM020 line 1: role path in `rolearn`' Failure IM020: role path in `rolearn`
      'IM035 line 1: placeholder `<&>` in the group "a,b: 100% <&> \' \\u{1} \\u{fffe} ", which was not filled in' Failure IM035: placeholder `<&>` in the group "a,b: 100% <&> ' \u{1} \u{fffe} ", which was not filled in
      'IM041 line 1: misspelled group "system:master"' Failure IM041: misspelled group "system:master"
    'other.yaml': 1 tests, 0 failures
      'no findings'
    "#);
}

#[test]
fn workflow_commands_are_one_line_each_and_escaped() {
    let ran = run_in_folder(&["lint", ".", "-o", "github"]);
    assert_snapshot!(ran.shown(), @r#"
    exit code 1
    --- stdout
    ::error file=aws auth%2C100%25.yaml,line=5,col=16,title=IM020%3A role path in `rolearn`::never matches: the principal has no access%0Aaws-iam-authenticator sees roles without their path, so an entry with a path never matches%0Afix: write arn:aws:iam::111122223333:role/dev
    ::error file=aws auth%2C100%25.yaml,line=7,col=16,title=IM041%3A misspelled group "system%3Amaster"::the authenticator sees the group "system:master", which grants nothing%0Agroups are compared character by character: no binding names this one%0Afix: write "system:masters", if that is the intended group
    ::notice file=aws auth%2C100%25.yaml,line=8,col=7,title=IM040%3A entry without groups::the authenticator sees username "viewer" and no groups%0Athe principal can sign in but has no permissions, unless a binding names its username%0Afix: add the intended groups, or make sure that a binding names the username
    ::error file=odd.json,line=1,col=83,title=IM020%3A role path in `rolearn`::never matches: the principal has no access%0Aaws-iam-authenticator sees roles without their path, so an entry with a path never matches%0Afix: write arn:aws:iam::111122223333:role/b
    ::error file=odd.json,line=1,col=145,title=IM035%3A placeholder `<&>` in the group "a%2Cb%3A 100%25 <&> ' \u{1} \u{fffe} "%2C which was not filled in::the authenticator sees the group "a,b: 100%25 <&> ' \u{1} \u{fffe} "%0AEKS compares names literally: an entry with a variable in its ARN never matches%0Afix: write the group itself
    ::error file=odd.json,line=1,col=183,title=IM041%3A misspelled group "system%3Amaster"::the authenticator sees the group "system:master", which grants nothing%0Agroups are compared character by character: no binding names this one%0Afix: write "system:masters", if that is the intended group
    "#);
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
    assert_snapshot!(by_code.shown(), @"
    exit code 0
    --- stdout
    No problems found (3 not shown).
    ");
    let commented = TEXT
        .replace("    - rolearn: arn:aws:iam::111122223333:role/team", "    # identity-mapper: ignore IM020\n    - rolearn: arn:aws:iam::111122223333:role/team")
        .replace("[system:master]", "[system:master] # identity-mapper: ignore IM041 their own group");
    assert_eq!(codes(&lint(&[], &commented)), (0, all[2..].to_vec()));
    // What is ignored is not fixed either.
    assert_eq!(lint(&["--fix"], &commented).stdout, commented);
    assert_eq!(lint(&["--fix", "--ignore", "IM020"], TEXT).stdout, TEXT);
    assert_snapshot!(lint(&["--ignore", "IM040,IM001"], &TEXT.replace("viewer", "viewer # identity-mapper: ignore IM020, IM999")).shown(), @r#"
    exit code 1
    --- stdout
    error[IM020]: role path in `rolearn`
     --> standard input:5:16
      |
    5 |     - rolearn: arn:aws:iam::111122223333:role/team/dev
      |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ never matches: the principal has no access
      |
      = note: aws-iam-authenticator sees roles without their path, so an entry with a path never matches
      = help: write arn:aws:iam::111122223333:role/dev (fixed by --fix)

    error[IM041]: misspelled group "system:master"
     --> standard input:7:16
      |
    7 |       groups: [system:master]
      |                ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which grants nothing
      |
      = note: groups are compared character by character: no binding names this one
      = help: write "system:masters", if that is the intended group

    note[IM091]: ignore comment for IM020 that matches no finding
     --> standard input:8:80
      |
    8 |     - rolearn: arn:aws:iam::111122223333:role/viewer # identity-mapper: ignore IM020, IM999
      |                                                                                ^^^^^ line 8 has no finding IM020
      |
      = note: the finding is gone or on another line: the comment could hide a new finding unnoticed
      = help: remove it, or move it to the line that the finding names, or to the line above

    error[IM090]: ignore comment with the unknown code "IM999"
     --> standard input:8:87
      |
    8 |     - rolearn: arn:aws:iam::111122223333:role/viewer # identity-mapper: ignore IM020, IM999
      |                                                                                       ^^^^^ lint has no such code
      |
      = note: an ignore comment hides the findings whose codes it names: without a valid code it hides nothing
      = help: write the code in the brackets of the finding, such as IM040 of note[IM040]

    note[IM091]: ignore comment for IM020 that matches no finding
     --> standard input:9:50
      |
    9 |       username: viewer # identity-mapper: ignore IM020, IM999
      |                                                  ^^^^^ line 9 has no finding IM020
      |
      = note: the finding is gone or on another line: the comment could hide a new finding unnoticed
      = help: remove it, or move it to the line that the finding names, or to the line above

    error[IM090]: ignore comment with the unknown code "IM999"
     --> standard input:9:57
      |
    9 |       username: viewer # identity-mapper: ignore IM020, IM999
      |                                                         ^^^^^ lint has no such code
      |
      = note: an ignore comment hides the findings whose codes it names: without a valid code it hides nothing
      = help: write the code in the brackets of the finding, such as IM040 of note[IM040]

    4 errors, 2 notes; 1 fixable with --fix (1 not shown)
    --- stderr
    note: --ignore IM001 matched no finding
    "#);
    assert_snapshot!(lint(&["--ignore", "IM999"], "").shown(), @"
    exit code 1
    --- stderr
    error: invalid value 'IM999' for '--ignore <CODE>': no such code; write the one in the brackets of the finding, such as IM040 of note[IM040]

    For more information, try '--help'.
    ");
}

#[test]
fn input_without_anything_to_check_is_no_failure_where_that_is_allowed() {
    assert_snapshot!(run(&["lint", "-", "--allow-empty"], "kind: Deployment\n"), @"
    exit code 0
    --- stdout
    No problems found.
    ");
}
