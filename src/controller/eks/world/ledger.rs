//! The real owner of each entry, recorded by who created it and not by mark, tag or status.

use std::collections::{BTreeMap, BTreeSet};

use super::access::{TextEntry, folded};
use crate::access_entry::Call;
use crate::api::IdentityMapping;
use crate::observed::ConfigMapView;
use crate::time::Timestamp;

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
    /// Whether the operator's clock was set, by which it counts removals.
    pub(super) clock_set: bool,
    /// Whether this process could not record removals.
    pub(super) unrecorded: bool,
    /// Whether a process died that could not: the next one can't know what it removed (docs/reliability.md).
    pub(super) removals_forgotten: bool,
    /// Principals that someone else made administrators by editing an entry of the operator's.
    pub(super) gifts: BTreeSet<String>,
    /// The last text that stood and parsed.
    pub(super) good: Vec<TextEntry>,
    /// What of it was the operator's.
    pub(super) good_managed: Vec<TextEntry>,
}

impl Ledger {
    /// Someone else wrote aws-auth: what was the operator's and still stands so is the operator's.
    pub(super) fn text_by_others(&mut self, config_map: Option<&ConfigMapView>) {
        let mut now = TextEntry::all(config_map);
        let mut managed = std::mem::take(&mut self.managed_text);
        managed.retain(|entry| match now.iter().rposition(|it| it == entry) {
            Some(place) => {
                self.managed_text.push(now.remove(place));
                false
            }
            None => true,
        });
        // An edited entry of the operator's is still its own, where nobody else's of the principal was there.
        let (edited, rest) = now.into_iter().partition(|entry| {
            let place = managed
                .iter()
                .position(|it| it.principal == entry.principal);
            let known = self.unmanaged_text.contains(entry);
            place
                .filter(|_| !known)
                .map(|place| managed.remove(place))
                .is_some()
        });
        self.unmanaged_text = rest;
        self.managed_text.extend::<Vec<TextEntry>>(edited);
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
        self.lost.extend(
            self.managed_text
                .iter()
                .map(|entry| entry.principal.clone()),
        );
    }

    pub(super) fn tags_lost(&mut self, principal_arn: &str) {
        self.lost.insert(folded(principal_arn));
    }

    /// A mapping names its principal.
    pub(super) fn named(&mut self, object: &IdentityMapping) {
        let (Some(uid), Some(arn)) = (&object.metadata.uid, &object.spec.principal.arn) else {
            return;
        };
        self.names
            .entry(uid.clone())
            .or_default()
            .insert(folded(arn));
    }
}
