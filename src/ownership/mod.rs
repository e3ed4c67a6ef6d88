//! Whose an entry is.

mod mark;

pub(crate) use mark::{KeyHash, Mark, MeaningHash, hex};
pub use mark::{MARK_ANNOTATION, Marked};
