//! Which tile a layer is cut into, by a rough model of its time on a device.
//!
//! The figures are estimates in cycles of one multiprocessor, not measured; the choice changes the
//! speed, never the values beyond rounding.

use super::launch::{Bands, Depthwise, Pointwise, Tile};
use crate::kernels::blocked::{LANES, blocks};

const fn tile(kernel: &'static str, outputs: usize, pixels: usize, slices: usize) -> Tile {
    let (warps_high, warps_wide) = (outputs / 16, if pixels == 16 || pixels == 32 { 1 } else { 2 });
    Tile { kernel, outputs, pixels, slices, threads: 32 * warps_high * warps_wide * slices }
}

/// The tiles there are, as `kernels.cu` makes them.
pub const TILES: [Tile; 5] = [
    tile("pointwise_64x64x1", 64, 64, 1),
    tile("pointwise_64x128x1", 64, 128, 1),
    tile("pointwise_32x64x2", 32, 64, 2),
    tile("pointwise_32x32x4", 32, 32, 4),
    tile("pointwise_16x16x8", 16, 16, 8),
];

/// Lanes of a multiprocessor that multiply and add in one cycle.
const FMA_LANES: usize = 128;
/// From a load of the second-level cache to its value.
const LOAD: usize = 300;
/// A block of threads: its start, its first loads, its end.
const START: usize = 900;
/// Blocks of threads that share a multiprocessor and hide each other's waiting.
const TOGETHER: usize = 3;

/// Cycles of a pointwise layer.
fn pointwise_cycles(layer: &Pointwise, tile: &Tile, multiprocessors: usize) -> usize {
    let tiles = blocks(layer.outputs).div_ceil(tile.outputs / LANES) * tile.over(layer.pixels);
    let each = (tiles * layer.images).div_ceil(multiprocessors);
    let rounds = blocks(layer.inputs).div_ceil(tile.slices);
    // Half of the arithmetic's peak: the other half of the time goes to shared memory.
    let work = 2 * tile.outputs * tile.pixels * LANES * tile.slices / FMA_LANES;
    let alone = START + 150 * (tile.slices.ilog2() as usize) + rounds * work.max(LOAD / 2);
    (each * (rounds * work + START / TOGETHER)).max(each.div_ceil(TOGETHER) * alone)
}

/// The tile for a pointwise layer.
#[must_use]
pub fn for_pointwise(layer: &Pointwise, multiprocessors: usize) -> &'static Tile {
    let cycles = |tile: &&Tile| pointwise_cycles(layer, tile, multiprocessors.max(1));
    TILES.iter().min_by_key(cycles).unwrap_or(&TILES[0])
}

/// Cycles of a depthwise layer.
fn depthwise_cycles(layer: &Depthwise, bands: Bands, multiprocessors: usize) -> usize {
    let Depthwise { kernel, stride, .. } = *layer;
    let (rows, width) = (layer.height.div_ceil(stride), layer.width.div_ceil(stride));
    let all = rows.div_ceil(bands.rows) * blocks(layer.channels) * layer.images;
    let each = all.div_ceil(multiprocessors);
    let units = bands.rows * width.div_ceil(bands.outputs);
    let loads = kernel * ((bands.outputs - 1) * stride + kernel);
    // Four threads a unit, 16 bytes a load, 128 bytes a cycle.
    let work = units * loads / 2;
    let alone = START + units.div_ceil(64) * (kernel * LOAD / 3 + loads * 4);
    (each * (work + START / TOGETHER)).max(each.div_ceil(TOGETHER) * alone)
}

/// The bands for a depthwise layer.
#[must_use]
pub fn for_depthwise(layer: &Depthwise, multiprocessors: usize) -> Bands {
    let rows = layer.height.div_ceil(layer.stride);
    let outputs: &[usize] = if matches!(layer.kernel, 3 | 5 | 7) { &[1, 4] } else { &[1] };
    // More bands than this would only make more sums to add up.
    let most = rows.min(16);
    let all = outputs.iter().flat_map(|outputs| {
        (1..=most).map(|bands| Bands { outputs: *outputs, rows: rows.div_ceil(bands) })
    });
    let cycles = |bands: &Bands| depthwise_cycles(layer, *bands, multiprocessors.max(1));
    all.min_by_key(cycles).unwrap_or(Bands { outputs: 1, rows })
}
