//! The same script in virtual time, with the controller inside the agent: what tests run.

use coshift_host::boards;
use coshift_host::cells::Cells;
use coshift_host::clock::Time;
use coshift_host::core::{AgentCore, Caps, Settings};
use coshift_host::engine::ScriptedEngine;
use coshift_host::platform::VirtualBoard;
use coshift_host::report::{ReportEvent, report};
use coshift_host::runtime::Runtime;
use coshift_host::simulation::{NoLink, Simulation};
use coshift_host::spec::{ApplicationSpec, SlowdownScript};
use coshift_host::trace::HEADER;
use coshift_plant::policy;
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Duration;
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

use super::recording::{self, Recording};
use super::script::{Change, NETWORK, PERIOD_MS, Script};

/// Standard deviation of the latencies, 0.01 %.
const NOISE_BP: u16 = 100;

fn at(seconds: f64) -> Time {
    Time::from_us((seconds * 1e6).round() as u64)
}

/// Runs the script; `freeze` keeps the first decision.
pub(crate) fn run(freeze: bool, seed: u64) -> (Script, Recording) {
    let board = boards::find("--board", "virtual:xavier_nx").expect("a shipped board");
    let script = Script::new(board.network(NETWORK).expect("the shipped network"));
    let image = policy::first_image(&board).and_then(|image| policy::bytes(&image));
    let image = image.expect("a policy of a shipped board");
    let policy = PolicyView::open(&image).expect("a valid image");
    let settings = Settings {
        period: Duration::from_us(PERIOD_MS as u32 * 1000),
        remote: false,
        boot_nonce: 1,
        session_seed: seed,
        caps: Caps { power_mw: NO_POWER_CAP, temp_mdeg_c: NO_TEMP_CAP },
        parking: true,
    };
    let platform = VirtualBoard::new(&board, &policy, policy.levels() - 1).expect("its own policy");
    let mut runtime = Runtime::new(AgentCore::new(policy, settings), platform);
    if freeze {
        runtime.freeze();
    }
    let slowdown = SlowdownScript::parse("script", &script.slowdown()).expect("a script");
    let cells = Cells::of_board(&board, &policy).expect("its own policy");
    let engine = ScriptedEngine::of_cells(cells, vec![slowdown], NOISE_BP, seed);
    let mut simulation = Simulation::new(runtime, engine, NoLink);
    let mut recording = Recording::default();
    let set = |simulation: &mut Simulation<'_, VirtualBoard, NoLink>, change: &Change| {
        let (now, mut effects) = (simulation.now(), Vec::new());
        match *change {
            Change::Targets { deadline_ms, floor_bp } => {
                let text = Script::application(deadline_ms, floor_bp);
                let spec = ApplicationSpec::parse("script", &text).expect("a specification");
                let set = simulation.runtime.set_application(now, "script", spec, &mut effects);
                set.expect("a network of the policy");
            }
            Change::PowerCap(cap) => {
                let power_mw = cap.unwrap_or(NO_POWER_CAP);
                let caps = Caps { power_mw, temp_mdeg_c: NO_TEMP_CAP };
                simulation.runtime.set_caps(now, caps, &mut effects);
            }
            // The engine's script has it.
            Change::Slowdown(_) => {}
        }
        simulation.apply(effects);
    };
    let start = Change::Targets { deadline_ms: script.deadline_ms, floor_bp: script.floor_bp };
    set(&mut simulation, &start);
    let ends = script.events.iter().map(|event| (event.at_s, Some(&event.change)));
    for (until_s, change) in ends.chain([(script.end_s() + 0.5, None)]) {
        simulation.run_until(at(until_s), |now, runtime, _| {
            recording.periods.push(report(ReportEvent::Period, now, runtime, 0));
        });
        if let Some(change) = change {
            set(&mut simulation, change);
        }
    }
    let mut text = format!("{HEADER}\n");
    for finished in &simulation.finished {
        text += &format!("{finished}\n");
    }
    recording.requests = recording::rows(&text).expect("the trace's own format");
    (script, recording)
}

#[cfg(test)]
mod tests {
    use coshift_host::boards;

    use super::run;
    use crate::demo::judge::{Check, judge};
    use crate::demo::phases::figures;
    use crate::demo::recording::Recording;
    use crate::demo::script::{NETWORK, RATE, Script};

    fn judged(script: &Script, recording: &Recording) -> Vec<Check> {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        judge(script, &board, board.network(NETWORK).unwrap(), recording)
    }

    #[test]
    fn the_script_shows_what_it_says_at_any_noise() {
        for seed in 1..=10 {
            let (script, recording) = run(false, seed);
            for check in judged(&script, &recording) {
                assert!(check.passed, "seed {seed}: {}: {}", check.what, check.found);
            }
        }
    }

    #[test]
    fn a_frozen_decision_is_noticed() {
        let (script, recording) = run(true, 1);
        let failed = judged(&script, &recording).iter().filter(|check| !check.passed).count();
        assert_eq!(failed, 2 + script.events.len() + 1, "every check");
    }

    /// A controller that goes to and fro without a reason changes after every event, and at once.
    #[test]
    fn changes_that_answer_nothing_are_noticed() {
        let (script, mut recording) = run(true, 1);
        for (index, report) in recording.periods.iter_mut().enumerate() {
            let index = u8::try_from(index % 2).unwrap();
            report.run_level = Some(1 + index);
            report.sub_networks[0] = Some(3 + index);
            if let Some(changed) = &mut report.changed {
                changed.time_us = report.time_us;
            }
        }
        let failed = judged(&script, &recording).iter().filter(|check| !check.passed).count();
        assert!(failed > script.events.len() / 2, "{failed} failed");
    }

    #[test]
    fn promises_are_kept_but_for_the_first_requests_of_a_neighbour() {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        let network = board.network(NETWORK).unwrap();
        let (script, recording) = run(false, 1);
        for phase in &script.phases {
            let figures = figures(phase, &script, network, &recording);
            let expected = (phase.until_s - phase.from_s) * RATE;
            assert!((figures.requests as f64 - expected).abs() <= 1.0, "{}", phase.name);
            let allowed = if phase.name == "co-runner" { 6 } else { 2 };
            assert!(figures.misses <= allowed, "{}: {} late", phase.name, figures.misses);
            assert!(figures.energy_j > 0.0, "{}", phase.name);
            // The floor gives way to the cap alone, as the application wants it.
            let may = phase.name == "power cap";
            assert!(may || figures.under_floor <= 2, "{}: {}", phase.name, figures.under_floor);
            // The window in which the cap came.
            assert!(figures.over_cap_s <= 1.0, "{}: {} s", phase.name, figures.over_cap_s);
        }
    }
}
