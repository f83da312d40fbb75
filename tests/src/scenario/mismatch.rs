//! Versions that do not meet, and policies that differ.

use anyhow::{Context, Result, ensure};
use coshift_host::core::{Decider, LinkState};
use coshift_host::report::Report;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::{Refusal, ToHost};

use super::Play;
use crate::rig::Setup;
use crate::wire::{Message, Seen, Stage};

/// Versions of a microcontroller of another time.
const THEIRS: VersionRange = VersionRange { min: 7, current: 9 };
/// Periods within which the mismatch shows.
const MOST: u32 = 60;
/// Periods watched from there on.
const PERIODS: u32 = 25;

pub(super) fn setup_versions(setup: &mut Setup) {
    setup.mcu_versions = THEIRS;
}

pub(super) fn setup_policies(setup: &mut Setup) {
    setup.other_policy = true;
}

pub(super) fn run_versions(play: &mut Play<'_>) -> Result<()> {
    let report = on_its_twin(play, LinkState::VersionsDiffer)?;
    let ours = VersionRange::OURS;
    ensure!(report.protocol.agent == [ours.min, ours.current], "{:?}", report.protocol);
    ensure!(report.protocol.mcu == Some([THEIRS.min, THEIRS.current]), "{:?}", report.protocol);
    let said = play.rig.notices();
    let both = |line: &&String| line.contains("protocol versions do not meet: agent 1, MCU 7 to 9");
    ensure!(said.iter().filter(both).count() == 1, "not said, or more than once: {said:?}");
    // The microcontroller's side: it refuses, and its Welcome says what it speaks.
    let line = play.rig.line();
    let refused = line.seen().iter().any(|seen| {
        matches!(seen.sent_from_mcu(), Some(ToHost::Refused(r)) if r.why == Refusal::VersionMismatch)
    });
    ensure!(refused, "the microcontroller did not refuse");
    let hello = line.seen().iter().find_map(|seen| match (&seen.message, seen.stage) {
        (Message::ToController(ToController::Hello(hello)), Stage::Delivered) => Some(*hello),
        _ => None,
    });
    let hello = hello.context("no Hello was delivered")?;
    let heard = VersionRange { min: hello.protocol_min, current: hello.protocol_current };
    let welcome = line.seen().iter().find_map(|seen| match seen.sent_from_mcu() {
        Some(ToHost::Welcome(welcome)) => Some(*welcome),
        _ => None,
    });
    let welcome = welcome.context("no Welcome was sent")?;
    let speaks = VersionRange { min: welcome.protocol_min, current: welcome.protocol_current };
    ensure!(speaks.settle(heard).is_none(), "the microcontroller heard {heard:?}: they meet");
    Ok(())
}

pub(super) fn run_policies(play: &mut Play<'_>) -> Result<()> {
    let report = on_its_twin(play, LinkState::PoliciesDiffer)?;
    let crc = |image: &[u8]| -> Result<String> {
        Ok(format!("{:08x}", PolicyView::open(image).context("policy")?.crc()))
    };
    let case = play.rig.case();
    let (theirs, ours) = (crc(&case.image)?, crc(&case.other_image()?)?);
    ensure!(report.policy_crc.agent == ours, "{:?}", report.policy_crc);
    ensure!(report.policy_crc.mcu.as_ref() == Some(&theirs), "{:?}", report.policy_crc);
    let text = format!("policies differ: agent CRC {ours}, MCU CRC {theirs}");
    let said = play.rig.notices();
    ensure!(said.iter().filter(|line| line.contains(&text)).count() == 1, "not said: {said:?}");
    Ok(())
}

/// The mismatch shows, and the agent serves its requests with decisions of its twin.
fn on_its_twin(play: &mut Play<'_>, link: LinkState) -> Result<Report> {
    let (_, first) = play.until("the mismatch shows", MOST, |report| report.link == link)?;
    let from = play.seen();
    let mut last = first.clone();
    for _ in 0..PERIODS {
        last = play.report()?;
        ensure!(last.decider == Decider::Twin, "decided by a stranger: {last:?}");
        ensure!(last.link == link, "the mismatch is forgotten: {last:?}");
    }
    ensure!(last.applications[0].done > first.applications[0].done, "nothing is served: {last:?}");
    ensure!(last.mcu_decisions == 0, "it decided: {last:?}");
    let line = play.rig.line();
    let told = line.seen()[from..].iter().filter_map(Seen::sent_to_mcu);
    for message in told {
        ensure!(matches!(message, ToController::Hello(_)), "told to a stranger: {message:?}");
    }
    Ok(last)
}
