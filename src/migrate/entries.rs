//! The entries of aws-auth, as the authenticator reads them.

use std::collections::{BTreeMap, BTreeSet};

use super::migration::{EntryLine, NeverMatches};
use crate::aws_auth::{Document, Entry, Lookup, Rank, Section, SectionPlaces};
use crate::effective::{EffectiveAccess, NoEffect, Unmatchable};
use crate::principal::Principal;
use crate::yaml::Lines;

/// The entries of aws-auth, by what the authenticator makes of it.
pub(super) struct TextEntries<'a> {
    /// Each with those that it passes over for it. Entries that differ in case only are one.
    pub(super) winners: Vec<Winner<'a>>,
    pub(super) dead: Vec<NeverMatches>,
}

pub(super) struct Winner<'a> {
    pub(super) entries: Vec<&'a Entry>,
    pub(super) shadowed: Vec<EntryLine>,
}

impl<'a> Winner<'a> {
    pub(super) fn entry(&self) -> &'a Entry {
        self.entries[0]
    }
}

pub(super) fn place(entry: &Entry) -> EntryLine {
    EntryLine {
        section: entry.section,
        line: entry.line,
    }
}

/// The line of each account of `mapAccounts`, 1-based.
pub(super) fn account_lines(data: &BTreeMap<String, String>, places: &SectionPlaces) -> Vec<usize> {
    let text = data.get(Section::Accounts.key());
    let lines = Lines::new(text.map_or("", String::as_str));
    let spans = places.accounts.iter();
    spans.map(|span| lines.position(span.start).0).collect()
}

impl<'a> TextEntries<'a> {
    /// Access entries are not read here: a principal with one as well is still on the way.
    pub(super) fn of(document: &'a Document, effective: &EffectiveAccess<'a>) -> Self {
        let mut standing = Self {
            winners: Vec::new(),
            dead: Vec::new(),
        };
        let mut shadowed: BTreeMap<(Section, usize), Vec<EntryLine>> = BTreeMap::new();
        let mut at_random: BTreeSet<String> = BTreeSet::new();
        for entry in document.entries() {
            let never = effective.never_matches(entry).map(NoEffect::NeverMatches);
            let unread = effective.unread().map(NoEffect::Unread);
            if let Some(why) = never.or(unread) {
                standing.dead.push(NeverMatches {
                    place: place(entry),
                    what: what(entry),
                    why: why_dead(entry, &why),
                });
                continue;
            }
            let entries = match effective.index().rank(entry) {
                Rank::Loses(wins) => {
                    let by = (wins.section, wins.item);
                    shadowed.entry(by).or_default().push(place(entry));
                    continue;
                }
                Rank::AtRandom if !at_random.insert(entry.matched_arn()) => continue,
                Rank::AtRandom => match effective.index().lookup(&entry.arn) {
                    Lookup::AmbiguousUser(variants) => variants,
                    _ => vec![entry],
                },
                Rank::Wins => vec![entry],
            };
            standing.winners.push(Winner {
                entries,
                shadowed: Vec::new(),
            });
        }
        for winner in &mut standing.winners {
            let entries = winner.entries.iter();
            let by = entries.filter_map(|entry| shadowed.remove(&(entry.section, entry.item)));
            winner.shadowed = by.flatten().collect();
        }
        standing
    }
}

pub(super) fn what(entry: &Entry) -> String {
    if entry.sso {
        "(sso)".to_owned()
    } else {
        entry.arn.clone()
    }
}

/// Why an entry has no effect, with what to write where the entry itself tells.
fn why_dead(entry: &Entry, why: &NoEffect<'_>) -> String {
    let fix = match why {
        NoEffect::NeverMatches(Unmatchable::Sso) => {
            Some("write the role's ARN without its path".to_owned())
        }
        NoEffect::NeverMatches(Unmatchable::Path) => Principal::parse(&entry.arn)
            .ok()
            .map(|principal| format!("it would have to be {}", principal.aws_auth_arn())),
        NoEffect::NeverMatches(Unmatchable::Session | Unmatchable::NotAnIdentity) => {
            // The fault itself says what is wrong and what to write.
            return Principal::parse(&entry.arn)
                .err()
                .map_or_else(|| why.to_string(), |error| error.to_string());
        }
        _ => None,
    };
    match fix {
        Some(fix) => format!("{why}: {fix}"),
        None => why.to_string(),
    }
}
