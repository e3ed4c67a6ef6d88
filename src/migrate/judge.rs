//! An outcome for each mapping and for each principal with access through aws-auth.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::{Becomes, EntryDifference, differences};
use super::entries::{TextEntries, Winner, account_lines, place, what};
use super::imports::Imports;
use super::migration::{
    EntryLine, Hindrance, Migration, MisreadLine, NeverMatches, PlannedOutcome, PrincipalPlan,
    UnmanagedEntry, UnreadableSection, Who,
};
use super::nodes::which_nodes;
use super::why::{ended, lets_nobody_in, suspended, undocumented, unread};
use crate::access_entry::{PolicyTable, broken_nodes};
use crate::api::condition::Reason;
use crate::api::v1alpha1::BackendChoice;
use crate::aws_auth::{Document, Entry, ProblemCause, ProblemKind, Section};
use crate::desired::{Desired, Mapping};
use crate::effective::{EffectiveAccess, Granted, Reading, Sources, Standing};
use crate::migrate::forecast::Ahead;
use crate::observed::{AwsState, AwsView, Bindings, Mode, Observed, Settings};
use crate::plan::{InIam, Next, Plan, Prospect};
use crate::principal::{AccountId, Key, Principal, PrincipalKind};
use crate::time::Timestamp;

/// Why nothing can be said of a migration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotForMigration {
    /// No cluster of EKS is named, whose partition and account say what an access entry may be.
    #[error("the EKS cluster is not known")]
    NoCluster,
    /// It is another cluster than the one whose API server was read, or its mode can't be read.
    #[error("the cluster's authentication mode is not known")]
    NoMode,
}

