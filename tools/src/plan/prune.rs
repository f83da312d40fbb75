//! Leaves out what is never better.
//!
//! * A **sub-network** goes where another one is at least as accurate and needs no more time and no
//!   more energy at any level.
//! * A **level** goes where another one idles at no more power and serves every sub-network of every
//!   table in no more time and with no more energy.
//!
//! Of equals the first stays. Whatever a controller would choose of the whole image, the pruned one
//! has a choice that is as good in accuracy, latency, energy and idle power.

use coshift_shared::policy::{Cell, Level, PolicyImage, TableImage};

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
    #[must_use]
    pub fn whole(image: PolicyImage) -> Self {
        let levels = (0..image.levels.len()).collect();
        let tables = image.tables.iter();
        let sub_networks = tables.map(|table| (0..table.sub_networks.len()).collect()).collect();
        Self { image, levels, sub_networks }
    }
}

/// Prunes an image. The park level stays.
#[must_use]
pub fn prune(image: PolicyImage) -> Pruned {
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
    let levels = kept_levels(&image.levels, &tables, park);
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

fn kept_levels(levels: &[Level], tables: &[TableImage], park: Option<usize>) -> Vec<usize> {
    let covers = |a: usize, b: usize| {
        let mut rows = tables.iter().flat_map(|table| &table.cells);
        levels[a].idle_mw <= levels[b].idle_mw && rows.all(|row| no_worse(&row[a], &row[b]))
    };
    kept(levels.len(), park, covers)
}

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
    use std::path::Path;

    use super::{kept, no_worse, prune};

    #[test]
    fn of_equals_the_first_stays_and_the_park_level_always() {
        let values = [(3, 3), (2, 4), (2, 4), (4, 4), (1, 9)];
        let covers = |a: usize, b: usize| values[a].0 <= values[b].0 && values[a].1 <= values[b].1;
        assert_eq!(kept(values.len(), None, covers), [0, 1, 4]);
        assert_eq!(kept(values.len(), Some(3), covers), [0, 1, 3, 4]);
        assert_eq!(kept(0, None, covers), [0; 0]);
    }

    /// For every choice of the whole image the pruned one has one that is at least as good.
    #[test]
    fn nothing_that_could_be_chosen_is_lost() {
        for name in ["agx_xavier", "orin_nano", "xavier_nx"] {
            let file = format!("../boards/{name}.toml");
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let whole = first_image(&Board::load(&file).unwrap()).unwrap();
            let pruned = prune(whole.clone());
            assert!(pruned.image.to_bytes().is_ok(), "{name}");
            for (table, slim) in whole.tables.iter().zip(&pruned.image.tables) {
                for (row, sub) in table.sub_networks.iter().enumerate() {
                    for (place, level) in whole.levels.iter().enumerate() {
                        let wanted = &table.cells[row][place];
                        let found = slim.sub_networks.iter().zip(&slim.cells).any(|(s, cells)| {
                            s.accuracy_bp >= sub.accuracy_bp
                                && cells.iter().zip(&pruned.image.levels).any(|(cell, l)| {
                                    l.idle_mw <= level.idle_mw && no_worse(cell, wanted)
                                })
                        });
                        assert!(found, "{name} {} {row} {place}", table.name);
                    }
                }
            }
            // And nothing is left that could still go, but for the park level.
            let again = prune(pruned.image.clone());
            assert_eq!(again.image, pruned.image, "{name}");
            let park = pruned.image.park_level.map(|park| pruned.levels[usize::from(park)]);
            assert_eq!(park, whole.park_level.map(usize::from), "{name}");
        }
    }
}
