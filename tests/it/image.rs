//! What is in the image, and what it is built with, as the Dockerfile says.

use std::fs;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use regex::Regex;

use crate::support::Cluster;
use crate::support::dockerfile::{instructions, last_stage};
use crate::support::programs::{operator_binary, repository};

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

#[test]
fn the_image_holds_the_binary_and_the_public_authorities_and_nothing_else() {
    assert_eq!(
        last_stage(),
        [
            "FROM scratch",
            "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
            "COPY --from=build /identity-mapper /identity-mapper",
            "USER 65532:65532",
            r#"ENTRYPOINT ["/identity-mapper"]"#,
            r#"CMD ["run"]"#,
        ]
    );
}

/// A tag can be moved; a digest is the same bytes for ever. The toolchain of a release is that of this image.
#[test]
fn what_it_is_built_from_is_pinned() {
    let instructions = instructions();
    let builder = instructions
        .iter()
        .find_map(|line| line.strip_prefix("ARG BUILDER="))
        .unwrap();
    let manifest = read("Cargo.toml");
    let oldest = Regex::new(r#"(?m)^rust-version = "([0-9.]+)"$"#).unwrap();
    let oldest = &oldest.captures(&manifest).unwrap()[1];
    let toolchain = read("rust-toolchain.toml");
    let version = Regex::new(r#"(?m)^channel = "([0-9.]+)"$"#).unwrap();
    let version = &version.captures(&toolchain).unwrap()[1];
    assert!(version.starts_with(oldest), "{version} is not {oldest}");
    let pinned = format!(
        r"^docker\.io/library/rust:{}-slim-bookworm@sha256:[0-9a-f]{{64}}$",
        regex::escape(version)
    );
    assert!(Regex::new(&pinned).unwrap().is_match(builder), "{builder}");
    for base in instructions
        .iter()
        .filter_map(|line| line.strip_prefix("FROM "))
    {
        assert!(
            ["scratch", "${BUILDER} AS build"].contains(&base),
            "{base} is not pinned"
        );
    }
    let build = instructions
        .iter()
        .find(|line| line.contains("cargo build"))
        .unwrap();
    assert!(build.contains("--locked"), "{build}");
    // An argument of the stage before the build is a variable of it.
    let at = |wanted: &str| instructions.iter().position(|line| line.contains(wanted));
    let commit = at("ARG IDENTITY_MAPPER_COMMIT=").unwrap();
    assert!(commit < at("cargo build").unwrap() && commit > at("AS build").unwrap());
}

/// Where a section of the profile names a package of the workspace, cargo takes `strip = true` for `strip = "debuginfo"` in it: 5 MB of
/// symbols. A section for all dependencies does no harm.
#[test]
fn no_symbols_are_in_the_binary() {
    let manifest = read("Cargo.toml");
    let sections = Regex::new(r"(?m)^\[profile\.release(.*)\]$").unwrap();
    let sections: Vec<&str> = sections
        .captures_iter(&manifest)
        .map(|found| found.extract::<1>().1[0])
        .collect();
    assert_eq!(sections, ["", r#".package."*""#]);
    let (_, release) = manifest.split_once("\n[profile.release]\n").unwrap();
    let (release, _) = release.split_once("\n[").unwrap();
    assert!(release.contains("\nstrip = true\n"), "{release}");
}

/// The clients of AWS trust what the variables that the chart sets name, both of them. The API server stands for a private endpoint.
#[tokio::test]
async fn an_endpoint_is_reached_by_either_of_the_two_sets_of_authorities() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = (folder.path().join("private"), folder.path().join("public"));
    let (empty, other) = (folder.path().join("empty"), folder.path().join("other.pem"));
    for made in [&private, &public, &empty] {
        fs::create_dir(made).unwrap();
    }
    let key = KeyPair::generate().unwrap();
    let unrelated = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
    fs::write(&other, unrelated.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(private.join("authorities.pem"), cluster.authority()).unwrap();
    let bundle = public.join("ca-certificates.crt");
    fs::write(&bundle, cluster.authority()).unwrap();
    for (file, directory, trusted) in [
        (&other, &empty, false),
        (&other, &private, true),
        (&bundle, &empty, true),
    ] {
        let output = Command::new(operator_binary())
            .args(["access", "--cluster-name", "main", "--region", "eu-west-1"])
            .arg("--kubeconfig")
            .arg(cluster.admin_kubeconfig())
            .env("AWS_ENDPOINT_URL", cluster.url())
            .env("AWS_ACCESS_KEY_ID", "example")
            .env("AWS_SECRET_ACCESS_KEY", "example")
            .env("SSL_CERT_FILE", file)
            .env("SSL_CERT_DIR", directory)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{message}");
        assert_eq!(
            !message.contains("certificate"),
            trusted,
            "{file:?} {directory:?}: {message}"
        );
    }
}
