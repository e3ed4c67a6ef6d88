//! Who has access now, with which identity and by which entry, over both backends; and which entries have no effect, and why.

use std::collections::HashSet;
use std::fmt;

use super::access_entries::{Life, Standing, StandingEntries, in_force};
use super::entry::EffectiveEntry;
use super::power::Administrator;
use super::unmatchable::{Unmatchable, unmatchable};
use crate::access_entry::EntryState;
use crate::aws_auth::{Document, Entry, Index, Lookup, Rank, Section};
use crate::observed::{AwsState, AwsView, Bindings, ConfigMapName, Mode};
use crate::principal::{AccountId, Arn, Key, Partition};

/// What effective access is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// What the authenticator makes of aws-auth.
    pub aws_auth: &'a Document,
    /// Whether EKS reads it.
    pub reading: Reading,
    /// EKS and IAM.
    pub aws: &'a AwsState,
    /// What RBAC binds.
    pub bindings: &'a Bindings,
}

/// Whether the `ConfigMap` that is looked at is one that EKS reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is `kube-system/aws-auth`, or replaces it in a trial.
    AsAwsAuth,
    /// It has another name, and nobody reads it.
    Never,
}

impl Reading {
    /// What EKS makes of a `ConfigMap` of this name.
    #[must_use]
    pub fn of(name: &ConfigMapName) -> Self {
        if *name == ConfigMapName::default() {
            Self::AsAwsAuth
        } else {
            Self::Never
        }
    }
}

/// Why aws-auth is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// In the mode `API` only access entries count.
    Mode,
    /// EKS reads `kube-system/aws-auth`, and this `ConfigMap` has another name.
    Name,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mode => "aws-auth is not read in API mode",
            Self::Name => "EKS reads only the ConfigMap kube-system/aws-auth",
        })
    }
}

/// What grants a principal access.
#[derive(Clone, Debug)]
pub enum Granted<'s, 'a> {
    /// This access entry, whatever aws-auth says.
    AccessEntry(&'s Standing<'a>),
    /// This entry of aws-auth.
    AwsAuth(&'a Entry),
    /// One of these entries of `mapUsers`, whose ARNs differ in case only: the authenticator picks one at random at each login.
    AnyOf(Vec<&'a Entry>),
    /// Its account in `mapAccounts`: the username is the caller's ARN, without groups.
    Account(&'a str),
    /// Nothing does.
    Nothing,
}

/// Why an entry of either backend has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEffect<'a> {
    /// It never matches a caller.
    NeverMatches(Unmatchable),
    /// Not a number of an account: 12 digits.
    NotAnAccount,
    /// The text that it is in is not read.
    Unread(Unread),
    /// The access entry of this ARN wins.
    AccessEntryWins(&'a str),
    /// This entry of `mapRoles` has the same ARN, and `mapRoles` is looked up before `mapUsers`.
    MapRolesWins(&'a Entry),
    /// This entry of the same list has the same ARN, and the last one wins.
    LaterWins(&'a Entry),
    /// The principal of the access entry was deleted, or deleted and made again.
    Dead(Life),
    /// The access entry is of neither a role nor a user.
    NotAPrincipal,
}

impl fmt::Display for NoEffect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMatches(why) => write!(f, "{why}"),
            Self::NotAnAccount => {
                f.write_str("an account has exactly 12 digits, so it never matches")
            }
            Self::Unread(why) => write!(f, "{why}"),
            Self::AccessEntryWins(arn) => write!(f, "the access entry of {arn} wins"),
            Self::MapRolesWins(wins) => write!(
                f,
                "{} line {} has the same ARN, and {} is read first",
                wins.section, wins.line, wins.section
            ),
            Self::LaterWins(wins) => write!(
                f,
                "{} line {} has the same ARN, and the last one wins",
                wins.section, wins.line
            ),
            Self::Dead(life) => write!(f, "{life}"),
            Self::NotAPrincipal => {
                f.write_str("EKS grants access by access entries to roles and users only")
            }
        }
    }
}

/// An entry without effect.
#[derive(Clone, Copy, Debug)]
pub enum Ineffective<'a> {
    /// An access entry, by its principal's ARN.
    AccessEntry(&'a str, &'a EntryState),
    /// An entry of aws-auth.
    AwsAuth(&'a Entry),
    /// An account of `mapAccounts`.
    Account(&'a str),
}

/// An entry that grants access, or an account.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'s, 'a> {
    /// An access entry.
    AccessEntry(&'s Standing<'a>),
    /// An entry of aws-auth.
    AwsAuth {
        /// The entry.
        entry: &'a Entry,
        /// Whether the authenticator picks between it and another at random.
        at_random: bool,
    },
    /// An account of `mapAccounts`.
    Account(&'a str),
}

/// Effective access. Made once, each answer is a look-up; a listing is one walk over all entries.
#[derive(Clone, Debug)]
pub struct EffectiveAccess<'a> {
    sources: Sources<'a>,
    index: Index<'a>,
    entries: StandingEntries<'a>,
    admin_policy: String,
}

impl<'a> EffectiveAccess<'a> {
    /// Effective access by these sources.
    #[must_use]
    pub fn new(sources: Sources<'a>) -> Self {
        let entries = counting(sources.aws).map(StandingEntries::new);
        Self::with_entries(sources, entries.unwrap_or_default())
    }

    /// The same, with the access entries as they were read of `sources` before.
    #[must_use]
    pub fn with_entries(sources: Sources<'a>, entries: StandingEntries<'a>) -> Self {
        let view = sources.aws.view();
        Self {
            index: Index::new(sources.aws_auth),
            admin_policy: view.map(AwsView::admin_policy).unwrap_or_default(),
            sources,
            entries,
        }
    }

    /// The authentication mode; `None` where it is not known, and aws-auth counts as read.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.sources.aws.mode()
    }

    /// The cluster's partition, where it is known: principals of others never have access.
    #[must_use]
    pub fn partition(&self) -> Option<Partition> {
        self.sources.aws.view()?.cluster.partition()
    }

    /// The access entries that count in the mode.
    #[must_use]
    pub const fn access_entries(&self) -> &StandingEntries<'a> {
        &self.entries
    }

