//! Where the numbers of a board file come from, readable by a program.
//!
//! ```toml
//! [sources]
//! lab = "where it was published, with the commit"
//!
//! [[provenance]]
//! fields = ["power.busy", "network.*.sub_network.accuracy_pct"]
//! mark = "fitted"                  # measured | fitted | assumed | specified
//! sources = ["lab"]
//! note = "how"
//! ```
//!
//! A field stands for itself and everything in it; array indices are left out; `*` stands for one
//! part of the path. The longest entry that covers a number holds. A number that none covers, an
//! entry that covers no number and a source that is not listed are errors of the file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What kind of knowledge a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Read off an instrument, by us or by the source.
    Measured,
    /// A coefficient fitted to measurements.
    Fitted,
    /// Neither: a judgement, with its reason in the note.
    Assumed,
    /// True by definition or documentation: clock tables, counts of an architecture.
    Specified,
}

/// One entry of `[[provenance]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceEntry {
    /// The fields it is about.
    pub fields: Vec<String>,
    /// What kind of knowledge they are.
    pub mark: Mark,
    /// Keys of `[sources]`; may be empty for what is assumed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// How the numbers were got, fit errors, reasons.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A number of the file with its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedNumber {
    /// Path with array indices: `levels[3].gpu_mhz`.
    pub field: String,
    /// What kind of knowledge it is.
    pub mark: Mark,
}

/// The marks and sources of a whole file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    /// Sources by their key.
    pub sources: BTreeMap<String, String>,
    /// Entries as in the file.
    pub entries: Vec<ProvenanceEntry>,
    /// Every number that counts, in the file's order.
    pub numbers: Vec<MarkedNumber>,
}

impl Provenance {
    /// The entry that holds for a field (with or without array indices).
    #[must_use]
    pub fn of(&self, field: &str) -> Option<&ProvenanceEntry> {
        let path = parts(field);
        self.entries
            .iter()
            .flat_map(|entry| entry.fields.iter().map(move |pattern| (entry, parts(pattern))))
            .filter(|(_, pattern)| covers(pattern, &path))
            // Longest first; among equals the one with fewer stars.
            .max_by_key(|(_, pattern)| {
                (pattern.len(), pattern.iter().filter(|part| *part != "*").count())
            })
            .map(|(entry, _)| entry)
    }

    /// Fields of the numbers with this mark, without array indices, each once.
    #[must_use]
    pub fn fields_marked(&self, mark: Mark) -> Vec<String> {
        let mut fields: Vec<String> = Vec::new();
        for number in self.numbers.iter().filter(|number| number.mark == mark) {
            let field = parts(&number.field).join(".");
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        fields
    }
}

/// Numbers that name or configure something and are no knowledge of the board.
const EXEMPT: [&str; 5] =
    ["format", "precision_bits", "batch", "park_level", "network.*.sub_network.id"];

/// Whether a number needs a mark.
pub(super) fn counts(field: &str) -> bool {
    let path = parts(field);
    !EXEMPT.iter().any(|pattern| covers(&parts(pattern), &path))
}

/// The parts of a path, array indices left out.
pub(super) fn parts(field: &str) -> Vec<String> {
    field.split('.').map(|part| part.split('[').next().unwrap_or("").to_owned()).collect()
}

/// Whether an entry's path covers a field's.
pub(super) fn covers(pattern: &[String], path: &[String]) -> bool {
    pattern.len() <= path.len()
        && pattern.iter().zip(path).all(|(pattern, part)| pattern == "*" || pattern == part)
}
