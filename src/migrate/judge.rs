//! A verdict for everyone whom aws-auth lets in or a mapping names.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::ahead::Ahead;
use super::difference::{Becomes, differences};
use super::taken::taken;
use super::{Dead, Identity, Migration, Other, Outcome, Place, Unreadable, Verdict, Who, Why};
use crate::access_entry::{NodeTwin, node_twin};
use crate::api::condition::Reason;
use crate::api::v1alpha1::BackendChoice;
use crate::aws_auth::{Document, Entry, Index, Lookup, Meaning, ProblemKind, Section};
use crate::plan::{
    AwsState, AwsView, Desired, IamProblem, InIam, Mapping, Mode, Next, Observed, Plan, Prospect,
    Settings, Standing, Unmatchable, is_nodes, unmatchable,
};
use crate::principal::{AccountId, Key, Principal, PrincipalKind};

/// Why nothing can be said of a migration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForMigration {
    /// No cluster of EKS is named, whose partition and account say what an access entry may be.
    #[error("the cluster of EKS is not known")]
    NoCluster,
    /// It is another cluster than the one whose API server was read, or its mode can't be read.
    #[error("the cluster's authentication mode is not known")]
    NoMode,
}

/// What becomes of everyone. `observed` must hold every access entry, described, and of IAM as much as can be read.
pub fn verdicts(
    desired: &Desired,
    observed: &Observed,
    settings: &Settings,
) -> Result<Migration, NotForMigration> {
    let view = match &observed.aws {
        AwsState::Known(view) => view,
        AwsState::Off => return Err(NotForMigration::NoCluster),
        AwsState::Unproven { .. } | AwsState::Unknown { .. } => {
            return Err(NotForMigration::NoMode);
        }
    };
    let data = observed.config_map.as_ref().map(|view| &view.data);
    let document = Document::parse(data.unwrap_or(&BTreeMap::new()));
    let standing = Entries::of(&document, view.mode);
    let ahead = |desired: &Desired, mode| Ahead::new(desired, observed, view, settings, mode);
    let to = match view.mode {
        Mode::ConfigMap | Mode::ApiAndConfigMap => Mode::ApiAndConfigMap,
        Mode::Api => Mode::Api,
    };
    let declared = declared_keys(&ahead(desired, to).plan());
    let mut all = desired.clone();
    all.mappings.extend(standing.undeclared(&declared));
    let (handover, afterwards) = (ahead(&all, to), ahead(&all, Mode::Api));
    let (handover, afterwards) = (handover.plan(), afterwards.plan());
    let judge = Judge {
        view,
        now: observed.now,
        declared: &declared,
        by_key: handover
            .prospects()
            .map(|it| (it.key.clone(), it))
            .collect(),
        in_api: afterwards
            .prospects()
            .map(|it| (it.key.clone(), it))
            .collect(),
        plan: &handover,
    };
    Ok(judge.migration(&document, standing))
}

fn declared_keys(plan: &Plan<'_>) -> BTreeSet<Key> {
    plan.prospects()
        .filter(|prospect| prospect.mapping.is_some() || !prospect.others.is_empty())
        .map(|prospect| prospect.key.clone())
        .collect()
}

/// What stands in aws-auth, by what the authenticator makes of it.
struct Entries<'a> {
    /// Each with those that it passes over for it. Entries that differ in case only are one.
    winners: Vec<Winner<'a>>,
    dead: Vec<Dead>,
}

struct Winner<'a> {
    entries: Vec<&'a Entry>,
    shadowed: Vec<Place>,
}

impl<'a> Winner<'a> {
    fn entry(&self) -> &'a Entry {
        self.entries[0]
    }
}

fn place(entry: &Entry) -> Place {
    Place {
        section: entry.section,
        line: entry.line,
    }
}

