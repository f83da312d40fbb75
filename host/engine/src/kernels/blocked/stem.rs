//! The first convolution: dense 3×3 over an image with few channels.

use std::ops::Range;

use super::isa::kernel;
use super::vector::Vector;
use super::{Lanes, Rows};
use crate::family::Activation;

/// Dense 3×3 with padding 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stem {
    /// Image `[height + 2][width + 2][channels]` with a margin of zeros, see [`padded_len`].
    pub(crate) x: *const f32,
    /// Pixels of a row of `x`, the margin included.
    pub(crate) pitch: usize,
    pub(crate) channels: usize,
    pub(crate) stride: usize,
    /// Panels `[blocks][9·channels]`, a row of the kernel after the other, channels innermost.
    pub(crate) weight: *const Lanes,
    pub(crate) scale: *const Lanes,
    pub(crate) shift: *const Lanes,
    pub(crate) activation: Option<Activation>,
    pub(crate) y: *mut Lanes,
    pub(crate) y_block: usize,
    /// Where a row of outputs lies.
    pub(crate) rows: Rows,
}

/// Values of an image with its margin.
pub(crate) const fn padded_len(side: usize, channels: usize) -> usize {
    (side + 2) * (side + 2) * channels
}

/// Rows of the first blocks of a first convolution's outputs.
#[derive(Debug, Clone)]
pub(crate) struct StemRows {
    pub(crate) stem: Stem,
    pub(crate) blocks: usize,
    pub(crate) rows: Range<usize>,
}

kernel! {
    /// Runs it.
    ///
    /// # Safety
    /// Every place that the description names must be valid, and nothing else may use the written
    /// ones meanwhile.
    unsafe fn stem(StemRows) = all
}

#[inline(always)]
unsafe fn all<V: Vector>(args: &StemRows) {
    // SAFETY: the caller's promise.
    unsafe { rows::<V>(&args.stem, args.blocks, args.rows.start, args.rows.end) }
}

/// Output rows `first..last` of the first `blocks` blocks.
///
/// # Safety
/// Every place of the description must be valid, and nothing else may use the written ones.
#[inline(always)]
pub(super) unsafe fn rows<V: Vector>(args: &Stem, blocks: usize, first: usize, last: usize) {
    for row in first..last {
        for block in 0..blocks {
            let mut column = 0;
            while column < args.rows.width {
                let left = args.rows.width - column;
                let count = left.div_ceil(left.div_ceil(V::PIXELS[0]));
                macro_rules! tiles {
                    ($($m:literal)*) => {
                        match count {
                            $($m if $m <= V::PIXELS[0] => tile::<V, $m>(args, block, row, column),)*
                            _ => tile::<V, 1>(args, block, row, column),
                        }
                    };
                }
                // SAFETY: the caller's promise; `count` columns are left in the row.
                unsafe { tiles!(2 3 4 5 6 7 8) }
                column += count;
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<V: Vector, const M: usize>(args: &Stem, block: usize, row: usize, column: usize) {
    // SAFETY: the caller's promise: rows `row·stride` to `row·stride + 2` and the columns of `M`
    // outputs lie in the image with its margin.
    unsafe {
        let span = 3 * args.channels;
        let step = args.stride * args.channels;
        let mut weight = args.weight.add(block * 3 * span);
        let mut sums = [V::splat(0.0); M];
        for kernel_row in 0..3 {
            let line = (row * args.stride + kernel_row) * args.pitch * args.channels;
            let x = args.x.add(line + column * step);
            for tap in 0..span {
                let w = V::load(weight);
                weight = weight.add(1);
                for m in 0..M {
                    sums[m] = sums[m].fma(V::splat(*x.add(m * step + tap)), w);
                }
            }
        }
        let (scale, shift) = (V::load(args.scale.add(block)), V::load(args.shift.add(block)));
        let line = row % args.rows.ring * args.rows.pitch + column;
        let y = args.y.add(block * args.y_block + line);
        for m in 0..M {
            shift.fma(sums[m], scale).activate(args.activation).store(y.add(m));
        }
    }
}
