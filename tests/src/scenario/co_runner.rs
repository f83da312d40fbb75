//! A co-runner slows the application down.

use anyhow::{Result, bail, ensure};
use coshift_host::core::Decider;
use coshift_host::report::Report;
use coshift_shared::units::slowdown;

use super::Play;
use crate::case::Case;
use crate::rig::Setup;
use crate::wire::Seen;

/// When the co-runner starts and when it ends, s. There is more than one chance because the
/// microcontroller may not decide yet, on a busy machine.
const RUNS_S: [(u64, u64); 3] = [(8, 14), (24, 30), (45, 51)];
/// How slow it makes the application, 0.001: its deadline is twice the latency at the fastest
/// level.
const SLOWDOWN_PERMILLE: u32 = 1600;
/// Inferences within which the level rises.
const MOST_INFERENCES: usize = 10;
/// Between a sample with and one without a co-runner, Q8.24.
const SLOWED_Q24: u32 = (1 << 24) / 10 * 13;

pub(super) fn setup(setup: &mut Setup) {
    let factor = f64::from(SLOWDOWN_PERMILLE) / 1000.0;
    let steps = RUNS_S.map(|(start, end)| format!(",{start}s:{factor},{end}s:1.0")).concat();
    setup.slowdown = format!("{}=1.0{steps}", Case::NAME);
}

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    play.until_mcu_decides()?;
    for (start, _) in RUNS_S {
        let start_us = start * 1_000_000;
        let from = play.seen();
        let mut before = play.report()?;
        if before.time_us >= start_us {
            continue;
        }
        loop {
            let report = play.report()?;
            if report.time_us >= start_us {
                break;
            }
            before = report;
        }
        if before.decider == Decider::Mcu {
            return follow(play, from, &before);
        }
    }
    bail!("the microcontroller never decided when a co-runner started")
}

fn follow(play: &mut Play<'_>, from: usize, before: &Report) -> Result<()> {
    let Some(level) = before.run_level else { bail!("no level: {before:?}") };
    let risen = play.until_seen("a higher level", 400, from, |seen| {
        seen.decision().is_some_and(|decision| decision.run_level > level)
    })?;
    let slowed: usize = play.rig.line().seen()[from..risen].iter().map(slowed_samples).sum();
    ensure!(slowed > 0, "the level rose before anything was slow: {before:?}");
    ensure!(slowed <= MOST_INFERENCES, "the level rose after {slowed} slow inferences");
    play.until("the higher level is carried out, and nothing is missing", 20, |report| {
        report.run_level.is_some_and(|now| now > level)
            && report.achieved_level == report.run_level
            && report.shortfall.is_none()
    })?;
    if play.rig.in_virtual_time() {
        let enough = before.applications[0].done + MOST_INFERENCES as u64;
        let (_, learned) =
            play.until("ten inferences", 100, |report| report.applications[0].done > enough)?;
        let (_, last) = play.until("two more seconds", 100, |report| {
            report.time_us >= learned.time_us + 2_000_000
        })?;
        ensure!(last.misses == learned.misses, "deadlines are still missed: {last:?}");
        ensure!(
            learned.misses <= before.misses + MOST_INFERENCES as u64 / 2,
            "too many deadlines were missed before the level rose: {learned:?}"
        );
    }
    Ok(())
}

/// Samples of one frame that a co-runner slowed down.
fn slowed_samples(seen: &Seen) -> usize {
    let Some(outcomes) = seen.outcomes() else { return 0 };
    let slow = |sample: &&[u8; 2]| slowdown::from_wire(**sample).is_some_and(|x| x > SLOWED_Q24);
    outcomes.samples.iter().filter(slow).count()
}

#[cfg(test)]
mod tests {
    use coshift_host::spec::SlowdownScript;

    use super::{RUNS_S, setup};
    use crate::rig::Setup;

    #[test]
    fn the_script_is_what_the_scenario_waits_for() {
        let mut asked = Setup::new(1);
        setup(&mut asked);
        let script = SlowdownScript::parse("--slowdown", &asked.slowdown).unwrap();
        for (start, end) in RUNS_S {
            assert_eq!(script.at(start * 1_000_000), 1600);
            assert_eq!(script.at(end * 1_000_000), 1000);
        }
    }
}
