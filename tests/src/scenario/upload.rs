//! The agent sends its policy to a microcontroller that has another one.

use anyhow::{Context, Result, ensure};
use coshift_host::core::{Decider, LinkState, UploadStage};
use coshift_host::report::Report;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::{PolicyAck, ToHost, UploadState};

use super::Play;
use crate::faults::Faults;
use crate::rig::Setup;
use crate::wire::{Direction, Seen};

/// Periods within which the difference shows.
const MOST: u32 = 60;
/// Periods within which a lossy line brings the policy over.
const LOSSY: u32 = 400;
/// Looks at the line within which something must be on it.
const LOOKS: u32 = 400;

pub(super) fn setup(setup: &mut Setup) {
    setup.other_policy = true;
    setup.upload_policy = true;
}

pub(super) fn setup_cut(setup: &mut Setup) {
    self::setup(setup);
    setup.cut_upload = true;
}

pub(super) fn setup_lossy(setup: &mut Setup) {
    self::setup(setup);
    setup.faults = Faults {
        drop_permille: 50,
        flip_permille: 50,
        duplicate_permille: 50,
        reorder_permille: 50,
        ..Faults::NONE
    };
}

pub(super) fn setup_refused(setup: &mut Setup) {
    self::setup(setup);
    setup.unfit_number = true;
}

/// Offset of a chunk that was sent.
fn chunk(seen: &Seen) -> Option<u32> {
    match seen.sent_to_mcu() {
        Some(ToController::PolicyChunk(chunk)) => Some(chunk.offset),
        _ => None,
    }
}

fn ack(seen: &Seen) -> Option<PolicyAck> {
    match seen.sent_from_mcu() {
        Some(ToHost::PolicyAck(ack)) => Some(*ack),
        _ => None,
    }
}

/// Length of the policy that goes over, and its CRC as reports tell it.
fn policy(play: &Play<'_>) -> Result<(u32, String)> {
    let image = play.rig.case().other_image()?;
    let view = PolicyView::open(&image).context("policy")?;
    Ok((u32::try_from(image.len())?, format!("{:08x}", view.crc())))
}

/// The microcontroller decides with the uploaded policy, and everybody agrees which it is.
fn runs_it(play: &mut Play<'_>) -> Result<Report> {
    let (length, crc) = policy(play)?;
    let report = play.until_mcu_decides()?;
    ensure!(report.policy_crc.agent == crc, "{:?}", report.policy_crc);
    ensure!(report.policy_crc.mcu.as_ref() == Some(&crc), "{:?}", report.policy_crc);
    let upload = report.policy_upload.as_ref().context("no upload is reported")?;
    ensure!(upload.stage == UploadStage::Done, "{upload:?}");
    ensure!((upload.received, upload.length) == (length, length), "{upload:?}");
    let said = play.rig.notices();
    ensure!(said.iter().any(|line| line.contains("of this agent")), "not said: {said:?}");
    // Before it was active, nobody but the twin decided.
    ensure!(report.differing_decisions == 0, "{report:?}");
    Ok(report)
}

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let report = runs_it(play)?;
    let upload = report.policy_upload.context("no upload is reported")?;
    ensure!(upload.begun_at == 0, "it did not begin at the start: {upload:?}");
    let (length, _) = policy(play)?;
    let line = play.rig.line();
    // Nothing lost, nothing sent twice: each byte went over once.
    let sent: Vec<u32> = line.seen().iter().filter_map(chunk).collect();
    ensure!(sent.windows(2).all(|pair| pair[0] < pair[1]), "chunks out of order: {sent:?}");
    ensure!(sent.len() == length.div_ceil(38) as usize, "{} chunks", sent.len());
    let ends = line.seen().iter().filter_map(ack).filter(|ack| ack.state == UploadState::Active);
    ensure!(ends.count() >= 1, "never acknowledged as active");
    drop(line);
    // And it still runs it after the next reset.
    play.rig.kill_mcu()?;
    play.until("it is missed", MOST, |report| report.decider == Decider::Twin)?;
    let from = play.seen();
    play.rig.boot_mcu()?;
    let again = play.until_mcu_decides()?;
    ensure!(again.link == LinkState::InSession, "{again:?}");
    // A board that had lost it would have been sent it once more.
    let sent = play.rig.line().seen()[from..].iter().filter(|seen| chunk(seen).is_some()).count();
    ensure!(sent == 0, "the policy did not outlive its power: {sent} chunks were sent again");
    Ok(())
}

/// The line to the microcontroller dies in the middle of the upload; the byte it wants next then.
fn cut(play: &mut Play<'_>) -> Result<u32> {
    let (length, _) = policy(play)?;
    let mut received = None;
    play.until("the upload comes to a halt", MOST, |report| {
        let now = report.policy_upload.as_ref().map(|upload| upload.received);
        let halted = now.is_some_and(|now| now > 0) && now == received;
        received = now;
        halted
    })?;
    let line = play.rig.line();
    let wanted = line.seen().iter().filter_map(ack).map(|ack| ack.next_offset).max();
    let wanted = wanted.context("nothing was acknowledged")?;
    ensure!((1..length).contains(&wanted), "{wanted} of {length} bytes went over: no cut");
    Ok(wanted)
}

