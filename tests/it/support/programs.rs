//! Where the programs of the test bed are.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

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
        Some(_) | None => repository().join("target/testbed"),
    };
    folder.join(name)
}

/// The interpreter with the packages that `tests/testbed/build.sh python` installs.
pub(crate) fn python() -> PathBuf {
    program("venv/bin/python")
}

/// For a shell: the AWS CLI of the test bed, by its interpreter, since the script that pip makes names the folder that it was made in.
pub(crate) fn aws_cli() -> String {
    format!("aws() {{ '{}' -m awscli \"$@\"; }}", python().display())
}

/// The folder of the repository: the tests are a package inside of it, the demo and the benchmark belong to its own.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())
        .expect("Cargo.lock is in the folder of the repository")
        .to_owned()
}

/// The operator's own program: the one that cargo built beside this executable. Cargo names it only to the tests and benchmarks of
/// its own package.
///
/// Panics where it is missing or older than its sources, so that no test judges yesterday's program.
pub(crate) fn operator_binary() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = option_env!("CARGO_BIN_EXE_identity-mapper") {
        return PathBuf::from(path);
    }
    PATH.get_or_init(|| current("identity-mapper", BUILD))
        .clone()
}

/// The same as the image has it: linked statically, for this machine's kind of processor.
pub(crate) fn static_binary() -> PathBuf {
    let program = format!(
        "{}-unknown-linux-musl/debug/identity-mapper",
        env::consts::ARCH
    );
    current(&program, "run `make node`")
}

/// A program that cargo built beside this executable.
fn current(program: &str, build: &str) -> PathBuf {
    let executable = env::current_exe().expect("the path of this executable");
    let path = executable
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    let path = path.unwrap_or_else(|| panic!("{program} is not built: {build}"));
    let changed = changed_since(&path);
    assert!(
        changed.is_none(),
        "{} is newer than {}: {build}",
        changed.unwrap_or_default().display(),
        path.display()
    );
    path
}

/// What builds the operator's program with the tests.
const BUILD: &str =
    "run `cargo test --test conventions --test it`, or `cargo build --bins` for an example";

/// A source that changed after the program was built from it. Cargo lists the sources beside the program, in the form of make.
fn changed_since(program: &Path) -> Option<PathBuf> {
    let modified = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let built = modified(program)?;
    let sources = fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = sources.split_once(": ")?;
    sources
        .split_whitespace()
        .map(PathBuf::from)
        .find(|source| modified(source).is_some_and(|changed| changed > built))
}
