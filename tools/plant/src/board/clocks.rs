//! The kernel's frequency tables of a board.

use super::check::Context;
use super::file::BoardFile;
use super::{BoardError, Level};

/// Most clocks of a table.
const MAX_CLOCKS: usize = 64;

/// Clocks that the kernel's governors choose from within the board's power mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockTables {
    /// CPU clocks, kHz, ascending, not empty.
    pub cpu_khz: Vec<u32>,
    /// GPU clocks, kHz, ascending, not empty.
    pub gpu_khz: Vec<u32>,
}

pub(super) fn tables(
    read: &BoardFile,
    levels: &[Level],
    context: &Context<'_>,
) -> Result<Option<ClockTables>, BoardError> {
    let Some(file) = &read.clocks else { return Ok(None) };
    let tables = ClockTables {
        cpu_khz: table("clocks.cpu_mhz", &file.cpu_mhz, context)?,
        gpu_khz: table("clocks.gpu_mhz", &file.gpu_mhz, context)?,
    };
    for (index, level) in levels.iter().enumerate() {
        let clocks = [
            ("cpu_mhz", level.cpu_khz, &tables.cpu_khz),
            ("gpu_mhz", level.gpu_khz, &tables.gpu_khz),
        ];
        for (name, khz, table) in clocks {
            if table.binary_search(&khz).is_err() {
                let mhz = f64::from(khz) / 1e3;
                return Err(context.error(
                    &format!("levels[{index}].{name}"),
                    format!("a clock of clocks.{name} goes, {mhz} MHz found"),
                ));
            }
        }
    }
    Ok(Some(tables))
}

fn table(field: &str, mhz: &[f64], context: &Context<'_>) -> Result<Vec<u32>, BoardError> {
    if mhz.is_empty() || mhz.len() > MAX_CLOCKS {
        let problem = format!("1 to {MAX_CLOCKS} clocks go, {} found", mhz.len());
        return Err(context.error(field, problem));
    }
    let mut table: Vec<u32> = Vec::new();
    for (index, mhz) in mhz.iter().enumerate() {
        let at = format!("{field}[{index}]");
        let khz = context.khz(&at, *mhz)?;
        if table.last().is_some_and(|before| *before >= khz) {
            let problem = format!("ascending clocks go, {mhz} MHz is not above the one before it");
            return Err(context.error(&at, problem));
        }
        table.push(khz);
    }
    Ok(table)
}
