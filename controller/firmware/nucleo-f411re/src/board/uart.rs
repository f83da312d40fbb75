//! USART2, the port of the protocol: both directions fed by its interrupt through queues.

use cortex_m::peripheral::NVIC;
use coshift_firmware::armv7m::Guarded;
use coshift_firmware::serial::{Received, ToSend};
use stm32f4xx_hal::gpio::{PA2, PA3};
use stm32f4xx_hal::nb;
use stm32f4xx_hal::pac::{Interrupt, USART2, interrupt};
use stm32f4xx_hal::prelude::*;
use stm32f4xx_hal::rcc::Rcc;
use stm32f4xx_hal::serial::config::Config;
use stm32f4xx_hal::serial::{Rx2, RxListen, Serial2, Tx2, TxListen};

/// What the agent takes where it is told nothing else. 48 MHz / 48: exact.
const BAUD: u32 = 1_000_000;

/// Bytes of each queue, one of which stays free: sixteen frames of the largest size, 10 ms.
const QUEUE: usize = 1024;

/// The port's halves; `None` before the start. Apart from the queues, which are all zeros and so
/// take no flash.
static PORT: Guarded<Option<(Tx2, Rx2)>> = Guarded::new(None);
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

/// Uses the port with interrupts held back.
fn with_port(use_it: impl FnOnce(&mut Tx2, &mut Rx2)) {
    // SAFETY: the closures of this file come here no second time.
    unsafe {
        PORT.with(|port| {
            if let Some((tx, rx)) = port {
                use_it(tx, rx);
            }
        });
    }
}

/// The port.
pub(super) struct Uart(());

impl Uart {
    /// Starts the port; `None`: the HAL cannot make the baud rate from its clock.
    pub(super) fn start(usart: USART2, tx: PA2, rx: PA3, rcc: &mut Rcc) -> Option<Self> {
        let config = Config::default().baudrate(BAUD.bps());
        let serial: Serial2 = usart.serial((tx, rx), config, rcc).ok()?;
        let (tx, mut rx) = serial.split();
        rx.listen();
        // SAFETY: the closure does not come here again.
        unsafe { PORT.with(|port| *port = Some((tx, rx))) };
        // SAFETY: the handler shares only what is `Guarded`, so that enabling it breaks no critical
        // section.
        unsafe { NVIC::unmask(Interrupt::USART2) };
        Some(Self(()))
    }

    /// Moves received bytes into `buffer` and gives how many.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        with(|queues| queues.received.take(buffer))
    }

    /// Queues a frame, whole or not at all.
    pub(super) fn send(&mut self, frame: &[u8]) -> bool {
        let queued = with(|queues| queues.to_send.put(frame));
        // The interrupt comes at once, as the transmitter is empty or gets there.
        with_port(|tx, _| tx.listen());
        queued
    }

    /// No received byte waits.
    pub(super) fn is_idle(&self) -> bool {
        with(|queues| queues.received.is_empty())
    }

    /// Everything queued is on the wire, the last stop bit included.
    pub(super) fn is_sent(&self) -> bool {
        let mut sent = with(|queues| queues.to_send.is_empty());
        with_port(|tx, _| sent &= tx.flush().is_ok());
        sent
    }

    /// Most bytes that ever waited, and bytes lost.
    pub(super) fn received(&self) -> (u16, u16) {
        with(|queues| (queues.received.high_water(), queues.received.lost()))
    }
}

/// Takes in what came and sends what fits.
fn serve(tx: &mut Tx2, rx: &mut Rx2, queues: &mut Queues) {
    loop {
        match rx.read() {
            Ok(byte) => queues.received.put(byte),
            Err(nb::Error::WouldBlock) => break,
            // Reading took the byte and cleared the flag.
            Err(nb::Error::Other(_)) => queues.received.lose(),
        }
    }
    while let Some(byte) = queues.to_send.peek() {
        if tx.write(byte).is_err() {
            return;
        }
        queues.to_send.next();
    }
    // An empty transmitter would raise the interrupt for ever.
    tx.unlisten();
}

#[interrupt]
fn USART2() {
    with_port(|tx, rx| with(|queues| serve(tx, rx, queues)));
}
