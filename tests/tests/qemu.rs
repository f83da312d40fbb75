//! The scenarios with the real agent process and the release image under QEMU.

use std::sync::{Mutex, MutexGuard, PoisonError};

use coshift_tests::need::Needs;
use coshift_tests::qemu_rig::QemuRig;
use coshift_tests::scenario::Scenario;

/// Seed of faults.
const SEED: u64 = 1;

/// Two rigs at a time: more of them would only wait for each other's processors.
fn turn() -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
    let free = TURNS.iter().find_map(|turn| turn.try_lock().ok());
    free.unwrap_or_else(|| TURNS[0].lock().unwrap_or_else(PoisonError::into_inner))
}

fn play(scenario: &Scenario) {
    let Some(needs) = Needs::find() else { return };
    let _turn = turn();
    let mut rig = QemuRig::start(&needs, &scenario.setup(SEED)).unwrap();
    if let Err(error) = scenario.play(&mut rig) {
        panic!("{error:#}");
    }
}

coshift_tests::scenario_tests!(play);
