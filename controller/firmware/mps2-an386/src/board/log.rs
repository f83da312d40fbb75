//! The second channel: defmt frames on UART1.
//!
//! Logs never share the port of the protocol. A listener that does not keep up costs log frames,
//! never time: each byte waits a bounded number of reads, then the rest of the frame is given up.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use critical_section::RestoreState;
use defmt::{Encoder, Logger};

use super::registers::UART1;

const STATE_TX_FULL: u32 = 1 << 0;
const CONTROL_TX_ENABLE: u32 = 1 << 0;
/// The smallest divider the UART takes.
const BAUD_DIVIDER: u32 = 16;
/// Reads of the state register before the rest of a frame is given up: at the divider above one
/// byte takes 160 cycles, so this is about ten bytes' time.
const PATIENCE: u32 = 400;

#[defmt::global_logger]
struct SecondChannel;

struct State {
    encoder: Encoder,
    restore: RestoreState,
    /// Frames begun and not ended; more than one when a value logs while it is logged.
    depth: u8,
    /// The rest of this frame is given up.
    lost: bool,
}

struct Shared(UnsafeCell<State>);

// SAFETY: only the logger below uses the state, and only between `acquire` and `release`, while
// interrupts are held back on the only core, or in a fault handler that nothing resumes after.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    encoder: Encoder::new(),
    restore: RestoreState::invalid(),
    depth: 0,
    lost: false,
}));

/// Log frames given up since the reset.
static LOST: AtomicU32 = AtomicU32::new(0);

defmt::timestamp!("{=u32:us}", super::now_us());

pub(super) fn start() {
    UART1.baud_divider.write(BAUD_DIVIDER);
    UART1.control.write(CONTROL_TX_ENABLE);
    // Ends whatever the reset cut short.
    put(&mut false, &[0]);
}

/// Prepares for a last message out of a fault that may have interrupted another one.
#[cfg(feature = "development")]
pub(super) fn abandon() {
    cortex_m::interrupt::disable();
    // SAFETY: interrupts are off and the caller never returns to what it interrupted.
    let state = unsafe { &mut *STATE.0.get() };
    state.depth = 0;
    put(&mut false, &[0]);
}

fn put(lost: &mut bool, bytes: &[u8]) {
    for byte in bytes {
        let mut patience = PATIENCE;
        while !*lost && UART1.state.read() & STATE_TX_FULL != 0 {
            patience = patience.saturating_sub(1);
            *lost = patience == 0;
        }
        if *lost {
            return;
        }
        UART1.data.write(u32::from(*byte));
    }
}

// SAFETY: `acquire` holds interrupts back on the only core until the matching `release`, so no
// other context uses the logger between them; a nested use in the same context is counted and
// writes nothing.
unsafe impl Logger for SecondChannel {
    fn acquire() {
        // SAFETY: released in `release`, which defmt calls once for every `acquire`.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: interrupts are held back; the reference ends with this function.
        let state = unsafe { &mut *STATE.0.get() };
        if state.depth == 0 {
            state.restore = restore;
            state.lost = false;
            let lost = &mut state.lost;
            state.encoder.start_frame(|bytes| put(lost, bytes));
        }
        state.depth = state.depth.saturating_add(1);
    }

    unsafe fn flush() {
        // The UART sends what it was given; nothing is buffered here.
    }

    unsafe fn release() {
        // SAFETY: between `acquire` and the end of `release` nothing else uses the state.
        let state = unsafe { &mut *STATE.0.get() };
        state.depth = state.depth.saturating_sub(1);
        if state.depth > 0 {
            // The outer frame still holds interrupts back.
            return;
        }
        let lost = &mut state.lost;
        state.encoder.end_frame(|bytes| put(lost, bytes));
        if state.lost {
            LOST.store(LOST.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        let restore = state.restore;
        // SAFETY: the state of the outermost `acquire`.
        unsafe { critical_section::release(restore) };
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: between `acquire` and `release` nothing else uses the state.
        let state = unsafe { &mut *STATE.0.get() };
        if state.depth == 1 {
            let lost = &mut state.lost;
            state.encoder.write(bytes, |bytes| put(lost, bytes));
        }
    }
}
