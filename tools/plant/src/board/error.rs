//! What is wrong with a board file, and where.

use std::fmt;

/// An error in a board file.
///
/// Shown in one line: `boards/x.toml:12: settle.gpu_ms: 0.01 to 1000 goes, -5 found`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardError {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, counted from 1; `None` where the error is about the whole file.
    pub line: Option<usize>,
    /// Path of the field (`network.NAME.sub_network[2].accuracy_pct`); empty for the whole file.
    pub field: String,
    /// What is wrong and what is expected.
    pub problem: String,
}

impl BoardError {
    /// An error about the file as a whole.
    pub(super) fn whole(file: &str, problem: &str) -> Self {
        Self { file: file.into(), line: None, field: String::new(), problem: problem.into() }
    }
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for BoardError {}
