//! Which entry takes effect for each ARN, and which entries it overrides.

use std::collections::{BTreeMap, HashMap};

use super::code::Code;
use super::finding::LintFinding;
use super::read::{ManagedOf, PlacedDocument};
use super::text::TextSpan;
use crate::aws_auth::{Entry, Section};
use crate::effective::is_nodes;
use crate::principal::Key;

/// Which entry wins for each ARN.
pub(super) struct Winners<'r> {
    read: &'r PlacedDocument<'r>,
    pub(super) by_arn: HashMap<String, Vec<&'r Entry>>,
    /// How many entries name a principal, dead ones included.
    by_key: HashMap<Key, usize>,
}

impl<'r> Winners<'r> {
    pub(super) fn new(read: &'r PlacedDocument<'r>) -> Self {
        let mut by_arn: HashMap<String, Vec<&Entry>> = HashMap::new();
        let mut by_key = HashMap::new();
        for entry in read.document.entries().filter(|entry| !entry.sso) {
            by_arn.entry(entry.matched_arn()).or_default().push(entry);
            if let Some(key) = Key::parse_arn(entry.arn.trim()) {
                *by_key.entry(key).or_default() += 1;
            }
        }
        Self {
            read,
            by_arn,
            by_key,
        }
    }

    /// Whether one entry alone names this principal, however it is spelt.
    pub(super) fn is_alone(&self, arn: &str) -> bool {
        Key::parse_arn(arn).is_some_and(|key| self.by_key.get(&key) == Some(&1))
    }

    /// Another entry for the same principal.
    pub(super) fn other(&self, entry: &Entry, arn: &str) -> Option<&'r Entry> {
        let key = Key::parse_arn(arn)?;
        if self.by_key.get(&key) == Some(&1) {
            return None;
        }
        let mut entries = self.read.document.entries();
        entries.find(|other| {
            let is_it = other.section == entry.section && other.item == entry.item;
            !is_it && Key::parse_arn(other.arn.trim()).as_ref() == Some(&key)
        })
    }

    /// Which of two entries is managed, where it is only one of them.
    pub(super) fn managed_of(&self, one: &Entry, other: &Entry) -> Option<ManagedOf> {
        self.read.managed_of(one, other)
    }

    pub(super) fn findings(&self, line: &dyn Fn(&Entry) -> String) -> Vec<LintFinding<TextSpan>> {
        let mut findings = Vec::new();
        for entries in self.by_arn.values().filter(|entries| entries.len() > 1) {
            findings.extend(self.of(entries, line));
        }
        findings
    }

    fn of(
        &self,
        entries: &[&'r Entry],
        line: &dyn Fn(&Entry) -> String,
    ) -> Vec<LintFinding<TextSpan>> {
        let Losers { losers, variants } = losers(entries);
        let variants = variants.into_iter().map(|entry| self.case_variant(entry));
        let losers = losers
            .into_iter()
            .map(|(loser, winner)| self.loser(loser, winner, &line(winner)));
        variants.chain(losers).collect()
    }

    fn at(&self, entry: &Entry) -> TextSpan {
        let section = Section::ALL
            .iter()
            .position(|section| *section == entry.section)
            .unwrap_or_default();
        let entries = &self.read.document.section(entry.section).entries;
        let number = entries.partition_point(|other| other.item < entry.item);
        let places = self.read.places[section].entries.get(number);
        let arn = places.and_then(|places| places.arn.clone());
        (entry.section, arn.unwrap_or_else(|| entry.span.clone()))
    }

    fn case_variant(&self, entry: &Entry) -> LintFinding<TextSpan> {
        LintFinding {
            code: Code::CaseVariant,
            at: self.at(entry),
            title: "ARN that differs from another entry's only in case".to_owned(),
            label: "the authenticator uses one of the two at random at each login".to_owned(),
            fix: "keep one of them, spelled as in IAM".to_owned(),
            edits: Vec::new(),
            proposed: Vec::new(),
        }
    }

    fn loser(&self, loser: &Entry, winner: &Entry, place: &str) -> LintFinding<TextSpan> {
        let same = loser.meaning() == winner.meaning();
        let (code, title, fix) = if same {
            (
                Code::RepeatedEntry,
                "duplicate entry".to_owned(),
                format!("remove this one: {place} is identical"),
            )
        } else {
            let fix = match self.managed_of(loser, winner) {
                Some(ManagedOf::First) => {
                    format!("remove the entry in {place}: this one is managed by a mapping")
                }
                Some(ManagedOf::Second) => {
                    format!("remove this one: {place} is managed by a mapping")
                }
                None => format!("keep one entry with the intended groups: this one, or {place}"),
            };
            (Code::ShadowedEntry, "overridden entry".to_owned(), fix)
        };
        let is_node =
            |entry: &Entry| is_nodes(&entry.username, entry.groups.iter().map(String::as_str));
        let nodes = if is_node(loser) && !is_node(winner) {
            "; nodes with this role can't join"
        } else {
            ""
        };
        LintFinding {
            code,
            at: self.at(loser),
            title,
            label: format!(
                "{place} wins, with username {:?} and groups {:?}{nodes}",
                winner.username, winner.groups
            ),
            fix,
            edits: Vec::new(),
            proposed: Vec::new(),
        }
    }
}

/// What becomes of several entries with one ARN.
pub(super) struct Losers<'e> {
    /// Those that take no effect, each with the one that does.
    pub(super) losers: Vec<(&'e Entry, &'e Entry)>,
    /// Those of `mapUsers` of which any may win.
    variants: Vec<&'e Entry>,
}

/// The last of `mapRoles` wins, else the last of `mapUsers`, which tells ARNs apart by case.
pub(super) fn losers<'e>(entries: &[&'e Entry]) -> Losers<'e> {
    let of = |section| {
        entries
            .iter()
            .copied()
            .filter(move |entry| entry.section == section)
    };
    let last_role = of(Section::Roles).next_back();
    let mut last_users: BTreeMap<&str, &Entry> = BTreeMap::new();
    for user in of(Section::Users) {
        last_users.insert(&user.arn, user);
    }
    let winner = |entry: &Entry| last_role.or_else(|| last_users.get(entry.arn.as_str()).copied());
    let pairs = entries
        .iter()
        .filter_map(|entry| Some((*entry, winner(entry)?)));
    let random = last_role.is_none() && last_users.len() > 1;
    Losers {
        losers: pairs
            .filter(|(entry, winner)| !std::ptr::eq(*entry, *winner))
            .collect(),
        variants: if random {
            last_users.into_values().collect()
        } else {
            Vec::new()
        },
    }
}
