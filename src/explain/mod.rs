//! Explains who has access to the cluster, with which identity and by which entry, and why someone has none.
//!
//! Pure, and never a second opinion: which entry grants a principal access, which have no effect and what makes an administrator is
//! asked of [`crate::effective`], the reading of aws-auth of [`crate::aws_auth`]. What is added is words: the identity with its placeholders
//! filled in, what RBAC binds to it, and for those without access the nearest entries with the likely cause and the fix.

mod caller;
mod cause;
mod explanation;
mod fix;
mod identity;
mod idle;
mod nearest;
mod other_ways;
mod question;
mod rbac;
mod report;
mod scene;
#[cfg(test)]
mod tests;

pub(crate) use caller::Caller;
pub(crate) use explanation::Explanation;
pub(crate) use fix::{Fix, quoted, recreate_commands, way_in};
pub(crate) use identity::{EntryPlace, GrantBackend, Held, Identity, PassedOver};
pub(crate) use nearest::is_typo;
pub(crate) use other_ways::OtherWays;
pub(crate) use question::{Object, PermissionAnswer, Question, unknown_verb};
pub(crate) use rbac::Bound;
pub(crate) use report::{AccessReport, AccessRow, AccessRowKind, Creator};
pub(crate) use scene::{DeclaringMapping, Explainer, IdleMapping, IdleReason, Scene};
