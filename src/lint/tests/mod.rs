//! Texts and the codes that they end in; ordinary ones, which end in none; and the laws of `--fix`.

mod cases;
mod elsewhere;
mod faults;
mod fixes;
mod kinds;
mod managed;
mod reports;
mod variants;

use std::fmt::Write as _;

use super::check;
use super::code::Code;
use crate::manifest::Source;

fn source(text: &str) -> Source {
    Source {
        name: "it.yaml".to_owned(),
        text: text.to_owned(),
    }
}

/// A ConfigMap with these values, as `kubectl get -o yaml` prints them.
fn config_map(values: &[(&str, &str)]) -> String {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\ndata:\n".to_owned();
    for (key, value) in values {
        let _ = writeln!(text, "  {key}: |");
        for line in value.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn roles(value: &str) -> String {
    config_map(&[("mapRoles", value)])
}

fn codes(text: &str) -> Vec<Code> {
    let found = check(&[source(text)]).report.diagnostics;
    found.iter().map(|found| found.code).collect()
}

/// The text that each finding points at, first line only.
fn places(text: &str) -> Vec<(Code, String)> {
    let report = check(&[source(text)]).report;
    let place = |found: &super::Diagnostic| {
        let text = &report.sources[found.source].source.text;
        let line = text[found.span.clone()].lines().next().unwrap_or_default();
        (found.code, line.to_owned())
    };
    report.diagnostics.iter().map(place).collect()
}

const ORDINARY: &str = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: aws-auth
  namespace: kube-system
data:
  mapRoles: |
    - groups:
      - system:bootstrappers
      - system:nodes
      rolearn: arn:aws:iam::111122223333:role/eksctl-main-nodegroup-NodeInstanceRole-1ABC
      username: system:node:{{EC2PrivateDNSName}}
    - groups:
      - eks:kube-proxy-windows
      - system:bootstrappers
      - system:nodes
      rolearn: arn:aws:iam::111122223333:role/windows
      username: system:node:{{EC2PrivateDNSName}}
    - groups:
      - system:bootstrappers
      - system:nodes
      - system:node-proxier
      rolearn: arn:aws:iam::111122223333:role/fargate
      username: system:node:{{SessionName}}
    # Administrators, by IAM Identity Center.
    - rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_AdministratorAccess_0123456789abcdef
      username: "{{SessionName}}"
      groups: ["system:masters"]
    - rolearn: arn:aws:iam::444455556666:role/deploy
      username: deploy:{{SessionName}}
      groups:
        - deployers
    - rolearn: arn:aws:iam::111122223333:role/quoted
      username: "team:{{AccountID}}:{{SessionNameRaw}}"
      groups: ['team']
  mapUsers: |
    - userarn: arn:aws:iam::111122223333:user/people/jane
      username: jane
      groups:
      - system:masters
    - userarn: arn:aws:sts::111122223333:federated-user/x
      username: x
      groups: [viewers]
"#;

#[test]
fn an_ordinary_aws_auth_has_no_findings() {
    assert_eq!(places(ORDINARY), []);
    let json: serde_json::Value = crate::manifest::read(ORDINARY)
        .remove(0)
        .expect("read")
        .value;
    assert_eq!(places(&json.to_string()), []);
    for empty in [
        "mapRoles: \"\"",
        "mapRoles: '[]'",
        "mapRoles:",
        "mapUsers: |\n    []\n",
    ] {
        let text = format!("kind: ConfigMap\nmetadata: {{name: aws-auth}}\ndata:\n  {empty}\n");
        assert_eq!(places(&text), [], "{empty}");
    }
}

#[test]
fn findings_point_at_what_is_wrong() {
    let text = roles(
        "# é\n- rolearn: arn:aws:iam::111122223333:role/team/a\n  username: yes\n  groups: [g, \"system:master\"]\n",
    );
    let expected = [
        (Code::RolePath, "arn:aws:iam::111122223333:role/team/a"),
        (Code::Yaml11Word, "yes"),
        (Code::AlmostWellKnown, "\"system:master\""),
    ];
    let expected = expected.map(|(code, place)| (code, place.to_owned()));
    assert_eq!(places(&text), expected);
    let folded = text.replace("mapRoles: |", "mapRoles: >-");
    assert_eq!(places(&folded), [(Code::Folded, ">".to_owned())]);
    // Where the place can't be determined in the file, the value is a text of its own.
    let plain =
        "kind: ConfigMap\nmetadata: {name: aws-auth}\ndata:\n  mapRoles: '[{rolearn: a}]'\n";
    assert_eq!(check(&[source(plain)]).report.sources.len(), 2);
}

#[test]
fn unrelated_manifests_are_ignored() {
    let checked = check(&[source(
        "kind: Deployment\n---\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n---\n{{ template }}\n",
    )]);
    assert!(checked.is_empty());
    assert_eq!(checked.others, 3);
}

#[test]
fn bare_values_are_read_as_such() {
    assert_eq!(
        codes("- rolearn: arn:aws:iam::111122223333:role/team/a\n  username: a\n  groups: [g]\n"),
        [Code::RolePath]
    );
    assert_eq!(
        codes("- userarn: arn:aws:iam::111122223333:user/a\n  username: {{SessionName}}\n"),
        [Code::NoGroups, Code::UnquotedTemplate, Code::SessionOfUser]
    );
}
