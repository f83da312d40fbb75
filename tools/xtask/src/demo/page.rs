//! The report of a demonstration: one HTML file.

use coshift_host::core::Decider;
use coshift_plant::board::Network;
use coshift_tools::page::{
    Cell, Column, KeyFigure, Limit, Look, Page, PageError, Section, Series, Table, TimePlot,
    TimePlots,
};
use coshift_tools::simulate::{Ending, Record};

use super::baseline::Baseline;
use super::phases::card_pct;
use super::recording::Recording;
use super::script::Script;
use super::summary::{PhaseSummary, Summary, Total, accuracy, milliseconds, ratio};

/// Power, and the clocks of governors that change every few milliseconds, are averaged over this
/// long, s: several requests.
const WINDOW_S: f64 = 0.5;
/// Each manager looks the same in every plot: ours, largest, best-fitting.
const LOOKS: [Look; 3] = [Look::First, Look::Second, Look::Third];
/// What the key calls a request that missed its deadline.
const LATE: &str = "late";

/// The page.
///
/// # Errors
/// Where a figure is no number: none of a finished run is.
pub(crate) fn page(
    script: &Script,
    recording: &Recording,
    baselines: &[Baseline],
    summary: &Summary<'_>,
    tiles_run: u16,
) -> Result<String, PageError> {
    let (network, board) = (&summary.network.name, summary.board);
    let mut page = Page::new(format!("Coshift: {network} on a virtual {}", board.name));
    page = page.lead(format!(
        "The controller decided, at each control period, which sub-network runs and at which clocks; \
         the agent ran the inference and set the clocks of a virtual board: {}. A request is a frame \
         of {} crops, of which {tiles_run} were really inferred; the others took their time only. \
         Latency, power and energy are the board model's; accuracy is counted on labelled images.",
        board.title, summary.network.tiles
    ));
    let by = |decider| recording.periods.iter().any(|report| report.decider == decider);
    page = page.lead(if by(Decider::InProcess) {
        "The controller ran inside the agent: there was no emulator."
    } else {
        "The controller was the firmware, in an emulated Cortex-M4 behind a serial port; the agent's \
         twin of it decides until it has agreed twenty times, and whenever it is silent."
    });
    let phases = script.phases.iter().map(|phase| format!("{}: {}", phase.name, phase.story));
    let happened = phases.fold(Section::new("What happened"), Section::note);
    Ok(page
        .section(headline(summary))
        .section(happened.plots(plots(script, recording, summary.network, baselines)?))
        .section(phase_section(summary)?)
        .section(check_section(summary)?)
        .section(model_section(summary))
        .html())
}

