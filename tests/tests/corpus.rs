//! What fuzzing found worth keeping, run again at every test.

use std::path::Path;

use coshift_tests::fuzz::TARGETS;
use coshift_tests::random::Random;

#[test]
fn the_corpus_is_replayed() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
        let mut count = 0;
        for entry in entries {
            (target.run)(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{}: no corpus", target.name);
    }
}

/// Without libFuzzer's guidance, but at every run.
#[test]
fn random_bytes_break_nothing() {
    let mut random = Random::new(7);
    for target in TARGETS {
        for _ in 0..300 {
            let length = random.below(600) as usize;
            let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            (target.run)(&bytes);
        }
    }
}
