//! Clocks: 96 MHz from the 8 MHz that the ST-LINK provides, and the free-running microseconds.

use coshift_shared::time::Instant;
use stm32f4xx_hal::pac::{RCC, TIM2};
use stm32f4xx_hal::prelude::*;
use stm32f4xx_hal::rcc::{Config, Enable, Rcc};

/// Clock of the core, Hz.
pub(super) const CORE_HZ: u32 = 96_000_000;

/// Starts the clocks: core and APB2 96 MHz, APB1 48 MHz, its timers 96 MHz.
pub(super) fn start(rcc: RCC) -> Rcc {
    let config = Config::hse(8.MHz()).bypass_hse_oscillator();
    rcc.freeze(config.sysclk(CORE_HZ.Hz()).pclk1((CORE_HZ / 2).Hz()))
}

/// Starts timer 2 as a 32-bit count of microseconds, at [`Instant::START`].
///
/// The registers are written directly: the HAL's counters wrap one count early.
pub(super) fn microseconds(timer: TIM2, rcc: &mut Rcc) -> TIM2 {
    TIM2::enable(rcc);
    timer.psc().write(|w| w.psc().set((CORE_HZ / 1_000_000 - 1) as u16));
    timer.arr().write(|w| w.set(u32::MAX));
    // Takes the prescaler over.
    timer.egr().write(|w| w.ug().set_bit());
    timer.cnt().write(|w| w.set(Instant::START.us()));
    timer.cr1().write(|w| w.cen().set_bit());
    timer
}
