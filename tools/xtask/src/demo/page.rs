//! The report of a demonstration: one HTML file that needs no network and no script.

use std::fmt::Write;

use coshift_host::core::Decider;
use coshift_tools::simulate::Ending;

use super::baseline::Baseline;
use super::plot::{Axis, Kind, Plot, STYLE, Series, escaped};
use super::recording::Recording;
use super::script::Script;
use super::summary::{PhaseSummary, Summary, Total, accuracy, milliseconds, ratio};

/// Power, and the clocks of governors that change every few milliseconds, are averaged over this
/// long, s: several requests.
const WINDOW_S: f64 = 0.5;

const PAGE_STYLE: &str = "
:root{color-scheme:light dark;--text:#1b1f24;--soft:#57606a;--line:#d5dae0;--paper:#fff;--even:#f3f6fa;
--odd:#e7ecf3;--ours:#0550ae;--largest:#953800;--fitting:#4a6a00;--limit:#c01c28;--good:#116329}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--soft:#a5afba;--line:#3a424c;--paper:#12161b;
--even:#1a2028;--odd:#222a35;--ours:#79b8ff;--largest:#ffa657;--fitting:#b6d84c;--limit:#ff8a80;--good:#7ee787}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:75rem;padding:1rem 1.2rem 3rem;background:var(--paper);color:var(--text);
font:1rem/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.5rem 0} h2{font-size:1.15rem;margin:2rem 0 .5rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem} th,td{text-align:left;white-space:nowrap;padding:.3rem .9rem .3rem 0;vertical-align:top;
border-bottom:1px solid var(--line)}
.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0;padding:0;list-style:none}
.tiles li{flex:1 1 13rem;background:var(--even);padding:.7rem .9rem;border-radius:.4rem}
.tiles b{display:block;font-size:1.35rem}
.ok{color:var(--good)} .failed{color:var(--limit);font-weight:bold}
ul.notes{padding-left:1.2rem} small{color:var(--soft)}
@media print{body{max-width:none} figure{break-inside:avoid}}
";

/// The page.
pub(crate) fn page(
    script: &Script,
    recording: &Recording,
    baselines: &[Baseline],
    summary: &Summary<'_>,
    tiles_run: u16,
) -> String {
    let title = format!("Coshift: {} on a virtual {}", summary.network.name, summary.board.name);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{PAGE_STYLE}\
         {STYLE}</style></head><body>\n<h1>{title}</h1>\n",
        title = escaped(&title)
    );
    text += &lead(summary, tiles_run);
    if let Some(note) = decider_note(recording) {
        let _ = writeln!(text, "<p>{}</p>", escaped(note));
    }
    text += &headline(summary);
    text += "<h2>What happened</h2>\n<p><small>Numbers under the plots are the phases: ";
    let phases: Vec<_> = (1..)
        .zip(&script.phases)
        .map(|(number, phase)| {
            format!("{number} {}, {}", escaped(phase.name), escaped(phase.story))
        })
        .collect();
    let _ = writeln!(text, "{}.</small></p>", phases.join("; "));
    let axis = axis(script, recording);
    for (what, at_s) in &axis.moments {
        let _ = writeln!(text, "<p>Dashed line at {at_s:.1} s: {}</p>", escaped(what));
    }
    for plot in plots(script, recording, baselines) {
        text += &plot.html(&axis);
    }
    text += &phase_table(summary);
    text += &checks(summary);
    text += &limits(summary);
    text += "</body></html>\n";
    text
}

fn lead(summary: &Summary<'_>, tiles_run: u16) -> String {
    let (board, tiles) = (escaped(&summary.board.title), summary.network.tiles);
    format!(
        "<p>The firmware decided, at each control period, which sub-network runs and at which clocks; \
         the agent ran the inference and set the clocks of a virtual board: {board}. A request is a \
         frame of {tiles} crops, of which {tiles_run} were really inferred; the others took their \
         time only. Latency, power and energy are the board model's; accuracy is counted on labelled \
         images.</p>\n"
    )
}

