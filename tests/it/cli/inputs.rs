//! The forms in which aws-auth is handed to commands: one reader for all of them, templates passed over, fixes tried without writing.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::programs::repository;

const ROLE: &str =
    "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n  groups: [dev]\n";
const USER: &str =
    "- userarn: arn:aws:iam::111122223333:user/jane\n  username: jane\n  groups: [dev]\n";
const ARN: &str = "arn:aws:iam::111122223333:role/dev";

fn ran(arguments: &[&str], input: &str) -> Ran {
    Run::new(arguments).within(&repository()).stdin(input).run()
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn config_map(name: &str, roles: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "kube-system" },
        "data": { "mapRoles": roles },
    })
}

fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// Every command that reads aws-auth from a file, on standard input.
fn readers() -> [Vec<&'static str>; 7] {
    [
        vec!["effective", "-"],
        vec!["effective", "--aws-auth", "-"],
        vec!["lint", "--aws-auth", "-"],
        vec!["explain", ARN, "--aws-auth", "-"],
        vec!["access", "--aws-auth", "-"],
        vec!["import", "--aws-auth", "-"],
        vec!["plan", "-f", "tests/examples/mappings", "--aws-auth", "-"],
    ]
}

#[test]
fn every_command_reads_aws_auth_alone_and_among_others() {
    let aws_auth = config_map("aws-auth", ROLE);
    let mut other = config_map("kube-root-ca.crt", "");
    other["data"] = json!({ "ca.crt": "x" });
    let yaml = "apiVersion: v1\nitems:\n- apiVersion: v1\n  data:\n    mapRoles: |\n      - rolearn: \
        arn:aws:iam::111122223333:role/dev\n        username: dev\n        groups: [dev]\n  kind: ConfigMap\n  metadata:\n    name: \
        aws-auth\n    namespace: kube-system\nkind: List\nmetadata:\n  resourceVersion: \"\"\n";
    let texts = [
        aws_auth.to_string(),
        list(std::slice::from_ref(&aws_auth)),
        list(&[other.clone(), aws_auth.clone()]),
        yaml.to_owned(),
        format!("{aws_auth}\n{other}\n"),
        format!("---\nkind: Namespace\nmetadata: {{name: x}}\n---\n{aws_auth}\n"),
    ];
    for reader in readers() {
        let alone = ran(&reader, &texts[0]);
        assert_eq!(alone.code, 0, "{reader:?}: {}", alone.shown());
        for text in &texts[1..] {
            let among = ran(&reader, text);
            assert_eq!(among.shown(), alone.shown(), "{reader:?}: {text}");
        }
    }
}

#[test]
fn a_list_alone_is_read_as_the_key_that_it_fits_and_said_to_be_one() {
    let accounts = "- \"111122223333\"\n";
    let json = json!([{ "rolearn": ARN, "username": "dev", "groups": ["dev"] }]).to_string();
    for (text, key) in [
        (ROLE, "mapRoles"),
        (json.as_str(), "mapRoles"),
        (USER, "mapUsers"),
        (accounts, "mapAccounts"),
    ] {
        let read = ran(&["effective", "-"], text);
        assert_eq!(read.code, 0, "{}", read.shown());
        assert!(
            read.stdout.contains(&format!("\n{key} ")),
            "{}",
            read.shown()
        );
        let note = format!(
            "note: standard input is a list without a manifest around it; it is read as {key} of kube-system/aws-auth\n"
        );
        assert_eq!(read.stderr, note);
    }
    for reader in readers().iter().filter(|reader| reader[0] != "lint") {
        let read = ran(reader, ROLE);
        assert_eq!(read.code, 0, "{}", read.shown());
        assert!(
            read.stderr.contains("it is read as mapRoles"),
            "{}",
            read.shown()
        );
    }
}

#[test]
fn what_is_ambiguous_or_missing_is_refused_with_the_fix() {
    let aws_auth = config_map("aws-auth", ROLE);
    let other = config_map("other", ROLE);
    let both = format!("{ROLE}{USER}");
    for (text, words) in [
        (both, "both `rolearn` and `userarn`"),
        (list(&[]), "a list without items"),
        (
            list(&[other.clone(), other.clone()]),
            "none of these 2 manifests is the ConfigMap kube-system/aws-auth",
        ),
        (
            list(&[aws_auth.clone(), aws_auth]),
            "is given twice, in line 1 and in line 1",
        ),
        (other.to_string(), "this is the ConfigMap kube-system/other"),
        (
            format!("mapRoles: |\n  {}", ROLE.replace('\n', "\n  ")),
            "keys of aws-auth without a manifest around them",
        ),
    ] {
        for reader in readers().iter().filter(|reader| reader[0] != "lint") {
            let refused = ran(reader, &text);
            assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{text}");
            assert!(refused.stderr.contains(words), "{}", refused.shown());
        }
    }
}

