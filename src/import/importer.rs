//! An import in progress.

use std::collections::BTreeMap;

use super::imported::{Import, Origin, SkipReason, Skipped};
use super::object::Draft;
use crate::aws_auth::{Document, Entry};
use crate::desired::Desired;
use crate::effective::{EffectiveAccess, EffectiveEntry};
use crate::observed::{AwsView, Mode};
use crate::ownership::{KeyHash, Mark, MeaningHash};
use crate::principal::{Key, Principal};
use crate::time::Timestamp;

/// What to import beside the principals of people and workloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The entries of nodes.
    pub nodes: bool,
    /// Access entries that AWS made, but for those that only AWS can change.
    pub aws_made: bool,
}

/// What to do about the entry of aws-auth of a principal that has an access entry.
pub(super) enum CopyDecision {
    /// The access entry wins over it.
    Shadowed,
    /// The access entry grants no access, so this is what counts.
    Counts,
    /// The access entry is managed and grants no access: the one must go before the other can be taken over.
    Blocked(&'static str),
}

/// The import under way.
pub(super) struct Importer<'a> {
    pub(super) options: ImportOptions,
    pub(super) document: &'a Document,
    pub(super) effective: &'a EffectiveAccess<'a>,
    pub(super) mark: Mark,
    pub(super) mode: Mode,
    pub(super) view: Option<&'a AwsView>,
    pub(super) now: Timestamp,
    pub(super) installation: String,
    pub(super) declared: DeclaredPrincipals,
    pub(super) fates: BTreeMap<Key, CopyDecision>,
    pub(super) drafts: Vec<Draft>,
    pub(super) result: Import,
}

impl Importer<'_> {
    pub(super) fn leave(
        &mut self,
        what: impl Into<String>,
        origin: Origin,
        why: SkipReason,
        message: impl Into<String>,
    ) {
        self.result.left.push(Skipped {
            what: what.into(),
            origin,
            why,
            message: message.into(),
        });
    }

    /// Checks a draft, and keeps it or says why it can be no mapping.
    pub(super) fn keep(&mut self, what: &str, draft: Result<Draft, String>, origin: &Origin) {
        match draft {
            Ok(draft) => self.drafts.push(draft),
            Err(why) => self.leave(what, origin.clone(), SkipReason::Inexpressible, why),
        }
    }
}

/// Who is declared already.
pub(super) struct DeclaredPrincipals {
    pub(super) keys: BTreeMap<Key, String>,
    /// Permission sets by name and account: their roles are theirs whatever their suffix.
    pub(super) sets: BTreeMap<(String, String), String>,
}

impl DeclaredPrincipals {
    pub(super) fn of(desired: &Desired) -> Self {
        let mappings = || desired.mappings.iter();
        let keys = mappings().filter_map(|mapping| Some((mapping.key()?, mapping.name.clone())));
        let sets = mappings().filter_map(|mapping| {
            let set = mapping.permission_set()?;
            Some((
                (set.name.clone(), set.account_id.clone()),
                mapping.name.clone(),
            ))
        });
        Self {
            keys: keys.collect(),
            sets: sets.collect(),
        }
    }

    /// The mapping that declares a principal.
    pub(super) fn by(&self, principal: &Principal, key: &Key) -> Option<&String> {
        let by_set = || {
            let set = principal.sso()?.permission_set;
            self.sets.get(&(set, principal.account.to_string()))
        };
        let named = self.keys.get(key);
        named.or_else(|| if self.sets.is_empty() { None } else { by_set() })
    }
}

pub(super) fn is_node(effective: &EffectiveAccess<'_>, entry: &Entry) -> bool {
    effective.is_node(&EffectiveEntry::of_aws_auth(entry))
}

/// What the mark says of an entry of this principal that is managed.
pub(super) fn marked<'a>(mark: &'a Mark, key: &Key) -> Option<&'a MeaningHash> {
    if mark.0.is_empty() {
        None
    } else {
        mark.0.get(&KeyHash::of(key))
    }
}
