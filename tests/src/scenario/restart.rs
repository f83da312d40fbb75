//! The microcontroller dies, and another one boots behind the same port.

use anyhow::{Context, Result, ensure};
use coshift_host::core::judge::EQUAL_TO_TRUST;
use coshift_host::core::{Decider, LinkState};
use coshift_host::report::Report;
use coshift_shared::session::NO_SESSION;
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::ToHost;

use super::Play;
use super::play::PERIODS_TO_DECIDE;
use crate::wire::Seen;

/// Periods within which the twin takes over.
const MOST_SILENT: u32 = 4;
/// Periods within which that must be seen, with reports that were made before its end.
const MOST_UNDER_WAY: u32 = 20;
/// Periods without a microcontroller that are watched.
const ALONE: u32 = 8;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    let boot = before.mcu.as_ref().context("nobody was met")?.boot_nonce.clone();

    play.rig.kill_mcu()?;
    let mut last_heard = before;
    let mut silent = 0;
    let mut periods = 0;
    loop {
        let report = play.report()?;
        periods += 1;
        ensure!(periods <= MOST_UNDER_WAY, "it is dead and goes on deciding: {report:?}");
        // From the last period in which a decision came: that is when it fell silent.
        silent = if report.mcu_decisions == last_heard.mcu_decisions { silent + 1 } else { 0 };
        ensure!(silent <= MOST_SILENT, "no take-over after {silent} silent periods: {report:?}");
        if report.decider == Decider::Twin {
            ensure!(report.twin_takeovers == last_heard.twin_takeovers + 1, "{report:?}");
            ensure!(report.link == LinkState::Silent, "not silent: {report:?}");
            last_heard = report;
            break;
        }
        last_heard = report;
    }
    said(play, "the twin takes over: the MCU is silent")?;
    let alone = twin_serves(play, &last_heard)?;

    let from = play.seen();
    play.rig.boot_mcu()?;
    hand_back(play, &alone)?;
    greeted_in_order(play, from)?;
    said(play, "MCU restarted")?;
    said(play, "the MCU decides: 20 equal decisions in a row")?;
    let after = play.report()?;
    let now = &after.mcu.as_ref().context("nobody was met again")?.boot_nonce;
    ensure!(*now != boot, "it is the old boot: {after:?}");
    Ok(())
}

fn said(play: &Play<'_>, text: &str) -> Result<()> {
    let notices = play.rig.notices();
    ensure!(notices.iter().any(|line| line.contains(text)), "not said: {text}");
    Ok(())
}

/// Without a microcontroller the twin decides and requests are served.
fn twin_serves(play: &mut Play<'_>, from: &Report) -> Result<Report> {
    let mut last = from.clone();
    for _ in 0..ALONE {
        last = play.report()?;
        ensure!(last.decider == Decider::Twin, "nobody else is there: {last:?}");
        ensure!(last.mode.as_deref() == Some("run"), "the twin does not run: {last:?}");
    }
    ensure!(last.applications[0].done > from.applications[0].done, "nothing is served: {last:?}");
    Ok(last)
}

/// The twin decides until twenty decisions in a row were equal, and not a period longer than that
/// shows.
fn hand_back(play: &mut Play<'_>, alone: &Report) -> Result<()> {
    let mut last = alone.clone();
    for _ in 0..PERIODS_TO_DECIDE {
        let report = play.report()?;
        let equal = report.equal_decisions;
        if report.decider == Decider::Mcu {
            early(alone, &report)?;
            ensure!(report.session != alone.session, "still the old session: {report:?}");
            ensure!(report.handbacks == alone.handbacks + 1, "{report:?}");
            ensure!(last.equal_decisions < EQUAL_TO_TRUST, "trusted late: {last:?}");
            return Ok(());
        }
        ensure!(equal < EQUAL_TO_TRUST, "trusted late: {report:?}");
        last = report;
    }
    anyhow::bail!("not handed back within {PERIODS_TO_DECIDE} periods")
}

/// Fails where a microcontroller decides in `report` with fewer equal decisions than earn trust,
/// since it was not there in `alone`.
///
/// # Errors
/// It decides too early.
pub fn early(alone: &Report, report: &Report) -> Result<()> {
    let decisions = report.mcu_decisions.wrapping_sub(alone.mcu_decisions);
    ensure!(
        report.equal_decisions >= EQUAL_TO_TRUST && decisions >= EQUAL_TO_TRUST,
        "trusted after {} equal decisions of {decisions}",
        report.equal_decisions
    );
    Ok(())
}

/// On the line: an announcement, Hello, Welcome in its session, Applications, Limits and the whole
/// seed, before any telemetry of that session.
fn greeted_in_order(play: &Play<'_>, from: usize) -> Result<()> {
    let line = play.rig.line();
    let frames = &line.seen()[from..];
    let is_welcome = |seen: &Seen| matches!(seen.sent_from_mcu(), Some(ToHost::Welcome(_)));
    let mut welcomes = frames.iter().enumerate().filter(|(_, seen)| is_welcome(seen));
    let (_, announced) = welcomes.next().context("the new boot said nothing")?;
    ensure!(announced.header.session == NO_SESSION, "it did not announce itself: {announced:?}");
    let (welcomed, _) = welcomes
        .find(|(_, seen)| seen.header.session != NO_SESSION)
        .context("no session was opened")?;
    let session = frames[welcomed].header.session;
    let greeted = frames[..welcomed].iter().any(|seen| {
        seen.header.session == session && matches!(seen.sent_to_mcu(), Some(ToController::Hello(_)))
    });
    ensure!(greeted, "Welcome before Hello");
    let mut order = Vec::new();
    let mut parts = Vec::new();
    for seen in frames[welcomed..].iter().filter(|seen| seen.header.session == session) {
        match seen.sent_to_mcu() {
            Some(ToController::Application(_)) => order.push("Application"),
            Some(ToController::Limits(_)) => order.push("Limits"),
            Some(ToController::Seed(seed)) => {
                order.push("Seed");
                parts.push((seed.part, seed.parts));
            }
            Some(ToController::Telemetry(_)) => break,
            _ => {}
        }
    }
    order.dedup();
    ensure!(order == ["Application", "Limits", "Seed"], "brought to the state by {order:?}");
    let all = (0..).zip(&parts).all(|(n, (part, parts))| n == *part && *parts > 0);
    ensure!(all && parts.last().is_some_and(|(part, of)| part + 1 == *of), "seed {parts:?}");
    Ok(())
}