fn headline(summary: &Summary<'_>) -> String {
    let totals = summary.totals();
    let Some((ours, theirs)) = totals.split_first() else { return String::new() };
    let requests: usize = summary.phases.iter().map(|phase| phase.figures.requests).sum();
    let mut text = "<ul class=\"tiles\">".to_owned();
    let mut tile = |value: String, label: String| {
        let _ = write!(text, "<li><b>{}</b>{}</li>", escaped(&value), escaped(&label));
    };
    tile(format!("{} of {requests}", ours.misses), "requests late under Coshift".into());
    for Total { name, energy_j, misses } in theirs {
        let label = format!("than {name}, where {misses} were late");
        tile(ratio(ours.energy_j, *energy_j), label);
    }
    text += "</ul>\n";
    text
}

fn axis(script: &Script, recording: &Recording) -> Axis {
    let bands = script.phases.iter();
    let bands = bands.map(|phase| (phase.name.to_owned(), phase.from_s, phase.until_s));
    let what = "the twin took over from the microcontroller";
    Axis {
        from_s: script.phases.first().map_or(0.0, |phase| phase.from_s),
        until_s: script.end_s(),
        bands: bands.collect(),
        moments: recording.takeovers_s().into_iter().map(|at_s| (what.to_owned(), at_s)).collect(),
    }
}

fn plots(script: &Script, recording: &Recording, baselines: &[Baseline]) -> Vec<Plot> {
    let seconds = |us: u64| us as f64 / 1e6;
    let steps =
        |name: &str, class, values| Series { name: name.into(), class, kind: Kind::Steps, values };
    let dots =
        |name: &str, class, values| Series { name: name.into(), class, kind: Kind::Dots, values };
    let periods = || recording.periods.iter().map(|report| (seconds(report.time_us), report));
    let served = || recording.requests.iter().filter_map(|row| Some((row, row.served.as_ref()?)));
    let classes = ["largest", "fitting"];

    let mut clocks = vec![steps(
        "Coshift",
        "ours",
        periods()
            .map(|(at, report)| (at, report.level_khz.map(|[_, gpu, _]| f64::from(gpu) / 1e3)))
            .collect(),
    )];
    let mut sub_networks = vec![steps(
        "Coshift",
        "ours",
        served()
            .map(|(_, run)| (seconds(run.start_us), Some(f64::from(run.sub_network))))
            .collect(),
    )];
    let mut power = vec![steps("Coshift", "ours", powers(script, recording))];
    for (baseline, class) in baselines.iter().zip(classes) {
        clocks.push(steps(baseline.name, class, mean_clocks(baseline, script.end_s())));
        let ran = baseline.run.records.iter().filter_map(|record| match record.ending {
            Ending::Served { start_us, sub_network, .. } => {
                Some((seconds(start_us), Some(sub_network as f64)))
            }
            Ending::Dropped { .. } => None,
        });
        sub_networks.push(steps(baseline.name, class, ran.collect()));
        let windows = (0..).map(|n| f64::from(n) * WINDOW_S);
        let windows = windows.take_while(|from| *from < script.end_s()).map(|from| {
            let micros = |at_s: f64| (at_s * 1e6) as u64;
            (from, Some(baseline.run.mean_w(micros(from), micros(from + WINDOW_S))))
        });
        power.push(steps(baseline.name, class, windows.collect()));
    }
    let cap = periods().map(|(at, _)| (at, script.power_cap_at(at).map(|mw| f64::from(mw) / 1e3)));
    power.push(steps("power cap", "limit", cap.collect()));

    let deadline = || {
        let rows = recording.requests.iter();
        rows.map(|row| (seconds(row.release_us), Some(row.deadline_us as f64 / 1e3))).collect()
    };
    let kept = |missed: bool| -> Vec<_> {
        served()
            .filter(|(row, _)| row.missed == missed)
            .map(|(row, run)| (seconds(row.release_us), Some(run.response_us as f64 / 1e3)))
            .collect()
    };
    let mut plots = vec![
        Plot {
            title: "GPU clock".into(),
            unit: "MHz (Coshift: while requests run; governors: mean over half a second)",
            series: clocks,
        },
        Plot {
            title: "Sub-network".into(),
            unit: "index, 0 is the smallest",
            series: sub_networks,
        },
        Plot {
            title: "Response time under Coshift".into(),
            unit: "ms",
            series: vec![
                steps("deadline", "limit", deadline()),
                dots("in time", "ours", kept(false)),
                dots("late", "missed", kept(true)),
            ],
        },
    ];
    for (baseline, class) in baselines.iter().zip(classes) {
        let responses = |missed: bool| -> Vec<_> {
            let records = baseline.run.records.iter().filter(|record| record.missed() == missed);
            records
                .filter_map(|record| {
                    let response = record.response_us()? as f64 / 1e3;
                    Some((seconds(record.request.release_us), Some(response)))
                })
                .collect()
        };
        plots.push(Plot {
            title: format!("Response time under {}", baseline.name),
            unit: "ms",
            series: vec![
                steps("deadline", "limit", deadline()),
                dots("in time", class, responses(false)),
                dots("late", "missed", responses(true)),
            ],
        });
    }
    plots.push(Plot {
        title: "Board power".into(),
        unit: "W (model, mean over half a second)",
        series: power,
    });
    let slowdown = [(0.0, 1_000)].into_iter().chain(script.slowdowns());
    let slowdown = slowdown.map(|(at, permille)| (at, Some(f64::from(permille) / 1e3)));
    plots.push(Plot {
        title: "Slowdown by a neighbour".into(),
        unit: "times",
        series: vec![steps("slowdown", "ours", slowdown.collect())],
    });
    plots
}

