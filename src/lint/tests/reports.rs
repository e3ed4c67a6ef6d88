//! Texts that people reported, in `tests/cases/aws-auth`: the codes and lines that each ends in, and what stays of it after `--fix`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::super::{check, fix};
use super::source;
use crate::manifest::Source;
use crate::yaml::Lines;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/aws-auth")
}

/// Each finding as `CODE:LINE`.
fn found(text: &str) -> String {
    let report = check(&[source(text)]).report;
    let line = |found: &super::super::Diagnostic| {
        let text = &report.sources[found.source].source.text;
        format!(
            "{}:{}",
            found.code,
            Lines::new(text).position(found.span.start).0
        )
    };
    let found: Vec<String> = report.diagnostics.iter().map(line).collect();
    found.join(" ")
}

const EXPECTED: &str = include_str!("reports.txt");

fn files() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).expect("the cases");
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn reported_texts_end_in_their_causes() {
    let found: Vec<String> = files()
        .iter()
        .map(|(name, text)| format!("{name}: {}", found(text)).trim_end().to_owned())
        .collect();
    assert_eq!(found.join("\n"), EXPECTED.trim_end());
}

#[test]
fn fixing_a_reported_text_leaves_templates_and_what_is_fixed_is_fixed_once() {
    for (name, text) in files() {
        let of = |text: &str| {
            let source = Source {
                name: name.clone(),
                text: text.to_owned(),
            };
            fix(&source, &BTreeSet::new())
        };
        let is_template = found(&text).contains("IM034") || found(&text).contains("IM035");
        let Some(once) = of(&text) else { continue };
        assert!(!is_template, "{name}");
        assert_eq!(of(&once.text), None, "{name}");
    }
    let template = files()
        .into_iter()
        .filter(|(_, text)| found(text).contains("IM034"));
    assert_eq!(template.count(), 3);
}

#[test]
fn no_help_is_empty_and_none_holds_a_cut_up_arn() {
    for (name, text) in files() {
        for found in check(&[source(&text)]).report.diagnostics {
            assert!(!found.fix.trim().is_empty(), "{name}: {}", found.title);
            assert!(!found.label.trim().is_empty(), "{name}: {}", found.title);
            for arn in found
                .fix
                .split_whitespace()
                .filter(|word| word.starts_with("arn:"))
            {
                let arn = arn.trim_end_matches([',', ';', ':', '"', '\'']);
                let is_arn = crate::principal::Principal::parse(arn).is_ok();
                assert!(is_arn || text.contains(arn), "{name}: {arn}");
            }
        }
    }
}
