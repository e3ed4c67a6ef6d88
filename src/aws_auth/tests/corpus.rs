//! What the real authenticator made of each case, recorded with version 0.7.18.

use serde_json::Value;

use super::*;

const CASES: &str = include_str!("../../../tests/authenticator-cases.json");

fn cases() -> Vec<(String, BTreeMap<String, String>, Value)> {
    let corpus: Value = serde_json::from_str(CASES).unwrap();
    let cases = corpus["cases"].as_array().unwrap();
    cases
        .iter()
        .map(|case| {
            let name = case["name"].as_str().unwrap().to_owned();
            let data = serde_json::from_value(case["data"].clone()).unwrap();
            (name, data, case.clone())
        })
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .map(|list| list.iter().map(text).collect())
        .unwrap_or_default()
}

#[test]
fn reads_every_case_as_the_authenticator_does() {
    let cases = cases();
    assert!(cases.len() > 150, "the corpus is there: {}", cases.len());
    for (name, data, case) in cases {
        let document = Document::parse(&data);
        for (section, key, arn) in [
            (Section::Roles, "roles", "rolearn"),
            (Section::Users, "users", "userarn"),
        ] {
            let expected: Vec<_> = case["seen"][key]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| (text(&e[arn]), text(&e["username"]), texts(&e["groups"])))
                .collect();
            assert_eq!(seen(document.section(section)), expected, "{name}: {key}");
        }
        let accounts = &document.section(Section::Accounts).accounts;
        assert_eq!(
            *accounts,
            texts(&case["seen"]["accounts"]),
            "{name}: accounts"
        );
        let problems: usize = Section::ALL
            .iter()
            .map(|s| document.section(*s).problems.len())
            .sum();
        assert_eq!(
            problems > 0,
            case["seen"]["errors"] != 0,
            "{name}: problems"
        );
    }
}

#[test]
fn finds_every_caller_as_the_authenticator_does() {
    let mut asked = 0;
    for (name, data, case) in cases() {
        let document = Document::parse(&data);
        for question in case["matches"].as_array().into_iter().flatten() {
            asked += 1;
            let arn = text(&question["canonicalArn"]);
            let found = document.lookup(arn);
            let (via, username) = match &found {
                Lookup::Role(entry) => ("mapRoles", entry.username.as_str()),
                Lookup::User(entry) => ("mapUsers", entry.username.as_str()),
                Lookup::Account => ("mapAccounts", arn),
                Lookup::AmbiguousUser(_) | Lookup::None => ("", ""),
            };
            if text(&question["error"]).is_empty() {
                assert_eq!(via, text(&question["via"]), "{name}: {arn}");
                if !username.contains("{{") {
                    assert_eq!(username, text(&question["username"]), "{name}: {arn}");
                }
            } else if text(&question["error"]) == "identity is not mapped" {
                assert_eq!(via, "", "{name}: {arn}");
            } else if arn.is_empty() {
                // A partition that the authenticator does not know: there is no canonical ARN to look up.
            } else {
                // The entry is found, but its template can't be rendered for this caller.
                assert!(username.contains("{{"), "{name}: {arn}: {found:?}");
            }
        }
    }
    assert!(asked > 20, "callers are asked for: {asked}");
}
