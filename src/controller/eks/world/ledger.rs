//! Whose each entry really is, kept by who made it and not by what a mark, a tag or a status says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::access::{TextEntry, folded};
use crate::access_entry::Call;
use crate::api::IdentityMapping;
use crate::observed::ConfigMapView;

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Entries of aws-auth that the operator neither made nor adopted, each as often as it stands there.
    pub(super) unmanaged_text: Vec<TextEntry>,
    /// Those that it made or adopted.
    pub(super) managed_text: Vec<TextEntry>,
    /// Principals whose access entry it neither made nor adopted.
    pub(super) unmanaged_entries: BTreeSet<String>,
    /// Principals whose entry someone else took the mark or the tags from: what follows for it is the mapping's conflict.
    pub(super) lost: BTreeSet<String>,
    /// Principals that each mapping ever named, by the mapping's uid.
    pub(super) names: BTreeMap<String, BTreeSet<String>>,
    /// When each principal lost its last entry by the operator's doing, in the last ten minutes.
    pub(super) vanished: BTreeMap<String, Timestamp>,
    /// Principals that someone else made administrators by editing an entry of the operator's.
    pub(super) gifts: BTreeSet<String>,
    /// The last text that stood and parsed.
    pub(super) good: Vec<TextEntry>,
}

impl Ledger {
    /// Someone else wrote aws-auth: what was the operator's and still stands so is the operator's.
    pub(super) fn text_by_others(&mut self, config_map: Option<&ConfigMapView>) {
        let now = TextEntry::all(config_map);
        let mut managed = std::mem::take(&mut self.managed_text);
        let mut unmanaged = Vec::new();
        for entry in now.into_iter().rev() {
            let place = managed.iter().position(|it| *it == entry);
            // An edited entry of a principal whose own is not there any more is the same entry.
            let place = place.or_else(|| {
                let known = self.unmanaged_text.contains(&entry);
                managed.iter().position(|it| !known && it.principal == entry.principal)
            });
            match place {
                Some(place) => {
                    managed.remove(place);
                    self.managed_text.push(entry);
                }
                None => unmanaged.push(entry),
            }
        }
        self.unmanaged_text = unmanaged;
    }

    /// Someone else made, changed or removed an access entry.
    pub(super) fn entry_by_others(&mut self, call: &Call) {
        let principal = call.principal_arn().to_owned();
        match call {
            Call::Create { .. } => {
                self.unmanaged_entries.insert(principal);
            }
            Call::Delete { .. } => {
                self.unmanaged_entries.remove(&principal);
            }
            _ => {}
        }
    }

    pub(super) fn mark_lost(&mut self) {
        self.lost.extend(self.managed_text.iter().map(|entry| entry.principal.clone()));
    }

    pub(super) fn tags_lost(&mut self, principal_arn: &str) {
        self.lost.insert(folded(principal_arn));
    }

    /// A mapping names its principal.
    pub(super) fn named(&mut self, object: &IdentityMapping) {
        let (Some(uid), Some(arn)) = (&object.metadata.uid, &object.spec.principal.arn) else {
            return;
        };
        self.names.entry(uid.clone()).or_default().insert(folded(arn));
    }
}
