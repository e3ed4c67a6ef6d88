//! Kinds of fault with their line and the words of the fix; and that no fix of another entry costs nodes their access.

use super::super::check;
use super::super::code::Code::{self, *};
use super::super::finding::Edit;
use super::super::read::PlacedDocument;
use super::{roles, source};
use crate::aws_auth::Document;
use crate::yaml::Lines;

const NODES: &str = "- rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - \
    system:bootstrappers\n  - system:nodes\n";
const DEV: &str =
    "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n  groups:\n  - dev\n";
/// The line of the manifest in which the second entry begins.
const SECOND: usize = 13;

/// Each finding with its line, title and fix.
fn found(text: &str) -> Vec<(Code, usize, String)> {
    let report = check(&[source(text)]).report;
    let found = report.diagnostics.iter().map(|found| {
        let text = &report.sources[found.source].source.text;
        let line = Lines::new(text).position(found.span.start).0;
        (
            found.code,
            line,
            format!("{}: {}; {}", found.title, found.label, found.fix),
        )
    });
    found.collect()
}

fn assert_found(text: &str, code: Code, line: usize, words: &str) {
    let found = found(text);
    let is_found = found.iter().any(|(found_code, found_line, said)| {
        (*found_code, *found_line) == (code, line) && said.contains(words)
    });
    assert!(
        is_found,
        "{code} in line {line} with {words:?}\n{text}\n{found:#?}"
    );
}

