//! Interrupts of the board and their handlers.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

use super::{fault, uart};

/// Interrupts in use, by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Interrupt {
    Uart0Receive = 0,
    Uart0Transmit = 1,
    /// Port 0 of general-purpose pins: not used by any image.
    Gpio0 = 6,
}

// SAFETY: the numbers are those of the board, and each number is used once.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

/// One entry of the vector table.
type Handler = extern "C" fn();

extern "C" fn uart0_receive() {
    uart::on_receive();
}

extern "C" fn uart0_transmit() {
    uart::on_transmit();
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

/// Raises an interrupt that has no handler of its own.
pub(super) fn raise_unhandled() {
    // SAFETY: its handler never returns to code that could miss a held-back interrupt.
    unsafe { NVIC::unmask(Interrupt::Gpio0) };
    NVIC::pend(Interrupt::Gpio0);
}

/// Only wakes the core.
#[cortex_m_rt::exception]
fn SysTick() {}
