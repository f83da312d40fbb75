//! `coshift-tools report`: one page with every manager on every scenario.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use clap::Args;

use super::book::{SAME_FLOOR, folder};
use super::command::simulate;
use super::managers::NAMES;
use super::results::{Row, mean};
use super::scenario::{Instance, Scenario};
use super::sensitivity;
use super::world::{Ending, Run};
use crate::page::{
    Cell, Column, KeyFigure, Limit, Page, PageError, Scatter, Section, Series, Standing, Table,
    TimePlot, TimePlots,
};

/// Writes one self-contained HTML page: tables, plots, distance to the oracle, sensitivity.
#[derive(Args, Debug, Clone)]
pub struct ReportArgs {
    /// Folder of scenario files; those in its folder `measured` need `COSHIFT_DATA`.
    #[arg(long, default_value = "scenarios")]
    pub scenarios: PathBuf,
    /// Seeds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// File to write.
    #[arg(long)]
    pub out: PathBuf,
}

/// Managers whose clocks are drawn over time.
const DRAWN: [&str; 3] = ["coshift", "schedutil-podgov-fit", "oracle"];
/// At most this long is drawn, s: points stay apart.
const DRAWN_S: f64 = 120.0;

/// What is drawn of a run.
struct Drawn {
    gpu_mhz: Vec<(f64, f64)>,
    power_w: Vec<(f64, f64)>,
    /// By application: release (s), response (ms) and whether it was late.
    responses: Vec<Vec<(f64, Option<f64>, bool)>>,
    slowdown: Vec<(f64, f64)>,
}

type Runs = BTreeMap<(String, String), Drawn>;

/// Runs the command.
///
/// # Errors
/// One line that names what is wrong.
pub fn run(args: &ReportArgs) -> Result<()> {
    let (scenarios, skipped) = scenarios(&args.scenarios)?;
    let managers: Vec<String> = NAMES
        .iter()
        .filter(|name| !name.starts_with("exec:"))
        .map(|name| (*name).to_owned())
        .collect();
    let runs: Mutex<Runs> = Mutex::new(BTreeMap::new());
    let observer = |name: &str, seed: u64, scenario: &Scenario, _: &Instance, run: &Run| {
        if seed == 0 && DRAWN.contains(&name) {
            let drawn = draw(scenario, run);
            if let Ok(mut runs) = runs.lock() {
                runs.insert((scenario.name.clone(), name.to_owned()), drawn);
            }
        }
        Ok(())
    };
    let rows = simulate(&scenarios, &managers, args.seeds, None, true, &observer)?;
    let runs = runs.into_inner().unwrap_or_default();
    let variants = sensitivity::variants(&scenarios, args.seeds)?;
    let html = page(&scenarios, &skipped, args.seeds, &rows, &runs, &variants)?.html();
    std::fs::write(&args.out, html)
        .with_context(|| format!("{}: cannot be written", args.out.display()))
}

fn scenarios(path: &Path) -> Result<(Vec<Scenario>, Vec<String>)> {
    let (mut all, mut skipped) = folder(path)?;
    let measured = path.join("measured");
    if measured.is_dir() {
        let (more, without) = folder(&measured)?;
        all.extend(more);
        skipped.extend(without);
    }
    Ok((all, skipped))
}

fn draw(scenario: &Scenario, run: &Run) -> Drawn {
    let until_s = (scenario.end_us as f64 / 1e6).min(DRAWN_S);
    let seconds = |us: u64| us as f64 / 1e6;
    let shown = |us: u64| seconds(us) <= until_s;
    let half_seconds =
        (0..(until_s * 2.0) as u64).map(|half| (half * 500_000, (half + 1) * 500_000));
    let mut gpu_mhz: Vec<(f64, f64)> = Vec::new();
    let mut power_w = Vec::new();
    for (from, to) in half_seconds {
        let at = (0..10).map(|tenth| from + tenth * 50_000);
        let clocks: Vec<f64> =
            at.map(|us| f64::from(run.trail.clocks_at(us).gpu_khz) / 1e3).collect();
        let clock = mean(&clocks);
        if gpu_mhz.last().is_none_or(|(_, last)| *last != clock) {
            gpu_mhz.push((seconds(from), clock));
        }
        power_w.push((seconds(from), run.trail.mean_w(from, to)));
    }
    let response = |record: &super::world::Record| {
        let ms = record.response_us().map(|us| us as f64 / 1e3);
        (seconds(record.request.release_us), ms, record.missed())
    };
    let of = |records: &Vec<super::world::Record>| {
        records.iter().filter(|record| shown(record.request.release_us)).map(response).collect()
    };
    let first = run.records.first().into_iter().flatten();
    let slowdown = first
        .filter(|record| matches!(record.ending, Ending::Served { .. }))
        .filter(|record| shown(record.request.release_us))
        .map(|record| (seconds(record.request.release_us), record.request.factor))
        .collect();
    Drawn { gpu_mhz, power_w, responses: run.records.iter().map(of).collect(), slowdown }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn page(
    scenarios: &[Scenario],
    skipped: &[String],
    seeds: u64,
    rows: &[Row],
    runs: &Runs,
    variants: &[sensitivity::Variant],
) -> Result<Page> {
    let mut lead = format!(
        "{} scenario{}, {seeds} seed{}, simulated on boards modelled from published measurements; \
         nothing was measured on a board of ours.",
        scenarios.len(),
        plural(scenarios.len() as u64),
        plural(seeds),
    );
    if !skipped.is_empty() {
        lead += &format!(" Skipped for want of data: {}.", skipped.join(", "));
    }
    let mut page = Page::new("Coshift: every manager on every scenario")
        .lead(lead)
        .section(glance(scenarios, rows))
        .section(distance(scenarios, rows)?)
        .section(sensitivity::section(variants, scenarios)?);
    for scenario in scenarios {
        page = page.section(of_scenario(scenario, rows, runs)?);
    }
    Ok(page)
}

fn of<'r>(rows: &'r [Row], scenario: &Scenario, manager: &str) -> Vec<&'r Row> {
    let wanted = |row: &&Row| row.scenario == scenario.name && row.manager == manager;
    rows.iter().filter(wanted).collect()
}

