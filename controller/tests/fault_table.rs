//! Every test that `docs/reliability.md` names is there.

use std::path::Path;

/// Heading of the section whose table is the fault table.
const SECTION: &str = "## Faults and their tests";

/// Pairs of file and test in the rows of the fault table: in back quotes, a file with tests of it
/// behind it.
fn named(text: &str) -> Vec<(String, String)> {
    text.lines().filter(|line| line.starts_with("| ")).flat_map(named_in).collect()
}

/// Those in one row.
fn named_in(row: &str) -> Vec<(String, String)> {
    let (mut pairs, mut file) = (Vec::new(), None);
    for quoted in row.split('`').skip(1).step_by(2) {
        if quoted.ends_with(".rs") {
            file = Some(quoted);
        } else if let Some(file) = file {
            pairs.push((file.to_owned(), quoted.to_owned()));
        }
    }
    pairs
}

/// Rows of the fault table that name no test.
fn bare(text: &str) -> Vec<&str> {
    let section = text.split_once(SECTION).map_or("", |(_, rest)| rest);
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    // The first row is the heads of the columns.
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.filter(|row| named_in(row).is_empty()).collect()
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
    assert_eq!(bare(&text), [""; 0]);
}

#[test]
fn a_row_that_names_no_test_is_noticed() {
    let row = "| a | b | `x` |";
    let text = format!(
        "# A\n| c | d |\n\n{SECTION}\n\n| fault | test |\n|---|---|\n{row}\n| b | `t.rs` `n` |\n| c | `t.rs` |\n\n## B\n| e |\n"
    );
    assert_eq!(bare(&text), [row, "| c | `t.rs` |"]);
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
