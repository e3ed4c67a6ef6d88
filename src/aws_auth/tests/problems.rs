//! Where problems are said to be, and what is said about them.

use super::*;

fn first(section: Section, text: &str) -> Problem {
    let data = BTreeMap::from([(section.key().to_owned(), text.to_owned())]);
    let problems = Document::parse(&data).section(section).problems.clone();
    problems.into_iter().next().expect("there is a problem")
}

#[test]
fn places_are_given_in_lines_and_characters() {
    let cases = [
        ("- rolearn: é\n  username: a: b\n", 2, 13, "a: b"),
        (
            "- rolearn: a\r\n  username: é @\r\n- rolearn: @b\r\n",
            3,
            12,
            "@b",
        ),
        ("- rolearn: a\n\tusername: x\n", 2, 1, "\tusername: x"),
        ("- rolearn: \"a\n", 1, 12, "\"a"),
        ("- rolearn: a\n  username: yes\n", 2, 13, "yes"),
        (
            "- rolearn: a\n- username: b\n  groups: [c]\n",
            2,
            1,
            "- username: b",
        ),
        ("- rolearn: a\n-\n", 2, 2, ""),
        ("- rolearn: a\n  groups: [é, on]\n", 2, 15, "on"),
        ("rolearn: a\n", 1, 1, "rolearn: a"),
        ("\n {\"a\": 1}", 2, 2, "{\"a\": 1}"),
    ];
    for (text, line, column, offending) in cases {
        let problem = first(Section::Roles, text);
        assert_eq!(
            (problem.line, problem.column, problem.offending.as_str()),
            (line, column, offending),
            "{text:?}: {}",
            problem.message
        );
    }
}

#[test]
fn long_texts_at_fault_are_shortened() {
    let problem = first(
        Section::Roles,
        &format!("- rolearn: @{}\n", "é".repeat(500)),
    );
    assert_eq!(problem.offending, format!("@{}…", "é".repeat(59)));
}

#[test]
fn messages_name_the_fix() {
    let cases = [
        (
            "- rolearn: a\n  username: {{SessionName}}\n",
            "unquoted template in username: write \"{{SessionName}}\"",
        ),
        (
            "- rolearn: a\n  username: a: b\n",
            "unquoted value in username that YAML reads as something else: write \"a: b\"",
        ),
        (
            "- rolearn: a\n  username\n",
            "missing `:` after `username`: write `username:` and a space",
        ),
        (
            "- rolearn: a\n  team\n",
            "a line in a mapping without `: `: write `key: value`, or fix the indentation",
        ),
        (
            "- username: x\n",
            "the entry has no `rolearn`: write `rolearn:` with the ARN that the entry is for",
        ),
        (
            "- rolearn: 5\n",
            "`rolearn` is a number and is ignored: write text in double quotes",
        ),
        (
            "- rolearn: a\n  groups: g\n",
            "`groups` is text and is ignored: write a list, each item as `- \"group\"`",
        ),
        (
            "- rolearn: a\n  groups: [y]\n",
            "an item of `groups` is a truth value, not text, and is ignored: write text in double quotes",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(first(Section::Roles, text).message, message, "{text:?}");
    }
}

#[test]
fn entries_know_their_place() {
    let data = roles("# é\n- ~\n-   rolearn: a # c\n    username: b\n\n# d\n- {rolearn: c}\n");
    let document = Document::parse(&data);
    let text = &data["mapRoles"];
    let places: Vec<_> = document
        .entries()
        .map(|e| (e.item, e.line, e.column, &text[e.span.clone()]))
        .collect();
    assert_eq!(
        places,
        [
            (1, 3, 5, "rolearn: a # c\n    username: b"),
            (2, 7, 3, "{rolearn: c}")
        ]
    );
}
