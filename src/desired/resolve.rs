//! Which principal a mapping means: the role of a permission set, and the path of an ARN that was written without it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::api::v1alpha1::PermissionSet;
use crate::aws_auth::Document;
use crate::desired::remembered;
use crate::desired::{Desired, Mapping};
use crate::effective::{IAM_LAG, StandingEntries, in_iam};
use crate::observed::{AwsState, AwsView, Iam, IamProblem, IamWants, Mode};
use crate::ownership::{KeyHash, Mark, is_tagged};
use crate::principal::{AccountId, Key, Principal, PrincipalKind, SSO_PATH, is_of_sso};
use crate::time::{Timestamp, to_the_second};

/// All mappings with their principals resolved, oldest first.
pub(crate) fn resolve_all<'a>(
    desired: &'a Desired,
    aws: &AwsState,
    managed: &[Principal],
) -> Vec<Cow<'a, Mapping>> {
    let mappings = desired.mappings.iter();
    let mut mappings: Vec<Cow<'a, Mapping>> = mappings
        .map(|mapping| resolve(mapping, aws, managed))
        .collect();
    mappings.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    mappings
}

/// The roles of permission sets that have a managed entry, in aws-auth or as an access entry of this installation.
pub(crate) fn managed_sso_roles(
    text: &Document,
    mark: &Mark,
    entries: &StandingEntries<'_>,
    installation: &str,
) -> Vec<Principal> {
    let in_text = text.entries().filter(|entry| {
        let key = entry.key();
        key.is_some_and(|key| mark.0.contains_key(&KeyHash::of(&key)))
    });
    let in_eks = entries
        .all()
        .filter(|standing| is_tagged(standing.state, installation))
        .map(|standing| standing.principal_arn);
    let arns = in_text.map(|entry| entry.arn.as_str()).chain(in_eks);
    arns.filter(|arn| arn.contains("AWSReservedSSO_"))
        .filter_map(|arn| Principal::parse(arn).ok())
        .collect()
}

/// The mapping with its principal resolved, as far as IAM and what exists tell. `owned` are the principals of all entries
/// that are ours: the last resort where neither IAM nor the status knows.
fn resolve<'a>(mapping: &'a Mapping, aws: &AwsState, owned: &[Principal]) -> Cow<'a, Mapping> {
    let Some(set) = mapping.permission_set() else {
        return aws
            .view()
            .and_then(|view| complete(mapping, view))
            .map_or(Cow::Borrowed(mapping), Cow::Owned);
    };
    let last = remembered(set, &mapping.status).or_else(|| single_owned(set, owned));
    match (aws.view(), last) {
        (Some(view), last) => Cow::Owned(of_set(mapping, set, view, last)),
        // Without AWS the last resolution only keeps what stands.
        (None, last) => match unasked(aws) {
            Some(why) => Cow::Owned(unknown(mapping, set, &why, last)),
            None => Cow::Borrowed(mapping),
        },
    }
}

/// Why IAM is not asked although there is AWS.
fn unasked(aws: &AwsState) -> Option<String> {
    match aws {
        AwsState::Off | AwsState::Known(_) => None,
        AwsState::Unproven { name, .. } => Some(format!(
            "the EKS cluster {name} and the Kubernetes API server are different clusters"
        )),
        AwsState::Unknown { failure } => Some(format!("EKS can't be reached: {}", failure.message)),
    }
}

/// The role of a set while IAM is not asked: it may be found as soon as it is.
fn unknown(mapping: &Mapping, set: &PermissionSet, why: &str, last: Option<Principal>) -> Mapping {
    let message = format!(
        "the role of permission set {} in account {} is resolved once EKS can be read: {why}",
        set.name, set.account_id
    );
    match last {
        Some(last) => mapping.with_remembered(last, Some(message)),
        None => mapping.without_principal(true, message),
    }
}

/// Whether IAM was read for the roles of a permission set, and can be read now.
pub(crate) fn is_read(view: &AwsView, set: &PermissionSet) -> bool {
    let account = set.account_id.parse::<AccountId>().ok();
    let known = account.and_then(|account| view.iam.accounts.get(&account));
    known.is_some_and(|account| account.problems.sso.is_none() && account.sso.is_some())
}

pub(crate) fn is_of_set(principal: &Principal, set: &PermissionSet) -> bool {
    principal.account.as_str() == set.account_id
        && principal
            .sso()
            .is_some_and(|role| role.permission_set == set.name)
}

fn single_owned(set: &PermissionSet, owned: &[Principal]) -> Option<Principal> {
    let mut of_set: Vec<&Principal> = owned
        .iter()
        .filter(|principal| is_of_set(principal, set))
        .collect();
    // One and the same role may be owned in both backends, with its path in one of them.
    of_set.sort_by_key(|principal| (principal.key(), principal.path == "/"));
    of_set.dedup_by_key(|principal| principal.key());
    match of_set.as_slice() {
        [single] => Some((*single).clone()),
        [] | [_, _, ..] => None,
    }
}

