//! defmt over RTT without a panic path and without waiting.
//!
//! The debug probe reads a ring in RAM. A frame that finds no room is given up whole and counted: a
//! log that nobody reads costs log frames, never time. (The stock logger panics when it is used
//! while it is used, and cuts frames.)

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use critical_section::RestoreState;
use defmt::{Encoder, Logger};

/// Bytes of the ring, one of which stays free.
const RING: u32 = 1024;

/// What the probe looks for in RAM: one ring to the host, none back. Layout of SEGGER RTT.
#[repr(C)]
struct Control {
    /// Ends in zeros; the probe finds it by this.
    id: [u8; 16],
    rings_up: u32,
    rings_down: u32,
    name: *const u8,
    bytes: *mut u8,
    size: u32,
    /// Written by this side only.
    write: AtomicU32,
    /// Written by the probe only.
    read: AtomicU32,
    /// The probe may ask for blocking here; this logger does not.
    flags: AtomicU32,
}

#[repr(transparent)]
struct Ring(UnsafeCell<[u8; RING as usize]>);

// SAFETY: only `State::put` writes the ring, and only while interrupts are held back.
unsafe impl Sync for Ring {}
// SAFETY: the pointers are never followed by this side; the rest is constant or atomic.
unsafe impl Sync for Control {}

static BYTES: Ring = Ring(UnsafeCell::new([0; RING as usize]));

#[unsafe(no_mangle)]
static _SEGGER_RTT: Control = Control {
    id: *b"SEGGER RTT\0\0\0\0\0\0",
    rings_up: 1,
    rings_down: 0,
    name: c"defmt".as_ptr().cast(),
    bytes: BYTES.0.get().cast(),
    size: RING,
    write: AtomicU32::new(0),
    read: AtomicU32::new(0),
    flags: AtomicU32::new(0),
};

#[defmt::global_logger]
struct Rtt;

struct State {
    encoder: Encoder,
    restore: RestoreState,
    /// Frames begun and not ended; more than one when a value logs while it is logged.
    depth: u8,
    /// Where the next byte goes; told to the probe when the frame is whole.
    cursor: u32,
    /// The rest of this frame is given up.
    lost: bool,
}

struct Shared(UnsafeCell<State>);

// SAFETY: only the logger below uses the state, and only between `acquire` and `release`, while
// interrupts are held back on the only core.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    encoder: Encoder::new(),
    restore: RestoreState::invalid(),
    depth: 0,
    cursor: 0,
    lost: false,
}));

/// Log frames given up since the reset.
static LOST: AtomicU32 = AtomicU32::new(0);

/// Log frames given up since the reset, wrapping.
#[must_use]
pub fn lost() -> u32 {
    LOST.load(Ordering::Relaxed)
}

/// Puts bytes behind the cursor, or gives the frame up.
fn put(cursor: &mut u32, lost: &mut bool, bytes: &[u8]) {
    // The probe may write anything here.
    let read = _SEGGER_RTT.read.load(Ordering::Acquire) % RING;
    for byte in bytes {
        let next = cursor.wrapping_add(1) % RING;
        *lost |= next == read;
        if *lost {
            return;
        }
        let place = *cursor % RING;
        // SAFETY: the place is inside of the ring; interrupts are held back, and the probe reads
        // it only after the cursor was told.
        unsafe {
            ptr::write_volatile(BYTES.0.get().cast::<u8>().wrapping_add(place as usize), *byte);
        };
        *cursor = next;
    }
}

// SAFETY: `acquire` holds interrupts back on the only core until the matching `release`, so no
// other context uses the logger between them; a nested use in the same context is counted and
// writes nothing.
unsafe impl Logger for Rtt {
    fn acquire() {
        // SAFETY: released in `release`, which defmt calls once for every `acquire`.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: interrupts are held back; the reference ends with this function.
        let state = unsafe { &mut *STATE.0.get() };
        if state.depth == 0 {
            state.restore = restore;
            state.lost = false;
            state.cursor = _SEGGER_RTT.write.load(Ordering::Relaxed);
            let (cursor, lost) = (&mut state.cursor, &mut state.lost);
            state.encoder.start_frame(|bytes| put(cursor, lost, bytes));
        }
        state.depth = state.depth.saturating_add(1);
    }

    unsafe fn flush() {
        // The probe reads at its own time; nothing is buffered besides the ring.
    }

    unsafe fn release() {
        // SAFETY: between `acquire` and the end of `release` nothing else uses the state.
        let state = unsafe { &mut *STATE.0.get() };
        state.depth = state.depth.saturating_sub(1);
        if state.depth > 0 {
            // The outer frame still holds interrupts back.
            return;
        }
        let (cursor, lost) = (&mut state.cursor, &mut state.lost);
        state.encoder.end_frame(|bytes| put(cursor, lost, bytes));
        if state.lost {
            LOST.store(LOST.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        } else {
            fence(Ordering::SeqCst);
            _SEGGER_RTT.write.store(state.cursor, Ordering::Release);
        }
        let restore = state.restore;
        // SAFETY: the state of the outermost `acquire`.
        unsafe { critical_section::release(restore) };
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: between `acquire` and `release` nothing else uses the state.
        let state = unsafe { &mut *STATE.0.get() };
        if state.depth == 1 {
            let (cursor, lost) = (&mut state.cursor, &mut state.lost);
            state.encoder.write(bytes, |bytes| put(cursor, lost, bytes));
        }
    }
}
