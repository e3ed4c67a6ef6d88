//! The Dockerfile, as instructions.

use std::fs;

use super::programs::repository;

/// The instructions, continued lines as one, without comments.
pub(crate) fn instructions() -> Vec<String> {
    let path = repository().join("Dockerfile");
    let text = fs::read_to_string(path).expect("the Dockerfile is readable");
    let text = text.replace("\\\n", " ");
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Those of the last stage: what is in the image, and how it is run.
pub(crate) fn last_stage() -> Vec<String> {
    let mut instructions = instructions();
    let last = instructions
        .iter()
        .rposition(|line| line.starts_with("FROM "))
        .expect("a stage begins with FROM");
    instructions.split_off(last)
}
