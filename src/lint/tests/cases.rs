//! Texts and the codes that they end in.

use super::super::code::Code::{self, *};
use super::{check, codes, config_map, places, roles, source};

const ROLE: &str = "- rolearn: arn:aws:iam::111122223333:role/a\n";
const USER: &str = "- userarn: arn:aws:iam::111122223333:user/a\n";
const NAMED: &str = "  username: a\n  groups: [g]\n";

/// What `kubectl describe configmap` prints.
const DESCRIBE: &str = "Name:         aws-auth\nNamespace:    kube-system\n\nData\n====\nmapRoles:\n----\n- groups:\n  - g\n";

fn of_role(rest: &str) -> String {
    roles(&format!("{ROLE}{rest}"))
}

fn of_user(rest: &str) -> String {
    config_map(&[("mapUsers", &format!("{USER}{rest}"))])
}

fn arn(arn: &str) -> String {
    roles(&format!("- rolearn: {arn}\n{NAMED}"))
}

fn user_arn(arn: &str) -> String {
    config_map(&[("mapUsers", &format!("- userarn: {arn}\n{NAMED}"))])
}

fn accounts(value: &str) -> String {
    config_map(&[("mapAccounts", value)])
}

fn all_end_in(cases: &[(String, &[Code])]) {
    for (text, expected) in cases {
        assert_eq!(codes(text), *expected, "{text}\n{:?}", places(text));
    }
}

#[test]
fn a_key_that_is_dropped() {
    all_end_in(&[
        (
            of_role("  username: {{SessionName}}\n"),
            &[NoGroups, UnquotedTemplate, CallerNamesItself],
        ),
        (
            of_role("  username: {{SessionName}}-x\n"),
            &[NoGroups, UnquotedTemplate, CallerNamesItself],
        ),
        (
            of_role("  groups:\n  - {{SessionName}}\n"),
            &[NoUsername, UnquotedTemplate],
        ),
        (of_role("\tusername: a\n"), &[NoGroups, Tab]),
        (of_role("  \tusername: a\n"), &[NoGroups, Tab]),
        (of_role("    username: a\n  groups: [g]\n"), &[Indentation]),
        (of_role(" username: a\n"), &[NoGroups, Indentation]),
        (of_role("  username: a\n   groups: [g]\n"), &[Indentation]),
        (of_role("  username: @a\n"), &[NoGroups, BrokenText]),
        (of_role("  username: %a\n"), &[NoGroups, BrokenText]),
        (of_role("  username: `a`\n"), &[NoGroups, BrokenText]),
        (of_role("  username: *a\n"), &[BrokenText]),
        (of_role("  username: a: b\n"), &[NoGroups, BrokenText]),
        (of_role("  groups: [g\n"), &[NoUsername, NotClosed]),
        (
            roles("rolearn: arn:aws:iam::111122223333:role/a\n"),
            &[ListDash, NoGroups],
        ),
        (roles("|\n  - rolearn: x\n"), &[NoList]),
        (roles("mapRoles:\n- rolearn: x\n"), &[NoList, NotAPrincipal]),
        (roles("{\"rolearn\": \"x\"}"), &[NoList]),
        (roles("just a text\n"), &[NoList]),
        (
            roles("mapRoles:\n----\n- groups:\n  - g\n"),
            &[DescribeOutput, EntryDropped],
        ),
        (DESCRIBE.to_owned(), &[DescribeOutput, EntryDropped]),
        (
            of_role(&format!(
                "{NAMED}---\n- rolearn: arn:aws:iam::111122223333:role/b\n"
            )),
            &[SecondDocument],
        ),
    ]);
}

#[test]
fn an_entry_that_is_dropped() {
    all_end_in(&[
        (roles("- username: a\n  groups: [g]\n"), &[EntryDropped]),
        (roles("- just a text\n"), &[EntryDropped]),
        (roles("-\n"), &[EntryDropped]),
        (
            roles(&format!(
                "- userarn: arn:aws:iam::111122223333:user/a\n{NAMED}"
            )),
            &[EntryDropped],
        ),
        (
            of_role("  sso: {permissionSetName: V, accountID: \"111122223333\"}\n"),
            &[EntryDropped],
        ),
        (
            roles("- sso: {permissionSetName: V, accountID: 012345678901}\n"),
            &[EntryDropped],
        ),
        (
            roles("- sso: {permissionSetName: V, accountID: \"012345678901\"}\n"),
            &[SsoEntry],
        ),
    ]);
}

