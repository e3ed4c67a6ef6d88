//! Namespaces of one's own for a node: network, mounts, IPC and processes.
//!
//! A test that needs a node runs its own executable once more, for this test alone, as the program of `namespace.sh`. Whatever is
//! started in there reaches nothing outside, takes no port of the machine, and ends with the first process of the namespaces, which the
//! kernel kills with the test, however that ends.

use std::env;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::certs::NODE_ADDRESS;
use crate::support::programs::repository;
use crate::support::supervise::{Scratch, Supervised};
use crate::support::wait::eventually;

/// Set inside to the name of the node's cgroups.
const INSIDE: &str = "IDENTITY_MAPPER_NODE_CGROUP";

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if let Ok(cgroup) = env::var(INSIDE) {
        runtime.block_on(body(&cgroup));
    } else if let Err(reason) = possible() {
        let line = format!("skipped: {test} ({reason})\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    } else {
        runtime.block_on(again(test));
    }
}

/// Whether this process runs in such namespaces.
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Whether a node can run here, or why it can't.
fn possible() -> Result<(), &'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let mut probe = Command::new(repository().join("tests/node/can-run.sh"));
        let output = probe.current_dir(repository()).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!output.status.success()).then_some(words)
    });
    reason.as_deref().map_or(Ok(()), Err)
}

async fn again(test: &str) {
    let scratch = Scratch::new();
    let cgroup = Cgroup::new();
    let folder = scratch.path().join("node");
    std::fs::create_dir(&folder).unwrap();
    let log = scratch.path().join("log");
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
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|&it| it.to_owned()).collect() };
    let script = repository().join("tests/node/namespace.sh");
    let executable = env::current_exe().unwrap();
    let args = [
        words(&namespaces),
        vec![
            script.display().to_string(),
            folder.display().to_string(),
            cgroup.name.clone(),
            NODE_ADDRESS.to_string(),
            executable.display().to_string(),
        ],
        words(&[test, "--exact", "--nocapture", "--test-threads=1"]),
    ]
    .concat();
    let environment = [
        (INSIDE, cgroup.name.clone().into()),
        ("TMPDIR", folder.clone().into_os_string()),
        ("HOME", folder.clone().into_os_string()),
        ("RUST_BACKTRACE", "1".into()),
    ];
    let mut process = Supervised::spawn("/usr/bin/env".as_ref(), args, environment, &log);
    let status = eventually("the test has ended", DEADLINE, async || {
        process.exited().ok_or_else(|| process.log())
    })
    .await;
    assert!(status.success(), "{status}\n{}", process.log());
    // Where no test has this name, the executable is content.
    assert!(process.log().contains("1 passed"), "{}", process.log());
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
