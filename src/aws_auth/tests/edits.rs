//! Edits of every legal form, byte by byte.

use super::*;

fn new(name: &str) -> NewEntry {
    NewEntry {
        section: Section::Roles,
        arn: format!("arn:aws:iam::111122223333:role/{name}"),
        username: "u".to_owned(),
        groups: vec!["h".to_owned(), "g".to_owned(), "h".to_owned()],
    }
}

fn append(name: &str) -> EntryEdit {
    EntryEdit::Append(new(name))
}

fn remove(item: usize) -> EntryEdit {
    EntryEdit::Remove {
        section: Section::Roles,
        item,
    }
}

fn replace(item: usize, name: &str) -> EntryEdit {
    EntryEdit::Replace {
        section: Section::Roles,
        item,
        entry: new(name),
    }
}

/// The canonical form of [`new`] as a block item.
fn block(name: &str) -> String {
    format!(
        "- rolearn: \"arn:aws:iam::111122223333:role/{name}\"\n  username: \"u\"\n  groups:\n  - \"g\"\n  - \"h\"\n"
    )
}

/// The canonical form of [`new`] as a flow item.
fn flow(name: &str) -> String {
    format!(
        "{{\"rolearn\": \"arn:aws:iam::111122223333:role/{name}\", \"username\": \"u\", \"groups\": [\"g\", \"h\"]}}"
    )
}

#[track_caller]
fn edited(text: &str, changes: &[EntryEdit]) -> String {
    let result = edit(&roles(text), changes).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    result
        .get("mapRoles")
        .cloned()
        .unwrap_or_else(|| text.to_owned())
}

#[track_caller]
fn check(text: &str, changes: &[EntryEdit], expected: &str) {
    assert_eq!(edited(text, changes), expected, "{text:?}");
}

fn indented(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| format!("{indent}{line}\n"))
        .collect();
    lines.concat()
}

#[test]
fn a_list_starts_where_there_is_none() {
    let b = block("n");
    assert_eq!(edit(&BTreeMap::new(), &[append("n")]).unwrap(), roles(&b));
    for text in ["", "  \n\n", "``", "\"\"", "''"] {
        check(text, &[append("n")], &b);
    }
    check(
        "# note",
        &[append("n")],
        &format!("# note\n{}", b.trim_end()),
    );
    check(
        "# note\r\n",
        &[append("n")],
        &format!("# note\r\n{}", b.replace('\n', "\r\n")),
    );
    check("--- # note\n", &[append("n")], &format!("--- # note\n{b}"));
    check(
        "---\n...\nlater",
        &[append("n")],
        &format!("---\n{b}...\nlater"),
    );
    check(
        "---\n---\n- rolearn: x\n",
        &[append("n")],
        &format!("---\n{b}---\n- rolearn: x\n"),
    );
    check(
        "null # none\n",
        &[append("n")],
        &format!("[{}] # none\n", flow("n")),
    );
    check(
        "~",
        &[append("n"), append("m")],
        &format!("[{}, {}]", flow("n"), flow("m")),
    );
    check("[]", &[append("n")], &format!("[{}]", flow("n")));
    check(
        "[ # none\n]\n",
        &[append("n")],
        &format!("[{} # none\n]\n", flow("n")),
    );
}

#[test]
fn appended_entries_follow_the_documents_layout() {
    let b = block("n");
    check(
        "- rolearn: a\n",
        &[append("n")],
        &format!("- rolearn: a\n{b}"),
    );
    check(
        "- rolearn: a",
        &[append("n")],
        &format!("- rolearn: a\n{}", b.trim_end()),
    );
    check(
        "- rolearn: a\r\n",
        &[append("n")],
        &format!("- rolearn: a\r\n{}", b.replace('\n', "\r\n")),
    );
    check(
        "    - rolearn: a\n",
        &[append("n")],
        &format!("    - rolearn: a\n{}", indented(&b, "    ")),
    );
    check(
        "\u{feff}- rolearn: a\n",
        &[append("n")],
        &format!("\u{feff}- rolearn: a\n{b}"),
    );
    check(
        "- rolearn: a # x\n# end\n",
        &[append("n")],
        &format!("- rolearn: a # x\n{b}# end\n"),
    );
    check(
        "- rolearn: a\n...\nfoo: [\n",
        &[append("n")],
        &format!("- rolearn: a\n{b}...\nfoo: [\n"),
    );
    check(
        "---\n- rolearn: a\n---\n- rolearn: b\n",
        &[append("n")],
        &format!("---\n- rolearn: a\n{b}---\n- rolearn: b\n"),
    );
    check(
        "- rolearn: a\n  x: |+\n    t\n\n# c\n",
        &[append("n")],
        &format!("- rolearn: a\n  x: |+\n    t\n\n{b}# c\n"),
    );
    check(
        "-\n  rolearn: a\n- - x\n-\n",
        &[append("n")],
        &format!("-\n  rolearn: a\n- - x\n-\n{b}"),
    );
    check(
        "- rolearn: a\n",
        &[append("n"), append("m")],
        &format!("- rolearn: a\n{b}{}", block("m")),
    );
}

