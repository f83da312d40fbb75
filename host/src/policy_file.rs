//! Reading policy images from files.

use std::path::{Path, PathBuf};

use coshift_shared::policy::{MAX_IMAGE, PolicyFault, PolicyView};

/// Why a file is not a policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileFault {
    /// It cannot be read.
    #[error("policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is larger than any policy.
    #[error("policy {}: {length} bytes where an image has at most {MAX_IMAGE}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// Its content is not a valid image.
    #[error("policy {}: {fault}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: PolicyFault,
    },
}

/// Reads and checks a policy image; [`PolicyView::open`] of the bytes succeeds.
///
/// # Errors
/// [`PolicyFileFault`] names the file and what is wrong with it.
pub fn read(path: &Path) -> Result<Vec<u8>, PolicyFileFault> {
    let fault = |source| PolicyFileFault::Read { path: path.into(), source };
    let length = std::fs::metadata(path).map_err(fault)?.len();
    if length > MAX_IMAGE as u64 {
        return Err(PolicyFileFault::TooLarge { path: path.into(), length });
    }
    let bytes = std::fs::read(path).map_err(fault)?;
    match PolicyView::open(&bytes) {
        Ok(_) => Ok(bytes),
        Err(fault) => Err(PolicyFileFault::Content { path: path.into(), fault }),
    }
}
