//! Who is or may be a node keeps exactly that identity.

use super::possibility::Access;
use super::world::{Subject, World};
use super::{Authority, Refusal, Rule};
use crate::access_entry::Call;
use crate::api::condition::Reason;
use crate::api::v1alpha1::Confirmation;
use crate::desired::{Spec, State};

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    world
        .subjects
        .iter()
        .filter(|subject| !world.confirmed(subject, Confirmation::NodeEntry))
        .filter_map(|subject| Some(refusal(subject, &violation(world, subject)?)))
        .collect()
}

enum NodeChange {
    Removed,
    Changed,
    Created,
}

fn violation(world: &World<'_>, subject: &Subject<'_>) -> Option<NodeChange> {
    // A type is enough to make or change a node entry, never to remove one.
    let typed = world.responsible(subject).is_some_and(|(mapping, state)| {
        state == State::Live && mapping.spec.as_ref().is_ok_and(Spec::is_node)
    });
    // A person who confirmed the diff repairs nodes so.
    let mapped = world.proposal.authority == Authority::Mappings;
    let recreates = subject
        .calls
        .iter()
        .any(|call| matches!(call, Call::Create { .. }));
    subject.transitions.iter().find_map(|transition| {
        let (before, after) = (&transition.before, &transition.after);
        match (world.is_node(before), world.is_node(after)) {
            _ if before == after => None,
            (true, _) if *after == Access::None => {
                (!(typed && recreates)).then_some(NodeChange::Removed)
            }
            (true, _) => (!typed).then_some(NodeChange::Changed),
            (false, true) => {
                let created = !typed && !subject.had_by_text.contains(after);
                (created && mapped).then_some(NodeChange::Created)
            }
            (false, false) => None,
        }
    })
}

fn refusal(subject: &Subject<'_>, violation: &NodeChange) -> Refusal {
    let (reason, why) = match violation {
        NodeChange::Removed => (
            Reason::RemovalNeedsConfirmation,
            "the entry is a node entry: without it nodes can't join or stay in the cluster",
        ),
        NodeChange::Changed => (
            if subject.calls.is_empty() {
                Reason::NodeEntryNeedsConfirmation
            } else {
                Reason::RemovalNeedsConfirmation
            },
            "the existing entry is a node entry, and changing it can lock nodes out",
        ),
        NodeChange::Created => (
            Reason::NodeEntryNeedsConfirmation,
            "the username or groups are those of nodes; set spec.type to the node type instead",
        ),
    };
    Refusal::lasting(Rule::Nodes, subject, reason, why).until(Confirmation::NodeEntry)
}
