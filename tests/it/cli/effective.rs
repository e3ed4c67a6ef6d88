//! `identity-mapper effective`, run as people run it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use super::run;
use crate::support::programs::operator_binary;

fn effective(manifest: &str) -> String {
    run(&["effective", "-"], manifest)
}

const MIXED: &str = r#"apiVersion: v1
data:
  mapAccounts: |
    - 012345678901
  mapRoles: |
    # nodes
    - rolearn: arn:aws:iam::111122223333:role/node
      username: system:node:{{EC2PrivateDNSName}}
      groups:
      - system:bootstrappers
      - system:nodes
    - username: nobody
    - rolearn: arn:aws:iam::111122223333:role/a
      username: yes
      groups: [on, "é"]
    - rolearn: arn:aws:iam::111122223333:role/a
      username: "tab\there"
    - sso: {permissionSetName: View, accountID: "111122223333"}
  mapUsers: |
    - userarn: arn:aws:iam::111122223333:user/bob
      username: bob: x
kind: ConfigMap
metadata:
  name: aws-auth
  namespace: kube-system
"#;

#[test]
fn prints_a_table_and_what_is_dropped() {
    assert_snapshot!(effective(MIXED), @r#"
    exit code 1
    --- stdout
    KEY          PRINCIPAL                      USERNAME                           GROUPS                              EFFECT
    mapRoles     role/node                      system:node:{{EC2PrivateDNSName}}  system:bootstrappers, system:nodes  yes
    mapRoles     role/a                         ""                                 "", é                               no (1)
    mapRoles     role/a                         tab\there                          -                                   yes
    mapRoles     (sso)                          ""                                 -                                   no (2)
    mapAccounts  (any of account 012345678901)  (its ARN)                          -                                   yes

    (1) mapRoles line 11 has the same ARN, and the last one wins
    (2) EKS does not read entries with `sso`
    Principals without an account are in 111122223333.

    warning: the entry has no `rolearn`: write `rolearn:` with the ARN that the entry is for
     --> mapRoles:7:3
      |
    7 | - username: nobody
      |   ^^^^^^^^^^^^^^^^ this entry is dropped

    warning: `username` is a truth value and is ignored: write text in double quotes
     --> mapRoles:9:13
      |
    9 |   username: yes
      |             ^^^ this value is dropped; the rest of the entry is kept

    warning: an item of `groups` is a truth value, not text, and is ignored: write text in double quotes
      --> mapRoles:10:12
       |
    10 |   groups: [on, "é"]
       |            ^^ this value is dropped; the rest of the entry is kept

    error: unquoted value in username that YAML reads as something else: write "bob: x"
     --> mapUsers:2:13
      |
    2 |   username: bob: x
      |             ^^^^^^ all of mapUsers is dropped
    "#);
}

#[test]
fn prints_json() {
    assert_snapshot!(run(&["effective", "-o", "json", "-"], MIXED), @r#"
    exit code 1
    --- stdout
    {
      "roles": [
        {
          "rolearn": "arn:aws:iam::111122223333:role/node",
          "username": "system:node:{{EC2PrivateDNSName}}",
          "groups": [
            "system:bootstrappers",
            "system:nodes"
          ]
        },
        {
          "rolearn": "arn:aws:iam::111122223333:role/a",
          "username": "",
          "groups": [
            "",
            "é"
          ],
          "noEffect": "mapRoles line 11 has the same ARN, and the last one wins"
        },
        {
          "rolearn": "arn:aws:iam::111122223333:role/a",
          "username": "tab\there",
          "groups": []
        },
        {
          "rolearn": "",
          "username": "",
          "groups": [],
          "noEffect": "EKS does not read entries with `sso`"
        }
      ],
      "users": [],
      "accounts": [
        "012345678901"
      ],
      "errors": [
        {
          "key": "mapRoles",
          "line": 7,
          "column": 3,
          "message": "the entry has no `rolearn`: write `rolearn:` with the ARN that the entry is for"
        },
        {
          "key": "mapRoles",
          "line": 9,
          "column": 13,
          "message": "`username` is a truth value and is ignored: write text in double quotes"
        },
        {
          "key": "mapRoles",
          "line": 10,
          "column": 12,
          "message": "an item of `groups` is a truth value, not text, and is ignored: write text in double quotes"
        },
        {
          "key": "mapUsers",
          "line": 2,
          "column": 13,
          "message": "unquoted value in username that YAML reads as something else: write \"bob: x\""
        }
      ]
    }
    "#);
}

#[test]
fn accounts_that_never_match_are_marked() {
    let manifest =
        "kind: ConfigMap\ndata:\n  mapAccounts: |\n    - 111122223333\n    - 9876543210\n";
    assert_snapshot!(effective(manifest), @"
    exit code 0
    --- stdout
    KEY          PRINCIPAL                      USERNAME   GROUPS  EFFECT
    mapAccounts  (any of account 111122223333)  (its ARN)  -       yes
    mapAccounts  (any of account 9876543210)    (its ARN)  -       no (1)

    (1) an account has exactly 12 digits, so it never matches
    ");
    let json = run(&["effective", "-o", "json", "-"], manifest);
    assert!(
        json.contains("\"notAccounts\": [\n    \"9876543210\"\n  ]"),
        "{json}"
    );
}

#[test]
fn a_dropped_entry_alone_is_no_failure() {
    let manifest = r#"{"kind": "ConfigMap", "data": {"mapRoles": "- username: x\n- rolearn: \"\\u00e9\"\n  username: \"\\U0001F600\"\n"}}"#;
    assert_snapshot!(effective(manifest), @"
    exit code 0
    --- stdout
    KEY       PRINCIPAL  USERNAME  GROUPS  EFFECT
    mapRoles  é          😀         -       no (1)

    (1) its ARN is not that of a role or user, so no caller has it

    warning: the entry has no `rolearn`: write `rolearn:` with the ARN that the entry is for
     --> mapRoles:1:3
      |
    1 | - username: x
      |   ^^^^^^^^^^^ this entry is dropped
    ");
}

#[test]
fn effective_reports_no_entry_when_all_are_dropped() {
    for manifest in [
        "kind: ConfigMap",
        "{\"kind\": \"ConfigMap\", \"data\": null}",
        "kind: ConfigMap\ndata:\n  mapRoles:\n",
    ] {
        assert_eq!(
            effective(manifest),
            "exit code 0\n--- stdout\nNo entry takes effect.\n",
            "{manifest}"
        );
    }
}

#[test]
fn what_is_no_configmap_is_refused_and_nothing_is_printed() {
    let cases: [(&str, &[u8]); 8] = [
        ("a list", b"- name: x"),
        ("no kind", b"data: {}"),
        ("another kind", b"kind: Secret"),
        ("broken YAML", b"kind: ConfigMap\ndata: \"\n"),
        ("broken JSON", b"\n{\"kind\": \"ConfigMap\",\n oops}"),
        ("a number", b"kind: ConfigMap\ndata:\n  mapRoles: 5\n"),
        ("empty", b""),
        ("no text", b"\xff"),
    ];
    let mut shown = String::new();
    for (name, manifest) in cases {
        let _ = write!(shown, "{name}: {}", run(&["effective", "-"], manifest));
    }
    assert_snapshot!(shown, @"
    a list: exit code 1
    --- stderr
    error: standard input: this is a list, not a manifest: pass a ConfigMap as `kubectl get configmap -n kube-system aws-auth -o yaml` prints it
    no kind: exit code 1
    --- stderr
    error: standard input: this is a mapping without `kind`, not a manifest: pass a ConfigMap as `kubectl get configmap -n kube-system aws-auth -o yaml` prints it
    another kind: exit code 1
    --- stderr
    error: standard input: this is a manifest of kind `Secret`: pass one ConfigMap
    broken YAML: exit code 1
    --- stderr
    error: standard input: line 2, column 7: quotes that open here and never close: close them at the end of the value
    broken JSON: exit code 1
    --- stderr
    error: standard input: line 3, column 2: key must be a string
    a number: exit code 1
    --- stderr
    error: standard input: `data.mapRoles` is a number: the API server takes text only, for many lines behind `|`
    empty: exit code 1
    --- stderr
    error: standard input: this is empty, not a manifest: pass a ConfigMap as `kubectl get configmap -n kube-system aws-auth -o yaml` prints it
    no text: exit code 1
    --- stderr
    error: standard input is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0
    ");
}

#[test]
fn reads_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aws-auth.yaml");
    fs::write(&file, MIXED).unwrap();
    assert_eq!(
        run(&["effective", file.to_str().unwrap()], ""),
        effective(MIXED)
    );
    let missing = folder.path().join("missing.yaml");
    let refused = run(&["effective", missing.to_str().unwrap()], "");
    let expected = format!(
        "exit code 1\n--- stderr\nerror: cannot read {}: No such file or directory (os error 2)\n",
        missing.display()
    );
    assert_eq!(refused, expected);
}

#[test]
fn usage_errors_print_nothing_on_standard_output() {
    for arguments in [
        &["effective"][..],
        &["effective", "-", "-o", "xml"],
        &["effective", "-", "extra"],
        &["effectve"],
    ] {
        let shown = run(arguments, "");
        assert!(
            shown.starts_with("exit code 1\n--- stderr\nerror: "),
            "{arguments:?}: {shown}"
        );
    }
}

#[test]
fn help_is_no_error() {
    let shown = run(&["effective", "--help"], "");
    assert!(shown.starts_with("exit code 0\n--- stdout\n"), "{shown}");
}

#[test]
fn closed_pipe_is_no_error() {
    let mut manifest = "kind: ConfigMap\ndata:\n  mapRoles: |\n".to_owned();
    for i in 0..20_000 {
        let _ = writeln!(
            manifest,
            "    - rolearn: arn:aws:iam::111122223333:role/{i}"
        );
    }
    let mut child = Command::new(operator_binary())
        .args(["effective", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The reading end is closed before the command has anything to print.
    drop(child.stdout.take());
    child
        .stdin
        .take()
        .unwrap()
        .write_all(manifest.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_user_in_two_spellings_gets_one_of_the_entries_at_random() {
    let manifest = "kind: ConfigMap\ndata:\n  mapUsers: |\n    - userarn: arn:aws:iam::111122223333:user/alice\n      username: a\n    \
        - userarn: arn:aws:iam::111122223333:user/ALICE\n      username: b\n    - userarn: arn:aws:iam::111122223333:user/bob\n      \
        username: bob\n";
    let text = effective(manifest);
    assert_eq!(text.matches("at random (1)").count(), 2, "{text}");
    assert!(
        text.contains("(1) mapUsers has the ARN in several spellings"),
        "{text}"
    );
    assert_eq!(text.matches(" yes").count(), 1, "{text}");
    let json = run(&["effective", "-o", "json", "-"], manifest);
    assert_eq!(json.matches("\"atRandom\": true").count(), 2, "{json}");
}
