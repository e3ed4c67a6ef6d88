//! Computes the calls that change an existing access entry into the declared one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{AccessEntry, BRIDGE_GROUP, Call, Kind, Scope, Target};
use crate::api::v1alpha1::EntryType;
use crate::principal::Principal;

/// The tag that names the installation of the operator that an entry is owned by.
pub const INSTALLATION_TAG: &str = "identity-mapper.dev/installation";
/// The tag that names the mapping that an entry was made for.
pub const MAPPING_TAG: &str = "identity-mapper.dev/mapping";
/// The tag that keeps the principal's unique id (`AROA…`, `AIDA…`): no other of its name has access by the entry.
pub const PRINCIPAL_ID_TAG: &str = "identity-mapper.dev/principal-id";

/// The tag that says that an entry was made by us and not adopted: only then it is certain that no part of EKS needs it.
pub const CREATED_TAG: &str = "identity-mapper.dev/created";
/// The tag that lists the policies that AWS associated with an adopted entry, as `ownership::aws_managed` writes it.
pub const AWS_POLICIES_TAG: &str = "identity-mapper.dev/aws-policies";

/// All tags of ours.
const OUR_TAGS: [&str; 5] = [
    INSTALLATION_TAG,
    MAPPING_TAG,
    PRINCIPAL_ID_TAG,
    CREATED_TAG,
    AWS_POLICIES_TAG,
];

/// The value of [`CREATED_TAG`].
pub const CREATED: &str = "true";

/// What an entry is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What the mapping asks for.
    pub target: &'a Target,
    /// Our tags, to be set. Others are left as they are.
    pub tags: &'a BTreeMap<String, String>,
    /// Whether [`BRIDGE_GROUP`] is to be among the groups.
    pub bridge: bool,
    /// A username that EKS gave where none was sent, although it is not the target's `default_username`.
    pub accepted_default: Option<&'a str>,
    /// Policies, by ARN, that AWS associated: their associations stay as they are, declared or not.
    pub of_aws: &'a BTreeSet<String>,
}

/// What leads from a standing entry to the wanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it is as wanted.
    Same,
    /// These calls, in this order.
    Calls(Vec<Call>),
    /// EKS can't change it in place: it must be deleted and created, and between the two the principal has no entry.
    Recreate(Recreate),
    /// It is of a type that this version does not know, and is left alone.
    UnknownType(UnknownType),
}

/// Why an entry can't be changed in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Recreate {
    /// The type differs.
    #[error(
        "the access entry has type {found}, and type {wanted} is declared: EKS can't change the type of an access entry, so it must \
         be deleted and created"
    )]
    Type {
        /// As it is.
        found: Kind,
        /// As declared.
        wanted: Kind,
    },
    /// The principal's ARN differs, as where a role was made anew under another path.
    #[error(
        "the access entry is of {found}, and the principal is {wanted}: EKS can't change the principal of an access entry, so it \
         must be deleted and created"
    )]
    Principal {
        /// As it is.
        found: String,
        /// As declared.
        wanted: String,
    },
}

/// The standing entry is of a type that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the access entry has type {found}, which this version of identity-mapper does not know, so the operator does not change \
        it; upgrade identity-mapper, or delete the entry yourself"
)]
pub struct UnknownType {
    /// The type, as EKS spells it.
    pub found: String,
}

/// One thing in which a standing entry means something else than what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The principal's ARN.
    Principal {
        /// As it is.
        found: String,
        /// As wanted.
        wanted: String,
    },
    /// The type.
    Type {
        /// As it is.
        found: Kind,
        /// As wanted.
        wanted: Kind,
    },
    /// The username.
    Username {
        /// As it is.
        found: String,
        /// As wanted; EKS's default where none is declared.
        wanted: String,
    },
    /// A group that exists and is not wanted.
    GroupAdded(String),
    /// A group that is wanted and does not stand.
    GroupMissing(String),
    /// A policy that exists and is not wanted.
    PolicyAdded {
        /// The policy's ARN.
        policy_arn: String,
        /// Where it holds.
        scope: Scope,
    },
    /// A policy that is wanted and does not stand.
    PolicyMissing {
        /// The policy's ARN.
        policy_arn: String,
        /// Where it is to hold.
        scope: Scope,
    },
    /// A policy that exists with another scope.
    PolicyScope {
        /// The policy's ARN.
        policy_arn: String,
        /// Where it holds.
        found: Scope,
        /// Where it is to hold.
        wanted: Scope,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal { found, wanted } => write!(f, "principal {found} instead of {wanted}"),
            Self::Type { found, wanted } => write!(f, "type {found} instead of {wanted}"),
            Self::Username { found, wanted } => {
                write!(f, "username {found:?} instead of {wanted:?}")
            }
            Self::GroupAdded(group) => write!(f, "group {group:?} added"),
            Self::GroupMissing(group) => write!(f, "group {group:?} missing"),
            Self::PolicyAdded { policy_arn, scope } => {
                write!(f, "policy {} ({scope}) added", policy_name(policy_arn))
            }
            Self::PolicyMissing { policy_arn, scope } => {
                write!(f, "policy {} ({scope}) missing", policy_name(policy_arn))
            }
            Self::PolicyScope {
                policy_arn,
                found,
                wanted,
            } => write!(
                f,
                "policy {} ({found}) instead of ({wanted})",
                policy_name(policy_arn)
            ),
        }
    }
}

