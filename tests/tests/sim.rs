//! The scenarios in virtual time.

use coshift_tests::case::Case;
use coshift_tests::mutant::Mutant;
use coshift_tests::rig::Rig;
use coshift_tests::scenario::{self, Scenario};
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

coshift_tests::scenario_tests!(play);

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
