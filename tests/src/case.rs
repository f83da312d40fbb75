//! An application that fits the policy at hand, so that scenarios hold for any board.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use coshift_plant::Board;
use coshift_shared::policy::{PolicyImage, PolicyView, TableImage, TableView};
use coshift_shared::units::MAX_APPLICATIONS;
use coshift_tools::plan;

/// Board file of the policy that simulated rigs use.
const BOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../boards/xavier_nx.toml");
/// Deadline ÷ latency at the fastest level.
const ROOM: u32 = 2;

/// A policy image and an application for it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The policy image.
    pub image: Vec<u8>,
    /// Levels of the board.
    pub levels: u8,
    /// Network of the application.
    pub network: String,
    /// Sub-networks of it.
    pub sub_networks: u8,
    /// Accuracies of the sub-networks, 0.01 %.
    pub accuracy_bp: Vec<u16>,
    /// The sub-network whose accuracy is the floor at the start; there are better ones.
    pub first: u8,
    /// The best sub-network that the deadline leaves room for at the fastest level.
    pub best: u8,
    /// Deadline: twice the latency of `first` at the fastest level, µs.
    pub deadline_us: u32,
}

impl Case {
    /// Name of the application.
    pub const NAME: &str = "cam0";

    /// The case of a policy image.
    ///
    /// # Errors
    /// What is wrong with the image, or that it leaves no choice to decide about.
    pub fn of(image: Vec<u8>) -> Result<Self> {
        let policy = PolicyView::open(&image).context("policy image")?;
        let table = policy.table(0).context("policy image: no table")?;
        ensure!(policy.levels() >= 3, "the policy has too few levels to choose from");
        ensure!(table.len() >= 3, "network {} has too few sub-networks", table.name());
        let first = table.len() / 3;
        let top = policy.levels() - 1;
        let deadline_us = latency_us(&table, first, top)? * ROOM;
        let mut best = first;
        for row in first..table.len() {
            // A quarter more than the policy says: the controller keeps a margin.
            if latency_us(&table, row, top)? * 5 / 4 <= deadline_us {
                best = row;
            }
        }
        ensure!(best > first, "network {}: nothing better fits the deadline", table.name());
        let rows = (0..table.len()).filter_map(|row| table.sub_network(row));
        Ok(Self {
            levels: policy.levels(),
            network: table.name().to_owned(),
            sub_networks: table.len(),
            accuracy_bp: rows.map(|row| row.accuracy_bp).collect(),
            first,
            best,
            deadline_us,
            image,
        })
    }

