//! What users write: the `IdentityMapping` custom resource and the conditions that answer it.

pub mod condition;
pub mod v1alpha1;

pub use v1alpha1::IdentityMapping;
