//! The `data` of an aws-auth with the places of its entries.

use std::collections::BTreeMap;

use crate::aws_auth::{Document, Entry, Places, Section, SectionPlaces};

/// The `data` of an aws-auth, read once.
pub(super) struct PlacedDocument<'d> {
    pub(super) data: &'d BTreeMap<String, String>,

    pub(super) document: Document,
    pub(super) places: [SectionPlaces; 3],
}

impl<'d> PlacedDocument<'d> {
    pub(super) fn new(data: &'d BTreeMap<String, String>) -> Self {
        let (document, places) = Document::parse_placed(data);
        Self {
            data,
            document,
            places,
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

    /// The entry in which a byte of a section stands.
    pub(super) fn entry_at(&self, section: Section, at: usize) -> Option<&Entry> {
        let entries = &self.document.section(section).entries;
        let next = entries.partition_point(|entry| entry.span.start <= at);
        let entry = entries.get(next.checked_sub(1)?)?;
        (at < entry.span.end).then_some(entry)
    }
}
