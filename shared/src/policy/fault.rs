//! Why bytes are not a policy image.

use super::{FORMAT, MAX_SETTLE_US, MAX_VALUE};
use crate::units::{MAX_APPLICATIONS, MAX_LEVELS, MAX_SUB_NETWORKS};

/// Why bytes are not a policy image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyFault {
    /// Shorter than its parts need, or longer than it says.
    Length {
        /// Bytes there are.
        found: u32,
        /// Bytes there should be.
        expected: u32,
    },
    /// It does not start with `CSPL`.
    Magic,
    /// Its format or header size is not known.
    Format {
        /// The format it says.
        found: u16,
        /// The header size it says, bytes.
        header: u16,
    },
    /// The CRC does not match: the image is damaged.
    Crc {
        /// CRC of the content.
        found: u32,
        /// CRC in the header.
        expected: u32,
    },
    /// The name of the board, the runtime or a table is not 1 or more graphic ASCII characters
    /// padded with zeros.
    Name(Named),
    /// The precision is 0 bits.
    Precision,
    /// The batch is 0.
    Batch,
    /// The number of levels is not 1 to 32.
    LevelCount(u8),
    /// The number of tables is not 1 to 4.
    TableCount(u8),
    /// A settle time is over a second, µs.
    Settle(u32),
    /// The park level is none of the levels.
    ParkLevel(u8),
    /// The utilisation limit is not 1 to 1000 ‰.
    Utilisation(u16),
    /// A reserved byte is not 0.
    Reserved {
        /// Its place in the image.
        offset: u32,
    },
    /// A level is not above the one before it.
    LevelOrder(u8),
    /// The idle power of a level is too large to compute with.
    IdlePower(u8),
    /// A table has the name of an earlier one.
    DoubledName {
        /// The table.
        table: u8,
    },
    /// The rows of a table do not begin where the part before them ends.
    Offset {
        /// The table.
        table: u8,
        /// Where it says they begin.
        found: u32,
        /// Where they should begin.
        expected: u32,
    },
    /// The number of sub-networks of a table is not 1 to 16.
    SubNetworkCount {
        /// The table.
        table: u8,
        /// The number it says.
        found: u8,
    },
    /// A sub-network is less accurate than the one before it, or its accuracy is over 100 %.
    AccuracyOrder {
        /// The table.
        table: u8,
        /// The sub-network.
        sub_network: u8,
    },
    /// A latency or energy is 0 or too large to compute with.
    Cell {
        /// The table.
        table: u8,
        /// The sub-network.
        sub_network: u8,
        /// The level.
        level: u8,
    },
}

/// What a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The board.
    Board,
    /// The runtime.
    Runtime,
    /// The application table of this index.
    Table(u8),
}

impl core::fmt::Display for Named {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Board => f.write_str("the board"),
            Self::Runtime => f.write_str("the runtime"),
            Self::Table(table) => write!(f, "table {table}"),
        }
    }
}

impl core::fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length { found, expected } => {
                write!(f, "{found} bytes where the image should have {expected}")
            }
            Self::Magic => f.write_str("no policy image: it does not start with CSPL"),
            Self::Format { found, header } => write!(
                f,
                "format {found} with a header of {header} bytes where format {FORMAT} with {} is known",
                super::HEADER
            ),
            Self::Crc { found, expected } => {
                write!(f, "damaged: CRC {found:08x} where the header says {expected:08x}")
            }
            Self::Name(what) => {
                write!(f, "name of {what}: ASCII characters padded with zeros go")
            }
            Self::Precision => f.write_str("precision 0 bits where 1 or more goes"),
            Self::Batch => f.write_str("batch 0 where 1 or more goes"),
            Self::LevelCount(found) => write!(f, "{found} levels where 1 to {MAX_LEVELS} go"),
            Self::TableCount(found) => {
                write!(f, "{found} application tables where 1 to {MAX_APPLICATIONS} go")
            }
            Self::Settle(found) => {
                write!(f, "settle time {found} µs where 0 to {MAX_SETTLE_US} goes")
            }
            Self::ParkLevel(found) => write!(f, "park level {found} is none of the levels"),
            Self::Utilisation(found) => {
                write!(f, "utilisation limit {found} ‰ where 1 to 1000 goes")
            }
            Self::Reserved { offset } => {
                write!(f, "reserved byte at offset {offset} is not 0")
            }
            Self::LevelOrder(level) => write!(f, "level {level} is not above the one before it"),
            Self::IdlePower(level) => {
                write!(f, "level {level}: idle power goes from 0 to {MAX_VALUE} mW")
            }
            Self::DoubledName { table } => {
                write!(f, "table {table} has the name of an earlier table")
            }
            Self::Offset { table, found, expected } => {
                write!(f, "table {table}: rows at offset {found} where {expected} goes")
            }
            Self::SubNetworkCount { table, found } => {
                write!(f, "table {table} has {found} sub-networks where 1 to {MAX_SUB_NETWORKS} go")
            }
            Self::AccuracyOrder { table, sub_network } => write!(
                f,
                "table {table}, sub-network {sub_network}: accuracy over 100 % or under the one before it"
            ),
            Self::Cell { table, sub_network, level } => write!(
                f,
                "table {table}, sub-network {sub_network}, level {level}: latency and energy go from 1 to {MAX_VALUE}"
            ),
        }
    }
}

impl core::error::Error for PolicyFault {}
