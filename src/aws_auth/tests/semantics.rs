//! What aws-iam-authenticator v0.7.18 does with each awkward form (`pkg/mapper/configmap/configmap.go`), by name.

use std::fmt::Write;

use super::*;

const ARN: &str = "arn:aws:iam::111122223333:role/a";

/// An entry of role `a` with these lines below its ARN.
fn entry(lines: &str) -> String {
    format!("- rolearn: {ARN}\n  {}\n", lines.replace('\n', "\n  "))
}

fn view(text: &str) -> SectionView {
    Document::parse(&roles(text))
        .section(Section::Roles)
        .clone()
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str, &[&str])]) {
    let view = view(text);
    let expected: Vec<_> = expected
        .iter()
        .map(|(a, u, g)| (*a, *u, g.to_vec()))
        .collect();
    assert_eq!(seen(&view), expected, "{text:?}: {:?}", view.problems);
    assert_eq!(view.broken, None, "{text:?}");
}

#[track_caller]
fn dropped(text: &str) {
    let view = view(text);
    assert!(
        view.broken.is_some() && view.entries.is_empty(),
        "{text:?} takes effect: {:?}",
        view.entries
    );
}

#[test]
fn a_syntax_error_anywhere_drops_the_section() {
    let good = entry("username: x");
    for bad in [
        "\tusername: x",
        " - rolearn: y",
        "  a: b: c",
        "- rolearn: @b",
        "- rolearn: b\n  username: {{SessionName}}",
        "- rolearn: \"b",
    ] {
        dropped(&format!("{good}{bad}\n"));
    }
}

#[test]
fn a_broken_section_leaves_the_other() {
    let data = BTreeMap::from([
        ("mapRoles".to_owned(), "- rolearn: \"".to_owned()),
        (
            "mapUsers".to_owned(),
            "- userarn: arn:aws:iam::111122223333:user/b\n  username: b\n".to_owned(),
        ),
    ]);
    let document = Document::parse(&data);
    assert!(document.section(Section::Roles).broken.is_some());
    assert_eq!(
        seen(document.section(Section::Users)),
        [("arn:aws:iam::111122223333:user/b", "b", vec![])]
    );
}

#[test]
fn templates_behind_other_text_need_no_quotes() {
    check(
        &entry("username: system:node:{{EC2PrivateDNSName}}"),
        &[(ARN, "system:node:{{EC2PrivateDNSName}}", &[])],
    );
    check(
        &entry("username: admin:{{SessionName}}"),
        &[(ARN, "admin:{{SessionName}}", &[])],
    );
}

#[test]
fn groups_that_are_text_are_emptied() {
    check(
        &entry("username: x\ngroups: some-string"),
        &[(ARN, "x", &[])],
    );
    assert_eq!(
        view(&entry("groups: some-string")).problems[0].kind,
        ProblemKind::FieldEmptied
    );
}

#[test]
fn usernames_that_are_no_text_are_emptied_and_the_groups_stay() {
    for value in [
        "12345", "yes", "on", "y", "no", "null", "~", "", "1e3", "0x1F", ".inf #",
    ] {
        let text = entry(&format!("username: {value}\ngroups: [g]"));
        if value.starts_with(".inf") {
            // JSON has no infinity: all is lost.
            dropped(&text);
        } else {
            check(&text, &[(ARN, "", &["g"])]);
        }
    }
    check(&entry("groups: [g]"), &[(ARN, "", &["g"])]);
}

#[test]
fn groups_that_are_truth_values_are_emptied_one_by_one() {
    check(
        &entry("username: x\ngroups: [on, g]"),
        &[(ARN, "x", &["", "g"])],
    );
}

#[test]
fn two_groups_on_one_line_are_one() {
    check(
        &entry("username: x\ngroups:\n- system:bootstrappers - system:nodes"),
        &[(ARN, "x", &["system:bootstrappers - system:nodes"])],
    );
}

#[test]
fn an_entry_without_arn_or_with_arn_and_sso_is_dropped_alone() {
    let sso = "sso: {permissionSetName: View, accountID: \"111122223333\"}";
    let text = format!("- username: x\n{}{}", entry("username: x"), entry(sso));
    check(&text, &[(ARN, "x", &[])]);
    let kinds: Vec<_> = view(&text).problems.iter().map(|p| p.kind).collect();
    assert_eq!(
        kinds,
        [ProblemKind::EntryDropped, ProblemKind::EntryDropped]
    );
}

