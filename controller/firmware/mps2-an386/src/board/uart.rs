//! UART0, the port of the protocol: both directions fed by interrupts through queues.

use cortex_m::peripheral::NVIC;
use coshift_firmware::armv7m::Guarded;
use heapless::spsc::Queue;

use super::registers::UART0;
use super::vectors::Interrupt;

/// Bytes of each queue, one of which stays free: sixteen frames of the largest size.
const QUEUE: usize = 1024;

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

// The queues are used whole, not as their producer and consumer halves: the halves forget the
// capacity, and a remainder by a value known at run time only is a panic path.
static RECEIVED: Guarded<Receiver> = Guarded::new(Receiver {
    queue: Queue::new(),
    stalled: false,
    overruns: 0,
    stalls: 0,
    high_water: 0,
});
static TO_SEND: Guarded<Sender> = Guarded::new(Sender { queue: Queue::new(), dropped: 0 });

/// Uses the receiver with interrupts held back.
fn receiver<R>(use_it: impl FnOnce(&mut Receiver) -> R) -> R {
    // SAFETY: the closures of this module use what they are given and call nothing that comes here.
    unsafe { RECEIVED.with(use_it) }
}

/// Uses the sender with interrupts held back.
fn sender<R>(use_it: impl FnOnce(&mut Sender) -> R) -> R {
    // SAFETY: as in `receiver`.
    unsafe { TO_SEND.with(use_it) }
}

struct Receiver {
    queue: Queue<u8, QUEUE>,
    /// The queue was full: the interrupt is off until it is empty.
    stalled: bool,
    overruns: u32,
    stalls: u32,
    high_water: usize,
}

struct Sender {
    queue: Queue<u8, QUEUE>,
    dropped: u32,
}

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
#[derive(Debug)]
pub struct Uart(());

impl Uart {
    /// Starts the port.
    pub(super) fn start() -> Self {
        UART0.baud_divider.write(BAUD_DIVIDER);
        UART0.interrupts.write(RX_INTERRUPT | TX_INTERRUPT);
        UART0.control.write(RUNNING | RX_INTERRUPT_ENABLE);
        for interrupt in [Interrupt::Uart0Receive, Interrupt::Uart0Transmit] {
            // SAFETY: the handlers share only what is `Guarded`, so that enabling them breaks no
            // critical section; both run at one priority, neither interrupts the other.
            unsafe { NVIC::unmask(interrupt) };
        }
        Self(())
    }

    /// Moves received bytes into `buffer` and gives the part of it that was filled: empty when
    /// none wait.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8]) -> &'a [u8] {
        let count = receiver(|receiver| {
            receiver.high_water = receiver.high_water.max(receiver.queue.len());
            let mut count = 0_usize;
            for place in buffer.iter_mut() {
                let Some(byte) = receiver.queue.dequeue() else { break };
                *place = byte;
                count = count.wrapping_add(1);
            }
            if receiver.stalled && receiver.queue.is_empty() {
                receiver.stalled = false;
                UART0.control.write(RUNNING | RX_INTERRUPT_ENABLE);
                // The byte that waits came while its interrupt was off.
                receiver.drain();
            }
            count
        });
        buffer.get(..count).unwrap_or_default()
    }

    /// Queues a frame to be sent, whole or not at all; false: there was no room, which is counted.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        sender(|sender| {
            if sender.queue.capacity().saturating_sub(sender.queue.len()) < frame.len() {
                sender.dropped = sender.dropped.wrapping_add(1);
                return false;
            }
            // There is room for every byte.
            let queued = frame.iter().all(|byte| sender.queue.enqueue(*byte).is_ok());
            sender.drain();
            queued
        })
    }

    /// Whether every byte queued was given to the hardware, and it could take another.
    pub fn is_sent(&self) -> bool {
        sender(|sender| sender.queue.is_empty()) && UART0.state.read() & STATE_TX_FULL == 0
    }

    /// No received byte waits.
    pub(super) fn is_idle(&self) -> bool {
        receiver(|receiver| receiver.queue.is_empty() && !receiver.stalled)
    }

    /// What went wrong so far.
    pub fn counters(&self) -> Counters {
        let mut counters = receiver(|receiver| Counters {
            overruns: receiver.overruns,
            stalls: receiver.stalls,
            dropped: 0,
            receive_high_water: u16::try_from(receiver.high_water).unwrap_or(u16::MAX),
        });
        counters.dropped = sender(|sender| sender.dropped);
        counters
    }
}

impl Receiver {
    /// Takes in what came, until there is no more or no room.
    fn drain(&mut self) {
        // Cleared before draining: a byte that comes while draining raises it again. In the
        // other order the clearing would swallow that byte's interrupt.
        UART0.interrupts.write(RX_INTERRUPT);
        loop {
            let state = UART0.state.read();
            if state & STATE_RX_OVERRUN != 0 {
                // Writing a one clears the flag.
                UART0.state.write(STATE_RX_OVERRUN);
                self.overruns = self.overruns.wrapping_add(1);
            }
            if state & STATE_RX_FULL == 0 {
                break;
            }
            if self.queue.is_full() {
                // The byte stays in the UART. The emulator's sender waits; on a wire the
                // hardware counts what it loses.
                UART0.control.write(RUNNING);
                self.stalled = true;
                self.stalls = self.stalls.wrapping_add(1);
                break;
            }
            // The register's lowest eight bits are the byte.
            let [byte, ..] = UART0.data.read().to_le_bytes();
            if self.queue.enqueue(byte).is_err() {
                break;
            }
        }
    }
}

impl Sender {
    /// Gives the UART what it takes.
    fn drain(&mut self) {
        UART0.interrupts.write(TX_INTERRUPT);
        while UART0.state.read() & STATE_TX_FULL == 0 {
            let Some(byte) = self.queue.dequeue() else { break };
            UART0.data.write(u32::from(byte));
        }
    }
}

/// The receive interrupt.
pub(super) fn on_receive() {
    receiver(Receiver::drain);
}

/// The transmit interrupt: the UART takes bytes again.
pub(super) fn on_transmit() {
    sender(Sender::drain);
}
