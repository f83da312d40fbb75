//! The agent stalls.

use anyhow::{Context, Result, ensure};
use coshift_host::core::Decider;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_host::{Decision, Mode, Reason};

use super::Play;

/// Looks at the line until a mode must have come; asserts nothing about speed.
const MOST: u32 = 2_000;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    play.until_mcu_decides()?;
    let from = play.seen();
    play.rig.stall_agent(true)?;
    let result = hold_then_safe(play, from);
    // In any case, or the agent could not be ended.
    play.rig.stall_agent(false)?;
    let safe = result?;

    let run = play.until_seen("a decision in mode Run", MOST, safe, |seen| {
        seen.decision().is_some_and(|decision| decision.mode == Mode::Run)
    })?;
    let answered = play.rig.line().seen()[safe..run].iter().any(|seen| seen.telemetry().is_some());
    ensure!(answered || play.rig.in_virtual_time(), "it runs again without telemetry");
    let (_, report) = play.until("the microcontroller runs", 300, |report| {
        report.decider == Decider::Mcu && report.mode.as_deref() == Some("run")
    })?;
    ensure!(report.shortfall.is_none(), "something is missing: {report:?}");
    Ok(())
}

/// Returns where the safest level was taken.
fn hold_then_safe(play: &mut Play<'_>, from: usize) -> Result<usize> {
    let decides = |wanted: Mode| {
        move |seen: &crate::wire::Seen| seen.decision().is_some_and(|d| d.mode == wanted)
    };
    let hold = play.until_seen("a decision in mode Hold", MOST, from, decides(Mode::Hold))?;
    let safe = play.until_seen("a decision in mode Safe", MOST, hold, decides(Mode::Safe))?;
    let line = play.rig.line();
    let decision = |place: usize| -> Result<Decision> {
        line.seen()[place].decision().copied().context("a decision")
    };
    let (hold, last) = (decision(hold)?, decision(safe)?);
    let early = line.seen()[from..safe].iter().any(decides(Mode::Safe));
    ensure!(!early, "the safest level before Hold");
    ensure!(hold.reason == Reason::StaleTelemetry, "{hold:?}");
    ensure!(last.reason == Reason::AgentSilent, "{last:?}");
    let before = line.seen()[..from].iter().rev().find_map(|seen| seen.decision().copied());
    let before = before.context("no decision before the stall")?;
    ensure!(hold.same_action(&before), "Hold keeps the last decision: {before:?}, {hold:?}");
    // Never more power without telemetry: the safest level needs no more than the one held.
    let policy = PolicyView::open(&play.rig.case().image).context("policy")?;
    let idle_mw = |level: u8| policy.level(level).map(|level| level.idle_mw);
    ensure!(idle_mw(last.run_level) <= idle_mw(hold.run_level), "{hold:?}, {last:?}");
    ensure!(last.power_mw <= hold.power_mw, "{hold:?}, {last:?}");
    Ok(safe)
}
