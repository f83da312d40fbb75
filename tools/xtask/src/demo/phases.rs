//! What each phase came to.

use std::collections::BTreeMap;

use coshift_host::core::Decider;
use coshift_host::report::Report;
use coshift_plant::board::Network;

use super::recording::{Recording, Row};
use super::script::{Phase, RATE, Script};

/// Figures of one phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Share of the control periods that each decided, %: microcontroller, twin, in-process.
    pub(crate) decided_pct: [(&'static str, f64); 3],
    /// Served requests by achieved level and by sub-network.
    pub(crate) levels: BTreeMap<u8, usize>,
    pub(crate) sub_networks: BTreeMap<u8, usize>,
    pub(crate) requests: usize,
    pub(crate) misses: usize,
    /// Time from release to end, ms.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Deadlines in force, ms, shortest and longest.
    pub(crate) deadline_ms: (f64, f64),
    pub(crate) images: u64,
    pub(crate) right: u64,
    /// Energy of the whole board, J, modelled.
    pub(crate) energy_j: f64,
    /// Accuracy floors in force, %, lowest and highest.
    pub(crate) floor_pct: (f64, f64),
    /// Requests served by a sub-network under the floor in force at their release.
    pub(crate) under_floor: usize,
    /// Time in windows of ten requests whose mean power was above the cap in force, s.
    pub(crate) over_cap_s: f64,
    /// Requests that only this machine, not the virtual board, finished late.
    pub(crate) late_by_host: u64,
}

impl Figures {
    /// Mean accuracy of the sub-networks that ran, by the board file, %.
    pub(crate) fn card_accuracy_pct(&self, network: &Network) -> f64 {
        let ran = || self.sub_networks.iter();
        let sum: f64 = ran()
            .map(|(index, count)| card_pct(network, usize::from(*index)) * *count as f64)
            .sum();
        sum / ran().map(|(_, count)| *count).sum::<usize>().max(1) as f64
    }

    /// Who decided, in words.
    pub(crate) fn decided_by(&self) -> String {
        let shares = self.decided_pct.iter().filter(|(_, share)| *share > 0.0);
        let words: Vec<_> = shares.map(|(who, share)| format!("{who} {share:.0} %")).collect();
        words.join(", ")
    }
}

/// Accuracy of a sub-network by the board file, %; 0 where there is none.
pub(crate) fn card_pct(network: &Network, index: usize) -> f64 {
    network.sub_networks.get(index).map_or(0.0, |sub| sub.accuracy_pct)
}

/// Whether a sub-network is less accurate than a floor.
pub(crate) fn under_floor(network: &Network, index: usize, floor_bp: u16) -> bool {
    (card_pct(network, index) * 100.0).round() < f64::from(floor_bp)
}

/// Time of a phase, s, in windows whose mean power was above the cap in force all the while;
/// `energy_j` gives the energy between two times (s), J. A window is as long as ten requests and eight
/// control periods: the cap is one on mean power, and no window has a request more than another.
pub(crate) fn over_cap_s(
    phase: &Phase,
    script: &Script,
    energy_j: impl Fn(f64, f64) -> f64,
) -> f64 {
    let window_s = 10.0 / RATE;
    let starts = (0..).map(|n| phase.from_s + f64::from(n) * window_s);
    let whole = starts.take_while(|from| from + window_s <= phase.until_s);
    let over = whole.filter(|from| {
        let caps = [*from, from + window_s].map(|at_s| script.power_cap_at(at_s));
        let [Some(first), Some(last)] = caps else { return false };
        energy_j(*from, from + window_s) / window_s > f64::from(first.max(last)) / 1e3
    });
    over.count() as f64 * window_s
}

/// The figures of a phase.
pub(crate) fn figures(
    phase: &Phase,
    script: &Script,
    network: &Network,
    recording: &Recording,
) -> Figures {
    let within = |us: u64| (phase.from_s..phase.until_s).contains(&(us as f64 / 1e6));
    let rows: Vec<&Row> = recording.requests.iter().filter(|row| within(row.release_us)).collect();
    let mut figures = Figures::default();
    let mut responses = Vec::new();
    let mut deadlines = (f64::MAX, 0.0_f64);
    let mut floors = (f64::MAX, 0.0_f64);
    for row in &rows {
        let deadline_ms = row.deadline_us as f64 / 1e3;
        deadlines = (deadlines.0.min(deadline_ms), deadlines.1.max(deadline_ms));
        let floor_bp = script.floor_bp_at(row.release_us as f64 / 1e6);
        let floor_pct = f64::from(floor_bp) / 100.0;
        floors = (floors.0.min(floor_pct), floors.1.max(floor_pct));
        figures.requests += 1;
        figures.misses += usize::from(row.missed);
        let Some(served) = &row.served else { continue };
        if let Some(level) = served.level {
            *figures.levels.entry(level).or_default() += 1;
        }
        *figures.sub_networks.entry(served.sub_network).or_default() += 1;
        let due_bp = script.floor_due_bp(row.release_us as f64 / 1e6);
        let under = under_floor(network, usize::from(served.sub_network), due_bp);
        figures.under_floor += usize::from(under);
        responses.push(served.response_us as f64 / 1e3);
        figures.images += served.images;
        figures.right += served.right;
    }
    if figures.requests > 0 {
        figures.deadline_ms = deadlines;
        figures.floor_pct = floors;
    }
    responses.sort_by(f64::total_cmp);
    figures.p50_ms = quantile(&responses, 0.5);
    figures.p99_ms = quantile(&responses, 0.99);
    let periods = || recording.periods.iter().filter(|report| within(report.time_us));
    let share = |decider| {
        let count = periods().filter(|report| report.decider == decider).count();
        100.0 * count as f64 / periods().count().max(1) as f64
    };
    figures.decided_pct = [
        ("mcu", share(Decider::Mcu)),
        ("twin", share(Decider::Twin)),
        ("in-process", share(Decider::InProcess)),
    ];
    let late = |report: &Report| report.applications.first().map_or(0, |app| app.late_by_host);
    let lates = || periods().map(late);
    figures.late_by_host = lates().max().unwrap_or(0) - lates().min().unwrap_or(0);
    let energy = |at_s| recording.energy_j_at(at_s).unwrap_or(0.0);
    figures.energy_j = energy(phase.until_s) - energy(phase.from_s);
    figures.over_cap_s = over_cap_s(phase, script, |from, until| energy(until) - energy(from));
    figures
}

/// Least of sorted values that at least this share does not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(50.0));
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&values[..1], 0.99), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
