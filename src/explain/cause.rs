//! Why a caller has no access: causes with their fixes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::access_entry::AccessEntry;
use crate::api::v1alpha1::CONFIRM_ANNOTATION;
use crate::aws_auth::diagnosis::{as_seen, diagnose};
use crate::aws_auth::{
    Document, Entry, Lookup, NewEntry, Problem, ProblemKind, Section, SectionView, fold_arn,
};
use crate::effective::{EffectiveEntry, Granted, Life, Standing, Unread};

use crate::explain::caller::Caller;
use crate::explain::fix::Fix;
use crate::explain::fix::{Like, recreate_commands};
use crate::explain::scene::Explainer;
use crate::observed::ConfigMapName;
use crate::principal::{Key, PrincipalKind, Resource};
use crate::yaml::almost;

/// Maximum number of causes in an answer.
pub(super) const TOLD: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LikelyCause {
    pub(crate) kind: CauseKind,
    /// What is wrong, where, and with which value.
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<Fix>,
}

/// The causes that are known, the likeliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CauseKind {
    /// The ARN is of the root user or a federated user, which access entries do not accept.
    NotAPrincipal,
    /// The entry that counts asks for an instance's name.
    NotAnInstance,
    /// The access entry was made for a principal that was deleted and made again, or that IAM does not have.
    Recreated,
    /// A mapping declares it and is not in effect.
    NotInEffect,
    /// It is in another partition than the cluster.
    OtherPartition,
    /// aws-auth names it, and is not read in the cluster's mode.
    Mode,
    /// A `ConfigMap` names it that EKS does not read, for it has another name.
    OtherConfigMap,
    /// A role's path was left in, or a user's taken out.
    Path,
    /// A key of aws-auth is spelt in other case.
    KeyCase,
    /// A session's ARN is where its role's should be.
    Session,
    /// White space around the ARN.
    Space,
    /// An ARN that is invalid and ends in its name.
    InvalidArn,
    /// A key of aws-auth that names it is dropped whole.
    SectionDropped,
    /// An entry that names it is dropped, or its lines are read as a part of something else.
    EntryDropped,
    /// An entry with `sso`, which EKS does not look at.
    Sso,
    /// A wildcard, which aws-auth does not have.
    Wildcard,
    /// The role of the same permission set with another suffix.
    SuffixChanged,
    /// The same name in another account or partition.
    OtherAccount,
    /// The same name of a role instead of a user, or the reverse.
    OtherKind,
    /// A name that differs in a few characters.
    Typo,
    Unnamed,
}

