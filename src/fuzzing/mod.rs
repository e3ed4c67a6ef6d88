//! What must hold whatever a text, a copy or a message is: the bodies of the fuzz targets in `tests/fuzz`, and the seeds of their
//! corpora as unit tests. Each function panics where something does not hold.
//!
//! They are in here, and not with the targets, because they look at what the library keeps to itself: nodes with their places, findings,
//! the simulated cluster. No build of the operator has any of it.

#![allow(
    clippy::missing_panics_doc,
    reason = "to panic is how all of these answer"
)]

mod arn;
mod copy;
mod linear;
mod manifest;
mod plan;
mod queue;
mod splice;
mod yaml;

pub use arn::arn;
pub use copy::copy;
#[cfg(test)]
pub(crate) use linear::assert_linear_in_size;
pub use manifest::manifest;
pub use plan::{Step, plan};
pub use queue::queue;
pub use splice::splice;
pub use yaml::yaml;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Tries all seeds of a target.
    fn replay(target: &str, property: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/corpus")
            .join(target);
        let seeds = fs::read_dir(&corpus).expect("a corpus");
        let mut count = 0;
        for seed in seeds {
            let path = seed.expect("a file").path();
            let bytes = fs::read(&path).expect("a readable file");
            // Shown where the seed fails.
            println!("{}", path.display());
            property(&bytes);
            count += 1;
        }
        assert!(count > 0, "no seeds in {}", corpus.display());
    }

    /// As libFuzzer gives a text: up to the first byte that is no UTF-8.
    fn text(bytes: &[u8]) -> &str {
        let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        std::str::from_utf8(&bytes[..valid]).expect("valid so far")
    }

    // The seeds of `plan` are not texts: `make fuzz` alone reads them.

    #[test]
    fn seeds_of_yaml() {
        replay("yaml", |bytes| super::yaml(text(bytes)));
    }

    #[test]
    fn seeds_of_splice() {
        replay("splice", |bytes| super::splice(text(bytes)));
    }

    #[test]
    fn seeds_of_arn() {
        replay("arn", |bytes| super::arn(text(bytes)));
    }

    #[test]
    fn seeds_of_manifest() {
        replay("manifest", |bytes| super::manifest(text(bytes)));
    }

    #[test]
    fn seeds_of_copy() {
        replay("copy", super::copy);
    }

    #[test]
    fn seeds_of_queue() {
        replay("queue", |bytes| super::queue(text(bytes)));
    }
}
