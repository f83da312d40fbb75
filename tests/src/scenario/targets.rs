//! A target is changed at run time.

use anyhow::{Context, Result, ensure};
use coshift_shared::to_controller::{Change, ToController};
use coshift_shared::to_host::Reason;

use super::Play;
use crate::wire::Seen;

/// Periods within which the change shows, and telemetries within which it is decided.
const MOST: u32 = 2;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    let (low, high) = (play.rig.case().first, play.rig.case().best);
    // Up and down again: each changes the sub-network.
    for row in [high, low] {
        let floor = play.rig.case().accuracy(row);
        let spec = play.rig.case().spec(row);
        let from = play.seen();
        play.rig.set(&spec)?;
        let (_, first) = play.until("the new target is reported", 20, |report| {
            report.applications[0].floor_bp == floor
        })?;
        let fits = |report: &coshift_host::report::Report| {
            report.applications[0].accuracy_bp.is_some_and(|bp| {
                if row == high { bp >= floor } else { report.sub_networks[0] != Some(high) }
            })
        };
        if !fits(&first) {
            play.until("the sub-network follows its target", MOST, fits)?;
        }
        decided_by_mcu(play, from, floor)?;
        play.until_mcu_decides()?;
    }
    let after = play.report()?;
    ensure!(after.sub_networks == before.sub_networks, "not as before: {after:?}");
    Ok(())
}

/// On the line: the new target, and the decision for it, with at most [`MOST`] telemetries
/// between.
fn decided_by_mcu(play: &mut Play<'_>, from: usize, floor: u16) -> Result<()> {
    let asked = play.until_seen("the target", 200, from, |seen| sets_floor(seen, floor))?;
    let decided = play.until_seen("the decision for it", 200, asked, |seen| {
        seen.decision().is_some_and(|decision| decision.reason == Reason::TargetsChanged)
    })?;
    let line = play.rig.line();
    let between = line.seen().get(asked..decided).context("frames are in order")?;
    let telemetries = between.iter().filter(|seen| seen.telemetry().is_some()).count();
    ensure!(telemetries <= MOST as usize, "{telemetries} telemetries before the decision");
    Ok(())
}

fn sets_floor(seen: &Seen, floor: u16) -> bool {
    let Some(ToController::Application(message)) = seen.sent_to_mcu() else { return false };
    matches!(message.change, Change::Set(targets) if targets.accuracy_floor_bp == floor)
}