#[test]
fn an_sso_entry_is_kept_and_matches_nobody() {
    let text = "- sso: {permissionSetName: View, accountID: \"111122223333\"}\n  username: v\n";
    assert!(view(text).entries[0].sso);
    let data = roles(text);
    let document = Document::parse(&data);
    let found =
        document.lookup("arn:aws:iam::111122223333:role/awsreservedsso_view_0123456789abcdef");
    assert_eq!(found, Lookup::None);
    // The account must be text, of 12 digits.
    assert!(
        view("- sso: {permissionSetName: View, accountID: 111122223333}\n")
            .entries
            .is_empty()
    );
}

#[test]
fn a_map_instead_of_a_list_is_no_entry() {
    dropped(&format!("rolearn: {ARN}\nusername: x\n"));
}

#[test]
fn text_that_starts_with_a_brace_is_json_and_no_list() {
    for text in ["{}", "  {\"rolearn\": \"x\"}", "{a: b}", "\u{a0}{"] {
        dropped(text);
    }
}

#[test]
fn accounts_keep_their_zeros_and_a_map_among_them_is_lost() {
    let accounts = |text: &str| {
        let data = BTreeMap::from([("mapAccounts".to_owned(), text.to_owned())]);
        Document::parse(&data).section(Section::Accounts).clone()
    };
    assert_eq!(
        accounts("- 012345678901\n- \"111122223333\"\n- yes\n").accounts,
        ["012345678901", "111122223333", "yes"]
    );
    let mixed = accounts("- a: b\n- \"111122223333\"\n");
    assert_eq!(
        (mixed.accounts.len(), mixed.problems.len(), mixed.broken),
        (1, 1, None)
    );
    assert!(accounts("a: b").broken.is_some());
}

#[test]
fn a_blank_in_a_quoted_arn_never_matches() {
    let data = roles(&format!("- rolearn: \"{ARN} \"\n  username: x\n"));
    assert_eq!(Document::parse(&data).lookup(ARN), Lookup::None);
}

#[test]
fn keys_count_with_case_and_fields_without() {
    let data = BTreeMap::from([("maproles".to_owned(), entry("username: x"))]);
    assert_eq!(Document::parse(&data).entries().count(), 0);
    check(
        &format!("- RoleARN: {ARN}\n  Username: x\n  GROUPS: [g]\n  Unknown: {{a: b}}\n"),
        &[(ARN, "x", &["g"])],
    );
    // The long s folds to s.
    check(&entry("u\u{17f}ername: x"), &[(ARN, "x", &[])]);
}

#[test]
fn the_last_of_two_equal_fields_wins_and_case_variants_go_by_byte_order() {
    check(&entry("username: x\nusername: z"), &[(ARN, "z", &[])]);
    check(&entry("username: x\nUSERNAME: z"), &[(ARN, "x", &[])]);
    // The later list is decoded over the earlier, and null leaves what is there.
    check(
        &entry("groups: [~, ~]\nGroups: [b]\nGROUPS: [a, b, c]"),
        &[(ARN, "", &["b", "b"])],
    );
}

#[test]
fn anchors_and_merges_work() {
    check(
        &format!("- &a\n  rolearn: {ARN}\n  username: x\n- <<: *a\n  username: z\n- *a\n"),
        &[(ARN, "x", &[]), (ARN, "z", &[]), (ARN, "x", &[])],
    );
    dropped("- &a [*a]\n");
}

#[test]
fn only_the_first_document_counts() {
    check(
        &format!("---\n{}---\n- [\n", entry("username: x")),
        &[(ARN, "x", &[])],
    );
}

#[test]
fn empty_forms_are_empty() {
    for text in [
        "",
        "  \n\n",
        "\"\"",
        "''",
        "``",
        " `` \n",
        "[]",
        "null",
        "~",
        "# comment\n",
        "---\n",
        "--- # c\n",
    ] {
        check(text, &[]);
        assert_eq!(view(text).problems, [], "{text:?}");
    }
    dropped("...\n");
}

#[test]
fn line_endings_and_byte_order_marks_do_not_matter() {
    let text = entry("username: x\ngroups:\n- g");
    for eol in ["\r\n", "\r", "\u{85}"] {
        check(&text.replace('\n', eol), &[(ARN, "x", &["g"])]);
    }
    check(&format!("\u{feff}{text}"), &[(ARN, "x", &["g"])]);
    check(text.trim_end(), &[(ARN, "x", &["g"])]);
}

