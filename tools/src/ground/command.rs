//! `coshift-tools simulate`.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::managers::{NAMES, known};
use super::results::{Row, SeedScores, rows, run_seed};
use super::scenario::{Instance, Scenario, ScenarioError};
use super::world::{Ending, Run};

/// Simulates scenarios under managers, against the oracle.
#[derive(Args, Debug, Clone)]
pub struct SimulateArgs {
    /// Scenario files; may be repeated.
    #[arg(long, required = true, num_args = 1..)]
    pub scenario: Vec<PathBuf>,
    /// Managers, or "all"; may be repeated.
    #[arg(long, num_args = 1.., default_values_t = vec!["coshift".to_owned()])]
    pub manager: Vec<String>,
    /// Seeds, counted up from the scenario's.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Another miss target for every application, 0 to 0.5.
    #[arg(long)]
    pub miss_target: Option<f64>,
    /// Folder for a CSV of every request of every run.
    #[arg(long)]
    pub trace: Option<PathBuf>,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Threads; as many as there are cores where left out.
    #[arg(long)]
    pub jobs: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// One line that names what is wrong.
pub fn run(args: &SimulateArgs) -> Result<()> {
    let managers = managers(&args.manager)?;
    let mut scenarios = Vec::new();
    for path in &args.scenario {
        match Scenario::load(path) {
            Ok(scenario) => scenarios.push(retargeted(scenario, args.miss_target)?),
            Err(skipped @ ScenarioError::NoData { .. }) => eprintln!("{skipped}"),
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(folder) = &args.trace {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    let observer = |name: &str, seed: u64, scenario: &Scenario, instance: &Instance, done: &Run| {
        let Some(folder) = &args.trace else { return Ok(()) };
        let path = folder.join(format!("{}-{}-{seed}.csv", scenario.name, file_name(name)));
        trace(&path, scenario, instance, done)
            .map_err(|error| format!("{}: cannot be written: {error}", path.display()))
    };
    let rows = simulate(&scenarios, &managers, args.seeds, args.jobs, true, &observer)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
    } else {
        out.write_all(table(&rows).as_bytes())?;
    }
    Ok(())
}

/// The scenario with another miss target for every application, where one is given.
///
/// # Errors
/// Where it is not 0 to 0.5.
pub fn retargeted(mut scenario: Scenario, miss_target: Option<f64>) -> Result<Scenario> {
    if let Some(target) = miss_target {
        if !(0.0..=0.5).contains(&target) {
            bail!("--miss-target: 0 to 0.5 goes, {target} found");
        }
        for application in &mut scenario.applications {
            application.miss_target = target;
        }
    }
    Ok(scenario)
}

fn managers(names: &[String]) -> Result<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    for name in names {
        if name == "all" {
            let all = NAMES.iter().filter(|name| !name.starts_with("exec:"));
            out.extend(all.map(|name| (*name).to_owned()));
        } else if known(name) {
            out.push(name.clone());
        } else {
            bail!("--manager: all or one of {} goes, \"{name}\" found", NAMES.join(", "));
        }
    }
    let mut seen = std::collections::HashSet::new();
    out.retain(|name| seen.insert(name.clone()));
    Ok(out)
}

/// What is told of each run.
pub type Observer<'o> =
    dyn Fn(&str, u64, &Scenario, &Instance, &Run) -> Result<(), String> + Sync + 'o;

/// Rows of all scenarios, in order; scenarios and seeds run side by side.
///
/// # Errors
/// The first run that failed.
pub fn simulate(
    scenarios: &[Scenario],
    managers: &[String],
    seeds: u64,
    jobs: Option<usize>,
    progress: bool,
    observer: &Observer<'_>,
) -> Result<Vec<Row>> {
    let tasks: Vec<(usize, u64)> =
        (0..scenarios.len()).flat_map(|place| (0..seeds).map(move |seed| (place, seed))).collect();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = jobs.unwrap_or(cores).clamp(1, tasks.len().max(1));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Result<SeedScores, String>>>> =
        Mutex::new((0..tasks.len()).map(|_| None).collect());
    let finished = AtomicUsize::new(0);
    let terminal = progress && std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((place, seed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let scenario = &scenarios[*place];
                    let told = |name: &str, seed: u64, instance: &Instance, run: &Run| {
                        observer(name, seed, scenario, instance, run)
                    };
                    let result = run_seed(scenario, managers, *seed, &told);
                    let index = place * usize::try_from(seeds).unwrap_or(0)
                        + usize::try_from(*seed).unwrap_or(0);
                    if let Ok(mut done) = done.lock() {
                        done[index] = Some(result);
                    }
                    let count = finished.fetch_add(1, Ordering::Relaxed) + 1;
                    if terminal {
                        bar(count, tasks.len());
                    }
                }
            });
        }
    });
    if terminal {
        eprintln!();
    }
    let mut results = done.into_inner().unwrap_or_default().into_iter();
    let mut out = Vec::new();
    for scenario in scenarios {
        let mut scores = Vec::new();
        for _ in 0..seeds {
            match results.next().flatten() {
                Some(Ok(seed)) => scores.push(seed),
                Some(Err(error)) => bail!("{error}"),
                None => bail!("scenario {}: a run ended early", scenario.name),
            }
        }
        out.extend(rows(scenario, managers, &scores));
    }
    Ok(out)
}

