//! Whether a caller has access, with which identity, and why other entries of the same principal have no effect.

use serde::Serialize;

use crate::access_entry::{AccessEntry, PRINCIPAL_ID_TAG, broken_nodes};
use crate::aws_auth::{Entry, Lookup, ProblemKind, fold_arn};
use crate::effective::{Granted, Life, Standing, Unread, in_iam, no_effect_among};
use crate::explain::caller::Caller;
use crate::explain::cause::{LikelyCause, Refused};
use crate::explain::identity::GrantSource;
use crate::explain::identity::{EntryPlace, Identity, PassedOver};
use crate::explain::scene::Explainer;
use crate::observed::Mode;
use crate::principal::{Key, Partition, Principal, PrincipalKind, Resource};

/// Whether a caller has access, as what, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    /// The ARN as it was given.
    pub(crate) caller: String,
    /// The ARN under which the authenticator looks the caller up.
    pub(crate) resolved_to: String,
    /// Whether the caller has access.
    pub(crate) has_access: bool,
    /// As what. More than one where the authenticator picks one at random at each login.
    pub(crate) identities: Vec<Identity>,
    /// Why the caller is without access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<String>,
    /// The likely causes of that, the likeliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<LikelyCause>,
    /// The entries of the same principal that do not count, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(rename = "notUsed")]
    pub(crate) passed_over: Vec<PassedOver>,
    /// What else is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

/// So many faults of an entry are noted.
const NOTED: usize = 8;

/// What came of the lookup.
pub(super) enum LookupResult<'a> {
    In(Vec<GrantSource<'a>>),
    Refused { words: String, by: Refused },
}

impl<'a> Explainer<'a> {
    /// Explains a caller. `user_id` is what STS says of it (`AROA…:session`, `AIDA…`), where the caller asks for itself.
    #[must_use]
    pub(crate) fn explain(&self, caller: &Caller, user_id: Option<&str>) -> Explanation {
        let asked = caller;
        // What STS says of its own caller has the right path.
        let in_iam = self.with_path_of_iam(asked).filter(|_| user_id.is_none());
        let caller = in_iam.as_ref().unwrap_or(asked);
        let standing = self.standing_as_told(caller, user_id);
        let mut explanation = Explanation {
            caller: asked.arn.clone(),
            resolved_to: caller.canonical.clone(),
            has_access: false,
            identities: Vec::new(),
            refusal: None,
            causes: Vec::new(),
            passed_over: self.passed_over(caller, &standing),
            notes: Vec::new(),
        };
        explanation.notes.extend(in_iam.as_ref().map(|caller| {
            format!(
                "IAM has this user as {}, so that is the ARN of its logins",
                caller.arn
            )
        }));
        match self.find(caller, &standing) {
            LookupResult::In(sources) => {
                explanation.notes.extend(other_path(caller, &sources));
                for source in &sources {
                    if let GrantSource::AccessEntry(entry) = source {
                        explanation.notes.extend(self.broken_nodes(entry));
                    }
                }
                let sources = sources.into_iter();
                let identities = sources.map(|source| self.identity(source, Some(caller)));
                explanation.identities = identities.collect();
                explanation.has_access = true;
                note(caller, &standing, &mut explanation);
                explanation
                    .notes
                    .extend(self.idle_mapping(caller).map(|idle| {
                        format!(
                            "mapping {} also declares this principal but grants nothing: {}",
                            idle.mapping, idle.words
                        )
                    }));
                explanation.notes.extend(self.dropped_of(&explanation));
                if explanation.identities.iter().any(Identity::is_of_account) {
                    explanation.notes.push(
                        "only mapAccounts grants access: the username is the ARN, and there are no groups".to_owned(),
                    );
                    explanation.causes = self.causes_beside_account(caller);
                }
            }
            LookupResult::Refused { words, by } => {
                explanation.refusal = Some(words);
                explanation.causes = self.causes(caller, &standing, by);
                explanation.notes.extend(self.not_in_iam(caller));
                if self.mode() == Some(Mode::ConfigMap) {
                    explanation.notes.push(format!(
                        "the cluster creator is also an administrator in CONFIG_MAP mode and is not listed anywhere: \
                            `identity-mapper access{}` shows how to find out who it is",
                        self.scene.flags
                    ));
                }
            }
        }
        explanation
    }

