//! How fast the operator is and how much memory it takes: `make bench`.
//!
//! The operator is the optimised binary, on a control plane of its own. Absolute times depend on the machine, so each
//! stands beside something measured in the same run. Words on the command line choose parts: `pure`, `cli`,
//! `live`, `entries`, `hostile` (with `queue`, which can be chosen alone).

#![allow(
    clippy::print_stdout,
    reason = "a table on stdout is what a benchmark is for"
)]

#[path = "../it/support/mod.rs"]
mod support;

mod cli;
mod entries;
mod hostile;
mod live;
mod pure;
mod queue;
mod table;

fn main() {
    // Cargo itself adds `--bench`.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let chosen = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if chosen("pure") {
        pure::run();
    }
    if chosen("cli") {
        cli::run();
    }
    if chosen("live") {
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(live::run());
    }
    if chosen("hostile") {
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(hostile::run());
    }
    if chosen("hostile") || chosen("queue") {
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(queue::run());
    }
    if chosen("entries") {
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(live::run_entries());
    }
}
