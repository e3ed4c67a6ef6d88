//! `identity-mapper completions SHELL`: what a shell needs to complete commands and flags.

use clap::{Args, Command};
use clap_complete::Shell;

use super::PLUGIN;

/// Print a shell completion script
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell
    shell: Shell,

    /// Complete `kubectl-idmap` instead of `identity-mapper`
    #[arg(long)]
    plugin: bool,
}

/// The completions as the shell reads them.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> String {
    let CompletionsArgs { shell, plugin } = *args;
    let name = if plugin { PLUGIN } else { "identity-mapper" };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
