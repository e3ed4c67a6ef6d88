//! While the definition is being deleted its objects vanish without anyone's wish, so nothing is revoked.

use super::world::World;
use super::{Refusal, Rule};
use crate::access_entry::Call;
use crate::api::condition::Reason;
use crate::desired::State;

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    if !world.before.definition_deleting {
        return Vec::new();
    }
    let subjects = world.subjects.iter();
    subjects
        .filter(|subject| {
            let live = world
                .declaring(&subject.hash)
                .any(|(_, state)| state == State::Live);
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
            let why = "the CustomResourceDefinition is being deleted, and deleting it revokes nothing; run identity-mapper release to give up ownership";
            Refusal::lasting(Rule::Definition, subject, Reason::RemovalNeedsConfirmation, why)
        })
        .collect()
}
