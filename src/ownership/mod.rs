//! Whose an entry is.

pub mod aws_managed;
mod mark;
mod written;

pub(crate) use mark::{KeyHash, Mark, MeaningHash, hex};
pub use mark::{MARK_ANNOTATION, Marked};
pub use written::is_as_written;
