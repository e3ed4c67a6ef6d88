//! What commands answer on files as people have them: no false yes, no false no, and exit codes that a pipeline can rely on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Ran, Run};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

fn config_map(name: &str, namespace: &str, data: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": namespace }, "data": data,
    })
    .to_string()
}

fn aws_auth(map_roles: &str) -> String {
    config_map("aws-auth", "kube-system", &json!({ "mapRoles": map_roles }))
}

fn mapping(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": { "name": name }, "spec": spec,
    })
}

fn ran(arguments: &[&str], input: &str) -> Ran {
    Run::new(arguments).stdin(input).run()
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A role's entry as the AWS CLI prints it, without policies.
fn entry(role: &str, type_: &str, username: &str, groups: &[&str]) -> String {
    let arn = format!("arn:aws:iam::111122223333:role/{role}");
    let described = json!({ "accessEntry": {
        "clusterName": "main", "principalArn": arn, "type": type_, "username": username, "kubernetesGroups": groups,
        "accessEntryArn": format!("arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/{role}/0"),
        "createdAt": "2026-01-01T00:00:00Z", "modifiedAt": "2026-01-01T00:00:00Z", "tags": {},
    }});
    let policies =
        json!({ "clusterName": "main", "principalArn": arn, "associatedAccessPolicies": [] });
    format!("{described}\n{policies}\n")
}

const ROLE: &str =
    "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n  groups: [dev]\n";

#[test]
fn a_config_map_that_eks_does_not_read_is_refused_by_every_command() {
    for (name, namespace) in [
        ("aws-auth", "default"),
        ("aws-auth-7b2m9c4k6t", "kube-system"),
    ] {
        let text = config_map(name, namespace, &json!({ "mapRoles": ROLE }));
        let arn = "arn:aws:iam::111122223333:role/dev";
        for command in [
            &["effective", "-"][..],
            &["explain", arn, "--aws-auth", "-"],
            &["access", "--aws-auth", "-"],
            &["import", "--aws-auth", "-"],
            &[
                "migrate",
                "plan",
                "--aws-auth",
                "-",
                "--cluster-arn",
                CLUSTER,
            ],
        ] {
            let refused = ran(command, &text);
            let said = (refused.code, refused.stdout.as_str());
            assert_eq!(said, (1, ""), "{}", refused.shown());
            assert!(refused.stderr.contains(name), "{}", refused.shown());
        }
    }
}

#[test]
fn effective_marks_what_has_no_effect_in_every_format() {
    let text = config_map(
        "aws-auth",
        "kube-system",
        &json!({
            "mapRoles": "- rolearn: arn:aws:iam::111122223333:role/a\n  username: first\n- rolearn: arn:aws:iam::111122223333:role/A\n  \
                username: last\n- rolearn: arn:aws:iam::111122223333:role/team/b\n",
            "mapAccounts": "- \"1234\"\n",
            "mapGroups": "- grouparn: arn:aws:iam::111122223333:group/g\n",
        }),
    );
    let shown: Value =
        serde_json::from_str(&ran(&["effective", "-", "-o", "json"], &text).stdout).unwrap();
    let why = |number: usize| {
        shown["roles"][number]["noEffect"]
            .as_str()
            .unwrap_or("-")
            .to_owned()
    };
    assert!(why(0).contains("line 3 has the same ARN"), "{shown}");
    assert_eq!(why(1), "-");
    assert!(why(2).contains("path"), "{shown}");
    assert_eq!(shown["notAccounts"], json!(["1234"]));
    assert_eq!(shown["unreadKeys"], json!(["mapGroups"]));
}

#[test]
fn entries_of_several_partitions_have_an_effect_in_one_of_them_only() {
    let roles = "- rolearn: arn:aws:iam::111122223333:role/a\n- rolearn: arn:aws-us-gov:iam::111122223333:role/b\n";
    let shown = ran(&["effective", "-"], &aws_auth(roles));
    for partition in ["aws", "aws-us-gov"] {
        let words = format!("only in a cluster of partition {partition}\n");
        assert!(shown.stdout.contains(&words), "{}", shown.shown());
    }
    let arguments = ["access", "--aws-auth", "-"];
    let access = ran(&arguments, &aws_auth(roles));
    assert!(
        access.stdout.contains("those of the others never match"),
        "{}",
        access.shown()
    );
    let known = ran(
        &[&arguments[..], &["--cluster-arn", CLUSTER]].concat(),
        &aws_auth(roles),
    );
    assert!(
        !known.stdout.contains("several partitions"),
        "{}",
        known.shown()
    );
}

#[test]
fn the_exit_code_of_a_plan_depends_on_fail_on_and_on_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let arn = |role: &str| json!({ "arn": format!("arn:aws:iam::111122223333:role/{role}") });
    let new = mapping("new", &json!({ "principal": arn("new") }));
    let same = mapping(
        "dev",
        &json!({ "principal": arn("dev"), "username": "dev", "groups": ["dev"], "adoption": "Never" }),
    );
    let conflict = mapping(
        "dev",
        &json!({ "principal": arn("dev"), "username": "other" }),
    );
    let suspended = mapping("off", &json!({ "principal": arn("off"), "suspend": true }));
    let twice = mapping("twice", &json!({ "principal": arn("new") }));
    let broken = "- rolearn: arn:aws:iam::111122223333:role/x\n  username: {{SessionName}}\n";
    for (what, mappings, roles, never, changes, not_ready) in [
        ("ready and the same", vec![&same], ROLE, 0, 0, 0),
        ("changes", vec![&new], ROLE, 0, 2, 0),
        ("suspended", vec![&suspended], ROLE, 0, 0, 0),
        ("a conflict", vec![&conflict], ROLE, 0, 1, 1),
        (
            "a conflict and changes",
            vec![&conflict, &new],
            ROLE,
            0,
            1,
            1,
        ),
        ("a duplicate and changes", vec![&new, &twice], ROLE, 0, 1, 1),
        ("a broken key", vec![&same], broken, 0, 1, 1),
    ] {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": mappings });
        let mappings = file(folder.path(), "mappings.json", &list.to_string());
        let expected = [
            ("never", never),
            ("changes", changes),
            ("not-ready", not_ready),
        ];
        for (fail_on, code) in expected {
            for format in ["text", "json", "yaml"] {
                let arguments = [
                    "plan",
                    "-f",
                    &mappings,
                    "--aws-auth",
                    "-",
                    "--fail-on",
                    fail_on,
                    "-o",
                    format,
                ];
                let planned = ran(&arguments, &aws_auth(roles));
                assert_eq!(planned.code, code, "{what}, {fail_on}: {}", planned.shown());
            }
        }
        let default = ran(
            &["plan", "-f", &mappings, "--aws-auth", "-"],
            &aws_auth(roles),
        );
        assert_eq!(default.code, not_ready, "{what}: {}", default.shown());
    }
}

