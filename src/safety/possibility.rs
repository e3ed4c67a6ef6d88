//! What a login of one principal may become, and what calls make of it.

use crate::access_entry::{AccessEntry, Call, Output};
use crate::effective::EffectiveEntry;
use crate::time::Timestamp;

/// What a login of a principal may become.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Access {
    /// It is refused.
    None,
    /// By an access entry whose content is not known.
    Unseen,
    /// This.
    Is(EffectiveEntry),
}

/// One thing that a proposal may turn into another.
#[derive(Clone, Debug)]
pub(super) struct Transition {
    pub(super) before: Access,
    pub(super) after: Access,
}

/// What an access entry may be, and whether it admits anyone.
#[derive(Clone, Debug)]
pub(super) enum Possibility {
    /// There is none, or its principal was deleted and created again: aws-auth decides.
    Powerless(Option<AccessEntry>),
    Unseen,
    Entry(AccessEntry),
}

fn exists(possibility: &Possibility) -> bool {
    !matches!(possibility, Possibility::Powerless(None))
}

/// Whether the call can change an entry.
pub(super) fn changes(call: &Call) -> bool {
    !matches!(call, Call::Describe { .. })
}

/// Whether an entry that may be so is there once the calls were made. `takes`: the proposal may take what the principal has elsewhere. An
/// entry to which the calls do nothing then has to be there for certain: a message in the queue that there may be one is no
/// access.
pub(super) fn remains(now: Vec<Possibility>, arn: &str, calls: &[Call], takes: bool) -> bool {
    let changed = calls
        .iter()
        .any(|call| call.principal_arn() == arn && changes(call));
    let mut then = now
        .into_iter()
        .map(|possibility| exists(&after(possibility, arn, calls)));
    if changed || !takes {
        then.any(|exists| exists)
    } else {
        then.all(|exists| exists)
    }
}

pub(super) fn accesses(possibility: &Possibility, by_text: &[Access]) -> Vec<Access> {
    match possibility {
        Possibility::Powerless(_) => by_text.to_vec(),
        Possibility::Unseen => vec![Access::Unseen],
        Possibility::Entry(entry) => vec![Access::Is(EffectiveEntry::of_access_entry(entry))],
    }
}

/// What calls make of the entry of this ARN. A call that EKS would refuse changes nothing.
pub(super) fn after(before: Possibility, arn: &str, calls: &[Call]) -> Possibility {
    let calls = calls.iter().filter(|call| call.principal_arn() == arn);
    calls.fold(before, |now, call| {
        let entry = match &now {
            Possibility::Powerless(entry) => entry.as_ref(),
            Possibility::Unseen => {
                return if matches!(call, Call::Delete { .. }) {
                    Possibility::Powerless(None)
                } else {
                    Possibility::Unseen
                };
            }
            Possibility::Entry(entry) => Some(entry),
        };
        // A new entry is for the principal as it is now.
        let dead = matches!(now, Possibility::Powerless(Some(_)));
        let Some(output) = call.expected(entry, Timestamp::default()) else {
            return now;
        };
        let mut then = match (call, output) {
            (Call::Delete { .. }, _) => return Possibility::Powerless(None),
            (Call::Update { .. }, Output::Entry(changed)) => AccessEntry {
                policies: entry
                    .map(|entry| entry.policies.clone())
                    .unwrap_or_default(),
                ..*changed
            },
            (_, Output::Entry(entry)) => *entry,
            (_, Output::Described(_) | Output::Associated(_) | Output::Done) => match entry {
                Some(entry) => entry.clone(),
                None => return now,
            },
        };
        match call {
            Call::Associate {
                policy_arn, scope, ..
            } => then.associate(policy_arn, scope.clone()),
            Call::Disassociate { policy_arn, .. } => {
                then.policies.remove(policy_arn);
            }
            Call::Describe { .. }
            | Call::Create { .. }
            | Call::Update { .. }
            | Call::Delete { .. }
            | Call::Tag { .. }
            | Call::Untag { .. } => {}
        }
        if dead {
            Possibility::Powerless(Some(then))
        } else {
            Possibility::Entry(then)
        }
    })
}
