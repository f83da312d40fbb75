//! What `bench engine --require` asks of the figures.

use super::engine::Row;

/// Most time that 99 % of the switches stay below, ns.
const SWITCH_NS: u64 = 1_000;

/// Most time of the first inference after a switch, over the others.
const FIRST: f64 = 1.1;

/// Most bytes of all sub-networks, over those of the largest alone.
const RESIDENT: f64 = 1.25;

/// Least time of [`RUNTIME`] over the engine's.
const RATIO: f64 = 1.0;

/// The runtime that the engine is held against.
const RUNTIME: &str = "ONNX Runtime";

/// The goals that rows miss, a line each; `largest_bytes` are those of the largest sub-network alone.
/// Other runtimes count where `peers` says that they were asked for.
#[must_use]
pub fn missed(rows: &[Row], largest_bytes: usize, peers: bool) -> Vec<String> {
    let share =
        rows.first().map_or(f64::NAN, |row| row.resident_bytes as f64) / largest_bytes as f64;
    let resident = Some(format!(
        "resident: {share:.3} times the largest sub-network alone, expected at most {RESIDENT}"
    ));
    let mut missed: Vec<String> = [
        above(rows, "switch, 99 %, ns", SWITCH_NS as f64, |row| row.switch_ns_p99 as f64),
        above(rows, "first inference over the others", FIRST, |row| {
            row.first_inference_over_steady
        }),
        resident.filter(|_| !at_most(share, RESIDENT)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if peers {
        missed.extend(slower(rows));
    }
    missed
}

/// Not what NaN passes.
fn at_most(value: f64, most: f64) -> bool {
    value <= most
}

/// The line of a goal that some rows are above, with the worst of them.
fn above(rows: &[Row], goal: &str, most: f64, of: impl Fn(&Row) -> f64) -> Option<String> {
    let far: Vec<&Row> = rows.iter().filter(|row| !at_most(of(row), most)).collect();
    let worst = far.iter().max_by(|a, b| of(a).total_cmp(&of(b)))?;
    Some(format!(
        "{goal}: {:.3} of {}, expected at most {most}; {} of {} sub-networks",
        of(worst),
        named(worst),
        far.len(),
        rows.len()
    ))
}

/// The line where the other runtime is faster, or is not there.
fn slower(rows: &[Row]) -> Option<String> {
    let ratio = |row: &Row| {
        let peer = row.peers.iter().find(|peer| peer.runtime.starts_with(RUNTIME));
        peer.map_or(f64::NAN, |peer| peer.times_engine)
    };
    if rows.iter().any(|row| ratio(row).is_nan()) {
        return Some(format!(
            "{RUNTIME}: no times of it, expected at least {RATIO} times the engine's"
        ));
    }
    let behind: Vec<&Row> = rows.iter().filter(|row| ratio(row) < RATIO).collect();
    let worst = behind.iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
    Some(format!(
        "{RUNTIME}: {:.3} times the engine's time for {}, expected at least {RATIO}; {} of {} \
         sub-networks",
        ratio(worst),
        named(worst),
        behind.len(),
        rows.len()
    ))
}

/// A sub-network's published name, else its index.
fn named(row: &Row) -> String {
    row.name.clone().unwrap_or_else(|| format!("sub-network {}", row.index))
}

#[cfg(test)]
mod tests {
    use super::super::engine::{Peer, Row};
    use super::missed;

    fn peer(runtime: &str, times_engine: f64) -> Peer {
        Peer {
            runtime: runtime.into(),
            ms_p50: 1.0,
            ms_min: 1.0,
            times_engine,
            min_times_engine: 0.5,
            outputs_off: 0.0,
        }
    }

    /// Three rows that just meet every goal.
    fn rows() -> Vec<Row> {
        let row = |index| Row {
            index,
            name: (index > 0).then(|| format!("nets_6.{index}")),
            resolution: 160,
            macs: 1,
            threads: 1,
            batch: 1,
            cpu_ms_p50: 1.0,
            cpu_ms_p99: 9.0,
            cpu_ms_min: 1.0,
            gmac_per_s: 1.0,
            switch_ns_p99: 1_000,
            first_inference_over_steady: 1.1,
            resident_bytes: 1_250,
            peers: vec![peer("PyTorch 2.15.0", 0.5), peer("ONNX Runtime 1.31.1", 1.0)],
        };
        (0..3).map(row).collect()
    }

    #[test]
    fn rows_that_just_meet_the_goals_miss_none() {
        assert_eq!(missed(&rows(), 1_000, true), [""; 0]);
        assert_eq!(missed(&rows(), 1_000, false), [""; 0]);
    }

    #[test]
    fn each_goal_that_is_missed_has_a_line_with_the_worst() {
        let mut all = rows();
        (all[1].switch_ns_p99, all[2].switch_ns_p99) = (1_200, 1_001);
        all[0].first_inference_over_steady = 1.12;
        all[2].peers[1].times_engine = 0.98;
        assert_eq!(
            missed(&all, 999, true),
            [
                "switch, 99 %, ns: 1200.000 of nets_6.1, expected at most 1000; 2 of 3 sub-networks",
                "first inference over the others: 1.120 of sub-network 0, expected at most 1.1; 1 of 3 \
                 sub-networks",
                "resident: 1.251 times the largest sub-network alone, expected at most 1.25",
                "ONNX Runtime: 0.980 times the engine's time for nets_6.2, expected at least 1; 1 of 3 \
                 sub-networks",
            ]
        );
        // Not asked for.
        assert_eq!(missed(&all, 999, false).len(), 3);
    }

    #[test]
    fn what_was_not_measured_is_missed() {
        let mut all = rows();
        all[1].first_inference_over_steady = f64::NAN;
        all[1].peers.pop();
        let lines = missed(&all, 1_000, true);
        assert!(
            lines[0].starts_with("first inference over the others: NaN of nets_6.1"),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("ONNX Runtime: no times of it"), "{lines:?}");
        assert_eq!(lines.len(), 2);
        assert_eq!(missed(&[], 1_000, false).len(), 1);
    }
}