/// A change of the second entry, and the code, the line within the entry and the words that it ends in.
const CHANGES: &[(&str, &str, Code, usize, &str)] = &[
    (
        "- rolearn: arn:aws:iam::111122223333:role/dev",
        "- \"rolearn: arn:aws:iam::111122223333:role/dev\"",
        FieldColon,
        0,
        "remove the quotes",
    ),
    (
        "rolearn",
        "role\u{430}rn",
        Lookalike,
        0,
        "the Latin letter `a`",
    ),
    ("- rolearn", "-\trolearn", Tab, 0, "indent with spaces"),
    ("- rolearn", "* rolearn", ListDash, 0, "`*` instead of `-`"),
    ("- rolearn", "1. rolearn", ListDash, 0, "write `- ` instead"),
    (
        "rolearn: ",
        "rolearn => ",
        FieldColon,
        0,
        "write `rolearn:`",
    ),
    (
        "rolearn: arn:aws:iam::111122223333:role/dev",
        "rolearn: *",
        Wildcard,
        0,
        "one entry for each",
    ),
    (
        "rolearn:",
        "rolearm:",
        EntryDropped,
        0,
        "write `rolearn` instead of `rolearm`",
    ),
    (
        "role/dev",
        "role/d\u{435}v",
        Lookalike,
        0,
        "the Latin letter `e`",
    ),
    ("role/dev", "role/dev,", FieldColon, 0, "remove the `,`"),
    (
        "username: dev",
        "username: dev;",
        FieldColon,
        1,
        "remove the `;`",
    ),
    ("  - dev", "  - dev,", FieldColon, 3, "remove the `,`"),
    (
        "username: dev",
        "username: \"dev\":{{SessionName}}",
        NotClosed,
        1,
        "write \"dev:{{SessionName}}\"",
    ),
    (
        "username: dev",
        "username: 'o'brien'",
        NotClosed,
        1,
        "write \"o'brien\"",
    ),
    (
        "username: dev",
        "username: {{{SessionName}}}",
        UnquotedTemplate,
        1,
        "write \"{{SessionName}}\"",
    ),
    (
        "username: dev",
        "username: \"{{{SessionName}}}\"",
        NotFilledIn,
        1,
        "write \"{{SessionName}}\"",
    ),
    (
        "username: dev",
        "username: dev:{SessionName}",
        NotFilledIn,
        1,
        "write \"dev:{{SessionName}}\"",
    ),
    (
        "username: dev",
        "username: dev:%SessionName%",
        NotFilledIn,
        1,
        "write \"dev:{{SessionName}}\"",
    ),
    (
        "  - dev",
        "  - team-{AccountID}",
        NotFilledIn,
        3,
        "write \"team-{{AccountID}}\"",
    ),
    (
        "  - dev",
        "  - <your-group-name>",
        AngleBrackets,
        3,
        "write the real group",
    ),
    (
        "  - dev",
        "  - system\u{ff1a}masters",
        Lookalike,
        3,
        "replace it with `:`",
    ),
    (
        "  - dev",
        "  - system:m\u{430}sters",
        Lookalike,
        3,
        "the Latin letter `a`",
    ),
    ("  - dev", "    dev: true", ListDash, 3, "as a list item"),
    ("  - dev", "  - name: dev", ListDash, 3, "as a list item"),
    (
        "  groups:\n  - dev",
        "  groups: [dev, ops]]",
        NotClosed,
        2,
        "remove the last `]`",
    ),
    (
        "  groups:\n  - dev",
        "  groups: ['dev\"]",
        NotClosed,
        2,
        "write [\"dev\"]",
    ),
    (
        "111122223333",
        "%%ACCOUNT%%",
        NotFilledIn,
        0,
        "`%%ACCOUNT%%`",
    ),
    (
        "111122223333",
        "__account_id__",
        NotFilledIn,
        0,
        "`__account_id__`",
    ),
    ("111122223333", "{account}", NotFilledIn, 0, "`{account}`"),
    (
        "111122223333",
        "[account-id]",
        NotFilledIn,
        0,
        "`[account-id]`",
    ),
    (
        "role/dev",
        "role/ROLE_NAME",
        LooksUnfilled,
        0,
        "`ROLE_NAME`",
    ),
    (
        "  username",
        "  rolearn: arn:aws:iam::111122223333:role/ops\n  username",
        RepeatedField,
        0,
        "keep the intended one",
    ),
    (
        "  username",
        "  userarn: arn:aws:iam::111122223333:user/dev\n  username",
        UnknownField,
        1,
        "an entry of its own in mapUsers",
    ),
    (
        "rolearn: arn:aws:iam::111122223333:role/dev",
        "rolearn:\n  - arn:aws:iam::111122223333:role/dev\n  - arn:aws:iam::111122223333:role/ops",
        EntryDropped,
        1,
        "one entry for each ARN",
    ),
    (
        DEV,
        "- {rolearn: arn:aws:iam::111122223333:role/dev, username: dev, groups: [dev]\n- rolearn: arn:aws:iam::111122223333:role/ops\n  username: ops\n  groups: [ops]\n",
        NotClosed,
        0,
        "write `}`",
    ),
    (
        DEV,
        "arn:aws:iam::111122223333:role/dev:\n  username: dev\n  groups:\n  - dev\n",
        FieldColon,
        0,
        "as the value of `rolearn`",
    ),
    (DEV, "-\n", EntryDropped, 0, "remove it"),
    (
        DEV,
        "<<<<<<< HEAD\n- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n=======\n>>>>>>> b\n",
        CopiedAlong,
        0,
        "keep the lines of one side",
    ),
    (
        DEV,
        "- role: arn:aws:iam::111122223333:role/dev\n  user: dev\n  group: dev\n",
        EntryDropped,
        0,
        "`groups` instead of `group`, `username` instead of `user`",
    ),
];

#[test]
fn kinds_of_fault_in_an_entry() {
    for (right, wrong, code, line, words) in CHANGES {
        let text = roles(&format!("{NODES}{}", DEV.replacen(right, wrong, 1)));
        assert_found(&text, *code, SECOND + line, words);
    }
}

#[test]
fn names_that_are_valid_are_no_placeholders() {
    for name in [
        "EKS_NODE_ROLE",
        "AWS_ACCOUNT_ADMINS",
        "acme__PROD__deploy",
        "EKS-INSTANCE_ROLE",
        "PREFIXMEDIA",
        "GET_ROLE_ARN_LAMBDA",
        "IT_USER_NAME_SYNC",
        "AWSReservedSSO_Admin_0123456789ABCDEF",
    ] {
        let text = roles(&format!(
            "{NODES}{}",
            DEV.replace("role/dev", &format!("role/{name}"))
        ));
        assert_eq!(found(&text), [], "{name}");
    }
}

