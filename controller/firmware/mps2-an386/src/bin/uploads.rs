//! Measuring image: the cost of an upload and of what opens a session, for cases that the host leaves
//! in memory.
//!
//! The window (`board::Window`) holds, in little-endian words: how many cases; for each the bytes of
//! the policy image that the board runs on, the number of its frames, the image, and for each frame its
//! length and its bytes. Images and frames are filled up to whole words.
//!
//! It answers with a state (1 running, 2 done, 3 a case is damaged or its upload did not succeed), the
//! most bytes of stack ever used, and then three words a frame: ticks of the core clock from its first
//! byte to the last byte of its answer, those of the dearest look at time that followed it (a slice of
//! the store's work, where there was one), and the number of these. Under an emulator that gives every
//! instruction the same time the ticks are instructions. The spare slot is the board's own.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use core::hint::black_box;
    use core::slice::Iter;
    use core::sync::atomic::{AtomicU32, Ordering};

    use coshift_controller::store::{Switch, Upload};
    use coshift_controller::{Identity, Node};
    use coshift_mps2_an386::blocks::Blocks;
    use coshift_mps2_an386::board::{self, RamSlot, StepTimer, Window};
    use coshift_shared::frame::Frame;
    use coshift_shared::policy::PolicyView;
    use coshift_shared::protocol::VersionRange;
    use coshift_shared::time::Instant;
    use coshift_shared::to_host::{FaultCode, ResetCause};

    /// States of the run.
    const RUNNING: u32 = 1;
    const DONE: u32 = 2;
    const DAMAGED: u32 = 3;

    /// The node of the release image.
    type Measured = Node<'static, Upload<RamSlot>>;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let (Some(window), Some(timer)) = (Window::take(), StepTimer::take()) else {
            board::reset()
        };
        let node = cortex_m::singleton!(: Option<Measured> = None);
        let ([state, stack, costs @ ..], Some(node)) = (window.results, node) else {
            board::reset()
        };
        state.store(RUNNING, Ordering::Relaxed);
        let outcome =
            cases(Blocks::new(window.input), window.slot, &timer, node, &mut costs.iter());
        stack.store(board::stack_high_water(), Ordering::Relaxed);
        state.store(if outcome.is_some() { DONE } else { DAMAGED }, Ordering::Release);
        loop {
            cortex_m::asm::wfi();
        }
    }

    /// Runs every case; `None` where one is damaged, there is no room for its costs, or the board would
    /// not restart with the new policy.
    fn cases(
        mut input: Blocks<'static>,
        mut slot: RamSlot,
        timer: &StepTimer,
        node: &mut Option<Measured>,
        costs: &mut Iter<'_, AtomicU32>,
    ) -> Option<()> {
        for _ in 0..input.word()? {
            let (length, frames) = (input.word()?, input.word()?);
            let policy = PolicyView::open(input.block(length)?).ok()?;
            fresh(node, policy, slot);
            let measured = node.as_mut()?;
            for _ in 0..frames {
                let length = input.word()?;
                let bytes = input.block(length)?;
                let before = timer.now();
                take_in(measured, bytes);
                let own = timer.since(before);
                let (mut dearest, mut looks) = (0, 0_u32);
                loop {
                    let before = timer.now();
                    look(measured);
                    dearest = timer.since(before).max(dearest);
                    looks = looks.saturating_add(1);
                    if !measured.is_busy() {
                        break;
                    }
                }
                for word in [own, dearest, looks] {
                    costs.next()?.store(word, Ordering::Relaxed);
                }
            }
            if measured.switch() != Some(Switch::Uploaded) {
                return None;
            }
            slot = node.take()?.into_store().into_slot();
        }
        Some(())
    }

    #[inline(never)]
    fn fresh(node: &mut Option<Measured>, policy: PolicyView<'static>, slot: RamSlot) {
        let identity = Identity {
            version: [0; 3],
            boot_nonce: 1,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        let store = Upload::new(slot, Some(&policy));
        *node = Some(Node::with_store(Some(policy), identity, VersionRange::OURS, store));
    }

    /// A frame, apart: nothing of it may be moved over the readings of the clock.
    #[inline(never)]
    fn take_in(node: &mut Measured, bytes: &[u8]) {
        for byte in bytes {
            node.feed(*byte, Instant::START, &mut send);
        }
    }

    /// A look at time, apart.
    #[inline(never)]
    fn look(node: &mut Measured) {
        node.poll(Instant::START, &mut send);
    }

    fn send(frame: &Frame) {
        black_box(frame);
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is firmware: `cargo xtask sizes` builds its image and runs it");
    std::process::exit(2);
}
