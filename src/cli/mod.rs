//! The command line: one file per command; `output` alone writes to standard output and standard error.
//!
//! Exit codes: 0 fine; 1 an error or a 'no'. With a usage error or unreadable input nothing goes to standard output.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

pub mod connection;
pub mod crd;
pub mod effective;
pub mod eks;
mod output;
pub mod release;
pub mod run;

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
    Run(Box<run::RunArgs>),
    Release(Box<release::ReleaseArgs>),
    /// Print what the authenticator makes of an aws-auth: who gets in as what, and what it drops
    Effective(effective::Effective),
    /// Print the `CustomResourceDefinition`
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
        Err(help) => return finish(print(&help.render().ansi().to_string())),
    };
    finish(match cli.command {
        Command::Run(args) => in_runtime(run::run(*args)),
        Command::Release(args) => in_runtime(release::release(*args, &mut output::Stdout)),
        Command::Effective(command) => command.run(),
        Command::Crd => print(&crd::crd_yaml()),
    })
}

fn print(text: &str) -> Result<ExitCode> {
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs what talks to a cluster. The cryptography is chosen first, before anything could choose another.
fn in_runtime(command: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    // An error says that one was chosen already, which only a second call in one process can do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    runtime.block_on(command)?;
    Ok(ExitCode::SUCCESS)
}

fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        output::complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
