//! `identity-mapper completions SHELL`: the script that makes a shell ask this program for completions.

use clap::{Args, ValueEnum};

/// Print a shell completion script
///
/// It completes `identity-mapper` and `kubectl-idmap`, with the contexts of the kubeconfig and the mappings of the cluster. For `kubectl
/// idmap`, put a link named `kubectl_complete-idmap` to this program into the PATH.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell
    shell: CompletionShell,
}

/// A shell that can be completed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompletionShell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// The script as the shell reads it.
pub(super) fn completions(args: &CompletionsArgs) -> &'static str {
    match args.shell {
        CompletionShell::Bash => include_str!("completions/identity-mapper.bash"),
        CompletionShell::Zsh => include_str!("completions/identity-mapper.zsh"),
        CompletionShell::Fish => include_str!("completions/identity-mapper.fish"),
        CompletionShell::Powershell => include_str!("completions/identity-mapper.ps1"),
    }
}
