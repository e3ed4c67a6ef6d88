//! Effective access: who gets in now, as what, by which entry, with which power.

mod access_entries;
mod entry;
mod power;

pub use access_entries::{Life, Standing, StandingEntries, in_iam};
pub use entry::EffectiveEntry;
pub use power::{
    Administrator, Entrance, MASTERS, Unmatchable, administrator, entrance, entry_administrator,
    has_admin_policy, is_nodes, unmatchable,
};
pub(crate) use power::{can_match, is_node, is_target_administrator};
