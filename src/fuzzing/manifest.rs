//! Files: `lint` and `lint --fix`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::linear::assert_linear;
use crate::aws_auth::{Document, Entry, Index, Section, comments};
use crate::effective::can_match;
use crate::lint::{check, fix, fix_data};
use crate::manifest::{Manifest, Source, mappings, read, write};

/// `lint` finds what it finds in the file, and `--fix` takes no entry, comment or document away, changes no right entry, makes no
/// finding worse, and leaves nothing for a second time. Mappings are read as they are written.
pub fn manifest(text: &str) {
    let source = source(text);
    let report = check(std::slice::from_ref(&source)).report;
    for found in &report.diagnostics {
        let within = &report.sources[found.source].source.text;
        assert!(
            within.get(found.span.clone()).is_some(),
            "{found:?} in {within:?}"
        );
    }
    let fixed = fix(&source, &BTreeSet::new());
    if let Some(fixed) = &fixed {
        let new = &fixed.text;
        let again = fix(&self::source(new), &BTreeSet::new());
        assert_eq!(
            again.map(|again| again.text),
            None,
            "{text:?} became {new:?}"
        );
        nothing_is_lost(text, new);
    }
    bare_values_are_fixed_once(text);
    mappings_are_read_as_they_are_written(&source);
    assert_linear(text, "lint", |text| {
        drop(check(&[self::source(text)]));
    });
    assert_linear(text, "lint --fix", |text| {
        drop(fix(&self::source(text), &BTreeSet::new()));
    });
}

fn source(text: &str) -> Source {
    Source {
        name: "it.yaml".to_owned(),
        text: text.to_owned(),
    }
}

fn nothing_is_lost(text: &str, new: &str) {
    let (old, now) = (read(text), read(new));
    assert_eq!(old.len(), now.len(), "{text:?} became {new:?}");
    for (old, now) in old.iter().zip(&now) {
        match (old, now) {
            (Ok(old), Ok(now)) => document_is_kept(old, now, text, new),
            (Err(_), _) => {}
            (Ok(_), Err(fault)) => panic!("{fault}: {text:?} became {new:?}"),
        }
    }
}

/// Every field but those of aws-auth is as it was, or a word that was no text and is one now.
fn document_is_kept(old: &Manifest, now: &Manifest, text: &str, new: &str) {
    let is_aws_auth = old.text("/kind") == Some("ConfigMap");
    let objects = (old.value.as_object(), now.value.as_object());
    if let (true, (Some(before), Some(after))) = (is_aws_auth, objects) {
        for (key, value) in before {
            let same = key == "data" || after.get(key) == Some(value);
            assert!(same, "{key} of {text:?} became {new:?}");
        }
        let data = |manifest: &Manifest| -> BTreeMap<String, String> {
            let data = manifest.value.get("data").and_then(Value::as_object);
            let texts = data.into_iter().flatten();
            texts
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect()
        };
        values_are_kept(&data(old), &data(now));
    } else if old.text("/kind") != Some("List") {
        assert!(
            same_but_words(&old.value, &now.value),
            "{text:?} became {new:?}"
        );
    }
}

fn same_but_words(old: &Value, now: &Value) -> bool {
    match (old, now) {
        (Value::Object(old), Value::Object(now)) => {
            let mut pairs = old.iter().zip(now);
            old.len() == now.len()
                && pairs.all(|(old, now)| old.0 == now.0 && same_but_words(old.1, now.1))
        }
        (Value::Array(old), Value::Array(now)) => {
            let mut pairs = old.iter().zip(now);
            old.len() == now.len() && pairs.all(|(old, now)| same_but_words(old, now))
        }
        (Value::Bool(_) | Value::Number(_) | Value::Null, Value::String(_)) => true,
        _ => old == now,
    }
}

/// What the fix of the values of an aws-auth may do.
fn values_are_kept(old: &BTreeMap<String, String>, now: &BTreeMap<String, String>) {
    assert!(old.keys().eq(now.keys()), "{old:?} became {now:?}");
    for (key, text) in old {
        let section = Section::ALL.into_iter().any(|section| section.key() == key);
        assert!(section || now[key] == *text, "{old:?} became {now:?}");
    }
    let (before, after) = (Document::parse(old), Document::parse(now));
    for section in Section::ALL {
        let (was, is) = (before.section(section), after.section(section));
        assert!(
            was.broken.is_some() || is.broken.is_none(),
            "{old:?} became {now:?}"
        );
        assert!(
            was.broken.is_some() || is.problems.len() <= was.problems.len(),
            "{old:?} became {now:?}"
        );
    }
    let intact = Section::ALL
        .into_iter()
        .all(|section| before.section(section).broken.is_none());
    if intact {
        assert_eq!(
            said(old, &before),
            said(now, &after),
            "comments: {old:?} became {now:?}"
        );
    }
    // Each principal with a valid entry keeps exactly its access.
    let wrong = |entry: &Entry| {
        let problems = &before.section(entry.section).problems;
        problems
            .iter()
            .any(|problem| entry.span.contains(&problem.span.start))
    };
    let (was, is) = (Index::new(&before), Index::new(&after));
    let remaining: BTreeMap<String, _> = is
        .winners()
        .map(|entry| (entry.matched_arn(), entry.meaning()))
        .collect();
    for entry in was
        .winners()
        .filter(|entry| can_match(entry) && !wrong(entry))
    {
        assert_eq!(
            remaining.get(&entry.matched_arn()),
            Some(&entry.meaning()),
            "{old:?} became {now:?}"
        );
    }
}

/// How many comments stand by entries.
fn said(data: &BTreeMap<String, String>, document: &Document) -> usize {
    let all = Section::ALL.into_iter().flat_map(|section| {
        let text = data.get(section.key()).map_or("", String::as_str);
        comments(text, document.section(section))
    });
    all.map(|comments| comments.len()).sum()
}

/// The text as the value of each key, as `lint --fix` of a cluster gets it.
fn bare_values_are_fixed_once(text: &str) {
    for section in [Section::Roles, Section::Users] {
        let data = BTreeMap::from([(section.key().to_owned(), text.to_owned())]);
        let once = fix_data(&data, &|_| false, &BTreeSet::new());
        values_are_kept(&data, &once.data);
        let twice = fix_data(&once.data, &|_| false, &BTreeSet::new());
        assert_eq!(twice.data, once.data, "{text:?}");
        let kept = fix_data(&data, &|_| true, &BTreeSet::new());
        if Document::parse(&data).section(section).broken.is_none() {
            assert_eq!(kept.data, data, "entries that someone else manages");
        }
    }
}

fn mappings_are_read_as_they_are_written(source: &Source) {
    for declared in mappings(std::slice::from_ref(source)).declared {
        let text = write(&declared.object, &[]).expect("a mapping can be written");
        let again = mappings(&[self::source(&text)]);
        assert_eq!(again.complaints, [], "{text}");
        let specs: Vec<_> = again.declared.iter().map(|it| &it.object.spec).collect();
        assert_eq!(specs, [&declared.object.spec], "{text}");
    }
}
