//! Whose an access entry is, seen from a claim.

use crate::access_entry::AccessEntry;
use crate::api::v1alpha1::{Backend, WrittenEntry};
use crate::desired::State;
use crate::effective::Standing;
use crate::ownership::aws_managed::keeper;
use crate::ownership::managed_by;
use crate::plan::claim::{Claim, Context, Eks};

/// Whether an entry is ours: by its tag, or, where the tags were lost, because the status of a mapping that names this very principal says
/// that we wrote it just so.
pub(crate) fn is_ours(
    eks: &Eks<'_>,
    context: &Context<'_>,
    claim: &Claim,
    standing: &Standing<'_>,
) -> bool {
    let named = claim.holder.iter().chain(&claim.others);
    let written = named.filter_map(|position| {
        let written = remembers(eks, context, claim, *position)?;
        context.mappings[*position]
            .names(&written.arn)
            .then_some(written)
    });
    let of_aws = |entry: &AccessEntry| keeper(entry, &eks.view.managed, context.now).is_aws();
    let cluster = &eks.view.cluster.arn;
    managed_by(standing.state, &eks.installation, cluster, written, of_aws).is_some()
}

/// What a mapping's status says that was written for the claim's key.
pub(crate) fn remembers<'a>(
    eks: &Eks<'_>,
    context: &'a Context<'_>,
    claim: &Claim,
    position: usize,
) -> Option<&'a WrittenEntry> {
    let written = context.mappings[position].written_entries(&eks.view.cluster.arn);
    written.get(claim.key.as_ref()?).copied()
}

/// The principals of the key, by ARN, whose absence in EKS a deleted mapping waits for.
pub(crate) fn waited_for<'a>(
    context: &'a Context<'_>,
    claim: &'a Claim,
) -> impl Iterator<Item = String> + 'a {
    claim.others.iter().filter_map(|position| {
        let mapping = &context.mappings[*position];
        let principal = mapping.principal.as_ref()?;
        let waits = mapping.finalizers.keeps(Backend::AccessEntry)
            && context.states[*position] == State::Deleting;
        (waits && Some(principal.key()) == claim.key).then(|| principal.arn())
    })
}

/// Those of them of which EKS has not said yet that they have no entry.
pub(crate) fn unproven<'a>(
    context: &'a Context<'_>,
    eks: &'a Eks<'_>,
    claim: &'a Claim,
) -> impl Iterator<Item = String> + 'a {
    waited_for(context, claim).filter(|arn| eks.view.possible_where_named(arn).may_exist())
}