#[test]
fn lint_takes_aws_auth_by_either_form() {
    let text = config_map("aws-auth", ROLE).to_string();
    let positional = ran(&["lint", "-"], &text);
    let flag = ran(&["lint", "--aws-auth", "-"], &text);
    assert_eq!(positional.shown(), flag.shown());
    let cluster = [
        "--cluster-arn",
        "arn:aws:eks:eu-west-1:111122223333:cluster/main",
    ];
    let with = ran(
        &[&["lint", "--aws-auth", "-", "--mode=API"], &cluster[..]].concat(),
        &text,
    );
    assert!(with.stdout.contains("IM066"), "{}", with.shown());
    let without = ran(&[&["lint", "--mode=API"], &cluster[..]].concat(), "");
    assert_eq!(without.code, 1);
    assert!(
        without.stderr.contains("needs files"),
        "{}",
        without.shown()
    );
    let twice = ran(&["effective", "-", "--aws-auth", "-"], &text);
    assert_eq!(twice.code, 1);
    assert!(
        twice.stderr.contains("cannot be used with"),
        "{}",
        twice.shown()
    );
}

const HELM: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\ndata:\n  mapRoles: |\n\
    {{- range .Values.roles }}\n    - rolearn: {{ .arn }}\n{{- end }}\n";

#[test]
fn templates_in_folders_are_passed_over_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| file(folder.path(), name, text);
    at("chart/Chart.yaml", "name: a\n");
    at("chart/templates/aws-auth.yaml", HELM);
    let raw = at("raw/aws-auth.yaml", HELM);
    let lint = |arguments: &[&str]| {
        let all = [&["lint"], arguments].concat();
        Run::new(all).within(folder.path()).run()
    };
    let alone = lint(&["."]);
    assert!(
        alone
            .stderr
            .ends_with("templates, which have to be rendered first; --allow-empty accepts that\n"),
        "{}",
        alone.shown()
    );
    for format in ["text", "json", "sarif", "github", "junit"] {
        let empty = lint(&[".", "-o", format]);
        assert_eq!((empty.code, empty.stdout.as_str()), (1, ""), "{format}");
        let allowed = lint(&[".", "-o", format, "--allow-empty"]);
        assert_eq!(allowed.code, 0, "{format}: {}", allowed.shown());
    }
    at("right.json", &config_map("aws-auth", ROLE).to_string());
    for arguments in [&["."][..], &[".", "--fix"], &["right.json", "raw", "chart"]] {
        let passed = lint(arguments);
        assert_eq!(passed.code, 0, "{}", passed.shown());
        assert_eq!(passed.stdout, "No problems found.\n");
        for words in [
            "raw/aws-auth.yaml is not checked, because line 8 has a template that was not rendered: {{- range .Values.roles }}",
            "chart are not checked (templates/aws-auth.yaml)",
        ] {
            assert!(passed.stderr.contains(words), "{}", passed.shown());
        }
    }
    assert_eq!(fs::read_to_string(&raw).unwrap(), HELM);
    // A fault beside them counts as without them.
    at(
        "wrong.json",
        &config_map("aws-auth", &ROLE.replace("role/", "role/x/")).to_string(),
    );
    assert_eq!(lint(&["."]).code, 1);
    // A template that is named is said to be one.
    for named in ["raw/aws-auth.yaml", "chart/templates/aws-auth.yaml"] {
        let named = lint(&[named]);
        assert_eq!(named.code, 1, "{}", named.shown());
        assert!(named.stdout.contains("error[IM034]"), "{}", named.shown());
    }
}

