//! The CMSDK watchdog: a non-maskable interrupt at the first expiry, a reset at the second.

use super::registers::{WATCHDOG_CLEAR, WATCHDOG_CONTROL, WATCHDOG_LOAD, WATCHDOG_LOCK};

/// Time from the last feed to the non-maskable interrupt, s; the reset follows after as much
/// again. Long, because an emulator's clock runs on while its host is busy elsewhere.
pub(super) const TIMEOUT_S: u32 = 3;

const UNLOCK: u32 = 0x1acc_e551;
const INTERRUPT_ENABLE: u32 = 1 << 0;
const RESET_ENABLE: u32 = 1 << 1;

/// The running watchdog. It cannot be stopped.
#[derive(Debug)]
pub struct Watchdog(());

impl Watchdog {
    pub(super) fn start() -> Self {
        WATCHDOG_LOCK.write(UNLOCK);
        WATCHDOG_LOAD.write(TIMEOUT_S * super::CLOCK_HZ);
        WATCHDOG_CONTROL.write(INTERRUPT_ENABLE | RESET_ENABLE);
        WATCHDOG_LOCK.write(0);
        Self(())
    }

    /// Grants another term. To be called after a completed step only.
    ///
    /// Not where interrupts are held back: the loop never calls it so, but one whose return to
    /// them was lost would go round and hear nothing any more.
    pub fn feed(&mut self) {
        if cortex_m::register::primask::read().is_inactive() {
            return;
        }
        WATCHDOG_LOCK.write(UNLOCK);
        WATCHDOG_CLEAR.write(1);
        WATCHDOG_LOCK.write(0);
    }
}