fn mend(play: &mut Play<'_>) {
    play.rig.line().set(Direction::ToMcu, Faults::NONE);
}

/// The offset of the first chunk sent after frame `from`.
fn goes_on_at(play: &mut Play<'_>, from: usize) -> Result<u32> {
    let place = play.until_seen("a chunk", LOOKS, from, |seen| chunk(seen).is_some())?;
    let line = play.rig.line();
    chunk(&line.seen()[place]).context("no chunk")
}

pub(super) fn run_cut_link(play: &mut Play<'_>) -> Result<()> {
    let wanted = cut(play)?;
    // Until the agent gives the session up.
    let from = play.seen();
    let is_hello = |seen: &Seen| matches!(seen.sent_to_mcu(), Some(ToController::Hello(_)));
    let mut greeted = false;
    for _ in 0..MOST {
        let report = play.report()?;
        ensure!(report.decider == Decider::Twin, "decided by a stranger: {report:?}");
        greeted |= play.rig.line().seen()[from..].iter().any(is_hello);
    }
    ensure!(greeted, "the session was not given up");
    mend(play);
    let from = play.seen();
    let begun = play.until_seen("the upload goes on", LOOKS, from, |seen| {
        matches!(seen.sent_to_mcu(), Some(ToController::PolicyBegin(_)))
    })?;
    let next = goes_on_at(play, begun)?;
    ensure!(next == wanted, "it went on at {next}, not at {wanted}");
    let report = runs_it(play)?;
    let upload = report.policy_upload.context("no upload is reported")?;
    ensure!(upload.begun_at == wanted, "{upload:?}");
    let text = format!("goes on at byte {wanted} of {}", upload.length);
    let said = play.rig.notices();
    ensure!(said.iter().any(|line| line.contains(&text)), "not said: {text}");
    Ok(())
}

pub(super) fn run_reset(play: &mut Play<'_>) -> Result<()> {
    let wanted = cut(play)?;
    let theirs = PolicyView::open(&play.rig.case().image).context("policy")?.crc();
    play.rig.kill_mcu()?;
    mend(play);
    let from = play.seen();
    play.rig.boot_mcu()?;
    // The old policy stands.
    let is_welcome = |seen: &Seen| matches!(seen.sent_from_mcu(), Some(ToHost::Welcome(_)));
    let place = play.until_seen("it boots again", LOOKS, from, is_welcome)?;
    let crc = match play.rig.line().seen()[place].sent_from_mcu() {
        Some(ToHost::Welcome(welcome)) => welcome.policy_crc,
        _ => 0,
    };
    ensure!(crc == theirs, "it booted on policy {crc:08x}, not {theirs:08x}");
    let begun = play.until_seen("the upload goes on", LOOKS, place, |seen| {
        matches!(seen.sent_to_mcu(), Some(ToController::PolicyBegin(_)))
    })?;
    let next = goes_on_at(play, begun)?;
    // A unit may be torn, and one may not have been full.
    ensure!((wanted - 8..=wanted).contains(&next), "it went on at {next}, not near {wanted}");
    runs_it(play)?;
    Ok(())
}

pub(super) fn run_lossy(play: &mut Play<'_>) -> Result<()> {
    // The line is mended when the new policy runs: digests need frames that arrive.
    let (_, crc) = policy(play)?;
    play.until("the new policy runs", LOSSY, |report| {
        report.policy_crc.mcu.as_ref() == Some(&crc)
    })?;
    for direction in Direction::BOTH {
        let injected = play.rig.line().injected(direction);
        let each = [injected.dropped, injected.flipped, injected.duplicated, injected.reordered];
        ensure!(each.iter().sum::<u64>() > 5, "hardly anything was injected: {injected:?}");
        play.rig.line().set(direction, Faults::NONE);
    }
    let report = play.until_mcu_decides()?;
    ensure!(report.differing_decisions == 0, "{report:?}");
    Ok(())
}

pub(super) fn run_refused(play: &mut Play<'_>) -> Result<()> {
    let sequence = play.rig.case().sequence()?;
    let failed = |report: &Report| {
        report.policy_upload.as_ref().is_some_and(|upload| upload.stage == UploadStage::Failed)
    };
    let (_, report) = play.until("the upload is given up", MOST, failed)?;
    ensure!(report.decider == Decider::Twin, "decided by a stranger: {report:?}");
    ensure!(report.link == LinkState::PoliciesDiffer, "{report:?}");
    let upload = report.policy_upload.context("no upload is reported")?;
    let why = upload.failure.context("no reason is reported")?;
    let must = format!("must have number {}", sequence + 1);
    ensure!(why.contains(&must), "the reason does not say it: {why}");
    let said = play.rig.notices();
    ensure!(said.iter().any(|line| line.contains(&must)), "not said: {said:?}");
    let sent = play.rig.line().seen().iter().filter(|seen| chunk(seen).is_some()).count();
    ensure!(sent == 0, "{sent} chunks were sent");
    Ok(())
}
