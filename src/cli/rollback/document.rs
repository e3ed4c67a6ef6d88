//! Copies, and the effects of restoring one, as documents for `-o json` and `-o yaml`; the text output is made from them as well.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::aws_auth::{Document, Meaning, Section};
use crate::cli::diff::KeyText;
use crate::observed::{KeptCopy, Manager};
use crate::rollback::{Loss, Restoration};
use crate::time::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct History {
    /// The `ConfigMap` whose history it is.
    pub(super) config_map: String,
    pub(super) copies: Vec<ListedCopy>,
}

/// A copy in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedCopy {
    /// Its number in the list: 1 is the newest.
    pub(super) number: usize,
    pub(super) copy: String,
    /// Its name in the history.
    pub(super) name: String,
    /// When it was made, just before a write of ours.
    pub(super) time: Timestamp,
    /// Whether it is the one before our very first write.
    pub(super) first: bool,
    /// The resourceVersion of the aws-auth that was copied: the log and the API server's audit log name it for its write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_version: Option<String>,
    /// The bytes that it takes in the history.
    pub(super) bytes: usize,
    /// How many entries the authenticator keeps of it.
    pub(super) entries: usize,
    /// Who had last written each key of it, where Kubernetes knew that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) written_by: Vec<CopyWriter>,
    /// The keys that the authenticator drops whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) broken: Vec<&'static str>,
    /// What changed from it to the next newer one, or to what exists.
    pub(super) changed_then: ChangeCounts,
}

/// Who wrote a key.
#[derive(Serialize)]
pub(super) struct CopyWriter {
    pub(super) key: String,
    /// The field manager, such as `kubectl-edit`.
    pub(super) manager: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<Timestamp>,
}

/// Changes in numbers of principals.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ChangeCounts {
    pub(super) added: usize,
    pub(super) removed: usize,
    #[serde(rename = "changed")]
    pub(super) otherwise: usize,
}

/// The copies, newest first, each against the next newer one.
pub(super) fn list(
    config_map: String,
    copies: &[KeptCopy],
    standing: &BTreeMap<String, String>,
) -> History {
    let mut newer = Document::parse(standing);
    let mut listed = Vec::new();
    for (number, copy) in (1..).zip(copies) {
        let document = Document::parse(&copy.data);
        let broken = Section::ALL
            .into_iter()
            .filter(|section| document.section(*section).broken.is_some());
        listed.push(ListedCopy {
            number,
            copy: copy.short().to_owned(),
            name: copy.name.clone(),
            time: copy.time,
            first: copy.first,
            resource_version: copy.resource_version.clone(),
            bytes: copy.bytes,
            entries: document.entries().count(),
            written_by: writers(copy),
            broken: broken.map(Section::key).collect(),
            changed_then: ChangeCounts::between(&document, &newer),
        });
        newer = document;
    }
    History {
        config_map,
        copies: listed,
    }
}

/// The latest first.
fn writers(copy: &KeptCopy) -> Vec<CopyWriter> {
    let keys = copy.managers.iter();
    let writers = keys.map(|(key, Manager { name, time })| CopyWriter {
        key: key.clone(),
        manager: name.clone(),
        time: *time,
    });
    let mut writers: Vec<CopyWriter> = writers.collect();
    writers.sort_by_key(|writer| Reverse(writer.time));
    writers
}

impl ChangeCounts {
    fn between(before: &Document, after: &Document) -> Self {
        let (before, after) = (by_arn(before), by_arn(after));
        let arns: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let mut changed = Self::default();
        for arn in arns {
            match (before.get(arn), after.get(arn)) {
                (None, Some(_)) => changed.added += 1,
                (Some(_), None) => changed.removed += 1,
                (Some(before), Some(after)) if before != after => changed.otherwise += 1,
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        changed
    }
}

fn by_arn(document: &Document) -> BTreeMap<String, Vec<(Section, Meaning)>> {
    let mut by_arn: BTreeMap<String, Vec<(Section, Meaning)>> = BTreeMap::new();
    for entry in document.entries() {
        let found = by_arn.entry(entry.matched_arn()).or_default();
        found.push((entry.section, entry.meaning()));
    }
    by_arn
}

/// What restoring a copy comes to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RestoreDiff {
    pub(super) copy: String,
    pub(super) time: Timestamp,
    /// Whether anything would be written.
    pub(super) changes: bool,
    /// The keys of `data` whose text would change.
    pub(super) keys: Vec<KeyText>,
    /// ARNs of entries of the copy that were managed then, and that no mapping keeps in aws-auth now: they stay out.
    pub(super) left_out: Vec<String>,
    /// ARNs of our entries that differ from the copy's: they stay as they are.
    pub(super) kept: Vec<String>,
    /// ARNs of node entries that would go or change.
    pub(super) node_entries: Vec<String>,
    /// Whether no administrator would be left.
    pub(super) last_administrator: bool,
}

impl RestoreDiff {
    pub(super) fn new(
        copy: &KeptCopy,
        restoration: &Restoration,
        standing: &BTreeMap<String, String>,
    ) -> Self {
        let after = &restoration.data;
        let keys: BTreeSet<&String> = standing.keys().chain(after.keys()).collect();
        let keys = keys
            .into_iter()
            .filter(|key| standing.get(*key) != after.get(*key));
        let nodes = restoration.losses.iter().filter_map(|loss| match loss {
            Loss::NodeEntry { arn, .. } => Some(arn.clone()),
            Loss::LastAdministrator => None,
        });
        Self {
            copy: copy.short().to_owned(),
            time: copy.time,
            changes: restoration.rewrite.is_some(),
            keys: keys
                .map(|key| KeyText {
                    key: key.clone(),
                    before: standing.get(key).cloned(),
                    after: after.get(key).cloned(),
                })
                .collect(),
            left_out: restoration
                .left_out
                .iter()
                .map(|entry| entry.arn.clone())
                .collect(),
            kept: restoration.kept.clone(),
            node_entries: nodes.collect(),
            last_administrator: restoration.losses.contains(&Loss::LastAdministrator),
        }
    }
}
