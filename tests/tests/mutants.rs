//! Each scenario fails where what it shows does not hold, and for that reason.

use std::sync::MutexGuard;

use anyhow::Result;
use coshift_host::core::Decider;
use coshift_host::report::Report;
use coshift_tests::case::Case;
use coshift_tests::faults::Faults;
use coshift_tests::line::Line;
use coshift_tests::mutant::Mutant;
use coshift_tests::need::Needs;
use coshift_tests::qemu_rig::QemuRig;
use coshift_tests::rewrite::Rewrite;
use coshift_tests::rig::{Rig, Setup};
use coshift_tests::scenario::{self, Play, Scenario, check, early};
use coshift_tests::sim_rig::{Policies, SimRig};
use coshift_tests::wire::Direction;

const SEED: u64 = 1;

/// Scenarios whose rig has to do something, and what they say of one that does not.
const DISOBEYED: [(Scenario, &str); 11] = [
    (scenario::TARGET_CHANGED, "the new target is reported: not within"),
    (scenario::POWER_CAP, "latency costs power: not within"),
    (scenario::NOTHING_FITS, "and that power is missing: not within"),
    (scenario::TOO_HOT, "the board is too hot: not within"),
    (scenario::PRIORITIES, "what cam0 lacks is named: not within"),
    (scenario::JOINING, "cam1 is served: not within"),
    (scenario::RESTART, "it is dead and goes on deciding"),
    (scenario::STALL, "a decision in mode Hold: not seen"),
    (scenario::WATCHDOG, "the twin takes over: not within"),
    (scenario::UPLOAD, "it is missed: not within"),
    (scenario::UPLOAD_RESET, "it booted on policy"),
];

/// Scenarios that live by their set-up, and what they say of a rig without it.
const NOT_SET_UP: [(Scenario, &str); 6] = [
    (scenario::CO_RUNNER, "a higher level: not seen"),
    (scenario::VERSIONS_DIFFER, "the mismatch shows: not within"),
    (scenario::POLICIES_DIFFER, "the mismatch shows: not within"),
    (scenario::UPLOAD_CUT, "the upload comes to a halt: not within"),
    (scenario::UPLOAD_LOSSY, "the new policy runs: not within"),
    (scenario::UPLOAD_REFUSED, "the upload is given up: not within"),
];

/// Microcontrollers that are wrong, the one scenario that is there to notice, and what it says.
const WRONG: [(Mutant, Scenario, &str); 7] = [
    (
        Mutant::DeafAfterOverlong,
        scenario::GARBAGE,
        "the microcontroller decides and tells of its faults: not within",
    ),
    (Mutant::WithoutWatchdog, scenario::WATCHDOG, "the watchdog resets it: not seen"),
    (Mutant::ForgetsPolicyUnpowered, scenario::UPLOAD, "the policy did not outlive its power"),
    (Mutant::ForgetsUploadUngreeted, scenario::UPLOAD_CUT, "it went on at 0, not at"),
    (Mutant::ForgetsUploadUnpowered, scenario::UPLOAD_RESET, "it went on at 0, not near"),
    (Mutant::DeafAfterMissingChunk, scenario::UPLOAD_LOSSY, "the new policy runs: not within"),
    (Mutant::TakesAnyNumber, scenario::UPLOAD_REFUSED, "the upload is given up: not within"),
];

/// A rig that does not do what it is told.
struct Disobedient<R>(R);

impl<R: Rig> Rig for Disobedient<R> {
    fn case(&self) -> &Case {
        self.0.case()
    }

    fn in_virtual_time(&self) -> bool {
        self.0.in_virtual_time()
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.line()
    }

    fn report(&mut self) -> Result<Report> {
        self.0.report()
    }

    fn pass_time(&mut self) {
        self.0.pass_time();
    }

    fn notices(&self) -> Vec<String> {
        self.0.notices()
    }

    fn set(&mut self, _spec: &str) -> Result<()> {
        Ok(())
    }

