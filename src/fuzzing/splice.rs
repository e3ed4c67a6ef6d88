//! Edits of a section.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::aws_auth::{
    Document, EditError, Entry, EntryEdit, Meaning, NewEntry, Section, edit, fold_arn,
};
use crate::yaml::{NodeKind, Tree, compose};

/// Edits the text behind the first line as that line says: `d` removes the next item, `r` replaces it, any other letter passes over it;
/// `a` appends an entry; a `u` at the start makes it the text of `mapUsers`.
///
/// An edit keeps every byte that is not of a changed item, and reads back as planned.
pub fn splice(input: &str) {
    let Some((wishes, text)) = input.split_once('\n') else {
        return;
    };
    let (section, wishes) = match wishes.strip_prefix('u') {
        Some(wishes) => (Section::Users, wishes),
        None => (Section::Roles, wishes),
    };
    let data = BTreeMap::from([(section.key().to_owned(), text.to_owned())]);
    let changes = changes(section, wishes);
    let document = Document::parse(&data);
    let result = edit(&data, &changes);
    assert_eq!(result, edit(&data, &changes), "the same bytes each time");
    assert_eq!(edit(&data, &[]), Ok(BTreeMap::new()), "nothing is asked");
    let broken = document.section(section).broken.is_some();
    match result {
        Err(EditError::Broken(problem)) => assert!(broken, "{problem} in {text:?}"),
        Err(EditError::Entangled { .. } | EditError::Unverified { .. }) => {}
        Ok(edited) => {
            assert!(edited.keys().all(|key| key == section.key()), "{edited:?}");
            let new = edited.get(section.key()).map_or(text, String::as_str);
            assert!(!broken || changes.is_empty(), "{text:?} became {new:?}");
            reads_as_planned(section, text, new, &changes);
            keeps_the_rest(text, new, &changes);
            can_be_undone(section, text, new, &changes);
        }
    }
}

fn entry(section: Section, number: usize) -> NewEntry {
    NewEntry {
        section,
        arn: format!("arn:aws:iam::444455556666:role/new{number}"),
        username: "u:{{SessionName}}".to_owned(),
        groups: (0..number % 3).map(|group| format!("g{group}")).collect(),
    }
}

fn changes(section: Section, wishes: &str) -> Vec<EntryEdit> {
    let mut item = 0;
    let mut changes = Vec::new();
    for (number, wish) in wishes.bytes().enumerate() {
        let entry = entry(section, number);
        match wish {
            b'a' => {
                changes.push(EntryEdit::Append(entry));
                continue;
            }
            b'd' => changes.push(EntryEdit::Remove { section, item }),
            b'r' => changes.push(EntryEdit::Replace {
                section,
                item,
                entry,
            }),
            _ => {}
        }
        item += 1;
    }
    changes
}

/// What changes an item or takes it out.
fn change_of(changes: &[EntryEdit], wanted: usize) -> Option<&EntryEdit> {
    changes.iter().find(|change| match change {
        EntryEdit::Remove { item, .. } | EntryEdit::Replace { item, .. } => *item == wanted,
        EntryEdit::Append(_) => false,
    })
}

fn appended(changes: &[EntryEdit]) -> impl Iterator<Item = &NewEntry> {
    changes.iter().filter_map(|change| match change {
        EntryEdit::Append(entry) => Some(entry),
        _ => None,
    })
}

fn meaning(entry: &NewEntry) -> Meaning {
    Meaning {
        arn: fold_arn(&entry.arn),
        username: entry.username.clone(),
        groups: entry.groups.iter().cloned().collect(),
    }
}

fn parse(section: Section, text: &str) -> Document {
    Document::parse(&BTreeMap::from([(
        section.key().to_owned(),
        text.to_owned(),
    )]))
}

/// The section has the entries that it had, but for the changes: also those of items that the authenticator dropped.
fn reads_as_planned(section: Section, text: &str, new: &str, changes: &[EntryEdit]) {
    let before = parse(section, text);
    let last = before.entries().map(|entry| entry.item + 1).max();
    let touched = changes.iter().filter_map(|change| match change {
        EntryEdit::Remove { item, .. } | EntryEdit::Replace { item, .. } => Some(item + 1),
        EntryEdit::Append(_) => None,
    });
    let count = touched.chain(last).max().unwrap_or_default();
    let mut planned = Vec::new();
    for item in 0..count {
        let unchanged = before.entries().find(|entry| entry.item == item);
        match change_of(changes, item) {
            None => planned.extend(unchanged.map(Entry::meaning)),
            Some(EntryEdit::Replace { entry, .. }) => planned.push(meaning(entry)),
            Some(EntryEdit::Remove { .. } | EntryEdit::Append(_)) => {}
        }
    }
    planned.extend(appended(changes).map(meaning));
    let after = parse(section, new);
    let read: Vec<Meaning> = after.entries().map(Entry::meaning).collect();
    assert_eq!(read, planned, "{text:?} became {new:?}");
}