/// Mean GPU clock of a baseline over windows, MHz.
fn mean_clocks(baseline: &Baseline, end_s: f64) -> Vec<(f64, Option<f64>)> {
    let points = baseline.run.points();
    let ends = points.iter().skip(1).map(|point| point.from_us as f64 / 1e6).chain([end_s]);
    let windows = (end_s / WINDOW_S).ceil() as usize;
    let mut sums = vec![0.0; windows];
    for (point, until_s) in points.iter().zip(ends) {
        let mut at_s = point.from_us as f64 / 1e6;
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

/// Mean power over windows, from the energy at the reports.
fn powers(script: &Script, recording: &Recording) -> Vec<(f64, Option<f64>)> {
    let starts = (0..).map(|n| f64::from(n) * WINDOW_S);
    starts
        .take_while(|from| from + WINDOW_S <= script.end_s())
        .map(|from| {
            let joule = |at_s| recording.energy_j_at(at_s);
            let used = joule(from + WINDOW_S).zip(joule(from)).map(|(to, from)| to - from);
            (from, used.map(|joule| joule / WINDOW_S))
        })
        .collect()
}

fn phase_table(summary: &Summary<'_>) -> String {
    let mut text = "<h2>Phase by phase</h2>\n<div class=\"scroll\"><table><thead><tr>".to_owned();
    for head in [
        "Phase",
        "Manager",
        "Late",
        "p50",
        "p99",
        "Accuracy by the card",
        "Energy",
        "Accuracy counted",
        "Decided by",
    ] {
        let _ = write!(text, "<th scope=\"col\">{head}</th>");
    }
    text += "</tr></thead><tbody>\n";
    for PhaseSummary { phase, figures, baselines } in &summary.phases {
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{}</th><td>Coshift</td><td>{} of {}</td><td>{}</td><td>{}</td>\
             <td>{:.2} %</td><td>{:.1} J</td><td>{}</td><td>mcu {:.0} %</td></tr>",
            escaped(phase.name),
            figures.misses,
            figures.requests,
            milliseconds(figures.p50_ms),
            milliseconds(figures.p99_ms),
            figures.card_accuracy_pct(summary.network),
            figures.energy_j,
            escaped(&accuracy(figures)),
            figures.mcu_pct,
        );
        for (name, theirs) in baselines {
            let _ = writeln!(
                text,
                "<tr><td></td><td>{}</td><td>{} of {}</td><td>{}</td><td>{}</td><td>{:.2} %</td>\
                 <td>{:.1} J</td><td></td><td></td></tr>",
                escaped(name),
                theirs.misses,
                theirs.requests,
                milliseconds(theirs.p50_ms),
                milliseconds(theirs.p99_ms),
                theirs.accuracy_pct,
                theirs.energy_j,
            );
        }
    }
    text += "</tbody></table></div>\n";
    text
}

fn checks(summary: &Summary<'_>) -> String {
    let mut text =
        "<h2>Did it answer in time?</h2>\n<div class=\"scroll\"><table><tbody>\n".to_owned();
    for check in &summary.checks {
        let (class, word) = if check.passed { ("ok", "yes") } else { ("failed", "no") };
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{}</th><td class=\"{class}\">{word}</td><td>{}</td></tr>",
            escaped(&check.what),
            escaped(&check.found)
        );
    }
    text += "</tbody></table></div>\n";
    text
}

