//! Processes and folders that end with this process, however it ends.
//!
//! A process that is killed by SIGKILL runs no destructor, so none can be relied on. Instead each program runs under a
//! small shell of its own that holds the reading end of a pipe from us: the kernel closes our end when we end, the shell
//! reads the end of the file, kills exactly its own child and leaves. The shells have process groups of their own, since
//! a Ctrl-C on the terminal would otherwise reach them before they have done so. A folder has a shell of the same kind.
//! Lines written to the pipe are names of signals, passed on to the child.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// Runs "$@" with its output where this shell's errors go, prints its process id, and leaves with its exit code (128 + n where it
/// died of signal n, as shells have it). The background reader is what kills: a shell that waits for a child reads nothing.
const SUPERVISOR: &str = r#"
exec 3<&0 </dev/null
"$@" >&2 3<&- &
child=$!
exec 2>/dev/null
(
  while read -r signal <&3; do kill -s "$signal" "$child"; done
  kill -s KILL "$child"
) >/dev/null &
reader=$!
echo "$child"
exec >/dev/null
wait "$child"
status=$?
kill "$reader"
exit "$status"
"#;

/// Removes the folder "$1" at the end of the pipe. Processes that write into it are being killed at the same moment:
/// hence more than one try.
const JANITOR: &str = r#"
read -r line
for try in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$1" && exit 0
  sleep 0.1
done
exit 1
"#;

/// A program that runs until this value is dropped or this process ends, whichever comes first.
#[derive(Debug)]
pub(crate) struct Supervised {
    shell: Child,
    lifeline: Option<ChildStdin>,
    pid: u32,
    log: Option<PathBuf>,
}

impl Supervised {
    /// Starts a program with exactly this environment and its output in a file.
    pub(crate) fn spawn<A, K, V>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        environment: impl IntoIterator<Item = (K, V)>,
        log: &Path,
    ) -> Self
    where
        A: AsRef<OsStr>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let file = File::create(log).expect("the folder of the log is writable");
        let mut supervised = Self::spawn_into(program, args, environment, file.into());
        supervised.log = Some(log.to_owned());
        supervised
    }

    /// The same with its output on our standard output.
    pub(crate) fn spawn_shown<A, K, V>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Self
    where
        A: AsRef<OsStr>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let shown = io::stdout().as_fd().try_clone_to_owned();
        let shown = shown.expect("standard output can be shared");
        Self::spawn_into(program, args, environment, shown.into())
    }

    fn spawn_into<A, K, V>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        environment: impl IntoIterator<Item = (K, V)>,
        output: Stdio,
    ) -> Self
    where
        A: AsRef<OsStr>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(program)
            .args(args)
            .env_clear()
            .envs(environment)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .process_group(0)
            .spawn()
            .expect("/bin/sh starts");
        let lifeline = shell.stdin.take();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("the supervisor's output is readable");
        let pid = line
            .trim()
            .parse()
            .expect("the supervisor prints a process id");
        Self {
            shell,
            lifeline,
            pid,
            log: None,
        }
    }

    /// The process id of the program itself.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What the program wrote so far to stdout and stderr, where that is in a file.
    pub(crate) fn log(&self) -> String {
        let text = self.log.as_ref().and_then(|log| fs::read(log).ok());
        String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
    }

    /// Sends a signal by its name without `SIG`; nothing happens where the program has ended.
    pub(crate) fn signal(&mut self, name: &str) {
        if let Some(lifeline) = &mut self.lifeline {
            // A closed pipe means that the program and its shell have ended.
            let _ = writeln!(lifeline, "{name}");
        }
    }

    /// How the program ended, or `None` while it runs.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.shell
            .try_wait()
            .expect("the supervisor can be waited for")
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // Only reaps: the shell kills its child at once.
        let _ = self.shell.wait();
    }
}

/// A folder under the system's own for temporary files, removed when this value is dropped or this process ends.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    janitor: Child,
}

impl Scratch {
    /// A new empty folder.
    pub(crate) fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("identity-mapper-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh starts");
        Self { path, janitor }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
