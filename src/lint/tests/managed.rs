//! Of two entries for one principal, the one that the operator manages stays.

use crate::aws_auth::{Document, Entry};
use crate::lint::read::PlacedDocument;
use crate::ownership::{KeyHash, Mark, Marked, MeaningHash};

fn entry(arn: &str, username: &str) -> String {
    format!(
        "- rolearn: arn:aws:iam::111122223333:{arn}\n  username: {username}\n  groups: [readers]\n"
    )
}

/// The fix of the only finding in two entries of which the mark holds the one of this number, if any.
fn fix(entries: [&str; 2], managed: Option<usize>) -> String {
    let data = [("mapRoles".to_owned(), entries.concat())].into();
    let document = Document::parse(&data);
    let read: Vec<&Entry> = document.entries().collect();
    let mark = managed.map(|number| {
        let entry = read[number];
        let key = KeyHash::of(&entry.key().expect("a key"));
        (key, MeaningHash::of(&entry.meaning()))
    });
    let marked = Marked::in_text(&document, &Mark(mark.into_iter().collect()));
    let placed = PlacedDocument::new(&data).with_managed(marked);
    let mut findings = placed.check(None, &|entry| format!("line {}", entry.line));
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0).fix
}

#[test]
fn a_line_with_a_path_beside_the_managed_entry_is_the_one_to_remove() {
    let path = entry("role/teams/reader", "reader");
    let plain = entry("role/reader", "reader");
    for (managed, words) in [
        (
            Some(1),
            "remove this entry: both this one and line 4 are for arn:aws:iam::111122223333:role/reader, and line 4 is managed",
        ),
        (Some(0), "remove the entry in line 4"),
        (
            None,
            "remove this entry, or its path and the entry in line 4",
        ),
    ] {
        let fix = fix([&path, &plain], managed);
        assert!(fix.starts_with(words), "{managed:?}: {fix}");
    }
}

#[test]
fn of_two_entries_that_differ_the_one_to_remove_is_not_the_managed_one() {
    let (one, two) = (entry("role/reader", "one"), entry("role/reader", "two"));
    for (managed, words) in [
        (Some(0), "remove the entry in line 4: this one is managed"),
        (Some(1), "remove this one: line 4 is managed"),
        (None, "keep one entry with the intended groups"),
    ] {
        let fix = fix([&one, &two], managed);
        assert!(fix.starts_with(words), "{managed:?}: {fix}");
    }
}
