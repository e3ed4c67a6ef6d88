//! `--fix`: what is safe to rewrite, byte for byte elsewhere.
//!
//! Safe is what has one right answer that the text itself gives, and that takes nothing from anyone: quotes around a template or a word, a
//! path or a blank taken off an ARN, an entry taken out that repeats another one. Each change is read back, and not made where
//!
//! - a key that could be read could not any more,
//! - who has correct access would have other access,
//! - or one principal would have more entries than before.
//!
//! So fixing twice is fixing once, and nothing that was right changes its meaning.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::code::Code;
use super::file::{aws_auths, word_edits};
use super::finding::Edit;
use super::ignore::IgnoreComments;
use super::part::AwsAuthManifest;
use super::read::PlacedDocument;
use crate::aws_auth::{Entry, EntryEdit, Index, Section, comments, edit};
use crate::effective::can_match;
use crate::manifest::{Source, read};

/// More rounds than mistakes of different kinds can hide behind each other.
const ROUNDS: usize = 32;
/// So many changes are tried one by one where they can't be made together.
const TRIES: usize = 50;

/// A principal that has other access than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gain {
    /// The ARN as it is now in aws-auth.
    pub(crate) arn: String,
    /// The username that it then has.
    pub(crate) username: String,
    /// The groups that it then has.
    pub(crate) groups: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) text: String,
    /// Who has access by it, or different access than before.
    pub(crate) gains: Vec<Gain>,
}

/// The values of an aws-auth that were fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FixedData {
    /// All keys, the fixed ones among them.
    pub(crate) data: BTreeMap<String, String>,
    /// Who has access by it, or different access than before.
    pub(crate) gains: Vec<Gain>,
}

/// Fixes a file but for findings that are ignored; `None` where there is nothing to fix.
#[must_use]
pub(crate) fn fix(source: &Source, ignored: &BTreeSet<Code>) -> Option<Fixed> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut gains = Vec::new();
    let mut expected = Vec::new();
    for auth in aws_auths(&source.text) {
        let fixed = fix_data(&auth.data, &|_| false, ignored);
        let (mine, data) = in_file(&source.text, &auth, &fixed.data);
        if !mine.is_empty() {
            gains.extend(fixed.gains);
        }
        edits.extend(mine);
        expected.push(data);
    }
    edits.extend(word_edits(source, ignored));
    let text = apply(&source.text, edits)?;
    let found = aws_auths(&text);
    let as_meant = found.len() == expected.len()
        && found
            .iter()
            .zip(&expected)
            .all(|(auth, data)| auth.data == *data)
        && same_but_words(&source.text, &text);
    as_meant.then_some(Fixed { text, gains })
}

/// Fixes the values of an aws-auth. Entries for which `is_kept` holds stay: someone else manages them. So do findings that are ignored.
#[must_use]
pub(crate) fn fix_data(
    data: &BTreeMap<String, String>,
    is_kept: &dyn Fn(&Entry) -> bool,
    ignored: &BTreeSet<Code>,
) -> FixedData {
    let before = effects(&PlacedDocument::new(data));
    let mut now = data.clone();
    for _ in 0..ROUNDS {
        let next = {
            let read = PlacedDocument::new(&now);
            edited(&read, is_kept, ignored).or_else(|| without_repeated(&read, is_kept, ignored))
        };
        match next {
            Some(next) => now = next,
            None => break,
        }
    }
    let after = effects(&PlacedDocument::new(&now));
    let gains = after
        .into_iter()
        .filter(|(arn, gain)| before.get(arn) != Some(gain));
    let mut gains: Vec<Gain> = gains.map(|(_, gain)| gain).collect();
    gains.sort();
    FixedData { data: now, gains }
}

/// All changes together, or else as many as can be made one after the other.
fn edited(
    read: &PlacedDocument<'_>,
    is_kept: &dyn Fn(&Entry) -> bool,
    ignored: &BTreeSet<Code>,
) -> Option<BTreeMap<String, String>> {
    let comments = Section::ALL.map(|section| IgnoreComments::new(read.text(section)));
    let mut edits: Vec<(Section, Edit)> = Vec::new();
    for finding in read.check(None, &|_| String::new()) {
        let (section, span) = (finding.at.0, &finding.at.1);
        let comments = Section::ALL.iter().zip(&comments);
        let mut comments = comments.filter(|(of, _)| **of == section);
        if ignored.contains(&finding.code)
            || comments.any(|(_, comments)| comments.ignores(finding.code, span.start))
        {
            continue;
        }
        edits.extend(finding.edits.into_iter().map(|edit| (section, edit)));
    }
    edits.retain(|(section, edit)| {
        !read
            .entry_at(*section, edit.span.start)
            .is_some_and(is_kept)
    });
    let together = with(read.data, &edits)?;
    if is_safe(read, &PlacedDocument::new(&together)) {
        return Some(together);
    }
    let mut found = None;
    for edit in edits.iter().take(TRIES) {
        let alone = with(read.data, std::slice::from_ref(edit));
        found = alone.filter(|data| is_safe(read, &PlacedDocument::new(data)));
        if found.is_some() {
            break;
        }
    }
    found
}

