//! The event for a temporary binding that no handover uses.

use crate::access_entry::BRIDGE_GROUP;
use crate::plan::claim::EntryStep;
use crate::plan::memory::Memory;
use crate::plan::planned::Plan;
use crate::time::Timestamp;

/// An idle binding is reported after so many times the setting `propagation`, two minutes by default: `migrate` creates it before a
/// handover asks for it, and deletes it after the last one.
const PATIENCE: i32 = 4;

/// Whether the binding exists although no handover uses it.
pub(crate) fn is_idle(plan: &Plan<'_>) -> bool {
    let Some(eks) = &plan.eks else {
        return false;
    };
    let bound = eks.bindings.admin_groups.contains(BRIDGE_GROUP);
    let hands_over = plan.claims.iter().any(|claim| {
        let masters = claim
            .entry
            .target
            .as_ref()
            .is_some_and(|target| target.masters);
        masters && (claim.entry.step != EntryStep::Keep || claim.entry.block.is_some())
    });
    bound && !hands_over
}

/// When the idle binding is reported.
pub(crate) fn reported(plan: &Plan<'_>, memory: &Memory) -> Option<Timestamp> {
    let patience = plan.settings.propagation * PATIENCE;
    Some(memory.bridge_idle?.plus(patience))
}
