//! Applications join and leave at run time.

use anyhow::{Context, Result, ensure};
use coshift_host::report::Report;
use coshift_shared::units::MAX_APPLICATIONS;

use super::Play;

/// Periods within which whoever joined has a sub-network, and whoever left has none.
const MOST: u32 = 10;

pub(super) fn run(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    let others: Vec<String> = (1..MAX_APPLICATIONS).map(|number| format!("cam{number}")).collect();
    for (there, name) in (1..).zip(&others) {
        let spec = play.rig.case().modest(name);
        play.rig.set(&spec)?;
        play.until(&format!("{name} is served"), MOST, |report| serves(report, there + 1))?;
        play.until_mcu_decides()?;
    }
    // There is no room for another one, and who is there stays.
    let spec = play.rig.case().modest("cam9");
    let refused = play.rig.set(&spec).err().context("more applications than there are slots")?;
    ensure!(format!("{refused:#}").contains("cam9"), "not named: {refused:#}");
    ensure!(serves(&play.report()?, MAX_APPLICATIONS), "somebody is gone");
    // One in the middle leaves, another one takes its slot; then all but the first leave.
    let Some(middle) = others.get(1) else { return Ok(()) };
    play.rig.remove(middle)?;
    play.until("one is gone", MOST, |report| serves(report, MAX_APPLICATIONS - 1))?;
    let spec = play.rig.case().modest(middle);
    play.rig.set(&spec)?;
    play.until("it is back", MOST, |report| serves(report, MAX_APPLICATIONS))?;
    for name in &others {
        play.rig.remove(name)?;
    }
    let (_, after) = play.until("the first one is alone", MOST, |report| serves(report, 1))?;
    ensure!(after.sub_networks == before.sub_networks, "not as before: {after:?}");
    play.until_mcu_decides()?;
    ensure!(play.rig.remove("cam9").is_err(), "removed what is not there");
    Ok(())
}

/// So many applications are there, each has a sub-network, and nobody else has one.
fn serves(report: &Report, applications: usize) -> bool {
    let served = report.sub_networks.iter().flatten().count();
    report.applications.len() == applications
        && served == applications
        && report.applications.iter().all(|application| application.sub_network.is_some())
}
