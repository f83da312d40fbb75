//! Time from the core's own timer, for boards without a better counter; it also wakes the core.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use coshift_shared::time::Instant;

/// Milliseconds since the start, wrapping.
static MILLISECONDS: AtomicU32 = AtomicU32::new(0);

/// SysTick at a core clock of `MHZ`: an interrupt every millisecond, which is what time is counted
/// in. Where interrupts are held back for more than that, it runs late.
#[derive(Debug)]
pub struct SysTickClock<const MHZ: u32>(());

impl<const MHZ: u32> SysTickClock<MHZ> {
    const CYCLES: u32 = {
        assert!(MHZ > 0 && MHZ < 16_777, "SysTick counts 24 bits");
        MHZ * 1_000
    };
    const RELOAD: u32 = Self::CYCLES - 1;

    /// Starts the timer; the clock shows [`Instant::START`].
    pub fn start(syst: &mut SYST) -> Self {
        syst.set_clock_source(SystClkSource::Core);
        syst.set_reload(Self::RELOAD);
        syst.clear_current();
        syst.enable_interrupt();
        syst.enable_counter();
        Self(())
    }

    /// Local time, wrapping µs. Not for handlers, in which the interrupt may wait.
    #[must_use]
    pub fn now_us(&self) -> u32 {
        loop {
            let before = MILLISECONDS.load(Ordering::Acquire);
            let left = SYST::get_current();
            if before == MILLISECONDS.load(Ordering::Acquire) {
                let part = Self::CYCLES.saturating_sub(left).checked_div(MHZ).unwrap_or(0);
                return Instant::START
                    .us()
                    .wrapping_add(before.wrapping_mul(1_000))
                    .wrapping_add(part.min(999));
            }
        }
    }
}

#[cortex_m_rt::exception]
fn SysTick() {
    // One core and one writer: no read-modify-write instruction is needed.
    let next = MILLISECONDS.load(Ordering::Relaxed).wrapping_add(1);
    MILLISECONDS.store(next, Ordering::Release);
}
