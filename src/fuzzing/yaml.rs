//! The reader of aws-auth and of manifests.

use std::collections::BTreeMap;
use std::ops::Range;

use super::linear::assert_linear;
use crate::aws_auth::{
    Document, Entry, EntryEdit, Meaning, NewEntry, Places, ProblemKind, Section, comments, edit,
};
use crate::manifest::read;
use crate::yaml::{NodeKind, Tree, compose};

/// No text makes the reader panic, every place is in the text, what was read is read again after it was written, and a text of four times
/// the length takes no more than its share of the time.
pub fn yaml(text: &str) {
    if let Ok(tree) = compose(text) {
        nodes_are_in_their_parents(text, &tree);
    }
    for section in Section::ALL {
        let data = BTreeMap::from([(section.key().to_owned(), text.to_owned())]);
        let (document, places) = Document::parse_placed(&data);
        assert_eq!(document, Document::parse(&data), "with and without places");
        let view = document.section(section);
        let [roles, users, accounts] = places;
        let places = match section {
            Section::Roles => roles,
            Section::Users => users,
            Section::Accounts => accounts,
        };
        let entry_places = places.entries.iter().flat_map(all_places);
        let beside = places.accounts.iter().chain(&places.ignored);
        let spans = view.entries.iter().map(|entry| &entry.span);
        let problems = view.problems.iter().map(|problem| &problem.span);
        for span in entry_places.chain(beside).chain(spans).chain(problems) {
            assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}");
        }
        assert_eq!(view.entries.len(), places.entries.len(), "{text:?}");
        assert_eq!(comments(text, view).len(), view.entries.len(), "{text:?}");
        entries_are_read_as_they_are_written(section, &view.entries);
    }
    documents_are_read_as_they_are_written(text);
    assert_linear(text, "reading aws-auth", |text| {
        for section in Section::ALL {
            let data = BTreeMap::from([(section.key().to_owned(), text.to_owned())]);
            let (document, _) = Document::parse_placed(&data);
            drop(comments(text, document.section(section)));
        }
    });
    assert_linear(text, "reading manifests", |text| drop(read(text)));
}

fn all_places(places: &Places) -> impl Iterator<Item = &Range<usize>> {
    let Places {
        arn,
        username,
        groups,
        each_group,
        unknown,
        repeated,
    } = places;
    let fields = [arn, username, groups].into_iter().flatten();
    fields.chain(each_group).chain(unknown).chain(repeated)
}

fn nodes_are_in_their_parents(text: &str, tree: &Tree) {
    for id in 0..tree.len() {
        let node = tree.node(id);
        let span = &node.span;
        assert!(text.get(span.clone()).is_some(), "{node:?} of {text:?}");
        let children = match &node.kind {
            NodeKind::Sequence { items, .. } => items,
            NodeKind::Mapping { pairs, .. } => pairs,
            NodeKind::Scalar { .. } => continue,
            NodeKind::Alias { target } => {
                assert!(*target < id, "{node:?} of {text:?}");
                continue;
            }
        };
        let mut at = span.start;
        for child in children {
            let inner = &tree.node(*child).span;
            assert!(*child > id, "{node:?} of {text:?}");
            assert!(
                at <= inner.start && inner.end <= span.end,
                "{inner:?} of {node:?} of {text:?}"
            );
            at = inner.end;
        }
    }
}

/// The entries of one section, as the only ones of an aws-auth.
fn entries_are_read_as_they_are_written(section: Section, entries: &[Entry]) {
    let written = entries.iter().filter(|entry| !entry.sso);
    let changes: Vec<EntryEdit> = written
        .clone()
        .map(|entry| {
            EntryEdit::Append(NewEntry {
                section,
                arn: entry.arn.clone(),
                username: entry.username.clone(),
                groups: entry.groups.clone(),
            })
        })
        .collect();
    let data = edit(&BTreeMap::new(), &changes).unwrap_or_else(|error| {
        panic!("{entries:?} can't be written: {error}");
    });
    let meanings: Vec<Meaning> = written.map(Entry::meaning).collect();
    let document = Document::parse(&data);
    let read: Vec<Meaning> = document.entries().map(Entry::meaning).collect();
    assert_eq!(read, meanings, "{data:?}");
    // People are told of a `\n` in a value, which does no harm.
    let mut problems = document.section(section).problems.iter();
    assert!(
        problems.all(|it| it.kind == ProblemKind::Misread),
        "{data:?}"
    );
}

/// The documents of a file, each as JSON in a file of its own.
fn documents_are_read_as_they_are_written(text: &str) {
    for manifest in read(text).into_iter().flatten() {
        for place in manifest.places.values() {
            let spans = place.key.iter().chain([&place.value]);
            for span in spans.chain([&manifest.span]) {
                assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}");
            }
        }
        if !manifest.value.is_object() {
            continue;
        }
        let json = manifest.value.to_string();
        let again: Vec<_> = read(&json).into_iter().collect();
        let [Ok(again)] = again.as_slice() else {
            panic!("{json} is read as {again:?}");
        };
        assert_eq!(again.value, manifest.value, "{text:?}");
    }
}
