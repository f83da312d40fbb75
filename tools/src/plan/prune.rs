//! Leaves out what is never better.
//!
//! * A **sub-network** goes where another one is at least as accurate and needs no more time and no
//!   more energy at any level.
//! * A **level** goes where another one idles at no more power and serves every sub-network of every
//!   table in no more time and with no more energy.
//!
//! Of equals the first stays. Whatever a controller would choose of the whole image, the pruned one
//! has a choice that is as good in accuracy, latency, energy and idle power.
//!
//! That holds while every level can be reached. Where a power mode or another tool holds a clock, or
//! keeps it under or over a bound, only levels with such a clock are; [`Prune::Held`] therefore wants
//! for each clock a level in place that has this clock too. On boards whose levels are a grid of GPU
//! and memory clocks that leaves most of them. Where several clocks are held at once, a level that
//! could be reached may be gone all the same.

use coshift_shared::policy::{Cell, Level, PolicyImage, TableImage};

/// Which levels are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Prune {
    /// Those that are never better, whichever one clock something else holds.
    Held,
    /// Those that are never better where nothing else holds a clock.
    Free,
    /// None, and no sub-networks either.
    None,
}

/// A pruned image, and what of the whole one is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The image.
    pub image: PolicyImage,
    /// Its levels, by their index in the whole image.
    pub levels: Vec<usize>,
    /// Its sub-networks by table, by their index in the whole image.
    pub sub_networks: Vec<Vec<usize>>,
}

impl Pruned {
    /// An image with everything in it.
    fn whole(image: PolicyImage) -> Self {
        let levels = (0..image.levels.len()).collect();
        let tables = image.tables.iter();
        let sub_networks = tables.map(|table| (0..table.sub_networks.len()).collect()).collect();
        Self { image, levels, sub_networks }
    }
}

/// Prunes an image. The park level stays.
#[must_use]
pub fn prune(image: PolicyImage, what: Prune) -> Pruned {
    if what == Prune::None {
        return Pruned::whole(image);
    }
    let sub_networks: Vec<Vec<usize>> = image.tables.iter().map(kept_rows).collect();
    let tables: Vec<TableImage> = image
        .tables
        .into_iter()
        .zip(&sub_networks)
        .map(|(table, kept)| TableImage {
            name: table.name,
            sub_networks: kept.iter().map(|row| table.sub_networks[*row]).collect(),
            cells: kept.iter().map(|row| table.cells[*row].clone()).collect(),
        })
        .collect();
    let park = image.park_level.map(usize::from);
    let levels = kept_levels(&image.levels, &tables, park, what == Prune::Held);
    let tables = tables
        .into_iter()
        .map(|table| TableImage {
            cells: table.cells.iter().map(|row| levels.iter().map(|l| row[*l]).collect()).collect(),
            ..table
        })
        .collect();
    let place = park.and_then(|park| levels.iter().position(|level| *level == park));
    let image = PolicyImage {
        levels: levels.iter().map(|level| image.levels[*level]).collect(),
        tables,
        park_level: place.and_then(|place| u8::try_from(place).ok()),
        ..image
    };
    Pruned { image, levels, sub_networks }
}

/// Whether a cell needs no more time and no more energy than another.
fn no_worse(a: &Cell, b: &Cell) -> bool {
    a.latency_us <= b.latency_us && a.energy_uj <= b.energy_uj
}

fn kept_rows(table: &TableImage) -> Vec<usize> {
    let accuracy = |row: usize| table.sub_networks[row].accuracy_bp;
    let covers = |a: usize, b: usize| {
        let cells = table.cells[a].iter().zip(&table.cells[b]);
        accuracy(a) >= accuracy(b) && cells.into_iter().all(|(a, b)| no_worse(a, b))
    };
    kept(table.sub_networks.len(), None, covers)
}

fn kept_levels(
    levels: &[Level],
    tables: &[TableImage],
    park: Option<usize>,
    held: bool,
) -> Vec<usize> {
    let covers = |a: usize, b: usize| {
        let mut rows = tables.iter().flat_map(|table| &table.cells);
        levels[a].idle_mw <= levels[b].idle_mw && rows.all(|row| no_worse(&row[a], &row[b]))
    };
    if !held {
        return kept(levels.len(), park, covers);
    }
    // A level that is needed for one clock stays for the others too.
    let needed = CLOCKS.map(|clock| {
        let same = |a: usize, b: usize| clock(&levels[a]) == clock(&levels[b]);
        kept(levels.len(), park, |a, b| same(a, b) && covers(a, b))
    });
    (0..levels.len()).filter(|level| needed.iter().any(|kept| kept.contains(level))).collect()
}

/// The clocks of a level that another tool can hold.
const CLOCKS: [fn(&Level) -> u32; 3] =
    [|level| level.cpu_khz, |level| level.gpu_khz, |level| level.emc_khz];

/// Those of `count` that no other one covers; of two that cover each other the first. `always` stays.
fn kept(count: usize, always: Option<usize>, covers: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let beaten = |index: usize| {
        (0..count).any(|other| {
            other != index && covers(other, index) && (other < index || !covers(index, other))
        })
    };
    (0..count).filter(|index| Some(*index) == always || !beaten(*index)).collect()
}

#[cfg(test)]
mod tests {
    use coshift_plant::Board;
    use coshift_plant::policy::first_image;
    use coshift_shared::policy::{Cell, Level, PolicyImage};
    use std::path::Path;

