//! docs/logging.md: one schema for all lines, and the words of the audit trail.

use std::collections::BTreeSet;
use std::fs;

use identity_mapper::plan::{AccessAction, ChangeCause};
use regex::Regex;

use crate::support::programs::repository;

const LOGGING: &str = include_str!("../../../docs/logging.md");

/// The first column of a table, by the title of that column.
fn column(title: &str) -> Vec<&'static str> {
    let head = format!("\n| {title} | meaning |\n|---|---|\n");
    let (_, rows) = LOGGING.split_once(&head).expect("the table");
    let rows = rows.lines().map_while(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

/// The arguments of a macro, from behind its parenthesis to the message.
fn fields(arguments: &str) -> BTreeSet<String> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in arguments.char_indices() {
        match c {
            // The message ends the fields.
            '"' if depth == 0 && arguments[start..at].trim().is_empty() => break,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(arguments[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let name = |part: &str| {
        let name = part.split('=').next().unwrap();
        let name = name.trim().trim_start_matches(['%', '?']);
        name.rsplit('.').next().unwrap().to_owned()
    };
    parts.into_iter().map(name).collect()
}

#[test]
fn fields_of_all_lines_are_documented() {
    let call = Regex::new(r"\b(?:tracing::)?(?:error|warn|info|debug)!\(").unwrap();
    let mut logged = BTreeSet::new();
    for folder in ["src/aws", "src/cluster", "src/controller", "src/cli"] {
        let mut folders = vec![repository().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    let text = fs::read_to_string(&path).unwrap();
                    for found in call.find_iter(&text) {
                        logged.extend(fields(&text[found.end()..]));
                    }
                }
            }
        }
    }
    assert!(
        logged.contains("audit") && logged.contains("error"),
        "{logged:?}"
    );
    let documented = column("field");
    let sorted: BTreeSet<String> = documented.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(logged, sorted);
    assert!(documented.is_sorted(), "{documented:?}");
}

#[test]
fn words_of_the_audit_trail_are_documented() {
    let actions: Vec<&str> = AccessAction::ALL.iter().map(|it| it.as_str()).collect();
    assert_eq!(column("`audit`"), actions);
    let causes: Vec<String> = ChangeCause::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(column("`cause`"), causes);
}