#[test]
fn a_value_that_is_emptied() {
    all_end_in(&[
        (of_role("  username: a\n  groups: g\n"), &[ValueEmptied]),
        (
            of_role("  username: a\n  groups: [{a: b}]\n"),
            &[ValueEmptied],
        ),
        (of_role("  username: a\n  groups: [~]\n"), &[ValueEmptied]),
        (of_role("  username: 12345\n  groups: [g]\n"), &[Yaml11Word]),
        (of_role("  username: yes\n  groups: [g]\n"), &[Yaml11Word]),
        (of_role("  username: y\n  groups: [g]\n"), &[Yaml11Word]),
        (
            of_role("  username: a\n  groups: [g, on, 1e3, 0x1F, 1_000]\n"),
            &[Yaml11Word, Yaml11Word, Yaml11Word, Yaml11Word],
        ),
        (of_role("  groups: [g]\n"), &[NoUsername]),
        (of_role("  username: ~\n  groups: [g]\n"), &[NoUsername]),
        (of_role("  username: \"\"\n  groups: [g]\n"), &[NoUsername]),
        (of_role("  username: a\n"), &[NoGroups]),
        (
            of_role("  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:masters]\n"),
            &[PersonAsNode],
        ),
        (of_role("  username: a\n  group: [g]\n"), &[MisspelledField]),
        (of_role("  user: a\n  groups: [g]\n"), &[MisspelledField]),
        (
            of_role("  user: a\n  group: [g]\n"),
            &[MisspelledField, MisspelledField],
        ),
        (
            of_role("  username: a\n  user: a\n  groups: [g]\n  group: [h]\n"),
            &[UnknownField, UnknownField],
        ),
        (
            of_role("  username: a\n  username: b\n  groups: [g]\n"),
            &[RepeatedField],
        ),
        (of_role("  Username: a\n  GROUPS: [g]\n"), &[]),
    ]);
}

#[test]
fn keys_and_manifests() {
    all_end_in(&[
        (config_map(&[("maproles", ROLE)]), &[MisspelledKey]),
        (config_map(&[("mapRole", ROLE)]), &[MisspelledKey]),
        (config_map(&[("mapRole", "[]\n")]), &[UnreadKey]),
        (
            "kind: ConfigMap\nmetadata: {name: aws-auth}\ndata:\n  mapRoles:\n  - rolearn: x\n"
                .to_owned(),
            &[NoManifest],
        ),
        ("mapRoles: |\n  - rolearn: x\n".to_owned(), &[NoManifest]),
        (
            "kind: ConfigMap\nmetadata: {name: aws-auth}\ndata:\n  mapRoles: |\n  - rolearn: x\n"
                .to_owned(),
            &[Indentation],
        ),
        (
            format!("{}  mapRoles: |\n    []\n", of_role(NAMED)),
            &[DuplicateKey],
        ),
    ]);
}

/// Notes say why, and an effect that depends on the text is in the label: a mapping has no key of aws-auth.
#[test]
fn notes_on_a_manifest_do_not_speak_of_keys_of_aws_auth() {
    let mapping = "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata: {name: a}\nspec:\n  principal:\n    \
        arn: arn:aws:iam::111122223333:role/a\n";
    for broken in [
        "  username: {{SessionName}}\n",
        "\tusername: a\n",
        "   username: a\n",
        "  username: \"a\n",
        "  username: 'a\n",
        "  groups: [a\n",
        "  groups:\n  -a\n",
        "  username a\n",
        "```\n",
    ] {
        let report = check(&[source(&format!("{mapping}{broken}"))]).report;
        assert!(!report.diagnostics.is_empty(), "{broken:?}");
        for found in report.diagnostics {
            let why = found.code.why();
            assert!(!why.contains("key"), "{broken:?}: {}: {why}", found.code);
        }
    }
}

#[test]
fn one_fault_that_breaks_several_documents_is_reported_once() {
    let page = "# IdentityMapping\n\n```console\n$ x: {{\n---\na: [\n---\nb: {\n```\n";
    let found = places(page);
    let mut once = found.clone();
    once.dedup();
    assert_eq!(found, once);
    assert!(
        found.iter().any(|(code, _)| *code == CopiedAlong),
        "{found:?}"
    );
}

