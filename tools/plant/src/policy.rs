//! From a board file to a policy image.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use coshift_plant::Board;
//! use coshift_plant::policy;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let board = Board::load(Path::new("boards/xavier_nx.toml"))?;
//! let image = policy::policy_image(&board, &["dynamic-ofa-6", "dynamic-ofa-7"], 1)?;
//! policy::write(Path::new("policy.bin"), &image)?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coshift_shared::policy::{self, BuildFault, Cell, PolicyImage, TableImage};
use coshift_shared::units::{MAX_APPLICATIONS, NO_POWER_CAP, NO_TEMP_CAP};

use crate::Board;
use crate::board::{Network, SubNetwork};

/// Exit threshold of a sub-network without an early exit.
const NO_EXIT: u16 = u16::MAX;

/// Why there is no policy image.
#[derive(Debug)]
pub enum PlanError {
    /// The board file has no network of this name.
    UnknownNetwork {
        /// Name of the board.
        board: String,
        /// The name asked for.
        name: String,
        /// Names it has.
        known: Vec<String>,
    },
    /// Not 1 to 4 networks were asked for.
    NetworkCount(usize),
    /// The image would not pass its own checks.
    Build {
        /// Name of the board.
        board: String,
        /// What is wrong.
        fault: BuildFault,
    },
    /// The file cannot be written.
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownNetwork { board, name, known } if known.is_empty() => {
                write!(f, "board {board}: no network \"{name}\", it has none at all")
            }
            Self::UnknownNetwork { board, name, known } => {
                write!(f, "board {board}: no network \"{name}\", it has {}", known.join(", "))
            }
            Self::NetworkCount(found) => {
                write!(f, "policy: 1 to {MAX_APPLICATIONS} networks go, {found} given")
            }
            Self::Build { board, fault } => write!(f, "policy of board {board}: {fault}"),
            Self::Write { path, error } => {
                write!(f, "{}: cannot be written: {error}", path.display())
            }
        }
    }
}

// Its causes are part of what it says.
impl std::error::Error for PlanError {}

/// The policy image of a board with an application table for each of `networks`, in that order.
///
/// Latencies (µs), marginal energies (µJ) and idle powers (mW) are those of the board's laws,
/// rounded. `sequence` is the image's sequence number; an upload takes only that of the active
/// image + 1.
///
/// # Errors
/// [`PlanError`] names the network that the board does not have, or what the image cannot hold.
pub fn policy_image(
    board: &Board,
    networks: &[&str],
    sequence: u32,
) -> Result<PolicyImage, PlanError> {
    if !(1..=MAX_APPLICATIONS).contains(&networks.len()) {
        return Err(PlanError::NetworkCount(networks.len()));
    }
    let tables = networks
        .iter()
        .map(|name| {
            let network = board.network(name).ok_or_else(|| PlanError::UnknownNetwork {
                board: board.name.clone(),
                name: (*name).to_owned(),
                known: board.network_names().iter().map(|&name| name.to_owned()).collect(),
            })?;
            Ok(table(board, network))
        })
        .collect::<Result<_, PlanError>>()?;
    let levels = board.levels.iter().map(|level| policy::Level {
        cpu_khz: level.cpu_khz,
        gpu_khz: level.gpu_khz,
        emc_khz: level.emc_khz,
        idle_mw: board.idle_mw(level),
    });
    let image = PolicyImage {
        sequence,
        board: board.name.clone(),
        runtime: board.runtime.clone(),
        precision_bits: board.precision_bits,
        batch: board.batch,
        settle: policy::Settle {
            cpu_us: board.settle.cpu_us,
            gpu_us: board.settle.gpu_us,
            emc_us: board.settle.emc_us,
        },
        power_cap_mw: board.caps.power_mw.unwrap_or(NO_POWER_CAP),
        temp_cap_mdeg_c: board.caps.temp_mdeg_c.unwrap_or(NO_TEMP_CAP),
        utilisation_permille: board.utilisation_permille,
        // From 0.01 K/W on: never 0, which says that it is not known.
        resistance_50mk_w: (board.thermal.resistance_k_per_w * 20.0).ceil().min(255.0) as u8,
        // A board has at most 32 levels.
        park_level: board.park_level.and_then(|index| u8::try_from(index).ok()),
        levels: levels.collect(),
        tables,
    };
    // Checked here as well, so that every later step of the caller can only fail by its own doing.
    bytes(&image)?;
    Ok(image)
}

