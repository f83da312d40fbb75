//! The independent watchdog, whose term depends on what is waited for.

use coshift_firmware::armv7m::Guarded;
use stm32f4xx_hal::pac::IWDG;
use stm32f4xx_hal::prelude::*;
use stm32f4xx_hal::watchdog::IndependentWatchdog;

/// Time from the last feed to the reset. The watchdog's own oscillator is off by up to half
/// (17 to 47 kHz where 32 kHz are reckoned with).
const LOOP_MS: u32 = 1_000;
/// The same over an erase, in which the core stands still: at most 2 s for 128 KiB, word-wise.
const ERASE_MS: u32 = 4_000;

static WATCHDOG: Guarded<Option<IndependentWatchdog>> = Guarded::new(None);

fn with(use_it: impl FnOnce(&mut IndependentWatchdog)) {
    // SAFETY: the closures of this file come here no second time.
    unsafe {
        WATCHDOG.with(|watchdog| {
            if let Some(watchdog) = watchdog {
                use_it(watchdog);
            }
        });
    }
}

/// Starts it; it cannot be stopped.
pub(super) fn start(registers: IWDG) {
    let mut watchdog = IndependentWatchdog::new(registers);
    watchdog.start(LOOP_MS.millis());
    // SAFETY: the closure does not come here again.
    unsafe { WATCHDOG.with(|place| *place = Some(watchdog)) };
}

/// Grants another term.
pub(super) fn feed() {
    with(IndependentWatchdog::feed);
}

/// Before an erase: a term that outlasts it.
pub(super) fn wait_for_erase() {
    with(|watchdog| watchdog.start(ERASE_MS.millis()));
    // The new term holds from the first feed after the registers took it over, which takes some of
    // the slow oscillator's clocks.
    // SAFETY: a status register, read without effect.
    while unsafe { &*IWDG::PTR }.sr().read().bits() != 0 {}
    feed();
}

/// After an erase: the short term again.
pub(super) fn wait_for_loop() {
    with(|watchdog| watchdog.start(LOOP_MS.millis()));
}
