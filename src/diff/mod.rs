//! What a plan changes, in the words of those who read it before it is carried out.

mod forecast;
mod plan_diff;
#[cfg(test)]
mod tests;

pub(crate) use forecast::{Forecast, forecast};
pub(crate) use plan_diff::{ConfigMapDiff, EntryDiff, PlanDiff, TextStepKind};
