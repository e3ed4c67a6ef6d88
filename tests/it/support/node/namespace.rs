//! Namespaces of one's own for a node: network, mounts, IPC and processes.
//!
//! A test that needs a node runs its own executable once more, for this test alone, as the program of `namespace.sh`; so does the demo
//! as a whole. Whatever is started in there reaches nothing outside, takes no port of the machine, and ends with the first process of
//! the namespaces, which the kernel kills with the test, however that ends.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::addresses::Family;
use super::super::programs::repository;
use super::super::supervise::{Scratch, Supervised};
use super::super::wait::eventually;
use super::image::GIVEN;

/// Set inside to the name of the node's cgroups.
const INSIDE: &str = "IDENTITY_MAPPER_NODE_CGROUP";

/// Between two looks at what runs in the namespaces.
const PAUSE: Duration = Duration::from_millis(100);

/// The file in which those inside find the number of their first process.
const FIRST: &str = "first";

/// A test takes a minute at most; a machine that builds beside it takes several times as long.
const DEADLINE: Duration = Duration::from_mins(8);

/// Removes the cgroups called "$1" at the end of the pipe. The processes in them are being killed at the same moment: hence more than
/// one try.
const JANITOR: &str = r#"
read -r line
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  left=
  for cgroup in /sys/fs/cgroup/*/"$1"; do
    [ -d "$cgroup" ] || continue
    find "$cgroup" -depth -type d -exec rmdir {} \; || left=1
    [ ! -d "$cgroup" ] || left=1
  done
  [ -n "$left" ] || exit 0
  sleep 0.2
done
exit 1
"#;

/// Runs a test in namespaces of its own; its argument is the name of the cgroups in which its node is to stay. `test` is its full name.
///
/// Where that can't be, says so by name, on standard error, which libtest does not keep back.
pub(crate) fn inside(test: &str, body: impl AsyncFnOnce(&str)) {
    inside_within(DEADLINE, Output::Kept, &[GIVEN], test, body);
}

/// The same with another deadline, its output elsewhere, and with these variables of the environment, where they are set.
pub(crate) fn inside_within(
    deadline: Duration,
    output: Output,
    variables: &[&str],
    test: &str,
    body: impl AsyncFnOnce(&str),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if let Some(cgroup) = cgroup() {
        runtime.block_on(body(&cgroup));
    } else if let Err(reason) = possible() {
        skip(test, reason);
    } else {
        runtime.block_on(again(deadline, output, variables, test));
    }
}

/// Says by name that a test is skipped.
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("skipped: {test} ({reason})\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The name of the cgroups of the node, where this process runs in such namespaces.
pub(crate) fn cgroup() -> Option<String> {
    env::var(INSIDE).ok()
}

/// Whether a node can run here, or why it can't.
pub(crate) fn possible() -> Result<(), &'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let mut probe = Command::new(repository().join("tests/node/can-run.sh"));
        let output = probe.current_dir(repository()).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!output.status.success()).then_some(words)
    });
    reason.as_deref().map_or(Ok(()), Err)
}

async fn again(deadline: Duration, output: Output, variables: &[&str], test: &str) {
    let variables = variables
        .iter()
        .filter_map(|name| Some((OsString::from(name), env::var_os(name)?)));
    let variables: Vec<_> = variables.collect();
    let args = [
        test,
        "--exact",
        "--include-ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    let mut namespaces = Namespaces::start(&args, &variables, output);
    let ended = eventually("the test has ended", deadline, async || {
        namespaces.exited().ok_or_else(|| namespaces.log())
    });
    let status = ended.await;
    let log = namespaces.log();
    assert!(status.success(), "{status}\n{log}");
    // Where no test has this name, the executable is content.
    let passed = output == Output::Shown || log.contains("1 passed");
    assert!(passed, "{log}");
}

/// Where the output of the executable goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Into a file.
    Kept,
    /// To our own standard output.
    Shown,
}

/// This executable, running once more in namespaces of its own. All that is in them ends when this value is dropped or this process
/// ends.
///
/// The fields stand in the order in which they must go.
pub(crate) struct Namespaces {
    process: Supervised,
    cgroup: Cgroup,
    scratch: Scratch,
}

impl Namespaces {
    /// Starts it with these arguments, and these variables beside its own.
    pub(crate) fn start(args: &[&str], variables: &[(OsString, OsString)], output: Output) -> Self {
        let scratch = Scratch::new();
        let cgroup = Cgroup::new();
        let folder = scratch.path().join("node");
        std::fs::create_dir(&folder).unwrap();
        let namespaces = [
            "unshare",
            "--net",
            "--mount",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ];
        let script = repository().join("tests/node/namespace.sh");
        let executable = env::current_exe().unwrap();
        let args = namespaces
            .into_iter()
            .map(OsString::from)
            .chain([
                script.into(),
                folder.clone().into(),
                OsString::from(&cgroup.name),
                Family::V4.node().to_string().into(),
                Family::V6.node().to_string().into(),
                executable.into(),
            ])
            .chain(args.iter().map(OsString::from));
        let own = [
            (INSIDE, OsString::from(&cgroup.name)),
            ("TMPDIR", folder.clone().into()),
            ("HOME", folder.into()),
            ("RUST_BACKTRACE", "1".into()),
        ];
        let own = own.map(|(name, value)| (OsString::from(name), value));
        let environment = own.into_iter().chain(variables.iter().cloned());
        let program = Path::new("/usr/bin/env");
        let process = match output {
            Output::Kept => {
                Supervised::spawn(program, args, environment, &scratch.path().join("log"))
            }
            Output::Shown => Supervised::spawn_shown(program, args, environment),
        };
        Self {
            process,
            cgroup,
            scratch,
        }
    }

    /// How it ended, or `None` while it runs.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited()
    }

    /// What it wrote so far, where that is kept.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until it has ended, and tells those inside the number of their first process out here as soon as it is there.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut told = false;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            if !told && let Some(first) = first_process(&self.cgroup.name) {
                let file = self.scratch.path().join(FIRST);
                std::fs::write(file, first.to_string()).unwrap();
                told = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// In the namespaces, the number of their first process out there, which [`Namespaces::ended`] tells: by it one can enter them.
pub(crate) async fn entrance() -> u32 {
    let folder = env::temp_dir();
    let file = folder.parent().unwrap().join(FIRST);
    eventually("the namespaces have an entrance", DEADLINE, async || {
        std::fs::read_to_string(&file).ok()?.parse().ok()
    })
    .await
}

/// The first process in the namespaces of the node with these cgroups: it runs `namespace.sh`.
pub(crate) fn first_process(cgroup: &str) -> Option<u32> {
    processes().find(|process| {
        let line = std::fs::read_to_string(format!("/proc/{process}/cmdline"));
        let line = line.unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        let script = words.get(1).is_some_and(|it| it.ends_with("namespace.sh"));
        script && words.contains(&cgroup)
    })
}

/// All processes that can be seen from here.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The cgroups of one node, removed when this value is dropped or this process ends.
struct Cgroup {
    name: String,
    janitor: Child,
}

impl Cgroup {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("identity-mapper-{}-{number}", std::process::id());
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "janitor", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { name, janitor }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