#[test]
fn what_eks_is_known_to_refuse_is_not_shown_as_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let entries = file(
        folder.path(),
        "entries.json",
        &entry("other", "STANDARD", "other", &[]),
    );
    let arn = |role: &str| json!({ "arn": format!("arn:aws:iam::111122223333:role/{role}") });
    for (spec, reason) in [
        (
            json!({ "principal": arn("AWSReservedSSO_Admin_0123456789abcdef"), "groups": ["a"] }),
            "PrincipalInvalid",
        ),
        (
            json!({ "principal": arn("devs"), "accessPolicies": [{ "policy": "AmazonEKSClusterInsightsPolicy" }] }),
            "EksRefused",
        ),
    ] {
        let mappings = file(folder.path(), "map.json", &mapping("it", &spec).to_string());
        let planned = Run::new(["plan", "-f", &mappings, "--access-entries", &entries]).run();
        assert_eq!(planned.code, 1, "{}", planned.shown());
        assert!(
            planned.stdout.contains(&format!("! it: {reason}: ")),
            "{}",
            planned.shown()
        );
        assert!(
            !planned.stdout.contains("+ associate"),
            "{}",
            planned.shown()
        );
    }
}

#[test]
fn nodes_that_cannot_work_with_their_access_entry_close_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let windows = "- rolearn: arn:aws:iam::111122223333:role/win\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: \
        [system:bootstrappers, system:nodes, \"eks:kube-proxy-windows\"]\n";
    let text = file(folder.path(), "aws-auth.json", &aws_auth(windows));
    let node = "system:node:{{EC2PrivateDNSName}}";
    for (type_, groups, code) in [
        ("EC2_LINUX", &["system:nodes"][..], 1),
        (
            "EC2_WINDOWS",
            &["system:nodes", "eks:kube-proxy-windows"],
            0,
        ),
    ] {
        let entries = file(
            folder.path(),
            "entries.json",
            &entry("win", type_, node, groups),
        );
        let arguments = [
            "migrate",
            "plan",
            "--to=API",
            "--aws-auth",
            &text,
            "--access-entries",
            &entries,
        ];
        let gate = Run::new(arguments).run();
        assert_eq!(gate.code, code, "{}", gate.shown());
        assert_eq!(
            gate.stdout.contains("these nodes can't work"),
            code == 1,
            "{}",
            gate.shown()
        );
        assert_eq!(
            gate.stdout.contains("--type EC2_WINDOWS"),
            code == 1,
            "{}",
            gate.shown()
        );
    }
}

