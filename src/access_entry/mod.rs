//! EKS access entries as values: what exists, what AWS accepts, and the calls that lead from one to the other.
//!
//! Nothing here does IO. Invariants:
//!
//! - an [`AccessEntry`] is what EKS answered, never what we asked for;
//! - [`Entries`] knows an entry as described only while nothing has made that doubtful: after a call of unknown effect, or
//!   word of a change, it must be described again before anything is decided by it;
//! - groups, tags, policies and namespaces are sets: order means nothing.

mod answers;
mod call;
mod change;
mod cluster;
mod desired;
mod entries;
mod entry;
mod expected;
mod in_flight;
mod node;
mod policy_rules;
mod possible;

pub use answers::{Answers, AnswersError, read_answers};
pub(crate) use call::Persistence;
pub use call::{Call, Failure, FailureKind, Output};
pub use change::{
    AWS_POLICIES_TAG, CREATED, CREATED_TAG, Change, Difference, INSTALLATION_TAG, MAPPING_TAG,
    PRINCIPAL_ID_TAG, Recreate, UnknownType, Wanted, change, create, give_back, meaning_differs,
    policy_name, release, short_policy, untag,
};
pub use cluster::{EksCluster, NotACluster};
pub use desired::{
    ADMIN_POLICY, BRIDGE_GROUP, Declared, Inexpressible, Target, policy_arn, target,
};
pub use entries::{Absence, Entries, EntryState};
pub use entry::{AccessEntry, Association, Kind, Scope};
pub use in_flight::{InFlight, LAG, Sent};
pub(crate) use node::broken_nodes;
pub use node::{NodeDefaults, NodeTwin, gives_the_same_nodes, node_defaults, node_twin};
pub(crate) use policy_rules::{PolicyRequest, PolicyTable, is_service_policy};
pub use possible::Possible;

#[cfg(any(test, fuzzing))]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;