impl Explainer<'_> {
    /// The likely causes, the likeliest first.
    pub(super) fn causes(
        &self,
        caller: &Caller,
        standing: &[Standing<'_>],
        by: Refused,
    ) -> Vec<LikelyCause> {
        let mut causes = Vec::new();
        match by {
            Refused::NotAnInstance => causes.push(self.not_an_instance(caller)),
            Refused::Doubtful => {}
            Refused::Unnamed if self.elsewhere(caller).is_some() => {
                causes.extend(self.other_partition(caller));
            }
            Refused::Unnamed => {
                causes.extend(self.not_a_principal(caller));
                causes.extend(self.not_in_effect(caller));
                let dead = standing.iter().filter(|standing| standing.life.is_dead());
                causes.extend(dead.map(|standing| self.dead_entry(standing)));
                causes.extend(self.not_read(caller));
                causes.extend(self.key_case(caller));
                causes.extend(self.wrong_account(caller));
                causes.extend(self.dropped(caller));
                causes.extend(self.nearest(caller));
                causes.sort_by_key(|cause| cause.kind);
                // Names that are merely alike are reported where there is nothing better.
                let alike = causes.first().map(|cause| cause.kind) == Some(CauseKind::Typo);
                causes.retain(|cause| alike || cause.kind != CauseKind::Typo);
                causes.truncate(TOLD);
                if causes.is_empty() {
                    causes.push(self.unnamed(caller));
                }
            }
        }
        causes
    }

    fn not_an_instance(&self, caller: &Caller) -> LikelyCause {
        let person = match self.effective.granted(&caller.canonical) {
            Granted::AwsAuth(entry) => {
                let effective = EffectiveEntry::of_aws_auth(entry);
                (!self.effective.is_node(&effective)).then_some(entry)
            }
            Granted::AccessEntry(_)
            | Granted::AnyOf(_)
            | Granted::Account(_)
            | Granted::Nothing => None,
        };
        not_an_instance(caller, person)
    }

    fn other_partition(&self, caller: &Caller) -> Option<LikelyCause> {
        let cluster = self.elsewhere(caller)?;
        Some(LikelyCause {
            kind: CauseKind::OtherPartition,
            message: format!(
                "the cluster is in partition {cluster}, the caller in {}: a cluster accepts only callers of its own partition",
                caller.parsed.partition
            ),
            fix: Some(Fix {
                text: format!("sign in with a role or user of partition {cluster}"),
                ..Fix::default()
            }),
        })
    }

    fn dead_entry(&self, standing: &Standing<'_>) -> LikelyCause {
        let message = format!(
            "the access entry of {} grants no access: {}",
            standing.principal_arn, standing.life
        );
        let fix = match (&standing.life, standing.known()) {
            (Life::Missing { elsewhere: None }, _) => Some(Fix {
                text: "recreate the principal in IAM, and run this command again; or give the access to another principal".to_owned(),
                ..Fix::default()
            }),
            (Life::Recreated { .. }, Some(_)) if self.declared(standing.principal_arn).is_some() => {
                self.declared(standing.principal_arn)
                    .map(|declared| Fix {
                        text: "to give the recreated principal the same access, confirm, and the operator recreates the entry".to_owned(),
                        commands: vec![format!(
                            "kubectl annotate identitymapping {} {CONFIRM_ANNOTATION}=recreated-principal",
                            declared.mapping
                        )],
                        ..Fix::default()
                    })
            }
            (life, Some(entry)) => Some(self.anew(entry, life)),
            (_, None) => None,
        };
        LikelyCause {
            kind: CauseKind::Recreated,
            message,
            fix,
        }
    }

    /// The calls that make an access entry anew.
    fn anew(&self, entry: &AccessEntry, life: &Life) -> Fix {
        let now = match life {
            Life::Missing {
                elsewhere: Some(arn),
            } => arn,
            Life::Alive | Life::Unknown | Life::Recreated { .. } | Life::Missing { .. } => {
                &entry.principal_arn
            }
        };
        Fix {
            text: "to give the recreated principal the same access, delete the entry and create it again".to_owned(),
            commands: recreate_commands(&self.on_cluster(), entry, now),
            ..Fix::default()
        }
    }

    /// aws-auth names it, and is not read.
    fn not_read(&self, caller: &Caller) -> Option<LikelyCause> {
        let unread = self.effective.unread()?;
        let kind = match unread {
            Unread::Mode => CauseKind::Mode,
            Unread::Name => CauseKind::OtherConfigMap,
        };
        let entry = match self.effective.index().lookup(&caller.canonical) {
            Lookup::Role(entry) | Lookup::User(entry) => entry,
            Lookup::AmbiguousUser(entries) => *entries.first()?,
            Lookup::Account => {
                return Some(LikelyCause {
                    kind,
                    message: format!("mapAccounts contains the caller's account, but {unread}"),
                    fix: self.grant(caller, None),
                });
            }
            Lookup::None => return None,
        };
        Some(LikelyCause {
            kind,
            message: format!(
                "{} line {} contains the caller, but {unread}",
                entry.section, entry.line
            ),
            fix: self.grant(caller, Some(Like::from(entry))),
        })
    }

    /// An item of mapAccounts that names the caller's account and is no account.
    fn wrong_account(&self, caller: &Caller) -> Option<LikelyCause> {
        let account = caller.parsed.account.as_str();
        let accounts = &self.scene.document.section(Section::Accounts).accounts;
        let item = accounts.iter().find(|item| {
            let digits: String = item.chars().filter(char::is_ascii_digit).collect();
            item.as_str() != account && digits == account
        })?;
        let config_map = self.scene.config_map;
        Some(LikelyCause {
            kind: CauseKind::InvalidArn,
            message: format!(
                "mapAccounts contains {item:?}, which is no account ID: an account has exactly 12 digits, so it never matches"
            ),
            fix: Some(Fix {
                text: format!(
                    "write \"{account}\" there, if every role and user of the account is to be authenticated (kubectl edit configmap \
                        {} -n {})",
                    config_map.name, config_map.namespace
                ),
                ..Fix::default()
            }),
        })
    }

    /// A key of aws-auth that is a slip of one that the authenticator reads.
    fn key_case(&self, caller: &Caller) -> Vec<LikelyCause> {
        let data = self.scene.data.into_iter().flatten();
        let odd = data.filter_map(|(key, text)| {
            let is_slip = |section: &Section| almost(&as_seen(key), section.key());
            let is_read = Section::ALL.iter().any(|section| section.key() == key);
            let section = Section::ALL
                .into_iter()
                .find(|section| !is_read && is_slip(section))?;
            let texts = [(section.key().to_owned(), text.clone())].into();
            let document = Document::parse(&texts);
            let named = !matches!(document.lookup(&caller.canonical), Lookup::None);
            named.then_some((key, section))
        });
        let config_map = self.scene.config_map;
        odd.map(|(key, section)| LikelyCause {
            kind: CauseKind::KeyCase,
            message: format!(
                "the key {} contains the caller, but the authenticator reads only {section}",
                shown(key)
            ),
            fix: Some(Fix {
                text: format!(
                    "rename the key {} to {section} (kubectl edit configmap {} -n {})",
                    shown(key),
                    config_map.name,
                    config_map.namespace
                ),
                ..Fix::default()
            }),
        })
        .collect()
    }

    /// What the authenticator drops of aws-auth and that names the caller.
    fn dropped(&self, caller: &Caller) -> Vec<LikelyCause> {
        if self.effective.unread().is_some() {
            return Vec::new();
        }
        let mut causes = Vec::new();
        for section in Section::ALL {
            let view = self.scene.document.section(section);
            let text = self.scene.data.and_then(|data| data.get(section.key()));
            let Some(text) = text.filter(|_| !view.problems.is_empty()) else {
                continue;
            };
            let named = named_at(text, caller, section);
            if let (Some(problem), Some(line)) = (&view.broken, named) {
                causes.push(LikelyCause {
                    kind: CauseKind::SectionDropped,
                    message: format!(
                        "{section} contains the caller in line {line}, but all of {section} is dropped because of \
                            {}: {}",
                        problem.place(),
                        problem.message
                    ),
                    fix: Some(self.text_fix(caller, section, problem.line, &problem.fix())),
                });
                continue;
            }
            let dropped = view.problems.iter().filter(|problem| {
                problem.kind == ProblemKind::EntryDropped
                    && text
                        .get(problem.span.clone())
                        .is_some_and(|item| named_at(item, caller, section).is_some())
            });
            let before = causes.len();
            causes.extend(dropped.map(|problem| LikelyCause {
                kind: CauseKind::EntryDropped,
                message: format!(
                    "{section} contains the caller in line {}, but the entry is dropped: {}",
                    problem.line, problem.message
                ),
                fix: Some(self.text_fix(caller, section, problem.line, &problem.fix())),
            }));
            if causes.len() == before {
                causes.extend(self.misread(caller, section, text, view));
            }
        }
        causes
    }

    /// An entry of the caller that only the text in order has: a fault in its lines, or in those before, makes something else of it.
    fn misread(
        &self,
        caller: &Caller,
        section: Section,
        text: &str,
        view: &SectionView,
    ) -> Option<LikelyCause> {
        let repaired = diagnose(section, text, view)?.repaired?;
        let data = [(section.key().to_owned(), repaired.text.clone())].into();
        let meant = Document::parse(&data);
        let of_caller = |entry: &&Entry| caller.key.is_some() && entry.key() == caller.key;
        let entry = meant.entries().find(of_caller)?;
        if view.entries.iter().any(|entry| of_caller(&entry)) {
            return None;
        }
        let first = repaired.origin(entry.span.start);
        let last = repaired.origin(entry.span.end.saturating_sub(1));
        let line = first.saturating_add(1);
        // The fault in its lines, or in the one after, which is then read as a part of it; else the nearest before.
        let lines = |problem: &Problem| problem.detail.lines.clone();
        let mut faults = view.problems.iter();
        let beside = faults.find(|it| lines(it).start <= last + 1 && lines(it).end > first);
        let mut before = view.problems.iter().rev();
        let fault = beside.or_else(|| before.find(|it| lines(it).start < first))?;
        Some(LikelyCause {
            kind: CauseKind::EntryDropped,
            message: format!(
                "{section} contains the caller in line {line}, but the authenticator reads these lines differently because of {}: {}",
                fault.place(),
                fault.message
            ),
            fix: Some(self.text_fix(caller, section, fault.line, &fault.fix())),
        })
    }

    /// The command by which `lint` fixes the entries of the caller, where it would. Others are no matter of theirs, and thousands
    /// would take a while to look at.
    pub(super) fn by_lint_of_own(&self, caller: &Caller) -> Vec<String> {
        let mut data: BTreeMap<String, String> = BTreeMap::new();
        for entry in self.scene.document.entries() {
            if Key::parse_arn(entry.arn.trim()) == caller.key {
                let section = entry.section;
                let same = NewEntry {
                    section,
                    arn: entry.arn.clone(),
                    username: entry.username.clone(),
                    groups: entry.groups.clone(),
                };
                let text = data.entry(section.key().to_owned()).or_default();
                text.push_str(&same.item());
                text.push('\n');
            }
        }
        self.by_lint(caller, &data)
    }

    /// The command by which `lint` fixes what keeps the caller out, where it would.
    fn by_lint(&self, caller: &Caller, data: &BTreeMap<String, String>) -> Vec<String> {
        let is_kept = |entry: &Entry| self.declared(&entry.arn).is_some();
        let fixed = Document::parse(&(self.scene.fix_data)(data, &is_kept));
        let lets_in = matches!(
            fixed.lookup(&caller.canonical),
            Lookup::Role(_) | Lookup::User(_)
        );
        let ConfigMapName { namespace, name } = self.scene.config_map;
        let command = if self.scene.rbac.is_some() {
            format!("identity-mapper lint --fix{}", self.scene.flags)
        } else {
            // Of files, nobody knows what they are called.
            format!(
                "kubectl get configmap {name} -n {namespace} -o yaml | identity-mapper lint --fix - | kubectl replace -f -"
            )
        };
        lets_in.then_some(command).into_iter().collect()
    }

    fn text_fix(&self, caller: &Caller, section: Section, line: usize, fix: &str) -> Fix {
        let config_map = self.scene.config_map;
        Fix {
            text: format!(
                "in {section} line {line}, {fix} (kubectl edit configmap {} -n {})",
                config_map.name, config_map.namespace
            ),
            commands: self
                .scene
                .data
                .map(|data| self.by_lint(caller, data))
                .unwrap_or_default(),
            ..Fix::default()
        }
    }

    fn unnamed(&self, caller: &Caller) -> LikelyCause {
        let fix = self.grant(caller, None);
        let Some(problem) = self.broken_for(caller) else {
            return LikelyCause {
                kind: CauseKind::Unnamed,
                message: "no similar entry found".to_owned(),
                fix,
            };
        };
        let first = format!(
            "fix {} line {} first (`identity-mapper lint` shows how)",
            problem.section, problem.line
        );
        LikelyCause {
            kind: CauseKind::Unnamed,
            message: format!(
                "no similar entry found; all of {} is dropped because of {}: {}. An entry that is added there \
                    has no effect until that is fixed",
                problem.section,
                problem.place(),
                problem.message
            ),
            fix: fix.map(|fix| Fix {
                text: format!("{first}; then {}", fix.text),
                ..fix
            }),
        }
    }

    fn not_a_principal(&self, caller: &Caller) -> Option<LikelyCause> {
        let what = match &caller.parsed.resource {
            Resource::Root => "the root user",
            Resource::FederatedUser { .. } => "a federated user (an STS session)",
            Resource::Role { .. } | Resource::User { .. } | Resource::AssumedRole { .. } => {
                return None;
            }
        };
        let why = if self.effective.counts_access_entries() {
            "which can't have an access entry"
        } else {
            "which has access only if mapUsers contains this ARN, or mapAccounts its account"
        };
        Some(LikelyCause {
            kind: CauseKind::NotAPrincipal,
            message: format!("{} is {what}, {why}", caller.arn),
            fix: Some(Fix {
                text: "sign in with an IAM role or user that has access".to_owned(),
                ..Fix::default()
            }),
        })
    }

    /// The fault that drops the key in which the caller would be, where access is given by aws-auth.
    fn broken_for(&self, caller: &Caller) -> Option<&Problem> {
        if self.effective.unread().is_some() || self.effective.counts_access_entries() {
            return None;
        }
        let section = match caller.key.as_ref()?.kind() {
            PrincipalKind::Role => Section::Roles,
            PrincipalKind::User => Section::Users,
        };
        self.scene.document.section(section).broken.as_ref()
    }

    /// Why a caller who has access only as anyone of its account has none by an entry of its own.
    pub(super) fn causes_beside_account(&self, caller: &Caller) -> Vec<LikelyCause> {
        let mut causes: Vec<LikelyCause> = self.not_in_effect(caller).into_iter().collect();
        causes.extend(self.key_case(caller));
        causes.extend(self.dropped(caller));
        causes.extend(self.nearest(caller));
        // Only what is meant for this very principal: others of similar names are no matter here.
        causes.retain(|cause| cause.kind < CauseKind::SuffixChanged);
        causes.sort_by_key(|cause| cause.kind);
        causes.truncate(TOLD);
        causes
    }
}

