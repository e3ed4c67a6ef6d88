//! Checks entries of aws-auth: whom they name, which of several takes effect, and what they grant.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::code::{Code, Severity};
use super::finding::LintFinding;
use super::names::{CallerKind, EntryNames, Name};
use super::partitions::other_partitions;
use super::principal::principal;
use super::read::{PlacedDocument, RepairedData};
use super::text;
use super::text::TextSpan;
use super::winners::{Winners, losers};
use crate::aws_auth::{Entry, Places, Section};
use crate::principal::{AccountId, Partition, PrincipalKind, SsoRole};
use crate::yaml::Lines;

impl PlacedDocument<'_> {
    /// Every finding that the text alone shows. `line` says where an entry is, `cluster` the cluster's partition, where that is
    /// known.
    pub(super) fn check(
        &self,
        cluster: Option<Partition>,
        line: &dyn Fn(&Entry) -> String,
    ) -> Vec<LintFinding<TextSpan>> {
        let mut findings = Vec::new();
        for section in Section::ALL {
            findings.extend(text::structure(section, self.text(section), &self.document));
        }
        match self.repaired() {
            None => findings.extend(self.values(cluster, line)),
            Some(repaired) => {
                let mut values = self.repaired_values(&repaired, cluster, line);
                let place = |it: &LintFinding<TextSpan>| (it.code, it.at.clone());
                let known: HashSet<(Code, TextSpan)> = findings.iter().map(place).collect();
                values.retain(|value| !known.contains(&place(value)));
                findings.extend(values);
            }
        }
        // What is to be rendered first is not rewritten.
        let is_template = |found: &LintFinding<TextSpan>| {
            matches!(found.code, Code::NotRendered | Code::NotFilledIn)
        };
        if findings.iter().any(is_template) {
            for finding in &mut findings {
                finding.edits.clear();
            }
        }
        findings
    }

    /// What is wrong with values, as they are once the structure is repaired, at the places from which they come.
    fn repaired_values(
        &self,
        repaired: &RepairedData,
        cluster: Option<Partition>,
        line: &dyn Fn(&Entry) -> String,
    ) -> Vec<LintFinding<TextSpan>> {
        let lines: BTreeMap<Section, Lines<'_>> = Section::ALL
            .into_iter()
            .map(|section| (section, Lines::new(self.text(section))))
            .collect();
        let original = |section: Section, span: &Range<usize>| {
            repaired.original(section, span, self.text(section), &lines[&section])
        };
        let read = PlacedDocument::new(&repaired.data).with_managed(self.managed.clone());
        let line = |entry: &Entry| {
            let span = original(entry.section, &entry.span);
            line(&Entry {
                line: lines[&entry.section].position(span.start).0,
                span,
                ..entry.clone()
            })
        };
        let mut findings = read.values(cluster, &line);
        for finding in &mut findings {
            let (section, span) = &finding.at;
            if repaired.is_repaired(*section) {
                if finding.label.starts_with("the authenticator ") {
                    finding.label = format!("once the errors above are fixed, {}", finding.label);
                }
                finding.at = (*section, original(*section, span));
                finding.edits.clear();
                finding.proposed.clear();
            }
        }
        findings
    }

    /// Findings about values.
    fn values(
        &self,
        cluster: Option<Partition>,
        line: &dyn Fn(&Entry) -> String,
    ) -> Vec<LintFinding<TextSpan>> {
        let mut findings = Vec::new();
        for (section, places) in Section::ALL.into_iter().zip(&self.places) {
            findings.extend(text::lost(
                section,
                self.text(section),
                &self.document,
                places,
            ));
        }
        let told: Reported = findings
            .iter()
            .map(|found| (found.at.0, found.at.1.start))
            .collect();
        let winners = Winners::new(self);
        for (entry, places) in self.entries() {
            let text = self.text(entry.section);
            let principal = principal(entry, places, text, &winners, line);
            let never_matches = principal
                .iter()
                .any(|found| found.code.severity() == Severity::Error);
            findings.extend(principal);
            findings.extend(names(entry, places).check());
            if !never_matches {
                findings.extend(given(entry, places, text, &told));
            }
        }
        findings.extend(winners.findings(line));
        findings.extend(other_partitions(self, cluster));
        findings.extend(self.accounts());
        findings
    }

    /// Entries whose values the authenticator empties: they have other access than is written.
    pub(super) fn wrong(&self) -> impl Iterator<Item = &Entry> {
        let sections = [Section::Roles, Section::Users].into_iter();
        let problems = sections.flat_map(|section| &self.document.section(section).problems);
        problems.filter_map(|problem| self.entry_at(problem.section, problem.span.start))
    }

    /// Entries that another one repeats, each with the one that wins.
    pub(super) fn repeated(&self) -> Vec<(&Entry, &Entry)> {
        let winners = Winners::new(self);
        let mut repeated = Vec::new();
        for entries in winners.by_arn.values() {
            let losers = losers(entries).losers;
            repeated.extend(
                losers
                    .into_iter()
                    .filter(|(loser, winner)| loser.meaning() == winner.meaning()),
            );
        }
        repeated
    }

    fn accounts(&self) -> Vec<LintFinding<TextSpan>> {
        let [_, _, places] = &self.places;
        let accounts = &self.document.section(Section::Accounts).accounts;
        let found = |(account, span): (&String, &Range<usize>)| {
            let is_account = account.parse::<AccountId>().is_ok();
            let (code, title, label, fix) = if is_account {
                (
                    Code::WholeAccount,
                    format!("access for every role and user of account {account}"),
                    "each signs in under its own ARN, without groups".to_owned(),
                    "list the intended roles and users under mapRoles and mapUsers".to_owned(),
                )
            } else {
                (
                    Code::BadAccount,
                    format!("invalid account ID {account:?}"),
                    "never matches".to_owned(),
                    match account_within(account) {
                        Some(digits) => format!("write \"{digits}\""),
                        None => "write the twelve digits in double quotes, including leading zeros"
                            .to_owned(),
                    },
                )
            };
            LintFinding {
                code,
                at: (Section::Accounts, span.clone()),
                title,
                label,
                fix,
                edits: Vec::new(),
                proposed: Vec::new(),
            }
        };
        accounts.iter().zip(&places.accounts).map(found).collect()
    }
}

