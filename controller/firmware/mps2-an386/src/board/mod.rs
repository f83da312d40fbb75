//! The board: registers, interrupts, memory protection. Every `unsafe` of the package is here.

mod clock;
mod fault;
mod guard;
mod guarded;
mod led;
mod log;
mod registers;
mod retained;
#[cfg(feature = "development")]
mod semihosting;
mod stack;
mod step_timer;
mod uart;
mod vectors;
mod watchdog;
mod window;

use cortex_m::peripheral::syst::SystClkSource;

pub use clock::{now_us, ticks};
pub use led::Led;
#[cfg(feature = "development")]
pub use semihosting::{EXIT_HARD_FAULT, EXIT_PANIC, EXIT_STACK_OVERFLOW, exit};
pub use stack::{CAPACITY as STACK_CAPACITY, high_water as stack_high_water};
pub use step_timer::StepTimer;
pub use uart::{Counters, Uart};
pub use watchdog::Watchdog;
pub use window::Window;

use crate::indicator::Indicator;
use crate::record::BootReport;

/// Core and peripheral clock, Hz.
pub const CLOCK_HZ: u32 = 25_000_000;

/// The core wakes up at least this often, µs.
///
/// It bounds how late the loop notices time passing; bytes wake it at once.
pub const WAKE_UP_US: u32 = 10_000;

const WAKE_UP_TICKS: u32 = WAKE_UP_US * (CLOCK_HZ / 1_000_000);
const _: () = assert!(WAKE_UP_TICKS <= 0x00ff_ffff, "SysTick counts 24 bits");

/// The board, brought up.
#[derive(Debug)]
pub struct Board {
    /// Port of the protocol.
    pub uart: Uart,
    /// Shows the controller's mode on the user LEDs.
    pub indicator: Indicator<Led, Led>,
    /// Resets the board unless it is fed.
    pub watchdog: Watchdog,
    /// Why the last reset happened.
    pub boot: BootReport,
    /// Differs at each boot.
    ///
    /// From what RAM held at power-on, the count of boots since, and how the counter jitters. On
    /// the emulator only the last two do; with instruction-counted time it is the same each run.
    pub nonce: u32,
}

impl Board {
    /// Brings the board up: stack guard first, then what was kept over the reset, clock, second
    /// channel, port and watchdog. `None` at every call but the first.
    pub fn take() -> Option<Self> {
        let mut core = cortex_m::Peripherals::take()?;
        guard::enable(&mut core.MPU, &mut core.SCB);
        let seed = retained::raw();
        let boot = retained::boot();
        clock::start();
        let nonce = seed
            .iter()
            .chain(&[boot.boots])
            .fold(clock::jitter(), |mixed, word| clock::mix(mixed, *word));
        log::start();
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(WAKE_UP_TICKS - 1);
        core.SYST.clear_current();
        core.SYST.enable_interrupt();
        core.SYST.enable_counter();
        let uart = Uart::start();
        let indicator = Indicator::new(Led::USER0, Led::USER1);
        Some(Self { uart, indicator, watchdog: Watchdog::start(), boot, nonce })
    }

    /// Sleeps until the next interrupt, unless a received byte is waiting already.
    pub fn sleep(&self) {
        // With interrupts held back a byte that comes between the check and `wfi` still ends the
        // sleep: a pending interrupt wakes the core whether or not it may be served.
        cortex_m::interrupt::free(|_| {
            if self.uart.is_idle() {
                cortex_m::asm::wfi();
            }
        });
    }
}

/// Raises an interrupt that the image does not use, for tests.
pub fn raise_unhandled_interrupt() {
    vectors::raise_unhandled();
}

/// Resets the board.
pub fn reset() -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
