//! The entries that are most similar to a caller without access, and why they do not match it.

use crate::access_entry::AccessEntry;
use crate::aws_auth::diagnosis::as_seen;
use crate::aws_auth::{Entry, Rank, fold_arn};
use crate::effective::EffectiveEntry;
use crate::explain::caller::Caller;
use crate::explain::cause::{CauseKind, LikelyCause, TOLD};
use crate::explain::fix::{Fix, Like, quoted};
use crate::explain::identity::matches;
use crate::explain::scene::Explainer;
use crate::principal::{AccountId, Key, Principal, PrincipalError, PrincipalKind, SsoRole};

/// The longest name of a role or user (IAM API reference).
const NAME_LENGTH: usize = 64;

/// How an entry is near, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Path,
    Session,
    Space,
    /// The ARN is invalid, and ends in the caller's name.
    Invalid,
    Sso,
    Wildcard,
    Suffix,
    Account,
    Kind,
    /// The name differs in so many characters.
    Typo(usize),
}

impl Nearness {
    fn cause(self) -> CauseKind {
        match self {
            Self::Path => CauseKind::Path,
            Self::Session => CauseKind::Session,
            Self::Space => CauseKind::Space,
            Self::Invalid => CauseKind::InvalidArn,
            Self::Sso => CauseKind::Sso,
            Self::Wildcard => CauseKind::Wildcard,
            Self::Suffix => CauseKind::SuffixChanged,
            Self::Account => CauseKind::OtherAccount,
            Self::Kind => CauseKind::OtherKind,
            Self::Typo(_) => CauseKind::Typo,
        }
    }
}

/// An entry that is near.
struct Candidate<'a> {
    nearness: Nearness,
    at: CandidateEntry<'a>,
}

#[derive(Clone, Copy)]
enum CandidateEntry<'a> {
    AwsAuth(&'a Entry),
    AccessEntry(&'a AccessEntry),
}

impl<'a> CandidateEntry<'a> {
    fn arn(self) -> &'a str {
        match self {
            Self::AwsAuth(entry) => &entry.arn,
            Self::AccessEntry(entry) => &entry.principal_arn,
        }
    }
}