#[test]
fn unknown_fields_of_a_mapping_name_the_field_that_is_meant() {
    for (spec, fix) in [
        ("arn: a", "write `spec.principal.arn` instead"),
        ("roleArn: a", "write `spec.principal.arn` instead"),
        (
            "permissionSet: {}",
            "write `spec.principal.permissionSet` instead",
        ),
        ("group: [a]", "write `spec.groups` instead"),
        ("usernames: a", "write `spec.username` instead"),
        ("user: a", "write `spec.username` instead"),
        ("policies: []", "write `spec.accessPolicies` instead"),
        ("validuntil: a", "write `spec.validUntil` instead"),
        ("principal: {groups: [a]}", "write `spec.groups` instead"),
        ("principal: {ARN: a}", "write `spec.principal.arn` instead"),
        (
            "accessPolicies: [{polcy: a}]",
            "write `spec.accessPolicies[0].policy` instead",
        ),
        (
            "accessPolicies: [{policy: a, namespaces: [a]}]",
            "write `spec.accessPolicies[0].scope.namespaces` instead",
        ),
        (
            "id: a",
            "`identity-mapper crd` prints every rule; `identity-mapper lint --explain IM070` explains the common ones",
        ),
    ] {
        let text = format!(
            "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata: {{name: a}}\nspec:\n  {spec}\n"
        );
        let report = check(&[source(&text)]).report;
        let unknown = report
            .diagnostics
            .iter()
            .find(|it| it.title.contains("unknown field"));
        let unknown = unknown.unwrap_or_else(|| panic!("{spec}: {report:?}"));
        assert_eq!(unknown.fix, fix, "{spec}");
    }
}

#[test]
fn arns() {
    all_end_in(&[
        (arn("arn:aws:iam::111122223333:role/team/a"), &[RolePath]),
        (
            arn(
                "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_A_0123456789abcdef",
            ),
            &[RolePath],
        ),
        (arn("\"arn:aws:iam::111122223333:role/a \""), &[BlankInArn]),
        (arn("\"arn:aws:iam::111122223333:role/ a\""), &[BlankInArn]),
        (arn("arn:aws:iam::111122223333:role/a*"), &[Wildcard]),
        (
            arn("arn:aws:sts::111122223333:assumed-role/a/me"),
            &[SessionArn],
        ),
        (arn("arn:aws:iam::111122223333:group/a"), &[NotAPrincipal]),
        (arn("arn:aws:iam::1111:role/a"), &[NotAPrincipal]),
        (arn("arn:aws:s3:::bucket"), &[NotAPrincipal]),
        (arn("a-role"), &[NotAPrincipal]),
        (user_arn("arn:aws:iam::111122223333:root"), &[RootUser]),
        (user_arn("arn:aws:iam::111122223333:user/people/a"), &[]),
        (user_arn("arn:aws:iam::111122223333:role/a"), &[WrongList]),
        (arn("arn:aws:iam::111122223333:user/a"), &[WrongList]),
        (arn("ARN:aws:iam::111122223333:ROLE/a"), &[]),
        (accounts("- \"111122223333\"\n"), &[WholeAccount]),
        (accounts("- 012345678901\n"), &[WholeAccount]),
        (accounts("- 1234\n"), &[BadAccount]),
        (accounts("- {a: b}\n"), &[EntryDropped]),
        (accounts("\"111122223333\"\n"), &[ListDash, WholeAccount]),
    ]);
}

#[test]
fn several_entries_for_a_principal() {
    all_end_in(&[
        (of_role(&format!("{NAMED}{ROLE}{NAMED}")), &[RepeatedEntry]),
        (
            of_role(&format!(
                "{NAMED}- rolearn: arn:aws-cn:iam::111122223333:role/b\n{NAMED}"
            )),
            &[OtherPartition],
        ),
        (
            of_role(&format!("{NAMED}{ROLE}  username: b\n  groups: [h]\n")),
            &[ShadowedEntry],
        ),
        (
            of_role(&format!("{NAMED}{}{NAMED}", ROLE.replace("/a", "/A"))),
            &[RepeatedEntry],
        ),
        (
            of_user(&format!("{NAMED}{}{NAMED}", USER.replace("/a", "/A"))),
            &[CaseVariant, CaseVariant],
        ),
        (
            config_map(&[
                ("mapRoles", &format!("{ROLE}{NAMED}")),
                (
                    "mapUsers",
                    &format!("- userarn: arn:aws:iam::111122223333:role/a\n{NAMED}"),
                ),
            ]),
            &[WrongList, RepeatedEntry],
        ),
    ]);
}

