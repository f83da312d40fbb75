//! Memory-mapped registers of the board.

use core::ptr;

/// A 32-bit register at a fixed address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Register(usize);

impl Register {
    pub(super) fn read(self) -> u32 {
        // SAFETY: the constants below are the only registers; each address is a 32-bit aligned
        // device register of this board, readable at any time.
        unsafe { ptr::read_volatile(self.0 as *const u32) }
    }

    pub(super) fn write(self, value: u32) {
        // SAFETY: as in `read`; no register below makes the hardware write to memory, so no
        // value written to it can break a Rust reference.
        unsafe { ptr::write_volatile(self.0 as *mut u32, value) }
    }
}

/// CMSDK APB UART.
#[derive(Debug, Clone, Copy)]
pub(super) struct UartRegisters {
    pub(super) data: Register,
    pub(super) state: Register,
    pub(super) control: Register,
    /// Reading gives the pending interrupts, writing ones clears them.
    pub(super) interrupts: Register,
    pub(super) baud_divider: Register,
}

impl UartRegisters {
    const fn at(base: usize) -> Self {
        Self {
            data: Register(base),
            state: Register(base + 0x4),
            control: Register(base + 0x8),
            interrupts: Register(base + 0xc),
            baud_divider: Register(base + 0x10),
        }
    }
}

/// Port of the protocol.
pub(super) const UART0: UartRegisters = UartRegisters::at(0x4000_4000);
/// Second channel: logs.
pub(super) const UART1: UartRegisters = UartRegisters::at(0x4000_5000);

/// CMSDK APB timer 0: control, current value, reload value.
pub(super) const TIMER0_CONTROL: Register = Register(0x4000_0000);
pub(super) const TIMER0_VALUE: Register = Register(0x4000_0004);
pub(super) const TIMER0_RELOAD: Register = Register(0x4000_0008);

/// CMSDK APB watchdog.
pub(super) const WATCHDOG_LOAD: Register = Register(0x4000_8000);
pub(super) const WATCHDOG_CONTROL: Register = Register(0x4000_8008);
pub(super) const WATCHDOG_CLEAR: Register = Register(0x4000_800c);
pub(super) const WATCHDOG_LOCK: Register = Register(0x4000_8c00);

/// User LEDs of the FPGA I/O block, a bit each.
pub(super) const LEDS: Register = Register(0x4002_8000);

/// Hard fault status of the core.
pub(super) const HFSR: Register = Register(0xe000_ed2c);
