//! Which mapping wrote what exists for a principal, where mark and tags show it: a status alone may be old, lost or forged.

use super::Mapping;
use crate::access_entry::{AccessEntry, MAPPING_TAG};
use crate::ownership::MeaningHash;
use crate::principal::Key;
use crate::time::Timestamp;

/// What is managed for a principal, by what shows who wrote it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Managed<'a> {
    /// The hash of the entry in aws-auth, in its mark.
    pub(crate) mark: Option<&'a MeaningHash>,
    /// The mapping that each access entry names in its tag.
    pub(crate) tagged: Vec<&'a str>,
}

impl<'a> Managed<'a> {
    /// The mapping that an access entry's tag names.
    pub(crate) fn tag_of(entry: &'a AccessEntry) -> Option<&'a str> {
        entry.tags.get(MAPPING_TAG).map(String::as_str)
    }

    /// Whether all of it is shown to be of others than this mapping.
    pub(crate) fn is_anothers<'m>(
        &self,
        mapping: &Mapping,
        others: impl Iterator<Item = &'m Mapping> + Clone,
        key: &Key,
        config_map: &str,
        now: Timestamp,
    ) -> bool {
        let of_mark = |mapping: &Mapping, mark: &MeaningHash| {
            let written = mapping.written(config_map);
            let written = written
                .get(key)
                .map(|written| MeaningHash::of(&written.meaning));
            let form = mapping
                .spec
                .as_ref()
                .ok()
                .and_then(|spec| spec.form.as_ref());
            let declared = form.map(|form| form.meaning_hash.clone());
            written.as_ref() == Some(mark)
                || (mapping.key().as_ref() == Some(key) && declared.as_ref() == Some(mark))
        };
        let others = others.filter(|other| other.uid != mapping.uid);
        let text = self.mark.map(|mark| {
            !of_mark(mapping, mark) && others.clone().any(|other| of_mark(other, mark))
        });
        // A tag alone may be forged: it stands against the mapping's own status only for one that goes on, and so takes nothing away.
        let goes_on = |other: &Mapping| {
            !other.deleting && !other.suspend && other.valid_until.is_none_or(|until| until > now)
        };
        let remembers = |mapping: &Mapping| {
            let mut written = mapping.status.written.iter();
            written.any(|it| it.cluster.is_some() && Key::parse_arn(&it.arn).as_ref() == Some(key))
        };
        let own = remembers(mapping);
        let tags = self.tagged.iter().map(|tag| {
            let is_theirs = |other: &Mapping| !own || remembers(other) || goes_on(other);
            *tag != mapping.name
                && others
                    .clone()
                    .any(|other| other.name == **tag && is_theirs(other))
        });
        let sides: Vec<bool> = text.into_iter().chain(tags).collect();
        !sides.is_empty() && sides.into_iter().all(|anothers| anothers)
    }
}
