//! Where the feature maps of one caller lie, worked out at load for the largest sub-network.

use crate::kernels::blocked::Lanes;

/// A place for feature maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buffer {
    /// The image with its margin.
    Image,
    /// Output of a block; the two take turns, so that a shortcut is read where it lies.
    Even,
    /// The other one.
    Odd,
    /// The wide map inside a block.
    Middle,
    /// Means of the wide map.
    Means,
    /// Between the layers of squeeze-excite.
    Squeezed,
    /// Factors of the wide map's channels.
    Gates,
    /// `[blocks][batch]`: means of the last map.
    Pooled,
    /// `[blocks][batch]`: after the layer on the means.
    Features,
    /// `[blocks][batch]`.
    Logits,
    /// Rings of rows, one a thread.
    Ring,
    /// Means of the map that an early exit reads.
    ExitMeans,
    /// What an early exit says.
    ExitLogits,
}

const BUFFERS: usize = 13;

/// Lanes that each buffer needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sizes([usize; BUFFERS]);

impl Sizes {
    /// Grows a buffer to at least this many lanes; for one image, one thread.
    pub(crate) fn cover(&mut self, buffer: Buffer, lanes: usize) {
        let size = &mut self.0[buffer as usize];
        *size = (*size).max(lanes);
    }

    /// Grows every buffer to those of another sub-network.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(size, other)| *size = (*size).max(other));
    }

    fn lanes(&self, buffer: usize, batch: usize, threads: usize) -> usize {
        let copies = match buffer {
            b if b == Buffer::Ring as usize => threads,
            b if b == Buffer::Pooled as usize
                || b == Buffer::Features as usize
                || b == Buffer::Logits as usize =>
            {
                batch
            }
            _ => 1,
        };
        // A whole page and a line apart: buffers do not share sets of the cache.
        (self.0[buffer] * copies).next_multiple_of(64) + 1
    }

    /// Lanes of the whole arena.
    pub(crate) fn total(&self, batch: usize, threads: usize) -> usize {
        (0..BUFFERS).map(|buffer| self.lanes(buffer, batch, threads)).sum()
    }

    /// The places of an arena of at least [`Self::total`] lanes.
    pub(crate) fn places(&self, arena: &mut [Lanes], batch: usize, threads: usize) -> Places {
        assert!(arena.len() >= self.total(batch, threads), "arena of {} lanes", arena.len());
        let mut starts = [0; BUFFERS];
        let mut start = 0;
        for (buffer, place) in starts.iter_mut().enumerate() {
            *place = start;
            start += self.lanes(buffer, batch, threads);
        }
        Places { base: arena.as_mut_ptr(), starts, ring: self.0[Buffer::Ring as usize] }
    }
}

/// An arena that several threads write to, each its own part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    base: *mut Lanes,
    starts: [usize; BUFFERS],
    ring: usize,
}

// SAFETY: a `Places` is only an address; whoever writes through it says why nobody else does.
unsafe impl Send for Places {}
// SAFETY: as above.
unsafe impl Sync for Places {}

impl Places {
    /// Start of a buffer.
    pub(crate) fn of(&self, buffer: Buffer) -> *mut Lanes {
        // In the arena: `Sizes::places` has checked its length.
        self.base.wrapping_add(self.starts[buffer as usize])
    }

    /// Start of a thread's ring.
    pub(crate) fn ring(&self, thread: usize) -> *mut Lanes {
        self.of(Buffer::Ring).wrapping_add(thread * self.ring)
    }
}
