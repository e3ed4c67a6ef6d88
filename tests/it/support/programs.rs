//! Where the programs of the test bed are.

use std::env;
use std::path::{Path, PathBuf};

/// The programs for which the convention of envtest holds: a folder named by `KUBEBUILDER_ASSETS` wins over a build of
/// our own.
const ASSETS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// The path of a program of the test bed.
///
/// Panics where it is not there, and says how to get it.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = place(name);
    assert!(
        path.is_file(),
        "{} is not there: `make testbed` builds it",
        path.display()
    );
    path
}

/// Whether a program of the test bed is there, for what only some of its users need.
pub(crate) fn is_built(name: &str) -> bool {
    place(name).is_file()
}

fn place(name: &str) -> PathBuf {
    let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty());
    let folder = match assets {
        Some(folder) if ASSETS.contains(&name) => PathBuf::from(folder),
        Some(_) | None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/testbed"),
    };
    folder.join(name)
}

/// The operator's own binary: the one that cargo built for this target, or the one beside this executable (cargo names
/// the binary to tests and benchmarks, not to examples).
pub(crate) fn operator_binary() -> PathBuf {
    if let Some(path) = option_env!("CARGO_BIN_EXE_identity-mapper") {
        return PathBuf::from(path);
    }
    let executable = env::current_exe().expect("the path of this executable");
    executable
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("identity-mapper"))
        .find(|path| path.is_file())
        .expect("identity-mapper stands beside this executable: `cargo build --bins` builds it")
}
