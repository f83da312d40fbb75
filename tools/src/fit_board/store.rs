//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file: the bytes go into a new file beside it, which takes its name once they are on the
/// disk; a crash leaves the old file or the new one.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = || -> io::Result<()> {
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file's name goes"))?;
        let mut beside = name.to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        let beside = path.with_file_name(beside);
        let put = || {
            let mut file = File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        put().inspect_err(|_| {
            // Nothing to add to the first error if this one fails as well.
            drop(fs::remove_file(&beside));
        })
    };
    written().with_context(|| format!("{}: cannot be written", path.display()))
}
