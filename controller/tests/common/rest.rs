//! Boards of random policies, nothing of whose power is learned, and what they are once they come to
//! rest.

use coshift_controller::Controller;
use coshift_controller::demand::{HYSTERESIS_PERMILLE, Margin};
use coshift_controller::device::{Board, Candidate, PowerCaps, Trouble};
use coshift_controller::power::Power;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{Limits, Targets, Telemetry, ToController};
use coshift_shared::to_host::{Decision, Mode, Reason};
use coshift_shared::units::{Age, NO_POWER_CAP, NO_TEMP_CAP};
use proptest::prelude::*;

use super::{Bench, PERIOD_US, decision, telemetry};

/// Periods after which a board is at rest, with a level every other decision, as where decisions take
/// turns: a round, a dwell, and another round, of which the last change is a dwell and a round ago.
pub const PERIODS: usize = 3 * (2 * 32 + 11);

/// Starts a session with these applications and a cap on power, and none on temperature.
pub fn session<'p>(
    view: PolicyView<'p>,
    asked: &[Targets],
    power_cap_mw: u32,
    parking: bool,
    effort: u32,
) -> Bench<'p> {
    let mut bench = Bench::new(view, coshift_shared::time::Instant::START);
    bench.controller = bench.controller.searching(effort);
    for (slot, targets) in (0..).zip(asked) {
        bench.set(slot, Targets { table: targets.table % view.tables(), ..*targets });
    }
    cap(&mut bench, power_cap_mw, parking);
    bench
}

/// Sets the cap on power.
pub fn cap(bench: &mut Bench<'_>, power_cap_mw: u32, parking: bool) {
    let at_us = bench.now.us();
    let limits = Limits { at_us, power_cap_mw, temp_cap_mdeg_c: NO_TEMP_CAP, parking };
    bench.give(&ToController::Limits(limits));
}

/// A period later: a telemetry from which nothing is learned, and its answer.
pub fn quiet(bench: &mut Bench<'_>) -> Decision {
    bench.wait_us(PERIOD_US);
    let message = Telemetry { power_age: Age::MISSING, ..telemetry(bench.now, 45_000) };
    decision(&bench.give(&ToController::Telemetry(message))).expect("telemetry is answered")
}

/// The board as the device manager sees it, under the caps in force or without.
pub fn board<T>(
    controller: &Controller<'_>,
    view: PolicyView<'_>,
    parks: bool,
    capped: bool,
    look: impl FnOnce(&Board<'_, '_>) -> T,
) -> T {
    let cap_mw = if capped { controller.power_cap_mw() } else { NO_POWER_CAP };
    let caps = PowerCaps::new(cap_mw, NO_POWER_CAP, NO_POWER_CAP);
    let power = Power::default();
    let board = Board::new(view, controller.slots(), caps, &power, parks);
    look(&board.within(controller.held().reach()))
}

/// Whether a decision says that nothing fits.
pub fn infeasible(found: &Decision) -> bool {
    found.reason == Reason::Infeasible
}

/// What a decision of a board at rest has to be: its level breaks as little as any, and no level
/// that can be had is worth a change, by what judging each of them anew says.
pub fn at_rest(
    controller: &Controller<'_>,
    view: PolicyView<'_>,
    parks: bool,
    found: &Decision,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.mode, Mode::Run);
    let level = controller.level();
    let (best, spare, stands) = board(controller, view, parks, true, |board| {
        let best = |margin| board.best_of_all(margin);
        // What runs may keep what the rules miss.
        let runs = board.candidate(level, &found.sub_networks);
        let kept = runs.filter(|runs| runs.trouble == Trouble::NONE);
        let stands = board.judge(level, Margin::Plain);
        let stands = kept.filter(|_| stands.trouble != Trouble::NONE).unwrap_or(stands);
        (best(Margin::Plain), best(Margin::Reserve), stands)
    });
    let best = if stands.trouble < best.trouble { stands } else { best };
    let fits = best.trouble == Trouble::NONE;
    prop_assert_eq!(infeasible(found), !fits, "{:?}, {:?}", found, best);
    prop_assert_eq!(stands.trouble, best.trouble, "{:?} at {:?}, not {:?}", found, stands, best);
    let other = if fits { spare } else { best };
    prop_assert!(!worth(&stands, &other), "{:?} at {:?}, not {:?}", found, stands, other);
    Ok(())
}

/// Whether `other` is worth a change: as much kept, and wishes or power better by the hysteresis.
pub fn worth(stands: &Candidate, other: &Candidate) -> bool {
    let saved = u64::from(stands.power_mw.saturating_sub(other.power_mw)) * 1000;
    let enough = saved > u64::from(stands.power_mw) * u64::from(HYSTERESIS_PERMILLE);
    other.trouble == stands.trouble
        && other.level != stands.level
        && (other.wishes < stands.wishes || (other.wishes == stands.wishes && enough))
}