#[test]
fn a_dry_run_of_a_fix_writes_nothing_and_its_exit_code_says_whether_it_would() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = ROLE.replace("role/", "role/x/");
    let path = file(
        folder.path(),
        "aws-auth.json",
        &config_map("aws-auth", &wrong).to_string(),
    );
    let before = fs::read_to_string(&path).unwrap();
    let dry = ran(&["lint", "--fix", "--dry-run", &path], "");
    assert_eq!(dry.code, 2, "{}", dry.shown());
    for words in [
        "role/dev",
        "Access changes:",
        "Dry run: nothing was written.",
        "No problems found.",
    ] {
        assert!(dry.stdout.contains(words), "{}", dry.shown());
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let piped = ran(&["lint", "--fix", "--dry-run", "-"], &before);
    assert_eq!(piped.code, 2, "{}", piped.shown());
    assert!(
        piped.stdout.starts_with("--- standard input\n"),
        "{}",
        piped.shown()
    );
    let fixed = ran(&["lint", "--fix", &path], "");
    assert_eq!(fixed.code, 0, "{}", fixed.shown());
    let written = format!("\nWritten: {path}\n");
    assert!(fixed.stdout.contains(&written), "{}", fixed.shown());
    let nothing = ran(&["lint", "--fix", &path], "");
    assert_eq!(nothing.stdout, "No problems found.\n");
    let again = ran(&["lint", "--fix", "--dry-run", &path], "");
    assert_eq!(again.code, 0, "{}", again.shown());
    // What is no safe fix stays an error.
    let group = ROLE.replace("[dev]", "[\"system:master\"]");
    let error = ran(
        &["lint", "--fix", "--dry-run", "-"],
        &config_map("aws-auth", &group).to_string(),
    );
    assert_eq!(error.code, 1, "{}", error.shown());
    let alone = ran(&["lint", "--dry-run", &path], "");
    assert!(alone.stderr.contains("--fix"), "{}", alone.shown());
}

#[test]
fn a_list_alone_is_checked_with_the_key_that_it_is_taken_for() {
    let folder = tempfile::tempdir().unwrap();
    for (text, key) in [(ROLE, "mapRoles"), (USER, "mapUsers")] {
        let path = file(folder.path(), "bare.yaml", text);
        for command in ["lint", "effective"] {
            let ran = ran(&[command, &path], "");
            assert_eq!(ran.code, 0, "{}", ran.shown());
            let note = format!(
                "note: {path} is a list without a manifest around it; it is read as {key} of "
            );
            assert!(ran.stderr.starts_with(&note), "{}", ran.shown());
        }
    }
    let path = file(
        folder.path(),
        "whole.json",
        &config_map("aws-auth", ROLE).to_string(),
    );
    assert_eq!(ran(&["lint", &path], "").stderr, "");
}

#[test]
fn effective_fails_where_it_reports_an_error() {
    let misread = "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n    - devs\n";
    for output in ["text", "json"] {
        let ran = ran(
            &["effective", "-", "-o", output],
            &config_map("aws-auth", misread).to_string(),
        );
        assert_eq!(ran.code, 1, "{}", ran.shown());
    }
    let emptied = ROLE.replace("[dev]", "[yes, dev]");
    let warned = ran(
        &["effective", "-"],
        &config_map("aws-auth", &emptied).to_string(),
    );
    assert_eq!(warned.code, 0, "{}", warned.shown());
    assert!(warned.stdout.contains("warning: "), "{}", warned.shown());
}

#[test]
fn lines_that_are_misread_close_the_gate_to_api() {
    let misread = "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n    - devs\n";
    let emptied =
        "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n  groups: [yes, dev]\n";
    let gate = |roles: &str, to: &str, output: &str| {
        let arguments = [
            "migrate",
            "plan",
            "--to",
            to,
            "--mode=API_AND_CONFIG_MAP",
            "--cluster-arn=arn:aws:eks:eu-west-1:111122223333:cluster/main",
            "--aws-auth=-",
            "-o",
            output,
        ];
        ran(&arguments, &config_map("aws-auth", roles).to_string())
    };
    let closed = gate(misread, "API", "text");
    assert_eq!(closed.code, 1, "{}", closed.shown());
    let why = "because mapRoles line 3 is not read as it is written";
    assert!(closed.stderr.contains(why), "{}", closed.shown());
    for words in [
        "Lines that are not read as they are written",
        "missing `groups:`",
    ] {
        assert!(closed.stdout.contains(words), "{}", closed.shown());
    }
    let document: Value = serde_json::from_str(&gate(misread, "API", "json").stdout).unwrap();
    assert_eq!(document["misread"][0]["key"], "mapRoles", "{document}");
    assert_eq!(document["misread"][0]["line"], 3, "{document}");
    // A value that is only missing is said; the gate is about who loses access.
    let said = gate(emptied, "API", "text");
    assert!(
        said.stdout
            .contains("Lines that are not read as they are written"),
        "{}",
        said.shown()
    );
    assert!(
        !said.stderr.contains("not read as it is written"),
        "{}",
        said.shown()
    );
}
