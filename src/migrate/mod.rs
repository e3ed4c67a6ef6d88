//! The migration from aws-auth to access entries: what happens to each principal, and who would lose access.
//!
//! Nothing here does IO, and nothing is decided here that the planner decides: [`verdicts`] takes every entry of aws-auth that no
//! mapping declares as if it were imported, plans with the handover asked for in the mode to come, and says what the plan says.
//! Invariants:
//!
//! - every entry of aws-auth that grants access belongs to exactly one [`PrincipalPlan`], and every other one is listed as granting no access;
//! - [`PrincipalPlan::lost_in_api`] is true exactly where aws-auth alone lets the principal in now.

mod difference;
mod entries;
mod forecast;
mod implied;
mod imports;
mod judge;
mod mapping_from_entry;
mod migration;
mod mode;
mod nodes;
mod recipe;
mod rounds;
mod steps;
#[cfg(test)]
mod tests;
mod way;
mod why;

pub(crate) use difference::EntryDifference;
pub(crate) use implied::{Way, implied};
pub(crate) use judge::{NotForMigration, verdicts};
pub(crate) use migration::{
    Migration, MisreadLine, NeverMatches, PlannedOutcome, PrincipalPlan, UnreadableSection, Who,
};
pub(crate) use mode::{ImpossibleModeChange, check_mode_change, check_platform, modes_between};
pub(crate) use recipe::{Recipe, recipes};
pub(crate) use rounds::Rounds;
pub(crate) use steps::many;
pub(crate) use steps::{Instruction, Manner, instructions, tally};
pub(crate) use way::{
    BRIDGE, Bridge, MigrationGoal, ModeChange, NextStep, Situation, Stage, ends, next, next_back,
    situation, undeclared,
};
pub(crate) use why::unread;
