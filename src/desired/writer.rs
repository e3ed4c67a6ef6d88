//! Which mapping wrote what exists for a principal, where mark and tags show it: a status alone may be old, lost or forged.

use super::{Mapping, State};
use crate::access_entry::{AccessEntry, MAPPING_TAG};
use crate::effective::Standing;
use crate::ownership::MeaningHash;
use crate::principal::Key;
use crate::time::Timestamp;

/// What is managed for a principal, by what shows who wrote it.
#[derive(Clone, Debug)]
pub(crate) struct WriterMarks<'a> {
    key: &'a Key,
    /// `namespace/name` of the `ConfigMap`.
    config_map: &'a str,
    /// The ARN of the cluster, where access entries count.
    cluster: Option<&'a str>,
    /// The hash of the entry in aws-auth, in its mark.
    mark: Option<&'a MeaningHash>,
    /// The mapping that each access entry names in its tag.
    tags: Vec<&'a str>,
}

/// The mapping that an access entry names in its tag.
pub(crate) fn tagged_mapping(entry: &AccessEntry) -> Option<&str> {
    entry.tags.get(MAPPING_TAG).map(String::as_str)
}

impl<'a> WriterMarks<'a> {
    pub(crate) fn new(
        key: &'a Key,
        config_map: &'a str,
        mark: Option<&'a MeaningHash>,
        cluster: Option<&'a str>,
        standing: &'a [Standing<'a>],
    ) -> Self {
        let entries = standing.iter().filter_map(Standing::known);
        Self {
            key,
            config_map,
            cluster,
            mark,
            tags: entries.filter_map(tagged_mapping).collect(),
        }
    }

    /// Whether all of it is shown to be of others than this mapping.
    pub(crate) fn is_anothers<'m>(
        &self,
        mapping: &Mapping,
        others: impl Iterator<Item = &'m Mapping> + Clone,
        now: Timestamp,
    ) -> bool {
        let others = others.filter(|other| other.uid != mapping.uid);
        let text = self.mark.map(|mark| {
            !self.has_mark(mapping, mark) && others.clone().any(|other| self.has_mark(other, mark))
        });
        // A tag alone may be forged. Against the status of this mapping it counts only for a mapping that stays active, so that a forged
        // one removes no access.
        let remembers = self.remembers(mapping);
        let tags = self.tags.iter().map(|tag| {
            let mut named = others.clone().filter(|other| other.name == **tag);
            *tag != mapping.name
                && named.any(|other| {
                    !remembers || self.remembers(other) || State::of(other, now) == State::Live
                })
        });
        let sides: Vec<bool> = text.into_iter().chain(tags).collect();
        !sides.is_empty() && sides.into_iter().all(|anothers| anothers)
    }

    /// Whether it is shown to be of a mapping that has ended, whose status may be lost: a finalizer shows that it was in effect. What
    /// another one remembers, or one that keeps its entry while it is inactive, contradicts.
    pub(crate) fn is_left_by<'m>(
        &self,
        mapping: &Mapping,
        others: impl Iterator<Item = &'m Mapping>,
        now: Timestamp,
    ) -> bool {
        let ended = matches!(State::of(mapping, now), State::Deleting | State::Expired);
        let was_in_effect =
            !mapping.finalizers.is_empty() && mapping.key().as_ref() == Some(self.key);
        let shown = |mapping: &Mapping| {
            self.mark.is_some_and(|mark| self.has_mark(mapping, mark))
                || self.tags.contains(&mapping.name.as_str())
        };
        let mut others = others.filter(|other| other.uid != mapping.uid);
        let contradicts = |other: &Mapping| {
            let keeps = matches!(State::of(other, now), State::Suspended | State::Refused);
            // What a spec that can't be put into effect would have written is not known.
            let may_have_written = other.spec.is_err()
                && other.key().as_ref() == Some(self.key)
                && !other.finalizers.is_empty();
            self.remembers(other)
                || other.written(self.config_map).contains_key(self.key)
                || keeps && (shown(other) || may_have_written)
        };
        ended && was_in_effect && shown(mapping) && !others.any(contradicts)
    }

    /// Whether the mark is of what the mapping wrote, or declares.
    fn has_mark(&self, mapping: &Mapping, mark: &MeaningHash) -> bool {
        let written = mapping.written(self.config_map);
        let written = written.get(self.key);
        let form = mapping
            .spec
            .as_ref()
            .ok()
            .and_then(|spec| spec.form.as_ref());
        let declared = form.filter(|_| mapping.key().as_ref() == Some(self.key));
        written.is_some_and(|written| MeaningHash::of(&written.meaning) == *mark)
            || declared.is_some_and(|form| form.meaning_hash == *mark)
    }

    /// Whether the mapping's status says that it wrote an access entry of the principal.
    fn remembers(&self, mapping: &Mapping) -> bool {
        let cluster = self.cluster.unwrap_or_default();
        mapping.written_entries(cluster).contains_key(self.key)
    }
}
