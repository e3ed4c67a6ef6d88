//! Manages who can access an EKS cluster, declared as `IdentityMapping` resources.
//!
//! ```text
//! watches, listings ────► observed state ─┐
//!                                         ├─► plan(desired, observed, settings) ──► execute ──► statuses, events, metrics
//! IdentityMapping store ──► desired ──────┘        pure, no IO                      writes, retries
//! ```
//!
//! [`principal`], [`aws_auth`], [`access_entry`], [`plan`], [`explain`] and [`migrate`] are pure: no IO, no client.
//! [`cluster`] does IO with Kubernetes, [`aws`] with EKS and IAM; neither makes decisions. [`controller`] is the loop that joins the two,
//! [`cli`] the command line.

#![warn(clippy::disallowed_types)]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
// The fuzzer is built without the modules that do IO, in half the time: what only they use is unused then.
#![cfg_attr(fuzzing, allow(unused))]

pub mod access_entry;
pub mod api;
pub mod aws;
pub mod aws_auth;
mod backoff;
#[cfg(not(fuzzing))]
pub mod cli;
#[cfg(not(fuzzing))]
pub mod cluster;
#[cfg(not(fuzzing))]
pub mod controller;
pub mod desired;
mod diff;
pub mod effective;
pub mod error;
mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod import;
#[cfg(test)]
mod laws;
pub mod lease;
mod lint;
pub mod manifest;
mod migrate;
pub mod observed;
pub mod ownership;
pub mod plan;
pub mod principal;
mod rollback;
pub mod safety;
pub mod time;
mod yaml;
