//! The image and the chart as they are shipped, on a real node: kubelet and containerd run the operator's Pod.
//!
//! Each test has a node of its own, in namespaces of its own: see [`support::node::namespace`]. Where none can run, its test says so by name.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

#[path = "../it/support/mod.rs"]
mod support;

mod aws;
mod failover;
mod harness;
mod install;
mod ipv6;
mod lifecycle;
mod locked_out;
mod memory;
mod probes;
mod soak;
