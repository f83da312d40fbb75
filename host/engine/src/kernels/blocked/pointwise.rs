//! Pointwise convolution with fused scale, shift, activation and addition.

use super::isa::kernel;
use super::vector::Vector;
use super::{LANES, Lanes};
use crate::family::Activation;

/// Where the pixels of a map lie: pixel `p` of rows of `width` at
/// `(p / width % ring) · pitch + p % width`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) width: usize,
    pub(crate) pitch: usize,
    pub(crate) ring: usize,
}

impl Rows {
    /// Pixels one after the other.
    pub(crate) const fn flat(pixels: usize) -> Self {
        Self { width: pixels, pitch: 0, ring: 1 }
    }
}

/// `y = activation(scale · (W·x) + shift) + add`, for some blocks of outputs and a range of pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pointwise {
    /// `[blocks of inputs][x_block]`.
    pub(crate) x: *const Lanes,
    pub(crate) x_block: usize,
    /// Channels in that are used.
    pub(crate) inputs: usize,
    /// Panels `[blocks][row]`, `row ≥ inputs`.
    pub(crate) weight: *const Lanes,
    pub(crate) row: usize,
    /// Blocks of outputs.
    pub(crate) blocks: usize,
    /// `[blocks]` each.
    pub(crate) scale: *const Lanes,
    pub(crate) shift: *const Lanes,
    pub(crate) activation: Option<Activation>,
    /// `[blocks][add_block]`, or null.
    pub(crate) add: *const Lanes,
    pub(crate) add_block: usize,
    /// `[blocks][y_block]`, a block's pixels as `rows` says.
    pub(crate) y: *mut Lanes,
    pub(crate) y_block: usize,
    pub(crate) rows: Rows,
    /// Pixels to compute.
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Bytes of inputs that one pass over the outputs works on: what the second-level cache holds
/// beside the panels.
const CHUNK_BYTES: usize = 192 << 10;

kernel! {
    /// Runs it.
    ///
    /// # Safety
    /// Every place that the description names must be valid, and nothing else may use the written
    /// ones meanwhile.
    unsafe fn pointwise(Pointwise) = run
}

/// Blocks of the next group: threes only to avoid a single one, which would reload every input for
/// half the products.
#[inline(always)]
pub(super) fn group<V: Vector>(left: usize) -> usize {
    if V::GROUP == 1 || left == 1 {
        1
    } else if left == 3 || left % 2 == 1 {
        3
    } else {
        2
    }
}

#[inline(always)]
pub(super) unsafe fn run<V: Vector>(args: &Pointwise) {
    let chunk = (CHUNK_BYTES / (size_of::<f32>() * args.inputs)).max(56);
    let mut first = args.first;
    while first < args.last {
        // Chunks of nearly equal size.
        let left = args.last - first;
        let last = first + left.div_ceil(left.div_ceil(chunk));
        let mut block = 0;
        while block < args.blocks {
            let count = group::<V>(args.blocks - block);
            // SAFETY: the caller's promise; blocks and pixels stay within those of the description.
            unsafe {
                match count {
                    1 => panel::<V, 1>(args, block, first, last),
                    2 => panel::<V, 2>(args, block, first, last),
                    _ => panel::<V, 3>(args, block, first, last),
                }
            }
            block += count;
        }
        first = last;
    }
}

/// `N` blocks of outputs, pixels `first..last`.
#[inline(always)]
unsafe fn panel<V: Vector, const N: usize>(
    args: &Pointwise,
    block: usize,
    mut first: usize,
    last: usize,
) {
    let most = V::PIXELS[N - 1];
    while first < last {
        let left = last - first;
        let count = left.div_ceil(left.div_ceil(most));
        // SAFETY: the caller's promise; `count` pixels from `first` on are below `last`.
        unsafe {
            macro_rules! tiles {
                ($($m:literal)*) => {
                    match count {
                        // A size that this vector never asks for is not compiled for it.
                        $($m if $m <= V::PIXELS[N - 1] => tile::<V, $m, N>(args, block, first),)*
                        _ => tile::<V, 1, N>(args, block, first),
                    }
                };
            }
            tiles!(2 3 4 5 6 7 8);
        }
        first += count;
    }
}

/// `M` pixels by `N` blocks of outputs, all sums in registers.
#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(
    args: &Pointwise,
    block: usize,
    first: usize,
) {
    // SAFETY: the caller's promise: input blocks below ⌈inputs/16⌉, panels from `block` to
    // `block + N`, pixels from `first` to `first + M` are those of the description.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; M];
        let mut weight = args.weight.add(block * args.row);
        let mut x = args.x.add(first).cast::<f32>();
        let mut left = args.inputs;
        while left > 0 {
            let lanes = left.min(LANES);
            for lane in 0..lanes {
                let mut w = [V::splat(0.0); N];
                for n in 0..N {
                    w[n] = V::load(weight.add(n * args.row));
                }
                weight = weight.add(1);
                for m in 0..M {
                    let value = V::splat(*x.add(m * LANES + lane));
                    for n in 0..N {
                        sums[m][n] = sums[m][n].fma(value, w[n]);
                    }
                }
            }
            x = x.add(args.x_block * LANES);
            left -= lanes;
        }
        let mut row = first / args.rows.width % args.rows.ring;
        let mut column = first % args.rows.width;
        let mut places = [0; M];
        for place in &mut places {
            *place = row * args.rows.pitch + column;
            column += 1;
            if column == args.rows.width {
                column = 0;
                row += 1;
                if row == args.rows.ring {
                    row = 0;
                }
            }
        }
        // Loops with little inside: all are unrolled, or the sums would live in memory.
        let (mut scale, mut shift) = ([V::splat(0.0); N], [V::splat(0.0); N]);
        for n in 0..N {
            scale[n] = V::load(args.scale.add(block + n));
            shift[n] = V::load(args.shift.add(block + n));
        }
        for m in 0..M {
            for n in 0..N {
                sums[m][n] = shift[n].fma(sums[m][n], scale[n]);
            }
        }
        match args.activation {
            None => {}
            Some(Activation::Relu) => {
                for m in 0..M {
                    for n in 0..N {
                        sums[m][n] = sums[m][n].max(V::splat(0.0));
                    }
                }
            }
            Some(Activation::HSwish) => {
                for m in 0..M {
                    for n in 0..N {
                        sums[m][n] = sums[m][n].mul(sums[m][n].gate());
                    }
                }
            }
        }
        if !args.add.is_null() {
            let add = args.add.add(block * args.add_block + first);
            for m in 0..M {
                for n in 0..N {
                    sums[m][n] = sums[m][n].add(V::load(add.add(n * args.add_block + m)));
                }
            }
        }
        let y = args.y.add(block * args.y_block);
        for m in 0..M {
            for n in 0..N {
                sums[m][n].store(y.add(n * args.y_block + places[m]));
            }
        }
    }
}
