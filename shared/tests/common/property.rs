//! How many cases properties are tried with.

use proptest::test_runner::{Config, RngSeed};

/// A configuration of `cases` cases that are the same in every run, so that a change that passed
/// passes again. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more and for others.
pub(crate) fn config(cases: u32) -> Config {
    let asked = Config::default();
    let set = |name| std::env::var_os(name).is_some();
    Config {
        cases: if set("PROPTEST_CASES") { asked.cases } else { cases },
        rng_seed: match asked.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x636f_7368_6966_7400),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        // The seed is fixed: a failure is found again without being written down.
        failure_persistence: None,
        ..asked
    }
}