impl Explainer<'_> {
    /// The nearest entries of both backends, as causes. Only those that are reported are put into words.
    pub(super) fn nearest(&self, caller: &Caller) -> Vec<LikelyCause> {
        let near = Near::of(caller);
        let mut candidates = self.candidates(caller, &near);
        candidates.sort_by_key(|candidate| candidate.nearness);
        candidates.truncate(TOLD);
        let told = candidates.iter();
        told.map(|candidate| self.near_cause(caller, &near, candidate))
            .collect()
    }

    fn candidates(&self, caller: &Caller, near: &Near) -> Vec<Candidate<'_>> {
        let mut candidates = Vec::new();
        let read = self.effective.unread().is_none();
        let entries = self.scene.document.entries().filter(|_| read);
        for entry in entries {
            let found = if entry.sso {
                self.names_set(near, entry).then_some(Nearness::Sso)
            } else {
                near.of_text(caller, &entry.arn)
            };
            // One that another wins over is told of there.
            if let Some(nearness) = found
                && (nearness < Nearness::Suffix || self.is_winner(entry))
            {
                let at = CandidateEntry::AwsAuth(entry);
                candidates.push(Candidate { nearness, at });
            }
        }
        let known = self.effective.access_entries().all();
        let people = known.filter_map(crate::effective::Standing::known);
        let people = people.filter(|entry| {
            !self
                .effective
                .is_node(&EffectiveEntry::of_access_entry(entry))
        });
        for entry in people {
            if let Some(nearness) = near.of_entry(&entry.principal_arn) {
                let at = CandidateEntry::AccessEntry(entry);
                candidates.push(Candidate { nearness, at });
            }
        }
        candidates
    }

    fn is_winner(&self, entry: &Entry) -> bool {
        !matches!(self.effective.index().rank(entry), Rank::Loses(_))
    }

    /// Whether an entry with `sso` names the caller's permission set.
    fn names_set(&self, near: &Near, entry: &Entry) -> bool {
        let set = near.sso.as_ref().map(|sso| sso.permission_set.as_str());
        let text = self
            .scene
            .data
            .and_then(|data| data.get(entry.section.key()));
        let item = text.and_then(|text| text.get(entry.span.clone()));
        set.zip(item).is_some_and(|(set, item)| item.contains(set))
    }

    fn near_cause(&self, caller: &Caller, near: &Near, candidate: &Candidate<'_>) -> LikelyCause {
        let Candidate { nearness, at } = *candidate;
        let words = match at {
            CandidateEntry::AwsAuth(entry) if nearness == Nearness::Path && near.is_user() => {
                format!(
                    "the same user name with another path, and users match only with their path. A login with that path can access the \
                    cluster, as {:?}",
                    entry.username
                )
            }
            CandidateEntry::AwsAuth(_) | CandidateEntry::AccessEntry(_) => {
                near.words(caller, nearness, at.arn())
            }
        };
        let (message, like) = match at {
            CandidateEntry::AwsAuth(entry) => (
                format!(
                    "{} line {} has {:?}: {words}",
                    entry.section, entry.line, entry.arn
                ),
                Like::from(entry),
            ),
            CandidateEntry::AccessEntry(entry) => (
                format!(
                    "there is an access entry for {}: {words}",
                    entry.principal_arn
                ),
                Like::from(entry),
            ),
        };
        let of_caller = Key::parse_arn(at.arn()) == caller.key;
        // A mapping of the caller's own key can only be wrong in a user's path.
        let other_path = nearness == Nearness::Path && near.is_user();
        let owner = self.declared(at.arn()).filter(|_| !of_caller || other_path);
        let fix = match (owner, at) {
            (Some(owner), _) if other_path => Some(Fix {
                text: format!("write that ARN into mapping {}", owner.mapping),
                ..self.patch(caller, &owner.mapping)
            }),
            (Some(owner), _) => Some(self.patch(caller, &owner.mapping)),
            (None, CandidateEntry::AwsAuth(entry)) if self.is_edited(nearness) => Some(Fix {
                commands: if takes_nothing(nearness) {
                    self.by_lint_of_own(caller)
                } else {
                    Vec::new()
                },
                ..self.edit(entry, &entry.arn, &caller.canonical)
            }),
            (None, CandidateEntry::AwsAuth(_) | CandidateEntry::AccessEntry(_)) => {
                self.grant(caller, Some(like))
            }
        };
        let text = |fix: Fix| match nearness {
            Nearness::Account => sign_in(caller, at.arn(), fix),
            Nearness::Path if other_path => look_up_path(caller, at.arn(), fix),
            Nearness::Typo(_) | Nearness::Invalid => Fix {
                text: format!(
                    "if that entry was intended for this principal, {}",
                    fix.text
                ),
                ..fix
            },
            Nearness::Path
            | Nearness::Session
            | Nearness::Space
            | Nearness::Sso
            | Nearness::Wildcard
            | Nearness::Suffix
            | Nearness::Kind => fix,
        };
        LikelyCause {
            kind: nearness.cause(),
            message,
            fix: fix.map(text),
        }
    }

    /// Whether the fix is a change of the entry itself: where it can only be meant for the caller, or for nobody any more.
    fn is_edited(&self, nearness: Nearness) -> bool {
        match nearness {
            Nearness::Space | Nearness::Invalid => true,
            Nearness::Path | Nearness::Session | Nearness::Suffix | Nearness::Typo(_) => {
                !self.scene.installed
            }
            Nearness::Sso | Nearness::Wildcard | Nearness::Account | Nearness::Kind => false,
        }
    }

    /// A mapping that names another principal than it should.
    fn patch(&self, caller: &Caller, mapping: &str) -> Fix {
        let principal = self.principal(caller);
        let arn = principal.map_or_else(|| caller.canonical.clone(), |it| it.arn());
        let patch = serde_json::json!({"spec": {"principal": {"arn": arn, "permissionSet": null}}});
        Fix {
            text: format!(
                "mapping {mapping} declares that principal: if this one was intended, write this one into the mapping"
            ),
            commands: vec![format!(
                "kubectl patch identitymapping {mapping} --type merge -p {}",
                quoted(&patch.to_string())
            )],
            ..Fix::default()
        }
    }
}

