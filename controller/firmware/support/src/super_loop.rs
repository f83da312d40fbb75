//! The super-loop around the controller's node.
//!
//! ```text
//! drain the port -> node -> send -> the board's own work -> feed the watchdog -> sleep
//! ```
//!
//! One pass takes in at most [`BYTES_A_PASS`] bytes, so that time is looked at often however much
//! comes, and none while a decision is under way: each pass does a slice of it, and what comes
//! meanwhile waits in the board's queue. The watchdog is fed only at the end of a whole pass,
//! and only while telemetry is answered with decisions.

use core::ops::Range;

use coshift_controller::Node;
use coshift_controller::store::{PolicyStore, Switch};
use coshift_shared::frame::Frame;
use coshift_shared::time::Instant;

use crate::port::Port;

/// Most bytes taken in before the clock is looked at again: one frame of the largest size.
pub const BYTES_A_PASS: usize = 64;
/// Passes between two measurements of the board.
pub const PASSES_A_MEASUREMENT: u8 = 64;
/// Longest wait for the last frames before a switch, µs: a queue of 1 KiB takes 90 ms at 115,200
/// baud.
pub const FAREWELL_US: u32 = 200_000;

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

    /// Runs until the policy store wants a switch and everything is sent, or [`FAREWELL_US`] is over:
    /// a port that nobody empties does not keep the board from restarting. On a board without a
    /// store ([`coshift_controller::store::NoStore`]), for ever. The board does the switch and
    /// restarts.
    pub fn run<S: PolicyStore>(&mut self, node: &mut Node<'_, S>) -> Switch {
        let mut farewell = None;
        loop {
            let busy = self.pass(node);
            if let Some(switch) = node.switch() {
                let now = self.port.now_us();
                let since = *farewell.get_or_insert(now);
                if self.port.is_sent() || now.wrapping_sub(since) >= FAREWELL_US {
                    return switch;
                }
            }
            // Work of the store is due whenever there is time.
            if !busy && !node.is_busy() {
                self.port.sleep();
            }
        }
    }

    /// One pass without its sleep; true where bytes were taken in, so that more may wait, or a
    /// decision is under way.
    pub fn pass<S: PolicyStore>(&mut self, node: &mut Node<'_, S>) -> bool {
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
        // A core that goes round but decides nothing is no better than one that hangs.
        if node.is_answering() {
            self.port.feed_watchdog();
        }
        busy || node.is_deciding()
    }

    /// The board.
    pub fn port(&mut self) -> &mut P {
        &mut self.port
    }

    /// Does one step and notes its cost where it is the worst so far.
    fn timed<'p, S: PolicyStore>(
        &mut self,
        node: &mut Node<'p, S>,
        step: impl FnOnce(&mut P, &mut Node<'p, S>, Instant),
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