/// What becomes of everyone. `observed` must hold every access entry, described, and of IAM as much as can be read.
pub(crate) fn verdicts(
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
    let data = observed.config_map.as_ref().map(|view| view.data.clone());
    let data = data.unwrap_or_default();
    let (document, [_, _, accounts]) = Document::parse_placed(&data);
    let effective = EffectiveAccess::new(Sources {
        aws_auth: &document,
        reading: Reading::AsAwsAuth,
        aws: &observed.aws,
        bindings: &observed.bindings,
    });
    let standing = TextEntries::of(&document, &effective);
    let ahead = |desired: &Desired, mode| Ahead::new(desired, observed, view, settings, mode);
    let to = match view.mode {
        Mode::ConfigMap | Mode::ApiAndConfigMap => Mode::ApiAndConfigMap,
        Mode::Api => Mode::Api,
    };
    let declared = declared_keys(&ahead(desired, to).plan());
    let imports = Imports::of(desired, observed, settings);
    let mut all = desired.clone();
    all.mappings
        .extend(imports.undeclared(&standing, &declared));
    let (handover, afterwards) = (ahead(&all, to), ahead(&all, Mode::Api));
    let (handover, afterwards) = (handover.plan(), afterwards.plan());
    let judge = Judge {
        view,
        effective: &effective,
        bindings: &observed.bindings,
        now: observed.now,
        declared: &declared,
        imports: &imports,
        account_lines: account_lines(&data, &accounts),
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

struct Judge<'a> {
    view: &'a AwsView,
    effective: &'a EffectiveAccess<'a>,
    bindings: &'a Bindings,
    now: Timestamp,
    declared: &'a BTreeSet<Key>,
    imports: &'a Imports,
    account_lines: Vec<usize>,
    plan: &'a Plan<'a>,
    by_key: BTreeMap<Key, Prospect<'a>>,
    in_api: BTreeMap<Key, Prospect<'a>>,
}

impl Judge<'_> {
    fn migration(&self, document: &Document, standing: TextEntries<'_>) -> Migration {
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
                dead.push(NeverMatches {
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
        let mut misread = Vec::new();
        for problem in problems {
            let place = EntryLine {
                section: problem.section,
                line: problem.line,
            };
            match problem.kind {
                ProblemKind::SectionDropped => unreadable.push(UnreadableSection {
                    place,
                    message: problem.message.clone(),
                }),
                ProblemKind::EntryDropped => dead.push(NeverMatches {
                    place,
                    what: problem.offending.clone(),
                    why: problem.message.clone(),
                }),
                ProblemKind::FieldEmptied | ProblemKind::Misread => misread.push(MisreadLine {
                    place,
                    message: problem.message.clone(),
                    closes: matches!(problem.detail.cause, ProblemCause::Defect(_)),
                }),
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
            misread,
            others: self.others(&seen),
            unread: self.unread(),
        }
    }

    /// A user of this name has another path, so that the entry grants no access.
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

    /// Whether aws-auth alone grants access to a caller.
    fn lost(&self, canonical_arn: &str) -> bool {
        matches!(
            self.effective.granted(canonical_arn),
            Granted::AwsAuth(_) | Granted::AnyOf(_) | Granted::Account(_)
        )
    }

    fn without_key(&self, winner: &Winner<'_>) -> PrincipalPlan {
        let entry = winner.entry();
        let why = match Principal::parse(&entry.arn) {
            Err(error) => format!("an access entry is only for roles and users: {error}"),
            Ok(_) => "the cluster's partition is not known".to_owned(),
        };
        PrincipalPlan {
            outcome: PlannedOutcome::Stays,
            why: Some(Hindrance::lasting(why)),
            lost_in_api: self.lost(&entry.arn),
            ..PrincipalPlan::of(Who::Other(entry.arn.clone()), winner)
        }
    }

    fn of_winner(&self, winner: &Winner<'_>, key: &Key, other: Option<String>) -> PrincipalPlan {
        let entry = winner.entry();
        let principal = Principal::parse(&entry.arn).ok();
        let prospect = self.by_key.get(key);
        let arn = prospect
            .and_then(|prospect| Some(prospect.target?.principal_arn.clone()))
            .unwrap_or_else(|| entry.arn.clone());
        let standing = self.plan.standing_entry(key);
        let mut verdict = PrincipalPlan::of(
            Who::Principal {
                key: key.clone(),
                arn,
            },
            winner,
        );
        verdict.lost_in_api = self.lost(&entry.arn);
        let absent = principal
            .as_ref()
            .is_some_and(|principal| self.plan.in_iam(principal) == InIam::Absent);
        if absent {
            verdict.outcome = PlannedOutcome::Gone;
            verdict.lost_in_api = false;
            verdict.why = Some(Hindrance::lasting(
                "IAM has no such principal, so the entry grants no access now. Anyone who creates a principal with this name gets \
                    it: remove the entry, or recreate the principal before the handover",
            ));
            return verdict;
        }
        if let Some(other) = other {
            verdict.why = Some(Hindrance::lasting(format!(
                "{other} is also in aws-auth, but IAM has only one principal of this name: remove the entry of the one that does \
                    not exist"
            )));
            return verdict;
        }
        let undeclared = !self.declared.contains(key);
        if let Some(question) = which_nodes(&entry.meaning(), self.bindings).filter(|_| undeclared)
        {
            self.standing_or(&mut verdict, standing, Some(question));
            return verdict;
        }
        let claimed =
            |prospect: &&Prospect<'_>| prospect.mapping.is_some() || !prospect.others.is_empty();
        match prospect.filter(claimed) {
            Some(prospect) => self.by_prospect(&mut verdict, prospect),
            None => self.unclaimed(&mut verdict, place(entry), standing),
        }
        verdict
    }

    /// No mapping is made of it: it may be covered already, or something has to be cleared first.
    fn unclaimed(
        &self,
        verdict: &mut PrincipalPlan,
        place: EntryLine,
        standing: Option<&Standing<'_>>,
    ) {
        if let Some(name) = self.imports.declared.get(&place) {
            // As the plan has it: a permission set resolved by IAM, where that was read.
            let mapping = self.plan.mappings.iter().find(|it| it.name == *name);
            let refusal = mapping.and_then(|mapping| mapping.spec.as_ref().err());
            verdict.mapping = Some(name.clone());
            verdict.why = refusal.map(|refusal| Hindrance {
                reason: Some(refusal.reason),
                message: refusal.message.clone(),
                transient: refusal.transient,
            });
            return;
        }
        self.standing_or(verdict, standing, self.imports.left.get(&place).cloned());
    }

    fn of_mapping(&self, key: &Key, prospect: &Prospect<'_>) -> PrincipalPlan {
        let arn = prospect
            .target
            .map(|target| target.principal_arn.clone())
            .or_else(|| Some(prospect.mapping?.principal.as_ref()?.arn()))
            .unwrap_or_else(|| key.to_string());
        let who = Who::Principal {
            key: key.clone(),
            arn,
        };
        let mut verdict = PrincipalPlan::new(who);
        self.by_prospect(&mut verdict, prospect);
        verdict
    }

    fn by_prospect(&self, verdict: &mut PrincipalPlan, prospect: &Prospect<'_>) {
        let undeclared = !self.declared.contains(prospect.key);
        let mapping = prospect.mapping;
        verdict.mapping = mapping
            .filter(|_| !undeclared)
            .map(|mapping| mapping.name.clone());
        verdict.import = mapping
            .filter(|_| undeclared)
            .map(|mapping| mapping.name.clone());
        verdict.soaks_until = prospect.soaks_until;
        verdict.bridge = prospect.bridge;
        let Some(mapping) = mapping else {
            self.without_holder(verdict, prospect);
            return;
        };
        if let Some(target) = prospect.target {
            verdict.becomes = Some(Becomes::of_target(target));
        }
        let foreign = prospect
            .standing
            .filter(|standing| !prospect.ours && !standing.life.is_dead());
        let (outcome, why) = match &prospect.obstacle {
            Some(obstacle) if obstacle.transient => (PlannedOutcome::Moves, Some(obstacle.into())),
            Some(obstacle) => match (obstacle.reason, foreign) {
                (Reason::NotManaged, Some(_)) if prospect.as_declared => {
                    (PlannedOutcome::Stands, None)
                }
                (Reason::UnmanagedEntry, Some(_)) if undeclared => (PlannedOutcome::Differs, None),
                _ => (
                    PlannedOutcome::Blocked,
                    Some(self.with_hint(obstacle.into(), prospect)),
                ),
            },
            None => self.outcome(mapping, prospect),
        };
        let dead = prospect
            .standing
            .filter(|standing| !prospect.ours && standing.life.is_dead());
        (verdict.outcome, verdict.why) = match (outcome, foreign, dead) {
            // A mapping that stands in the way of nothing needs no import.
            (PlannedOutcome::Moved, Some(_), _) if undeclared => (PlannedOutcome::Stands, why),
            (PlannedOutcome::Moved, None, Some(dead)) => {
                (PlannedOutcome::Blocked, Some(lets_nobody_in(dead)))
            }
            _ => (outcome, why),
        };
        if let (PlannedOutcome::Stands | PlannedOutcome::Differs, Some(standing)) =
            (verdict.outcome, foreign)
        {
            verdict.becomes = standing.known().map(Becomes::of_entry);
        }
        self.compare(verdict);
        self.look_at_path(verdict);
    }

    /// Mappings name the principal, and none of them holds it.
    fn without_holder(&self, verdict: &mut PrincipalPlan, prospect: &Prospect<'_>) {
        let stays = |mapping: &&&Mapping| !mapping.is_deleting() && !mapping.expired(self.now);
        let why = match prospect.others.iter().find(stays) {
            Some(Mapping {
                spec: Err(refusal), ..
            }) => Hindrance {
                reason: Some(refusal.reason),
                message: refusal.message.clone(),
                transient: refusal.transient,
            },
            Some(mapping) if mapping.suspend => suspended(mapping),
            Some(mapping) => Hindrance::lasting(format!(
                "mapping {} no longer declares this principal",
                mapping.name
            )),
            None => {
                // What is managed has been removed in the world that is looked ahead to.
                let stays = prospect.in_aws_auth && self.view.mode != Mode::Api;
                let unmanaged = prospect.standing.filter(|_| !prospect.ours);
                let why = ended(&prospect.others, !stays && unmanaged.is_none());
                if stays || unmanaged.is_some() {
                    self.standing_or(verdict, unmanaged, Some(why));
                } else {
                    verdict.outcome = PlannedOutcome::Leaves;
                    verdict.why = Some(Hindrance::lasting(why));
                }
                return;
            }
        };
        (verdict.outcome, verdict.why) = (PlannedOutcome::Blocked, Some(why));
    }

    fn outcome(
        &self,
        mapping: &Mapping,
        prospect: &Prospect<'_>,
    ) -> (PlannedOutcome, Option<Hindrance>) {
        let blocked = |why: String| (PlannedOutcome::Blocked, Some(Hindrance::lasting(why)));
        if let Some(note) = prospect.stays {
            let why = self.with_hint(Hindrance::lasting(note), prospect);
            return (PlannedOutcome::Stays, Some(why));
        }
        if mapping.suspend {
            return (PlannedOutcome::Blocked, Some(suspended(mapping)));
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
            Next::Made | Next::Changed | Next::Remade | Next::Described => {
                (PlannedOutcome::Moves, None)
            }
            Next::Kept => (PlannedOutcome::Moved, None),
            Next::Nothing | Next::Gone => blocked(format!(
                "mapping {} does not request an access entry for this principal",
                mapping.name
            )),
        }
    }

    /// What can be done in `API` mode, where the planner knows more of it.
    fn with_hint(&self, why: Hindrance, prospect: &Prospect<'_>) -> Hindrance {
        let in_api = self.in_api.get(prospect.key);
        let refused = in_api.and_then(|it| it.obstacle.as_ref());
        match refused {
            Some(refused) if refused.reason == Reason::NotExpressible => Hindrance::from(refused),
            Some(_) | None => why,
        }
    }

    /// Where an access entry exists already, nothing is open.
    fn standing_or(
        &self,
        verdict: &mut PrincipalPlan,
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
                    .any(EntryDifference::is_of_meaning);
                verdict.outcome = if same {
                    PlannedOutcome::Stands
                } else {
                    PlannedOutcome::Differs
                };
                let broken = verdict.now.as_ref().zip(standing.known());
                let broken = broken.and_then(|(now, entry)| {
                    broken_nodes(&now.username, &now.groups, entry, &self.view.cluster)
                });
                if let Some(why) = broken {
                    verdict.outcome = PlannedOutcome::Blocked;
                    verdict.broken_nodes = true;
                    verdict.why = Some(Hindrance::lasting(why));
                }
            }
            None => verdict.why = question.map(Hindrance::lasting),
        }
    }

    fn compare(&self, verdict: &mut PrincipalPlan) {
        let Some(then) = &verdict.becomes else {
            return;
        };
        let table = PolicyTable::published();
        let limits = then.policies.iter();
        let limits = limits.filter_map(|(policy, _)| table.limits(policy));
        verdict
            .notes
            .extend(limits.map(|limit| format!("{limit} ({})", table.origin(self.now))));
        if let Some(now) = &verdict.now {
            verdict.differences = differences(now, then);
        }
        if verdict.outcome != PlannedOutcome::Moves {
            return;
        }
        if self.view.mode == Mode::ConfigMap && then.is_node() {
            verdict.notes.push(
                "EKS creates this entry itself when the mode changes, if the role belongs to a managed node group or a Fargate \
                    profile"
                    .to_owned(),
            );
        }
        verdict.notes.extend(undocumented(then));
    }

    /// An access entry needs the path that aws-auth leaves out.
    fn look_at_path(&self, verdict: &mut PrincipalPlan) {
        let Some(becomes) = &verdict.becomes else {
            return;
        };
        let Ok(principal) = Principal::parse(&becomes.principal_arn) else {
            return;
        };
        let open = verdict.outcome == PlannedOutcome::Moves
            && principal.kind == PrincipalKind::Role
            && principal.path == "/";
        if !open {
            return;
        }
        let problem = match self.plan.in_iam(&principal) {
            InIam::Unread(problem) => problem,
            InIam::Found(arn) if arn != becomes.principal_arn => {
                verdict.outcome = PlannedOutcome::Blocked;
                verdict.why = Some(Hindrance::lasting(format!(
                    "IAM spells it {arn}, and access entries are case-sensitive: declare it with this spelling"
                )));
                return;
            }
            InIam::Found(_) | InIam::Absent => return,
        };
        let why = problem.map_or_else(String::new, |problem| format!(": {}", unread(problem)));
        if principal.sso().is_some() {
            verdict.outcome = PlannedOutcome::Blocked;
            verdict.why = Some(Hindrance::lasting(format!(
                "a role of IAM Identity Center has a path, which aws-auth omits and an access entry needs, but IAM was not \
                    read{why}; declare its permission set or its full ARN, or allow reading IAM"
            )));
        } else if let Some(account) = self.foreign_account(&principal) {
            verdict.notes.push(format!(
                "the ARN is used as written, because IAM of account {account} was not read{why}; if the role has a path, EKS \
                    reports 'invalid principal'"
            ));
        }
    }

    fn foreign_account(&self, principal: &Principal) -> Option<AccountId> {
        let own = self.view.cluster.account();
        (own.as_ref() != Some(&principal.account)).then(|| principal.account.clone())
    }

    fn accounts(
        &self,
        document: &Document,
        verdicts: &mut Vec<PrincipalPlan>,
        dead: &mut Vec<NeverMatches>,
    ) {
        let accounts = &document.section(Section::Accounts).accounts;
        let mut said = BTreeSet::new();
        let first = accounts.iter().enumerate();
        for (number, account) in first.filter(|(_, account)| said.insert(account.as_str())) {
            let place = EntryLine {
                section: Section::Accounts,
                line: self.account_lines.get(number).copied().unwrap_or(1),
            };
            if let Some(why) = self.effective.no_effect_of_account(account) {
                dead.push(NeverMatches {
                    place,
                    what: account.clone(),
                    why: why.to_string(),
                });
                continue;
            }
            verdicts.push(PrincipalPlan {
                outcome: PlannedOutcome::Stays,
                places: vec![place],
                why: Some(Hindrance::lasting(
                    "an access entry is for one principal, so a whole account can't have one: declare the principals that need \
                        access, then remove the account from mapAccounts",
                )),
                lost_in_api: true,
                ..PrincipalPlan::new(Who::Account(account.clone()))
            });
        }
    }

    fn others(&self, seen: &BTreeMap<Key, String>) -> Vec<UnmanagedEntry> {
        let entries = &self.view.entries.by_principal;
        let unnamed = entries.iter().filter(|(principal_arn, _)| {
            let key = Key::parse_arn(principal_arn);
            key.is_none_or(|key| !self.by_key.contains_key(&key) && !seen.contains_key(&key))
        });
        unnamed
            .map(|(principal_arn, state)| UnmanagedEntry {
                principal_arn: principal_arn.clone(),
                gives: state.known().map(Becomes::of_entry),
            })
            .collect()
    }

    fn unread(&self) -> BTreeMap<AccountId, String> {
        let accounts = self.view.iam.accounts.iter();
        accounts
            .filter_map(|(account, read)| Some((account.clone(), unread(read.problems.any()?))))
            .collect()
    }
}
