//! Latency grids: `net,gpu_mhz,emc_mhz,p50_us`, optional `cpu_mhz` and `accuracy_pct`.

use std::path::Path;

use coshift_plant::fit::LatencyPoint;

use super::csv::{CsvError, Table};

/// Clocks that a board file takes, MHz.
pub(super) const CLOCKS_MHZ: [f64; 2] = [1.0, 20_000.0];
/// Latencies that a policy image takes, µs.
const LATENCY_US: [f64; 2] = [1.0, 1e9];
/// CPU clock of the levels where the grid has none, MHz.
pub(super) const CPU_MHZ: f64 = 1500.0;
/// Memory clock of the levels where the grid has none, MHz.
pub(super) const EMC_MHZ: f64 = 1600.0;

/// What was measured of one network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Net {
    pub(super) name: String,
    pub(super) accuracy_pct: Option<f64>,
    /// One point for each tuple of clocks: the median where there are several rows.
    pub(super) points: Vec<LatencyPoint>,
}

/// A whole grid.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    /// Networks in the order of the file.
    pub(super) nets: Vec<Net>,
    pub(super) has_cpu: bool,
    pub(super) has_emc: bool,
}

/// A network with its rows as they stand.
struct Rows {
    net: Net,
    /// Latencies of each point, ms.
    ms: Vec<Vec<f64>>,
}

impl Grid {
    pub(super) fn load(path: &Path) -> Result<Self, CsvError> {
        Self::read(&Table::load(path)?)
    }

    pub(super) fn read(table: &Table) -> Result<Self, CsvError> {
        let net = table.column("net")?;
        let (gpu, p50) = (table.column("gpu_mhz")?, table.column("p50_us")?);
        let (emc, cpu) = (table.optional("emc_mhz")?, table.optional("cpu_mhz")?);
        let accuracy = table.optional("accuracy_pct")?;
        let mut nets: Vec<Rows> = Vec::new();
        for row in table.rows() {
            let clock = |column: Option<usize>, missing: f64| match column {
                Some(column) => row.number(column, CLOCKS_MHZ),
                None => Ok(missing),
            };
            let point = LatencyPoint {
                cpu_mhz: clock(cpu, CPU_MHZ)?,
                gpu_mhz: clock(Some(gpu), 0.0)?,
                emc_mhz: clock(emc, EMC_MHZ)?,
                ms: row.number(p50, LATENCY_US)? / 1e3,
            };
            let name = row.name(net)?;
            let place = nets.iter().position(|known| known.net.name == name);
            let place = place.unwrap_or_else(|| {
                let net = Net { name: name.into(), accuracy_pct: None, points: Vec::new() };
                nets.push(Rows { net, ms: Vec::new() });
                nets.len() - 1
            });
            let known = &mut nets[place];
            if let Some(column) = accuracy.filter(|column| !row.text(*column).is_empty()) {
                let found = row.number(column, [0.0, 100.0])?;
                if known.net.accuracy_pct.is_some_and(|before| (before - found).abs() > 1e-9) {
                    let problem = format!("one accuracy of net {name} goes, another found");
                    return Err(row.error(column, problem));
                }
                known.net.accuracy_pct = Some(found);
            }
            known.add(point);
        }
        Ok(Self {
            nets: nets.into_iter().map(Rows::medians).collect(),
            has_cpu: cpu.is_some(),
            has_emc: emc.is_some(),
        })
    }

    /// Every tuple of clocks that some network was measured at.
    pub(super) fn points(&self) -> impl Iterator<Item = &LatencyPoint> {
        self.nets.iter().flat_map(|net| &net.points)
    }

    /// The different values of a clock, ascending.
    pub(super) fn clocks(&self, of: impl Fn(&LatencyPoint) -> f64) -> Vec<f64> {
        let mut clocks: Vec<f64> = self.points().map(of).collect();
        clocks.sort_by(f64::total_cmp);
        clocks.dedup();
        clocks
    }
}

impl Rows {
    fn add(&mut self, point: LatencyPoint) {
        let same = |known: &LatencyPoint| {
            (known.cpu_mhz, known.gpu_mhz, known.emc_mhz)
                == (point.cpu_mhz, point.gpu_mhz, point.emc_mhz)
        };
        match self.net.points.iter().position(same) {
            Some(place) => self.ms[place].push(point.ms),
            None => {
                self.net.points.push(point);
                self.ms.push(vec![point.ms]);
            }
        }
    }

    fn medians(mut self) -> Net {
        for (point, ms) in self.net.points.iter_mut().zip(&mut self.ms) {
            ms.sort_by(f64::total_cmp);
            let middle = ms.len() / 2;
            point.ms =
                if ms.len() % 2 == 1 { ms[middle] } else { 0.5 * (ms[middle - 1] + ms[middle]) };
        }
        self.net
    }
}

#[cfg(test)]
mod tests {
    use super::{CPU_MHZ, EMC_MHZ, Grid, Table};

    fn grid(text: &str) -> Result<Grid, String> {
        let table = Table::parse(text, "g.csv").map_err(|error| error.to_string())?;
        Grid::read(&table).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_of_one_tuple_give_their_median_and_missing_axes_the_default() {
        let found = grid(
            "p50_us,extra,net,gpu_mhz,accuracy_pct\n1000,x,b,510,\n3000,x,b,510,70\n\
             9000,x,b,510,70\n2000,x,a,306,\n",
        )
        .unwrap();
        assert!(!found.has_cpu && !found.has_emc);
        let [b, a] = &found.nets[..] else { panic!("two networks") };
        assert_eq!((b.name.as_str(), b.accuracy_pct, b.points.len()), ("b", Some(70.0), 1));
        assert_eq!((a.name.as_str(), a.accuracy_pct), ("a", None));
        let point = b.points[0];
        assert_eq!((point.cpu_mhz, point.emc_mhz, point.ms), (CPU_MHZ, EMC_MHZ, 3.0));
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        let head = "net,gpu_mhz,emc_mhz,p50_us,accuracy_pct\na,306,665,1000,70\n";
        for (row, said) in [
            ("a,306,665,fast,70", "column 4 (p50_us): a number 1 to 1000000000 goes, \"fast\""),
            ("a,306,665,-5,70", "column 4 (p50_us): a number 1 to 1000000000 goes, \"-5\""),
            ("a,306,665,NaN,70", "column 4 (p50_us): "),
            ("a,306,665,inf,70", "column 4 (p50_us): "),
            ("a,0,665,1000,70", "column 2 (gpu_mhz): a number 1 to 20000 goes, \"0\" found"),
            ("a,306,,1000,70", "column 3 (emc_mhz): a number 1 to 20000 goes, \"\" found"),
            (",306,665,1000,70", "column 1 (net): a name goes, nothing found"),
            ("a,306,665,1000,71", "column 5 (accuracy_pct): one accuracy of net a goes"),
            ("a,306,665,1000,101", "column 5 (accuracy_pct): a number 0 to 100 goes"),
            ("a,306,665", "column 4 (p50_us): 5 fields as in the header go, 3 found"),
        ] {
            let error = grid(&format!("{head}{row}\n")).unwrap_err();
            assert!(error.starts_with(&format!("g.csv:3: {said}")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(grid("net,gpu_mhz\na,306\n").unwrap_err().contains("\"p50_us\""));
    }
}
