//! What the loop needs from a board.

use coshift_shared::to_host::Mode;

/// A board, as the super-loop sees it.
///
/// None of these may wait: the loop feeds the watchdog once a pass.
pub trait Port {
    /// Local time, wrapping µs, from a free-running counter. Started at
    /// [`coshift_shared::time::Instant::START`], shortly before its wrap, so that every run sees
    /// the wrap.
    fn now_us(&mut self) -> u32;

    /// A free-running counter, wrapping, as fine as the board has: what a step costs is told in it.
    fn ticks(&mut self) -> u32;

    /// Moves received bytes into `buffer` and gives the part of it that was filled: empty when none
    /// wait.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8];

    /// Queues a frame to be sent, whole or not at all; false: there was no room, which the board
    /// counts.
    fn send(&mut self, frame: &[u8]) -> bool;

    /// Everything queued is sent, to the last bit.
    fn is_sent(&mut self) -> bool;

    /// The board's own work, once a pass: lights, sensors, logs. At most a few hundred µs.
    fn attend(&mut self, mode: Mode, session: u16);

    /// What only the board can measure; asked for every [`crate::super_loop::PASSES_A_MEASUREMENT`]
    /// passes, as finding the stack's mark takes some thousand instructions.
    fn measure(&mut self) -> Measured;

    /// Grants the watchdog another term.
    fn feed_watchdog(&mut self);

    /// Sleeps until the next interrupt, unless a received byte waits already. To be woken at least
    /// every 10 ms.
    fn sleep(&mut self);
}

/// What only the board can measure, since the last reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    /// Most bytes of stack ever used; 0 = unknown.
    pub stack_high_water: u16,
    /// Most bytes that ever waited in the receive queue.
    pub queue_high_water: u16,
    /// Received bytes that were lost, in the queue or in the hardware before it.
    pub queue_overruns: u16,
}
