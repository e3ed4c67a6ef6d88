//! Who gets into the cluster, as what, by what, and why someone does not.
//!
//! Pure, and never a second opinion: which entry grants a principal access, which have no effect and what makes an administrator is
//! asked of [`crate::effective`], the reading of aws-auth of [`crate::aws_auth`]. What is added is words: the identity with its placeholders
//! filled in, what RBAC binds to it, and for whoever is not let in the nearest entries with the likely cause and the fix.

mod caller;
mod cause;
mod explanation;
mod fix;
mod identity;
mod nearest;
mod question;
mod rbac;
mod report;
mod scene;
#[cfg(test)]
mod tests;

pub use caller::{Caller, CallerError};
pub use cause::{CauseKind, LikelyCause};
pub use explanation::Explanation;
pub use fix::{Fix, TextReplacement, way_in};
pub use identity::{EntryPlace, GrantBackend, Held, Identity, PassedOver};
pub use question::{Object, Permission, PermissionAnswer, Question};
pub use rbac::Bound;
pub use report::{AccessReport, AccessRow, AccessRowKind, Creator};
pub use scene::{DeclaringMapping, Explainer, FixData, Scene};
