//! A possible administrator loses that only where another certainly is one afterwards.

use std::collections::BTreeSet;

use super::possibility::Access;
use super::world::{Subject, World};
use super::{Refusal, Rule};
use crate::api::condition::Reason;
use crate::api::v1alpha1::Confirmation;

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    let takes: Vec<&Subject<'_>> = world
        .subjects
        .iter()
        .filter(|subject| takes(world, subject))
        .collect();
    // Looking at everyone is dear, and most proposals take nothing from an administrator.
    if takes.is_empty() || !certain(world).is_empty() {
        return Vec::new();
    }
    takes
        .into_iter()
        .filter(|subject| !world.confirmed(subject, Confirmation::LastAdministrator))
        .map(|subject| {
            let why = "it is not certain that an administrator would be left";
            Refusal::lasting(
                Rule::LastAdministrator,
                subject,
                Reason::RemovalNeedsConfirmation,
                why,
            )
            .until(Confirmation::LastAdministrator)
        })
        .collect()
}

/// Whether the subject may lose the power of an administrator. What brings an edited entry back takes only what somebody else gave.
fn takes(world: &World<'_>, subject: &Subject<'_>) -> bool {
    !subject.restores
        && subject.transitions.iter().any(|transition| {
            transition.before != transition.after
                && world.may_be_administrator(&transition.before)
                && !world.is_administrator(&transition.after)
        })
}

/// The ARNs, as aws-auth matches them, that certainly are administrators, whatever of the proposal happens.
pub(super) fn certain(world: &World<'_>) -> BTreeSet<String> {
    let certain = |ways: &[Access]| {
        !ways.is_empty() && ways.iter().all(|access| world.is_administrator(access))
    };
    world
        .everyone()
        .filter(|(_, key, ways)| {
            certain(ways) && !key.as_ref().is_some_and(|key| world.is_edited(key))
        })
        .map(|(arn, ..)| arn)
        .collect()
}
