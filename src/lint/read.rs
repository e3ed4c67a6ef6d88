//! The `data` of an aws-auth with the places of its entries.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::aws_auth::diagnosis::{RepairedText, diagnose};
use crate::aws_auth::{Document, Entry, Places, Section, SectionPlaces};
use crate::ownership::Marked;
use crate::yaml::Lines;

/// The `data` of an aws-auth, read once.
pub(super) struct PlacedDocument<'d> {
    pub(super) data: &'d BTreeMap<String, String>,

    pub(super) document: Document,
    pub(super) places: [SectionPlaces; 3],
    /// Which entries are managed; none in files.
    pub(super) managed: Marked,
}

impl<'d> PlacedDocument<'d> {
    pub(super) fn new(data: &'d BTreeMap<String, String>) -> Self {
        let (document, places) = Document::parse_placed(data);
        Self {
            data,
            document,
            places,
            managed: Marked::default(),
        }
    }

    pub(super) fn with_managed(self, managed: Marked) -> Self {
        Self { managed, ..self }
    }

    /// Which of two entries is managed, where it is only one of them.
    pub(super) fn managed_of(&self, one: &Entry, other: &Entry) -> Option<ManagedOf> {
        match (self.managed.manages(one), self.managed.manages(other)) {
            (true, false) => Some(ManagedOf::First),
            (false, true) => Some(ManagedOf::Second),
            (true, true) | (false, false) => None,
        }
    }

    pub(super) fn text(&self, section: Section) -> &'d str {
        self.data.get(section.key()).map_or("", String::as_str)
    }

    /// The entries that the authenticator keeps, with their places.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Entry, &Places)> {
        let [roles, users, _] = &self.places;
        let places = roles.entries.iter().chain(&users.entries);
        self.document.entries().zip(places)
    }

    /// The entry in which a byte of a section is.
    pub(super) fn entry_at(&self, section: Section, at: usize) -> Option<&Entry> {
        let entries = &self.document.section(section).entries;
        let next = entries.partition_point(|entry| entry.span.start <= at);
        let entry = entries.get(next.checked_sub(1)?)?;
        (at < entry.span.end).then_some(entry)
    }

    /// The same without the faults in the structure of its texts; `None` where there are none.
    pub(super) fn repaired(&self) -> Option<RepairedData> {
        let mut repaired = RepairedData {
            data: self.data.clone(),
            texts: BTreeMap::new(),
        };
        let mut changed = false;
        for section in Section::ALL {
            let text = self.text(section);
            let view = self.document.section(section);
            let Some(diagnosis) = diagnose(section, text, view) else {
                continue;
            };
            changed = true;
            let text = diagnosis
                .repaired
                .as_ref()
                .map_or("", |it| it.text.as_str());
            repaired
                .data
                .insert(section.key().to_owned(), text.to_owned());
            repaired
                .texts
                .extend(diagnosis.repaired.map(|it| (section, it)));
        }
        changed.then_some(repaired)
    }
}

/// Which of two entries is managed: the other one can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ManagedOf {
    First,
    Second,
}

/// The `data` of an aws-auth as it was meant, and where it comes from.
pub(super) struct RepairedData {
    pub(super) data: BTreeMap<String, String>,
    texts: BTreeMap<Section, RepairedText>,
}

impl RepairedData {
    /// Whether a section differs from its original.
    pub(super) fn is_repaired(&self, section: Section) -> bool {
        self.texts.contains_key(&section)
    }

    /// The bytes of the original that bytes of a section come from.
    pub(super) fn original(
        &self,
        section: Section,
        span: &Range<usize>,
        text: &str,
        lines: &Lines<'_>,
    ) -> Range<usize> {
        match self.texts.get(&section) {
            Some(repaired) => repaired.original(span, text, lines),
            None => span.clone(),
        }
    }
}
