//! While the definition is being deleted its objects vanish without anyone's wish, so nothing is revoked.

use super::world::World;
use super::{Refusal, Rule};
use crate::access_entry::Call;
use crate::api::condition::Reason;

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    if !world.before.definition_deleting {
        return Vec::new();
    }
    let subjects = world.subjects.iter();
    subjects
        .filter(|subject| {
            // One that can't be put into effect takes nothing over.
            let live = subject.remains
                && world
                    .declaring(&subject.hash)
                    .any(|(mapping, state)| world.holds(mapping, state, &subject.key));
            let fewer = world.then(&subject.hash).len() < world.now(&subject.hash).len();
            let revokes = subject.calls.iter().any(|call| {
                matches!(
                    call,
                    Call::Delete { .. } | Call::Update { .. } | Call::Disassociate { .. }
                )
            });
            !live && (fewer || revokes)
        })
        .map(|subject| {
            let why = "the CustomResourceDefinition is being deleted, or the operator can't read whether it is, so nothing is revoked; if you uninstall, run identity-mapper release";
            Refusal::lasting(Rule::Definition, subject, Reason::RemovalNeedsConfirmation, why)
        })
        .collect()
}
