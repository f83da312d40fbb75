//! The core's own counter as a stopwatch of single steps.

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

/// SysTick counts 24 bits, downwards.
const MASK: u32 = 0x00ff_ffff;

/// A free-running counter of core clock ticks.
#[derive(Debug)]
pub struct StepTimer(());

impl StepTimer {
    /// Starts the counter; `None` at every call but the first. Its interrupt stays off.
    pub fn take() -> Option<Self> {
        let mut core = cortex_m::Peripherals::take()?;
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(MASK);
        core.SYST.clear_current();
        core.SYST.enable_counter();
        Some(Self(()))
    }

    /// What the counter shows.
    #[inline]
    pub fn now(&self) -> u32 {
        SYST::get_current()
    }

    /// Ticks since `before`, less than 2²⁴.
    #[inline]
    pub fn since(&self, before: u32) -> u32 {
        before.wrapping_sub(SYST::get_current()) & MASK
    }
}