/// Whether a manager kept miss targets and floors as the oracle did, and the caps.
fn keeps(rows: &[&Row], best: &[&Row]) -> bool {
    let within = |(row, best): (&&Row, &&Row)| {
        row.miss_rate <= row.miss_target
            && row.under_floor_share <= best.under_floor_share + SAME_FLOOR
            && row.over_power_s + row.over_temp_s <= 0.1
    };
    rows.iter().zip(best).all(within)
}

fn glance(scenarios: &[Scenario], rows: &[Row]) -> Section {
    let kept: Vec<&Scenario> = scenarios
        .iter()
        .filter(|scenario| keeps(&of(rows, scenario, "coshift"), &of(rows, scenario, "oracle")))
        .collect();
    let against = |other: &str| {
        let ratio = |scenario: &&Scenario| {
            let energy = |name: &str| of(rows, scenario, name).first().map(|row| row.energy_j);
            Some(energy("coshift")? / energy(other)?)
        };
        mean(&kept.iter().filter_map(ratio).collect::<Vec<_>>())
    };
    let less = |other: &str| format!("{:.1} % less energy", (1.0 - against(other)) * 100.0);
    Section::new("At a glance").key_figures([
        KeyFigure::new(
            format!("{} of {}", kept.len(), scenarios.len()),
            "scenarios in which every promise was kept; the figures beside are the mean of those",
        ),
        KeyFigure::new(format!("{:.4}", against("oracle")), "times the oracle's energy"),
        KeyFigure::new(less("schedutil-podgov"), "than schedutil + podgov, largest sub-network"),
        KeyFigure::new(less("schedutil-podgov-fit"), "than with the best-fitting one"),
    ])
}

fn distance(scenarios: &[Scenario], rows: &[Row]) -> Result<Section, PageError> {
    let managers: Vec<&str> = NAMES
        .iter()
        .copied()
        .filter(|name| !name.starts_with("exec:") && !["oracle", "powersave"].contains(name))
        .collect();
    let columns = std::iter::once(Column::text("Scenario"))
        .chain(managers.iter().map(|name| Column::number(*name)));
    let mut table = Table::new("Energy ÷ oracle", columns);
    for scenario in scenarios {
        let best = of(rows, scenario, "oracle");
        let cell = |name: &&str| {
            let own = of(rows, scenario, name);
            let ratio = own.first().map_or(f64::NAN, |row| row.energy_vs_oracle);
            if keeps(&own, &best) {
                Cell::new(format!("{ratio:.3}"))
            } else {
                Cell::new(format!("({ratio:.3})")).bad()
            }
        };
        let cells = std::iter::once(Cell::new(scenario.name.clone()));
        table = table.row(cells.chain(managers.iter().map(cell)).collect::<Vec<_>>())?;
    }
    Ok(Section::new("Distance to the oracle")
        .paragraph(
            "Energy of the whole board, idle included, over that of a choice with perfect knowledge \
             that pays the same settle times and parking. In brackets where a miss target, an accuracy \
             floor or a cap was not kept: less energy is no merit there.",
        )
        .table(table)
        .note("static-best is the best fixed choice in hindsight; oracle-late may hide changes of clocks behind launches, which by the laws of the plant saves energy and nobody has measured."))
}