/// The bytes of each item of the list, from its dash on, and whether the list has brackets; `None` where the text holds no list.
fn items(tree: &Tree) -> Option<(Vec<Range<usize>>, bool)> {
    match &tree.node(tree.root?).kind {
        NodeKind::Sequence { items, flow } => {
            let spans = items.iter().map(|item| {
                let node = tree.node(*item);
                let start = node.dash.unwrap_or(node.span.start);
                // There may be nothing behind a dash.
                let least = start + usize::from(node.dash.is_some());
                start..node.span.end.max(least)
            });
            Some((spans.collect(), *flow))
        }
        NodeKind::Scalar { .. } | NodeKind::Mapping { .. } | NodeKind::Alias { .. } => None,
    }
}

/// Items that stay are the same to the byte, and so is all around the items, but for what lists are made of.
fn keeps_the_rest(text: &str, new: &str, changes: &[EntryEdit]) {
    let (Ok(old_tree), Ok(new_tree)) = (compose(text), compose(new)) else {
        return;
    };
    // A null gives way to a list, and is nobody's.
    let Some((spans, flow)) = items(&old_tree) else {
        return;
    };
    let (new_spans, _) = items(&new_tree).unwrap_or_default();
    let mut left = new_spans.iter();
    let (mut cut, mut new_cut) = (Vec::new(), Vec::new());
    for (item, span) in spans.iter().enumerate() {
        match change_of(changes, item) {
            None => {
                let kept = left.next().expect("an item stays");
                assert_eq!(
                    text[span.clone()],
                    new[kept.clone()],
                    "{text:?} became {new:?}"
                );
            }
            Some(change) => {
                // A block item takes what is behind it in its last line along: that is its comment. A block scalar ends with its line.
                let end = if flow || text[..span.end].ends_with(BREAKS) {
                    span.end
                } else {
                    let rest = &text[span.end..];
                    span.end + rest.find(BREAKS).unwrap_or(rest.len())
                };
                cut.push(span.start..end);
                if matches!(change, EntryEdit::Replace { .. }) {
                    new_cut.extend(left.next().cloned());
                }
            }
        }
    }
    new_cut.extend(left.cloned());
    let (old_rest, new_rest) = (without(text, &cut), without(new, &new_cut));
    assert_eq!(old_rest, new_rest, "{text:?} became {new:?}");
}

const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// A text without some of its bytes, and without blanks and what makes a list.
fn without(text: &str, cut: &[Range<usize>]) -> String {
    let mut rest = String::new();
    let mut at = 0;
    for span in cut {
        rest += &text[at..span.start.max(at)];
        at = span.end.max(at);
    }
    rest += &text[at..];
    rest.retain(|c| !BREAKS.contains(&c) && !" \t,-[]".contains(c));
    rest
}

/// What was only appended can be removed again, and then nothing of it is left.
fn can_be_undone(section: Section, text: &str, new: &str, changes: &[EntryEdit]) {
    let count = appended(changes).count();
    if count == 0 || count != changes.len() {
        return;
    }
    let before = parse(section, text);
    if before.entries().next().is_none() {
        // A list that was not there stays.
        return;
    }
    let after = parse(section, new);
    let skipped = after.entries().count() - count;
    let ours: Vec<EntryEdit> = after
        .entries()
        .skip(skipped)
        .map(|entry| EntryEdit::Remove {
            section,
            item: entry.item,
        })
        .collect();
    let data = BTreeMap::from([(section.key().to_owned(), new.to_owned())]);
    let undone = edit(&data, &ours).unwrap_or_else(|error| panic!("{error}: {new:?}"));
    let undone = undone.get(section.key()).map_or(new, String::as_str);
    // A line ending may be left where the text ended without one.
    assert_eq!(
        undone.trim_end_matches(['\n', '\r']),
        text.trim_end_matches(['\n', '\r']),
        "by {new:?}"
    );
}
