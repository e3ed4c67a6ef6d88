//! Effective access: who has access now, with which identity, entry and power; and which entries have no effect, and why.
//!
//! The one answer for statuses, guards and every command: [`EffectiveAccess`].

mod access;
mod access_entries;
mod entry;
mod power;
mod template;
#[cfg(test)]
mod tests;
mod unmatchable;

pub use access::{
    EffectiveAccess, Grant, Granted, Ineffective, NoEffect, Reading, Sources, Unread,
    no_effect_among,
};
pub(crate) use access_entries::{IAM_LAG, awaits_iam, missing_since};
pub use access_entries::{Life, Standing, StandingEntries, in_iam};
pub use entry::EffectiveEntry;
pub use power::{
    AUTHENTICATED, Administrator, MASTERS, entry_administrator, has_admin_policy, is_nodes,
};
pub(crate) use power::{is_node, is_target_administrator};
pub(crate) use template::becomes;
pub use template::is_templated;
pub(crate) use unmatchable::can_match;
pub use unmatchable::{Unmatchable, unmatchable};
