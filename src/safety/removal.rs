//! Only what is managed is changed or removed, and nothing that a live mapping claims vanishes.

use super::world::{Subject, World};
use super::{Refusal, Rule};
use crate::access_entry::Call;
use crate::api::condition::Reason;
use crate::api::v1alpha1::Adoption;
use crate::desired::State;

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    let subjects = world.subjects.iter();
    subjects
        .filter_map(|subject| {
            let (reason, why) = foreign_call(world, subject).or_else(|| claimed(world, subject))?;
            let refusal = Refusal::lasting(Rule::Removal, subject, reason, why);
            Some(if reason == Reason::EntryPending {
                refusal.passing()
            } else {
                refusal
            })
        })
        .collect()
}

/// A call that changes an access entry which is not ours, or of which nobody knows what it is now.
fn foreign_call(world: &World<'_>, subject: &Subject<'_>) -> Option<(Reason, &'static str)> {
    let view = world.before.view?;
    let adoption = world.declaring(&subject.hash).find_map(|(mapping, state)| {
        let spec = mapping
            .spec
            .as_ref()
            .ok()
            .filter(|_| state == State::Live && !mapping.remembered)?;
        Some(spec.adoption)
    });
    let mut created = false;
    for call in subject.calls {
        let arn = call.principal_arn();
        let managed = created || world.before.managed_entries.contains(arn);
        match call {
            Call::Describe { .. } => {}
            Call::Create { .. } => created = true,
            Call::Delete { .. } if !created && world.kept_by_aws(subject).any(|it| it == arn) => {
                return Some((
                    Reason::UnmanagedEntry,
                    "AWS manages the access entry, so identity-mapper never deletes it",
                ));
            }
            Call::Delete { .. } if view.possible(arn).unseen => {
                return Some((
                    Reason::EntryPending,
                    "the current content of the access entry is not known; the operator describes it first",
                ));
            }
            Call::Tag { .. } if adoption.is_some_and(|it| it != Adoption::Never) => {}
            Call::Update { .. } | Call::Associate { .. } | Call::Disassociate { .. }
                if adoption == Some(Adoption::Always) => {}
            Call::Delete { .. }
            | Call::Update { .. }
            | Call::Associate { .. }
            | Call::Disassociate { .. }
            | Call::Tag { .. }
            | Call::Untag { .. } => {
                if !managed && view.possible(arn).may_exist() {
                    return Some((
                        Reason::UnmanagedEntry,
                        "the access entry is unmanaged, so it is left as it is",
                    ));
                }
            }
        }
    }
    None
}

/// A managed entry that would vanish although a mapping claims it, or although none ever did.
fn claimed(world: &World<'_>, subject: &Subject<'_>) -> Option<(Reason, &'static str)> {
    if !subject.vanishes() {
        return None;
    }
    let claims = world
        .declaring(&subject.hash)
        .any(|(mapping, state)| match state {
            State::Live => world.claims(mapping, state, &subject.key),
            // It holds its key only while an entry that it wrote exists.
            State::Suspended | State::Refused => {
                world.wrote(mapping, &subject.key) && !world.is_anothers(mapping, subject)
            }
            State::Deleting | State::Expired => false,
        });
    if claims {
        return Some((
            Reason::RemovalNeedsConfirmation,
            "another mapping claims the same principal, so its entry is not removed",
        ));
    }
    let named = world.naming(&subject.hash).next().is_some();
    let confirmed = world.before.confirmed_orphans.contains(&subject.hash);
    (!named && !confirmed).then_some((
        Reason::RemovalNeedsConfirmation,
        "no mapping names the managed entry, so only a confirmation on the history ConfigMap removes it",
    ))
}
