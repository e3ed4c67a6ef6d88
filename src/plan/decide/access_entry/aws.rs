//! AWS's part in an access entry: entries that it keeps itself, and policies that it associated.

use std::collections::BTreeSet;

use crate::access_entry::{
    AccessEntry, Call, Change, Difference, Failure, Kind, Target, give_back,
};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{Adoption, EntryType};
use crate::desired::Spec;
use crate::ownership::aws_managed::{
    Cause, Keeper, Known, is_of_eks, keeper, policies_of_aws, rests_on_answers,
};
use crate::plan::backend::{PartOfAws, Seen};
use crate::plan::claim::{Block, Claim, Context, Eks, EntrySide};
use crate::plan::decide::access_entry::calls::{list, take};
use crate::plan::decide::access_entry::owner::remembers;

/// AWS's part in an entry, as far as it matters to its holder. An entry of ours on which everything is declared, or was associated by
/// us or by AWS before, is kept as declared no matter who else keeps it.
pub(crate) fn part_of_aws<'a>(
    context: &Context<'_>,
    eks: &'a Eks<'_>,
    claim: &Claim,
    entry: &AccessEntry,
    ours: bool,
    target: &Target,
) -> PartOfAws<'a> {
    let written = associated(context, eks, claim);
    let known = |of_aws| Known {
        of_aws,
        ours,
        written: written.as_ref(),
    };
    let tagged = policies_of_aws(entry, known(false));
    let wrote = |policy: &String| written.as_ref().is_some_and(|it| it.contains(policy));
    let told = |policy: &String| {
        target.policies.contains_key(policy)
            || tagged.contains(policy)
            || (wrote(policy) && !is_of_eks(policy))
    };
    if ours && entry.policies.keys().all(told) {
        return PartOfAws {
            policies: tagged,
            ..PartOfAws::default()
        };
    }
    let keeper = keeper(entry, &eks.view.managed, context.now);
    PartOfAws {
        policies: policies_of_aws(entry, known(keeper.is_aws())),
        keeper: Some(keeper),
        asks: rests_on_answers(entry),
    }
}

/// The policies that we associated with the claim's entry by what statuses remember; `None`: none remembers it.
fn associated(context: &Context<'_>, eks: &Eks<'_>, claim: &Claim) -> Option<BTreeSet<String>> {
    let positions = claim.holder.iter().chain(&claim.others);
    let written = positions.filter_map(|position| remembers(eks, context, claim, *position));
    written
        .map(|written| {
            let policies = written.access_policies.iter();
            policies.map(|policy| policy.policy.clone()).collect()
        })
        .reduce(|all: BTreeSet<String>, more| all.union(&more).cloned().collect())
}

/// What takes an entry of ours away: it is deleted, or what we added is taken back where AWS keeps it.
pub(crate) enum Removal {
    Delete(Call),
    GiveBack(Vec<Call>),
    Wait(Block),
}

/// How an entry of ours is taken away.
pub(crate) fn removal(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
    entry: &AccessEntry,
) -> Removal {
    match keeper(entry, &eks.view.managed, context.now) {
        Keeper::Nobody => Removal::Delete(Call::Delete {
            principal_arn: entry.principal_arn.clone(),
        }),
        Keeper::Unknown(failure) => Removal::Wait(asking(failure)),
        Keeper::Aws(_) => {
            let written = associated(context, eks, claim);
            let of_aws = policies_of_aws(
                entry,
                Known {
                    of_aws: true,
                    ours: true,
                    written: written.as_ref(),
                },
            );
            Removal::GiveBack(give_back(entry, &of_aws))
        }
    }
}

/// Whether an entry may be deleted to be made anew or to make way for aws-auth, or why not.
pub(crate) fn deletable(
    context: &Context<'_>,
    eks: &Eks<'_>,
    entry: &AccessEntry,
    side: &mut EntrySide,
) -> Result<(), Option<Cause>> {
    side.asks |= rests_on_answers(entry);
    match keeper(entry, &eks.view.managed, context.now) {
        Keeper::Nobody => Ok(()),
        Keeper::Unknown(failure) => {
            side.hold(asking(failure));
            Err(None)
        }
        Keeper::Aws(cause) => Err(Some(cause)),
    }
}

