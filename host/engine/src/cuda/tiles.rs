//! Which tile a layer is cut into, by a rough model of its time on a device.
//!
//! The figures are estimates in cycles of one multiprocessor, not measured; the choice changes the
//! speed, never the values beyond rounding.

use super::launch::{Bands, Depthwise, Fused, Pointwise, Tile, Whole};
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

/// The kernels for two layers at once there are, as `kernels.cu` makes them; smaller maps first.
pub const WHOLES: [Whole; 2] = [
    Whole { kernel: "fused_64", pixels: 64, slices: 2, threads: 128 },
    Whole { kernel: "fused_256", pixels: 256, slices: 1, threads: 256 },
];

/// Lanes of a multiprocessor that multiply and add in one cycle.
const FMA_LANES: usize = 128;
/// From a load of the second-level cache to its value.
const LOAD: usize = 300;
/// A block of threads: its start, its first loads, its end.
const START: usize = 900;
/// Between the end of a launch and the start of the next in a graph.
const LAUNCH: usize = 1500;
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

/// The kernel for a pointwise and a depthwise layer at once, where the map between is small enough and
/// one launch is quicker than `pointwise` and `depthwise` as two.
#[must_use]
pub fn for_fused(
    layer: &Fused,
    pointwise: &Pointwise,
    depthwise: &Depthwise,
    multiprocessors: usize,
) -> Option<&'static Whole> {
    let multiprocessors = multiprocessors.max(1);
    let area = layer.side * layer.side;
    let whole = WHOLES.iter().find(|whole| area <= whole.pixels)?;
    let each = (blocks(layer.outputs) * layer.images).div_ceil(multiprocessors);
    let rounds = blocks(layer.inputs).div_ceil(whole.slices);
    let work = 2 * LANES * whole.pixels * LANES * whole.slices / FMA_LANES;
    let out = layer.side.div_ceil(layer.stride).pow(2);
    let taps = layer.kernel * layer.kernel;
    // Two loads of shared memory and of the taps for each, 16 bytes each.
    let second = out * taps;
    let alone = START
        + rounds * work.max(LOAD / 2)
        + out.div_ceil(whole.threads / 4) * (layer.kernel * LOAD / 4 + taps * 8);
    let fused =
        (each * (rounds * work + second + START / TOGETHER)).max(each.div_ceil(TOGETHER) * alone);
    let tile = for_pointwise(pointwise, multiprocessors);
    let bands = for_depthwise(depthwise, multiprocessors);
    let two = pointwise_cycles(pointwise, tile, multiprocessors)
        + LAUNCH
        + depthwise_cycles(depthwise, bands, multiprocessors);
    (fused <= two).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::launch::{Folded, Place, Space};

    const AT: Place = Place { space: Space::Arena, at: 0 };
    const FOLDED: Folded = Folded { scale: AT, shift: AT };

    fn layer(inputs: usize, outputs: usize, pixels: usize) -> Pointwise {
        Pointwise {
            x: AT,
            weight: AT,
            row: inputs,
            folded: FOLDED,
            gates: None,
            add: None,
            y: Some(AT),
            sums: None,
            images: 1,
            inputs,
            outputs,
            pixels,
            activation: None,
        }
    }

    fn both(side: usize, multiprocessors: usize) -> Option<&'static Whole> {
        let (inputs, outputs, kernel) = (160, 960, 5);
        let depthwise = Depthwise {
            x: AT,
            weight: AT,
            folded: FOLDED,
            y: AT,
            sums: None,
            images: 1,
            channels: outputs,
            height: side,
            width: side,
            kernel,
            stride: 1,
            activation: None,
        };
        let fused = Fused {
            x: AT,
            weight: AT,
            row: inputs,
            folded: FOLDED,
            taps: AT,
            tap_folded: FOLDED,
            y: AT,
            sums: None,
            images: 1,
            inputs,
            outputs,
            side,
            kernel,
            stride: 1,
            activation: None,
        };
        for_fused(&fused, &layer(inputs, outputs, side * side), &depthwise, multiprocessors)
    }

    #[test]
    fn little_work_for_many_multiprocessors_shares_the_inputs() {
        assert!(for_pointwise(&layer(960, 160, 49), 132).slices > 1);
        // Much work for one reuses what it has read.
        assert_eq!(for_pointwise(&layer(64, 64, 112 * 112), 1).slices, 1);
    }

    #[test]
    fn only_maps_that_fit_are_fused() {
        assert_eq!(both(7, 132).map(|whole| whole.kernel), Some("fused_64"));
        assert!(both(14, 132).is_none_or(|whole| whole.kernel == "fused_256"));
        assert_eq!(both(17, 132), None);
    }

    #[test]
    fn bands_cover_all_rows() {
        for (side, stride, multiprocessors) in [(112, 2, 132), (7, 1, 16), (1, 1, 1)] {
            let layer = Depthwise {
                x: AT,
                weight: AT,
                folded: FOLDED,
                y: AT,
                sums: None,
                images: 1,
                channels: 64,
                height: side,
                width: side,
                kernel: 3,
                stride,
                activation: None,
            };
            let bands = for_depthwise(&layer, multiprocessors);
            let [across, ..] = layer.launch(bands).grid;
            assert!(across as usize * bands.rows >= side.div_ceil(stride), "{side}: {bands:?}");
            assert!((1..=16).contains(&across), "{side}: {bands:?}");
        }
    }
}
