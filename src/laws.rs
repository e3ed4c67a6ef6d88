//! The number of cases that a property test tries.
//!
//! `make test` fixes the seed, so that it fails only by the change at hand; `make laws` tries other cases, and many more.

use proptest::test_runner::Config;

/// The environment variable that multiplies the cases.
const FACTOR: &str = "IDENTITY_MAPPER_LAWS";

pub(crate) fn cases(cases: u32) -> Config {
    let factor = std::env::var(FACTOR).ok();
    let factor: u32 = factor.and_then(|it| it.parse().ok()).unwrap_or(1);
    Config {
        cases: cases.saturating_mul(factor),
        // A failure becomes a test with a name, not a number in a file.
        failure_persistence: None,
        ..Config::default()
    }
}
