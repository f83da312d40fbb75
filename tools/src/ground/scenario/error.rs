//! What is wrong with a scenario, and where.

use std::fmt;

/// An error of a scenario file or of a file that it names.
///
/// Shown in one line: `scenarios/x.toml:12: application[0].miss_target: 0 to 0.5 goes, 2 found`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScenarioError {
    /// Something is wrong in a file.
    Field {
        /// The file, as the caller named it.
        file: String,
        /// Line, from 1; `None` where the error is about the whole file.
        line: Option<usize>,
        /// Path of the field; empty for the whole file.
        field: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// A measured trace is not on this machine: the scenario is to be skipped.
    NoData {
        /// Name of the scenario.
        scenario: String,
        /// The file that is missing.
        path: String,
    },
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { file, line, field, problem } => {
                f.write_str(file)?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if !field.is_empty() {
                    write!(f, ": {field}")?;
                }
                write!(f, ": {problem}")
            }
            Self::NoData { scenario, path } => {
                write!(f, "scenario {scenario}: skipped, {path} is not there (COSHIFT_DATA)")
            }
        }
    }
}

impl std::error::Error for ScenarioError {}
