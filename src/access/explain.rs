//! Whether a caller is let in, as what, and why other entries of the same principal don't count.

use serde::Serialize;

use super::identity::Source;
use super::{Caller, Cause, Door, Identity, PassedOver, Place, unmatchable_words};
use crate::access_entry::{Entry as AccessEntry, PRINCIPAL_ID_TAG};
use crate::aws_auth::{Entry, Lookup, Section};
use crate::effective::{Entrance, Life, Standing, entrance, in_iam, unmatchable};
use crate::observed::Mode;
use crate::principal::{Key, Principal, PrincipalKind};

/// Whether a caller is let in, as what, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The ARN as it was given.
    pub caller: String,
    /// The ARN under which the authenticator looks the caller up.
    pub looked_up_as: String,
    /// Whether the caller is let in.
    pub let_in: bool,
    /// As what. More than one where the authenticator picks one at random at each login.
    pub identities: Vec<Identity>,
    /// Why the caller is not let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The likely causes of that, the likeliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// The entries of the same principal that do not count, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// What else is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What came of the lookup.
pub(super) enum Found<'a> {
    In(Vec<Source<'a>>),
    Refused { words: String, by: Refused<'a> },
}

/// What refuses a caller.
#[derive(Clone, Copy)]
pub(super) enum Refused<'a> {
    /// Nothing lets it in.
    Unnamed,
    /// The entry that it is found by has no username.
    NoUsername(&'a Entry),
    /// The entry that it is found by asks for the name of an instance.
    NotAnInstance,
    /// The access entry that it is found by has to be described again.
    Doubtful,
}

impl<'a> Door<'a> {
    /// Explains a caller. `user_id` is what STS says of it (`AROA…:session`, `AIDA…`), where the caller asks for itself.
    #[must_use]
    pub fn explain(&self, caller: &Caller, user_id: Option<&str>) -> Explanation {
        let standing = self.standing_as_told(caller, user_id);
        let mut explanation = Explanation {
            caller: caller.arn.clone(),
            looked_up_as: caller.canonical.clone(),
            let_in: false,
            identities: Vec::new(),
            refusal: None,
            causes: Vec::new(),
            passed_over: self.passed_over(caller, &standing),
            notes: Vec::new(),
        };
        match self.find(caller, &standing) {
            Found::In(sources) => {
                let sources = sources.into_iter();
                let identities = sources.map(|source| self.identity(source, Some(caller)));
                explanation.identities = identities.collect();
                explanation.let_in = true;
                note(caller, &standing, &mut explanation);
            }
            Found::Refused { words, by } => {
                explanation.refusal = Some(words);
                explanation.causes = self.causes(caller, &standing, by);
                explanation.notes.extend(self.not_in_iam(caller));
                if self.mode() == Some(Mode::ConfigMap) {
                    explanation.notes.push(
                        "whoever created the cluster is an administrator in the mode CONFIG_MAP, and stands nowhere: \
                         `identity-mapper access` says how to find out"
                            .to_owned(),
                    );
                }
            }
        }
        explanation
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
        if self.eks.is_some() {
            self.standing.of_key(key)
        } else {
            &[]
        }
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
                    }
                };
            }
        }
        standing
    }

    fn find(&self, caller: &Caller, standing: &[Standing<'a>]) -> Found<'a> {
        let text = || self.index.lookup(&caller.canonical);
        match entrance(self.mode(), standing, text) {
            Entrance::AccessEntry(wins) => match wins.known() {
                Some(entry) => by_access_entry(caller, entry),
                None => Found::Refused {
                    words: format!(
                        "the access entry of {} has not been described since it may have changed: run it again",
                        wins.principal_arn
                    ),
                    by: Refused::Doubtful,
                },
            },
            Entrance::AwsAuth(found) => self.by_text(caller, &found),
            Entrance::Closed => Found::Refused {
                words: format!(
                    "no access entry lets {} in, and aws-auth is not read in the mode API",
                    caller.canonical
                ),
                by: Refused::Unnamed,
            },
        }
    }

    fn by_text(&self, caller: &Caller, found: &Lookup<'a>) -> Found<'a> {
        let entries: Vec<&'a Entry> = match found {
            Lookup::Role(entry) | Lookup::User(entry) => vec![*entry],
            Lookup::AmbiguousUser(entries) => entries.clone(),
            Lookup::Account => {
                let accounts = &self.scene.document.section(Section::Accounts).accounts;
                let account = caller.parsed.account.as_str();
                let named = accounts.iter().find(|named| *named == account);
                let source = named.map(|account| Source::Account { account });
                return Found::In(source.into_iter().collect());
            }
            Lookup::None => {
                let both = if self.eks.is_some() {
                    "no access entry and no entry of aws-auth lets"
                } else {
                    "no entry of aws-auth lets"
                };
                return Found::Refused {
                    words: format!("{both} {} in", caller.canonical),
                    by: Refused::Unnamed,
                };
            }
        };
        for entry in &entries {
            if entry.username.is_empty() {
                let words = format!(
                    "{} line {} is the entry that counts, and it has no username: without one the API server takes no login",
                    entry.section, entry.line
                );
                return Found::Refused {
                    words,
                    by: Refused::NoUsername(entry),
                };
            }
            let templates = entry.groups.iter().chain([&entry.username]);
            if let Some(words) = no_instance(caller, templates) {
                return Found::Refused {
                    words,
                    by: Refused::NotAnInstance,
                };
            }
        }
        Found::In(entries.into_iter().map(Source::AwsAuth).collect())
    }

    /// The entries of the caller's principal that do not count.
    fn passed_over(&self, caller: &Caller, standing: &[Standing<'_>]) -> Vec<PassedOver> {
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

    /// Why an entry of aws-auth lets nobody in, where it does not.
    pub(super) fn passed_over_entry(&self, entry: &Entry) -> Option<PassedOver> {
        let why = self.why_not(entry)?;
        Some(PassedOver {
            principal: entry.arn.clone(),
            place: Place::of(entry),
            why,
        })
    }

    fn why_not(&self, entry: &Entry) -> Option<String> {
        if let Some(why) = unmatchable(entry) {
            return Some(unmatchable_words(why).to_owned());
        }
        if self.mode() == Some(Mode::Api) {
            return Some("aws-auth is not read in the mode API".to_owned());
        }
        let key = self.eks.and_then(|_| entry.key());
        let standing = key
            .as_ref()
            .map(|key| self.standing_of(key))
            .unwrap_or_default();
        let found = match entrance(self.mode(), standing, || self.index.lookup(&entry.arn)) {
            Entrance::AccessEntry(wins) => {
                return Some(format!(
                    "the access entry of {} wins over aws-auth",
                    wins.principal_arn
                ));
            }
            Entrance::AwsAuth(found) => found,
            Entrance::Closed => Lookup::None,
        };
        let is_it = |other: &Entry| other.section == entry.section && other.item == entry.item;
        match found {
            Lookup::Role(wins) | Lookup::User(wins) if is_it(wins) => None,
            Lookup::Role(wins) if wins.section != entry.section => Some(format!(
                "{} line {} names the same ARN, and mapRoles is looked at first",
                wins.section, wins.line
            )),
            Lookup::Role(wins) | Lookup::User(wins) => Some(format!(
                "{} line {} names the same ARN, and the last one wins",
                wins.section, wins.line
            )),
            Lookup::AmbiguousUser(variants) if variants.iter().any(|other| is_it(other)) => None,
            Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => {
                Some("a later entry of the same ARN wins".to_owned())
            }
        }
    }
}

/// What is worth knowing of whoever is let in.
fn note(caller: &Caller, standing: &[Standing<'_>], explanation: &mut Explanation) {
    let notes = &mut explanation.notes;
    if explanation.identities.len() > 1 {
        notes.push(
            "mapUsers has the ARN in several spellings of case, and the authenticator picks one at random at each login: leave one"
                .to_owned(),
        );
    }
    if explanation.identities.iter().any(Identity::is_open) {
        notes.push(match caller.session {
            None => "the placeholders are filled in at each login; give the ARN of a session, as `aws sts get-caller-identity` \
                     prints it, to see them filled in"
                .to_owned(),
            Some(_) => "what stays in braces is filled in at the login, and not known here".to_owned(),
        });
    }
    let unproven = standing.iter().any(|standing| {
        !standing.life.is_dead()
            && standing.life == Life::Unknown
            && explanation.identities.iter().any(|identity| {
                matches!(identity.place, Place::AccessEntry(_))
                    && identity.principal == standing.principal_arn
            })
    });
    if unproven {
        notes.push(
            "an access entry is for the principal as it was when the entry was made: IAM was not read, so that one that was deleted \
             and made again since is not noticed"
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
                "mapping {} is not in effect: {words}",
                declared.mapping
            ));
        }
    }
}

/// Why one of the access entries of a key lets nobody in, where it does not.
pub(super) fn passed_over_standing(
    of_key: &[Standing<'_>],
    standing: &Standing<'_>,
) -> Option<PassedOver> {
    let why = match &standing.life {
        Life::Alive | Life::Unknown => {
            let wins = of_key.iter().find(|other| !other.life.is_dead())?;
            if wins.principal_arn == standing.principal_arn {
                return None;
            }
            format!(
                "the access entry of {} is the principal's own",
                wins.principal_arn
            )
        }
        dead @ (Life::Recreated { .. } | Life::Missing { .. }) => dead_words(dead),
    };
    let entry = standing.state.entry.as_ref();
    Some(PassedOver {
        principal: standing.principal_arn.to_owned(),
        place: Place::AccessEntry(entry.map(|entry| entry.arn.clone()).unwrap_or_default()),
        why,
    })
}

fn by_access_entry<'a>(caller: &Caller, entry: &'a AccessEntry) -> Found<'a> {
    let templates = entry.groups.iter().chain([&entry.username]);
    match no_instance(caller, templates) {
        Some(words) => Found::Refused {
            words,
            by: Refused::NotAnInstance,
        },
        None => Found::In(vec![Source::AccessEntry(entry)]),
    }
}

/// Why a dead access entry is one.
pub(super) fn dead_words(life: &Life) -> String {
    match life {
        Life::Recreated { before, now } => {
            let before = before
                .as_ref()
                .map_or_else(String::new, |before| format!(" from {before}"));
            format!(
                "its principal was deleted and made again, so that its id changed{before} to {now}, and EKS knows principals by their id"
            )
        }
        Life::Missing { elsewhere: None } => "IAM has no such principal any more".to_owned(),
        Life::Missing {
            elsewhere: Some(arn),
        } => format!("IAM has the principal as {arn} now"),
        Life::Alive | Life::Unknown => "it lets its principal in".to_owned(),
    }
}

/// Why a login fails that is found by an entry of instances.
fn no_instance<'t>(caller: &Caller, templates: impl Iterator<Item = &'t String>) -> Option<String> {
    let mut lacking = templates.filter(|template| caller.lacks_instance(template));
    let template = lacking.next()?;
    Some(format!(
        "the entry that counts asks for the name of an instance ({template}), and session {:?} is none of an instance: the login fails",
        caller.session.as_deref().unwrap_or_default()
    ))
}
