//! The board: registers, interrupts, memory protection. Every `unsafe` of the package is here.

mod clock;
mod fault;
mod led;
mod log;
mod registers;
#[cfg(feature = "development")]
mod semihosting;
mod slots;
mod step_timer;
mod uart;
mod vectors;
mod watchdog;
mod window;

use cortex_m::peripheral::syst::SystClkSource;
use coshift_firmware::armv7m::{self, guard, retained, stack};
use coshift_firmware::port::{Measured, Port};
use coshift_firmware::record::{Activity, BootReport};
use coshift_shared::to_host::Mode;

pub use armv7m::reset;
pub use clock::{now_us, ticks};
pub use led::Led;
#[cfg(feature = "development")]
pub use semihosting::{EXIT_HARD_FAULT, EXIT_PANIC, EXIT_STACK_OVERFLOW, exit};
pub use slots::{RamSlot, open as open_slots};
pub use step_timer::StepTimer;
pub use uart::{Counters, Uart};
pub use watchdog::Watchdog;
pub use window::Window;

use crate::indicator::Indicator;

/// Core and peripheral clock, Hz.
pub const CLOCK_HZ: u32 = 25_000_000;

/// The core wakes up at least this often, µs.
///
/// It bounds how late the loop notices time passing; bytes wake it at once.
pub const WAKE_UP_US: u32 = 10_000;

/// Bytes of stack an image may use: of the 8 KiB of `memory.x` what lies above the guard.
pub const STACK_CAPACITY: u32 = 8 * 1024 - (guard::OFFSET + guard::SIZE) as u32;

const WAKE_UP_TICKS: u32 = WAKE_UP_US * (CLOCK_HZ / 1_000_000);
const _: () = assert!(WAKE_UP_TICKS <= 0x00ff_ffff, "SysTick counts 24 bits");

/// The board, brought up.
#[derive(Debug)]
pub struct Board {
    /// Port of the protocol.
    pub uart: Uart,
    /// Shows the controller's mode on the user LEDs.
    pub indicator: Indicator<Led, Led>,
    /// Slots of the policy store, until somebody takes them.
    pub slots: Option<[RamSlot; 2]>,
    /// Resets the board unless it is fed.
    pub watchdog: Watchdog,
    /// Why the last reset happened.
    pub boot: BootReport,
    /// Differs at each boot.
    ///
    /// From what RAM held at power-on, the count of boots since, and how the counter jitters. On
    /// the emulator only the last two do; with instruction-counted time it is the same each run.
    pub nonce: u32,
    /// The mode shown.
    mode: Mode,
}

impl Board {
    /// Brings the board up: stack guard first, then what was kept over the reset, clock, second
    /// channel, port and watchdog. `None` at every call but the first.
    pub fn take() -> Option<Self> {
        let mut core = cortex_m::Peripherals::take()?;
        guard::enable(&mut core.MPU, &mut core.SCB);
        let seed = retained::raw();
        // The board has no register for the cause of a reset.
        let boot = retained::boot(None);
        clock::start();
        let nonce = seed
            .iter()
            .chain(&[boot.boots])
            .fold(clock::jitter(), |mixed, word| armv7m::mix(mixed, *word));
        log::start();
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(WAKE_UP_TICKS - 1);
        core.SYST.clear_current();
        core.SYST.enable_interrupt();
        core.SYST.enable_counter();
        let uart = Uart::start();
        let indicator = Indicator::new(Led::USER0, Led::USER1);
        let slots = Some(slots::take());
        let watchdog = Watchdog::start();
        retained::at(Activity::Loop);
        Some(Self { uart, indicator, slots, watchdog, boot, nonce, mode: Mode::Boot })
    }
}

impl Port for Board {
    fn now_us(&mut self) -> u32 {
        now_us()
    }

    fn ticks(&mut self) -> u32 {
        ticks()
    }

    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        self.uart.read(buffer)
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.uart.send(frame)
    }

    fn is_sent(&mut self) -> bool {
        self.uart.is_sent()
    }

    fn attend(&mut self, mode: Mode, session: u16) {
        if mode != self.mode {
            self.mode = mode;
            let Ok(()) = self.indicator.show(mode);
            defmt::info!("mode {=str}, session {=u16}", name(mode), session);
        }
    }

    fn measure(&mut self) -> Measured {
        let counters = self.uart.counters();
        Measured {
            stack_high_water: stack::high_water(),
            queue_high_water: counters.receive_high_water,
            queue_overruns: u16::try_from(counters.overruns).unwrap_or(u16::MAX),
        }
    }

    fn feed_watchdog(&mut self) {
        self.watchdog.feed();
    }

    fn sleep(&mut self) {
        armv7m::sleep_unless(|| self.uart.is_idle());
    }
}

/// Most bytes of stack that were ever in use since the last reset.
#[must_use]
pub fn stack_high_water() -> u32 {
    u32::from(stack::high_water())
}

/// Raises an interrupt that the image does not use, for tests.
pub fn raise_unhandled_interrupt() {
    vectors::raise_unhandled();
}

/// Resets the board on purpose, and not after a fault: the next boot says so.
pub fn restart() -> ! {
    retained::note_restart();
    reset()
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Unused => "?",
        Mode::Boot => "boot",
        Mode::AwaitPolicy => "await policy",
        Mode::Run => "run",
        Mode::Hold => "hold",
        Mode::Safe => "safe",
    }
}