#[test]
fn nodes_of_fargate_and_nodes_without_a_username() {
    let fargate = NODES.replace(
        "  - system:nodes",
        "  - system:nodes\n  - system:node-proxier",
    );
    assert_found(
        &roles(&fargate),
        FargateUsername,
        9,
        "write username: \"system:node:{{SessionName}}\"",
    );
    let right = fargate.replace("EC2PrivateDNSName", "SessionName");
    assert_eq!(found(&roles(&right)), []);
    // The help for people would lock nodes out.
    let nameless = NODES.replace("  username: system:node:{{EC2PrivateDNSName}}\n", "");
    let codes: Vec<Code> = found(&roles(&nameless)).iter().map(|it| it.0).collect();
    assert_eq!(codes, [NodeUsername]);
}

/// A change of a whole manifest, and the code, line and words that it ends in.
const MANIFESTS: &[(&str, &str, Code, usize, &str)] = &[
    (
        "\ndata:\n  mapRoles: |",
        "\ndata:mapRoles: |",
        NoManifest,
        6,
        "write `data:` on a line of its own",
    ),
    ("\ndata:", "\nData:", NoManifest, 6, "write `data:`"),
    ("\ndata:", "\nstringData:", NoManifest, 6, "only a Secret"),
    (
        "apiVersion: v1\nkind: ConfigMap",
        "apiversion: v1\nKind: ConfigMap",
        NoManifest,
        2,
        "write `kind:`",
    ),
    (
        "  namespace: kube-system",
        "namespace: kube-system",
        Indentation,
        5,
        "below `metadata:`",
    ),
    (
        "mapRoles: |",
        "mapRole: |",
        MisspelledKey,
        7,
        "write `mapRoles`",
    ),
    (
        "mapRoles: |",
        "map\u{200b}Roles: |",
        MisspelledKey,
        7,
        "map<U+200B>Roles",
    ),
    (
        "mapRoles: |",
        "map_roles: |",
        MisspelledKey,
        7,
        "write `mapRoles`",
    ),
    (
        "mapRoles: |",
        "mapRoles |",
        FieldColon,
        7,
        "write `mapRoles: |`",
    ),
    (
        "mapRoles: |",
        "mapRoles:|",
        FieldColon,
        7,
        "write `mapRoles: |`",
    ),
    (
        "mapRoles: |",
        "mapRoles: \\",
        FieldColon,
        7,
        "write `mapRoles: |`",
    ),
    (
        "    - rolearn: arn:aws:iam::111122223333:role/dev",
        "# people\n    - rolearn: arn:aws:iam::111122223333:role/dev",
        Indentation,
        SECOND,
        "comment",
    ),
    (
        "      groups:\n      - dev",
        "   groups:\n      - dev",
        Indentation,
        SECOND + 2,
        "indent this line",
    ),
    (
        "      groups:\n      - dev",
        "  groups:\n    - dev",
        NoManifest,
        SECOND + 2,
        "`groups` beside the keys",
    ),
    (
        "mapRoles: |",
        "mapRoles: \"",
        Folded,
        7,
        "remove the quotes",
    ),
    (
        "apiVersion",
        "$ kubectl get cm aws-auth -o yaml\napiVersion",
        CopiedAlong,
        1,
        "remove the line",
    ),
];

#[test]
fn kinds_of_fault_in_the_lines_of_a_manifest() {
    let whole = roles(&format!("{NODES}{DEV}"));
    for (right, wrong, code, line, words) in MANIFESTS {
        assert!(whole.contains(right), "{right}");
        let mut text = whole.replacen(right, wrong, 1);
        if wrong.ends_with('"') {
            text.push_str("  \"\n");
        }
        assert_found(&text, *code, *line, words);
    }
    let lines = |to: &dyn Fn(usize, &str) -> String| {
        let lines = whole.lines().enumerate();
        let lines: Vec<String> = lines.map(|(number, line)| to(number + 1, line)).collect();
        lines.join("\n") + "\n"
    };
    let flush = lines(&|number, line| {
        if number > 7 {
            line.trim_start_matches("    ").to_owned()
        } else {
            line.to_owned()
        }
    });
    assert_found(
        &flush,
        Indentation,
        8,
        "indent all lines of mapRoles by 4 spaces more",
    );
    let numbers = lines(&|number, line| format!("{number:>3} | {line}"));
    let grep = lines(&|number, line| format!("aws-auth.yaml:{number}:{line}"));
    let diff = lines(&|number, line| format!("{}{line}", if number > 12 { '+' } else { ' ' }));
    for text in [numbers, grep, diff] {
        let found = found(&text);
        assert!(
            found.iter().all(|it| it.0 == CopiedAlong),
            "{text}\n{found:?}"
        );
        assert_eq!(found.len(), 1, "{text}\n{found:?}");
    }
    let joined = lines(&|_, line| line.to_owned()).replace('\n', " ");
    assert_found(&joined, NoManifest, 1, "line breaks lost");
    let twice = format!("{whole}---\n{whole}");
    assert_found(&twice, RepeatedConfigMap, 7, "line 24");
}

