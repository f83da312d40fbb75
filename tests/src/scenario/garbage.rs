//! Garbage on the port.

use anyhow::{Context, Result, ensure};
use coshift_host::core::Decider;

use super::Play;
use crate::wire::Direction;

/// Garbage in each direction, bytes. The emulated port takes some 35 kB/s.
const AMOUNT: u64 = 1 << 20;
/// Bytes of garbage that give at least one fault: a zero, which ends a frame, comes every 256
/// bytes on average.
const BYTES_A_FAULT: u64 = 512;
/// Periods without another byte of it after which it is stuck; how long all of it takes depends on
/// how busy the machine is.
const MOST: u32 = 300;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    for direction in Direction::BOTH {
        play.rig.line().add_garbage(direction, AMOUNT);
    }
    let mut last = before.clone();
    let mut left = 2 * AMOUNT;
    let mut stuck = 0;
    while left > 0 {
        // Each report is checked: no decision is invalid.
        last = play.report()?;
        let floor = play.rig.case().accuracy(play.rig.case().first);
        let accuracy = last.applications[0].accuracy_bp;
        ensure!(accuracy.is_some_and(|bp| bp >= floor), "accuracy under its floor: {last:?}");
        let line = play.rig.line();
        let now = Direction::BOTH.iter().map(|way| line.garbage_left(*way)).sum();
        stuck = if now < left { 0 } else { stuck + 1 };
        ensure!(stuck < MOST, "{now} bytes of garbage do not get through in {MOST} periods");
        left = now;
    }
    ensure!(last.applications[0].done > before.applications[0].done, "nothing was served");
    for direction in Direction::BOTH {
        let injected = play.rig.line().injected(direction);
        ensure!(injected.garbage == AMOUNT, "not all of it was put in: {injected:?}");
    }
    let least = u32::try_from(AMOUNT / BYTES_A_FAULT).unwrap_or(u32::MAX);
    let (_, after) =
        play.until("the microcontroller decides and tells of its faults", 300, |r| {
            let told = r.to_mcu.is_some_and(|counters| counters.faults() >= least);
            told && r.decider == Decider::Mcu && r.time_us > last.time_us
        })?;
    ensure!(after.from_mcu.faults() >= least, "{:?}", after.from_mcu);
    let to_mcu = after.to_mcu.context("no counters of the microcontroller")?;
    ensure!(to_mcu.malformed == 0 && after.from_mcu.malformed == 0, "a CRC let garbage through");
    Ok(())
}