    /// A user as IAM has it, where that is another ARN: a login has the user's path, and names are unique within an account.
    fn with_path_of_iam(&self, caller: &Caller) -> Option<Caller> {
        let Resource::User { .. } = &caller.parsed.resource else {
            return None;
        };
        let principal = Principal::parse(&caller.canonical).ok()?;
        let found = in_iam(&principal, &self.scene.aws.view()?.iam)?;
        let differs = fold_arn(&found.arn) != fold_arn(&caller.canonical);
        Caller::parse(&found.arn).ok().filter(|_| differs)
    }

    /// That nodes of an entry of aws-auth can't work, because the access entry that wins over it is of another type.
    pub(super) fn broken_nodes(&self, entry: &AccessEntry) -> Option<String> {
        if self.effective.unread().is_some() {
            return None;
        }
        let cluster = &self.scene.aws.view()?.cluster;
        let arn = Principal::parse(&entry.principal_arn).ok()?.aws_auth_arn();
        let (Lookup::Role(text) | Lookup::User(text)) = self.effective.index().lookup(&arn) else {
            return None;
        };
        let why = broken_nodes(&text.username, &text.groups, entry, cluster)?;
        Some(format!("{} line {}: {why}", text.section, text.line))
    }

    /// What the authenticator drops of the entries that grant access.
    fn dropped_of(&self, explanation: &Explanation) -> Vec<String> {
        let mut notes = Vec::new();
        for identity in &explanation.identities {
            let entries = self.scene.document.entries();
            let entry = entries
                .filter(|entry| EntryPlace::of(entry) == identity.place)
                .last();
            let Some(entry) = entry else { continue };
            let view = self.scene.document.section(entry.section);
            // Lines behind the entry can be meant for it.
            let mut later = view.entries.iter().map(|other| other.span.start);
            let end = later.find(|start| *start > entry.span.start);
            let lines = entry.span.start..end.unwrap_or(usize::MAX);
            let of_entry = view
                .problems
                .iter()
                .filter(|problem| lines.contains(&problem.span.start));
            notes.extend(of_entry.take(NOTED).map(|problem| {
                let what = match problem.kind {
                    ProblemKind::SectionDropped | ProblemKind::EntryDropped => "an item is dropped",
                    ProblemKind::FieldEmptied => "the value is dropped",
                    ProblemKind::Misread => "the authenticator reads these lines differently",
                };
                format!(
                    "{} line {}: {what}: {}",
                    problem.section, problem.line, problem.message
                )
            }));
        }
        notes
    }

    /// That IAM has no such principal, where it was read.
    fn not_in_iam(&self, caller: &Caller) -> Option<String> {
        let principal = Principal::parse(&caller.canonical).ok()?;
        let iam = &self.scene.aws.view()?.iam;
        let account = iam.accounts.get(&principal.account)?;
        let listing = match principal.kind {
            PrincipalKind::Role => account.roles.as_ref(),
            PrincipalKind::User => account.users.as_ref(),
        };
        (listing.is_some() && in_iam(&principal, iam).is_none())
            .then(|| format!("IAM has no {} {}", principal.kind, principal.arn()))
    }

    /// The access entries of a key.
    pub(super) fn standing_of(&self, key: &Key) -> &[Standing<'a>] {
        self.effective.access_entries().of_key(key)
    }

