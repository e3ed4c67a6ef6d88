//! The number of cases that a property test tries.
//!
//! `make test` fixes the seed, so that it fails only by the change at hand; `make laws` tries other cases, and many more.

use proptest::test_runner::Config;

/// `proptest`'s own variable, which it reads only for tests that choose no number. Here it is the least of all of them.
const CASES: &str = "PROPTEST_CASES";

pub(crate) fn cases(cases: u32) -> Config {
    let least = std::env::var(CASES).ok();
    let least: u32 = least.and_then(|it| it.parse().ok()).unwrap_or(0);
    Config {
        cases: cases.max(least),
        // A failure becomes a test with a name, not a number in a file.
        failure_persistence: None,
        ..Config::default()
    }
}
