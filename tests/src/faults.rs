//! Faults put into one direction of a line.
//!
//! Frames are told apart by the zero that ends each of them; every fault but garbage hits whole
//! frames, so that what was injected can be counted.

use crate::random::Random;
use crate::rewrite::Rewrite;

/// Bytes without a zero that are passed on as they are: longer than any frame.
const NO_FRAME: usize = 4096;

/// What happens to frames; chances in 1/1000 of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Does not arrive.
    pub drop_permille: u16,
    /// Arrives with one bit changed.
    pub flip_permille: u16,
    /// Arrives twice.
    pub duplicate_permille: u16,
    /// Arrives behind the next one.
    pub reorder_permille: u16,
    /// Everything waits until this is over, and then comes at once.
    pub stall: bool,
    /// Number of frames, counted from the line's first, after which nothing arrives any more.
    pub dead_after: Option<u64>,
}

impl Faults {
    /// A line without faults.
    pub const NONE: Self = Self {
        drop_permille: 0,
        flip_permille: 0,
        duplicate_permille: 0,
        reorder_permille: 0,
        stall: false,
        dead_after: None,
    };

    /// A line that carries nothing.
    pub const DEAD: Self = Self { drop_permille: 1000, ..Self::NONE };
}

/// What was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    /// Frames that came.
    pub frames: u64,
    /// Of these, dropped.
    pub dropped: u64,
    /// With a bit changed.
    pub flipped: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Put behind the next one.
    pub reordered: u64,
    /// Replaced by others.
    pub rewritten: u64,
    /// Bytes of garbage.
    pub garbage: u64,
}

/// Faults of one direction, with their state.
#[derive(Debug)]
pub struct Injector {
    random: Random,
    faults: Faults,
    rewrite: Option<Rewrite>,
    /// Garbage still to be put in, bytes.
    garbage: u64,
    /// A frame whose end did not come yet.
    partial: Vec<u8>,
    /// A frame that comes behind the next one.
    held: Option<Vec<u8>>,
    /// What waits while the line stalls.
    stalled: Vec<u8>,
    counts: Injected,
}

