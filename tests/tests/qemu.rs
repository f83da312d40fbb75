//! The scenarios with the real agent process and the release image under QEMU.

use std::sync::{Mutex, MutexGuard, PoisonError};

use coshift_tests::need::Needs;
use coshift_tests::qemu_rig::QemuRig;
use coshift_tests::scenario::{self, Scenario};

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

#[test]
fn loop_closes() {
    play(&scenario::LOOP_CLOSES);
}

#[test]
fn target_changed() {
    play(&scenario::TARGET_CHANGED);
}

#[test]
fn co_runner() {
    play(&scenario::CO_RUNNER);
}

#[test]
fn restart() {
    play(&scenario::RESTART);
}

#[test]
fn garbage() {
    play(&scenario::GARBAGE);
}

#[test]
fn lossy() {
    play(&scenario::LOSSY);
}

#[test]
fn versions_differ() {
    play(&scenario::VERSIONS_DIFFER);
}

#[test]
fn policies_differ() {
    play(&scenario::POLICIES_DIFFER);
}

#[test]
fn stall() {
    play(&scenario::STALL);
}

#[test]
fn upload() {
    play(&scenario::UPLOAD);
}

#[test]
fn upload_cut() {
    play(&scenario::UPLOAD_CUT);
}

#[test]
fn upload_reset() {
    play(&scenario::UPLOAD_RESET);
}

#[test]
fn upload_lossy() {
    play(&scenario::UPLOAD_LOSSY);
}

#[test]
fn upload_refused() {
    play(&scenario::UPLOAD_REFUSED);
}

#[test]
fn watchdog() {
    play(&scenario::WATCHDOG);
}
