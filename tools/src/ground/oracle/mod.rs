//! The choice with perfect knowledge of every slowdown and arrival, paying the same settle times and
//! parking as everyone.
//!
//! [`plan`] searches the sequence of requests for levels, sub-networks and parking by dynamic
//! programming over (level, time free, energy); [`Planned`] carries a plan out on the same board and
//! through the same queues as every other manager, so that its figures are measured and not
//! computed. Requests are served in the agent's order, which depends on the plan: plan and run are
//! repeated until the order stands, and the best run counts.
//!
//! What it puts first: power cap, deadlines met, accuracy floors, the objectives' wishes, energy. So
//! it meets every deadline that a choice among the plans can meet, may miss only those, and takes
//! the least energy of the rest. It knows nothing of temperature caps: where its own run goes over
//! one, `over_temp_s` says so.
//!
//! The search knows no bound of the queues: where more requests wait than fit, which of them are
//! dropped follows from the run. So where the best plan misses deadlines, every single level held
//! through is tried as well, and what it serves is planned anew.

mod labels;
mod plan;
mod planned;

pub use labels::Cost;
pub use plan::{Freedom, Job, Plan, Step, jobs, plan};
pub use planned::Planned;

use coshift_shared::units::MAX_APPLICATIONS;

use super::managers::{Fixed, Setting, highest};
use super::world::{Run, WorldError, run};

/// Plans are made anew until the order of service stands, at most so often.
const ROUNDS: usize = 4;

/// The oracle's run; `late` as in [`Freedom`].
///
/// # Errors
/// As [`run`].
pub fn oracle(setting: Setting<'_>, late: bool) -> Result<Run, WorldError> {
    let (scenario, instance) = (setting.scenario, setting.instance);
    let mut first = Fixed::fitting(setting, highest(&setting));
    let order = run(scenario, instance, &mut first)?.order;
    let mut best = planned(setting, order, late)?;
    if best.0.misses > 0 {
        let mut fixed: Option<(Rank, Run)> = None;
        for level in 0..setting.levels().len() {
            let mut held = Fixed::parking(setting, level, least_fitting(setting), true);
            let done = run(scenario, instance, &mut held)?;
            let rank = Rank::of(setting, &done);
            if fixed.as_ref().is_none_or(|(known, _)| rank < *known) {
                fixed = Some((rank, done));
            }
        }
        if let Some(fixed) = fixed.filter(|(rank, _)| *rank < best.0) {
            let again = planned(setting, fixed.1.order.clone(), late)?;
            best = if again.0 < fixed.0 { again } else { fixed };
        }
    }
    Ok(best.1)
}

/// The least accurate sub-networks at the highest floors that come.
fn least_fitting(setting: Setting<'_>) -> [Option<usize>; MAX_APPLICATIONS] {
    let mut choice = [None; MAX_APPLICATIONS];
    for (application, spec) in setting.applications().iter().enumerate() {
        let floor = spec.targets.iter().map(|targets| targets.floor_bp).max();
        choice[application] = Some(setting.best_fitting(application, floor.unwrap_or(0)));
    }
    choice
}

/// The best run of plans that begin with this order of service.
fn planned(
    setting: Setting<'_>,
    mut order: Vec<(usize, usize)>,
    late: bool,
) -> Result<(Rank, Run), WorldError> {
    let (scenario, instance) = (setting.scenario, setting.instance);
    let mut best: Option<(Rank, Run)> = None;
    for _ in 0..ROUNDS {
        let jobs = jobs(setting, &order);
        // First only what keeps the floors; everything where that misses a deadline.
        let mut made = plan(setting, &jobs, Freedom { under_floor: false, late });
        if made.cost.misses > 0 || made.cost.over_cap > 0 {
            let wide = plan(setting, &jobs, Freedom { under_floor: true, late });
            if wide.cost < made.cost {
                made = wide;
            }
        }
        let done = run(scenario, instance, &mut Planned::new(setting, &made))?;
        let rank = Rank::of(setting, &done);
        let stands = done.order == order;
        order.clone_from(&done.order);
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, done));
        }
        if stands {
            break;
        }
    }
    best.ok_or_else(|| WorldError("the oracle made no plan".into()))
}

/// Runs in the order in which an oracle prefers them.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rank {
    /// Windows over the power cap.
    over_power_s: f64,
    /// Requests late or never run.
    misses: usize,
    /// Accuracy under floors, summed over the requests that ran, 0.01 %.
    shortfall_bp: u64,
    /// Energy, J.
    energy_j: f64,
}

impl Rank {
    /// The rank of a run.
    #[must_use]
    pub fn of(setting: Setting<'_>, run: &Run) -> Self {
        let scores = super::world::score(setting.scenario, run);
        let shortfall = |(application, records): (usize, &Vec<super::world::Record>)| {
            let accuracies = setting.accuracies_bp(application);
            let of = |record: &super::world::Record| match record.ending {
                super::world::Ending::Served { sub_network, .. } => {
                    u64::from(record.request.floor_bp.saturating_sub(accuracies[sub_network]))
                }
                super::world::Ending::Dropped => 0,
            };
            records.iter().map(of).sum::<u64>()
        };
        Self {
            over_power_s: scores.first().map_or(0.0, |score| score.over_power_s),
            misses: scores.iter().map(|score| score.misses).sum(),
            shortfall_bp: run.records.iter().enumerate().map(shortfall).sum(),
            energy_j: scores.first().map_or(0.0, |score| score.energy_j),
        }
    }

    /// Everything before energy: time over the cap (s), requests late, accuracy
    /// under floors (0.01 %).
    #[must_use]
    pub fn promises(&self) -> (f64, usize, u64) {
        (self.over_power_s, self.misses, self.shortfall_bp)
    }

    /// Energy, J.
    #[must_use]
    pub fn energy_j(&self) -> f64 {
        self.energy_j
    }
}
