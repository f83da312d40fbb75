//! Levels and clock tables of a board from the tuples that were measured.

use coshift_plant::board::{ClocksFile, LevelFile, MAX_LEVELS};

/// Most clocks of a table in a board file.
const MAX_CLOCKS: usize = 64;

/// The levels of a set of tuples `[cpu, gpu, emc]` (MHz): all of them, or, where a board file has
/// no room for all, those of fewer clocks. Sorted by (GPU, memory, CPU); clocks in whole kHz.
///
/// The ends of every axis stay. Clocks leave the axis that has the most for its worth (a GPU clock
/// is worth two of memory and three of CPU), the one first whose neighbours are nearest.
pub(super) fn levels(tuples: impl Iterator<Item = [f64; 3]>) -> Vec<LevelFile> {
    let mut tuples: Vec<[u32; 3]> = tuples.map(|clocks| clocks.map(khz)).collect();
    tuples.sort_unstable_by_key(|[cpu, gpu, emc]| (*gpu, *emc, *cpu));
    tuples.dedup();
    let mut axes: [Vec<u32>; 3] = std::array::from_fn(|axis| values(&tuples, axis));
    const WORTH: [usize; 3] = [3, 1, 2];
    while tuples.len() > MAX_LEVELS {
        let longest = (0..3)
            .filter(|axis| axes[*axis].len() > 2)
            .max_by_key(|axis| axes[*axis].len() * WORTH[*axis]);
        // At most 8 tuples are left where no axis has more than its ends.
        let Some(axis) = longest else { break };
        let left_out = axes[axis].remove(least_missed(&axes[axis]));
        tuples.retain(|tuple| tuple[axis] != left_out);
    }
    let mhz = |khz: u32| f64::from(khz) / 1e3;
    let level = |[cpu, gpu, emc]: [u32; 3]| LevelFile {
        cpu_mhz: mhz(cpu),
        gpu_mhz: mhz(gpu),
        emc_mhz: mhz(emc),
    };
    tuples.into_iter().map(level).collect()
}

/// The clocks that governors are to step through: all that were measured, or those of the levels
/// where a board file has no room for all.
pub(super) fn clock_tables(
    levels: &[LevelFile],
    tuples: impl Iterator<Item = [f64; 3]>,
) -> ClocksFile {
    let measured: Vec<[u32; 3]> = tuples.map(|clocks| clocks.map(khz)).collect();
    let kept: Vec<[u32; 3]> =
        levels.iter().map(|level| [level.cpu_mhz, level.gpu_mhz, level.emc_mhz].map(khz)).collect();
    let table = |axis: usize| {
        let all = values(&measured, axis);
        let table = if all.len() <= MAX_CLOCKS { all } else { values(&kept, axis) };
        table.into_iter().map(|khz| f64::from(khz) / 1e3).collect()
    };
    ClocksFile { cpu_mhz: table(0), gpu_mhz: table(1) }
}

/// The different values of an axis, ascending.
fn values(tuples: &[[u32; 3]], axis: usize) -> Vec<u32> {
    let mut values: Vec<u32> = tuples.iter().map(|tuple| tuple[axis]).collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Index of the inner clock whose neighbours have the least ratio.
fn least_missed(clocks: &[u32]) -> usize {
    let gap = |index: usize| f64::from(clocks[index + 1]) / f64::from(clocks[index - 1]);
    (1..clocks.len() - 1).min_by(|a, b| gap(*a).total_cmp(&gap(*b))).unwrap_or(0)
}

/// Clocks were checked to lie between 1 MHz and 20 GHz.
fn khz(mhz: f64) -> u32 {
    (mhz * 1e3).round() as u32
}

#[cfg(test)]
mod tests {
    use super::{clock_tables, levels};

    fn product(cpu: &[f64], gpu: &[f64], emc: &[f64]) -> Vec<[f64; 3]> {
        let mut tuples = Vec::new();
        for cpu in cpu {
            for gpu in gpu {
                tuples.extend(emc.iter().map(|emc| [*cpu, *gpu, *emc]));
            }
        }
        tuples
    }

    #[test]
    fn a_small_grid_stays_whole_and_is_sorted() {
        let tuples = product(&[1500.0], &[510.0, 306.0, 114.75], &[3199.0, 665.6]);
        let found = levels(tuples.iter().copied());
        assert_eq!(found.len(), 6);
        let order: Vec<_> = found.iter().map(|level| (level.gpu_mhz, level.emc_mhz)).collect();
        assert_eq!(order[..3], [(114.75, 665.6), (114.75, 3199.0), (306.0, 665.6)]);
        let tables = clock_tables(&found, tuples.into_iter());
        assert_eq!(tables.gpu_mhz, [114.75, 306.0, 510.0]);
        assert_eq!(tables.cpu_mhz, [1500.0]);
    }

    #[test]
    fn a_large_grid_keeps_its_ends_and_fits() {
        let gpu: Vec<f64> = (1..=100).map(|step| f64::from(step) * 10.0).collect();
        let tuples = product(&[700.0, 1000.0, 1300.0], &gpu, &[204.0, 665.6, 2133.0, 3199.0]);
        let found = levels(tuples.iter().copied());
        assert!((20..=32).contains(&found.len()), "{}", found.len());
        let (first, last) = (found[0], found[found.len() - 1]);
        assert_eq!((first.cpu_mhz, first.gpu_mhz, first.emc_mhz), (700.0, 10.0, 204.0));
        assert_eq!((last.cpu_mhz, last.gpu_mhz, last.emc_mhz), (1300.0, 1000.0, 3199.0));
        let tables = clock_tables(&found, tuples.into_iter());
        assert!(tables.gpu_mhz.len() <= 64);
        assert!(found.iter().all(|level| tables.gpu_mhz.contains(&level.gpu_mhz)));
    }
}
