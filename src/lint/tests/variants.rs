//! Variants of what people reported: of each kind another one, with the code and the fix that it ends in.

use super::super::check;
use super::super::code::Code::{self, *};
use super::{roles, source};

const ENTRY: &str =
    "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n  groups:\n  - dev\n";

/// A change of the entry, and the code and words of the fix that it ends in.
const VARIANTS: [(&str, &str, Code, &str); 40] = [
    ("role/dev", "role/<dev>", NotFilledIn, "aws iam get-role"),
    ("role/dev", "role/...", NotFilledIn, "aws iam get-role"),
    ("role/dev", "role/dev…", NotFilledIn, "aws iam get-role"),
    (
        "111122223333",
        "${AWS::AccountId}",
        NotFilledIn,
        "aws iam get-role",
    ),
    (
        "iam::",
        "iam:",
        NotAPrincipal,
        "write arn:aws:iam::111122223333:role/dev",
    ),
    (
        "iam::",
        "iam:::",
        NotAPrincipal,
        "write arn:aws:iam::111122223333:role/dev",
    ),
    (
        "role/dev",
        "role//dev",
        NotAPrincipal,
        "write arn:aws:iam::111122223333:role/dev",
    ),
    (
        "role/dev",
        "group/dev",
        NotAPrincipal,
        "map a role that the members of the group assume",
    ),
    (
        "role/dev",
        "instance-profile/dev",
        NotAPrincipal,
        "get-instance-profile",
    ),
    (
        "iam::111122223333:role/dev",
        "sso:::permissionSet/ssoins-1/ps-1",
        NotAPrincipal,
        "declare the permission set",
    ),
    (
        "role/dev",
        "assumed-role/dev/*",
        SessionArn,
        "write arn:aws:iam::111122223333:role/dev",
    ),
    (
        "role/dev",
        "role/AWSReservedSSO_Admin_*",
        Wildcard,
        "'AWSReservedSSO_Admin_'",
    ),
    ("role/dev", "role/dev-*", Wildcard, "one entry for each"),
    (
        "role/dev",
        "role/AWSReservedSSO_Admin_0123456789abcde",
        SsoSuffix,
        "aws iam list-roles",
    ),
    (
        "111122223333",
        "11112222333",
        NotAPrincipal,
        "aws iam get-role",
    ),
    (
        "111122223333",
        "1111-2222-3333",
        NotAPrincipal,
        "write arn:aws:iam::111122223333:role/dev",
    ),
    (
        "username: dev",
        "username: dev:${SessionName}",
        NotFilledIn,
        "write \"dev:{{SessionName}}\"",
    ),
    (
        "username: dev",
        "username: admin-<name>",
        NotFilledIn,
        "write the username itself",
    ),
    (
        "username: dev",
        "username: \"{{ .Values.user }}\"",
        NotRendered,
        "render it first",
    ),
    (
        "username: dev",
        "user: dev",
        MisspelledField,
        "write `username`",
    ),
    (
        "username: dev",
        "name: dev",
        MisspelledField,
        "write `username`",
    ),
    (
        "username: dev",
        "username: system:nodes:{{EC2PrivateDNSName}}",
        NodeUsername,
        "system:node:{{EC2PrivateDNSName}}",
    ),
    (
        "username: dev",
        "username: system:node:{{EC2PrivateDNSName}}",
        NodeGroups,
        "if they are people, write another username",
    ),
    (
        "username: dev",
        "username: \u{2018}dev\u{2019}",
        Lookalike,
        "replace each with `'`",
    ),
    (
        "username: dev",
        "username\u{ff1a} dev",
        Lookalike,
        "replace it with `:`",
    ),
    (
        "username: dev",
        "user\u{200b}name: dev",
        Lookalike,
        "remove it",
    ),
    (
        "  username",
        "\u{3000}username",
        Lookalike,
        "replace it with a space",
    ),
    (
        "rolearn",
        "iamRoleArn",
        EntryDropped,
        "write `rolearn` instead of `iamrolearn`",
    ),
    ("rolearn", "principal_arn", EntryDropped, "write `rolearn`"),
    (
        "  - dev",
        "  - system: masters",
        BrokenText,
        "write \"system:masters\"",
    ),
    (
        "  - dev",
        "  - masters",
        AlmostWellKnown,
        "write \"system:masters\"",
    ),
    (
        "  - dev",
        "  - System:Masters",
        AlmostWellKnown,
        "write \"system:masters\"",
    ),
    (
        "  - dev",
        "  - system;masters",
        AlmostWellKnown,
        "write \"system:masters\"",
    ),
    ("  - dev", "  \u{2022} dev", ListDash, "write `- ` instead"),
    (
        "groups:\n  - dev",
        "groups: dev",
        ValueEmptied,
        "write a list: [\"dev\"]",
    ),
    (
        "groups:\n  - dev",
        "groups: dev, ops",
        ValueEmptied,
        "write a list: [\"dev\", \"ops\"]",
    ),
    (
        "groups:\n  - dev",
        "groups: \"dev,ops\"",
        ValueEmptied,
        "write a list: [\"dev\", \"ops\"]",
    ),
    (
        "groups:\n  - dev",
        "groups:\n  - - dev",
        ListDash,
        "remove the `- `",
    ),
    (
        "groups:\n  - dev",
        "group:\n  - dev",
        MisspelledField,
        "write `groups`",
    ),
    (
        "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n  groups:\n  - dev",
        "- groups\n  - dev\n  rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev",
        FieldColon,
        "write `groups:`",
    ),
];

