//! What is wrong with an aws-auth `ConfigMap` or with mapping manifests, and how to fix it.
//!
//! - What the authenticator makes of a text is what [`crate::aws_auth`] says; nothing is parsed a second time.
//! - An ordinary aws-auth of EKS has no findings: each rule is sure of what it says, or silent.
//! - Everything is linear in the text, however much is wrong with it.
//! - Pure: what is known of a cluster comes as values.

mod arn;
mod cluster;
mod code;
mod config_map;
mod embedding;
mod entries;
mod file;
mod finding;
mod fix;
mod ignore;
mod live_entries;
mod mappings;
mod mode;
mod name_checks;
mod names;
mod part;
mod partitions;
mod pasted;
mod principal;
mod read;
#[cfg(test)]
mod tests;
mod text;
mod winners;

pub(crate) use cluster::{ClusterFacts, NODE_MANAGER, check_cluster};
pub(crate) use code::{Code, Severity};
pub(crate) use file::{UnrenderedTemplate, check, unrendered};
pub(crate) use finding::{Diagnostic, LintReport, SourceText};
pub(crate) use fix::{Fixed, FixedData, Gain, fix, fix_data};
pub(crate) use ignore::FindingFilter;
