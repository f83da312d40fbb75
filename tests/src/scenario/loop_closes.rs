//! The loop closes.

use anyhow::{Result, ensure};
use coshift_host::core::Decider;

use super::Play;

/// Periods watched.
const PERIODS: u32 = 40;
/// Of these, at least so many with a microcontroller that decides: on a busy machine the emulator
/// may sleep for three periods, and then has to earn trust again.
const LEAST_IN_REAL_TIME: u32 = 25;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let first = play.until_mcu_decides()?;
    let floor = play.rig.case().accuracy(play.rig.case().first);
    let deadline_us = play.rig.case().deadline_us;
    ensure!(first.digest_equal == Some(true), "digests are unequal: {first:?}");
    let from = play.seen();
    let mut by_mcu = 0;
    let mut last = first.clone();
    for _ in 0..PERIODS {
        last = play.report()?;
        by_mcu += u32::from(last.decider == Decider::Mcu);
        ensure!(last.run_level.is_some(), "no level: {last:?}");
        let accuracy = last.applications[0].accuracy_bp;
        ensure!(accuracy.is_some_and(|bp| bp >= floor), "accuracy under its floor: {last:?}");
        ensure!(last.shortfall.is_none(), "something is missing: {last:?}");
        let decided = last.sub_networks[0].zip(last.run_level);
        let latency_us = decided.and_then(|(row, level)| play.rig.case().latency_us(row, level));
        ensure!(latency_us.is_some_and(|us| us <= deadline_us), "too slow a choice: {last:?}");
    }
    let virtual_time = play.rig.in_virtual_time();
    let least = if virtual_time { PERIODS } else { LEAST_IN_REAL_TIME };
    ensure!(by_mcu >= least, "the microcontroller decided in {by_mcu} of {PERIODS} periods");
    ensure!(last.mcu_decisions - first.mcu_decisions >= least, "too few decisions: {last:?}");
    // Between requests the agent parks, so the report may find either level.
    ensure!(
        last.achieved_level.is_some()
            && [last.run_level, last.park_level].contains(&last.achieved_level),
        "the decision was not carried out: {last:?}"
    );

    // The latency of the scripted engine is the policy's at the level there was: it says whether the
    // decisions were carried out. A busy machine may come back late from the park level for some
    // requests; time from release to end says even more of how busy it is.
    let served = &last.applications[0];
    ensure!(served.done > first.applications[0].done, "no request was served: {last:?}");
    let slowest = if virtual_time { served.latency_p99_us } else { served.latency_p50_us };
    ensure!(slowest.is_some_and(|us| us <= deadline_us), "deadlines are missed: {last:?}");
    ensure!(!virtual_time || last.misses == 0, "{} deadlines were missed", last.misses);

    // Each telemetry is answered by one decision; the last ones may be under way.
    let line = play.rig.line();
    let count = |wanted: fn(&crate::wire::Seen) -> bool| {
        line.seen()[from..].iter().filter(|seen| wanted(seen)).count()
    };
    let asked = count(|seen| seen.telemetry().is_some());
    let answered = count(|seen| seen.decision().is_some());
    ensure!(answered + 2 >= asked || !virtual_time, "{answered} decisions for {asked} telemetries");
    ensure!(answered >= least as usize, "{answered} decisions on the line");
    Ok(())
}
