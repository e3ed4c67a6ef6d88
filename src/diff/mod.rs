//! What a plan changes, in the words of those who read it before it is carried out.

mod forecast;
mod plan_diff;
#[cfg(test)]
mod tests;

pub use forecast::{Course, Later, ahead};
pub use plan_diff::{ConfigMapOutline, EntryOutline, Outline, TextChange, TextStep, TextStepKind};
