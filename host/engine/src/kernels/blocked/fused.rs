//! A layer that makes rows and the depthwise convolution that uses them, without the map between
//! them: rows go through a ring that stays in the cache.

use super::Lanes;
use super::depthwise::{MOST, Row, row};
use super::isa::kernel;
use super::pointwise::{Pointwise, Rows, group, run};
use super::stem::{Stem, rows as stem_rows};
use super::vector::Vector;
use crate::family::Activation;

/// What the depthwise convolution reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// A map `[blocks][height·width]`.
    Map {
        /// Its first block.
        x: *const Lanes,
    },
    /// The first convolution of an image; `y` and `rows` are set here.
    Stem(Stem),
    /// A pointwise convolution; `y`, `rows` and the pixels are set here.
    Pointwise(Pointwise),
}

/// `y = activation(scale · (source ∗ w) + shift)` for some blocks of channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fused {
    pub(crate) source: Source,
    /// Blocks of channels.
    pub(crate) blocks: usize,
    /// Height and width of the source's map.
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// `[blocks][kernel·kernel]`.
    pub(crate) weight: *const Lanes,
    pub(crate) scale: *const Lanes,
    pub(crate) shift: *const Lanes,
    pub(crate) activation: Option<Activation>,
    /// `[blocks][out_height·out_width]`.
    pub(crate) y: *mut Lanes,
    /// Receives the means of the blocks' pixels, or null.
    pub(crate) means: *mut Lanes,
    /// Ring of rows, [`ring_lanes`] long.
    pub(crate) ring: *mut Lanes,
}

/// Blocks that go through the ring together, at most.
const GROUP: usize = 3;

/// Bytes of ring to stay below, where the kernel lets it.
const RING_BYTES: usize = 256 << 10;

/// Bytes of input rows that the strip of a row of outputs reads, at most: half of a first-level cache,
/// so that the next row finds all but its last one there.
const STRIP_BYTES: usize = 16 << 10;

/// Columns of outputs that are made row after row before the next columns, strips nearly equal.
fn strip(out_width: usize, kernel: usize, stride: usize) -> usize {
    let columns = STRIP_BYTES / (kernel * size_of::<Lanes>());
    let most = (columns.saturating_sub(kernel) / stride / 8 * 8).max(8);
    out_width.div_ceil(out_width.div_ceil(most)).next_multiple_of(8)
}

/// Rows of outputs made at once, and rows of the ring for them.
fn bands(height: usize, width: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let out_height = height.div_ceil(stride);
    let line = (width + kernel - 1) * GROUP * size_of::<Lanes>();
    let most = (RING_BYTES / line).max(kernel + stride);
    if height <= most {
        return (out_height, height);
    }
    let band = ((most - kernel) / stride + 1).min(out_height);
    ((band), (band - 1) * stride + kernel)
}

/// Length of the ring of a description: its rows and one of zeros.
pub(crate) fn ring_lanes(height: usize, width: usize, kernel: usize, stride: usize) -> usize {
    let (_, ring) = bands(height, width, kernel, stride);
    GROUP * ring * (width + kernel - 1) + width + kernel - 1
}

kernel! {
    /// Runs it.
    ///
    /// # Safety
    /// Every place that the description names must be valid, `kernel` odd and at most 31, and
    /// nothing else may use the written places meanwhile.
    unsafe fn fused(Fused) = all
}

#[inline(always)]
unsafe fn all<V: Vector>(args: &Fused) {
    let Fused { height, width, kernel, stride, .. } = *args;
    let margin = kernel / 2;
    let pitch = width + kernel - 1;
    let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
    let (band, ring) = bands(height, width, kernel, stride);
    let strip = strip(out_width, kernel, stride);
    // SAFETY: the caller's promise. The ring holds GROUP blocks of `ring` rows and the row of zeros
    // after them; a group is never larger than GROUP.
    unsafe {
        let zeros = args.ring.add(GROUP * ring * pitch);
        for place in 0..pitch {
            V::splat(0.0).store(zeros.add(place));
        }
        // The margins stay zero: rows are written between them.
        for line in 0..GROUP * ring {
            for place in (0..margin).chain(margin + width..pitch) {
                V::splat(0.0).store(args.ring.add(line * pitch + place));
            }
        }
        let mut block = 0;
        while block < args.blocks {
            let count = group::<V>(args.blocks - block);
            let mut sums = [V::splat(0.0); GROUP];
            let (mut made, mut out_row) = (0, 0);
            while out_row < out_height {
                let last = (out_row + band).min(out_height);
                // The last input row that output row `last − 1` reads.
                let needed = ((last - 1) * stride + kernel - margin).min(height);
                if needed > made {
                    make::<V>(args, block, count, made, needed, ring);
                    made = needed;
                }
                for place in 0..count {
                    let lines = args.ring.add(place * ring * pitch);
                    let at = block + place;
                    let mut column = 0;
                    while column < out_width {
                        let width = strip.min(out_width - column);
                        for out in out_row..last {
                            let mut rows = [zeros.cast_const(); MOST];
                            for (tap, line) in rows[..kernel].iter_mut().enumerate() {
                                let input = (out * stride + tap).wrapping_sub(margin);
                                if input < height {
                                    let line_at = input % ring * pitch + column * stride;
                                    *line = lines.add(line_at).cast_const();
                                }
                            }
                            let sum: V = row(&Row {
                                rows: &rows[..kernel],
                                weight: args.weight.add(at * kernel * kernel),
                                scale: args.scale.add(at),
                                shift: args.shift.add(at),
                                activation: args.activation,
                                stride,
                                width,
                                y: args.y.add((at * out_height + out) * out_width + column),
                            });
                            sums[place] = sums[place].add(sum);
                        }
                        column += width;
                    }
                }
                out_row = last;
            }
            if !args.means.is_null() {
                let share = V::splat(1.0 / (out_height * out_width) as f32);
                for (place, sum) in sums[..count].iter().enumerate() {
                    sum.mul(share).store(args.means.add(block + place));
                }
            }
            block += count;
        }
    }
}

/// Rows `first..last` of the source into the ring.
#[inline(always)]
unsafe fn make<V: Vector>(
    args: &Fused,
    block: usize,
    count: usize,
    first: usize,
    last: usize,
    ring: usize,
) {
    let (width, pitch) = (args.width, args.width + args.kernel - 1);
    // SAFETY: the caller's promise; rows land between the margins of the ring's lines.
    unsafe {
        let y = args.ring.add(args.kernel / 2);
        let rows = Rows { width, pitch, ring };
        let y_block = ring * pitch;
        match args.source {
            Source::Map { x } => {
                for place in 0..count {
                    for row in first..last {
                        let x = x.add(((block + place) * args.height + row) * width);
                        let y = y.add(place * y_block + row % ring * pitch);
                        for column in 0..width {
                            V::load(x.add(column)).store(y.add(column));
                        }
                    }
                }
            }
            Source::Stem(stem) => {
                let panel = 9 * stem.channels;
                let stem = Stem {
                    weight: stem.weight.add(block * panel),
                    scale: stem.scale.add(block),
                    shift: stem.shift.add(block),
                    y,
                    y_block,
                    rows,
                    ..stem
                };
                stem_rows::<V>(&stem, count, first, last);
            }
            Source::Pointwise(layer) => {
                run::<V>(&Pointwise {
                    weight: layer.weight.add(block * layer.row),
                    blocks: count,
                    scale: layer.scale.add(block),
                    shift: layer.shift.add(block),
                    y,
                    y_block,
                    rows,
                    first: first * width,
                    last: last * width,
                    ..layer
                });
            }
        }
    }
}
