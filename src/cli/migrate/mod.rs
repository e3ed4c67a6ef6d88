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

pub(crate) use apply::ApplyArgs;
pub(crate) use plan::MigratePlanArgs;
pub(crate) use revert::RevertArgs;
pub(super) use status::COLUMNS as STATUS_COLUMNS;
pub(crate) use status::StatusArgs;
pub(super) use text::COLUMNS as PLAN_COLUMNS;

/// Migrate from aws-auth to access entries, step by step
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Migrate {
    Plan(Box<MigratePlanArgs>),
    Apply(Box<ApplyArgs>),
    Status(Box<StatusArgs>),
    Revert(Box<RevertArgs>),
}

impl Migrate {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Plan(args) => Box::pin(plan::plan(*args)).await,
            Self::Apply(args) => Box::pin(apply::apply(*args)).await,
            Self::Status(args) => Box::pin(status::status(*args)).await,
            Self::Revert(args) => Box::pin(revert::revert(*args)).await,
        }
    }
}