impl Injector {
    /// A direction without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            faults: Faults::NONE,
            rewrite: None,
            garbage: 0,
            partial: Vec::new(),
            held: None,
            stalled: Vec::new(),
            counts: Injected::default(),
        }
    }

    /// Has these faults from now on.
    pub fn set(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Replaces frames from now on.
    pub fn rewrite(&mut self, rewrite: Rewrite) {
        self.rewrite = Some(rewrite);
    }

    /// Puts in `bytes` more bytes of garbage.
    pub fn add_garbage(&mut self, bytes: u64) {
        self.garbage = self.garbage.saturating_add(bytes);
    }

    /// Garbage still to be put in, bytes.
    #[must_use]
    pub fn garbage_left(&self) -> u64 {
        self.garbage
    }

    /// What was injected so far.
    #[must_use]
    pub fn counts(&self) -> Injected {
        self.counts
    }

    /// Passes bytes on to `out`, faults included.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.faults.stall {
            out.append(&mut self.stalled);
        }
        let mut passed = Vec::new();
        for byte in bytes {
            self.partial.push(*byte);
            if *byte == 0 || self.partial.len() >= NO_FRAME {
                let frame = std::mem::take(&mut self.partial);
                self.frame(frame, &mut passed);
            }
        }
        if self.faults.stall {
            self.stalled.append(&mut passed);
        } else {
            out.append(&mut passed);
        }
    }

    /// Puts at most `most` bytes of the garbage that is due into `out`.
    pub fn pass_garbage(&mut self, most: u64, out: &mut Vec<u8>) {
        if self.faults.stall {
            return;
        }
        let count = self.garbage.min(most);
        self.garbage -= count;
        self.counts.garbage += count;
        out.extend((0..count).map(|_| self.random.byte()));
    }

    /// Forgets what is on its way: one of the ends is gone.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.held = None;
        self.stalled.clear();
    }

    fn frame(&mut self, frame: Vec<u8>, out: &mut Vec<u8>) {
        // Zeros between frames are no frames.
        if frame == [0] {
            out.extend(frame);
            return;
        }
        self.counts.frames += 1;
        let mut frame = frame;
        if let Some(other) = self.rewrite.as_mut().and_then(|rewrite| rewrite.apply(&frame)) {
            self.counts.rewritten += 1;
            frame = other;
        }
        let dead = self.faults.dead_after.is_some_and(|last| self.counts.frames > last);
        if self.random.permille(self.faults.drop_permille) || dead {
            self.counts.dropped += 1;
            return;
        }
        if self.random.permille(self.faults.flip_permille) {
            let bits = u32::try_from(frame.len() * 8).unwrap_or(u32::MAX);
            let bit = self.random.below(bits) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
            self.counts.flipped += 1;
        }
        if self.held.is_none() && self.random.permille(self.faults.reorder_permille) {
            self.counts.reordered += 1;
            self.held = Some(frame);
            return;
        }
        let twice = self.random.permille(self.faults.duplicate_permille);
        out.extend(&frame);
        if twice {
            self.counts.duplicated += 1;
            out.extend(&frame);
        }
        out.extend(self.held.take().into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Injected, Injector};

    fn frames(count: u8) -> Vec<Vec<u8>> {
        (1..=count).map(|n| vec![n, n, n, 0]).collect()
    }

    fn through(injector: &mut Injector, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for frame in frames {
            injector.pass(frame, &mut out);
        }
        out.split_inclusive(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn without_faults_everything_passes_in_any_pieces() {
        let mut injector = Injector::new(1);
        let bytes: Vec<u8> = frames(50).concat();
        let mut out = Vec::new();
        for piece in bytes.chunks(7) {
            injector.pass(piece, &mut out);
        }
        assert_eq!(out, bytes);
        assert_eq!(injector.counts(), Injected { frames: 50, ..Injected::default() });
    }

    #[test]
    fn a_line_dies_after_so_many_frames() {
        let mut injector = Injector::new(3);
        injector.set(Faults { dead_after: Some(7), ..Faults::NONE });
        let sent = frames(20);
        assert_eq!(through(&mut injector, &sent), sent[..7]);
        assert_eq!(injector.counts().dropped, 13);
    }

    #[test]
    fn each_fault_does_what_it_says_and_is_counted() {
        let sent = frames(200);
        let run = |faults| {
            let mut injector = Injector::new(3);
            injector.set(faults);
            (through(&mut injector, &sent), injector.counts())
        };
        let (got, counts) = run(Faults { drop_permille: 300, ..Faults::NONE });
        assert_eq!(got.len() as u64 + counts.dropped, 200);
        assert!((30..90).contains(&counts.dropped), "{counts:?}");
        assert!(got.iter().all(|frame| sent.contains(frame)));

        let (got, counts) = run(Faults { duplicate_permille: 300, ..Faults::NONE });
        assert_eq!(got.len() as u64, 200 + counts.duplicated);
        assert!(counts.duplicated > 30);

        let (got, counts) = run(Faults { reorder_permille: 300, ..Faults::NONE });
        let swapped = got.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
        assert!(counts.reordered > 30);
        assert!((counts.reordered - 1..=counts.reordered).contains(&swapped), "{counts:?}");

        let mut injector = Injector::new(3);
        injector.set(Faults { flip_permille: 1000, ..Faults::NONE });
        let mut out = Vec::new();
        injector.pass(&[0x10, 0x20, 0x30, 0], &mut out);
        let changed: u32 =
            out.iter().zip([0x10, 0x20, 0x30, 0]).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((changed, out.len()), (1, 4));
    }

    #[test]
    fn a_stall_keeps_everything_and_its_order() {
        let mut injector = Injector::new(1);
        injector.set(Faults { stall: true, ..Faults::NONE });
        assert!(through(&mut injector, &frames(3)).is_empty());
        injector.set(Faults::NONE);
        let mut out = Vec::new();
        injector.pass(&[], &mut out);
        assert_eq!(out, frames(3).concat());
    }

    #[test]
    fn garbage_comes_in_the_amount_asked_for() {
        let mut injector = Injector::new(1);
        injector.add_garbage(1000);
        let mut out = Vec::new();
        injector.pass_garbage(300, &mut out);
        injector.pass_garbage(u64::MAX, &mut out);
        assert_eq!(
            (out.len(), injector.garbage_left(), injector.counts().garbage),
            (1000, 0, 1000)
        );
        let values: std::collections::BTreeSet<u8> = out.into_iter().collect();
        assert!(values.len() > 200, "garbage has every kind of byte: {}", values.len());
    }

    #[test]
    fn what_a_gone_end_had_sent_is_forgotten() {
        let mut injector = Injector::new(1);
        let mut out = Vec::new();
        injector.pass(&[1, 2], &mut out);
        injector.clear();
        injector.pass(&[3, 0], &mut out);
        assert_eq!(out, [3, 0]);
    }
}
