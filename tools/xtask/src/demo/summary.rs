//! The summary at the end.

use std::collections::BTreeMap;
use std::fmt::Write;

use coshift_plant::Board;
use coshift_plant::board::Network;

use super::baseline::{Baseline, BaselineFigures};
use super::judge::Check;
use super::phases::{Figures, figures};
use super::recording::Recording;
use super::script::{Phase, Script};

/// Everything the summary and the report say.
#[derive(Debug)]
pub(crate) struct Summary<'s> {
    pub(crate) board: &'s Board,
    pub(crate) network: &'s Network,
    pub(crate) phases: Vec<PhaseSummary>,
    pub(crate) checks: Vec<Check>,
    pub(crate) takeovers_s: Vec<f64>,
}

/// What a phase came to, and what the same requests came to under the baselines.
#[derive(Debug)]
pub(crate) struct PhaseSummary {
    pub(crate) phase: Phase,
    pub(crate) figures: Figures,
    pub(crate) baselines: Vec<(&'static str, BaselineFigures)>,
}

/// What all phases came to together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Total {
    pub(crate) name: &'static str,
    pub(crate) energy_j: f64,
    pub(crate) misses: usize,
}

impl<'s> Summary<'s> {
    /// The summary of a run.
    pub(crate) fn new(
        board: &'s Board,
        network: &'s Network,
        script: &Script,
        recording: &Recording,
        baselines: &[Baseline],
        checks: Vec<Check>,
    ) -> Self {
        let phases = script.phases.iter().map(|phase| PhaseSummary {
            phase: phase.clone(),
            figures: figures(phase, recording),
            baselines: baselines
                .iter()
                .map(|baseline| (baseline.name, baseline.figures(phase, network)))
                .collect(),
        });
        Self {
            board,
            network,
            phases: phases.collect(),
            checks,
            takeovers_s: recording.takeovers_s(),
        }
    }

    /// What all phases came to together: ours first, then each baseline's.
    pub(crate) fn totals(&self) -> Vec<Total> {
        let mut totals: Vec<Total> = Vec::new();
        let mut add = |name, energy_j, misses| match totals.iter_mut().find(|t| t.name == name) {
            Some(total) => {
                total.energy_j += energy_j;
                total.misses += misses;
            }
            None => totals.push(Total { name, energy_j, misses }),
        };
        for PhaseSummary { figures, baselines, .. } in &self.phases {
            add("Coshift", figures.energy_j, figures.misses);
            for (name, theirs) in baselines {
                add(name, theirs.energy_j, theirs.misses);
            }
        }
        totals
    }

    fn total(&self) -> String {
        let totals = self.totals();
        let Some((ours, theirs)) = totals.split_first() else { return String::new() };
        let requests: usize = self.phases.iter().map(|summary| summary.figures.requests).sum();
        let Total { energy_j, misses, .. } = ours;
        let mut text = format!("all phases: {energy_j:.1} J, {misses} of {requests} missed\n");
        for Total { name, energy_j: their_energy, misses } in theirs {
            let _ = writeln!(
                text,
                "  {} than {name}: {their_energy:.1} J, {misses} missed",
                ratio(*energy_j, *their_energy)
            );
        }
        text
    }

    /// As text for a terminal.
    pub(crate) fn text(&self, tiles_run: u16) -> String {
        let mut text = String::new();
        let tiles = self.network.tiles;
        let _ = writeln!(
            text,
            "\n{} on {}: a request is {tiles} crops; {tiles_run} of them are inferred, the rest \
             takes its time only.\nLatency, power and energy are the board model's, not measured.\n",
            self.network.name, self.board.title,
        );
        for PhaseSummary { phase, figures, baselines } in &self.phases {
            let _ = writeln!(text, "{}: {}", phase.name, phase.story);
            let _ = writeln!(
                text,
                "  decided by mcu {:.0} %; levels {}; sub-networks {}",
                figures.mcu_pct,
                used(&figures.levels),
                used(&figures.sub_networks),
            );
            let (shortest, longest) = figures.deadline_ms;
            let _ = writeln!(
                text,
                "  response p50 {} p99 {} against {}; {} of {} missed; accuracy {}; {:.1} J",
                milliseconds(figures.p50_ms),
                milliseconds(figures.p99_ms),
                if shortest == longest {
                    format!("{shortest:.0} ms")
                } else {
                    format!("{shortest:.0} to {longest:.0} ms")
                },
                figures.misses,
                figures.requests,
                accuracy(figures),
                figures.energy_j,
            );
            for (name, baseline) in baselines {
                let _ = writeln!(
                    text,
                    "  {} than {name}: p99 {}, {} missed",
                    ratio(figures.energy_j, baseline.energy_j),
                    milliseconds(baseline.p99_ms),
                    baseline.misses,
                );
            }
        }
        text += &self.total();
        for at_s in &self.takeovers_s {
            let _ = writeln!(text, "at {at_s:.1} s the twin took over from the microcontroller");
        }
        text.push('\n');
        for check in &self.checks {
            let mark = if check.passed { "ok    " } else { "FAILED" };
            let _ = writeln!(text, "{mark} {}: {}", check.what, check.found);
        }
        text
    }
}

/// Energy against a baseline's.
pub(crate) fn ratio(ours: f64, theirs: f64) -> String {
    if theirs <= 0.0 {
        return "energy not comparable".into();
    }
    let saved = 100.0 * (1.0 - ours / theirs);
    if saved >= 0.0 {
        format!("{saved:.1} % less energy")
    } else {
        format!("{:.1} % more energy", -saved)
    }
}

/// Used ones, the most used first, with their share.
fn used(counts: &BTreeMap<u8, usize>) -> String {
    let total: usize = counts.values().sum();
    let mut list: Vec<_> = counts.iter().collect();
    list.sort_by_key(|(index, count)| (std::cmp::Reverse(**count), **index));
    let share = |count: usize| 100.0 * count as f64 / total.max(1) as f64;
    let words: Vec<_> =
        list.iter().map(|(index, count)| format!("{index} ({:.0} %)", share(**count))).collect();
    words.join(", ")
}

pub(crate) fn milliseconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"))
}

pub(crate) fn accuracy(figures: &Figures) -> String {
    if figures.images == 0 {
        return "not counted".into();
    }
    let share = 100.0 * figures.right as f64 / figures.images as f64;
    format!("{share:.2} % of {} images", figures.images)
}
