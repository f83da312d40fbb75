//! What a run is worth.

use super::super::scenario::Scenario;
use super::run::{Ending, Run};

/// Windows that power and temperature are held against their caps in, µs.
const WINDOW_US: u64 = 100_000;

/// Figures of one application in one run; energy, switches and caps are the board's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Requests.
    pub inferences: usize,
    /// Requests that were not done in time or never ran.
    pub misses: usize,
    /// Energy of the whole board from 0 to the end, J.
    pub energy_j: f64,
    /// The same beyond the board's least idle power, J.
    pub above_idle_j: f64,
    /// Median of the responses, ms.
    pub p50_ms: f64,
    /// 99 % of the responses take no longer, ms.
    pub p99_ms: f64,
    /// Mean accuracy of what ran, %.
    pub accuracy_pct: f64,
    /// Share of what ran under the floor in force.
    pub under_floor_share: f64,
    /// Changes of the clocks, parking not counted.
    pub level_switches: u64,
    /// How often the board was parked.
    pub parks: u64,
    /// Changes of the sub-network.
    pub sub_network_switches: u64,
    /// Time over the power cap, s.
    pub over_power_s: f64,
    /// Time over the temperature cap, s.
    pub over_temp_s: f64,
}

/// One score for each application.
#[must_use]
pub fn score(scenario: &Scenario, run: &Run) -> Vec<Score> {
    let end = scenario.end_us;
    let energy_j = run.trail.energy_at(end);
    let board = &scenario.board;
    let least_w =
        board.levels.iter().map(|level| board.power.idle_w(level)).fold(f64::INFINITY, f64::min);
    let above_idle_j = energy_j - least_w * end as f64 / 1e6;
    let (over_power_s, over_temp_s) = over_caps(scenario, run);
    let of_application = |(index, records): (usize, &Vec<_>)| {
        let records: &Vec<super::Record> = records;
        let mut responses: Vec<f64> =
            records.iter().filter_map(|record| Some(record.response_us()? as f64 / 1e3)).collect();
        responses.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let rank = (share * responses.len() as f64).ceil() as usize;
            responses.get(rank.max(1) - 1).copied().unwrap_or(0.0)
        };
        let network = scenario.network(index);
        let (mut ran, mut accuracy, mut under) = (0_usize, 0.0, 0_usize);
        for record in records {
            if let Ending::Served { sub_network, .. } = record.ending {
                let pct = network.sub_networks[sub_network].accuracy_pct;
                ran += 1;
                accuracy += pct;
                under += usize::from((pct * 100.0).round() < f64::from(record.request.floor_bp));
            }
        }
        let share = |count: f64| if ran == 0 { 0.0 } else { count / ran as f64 };
        Score {
            inferences: records.len(),
            misses: records.iter().filter(|record| record.missed()).count(),
            energy_j,
            above_idle_j,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            accuracy_pct: share(accuracy),
            under_floor_share: share(under as f64),
            level_switches: run.level_switches,
            parks: run.parks,
            sub_network_switches: run.sub_network_switches[index],
            over_power_s,
            over_temp_s,
        }
    };
    run.records.iter().enumerate().map(of_application).collect()
}

fn over_caps(scenario: &Scenario, run: &Run) -> (f64, f64) {
    let seconds = WINDOW_US as f64 / 1e6;
    let (mut power, mut temp) = (0.0, 0.0);
    let mut from = 0;
    while from < scenario.end_us {
        let limits = scenario.limits_at(from);
        // A cap is held against whole windows under it.
        let mean_mw = run.trail.mean_w(from, from + WINDOW_US) * 1e3;
        if limits.power_mw.is_some_and(|cap| mean_mw > f64::from(cap)) {
            power += seconds;
        }
        let mdeg = run.trail.temp_at(from + WINDOW_US) * 1e3;
        if limits.temp_mdeg_c.is_some_and(|cap| mdeg > f64::from(cap)) {
            temp += seconds;
        }
        from += WINDOW_US;
    }
    (power, temp)
}
