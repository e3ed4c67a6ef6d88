//! Whose an entry is, for both backends: the mark of aws-auth, the tags of access entries, and what the statuses of mappings remember.
//!
//! Of each key at most one entry of aws-auth is managed ([`recognise`]); an access entry carries its own tag ([`managed_by`]). Where mark
//! or tag is lost, the status of a mapping that names that very principal recognises an entry that exists exactly as it says. Nothing
//! else makes an entry managed, and nothing in here grants anything.

mod access_entry;
mod aws_auth;
pub mod aws_managed;
mod mark;
mod orphans;
mod written;

pub(crate) use access_entry::{is_recorded, is_tagged, is_written, managed_by, record_of};
pub(crate) use aws_auth::{Evidence, KnownUnmanaged, Recognised, recognise};
pub use aws_auth::{Marked, Unmanaged};
pub use mark::MARK_ANNOTATION;
pub(crate) use mark::{KeyHash, Mark, MeaningHash};
pub(crate) use orphans::set_name;
pub use written::is_as_written;
