//! Latency and energy of every (network, level, sub-network), by the indices of a policy.
//!
//! A scripted board does what the policy says ([`Cells::of_policy`]); a virtual board does what its
//! own model says, whatever the policy expects of it ([`Cells::of_board`]).

use coshift_plant::Board;
use coshift_plant::board::{Level, Network};
use coshift_shared::policy::{Cell, PolicyView, TableView};

/// Why a policy cannot be run on a board.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy of board {policy}: {what} is none of board {board}")]
pub struct BoardMismatch {
    /// Name of the board in the policy.
    pub policy: String,
    /// Name of the virtual board.
    pub board: String,
    /// What the board does not have.
    pub what: String,
}

/// `[table][level][sub_network]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells(Vec<Vec<Vec<Cell>>>);

impl Cells {
    /// As the policy expects.
    #[must_use]
    pub fn of_policy(policy: &PolicyView<'_>) -> Self {
        let tables = (0..policy.tables()).filter_map(|table| policy.table(table));
        let of_table = |table: TableView<'_>| {
            let levels = (0..policy.levels())
                .map(|level| (0..table.len()).filter_map(|row| table.cell(row, level)).collect());
            levels.collect()
        };
        Self(tables.map(of_table).collect())
    }

    /// As the board's laws say, for the levels, networks and sub-networks that the policy names.
    ///
    /// # Errors
    /// [`BoardMismatch`] names what the board does not have.
    pub fn of_board(board: &Board, policy: &PolicyView<'_>) -> Result<Self, BoardMismatch> {
        let levels = levels_on(board, policy)?;
        let tables = (0..policy.tables()).filter_map(|table| policy.table(table));
        let of_table = |table: TableView<'_>| {
            let network = network_on(board, policy, table.name())?;
            let rows: Vec<_> = (0..table.len())
                .filter_map(|row| table.sub_network(row))
                .map(|row| {
                    let known = network.sub_networks.iter().find(|sub| sub.id == row.id);
                    known.ok_or_else(|| {
                        let what = format!("sub-network {} of {}", row.id, table.name());
                        mismatch(board, policy, what)
                    })
                })
                .collect::<Result<_, _>>()?;
            let of_level = |level: &&Level| {
                let cell = |sub: &&_| Cell {
                    latency_us: board.latency_us(sub, level),
                    energy_uj: board.energy_uj(network, sub, level),
                };
                rows.iter().map(cell).collect()
            };
            Ok(levels.iter().map(of_level).collect())
        };
        Ok(Self(tables.map(of_table).collect::<Result<_, _>>()?))
    }

    /// One cell; `None` where there is none of these indices.
    #[must_use]
    pub fn get(&self, table: u8, level: u8, sub_network: u8) -> Option<Cell> {
        let levels = self.0.get(usize::from(table))?;
        levels.get(usize::from(level))?.get(usize::from(sub_network)).copied()
    }
}

/// The board's level for each of the policy's.
///
/// # Errors
/// [`BoardMismatch`] names the level that the board does not have.
pub fn levels_on<'b>(
    board: &'b Board,
    policy: &PolicyView<'_>,
) -> Result<Vec<&'b Level>, BoardMismatch> {
    (0..policy.levels())
        .filter_map(|index| policy.level(index))
        .map(|wanted| {
            let clocks = (wanted.cpu_khz, wanted.gpu_khz, wanted.emc_khz);
            let known = |level: &&Level| (level.cpu_khz, level.gpu_khz, level.emc_khz) == clocks;
            board.levels.iter().find(known).ok_or_else(|| {
                let (cpu, gpu, emc) = clocks;
                mismatch(board, policy, format!("level CPU {cpu} GPU {gpu} EMC {emc} kHz"))
            })
        })
        .collect()
}

/// The board's network of this name.
///
/// # Errors
/// [`BoardMismatch`] where it has none.
pub fn network_on<'b>(
    board: &'b Board,
    policy: &PolicyView<'_>,
    name: &str,
) -> Result<&'b Network, BoardMismatch> {
    board.network(name).ok_or_else(|| mismatch(board, policy, format!("network {name}")))
}

fn mismatch(board: &Board, policy: &PolicyView<'_>, what: String) -> BoardMismatch {
    BoardMismatch { policy: policy.board().into(), board: board.name.clone(), what }
}

#[cfg(test)]
mod tests {
    use coshift_plant::policy::{bytes, first_image};
    use coshift_shared::policy::PolicyView;

    use super::Cells;
    use crate::boards;

    #[test]
    fn a_board_does_what_its_own_policy_expects() {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        let image = bytes(&first_image(&board).unwrap()).unwrap();
        let policy = PolicyView::open(&image).unwrap();
        let cells = Cells::of_board(&board, &policy).unwrap();
        assert_eq!(cells, Cells::of_policy(&policy));
        assert!(cells.get(0, 0, 0).is_some());
        assert_eq!(cells.get(policy.tables(), 0, 0), None);
    }

    #[test]
    fn what_the_board_does_not_have_is_named() {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        let other = boards::find("--board", "virtual:orin_nano").unwrap();
        let image = bytes(&first_image(&other).unwrap()).unwrap();
        let fault = Cells::of_board(&board, &PolicyView::open(&image).unwrap()).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "policy of board orin_nano: level CPU 1344000 GPU 306000 EMC 665600 kHz is none of board \
             xavier_nx"
        );
        let mut small = board.clone();
        small.networks.retain(|network| network.name != "coshift-28");
        let image = bytes(&first_image(&board).unwrap()).unwrap();
        let fault = Cells::of_board(&small, &PolicyView::open(&image).unwrap()).unwrap_err();
        assert!(fault.to_string().contains("network coshift-28 is none of"), "{fault}");
    }
}
