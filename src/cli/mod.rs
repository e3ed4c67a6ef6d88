//! The command line: one file per command; `output` alone writes to standard output and standard error.
//!
//! Exit codes: 0 fine; 1 an error or a 'no'. With a usage error or unreadable input nothing goes to standard output.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

pub mod crd;
pub mod effective;
mod output;

#[derive(Parser, Debug)]
#[command(
    name = "identity-mapper",
    version,
    about,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print what the authenticator makes of an aws-auth: who gets in as what, and what it drops
    Effective(effective::Effective),
    /// Print the CustomResourceDefinition
    Crd,
}

/// Runs the command line and gives the exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) if usage.use_stderr() => {
            output::complain(&usage.render().ansi().to_string());
            return ExitCode::FAILURE;
        }
        Err(help) => {
            return finish(
                output::print(&help.render().ansi().to_string())
                    .map_err(Into::into)
                    .map(|()| ExitCode::SUCCESS),
            );
        }
    };
    finish(match cli.command {
        Command::Effective(command) => command.run(),
        Command::Crd => output::print(&crd::crd_yaml())
            .map_err(Into::into)
            .map(|()| ExitCode::SUCCESS),
    })
}

fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        output::complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