/// Entries that say what a later one says are taken out, where no comment goes with them.
fn without_repeated(
    read: &PlacedDocument<'_>,
    is_kept: &dyn Fn(&Entry) -> bool,
    ignored: &BTreeSet<Code>,
) -> Option<BTreeMap<String, String>> {
    if ignored.contains(&Code::RepeatedEntry) {
        return None;
    }
    // An entry that a comment keeps is not taken out: its comment would be lost.
    let changes: Vec<EntryEdit> = read
        .repeated()
        .into_iter()
        .filter(|(loser, winner)| !is_kept(loser) && !is_kept(winner))
        .map(|(loser, _)| EntryEdit::Remove {
            section: loser.section,
            item: loser.item,
        })
        .collect();
    let attempt = |changes: &[EntryEdit]| {
        let texts = edit(read.data, changes).ok()?;
        let mut data = read.data.clone();
        data.extend(texts);
        let after = PlacedDocument::new(&data);
        (is_safe(read, &after) && comments_of(&after) == comments_of(read)).then_some(data)
    };
    if changes.is_empty() {
        return None;
    }
    attempt(&changes).or_else(|| {
        let mut alone = changes.iter().take(TRIES);
        alone.find_map(|change| attempt(std::slice::from_ref(change)))
    })
}

/// How many comments stand by entries.
fn comments_of(read: &PlacedDocument<'_>) -> usize {
    let of = |section: Section| {
        let text = read.data.get(section.key()).map_or("", String::as_str);
        comments(text, read.document.section(section))
    };
    let all = Section::ALL.into_iter().flat_map(of);
    all.map(|comments| comments.len()).sum()
}

fn with(
    data: &BTreeMap<String, String>,
    edits: &[(Section, Edit)],
) -> Option<BTreeMap<String, String>> {
    let mut all = data.clone();
    let mut changed = false;
    for section in Section::ALL {
        let mine = edits.iter().filter(|(of, _)| *of == section);
        let mine: Vec<Edit> = mine.map(|(_, edit)| edit.clone()).collect();
        let text = all.get(section.key()).and_then(|text| apply(text, mine));
        if let Some(text) = text {
            all.insert(section.key().to_owned(), text);
            changed = true;
        }
    }
    changed.then_some(all)
}

/// The text with all edits, of those that overlap the first; `None` where nothing changes.
fn apply(text: &str, mut edits: Vec<Edit>) -> Option<String> {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut edited = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        if edit.span.start < at {
            continue;
        }
        edited += &text[at..edit.span.start];
        edited += &edit.text;
        at = edit.span.end;
    }
    edited += &text[at..];
    (edited != text).then_some(edited)
}

/// Who has access, and as what, where that is sure.
fn effects(read: &PlacedDocument<'_>) -> BTreeMap<String, Gain> {
    let index = Index::new(&read.document);
    let effect = |entry: &Entry| {
        let gain = Gain {
            arn: entry.arn.clone(),
            username: entry.username.clone(),
            groups: entry.groups.clone(),
        };
        (entry.matched_arn(), gain)
    };
    let alive = index.winners().filter(|entry| can_match(entry));
    alive.map(effect).collect()
}

