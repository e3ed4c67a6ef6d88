//! What is started in the namespaces of a node ends with its test, however that ends.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::node::namespace::{cgroup, first_process, inside, processes};
use crate::support::node::{Node, PATIENT};
use crate::support::wait::eventually;

/// Set in a process that holds a node until it is killed.
const HOLD: &str = "IDENTITY_MAPPER_HOLD_A_NODE";
const TEST: &str = "harness::a_node_ends_with_a_test_that_is_killed";

/// The namespace of processes of a process.
fn namespace_of(process: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/pid")).ok()
}

/// The programs that run in a namespace of processes.
fn running(namespace: &Path) -> Vec<String> {
    let within = processes().filter(|&it| namespace_of(it).is_some_and(|of| of == namespace));
    let names = within.filter_map(|it| fs::read_to_string(format!("/proc/{it}/comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

#[test]
fn a_node_ends_with_a_test_that_is_killed() {
    if env::var_os(HOLD).is_some() || cgroup().is_some() {
        return inside(TEST, async |cgroup| {
            let _node = Node::start(cgroup).await;
            std::future::pending::<()>().await;
        });
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut holder = Command::new(env::current_exe().unwrap())
            .args([TEST, "--exact", "--nocapture"])
            .env(HOLD, "1")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let cgroup = format!("identity-mapper-{}-0", holder.id());
        let pods = Path::new("/sys/fs/cgroup/memory")
            .join(&cgroup)
            .join("kubepods");
        let held = eventually("the node is up, or is skipped", PATIENT, async || {
            if holder.try_wait().unwrap().is_some() {
                return Some(None);
            }
            let namespace = first_process(&cgroup).and_then(namespace_of)?;
            pods.is_dir().then_some(Some(namespace))
        })
        .await;
        let Some(namespace) = held else {
            // It says itself why.
            return;
        };
        let before = running(&namespace);
        for program in ["kubelet", "containerd", "kube-apiserver", "etcd"] {
            assert!(before.iter().any(|it| it == program), "{before:?}");
        }
        holder.kill().unwrap();
        holder.wait().unwrap();
        eventually("its processes and cgroups are gone", PATIENT, async || {
            let left = running(&namespace);
            if left.is_empty() && !pods.parent().unwrap().exists() {
                Ok(())
            } else {
                Err(left)
            }
        })
        .await;
    });
}