/// The name in a policy's ARN.
#[must_use]
pub fn policy_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// A policy's name without what all of AWS's have: `View`, and `View (ns)` where it holds in namespaces only.
#[must_use]
pub fn short_policy(name: &str, in_namespaces: bool) -> String {
    let short = name.strip_prefix("AmazonEKS").unwrap_or(name);
    let short = short.strip_suffix("Policy").unwrap_or(short);
    if in_namespaces {
        format!("{short} (ns)")
    } else {
        short.to_owned()
    }
}

/// What leads from the standing entry to the wanted one.
///
/// Grants come before removals: scopes widen, then username and groups are replaced, then scopes narrow and policies go.
/// What both the standing and the wanted entry give is given at every step between.
#[must_use]
pub fn change(standing: &AccessEntry, wanted: &Wanted<'_>) -> Change {
    let target = wanted.target;
    match &standing.kind {
        Kind::Unknown(found) => {
            let found = found.clone();
            return Change::UnknownType(UnknownType { found });
        }
        Kind::Known(type_) if *type_ != target.type_ => {
            return Change::Recreate(Recreate::Type {
                found: standing.kind.clone(),
                wanted: Kind::Known(target.type_),
            });
        }
        Kind::Known(_) => {}
    }
    if !same_principal(standing, target) {
        return Change::Recreate(Recreate::Principal {
            found: standing.principal_arn.clone(),
            wanted: target.principal_arn.clone(),
        });
    }
    let calls = calls(standing, wanted);
    if calls.is_empty() {
        Change::Same
    } else {
        Change::Calls(calls)
    }
}

/// The calls that make the entry, where there is none: the entry, then its policies.
#[must_use]
pub fn create(wanted: &Wanted<'_>) -> Vec<Call> {
    let target = wanted.target;
    let principal_arn = || target.principal_arn.clone();
    let mut tags = wanted.tags.clone();
    tags.insert(CREATED_TAG.to_owned(), CREATED.to_owned());
    let create = Call::Create {
        principal_arn: principal_arn(),
        kind: Kind::Known(target.type_),
        username: target.username.clone(),
        groups: groups(wanted),
        tags,
    };
    let associate = |(policy_arn, scope): (&String, &Scope)| Call::Associate {
        principal_arn: principal_arn(),
        policy_arn: policy_arn.clone(),
        scope: scope.clone(),
    };
    let policies = target.policies.iter().map(associate);
    std::iter::once(create).chain(policies).collect()
}

/// In what the standing entry means something else than what is wanted; tags mean nothing. Where AWS associated no policy it is
/// empty exactly where [`change`] gives no calls but [`Call::Tag`]; an association of AWS that does not reach as far as declared
/// is a difference that no call fixes.
#[must_use]
pub fn meaning_differs(standing: &AccessEntry, wanted: &Wanted<'_>) -> Vec<Difference> {
    let target = wanted.target;
    let mut differences = Vec::new();
    if !same_principal(standing, target) {
        differences.push(Difference::Principal {
            found: standing.principal_arn.clone(),
            wanted: target.principal_arn.clone(),
        });
    }
    // Username and groups of nodes are the type's own.
    let same_type = standing.kind == Kind::Known(target.type_);
    if !same_type {
        differences.push(Difference::Type {
            found: standing.kind.clone(),
            wanted: Kind::Known(target.type_),
        });
    }
    if same_type && target.type_ == EntryType::Standard {
        if !same_username(standing, wanted) {
            let wanted = target.username.as_ref();
            differences.push(Difference::Username {
                found: standing.username.clone(),
                wanted: wanted.unwrap_or(&target.default_username).clone(),
            });
        }
        let groups = groups(wanted);
        let (added, missing) = (
            standing.groups.difference(&groups),
            groups.difference(&standing.groups),
        );
        differences.extend(added.cloned().map(Difference::GroupAdded));
        differences.extend(missing.cloned().map(Difference::GroupMissing));
    }
    differences.extend(policy_differences(standing, wanted));
    differences
}

/// Takes our tags off an entry; `None` where it has none.
#[must_use]
pub fn untag(entry: &AccessEntry) -> Option<Call> {
    let keys: BTreeSet<String> = OUR_TAGS
        .into_iter()
        .filter(|key| entry.tags.contains_key(*key))
        .map(str::to_owned)
        .collect();
    (!keys.is_empty()).then(|| Call::Untag {
        principal_arn: entry.principal_arn.clone(),
        entry_arn: entry.arn.clone(),
        keys,
    })
}