fn headline(summary: &Summary<'_>) -> Section {
    let (requests, misses) = summary.misses();
    let late = KeyFigure::new(format!("{misses} of {requests}"), "requests late under Coshift");
    let mut section = Section::new("In short");
    if summary.frozen {
        section = section.paragraph("The first decision was kept for ever, as asked for.");
    }
    if summary.failed() > 0 {
        let (failed, all) = (summary.failed(), summary.checks.len());
        let text = format!("{failed} of {all} checks failed: see below. No savings are claimed.");
        return section.paragraph(text).key_figures([late]);
    }
    if summary.late_by_host() > 0 {
        section = section.paragraph(format!(
            "Not counted as late: {} that were late only because this machine was busy; the board would \
             have been in time.",
            summary.late_by_host()
        ));
    }
    let savings = summary.totals().into_iter().map(|total| {
        let Total { name, phases, our_misses, their_misses, requests, .. } = total;
        let label = format!(
            "than {name}, in the {phases} phases that can be compared; late {our_misses} against \
             {their_misses} of {requests}"
        );
        KeyFigure::new(ratio(total.ours_j, total.theirs_j), label)
    });
    section.key_figures(std::iter::once(late).chain(savings))
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn plots(
    script: &Script,
    recording: &Recording,
    network: &Network,
    baselines: &[Baseline],
) -> Result<TimePlots, PageError> {
    let from_s = script.phases.first().map_or(0.0, |phase| phase.from_s);
    let mut plots = TimePlots::new(from_s, script.end_s())?;
    for phase in &script.phases {
        plots = plots.phase(phase.name, phase.from_s, phase.until_s)?;
    }
    for at_s in recording.takeovers_s() {
        plots = plots.moment("the twin took over from the microcontroller", at_s)?;
    }
    let [ours, looks @ ..] = LOOKS;
    let theirs = || baselines.iter().zip(looks);

    let level = |report: &coshift_host::report::Report| {
        report.level_khz.map(|[_, gpu, _]| f64::from(gpu) / 1e3)
    };
    let periods = || recording.periods.iter().map(|report| (seconds(report.time_us), report));
    let mut clocks = TimePlot::new("GPU clock", "MHz")
        .note("Coshift: while requests run. Governors: mean over half a second.")
        .series(steps("Coshift", periods().map(|(at, report)| (at, level(report))))?.look(ours));
    for (baseline, look) in theirs() {
        let means = mean_clocks(baseline, script.end_s());
        clocks = clocks.series(steps(baseline.name, means)?.look(look));
    }
    let served = recording.requests.iter().filter_map(|row| row.served.as_ref());
    let ran = served.map(|run| (seconds(run.start_us), Some(f64::from(run.sub_network))));
    let mut sub_networks = TimePlot::new("Sub-network", "index, 0 is the smallest")
        .series(steps("Coshift", ran)?.look(ours));
    for (baseline, look) in theirs() {
        let ran = baseline.run.records.iter().filter_map(|record| match record.ending {
            Ending::Served { start_us, sub_network, .. } => {
                Some((seconds(start_us), Some(sub_network as f64)))
            }
            Ending::Dropped { .. } => None,
        });
        sub_networks = sub_networks.series(steps(baseline.name, ran)?.look(look));
    }
    let levels = periods().map(|(at, report)| (at, report.run_level.map(f64::from)));
    let levels = TimePlot::new("Level", "index, 0 has the lowest clocks")
        .series(steps("Coshift", levels)?.look(ours));
    plots = plots.plot(levels).plot(clocks).plot(sub_networks);
    plots = plots.plot(accuracy_plot(script, recording, network, baselines)?);
    plots = plots.plot(our_responses(recording, ours)?);
    for (baseline, look) in theirs() {
        plots = plots.plot(their_responses(baseline, look)?);
    }
    Ok(plots.plot(power_plot(script, recording, baselines)?).plot(slowdown_plot(script, ours)?))
}

fn steps(
    name: &str,
    values: impl IntoIterator<Item = (f64, Option<f64>)>,
) -> Result<Series, PageError> {
    Series::steps(name, values)
}

fn accuracy_plot(
    script: &Script,
    recording: &Recording,
    network: &Network,
    baselines: &[Baseline],
) -> Result<TimePlot, PageError> {
    let [ours, looks @ ..] = LOOKS;
    let card = |index: usize| Some(card_pct(network, index));
    let served = recording.requests.iter().filter_map(|row| row.served.as_ref());
    let ran = served.map(|run| (seconds(run.start_us), card(usize::from(run.sub_network))));
    let mut plot = TimePlot::new("Accuracy", "%")
        .note("Of the sub-network that runs, by the model's card.")
        .without_zero()
        .series(steps("Coshift", ran)?.look(ours));
    for (baseline, look) in baselines.iter().zip(looks) {
        let ran = baseline.run.records.iter().filter_map(|record| match record.ending {
            Ending::Served { start_us, sub_network, .. } => {
                Some((seconds(start_us), card(sub_network)))
            }
            Ending::Dropped { .. } => None,
        });
        plot = plot.series(steps(baseline.name, ran)?.look(look));
    }
    let floors = recording.periods.iter().map(|report| {
        let at_s = seconds(report.time_us);
        (at_s, f64::from(script.floor_bp_at(at_s)) / 100.0)
    });
    Ok(plot.limit(Limit::new("accuracy floor", floors)?))
}

fn our_responses(recording: &Recording, look: Look) -> Result<TimePlot, PageError> {
    let mut rows: Vec<_> = recording.requests.iter().collect();
    rows.sort_by_key(|row| row.release_us);
    let deadline = rows.iter().map(|row| (seconds(row.release_us), row.deadline_us as f64 / 1e3));
    let values = rows.iter().map(|row| {
        let response = row.served.as_ref().map(|served| served.response_us as f64 / 1e3);
        (seconds(row.release_us), response)
    });
    let missed: Vec<bool> = rows.iter().map(|row| row.missed).collect();
    let points = Series::points("response", values)?.look(look);
    Ok(TimePlot::new("Response time under Coshift", "ms")
        .series(points.mark_where(LATE, |index| missed.get(index).copied().unwrap_or(false)))
        .limit(Limit::new("deadline", deadline)?))
}

fn their_responses(baseline: &Baseline, look: Look) -> Result<TimePlot, PageError> {
    let records = &baseline.run.records;
    let released = |record: &Record| seconds(record.request.release_us);
    let deadline =
        records.iter().map(|record| (released(record), record.request.deadline_us as f64 / 1e3));
    let values = records
        .iter()
        .map(|record| (released(record), record.response_us().map(|us| us as f64 / 1e3)));
    let points = Series::points("response", values)?.look(look);
    let late = |index: usize| records.get(index).is_some_and(Record::missed);
    Ok(TimePlot::new(format!("Response time under {}", baseline.name), "ms")
        .series(points.mark_where(LATE, late))
        .limit(Limit::new("deadline", deadline)?))
}

fn power_plot(
    script: &Script,
    recording: &Recording,
    baselines: &[Baseline],
) -> Result<TimePlot, PageError> {
    let [ours, looks @ ..] = LOOKS;
    let windows = || {
        let starts = (0..).map(|n| f64::from(n) * WINDOW_S);
        starts.take_while(|from| from + WINDOW_S <= script.end_s())
    };
    let drawn = windows().map(|from| {
        let joule = |at_s| recording.energy_j_at(at_s);
        let used = joule(from + WINDOW_S).zip(joule(from)).map(|(to, from)| to - from);
        (from, used.map(|joule| joule / WINDOW_S))
    });
    let mut plot = TimePlot::new("Board power", "W")
        .note("By the board's model, mean over half a second.")
        .series(steps("Coshift", drawn)?.look(ours));
    for (baseline, look) in baselines.iter().zip(looks) {
        let micros = |at_s: f64| (at_s * 1e6) as u64;
        let drawn = windows()
            .map(|from| (from, Some(baseline.run.mean_w(micros(from), micros(from + WINDOW_S)))));
        plot = plot.series(steps(baseline.name, drawn)?.look(look));
    }
    let caps = recording.periods.iter().map(|report| {
        let at_s = seconds(report.time_us);
        (at_s, script.power_cap_at(at_s).map(|mw| f64::from(mw) / 1e3))
    });
    Ok(plot.limit(Limit::new("power cap", caps)?))
}

fn slowdown_plot(script: &Script, look: Look) -> Result<TimePlot, PageError> {
    let changes = [(0.0, 1_000)].into_iter().chain(script.slowdowns());
    let changes = changes.map(|(at_s, permille)| (at_s, Some(f64::from(permille) / 1e3)));
    Ok(TimePlot::new("Slowdown by a neighbour", "times")
        .series(steps("slowdown", changes)?.look(look)))
}

/// Mean GPU clock of a baseline over windows, MHz.
fn mean_clocks(baseline: &Baseline, end_s: f64) -> Vec<(f64, Option<f64>)> {
    let points = baseline.run.points();
    let ends = points.iter().skip(1).map(|point| seconds(point.from_us)).chain([end_s]);
    let windows = (end_s / WINDOW_S).ceil() as usize;
    let mut sums = vec![0.0; windows];
    for (point, until_s) in points.iter().zip(ends) {
        let mut at_s = seconds(point.from_us);
        while at_s < until_s.min(end_s) {
            let window = (at_s / WINDOW_S) as usize;
            let next_s = until_s.min((window + 1) as f64 * WINDOW_S).max(at_s + 1e-6);
            if let Some(sum) = sums.get_mut(window) {
                *sum += point.clocks.gpu_mhz() * (next_s - at_s);
            }
            at_s = next_s;
        }
    }
    let mean = |(window, sum): (usize, f64)| (window as f64 * WINDOW_S, Some(sum / WINDOW_S));
    sums.into_iter().enumerate().map(mean).collect()
}

fn phase_section(summary: &Summary<'_>) -> Result<Section, PageError> {
    let mut table = Table::new(
        "Figures of each phase",
        [
            Column::text("Manager"),
            Column::number("Late"),
            Column::number("p50"),
            Column::number("p99"),
            Column::number("Accuracy by the card"),
            Column::number("Under the floor"),
            Column::number("Over the cap"),
            Column::number("Energy"),
            Column::text("Accuracy counted"),
            Column::text("Decided by"),
        ],
    );
    for PhaseSummary { phase, figures, baselines } in &summary.phases {
        table = table.group(phase.name).row([
            Cell::new("Coshift").strong(),
            Cell::new(format!("{} of {}", figures.misses, figures.requests)),
            Cell::new(milliseconds(figures.p50_ms)),
            Cell::new(milliseconds(figures.p99_ms)),
            Cell::new(format!("{:.2} %", figures.card_accuracy_pct(summary.network))),
            Cell::new(figures.under_floor.to_string()),
            Cell::new(format!("{:.0} s", figures.over_cap_s)),
            Cell::new(format!("{:.1} J", figures.energy_j)),
            Cell::new(accuracy(figures)),
            Cell::new(figures.decided_by()),
        ])?;
        for (name, theirs) in baselines {
            table = table.row([
                Cell::new(*name),
                Cell::new(format!("{} of {}", theirs.misses, theirs.requests)),
                Cell::new(milliseconds(theirs.p50_ms)),
                Cell::new(milliseconds(theirs.p99_ms)),
                Cell::new(format!("{:.2} %", theirs.accuracy_pct)),
                Cell::new(theirs.under_floor.to_string()),
                Cell::new(format!("{:.0} s", theirs.over_cap_s)),
                Cell::new(format!("{:.1} J", theirs.energy_j)),
                Cell::new(""),
                Cell::new(""),
            ])?;
        }
    }
    Ok(Section::new("Phase by phase").table(table))
}

fn check_section(summary: &Summary<'_>) -> Result<Section, PageError> {
    let columns = [Column::text("Check"), Column::text("Kept"), Column::text("Found")];
    let mut table = Table::new("What the demonstration must show", columns);
    for check in &summary.checks {
        let kept = if check.passed { Cell::new("yes").good() } else { Cell::new("no").bad() };
        table =
            table.row([Cell::new(check.what.as_str()), kept, Cell::new(check.found.as_str())])?;
    }
    Ok(Section::new("Did it answer in time?").table(table))
}

fn model_section(summary: &Summary<'_>) -> Section {
    let ours = [
        "The two baselines ran in virtual time on the same board model, with the same release times, \
         deadlines, accuracy floors and neighbour. The largest is always the most accurate \
         sub-network; the best-fitting one the least accurate that meets the floor in force, as if \
         chosen by hand for each. They know no power cap and do not park the clocks.",
        "A floor that was raised counts from two control periods later, the time there is to answer; \
         over the cap is time in windows of ten requests whose mean power was above it.",
        "Energies are compared only where as many requests ran under the accuracy floor, within 0.1 \
         point: not where a power cap forbids what the floor asks for.",
        "Energy is that of the whole board (VDD_IN), idle included; a neighbour's own work is not in \
         it.",
        "Policy, virtual board and baselines are computed from the same board file, with 1 % of noise: \
         the controller meets no error of its tables here but for the neighbour.",
        "Accuracy by the card is that of the sub-networks that ran, on 10,000 test images; accuracy \
         counted is on the images that were inferred here, some of the first thousand of them, again \
         and again: they are easier than the rest.",
    ];
    let notes = ours.iter().copied().chain(summary.board.notes.iter().map(String::as_str));
    notes.fold(Section::new("What is modelled"), Section::note)
}

#[cfg(test)]
mod tests {
    use coshift_host::boards;

    use crate::demo::{baseline, judge, script::NETWORK, simulated, summary::Summary};

    #[test]
    fn every_plot_phase_and_check_is_on_the_page() {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        let network = board.network(NETWORK).unwrap();
        let (script, recording) = simulated::run(false, 1);
        let baselines = baseline::run(&board, network, &script, &recording).unwrap();
        let checks = judge::judge(&script, &board, network, &recording);
        let summary = Summary::new(&board, network, &script, &recording, &baselines, checks);
        let page = super::page(&script, &recording, &baselines, &summary, 16).unwrap();
        for title in [
            "Level",
            "GPU clock",
            "Sub-network",
            "Accuracy",
            "Response time under Coshift",
            "Response time under schedutil + podgov, largest",
            "Board power",
            "Slowdown by a neighbour",
        ] {
            assert!(page.contains(title), "{title}");
        }
        for phase in &script.phases {
            assert!(page.contains(phase.name) && page.contains(phase.story), "{}", phase.name);
        }
        for event in &script.events {
            assert!(page.contains(event.what), "{}", event.what);
        }
        for word in ["http:", "https:", "src=", "url("] {
            assert!(!page.contains(word), "{word}");
        }
        // Misses are counted in the key.
        let missed = recording.requests.iter().filter(|row| row.missed).count();
        assert!(page.contains(&format!("late: {missed} of {}", recording.requests.len())));
    }
}