#[test]
fn slips_and_names_that_are_cut() {
    all_end_in(&[
        (
            of_role(
                "  username: a\n  groups: [system:mastres, system:mster, system:boostrapers]\n",
            ),
            &[AlmostWellKnown, AlmostWellKnown, AlmostWellKnown],
        ),
        (
            of_role("  username: a\n  groups: [cluster-admin, view]\n"),
            &[RoleAsGroup, RoleAsGroup],
        ),
        (
            of_role("  username: \"dev:\"\n  groups: [\"team:\"]\n"),
            &[LostPlaceholder, LostPlaceholder],
        ),
        (
            of_role("  username: arn:aws:iam::111122223333:user/a\n  groups: [g]\n"),
            &[],
        ),
        (
            of_role("  username: \"@example.com\"\n  groups: [g]\n"),
            &[LostPlaceholder],
        ),
    ]);
}

#[test]
fn usernames_and_groups() {
    all_end_in(&[
        (
            of_role("  username: a\n  groups: [system:master]\n"),
            &[AlmostWellKnown],
        ),
        (
            of_role("  username: a\n  groups: [System:Masters]\n"),
            &[AlmostWellKnown],
        ),
        (
            of_role(
                "  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrapper, system:node]\n",
            ),
            &[AlmostWellKnown, AlmostWellKnown],
        ),
        (
            of_role("  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:nodes]\n"),
            &[NodeGroups],
        ),
        (
            of_role("  username: system:node:{{EC2PrivateDNSName}}\n"),
            &[NoGroups, NodeGroups],
        ),
        (
            of_role("  username: node\n  groups: [system:bootstrappers, system:nodes]\n"),
            &[NodeUsername],
        ),
        (
            of_user("  username: a:{{SessionName}}\n  groups: [g]\n"),
            &[SessionOfUser],
        ),
        (
            of_user("  username: \"{{EC2PrivateDNSName}}\"\n  groups: [g]\n"),
            &[SessionOfUser],
        ),
        (
            of_role("  username: \"{{SessionName}}\"\n  groups: [g]\n"),
            &[CallerNamesItself],
        ),
        (
            of_role("  username: \"{{SessionNameRaw}}@x\"\n  groups: [g]\n"),
            &[CallerNamesItself],
        ),
        (
            of_role("  username: a:{{AccessKeyID}}\n  groups: [g]\n"),
            &[AccessKeyId],
        ),
        (
            of_role("  username: system:admin\n  groups: [g]\n"),
            &[ReservedName],
        ),
        (
            of_role("  username: eks:x\n  groups: [g]\n"),
            &[ReservedName],
        ),
        (
            of_role("  username: a\n  groups: [system:developers]\n"),
            &[UnknownSystemGroup],
        ),
        (
            of_role("  username: a\n  groups: [\"identity-mapper:bridge\"]\n"),
            &[ReservedName],
        ),
        (
            of_role("  username: a:{{Sessionname}}\n  groups: [g]\n"),
            &[UnknownPlaceholder],
        ),
        (
            of_role("  username: a\n  groups: [\"{{Team}}\"]\n"),
            &[UnknownPlaceholder],
        ),
        (
            of_role("  username: a\n  groups:\n  - a - b\n"),
            &[OneLineList],
        ),
        (
            of_role(
                "  username: a\n  groups:\n  - system:masters,system:nodes\n  - a, b\n  - system:nodes system:bootstrappers\n",
            ),
            &[OneLineList, OneLineList, OneLineList],
        ),
        (
            of_role("  username: a\n  groups:\n  - cn=ops,ou=eks\n  - site reliability\n"),
            &[],
        ),
        (
            of_role("  username: nobody:{{UserName}}\n  groups: [g]\n"),
            &[UnknownPlaceholder],
        ),
        (
            of_role("  username: a\n  groups: [\"g \"]\n"),
            &[BlankInName],
        ),
        (
            of_role("  username: \" a\"\n  groups: [g]\n"),
            &[BlankInName],
        ),
    ]);
}

