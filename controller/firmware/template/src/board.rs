//! The board: what the loop needs of it. All `unsafe` of the package is here and in `uart`.

use core::convert::Infallible;
use core::ptr;

use coshift_firmware::armv7m::{self, SysTickClock, guard, retained, stack};
use coshift_firmware::light::Light;
use coshift_firmware::port::{Measured, Port};
use coshift_firmware::record::{Activity, BootReport};
use coshift_shared::to_host::Mode;
use embedded_hal::digital::{ErrorType, OutputPin};

use crate::uart::Uart;

/// PORT: the core's clock, MHz. The emulator's runs at 168; a real STM32F405 runs at 16 until its
/// PLL is started, which belongs at the start of [`Board::take`].
pub(crate) const CORE_MHZ: u32 = 168;

/// PORT: the watchdog. STM32's independent one: key, prescaler, reload.
const WATCHDOG: *mut u32 = 0x4000_3000 as *mut u32;
const WATCHDOG_START: u32 = 0xcccc;
const WATCHDOG_FEED: u32 = 0xaaaa;
const WATCHDOG_UNLOCK: u32 = 0x5555;
/// 32 kHz / 64 / 500: one second.
const WATCHDOG_PRESCALER: u32 = 0b100;
const WATCHDOG_RELOAD: u32 = 500;

/// PORT: clock gates of the ports used: GPIOA on AHB1.
const AHB1_ENABLE: *mut u32 = 0x4002_3830 as *mut u32;
const GPIO_A: u32 = 1 << 0;

/// PORT: the status light: PA10, lit when high.
const LIGHT_MODE: *mut u32 = 0x4002_0000 as *mut u32;
const LIGHT_SET_RESET: *mut u32 = 0x4002_0018 as *mut u32;
const LIGHT_PIN: u32 = 10;

/// Writes a register of the board.
pub(crate) fn write(register: *mut u32, value: u32) {
    // SAFETY: this package passes registers of the microcontroller only, none of which touches
    // memory.
    unsafe { ptr::write_volatile(register, value) }
}

/// Reads a register of the board.
pub(crate) fn read(register: *const u32) -> u32 {
    // SAFETY: as above; reading has no effect but those its user wants.
    unsafe { ptr::read_volatile(register) }
}

/// The board, brought up.
pub(crate) struct Board {
    uart: Uart,
    clock: SysTickClock<CORE_MHZ>,
    light: Light<Pin>,
}

impl Board {
    /// Brings the board up. Gives it with the account of the last reset and a number that differs
    /// at each boot; `None` at every call but the first.
    pub(crate) fn take() -> Option<(Self, BootReport, u32)> {
        let mut core = cortex_m::Peripherals::take()?;
        guard::enable(&mut core.MPU, &mut core.SCB);
        let seed = retained::raw();
        // PORT: hand over the cause of the reset, where the microcontroller has a register for it.
        let boot = retained::boot(None);
        write(WATCHDOG, WATCHDOG_UNLOCK);
        write(WATCHDOG.wrapping_add(1), WATCHDOG_PRESCALER);
        write(WATCHDOG.wrapping_add(2), WATCHDOG_RELOAD);
        write(WATCHDOG, WATCHDOG_START);
        write(AHB1_ENABLE, read(AHB1_ENABLE) | GPIO_A);
        let clock = SysTickClock::start(&mut core.SYST);
        let uart = Uart::start();
        // PORT: mix in what differs from boot to boot: an id, a random number, an ADC's noise.
        let times = [boot.boots, clock.now_us()];
        let nonce = seed.iter().chain(&times).fold(0, |hash, word| armv7m::mix(hash, *word));
        retained::at(Activity::Loop);
        Some((Self { uart, clock, light: Light::new(Pin::start()) }, boot, nonce))
    }
}

impl Port for Board {
    fn now_us(&mut self) -> u32 {
        self.clock.now_us()
    }

    fn ticks(&mut self) -> u32 {
        // PORT: a finer counter, such as the cycle counter, tells more of what a step costs.
        self.clock.now_us()
    }

    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        let count = self.uart.read(buffer);
        buffer.get(..count).unwrap_or_default()
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.uart.send(frame)
    }

    fn is_sent(&mut self) -> bool {
        self.uart.is_sent()
    }

    fn attend(&mut self, mode: Mode, _: u16) {
        let now = self.clock.now_us();
        let Ok(()) = self.light.show(mode, false, now);
    }

    fn measure(&mut self) -> Measured {
        let (queue_high_water, queue_overruns) = self.uart.received();
        Measured { stack_high_water: stack::high_water(), queue_high_water, queue_overruns }
    }

    fn feed_watchdog(&mut self) {
        write(WATCHDOG, WATCHDOG_FEED);
    }

    fn sleep(&mut self) {
        armv7m::sleep_unless(|| self.uart.is_idle());
    }
}

/// The pin of the status light.
struct Pin(());

impl Pin {
    fn start() -> Self {
        let field = LIGHT_PIN * 2;
        write(LIGHT_MODE, read(LIGHT_MODE) & !(0b11 << field) | 0b01 << field);
        Self(())
    }
}

impl ErrorType for Pin {
    type Error = Infallible;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        write(LIGHT_SET_RESET, 1 << (LIGHT_PIN + 16));
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        write(LIGHT_SET_RESET, 1 << LIGHT_PIN);
        Ok(())
    }
}
