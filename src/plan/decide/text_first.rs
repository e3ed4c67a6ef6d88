//! Which calls to EKS are right only once the plan's write of aws-auth is made.
//!
//! All others are made whatever becomes of that write: a frozen aws-auth keeps no access entry from being created, changed or deleted.

use std::collections::BTreeSet;

use crate::desired::State;
use crate::plan::claim::{Claim, Context, EntryStep};
use crate::plan::decide::leaves::concerned;

/// Marks the claims whose calls need the write.
pub(crate) fn find(context: &Context<'_>, claims: &mut [Claim]) {
    let movers: BTreeSet<usize> = claims
        .iter()
        .filter(|claim| claim.changes_text())
        .filter_map(|claim| claim.holder)
        .collect();
    for claim in claims.iter_mut().filter(|claim| claim.entry.pending()) {
        claim.entry.needs_text = needs(context, &movers, claim);
    }
}

fn needs(context: &Context<'_>, movers: &BTreeSet<usize>, claim: &Claim) -> bool {
    let takes = matches!(
        claim.entry.effective(),
        EntryStep::Delete | EntryStep::GiveBack | EntryStep::Recreate
    );
    // Without the entry, aws-auth decides: it has to say what is meant by then.
    let uncovers = takes && claim.changes_text();
    let starts = claim.ours && claim.entry.effective() == EntryStep::Create;
    let handover = claim.hands_over || starts;
    // The principal that the mapping moves to has to be in aws-auth before the one that it leaves goes.
    let moved = || {
        let mappings = concerned(context, claim);
        let live = |position: &usize| context.states[*position] == State::Live;
        mappings
            .iter()
            .any(|position| live(position) && movers.contains(position))
    };
    uncovers || (handover && claim.changes_aws_auth(context.mappings)) || (takes && moved())
}
