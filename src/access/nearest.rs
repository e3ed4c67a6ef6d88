//! The entries that are nearest to a caller that is not let in, and what keeps them from letting it in.

use super::cause::{Cause, CauseKind};
use super::explain::{Refused, dead_words};
use super::identity::matches;
use super::mend::{Like, Mend, quoted};
use super::{Caller, Door};
use crate::access_entry::Entry as AccessEntry;
use crate::api::v1alpha1::CONFIRM_ANNOTATION;
use crate::aws_auth::{Document, Entry, Lookup, ProblemKind, Section, fold_arn};
use crate::lint::fix_data;
use crate::plan::{ConfigMapName, Life, Mode, Standing};
use crate::principal::{Key, Principal, PrincipalKind, Resource, SsoRole};

/// So many causes are told.
const TOLD: usize = 3;
/// So many characters of a name may differ for each so many that it has.
const TYPO_SHARE: usize = 6;
const TYPO_MOST: usize = 3;

impl<'a> Door<'a> {
    /// The likely causes, the likeliest first.
    pub(super) fn causes(
        &self,
        caller: &Caller,
        standing: &[Standing<'_>],
        by: Refused<'a>,
    ) -> Vec<Cause> {
        let mut causes = Vec::new();
        match by {
            Refused::NoUsername(entry) => causes.push(self.no_username(entry)),
            Refused::NotAnInstance => causes.push(not_an_instance(caller)),
            Refused::Doubtful => {}
            Refused::Unnamed => {
                causes.extend(not_a_principal(caller));
                causes.extend(self.not_in_effect(caller));
                let dead = standing.iter().filter(|standing| standing.life.is_dead());
                causes.extend(dead.map(|standing| self.dead_entry(standing)));
                causes.extend(self.not_read(caller));
                causes.extend(self.key_case(caller));
                causes.extend(self.dropped(caller));
                causes.extend(self.near_text(caller));
                causes.extend(self.near_entries(caller));
                causes.sort_by_key(|cause| cause.kind);
                causes.truncate(TOLD);
                if causes.is_empty() {
                    causes.push(self.unnamed(caller));
                }
            }
        }
        causes
    }

    fn no_username(&self, entry: &Entry) -> Cause {
        let config_map = self.scene.config_map;
        Cause {
            kind: CauseKind::NoUsername,
            message: format!(
                "{} line {} gives no username, or one that YAML takes for something else than text",
                entry.section, entry.line
            ),
            mend: Some(Mend {
                text: format!(
                    "give the entry at {} line {} a username in double quotes (kubectl edit configmap {} -n {})",
                    entry.section, entry.line, config_map.name, config_map.namespace
                ),
                ..Mend::default()
            }),
        }
    }

    fn not_in_effect(&self, caller: &Caller) -> Option<Cause> {
        let declared = self.scene.declared.get(caller.key.as_ref()?)?;
        let why = declared.not_ready.as_deref();
        Some(Cause {
            kind: CauseKind::NotInEffect,
            message: format!(
                "mapping {} declares it, and is not in effect: {}",
                declared.mapping,
                why.unwrap_or("the operator has said nothing of it yet")
            ),
            mend: Some(Mend {
                text: match why {
                    Some(_) => "do what its conditions say".to_owned(),
                    None => "see whether the operator runs".to_owned(),
                },
                commands: vec![match why {
                    Some(_) => format!("kubectl describe identitymapping {}", declared.mapping),
                    None => "kubectl get pods --all-namespaces -l app.kubernetes.io/name=identity-mapper"
                        .to_owned(),
                }],
                ..Mend::default()
            }),
        })
    }

    fn dead_entry(&self, standing: &Standing<'_>) -> Cause {
        let message = format!(
            "the access entry of {} lets nobody in: {}",
            standing.principal_arn,
            dead_words(&standing.life)
        );
        let mend = match (&standing.life, standing.known()) {
            (Life::Missing { elsewhere: None }, _) => Some(Mend {
                text: "make the principal again in IAM, and run this again; or give the access to another".to_owned(),
                ..Mend::default()
            }),
            (Life::Recreated { .. }, Some(_)) if self.declared(standing.principal_arn).is_some() => {
                self.declared(standing.principal_arn)
                    .map(|declared| Mend {
                        text: "where it is meant to get the same access, say so, and the operator makes the entry anew".to_owned(),
                        commands: vec![format!(
                            "kubectl annotate identitymapping {} {CONFIRM_ANNOTATION}=recreated-principal",
                            declared.mapping
                        )],
                        ..Mend::default()
                    })
            }
            (life, Some(entry)) => self.anew(entry, life),
            (_, None) => None,
        };
        Cause {
            kind: CauseKind::Recreated,
            message,
            mend,
        }
    }

    /// The calls that make an access entry anew.
    fn anew(&self, entry: &AccessEntry, life: &Life) -> Option<Mend> {
        let now = match life {
            Life::Missing {
                elsewhere: Some(arn),
            } => arn,
            Life::Alive | Life::Unknown | Life::Recreated { .. } | Life::Missing { .. } => {
                &entry.principal_arn
            }
        };
        let principal = Principal::parse(now).ok()?;
        let delete = format!(
            "aws eks delete-access-entry --cluster-name {} --principal-arn {}",
            quoted(self.cluster_name()),
            quoted(&entry.principal_arn)
        );
        let text = "where it is meant to get the same access, delete the entry and make it anew";
        let mut mend = self.create(&principal, &Like::from(entry), text);
        if !mend.commands.is_empty() {
            mend.commands.insert(0, delete);
        }
        Some(mend)
    }

    /// aws-auth names it, and is not read.
    fn not_read(&self, caller: &Caller) -> Option<Cause> {
        if self.mode() != Some(Mode::Api) {
            return None;
        }
        let entry = match self.index.lookup(&caller.canonical) {
            Lookup::Role(entry) | Lookup::User(entry) => entry,
            Lookup::AmbiguousUser(entries) => *entries.first()?,
            Lookup::Account => {
                return Some(Cause {
                    kind: CauseKind::Mode,
                    message:
                        "mapAccounts names its account, and aws-auth is not read in the mode API"
                            .to_owned(),
                    mend: self.grant(caller, None),
                });
            }
            Lookup::None => return None,
        };
        Some(Cause {
            kind: CauseKind::Mode,
            message: format!(
                "{} line {} names it, and aws-auth is not read in the mode API",
                entry.section, entry.line
            ),
            mend: self.grant(caller, Some(Like::from(entry))),
        })
    }

    /// A key of aws-auth in other case than the authenticator reads.
    fn key_case(&self, caller: &Caller) -> Vec<Cause> {
        let data = self.scene.data.into_iter().flatten();
        let odd = data.filter_map(|(key, text)| {
            let section = Section::ALL
                .into_iter()
                .find(|section| section.key() != key && section.key().eq_ignore_ascii_case(key))?;
            let texts = [(section.key().to_owned(), text.clone())].into();
            let document = Document::parse(&texts);
            let named = !matches!(document.lookup(&caller.canonical), Lookup::None);
            named.then_some((key, section))
        });
        let config_map = self.scene.config_map;
        odd.map(|(key, section)| Cause {
            kind: CauseKind::KeyCase,
            message: format!("the key {key} names it, and the authenticator reads {section} only"),
            mend: Some(Mend {
                text: format!(
                    "rename the key {key} to {section} (kubectl edit configmap {} -n {})",
                    config_map.name, config_map.namespace
                ),
                ..Mend::default()
            }),
        })
        .collect()
    }

    /// What the authenticator drops of aws-auth and that names the caller.
    fn dropped(&self, caller: &Caller) -> Vec<Cause> {
        if self.mode() == Some(Mode::Api) {
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
                causes.push(Cause {
                    kind: CauseKind::SectionDropped,
                    message: format!(
                        "{section} names it at line {line}, and is dropped whole because of line {}, column {} ({}): {}",
                        problem.line,
                        problem.column,
                        problem.offending.trim(),
                        problem.message
                    ),
                    mend: Some(self.mend_text(caller, section, problem.line, &problem.message)),
                });
                continue;
            }
            let dropped = view.problems.iter().filter(|problem| {
                problem.kind == ProblemKind::EntryDropped
                    && text
                        .get(problem.span.clone())
                        .is_some_and(|item| named_at(item, caller, section).is_some())
            });
            causes.extend(dropped.map(|problem| Cause {
                kind: CauseKind::EntryDropped,
                message: format!(
                    "{section} names it at line {}, and the entry is dropped: {}",
                    problem.line, problem.message
                ),
                mend: Some(self.mend_text(caller, section, problem.line, &problem.message)),
            }));
        }
        causes
    }

