//! EKS access entries as values: what stands, what AWS accepts, and the calls that lead from one to the other.
//!
//! Nothing here does IO. Invariants:
//!
//! - an [`Entry`] is what EKS answered, never what we asked for;
//! - [`Entries`] knows an entry as described only while nothing has made that doubtful: after a call of unknown effect, or
//!   word of a change, it must be described again before anything is decided by it;
//! - groups, tags, policies and namespaces are sets: order means nothing.

mod call;
mod entries;
mod entry;

pub use call::{Call, Failure, FailureKind, Output};
pub use entries::{Entries, EntryState};
pub use entry::{Association, Entry, Kind, Scope};
