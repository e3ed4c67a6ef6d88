//! Verdicts and their reasons in the making.

use super::entries::{Winner, place};
use super::{Identity, Outcome, Verdict, Who, Why};
use crate::plan::{IamProblem, Mapping, Obstacle};

/// A suspended mapping.
pub(super) fn suspended(mapping: &Mapping) -> Why {
    Why::lasting(format!(
        "mapping {} is suspended, so nothing of it is changed; write suspend: false",
        mapping.name
    ))
}

/// Why an account's IAM was not read, to whoever runs a command.
pub(crate) fn unread(problem: &IamProblem) -> String {
    match problem {
        IamProblem::NoRole => "no role to assume there is given; give --iam-role".to_owned(),
        IamProblem::Denied { message, statement } => {
            format!("{message}; add to the caller's IAM policy: {statement}")
        }
        IamProblem::Unreachable(message) => format!("IAM did not answer: {message}"),
    }
}

impl Why {
    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self {
            reason: None,
            message: message.into(),
            transient: false,
        }
    }
}

impl From<Obstacle<'_>> for Why {
    fn from(obstacle: Obstacle<'_>) -> Self {
        Self {
            reason: Some(obstacle.reason),
            message: obstacle.message.to_owned(),
            transient: obstacle.transient,
        }
    }
}

impl Verdict {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            places: Vec::new(),
            shadowed: Vec::new(),
            now: None,
            mapping: None,
            import: None,
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

    pub(super) fn of(who: Who, winner: &Winner<'_>) -> Self {
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
