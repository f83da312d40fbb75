//! `coshift-tools results`: the tables of `docs/results.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::command::{retargeted, simulate};
use super::managers::NAMES;
use super::results::{Row, mean};
use super::scenario::{Scenario, ScenarioError, Slowdown};

/// Simulates all scenarios of a folder under all managers and writes the results as Markdown. What
/// stands after the last line that it writes stays as it is.
#[derive(Args, Debug, Clone)]
pub struct ResultsArgs {
    /// Folder of scenario files; those in its folder `measured` need `COSHIFT_DATA`, those in its
    /// folder `held-out` stand apart in the tables.
    #[arg(long, default_value = "scenarios")]
    pub scenarios: PathBuf,
    /// Seeds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// File to write; standard output where left out.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Leaves the folder `measured` out.
    #[arg(long)]
    pub shipped_only: bool,
}

/// Miss targets of the required table with its bars: mean and worst energy ÷ oracle.
const BARS: [(f64, f64, f64); 4] =
    [(0.05, 1.010, 1.025), (0.01, 1.015, 1.04), (0.005, 1.015, 1.04), (0.001, 1.025, 1.06)];
/// Energies are compared where the shares under the floor differ by no more than this.
pub const SAME_FLOOR: f64 = 0.001;

/// Runs the command.
///
/// # Errors
/// One line that names what is wrong.
pub fn run(args: &ResultsArgs) -> Result<()> {
    let text = book(&args.scenarios, args.seeds, !args.shipped_only, true)?;
    match &args.out {
        Some(path) => std::fs::write(path, text + &kept(path))
            .with_context(|| format!("{}: cannot be written", path.display()))?,
        None => print!("{text}"),
    }
    Ok(())
}

/// What people wrote after the results in a file that is written anew.
fn kept(path: &Path) -> String {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    before.split_once(END).map_or(String::new(), |(_, kept)| kept.to_owned())
}

/// The scenarios of a folder, by file name; those without data are left out and named.
///
/// # Errors
/// As [`Scenario::load`], and where the folder cannot be read or has none.
pub fn folder(path: &Path) -> Result<(Vec<Scenario>, Vec<String>)> {
    let listed =
        std::fs::read_dir(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let mut files: Vec<PathBuf> = listed
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_name().is_some_and(|name| name != "contention.toml"))
        .collect();
    files.sort();
    let (mut scenarios, mut skipped) = (Vec::new(), Vec::new());
    for file in files {
        match Scenario::load(&file) {
            Ok(scenario) => scenarios.push(scenario),
            Err(ScenarioError::NoData { scenario, .. }) => skipped.push(scenario),
            Err(error) => return Err(error.into()),
        }
    }
    if scenarios.is_empty() && skipped.is_empty() {
        bail!("{}: no scenario in it", path.display());
    }
    Ok((scenarios, skipped))
}

/// Whether the tables given to the managers are right to 3 %, as the required table has it.
fn right(scenario: &Scenario) -> bool {
    let off = |scale: f64, spread: f64| (scale - 1.0).abs() + spread;
    let error = &scenario.policy_error;
    off(error.latency_scale, error.latency_spread) <= 0.03 + 1e-9
        && off(error.energy_scale, error.energy_spread) <= 0.03 + 1e-9
}

/// Onsets of contention, new targets, caps and pins in a run: what no manager can foresee.
fn onsets(scenario: &Scenario) -> f64 {
    let of_application = |application: &super::scenario::Application| {
        let slowdown = match &application.slowdown {
            Slowdown::Noise => 0.0,
            Slowdown::Trace { from_us, .. } | Slowdown::Markov { from_us, .. } => {
                f64::from(u8::from((1..scenario.end_us).contains(from_us)))
            }
            Slowdown::Switching { mean_us, from_us, .. } => {
                (scenario.end_us.saturating_sub(*from_us)) as f64 / (2.0 * mean_us)
            }
        };
        slowdown + (application.targets.len() - 1) as f64
    };
    let own: f64 = scenario.applications.iter().map(of_application).sum();
    own + (scenario.limits.len() - 1) as f64 + scenario.pins.len() as f64
}

