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
    /// The first decision was kept for ever.
    pub(crate) frozen: bool,
}

/// What a phase came to, and what the same requests came to under the baselines.
#[derive(Debug)]
pub(crate) struct PhaseSummary {
    pub(crate) phase: Phase,
    pub(crate) figures: Figures,
    pub(crate) baselines: Vec<(&'static str, BaselineFigures)>,
}

/// What the phases that can be compared with a baseline came to together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Total {
    pub(crate) name: &'static str,
    /// How many phases these are.
    pub(crate) phases: usize,
    pub(crate) requests: usize,
    pub(crate) ours_j: f64,
    pub(crate) our_misses: usize,
    pub(crate) theirs_j: f64,
    pub(crate) their_misses: usize,
}

impl PhaseSummary {
    /// Whether energies can be compared: requests under the accuracy floor are as many within 0.1
    /// point. Misses are named beside each ratio.
    pub(crate) fn comparable(&self, theirs: &BaselineFigures) -> bool {
        let share = |under: usize, of: usize| 100.0 * under as f64 / of.max(1) as f64;
        let ours = share(self.figures.under_floor, self.figures.requests);
        (ours - share(theirs.under_floor, theirs.requests)).abs() <= 0.1
    }
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
            figures: figures(phase, script, network, recording),
            baselines: baselines
                .iter()
                .map(|baseline| (baseline.name, baseline.figures(phase, script, network)))
                .collect(),
        });
        Self {
            board,
            network,
            phases: phases.collect(),
            checks,
            takeovers_s: recording.takeovers_s(),
            frozen: false,
        }
    }

    /// For each baseline, what the phases that can be compared came to together.
    pub(crate) fn totals(&self) -> Vec<Total> {
        let mut totals: Vec<Total> = Vec::new();
        for summary in &self.phases {
            for (name, theirs) in &summary.baselines {
                let place = match totals.iter().position(|total| total.name == *name) {
                    Some(place) => place,
                    None => {
                        totals.push(Total {
                            name,
                            phases: 0,
                            requests: 0,
                            ours_j: 0.0,
                            our_misses: 0,
                            theirs_j: 0.0,
                            their_misses: 0,
                        });
                        totals.len() - 1
                    }
                };
                if !summary.comparable(theirs) {
                    continue;
                }
                let total = &mut totals[place];
                total.phases += 1;
                total.requests += summary.figures.requests;
                total.ours_j += summary.figures.energy_j;
                total.our_misses += summary.figures.misses;
                total.theirs_j += theirs.energy_j;
                total.their_misses += theirs.misses;
            }
        }
        totals
    }

    /// Requests of all phases, and how many of them were late.
    pub(crate) fn misses(&self) -> (usize, usize) {
        self.phases.iter().fold((0, 0), |(requests, misses), summary| {
            (requests + summary.figures.requests, misses + summary.figures.misses)
        })
    }

    /// Requests that only this machine finished late.
    pub(crate) fn late_by_host(&self) -> u64 {
        self.phases.iter().map(|summary| summary.figures.late_by_host).sum()
    }

    /// Checks that failed.
    pub(crate) fn failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.passed).count()
    }

    fn total(&self) -> String {
        let (requests, misses) = self.misses();
        let mut text = format!("all phases: {misses} of {requests} late\n");
        for total in self.totals() {
            let Total { name, phases, ours_j, theirs_j, our_misses, their_misses, .. } = total;
            let _ = writeln!(
                text,
                "  {} than {name} in the {phases} phases that can be compared: {ours_j:.1} J, \
                 {our_misses} late, against {theirs_j:.1} J, {their_misses} late",
                ratio(ours_j, theirs_j)
            );
        }
        if self.late_by_host() > 0 {
            let _ = writeln!(
                text,
                "  not among them, late only because this machine was busy: {}; the board would have been \
                 in time",
                self.late_by_host()
            );
        }
        text
    }

    /// As text for a terminal.
    pub(crate) fn text(&self, tiles_run: u16) -> String {
        let mut text = String::new();
        if self.frozen {
            text += "\nThe first decision was kept for ever, as asked for.\n";
        }
        let tiles = self.network.tiles;
        let _ = writeln!(
            text,
            "\n{} on {}: a request is {tiles} crops; {tiles_run} of them are inferred, the rest \
             takes its time only.\nLatency, power and energy are the board model's, not measured.\n",
            self.network.name, self.board.title,
        );
        for summary in &self.phases {
            let PhaseSummary { phase, figures, baselines } = summary;
            let _ = writeln!(text, "{}: {}", phase.name, phase.story);
            let _ = writeln!(
                text,
                "  decided by {}; levels {}; sub-networks {}",
                figures.decided_by(),
                used(&figures.levels),
                used(&figures.sub_networks),
            );
            let _ = writeln!(
                text,
                "  response p50 {} p99 {} against {}; {} of {} late; {:.1} J",
                milliseconds(figures.p50_ms),
                milliseconds(figures.p99_ms),
                range(figures.deadline_ms, 0, "ms"),
                figures.misses,
                figures.requests,
                figures.energy_j,
            );
            let _ = writeln!(
                text,
                "  accuracy {:.2} % by the card against a floor of {}, {} under it; counted here {}",
                figures.card_accuracy_pct(self.network),
                range(figures.floor_pct, 2, "%"),
                figures.under_floor,
                accuracy(figures),
            );
            for (name, theirs) in baselines {
                let energy = if summary.comparable(theirs) {
                    format!("{} than", ratio(figures.energy_j, theirs.energy_j))
                } else {
                    "energy not to be compared with".into()
                };
                let cap = if theirs.over_cap_s > 0.0 {
                    format!(
                        ", {:.0} s over the power cap ({:.0} s here)",
                        theirs.over_cap_s, figures.over_cap_s
                    )
                } else {
                    String::new()
                };
                let _ = writeln!(
                    text,
                    "  {energy} {name}: p99 {}, {} late, {} under the floor{cap}",
                    milliseconds(theirs.p99_ms),
                    theirs.misses,
                    theirs.under_floor,
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

/// A range, as one number where it is one.
fn range((least, most): (f64, f64), digits: usize, unit: &str) -> String {
    if least == most {
        format!("{least:.digits$} {unit}")
    } else {
        format!("{least:.digits$} to {most:.digits$} {unit}")
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
