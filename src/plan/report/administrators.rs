//! Counts administrators.

use std::collections::BTreeMap;

use crate::api::v1alpha1::Backend;
use crate::effective::{Administrator, EffectiveAccess, EffectiveEntry, Grant};

/// Principals that certainly are administrators, by the backend that grants their access and by what makes them administrators.
pub(crate) fn administrators(
    effective: &EffectiveAccess<'_>,
) -> BTreeMap<(Backend, &'static str), u64> {
    let mut counted: BTreeMap<(Backend, &'static str), u64> = BTreeMap::new();
    for grant in effective.grants() {
        let found = match grant {
            Grant::AccessEntry(standing) => standing.known().and_then(|entry| {
                let entry = EffectiveEntry::of_access_entry(entry);
                Some((Backend::AccessEntry, effective.administrator(&entry)?))
            }),
            Grant::AwsAuth { entry, .. } => {
                let entry = EffectiveEntry::of_aws_auth(entry);
                let administrator = effective.administrator(&entry);
                administrator.map(|found| (Backend::ConfigMap, found))
            }
            Grant::Account(account) => {
                let administrator = effective.administrator_of_account(account);
                administrator.map(|found| (Backend::ConfigMap, found))
            }
        };
        if let Some((backend, administrator)) = found {
            let source = match administrator {
                Administrator::Policy => "policy",
                Administrator::Group(_) => "group",
                Administrator::Username(_) => "username",
            };
            *counted.entry((backend, source)).or_default() += 1;
        }
    }
    counted
}