/// A key, in quotes where it has characters that can't be seen.
fn shown(key: &str) -> String {
    let is_plain = key.bytes().all(|b| b.is_ascii_graphic());
    if is_plain {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

fn not_an_instance(caller: &Caller, person: Option<&Entry>) -> LikelyCause {
    let session = caller.session.as_deref().unwrap_or_default();
    if let Some(entry) = person {
        return LikelyCause {
            kind: CauseKind::NotAnInstance,
            message: format!(
                "{} line {} gives a person the username of nodes: only EC2 instances can sign in with it, and session {session:?} is \
                    none",
                entry.section, entry.line
            ),
            fix: Some(Fix {
                text: format!(
                    "write another username into {} line {}, such as {:?}",
                    entry.section,
                    entry.line,
                    format!("{}:{{{{SessionName}}}}", caller.name().to_lowercase())
                ),
                ..Fix::default()
            }),
        };
    }
    LikelyCause {
        kind: CauseKind::NotAnInstance,
        message: format!("the entry is for nodes, and session {session:?} is not an EC2 instance"),
        fix: Some(Fix {
            text: "sign in with another role than that of the nodes; nodes that are not named after an instance need \
                `{{SessionName}}` in the username"
                .to_owned(),
            ..Fix::default()
        }),
    }
}

/// The line of a text that names the caller, from 1.
fn named_at(text: &str, caller: &Caller, section: Section) -> Option<usize> {
    let wanted = match section {
        Section::Accounts => caller.parsed.account.as_str().to_owned(),
        Section::Roles | Section::Users => fold_arn(&format!("/{}", caller.name())),
    };
    let whole = |line: &str| {
        let mut from = 0;
        while let Some(at) = line[from..].find(&wanted) {
            let end = from + at + wanted.len();
            let next = line[end..].chars().next();
            if !next.is_some_and(|c| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c)) {
                return true;
            }
            from = end;
        }
        false
    };
    let found = text.lines().position(|line| whole(&fold_arn(line)));
    found.map(|line| line + 1)
}

#[derive(Clone, Copy)]
pub(super) enum Refused {
    Unnamed,
    /// The entry that it is found by asks for the name of an instance.
    NotAnInstance,
    /// The access entry that it is found by has to be described again.
    Doubtful,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_only() {
        let caller = Caller::parse("arn:aws:iam::111122223333:role/Dev").expect("a caller");
        let at = |text: &str| named_at(text, &caller, Section::Roles);
        assert_eq!(
            at("a\n- rolearn: arn:aws:iam::111122223333:role/dev\n"),
            Some(2)
        );
        assert_eq!(at("role/team/Dev\""), Some(1));
        assert_eq!(at("role/Dev/other role/DevOps role/Dev.x"), None);
    }
}