/// EKS has not told yet which roles it uses.
pub(crate) fn asking(failure: Option<&Failure>) -> Block {
    match failure {
        None => Block::passing(
            Reason::EntryPending,
            "the operator is checking in EKS whether AWS manages this access entry",
        ),
        Some(failure) => Block::passing(
            Reason::EksUnavailable,
            format!(
                "the operator can't check in EKS whether AWS manages this access entry: {failure}"
            ),
        ),
    }
}

/// The call that a person can make where an entry can't be changed, and what follows.
pub(crate) fn by_hand(eks: &Eks<'_>, entry: &AccessEntry, declared: Option<EntryType>) -> String {
    let call = format!(
        "delete it with `aws eks delete-access-entry {} --principal-arn {}`",
        eks.view.cluster.cli_flags(),
        entry.principal_arn
    );
    let node = entry.kind.is_node();
    let follows = match declared {
        Some(EntryType::Standard) if node => {
            "nodes that use this role then lose access; give people a role of their own instead"
                .to_owned()
        }
        Some(type_) if node => format!(
            "identity-mapper then creates one of type {type_:?}; until that exists, nodes that use this role have no access"
        ),
        Some(type_) => format!(
            "identity-mapper then creates one of type {type_:?}; until that exists, the principal has no access by an access entry"
        ),
        None => "identity-mapper then creates it again as declared".to_owned(),
    };
    format!("{call}; {follows}")
}

/// A policy that AWS associated for less than is declared: an entry has one scope for each policy, and AWS's stays.
pub(crate) fn narrower(seen: &Seen<'_>) -> Option<Block> {
    let narrower = seen.differences.iter().find(|it| {
        matches!(it, Difference::PolicyScope { policy_arn, .. } if seen.aws.policies.contains(policy_arn))
    })?;
    Some(Block::lasting(
        Reason::NotExpressible,
        format!(
            "the access entry has {narrower}; AWS associated it, and its scope stays as AWS set it; remove the policy from \
             spec.accessPolicies"
        ),
    ))
}

/// An entry that AWS keeps: only `adoption: Always` adds to it, and nothing takes it over otherwise.
pub(crate) fn adopt(
    eks: &Eks<'_>,
    spec: &Spec,
    seen: &Seen<'_>,
    cause: &Cause,
    side: &mut EntrySide,
) {
    let Seen {
        entry,
        change,
        differences,
        ..
    } = seen;
    let place = format!("the access entry {}", entry.arn);
    if let Some(block) = unchangeable(eks, spec, seen, Some(cause)) {
        return side.hold(block);
    }
    match (spec.adoption, differences.is_empty()) {
        (Adoption::Always, _) => match narrower(seen) {
            Some(block) => side.hold(block),
            None => take(change, side),
        },
        (Adoption::IfIdentical | Adoption::Never, true) => {
            let why = match spec.adoption {
                Adoption::Never => "spec.adoption: Never leaves it unmanaged",
                _ => "only spec.adoption: Always adopts it",
            };
            side.as_declared = true;
            side.hold(Block::lasting(
                Reason::NotManaged,
                format!("{place} is unmanaged: {cause}, and {why}; deleting this mapping leaves it"),
            ));
        }
        (Adoption::IfIdentical | Adoption::Never, false) => side.hold(Block::lasting(
            Reason::UnmanagedEntry,
            format!(
                "{place} is unmanaged: {cause}; it has {}; declare the same here, or set spec.adoption: Always to add what is declared (what AWS associated stays)",
                list(differences)
            ),
        )),
    }
}

/// Why an entry that is not ours can't become what is declared, whatever `adoption` says: its type is another one.
pub(crate) fn unchangeable(
    eks: &Eks<'_>,
    spec: &Spec,
    seen: &Seen<'_>,
    cause: Option<&Cause>,
) -> Option<Block> {
    let Seen { entry, change, .. } = seen;
    let whose = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let why = match change {
        Change::Same | Change::Calls(_) => return None,
        Change::UnknownType(why) => why.to_string(),
        Change::Recreate(why) => {
            let same = match &entry.kind {
                Kind::Known(type_) if *type_ != EntryType::Standard && spec.is_node() => {
                    format!("set spec.type: {type_:?} if that is what these nodes are, or ")
                }
                Kind::Known(_) | Kind::Unknown(_) => String::new(),
            };
            format!("{why}; {same}{}", by_hand(eks, entry, Some(spec.type_)))
        }
    };
    Some(Block::lasting(
        Reason::UnmanagedEntry,
        format!("the access entry {} is unmanaged{whose}; {why}", entry.arn),
    ))
}
