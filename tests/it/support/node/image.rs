//! Images as archives that containerd imports, made without a container engine.
//!
//! The operator's is the last stage of the Dockerfile, read as it stands, with a program of the test profile.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::dockerfile::last_stage;
use super::super::programs::{repository, static_binary};

/// Where images are looked for that nobody pulls.
pub(crate) const OPERATOR: &str = "localhost/identity-mapper";
/// What holds the namespaces of a Pod.
pub(crate) const PAUSE: &str = "localhost/pause:1";

/// Names an archive that `make image` made, for tests of it instead of an image that is made here.
pub(crate) const GIVEN: &str = "IDENTITY_MAPPER_IMAGE";

/// An archive of the OCI layout as it was built elsewhere, under this name: containerd takes it before the one that it was built with.
fn renamed(archive: &Path, folder: &Path, name: &str) -> PathBuf {
    let layout = folder.join(format!("image-{}", name.replace(['/', ':'], "-")));
    fs::create_dir_all(&layout).unwrap();
    run(Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(&layout));
    let file = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for manifest in index["manifests"].as_array_mut().unwrap() {
        manifest["annotations"]["io.containerd.image.name"] = json!(name);
    }
    fs::write(&file, index.to_string()).unwrap();
    let renamed = layout.with_extension("tar");
    tar(&renamed, &layout, &["oci-layout", "index.json", "blobs"]);
    renamed
}

/// The operator's image under this tag.
pub(crate) fn operator(folder: &Path, tag: &str) -> PathBuf {
    let name = format!("{OPERATOR}:{tag}");
    if let Some(archive) = std::env::var_os(GIVEN) {
        return renamed(Path::new(&archive), folder, &name);
    }
    let mut image = Image::new(folder, &name);
    let stage = last_stage();
    let (from, rest) = stage.split_first().unwrap();
    assert_eq!(from, "FROM scratch");
    for line in rest {
        let (instruction, words) = line.split_once(' ').unwrap();
        match instruction {
            "COPY" => {
                let [source, target] = words
                    .strip_prefix("--from=build ")
                    .and_then(|words| words.split_once(' '))
                    .map(<[&str; 2]>::from)
                    .unwrap();
                let source = match source {
                    "/identity-mapper" => static_binary(),
                    other => PathBuf::from(other),
                };
                image.copy(&source, target);
            }
            "USER" => image.config["User"] = json!(words),
            "ENTRYPOINT" => image.config["Entrypoint"] = serde_json::from_str(words).unwrap(),
            "CMD" => image.config["Cmd"] = serde_json::from_str(words).unwrap(),
            other => panic!("{other} is not known: {line}"),
        }
    }
    image.archive()
}

/// The image that keeps a Pod's namespaces.
pub(crate) fn pause(folder: &Path) -> PathBuf {
    let program = folder.join("pause");
    run(Command::new("musl-gcc")
        .args(["-static", "-Os", "-o"])
        .arg(&program)
        .arg(repository().join("tests/node/pause.c")));
    let mut image = Image::new(folder, PAUSE);
    image.copy(&program, "/pause");
    image.config["Entrypoint"] = json!(["/pause"]);
    image.archive()
}

struct Image {
    folder: PathBuf,
    name: String,
    config: Value,
}

impl Image {
    fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(format!("image-{}", name.replace(['/', ':'], "-")));
        fs::create_dir_all(folder.join("root")).unwrap();
        Self {
            folder,
            name: name.to_owned(),
            config: json!({}),
        }
    }

    fn copy(&self, source: &Path, target: &str) {
        let target = self
            .folder
            .join("root")
            .join(target.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(source, &target).unwrap_or_else(|it| panic!("{}: {it}", source.display()));
        let mode = fs::metadata(source).unwrap().permissions().mode();
        fs::set_permissions(&target, Permissions::from_mode(mode)).unwrap();
    }

    /// In the form of `docker save`.
    fn archive(&self) -> PathBuf {
        let inside = |name: &str| self.folder.join(name);
        tar(&inside("layer.tar"), &inside("root"), &["."]);
        let digest = Sha256::digest(fs::read(inside("layer.tar")).unwrap());
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => panic!("{other} has no name in images"),
        };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest:x}")]},
        });
        fs::write(inside("config.json"), config.to_string()).unwrap();
        let manifest = json!([
            {"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}
        ]);
        fs::write(inside("manifest.json"), manifest.to_string()).unwrap();
        let archive = inside("archive.tar");
        let parts = ["manifest.json", "config.json", "layer.tar"];
        tar(&archive, &self.folder, &parts);
        archive
    }
}

fn tar(archive: &Path, folder: &Path, parts: &[&str]) {
    run(Command::new("tar")
        .args([
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mtime=@0",
            "--sort=name",
            "-cf",
        ])
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .args(parts));
}

/// Runs a program, which should succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|it| panic!("{command:?}: {it}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
