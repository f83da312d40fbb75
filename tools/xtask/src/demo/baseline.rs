//! The same requests under what such a board has today, in virtual time: schedutil for the CPU,
//! nvhost_podgov for the GPU, memory clock fixed; either always the most accurate sub-network, or
//! the least accurate one that meets the floor in force, as if chosen by hand for each.

use anyhow::Result;
use coshift_plant::Board;
use coshift_plant::board::Network;
use coshift_tools::simulate::{Choice, Ending, Request, Run, Stream, governed};

use super::phases::{card_pct, over_cap_s, quantile, under_floor};
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
    /// Requests served by a sub-network under the floor in force at their release.
    pub(crate) under_floor: usize,
    /// Time in windows of ten requests whose mean power was above the cap in force, s.
    pub(crate) over_cap_s: f64,
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
    pub(crate) fn figures(
        &self,
        phase: &Phase,
        script: &Script,
        network: &Network,
    ) -> BaselineFigures {
        let micros = |seconds: f64| (seconds * 1e6).round() as u64;
        let (from, until) = (micros(phase.from_s), micros(phase.until_s));
        let mut responses: Vec<f64> = self
            .run
            .released(from, until)
            .filter_map(|record| Some(record.response_us()? as f64 / 1e3))
            .collect();
        responses.sort_by(f64::total_cmp);
        let ran = || {
            self.run.released(from, until).filter_map(|record| match record.ending {
                Ending::Served { sub_network, .. } => Some((sub_network, record.request.floor_bp)),
                Ending::Dropped { .. } => None,
            })
        };
        let accuracies: f64 = ran().map(|(index, _)| card_pct(network, index)).sum();
        let over_cap_s =
            over_cap_s(phase, script, |from, until| self.run.energy_j(micros(from), micros(until)));
        BaselineFigures {
            energy_j: self.run.energy_j(from, until),
            requests: self.run.released(from, until).count(),
            misses: self.run.missed(from, until),
            p50_ms: quantile(&responses, 0.5),
            p99_ms: quantile(&responses, 0.99),
            accuracy_pct: accuracies / ran().count().max(1) as f64,
            under_floor: ran().filter(|(index, bp)| under_floor(network, *index, *bp)).count(),
            over_cap_s,
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
        let checks = judge::judge(&script, &board, network, &recording);
        let summary = Summary::new(&board, network, &script, &recording, &baselines, checks);
        println!("{}", summary.text(0));
        let totals = summary.totals();
        let [largest, fitting] = &totals[..] else { panic!("two baselines: {totals:?}") };
        assert!(largest.ours_j < 0.81 * largest.theirs_j, "{largest:?}");
        assert!(fitting.ours_j < fitting.theirs_j, "{fitting:?}");
        for total in &totals {
            assert!(total.our_misses < total.their_misses, "{total:?}");
            // The phase in which the cap forbids the floor is not compared.
            assert_eq!(total.phases, script.phases.len() - 1, "{total:?}");
        }
    }
}