#[test]
fn mappings_and_their_codes() {
    let mapping = |name: &str, spec: &str| {
        format!(
            "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata: {{name: {name}}}\nspec:\n  {}\n",
            spec.replace('\n', "\n  ")
        )
    };
    let role = "principal: {arn: arn:aws:iam::111122223333:role/team/a}\n";
    let user = "principal: {arn: arn:aws:iam::111122223333:user/a}\n";
    let set = "principal: {permissionSet: {name: A, accountId: \"111122223333\"}}\n";
    let cases: Vec<(String, &[Code])> = vec![
        (
            mapping(
                "a",
                &format!("{role}username: a:{{{{SessionName}}}}\ngroups: [g]"),
            ),
            &[],
        ),
        (
            mapping(
                "a",
                &format!("{set}username: \"{{{{SessionName}}}}\"\ngroups: [g]"),
            ),
            &[],
        ),
        (mapping("a", &format!("{role}type: EC2Linux")), &[]),
        (mapping("a", &format!("{role}groups: [on]")), &[Yaml11Word]),
        (
            mapping("a", &format!("{role}username: 12345")),
            &[Yaml11Word],
        ),
        (
            mapping(
                "a",
                "principal: {permissionSet: {name: A, accountId: 012345678901}}",
            ),
            &[Yaml11Word],
        ),
        (
            mapping("a", "principal: {arn: arn:aws:iam::111122223333:group/a}"),
            &[Refused],
        ),
        (
            mapping(
                "a",
                "principal: {arn: arn:aws:sts::111122223333:assumed-role/a/b}",
            ),
            &[Refused],
        ),
        (
            mapping("a", &format!("{role}groups: [system:master]")),
            &[AlmostWellKnown],
        ),
        (
            mapping("a", &format!("{role}username: \"{{{{SessionName}}}}\"")),
            &[CallerNamesItself],
        ),
        (
            mapping("a", &format!("{user}username: a:{{{{SessionName}}}}")),
            &[SessionOfUser],
        ),
        (
            mapping("a", &format!("{role}groups: [g]\ngroups: [h]")),
            &[RepeatedField],
        ),
        (
            format!(
                "{}---\n{}",
                mapping("a", &format!("{role}groups: [g]")),
                mapping("b", &format!("{}groups: [g]", role.replace("team/a", "A")))
            ),
            &[SamePrincipal],
        ),
        (
            format!("{}---\n{}", mapping("a", set), mapping("b", set)),
            &[NoGroups, NoGroups, SamePrincipal],
        ),
        (
            format!("{}---\n{}", mapping("a", role), mapping("b", user)),
            &[NoGroups, NoGroups],
        ),
    ];
    all_end_in(&cases);
}

#[test]
fn names_of_access_policies_and_joined_groups_in_mappings() {
    let mapping = |rest: &str| {
        format!(
            "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata: {{name: a}}\nspec:\n  \
                principal: {{arn: \"arn:aws:iam::111122223333:role/a\"}}\n  username: a\n{rest}"
        )
    };
    let policy = |name: &str| mapping(&format!("  accessPolicies:\n  - policy: {name}\n"));
    all_end_in(&[
        (policy("AmazonEKSClusterAdmin"), &[MisspelledPolicy]),
        (policy("AmazonEKSClusterAdminsPolicy"), &[MisspelledPolicy]),
        (policy("AmazonEKSviewPolicy"), &[MisspelledPolicy]),
        (policy("AmazonEKSClusterAdminPolicy"), &[]),
        (policy("AmazonEKSComputePolicy"), &[NotInEffect]),
        (policy("AmazonEKSAdminViewPolciy"), &[MisspelledPolicy]),
        (policy("AmazonEKSAutoNodePolicy"), &[]),
        (mapping("  groups: [\"a, b\"]\n"), &[OneLineList]),
    ]);
    let found = check(&[source(&policy("AmazonEKSClusterAdmin"))])
        .report
        .diagnostics;
    assert!(
        found[0]
            .fix
            .starts_with("write AmazonEKSClusterAdminPolicy;"),
        "{found:?}"
    );
}
