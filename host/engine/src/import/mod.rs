//! PyTorch checkpoints, read without running anything in them.
//!
//! * [`pickle`] — the part of the pickle language that tensors need, and nothing else of it
//! * [`archive`] — the zip archive that `torch.save` writes since version 1.6
//! * [`legacy`] — the file that it wrote before
//! * [`tensor`] — values out of storages
//! * [`names`] — both generations of published names
//! * [`checkpoint`] — the tensors of a file, and safetensors of them
//!
//! No file makes the reader use more than six times the file's size and 256 MiB: there is no
//! recursion, what a pickle builds and remembers is counted ([`pickle::MOST_ITEMS`]), names and keys
//! are short ([`MOST_NAME`]), and all tensors together have at most [`checkpoint::MOST_GROWTH`] bytes
//! for one of the file. What is said of a file holds no more than 80 characters of each of its texts.

pub mod archive;
pub mod checkpoint;
pub mod legacy;
pub mod names;
pub mod pickle;
pub mod tensor;

pub use checkpoint::Checkpoint;

/// Longest name of a tensor and longest key of a storage, bytes.
pub const MOST_NAME: usize = 1 << 10;

/// As much of a text of the file as a line of a fault holds.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Why a file is not taken for a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportFault {
    /// It is something else.
    #[error(
        "not a PyTorch checkpoint: {found}, expected a zip archive or torch.save's magic number"
    )]
    Foreign {
        /// What it is or begins with.
        found: String,
    },
    /// It ends too early.
    #[error("truncated: {what} at byte {at} needs {needs} bytes, {left} are left")]
    Truncated {
        /// What is cut.
        what: &'static str,
        /// Where it begins, from the beginning of the file, or of the pickle inside it.
        at: usize,
        /// Its length, bytes.
        needs: u64,
        /// Bytes there.
        left: usize,
    },
    /// The archive's own records do not fit each other.
    #[error("archive: {0}")]
    Archive(String),
    /// The pickle says something that no checkpoint of tensors says.
    #[error("pickle, byte {at}: {why}")]
    Pickle {
        /// Offset in the pickle.
        at: usize,
        /// What, and what is expected.
        why: String,
    },
    /// What the pickle builds is not a dictionary of tensors.
    #[error("{0}")]
    Content(String),
    /// A tensor does not fit its storage, or the limits.
    #[error("tensor {name}: {why}")]
    Tensor {
        /// Its name in the file.
        name: String,
        /// What does not fit.
        why: String,
    },
}

/// The next `count` bytes, `what` for the fault where there are fewer.
fn take<'a>(
    bytes: &'a [u8],
    at: &mut usize,
    count: u64,
    what: &'static str,
) -> Result<&'a [u8], ImportFault> {
    let left = bytes.len().saturating_sub(*at);
    let slice = usize::try_from(count)
        .ok()
        .and_then(|count| bytes.get(*at..at.checked_add(count)?))
        .ok_or(ImportFault::Truncated { what, at: *at, needs: count, left })?;
    *at += slice.len();
    Ok(slice)
}

/// The next `N` bytes.
fn array<const N: usize>(
    bytes: &[u8],
    at: &mut usize,
    what: &'static str,
) -> Result<[u8; N], ImportFault> {
    let mut array = [0; N];
    array.copy_from_slice(take(bytes, at, N as u64, what)?);
    Ok(array)
}