    /// The command by which `lint` mends what keeps the caller out, where it would.
    fn by_lint(&self, caller: &Caller) -> Vec<String> {
        let Some(data) = self.scene.data else {
            return Vec::new();
        };
        let is_kept = |entry: &Entry| self.declared(&entry.arn).is_some();
        let fixed = Document::parse(&fix_data(data, &is_kept).data);
        let lets_in = match fixed.lookup(&caller.canonical) {
            Lookup::Role(entry) | Lookup::User(entry) => !entry.username.is_empty(),
            Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => false,
        };
        let ConfigMapName { namespace, name } = self.scene.config_map;
        let command = if self.scene.rbac.is_some() {
            "identity-mapper lint --fix".to_owned()
        } else {
            // Of files, nobody knows what they are called.
            format!(
                "kubectl get configmap {name} -n {namespace} -o yaml | identity-mapper lint --fix - | kubectl replace -f -"
            )
        };
        lets_in.then_some(command).into_iter().collect()
    }

    fn mend_text(&self, caller: &Caller, section: Section, line: usize, message: &str) -> Mend {
        let config_map = self.scene.config_map;
        let mend = message.rsplit_once(": ").map_or(message, |(_, mend)| mend);
        Mend {
            text: format!(
                "in {section} line {line}, {mend} (kubectl edit configmap {} -n {})",
                config_map.name, config_map.namespace
            ),
            commands: self.by_lint(caller),
            ..Mend::default()
        }
    }

