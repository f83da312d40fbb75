//! Caps on the board change at run time.

use anyhow::{Context, Result, ensure};
use coshift_host::report::Report;

use super::Play;

/// Periods within which a change of caps shows, and something that fits is found.
const MOST: u32 = 20;
/// Periods that what was found has to stay.
const STAYS: u32 = 40;
/// Periods within which the board is no longer too hot: nominal for 2 s, and many more.
const COOL: u32 = 150;

/// Requests a second: equally many in every tenth of a second, over which a cap is held too. Else the
/// most that is drawn over one could pass a cap between two means, whatever is decided.
const RATE: u32 = 20;

/// A cap between what least latency and least energy need, and none again.
pub(super) fn power(play: &mut Play<'_>) -> Result<()> {
    play.until_mcu_decides()?;
    let spec = play.rig.case().spec(play.rig.case().first);
    let (spec, _) = spec.rsplit_once(",rate=").context("an application without a rate")?;
    let spec = format!("{spec},rate={RATE}");
    play.rig.set(&spec)?;
    // The first ones may tell of what was decided before.
    for _ in 0..MOST {
        play.report()?;
    }
    let frugal = play.until_mcu_decides()?;
    let least_mw = frugal.predicted_power_mw.context("a decision without a power")?;
    play.rig.set(&format!("{spec},objective=least-latency"))?;
    let (_, quick) = play.until("latency costs power", MOST, |report| {
        report.predicted_power_mw.is_some_and(|mw| mw > least_mw + least_mw / 20)
    })?;
    let most_mw = quick.predicted_power_mw.context("a decision without a power")?;
    let cap_mw = least_mw.midpoint(most_mw);
    let within = |report: &Report| {
        report.power_cap_mw == Some(cap_mw)
            && report.predicted_power_mw.is_some_and(|mw| mw <= cap_mw)
    };
    play.rig.limit(Some(&format!("{cap_mw}mW")), None)?;
    play.until("power under its cap", MOST, within)?;
    for _ in 0..STAYS {
        let report = play.report()?;
        ensure!(within(&report), "the cap is not kept: {report:?}");
        ensure!(report.shortfall.is_none(), "something is said to be missing: {report:?}");
        ensure!(report.sub_networks[0].is_some(), "nobody is served: {report:?}");
    }
    play.until_mcu_decides()?;
    play.rig.limit(Some("none"), None)?;
    let above = |report: &Report| report.predicted_power_mw.is_some_and(|mw| mw > cap_mw);
    play.until("without a cap latency is bought again", MOST, above)?;
    play.until_mcu_decides().map(drop)
}

/// A cap that no level keeps: the decision says so, needs the least power there is, and serves.
pub(super) fn infeasible(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    let least_mw = play.rig.case().least_power_mw()?;
    play.rig.limit(Some(&format!("{}mW", least_mw / 2)), None)?;
    // A tenth for what power was learned to differ from the policy's.
    let least = |report: &Report| {
        says(report, "power")
            && report.predicted_power_mw.is_some_and(|mw| mw <= least_mw + least_mw / 10)
    };
    play.until("the least power there is, and that power is missing", MOST, least)?;
    for _ in 0..STAYS {
        let report = play.report()?;
        ensure!(least(&report), "not the least power, or nothing missing: {report:?}");
        ensure!(report.sub_networks[0].is_some(), "nobody is served: {report:?}");
    }
    play.until_mcu_decides()?;
    play.rig.limit(Some("none"), None)?;
    play.until("nothing is missing", MOST, |report| {
        report.shortfall.is_none() && report.sub_networks == before.sub_networks
    })?;
    play.until_mcu_decides().map(drop)
}

/// A cap on temperature that the board is over already.
pub(super) fn temperature(play: &mut Play<'_>) -> Result<()> {
    let before = play.until_mcu_decides()?;
    let [hottest, _] = before.temperatures_mdeg_c;
    let hottest = hottest.context("the board tells no temperature")?;
    let cap = format!("{}C", hottest / 1000 - 5);
    play.rig.limit(None, Some(&cap))?;
    play.until("the board is too hot", MOST, |report| {
        report.reason.as_deref() == Some("too-hot") && report.mode.as_deref() == Some("safe")
    })?;
    for _ in 0..STAYS {
        let report = play.report()?;
        ensure!(report.mode.as_deref() == Some("safe"), "not safe any more: {report:?}");
        ensure!(report.sub_networks[0].is_some(), "nobody is served: {report:?}");
    }
    play.rig.limit(None, Some("none"))?;
    play.until("as before once it is cool", COOL, |report| {
        report.mode.as_deref() == Some("run") && report.sub_networks == before.sub_networks
    })?;
    play.until_mcu_decides().map(drop)
}

fn says(report: &Report, what: &str) -> bool {
    report.shortfall.as_ref().is_some_and(|shortfall| shortfall.what == what)
        && report.reason.as_deref() == Some("infeasible")
}
