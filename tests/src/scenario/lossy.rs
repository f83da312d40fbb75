//! A lossy line.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::{Status, ToHost, WorkCounters};
use coshift_shared::units::{NO_LEVEL, slowdown};

use super::Play;
use crate::faults::Faults;
use crate::line::Line;
use crate::wire::{Direction, Message, Stage};

/// 5 % each.
const FAULTS: Faults = Faults {
    drop_permille: 50,
    flip_permille: 50,
    duplicate_permille: 50,
    reorder_permille: 0,
    stall: false,
    dead_after: None,
};
/// Periods with faults.
const PERIODS: u32 = 100;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    for direction in Direction::BOTH {
        play.rig.line().set(direction, FAULTS);
    }
    let mut last = before.clone();
    for _ in 0..PERIODS {
        last = play.report()?;
    }
    ensure!(last.applications[0].done > before.applications[0].done, "nothing was served");
    for direction in Direction::BOTH {
        play.rig.line().set(direction, Faults::NONE);
        let injected = play.rig.line().injected(direction);
        let each = [injected.dropped, injected.flipped, injected.duplicated];
        ensure!(each.iter().all(|count| *count > 0), "nothing was injected: {injected:?}");
    }
    // Before the rest, which needs digests that are equal again.
    let from = play.seen();
    play.until_seen("counters of the microcontroller", 400, from, |seen| {
        matches!(seen.sent_from_mcu(), Some(ToHost::Status(Status::Work(_))))
    })?;
    counted_once(&play.rig.line())?;
    let after = play.until_mcu_decides()?;
    ensure!(after.digest_equal == Some(true), "digests stay unequal: {after:?}");
    let counted = |r: &coshift_host::report::Report| {
        let seen = |c: coshift_shared::session::LinkCounters| {
            // A flipped bit spoils the stuffing or the check sum.
            c.lost > 0 && c.crc + c.cobs > 0 && c.repeated > 0 && c.malformed == 0
        };
        r.to_mcu.is_some_and(seen) && seen(r.from_mcu)
    };
    play.until("gaps, flips and doubles are counted on both sides", 60, counted)?;
    Ok(())
}

/// Every time the microcontroller told how many samples it learned from, it had got as many: no
/// sample was counted twice. And it does learn.
fn counted_once(line: &Line) -> Result<()> {
    let mut delivered: HashSet<(u8, u32)> = HashSet::new();
    let mut last: Option<WorkCounters> = None;
    for seen in line.seen() {
        match (&seen.message, seen.stage) {
            (Message::ToController(ToController::Outcomes(message)), Stage::Delivered) => {
                let learned = (0_u32..).zip(&message.samples).filter(|(_, sample)| {
                    message.level != NO_LEVEL && slowdown::from_wire(**sample).is_some()
                });
                let index = |n: u32| (message.slot, message.first_index.wrapping_add(n));
                delivered.extend(learned.map(|(n, _)| index(n)));
            }
            (Message::ToHost(ToHost::Status(Status::Work(work))), Stage::Sent) => {
                let (got, counted) = (delivered.len(), work.samples as usize);
                ensure!(counted <= got, "samples were counted twice: {counted} of {got}");
                last = Some(*work);
            }
            _ => {}
        }
    }
    let (got, counted) = (delivered.len(), last.map_or(0, |work| work.samples as usize));
    ensure!(counted * 10 >= got * 8, "only {counted} of {got} samples were learned from");
    Ok(())
}