fn bar(count: usize, all: usize) {
    const WIDTH: usize = 40;
    let full = count * WIDTH / all.max(1);
    eprint!("\r[{}{}] {count}/{all}", "#".repeat(full), ".".repeat(WIDTH - full));
}

fn file_name(manager: &str) -> String {
    let sound = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    manager.chars().map(sound).collect()
}

fn trace(path: &Path, scenario: &Scenario, instance: &Instance, run: &Run) -> std::io::Result<()> {
    let mut text = String::from(
        "application,request,release_us,start_us,end_us,deadline_us,missed,sub_network,\
         accuracy_pct,floor_pct,cpu_khz,gpu_khz,emc_khz,steady,slowdown\n",
    );
    for (place, records) in run.records.iter().enumerate() {
        let name = &scenario.applications[place].name;
        let network = scenario.network(place);
        for (index, record) in records.iter().enumerate() {
            let request = &instance.requests[place][index];
            let missed = u8::from(record.missed());
            let floor = f64::from(request.floor_bp) / 100.0;
            let head = (request.release_us, request.deadline_us);
            let line = match record.ending {
                Ending::Served { start_us, end_us, sub_network, clocks, steady } => format!(
                    "{name},{index},{},{start_us},{end_us},{},{missed},{sub_network},{},{floor},{},{},{},{},{:.5}",
                    head.0,
                    head.1,
                    network.sub_networks[sub_network].accuracy_pct,
                    clocks.cpu_khz,
                    clocks.gpu_khz,
                    clocks.emc_khz,
                    u8::from(steady),
                    request.factor,
                ),
                Ending::Dropped => {
                    format!(
                        "{name},{index},{},,,{},1,,,{floor},,,,,{:.5}",
                        head.0, head.1, request.factor
                    )
                }
            };
            text.push_str(&line);
            text.push('\n');
        }
    }
    std::fs::write(path, text)
}

/// The rows as a table for people.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut out = String::new();
    let mut scenario = "";
    let width = |name: fn(&Row) -> &String| rows.iter().map(|row| name(row).chars().count()).max();
    let own = width(|row| &row.manager).unwrap_or(0).max("manager".len()) + 2;
    let app = width(|row| &row.application).unwrap_or(0).max("app".len()) + 1;
    for row in rows {
        if row.scenario != scenario {
            scenario = &row.scenario;
            let _infallible = writeln!(
                out,
                "{scenario}, {} seeds\n  {:<own$}{:<app$}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>7}",
                row.seeds,
                "manager",
                "app",
                "J",
                "/oracle",
                "above",
                "miss %",
                "p50 ms",
                "p99 ms",
                "acc %",
                "under%",
                "switch",
                "parks",
                "over s",
            );
        }
        let _infallible = writeln!(
            out,
            "  {:<own$}{:<app$}{:>9.1}{:>9.4}{:>9.4}{:>9.3}{:>8.1}{:>8.1}{:>8.2}{:>8.2}{:>8.1}{:>8.1}{:>7.1}",
            row.manager,
            row.application,
            row.energy_j,
            row.energy_vs_oracle,
            row.energy_above_idle_vs_oracle,
            row.miss_rate * 100.0,
            row.p50_ms,
            row.p99_ms,
            row.accuracy_pct,
            row.under_floor_share * 100.0,
            row.level_switches,
            row.parks,
            row.over_power_s + row.over_temp_s,
        );
    }
    out
}
