//! What the unit tests share.

use proptest::test_runner::Config;

/// How property tests run: fewer cases under miri, which is slow, and no files beside the source.
pub(crate) fn property_tests() -> Config {
    Config {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..Config::default()
    }
}
