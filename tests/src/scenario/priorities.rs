//! Two applications that cannot both have what they ask for.

use anyhow::{Context, Result, ensure};
use coshift_host::report::{ApplicationReport, Report};

use super::Play;
use crate::case::Case;

/// Periods within which a change shows.
const MOST: u32 = 40;
/// Periods that it has to stay.
const STAYS: u32 = 40;
/// Deadline ÷ latencies of the best and of the quickest sub-network together: what the controller
/// keeps back, and less than a second one of the best needs.
const ROOM: (u32, u32) = (3, 2);
/// The other application.
const OTHER: &str = "other";

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    play.until_mcu_decides()?;
    // One after the other they miss the deadline, unless one of them takes the quickest there is.
    let case = play.rig.case();
    let latency = |row| case.latency_us(row, case.levels - 1).context("no latency");
    let deadline_us = (latency(case.best)? + latency(0)?) * ROOM.0 / ROOM.1;
    let spec = case.spec_within(case.best, deadline_us);
    let named = |name: &str, priority: u8| {
        format!("{},priority={priority}", spec.replacen(Case::NAME, name, 1))
    };
    play.rig.set(&named(Case::NAME, 100))?;
    play.until("one alone has its floor", MOST, |report| {
        kept(report, Case::NAME) == Some(true) && report.shortfall.is_none()
    })?;
    for (priority, first, second) in [(200, OTHER, Case::NAME), (50, Case::NAME, OTHER)] {
        play.rig.set(&named(OTHER, priority))?;
        let as_wanted = |report: &Report| {
            let missing = report.shortfall.as_ref().and_then(|what| what.application.as_deref());
            kept(report, first) == Some(true)
                && kept(report, second) == Some(false)
                && missing == Some(second)
        };
        let what = format!("{first} has its floor, and what {second} lacks is named");
        play.until(&what, MOST, as_wanted)?;
        for _ in 0..STAYS {
            let report = play.report()?;
            ensure!(as_wanted(&report), "{what}: no more: {report:?}");
        }
        play.until_mcu_decides()?;
    }
    play.rig.remove(OTHER)?;
    play.until("one alone has its floor again", MOST, |report| {
        kept(report, Case::NAME) == Some(true) && report.shortfall.is_none()
    })?;
    play.until_mcu_decides().map(drop)
}

/// Whether an application has its floor; `None` where it is not there or not decided about.
fn kept(report: &Report, name: &str) -> Option<bool> {
    let is = |application: &&ApplicationReport| application.name == name;
    let application = report.applications.iter().find(is)?;
    Some(application.accuracy_bp? >= application.floor_bp)
}
