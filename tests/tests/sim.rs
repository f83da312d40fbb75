//! The scenarios in virtual time.

use coshift_tests::case::Case;
use coshift_tests::rig::Rig;
use coshift_tests::scenario::{self, Scenario};
use coshift_tests::sim_mcu::Mutant;
use coshift_tests::sim_rig::{Policies, SimRig};

/// Seeds of faults and noise.
const SEEDS: std::ops::Range<u64> = 1..9;

fn play(scenario: &Scenario) {
    let case = Case::reference().unwrap();
    for seed in SEEDS {
        let setup = scenario.setup(seed);
        let policies = Policies::new(case, &setup).unwrap();
        let mut rig = SimRig::start(&policies, &setup, Mutant::Sound).unwrap();
        if let Err(error) = scenario.play(&mut rig) {
            panic!("seed {seed}: {error:#}");
        }
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

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed| {
        let setup = scenario::LOSSY.setup(seed);
        let policies = Policies::new(Case::reference().unwrap(), &setup).unwrap();
        let mut rig = SimRig::start(&policies, &setup, Mutant::Sound).unwrap();
        scenario::LOSSY.play(&mut rig).unwrap();
        let seen = rig.line().seen().to_vec();
        (seen, rig.end().unwrap())
    };
    let first = run(1);
    assert_eq!(first, run(1));
    assert_ne!(first.0, run(2).0);
}
