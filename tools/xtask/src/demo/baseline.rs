//! The same requests under what such a board has today, in virtual time: schedutil for the CPU,
//! nvhost_podgov for the GPU, memory clock fixed; either always the most accurate sub-network, or
//! the least accurate one that meets the floor in force, as if chosen by hand for each.

use anyhow::Result;
use coshift_plant::Board;
use coshift_plant::board::Network;
use coshift_tools::simulate::{Choice, Ending, Request, Run, Stream, governed};

use super::phases::quantile;
use super::recording::Recording;
use super::script::{Phase, Script};

/// Standard deviation of the latencies, as the agent's `--noise` has it.
const NOISE: f64 = 0.01;
const SEED: u64 = 1;

/// A baseline's run.
#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// Figures of a baseline in one phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BaselineFigures {
    pub(crate) energy_j: f64,
    pub(crate) requests: usize,
    pub(crate) misses: usize,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Mean accuracy of the sub-networks that ran, by the board file, %.
    pub(crate) accuracy_pct: f64,
}

/// Runs the requests of a recording under both.
///
/// # Errors
/// Where the board file has no clocks for governors, or the requests are out of order.
pub(crate) fn run(
    board: &Board,
    network: &Network,
    script: &Script,
    recording: &Recording,
) -> Result<[Baseline; 2]> {
    let stream = stream(script, recording);
    let governed = |name, choice| -> Result<Baseline> {
        let run = governed(board, network, &stream, choice, NOISE, SEED)?;
        Ok(Baseline { name, run })
    };
    Ok([
        governed("schedutil + podgov, largest", Choice::Largest)?,
        governed("schedutil + podgov, best-fitting", Choice::BestFitting)?,
    ])
}

/// The requests as they were released, dropped ones included.
fn stream(script: &Script, recording: &Recording) -> Stream {
    let mut requests: Vec<_> = recording
        .requests
        .iter()
        .map(|row| Request {
            release_us: row.release_us,
            deadline_us: row.deadline_us,
            floor_bp: script.floor_bp_at(row.release_us as f64 / 1e6),
        })
        .collect();
    requests.sort_by_key(|request| request.release_us);
    let micros = |seconds: f64| (seconds * 1e6).round() as u64;
    let slowdown = script.slowdowns().into_iter().map(|(at_s, permille)| (micros(at_s), permille));
    let last = requests.last().map_or(0, |request| request.release_us + 1);
    Stream { requests, slowdown: slowdown.collect(), end_us: micros(script.end_s()).max(last) }
}

impl Baseline {
    /// Its figures in a phase.
    pub(crate) fn figures(&self, phase: &Phase, network: &Network) -> BaselineFigures {
        let micros = |seconds: f64| (seconds * 1e6).round() as u64;
        let (from, until) = (micros(phase.from_s), micros(phase.until_s));
        let mut responses: Vec<f64> = self
            .run
            .released(from, until)
            .filter_map(|record| Some(record.response_us()? as f64 / 1e3))
            .collect();
        responses.sort_by(f64::total_cmp);
        let accuracies: Vec<f64> = self
            .run
            .released(from, until)
            .filter_map(|record| match record.ending {
                Ending::Served { sub_network, .. } => {
                    Some(network.sub_networks.get(sub_network)?.accuracy_pct)
                }
                Ending::Dropped { .. } => None,
            })
            .collect();
        BaselineFigures {
            energy_j: self.run.energy_j(from, until),
            requests: self.run.released(from, until).count(),
            misses: self.run.missed(from, until),
            p50_ms: quantile(&responses, 0.5),
            p99_ms: quantile(&responses, 0.99),
            accuracy_pct: accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use coshift_host::boards;

    use crate::demo::script::NETWORK;
    use crate::demo::{judge, simulated, summary::Summary};

    /// What the demonstration is for: less energy than the stock governors with the largest
    /// sub-network, with fewer late requests, and less than with the best-fitting one.
    #[test]
    fn the_same_requests_cost_more_under_the_stock_governors() {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        let network = board.network(NETWORK).unwrap();
        let (script, recording) = simulated::run(false, 1);
        let baselines = super::run(&board, network, &script, &recording).unwrap();
        let checks = judge::judge(&script, &recording);
        let summary = Summary::new(&board, network, &script, &recording, &baselines, checks);
        println!("{}", summary.text(0));
        let totals = summary.totals();
        let [ours, largest, fitting] = &totals[..] else { panic!("ours and two") };
        assert!(ours.energy_j < 0.81 * largest.energy_j, "{ours:?} {largest:?}");
        assert!(ours.energy_j < fitting.energy_j, "{ours:?} {fitting:?}");
        assert!(ours.misses < largest.misses.min(fitting.misses), "{totals:?}");
    }
}
