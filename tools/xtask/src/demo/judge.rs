//! The demonstration checks itself: did it show what it says it shows?

use std::collections::BTreeSet;

use coshift_host::report::Report;

use coshift_plant::Board;
use coshift_plant::board::Network;

use super::phases::{card_pct, under_floor};
use super::recording::Recording;
use super::script::{Asks, Change, Event, MISS_BP, PERIOD_MS, Script, TargetsAt};

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
pub(crate) fn judge(
    script: &Script,
    board: &Board,
    network: &Network,
    recording: &Recording,
) -> Vec<Check> {
    let judge = Judge { script, board, network, recording };
    let mut checks = vec![
        judge.variety("levels", |report| report.run_level),
        judge.variety("sub-networks", |report| report.sub_networks[0]),
    ];
    checks.extend(script.events.iter().map(|event| judge.answered(event)));
    checks.push(judge.misses());
    checks
}

struct Judge<'j> {
    script: &'j Script,
    board: &'j Board,
    network: &'j Network,
    recording: &'j Recording,
}

impl Judge<'_> {
    /// Counts what was decided inside the phases.
    fn variety(&self, what: &str, key: impl Fn(&Report) -> Option<u8>) -> Check {
        let from_s = self.script.phases.first().map_or(0.0, |phase| phase.from_s);
        let within = |report: &&Report| {
            (from_s..self.script.end_s()).contains(&(report.time_us as f64 / 1e6))
        };
        let decided = self.recording.periods.iter().filter(within);
        let used: BTreeSet<u8> = decided.filter_map(key).collect();
        let list: Vec<_> = used.iter().map(u8::to_string).collect();
        Check {
            what: format!("at least {LEAST_VARIETY} {what} used"),
            passed: used.len() >= LEAST_VARIETY,
            found: format!("{} ({})", used.len(), list.join(", ")),
        }
    }

    /// Whether an event was answered by another decision, a right one, in time.
    fn answered(&self, event: &Event) -> Check {
        let neighbour = matches!(event.change, Change::Slowdown(_));
        let since_s = if neighbour { Some(event.at_s) } else { taken_in_s(event, self.recording) };
        let answer = since_s.and_then(|since| Some((since, self.answer_s(event, since)?)));
        let delay = answer.map(|(since, at)| at - since);
        let shown = delay.map(|delay| format!("{:.0} ms", delay * 1e3));
        let (limit, passed, found) = match event.asks {
            Asks::More if neighbour => {
                let count = answer.map(|(since, at)| inferences(since, at, self.recording));
                let passed = count.is_some_and(|count| count <= INFERENCES);
                let found = count.map(|count| format!("{count} inferences"));
                (format!("{INFERENCES} inferences"), passed, found)
            }
            Asks::More => {
                let limit_s = (PERIODS * PERIOD_MS) as f64 / 1e3;
                let passed = delay.is_some_and(|delay| delay <= limit_s);
                (format!("{PERIODS} control periods"), passed, shown)
            }
            Asks::Less => {
                let passed = delay.is_some_and(|delay| delay <= RELAXATION_S);
                (format!("{RELAXATION_S} s"), passed, shown)
            }
        };
        let missing = if since_s.is_none() { "the agent never took it in" } else { "no answer" };
        Check {
            what: format!("{} answered within {limit}", event.what),
            passed,
            found: found.unwrap_or_else(|| missing.into()),
        }
    }

    /// When the first decision was made after `since_s` that answers the event, s.
    fn answer_s(&self, event: &Event, since_s: f64) -> Option<f64> {
        let before = self.recording.periods.iter().rev();
        let before = before.map(|report| (report.time_us as f64 / 1e6, report));
        let (_, before) = before.into_iter().find(|(at_s, _)| *at_s < since_s)?;
        self.recording.periods.iter().find_map(|report| {
            let at_s = report.changed.as_ref()?.time_us as f64 / 1e6;
            (at_s >= since_s && self.answers(event, before, report)).then_some(at_s)
        })
    }

    /// Whether a decision is one that the event asks for: under what holds from the event on, it
    /// keeps every promise by the board's own tables, or says what it lacks; where less is asked
    /// for, it also needs less power than the one before or gives more accuracy.
    fn answers(&self, event: &Event, before: &Report, report: &Report) -> bool {
        let targets = self.script.targets_at(event.at_s);
        let keeps = |targets: &TargetsAt, report: &Report| {
            let sub = report.sub_networks[0].map(usize::from);
            let sub = sub.and_then(|index| Some((index, self.network.sub_networks.get(index)?)));
            let level = report.run_level.and_then(|l| self.board.levels.get(usize::from(l)));
            let Some(((index, sub), level)) = sub.zip(level) else { return false };
            let latency_us = f64::from(self.board.latency_us(sub, level));
            let in_time = latency_us * targets.slowdown <= targets.deadline_ms * 1e3;
            let accurate = !under_floor(self.network, index, targets.floor_bp);
            let power_mw = report.predicted_power_mw.unwrap_or(u32::MAX);
            let under_cap = targets.cap_mw.is_none_or(|cap_mw| power_mw <= cap_mw);
            let named = report.shortfall.is_some();
            in_time && under_cap && (accurate || named)
        };
        let power_mw = |report: &Report| report.predicted_power_mw.unwrap_or(u32::MAX);
        let accuracy = |report: &Report| {
            report.sub_networks[0].map_or(0.0, |index| card_pct(self.network, usize::from(index)))
        };
        keeps(&targets, report)
            && match event.asks {
                // The decision before must not have done already.
                Asks::More => !keeps(&targets, before) || power_mw(report) < power_mw(before),
                Asks::Less => {
                    power_mw(report) < power_mw(before) || accuracy(report) > accuracy(before)
                }
            }
    }

    /// Misses of all phases but for those that an event may cost: the requests under way when it
    /// came, and those that a neighbour met before it was noticed.
    fn misses(&self) -> Check {
        let rows = self.recording.requests.iter().filter(|row| {
            let at_s = row.release_us as f64 / 1e6;
            let phases = &self.script.phases;
            phases.iter().any(|phase| (phase.from_s..phase.until_s).contains(&at_s))
        });
        let (count, missed) =
            rows.fold((0, 0), |(count, missed), row| (count + 1, missed + usize::from(row.missed)));
        let allowed = count * usize::from(MISS_BP) / 10_000 + self.script.events.len();
        Check {
            what: format!("at most {allowed} of {count} requests late (1 %, and one an event)"),
            passed: missed <= allowed,
            found: format!("{missed}"),
        }
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

/// Inferences that started from `since_s` on and before `at_s`.
fn inferences(since_s: f64, at_s: f64, recording: &Recording) -> usize {
    let starts = recording.requests.iter().filter_map(|row| row.served.as_ref());
    let starts = starts.map(|served| served.start_us as f64 / 1e6);
    starts.filter(|start| (since_s..at_s).contains(start)).count()
}