#[test]
fn removed_entries_take_their_lines_and_no_others() {
    let text = "# head\n- rolearn: a # one\n  # inside\n  username: x # two\n# between\n\n- rolearn: b\n# end\n";
    check(
        text,
        &[remove(0)],
        "# head\n# between\n\n- rolearn: b\n# end\n",
    );
    check(
        text,
        &[remove(1)],
        "# head\n- rolearn: a # one\n  # inside\n  username: x # two\n# between\n\n# end\n",
    );
    check(
        text,
        &[remove(0), remove(1)],
        "# head\n# between\n\n# end\n",
    );
    check(
        "- rolearn: a\r\n- rolearn: b",
        &[remove(1)],
        "- rolearn: a\r\n",
    );
    check("- rolearn: a\n- rolearn: b", &[remove(0)], "- rolearn: b");
    check(
        "-\n  # c\n  rolearn: a\n  groups:\n  - g\n-   rolearn: b\n",
        &[remove(0)],
        "-   rolearn: b\n",
    );
    check(
        "- {rolearn: a,\n   username: x}\n- rolearn: b\n",
        &[remove(0)],
        "- rolearn: b\n",
    );
    check(
        "- rolearn: a\n  x: |\n    t\n\n# c\n- rolearn: b\n",
        &[remove(0)],
        "# c\n- rolearn: b\n",
    );
    // Empty lines must not come to stand behind a block scalar that keeps them.
    check(
        "- x: |+\n    t\n- rolearn: a\n\n- rolearn: b\n",
        &[remove(1)],
        "- x: |+\n    t\n- rolearn: b\n",
    );
}

#[test]
fn an_emptied_list_still_reads_as_one() {
    check("- rolearn: a\n", &[remove(0)], "");
    check("---\n- rolearn: a\n", &[remove(0)], "---\n");
    check("- rolearn: a\n...\n", &[remove(0)], "[]\n...\n");
    check(
        "- rolearn: a\n---\n- rolearn: b\n",
        &[remove(0)],
        "[]\n---\n- rolearn: b\n",
    );
    check("!!seq\n- rolearn: a\n", &[remove(0)], "!!seq\n[]\n");
    check("[{rolearn: a}]", &[remove(0)], "[]");
    check(
        "- rolearn: a",
        &[remove(0), append("n")],
        block("n").trim_end(),
    );
    check(
        "# c\n- rolearn: a\n# d\n",
        &[remove(0), append("n")],
        &format!("# c\n{}# d\n", block("n")),
    );
}

#[test]
fn replaced_entries_stay_in_their_place() {
    let b = block("n");
    check(
        "- rolearn: a\n  x: y # c\n# d\n- rolearn: b\n",
        &[replace(0, "n")],
        &format!("{b}# d\n- rolearn: b\n"),
    );
    check(
        "- rolearn: a\n- rolearn: b",
        &[replace(1, "n")],
        &format!("- rolearn: a\n{}", b.trim_end()),
    );
    check("  - rolearn: a\n", &[replace(0, "n")], &indented(&b, "  "));
    check(
        "[{rolearn: a}, {rolearn: b}]",
        &[replace(0, "n")],
        &format!("[{}, {{rolearn: b}}]", flow("n")),
    );
}

#[test]
fn flow_lists_stay_flow_lists() {
    let f = flow("n");
    check(
        "[{rolearn: a}]",
        &[append("n")],
        &format!("[{{rolearn: a}}, {f}]"),
    );
    check(
        "[{rolearn: a}, ]",
        &[append("n")],
        &format!("[{{rolearn: a}}, {f}, ]"),
    );
    check(
        "[{rolearn: a}, {rolearn: b}, ]",
        &[remove(1)],
        "[{rolearn: a}, ]",
    );
    check(
        "[{rolearn: a}, {rolearn: b}, {rolearn: c}]",
        &[remove(1), remove(2), append("n"), append("n")],
        &format!("[{{rolearn: a}}, {f}, {f}]"),
    );
    check(
        "[\n  {rolearn: a},\n  {rolearn: b},\n]\n",
        &[remove(1), append("n")],
        &format!("[\n  {{rolearn: a}},\n  {f},\n]\n"),
    );
    check(
        "[\n  {rolearn: a}, # one\n  {rolearn: b},\n]\n",
        &[remove(1)],
        "[\n  {rolearn: a}, # one\n]\n",
    );
    check(
        "[ {rolearn: a}, {rolearn: b} ]",
        &[remove(0)],
        "[ {rolearn: b} ]",
    );
    check(
        "[ {rolearn: a}, {rolearn: b} ]",
        &[remove(1)],
        "[ {rolearn: a} ]",
    );
    check(
        "[{rolearn: a}, {rolearn: b}, {rolearn: c}]",
        &[remove(1), remove(2)],
        "[{rolearn: a}]",
    );
    check(
        "[{rolearn: a}, {rolearn: b}]",
        &[remove(0), remove(1), append("n")],
        &format!("[{f}]"),
    );
    let lines = "[\n  {rolearn: a}, # one\n  {rolearn: b} # two\n]\n";
    check(
        lines,
        &[append("n")],
        &format!("[\n  {{rolearn: a}}, # one\n  {{rolearn: b}}, # two\n  {f}\n]\n"),
    );
    check(lines, &[remove(0)], "[\n  # one\n  {rolearn: b} # two\n]\n");
    check(
        lines,
        &[remove(1)],
        "[\n  {rolearn: a} # one\n   # two\n]\n",
    );
    check(
        "[\n  {rolearn: a},\n  {rolearn: b}\n]\n",
        &[remove(0)],
        "[\n  {rolearn: b}\n]\n",
    );
    check(
        "[\n  {rolearn: a},\n  {rolearn: b}\n]\n",
        &[remove(1)],
        "[\n  {rolearn: a}\n]\n",
    );
    let json = r#"[{"rolearn":"a","username":"x","groups":["g"]}]"#;
    let result = edited(json, &[append("n")]);
    assert!(
        serde_json::from_str::<serde_json::Value>(&result).is_ok(),
        "JSON stays JSON: {result}"
    );
}