#[test]
fn a_gate_with_a_broken_key_gives_no_number_for_all() {
    let text = config_map(
        "aws-auth",
        "kube-system",
        &json!({
            "mapRoles": "- rolearn: arn:aws:iam::111122223333:role/x\n  username: {{SessionName}}\n",
            "mapUsers": "- userarn: arn:aws:iam::111122223333:user/bob\n  username: bob\n",
        }),
    );
    let arguments = [
        "migrate",
        "plan",
        "--to=API",
        "--mode=API_AND_CONFIG_MAP",
        "--aws-auth",
        "-",
        "--cluster-arn",
        CLUSTER,
    ];
    let gate = ran(&arguments, &text);
    assert_eq!(gate.code, 1);
    assert!(
        gate.stderr
            .contains("at least 1 principal would lose access"),
        "{}",
        gate.shown()
    );
    assert!(
        gate.stderr.contains("mapRoles is invalid YAML"),
        "{}",
        gate.shown()
    );
}

#[test]
fn explain_takes_names_of_roles_users_and_accounts_for_what_they_are() {
    let both = format!(
        "{ROLE}- rolearn: arn:aws:iam::444455556666:role/dev\n  username: far\n- userarn: x\n"
    );
    for (name, expected) in [
        ("dev", &["role/dev", "444455556666:role/dev"][..]),
        ("role/DEV", &["role/dev"]),
        ("arn:aws:iam::111122223333:role/dev", &["role/dev"]),
    ] {
        let explained = ran(&["explain", name, "--aws-auth", "-"], &aws_auth(&both));
        assert_eq!(explained.code, 0, "{}", explained.shown());
        for words in expected {
            assert!(explained.stdout.contains(words), "{}", explained.shown());
        }
    }
    for name in ["user/dev", "nobody"] {
        let refused = ran(&["explain", name, "--aws-auth", "-"], &aws_auth(&both));
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (1, ""),
            "{}",
            refused.shown()
        );
        assert!(
            refused.stderr.contains("give its ARN"),
            "{}",
            refused.shown()
        );
    }
}

#[test]
fn a_list_of_principals_is_answered_with_the_loop_that_makes_the_file() {
    let listing = json!({ "accessEntries": ["arn:aws:iam::111122223333:role/a"] }).to_string();
    let refused = ran(&["access", "--access-entries", "-"], &listing);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("aws eks list-associated-access-policies"),
        "{}",
        refused.shown()
    );
}

#[test]
fn a_kubeconfig_that_is_named_is_used_or_refused() {
    let arn = "arn:aws:iam::111122223333:role/dev";
    let named = Run::new(["explain", arn])
        .env("KUBECONFIG", "/nowhere/config")
        .run();
    assert!(
        named
            .stderr
            .contains("that $KUBECONFIG names can't be read"),
        "{}",
        named.shown()
    );
    let flag = Run::new(["explain", arn, "--kubeconfig", "/nowhere/config"]).run();
    assert!(
        flag.stderr.contains("the kubeconfig can't be read"),
        "{}",
        flag.shown()
    );
    let none = Run::new(["explain", arn]).env("KUBECONFIG", "").run();
    assert!(none.stderr.contains("no cluster found"), "{}", none.shown());
    assert!(none.stderr.contains("--aws-auth FILE"), "{}", none.shown());
    for refused in [named, flag, none] {
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    }
}

#[test]
fn what_is_missing_is_reported_once_with_the_fix() {
    let nobody = |arguments: &[&str]| Run::new(arguments.to_vec()).env("KUBECONFIG", "").run();
    let lint = nobody(&["lint"]);
    assert!(
        lint.stderr.starts_with("error: no cluster found: ")
            && lint
                .stderr
                .contains("; to check files, pass them: identity-mapper lint FILE"),
        "{}",
        lint.shown()
    );
    let access = nobody(&["access"]);
    assert!(
        access.stderr.starts_with("error: no cluster found: "),
        "{}",
        access.shown()
    );
    let named = Run::new(["access", "--kubeconfig", "/nowhere/config"]).run();
    assert_eq!(
        named.stderr.matches("os error 2").count(),
        1,
        "{}",
        named.shown()
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aws-auth.yaml");
    fs::write(&path, "mapRoles: []\n").unwrap();
    let path = path.to_str().unwrap();
    let word = nobody(&["access", path]);
    let tip = format!("to read aws-auth from a file, pass --aws-auth {path}");
    assert!(word.stderr.contains(&tip), "{}", word.shown());
}