    /// Whether access entries count in the mode.
    #[must_use]
    pub fn counts_access_entries(&self) -> bool {
        counting(self.sources.aws).is_some()
    }

    /// The entries of aws-auth by caller, whether it is read or not.
    #[must_use]
    pub const fn index(&self) -> &Index<'a> {
        &self.index
    }

    /// Why aws-auth is not read; `None` where it is.
    #[must_use]
    pub fn unread(&self) -> Option<Unread> {
        match (self.mode(), self.sources.reading) {
            (Some(Mode::Api), _) => Some(Unread::Mode),
            (_, Reading::Never) => Some(Unread::Name),
            (_, Reading::AsAwsAuth) => None,
        }
    }

    /// What grants access to a caller, by its canonical ARN, in which a session is its role and a role has no path.
    #[must_use]
    pub fn granted(&self, canonical_arn: &str) -> Granted<'_, 'a> {
        let key = Key::parse_arn(canonical_arn);
        let of_key = key.map(|key| self.entries.of_key(&key));
        self.granted_among(of_key.unwrap_or_default(), canonical_arn)
    }

    /// The same, with the access entries of the caller's key as the asker knows them: the first that is not known to be dead wins,
    /// else aws-auth where it is read.
    #[must_use]
    pub fn granted_among<'s>(
        &self,
        of_key: &'s [Standing<'a>],
        canonical_arn: &str,
    ) -> Granted<'s, 'a> {
        if let Some(wins) = in_force(of_key) {
            return Granted::AccessEntry(wins);
        }
        if self.unread().is_some() || self.is_elsewhere(canonical_arn) {
            return Granted::Nothing;
        }
        match self.index.lookup(canonical_arn) {
            Lookup::Role(entry) | Lookup::User(entry) => match self.never_matches(entry) {
                None => Granted::AwsAuth(entry),
                Some(_) => Granted::Nothing,
            },
            Lookup::AmbiguousUser(variants) => Granted::AnyOf(variants),
            Lookup::Account => self
                .index
                .account(canonical_arn)
                .map_or(Granted::Nothing, Granted::Account),
            Lookup::None => Granted::Nothing,
        }
    }

    /// Whether a caller is of another partition than the cluster.
    #[must_use]
    pub fn is_elsewhere(&self, arn: &str) -> bool {
        let partition = arn.split(':').nth(1).unwrap_or_default();
        self.partition()
            .is_some_and(|cluster| !partition.eq_ignore_ascii_case(cluster.as_str()))
    }

    /// Why an entry of aws-auth never matches a caller.
    #[must_use]
    pub fn never_matches(&self, entry: &Entry) -> Option<Unmatchable> {
        unmatchable(entry, self.partition())
    }

    /// Why an entry of aws-auth has no effect; `None` where it grants access, no matter to whom else it does.
    #[must_use]
    pub fn no_effect(&self, entry: &Entry) -> Option<NoEffect<'a>> {
        if let Some(why) = self.never_matches(entry) {
            return Some(NoEffect::NeverMatches(why));
        }
        if let Some(unread) = self.unread() {
            return Some(NoEffect::Unread(unread));
        }
        let key = entry.key();
        if let Some(wins) = key.and_then(|key| self.entries.in_force(&key)) {
            return Some(NoEffect::AccessEntryWins(wins.principal_arn));
        }
        match self.index.rank(entry) {
            Rank::Wins | Rank::AtRandom => None,
            Rank::Loses(wins) if wins.section == entry.section => Some(NoEffect::LaterWins(wins)),
            Rank::Loses(wins) => Some(NoEffect::MapRolesWins(wins)),
        }
    }

    /// Whether the authenticator picks between an entry and another one at random, at each login.
    #[must_use]
    pub fn is_at_random(&self, entry: &Entry) -> bool {
        self.no_effect(entry).is_none() && self.index.rank(entry) == Rank::AtRandom
    }

    /// Why an account of `mapAccounts` has no effect.
    #[must_use]
    pub fn no_effect_of_account(&self, account: &str) -> Option<NoEffect<'a>> {
        if account.parse::<AccountId>().is_err() {
            return Some(NoEffect::NotAnAccount);
        }
        self.unread().map(NoEffect::Unread)
    }

    /// Why an access entry has no effect.
    #[must_use]
    pub fn no_effect_of_access_entry(&self, standing: &Standing<'a>) -> Option<NoEffect<'a>> {
        no_effect_among(self.entries.of_key(&standing.key), standing)
    }

    /// Everything that grants access: access entries, then entries of aws-auth in document order, then accounts.
    pub fn grants(&self) -> impl Iterator<Item = Grant<'_, 'a>> {
        let access_entries = self.entries.all();
        let access_entries = access_entries
            .filter(|standing| self.no_effect_of_access_entry(standing).is_none())
            .map(Grant::AccessEntry);
        let entries = self.sources.aws_auth.entries();
        let entries = entries.filter(|entry| self.no_effect(entry).is_none());
        let entries = entries.map(|entry| Grant::AwsAuth {
            entry,
            at_random: self.is_at_random(entry),
        });
        let mut seen = HashSet::new();
        let accounts = self.accounts().filter(move |account| {
            self.no_effect_of_account(account).is_none() && seen.insert(*account)
        });
        let accounts = accounts.map(Grant::Account);
        access_entries.chain(entries).chain(accounts)
    }

    /// Everything that has no effect, and why, in the same order.
    pub fn without_effect(&self) -> impl Iterator<Item = (Ineffective<'a>, NoEffect<'a>)> {
        let access_entries = self.entries.all().filter_map(|standing| {
            let why = self.no_effect_of_access_entry(standing)?;
            let entry = Ineffective::AccessEntry(standing.principal_arn, standing.state);
            Some((entry, why))
        });
        let listed = counting(self.sources.aws).map(|view| &view.entries.by_principal);
        let others = listed.into_iter().flatten();
        let others = others
            .filter(|(arn, _)| Key::parse_arn(arn).is_none())
            .map(|(arn, state)| {
                (
                    Ineffective::AccessEntry(arn, state),
                    NoEffect::NotAPrincipal,
                )
            });
        let entries = self.sources.aws_auth.entries();
        let entries =
            entries.filter_map(|entry| Some((Ineffective::AwsAuth(entry), self.no_effect(entry)?)));
        let accounts = self.accounts().filter_map(|account| {
            let why = self.no_effect_of_account(account)?;
            Some((Ineffective::Account(account), why))
        });
        access_entries.chain(others).chain(entries).chain(accounts)
    }

    fn accounts(&self) -> impl Iterator<Item = &'a str> {
        let accounts = &self.sources.aws_auth.section(Section::Accounts).accounts;
        accounts.iter().map(String::as_str)
    }

    /// What certainly makes everyone with access by an effective entry an administrator.
    #[must_use]
    pub fn administrator(&self, entry: &EffectiveEntry) -> Option<Administrator> {
        entry.administrator(self.sources.bindings, &self.admin_policy)
    }

    /// What makes an administrator of everyone with access by an effective entry, at every login or at some.
    #[must_use]
    pub fn possible_administrator(&self, entry: &EffectiveEntry) -> Option<Administrator> {
        entry.possible_administrator(self.sources.bindings, &self.admin_policy)
    }

    /// Whether an effective entry is a node's.
    #[must_use]
    pub fn is_node(&self, entry: &EffectiveEntry) -> bool {
        entry.is_node(self.sources.bindings, &self.admin_policy)
    }

    /// The principal of an account whose username, its ARN, is bound to cluster-admin, where nothing else but `mapAccounts` grants it
    /// access.
    #[must_use]
    pub fn administrator_of_account(&self, account: &str) -> Option<Administrator> {
        let users = self.sources.bindings.admin_users.iter();
        let mut users = users.filter(|user| {
            let arn: Option<Arn> = user.parse().ok();
            arn.is_some_and(|arn| arn.account.as_str() == account)
                && matches!(self.granted(user), Granted::Account(_))
        });
        users
            .next()
            .map(|user| Administrator::Username(user.clone()))
    }
}

/// EKS, where access entries count.
fn counting(aws: &AwsState) -> Option<&AwsView> {
    aws.view().filter(|view| view.mode != Mode::ConfigMap)
}

/// Why one of the access entries of a key has no effect.
#[must_use]
pub fn no_effect_among<'a>(
    of_key: &[Standing<'a>],
    standing: &Standing<'a>,
) -> Option<NoEffect<'a>> {
    if standing.life.is_dead() {
        return Some(NoEffect::Dead(standing.life.clone()));
    }
    let wins = in_force(of_key)?;
    (wins.principal_arn != standing.principal_arn)
        .then_some(NoEffect::AccessEntryWins(wins.principal_arn))
}