    /// The nearest entries of aws-auth.
    fn near_text(&self, caller: &Caller) -> Vec<Cause> {
        if self.mode() == Some(Mode::Api) {
            return Vec::new();
        }
        let near = Near::of(caller);
        let entries = self.scene.document.entries();
        let found = entries.filter_map(|entry| {
            if entry.sso {
                return self.sso_entry(caller, entry);
            }
            let (kind, words) = near.of_text(caller, &entry.arn)?;
            // One that another wins over is told of there.
            let alone = entry.key() == caller.key || self.is_winner(entry);
            alone.then(|| self.near_cause(caller, entry, kind, &words))
        });
        found.collect()
    }

    fn is_winner(&self, entry: &Entry) -> bool {
        match self.index.lookup(&entry.arn) {
            Lookup::Role(wins) | Lookup::User(wins) => std::ptr::eq(wins, entry),
            Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => true,
        }
    }

    fn near_cause(&self, caller: &Caller, entry: &Entry, kind: CauseKind, words: &str) -> Cause {
        let place = format!("{} line {}", entry.section, entry.line);
        let message = format!("{place} has {:?}: {words}", entry.arn);
        let owner = self
            .declared(&entry.arn)
            .filter(|_| entry.key() != caller.key);
        let like = Like::from(entry);
        let mend = match (owner, kind) {
            (Some(owner), _) => Some(self.patch(caller, &owner.mapping)),
            // A wildcard lets more in than this one, and the other account's entry may be meant.
            (None, CauseKind::Wildcard | CauseKind::OtherAccount | CauseKind::OtherKind) => {
                self.grant(caller, Some(like)).map(|mend| {
                    if kind == CauseKind::OtherAccount {
                        sign_in(caller, &entry.arn, mend)
                    } else {
                        mend
                    }
                })
            }
            (None, _) if self.scene.installed && kind != CauseKind::Space => {
                self.grant(caller, Some(like))
            }
            (None, _) => Some(Mend {
                commands: self.by_lint(caller),
                ..self.edit(entry, &entry.arn, &caller.canonical)
            }),
        };
        let mend = if kind == CauseKind::Typo {
            mend.map(|mend| Mend {
                text: format!("if it is meant for this one, {}", mend.text),
                ..mend
            })
        } else {
            mend
        };
        Cause {
            kind,
            message,
            mend,
        }
    }

