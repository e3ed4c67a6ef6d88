//! Whose an access entry is, seen from a claim.

use crate::access_entry::Entry;
use crate::api::v1alpha1::WrittenEntry;
use crate::effective::Standing;
use crate::ownership::aws_managed::keeper;
use crate::ownership::managed_by;
use crate::plan::claim::{Claim, Context, Eks};

/// Whether an entry is ours: by its tag, or, where the tags were lost, because the status of a mapping that names this very principal says
/// that we wrote it just so.
pub(in crate::plan) fn is_ours(
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
    let of_aws = |entry: &Entry| keeper(entry, &eks.view.managed, context.now).is_aws();
    let cluster = &eks.view.cluster.arn;
    managed_by(standing.state, &eks.installation, cluster, written, of_aws).is_some()
}

/// What a mapping's status says that was written for the claim's key.
pub(super) fn remembers<'a>(
    eks: &Eks<'_>,
    context: &'a Context<'_>,
    claim: &Claim,
    position: usize,
) -> Option<&'a WrittenEntry> {
    let written = context.mappings[position].written_entries(&eks.view.cluster.arn);
    written.get(claim.key.as_ref()?).copied()
}
