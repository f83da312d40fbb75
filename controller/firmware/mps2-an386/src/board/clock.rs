//! The local clock: CMSDK timer 0, read, never counted in a handler.
//!
//! Interrupts coalesce when the core (or the emulator's host) is busy; a free-running counter
//! loses nothing. Only silence is measured with it: every decision uses the agent's time stamps.

use core::cell::Cell;

use coshift_firmware::armv7m;
use critical_section::Mutex;

use super::registers::{TIMER0_CONTROL, TIMER0_RELOAD, TIMER0_VALUE};
use crate::ticks::TickClock;

/// The counter starts this many ticks (two seconds) before its wrap, so that every run sees it.
const TICKS_TO_WRAP: u32 = 2 * super::CLOCK_HZ;

const ENABLE: u32 = 1;

static CLOCK: Mutex<Cell<TickClock>> = Mutex::new(Cell::new(TickClock::start(0)));

/// Starts the counter and with it the clock.
pub(super) fn start() {
    TIMER0_CONTROL.write(0);
    TIMER0_RELOAD.write(u32::MAX);
    TIMER0_VALUE.write(TICKS_TO_WRAP);
    TIMER0_CONTROL.write(ENABLE);
    critical_section::with(|cs| CLOCK.borrow(cs).set(TickClock::start(ticks())));
}

/// Local time, wrapping µs. To be read at least every 171 s, which the loop's wake-ups see to.
pub fn now_us() -> u32 {
    critical_section::with(|cs| {
        let cell = CLOCK.borrow(cs);
        let mut clock = cell.get();
        let us = clock.advance(ticks());
        cell.set(clock);
        us
    })
}

/// The counter, as an up-counter of 40 ns ticks.
pub fn ticks() -> u32 {
    !TIMER0_VALUE.read()
}

/// Bits that differ from boot to boot where the time between two readings of the counter does.
pub(super) fn jitter() -> u32 {
    (0..64).fold(0, |mixed: u32, _| armv7m::mix(mixed, ticks()))
}
