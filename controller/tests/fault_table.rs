//! Every test that `docs/reliability.md` names is there.

use std::path::Path;

/// Pairs of file and test in the rows of the fault table: in back quotes, a file with tests of it
/// behind it.
fn named(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let mut file = None;
        for quoted in row.split('`').skip(1).step_by(2) {
            if quoted.ends_with(".rs") {
                file = Some(quoted);
            } else if let Some(file) = file {
                pairs.push((file.to_owned(), quoted.to_owned()));
            }
        }
    }
    pairs
}

/// What is missing of a pair, if anything.
fn missing(root: &Path, (file, test): &(String, String)) -> Option<String> {
    let Ok(text) = std::fs::read_to_string(root.join(file)) else {
        return Some(format!("{file} is not there"));
    };
    // The scenarios are listed once, for both rigs.
    let lists = text.contains("scenario_tests!(");
    let scenarios = root.join("tests/src/scenario/mod.rs");
    let listed = lists
        && std::fs::read_to_string(scenarios)
            .is_ok_and(|list| list.contains(&format!(" {test} = {},", test.to_uppercase())));
    let there = listed || text.contains(&format!("fn {test}("));
    (!there).then(|| format!("{file} has no test {test}"))
}

#[test]
fn every_test_of_the_fault_table_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let pairs = named(&text);
    assert!(pairs.len() >= 25, "{} tests named", pairs.len());
    let missing: Vec<_> = pairs.iter().filter_map(|pair| missing(&root, pair)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = "| a | b | `tests/fault_table.rs` `no_such_test`, `named`; `tests/none.rs` `x` |";
    let found: Vec<_> = named(rows).iter().filter_map(|pair| missing(root, pair)).collect();
    assert_eq!(
        found,
        ["tests/fault_table.rs has no test no_such_test", "tests/none.rs is not there"]
    );
}
