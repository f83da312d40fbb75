//! One output row of a depthwise convolution over one block of channels.

use super::Lanes;
use super::vector::Vector;
use crate::family::Activation;

/// Largest kernel.
pub(super) const MOST: usize = 31;

/// One output row: `y[j] = activation(scale · Σ w[r][c]·rows[r][j·stride + c] + shift)`.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Rows of the input, one a row of the kernel, with its margin on both sides.
    pub(super) rows: &'a [*const Lanes],
    /// `[kernel][kernel]`.
    pub(super) weight: *const Lanes,
    pub(super) scale: *const Lanes,
    pub(super) shift: *const Lanes,
    pub(super) activation: Option<Activation>,
    pub(super) stride: usize,
    /// Pixels of the output row.
    pub(super) width: usize,
    pub(super) y: *mut Lanes,
}

/// Computes a row and gives the sum of its pixels.
///
/// # Safety
/// Every place of the description must be valid, each input row for
/// `(width − 1)·stride + kernel` pixels.
#[inline(always)]
pub(super) unsafe fn row<V: Vector>(args: &Row<'_>) -> V {
    // SAFETY: the caller's promise; the sizes match the compiled ones.
    unsafe {
        match (args.rows.len(), args.stride) {
            (3, 1) => columns::<V, 3, 1>(args),
            (5, 1) => columns::<V, 5, 1>(args),
            (7, 1) => columns::<V, 7, 1>(args),
            (3, 2) => columns::<V, 3, 2>(args),
            (5, 2) => columns::<V, 5, 2>(args),
            (7, 2) => columns::<V, 7, 2>(args),
            _ => any::<V>(args),
        }
    }
}

#[inline(always)]
unsafe fn columns<V: Vector, const K: usize, const S: usize>(args: &Row<'_>) -> V {
    // SAFETY: the caller's promise; `count` columns from `first` on are below `width`.
    unsafe {
        let mut sum = V::splat(0.0);
        let mut first = 0;
        while first < args.width {
            let left = args.width - first;
            let count = left.div_ceil(left.div_ceil(V::COLUMNS));
            macro_rules! tiles {
                ($($m:literal)*) => {
                    match count {
                        $($m if $m <= V::COLUMNS => tile::<V, $m, K, S>(args, first, sum),)*
                        _ => tile::<V, 1, K, S>(args, first, sum),
                    }
                };
            }
            sum = tiles!(2 3 4 5 6 7 8);
            first += count;
        }
        sum
    }
}

/// `M` columns from `first` on; each input is loaded once a row of the kernel.
#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const K: usize, const S: usize>(
    args: &Row<'_>,
    first: usize,
    mut sum: V,
) -> V {
    // SAFETY: the caller's promise: rows hold `(first + M − 1)·S + K` pixels.
    unsafe {
        let mut sums = [V::splat(0.0); M];
        let mut weight = args.weight;
        for row in args.rows {
            let x = row.add(first * S);
            let mut w = [V::splat(0.0); K];
            for (tap, w) in w.iter_mut().enumerate() {
                *w = V::load(weight.add(tap));
            }
            weight = weight.add(K);
            for place in 0..(M - 1) * S + K {
                let value = V::load(x.add(place));
                for m in 0..M {
                    if place >= m * S && place < m * S + K {
                        sums[m] = sums[m].fma(value, w[place - m * S]);
                    }
                }
            }
        }
        let (scale, shift) = (V::load(args.scale), V::load(args.shift));
        for m in 0..M {
            let y = shift.fma(sums[m], scale).activate(args.activation);
            y.store(args.y.add(first + m));
            sum = sum.add(y);
        }
        sum
    }
}

/// Any kernel and stride, one column at a time.
#[inline(always)]
unsafe fn any<V: Vector>(args: &Row<'_>) -> V {
    let kernel = args.rows.len();
    // SAFETY: the caller's promise.
    unsafe {
        let (scale, shift) = (V::load(args.scale), V::load(args.shift));
        let mut sum = V::splat(0.0);
        for column in 0..args.width {
            let mut y = V::splat(0.0);
            for (place, row) in args.rows.iter().enumerate() {
                for tap in 0..kernel {
                    let w = V::load(args.weight.add(place * kernel + tap));
                    y = y.fma(V::load(row.add(column * args.stride + tap)), w);
                }
            }
            let y = shift.fma(y, scale).activate(args.activation);
            y.store(args.y.add(column));
            sum = sum.add(y);
        }
        sum
    }
}
