//! The command line: one file per command; `output` alone writes to standard output and standard error.
//!
//! Exit codes: 0 fine; 1 an error or a 'no'; 2 only 'there are changes' of `plan` and `lint --dry-run`, and an error of the commands
//! called `diff`, whose 1 means differences. With a usage error or unreadable input nothing goes to standard output.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

mod access;
mod choices;
mod complete;
mod completions;
mod confirm;
mod connection;
pub mod crd;
mod diagnostic;
mod diff;
mod effective;
mod eks;
mod explain;
mod files;
mod fleet;
mod help;
mod import;
mod input;
mod leader;
mod lint;
mod man;
mod migrate;
mod operator;
mod output;
mod plan;
mod query_context;
mod release;
mod rights;
mod rollback;
mod run;
mod snapshot;
mod table;
mod target;
mod which_cluster;
mod wrap;
mod write;

/// The exit code of an error of the commands called `diff`.
const TROUBLE: u8 = 2;

/// The name under which kubectl finds it as a plugin (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>).
const PLUGIN: &str = "kubectl-idmap";

/// The name under which kubectl asks for the plugin's completions (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>).
const PLUGIN_COMPLETION: &str = "kubectl_complete-idmap";

/// What the shells' scripts call.
const COMPLETE: &str = "__complete";

#[derive(Parser, Debug)]
#[command(
    name = "identity-mapper",
    version,
    about,
    arg_required_else_help = true
)]
struct Cli {
    /// More logs on standard error: -v for the requests to the API server and to AWS, -vv for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Lint(Box<lint::LintArgs>),
    /// Show what the authenticator reads from an aws-auth ConfigMap: who has access, and which entries it drops
    Effective(Box<effective::Effective>),
    Explain(Box<explain::ExplainArgs>),
    Access(Box<access::AccessArgs>),
    Import(Box<import::ImportArgs>),
    Plan(Box<plan::PlanArgs>),
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    Rollback(Box<rollback::RollbackArgs>),
    Run(Box<run::RunArgs>),
    Release(Box<release::ReleaseArgs>),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    /// Print the `CustomResourceDefinition`
    Crd,
    /// Print the version
    Version,
}

/// Runs the command line and gives the exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(words) = completed(&arguments) {
        let answer = async { Ok(complete::answer(&mut command(None), &words).await) };
        return finish(in_runtime(answer).and_then(|text| print(&text)));
    }
    let words: Vec<String> = arguments.iter().map(word).collect();
    let parsed = command(arguments.first().map(OsString::as_os_str))
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(mut usage) if usage.use_stderr() => {
            suggest_the_flag_of_files(&mut usage);
            output::complain(&usage.render().ansi().to_string());
            return usage_error(&words);
        }
        Err(help) => return finish(print(&help.render().ansi().to_string())),
    };
    let verbose = cli.verbose;
    finish(match cli.command {
        Command::Lint(args) => args.run(verbose),
        Command::Effective(command) => command.run(verbose),
        Command::Explain(args) => quietly(verbose, explain::explain(*args)),
        Command::Access(args) => quietly(verbose, access::access(*args)),
        Command::Import(args) => quietly(verbose, Box::pin(import::run(*args))),
        Command::Plan(args) => quietly(verbose, Box::pin(plan::plan(*args))),
        Command::Migrate(command) => quietly(verbose, command.run()),
        Command::Rollback(args) => quietly(verbose, Box::pin(rollback::rollback(*args))),
        Command::Run(args) => in_runtime(run::run(*args, verbose)).map(success),
        Command::Release(args) => {
            quietly(verbose, release::release(*args, &mut output::Stdout)).map(success)
        }
        Command::Completions(args) => print(completions::completions(&args)),
        Command::Man(args) => man::man(&args, command(None)),
        Command::Crd => print(&crd::crd_yaml()),
        Command::Version => print(&version(option_env!("IDENTITY_MAPPER_COMMIT"))),
    })
}

/// A file where a subcommand may be is meant as the `aws-auth` to read.
fn suggest_the_flag_of_files(usage: &mut clap::Error) {
    let word = match usage.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => return,
    };
    if Path::new(&word).is_file() {
        let tip = format!("to read aws-auth from a file, pass --aws-auth {word}");
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        usage.insert(ContextKind::Suggested, tips);
    }
}

/// The version, with the commit where the build was told of it: the image is built without the repository.
fn version(commit: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("identity-mapper {version} (commit {commit})\n"),
        None => format!("identity-mapper {version}\n"),
    }
}

/// The command under the name by which it was called.
fn command(called: Option<&OsStr>) -> clap::Command {
    if is_called(called, PLUGIN) {
        help::arranged(Cli::command(), "kubectl idmap ").bin_name("kubectl idmap")
    } else {
        help::arranged(Cli::command(), "identity-mapper ")
    }
}

fn is_called(called: Option<&OsStr>, name: &str) -> bool {
    let called = called.and_then(|called| Path::new(called).file_stem());
    called.is_some_and(|called| called == name)
}

/// The words to complete, where a shell or kubectl asks.
fn completed(arguments: &[OsString]) -> Option<Vec<String>> {
    let words = match arguments {
        [called, words @ ..] if is_called(Some(called), PLUGIN_COMPLETION) => words,
        [_, asks, dashes, words @ ..] if asks == COMPLETE && dashes == "--" => words,
        _ => return None,
    };
    Some(words.iter().map(word).collect())
}

fn word(word: &OsString) -> String {
    word.to_string_lossy().into_owned()
}

/// The exit code of a usage error. To `access diff` and `rollback diff`, 1 means differences.
fn usage_error(arguments: &[String]) -> ExitCode {
    let mut words = arguments.iter().skip(1).filter(|it| !it.starts_with('-'));
    match (words.next().map(String::as_str), words.next()) {
        (Some("access" | "rollback"), Some(second)) if second == "diff" => ExitCode::from(TROUBLE),
        _ => ExitCode::FAILURE,
    }
}

fn print(text: &str) -> Result<ExitCode> {
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn success((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// Runs a command that talks to a cluster or to AWS, with logs only where they are asked for.
fn quietly<T>(verbose: u8, command: impl Future<Output = Result<T>>) -> Result<T> {
    let level = match verbose {
        // What goes wrong with a connection is in the command's own error.
        0 => "error,kube_client=off",
        // Each request to the API server and to AWS is a line of ours.
        1 => "info,identity_mapper=debug",
        // What signs requests would tell more than anybody should copy into an issue.
        _ => "debug,aws_runtime=info,aws_sigv4=info",
    };
    run::start_logging(run::LogFormat::Text, level)?;
    in_runtime(command)
}

/// Runs what talks to a cluster. The cryptography is chosen first, before anything could choose another.
fn in_runtime<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    // An error says that one was chosen already, which only a second call in one process can do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    runtime.block_on(command)
}

fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        output::complain(&output::error(&error));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_the_commit_where_the_build_was_told() {
        let plain = version(None);
        assert!(plain.ends_with(concat!(env!("CARGO_PKG_VERSION"), "\n")));
        assert_eq!(version(Some("")), plain, "a build argument without a value");
        let with_commit = plain.replace('\n', " (commit 3a021e1)\n");
        assert_eq!(version(Some("3a021e1")), with_commit);
    }

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }
}
