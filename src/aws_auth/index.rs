//! The lookup of [`super::lookup`] for many callers: one walk over the document instead of one per caller.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Document, Entry, Lookup, Section, fold_arn};
use crate::principal::AccountId;

/// What becomes of an entry among others of its ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank<'a> {
    /// It is the one that the authenticator finds.
    Wins,
    /// The authenticator picks it or one whose ARN differs in case only, at random at each login.
    AtRandom,
    /// This one wins over it: a later one, or one in `mapRoles`.
    Loses(&'a Entry),
}

/// Who has access as what, by caller.
#[derive(Clone, Debug)]
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
            // A caller's account has 12 digits, so that nothing else matches.
            accounts: document
                .section(Section::Accounts)
                .accounts
                .iter()
                .map(String::as_str)
                .filter(|account| account.parse::<AccountId>().is_ok())
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
        match self.account(canonical_arn) {
            Some(_) => Lookup::Account,
            None => Lookup::None,
        }
    }

    /// What becomes of an entry of the document among others of its ARN.
    #[must_use]
    pub fn rank(&self, entry: &Entry) -> Rank<'a> {
        let is_it = |other: &Entry| other.section == entry.section && other.item == entry.item;
        let arn = entry.matched_arn();
        if let Some(wins) = self.roles.get(&arn) {
            return if is_it(wins) {
                Rank::Wins
            } else {
                Rank::Loses(wins)
            };
        }
        let variants = self.users.get(&arn);
        let same = variants.and_then(|variants| variants.get(entry.arn.as_str()));
        match (same, variants.map_or(0, BTreeMap::len)) {
            (Some(wins), _) if !is_it(wins) => Rank::Loses(wins),
            (_, 2..) => Rank::AtRandom,
            (_, _) => Rank::Wins,
        }
    }

    /// The account of `mapAccounts` that this caller is of.
    #[must_use]
    pub fn account(&self, canonical_arn: &str) -> Option<&'a str> {
        let account = canonical_arn.split(':').nth(4)?;
        self.accounts.get(account).copied()
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