#[test]
fn block_scalars_keep_or_lose_their_last_line_ending() {
    check(
        &format!("- rolearn: |-\n    {ARN}\n  username: >\n    a\n    b\n\n"),
        &[(ARN, "a b\n", &[])],
    );
    check("- rolearn: |\n    a\n", &[("a\n", "", &[])]);
}

#[test]
fn go_yaml_has_habits_of_its_own() {
    // `?` ends a plain scalar in flow, `\/` is no escape, `[]` is no key.
    dropped("[{rolearn: a?b}]");
    dropped("- rolearn: \"a\\/b\"\n");
    dropped("- []: x\n  rolearn: a\n");
    check("[]: x\n", &[]);
    // An unsigned number beyond 63 bits is no key, and neither is nothing.
    dropped(&entry("18446744073709551615: x"));
    dropped(&entry("~: x"));
    dropped(&entry("[a]: x"));
    // Characters are checked in chunks of 512 bytes, so far as the first document reaches.
    check(
        &format!("{}---\n{}\u{7f}", entry("username: x"), "# \n".repeat(300)),
        &[(ARN, "x", &[])],
    );
    dropped(&format!("{}---\n\u{7f}", entry("username: x")));
    // The 1,025th character of a key is too late for its colon.
    dropped(&entry(&format!("{}: x", "k".repeat(1025))));
    check(
        &entry(&format!("{}: x", "k".repeat(1024))),
        &[(ARN, "", &[])],
    );
}

#[test]
fn explicit_tags_decide() {
    check(&entry("username: !!str 123"), &[(ARN, "123", &[])]);
    check(&entry("username: !!binary eA=="), &[(ARN, "x", &[])]);
    check(
        &entry("username: !!binary //8="),
        &[(ARN, "\u{fffd}\u{fffd}", &[])],
    );
    check(&entry("username: ! 5"), &[(ARN, "5", &[])]);
    check(
        &entry("username: !!timestamp 2020-02-29"),
        &[(ARN, "2020-02-29", &[])],
    );
    for bad in [
        "!!int x",
        "!!float x",
        "!!bool x",
        "!!null x",
        "!!binary x",
        "!!timestamp 2021-02-29",
        "!y!z x",
    ] {
        dropped(&entry(&format!("username: {bad}")));
    }
}

#[test]
fn depth_and_expansion_are_bounded_as_go_bounds_them() {
    // The list and the entry are two of 10,000 levels of JSON.
    check(
        &entry(&format!("note: {}{}", "[".repeat(9_998), "]".repeat(9_998))),
        &[(ARN, "", &[])],
    );
    dropped(&entry(&format!(
        "note: {}{}",
        "[".repeat(9_999),
        "]".repeat(9_999)
    )));
    dropped(&"[".repeat(10_001));
    dropped(&"- ".repeat(10_001));
    let mut bomb = "- &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..9 {
        let alias = format!("*a{}", i - 1);
        let _ = writeln!(bomb, "- &a{i} [{}]", [alias.as_str(); 9].join(","));
    }
    dropped(&bomb);
}

#[test]
fn lookup_goes_by_folded_arn_and_the_last_wins() {
    let text = format!(
        "- rolearn: {ARN}\n  username: first\n- rolearn: {}\n  username: second\n",
        ARN.to_uppercase()
    );
    let data = roles(&text);
    let document = Document::parse(&data);
    assert!(matches!(document.lookup(ARN), Lookup::Role(entry) if entry.username == "second"));
}

#[test]
fn lookup_finds_case_variants_of_users_ambiguous() {
    let user = "arn:aws:iam::111122223333:user/Bob";
    let text = format!(
        "- userarn: {user}\n  username: a\n- userarn: {}\n  username: b\n",
        user.to_lowercase()
    );
    let data = BTreeMap::from([("mapUsers".to_owned(), text)]);
    let document = Document::parse(&data);
    assert!(matches!(document.lookup(user), Lookup::AmbiguousUser(entries) if entries.len() == 2));
}

#[test]
fn lookup_falls_back_to_accounts() {
    let data = BTreeMap::from([("mapAccounts".to_owned(), "- \"111122223333\"".to_owned())]);
    let document = Document::parse(&data);
    assert_eq!(document.lookup(ARN), Lookup::Account);
    assert_eq!(
        document.lookup("arn:aws:iam::444455556666:role/a"),
        Lookup::None
    );
}
