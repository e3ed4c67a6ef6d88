//! What is in the image, and what it is built with, as the Dockerfile says.

use std::fs;

use regex::Regex;

use crate::support::programs::repository;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The instructions, continued lines as one, without comments.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[test]
fn the_image_holds_the_binary_and_nothing_else() {
    let instructions = instructions();
    let last = instructions
        .iter()
        .rposition(|line| line.starts_with("FROM "))
        .unwrap();
    assert_eq!(
        instructions[last..],
        [
            "FROM scratch",
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
    let version = Regex::new(r#"(?m)^rust-version = "([0-9.]+)"$"#).unwrap();
    let version = &version.captures(&manifest).unwrap()[1];
    let pinned = format!(
        r"^docker\.io/library/rust:{}\.[0-9]+-slim-bookworm@sha256:[0-9a-f]{{64}}$",
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
}