    /// A mapping that names another principal than it should.
    fn patch(&self, caller: &Caller, mapping: &str) -> Mend {
        let principal = self.principal(caller);
        let arn = principal.map_or_else(|| caller.canonical.clone(), |it| it.arn());
        let patch = serde_json::json!({"spec": {"principal": {"arn": arn, "permissionSet": null}}});
        Mend {
            text: format!(
                "mapping {mapping} declares that one: name this one in it, where both are meant to be the same"
            ),
            commands: vec![format!(
                "kubectl patch identitymapping {mapping} --type merge -p {}",
                quoted(&patch.to_string())
            )],
            ..Mend::default()
        }
    }

    fn sso_entry(&self, caller: &Caller, entry: &Entry) -> Option<Cause> {
        let set = SsoRole::parse_name(caller.name())?.permission_set;
        let text = self.scene.data?.get(entry.section.key())?;
        let item = text.get(entry.span.clone())?;
        item.contains(&set).then(|| Cause {
            kind: CauseKind::Sso,
            message: format!(
                "{} line {} names permission set {set} with `sso`, which EKS does not look at",
                entry.section, entry.line
            ),
            mend: self.grant(caller, Some(Like::from(entry))),
        })
    }

    /// The nearest access entries.
    fn near_entries(&self, caller: &Caller) -> Vec<Cause> {
        let Some(view) = self.eks else {
            return Vec::new();
        };
        let near = Near::of(caller);
        let states = view.entries.by_principal.iter();
        let found = states.filter_map(|(arn, state)| {
            let (kind, words) = near.of_entry(caller, arn)?;
            let entry = state.known()?;
            if entry.kind.is_node() {
                return None;
            }
            let owner = self.declared(arn);
            let like = Like::from(entry);
            let mend = match (owner, kind) {
                (Some(owner), _) => Some(self.patch(caller, &owner.mapping)),
                (None, CauseKind::OtherAccount) => self
                    .grant(caller, Some(like))
                    .map(|mend| sign_in(caller, arn, mend)),
                (None, _) => self.grant(caller, Some(like)),
            };
            Some(Cause {
                kind,
                message: format!("there is an access entry of {arn}: {words}"),
                mend,
            })
        });
        found.collect()
    }

    fn unnamed(&self, caller: &Caller) -> Cause {
        Cause {
            kind: CauseKind::Unnamed,
            message: "nothing that stands is near to it".to_owned(),
            mend: self.grant(caller, None),
        }
    }
}

fn not_a_principal(caller: &Caller) -> Option<Cause> {
    let what = match &caller.parsed.resource {
        Resource::Root => "the root user, whom access entries never let in",
        Resource::FederatedUser { .. } => {
            "a federated user, a session of STS, whom access entries never let in"
        }
        Resource::Role { .. } | Resource::User { .. } | Resource::AssumedRole { .. } => {
            return None;
        }
    };
    Some(Cause {
        kind: CauseKind::NotAPrincipal,
        message: format!("{} is {what}", caller.arn),
        mend: Some(Mend {
            text: "sign in with an IAM role or user that is let in, and not as this one".to_owned(),
            ..Mend::default()
        }),
    })
}

fn sign_in(caller: &Caller, other: &str, mend: Mend) -> Mend {
    let account = other.split(':').nth(4).unwrap_or_default();
    Mend {
        text: format!(
            "if account {account} is meant, sign in there: `aws sts get-caller-identity` says where one is (now {}); if this one is meant, {}",
            caller.parsed.account, mend.text
        ),
        ..mend
    }
}

