//! What the operator promises, shown as its users would see it: the real binary with its own rights on a real API
//! server. Each test is a story of several steps on one control plane.
//!
//! That nothing happens is never shown by waiting for a while: a further change is made whose effect is waited for, and
//! by then whatever came before has been dealt with too ([`Cluster::establish`](crate::support::Cluster::establish)).

mod contention;
mod disasters;
mod drift;
pub(crate) mod entries;
mod guards;
mod health;
mod legal_forms;
mod loss;
mod ownership;
mod refusals;
mod release;
mod running;
mod statuses;
pub(crate) mod time;
mod undecodable;

/// Arguments that leave the operator no timer to work by: what it does, it does because something happened.
pub(crate) const NO_TIMER: [&str; 1] = ["--resync=24h"];
