//! Entries of aws-auth: whom they name, which of several wins, and what they give.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::code::Code;
use super::finding::{Edit, LintFinding};
use super::names::{CallerKind, EntryNames, Name};
use super::partitions::other_partitions;
use super::read::PlacedDocument;
use super::text;
use super::text::TextSpan;
use crate::aws_auth::{Entry, Places, Section};
use crate::principal::{
    AccountId, Key, NotAPrincipal, Partition, Principal, PrincipalError, PrincipalKind, SsoRole,
};

impl PlacedDocument<'_> {
    /// Every finding that the text alone shows. `line` says where an entry is, `cluster` the cluster's partition, where that is
    /// known.
    pub(super) fn check(
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
            findings.extend(principal(entry, places, self.text(entry.section), &winners));
            findings.extend(names(entry, places).check());
            findings.extend(given(entry, places, &told));
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
                    "write the twelve digits in double quotes, including leading zeros".to_owned(),
                )
            };
            LintFinding {
                code,
                at: (Section::Accounts, span.clone()),
                title,
                label,
                fix,
                edits: Vec::new(),
            }
        };
        accounts.iter().zip(&places.accounts).map(found).collect()
    }
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
fn given(entry: &Entry, places: &Places, told: &Reported) -> Vec<LintFinding<TextSpan>> {
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
    if entry.username.is_empty() && !entry.groups.is_empty() && !is_told(&places.username) {
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
            });
        }
    }
    findings
}

/// Whether the ARN can match anyone, and what is wrong with it.
fn principal(
    entry: &Entry,
    places: &Places,
    text: &str,
    winners: &Winners<'_>,
) -> Vec<LintFinding<TextSpan>> {
    let field = if entry.section == Section::Users {
        "userarn"
    } else {
        "rolearn"
    };
    let span = places.arn.clone().unwrap_or_else(|| entry.span.clone());
    let one = |code, title: String, fix: String, edits: Vec<Edit>| {
        vec![LintFinding {
            code,
            at: (entry.section, span.clone()),
            title,
            label: "never matches: the principal has no access".to_owned(),
            fix,
            edits,
        }]
    };
    if entry.sso {
        let title = "`sso` instead of `rolearn`".to_owned();
        let fix = "write the role that IAM Identity Center created for the permission set in this account, without path: \
            rolearn: arn:aws:iam::ACCOUNT:role/AWSReservedSSO_NAME_SUFFIX; or declare the permission set in an IdentityMapping";
        let mut found = one(Code::SsoEntry, title, fix.to_owned(), Vec::new());
        found[0].at.1 = entry.span.clone();
        return found;
    }
    let arn = entry.arn.as_str();
    let written = places
        .arn
        .as_ref()
        .and_then(|span| text.get(span.clone()))
        .unwrap_or_default();
    // Only where the ARN stands there as it is, in whichever quotes, is it safe to put another in its place.
    let edit = |to: &str| -> Vec<Edit> {
        let simple = to
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        let edit = |text: String| {
            vec![Edit {
                span: span.clone(),
                text,
            }]
        };
        let quoted = |quote: char| format!("{quote}{arn}{quote}") == written;
        match (simple && winners.is_alone(to), written) {
            (true, written) if written == arn => edit(to.to_owned()),
            (true, _) if quoted('"') => edit(format!("\"{to}\"")),
            (true, _) if quoted('\'') => edit(format!("'{to}'")),
            _ => Vec::new(),
        }
    };
    if arn.trim() != arn {
        let to = arn.trim();
        let title = format!("whitespace around the ARN in `{field}`");
        return one(Code::BlankInArn, title, format!("write {to}"), edit(to));
    }
    if arn.contains(char::is_whitespace) {
        let to: String = arn.split_whitespace().collect();
        let title = format!("whitespace in the ARN in `{field}`");
        return one(Code::BlankInArn, title, format!("write {to}"), Vec::new());
    }
    if arn.contains(['*', '?']) {
        let title = format!("wildcard in `{field}`");
        let fix = "write one entry for each intended role or user".to_owned();
        return one(Code::Wildcard, title, fix, Vec::new());
    }
    match Principal::parse(&canonical_case(arn)) {
        Ok(principal) => of_principal(entry, &principal, field, span.clone(), &one, edit),
        Err(PrincipalError::NotAPrincipal(NotAPrincipal::Root { .. })) => {
            let mut found = one(
                Code::RootUser,
                format!("root user of the account in `{field}`"),
                "list the intended roles and users, one entry each".to_owned(),
                Vec::new(),
            );
            "only the root user has access".clone_into(&mut found[0].label);
            found
        }
        Err(PrincipalError::NotAPrincipal(NotAPrincipal::Session { role_arn, .. })) => one(
            Code::SessionArn,
            format!("session of a role in `{field}`"),
            format!("write {role_arn}: it then grants access to every session of the role"),
            Vec::new(),
        ),
        // The authenticator takes them as they are.
        Err(PrincipalError::NotAPrincipal(NotAPrincipal::FederatedUser { .. })) => Vec::new(),
        Err(PrincipalError::Arn(error)) => one(
            Code::NotAPrincipal,
            format!("invalid principal in `{field}`: {error}"),
            "write the ARN of a role or user, as `aws iam get-role` or `aws iam get-user` prints it, a role's without its path".to_owned(),
            Vec::new(),
        ),
    }
}

