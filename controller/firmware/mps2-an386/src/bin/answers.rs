//! Answering image: the controller's node on inputs that the host leaves in memory.
//!
//! The window (`board::Window`) holds, in little-endian words: how many cases; for each case the
//! bytes of its policy image, the number of its inputs, the image, and for each input the node's
//! own clock in µs, the number of its bytes, and the bytes: what comes in on the port. Images and
//! bytes are filled up to whole words.
//!
//! It answers with a state (1 running, 2 done, 3 a case is damaged), the most bytes of stack ever
//! used, and then one word an input: CRC-32C of all frames that the node sends then. The same node
//! on the host must have the same answers.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use core::sync::atomic::{AtomicU32, Ordering};

    use coshift_controller::{Identity, Node};
    use coshift_mps2_an386::blocks::Blocks;
    use coshift_mps2_an386::board::{self, Window};
    use coshift_shared::crc32c;
    use coshift_shared::policy::PolicyView;
    use coshift_shared::time::Instant;
    use coshift_shared::to_host::{FaultCode, ResetCause};

    /// States of the run.
    const RUNNING: u32 = 1;
    const DONE: u32 = 2;
    const DAMAGED: u32 = 3;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let Some(window) = Window::take() else { board::reset() };
        let [state, stack, answers @ ..] = window.results else { board::reset() };
        state.store(RUNNING, Ordering::Relaxed);
        let outcome = answer(Blocks::new(window.input), &mut answers.iter());
        stack.store(board::stack_high_water(), Ordering::Relaxed);
        state.store(if outcome.is_some() { DONE } else { DAMAGED }, Ordering::Release);
        loop {
            cortex_m::asm::wfi();
        }
    }

    /// Answers every case; `None` where one is damaged or there is no room for its answers.
    fn answer(
        mut input: Blocks<'static>,
        answers: &mut core::slice::Iter<'_, AtomicU32>,
    ) -> Option<()> {
        let place = cortex_m::singleton!(: Option<Node<'static>> = None)?;
        for _ in 0..input.word()? {
            let (length, inputs) = (input.word()?, input.word()?);
            let policy = PolicyView::open(input.block(length)?).ok()?;
            let identity = Identity {
                version: [0, 1, 0],
                boot_nonce: 1,
                reset_cause: ResetCause::PowerOn,
                last_fault: FaultCode::None,
                fault_detail: 0,
            };
            let node = place.insert(Node::new(Some(policy), identity));
            for _ in 0..inputs {
                let (local, length) = (Instant::from_us(input.word()?), input.word()?);
                let mut crc = crc32c::Running::default();
                for byte in input.block(length)? {
                    node.feed(*byte, local, &mut |frame| crc.add(frame.bytes()));
                }
                while node.is_deciding() {
                    node.poll(local, &mut |frame| crc.add(frame.bytes()));
                }
                node.poll(local, &mut |frame| crc.add(frame.bytes()));
                answers.next()?.store(crc.value(), Ordering::Relaxed);
            }
        }
        Some(())
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is firmware: `cargo xtask test` builds its image, and tests run it");
    std::process::exit(2);
}
