//! The stand-in for AWS itself: that it answers as AWS does, to clients that are not ours and to bytes that no client sends.

mod behaviour;
mod clients;
mod errors;
mod faults;
mod features;
mod foreign;
mod operations;
mod properties;
mod queue;
mod services;

/// The cluster of these tests.
const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
/// Its account.
const OWN: &str = "111122223333";
/// Another account.
const OTHER: &str = "444455556666";

/// The ARN of an access policy.
fn policy(name: &str) -> String {
    format!("arn:aws:eks::aws:cluster-access-policy/{name}")
}
