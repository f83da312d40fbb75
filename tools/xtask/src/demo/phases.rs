//! What each phase came to.

use std::collections::BTreeMap;

use coshift_host::core::Decider;
use coshift_plant::board::Network;

use super::recording::{Recording, Row};
use super::script::Phase;

/// Figures of one phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Share of the control periods that the microcontroller decided, %.
    pub(crate) mcu_pct: f64,
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
}

impl Figures {
    /// Mean accuracy of the sub-networks that ran, by the board file, %.
    pub(crate) fn card_accuracy_pct(&self, network: &Network) -> f64 {
        let ran = || self.sub_networks.iter();
        let accuracy = |index: u8| {
            network.sub_networks.get(usize::from(index)).map_or(0.0, |sub| sub.accuracy_pct)
        };
        let sum: f64 = ran().map(|(index, count)| accuracy(*index) * *count as f64).sum();
        sum / ran().map(|(_, count)| *count).sum::<usize>().max(1) as f64
    }
}

/// The figures of a phase.
pub(crate) fn figures(phase: &Phase, recording: &Recording) -> Figures {
    let within = |us: u64| (phase.from_s..phase.until_s).contains(&(us as f64 / 1e6));
    let rows: Vec<&Row> = recording.requests.iter().filter(|row| within(row.release_us)).collect();
    let mut figures = Figures::default();
    let mut responses = Vec::new();
    let mut deadlines = (f64::MAX, 0.0_f64);
    for row in &rows {
        let deadline_ms = row.deadline_us as f64 / 1e3;
        deadlines = (deadlines.0.min(deadline_ms), deadlines.1.max(deadline_ms));
        figures.requests += 1;
        figures.misses += usize::from(row.missed);
        let Some(served) = &row.served else { continue };
        if let Some(level) = served.level {
            *figures.levels.entry(level).or_default() += 1;
        }
        *figures.sub_networks.entry(served.sub_network).or_default() += 1;
        responses.push(served.response_us as f64 / 1e3);
        figures.images += served.images;
        figures.right += served.right;
    }
    if figures.requests > 0 {
        figures.deadline_ms = deadlines;
    }
    responses.sort_by(f64::total_cmp);
    figures.p50_ms = quantile(&responses, 0.5);
    figures.p99_ms = quantile(&responses, 0.99);
    let periods = || recording.periods.iter().filter(|report| within(report.time_us));
    let mcu = periods().filter(|report| report.decider == Decider::Mcu).count();
    figures.mcu_pct = 100.0 * mcu as f64 / periods().count().max(1) as f64;
    let energy = |at_s| recording.energy_j_at(at_s).unwrap_or(0.0);
    figures.energy_j = energy(phase.until_s) - energy(phase.from_s);
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
