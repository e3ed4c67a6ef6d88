//! Builds outcomes and their reasons.

use super::difference::{Becomes, TextIdentity};
use super::entries::{Winner, place};
use super::migration::{Hindrance, PlannedOutcome, PrincipalPlan, Who};
use crate::desired::Mapping;
use crate::effective::Standing;
use crate::observed::IamProblem;
use crate::plan::Obstacle;
use crate::principal::{Group, Placeholder, Username};

pub(super) fn suspended(mapping: &Mapping) -> Hindrance {
    Hindrance::lasting(format!(
        "mapping {} is suspended and not changed; write suspend: false",
        mapping.name
    ))
}

/// What becomes of the entry in aws-auth of mappings that are deleted or have expired.
pub(super) fn ended(mappings: &[&Mapping], goes: bool) -> String {
    let names: Vec<&str> = mappings.iter().map(|it| it.name.as_str()).collect();
    let then = if goes {
        "its entry will be removed"
    } else {
        "but an unmanaged entry stays: remove it by hand to end the access, or renew the mapping to keep it"
    };
    let names = names.join(", ");
    format!(
        "mapping {names} is being deleted or has expired, {}{then}",
        if goes { "and " } else { "" }
    )
}

/// An unmanaged access entry whose principal is gone or was made again.
pub(super) fn lets_nobody_in(standing: &Standing<'_>) -> Hindrance {
    Hindrance::lasting(format!(
        "the unmanaged access entry of {} grants no access, because its principal was deleted or recreated: delete the entry (aws \
            eks delete-access-entry), and the migration creates a new one",
        standing.principal_arn
    ))
}

/// Placeholders that EKS may refuse: its user guide has those of a session in usernames (*Set custom usernames for EKS access
/// entries*), and nothing of others, nor of groups.
pub(super) fn undocumented(becomes: &Becomes) -> Option<String> {
    if becomes.is_node() || becomes.username_generated && becomes.groups.is_empty() {
        return None;
    }
    let of_session = |found: &Placeholder| {
        matches!(
            found,
            Placeholder::SessionName | Placeholder::SessionNameRaw
        )
    };
    let username = Username::parse(&becomes.username).ok()?;
    let in_username = !becomes.username_generated
        && username
            .placeholders()
            .iter()
            .any(|found| !of_session(found));
    let templated = |group: &String| Group::parse(group).is_ok_and(|group| group.is_templated());
    let group = becomes.groups.iter().find(|group| templated(group));
    let name = match (in_username, group) {
        (true, _) => format!("username {:?}", becomes.username),
        (false, Some(group)) => format!("group {group:?}"),
        (false, None) => return None,
    };
    Some(format!(
        "AWS does not document whether an access entry accepts the placeholder in {name}. If EKS refuses it, the entry of \
            aws-auth stays, and EKS's message is reported; to be sure, write it without placeholder"
    ))
}

/// Why an account's IAM was not read, to the one who runs a command.
pub(crate) fn unread(problem: &IamProblem) -> String {
    match problem {
        IamProblem::NoRole => "no role to assume is configured for it; add --iam-role".to_owned(),
        IamProblem::Denied { message, statement } => {
            format!("{message}; add to the caller's IAM policy: {statement}")
        }
        IamProblem::Unreachable(message) => format!("IAM did not answer: {message}"),
    }
}

impl Hindrance {
    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self {
            reason: None,
            message: message.into(),
            transient: false,
        }
    }
}

impl From<&Obstacle<'_>> for Hindrance {
    fn from(obstacle: &Obstacle<'_>) -> Self {
        Self {
            reason: Some(obstacle.reason),
            message: obstacle.message.clone().into_owned(),
            transient: obstacle.transient,
        }
    }
}

impl PrincipalPlan {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            places: Vec::new(),
            shadowed: Vec::new(),
            now: None,
            mapping: None,
            import: None,
            outcome: PlannedOutcome::Blocked,
            becomes: None,
            differences: Vec::new(),
            why: None,
            lost_in_api: false,
            broken_nodes: false,
            bridge: false,
            soaks_until: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn of(who: Who, winner: &Winner<'_>) -> Self {
        let meaning = winner.entry().meaning();
        Self {
            places: winner.entries.iter().copied().map(place).collect(),
            shadowed: winner.shadowed.clone(),
            now: Some(TextIdentity {
                username: meaning.username,
                groups: meaning.groups.into_iter().collect(),
            }),
            ..Self::new(who)
        }
    }
}