/// Whether the entry can't be anybody else's, so that `lint` fixes it.
fn takes_nothing(nearness: Nearness) -> bool {
    matches!(nearness, Nearness::Space | Nearness::Path)
}

fn sign_in(caller: &Caller, other: &str, fix: Fix) -> Fix {
    let account = other.split(':').nth(4).unwrap_or_default();
    Fix {
        text: format!(
            "if account {account} was intended, sign in there (`aws sts get-caller-identity` shows the account, now {}); if this \
                one was intended, {}",
            caller.parsed.account, fix.text
        ),
        ..fix
    }
}

/// Names are unique within an account, so only one of the two paths exists: IAM says which.
fn look_up_path(caller: &Caller, entry: &str, fix: Fix) -> Fix {
    let look_up = format!(
        "aws iam get-user --user-name {} --query User.Arn --output text",
        quoted(caller.name())
    );
    Fix {
        text: format!(
            "look up the user's path in IAM. With {entry} nothing needs to change; with {}, {}",
            caller.canonical, fix.text
        ),
        commands: [look_up].into_iter().chain(fix.commands).collect(),
        ..fix
    }
}

/// The caller, as others are compared with it.
struct Near {
    folded: String,
    /// What a session's ARN has where the caller's is its role.
    session: String,
    key: Option<Key>,
    sso: Option<SsoRole>,
    most: usize,
}

impl Near {
    fn of(caller: &Caller) -> Self {
        let name = caller.name();
        Self {
            folded: fold_arn(&caller.canonical),
            session: fold_arn(&format!(":{}:assumed-role/{name}/", caller.parsed.account)),
            key: caller.key.clone(),
            sso: SsoRole::parse_name(name),
            most: most_typos(name),
        }
    }

    fn is_user(&self) -> bool {
        self.key.as_ref().map(Key::kind) == Some(PrincipalKind::User)
    }

    /// How an entry of aws-auth is near, and in how many characters it differs.
    fn of_text(&self, caller: &Caller, arn: &str) -> Option<Nearness> {
        if arn.trim() != arn && fold_arn(arn.trim()) == self.folded {
            return Some(Nearness::Space);
        }
        if is_seen_as(arn, &self.folded) {
            return Some(Nearness::Invalid);
        }
        if arn.contains('*') && matches(&fold_arn(arn), &self.folded) {
            return Some(Nearness::Wildcard);
        }
        let key = self.key.as_ref()?;
        let Some(other) = Key::parse_arn(arn) else {
            let is_role = key.kind() == PrincipalKind::Role;
            let arn = fold_arn(arn);
            return if is_role && arn.contains(&self.session) {
                Some(Nearness::Session)
            } else {
                is_invalid_arn_of(key, &arn).then_some(Nearness::Invalid)
            };
        };
        if other == *key {
            return (fold_arn(arn) != fold_arn(&caller.canonical)).then_some(Nearness::Path);
        }
        self.of_other(key, &other, arn)
    }

    /// How an access entry is near, and in how many characters it differs.
    fn of_entry(&self, arn: &str) -> Option<Nearness> {
        let key = self.key.as_ref()?;
        let other = Key::parse_arn(arn).filter(|other| other != key)?;
        self.of_other(key, &other, arn)
    }

    fn of_other(&self, key: &Key, other: &Key, arn: &str) -> Option<Nearness> {
        let home = key.account() == other.account() && key.partition() == other.partition();
        if key.name() == other.name() {
            return Some(if home {
                Nearness::Kind
            } else {
                Nearness::Account
            });
        }
        if !home || key.kind() != other.kind() {
            return None;
        }
        if let Some(sso) = &self.sso {
            // The suffix alone differs where the set was assigned anew.
            let same = suffix_of(sso, arn).is_some();
            return same.then_some(Nearness::Suffix);
        }
        distance(key.name(), other.name(), self.most).map(Nearness::Typo)
    }

