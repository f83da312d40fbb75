//! Firmware for the Arm MPS2 AN386: the super-loop around the controller's node.
//!
//! ```text
//! drain the port -> node -> send -> feed the watchdog -> sleep until an interrupt
//! ```
//!
//! It runs on the newest valid policy of its two slots, or on the one compiled in. After an upload it
//! restarts between two passes.
//!
//! One pass takes in at most [`BYTES_A_PASS`] bytes, so that time is looked at often however
//! much comes, and none while a decision is under way: each pass does a slice of it, and what comes
//! meanwhile waits in the receive queue. The watchdog is fed only at the end of a whole pass.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use core::ops::Range;

    use coshift_controller::store::Upload;
    use coshift_controller::{Identity, Node};
    use coshift_mps2_an386::board::{self, Board, RamSlot, Uart};
    use coshift_mps2_an386::policy;
    use coshift_shared::frame::Frame;
    use coshift_shared::policy::PolicyView;
    use coshift_shared::protocol::VersionRange;
    use coshift_shared::time::Instant;
    use coshift_shared::to_host::Mode;

    /// Most bytes taken in before the clock is looked at again: one frame of the largest size.
    const BYTES_A_PASS: usize = 64;
    /// Longest wait for the last frames before a restart, µs: they fill a queue of 1 KiB at most,
    /// which takes 90 ms at 115,207 baud.
    const FAREWELL_US: u32 = 200_000;
    /// Passes between two measurements of the stack, which take some thousand instructions.
    const PASSES_A_MEASUREMENT: u8 = 64;

    /// The node with its policy store.
    type Loop = Node<'static, Upload<RamSlot>>;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let Some(mut board) = Board::take() else { board::reset() };
        let identity = Identity {
            version: version(),
            boot_nonce: board.nonce,
            reset_cause: board.boot.cause,
            last_fault: board.boot.fault,
            fault_detail: board.boot.detail,
        };
        announce(&board);
        let built_in = policy::built_in().unwrap_or_else(|_| {
            defmt::error!("the policy compiled in is damaged");
            None
        });
        let Some(slots) = board.slots.take() else { board::reset() };
        let (policy, active, store) = slots.open(built_in);
        match &policy {
            Some(policy) => {
                defmt::info!("policy {=u32}, CRC {=u32:08x}", policy.sequence(), policy.crc());
            }
            None => defmt::error!("there is no policy; waiting for one"),
        }
        let Some(node) = place(policy, identity, store) else { board::reset() };
        #[cfg(feature = "panic-probe")]
        probe(&mut board.uart);
        let mut mode = Mode::Boot;
        let mut passes = 0_u8;
        let mut inbox = Inbox { buffer: [0; BYTES_A_PASS], waiting: 0..0 };
        loop {
            let busy = pass(&mut board, node, &mut inbox);
            if node.controller().mode() != mode {
                mode = node.controller().mode();
                let Ok(()) = board.indicator.show(mode);
                defmt::info!("mode {=str}, session {=u16}", name(mode), node.session());
            }
            passes = passes.wrapping_add(1);
            if passes.is_multiple_of(PASSES_A_MEASUREMENT) {
                measure(&board, node);
            }
            board.watchdog.feed();
            if let Some(switch) = node.switch() {
                farewell(&board.uart);
                active.switch(switch)
            }
            if !busy {
                board.sleep();
            }
        }
    }

    /// Puts the node where it stays. Apart, as it is built on the stack first: there the loop would
    /// keep its room for ever.
    #[inline(never)]
    fn place(
        policy: Option<PolicyView<'static>>,
        identity: Identity,
        store: Upload<RamSlot>,
    ) -> Option<&'static mut Loop> {
        cortex_m::singleton!(
            : Loop = Node::with_store(policy, identity, VersionRange::OURS, store)
        )
    }

    /// Waits until the agent was told what there was to tell. A port that nobody empties does not
    /// keep the board from restarting.
    fn farewell(uart: &Uart) {
        let since = board::now_us();
        while !uart.is_sent() && board::now_us().wrapping_sub(since) < FAREWELL_US {}
    }

    /// Bytes read, of which those in `waiting` were not taken in yet.
    struct Inbox {
        buffer: [u8; BYTES_A_PASS],
        waiting: Range<usize>,
    }

    /// One pass without its sleep; true where bytes were taken in or a decision or the
    /// store's work is under way.
    fn pass(board: &mut Board, node: &mut Loop, inbox: &mut Inbox) -> bool {
        let uart = &mut board.uart;
        if inbox.waiting.is_empty() && !node.is_deciding() {
            inbox.waiting = 0..uart.read(&mut inbox.buffer).len();
        }
        let mut busy = node.is_deciding();
        while !node.is_deciding()
            && let Some(byte) = inbox.waiting.next().and_then(|at| inbox.buffer.get(at).copied())
        {
            busy = true;
            timed(node, |node, local| node.feed(byte, local, &mut |frame| send(uart, frame)));
        }
        timed(node, |node, local| node.poll(local, &mut |frame| send(uart, frame)));
        busy || node.is_deciding() || node.is_busy()
    }

    /// Does one step and notes its cost where it is the worst so far.
    fn timed(node: &mut Loop, step: impl FnOnce(&mut Loop, Instant)) {
        let before = board::ticks();
        step(node, Instant::from_us(board::now_us()));
        let cost = board::ticks().wrapping_sub(before);
        let work = node.controller_mut().work_mut();
        work.worst_step_ticks = work.worst_step_ticks.max(cost);
    }

    fn send(uart: &mut Uart, frame: &Frame) {
        // A frame without room is dropped whole and counted; its peer sees a gap and goes on.
        let _ = uart.send(frame.bytes());
    }

    /// Tells the controller what only the board can measure.
    fn measure(board: &Board, node: &mut Loop) {
        let counters = board.uart.counters();
        let work = node.controller_mut().work_mut();
        work.stack_high_water = u16::try_from(board::stack_high_water()).unwrap_or(u16::MAX);
        work.queue_high_water = counters.receive_high_water;
        work.queue_overruns = u16::try_from(counters.overruns).unwrap_or(u16::MAX);
    }

    fn announce(board: &Board) {
        let boot = &board.boot;
        defmt::info!(
            "coshift {=str}, boot {=u32}, reset cause {=u8}, last fault {=u8} ({=u32:#010x})",
            env!("CARGO_PKG_VERSION"),
            boot.boots,
            boot.cause as u8,
            boot.fault as u8,
            boot.detail
        );
    }

    /// The version of the package: major, minor, patch.
    fn version() -> [u8; 3] {
        const VERSION: [u8; 3] = [
            number(env!("CARGO_PKG_VERSION_MAJOR")),
            number(env!("CARGO_PKG_VERSION_MINOR")),
            number(env!("CARGO_PKG_VERSION_PATCH")),
        ];
        VERSION
    }

    /// A decimal number, read while compiling.
    const fn number(text: &str) -> u8 {
        match u8::from_str_radix(text, 10) {
            Ok(number) => number,
            Err(_) => panic!("each part of the version fits one byte"),
        }
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

    /// A panic path on purpose: the release image with this feature must not link.
    #[cfg(feature = "panic-probe")]
    fn probe(uart: &mut Uart) {
        let mut buffer = [0; BYTES_A_PASS];
        if let [index, ..] = *uart.read(&mut buffer) {
            let value = buffer[usize::from(index)];
            uart.send(&[value]);
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this package is firmware: build its image with `cargo xtask firmware`");
    std::process::exit(2);
}
