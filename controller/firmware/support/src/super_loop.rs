//! The super-loop around the controller's node.
//!
//! ```text
//! drain the port -> node -> send -> the board's own work -> feed the watchdog -> sleep
//! ```
//!
//! One pass takes in at most [`BYTES_A_PASS`] bytes, so that time is looked at often however much
//! comes, and none while a decision is under way: each pass does a slice of it, and what comes
//! meanwhile waits in the board's queue. The watchdog is fed only at the end of a whole pass.

use core::ops::Range;

use coshift_controller::Node;
use coshift_shared::frame::Frame;
use coshift_shared::time::Instant;

use crate::port::Port;

/// Most bytes taken in before the clock is looked at again: one frame of the largest size.
pub const BYTES_A_PASS: usize = 64;
/// Passes between two measurements of the board.
pub const PASSES_A_MEASUREMENT: u8 = 64;

/// The loop.
#[derive(Debug)]
pub struct SuperLoop<P> {
    port: P,
    /// Bytes read, of which those in `waiting` were not taken in yet.
    buffer: [u8; BYTES_A_PASS],
    waiting: Range<usize>,
    passes: u8,
}

impl<P: Port> SuperLoop<P> {
    /// A loop on this board.
    pub const fn new(port: P) -> Self {
        Self { port, buffer: [0; BYTES_A_PASS], waiting: 0..0, passes: 0 }
    }

    /// Runs for ever.
    pub fn run(mut self, node: &mut Node<'_>) -> ! {
        loop {
            if !self.pass(node) {
                self.port.sleep();
            }
        }
    }

    /// One pass without its sleep; true where bytes were taken in, so that more may wait, or a
    /// decision is under way.
    pub fn pass(&mut self, node: &mut Node<'_>) -> bool {
        if self.waiting.is_empty() && !node.is_deciding() {
            self.waiting = 0..self.port.read(&mut self.buffer).len();
        }
        let mut busy = node.is_deciding();
        while !node.is_deciding()
            && let Some(byte) =
                self.waiting.next().and_then(|place| self.buffer.get(place).copied())
        {
            busy = true;
            self.timed(node, |port, node, local| {
                node.feed(byte, local, &mut |frame| send(port, frame));
            });
        }
        self.timed(node, |port, node, local| node.poll(local, &mut |frame| send(port, frame)));
        self.passes = self.passes.wrapping_add(1);
        if self.passes.is_multiple_of(PASSES_A_MEASUREMENT) {
            let measured = self.port.measure();
            let work = node.controller_mut().work_mut();
            work.stack_high_water = measured.stack_high_water;
            work.queue_high_water = measured.queue_high_water;
            work.queue_overruns = measured.queue_overruns;
        }
        self.port.attend(node.controller().mode(), node.session());
        self.port.feed_watchdog();
        busy || node.is_deciding()
    }

    /// The board.
    pub fn port(&mut self) -> &mut P {
        &mut self.port
    }

    /// Does one step and notes its cost where it is the worst so far.
    fn timed<'p>(
        &mut self,
        node: &mut Node<'p>,
        step: impl FnOnce(&mut P, &mut Node<'p>, Instant),
    ) {
        let before = self.port.ticks();
        let local = Instant::from_us(self.port.now_us());
        step(&mut self.port, node, local);
        let cost = self.port.ticks().wrapping_sub(before);
        let work = node.controller_mut().work_mut();
        work.worst_step_ticks = work.worst_step_ticks.max(cost);
    }
}

fn send<P: Port>(port: &mut P, frame: &Frame) {
    // A frame without room is dropped whole and counted; its peer sees a gap and goes on.
    port.send(frame.bytes());
}