/// The rows of one manager in one scenario.
fn of<'r>(rows: &'r [Row], scenario: &str, manager: &str) -> Vec<&'r Row> {
    rows.iter().filter(|row| row.scenario == scenario && row.manager == manager).collect()
}

/// Misses over all applications of one manager and scenario, of how many requests, and how many may
/// be: the targets' shares and three for each onset at targets of 0.1 % and below.
fn misses(rows: &[&Row], scenario: &Scenario) -> (f64, f64, f64) {
    let count: usize = rows.iter().map(|row| row.inferences).sum();
    let missed: f64 = rows.iter().map(|row| row.miss_rate * row.inferences as f64).sum();
    let tight = rows.iter().any(|row| row.miss_target <= 0.001);
    let seeds = rows.first().map_or(0.0, |row| row.seeds as f64);
    let extra = if tight { 3.0 * onsets(scenario) * seeds } else { 0.0 };
    let allowed: f64 = rows.iter().map(|row| row.miss_target * row.inferences as f64).sum();
    (missed, count as f64, allowed + extra)
}

/// Whether energies of two managers may be compared.
fn comparable(own: &[&Row], other: &[&Row]) -> bool {
    own.iter()
        .zip(other)
        .all(|(own, other)| (own.under_floor_share - other.under_floor_share).abs() <= SAME_FLOOR)
}

/// The whole text.
///
/// # Errors
/// As [`folder`] and [`simulate`].
pub fn book(path: &Path, seeds: u64, with_measured: bool, progress: bool) -> Result<String> {
    let mut out = String::from(HEAD);
    let (mut known, mut skipped) = folder(path)?;
    let beside = |name: &str| match path.join(name) {
        path if path.is_dir() => folder(&path),
        _ => Ok((Vec::new(), Vec::new())),
    };
    if with_measured {
        let (measured, without_data) = beside("measured")?;
        known.extend(measured);
        skipped.extend(without_data);
    }
    let (held_out, _) = beside("held-out")?;
    let _infallible = writeln!(
        out,
        "Seeds: {seeds}. Scenarios: {}, and {} held out.{}\n",
        known.len(),
        held_out.len(),
        if skipped.is_empty() {
            String::new()
        } else {
            format!(" Skipped for want of data: {}.", skipped.join(", "))
        },
    );
    let all: Vec<Scenario> = known.iter().chain(&held_out).cloned().collect();
    let quiet = |_: &str,
                 _: u64,
                 _: &Scenario,
                 _: &super::scenario::Instance,
                 _: &super::world::Run| Ok(());
    let ours = ["coshift".to_owned(), "oracle".to_owned()];
    let mut by_target = Vec::new();
    for (target, ..) in BARS {
        let changed: Vec<Scenario> = all
            .iter()
            .map(|scenario| retargeted(scenario.clone(), Some(target)))
            .collect::<Result<_>>()?;
        by_target.push(simulate(&changed, &ours, seeds, None, progress, &quiet)?);
    }
    out.push_str(AGAINST);
    required(&mut out, &known, &by_target);
    if !held_out.is_empty() {
        out.push_str(HELD_OUT);
        required(&mut out, &held_out, &by_target);
    }
    let names: Vec<String> = NAMES
        .iter()
        .filter(|name| !name.starts_with("exec:"))
        .map(|name| (*name).to_owned())
        .collect();
    let rows = simulate(&all, &names, seeds, None, progress, &quiet)?;
    claims(&mut out, &all, &rows);
    every_manager(&mut out, &all, &rows);
    out.push_str(END);
    Ok(out)
}

/// The last line that is written.
const END: &str = "<!-- End of what the command writes; what follows is written by people. -->\n";

const AGAINST: &str = "## Against the oracle, by miss target\n\n\
Every application of every scenario with the miss target of the row. Energies count only where \
the share of requests under the floor is the oracle's within 0.1 point and no more requests were \
missed than allowed. Misses allowed: the target's share; at 0.1 % three more for each onset \
(contention, targets, caps, pins). Scenarios whose tables are not right to 3 % stand in the second \
table only.\n\n";

