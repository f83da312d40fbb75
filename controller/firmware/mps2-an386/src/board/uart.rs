//! UART0, the port of the protocol: both directions fed by interrupts through queues.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cortex_m::peripheral::NVIC;
use heapless::spsc::{Consumer, Producer, Queue};

use super::handed::Handed;
use super::registers::UART0;
use super::vectors::Interrupt;

/// Bytes that wait to be read: sixteen frames of the largest size.
const RECEIVE_CAPACITY: usize = 1023;
/// Bytes that wait to be sent: sixteen frames.
const SEND_CAPACITY: usize = 1023;

const STATE_TX_FULL: u32 = 1 << 0;
const STATE_RX_FULL: u32 = 1 << 1;
const STATE_RX_OVERRUN: u32 = 1 << 3;
const TX_ENABLE: u32 = 1 << 0;
const RX_ENABLE: u32 = 1 << 1;
const TX_INTERRUPT_ENABLE: u32 = 1 << 2;
const RX_INTERRUPT_ENABLE: u32 = 1 << 3;
const RUNNING: u32 = TX_ENABLE | RX_ENABLE | TX_INTERRUPT_ENABLE;
const TX_INTERRUPT: u32 = 1 << 0;
const RX_INTERRUPT: u32 = 1 << 1;
/// 25 MHz / 217 = 115,207 baud. The emulator carries bytes at its own pace.
const BAUD_DIVIDER: u32 = 217;

static RECEIVER: Handed<Producer<'static, u8>> = Handed::empty();
static SENDER: Handed<Consumer<'static, u8>> = Handed::empty();

/// The receive queue was full: its interrupt is off until it is empty.
static STALLED: AtomicBool = AtomicBool::new(false);
static OVERRUNS: AtomicU32 = AtomicU32::new(0);
static STALLS: AtomicU32 = AtomicU32::new(0);

/// What went wrong on the port since the reset; wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes that came before the last one was taken: the hardware lost them.
    pub overruns: u32,
    /// Times the receive queue was full.
    pub stalls: u32,
    /// Frames that found no room in the send queue and were dropped whole.
    pub dropped: u32,
    /// Most bytes that ever waited to be read.
    pub receive_high_water: u16,
}

/// The port.
pub struct Uart {
    received: Consumer<'static, u8>,
    to_send: Producer<'static, u8>,
    dropped: u32,
    receive_high_water: usize,
}

impl core::fmt::Debug for Uart {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Uart").finish_non_exhaustive()
    }
}

impl Uart {
    /// Starts the port; `None` at every call but the first.
    pub(super) fn start() -> Option<Self> {
        let receive = cortex_m::singleton!(: Queue<u8, { RECEIVE_CAPACITY + 1 }> = Queue::new())?;
        let send = cortex_m::singleton!(: Queue<u8, { SEND_CAPACITY + 1 }> = Queue::new())?;
        let (receiver, received) = receive.split();
        let (to_send, sender) = send.split();
        RECEIVER.give(receiver);
        SENDER.give(sender);
        UART0.baud_divider.write(BAUD_DIVIDER);
        UART0.interrupts.write(RX_INTERRUPT | TX_INTERRUPT);
        UART0.control.write(RUNNING | RX_INTERRUPT_ENABLE);
        for interrupt in [Interrupt::Uart0Receive, Interrupt::Uart0Transmit] {
            // Both handlers run at one priority: neither interrupts the other.
            NVIC::unpend(interrupt);
            // SAFETY: the handlers share nothing with other code but through `Handed` and
            // atomics, so enabling them breaks no critical section by masks.
            unsafe { NVIC::unmask(interrupt) };
        }
        Some(Self { received, to_send, dropped: 0, receive_high_water: 0 })
    }

    /// The next received byte.
    pub fn read(&mut self) -> Option<u8> {
        self.receive_high_water = self.receive_high_water.max(self.received.len());
        self.received.dequeue().or_else(|| {
            if STALLED.load(Ordering::Relaxed) {
                resume();
            }
            self.received.dequeue()
        })
    }

    /// Queues a frame to be sent, whole or not at all; false: there was no room, and it is counted.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        if self.to_send.capacity().saturating_sub(self.to_send.len()) < frame.len() {
            self.dropped = self.dropped.wrapping_add(1);
            return false;
        }
        for byte in frame {
            // There is room: only this side fills the queue.
            if self.to_send.enqueue(*byte).is_err() {
                break;
            }
        }
        transmit();
        true
    }

    /// No received byte waits.
    pub(super) fn is_idle(&self) -> bool {
        !self.received.ready() && !STALLED.load(Ordering::Relaxed)
    }

    /// What went wrong so far.
    pub fn counters(&self) -> Counters {
        Counters {
            overruns: OVERRUNS.load(Ordering::Relaxed),
            stalls: STALLS.load(Ordering::Relaxed),
            dropped: self.dropped,
            receive_high_water: u16::try_from(self.receive_high_water).unwrap_or(u16::MAX),
        }
    }
}

/// Takes in what came. Called by the receive interrupt.
pub(super) fn receive() {
    RECEIVER.with(|queue| {
        // Cleared before draining: a byte that comes while draining raises it again. In the
        // other order the clearing would swallow that byte's interrupt.
        UART0.interrupts.write(RX_INTERRUPT);
        loop {
            let state = UART0.state.read();
            if state & STATE_RX_OVERRUN != 0 {
                // Writing a one clears the flag.
                UART0.state.write(STATE_RX_OVERRUN);
                OVERRUNS.store(OVERRUNS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            }
            if state & STATE_RX_FULL == 0 {
                break;
            }
            if !queue.ready() {
                // Bytes stay with the sender, or the hardware counts what it loses.
                UART0.control.write(RUNNING);
                STALLED.store(true, Ordering::Relaxed);
                STALLS.store(STALLS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
                break;
            }
            // The register's lowest eight bits are the byte.
            let [byte, ..] = UART0.data.read().to_le_bytes();
            if queue.enqueue(byte).is_err() {
                break;
            }
        }
    });
}

/// Receives again after the queue was full.
fn resume() {
    critical_section::with(|_| {
        STALLED.store(false, Ordering::Relaxed);
        UART0.control.write(RUNNING | RX_INTERRUPT_ENABLE);
        // The byte that waits raised its interrupt while that was off.
        receive();
    });
}

/// Sends what is queued. Called by the transmit interrupt, and to start it.
pub(super) fn transmit() {
    SENDER.with(|queue| {
        UART0.interrupts.write(TX_INTERRUPT);
        while UART0.state.read() & STATE_TX_FULL == 0 {
            let Some(byte) = queue.dequeue() else { break };
            UART0.data.write(u32::from(byte));
        }
    });
}
