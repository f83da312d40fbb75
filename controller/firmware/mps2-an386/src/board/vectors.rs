//! Interrupts of the board and their handlers.

use cortex_m::interrupt::InterruptNumber;

use super::{fault, uart};

/// Interrupts in use, by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Interrupt {
    Uart0Receive = 0,
    Uart0Transmit = 1,
}

// SAFETY: the numbers are those of the board's UART0, and each number is used once.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

/// One entry of the vector table.
type Handler = extern "C" fn();

extern "C" fn uart0_receive() {
    uart::receive();
}

extern "C" fn uart0_transmit() {
    uart::transmit();
}

extern "C" fn unexpected() {
    fault::unexpected_interrupt();
}

/// The board's part of the vector table; start-up code of the core places it by its section.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [Handler; 32] = {
    let mut handlers = [unexpected as Handler; 32];
    handlers[Interrupt::Uart0Receive as usize] = uart0_receive;
    handlers[Interrupt::Uart0Transmit as usize] = uart0_transmit;
    handlers
};

/// Only wakes the core.
#[cortex_m_rt::exception]
fn SysTick() {}