fn of_set(
    mapping: &Mapping,
    set: &PermissionSet,
    view: &AwsView,
    last: Option<Principal>,
) -> Mapping {
    let account = set.account_id.parse::<AccountId>().ok();
    let known = account
        .as_ref()
        .and_then(|account| view.iam.accounts.get(account));
    let problem = known.and_then(|account| account.problems.sso.as_ref());
    let Some(listing) = known.and_then(|account| account.sso.as_ref()) else {
        return unread(mapping, set, problem, last);
    };
    let found: Vec<Principal> = listing
        .principals
        .values()
        .filter_map(|role| Principal::parse(&role.arn).ok())
        .filter(|role| role.path.starts_with(SSO_PATH) && is_of_set(role, set))
        .collect();
    let stale = problem.map(|problem| {
        format!(
            "the role was last resolved at {}, and IAM can't be read now: {}",
            to_the_second(listing.read),
            words(problem)
        )
    });
    let in_force = last
        .as_ref()
        .and_then(|last| found.iter().find(|role| role.key() == last.key()));
    match (found.as_slice(), in_force, last) {
        ([single], _, _) => mapping.with_principal(single.clone(), stale),
        ([], _, Some(last)) => {
            let note = format!(
                "account {} no longer has a role of permission set {}, so the last one, {}, stays; assign the set again, or delete this mapping",
                set.account_id,
                set.name,
                last.name
            );
            mapping.with_remembered(last, Some(note))
        }
        ([], _, None) => mapping.without_principal(
            false,
            format!(
                "account {} has no role of permission set {}: assign the set to someone in that account, or fix spec.principal.permissionSet",
                set.account_id, set.name
            ),
        ),
        (several, Some(in_force), _) => {
            let note = format!(
                "account {} has {} roles of permission set {} ({}); the current one stays while IAM lists it",
                set.account_id,
                several.len(),
                set.name,
                names(several)
            );
            mapping.with_principal(in_force.clone(), Some(note))
        }
        (several, None, _) => mapping.without_principal(
            false,
            format!(
                "account {} has {} roles of permission set {}: {}; the operator uses none; set spec.principal.arn to the right one",
                set.account_id,
                several.len(),
                set.name,
                names(several)
            ),
        ),
    }
}

/// The account's roles are not known.
fn unread(
    mapping: &Mapping,
    set: &PermissionSet,
    problem: Option<&IamProblem>,
    last: Option<Principal>,
) -> Mapping {
    let why = problem.map_or_else(|| "IAM has not answered yet".to_owned(), words);
    if let Some(last) = last {
        let note = format!("IAM can't be read, so the last known role is used: {why}");
        return mapping.with_remembered(last, problem.map(|_| note));
    }
    let passes = !matches!(
        problem,
        Some(IamProblem::NoRole | IamProblem::Denied { .. })
    );
    mapping.without_principal(
        passes,
        format!(
            "the role of permission set {} in account {} can't be resolved: {why}",
            set.name, set.account_id
        ),
    )
}

fn names(roles: &[Principal]) -> String {
    let names: BTreeSet<String> = roles.iter().map(Principal::arn).collect();
    names.into_iter().collect::<Vec<_>>().join(" and ")
}

/// Why IAM can't be read, for a sentence.
pub(crate) fn words(problem: &IamProblem) -> String {
    match problem {
        IamProblem::NoRole => "the account is not the cluster's, and no role to assume there is configured; start the \
            operator with --iam-role for it, or add it to --iam-account if --iam-role has {account}".to_owned(),
        IamProblem::Denied { message, statement } => {
            format!("{message}; add to the operator's IAM policy: {statement}")
        }
        IamProblem::Unreachable(message) => format!("IAM did not answer: {message}"),
    }
}

/// A role whose ARN was written without its path, as aws-auth wants it, with the path that IAM has.
fn complete(mapping: &Mapping, view: &AwsView) -> Option<Mapping> {
    let written = mapping.principal.as_ref()?;
    if written.kind != PrincipalKind::Role || written.path != "/" || mapping.spec.is_err() {
        return None;
    }
    let found = Principal::parse(&in_iam(written, &view.iam)?.arn).ok()?;
    (found.path != "/" && found.key() == written.key()).then(|| mapping.with_principal(found, None))
}

/// Which of IAM would tell more.
pub(crate) fn wants(mappings: &[Cow<'_, Mapping>], aws: &AwsState) -> IamWants {
    let mut wants = IamWants::default();
    let Some(view) = aws.view() else {
        return wants;
    };
    for mapping in mappings {
        if let Some(account) = mapping
            .permission_set()
            .and_then(|set| set.account_id.parse::<AccountId>().ok())
        {
            wants.sso.insert(account);
            continue;
        }
        // In aws-auth alone ARNs count, and ids mean nothing.
        if view.mode == Mode::ConfigMap {
            continue;
        }
        if let Some(principal) = &mapping.principal {
            match principal.kind {
                PrincipalKind::Role => wants.roles.insert(principal.account.clone()),
                PrincipalKind::User => wants.users.insert(principal.account.clone()),
            };
        }
    }
    let failed = view.attempts.iter().filter(|(_, attempt)| {
        matches!(
            attempt.failure.kind,
            crate::access_entry::FailureKind::InvalidPrincipal
        )
    });
    wants.soon = failed
        .filter(|(key, attempt)| {
            let account = view.iam.accounts.get(key.account());
            let read = account.and_then(|account| match key.kind() {
                PrincipalKind::Role => account.roles.as_ref(),
                PrincipalKind::User => account.users.as_ref(),
            });
            read.is_none_or(|listing| listing.read < attempt.since)
        })
        .map(|(key, _)| key.account().clone())
        .collect();
    wants
}

/// Whether the principal is a role of a permission set that IAM, read successfully, no longer lists: its entry gives no access,
/// and its removal is expected. `since`: when it certainly existed, or was declared; an older listing proves nothing.
pub(crate) fn gone_from_iam(key: &Key, iam: &Iam, since: Option<Timestamp>) -> bool {
    let account = iam.accounts.get(key.account());
    let readable = account.filter(|account| account.problems.sso.is_none());
    let listing = readable.and_then(|account| account.sso.as_ref());
    is_of_sso(key)
        && listing.is_some_and(|listing| {
            !listing.principals.contains_key(key.name())
                && since.is_none_or(|since| since.plus(IAM_LAG) <= listing.read)
        })
}