/// Takes back what we added to an entry that AWS made, and our tags at last: its own username and groups come back, and the
/// policies `of_aws` stay. EKS sets neither username nor groups where it makes a Standard entry, and lets nobody set those of nodes.
#[must_use]
pub fn give_back(entry: &AccessEntry, of_aws: &BTreeSet<String>) -> Vec<Call> {
    let principal_arn = || entry.principal_arn.clone();
    let added = entry.policies.keys().filter(|it| !of_aws.contains(*it));
    let mut calls: Vec<Call> = added
        .map(|policy_arn| Call::Disassociate {
            principal_arn: principal_arn(),
            policy_arn: policy_arn.clone(),
        })
        .collect();
    let default = Principal::parse(&entry.principal_arn).map(|it| it.default_username());
    let own = entry.groups.is_empty() && default.is_ok_and(|default| default == entry.username);
    if entry.kind == Kind::Known(EntryType::Standard) && !own {
        calls.push(Call::Update {
            principal_arn: principal_arn(),
            username: None,
            groups: BTreeSet::new(),
        });
    }
    calls.extend(untag(entry));
    calls
}

/// [`untag`], where the entry belongs to this installation.
#[must_use]
pub fn release(entry: &AccessEntry, installation: &str) -> Option<Call> {
    let owner = entry.tags.get(INSTALLATION_TAG).map(String::as_str);
    (owner == Some(installation))
        .then(|| untag(entry))
        .flatten()
}

fn policy_differences(standing: &AccessEntry, wanted: &Wanted<'_>) -> Vec<Difference> {
    let (target, of_aws) = (wanted.target, wanted.of_aws);
    let names: BTreeSet<&String> = standing
        .policies
        .keys()
        .chain(target.policies.keys())
        .collect();
    let difference = |policy_arn: &String| {
        let found = standing.policies.get(policy_arn).map(|found| &found.scope);
        let wanted = target.policies.get(policy_arn);
        let covered = |found: &Scope| wanted.is_none_or(|wanted| found.union(wanted) == *found);
        if of_aws.contains(policy_arn) && found.is_some_and(covered) {
            return None;
        }
        let policy_arn = policy_arn.clone();
        match (found.cloned(), wanted.cloned()) {
            (Some(scope), None) => Some(Difference::PolicyAdded { policy_arn, scope }),
            (None, Some(scope)) => Some(Difference::PolicyMissing { policy_arn, scope }),
            (Some(found), Some(wanted)) if found != wanted => Some(Difference::PolicyScope {
                policy_arn,
                found,
                wanted,
            }),
            (Some(_) | None, _) => None,
        }
    };
    names.into_iter().filter_map(difference).collect()
}

/// By letters of either case, as EKS matches the caller: an entry is not deleted for a capital.
fn same_principal(standing: &AccessEntry, target: &Target) -> bool {
    standing
        .principal_arn
        .eq_ignore_ascii_case(&target.principal_arn)
}

fn same_username(standing: &AccessEntry, wanted: &Wanted<'_>) -> bool {
    let found = standing.username.as_str();
    match wanted.target.username.as_deref() {
        Some(username) => found == username,
        None => found == wanted.target.default_username || wanted.accepted_default == Some(found),
    }
}

/// The groups to send.
fn groups(wanted: &Wanted<'_>) -> BTreeSet<String> {
    let mut groups = wanted.target.groups.clone();
    if wanted.bridge && wanted.target.type_ == EntryType::Standard {
        groups.insert(BRIDGE_GROUP.to_owned());
    }
    groups
}

fn calls(standing: &AccessEntry, wanted: &Wanted<'_>) -> Vec<Call> {
    let target = wanted.target;
    let principal_arn = || standing.principal_arn.clone();
    let associate = |policy_arn: &String, scope: Scope| Call::Associate {
        principal_arn: principal_arn(),
        policy_arn: policy_arn.clone(),
        scope,
    };
    let mut calls = Vec::new();
    let mut removals = Vec::new();
    for (policy_arn, scope) in &target.policies {
        let found = standing.policies.get(policy_arn).map(|found| &found.scope);
        if found.is_some() && wanted.of_aws.contains(policy_arn) {
            continue;
        }
        // An exchange of namespaces first widens to both: what is taken off may be granted otherwise by a later call.
        let between = found.map_or_else(|| scope.clone(), |found| found.union(scope));
        if found != Some(&between) {
            calls.push(associate(policy_arn, between.clone()));
        }
        if between != *scope {
            removals.push(associate(policy_arn, scope.clone()));
        }
    }
    let groups = groups(wanted);
    if target.type_ == EntryType::Standard
        && (!same_username(standing, wanted) || standing.groups != groups)
    {
        calls.push(Call::Update {
            principal_arn: principal_arn(),
            username: target.username.clone(),
            groups,
        });
    }
    calls.extend(removals);
    for policy_arn in standing.policies.keys() {
        if !target.policies.contains_key(policy_arn) && !wanted.of_aws.contains(policy_arn) {
            calls.push(Call::Disassociate {
                principal_arn: principal_arn(),
                policy_arn: policy_arn.clone(),
            });
        }
    }
    let tags: BTreeMap<String, String> = wanted
        .tags
        .iter()
        .filter(|(key, value)| standing.tags.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !tags.is_empty() {
        calls.push(Call::Tag {
            principal_arn: principal_arn(),
            entry_arn: standing.arn.clone(),
            tags,
        });
    }
    calls
}