fn not_an_instance(caller: &Caller) -> Cause {
    Cause {
        kind: CauseKind::NotAnInstance,
        message: format!(
            "the entry is one for nodes, and session {:?} is none of an EC2 instance",
            caller.session.as_deref().unwrap_or_default()
        ),
        mend: Some(Mend {
            text: "sign in with another role than the nodes'; nodes that are not named after an instance need `{{SessionName}}` in \
                   the username"
                .to_owned(),
            ..Mend::default()
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

/// The caller, as others are compared with it.
struct Near {
    folded: String,
    key: Option<Key>,
    sso: Option<SsoRole>,
    most: usize,
}

impl Near {
    fn of(caller: &Caller) -> Self {
        let name = caller.name();
        Self {
            folded: fold_arn(&caller.canonical),
            key: caller.key.clone(),
            sso: SsoRole::parse_name(name),
            most: (name.len() / TYPO_SHARE).clamp(1, TYPO_MOST),
        }
    }

    /// How an entry of aws-auth is near.
    fn of_text(&self, caller: &Caller, arn: &str) -> Option<(CauseKind, String)> {
        if arn.trim() != arn && fold_arn(arn.trim()) == self.folded {
            return Some((
                CauseKind::Space,
                "white space belongs to the ARN there, so that it is another".to_owned(),
            ));
        }
        if arn.contains('*') && matches(&fold_arn(arn), &self.folded) {
            return Some((
                CauseKind::Wildcard,
                "aws-auth knows no wildcards, and takes the * for part of the name".to_owned(),
            ));
        }
        let key = self.key.as_ref()?;
        let Some(other) = Key::parse_arn(arn) else {
            let role = fold_arn(&format!(":assumed-role/{}/", caller.name()));
            let session = key.kind() == PrincipalKind::Role
                && fold_arn(arn).contains(&role)
                && arn.contains(key.account().as_str());
            return session.then(|| {
                (
                    CauseKind::Session,
                    "that is a session, and whoever signs in with the role is looked up as the role".to_owned(),
                )
            });
        };
        if other == *key {
            let words = match key.kind() {
                PrincipalKind::Role => {
                    "a path was left in, and whoever signs in with a role comes without it"
                }
                PrincipalKind::User => "a user is looked up with its path, and this is not it",
            };
            return (fold_arn(arn) != self.folded).then(|| (CauseKind::Path, words.to_owned()));
        }
        self.of_other(&other, arn)
    }

    /// How an access entry is near.
    fn of_entry(&self, _caller: &Caller, arn: &str) -> Option<(CauseKind, String)> {
        let other = Key::parse_arn(arn)?;
        if Some(&other) == self.key.as_ref() {
            return None;
        }
        self.of_other(&other, arn)
    }

    fn of_other(&self, other: &Key, arn: &str) -> Option<(CauseKind, String)> {
        let key = self.key.as_ref()?;
        let home = key.account() == other.account() && key.partition() == other.partition();
        if key.name() == other.name() {
            return Some(if home {
                (
                    CauseKind::OtherKind,
                    format!("that is a {}, and this is a {}", other.kind(), key.kind()),
                )
            } else {
                (
                    CauseKind::OtherAccount,
                    format!(
                        "that is account {}, and this is account {}",
                        other.account(),
                        key.account()
                    ),
                )
            });
        }
        if !home || key.kind() != other.kind() {
            return None;
        }
        if let Some(sso) = &self.sso {
            let name = arn.rsplit('/').next().unwrap_or_default();
            // The suffix alone differs where the set was assigned anew.
            return SsoRole::parse_name(name)
                .filter(|other| other.permission_set == sso.permission_set)
                .map(|other| {
                    (
                        CauseKind::SuffixChanged,
                        format!(
                            "the role of permission set {} had the suffix {}, and has {} since it was assigned anew",
                            sso.permission_set, other.suffix, sso.suffix
                        ),
                    )
                });
        }
        let distance = distance(key.name(), other.name(), self.most)?;
        let characters = if distance == 1 {
            "character"
        } else {
            "characters"
        };
        Some((
            CauseKind::Typo,
            format!("its name differs in {distance} {characters}"),
        ))
    }
}

/// How many characters have to be changed, added, taken away or swapped with the next; `None` for more than `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let before: &[usize] = &before;
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        if row.iter().all(|distance| *distance > most) {
            return None;
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, most, expected) in [
            ("developer", "developer", 1, Some(0)),
            ("developer", "developers", 1, Some(1)),
            ("developer", "devloper", 1, Some(1)),
            ("developer", "devleoper", 1, Some(1)),
            ("developer", "edvleoper", 2, Some(2)),
            ("developer", "edvleoper", 1, None),
            ("developer", "admin", 3, None),
            ("", "ab", 2, Some(2)),
        ] {
            assert_eq!(distance(a, b, most), expected, "{a} {b}");
        }
    }

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
