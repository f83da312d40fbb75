//! The results of the shipped scenarios over two seeds, compared with the snapshot beside this file;
//! `COSHIFT_BLESS=1` rewrites it.
//!
//! Only in release builds, where it takes a minute or two: `cargo xtask ci` has a step of its own for it.
#![cfg(not(debug_assertions))]

use std::path::Path;

use coshift_tools::ground::book::book;

#[test]
fn results_are_those_of_the_snapshot() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = book(&root.join("../scenarios"), 2, false, false).expect("runs");
    let path = root.join("tests/ground_results.md");
    if std::env::var_os("COSHIFT_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &made).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).expect("the snapshot");
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    if let Some((made, kept)) = differs {
        panic!("{}:\n made: {made}\n kept: {kept}", path.display());
    }
    assert_eq!(made.lines().count(), kept.lines().count());
}
