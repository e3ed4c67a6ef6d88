//! What stands in aws-auth, by what the authenticator makes of it.

use std::collections::BTreeMap;

use super::{Dead, Place};
use crate::aws_auth::{Document, Entry, Index, Lookup, Section};
use crate::effective::{Unmatchable, unmatchable};
use crate::observed::Mode;
use crate::principal::Principal;

/// What stands in aws-auth, by what the authenticator makes of it.
pub(super) struct Entries<'a> {
    /// Each with those that it passes over for it. Entries that differ in case only are one.
    pub(super) winners: Vec<Winner<'a>>,
    pub(super) dead: Vec<Dead>,
}

pub(super) struct Winner<'a> {
    pub(super) entries: Vec<&'a Entry>,
    pub(super) shadowed: Vec<Place>,
}

impl<'a> Winner<'a> {
    pub(super) fn entry(&self) -> &'a Entry {
        self.entries[0]
    }
}

pub(super) fn place(entry: &Entry) -> Place {
    Place {
        section: entry.section,
        line: entry.line,
    }
}

impl<'a> Entries<'a> {
    pub(super) fn of(document: &'a Document, mode: Mode) -> Self {
        let index = Index::new(document);
        let mut standing = Self {
            winners: Vec::new(),
            dead: Vec::new(),
        };
        let mut shadowed: BTreeMap<(Section, usize), Vec<Place>> = BTreeMap::new();
        for entry in document.entries() {
            if unmatchable(entry).is_some() || mode == Mode::Api {
                standing.dead.push(Dead {
                    place: place(entry),
                    what: what(entry),
                    why: why_dead(entry),
                });
                continue;
            }
            match index.lookup(&entry.arn) {
                Lookup::Role(wins) | Lookup::User(wins) if std::ptr::eq(wins, entry) => {
                    standing.winners.push(Winner {
                        entries: vec![entry],
                        shadowed: Vec::new(),
                    });
                }
                Lookup::Role(wins) | Lookup::User(wins) if unmatchable(wins).is_none() => shadowed
                    .entry((wins.section, wins.item))
                    .or_default()
                    .push(place(entry)),
                Lookup::Role(wins) | Lookup::User(wins) => standing.dead.push(Dead {
                    place: place(entry),
                    what: what(entry),
                    why: format!("{} wins over it, and lets nobody in", place(wins)),
                }),
                Lookup::AmbiguousUser(variants) => {
                    // Each variant leads here; the first in the text speaks for all.
                    let first = variants.first().map(|variant| variant.item);
                    let counts = variants.iter().any(|variant| std::ptr::eq(*variant, entry));
                    if counts && first == Some(entry.item) {
                        standing.winners.push(Winner {
                            entries: variants,
                            shadowed: Vec::new(),
                        });
                    } else if let (false, Some(first)) = (counts, first) {
                        shadowed
                            .entry((Section::Users, first))
                            .or_default()
                            .push(place(entry));
                    }
                }
                // An entry that can match is found by its own ARN.
                Lookup::Account | Lookup::None => {}
            }
        }
        for winner in &mut standing.winners {
            let entry = winner.entry();
            winner.shadowed = shadowed
                .remove(&(entry.section, entry.item))
                .unwrap_or_default();
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

/// Why nobody is let in by an entry.
pub(super) fn why_dead(entry: &Entry) -> String {
    match unmatchable(entry) {
        None => "in the authentication mode API aws-auth is not read".to_owned(),
        Some(Unmatchable::Sso) => {
            "on EKS entries with sso never match: write the role's ARN without its path".to_owned()
        }
        Some(Unmatchable::Path) => {
            let mend = Principal::parse(&entry.arn).map_or_else(
                |_| String::new(),
                |principal| format!(": it would have to be {}", principal.aws_auth_arn()),
            );
            format!("a role's ARN never matches with its path{mend}")
        }
        Some(Unmatchable::NoUsername) => {
            "it has no username, and the API server takes no login without one".to_owned()
        }
        Some(Unmatchable::Session | Unmatchable::NotAnIdentity) => Principal::parse(&entry.arn)
            .err()
            .map_or_else(String::new, |error| error.to_string()),
    }
}
