//! What the tests share. Each test binary uses its part.
#![allow(dead_code)]

use std::path::PathBuf;

use coshift_plant::Board;

/// A board that comes with the project.
pub(crate) fn shipped(name: &str) -> Board {
    Board::load(&shipped_path(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// Its text.
pub(crate) fn shipped_text(name: &str) -> String {
    std::fs::read_to_string(shipped_path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn shipped_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../boards").join(format!("{name}.toml"))
}

/// The text of a small board with round figures.
pub(crate) fn minimal() -> String {
    include_str!("minimal.toml").to_owned()
}

/// Rows of a CSV file among the measured data, by the names of its columns. The data lie beside
/// the project (`COSHIFT_DATA`, or `../shared/data`) and are no part of it: where they are missing
/// the test says so and is skipped.
pub(crate) fn measured(path: &str) -> Option<Vec<Vec<(String, String)>>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("COSHIFT_DATA").map_or_else(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join(path)) else {
        println!("SKIPPED: {path} (measured data: COSHIFT_DATA or ../shared/data)");
        return None;
    };
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().expect("a header").split(',').map(str::to_owned).collect();
    let row = |line: &str| names.iter().cloned().zip(line.split(',').map(str::to_owned)).collect();
    Some(lines.map(row).collect())
}

/// A column of a row, as it stands.
pub(crate) fn text<'a>(row: &'a [(String, String)], column: &str) -> &'a str {
    row.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_str()).expect(column)
}

/// A column of a row, as a number.
pub(crate) fn number(row: &[(String, String)], column: &str) -> f64 {
    text(row, column).parse().unwrap_or_else(|_| panic!("{column}: {}", text(row, column)))
}
