//! `identity-mapper migrate`: from aws-auth to access entries, step by step, and back.

mod apply;
mod caller;
mod journey;
mod mode;
mod revert;
mod status;
mod tell;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// The steps of a migration.
#[derive(Subcommand, Clone, Debug)]
pub enum Migrate {
    Apply(Box<apply::Apply>),
    Status(Box<status::Status>),
    Revert(Box<revert::Revert>),
}

impl Migrate {
    /// Runs the command.
    pub async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Apply(apply) => Box::pin(apply.run()).await,
            Self::Status(status) => Box::pin(status.run()).await,
            Self::Revert(revert) => Box::pin(revert.run()).await,
        }
    }
}
