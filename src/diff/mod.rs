//! The changes of a plan, described for people before they are made.

mod files;
mod forecast;
mod plan_diff;
#[cfg(test)]
mod tests;

pub(crate) use files::{account_of_stripped, without_iam};
pub(crate) use forecast::{Forecast, forecast};
pub(crate) use plan_diff::{ConfigMapDiff, EntryDiff, PlanDiff, TextStepKind};
