//! The line between agent and microcontroller: both directions with their faults, read along.

use crate::faults::{Faults, Injected, Injector};
use crate::rewrite::Rewrite;
use crate::wire::{Direction, Seen, Stage, Tap};

/// The line.
#[derive(Debug)]
pub struct Line {
    to_mcu: Way,
    from_mcu: Way,
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Way {
    injector: Injector,
    sent: Tap,
    delivered: Tap,
}

impl Way {
    fn new(direction: Direction, seed: u64) -> Self {
        Self {
            injector: Injector::new(seed),
            sent: Tap::new(direction, Stage::Sent),
            delivered: Tap::new(direction, Stage::Delivered),
        }
    }
}

impl Line {
    /// A line without faults; chance comes from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            to_mcu: Way::new(Direction::ToMcu, seed.wrapping_mul(2)),
            from_mcu: Way::new(Direction::FromMcu, seed.wrapping_mul(2).wrapping_add(1)),
            seen: Vec::new(),
        }
    }

    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::ToMcu => &self.to_mcu,
            Direction::FromMcu => &self.from_mcu,
        }
    }

    fn way_mut(&mut self, direction: Direction) -> (&mut Way, &mut Vec<Seen>) {
        let way = match direction {
            Direction::ToMcu => &mut self.to_mcu,
            Direction::FromMcu => &mut self.from_mcu,
        };
        (way, &mut self.seen)
    }

    /// Bytes that were sent; appends what arrives of them to `out`.
    pub fn pass(&mut self, direction: Direction, bytes: &[u8], out: &mut Vec<u8>) {
        let (way, seen) = self.way_mut(direction);
        way.sent.read(bytes, seen);
        let from = out.len();
        way.injector.pass(bytes, out);
        way.delivered.read(&out[from..], seen);
    }

    /// Appends at most `most` bytes of the garbage that is due to `out`.
    pub fn pass_garbage(&mut self, direction: Direction, most: u64, out: &mut Vec<u8>) {
        let (way, seen) = self.way_mut(direction);
        let from = out.len();
        way.injector.pass_garbage(most, out);
        way.delivered.read(&out[from..], seen);
    }

    /// Forgets what is on its way: the microcontroller is gone.
    pub fn cut(&mut self) {
        for direction in Direction::BOTH {
            let (way, _) = self.way_mut(direction);
            way.injector.clear();
            way.delivered.restart();
        }
        // The agent's end goes on in the middle of whatever it sends.
        self.from_mcu.sent.restart();
    }

    /// Has these faults from now on.
    pub fn set(&mut self, direction: Direction, faults: Faults) {
        self.way_mut(direction).0.injector.set(faults);
    }

    /// Replaces frames from now on.
    pub fn rewrite(&mut self, direction: Direction, rewrite: Rewrite) {
        self.way_mut(direction).0.injector.rewrite(rewrite);
    }

    /// Puts in `bytes` more bytes of garbage.
    pub fn add_garbage(&mut self, direction: Direction, bytes: u64) {
        self.way_mut(direction).0.injector.add_garbage(bytes);
    }

    /// Garbage still to be put in, bytes.
    #[must_use]
    pub fn garbage_left(&self, direction: Direction) -> u64 {
        self.way(direction).injector.garbage_left()
    }

    /// What was injected so far.
    #[must_use]
    pub fn injected(&self, direction: Direction) -> Injected {
        self.way(direction).injector.counts()
    }

    /// Every frame read along, in the order in which the line carried them.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }
}
