//! `identity-mapper migrate`: from aws-auth to access entries, step by step, and back.

mod apply;
mod caller;
mod document;
mod mode;
mod plan;
mod progress_printer;
mod revert;
mod runner;
mod status;
mod text;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub use apply::{ApplyArgs, PaceArgs};
pub use plan::MigratePlanArgs;
pub use revert::RevertArgs;
pub use status::StatusArgs;

/// Migrate from aws-auth to access entries, step by step
#[derive(Subcommand, Clone, Debug)]
#[allow(
    missing_docs,
    reason = "a comment here would replace the help of the command"
)]
pub enum Migrate {
    Plan(Box<MigratePlanArgs>),
    Apply(Box<ApplyArgs>),
    Status(Box<StatusArgs>),
    Revert(Box<RevertArgs>),
}

impl Migrate {
    /// Runs the command.
    pub async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Plan(args) => Box::pin(plan::plan(*args)).await,
            Self::Apply(args) => Box::pin(apply::apply(*args)).await,
            Self::Status(args) => Box::pin(status::status(*args)).await,
            Self::Revert(args) => Box::pin(revert::revert(*args)).await,
        }
    }
}