const HELD_OUT: &str = "### Held out\n\n\
The scenarios of `scenarios/held-out` were made once, after the controller, with other boards, \
networks, arrivals, deadlines, seeds and contention (fitted to the second half of the traces), and \
nothing was changed for their sake.\n\n";

const HEAD: &str = "# Results\n\n\
<!-- Written by `cargo run --release -p coshift-tools --no-default-features -- results --out docs/results.md`; \
change nothing above its last line by hand. -->\n\n\
Simulated on boards modelled from published measurements (`boards/`), not measured on boards of ours. \
Energy is VDD_IN over the whole run, idle included, over that of the oracle on the same requests; \
every manager meets the same requests, slowdowns, settle times and CPU floor. What the scenarios are: \
`scenarios.md`; where the data comes from: `data.md`. `exec:CMD` runs a manager of your own on the same table. \
What is not reached and why, and the same runs decided by the firmware's controller, stand at the end.\n\n";

fn required(out: &mut String, scenarios: &[Scenario], by_target: &[Vec<Row>]) {
    out.push_str("| miss target | mean ÷ oracle (bar) | worst (bar), scenario | scenarios compared | too many misses in | worst energy above idle ÷ oracle |\n|---|---|---|---|---|---|\n");
    for ((target, mean_bar, worst_bar), rows) in BARS.into_iter().zip(by_target) {
        let mut ratios: Vec<(f64, &str)> = Vec::new();
        let (mut above, mut late) = (0.0_f64, Vec::new());
        for scenario in scenarios.iter().filter(|scenario| right(scenario)) {
            let (own, best) =
                (of(rows, &scenario.name, "coshift"), of(rows, &scenario.name, "oracle"));
            let (missed, _, allowed) = misses(&own, scenario);
            if missed > allowed {
                let (least, ..) = misses(&best, scenario);
                let nobody = if least > allowed { " (the oracle as well)" } else { "" };
                late.push(format!("{}{nobody}", scenario.name));
                continue;
            }
            if let Some(first) = own.first().filter(|_| comparable(&own, &best)) {
                ratios.push((first.energy_vs_oracle, &scenario.name));
                above = above.max(first.energy_above_idle_vs_oracle);
            }
        }
        let all: Vec<f64> = ratios.iter().map(|(ratio, _)| *ratio).collect();
        let worst = ratios.iter().max_by(|a, b| a.0.total_cmp(&b.0)).copied().unwrap_or((0.0, "-"));
        let mark = |value: f64, bar: f64| if value <= bar { "reached" } else { "**not reached**" };
        let _infallible = writeln!(
            out,
            "| {} % | {:.4} (≤ {mean_bar:.3} {}) | {:.4} (≤ {worst_bar:.3} {}), {} | {} of {} | {} | {above:.3} |",
            target * 100.0,
            mean(&all),
            mark(mean(&all), mean_bar),
            worst.0,
            mark(worst.0, worst_bar),
            worst.1,
            ratios.len(),
            scenarios.iter().filter(|scenario| right(scenario)).count(),
            if late.is_empty() { "none".to_owned() } else { late.join(", ") },
        );
    }
    out.push_str("\nEnergy ÷ oracle and misses (%) of `coshift` by scenario; in brackets where energies are not to be compared:\n\n| scenario |");
    for (target, ..) in BARS {
        let _infallible = write!(out, " {} % |", target * 100.0);
    }
    out.push_str("\n|---|---|---|---|---|\n");
    for scenario in scenarios {
        let _infallible = write!(out, "| {} |", scenario.name);
        for rows in by_target {
            let (own, best) =
                (of(rows, &scenario.name, "coshift"), of(rows, &scenario.name, "oracle"));
            let (missed, count, allowed) = misses(&own, scenario);
            let ratio = own.first().map_or(0.0, |row| row.energy_vs_oracle);
            let rate = missed / count.max(1.0) * 100.0;
            let cell = if comparable(&own, &best) && missed <= allowed {
                format!("{ratio:.4}")
            } else {
                format!("({ratio:.4})")
            };
            let _infallible = write!(out, " {cell}, {rate:.3} |");
        }
        out.push('\n');
    }
    out.push('\n');
}

