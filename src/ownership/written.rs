//! What a status records about an access entry.

use crate::access_entry::{AccessEntry, Kind, Scope};
use crate::api::v1alpha1::WrittenEntry;

/// Whether an access entry is exactly what a status says that we wrote.
#[must_use]
pub fn is_as_written(entry: &AccessEntry, written: &WrittenEntry) -> bool {
    let namespaces = |scope: &Scope| match scope {
        Scope::Cluster => Vec::new(),
        Scope::Namespaces(namespaces) => namespaces.iter().cloned().collect(),
    };
    let type_ = match &entry.kind {
        Kind::Known(type_) => Some(*type_),
        Kind::Unknown(_) => None,
    };
    written.arn == entry.principal_arn
        && written.type_ == type_
        && written.username == entry.username
        && written.groups.iter().eq(&entry.groups)
        && written.access_policies.len() == entry.policies.len()
        && written.access_policies.iter().all(|policy| {
            let association = entry.policies.get(&policy.policy);
            association.is_some_and(|it| namespaces(&it.scope) == policy.namespaces)
        })
}