    /// What keeps an entry that is near so from letting the caller in.
    fn words(&self, caller: &Caller, nearness: Nearness, arn: &str) -> String {
        let account = arn.split(':').nth(4).unwrap_or_default();
        let role = self.key.as_ref().map(Key::kind) == Some(PrincipalKind::Role);
        let words = match nearness {
            Nearness::Space => "its ARN contains whitespace, so it never matches",
            Nearness::Invalid => {
                return match Principal::parse(arn) {
                    Err(PrincipalError::Arn(why)) => {
                        format!("that is not a valid ARN, so it never matches: {why}")
                    }
                    Err(_) | Ok(_) => {
                        "that is not the ARN of a role or user, so it never matches".to_owned()
                    }
                };
            }
            Nearness::Wildcard => "aws-auth has no wildcards: the * is read as part of the name",
            Nearness::Session => {
                "that is the ARN of a session; a login with the role matches only the ARN of the role"
            }
            Nearness::Sso => "it names the permission set with `sso`, which EKS does not support",
            Nearness::Path => {
                "its ARN contains a path, and aws-iam-authenticator sees roles without their path"
            }
            Nearness::Kind if role => "that is a user, and this is a role",
            Nearness::Kind => "that is a role, and this is a user",
            Nearness::Account => {
                return format!(
                    "that is account {account}, and this is account {}",
                    caller.parsed.account
                );
            }
            Nearness::Suffix => {
                return self.sso.as_ref().map_or_else(String::new, |sso| {
                    format!(
                        "the role of permission set {} had the suffix {}; since the permission set was assigned again it has {}",
                        sso.permission_set,
                        suffix_of(sso, arn).unwrap_or_default(),
                        sso.suffix
                    )
                });
            }
            Nearness::Typo(1) => "the name differs in 1 character",
            Nearness::Typo(far) => return format!("the name differs in {far} characters"),
        };
        words.to_owned()
    }
}

/// Whether an ARN differs from another in what can't be seen: invisible characters, letters of other alphabets, quotes that are part of
/// it.
fn is_seen_as(arn: &str, folded: &str) -> bool {
    let seen = as_seen(arn);
    let seen = seen.trim_matches(['\\', '"', '\'']);
    seen != arn && fold_arn(seen) == folded
}

/// Whether a text was meant as the ARN of this principal: it ends in the name, and names no other account.
fn is_invalid_arn_of(key: &Key, folded: &str) -> bool {
    let folded = folded.trim_matches(|c: char| c.is_whitespace() || "\"'<>,;".contains(c));
    let (before, name) = folded.rsplit_once(['/', ':']).unwrap_or(("", folded));
    let other = |part: &str| {
        part.parse::<AccountId>()
            .is_ok_and(|account| account != *key.account())
    };
    name == key.name() && before.contains("arn") && !before.split(':').any(other)
}

/// The suffix of a role of the same permission set.
fn suffix_of(sso: &SsoRole, arn: &str) -> Option<String> {
    let name = arn.rsplit('/').next().unwrap_or_default();
    SsoRole::parse_name(name)
        .filter(|other| other.permission_set == sso.permission_set)
        .map(|other| other.suffix)
}

/// Whether a name differs from another in so few characters that one may be a slip of the other.
pub(crate) fn is_typo(name: &str, of: &str) -> bool {
    distance(name, of, most_typos(name)).is_some()
}

/// How many characters of a name may differ: in names of four and less, two would make almost any of another.
fn most_typos(name: &str) -> usize {
    match name.len() {
        0..=4 => 1,
        5..=17 => 2,
        _ => 3,
    }
}

/// How many characters have to be changed, added, taken away or swapped with the next; `None` for more than `most`, or for a name that
/// is longer than IAM has them. Thousands of names are compared, so nothing is allocated.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > most || b.len() > NAME_LENGTH {
        return None;
    }
    let mut before = [0; NAME_LENGTH + 1];
    let mut above: [usize; NAME_LENGTH + 1] = std::array::from_fn(|column| column);
    for i in 1..=a.len() {
        let mut row = [i; NAME_LENGTH + 1];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row[j] = least;
        }
        if row[..=b.len()].iter().all(|distance| *distance > most) {
            return None;
        }
        before = std::mem::replace(&mut above, row);
    }
    Some(above[b.len()]).filter(|distance| *distance <= most)
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
}