/// The policy image that a board starts with: its first four networks, the first of all images.
///
/// Firmware images are built with it and the agent computes it for a virtual board, so that both
/// hold the same bytes.
///
/// # Errors
/// As [`policy_image`].
pub fn first_image(board: &Board) -> Result<PolicyImage, PlanError> {
    let networks: Vec<&str> = board.network_names().into_iter().take(MAX_APPLICATIONS).collect();
    policy_image(board, &networks, 1)
}

fn table(board: &Board, network: &Network) -> TableImage {
    let row = |sub: &SubNetwork| policy::SubNetwork {
        id: sub.id,
        model_hash: network.model_hash,
        accuracy_bp: (sub.accuracy_pct * 100.0).round() as u16,
        exit_threshold: sub
            .exit_threshold
            .map_or(NO_EXIT, |confidence| (confidence * f64::from(NO_EXIT)).round() as u16),
    };
    let cells = network.sub_networks.iter().map(|sub| {
        let cell = |level| Cell {
            latency_us: board.latency_us(sub, level),
            energy_uj: board.energy_uj(network, sub, level),
        };
        board.levels.iter().map(cell).collect()
    });
    TableImage {
        name: network.name.clone(),
        sub_networks: network.sub_networks.iter().map(row).collect(),
        cells: cells.collect(),
    }
}

/// The bytes of an image.
///
/// # Errors
/// [`PlanError::Build`] where the image would not pass its own checks.
pub fn bytes(image: &PolicyImage) -> Result<Vec<u8>, PlanError> {
    image.to_bytes().map_err(|fault| PlanError::Build { board: image.board.clone(), fault })
}