/// The one account that an item names, where it is an ARN or has separators.
fn account_within(item: &str) -> Option<String> {
    let of_arn = item.starts_with("arn:").then(|| item.split(':').nth(4))?;
    of_arn
        .filter(|it| it.parse::<AccountId>().is_ok())
        .map(str::to_owned)
}

/// Where something was found already.
type Reported = HashSet<(Section, usize)>;

/// Who calls by an entry's ARN.
fn caller(entry: &Entry) -> CallerKind {
    let Some(key) = entry.key() else {
        return CallerKind::Unknown;
    };
    match key.kind() {
        PrincipalKind::User => CallerKind::User,
        PrincipalKind::Role => {
            let name = entry.arn.trim().rsplit('/').next().unwrap_or_default();
            if SsoRole::parse_name(name).is_some() {
                CallerKind::Sso
            } else {
                CallerKind::Role
            }
        }
    }
}

pub(super) fn names<'e>(entry: &'e Entry, places: &Places) -> EntryNames<'e, TextSpan> {
    let whole = (entry.section, entry.span.clone());
    let at = |span: &Range<usize>| (entry.section, span.clone());
    let username = places.username.as_ref().map_or_else(|| whole.clone(), at);
    let username = (!entry.username.is_empty()).then_some(Name {
        text: entry.username.as_str(),
        at: username,
    });
    let groups = entry.groups.iter().zip(&places.each_group);
    EntryNames {
        caller: caller(entry),
        username,
        groups: groups
            .map(|(text, span)| Name { text, at: at(span) })
            .collect(),
        at: places.groups.as_ref().map_or(whole, at),
    }
}

/// Entries that give too little.
fn given(
    entry: &Entry,
    places: &Places,
    text: &str,
    told: &Reported,
) -> Vec<LintFinding<TextSpan>> {
    if entry.sso {
        return Vec::new();
    }
    let is_told = |span: &Option<Range<usize>>| {
        let span = span.clone().unwrap_or_default();
        told.contains(&(entry.section, span.start))
    };
    let at = |span: &Option<Range<usize>>| {
        (
            entry.section,
            span.clone().unwrap_or_else(|| entry.span.clone()),
        )
    };
    let mut findings = Vec::new();
    let is_misspelled = places.unknown.iter().any(|span| {
        let name = text.get(span.clone()).unwrap_or_default();
        text::meant_field(entry.section, name) == Some("username")
    });
    let is_nameless = entry.username.is_empty() && !entry.groups.is_empty();
    // The username of nodes is reported as such.
    let is_for_nodes = entry.groups.iter().any(|group| group == "system:nodes");
    if is_nameless && !is_misspelled && !is_for_nodes && !is_told(&places.username) {
        let template = match caller(entry) {
            CallerKind::User => entry
                .key()
                .map_or_else(String::new, |key| key.name().to_owned()),
            CallerKind::Role | CallerKind::Sso | CallerKind::Unknown => {
                let name = entry.arn.rsplit('/').next().unwrap_or_default();
                format!("{name}:{{{{SessionName}}}}")
            }
        };
        findings.push(LintFinding {
            code: Code::NoUsername,
            at: at(&places.username),
            title: "entry with groups but without a username".to_owned(),
            label: "the login has no name".to_owned(),
            fix: format!("add a username, such as username: \"{template}\""),
            edits: Vec::new(),
            proposed: Vec::new(),
        });
    }
    if entry.groups.is_empty() && !is_told(&places.groups) && places.unknown.is_empty() {
        findings.push(LintFinding {
            code: Code::NoGroups,
            at: at(&places.groups),
            title: "entry without groups".to_owned(),
            label: format!(
                "the authenticator sees username {:?} and no groups",
                entry.username
            ),
            fix: "add the intended groups, or make sure that a binding names the username"
                .to_owned(),
            edits: Vec::new(),
            proposed: Vec::new(),
        });
    }
    for (group, span) in entry.groups.iter().zip(&places.each_group) {
        if group.is_empty() && !is_told(&Some(span.clone())) {
            findings.push(LintFinding {
                code: Code::ValueEmptied,
                at: (entry.section, span.clone()),
                title: "empty group".to_owned(),
                label: "the authenticator sees the group \"\"".to_owned(),
                fix: "write the intended group in double quotes, or remove the item".to_owned(),
                edits: Vec::new(),
                proposed: Vec::new(),
            });
        }
    }
    findings
}

/// Keys of `data` that are not read, each with the one that is probably meant.
pub(super) fn unread_keys<'d>(
    keys: impl Iterator<Item = &'d str>,
) -> Vec<(&'d str, Option<Section>)> {
    let known = |key: &str| Section::ALL.iter().any(|section| section.key() == key);
    let meant = |key: &str| {
        Section::ALL
            .into_iter()
            .find(|section| crate::yaml::almost(key, section.key()))
    };
    keys.filter(|key| !known(key))
        .map(|key| (key, meant(key)))
        .collect()
}