    /// The case of the reference board, built once from its board file with its first networks.
    ///
    /// # Errors
    /// What is wrong with the board file.
    pub fn reference() -> Result<&'static Self> {
        static REFERENCE: OnceLock<Case> = OnceLock::new();
        if let Some(case) = REFERENCE.get() {
            return Ok(case);
        }
        let board = Board::load(Path::new(BOARD))?;
        let networks: Vec<_> = board.network_names().into_iter().take(MAX_APPLICATIONS).collect();
        let image = plan::bytes(&plan::policy_image(&board, &networks, 1)?)?;
        let case = Self::of(image)?;
        Ok(REFERENCE.get_or_init(|| case))
    }

    /// The image with every latency longer by so much.
    ///
    /// # Errors
    /// The image cannot be built.
    pub fn slower(&self, permille: u32) -> Result<Vec<u8>> {
        let mut image = self.parts()?;
        let cells = image.tables.iter_mut().flat_map(|table| table.cells.iter_mut().flatten());
        for cell in cells {
            let more = u64::from(cell.latency_us) * u64::from(permille) / 1000;
            cell.latency_us = cell.latency_us.saturating_add(u32::try_from(more)?);
        }
        Ok(image.to_bytes()?)
    }

    /// The image with another sequence number: a policy that differs in nothing that matters, and
    /// still is another one.
    ///
    /// # Errors
    /// The image cannot be built.
    pub fn other_image(&self) -> Result<Vec<u8>> {
        let mut image = self.parts()?;
        image.sequence += 1;
        Ok(image.to_bytes()?)
    }

    /// Number of the policy.
    ///
    /// # Errors
    /// The image is none.
    pub fn sequence(&self) -> Result<u32> {
        Ok(PolicyView::open(&self.image).context("policy image")?.sequence())
    }

    /// A policy of this number, all of it or a part of one table, four sub-networks and eight
    /// levels; two of different numbers differ in every cell.
    ///
    /// # Errors
    /// The image cannot be built.
    pub fn numbered(&self, sequence: u32, small: bool) -> Result<Vec<u8>> {
        let mut image = self.parts()?;
        image.sequence = sequence;
        if small {
            image.park_level = None;
            image.levels.truncate(8);
            image.tables.truncate(1);
            for table in &mut image.tables {
                table.sub_networks.truncate(4);
                table.cells.truncate(4);
                table.cells.iter_mut().for_each(|row| row.truncate(8));
            }
        }
        for cell in image.tables.iter_mut().flat_map(|table| table.cells.iter_mut().flatten()) {
            cell.latency_us = cell.latency_us.saturating_add(sequence);
            cell.energy_uj = cell.energy_uj.saturating_add(sequence);
        }
        Ok(image.to_bytes()?)
    }

    /// The image taken apart, to be changed and built again.
    fn parts(&self) -> Result<PolicyImage> {
        let policy = PolicyView::open(&self.image).context("policy image")?;
        let tables = (0..policy.tables()).filter_map(|index| policy.table(index));
        Ok(PolicyImage {
            sequence: policy.sequence(),
            board: policy.board().to_owned(),
            runtime: policy.runtime().to_owned(),
            precision_bits: policy.precision_bits(),
            batch: policy.batch(),
            settle: policy.settle(),
            power_cap_mw: policy.power_cap_mw(),
            temp_cap_mdeg_c: policy.temp_cap_mdeg_c(),
            utilisation_permille: policy.utilisation_permille(),
            resistance_50mk_w: policy.resistance_50mk_w(),
            park_level: policy.park_level(),
            levels: (0..policy.levels()).filter_map(|index| policy.level(index)).collect(),
            tables: tables
                .map(|table| TableImage {
                    name: table.name().to_owned(),
                    sub_networks: (0..table.len()).filter_map(|n| table.sub_network(n)).collect(),
                    cells: (0..table.len())
                        .map(|row| {
                            let cell = |level| table.cell(row, level);
                            (0..policy.levels()).filter_map(cell).collect()
                        })
                        .collect(),
                })
                .collect(),
        })
    }

    /// The application with `row`'s accuracy as its floor, as `--app` takes it.
    #[must_use]
    pub fn spec(&self, row: u8) -> String {
        self.spec_within(row, self.deadline_us)
    }

    /// The same with another deadline, µs.
    #[must_use]
    pub fn spec_within(&self, row: u8, deadline_us: u32) -> String {
        let floor = self.accuracy_bp.get(usize::from(row)).copied().unwrap_or(0);
        // The next request comes when this one's deadline is long over.
        let period_us = u64::from(deadline_us) * 2;
        let rate = 1_000_000_000 / period_us;
        format!(
            "{}={},deadline={}us,floor={}.{:02},rate={}.{:03}",
            Self::NAME,
            self.network,
            deadline_us,
            floor / 100,
            floor % 100,
            rate / 1000,
            rate % 1000
        )
    }

    /// Another application on the same network, without a floor, that asks for little: once a
    /// second, within a second.
    #[must_use]
    pub fn modest(&self, name: &str) -> String {
        format!("{name}={},deadline=1s,rate=1", self.network)
    }

    /// The least power that serves the application at all, by the policy, mW: over sub-networks and
    /// levels the idle power and the energy of its requests.
    ///
    /// # Errors
    /// The image is none.
    pub fn least_power_mw(&self) -> Result<u32> {
        let policy = PolicyView::open(&self.image).context("policy image")?;
        let table = policy.table(0).context("policy image: no table")?;
        let choices = (0..table.len()).flat_map(|row| (0..policy.levels()).map(move |l| (row, l)));
        choices
            .filter_map(|(row, level)| {
                let busy = u64::from(table.cell(row, level)?.energy_uj) * 1000
                    / (2 * u64::from(self.deadline_us));
                Some(policy.level(level)?.idle_mw.saturating_add(u32::try_from(busy).ok()?))
            })
            .min()
            .context("no cell")
    }

    /// Accuracy of a sub-network, 0.01 %; 0 where there is none.
    #[must_use]
    pub fn accuracy(&self, row: u8) -> u16 {
        self.accuracy_bp.get(usize::from(row)).copied().unwrap_or(0)
    }

    /// Policy's latency of a sub-network at a level, µs.
    #[must_use]
    pub fn latency_us(&self, row: u8, level: u8) -> Option<u32> {
        let table = PolicyView::open(&self.image).ok()?.table(0)?;
        latency_us(&table, row, level).ok()
    }
}

fn latency_us(table: &TableView<'_>, row: u8, level: u8) -> Result<u32> {
    let cell = table.cell(row, level).with_context(|| format!("no cell {row}, {level}"))?;
    Ok(cell.latency_us)
}

#[cfg(test)]
mod tests {
    use coshift_host::spec::ApplicationSpec;
    use coshift_shared::policy::PolicyView;

    use super::Case;

    #[test]
    fn the_reference_case_can_be_asked_for() {
        let case = Case::reference().unwrap();
        let policy = PolicyView::open(&case.image).unwrap();
        for row in 0..case.sub_networks {
            let spec = ApplicationSpec::parse("--app", &case.spec(row)).unwrap();
            let targets = spec.targets("--app", &policy).unwrap();
            assert_eq!(targets.accuracy_floor_bp, case.accuracy(row));
            assert_eq!(targets.deadline_us, case.deadline_us);
        }
    }

    #[test]
    fn the_other_policy_is_sound_and_another() {
        let case = Case::reference().unwrap();
        let other = case.other_image().unwrap();
        let (ours, theirs) =
            (PolicyView::open(&case.image).unwrap(), PolicyView::open(&other).unwrap());
        assert_ne!(ours.crc(), theirs.crc());
        assert_eq!(ours.levels(), theirs.levels());
    }

    #[test]
    fn the_slower_policy_is_slower_and_else_the_same() {
        let case = Case::reference().unwrap();
        let slower = case.slower(100).unwrap();
        let (ours, theirs) =
            (PolicyView::open(&case.image).unwrap(), PolicyView::open(&slower).unwrap());
        for index in 0..ours.tables() {
            let (ours, theirs) = (ours.table(index).unwrap(), theirs.table(index).unwrap());
            for (row, level) in
                (0..ours.len()).flat_map(|row| (0..case.levels).map(move |l| (row, l)))
            {
                let (a, b) = (ours.cell(row, level).unwrap(), theirs.cell(row, level).unwrap());
                let factor = f64::from(b.latency_us) / f64::from(a.latency_us);
                assert!((1.09..1.101).contains(&factor), "{row}, {level}: {factor}");
                assert_eq!(a.energy_uj, b.energy_uj);
            }
        }
        assert_eq!(case.slower(0).unwrap(), case.image);
    }
}
