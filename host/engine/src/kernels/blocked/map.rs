//! Means of a map's blocks, and their scaling in place.

use super::Lanes;
use super::isa::kernel;
use super::vector::Vector;

/// Blocks of pixels, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Map {
    /// `[blocks][pixels]`; written where it is scaled, only read where its means are taken.
    pub(crate) map: *mut Lanes,
    pub(crate) blocks: usize,
    pub(crate) pixels: usize,
    /// `[blocks]`: the factors to scale by, or where the means go, `step` apart.
    pub(crate) values: *mut Lanes,
    pub(crate) step: usize,
}

kernel! {
    /// Writes the means of every block to `values`.
    ///
    /// # Safety
    /// Every place that the description names must be valid, and nothing else may use the written
    /// ones meanwhile.
    unsafe fn means(Map) = run_means
}

kernel! {
    /// Scales every block by its `values`.
    ///
    /// # Safety
    /// As [`means`].
    unsafe fn scale(Map) = run_scale
}

#[inline(always)]
unsafe fn run_means<V: Vector>(args: &Map) {
    for block in 0..args.blocks {
        // SAFETY: the caller's promise.
        unsafe {
            let map = args.map.add(block * args.pixels);
            let mut sums = [V::splat(0.0); 4];
            for pixel in 0..args.pixels {
                sums[pixel % 4] = sums[pixel % 4].add(V::load(map.add(pixel)));
            }
            let sum = sums[0].add(sums[1]).add(sums[2].add(sums[3]));
            let share = V::splat(1.0 / args.pixels as f32);
            sum.mul(share).store(args.values.add(block * args.step));
        }
    }
}

#[inline(always)]
unsafe fn run_scale<V: Vector>(args: &Map) {
    for block in 0..args.blocks {
        // SAFETY: the caller's promise.
        unsafe {
            let map = args.map.add(block * args.pixels);
            let factor = V::load(args.values.add(block * args.step));
            for pixel in 0..args.pixels {
                let place = map.add(pixel);
                V::load(place).mul(factor).store(place);
            }
        }
    }
}
