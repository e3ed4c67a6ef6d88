//! Faults in other places than the value of mapRoles: in the manifest's own lines, in the other keys, and in mappings.

use super::super::Severity;
use super::super::check;
use super::super::code::Code::{self, *};
use super::faults::{Dice, FAULTS, document, written};
use super::{config_map, source};
use crate::yaml::Lines;

/// The code and line of each error.
fn errors(text: &str) -> Vec<(Code, usize)> {
    let report = check(&[source(text)]).report;
    let errors = report.diagnostics.iter();
    let errors = errors.filter(|found| found.code.severity() == Severity::Error);
    errors
        .map(|found| {
            let text = &report.sources[found.source].source.text;
            (found.code, Lines::new(text).position(found.span.start).0)
        })
        .collect()
}

/// Faults of ARNs and names that are none for a user.
const OF_ROLES: [Code; 8] = [
    SessionArn,
    RolePath,
    NodeUsername,
    EntryDropped,
    AlmostWellKnown,
    BlankInArn,
    NotAPrincipal,
    Yaml11Word,
];

/// The same text with users in place of roles, who have no sessions and are no nodes.
fn of_users(text: &str) -> String {
    [
        ("rolearn", "userarn"),
        (":role/", ":user/"),
        ("system:node:{{EC2PrivateDNSName}}", "robot"),
        (":{{SessionName}}", ""),
        ("system:bootstrappers", "robots"),
        ("system:nodes", "machines"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn faults_in_map_users_are_named_in_their_line() {
    let (mut total, mut misses) = (0, Vec::new());
    let faults = FAULTS.iter().filter(|it| !OF_ROLES.contains(&it.code));
    for (number, fault) in (0..).zip(faults) {
        for round in 0..6 {
            let mut dice = Dice(number * 1_000 + round);
            let doc = document(&mut dice);
            let right = of_users(&written(&doc).join("\n"));
            assert_eq!(errors(&config_map(&[("mapUsers", &right)])), [], "{right}");
            let Some((lines, line)) = (fault.inject)(&doc, &mut dice) else {
                continue;
            };
            let value = of_users(&(lines.join("\n") + "\n"));
            let roles =
                "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups: [a]\n";
            let text = config_map(&[("mapRoles", roles), ("mapUsers", &value)]);
            let found = errors(&text);
            total += 1;
            assert!(
                !found.is_empty(),
                "{}: nothing is found in\n{text}",
                fault.name
            );
            if !found.contains(&(fault.code, 12 + line)) {
                misses.push(format!(
                    "{} in line {}: {found:?}\n{text}",
                    fault.name,
                    12 + line
                ));
            }
        }
    }
    for miss in misses.iter().take(8) {
        println!("{miss}");
    }
    let named = total - misses.len();
    println!("{named} of {total} faults in mapUsers are named in their line");
    assert!(named * 100 >= total * 95, "{named} of {total}");
}

/// A change of the manifest's own lines, and the code and line that it ends in.
const OF_MANIFEST: [(&str, &str, Code, usize); 15] = [
    (
        "\ndata:\n  mapRoles: |",
        "\ndata:mapRoles: |",
        NoManifest,
        6,
    ),
    ("\ndata:", "\nData:", NoManifest, 6),
    ("\ndata:", "\ndatas:", NoManifest, 6),
    ("\ndata:", "\nbinaryData:", NoManifest, 6),
    ("\ndata:", "\nstringData:", NoManifest, 6),
    ("kind: ConfigMap", "kind: Secret", NoManifest, 2),
    ("kind: ConfigMap", "Kind: ConfigMap", NoManifest, 2),
    ("apiVersion: v1", "apiVersion: v2", NoManifest, 1),
    ("  namespace:", "namespace:", Indentation, 5),
    (
        "namespace: kube-system",
        "namespace: default",
        OtherConfigMap,
        5,
    ),
    ("name: aws-auth", "name: aws-auth-abc123", OtherConfigMap, 4),
    ("mapRoles: |", "mapRoles |", FieldColon, 7),
    ("mapRoles: |", "mapRoles:|", FieldColon, 7),
    ("mapRoles: |", "maproles: |", MisspelledKey, 7),
    ("mapRoles: |", "mapRole\u{200b}s: |", MisspelledKey, 7),
];

#[test]
fn faults_in_the_lines_of_a_manifest_are_named_in_their_line() {
    for round in 0..12 {
        let doc = document(&mut Dice(round));
        let whole = config_map(&[("mapRoles", &written(&doc).join("\n"))]);
        assert_eq!(errors(&whole), [], "{whole}");
        for (right, wrong, code, line) in OF_MANIFEST {
            assert!(whole.contains(right), "{right}");
            let text = whole.replacen(right, wrong, 1);
            let found = errors(&text);
            assert!(
                found.contains(&(code, line)),
                "{code} in line {line}: {found:?}\n{text}"
            );
        }
    }
}

#[test]
fn faults_in_accounts_are_named_in_their_line() {
    for (item, code) in [
        ("11112222333", BadAccount),
        ("- \"11112222333\"", BadAccount),
        ("- arn:aws:iam::111122223333:root", BadAccount),
        ("-\"111122223333\"", ListDash),
        ("\"111122223333\"", ListDash),
        ("- \"111122223333", NotClosed),
        ("- {{AccountID}}", UnquotedTemplate),
        ("- ${ACCOUNT}", BadAccount),
    ] {
        let text = config_map(&[("mapAccounts", &format!("- \"444455556666\"\n{item}\n"))]);
        let found = errors(&text);
        assert!(
            found.contains(&(code, 9)) || (found.iter().any(|it| it.1 == 9) && item.len() == 11),
            "{item}: {found:?}\n{text}"
        );
    }
}

const MAPPING: &str = "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata:\n  name: dev\nspec:\n  principal:\n    \
    arn: arn:aws:iam::111122223333:role/dev\n  username: dev:{{SessionName}}\n  groups:\n  - dev\n";

#[test]
fn faults_in_mappings_are_errors_in_their_line() {
    assert_eq!(errors(MAPPING), []);
    let mut wrong_lines = Vec::new();
    for (right, wrong, line) in [
        ("dev:{{SessionName}}", "{{SessionName}}", 8),
        ("dev:{{SessionName}}", "\"dev:{{SessionName}}", 8),
        ("dev:{{SessionName}}", "dev:{SessionName}", 8),
        ("dev:{{SessionName}}", "<name>", 8),
        ("dev:{{SessionName}}", "@dev", 8),
        ("  username", "\tusername", 8),
        ("  username", "   username", 8),
        ("username:", "user:", 8),
        ("- dev", "- system:master", 10),
        ("- dev", "- \"${TEAM}\"", 10),
        ("- dev", "- 12", 10),
        ("groups:\n  - dev", "groups: dev", 9),
        ("groups:\n  - dev", "groups: [dev", 9),
        ("role/dev", "role/<dev>", 7),
        ("role/dev", "role/d\u{435}v", 7),
        ("arn:aws:iam::", "arn:aws:sts::", 7),
        ("111122223333", "1111", 7),
        ("kind: IdentityMapping", "kind: IdentityMappings", 2),
    ] {
        assert!(MAPPING.contains(right), "{right}");
        let text = MAPPING.replacen(right, wrong, 1);
        let found = errors(&text);
        if !found.iter().any(|it| it.1 == line) {
            wrong_lines.push(format!("{wrong} in line {line}: {found:?}"));
        }
    }
    assert_eq!(wrong_lines, Vec::<String>::new());
}
