//! Access entries as their users would see them: the real binary between a real API server and the stand-in for AWS.
//!
//! One function is one row of what is known of EKS. Rows that need the same stage share it. What did not happen is read from
//! the call log, after something that came later is known to have been dealt with.

mod aws_managed;
mod consistency;
mod drift;
pub(crate) mod failures;
mod fields;
mod finalizers;
mod frozen;
mod guards;
mod modes;
mod ownership;
mod permission_sets;
mod policies;
mod principals;
mod recreated;
mod rotation;
pub(crate) mod stage;
