//! The lookup of [`super::lookup`] for many callers: one walk over the document instead of one per caller.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Document, Entry, Lookup, Section, fold_arn};

/// Who is let in as what, by caller.
#[derive(Debug)]
pub struct Index<'a> {
    roles: HashMap<String, &'a Entry>,
    users: HashMap<String, BTreeMap<&'a str, &'a Entry>>,
    accounts: HashSet<&'a str>,
}

impl<'a> Index<'a> {
    /// The index of a document.
    #[must_use]
    pub fn new(document: &'a Document) -> Self {
        let mut users: HashMap<String, BTreeMap<&str, &Entry>> = HashMap::new();
        for entry in &document.section(Section::Users).entries {
            // A later duplicate of the very same text replaces the earlier one; a case variant stands beside it.
            users
                .entry(entry.matched_arn())
                .or_default()
                .insert(&entry.arn, entry);
        }
        let roles = document
            .section(Section::Roles)
            .entries
            .iter()
            .filter(|entry| !entry.sso);
        Self {
            roles: roles.map(|entry| (entry.matched_arn(), entry)).collect(),
            users,
            accounts: document
                .section(Section::Accounts)
                .accounts
                .iter()
                .map(String::as_str)
                .collect(),
        }
    }

    /// Looks up a caller by its canonical ARN, in which an assumed-role session is its role.
    #[must_use]
    pub fn lookup(&self, canonical_arn: &str) -> Lookup<'a> {
        // The mapper lower-cases the canonical ARN before it asks.
        let subject = fold_arn(&canonical_arn.to_lowercase());
        if let Some(entry) = self.roles.get(&subject) {
            return Lookup::Role(entry);
        }
        if let Some(variants) = self.users.get(&subject) {
            let mut variants: Vec<&Entry> = variants.values().copied().collect();
            variants.sort_unstable_by_key(|entry| entry.item);
            return match variants.as_slice() {
                [entry] => Lookup::User(entry),
                _ => Lookup::AmbiguousUser(variants),
            };
        }
        let account = canonical_arn.split(':').nth(4).unwrap_or_default();
        if self.accounts.contains(account) {
            Lookup::Account
        } else {
            Lookup::None
        }
    }

    /// The entry that wins for each ARN that is looked up unambiguously.
    pub fn winners(&self) -> impl Iterator<Item = &'a Entry> {
        let users = self
            .users
            .iter()
            .filter(|(arn, variants)| variants.len() == 1 && !self.roles.contains_key(*arn));
        self.roles
            .values()
            .copied()
            .chain(users.filter_map(|(_, variants)| variants.values().next().copied()))
    }
}