    fn remove(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }

    fn limit(&mut self, _power: Option<&str>, _temperature: Option<&str>) -> Result<()> {
        Ok(())
    }

    fn hang_mcu(&mut self) -> Result<()> {
        Ok(())
    }

    fn kill_mcu(&mut self) -> Result<()> {
        Ok(())
    }

    fn boot_mcu(&mut self) -> Result<()> {
        Ok(())
    }

    fn stall_agent(&mut self, _stalled: bool) -> Result<()> {
        Ok(())
    }

    fn end(&mut self) -> Result<Report> {
        self.0.end()
    }
}

/// Runs a simulated rig in `act` and gives what it complains of.
/// What is said where nothing is wrong.
const NOTHING: &str = "nothing";

fn complaint(
    setup: &Setup,
    mutant: Mutant,
    act: impl FnOnce(&mut SimRig<'_>) -> Result<()>,
) -> String {
    let policies = Policies::new(Case::reference().unwrap(), setup).unwrap();
    let mut rig = SimRig::start(&policies, setup, mutant).unwrap();
    match act(&mut rig) {
        Ok(()) => NOTHING.into(),
        // The innermost error alone: the circumstances hold all sorts of words.
        Err(error) => error.root_cause().to_string(),
    }
}

fn assert_names(complaint: &str, expected: &str) {
    assert!(complaint.contains(expected), "not \"{expected}\" but \"{complaint}\"");
}

#[test]
fn a_line_that_does_not_deliver_is_noticed() {
    for direction in Direction::BOTH {
        let setup = Setup::new(SEED);
        let said = complaint(&setup, Mutant::Sound, |rig| {
            rig.line().set(direction, Faults::DEAD);
            scenario::LOOP_CLOSES.play(rig)
        });
        assert_names(&said, "the microcontroller decides: not within");
    }
}

#[test]
fn a_relay_that_does_not_deliver_is_noticed() {
    let Some(needs) = Needs::find() else { return };
    let mut rig = QemuRig::start(&needs, &Setup::new(SEED)).unwrap();
    rig.line().set(Direction::ToMcu, Faults::DEAD);
    let error = Play::new(&mut rig).patience(40).until_mcu_decides().unwrap_err();
    assert_names(&error.to_string(), "the microcontroller decides: not within");
    assert!(rig.line().injected(Direction::ToMcu).dropped > 10);
    rig.end().unwrap();
}

#[test]
fn a_receiver_without_a_filter_counts_twice_and_is_noticed() {
    // Every line shows it in some way; which frames a line doubles decides which.
    let said: Vec<String> = (SEED..SEED + 8)
        .map(|seed| {
            let setup = scenario::LOSSY.setup(seed);
            complaint(&setup, Mutant::NoDuplicateFilter, |rig| scenario::LOSSY.play(rig))
        })
        .collect();
    assert!(said.iter().all(|said| said != "nothing"), "{said:?}");
    assert!(said.iter().any(|said| said.contains("samples were counted twice")), "{said:?}");
}

#[test]
fn a_rig_that_does_not_do_what_it_is_told_is_noticed() {
    for (scenario, expected) in DISOBEYED {
        let setup = scenario.setup(SEED);
        let policies = Policies::new(Case::reference().unwrap(), &setup).unwrap();
        let rig = SimRig::start(&policies, &setup, Mutant::Sound).unwrap();
        let error = scenario.play(&mut Disobedient(rig)).unwrap_err();
        assert_names(&error.root_cause().to_string(), expected);
    }
}

#[test]
fn what_a_scenario_waits_for_and_does_not_happen_is_noticed() {
    for (scenario, expected) in NOT_SET_UP {
        // Without what the scenario asks for.
        let setup = Setup::new(SEED);
        let said = complaint(&setup, Mutant::Sound, |rig| scenario.play(rig));
        assert_names(&said, expected);
    }
}

/// A test of each scenario: something makes it fail, and of the microcontrollers that are wrong its
/// own ones do and no other.
mod what_each_scenario_notices {
    use super::*;

    fn notices(scenario: &Scenario) {
        let is_it = |other: &Scenario| other.name == scenario.name;
        // The two first have tests of their own: lines that do not deliver, a receiver that counts
        // twice.
        let tested = [scenario::LOOP_CLOSES, scenario::LOSSY];
        let told = DISOBEYED.iter().chain(&NOT_SET_UP).map(|(scenario, _)| scenario);
        let wrong = WRONG.iter().map(|(_, scenario, _)| scenario);
        assert!(tested.iter().chain(told).chain(wrong).any(is_it), "nothing makes it fail");
        for (mutant, its_scenario, expected) in WRONG {
            let said = complaint(&scenario.setup(SEED), mutant, |rig| scenario.play(rig));
            let noticed =
                if is_it(&its_scenario) { said.contains(expected) } else { said == NOTHING };
            assert!(noticed, "{mutant:?}: \"{said}\"");
        }
    }

    coshift_tests::scenario_tests!(notices);
}

#[test]
fn frames_that_lie_are_noticed() {
    let cases = [
        (Direction::FromMcu, Rewrite::NoSuchLevel, "decisions were invalid"),
        (Direction::FromMcu, Rewrite::OtherLevel, "decisions differed on equal inputs"),
        (Direction::ToMcu, Rewrite::OtherNumber, "a frame that nobody sent"),
    ];
    for (direction, rewrite, expected) in cases {
        let said = complaint(&Setup::new(SEED), Mutant::Sound, |rig| {
            let mut play = Play::new(rig);
            play.until_mcu_decides()?;
            play.rig.line().rewrite(direction, rewrite);
            for _ in 0..10 {
                play.report()?;
            }
            play.end()
        });
        assert_names(&said, expected);
    }
}

/// A report of a loop that runs well.
fn good() -> (&'static Case, Report) {
    let setup = Setup::new(SEED);
    let case = Case::reference().unwrap();
    let policies = Policies::new(case, &setup).unwrap();
    let mut rig = SimRig::start(&policies, &setup, Mutant::Sound).unwrap();
    (case, Play::new(&mut rig).until_mcu_decides().unwrap())
}

#[test]
fn reports_that_cannot_be_are_noticed() {
    type Change = fn(&mut Report, &Case);

    let (case, good) = good();
    check(case, None, &good).unwrap();
    let changes: [(Change, &str); 6] = [
        (|r, case| r.run_level = Some(case.levels), "no such level"),
        (|r, case| r.sub_networks[0] = Some(case.sub_networks), "no such sub-network"),
        (|r, _| r.sub_networks[3] = Some(0), "a decision for nobody"),
        (|r, _| r.invalid_decisions = 1, "invalid"),
        (|r, _| r.differing_decisions = 1, "differed"),
        (|r, _| r.link = coshift_host::core::LinkState::Silent, "not there decides"),
    ];
    for (change, expected) in changes {
        let mut bad = good.clone();
        change(&mut bad, case);
        assert_names(&check(case, None, &bad).unwrap_err().to_string(), expected);
    }
    let before = Report { decider: Decider::Twin, ..good.clone() };
    let silently = check(case, Some(&before), &good).unwrap_err();
    assert_names(&silently.to_string(), "handed back without saying so");
}

#[test]
fn trust_that_was_not_earned_is_noticed() {
    let (_, good) = good();
    let alone = Report { mcu_decisions: 100, equal_decisions: 0, ..good.clone() };
    let handed = |mcu_decisions, equal_decisions| {
        early(&alone, &Report { mcu_decisions, equal_decisions, ..good.clone() })
    };
    handed(120, 20).unwrap();
    assert!(handed(119, 20).is_err(), "of nineteen decisions twenty cannot be equal");
    assert!(handed(130, 19).is_err());
}