fn of_principal(
    entry: &Entry,
    principal: &Principal,
    field: &str,
    span: Range<usize>,
    one: &impl Fn(Code, String, String, Vec<Edit>) -> Vec<LintFinding<TextSpan>>,
    edit: impl Fn(&str) -> Vec<Edit>,
) -> Vec<LintFinding<TextSpan>> {
    let mut findings = Vec::new();
    if principal.kind == PrincipalKind::Role && principal.path != "/" {
        let to = principal.aws_auth_arn();
        let title = format!("role path in `{field}`");
        findings.extend(one(Code::RolePath, title, format!("write {to}"), edit(&to)));
    }
    let (own, kind) = match principal.kind {
        PrincipalKind::Role => (Section::Roles, "a role"),
        PrincipalKind::User => (Section::Users, "a user"),
    };
    if own != entry.section {
        let name = if own == Section::Roles {
            "rolearn"
        } else {
            "userarn"
        };
        findings.push(LintFinding {
            code: Code::WrongList,
            at: (entry.section, span),
            title: format!("{kind} under {}", entry.section),
            label: "the authenticator finds it here too".to_owned(),
            fix: format!("move the entry to {own}, with `{name}` in place of `{field}`"),
            edits: Vec::new(),
        });
    }
    findings
}

/// An ARN with everything but its names in lower case, for the authenticator compares without regard to case.
fn canonical_case(arn: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts.as_slice() else {
        return arn.to_owned();
    };
    let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
    let head = [prefix, partition, service, region, account].map(|part| part.to_ascii_lowercase());
    let slash = if rest.is_empty() { "" } else { "/" };
    format!(
        "{}:{}{slash}{rest}",
        head.join(":"),
        kind.to_ascii_lowercase()
    )
}

/// Which entry wins for each ARN.
struct Winners<'r> {
    read: &'r PlacedDocument<'r>,
    by_arn: HashMap<String, Vec<&'r Entry>>,
    /// How many entries name a principal, dead ones included.
    by_key: HashMap<Key, usize>,
}

impl<'r> Winners<'r> {
    fn new(read: &'r PlacedDocument<'r>) -> Self {
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
    fn is_alone(&self, arn: &str) -> bool {
        Key::parse_arn(arn).is_some_and(|key| self.by_key.get(&key) == Some(&1))
    }

    fn findings(&self, line: &dyn Fn(&Entry) -> String) -> Vec<LintFinding<TextSpan>> {
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
            (
                Code::ShadowedEntry,
                "overridden entry".to_owned(),
                format!("keep one entry with the intended groups: this one, or {place}"),
            )
        };
        LintFinding {
            code,
            at: self.at(loser),
            title,
            label: format!(
                "{place} wins, with username {:?} and groups {:?}",
                winner.username, winner.groups
            ),
            fix,
            edits: Vec::new(),
        }
    }
}

/// What becomes of several entries with one ARN.
struct Losers<'e> {
    /// Those that take no effect, each with the one that does.
    losers: Vec<(&'e Entry, &'e Entry)>,
    /// Those of `mapUsers` of which any may win.
    variants: Vec<&'e Entry>,
}

/// The last of `mapRoles` wins, else the last of `mapUsers`, which tells ARNs apart by case.
fn losers<'e>(entries: &[&'e Entry]) -> Losers<'e> {
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

/// Keys of `data` that look like those that are read.
pub(super) fn unread_keys<'d>(keys: impl Iterator<Item = &'d str>) -> Vec<(&'d str, Section)> {
    let known = |key: &str| Section::ALL.iter().any(|section| section.key() == key);
    let meant = |key: &str| {
        Section::ALL
            .into_iter()
            .find(|section| text::almost(key, section.key()))
    };
    keys.filter(|key| !known(key))
        .filter_map(|key| Some((key, meant(key)?)))
        .collect()
}