    use super::{CLOCKS, Prune, kept, no_worse, prune};

    #[test]
    fn of_equals_the_first_stays_and_the_park_level_always() {
        let values = [(3, 3), (2, 4), (2, 4), (4, 4), (1, 9)];
        let covers = |a: usize, b: usize| values[a].0 <= values[b].0 && values[a].1 <= values[b].1;
        assert_eq!(kept(values.len(), None, covers), [0, 1, 4]);
        assert_eq!(kept(values.len(), Some(3), covers), [0, 1, 3, 4]);
        assert_eq!(kept(0, None, covers), [0; 0]);
    }

    fn board(name: &str) -> PolicyImage {
        let file = format!("{}/../boards/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        first_image(&Board::load(Path::new(&file)).unwrap()).unwrap()
    }

    /// For every choice of the whole image the pruned one has one that is at least as good: with
    /// every level in reach, and, of those kept for held clocks, with those that one clock at any
    /// bound leaves.
    #[test]
    fn nothing_that_could_be_chosen_is_lost() {
        for name in ["agx_xavier", "orin_nano", "xavier_nx"] {
            let whole = board(name);
            for what in [Prune::Free, Prune::Held] {
                let pruned = prune(whole.clone(), what);
                assert!(pruned.image.to_bytes().is_ok(), "{name}");
                assert_eq!(lost(&whole, &pruned.image, &|_| true), None, "{name}");
                // And nothing is left that could still go, but for the park level.
                let again = prune(pruned.image.clone(), what);
                assert_eq!(again.image, pruned.image, "{name}");
                let park = pruned.image.park_level.map(|park| pruned.levels[usize::from(park)]);
                assert_eq!(park, whole.park_level.map(usize::from), "{name}");
            }
            let pruned = prune(redundant(whole.clone()), Prune::Held);
            let bounds = CLOCKS.iter().flat_map(|c| whole.levels.iter().map(move |l| (c, c(l))));
            for (clock, at) in bounds {
                let held = |level: &Level| clock(level) == at;
                assert_eq!(lost(&whole, &pruned.image, &held), None, "{name}");
                assert_eq!(lost(&whole, &pruned.image, &|l| clock(l) <= at), None, "{name}");
                assert_eq!(lost(&whole, &pruned.image, &|l| clock(l) >= at), None, "{name}");
            }
        }
    }

    /// The image with one more level, in the middle of each clock's range, that is worse than
    /// others of each of its clocks.
    fn redundant(mut image: PolicyImage) -> PolicyImage {
        let (first, last) = (image.levels[0], image.levels[image.levels.len() - 1]);
        let wasteful = Level { idle_mw: first.idle_mw.max(last.idle_mw), ..first };
        image.levels.insert(1, wasteful);
        for row in image.tables.iter_mut().flat_map(|table| &mut table.cells) {
            let cell = row[0];
            row.insert(1, Cell { latency_us: 2 * cell.latency_us, ..cell });
        }
        image.park_level = image.park_level.map(|park| park + u8::from(park > 0));
        image
    }

    #[test]
    fn a_level_goes_that_is_worse_than_others_of_each_of_its_clocks() {
        for name in ["agx_xavier", "orin_nano", "xavier_nx"] {
            let whole = board(name);
            let (bare, more) =
                (prune(whole.clone(), Prune::Held), prune(redundant(whole), Prune::Held));
            assert_eq!(more.image, bare.image, "{name}");
            assert!(!more.levels.contains(&1), "{name} {:?}", more.levels);
        }
    }

    /// A level of another memory clock is out of reach where something holds the memory clock.
    #[test]
    fn where_a_clock_may_be_held_each_of_its_steps_keeps_a_level() {
        let whole = board("orin_nano");
        let [held, free] = [Prune::Held, Prune::Free].map(|what| prune(whole.clone(), what).image);
        for clock in CLOCKS {
            for level in &whole.levels {
                let same = |other: &Level| clock(other) == clock(level);
                assert!(held.levels.iter().any(same), "{level:?}");
            }
        }
        let slow = whole
            .levels
            .iter()
            .find(|level| lost(&whole, &free, &|other| other.emc_khz == level.emc_khz).is_some());
        assert!(slow.is_some(), "then there was no need to keep any");
    }

    /// Names a choice among the levels in reach that the pruned image has nothing as good for.
    fn lost(
        whole: &PolicyImage,
        pruned: &PolicyImage,
        reach: &dyn Fn(&Level) -> bool,
    ) -> Option<String> {
        for (table, slim) in whole.tables.iter().zip(&pruned.tables) {
            for (row, sub) in table.sub_networks.iter().enumerate() {
                for (place, level) in whole.levels.iter().enumerate().filter(|(_, l)| reach(l)) {
                    let wanted = &table.cells[row][place];
                    let found = slim.sub_networks.iter().zip(&slim.cells).any(|(s, cells)| {
                        s.accuracy_bp >= sub.accuracy_bp
                            && cells.iter().zip(&pruned.levels).any(|(cell, l)| {
                                reach(l) && l.idle_mw <= level.idle_mw && no_worse(cell, wanted)
                            })
                    });
                    if !found {
                        return Some(format!("{} {row} at {level:?}", table.name));
                    }
                }
            }
        }
        None
    }
}