#[test]
fn variants_of_reported_faults_are_named_with_their_fix() {
    let mut wrong = Vec::new();
    for (from, to, code, fix) in VARIANTS {
        let value = ENTRY.replacen(from, to, 1);
        assert_ne!(value, ENTRY, "{from}");
        let found = check(&[source(&roles(&value))]).report.diagnostics;
        let is_named = found
            .iter()
            .any(|found| found.code == code && found.fix.contains(fix));
        if !is_named {
            let found: Vec<String> = found
                .iter()
                .map(|it| format!("{}: {}: {}", it.code, it.title, it.fix))
                .collect();
            wrong.push(format!("{to:?}: {code} {fix:?} is not among {found:#?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
}

#[test]
fn users_with_names_of_nodes_are_reported() {
    let user = |username: &str, group: &str| {
        super::config_map(&[(
            "mapUsers",
            &format!(
                "- userarn: arn:aws:iam::111122223333:user/jane\n  username: {username}\n  groups: [\"{group}\"]\n"
            ),
        )])
    };
    assert_eq!(
        super::codes(&user("system:node:jane", "system:masters")),
        [PersonAsNode]
    );
    assert_eq!(
        super::codes(&user("system:node:jane", "dev")),
        [ReservedName]
    );
    assert_eq!(super::codes(&user("jane", "dev")), []);
}

#[test]
fn manifests_of_another_kind_or_version_are_reported() {
    let text = roles(ENTRY);
    for (from, to, fix) in [
        (
            "kind: ConfigMap",
            "kind: Configmap",
            "write `kind: ConfigMap`",
        ),
        ("kind: ConfigMap", "kind: Secret", "write `kind: ConfigMap`"),
        (
            "apiVersion: v1",
            "apiVersion: apps/v1",
            "write `apiVersion: v1`",
        ),
    ] {
        let found = check(&[source(&text.replacen(from, to, 1))])
            .report
            .diagnostics;
        let found: Vec<(Code, &str)> = found.iter().map(|it| (it.code, it.fix.as_str())).collect();
        assert_eq!(found, [(NoManifest, fix)]);
    }
    let accounts = super::config_map(&[("mapAccounts", "- \"arn:aws:iam::111122223333:root\"\n")]);
    let found = check(&[source(&accounts)]).report.diagnostics;
    assert_eq!(found[0].fix, "write \"111122223333\"");
    let groups = text.clone() + "  mapIAMGroups: |\n    - grouparn: x\n";
    let found = check(&[source(&groups)]).report.diagnostics;
    assert!(
        found[0].fix.starts_with("IAM groups can't be mapped"),
        "{found:?}"
    );
}