/// Writes an image into a file: as a whole or not at all.
///
/// The bytes go into a new file beside `path`, which takes its name once they are on the disk; a
/// crash leaves the old file or the new one.
///
/// # Errors
/// [`PlanError::Build`] or [`PlanError::Write`], which names the file.
pub fn write(path: &Path, image: &PolicyImage) -> Result<(), PlanError> {
    let bytes = bytes(image)?;
    let failed = |error| PlanError::Write { path: path.to_owned(), error };
    let Some(name) = path.file_name() else {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "a file's name goes")));
    };
    let mut beside = name.to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // Nothing to add to the first error if this one fails as well.
        drop(fs::remove_file(&beside));
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use coshift_shared::policy::PolicyView;
    use coshift_shared::units::{MAX_LEVELS, MAX_SUB_NETWORKS};

    use super::*;
    use crate::board;

    const NETWORKS: [&str; 2] = ["dynamic-ofa-6", "dynamic-ofa-7"];

    fn boards() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../boards")
    }

    fn shipped(name: &str) -> Board {
        Board::load(&boards().join(name)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn xavier_nx() -> Board {
        shipped("xavier_nx.toml")
    }

    #[test]
    fn limits_of_board_and_image_are_the_same() {
        assert_eq!(board::MAX_LEVELS, MAX_LEVELS);
        assert_eq!(board::MAX_SUB_NETWORKS, MAX_SUB_NETWORKS);
    }

    #[test]
    fn an_image_says_what_the_board_says() {
        let board = xavier_nx();
        let image = policy_image(&board, &NETWORKS, 7).unwrap();
        let bytes = bytes(&image).unwrap();
        let view = PolicyView::open(&bytes).unwrap();
        assert_eq!(view.sequence(), 7);
        assert_eq!(view.board(), board.name);
        assert_eq!(view.runtime(), board.runtime);
        assert_eq!(usize::from(view.levels()), board.levels.len());
        assert_eq!(usize::from(view.tables()), NETWORKS.len());
        assert_eq!(view.park_level().map(usize::from), board.park_level);
        assert_eq!(view.utilisation_permille(), board.utilisation_permille);
        assert_eq!(view.power_cap_mw(), board.caps.power_mw.unwrap());
        assert_eq!(view.temp_cap_mdeg_c(), board.caps.temp_mdeg_c.unwrap());
        assert_eq!(view.settle().emc_us, board.settle.emc_us);
        for (index, level) in (0..).zip(&board.levels) {
            let seen = view.level(index).unwrap();
            assert_eq!(
                (seen.cpu_khz, seen.gpu_khz, seen.emc_khz, seen.idle_mw),
                (level.cpu_khz, level.gpu_khz, level.emc_khz, board.idle_mw(level))
            );
        }
        for (index, name) in (0..).zip(NETWORKS) {
            let (found, table) = view.table_named(name).unwrap();
            assert_eq!(found, index);
            let network = board.network(name).unwrap();
            assert_eq!(usize::from(table.len()), network.sub_networks.len());
            for (row, sub) in (0..).zip(&network.sub_networks) {
                let seen = table.sub_network(row).unwrap();
                assert_eq!(seen.id, sub.id);
                assert_eq!(f64::from(seen.accuracy_bp), (sub.accuracy_pct * 100.0).round());
                assert_eq!(seen.exit_threshold, NO_EXIT);
                for (place, level) in (0..).zip(&board.levels) {
                    let cell = table.cell(row, place).unwrap();
                    assert_eq!(cell.latency_us, board.latency_us(sub, level));
                    assert_eq!(cell.energy_uj, board.energy_uj(network, sub, level));
                }
            }
        }
    }

    /// The tests' small board, with this in the place of the exit threshold of its last sub-network,
    /// which is the only one to have one.
    fn exiting(threshold: &str) -> Result<Board, board::BoardError> {
        let text = include_str!("../tests/common/minimal.toml");
        assert_eq!(text.matches("exit_threshold").count(), 1);
        Board::parse(&text.replace("exit_threshold = 0.8", threshold), "minimal.toml")
    }

    /// Thresholds of the rows of an image, read back from its bytes: of all networks, in their order.
    fn thresholds(board: &Board) -> Vec<u16> {
        let image = policy_image(board, &board.network_names(), 1).unwrap();
        let bytes = bytes(&image).unwrap();
        let view = PolicyView::open(&bytes).unwrap();
        let tables = (0..view.tables()).map(|table| view.table(table).unwrap());
        let rows = tables
            .flat_map(|table| (0..table.len()).map(move |row| table.sub_network(row).unwrap()));
        rows.map(|row| row.exit_threshold).collect()
    }

    #[test]
    fn exit_thresholds_reach_the_rows_they_belong_to() {
        assert_eq!(exiting("").unwrap().network_names(), ["ladder", "work"]);
        // 1/65535 of the confidence, rounded; 65535 says that there is none, as does a confidence that
        // rounds to it.
        for (threshold, row) in [
            ("exit_threshold = 0.8", 52_428),
            ("exit_threshold = 0.5", 32_768),
            ("exit_threshold = 0.00001", 1),
            ("exit_threshold = 0", 0),
            ("exit_threshold = 0.99998", 65_534),
            ("exit_threshold = 0.999999", NO_EXIT),
            ("exit_threshold = 1", NO_EXIT),
            ("", NO_EXIT),
        ] {
            let board = exiting(threshold).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(thresholds(&board), [NO_EXIT, NO_EXIT, NO_EXIT, row], "{threshold}");
        }
    }

    #[test]
    fn exit_thresholds_that_are_no_confidence_are_refused_and_named() {
        let numbers = ["-0.001", "1.001", "80"].map(|threshold| (threshold, "0 to 1 goes"));
        let none = ["nan", "inf"].map(|threshold| (threshold, "a finite number goes"));
        for (threshold, goes) in numbers.into_iter().chain(none) {
            let error = exiting(&format!("exit_threshold = {threshold}")).unwrap_err().to_string();
            let named = error.contains("network.work.sub_network[1].exit_threshold");
            assert!(named && error.contains(goes), "{error}");
        }
    }

    #[test]
    fn every_board_gives_a_policy_of_all_its_networks() {
        for name in ["agx_xavier.toml", "orin_nano.toml", "xavier_nx.toml"] {
            let board = shipped(name);
            let image = policy_image(&board, &board.network_names(), 1).unwrap();
            let bytes = bytes(&image).unwrap();
            let view = PolicyView::open(&bytes).unwrap();
            assert_eq!(usize::from(view.levels()), board.levels.len());
            let clocks = |index| view.level(index).map(|level| level.order());
            assert!((1..view.levels()).all(|index| clocks(index - 1) < clocks(index)));
            if board.caps.power_mw.is_none() {
                assert_eq!(view.power_cap_mw(), NO_POWER_CAP);
            }
            // The GPU clock never falls along the list: where memory and CPU clock do not fall
            // either, every latency does.
            for (index, pair) in image.levels.windows(2).enumerate() {
                if pair[0].emc_khz > pair[1].emc_khz || pair[0].cpu_khz > pair[1].cpu_khz {
                    continue;
                }
                for row in image.tables.iter().flat_map(|table| &table.cells) {
                    assert!(row[index].latency_us > row[index + 1].latency_us, "{name} {index}");
                }
            }
        }
    }

    #[test]
    fn tables_stand_in_the_order_asked_for() {
        let image = policy_image(&xavier_nx(), &["dynamic-ofa-7", "dynamic-ofa-6"], 1).unwrap();
        let names: Vec<_> = image.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["dynamic-ofa-7", "dynamic-ofa-6"]);
    }

    #[test]
    fn the_same_board_gives_the_same_bytes() {
        let image = || bytes(&policy_image(&xavier_nx(), &NETWORKS, 1).unwrap()).unwrap();
        assert_eq!(image(), image());
    }

    #[test]
    fn an_unknown_network_is_named_with_those_there_are() {
        let error = policy_image(&xavier_nx(), &["dynamic-ofa-6", "resnet"], 1).unwrap_err();
        let known = xavier_nx().network_names().join(", ");
        assert_eq!(
            error.to_string(),
            format!("board xavier_nx: no network \"resnet\", it has {known}")
        );
        assert!(known.contains("dynamic-ofa-6, dynamic-ofa-7"));
    }

    #[test]
    fn wrong_numbers_of_networks_and_doubled_ones_are_named() {
        let board = xavier_nx();
        let said = |networks: &[&str]| policy_image(&board, networks, 1).unwrap_err().to_string();
        assert_eq!(said(&[]), "policy: 1 to 4 networks go, 0 given");
        assert_eq!(said(&["dynamic-ofa-6"; 5]), "policy: 1 to 4 networks go, 5 given");
        assert_eq!(
            said(&["dynamic-ofa-6"; 2]),
            "policy of board xavier_nx: table \"dynamic-ofa-6\" is there twice"
        );
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside() {
        let folder = std::env::temp_dir().join(format!("coshift-plan-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("policy.bin");
        let (first, second) = (1, 2);
        for sequence in [first, second] {
            let image = policy_image(&xavier_nx(), &NETWORKS, sequence).unwrap();
            write(&path, &image).unwrap();
            let read = fs::read(&path).unwrap();
            assert_eq!(PolicyView::open(&read).unwrap().sequence(), sequence);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

        // A folder stands where the file should: nothing is left beside it.
        let taken = folder.join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), "x").unwrap();
        let image = policy_image(&xavier_nx(), &NETWORKS, 3).unwrap();
        let error = write(&taken, &image).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be written: ", taken.display())), "{error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);

        let missing = folder.join("no/such/policy.bin");
        let error = write(&missing, &image).unwrap_err().to_string();
        assert!(error.contains("no/such/policy.bin"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
