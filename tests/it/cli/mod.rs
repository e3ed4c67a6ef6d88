//! The command line, run as people run it: the binary itself, its exit code, standard output and standard error.

mod access_exit;
mod access_page;
mod answers;
mod completions;
mod effective;
mod explain;
mod fleet;
mod guide_access_entries;
mod guide_aws_auth;
mod guide_logged_in;
mod habits;
mod import;
mod inputs;
mod lint;
mod lint_cluster;
mod lint_entries;
mod lint_formats;
mod lint_pipelines;
mod manual;
mod migrate_apply;
mod migrate_plan;
mod migrate_recovers;
mod migrate_steps;
mod plan;
mod printed_commands;
mod proxies;
mod reported_entries;
mod rights;
mod rollback;
mod tables;
mod verbose;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Cluster;
use crate::support::eks::Eks;
use crate::support::programs::operator_binary;

/// A run of the binary that is being prepared.
pub(crate) struct Run {
    command: Command,
    input: Vec<u8>,
}

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The binary with these arguments, and with nothing of the developer's settings that could reach a cluster or AWS.
    pub(crate) fn new<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(operator_binary());
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy().into_owned();
            if ours.starts_with("AWS_") || ours.starts_with("IDENTITY_MAPPER_") {
                command.env_remove(name);
            }
        }
        command
            .env("KUBECONFIG", "/nowhere/kubeconfig")
            .env("HOME", "/nowhere")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        Self {
            command,
            input: Vec::new(),
        }
    }

    /// On this cluster, as its administrator.
    pub(crate) fn on(mut self, cluster: &Cluster) -> Self {
        self.command.env("KUBECONFIG", cluster.admin_kubeconfig());
        self
    }

    /// With this stand-in for AWS.
    pub(crate) fn with(mut self, eks: &Eks) -> Self {
        self.command.envs(eks.env());
        self
    }

    /// With this variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// In this folder.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// With this on standard input.
    pub(crate) fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Ran {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(&self.input);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it in a thread of its own, so that an asynchronous test goes on meanwhile.
    pub(crate) async fn run_aside(self) -> Ran {
        tokio::task::spawn_blocking(|| self.run()).await.unwrap()
    }
}

impl Ran {
    /// All of it, for a snapshot.
    pub(crate) fn shown(&self) -> String {
        let mut shown = format!("exit code {}\n", self.code);
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                let _ = write!(shown, "--- {name}\n{text}");
            }
        }
        shown
    }
}

/// Runs the binary with this on standard input; exit code, standard output and standard error.
pub(crate) fn run(arguments: &[&str], input: impl Into<Vec<u8>>) -> String {
    Run::new(arguments).stdin(input).run().shown()
}