fn limits(summary: &Summary<'_>) -> String {
    let mut text = "<h2>What is modelled</h2>\n<ul class=\"notes\">\n".to_owned();
    let ours = [
        "The two baselines ran in virtual time on the same board model, with the same release times, \
         deadlines, accuracy floors and neighbour. The largest is always the most accurate \
         sub-network; the best-fitting one the least accurate that meets the floor in force, as if \
         chosen by hand for each. They know no power cap.",
        "Energy is that of the whole board (VDD_IN), idle included; a neighbour's own work is not in \
         it.",
        "Accuracy by the card is that of the sub-networks that ran, on 10,000 test images; accuracy \
         counted is on the images that were inferred here, some of the first thousand of them, again \
         and again: they are easier than the rest.",
    ];
    let notes = ours.iter().copied().chain(summary.board.notes.iter().map(String::as_str));
    for note in notes {
        let _ = writeln!(text, "<li>{}</li>", escaped(note));
    }
    text += "</ul>\n";
    text
}

/// Who decided, for the caption of a run without a microcontroller.
fn decider_note(recording: &Recording) -> Option<&'static str> {
    let inside = recording.periods.iter().any(|report| report.decider == Decider::InProcess);
    inside.then_some("The controller ran inside the agent: there was no emulator.")
}

#[cfg(test)]
mod tests {
    use coshift_host::boards;

    use crate::demo::{baseline, judge, script::NETWORK, simulated, summary::Summary};

    fn rendered() -> String {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        let network = board.network(NETWORK).unwrap();
        let (script, recording) = simulated::run(false, 1);
        let baselines = baseline::run(&board, network, &script, &recording).unwrap();
        let checks = judge::judge(&script, &recording);
        let summary = Summary::new(&board, network, &script, &recording, &baselines, checks);
        super::page(&script, &recording, &baselines, &summary, 16)
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_is_well_formed() {
        let page = rendered();
        for word in ["http:", "https:", "<script", "src=", "@import", "url(", "NaN", ">inf"] {
            assert!(!page.contains(word), "{word}");
        }
        let mut open = Vec::new();
        for tag in page.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("a whole tag");
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name.to_owned()), "{tag}");
            } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
                open.push(name.to_owned());
            }
        }
        assert_eq!(open, Vec::<String>::new());
    }

    #[test]
    fn every_plot_phase_and_check_is_there() {
        let page = rendered();
        for title in ["GPU clock", "Sub-network", "Response time under Coshift", "Board power"] {
            assert!(page.contains(&format!("<b>{title}</b>")), "{title}");
        }
        assert_eq!(page.matches("<figure>").count(), 7);
        let (script, _) = simulated::run(false, 1);
        for phase in &script.phases {
            assert!(page.contains(phase.name), "{}", phase.name);
        }
        assert_eq!(page.matches("class=\"ok\"").count(), 2 + script.events.len());
    }
}
