//! The microcontroller's loop hangs; its watchdog resets it.

use anyhow::{Context, Result, ensure};
use coshift_host::core::Decider;
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::{FaultCode, ResetCause, ToHost};

use super::Play;

/// Periods within which the twin takes over; the watchdog takes 6 s, 120 periods of 50 ms.
const MOST: u32 = 60;
/// Looks at the line within which the watchdog must have reset it.
const LOOKS: u32 = 1_000;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    let boot = before.mcu.as_ref().context("nobody was met")?.boot_nonce.clone();
    play.rig.hang_mcu()?;
    let (_, alone) =
        play.until("the twin takes over", MOST, |report| report.decider == Decider::Twin)?;
    // Nobody restarts anything: it comes back by itself, and says why.
    let from = play.seen();
    let back = play.until_seen("the watchdog resets it", LOOKS, from, |seen| {
        matches!(seen.sent_from_mcu(), Some(ToHost::Welcome(welcome))
            if welcome.reset_cause == ResetCause::Watchdog && welcome.last_fault == FaultCode::Hang)
    })?;
    let after = play.until_mcu_decides()?;
    let mcu = after.mcu.as_ref().context("nobody was met again")?;
    ensure!(mcu.boot_nonce != boot, "it is the old boot: {after:?}");
    ensure!(mcu.reset_cause == "watchdog", "{mcu:?}");
    ensure!(
        mcu.last_fault.as_deref() == Some("control loop hung or no longer answered"),
        "{mcu:?}"
    );
    ensure!(after.handbacks == alone.handbacks + 1, "{after:?}");
    let seeded = play.rig.line().seen()[back..]
        .iter()
        .any(|seen| matches!(seen.sent_to_mcu(), Some(ToController::Seed(_))));
    ensure!(seeded, "it was not brought to the twin's state");
    let said = play.rig.notices();
    let told = |line: &&String| {
        line.contains("reset by watchdog, last fault: control loop hung or no longer answered")
    };
    ensure!(said.iter().any(|line| told(&line)), "not said: {said:?}");
    Ok(())
}
