//! The API: the `IdentityMapping` custom resource and its conditions.

pub mod check;
pub mod condition;
pub mod finalizer;
mod rules;
pub mod v1alpha1;

pub use check::{Violation, check, check_json};
pub use v1alpha1::{IdentityMapping, crd};
