//! The demonstration checks itself: did it show what it says it shows?

use std::collections::BTreeSet;

use coshift_host::report::Report;

use super::recording::{Recording, Row};
use super::script::{Asks, Change, Event, PERIOD_MS, Script};

/// Levels and sub-networks that must have been used.
const LEAST_VARIETY: usize = 3;
/// Control periods within which a change of target, floor or cap is answered.
const PERIODS: u64 = 2;
/// Inferences within which a co-runner is answered.
const INFERENCES: usize = 10;
/// Time within which the first step down follows a relaxation, s.
const RELAXATION_S: f64 = 1.0;

/// One check.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) passed: bool,
    /// What was found.
    pub(crate) found: String,
}

/// All checks of a run.
pub(crate) fn judge(script: &Script, recording: &Recording) -> Vec<Check> {
    let mut checks = vec![
        variety("levels", recording, |row| row.served.as_ref()?.level),
        variety("sub-networks", recording, |row| Some(row.served.as_ref()?.sub_network)),
    ];
    checks.extend(script.events.iter().map(|event| answered(event, recording)));
    checks
}

fn variety(what: &str, recording: &Recording, key: impl Fn(&Row) -> Option<u8>) -> Check {
    let used: BTreeSet<u8> = recording.requests.iter().filter_map(key).collect();
    let list: Vec<_> = used.iter().map(u8::to_string).collect();
    Check {
        what: format!("at least {LEAST_VARIETY} {what} used"),
        passed: used.len() >= LEAST_VARIETY,
        found: format!("{} ({})", used.len(), list.join(", ")),
    }
}

/// Whether an event was answered by another decision in time.
fn answered(event: &Event, recording: &Recording) -> Check {
    let neighbour = matches!(event.change, Change::Slowdown(_));
    let since_s = if neighbour { Some(event.at_s) } else { taken_in_s(event, recording) };
    let answer_s = since_s.and_then(|since| answer_s(since, recording));
    let (limit, passed, found) = match (event.asks, since_s.zip(answer_s)) {
        (Asks::More, answer) if neighbour => {
            let count = answer.map(|(since, at)| inferences(since, at, recording));
            (
                format!("{INFERENCES} inferences"),
                count.is_some_and(|count| count <= INFERENCES),
                count.map(|count| format!("{count} inferences")),
            )
        }
        (Asks::More, answer) => {
            let delay = answer.map(|(since, at)| at - since);
            let limit_s = (PERIODS * PERIOD_MS) as f64 / 1e3;
            (
                format!("{PERIODS} control periods"),
                delay.is_some_and(|delay| delay <= limit_s),
                delay.map(|delay| format!("{:.0} ms", delay * 1e3)),
            )
        }
        (Asks::Less, answer) => {
            let delay = answer.map(|(since, at)| at - since);
            (
                format!("{RELAXATION_S} s"),
                delay.is_some_and(|delay| delay <= RELAXATION_S),
                delay.map(|delay| format!("{:.0} ms", delay * 1e3)),
            )
        }
    };
    let missing = if since_s.is_none() { "the agent never took it in" } else { "no answer" };
    Check {
        what: format!("{} answered within {limit}", event.what),
        passed,
        found: found.unwrap_or_else(|| missing.into()),
    }
}

/// When the agent took an event in, s: the first report after it that says so.
fn taken_in_s(event: &Event, recording: &Recording) -> Option<f64> {
    let stamp = |report: &Report| match event.change {
        Change::PowerCap(_) => Some(report.caps_set_at_us),
        _ => report.applications.first().map(|application| application.set_at_us),
    };
    // Half a second of tolerance for the clock of whoever asked.
    let from_us = (event.at_s - 0.5) * 1e6;
    let stamps = recording.periods.iter().filter_map(stamp);
    stamps.map(|us| us as f64).find(|us| *us >= from_us).map(|us| us / 1e6)
}

/// When the decision in force first became another after `since_s`, s.
fn answer_s(since_s: f64, recording: &Recording) -> Option<f64> {
    let changes = recording.periods.iter().filter_map(|report| report.changed.as_ref());
    let times = changes.map(|change| change.time_us as f64 / 1e6);
    times.into_iter().find(|time| *time >= since_s)
}

/// Inferences that started from `since_s` on and before `at_s`.
fn inferences(since_s: f64, at_s: f64, recording: &Recording) -> usize {
    let starts = recording.requests.iter().filter_map(|row| row.served.as_ref());
    let starts = starts.map(|served| served.start_us as f64 / 1e6);
    starts.filter(|start| (since_s..at_s).contains(start)).count()
}