fn of_scenario(scenario: &Scenario, rows: &[Row], runs: &Runs) -> Result<Section, PageError> {
    let columns = [
        "Energy",
        "÷ oracle",
        "above idle ÷ oracle",
        "missed",
        "p50",
        "p99",
        "accuracy",
        "under floor",
        "switches",
        "parks",
        "over caps",
    ]
    .map(Column::number);
    let mut table = Table::new(
        "Every manager; late means more misses than the target",
        [Column::text("Manager"), Column::text("Application")].into_iter().chain(columns),
    );
    let mut accuracy = Scatter::new("Accuracy and energy", "mean top-1, %", "J");
    let mut latency = Scatter::new("Latency and energy", "p99, ms", "J");
    let best = of(rows, scenario, "oracle");
    for name in NAMES.iter().filter(|name| !name.starts_with("exec:")) {
        let own = of(rows, scenario, name);
        for row in &own {
            let missed = format!("{:.2} %", row.miss_rate * 100.0);
            let missed = if row.miss_rate > row.miss_target {
                Cell::new(format!("{missed}, late")).bad()
            } else {
                Cell::new(missed)
            };
            table = table.row([
                Cell::new(row.manager.clone()),
                Cell::new(row.application.clone()),
                Cell::new(format!("{:.1} J", row.energy_j)),
                Cell::new(format!("{:.4}", row.energy_vs_oracle)),
                Cell::new(format!("{:.3}", row.energy_above_idle_vs_oracle)),
                missed,
                Cell::new(format!("{:.1} ms", row.p50_ms)),
                Cell::new(format!("{:.1} ms", row.p99_ms)),
                Cell::new(format!("{:.2} %", row.accuracy_pct)),
                Cell::new(format!("{:.2} %", row.under_floor_share * 100.0)),
                Cell::new(format!("{:.0}", row.level_switches)),
                Cell::new(format!("{:.0}", row.parks)),
                Cell::new(format!("{:.1} s", row.over_power_s + row.over_temp_s)),
            ])?;
        }
        let Some(first) = own.first() else { continue };
        let kind = match *name {
            "coshift" => Standing::Ours,
            _ if keeps(&own, &best) => Standing::Other,
            _ => Standing::Broken,
        };
        let over =
            |figure: fn(&Row) -> f64| mean(&own.iter().map(|row| figure(row)).collect::<Vec<_>>());
        accuracy = accuracy.point(*name, (over(|row| row.accuracy_pct), first.energy_j), kind)?;
        // Whoever is hopelessly late would press all others into a corner.
        let p99 = over(|row| row.p99_ms);
        let slowest = over_deadline(scenario);
        if p99 <= 3.0 * slowest {
            latency = latency.point(*name, (p99, first.energy_j), kind)?;
        }
    }
    Ok(Section::new(scenario.name.clone())
        .scatter(accuracy)
        .scatter(latency)
        .note("Of several applications the means are drawn; a p99 of over three times the longest deadline is left out of the second plot.")
        .plots(over_time(scenario, runs)?)
        .table(table))
}

/// The longest deadline, ms.
fn over_deadline(scenario: &Scenario) -> f64 {
    let targets = scenario.applications.iter().flat_map(|application| &application.targets);
    targets.map(|targets| f64::from(targets.deadline_us) / 1e3).fold(0.0, f64::max)
}

fn over_time(scenario: &Scenario, runs: &Runs) -> Result<TimePlots, PageError> {
    let until_s = (scenario.end_us as f64 / 1e6).min(DRAWN_S);
    let mut clocks = TimePlot::new("GPU clock", "MHz").note("mean over half a second, seed 0");
    let mut power = TimePlot::new("Board power", "W").note("mean over half a second");
    for name in DRAWN {
        let Some(run) = runs.get(&(scenario.name.clone(), name.to_owned())) else { continue };
        clocks = clocks.series(Series::steps(name, run.gpu_mhz.iter().copied())?);
        power = power.series(Series::steps(name, run.power_w.iter().copied())?);
    }
    let caps = scenario.limits.iter().map(|limits| {
        let watts = limits.power_mw.map(|mw| f64::from(mw) / 1e3);
        (limits.at_us as f64 / 1e6, watts)
    });
    if scenario.limits.len() > 1 {
        power = power.limit(Limit::new("power cap", caps)?);
    }
    let mut plots = TimePlots::new(0.0, until_s)?.plot(clocks).plot(power);
    let Some(run) = runs.get(&(scenario.name.clone(), "coshift".to_owned())) else {
        return Ok(plots);
    };
    for (application, responses) in scenario.applications.iter().zip(&run.responses) {
        let deadlines = application
            .targets
            .iter()
            .map(|targets| (targets.at_us as f64 / 1e6, f64::from(targets.deadline_us) / 1e3));
        let points = responses.iter().map(|(at_s, ms, _)| (*at_s, *ms));
        let series = Series::points("coshift", points)?.mark_where("late", |n| responses[n].2);
        plots = plots.plot(
            TimePlot::new(format!("Response time of {}", application.name), "ms")
                .series(series)
                .limit(Limit::new("deadline", deadlines)?),
        );
    }
    Ok(plots.plot(
        TimePlot::new("Slowdown of the first application", "times")
            .without_zero()
            .series(Series::steps("slowdown", run.slowdown.iter().copied())?),
    ))
}
