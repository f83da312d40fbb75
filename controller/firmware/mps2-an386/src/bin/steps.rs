//! Measuring image: the cost of controller steps, for cases that the host leaves in memory.
//!
//! The window (`board::Window`) holds, in little-endian words: the bound on the search of one decision
//! (`Controller::searching`); how many cases; for each case the
//! bytes of its policy image, the number of its messages, the image, and for each message
//! `kind | length << 8` and its body. Images and bodies are filled up to whole words.
//!
//! It answers with a state (1 running, 2 done, 3 a case is damaged), the most bytes of stack ever
//! used, and then four words a message: ticks of the core clock between the call of `step` and its
//! return, those of the dearest tick that followed until the decision was sent, those of all such
//! ticks together, and their number. Under an emulator that gives every instruction the same time
//! the ticks of the clock are instructions.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use core::hint::black_box;
    use core::sync::atomic::{AtomicU32, Ordering};

    use coshift_controller::{Controller, Input, Outputs};
    use coshift_mps2_an386::blocks::Blocks;
    use coshift_mps2_an386::board::{self, StepTimer, Window};
    use coshift_shared::kind::Kind;
    use coshift_shared::policy::PolicyView;
    use coshift_shared::time::Instant;
    use coshift_shared::to_controller::ToController;

    /// States of the run.
    const RUNNING: u32 = 1;
    const DONE: u32 = 2;
    const DAMAGED: u32 = 3;
    /// Control period, µs.
    const PERIOD_US: u32 = 50_000;
    /// Session of the run: any will do.
    const SESSION: u16 = 7;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let (Some(window), Some(timer)) = (Window::take(), StepTimer::take()) else {
            board::reset()
        };
        let [state, stack, costs @ ..] = window.results else { board::reset() };
        state.store(RUNNING, Ordering::Relaxed);
        let outcome = measure(Blocks::new(window.input), &timer, &mut costs.iter());
        stack.store(board::stack_high_water(), Ordering::Relaxed);
        state.store(if outcome.is_some() { DONE } else { DAMAGED }, Ordering::Release);
        loop {
            cortex_m::asm::wfi();
        }
    }

    /// Runs every case; `None` where one is damaged or there is no room for its costs.
    fn measure(
        mut input: Blocks<'static>,
        timer: &StepTimer,
        costs: &mut core::slice::Iter<'_, AtomicU32>,
    ) -> Option<()> {
        let effort = input.word()?;
        for _ in 0..input.word()? {
            let (length, messages) = (input.word()?, input.word()?);
            let policy = PolicyView::open(input.block(length)?).ok()?;
            let mut controller = Controller::new(Some(policy)).searching(effort);
            controller.start_session(Instant::START, PERIOD_US, SESSION);
            let mut outputs = Outputs::new();
            for seq in 0..u16::try_from(messages).ok()? {
                let head = input.word()?;
                let [kind, length, ..] = head.to_le_bytes();
                let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind)?;
                let body = input.block(u32::from(length))?;
                let message = ToController::decode(kind, body).ok()?;
                let now = Instant::from_us(message.at_us());
                let input = Input::Message { message: &message, seq };
                let own = timed(timer, &mut controller, now, input, &mut outputs);
                let (mut dearest, mut all, mut slices) = (0, 0_u32, 0_u32);
                while controller.is_deciding() {
                    let cost = timed(timer, &mut controller, now, Input::Tick, &mut outputs);
                    dearest = cost.max(dearest);
                    all = all.saturating_add(cost);
                    slices = slices.saturating_add(1);
                }
                for word in [own, dearest, all, slices] {
                    costs.next()?.store(word, Ordering::Relaxed);
                }
            }
        }
        Some(())
    }

    /// Ticks of the core clock that one step takes.
    fn timed(
        timer: &StepTimer,
        controller: &mut Controller<'_>,
        now: Instant,
        input: Input<'_>,
        outputs: &mut Outputs,
    ) -> u32 {
        outputs.clear();
        let before = timer.now();
        step(controller, now, input, outputs);
        let ticks = timer.since(before);
        black_box(outputs);
        ticks
    }

    /// One step, apart: nothing of it may be moved over the readings of the clock.
    #[inline(never)]
    fn step(
        controller: &mut Controller<'_>,
        now: Instant,
        input: Input<'_>,
        outputs: &mut Outputs,
    ) {
        controller.step_into(now, input, outputs);
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is firmware: `cargo xtask sizes` builds its image and runs it");
    std::process::exit(2);
}
