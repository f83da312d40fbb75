//! Power of a board: `gpu_mhz[,emc_mhz],power_mw[,net]`.

use std::path::Path;

use coshift_plant::fit::board_power::PowerPoint;

use super::csv::{CsvError, Table};
use super::grid::CLOCKS_MHZ;

/// The `net` of rows that were measured with nothing running.
const IDLE: &str = "idle";
/// Powers that a board file takes, mW.
const POWER_MW: [f64; 2] = [1.0, 1e6];

/// Measured powers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Powers {
    pub(super) points: Vec<PowerPoint>,
    /// Names of networks that the latency grid does not have: what they drew counts as what any
    /// network draws.
    pub(super) others: Vec<String>,
    pub(super) has_emc: bool,
}

impl Powers {
    /// Reads a file. `group_of` says which activity a network of the grid belongs to; rows without
    /// a network count for the first. `emc_mhz` stands where the file has no memory clock.
    pub(super) fn load(
        path: &Path,
        group_of: impl Fn(&str) -> Option<usize>,
        emc_mhz: f64,
    ) -> Result<Self, CsvError> {
        Self::read(&Table::load(path)?, group_of, emc_mhz)
    }

    fn read(
        table: &Table,
        group_of: impl Fn(&str) -> Option<usize>,
        emc_mhz: f64,
    ) -> Result<Self, CsvError> {
        let (gpu, power) = (table.column("gpu_mhz")?, table.column("power_mw")?);
        let (emc, net) = (table.optional("emc_mhz")?, table.optional("net")?);
        let mut read = Self { points: Vec::new(), others: Vec::new(), has_emc: emc.is_some() };
        for row in table.rows() {
            let name = net.map_or("", |column| row.text(column));
            let group = match name {
                IDLE => None,
                "" => Some(0),
                name => Some(group_of(name).unwrap_or_else(|| {
                    if !read.others.iter().any(|known| known == name) {
                        read.others.push(name.to_owned());
                    }
                    0
                })),
            };
            read.points.push(PowerPoint {
                gpu_mhz: row.number(gpu, CLOCKS_MHZ)?,
                emc_mhz: match emc {
                    Some(column) => row.number(column, CLOCKS_MHZ)?,
                    None => emc_mhz,
                },
                watt: row.number(power, POWER_MW)? / 1e3,
                group,
            });
        }
        if read.points.iter().all(|point| point.group.is_none()) {
            let row = table.rows().next();
            let problem = "rows with something running go, all are idle".to_owned();
            return Err(row.map_or_else(
                || CsvError {
                    file: String::new(),
                    line: None,
                    column: None,
                    problem: problem.clone(),
                },
                |row| row.error(net.unwrap_or(0), problem.clone()),
            ));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{Powers, Table};

    fn powers(text: &str) -> Result<Powers, String> {
        let table = Table::parse(text, "p.csv").map_err(|error| error.to_string())?;
        let group = |name: &str| (name == "known").then_some(1);
        Powers::read(&table, group, 1600.0).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_belong_to_their_network_to_idle_or_to_all() {
        let found =
            powers("net,gpu_mhz,power_mw\nknown,306,5000\n,306,6000\nidle,306,3000\nother,306,1\n")
                .unwrap();
        let groups: Vec<_> = found.points.iter().map(|point| point.group).collect();
        assert_eq!(groups, [Some(1), Some(0), None, Some(0)]);
        assert_eq!(found.others, ["other"]);
        assert!(!found.has_emc && found.points[0].emc_mhz == 1600.0);
        assert!((found.points[0].watt - 5.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        assert_eq!(
            powers("gpu_mhz,power_mw\n306,5000\n306,0\n").unwrap_err(),
            "p.csv:3: column 2 (power_mw): a number 1 to 1000000 goes, \"0\" found"
        );
        assert!(powers("gpu_mhz,power_w\n306,5\n").unwrap_err().contains("\"power_mw\" goes"));
        let error = powers("gpu_mhz,power_mw,net\n306,5000,idle\n").unwrap_err();
        assert_eq!(error, "p.csv:2: column 3 (net): rows with something running go, all are idle");
    }
}
