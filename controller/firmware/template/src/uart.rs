//! PORT: the port of the protocol: here USART1 of an STM32F4, fed by its interrupt.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use coshift_firmware::armv7m::Guarded;
use coshift_firmware::serial::{Received, ToSend};

use crate::board::{CORE_MHZ, read, write};

/// Status, data, baud rate, control.
const STATUS: *mut u32 = 0x4001_1000 as *mut u32;
const DATA: *mut u32 = 0x4001_1004 as *mut u32;
const BAUD_RATE: *mut u32 = 0x4001_1008 as *mut u32;
const CONTROL: *mut u32 = 0x4001_100c as *mut u32;
/// Gates of the port's clock, on APB2.
const APB2_ENABLE: *mut u32 = 0x4002_3844 as *mut u32;
const USART_1: u32 = 1 << 4;

const ERRORS: u32 = 0b1111;
const RECEIVED: u32 = 1 << 5;
const SENT: u32 = 1 << 6;
const ROOM_TO_SEND: u32 = 1 << 7;
/// Port, transmitter and receiver on, interrupt on received bytes.
const RUNNING: u32 = 1 << 13 | 1 << 3 | 1 << 2 | 1 << 5;
const ROOM_INTERRUPT: u32 = 1 << 7;

/// What the agent takes where it is told nothing else.
const BAUD: u32 = 1_000_000;
/// PORT: on an STM32F4 the port's clock is half of the core's.
const DIVIDER: u32 = CORE_MHZ * 1_000_000 / 2 / BAUD;

/// Bytes of each queue, one of which stays free: sixteen frames of the largest size.
const QUEUE: usize = 1024;

static QUEUES: Guarded<Queues> =
    Guarded::new(Queues { received: Received::new(), to_send: ToSend::new() });

struct Queues {
    received: Received<QUEUE>,
    to_send: ToSend<QUEUE>,
}

/// Uses the queues with interrupts held back.
fn with<R>(use_them: impl FnOnce(&mut Queues) -> R) -> R {
    // SAFETY: the closures of this file come here no second time.
    unsafe { QUEUES.with(use_them) }
}

/// The port.
pub(crate) struct Uart(());

impl Uart {
    /// Starts the port.
    pub(crate) fn start() -> Self {
        // PORT: the pins too, on a real chip.
        write(APB2_ENABLE, read(APB2_ENABLE) | USART_1);
        write(BAUD_RATE, DIVIDER);
        write(CONTROL, RUNNING);
        // SAFETY: the handler shares only what is `Guarded`, so that enabling it breaks no critical
        // section.
        unsafe { NVIC::unmask(Interrupt::Usart1) };
        Self(())
    }

    /// Moves received bytes into `buffer` and gives how many.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        with(|queues| queues.received.take(buffer))
    }

    /// Queues a frame, whole or not at all.
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        with(|queues| {
            let queued = queues.to_send.put(frame);
            // The first byte goes out here, the others as the transmitter gets room.
            transmit(queues);
            queued
        })
    }

    /// Everything queued is on the wire.
    pub(crate) fn is_sent(&self) -> bool {
        with(|queues| queues.to_send.is_empty()) && read(STATUS) & SENT != 0
    }

    /// No received byte waits.
    pub(crate) fn is_idle(&self) -> bool {
        with(|queues| queues.received.is_empty())
    }

    /// Most bytes that ever waited, and bytes lost.
    pub(crate) fn received(&self) -> (u16, u16) {
        with(|queues| (queues.received.high_water(), queues.received.lost()))
    }
}

/// Takes in what came and sends what fits.
fn serve(queues: &mut Queues) {
    loop {
        let status = read(STATUS);
        if status & (RECEIVED | ERRORS) == 0 {
            break;
        }
        // Reading the data after the status clears both.
        let [byte, ..] = read(DATA).to_le_bytes();
        if status & ERRORS == 0 {
            queues.received.put(byte);
        } else {
            queues.received.lose();
        }
    }
    transmit(queues);
}

/// Sends what fits, and asks for an interrupt where more waits.
fn transmit(queues: &mut Queues) {
    while read(STATUS) & ROOM_TO_SEND != 0 {
        let Some(byte) = queues.to_send.next() else { break };
        write(DATA, u32::from(byte));
    }
    // With nothing to send a transmitter with room would raise the interrupt for ever.
    write(CONTROL, if queues.to_send.is_empty() { RUNNING } else { RUNNING | ROOM_INTERRUPT });
}

/// PORT: the interrupts in use, by their number.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Interrupt {
    Usart1 = 37,
}

// SAFETY: the number is that of the microcontroller, and used once.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

unsafe extern "C" {
    /// Of `armv7m`: notes a fault and resets.
    fn DefaultHandler();
}

extern "C" fn usart1() {
    with(serve);
}

extern "C" fn unexpected() {
    // SAFETY: a handler without arguments, called from one.
    unsafe { DefaultHandler() }
}

/// PORT: the microcontroller's part of the vector table: as many entries as it has interrupts.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [extern "C" fn(); 82] = {
    let mut handlers = [unexpected as extern "C" fn(); 82];
    handlers[Interrupt::Usart1 as usize] = usart1;
    handlers
};
