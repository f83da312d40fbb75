//! What a page refuses to show.

use std::fmt;

use super::number::LARGEST;

/// Something that cannot be shown, named with its place.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PageError {
    /// A number is not finite or its magnitude is over 10¹⁵.
    Number {
        /// The series, limit, range or moment it stands in.
        what: String,
        /// Which of its numbers, from 0.
        index: usize,
        /// The number.
        value: f64,
    },
    /// A time is before the time that precedes it.
    Order {
        /// The series or limit.
        what: String,
        /// Which of its entries, from 0.
        index: usize,
    },
    /// A range does not end after its start.
    Range {
        /// The axis, plot or phase.
        what: String,
        /// Start of the range.
        from: f64,
        /// End of the range.
        until: f64,
    },
    /// A row has too many or too few cells.
    Row {
        /// Caption of the table.
        table: String,
        /// Which of its rows, from 0.
        row: usize,
        /// Cells of the row.
        cells: usize,
        /// Columns of the table.
        columns: usize,
    },
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { what, index, value } => write!(
                f,
                "{what}: number {index} is {value}, expected a finite number of magnitude at most \
                 {LARGEST:e}"
            ),
            Self::Order { what, index } => {
                write!(
                    f,
                    "{what}: entry {index} is earlier than the one before, expected time order"
                )
            }
            Self::Range { what, from, until } => {
                write!(f, "{what}: from {from} until {until}, expected an end after the start")
            }
            Self::Row { table, row, cells, columns } => {
                write!(f, "table {table:?}: row {row} has {cells} cells, expected {columns}")
            }
        }
    }
}

impl std::error::Error for PageError {}
