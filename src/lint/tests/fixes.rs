//! The laws of `--fix`.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Severity, check, fix, fix_data};
use super::{codes, config_map, roles, source};
use crate::aws_auth::{Document, Index, Section};
use crate::effective::can_match;

fn fixed(text: &str) -> String {
    fix(&source(text), &BTreeSet::new()).map_or_else(|| text.to_owned(), |fixed| fixed.text)
}

#[test]
fn what_is_safe_is_fixed_and_nothing_else() {
    let named = "  username: a\n  groups: [g]\n";
    for (before, after) in [
        (
            "- rolearn: arn:aws:iam::111122223333:role/x/a # kept\n{n}",
            "- rolearn: arn:aws:iam::111122223333:role/a # kept\n{n}",
        ),
        (
            "- rolearn: 'arn:aws:iam::111122223333:role/x/a'\n{n}",
            "- rolearn: 'arn:aws:iam::111122223333:role/a'\n{n}",
        ),
        (
            "- {rolearn: \"arn:aws:iam::111122223333:role/a \", username: a, groups: [g]}\n",
            "- {rolearn: \"arn:aws:iam::111122223333:role/a\", username: a, groups: [g]}\n",
        ),
        (
            "- rolearn: arn:aws:iam::111122223333:role/a\n  username: {{SessionName}} # who\n  groups: [g]\n",
            "- rolearn: arn:aws:iam::111122223333:role/a\n  username: \"{{SessionName}}\" # who\n  groups: [g]\n",
        ),
        (
            "- rolearn: arn:aws:iam::111122223333:role/x/a\n  username: {{SessionName}}\n  groups: [on]\n",
            "- rolearn: arn:aws:iam::111122223333:role/a\n  username: \"{{SessionName}}\"\n  groups: [\"on\"]\n",
        ),
        (
            "# one\n- rolearn: arn:aws:iam::111122223333:role/a\n{n}# two\n- rolearn: arn:aws:iam::111122223333:role/A\n{n}",
            "# one\n# two\n- rolearn: arn:aws:iam::111122223333:role/A\n{n}",
        ),
    ] {
        let (before, after) = (before.replace("{n}", named), after.replace("{n}", named));
        assert_eq!(fixed(&roles(&before)), roles(&after));
        let json = serde_json::json!({"kind": "ConfigMap", "metadata": {"name": "aws-auth"}, "data": {"mapRoles": before}});
        let expected = json.to_string().replace(&quoted(&before), &quoted(&after));
        assert_eq!(fixed(&json.to_string()), expected);
    }
    for left in [
        // The entry without path is there already, so one of the two would have to go.
        "- rolearn: arn:aws:iam::111122223333:role/x/a\n{n}- rolearn: arn:aws:iam::111122223333:role/a\n  username: b\n",
        // Which of the two is meant?
        "- rolearn: arn:aws:iam::111122223333:role/x/a\n{n}- rolearn: arn:aws:iam::111122223333:role/y/a\n{n}",
        "- rolearn: arn:aws:iam::111122223333:role/a\n{n}- rolearn: arn:aws:iam::111122223333:role/a\n  username: b\n",
        // All sessions in place of one.
        "- rolearn: arn:aws:sts::111122223333:assumed-role/a/me\n{n}",
        // Administrators.
        "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups: [system:master]\n",
        "- rolearn: arn:aws:iam::111122223333:role/a\n\tusername: a\n",
        "- rolearn: &r arn:aws:iam::111122223333:role/x/a\n  username: *r\n",
    ] {
        let text = roles(&left.replace("{n}", named));
        assert_eq!(fixed(&text), text);
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[test]
fn fix_reports_access_changes() {
    let data = BTreeMap::from([(
        "mapRoles".to_owned(),
        "- rolearn: arn:aws:iam::111122223333:role/x/a\n  username: a\n  groups: [g]\n- rolearn: arn:aws:iam::111122223333:role/b\n  username: b\n".to_owned(),
    )]);
    let fixed = fix_data(&data, &|_| false, &BTreeSet::new());
    let gains: Vec<&str> = fixed.gains.iter().map(|gain| gain.arn.as_str()).collect();
    assert_eq!(gains, ["arn:aws:iam::111122223333:role/a"]);
    let kept = fix_data(&data, &|entry| entry.item == 0, &BTreeSet::new());
    assert_eq!((kept.data, kept.gains), (data, Vec::new()));
}

/// Pieces of entries, right and wrong.
fn entry() -> impl Strategy<Value = String> {
    let arn = prop::sample::select(vec![
        "arn:aws:iam::111122223333:role/a",
        "arn:aws:iam::111122223333:role/A",
        "arn:aws:iam::111122223333:role/x/a",
        "arn:aws:iam::111122223333:role/b",
        "'arn:aws:iam::111122223333:role/b '",
        "\"arn:aws:iam::111122223333:role/y/c\" # c",
        "arn:aws:iam::111122223333:user/d",
    ]);
    let username = prop::sample::select(vec![
        "a",
        "yes",
        "1e3",
        "{{SessionName}}",
        "\"{{SessionName}}\"",
        "a: b",
        "\"é\"",
        "~",
        "{{",
    ]);
    let groups = prop::sample::select(vec![
        "[g]",
        "[g, on]",
        "g",
        "[]",
        "\n  - g # x\n  - no",
        "[{{A}}]",
        "&g [g]",
        "*g",
    ]);
    let field = prop::sample::select(vec!["rolearn", "userarn"]);
    (arn, username, groups, field).prop_map(|(arn, username, groups, field)| {
        format!("- {field}: {arn}\n  username: {username}\n  groups: {groups}\n")
    })
}

fn value() -> impl Strategy<Value = String> {
    prop::collection::vec(entry(), 0..5).prop_map(|entries| entries.concat())
}

#[test]
fn regressions_found_by_property_tests() {
    let entry = |section: &str, arn: &str, username: &str, groups: &str| {
        format!(
            "- {section}: arn:aws:iam::111122223333:role/{arn}\n  username: {username}\n  groups: {groups}\n"
        )
    };
    // The comment in the entry that loses would go with it.
    let twice = entry("rolearn", "a", "a", "\n  - g # why") + &entry("rolearn", "a", "a", "[g]");
    let text = config_map(&[("mapRoles", &twice), ("mapUsers", "")]);
    assert_eq!(fixed(&text), text);
    // A wrong entry loses to the right one, and a key that parses again must not bring a third one before it.
    let roles = entry("rolearn", "b", "{{SessionName}}", "[g]");
    let users = entry("userarn", "b", "yes", "[g]") + &entry("userarn", "b", "b", "[g]");
    let text = config_map(&[("mapRoles", &roles), ("mapUsers", &users)]);
    assert!(
        fixed(&text).contains("username: {{SessionName}}"),
        "{}",
        fixed(&text)
    );
}

proptest! {
    #![proptest_config(crate::laws::cases(400))]

    #[test]
    fn fixing_twice_is_fixing_once_and_right_entries_keep_their_meaning(roles in value(), users in value()) {
        let text = config_map(&[("mapRoles", &roles), ("mapUsers", &users)]);
        let once = fixed(&text);
        prop_assert_eq!(fixed(&once), once.clone());

        let document = |text: &str| {
            let read = crate::manifest::read(text).remove(0).expect("a manifest");
            let data = read.value["data"].as_object().expect("data").iter();
            Document::parse(&data.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
        };
        let (before, after) = (document(&text), document(&once));
        let wrong = |entry: &crate::aws_auth::Entry| {
            let problems = &before.section(entry.section).problems;
            problems.iter().any(|problem| entry.span.contains(&problem.span.start))
        };
        let (was, is) = (Index::new(&before), Index::new(&after));
        let now: BTreeMap<String, _> = is.winners().map(|entry| (entry.matched_arn(), entry.meaning())).collect();
        for entry in was.winners().filter(|entry| !wrong(entry) && can_match(entry)) {
            prop_assert_eq!(now.get(&entry.matched_arn()), Some(&entry.meaning()));
        }
        for section in Section::ALL {
            prop_assert!(before.section(section).broken.is_some() || after.section(section).broken.is_none());
        }
        // Nothing gets worse: an error that was not there before can only have been hidden by a key that did not parse.
        let errors = |text: &str| {
            let mut codes = codes(text);
            codes.retain(|code| code.severity() == Severity::Error);
            codes
        };
        if Section::ALL.into_iter().all(|section| before.section(section).broken.is_none()) {
            prop_assert!(errors(&once).len() <= errors(&text).len());
        }
        // Comments and everything else stay.
        prop_assert_eq!(once.matches('#').count(), text.matches('#').count());
    }

    #[test]
    fn no_text_panics(text in "[\\PC\\n\\t:{}\\[\\]&*\"'|>-]{0,120}") {
        let wrapped = roles(&text);
        for text in [text.as_str(), &format!("- rolearn: {text}"), &wrapped] {
            for found in check(&[source(text)]).report.diagnostics {
                prop_assert!(found.source > 0 || text.get(found.span.clone()).is_some());
            }
            let once = fixed(text);
            prop_assert_eq!(fixed(&once), once);
        }
    }
}