/// Whether nothing that was right changes, and nothing gets worse.
fn is_safe(before: &PlacedDocument<'_>, after: &PlacedDocument<'_>) -> bool {
    let readable = Section::ALL.into_iter().all(|section| {
        let was = before.document.section(section);
        let is = after.document.section(section);
        match (&was.broken, &is.broken) {
            (_, None) => is.problems.len() <= was.problems.len() || was.broken.is_some(),
            (None, Some(_)) => false,
            // Behind the mistake that is gone the next one shows.
            (Some(was), Some(is)) => is.span.start >= was.span.start,
        }
    });
    let was = effects(before);
    let is = effects(after);
    // Where a right entry wins over a wrong one, nothing may change.
    let index = Index::new(&before.document);
    let winners = index.winners().map(|it| (it.section, it.item));
    let winners: BTreeSet<(Section, usize)> = winners.collect();
    let wrong = before.wrong();
    let wrong: BTreeSet<String> = wrong
        .filter(|entry| winners.contains(&(entry.section, entry.item)))
        .map(Entry::matched_arn)
        .collect();
    let same = was.iter().all(|(arn, effect)| {
        let now = is.get(arn);
        let kept =
            now.is_some_and(|now| now.username == effect.username && now.groups == effect.groups);
        kept || wrong.contains(arn)
    });
    let counts = |read: &PlacedDocument<'_>| {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for entry in read.document.entries() {
            *counts.entry(entry.matched_arn()).or_default() += 1;
        }
        counts
    };
    let had = counts(before);
    let broken = Section::ALL
        .into_iter()
        .any(|section| before.document.section(section).broken.is_some());
    let crowded = counts(after)
        .iter()
        .any(|(arn, count)| *count > 1 && *count > had.get(arn).copied().unwrap_or_default());
    readable && same && (broken || !crowded)
}

/// The changes of the values as changes of the file, and the values that the file then has: a value whose places can't be determined stays.
fn in_file(
    text: &str,
    auth: &AwsAuthManifest,
    fixed: &BTreeMap<String, String>,
) -> (Vec<Edit>, BTreeMap<String, String>) {
    let mut edits = Vec::new();
    let mut data = auth.data.clone();
    for (key, new) in fixed {
        let old = auth.data.get(key).map_or("", String::as_str);
        let Some((_, Some(embedding))) = auth.places.get(key) else {
            continue;
        };
        if old == new {
            continue;
        }
        for Edit { span, text: new } in differences(old, new) {
            let (span, text) = embedding.edit(text, &span, &new);
            edits.push(Edit { span, text });
        }
        data.insert(key.clone(), new.clone());
    }
    (edits, data)
}

/// What of a text has to be written anew to make it another: within its lines, or whole lines.
fn differences(old: &str, new: &str) -> Vec<Edit> {
    let before: Vec<&str> = old.split_inclusive('\n').collect();
    let after: Vec<&str> = new.split_inclusive('\n').collect();
    let starts: Vec<usize> = before
        .iter()
        .scan(0, |at, line| {
            let start = *at;
            *at += line.len();
            Some(start)
        })
        .chain([old.len()])
        .collect();
    let operations = similar::capture_diff_slices(similar::Algorithm::Myers, &before, &after);
    let mut edits = Vec::new();
    for operation in operations {
        let (tag, was, is) = operation.as_tag_tuple();
        match tag {
            similar::DiffTag::Equal => {}
            similar::DiffTag::Replace if was.len() == is.len() => {
                for (old_line, new_line) in was.zip(is) {
                    edits.push(within(before[old_line], after[new_line], starts[old_line]));
                }
            }
            similar::DiffTag::Replace | similar::DiffTag::Delete | similar::DiffTag::Insert => {
                edits.push(Edit {
                    span: starts[was.start]..starts[was.end],
                    text: after[is].concat(),
                });
            }
        }
    }
    edits
}

/// The part of a line that differs.
fn within(old: &str, new: &str, offset: usize) -> Edit {
    let same = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b)
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a.len_utf8())
            .sum::<usize>()
    };
    let head = same(&mut old.chars(), &mut new.chars());
    let tail = same(
        &mut old[head..].chars().rev(),
        &mut new[head..].chars().rev(),
    );
    Edit {
        span: offset + head..offset + old.len() - tail,
        text: new[head..new.len() - tail].to_owned(),
    }
}

/// Whether the documents of two texts differ in nothing but the texts of aws-auth, which are compared separately, and in words that were quoted.
fn same_but_words(old: &str, new: &str) -> bool {
    let (old, new) = (read(old), read(new));
    old.len() == new.len()
        && old.iter().zip(&new).all(|(old, new)| match (old, new) {
            (Ok(old), Ok(new)) => same_values(&old.value, &new.value),
            (Err(_), _) => true,
            (Ok(_), Err(_)) => false,
        })
}

fn same_values(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old.iter().zip(new).all(|((old_key, old), (new_key, new))| {
                    let texts = old_key == "data" || same_values(old, new);
                    old_key == new_key && texts
                })
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same_values(old, new))
        }
        (Value::Bool(_) | Value::Number(_) | Value::Null, Value::String(_)) => true,
        (old, new) => old == new,
    }
}