#[test]
fn dropped_items_and_unknown_fields_stay() {
    let text = "- ~\n- username: x\n-   sso: {}\n- rolearn: a\n  extra: {deep: [1, 2]}\n- text\n";
    check(text, &[append("n")], &format!("{text}{}", block("n")));
    check(
        text,
        &[remove(3)],
        "- ~\n- username: x\n-   sso: {}\n- text\n",
    );
}

#[test]
fn a_shared_anchor_is_not_taken_away() {
    let text = "- &a\n  rolearn: a\n- <<: *a\n  username: b\n";
    let refused = edit(&roles(text), &[append("n"), remove(0)]).unwrap_err();
    let EditError::Entangled { change, line, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!((change, line), (1, 3));
    check(text, &[remove(1)], "- &a\n  rolearn: a\n");
    check(text, &[remove(0), remove(1)], "");
}

#[test]
fn a_block_scalar_at_the_very_end_is_not_lengthened() {
    let refused = edit(&roles("- rolearn: a\n  x: |\n    t"), &[append("n")]).unwrap_err();
    assert!(
        matches!(
            refused,
            EditError::Entangled {
                change: 0,
                line: 1,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_text_that_does_not_parse_is_not_edited() {
    for text in ["- rolearn: \"", "rolearn: a\n", "{}", "text"] {
        let refused = edit(&roles(text), &[append("n")]).unwrap_err();
        assert!(
            matches!(refused, EditError::Broken(_)),
            "{text:?}: {refused}"
        );
    }
}

#[test]
fn one_broken_section_is_reason_enough_to_change_none() {
    let mut data = roles("- rolearn: a\n");
    data.insert("mapUsers".to_owned(), "\"".to_owned());
    let user = NewEntry {
        section: Section::Users,
        ..new("n")
    };
    assert!(matches!(
        edit(&data, &[append("n"), EntryEdit::Append(user)]),
        Err(EditError::Broken(_))
    ));
    // But a section that is not to change may be what it is.
    assert_eq!(edit(&data, &[append("n")]).unwrap().len(), 1);
}

#[test]
fn wishes_that_contradict_the_document_are_refused() {
    for changes in [vec![remove(1)], vec![remove(0), replace(0, "n")]] {
        let refused = edit(&roles("- rolearn: a\n"), &changes).unwrap_err();
        assert!(matches!(refused, EditError::Unverified { .. }), "{refused}");
    }
}

#[test]
fn no_change_is_no_text() {
    assert_eq!(
        edit(&roles("- rolearn: a\n"), &[]).unwrap(),
        BTreeMap::new()
    );
}

#[test]
fn every_value_reads_back() {
    let awkward = "\"\\\u{0}\u{7}\t\n\r\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{fffe}é😀 {{SessionName}} # : - ' ";
    let entry = NewEntry {
        section: Section::Users,
        arn: "arn:aws:iam::111122223333:user/div/a+=,.@_-b".to_owned(),
        username: awkward.to_owned(),
        groups: vec![
            "yes".to_owned(),
            "0x1F".to_owned(),
            "<<".to_owned(),
            "~".to_owned(),
        ],
    };
    for text in ["", "[]"] {
        let data = BTreeMap::from([("mapUsers".to_owned(), text.to_owned())]);
        let edited = edit(&data, &[EntryEdit::Append(entry.clone())]).unwrap();
        let document = Document::parse(&edited);
        let read = &document.section(Section::Users).entries[0];
        assert_eq!(
            (read.arn.as_str(), read.username.as_str()),
            (entry.arn.as_str(), awkward)
        );
        assert_eq!(read.groups, ["0x1F", "<<", "yes", "~"]);
    }
}

#[test]
fn blanks_at_the_end_behind_a_block_scalar_stay() {
    let text = "- rolearn: |\n    x\n\n   ";
    let with_ours = edited(text, &[append("a")]);
    check(&with_ours, &[remove(1)], text);
}
