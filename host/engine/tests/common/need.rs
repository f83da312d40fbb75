//! What tests need that may be missing where they run: measured data, Python's modules.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says that the test is left out for want of this. `cargo xtask test` counts such a test as skipped;
/// the test runner by itself shows the line with `--show-output`.
pub(crate) fn skipped(missing: impl Display) {
    println!("SKIPPED: {missing}");
}

/// A file or folder of the measured data: of `$COSHIFT_DATA`, else of `../shared/data` beside the
/// project. `None`, said as [`skipped`], where it is missing.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("COSHIFT_DATA").map_or_else(
        || {
            let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
            let project = folders.find(|folder| folder.join("Cargo.lock").is_file());
            project.expect("a folder of the project").join("../shared/data")
        },
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(format_args!("{} (measured data: COSHIFT_DATA or ../shared/data)", path.display()));
    None
}

/// A Python that has these modules: `$COSHIFT_PYTHON`, else `python3`. `None`, said as [`skipped`],
/// without.
pub(crate) fn python(modules: &str) -> Option<OsString> {
    let python = std::env::var_os("COSHIFT_PYTHON").unwrap_or_else(|| "python3".into());
    let mut probe = Command::new(&python);
    probe.args(["-c", &format!("import {modules}")]).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Some(python);
    }
    skipped(format_args!("python3 with {modules} (COSHIFT_PYTHON names another)"));
    None
}
