//! Measuring image: the cost of frames and of whole control periods, for cases that the host
//! leaves in memory.
//!
//! The window (`board::Window`) holds, in little-endian words: how many frames; for each its
//! length, and its bytes; how many cases; for each the bytes of its policy image, the number of its
//! periods, the image, and for each period its length and the bytes that come on the port. Images,
//! frames and periods are filled up to whole words.
//!
//! It answers with a state (1 running, 2 done, 3 a case is damaged), the most bytes of stack ever
//! used, and then two words for each frame: ticks of the core clock for reading it (bytes to message)
//! and for writing its message (message to bytes); and for each period: ticks from its first byte
//! to the last byte of the answer, and how many bytes were answered. Under an emulator that gives
//! every instruction the same time the ticks are instructions. The port itself is not part of it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use core::hint::black_box;
    use core::slice::Iter;
    use core::sync::atomic::{AtomicU32, Ordering};

    use coshift_controller::{Identity, Node};
    use coshift_mps2_an386::blocks::Blocks;
    use coshift_mps2_an386::board::{self, StepTimer, Window};
    use coshift_shared::frame::Frame;
    use coshift_shared::kind::Kind;
    use coshift_shared::policy::PolicyView;
    use coshift_shared::reader::{FrameReader, Received};
    use coshift_shared::session::Sender;
    use coshift_shared::time::{Duration, Instant};
    use coshift_shared::to_controller::ToController;
    use coshift_shared::to_host::{FaultCode, ResetCause, ToHost};

    /// States of the run.
    const RUNNING: u32 = 1;
    const DONE: u32 = 2;
    const DAMAGED: u32 = 3;
    /// Session of written frames: no byte of it is zero.
    const SESSION: u16 = 0x0101;
    /// Time between two periods on the node's own clock: no silence is noticed.
    const PERIOD: Duration = Duration::from_ms(50);
    /// Most calls of `poll` after one frame: more would be work without end.
    const MOST_POLLS: u32 = 10_000;

    /// A node whose policy is in the window.
    type Measured = Option<Node<'static>>;

    /// A message of either direction.
    enum Message {
        ToController(ToController),
        ToHost(ToHost),
    }

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let (Some(window), Some(timer)) = (Window::take(), StepTimer::take()) else {
            board::reset()
        };
        let node = cortex_m::singleton!(: Measured = None);
        let ([state, stack, costs @ ..], Some(node)) = (window.results, node) else {
            board::reset()
        };
        state.store(RUNNING, Ordering::Relaxed);
        let mut input = Blocks::new(window.input);
        let mut costs = costs.iter();
        let outcome = frames(&mut input, &timer, &mut costs)
            .and_then(|()| cases(&mut input, &timer, node, &mut costs));
        stack.store(board::stack_high_water(), Ordering::Relaxed);
        state.store(if outcome.is_some() { DONE } else { DAMAGED }, Ordering::Release);
        loop {
            cortex_m::asm::wfi();
        }
    }

    /// Reads and writes every frame; `None` where one is damaged or there is no room for its costs.
    fn frames(
        input: &mut Blocks<'static>,
        timer: &StepTimer,
        costs: &mut Iter<'_, AtomicU32>,
    ) -> Option<()> {
        let mut sender = Sender::default();
        sender.open(SESSION);
        for _ in 0..input.word()? {
            let length = input.word()?;
            let bytes = input.block(length)?;
            let mut reader = FrameReader::new();
            let before = timer.now();
            let message = read(&mut reader, bytes);
            let reading = timer.since(before);
            let message = black_box(message?);
            let before = timer.now();
            let written = write(&mut sender, &message);
            let writing = timer.since(before);
            // The same bytes again, but for the header and with it the CRC.
            if written? < bytes.len() {
                return None;
            }
            for cost in [reading, writing] {
                costs.next()?.store(cost, Ordering::Relaxed);
            }
        }
        Some(())
    }

    /// Bytes to message.
    #[inline(never)]
    fn read(reader: &mut FrameReader, bytes: &[u8]) -> Option<Message> {
        for byte in bytes {
            if let Received::Packet(header, body) = reader.feed(*byte) {
                let kind = Kind::from_byte(header.kind)?;
                // Kinds below this go to the controller.
                return if (kind as u8) < Kind::Welcome as u8 {
                    ToController::decode(kind, body).ok().map(Message::ToController)
                } else {
                    ToHost::decode(kind, body).ok().map(Message::ToHost)
                };
            }
        }
        None
    }

    /// Message to bytes, as a node sends them: the frame is handed on where it is. Gives how many.
    #[inline(never)]
    fn write(sender: &mut Sender, message: &Message) -> Option<usize> {
        let mut frame = Frame::EMPTY;
        match message {
            Message::ToController(message) => {
                sender.frame_to_controller(message, &mut frame).ok()?;
            }
            Message::ToHost(message) => sender.frame_to_host(message, &mut frame).ok()?,
        }
        Some(black_box(&frame).bytes().len())
    }

    /// Runs every case; `None` where one is damaged or there is no room for its costs.
    fn cases(
        input: &mut Blocks<'static>,
        timer: &StepTimer,
        node: &mut Measured,
        costs: &mut Iter<'_, AtomicU32>,
    ) -> Option<()> {
        for _ in 0..input.word()? {
            let (length, periods) = (input.word()?, input.word()?);
            let policy = PolicyView::open(input.block(length)?).ok()?;
            fresh(node, policy);
            let node = node.as_mut()?;
            let mut local = Instant::START;
            for _ in 0..periods {
                let length = input.word()?;
                let bytes = input.block(length)?;
                local = local.after(PERIOD);
                let before = timer.now();
                let answered = period(node, bytes, local);
                let ticks = timer.since(before);
                for cost in [ticks, answered] {
                    costs.next()?.store(cost, Ordering::Relaxed);
                }
            }
        }
        Some(())
    }

    #[inline(never)]
    fn fresh(node: &mut Measured, policy: PolicyView<'static>) {
        let identity = Identity {
            version: [0; 3],
            boot_nonce: 1,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        *node = Some(Node::new(Some(policy), identity));
    }

    /// One control period, apart: nothing of it may be moved over the readings of the clock. Gives
    /// the bytes sent.
    #[inline(never)]
    fn period(node: &mut Node<'static>, bytes: &[u8], local: Instant) -> u32 {
        let mut answered = 0_u32;
        let mut send = |frame: &Frame| {
            let bytes = black_box(frame).bytes();
            answered = answered.saturating_add(u32::try_from(bytes.len()).unwrap_or(0));
        };
        for byte in bytes {
            node.feed(*byte, local, &mut send);
            // What a frame makes due is done before the next one.
            if *byte == 0 {
                for _ in 0..MOST_POLLS {
                    node.poll(local, &mut send);
                    if !node.next_poll().is_some_and(|due| local.reached(due)) {
                        break;
                    }
                }
            }
        }
        answered
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is firmware: `cargo xtask sizes` builds its image and runs it");
    std::process::exit(2);
}