impl<'a> Entries<'a> {
    fn of(document: &'a Document, mode: Mode) -> Self {
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
                    let first = variants.iter().map(|variant| variant.item).min();
                    let counts = variants.iter().any(|variant| std::ptr::eq(*variant, entry));
                    if counts && first == Some(entry.item) {
                        let mut entries = variants;
                        entries.sort_by_key(|variant| variant.item);
                        standing.winners.push(Winner {
                            entries,
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

    /// What no mapping declares, taken as if it were imported.
    fn undeclared(&self, declared: &BTreeSet<Key>) -> Vec<Mapping> {
        let winners = self.winners.iter().map(Winner::entry);
        winners
            .filter(|entry| entry.key().is_some_and(|key| !declared.contains(&key)))
            .map(|entry| {
                let name = format!("{}-{}", entry.section.key(), entry.line);
                Mapping::from_object(&taken(entry, &name))
            })
            .collect()
    }
}

fn what(entry: &Entry) -> String {
    if entry.sso {
        "(sso)".to_owned()
    } else {
        entry.arn.clone()
    }
}

/// Why nobody is let in by an entry.
fn why_dead(entry: &Entry) -> String {
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

struct Judge<'a> {
    view: &'a AwsView,
    now: Timestamp,
    declared: &'a BTreeSet<Key>,
    plan: &'a Plan<'a>,
    by_key: BTreeMap<Key, Prospect<'a>>,
    in_api: BTreeMap<Key, Prospect<'a>>,
}

impl Judge<'_> {
    fn migration(&self, document: &Document, standing: Entries<'_>) -> Migration {
        let mut dead = standing.dead;
        let mut verdicts = Vec::new();
        let mut seen: BTreeMap<Key, String> = BTreeMap::new();
        for winner in &standing.winners {
            let entry = winner.entry();
            let Some(key) = entry.key() else {
                verdicts.push(self.without_key(winner));
                continue;
            };
            if let Some(arn) = self.under_another_path(entry) {
                dead.push(Dead {
                    place: place(entry),
                    what: what(entry),
                    why: format!("IAM has {arn} under this name"),
                });
                continue;
            }
            let other = seen.insert(key.clone(), entry.arn.clone());
            verdicts.push(self.of_winner(winner, &key, other));
        }
        for (key, prospect) in &self.by_key {
            if prospect.mapping.is_some() && !seen.contains_key(key) {
                verdicts.push(self.of_mapping(key, prospect));
            }
        }
        self.accounts(document, &mut verdicts, &mut dead);
        let problems = Section::ALL
            .into_iter()
            .flat_map(|section| &document.section(section).problems);
        let mut unreadable = Vec::new();
        for problem in problems {
            let place = Place {
                section: problem.section,
                line: problem.line,
            };
            match problem.kind {
                ProblemKind::SectionDropped => unreadable.push(Unreadable {
                    place,
                    message: problem.message.clone(),
                }),
                ProblemKind::EntryDropped => dead.push(Dead {
                    place,
                    what: problem.offending.clone(),
                    why: problem.message.clone(),
                }),
                ProblemKind::FieldEmptied => {}
            }
        }
        verdicts.sort_by_key(|verdict| (verdict.outcome, verdict.who.to_string()));
        dead.sort_by_key(|dead| dead.place);
        Migration {
            cluster: self.view.cluster.clone(),
            from: self.view.mode,
            verdicts,
            dead,
            unreadable,
            others: self.others(&seen),
            unread: self.unread(),
        }
    }

    /// A user of this name has another path, so that the entry lets nobody in.
    fn under_another_path(&self, entry: &Entry) -> Option<String> {
        let principal = Principal::parse(&entry.arn).ok()?;
        match self.plan.in_iam(&principal) {
            InIam::Found(arn)
                if principal.kind == PrincipalKind::User
                    && !arn.eq_ignore_ascii_case(&entry.arn) =>
            {
                Some(arn.to_owned())
            }
            InIam::Found(_) | InIam::Absent | InIam::Unread(_) => None,
        }
    }

    /// Whether aws-auth alone lets in whom it names.
    fn lost(&self, standing: Option<&Standing<'_>>) -> bool {
        let covered = self.view.mode != Mode::ConfigMap
            && standing.is_some_and(|standing| !standing.life.is_dead());
        self.view.mode != Mode::Api && !covered
    }

    fn without_key(&self, winner: &Winner<'_>) -> Verdict {
        let entry = winner.entry();
        let why = match Principal::parse(&entry.arn) {
            Err(error) => format!("an access entry takes roles and users only: {error}"),
            Ok(_) => "its partition is not known here".to_owned(),
        };
        Verdict {
            outcome: Outcome::Stays,
            why: Some(Why::lasting(why)),
            lost_in_api: self.lost(None),
            ..Verdict::of(Who::Other(entry.arn.clone()), winner)
        }
    }

    fn of_winner(&self, winner: &Winner<'_>, key: &Key, other: Option<String>) -> Verdict {
        let entry = winner.entry();
        let principal = Principal::parse(&entry.arn).ok();
        let prospect = self.by_key.get(key);
        let arn = prospect
            .and_then(|prospect| Some(prospect.target?.principal_arn.clone()))
            .unwrap_or_else(|| entry.arn.clone());
        let standing = self.plan.standing_entry(key);
        let mut verdict = Verdict::of(
            Who::Principal {
                key: key.clone(),
                arn,
            },
            winner,
        );
        verdict.lost_in_api = self.lost(standing);
        let absent = principal
            .as_ref()
            .is_some_and(|principal| self.plan.in_iam(principal) == InIam::Absent);
        if absent {
            verdict.outcome = Outcome::Gone;
            verdict.lost_in_api = false;
            verdict.why = Some(Why::lasting(
                "IAM has no such principal, so nobody gets in by it now; while it stands in aws-auth, whoever makes one of this name does: \
                 take it out, or make the principal again before the handover",
            ));
            return verdict;
        }
        if let Some(other) = other {
            verdict.why = Some(Why::lasting(format!(
                "{other} stands there too, and IAM has one of this name only: take out the one that does not exist"
            )));
            return verdict;
        }
        if let Some(question) = self.which_nodes(entry, key) {
            self.standing_or(&mut verdict, standing, Some(question));
            return verdict;
        }
        match prospect {
            Some(prospect) => self.by_prospect(&mut verdict, prospect),
            None => verdict.why = Some(Why::lasting("the planner says nothing of it")),
        }
        verdict
    }

    fn of_mapping(&self, key: &Key, prospect: &Prospect<'_>) -> Verdict {
        let arn = prospect
            .target
            .map(|target| target.principal_arn.clone())
            .or_else(|| Some(prospect.mapping?.principal.as_ref()?.arn()))
            .unwrap_or_else(|| key.to_string());
        let who = Who::Principal {
            key: key.clone(),
            arn,
        };
        let mut verdict = Verdict::new(who);
        self.by_prospect(&mut verdict, prospect);
        verdict
    }

    fn by_prospect(&self, verdict: &mut Verdict, prospect: &Prospect<'_>) {
        let undeclared = !self.declared.contains(prospect.key);
        let mapping = prospect.mapping;
        verdict.mapping = mapping
            .filter(|_| !undeclared)
            .map(|mapping| mapping.name.clone());
        verdict.soaks_until = prospect.soaks_until;
        verdict.bridge = prospect.bridge;
        let Some(mapping) = mapping else {
            (verdict.outcome, verdict.why) = self.without_holder(prospect);
            return;
        };
        if let Some(target) = prospect.target {
            verdict.becomes = Some(Becomes::of_target(target));
        }
        let foreign = prospect
            .standing
            .filter(|standing| !prospect.ours && !standing.life.is_dead());
        let (outcome, why) = match prospect.obstacle {
            Some(obstacle) if obstacle.transient => (Outcome::Moves, Some(obstacle.into())),
            Some(obstacle) => match (obstacle.reason, foreign) {
                (Reason::NotOwned, Some(_)) if prospect.as_declared => (Outcome::Stands, None),
                (Reason::ForeignEntry, Some(_)) if undeclared => (Outcome::Differs, None),
                _ => (
                    Outcome::Blocked,
                    Some(self.with_hint(obstacle.into(), prospect)),
                ),
            },
            None => self.outcome(mapping, prospect),
        };
        verdict.outcome = outcome;
        verdict.why = why;
        match (outcome, foreign) {
            // A mapping that stands in the way of nothing needs no import.
            (Outcome::Moved, Some(_)) if undeclared => verdict.outcome = Outcome::Stands,
            _ => {}
        }
        if let (Outcome::Stands | Outcome::Differs, Some(standing)) = (verdict.outcome, foreign) {
            verdict.becomes = standing.known().map(Becomes::of_entry);
        }
        self.compare(verdict);
        self.look_at_path(verdict);
    }

    /// Mappings name the principal, and none of them holds it.
    fn without_holder(&self, prospect: &Prospect<'_>) -> (Outcome, Option<Why>) {
        let stays = |mapping: &&&Mapping| !mapping.deleting && !mapping.expired(self.now);
        let why = match prospect.others.iter().find(stays) {
            Some(Mapping {
                spec: Err(refusal), ..
            }) => Why {
                reason: Some(refusal.reason),
                message: refusal.message.clone(),
                transient: refusal.transient,
            },
            Some(mapping) if mapping.suspend => suspended(mapping),
            Some(mapping) => Why::lasting(format!(
                "mapping {} does not declare this principal any more",
                mapping.name
            )),
            None => {
                let others: Vec<&str> = prospect.others.iter().map(|it| it.name.as_str()).collect();
                let why = format!(
                    "mapping {} is being deleted or has expired, and the entry goes with it",
                    others.join(", ")
                );
                return (Outcome::Leaves, Some(Why::lasting(why)));
            }
        };
        (Outcome::Blocked, Some(why))
    }

    fn outcome(&self, mapping: &Mapping, prospect: &Prospect<'_>) -> (Outcome, Option<Why>) {
        let blocked = |why: String| (Outcome::Blocked, Some(Why::lasting(why)));
        if let Some(note) = prospect.stays {
            let why = self.with_hint(Why::lasting(note), prospect);
            return (Outcome::Stays, Some(why));
        }
        if mapping.suspend {
            return (Outcome::Blocked, Some(suspended(mapping)));
        }
        let in_text = mapping
            .spec
            .as_ref()
            .is_ok_and(|spec| spec.backend == BackendChoice::ConfigMap);
        if in_text {
            return blocked(format!(
                "mapping {} declares backend: ConfigMap; write backend: Auto",
                mapping.name
            ));
        }
        match prospect.next {
            Next::Made | Next::Changed | Next::Remade | Next::Described => (Outcome::Moves, None),
            Next::Kept => (Outcome::Moved, None),
            Next::Nothing | Next::Gone => blocked(format!(
                "mapping {} does not ask for an access entry of this principal",
                mapping.name
            )),
        }
    }

    /// What can be done in the mode `API`, where the planner knows more of it.
    fn with_hint(&self, why: Why, prospect: &Prospect<'_>) -> Why {
        let in_api = self.in_api.get(prospect.key);
        let refused = in_api.and_then(|it| it.obstacle);
        match refused {
            Some(refused) if refused.reason == Reason::NotExpressible => Why::from(refused),
            Some(_) | None => why,
        }
    }

    /// What an entry of nodes leaves open, where no mapping says it.
    fn which_nodes(&self, entry: &Entry, key: &Key) -> Option<String> {
        let Meaning {
            username, groups, ..
        } = &entry.meaning();
        let node = is_nodes(username, groups.iter().map(String::as_str));
        if self.declared.contains(key) || !node {
            return None;
        }
        match node_twin(username, groups) {
            NodeTwin::Type(_) => None,
            NodeTwin::Ambiguous => Some(format!(
                "nodes of several types sign in as {username:?}, and aws-auth does not tell which these are: declare the role with its type, \
                 HybridLinux, EC2 (EKS Auto Mode, and nodes that are named after their instance), HyperPodLinux or FargateLinux; for EC2Linux \
                 and EC2Windows the username has to be \"system:node:{{{{EC2PrivateDNSName}}}}\" and system:nodes among the groups, or \
                 their nodes would be thrown out"
            )),
            NodeTwin::MoreGroups(type_, more) => {
                let more: Vec<String> = more.into_iter().collect();
                Some(format!(
                    "an access entry of type {type_:?} can't have {}: bind what it gives to group system:nodes or take it out of the entry, \
                     if the nodes can do without",
                    more.join(", ")
                ))
            }
            NodeTwin::None => Some(format!(
                "EKS gives no node the username {username:?}, so no access entry lets these nodes in under their names: give new nodes a role \
                 of their own, and move the workloads there"
            )),
        }
    }

    /// Where an access entry stands already, nothing is open.
    fn standing_or(
        &self,
        verdict: &mut Verdict,
        standing: Option<&Standing<'_>>,
        question: Option<String>,
    ) {
        let alive = standing
            .filter(|standing| !standing.life.is_dead() && self.view.mode != Mode::ConfigMap);
        match alive {
            Some(standing) => {
                verdict.becomes = standing.known().map(Becomes::of_entry);
                self.compare(verdict);
                let same = !verdict
                    .differences
                    .iter()
                    .any(super::Difference::is_of_power);
                verdict.outcome = if same {
                    Outcome::Stands
                } else {
                    Outcome::Differs
                };
            }
            None => verdict.why = question.map(Why::lasting),
        }
    }

    fn compare(&self, verdict: &mut Verdict) {
        if let (Some(now), Some(then)) = (&verdict.now, &verdict.becomes) {
            verdict.differences = differences(now, then);
            let by_aws = self.view.mode == Mode::ConfigMap && then.is_node();
            if by_aws && verdict.outcome == Outcome::Moves {
                verdict.notes.push(
                    "EKS makes this entry itself when the mode changes, where the role is a managed node group's or a Fargate profile's"
                        .to_owned(),
                );
            }
        }
    }

    /// An access entry needs the path that aws-auth leaves out.
    fn look_at_path(&self, verdict: &mut Verdict) {
        let Some(becomes) = &verdict.becomes else {
            return;
        };
        let Ok(principal) = Principal::parse(&becomes.principal_arn) else {
            return;
        };
        let open = verdict.outcome == Outcome::Moves
            && principal.kind == PrincipalKind::Role
            && principal.path == "/";
        if !open {
            return;
        }
        let problem = match self.plan.in_iam(&principal) {
            InIam::Unread(problem) => problem,
            InIam::Found(arn) if arn != becomes.principal_arn => {
                verdict.outcome = Outcome::Blocked;
                verdict.why = Some(Why::lasting(format!(
                    "IAM has it as {arn}, and in an access entry case counts: declare it so"
                )));
                return;
            }
            InIam::Found(_) | InIam::Absent => return,
        };
        let why = problem.map_or_else(String::new, |problem| format!(": {}", unread(problem)));
        if principal.sso().is_some() {
            verdict.outcome = Outcome::Blocked;
            verdict.why = Some(Why::lasting(format!(
                "a role of IAM Identity Center has a path, which aws-auth leaves out and an access entry needs, and IAM was not read{why}; \
                 declare it by its permission set or by its full ARN, or let IAM be read"
            )));
        } else if let Some(account) = self.foreign_account(&principal) {
            verdict.notes.push(format!(
                "its ARN is used as written, for the IAM of account {account} was not read{why}; should the role have a path, EKS says 'invalid \
                 principal'"
            ));
        }
    }

    fn foreign_account(&self, principal: &Principal) -> Option<AccountId> {
        let own = self.view.cluster.account();
        (own.as_ref() != Some(&principal.account)).then(|| principal.account.clone())
    }

    fn accounts(&self, document: &Document, verdicts: &mut Vec<Verdict>, dead: &mut Vec<Dead>) {
        let accounts = &document.section(Section::Accounts).accounts;
        let mut said = BTreeSet::new();
        for account in accounts
            .iter()
            .filter(|account| said.insert(account.as_str()))
        {
            let place = Place {
                section: Section::Accounts,
                line: 1,
            };
            let matches = account.parse::<AccountId>().is_ok();
            if !matches || self.view.mode == Mode::Api {
                dead.push(Dead {
                    place,
                    what: account.clone(),
                    why: if matches {
                        "in the authentication mode API aws-auth is not read".to_owned()
                    } else {
                        "no account has this number: twelve digits, in quotes".to_owned()
                    },
                });
                continue;
            }
            verdicts.push(Verdict {
                outcome: Outcome::Stays,
                places: vec![place],
                why: Some(Why::lasting(
                    "an access entry is one principal's, so a whole account can't have one: declare those who need to get in, then take \
                     the account out of mapAccounts",
                )),
                lost_in_api: self.lost(None),
                ..Verdict::new(Who::Account(account.clone()))
            });
        }
    }

    fn others(&self, seen: &BTreeMap<Key, String>) -> Vec<Other> {
        let entries = &self.view.entries.by_principal;
        let unnamed = entries.iter().filter(|(principal_arn, _)| {
            let key = Key::parse_arn(principal_arn);
            key.is_none_or(|key| !self.by_key.contains_key(&key) && !seen.contains_key(&key))
        });
        unnamed
            .map(|(principal_arn, state)| Other {
                principal_arn: principal_arn.clone(),
                gives: state.known().map(Becomes::of_entry),
            })
            .collect()
    }

    fn unread(&self) -> BTreeMap<AccountId, String> {
        let accounts = self.view.iam.accounts.iter();
        accounts
            .filter_map(|(account, read)| Some((account.clone(), unread(read.problem.as_ref()?))))
            .collect()
    }
}

fn suspended(mapping: &Mapping) -> Why {
    Why::lasting(format!(
        "mapping {} is suspended, so nothing of it is changed; write suspend: false",
        mapping.name
    ))
}

/// Why an account's IAM was not read.
fn unread(problem: &IamProblem) -> String {
    match problem {
        IamProblem::NoRole => "no role to assume there is given; give --iam-role".to_owned(),
        IamProblem::Denied { message, statement } => {
            format!("{message}; add to the caller's IAM policy: {statement}")
        }
        IamProblem::Unreachable(message) => format!("IAM did not answer: {message}"),
    }
}

impl Why {
    fn lasting(message: impl Into<String>) -> Self {
        Self {
            reason: None,
            message: message.into(),
            transient: false,
        }
    }
}

impl From<crate::plan::Obstacle<'_>> for Why {
    fn from(obstacle: crate::plan::Obstacle<'_>) -> Self {
        Self {
            reason: Some(obstacle.reason),
            message: obstacle.message.to_owned(),
            transient: obstacle.transient,
        }
    }
}

impl Verdict {
    fn new(who: Who) -> Self {
        Self {
            who,
            places: Vec::new(),
            shadowed: Vec::new(),
            now: None,
            mapping: None,
            outcome: Outcome::Blocked,
            becomes: None,
            differences: Vec::new(),
            why: None,
            lost_in_api: false,
            bridge: false,
            soaks_until: None,
            notes: Vec::new(),
        }
    }

    fn of(who: Who, winner: &Winner<'_>) -> Self {
        let meaning = winner.entry().meaning();
        Self {
            places: winner.entries.iter().copied().map(place).collect(),
            shadowed: winner.shadowed.clone(),
            now: Some(Identity {
                username: meaning.username,
                groups: meaning.groups.into_iter().collect(),
            }),
            ..Self::new(who)
        }
    }
}