    /// The access entries of the caller's key. What STS says of the caller's id is newer than any listing of IAM.
    fn standing_as_told(&self, caller: &Caller, user_id: Option<&str>) -> Vec<Standing<'a>> {
        let standing = caller.key.as_ref().map(|key| self.standing_of(key));
        let mut standing = standing.unwrap_or_default().to_vec();
        let id = user_id.and_then(|user_id| user_id.split(':').next());
        for standing in &mut standing {
            let made_for = standing
                .known()
                .and_then(|entry| entry.tags.get(PRINCIPAL_ID_TAG));
            if let (Some(made_for), Some(id)) = (made_for, id) {
                standing.life = if made_for == id {
                    Life::Alive
                } else {
                    Life::Recreated {
                        before: Some(made_for.clone()),
                        now: id.to_owned(),
                        certain: false,
                    }
                };
            }
        }
        standing
    }

    fn find(&self, caller: &Caller, standing: &[Standing<'a>]) -> LookupResult<'a> {
        let entries = match self.effective.granted_among(standing, &caller.canonical) {
            Granted::AccessEntry(wins) => {
                return match wins.known() {
                    Some(entry) => by_access_entry(caller, entry),
                    None => LookupResult::Refused {
                        words: format!(
                            "the access entry of {} may have changed and was not read again yet: run this command again",
                            wins.principal_arn
                        ),
                        by: Refused::Doubtful,
                    },
                };
            }
            Granted::AwsAuth(entry) => vec![entry],
            Granted::AnyOf(variants) => variants,
            Granted::Account(account) => {
                return LookupResult::In(vec![GrantSource::Account { account }]);
            }
            Granted::Nothing => {
                return LookupResult::Refused {
                    words: self.refusal(caller),
                    by: Refused::Unnamed,
                };
            }
        };
        by_text(caller, entries)
    }

    /// Why nothing grants a caller access.
    fn refusal(&self, caller: &Caller) -> String {
        let arn = &caller.canonical;
        if let Some(cluster) = self.elsewhere(caller) {
            return format!("{arn} is not in the partition of the cluster ({cluster})");
        }
        let entries = self.effective.counts_access_entries();
        match (self.effective.unread(), entries) {
            (Some(Unread::Mode), _) => {
                format!("no access entry grants {arn} access, and {}", Unread::Mode)
            }
            (Some(Unread::Name), true) => format!(
                "no access entry grants {arn} access, and {} is not read: {}",
                self.scene.config_map,
                Unread::Name
            ),
            (Some(Unread::Name), false) => {
                format!("{} is not read: {}", self.scene.config_map, Unread::Name)
            }
            (None, true) => {
                format!("neither an access entry nor an entry of aws-auth grants {arn} access")
            }
            (None, false) => format!("no entry of aws-auth grants {arn} access"),
        }
    }

    /// The cluster's partition, where the caller is in another.
    pub(super) fn elsewhere(&self, caller: &Caller) -> Option<Partition> {
        let cluster = self.effective.partition()?;
        (caller.parsed.partition != cluster).then_some(cluster)
    }

    /// The entries of the caller's principal that have no effect.
    fn passed_over(&self, caller: &Caller, standing: &[Standing<'a>]) -> Vec<PassedOver> {
        let Some(key) = &caller.key else {
            return Vec::new();
        };
        let entries = self.scene.document.entries();
        let of_text = entries
            .filter(|entry| entry.key().as_ref() == Some(key))
            .filter_map(|entry| self.passed_over_entry(entry));
        let of_eks = standing
            .iter()
            .filter_map(|entry| passed_over_standing(standing, entry));
        of_eks.chain(of_text).collect()
    }

    /// Why an entry of aws-auth has no effect, where it has none.
    fn passed_over_entry(&self, entry: &Entry) -> Option<PassedOver> {
        Some(PassedOver {
            principal: entry.arn.clone(),
            place: EntryPlace::of(entry),
            why: self.effective.no_effect(entry)?.to_string(),
        })
    }
}

/// That the access entry is for another path than the caller's ARN has: EKS finds it all the same.
fn other_path(caller: &Caller, sources: &[GrantSource<'_>]) -> Option<String> {
    let (Resource::Role { .. } | Resource::User { .. }) = &caller.parsed.resource else {
        return None;
    };
    sources.iter().find_map(|source| {
        let GrantSource::AccessEntry(entry) = source else {
            return None;
        };
        let arn = &entry.principal_arn;
        (fold_arn(arn) != fold_arn(&caller.arn)).then(|| {
            format!("the access entry is for {arn}: names are unique within an account, so no other principal is meant")
        })
    })
}

/// What is worth knowing of those who have access.
fn note(caller: &Caller, standing: &[Standing<'_>], explanation: &mut Explanation) {
    let notes = &mut explanation.notes;
    if explanation.identities.len() > 1 {
        notes.push(
            "mapUsers contains the ARN in several spellings of case, and the authenticator uses one at random at each login: keep \
                only one"
                .to_owned(),
        );
    }
    if explanation.identities.iter().any(Identity::is_nameless) {
        notes.push(
            "the login has no username: it has the permissions of its groups, and audit logs don't show who it is"
                .to_owned(),
        );
    }
    if explanation.identities.iter().any(Identity::is_open) {
        notes.push(match caller.session {
            None => "placeholders are filled in at each login; give the ARN of a session, as `aws sts get-caller-identity` prints \
                it, to see their values"
                .to_owned(),
            Some(_) => "placeholders that remain are filled in at login and are not known here".to_owned(),
        });
    }
    let unproven = standing.iter().any(|standing| {
        !standing.life.is_dead()
            && standing.life == Life::Unknown
            && explanation.identities.iter().any(|identity| {
                matches!(identity.place, EntryPlace::AccessEntry(_))
                    && identity.principal == standing.principal_arn
            })
    });
    if unproven {
        notes.push(
            "an access entry is only for the principal that existed when it was created. IAM was not read, so a deletion and \
                recreation of the principal would not be noticed"
                .to_owned(),
        );
    }
    for declared in explanation
        .identities
        .iter()
        .filter_map(|it| it.declared.as_ref())
    {
        if let Some(words) = &declared.not_ready {
            notes.push(format!(
                "mapping {} is not active: {words}",
                declared.mapping
            ));
        }
    }
}

/// Why one of the access entries of a key has no effect, where it has none.
fn passed_over_standing<'a>(
    of_key: &[Standing<'a>],
    standing: &Standing<'a>,
) -> Option<PassedOver> {
    let why = no_effect_among(of_key, standing)?;
    Some(PassedOver::of_access_entry(
        standing.principal_arn,
        standing.state,
        why.to_string(),
    ))
}

fn by_text<'a>(caller: &Caller, entries: Vec<&'a Entry>) -> LookupResult<'a> {
    for entry in &entries {
        let templates = entry.groups.iter().chain([&entry.username]);
        if let Some(words) = no_instance(caller, templates) {
            return LookupResult::Refused {
                words,
                by: Refused::NotAnInstance,
            };
        }
    }
    LookupResult::In(entries.into_iter().map(GrantSource::AwsAuth).collect())
}

fn by_access_entry<'a>(caller: &Caller, entry: &'a AccessEntry) -> LookupResult<'a> {
    let templates = entry.groups.iter().chain([&entry.username]);
    match no_instance(caller, templates) {
        Some(words) => LookupResult::Refused {
            words,
            by: Refused::NotAnInstance,
        },
        None => LookupResult::In(vec![GrantSource::AccessEntry(entry)]),
    }
}

/// Why a login fails that is found by an entry of instances.
fn no_instance<'t>(caller: &Caller, templates: impl Iterator<Item = &'t String>) -> Option<String> {
    let mut lacking = templates.filter(|template| caller.lacks_instance(template));
    let template = lacking.next()?;
    Some(format!(
        "the entry needs the name of an EC2 instance ({template}), and session {:?} is not an instance: the login fails",
        caller.session.as_deref().unwrap_or_default()
    ))
}
