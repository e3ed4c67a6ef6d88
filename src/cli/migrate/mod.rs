//! `identity-mapper migrate`: from aws-auth to access entries, step by step.

mod document;
mod plan;
mod text;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub use plan::PlanArgs;

/// Move from aws-auth to access entries, step by step
#[derive(Subcommand, Clone, Debug)]
pub enum Migrate {
    #[allow(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    Plan(Box<PlanArgs>),
}

impl Migrate {
    /// Runs the command.
    pub async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Plan(args) => Box::pin(plan::plan(*args)).await,
        }
    }
}