#[test]
fn no_command_takes_another_manifest_for_an_empty_aws_auth() {
    let whole = roles(&format!("{NODES}{DEV}"));
    for (right, wrong) in [
        ("\ndata:\n  mapRoles: |", "\ndata:mapRoles: |"),
        ("\ndata:", "\nData:"),
        ("\ndata:", "\nstringData:"),
        ("\ndata:\n", "\nspec:\n  x: y\n"),
        ("\ndata:", "\nbinaryData:"),
        ("kind: ConfigMap", "Kind: ConfigMap"),
        ("  namespace: kube-system", "namespace: kube-system"),
    ] {
        let text = whole.replacen(right, wrong, 1);
        let read = crate::aws_auth::read_aws_auth(&text, ("kube-system", "aws-auth"));
        assert!(read.is_err(), "{text}\n{read:?}");
        let is_error =
            |it: &(Code, usize, String)| it.0.severity() == super::super::Severity::Error;
        assert!(
            found(&text).iter().any(is_error),
            "{text}\n{:?}",
            found(&text)
        );
    }
}

/// Ways to spoil the first line of an entry, so that it is hard to tell what it is.
const SPOILED: [&str; 12] = [
    "- \"rolearn: ARN\"",
    "- 'rolearn: ARN'",
    "- role\u{430}rn: ARN",
    "-\trolearn: ARN",
    "- rolearn\u{2236} ARN",
    "- xyz ARN",
    "- ARN",
    "- <rolearn>: ARN",
    "- rolearn ARN",
    "-- rolearn: ARN",
    "- ?rolearn: ARN",
    "- (rolearn): ARN",
];

/// A help for one entry never takes groups or username from the nodes' entry above it.
#[test]
fn no_fix_costs_nodes_their_access() {
    for spoiled in SPOILED {
        for item in ["  - ", "    - "] {
            let nodes = NODES.replace("  - ", item);
            let first = spoiled.replace("ARN", "arn:aws:iam::111122223333:role/dev");
            let rest = DEV.split_once('\n').expect("lines").1.replace("  - ", item);
            let value = format!("{nodes}{first}\n{rest}");
            let data = [("mapRoles".to_owned(), value.clone())].into();
            let findings = PlacedDocument::new(&data).check(None, &|_| String::new());
            assert!(!findings.is_empty(), "{value}");
            for finding in findings {
                let line = Lines::new(&value).number(finding.at.1.start);
                assert!(
                    line >= 5,
                    "{:?} is found in the nodes' entry of\n{value}",
                    finding.title
                );
                for Edit { span, text } in finding.edits.iter().chain(&finding.proposed) {
                    let mut fixed = value.clone();
                    fixed.replace_range(span.clone(), text);
                    let document =
                        Document::parse(&[("mapRoles".to_owned(), fixed.clone())].into());
                    let Some(entry) = document.entries().find(|it| it.arn.ends_with("/nodes"))
                    else {
                        continue;
                    };
                    assert_eq!(
                        entry.groups,
                        ["system:bootstrappers", "system:nodes"],
                        "{fixed}"
                    );
                    assert_eq!(
                        entry.username, "system:node:{{EC2PrivateDNSName}}",
                        "{fixed}"
                    );
                }
            }
        }
    }
}
