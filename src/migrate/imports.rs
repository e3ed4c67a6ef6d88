//! The mappings that an import would create from the entries of aws-auth.

use std::collections::{BTreeMap, BTreeSet};

use super::entries::{TextEntries, Winner, place};
use super::migration::EntryLine;
use crate::api::IdentityMapping;
use crate::api::v1alpha1::BackendChoice;
use crate::desired::{Desired, Mapping};
use crate::import::{ImportOptions, Origin, import};
use crate::observed::{Observed, Settings};
use crate::principal::Key;

/// What an import makes of the entries of aws-auth, by their places.
pub(super) struct Imports {
    pub(super) mappings: BTreeMap<EntryLine, IdentityMapping>,
    /// Why there is no mapping.
    pub(super) left: BTreeMap<EntryLine, String>,
    /// Mappings that declare it, as far as that can be determined without IAM.
    pub(super) declared: BTreeMap<EntryLine, String>,
}

impl Imports {
    pub(super) fn of(desired: &Desired, observed: &Observed, settings: &Settings) -> Self {
        let options = ImportOptions {
            nodes: true,
            ..ImportOptions::default()
        };
        let import = import(desired, observed, settings, options);
        let left = import.left.into_iter();
        let declared = import.declared.into_iter();
        let imported = import.imported.into_iter();
        Self {
            mappings: imported
                .filter_map(|imported| Some((place_of(&imported.origin)?, imported.object)))
                .collect(),
            left: left
                .filter_map(|left| Some((place_of(&left.origin)?, left.message)))
                .collect(),
            declared: declared
                .filter_map(|(origin, name)| Some((place_of(&origin)?, name)))
                .collect(),
        }
    }

    /// What no mapping declares, as if it had been imported and asked to be handed over.
    pub(super) fn undeclared(
        &self,
        entries: &TextEntries<'_>,
        declared: &BTreeSet<Key>,
    ) -> Vec<Mapping> {
        let winners = entries.winners.iter().map(Winner::entry);
        winners
            .filter(|entry| entry.key().is_some_and(|key| !declared.contains(&key)))
            .filter_map(|entry| self.mappings.get(&place(entry)))
            .map(|object| {
                let mut object = object.clone();
                object.spec.backend = BackendChoice::Auto;
                Mapping::from_object(&object)
            })
            .collect()
    }
}

pub(super) fn place_of(origin: &Origin) -> Option<EntryLine> {
    match origin {
        Origin::Text {
            section,
            line: Some(line),
        } => Some(EntryLine {
            section: *section,
            line: *line,
        }),
        Origin::Text { line: None, .. } | Origin::AccessEntry(_) => None,
    }
}
