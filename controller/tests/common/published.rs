//! Figures of the documents that tests measure: between a mark and its end, compared with what is
//! measured. `COSHIFT_BLESS=1` rewrites them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// One at a time: tests of one file publish in the same document.
static DOCUMENTS: Mutex<()> = Mutex::new(());

fn path(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)
}

/// Compares what stands between the marks of `name` in `document`, a path from the root of the
/// repository, with `measured`; or puts it there.
#[track_caller]
pub fn published(document: &str, name: &str, measured: &str) {
    change(document, name, |_| measured.to_owned());
}

/// The same of single rows of a table, each told by its first column.
#[track_caller]
pub fn published_rows(document: &str, name: &str, measured: &[String]) {
    let first = |row: &str| row.split('|').nth(1).map(|column| column.trim().to_owned());
    change(document, name, |found| {
        let mut lines: Vec<String> = found.lines().map(str::to_owned).collect();
        for row in measured {
            let key = first(row);
            let line = lines.iter_mut().find(|line| first(line) == key);
            let line = line.unwrap_or_else(|| panic!("{document}, {name}: no row of {row}"));
            row.clone_into(line);
        }
        lines.join("\n") + "\n"
    });
}

#[track_caller]
fn change(document: &str, name: &str, make: impl FnOnce(&str) -> String) {
    let _one = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path(document);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{document}: {why}"));
    let (start, end) = (
        format!("<!-- measured: {name}; COSHIFT_BLESS=1 rewrites it -->"),
        format!("<!-- end of {name} -->"),
    );
    let begun = text.split_once(&start).unwrap_or_else(|| panic!("{document}: no {start}"));
    let (before, rest) = begun;
    let ended = rest.split_once(&end).unwrap_or_else(|| panic!("{document}: no {end}"));
    let (found, after) = ended;
    let measured = make(found);
    if std::env::var_os("COSHIFT_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{start}{measured}{end}{after}")).unwrap();
    } else {
        assert_eq!(found, measured, "{document}, {name}: COSHIFT_BLESS=1 rewrites it");
    }
}