fn claims(out: &mut String, scenarios: &[Scenario], rows: &[Row]) {
    let energy =
        |scenario: &str, manager: &str| of(rows, scenario, manager).first().map(|row| row.energy_j);
    let ratio = |scenario: &str, manager: &str, other: &str| {
        Some(energy(scenario, manager)? / energy(scenario, other)?)
    };
    out.push_str("## Against what runs on boards today\n\n| scenario | less energy than schedutil + podgov, largest sub-network | with the best-fitting one | best static choice in hindsight ÷ ours | p99 ms of deadline |\n|---|---|---|---|---|\n");
    for scenario in scenarios {
        let percent = |other: &str| {
            ratio(&scenario.name, "coshift", other)
                .map_or("-".into(), |r| format!("{:.1} %", (1.0 - r) * 100.0))
        };
        let hindsight = ratio(&scenario.name, "static-best", "coshift")
            .map_or("-".into(), |r| format!("{r:.4}"));
        let ends: Vec<String> = of(rows, &scenario.name, "coshift")
            .iter()
            .zip(&scenario.applications)
            .map(|(row, application)| {
                let deadlines = application.targets.iter().map(|targets| targets.deadline_us);
                format!("{:.0} of {:.0}", row.p99_ms, f64::from(deadlines.max().unwrap_or(0)) / 1e3)
            })
            .collect();
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {hindsight} | {} |",
            scenario.name,
            percent("schedutil-podgov"),
            percent("schedutil-podgov-fit"),
            ends.join(", "),
        );
    }
    out.push_str("\nManagers that knew no more than ours, kept every miss target and as much accuracy, and used less energy:\n\n");
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for scenario in scenarios {
        let own = of(rows, &scenario.name, "coshift");
        for manager in NAMES.iter().filter(|name| {
            !["coshift", "oracle", "oracle-late", "static-best", "exec:CMD"].contains(name)
        }) {
            let other = of(rows, &scenario.name, manager);
            let (missed, _, allowed) = misses(&other, scenario);
            let accurate = own
                .iter()
                .zip(&other)
                .all(|(own, other)| other.under_floor_share <= own.under_floor_share + SAME_FLOOR);
            let over = other.first().map_or(0.0, |row| row.over_power_s + row.over_temp_s);
            if let Some(ratio) = ratio(&scenario.name, manager, "coshift")
                && missed <= allowed
                && accurate
                && over <= 0.1
                && ratio < 0.9995
            {
                found.entry(&scenario.name).or_default().push(format!("{manager} ({ratio:.4})"));
            }
        }
    }
    if found.is_empty() {
        out.push_str("none.\n");
    }
    for (scenario, managers) in found {
        let _infallible = writeln!(out, "- {scenario}: {}", managers.join(", "));
    }
    out.push('\n');
}

fn every_manager(out: &mut String, scenarios: &[Scenario], rows: &[Row]) {
    out.push_str("## Every manager\n\nEach scenario with its own miss targets. `±` is half of the 95 % confidence interval over seeds. `oracle-late` may hide changes of clocks behind launches; by the laws of the plant that saves energy, which nobody has measured.\n\n");
    for scenario in scenarios {
        let _infallible = writeln!(
            out,
            "### {}\n\n| manager | application | energy J | ÷ oracle | above idle ÷ oracle | missed % | p50 ms | p99 ms | accuracy % | under floor % | switches | parks | over caps s |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|",
            scenario.name
        );
        for row in rows.iter().filter(|row| row.scenario == scenario.name) {
            let _infallible = writeln!(
                out,
                "| {} | {} | {:.1} ± {:.1} | {:.4} ± {:.4} | {:.3} | {:.3} ± {:.3} of {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} |",
                row.manager,
                row.application,
                row.energy_j,
                row.energy_j_ci95,
                row.energy_vs_oracle,
                row.energy_vs_oracle_ci95,
                row.energy_above_idle_vs_oracle,
                row.miss_rate * 100.0,
                row.miss_rate_ci95 * 100.0,
                row.miss_target * 100.0,
                row.p50_ms,
                row.p99_ms,
                row.accuracy_pct,
                row.under_floor_share * 100.0,
                row.level_switches,
                row.parks,
                row.over_power_s + row.over_temp_s,
            );
        }
        out.push('\n');
    }
}
