//! The best single choice in hindsight: one level and one sub-network for each application over the
//! whole run, parking included.
//!
//! Every level is run on the scenario itself, with the least accurate sub-networks at the highest
//! and at the lowest of the floors that come; the one that keeps cap, miss targets and floors best
//! counts, in this order, and of those the one with the least energy.

use coshift_shared::units::MAX_APPLICATIONS;

use super::super::world::{Run, Score, WorldError, run, score};
use super::{Fixed, Setting};

/// The run of the best static choice.
///
/// # Errors
/// As [`run`].
pub fn static_best(setting: Setting<'_>) -> Result<Run, WorldError> {
    let mut choices: Vec<[Option<usize>; MAX_APPLICATIONS]> = Vec::new();
    for highest in [true, false] {
        let mut choice = [None; MAX_APPLICATIONS];
        for (application, spec) in setting.applications().iter().enumerate() {
            let floors = spec.targets.iter().map(|targets| targets.floor_bp);
            let floor = if highest { floors.max() } else { floors.min() };
            choice[application] = Some(setting.best_fitting(application, floor.unwrap_or(0)));
        }
        if !choices.contains(&choice) {
            choices.push(choice);
        }
    }
    let mut best: Option<((f64, usize, f64, f64), Run)> = None;
    for choice in choices {
        for level in 0..setting.levels().len() {
            let mut fixed = Fixed::parking(setting, level, choice, true);
            let done = run(setting.scenario, setting.instance, &mut fixed)?;
            let rank = rank(setting, &score(setting.scenario, &done));
            if best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, done));
            }
        }
    }
    best.map(|(_, run)| run).ok_or_else(|| WorldError("the board has no levels".into()))
}

/// Time over the cap, misses beyond the targets, under floors, energy.
fn rank(setting: Setting<'_>, scores: &[Score]) -> (f64, usize, f64, f64) {
    let excess = scores.iter().zip(setting.applications()).map(|(score, spec)| {
        let allowed = (spec.miss_target * score.inferences as f64).ceil() as usize;
        score.misses.saturating_sub(allowed)
    });
    let under = scores.iter().map(|score| score.under_floor_share).sum();
    let first = scores.first();
    let over_power = first.map_or(0.0, |score| score.over_power_s);
    (over_power, excess.sum(), under, first.map_or(0.0, |score| score.energy_j))
}
