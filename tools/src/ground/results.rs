//! Figures over seeds: what `coshift-tools simulate` prints.

use serde::Serialize;

use super::managers::{Setting, build, static_best};
use super::oracle::oracle;
use super::scenario::{Instance, Scenario};
use super::world::{Run, Score, run, score};

/// One manager on one application, over all seeds; energy, switches and caps are the board's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the manager.
    pub manager: String,
    /// Name of the application.
    pub application: String,
    /// Seeds.
    pub seeds: u64,
    /// Requests, all seeds together.
    pub inferences: usize,
    /// Mean energy of the whole board (VDD_IN) from 0 to the end, J.
    pub energy_j: f64,
    /// Half width of its 95 % confidence interval.
    pub energy_j_ci95: f64,
    /// Mean of energy ÷ the oracle's of the same seed.
    pub energy_vs_oracle: f64,
    /// Half width of its 95 % confidence interval.
    pub energy_vs_oracle_ci95: f64,
    /// The same of the energy beyond the board's least idle power.
    pub energy_above_idle_vs_oracle: f64,
    /// Half width of its 95 % confidence interval.
    pub energy_above_idle_vs_oracle_ci95: f64,
    /// Share of requests late or never run.
    pub miss_rate: f64,
    /// Half width of its 95 % confidence interval.
    pub miss_rate_ci95: f64,
    /// Share that may be.
    pub miss_target: f64,
    /// Median of the responses, mean over seeds, ms.
    pub p50_ms: f64,
    /// 99 % quantile of the responses, mean over seeds, ms.
    pub p99_ms: f64,
    /// Mean accuracy of what ran, %.
    pub accuracy_pct: f64,
    /// Share of what ran under the floor in force.
    pub under_floor_share: f64,
    /// Half width of its 95 % confidence interval.
    pub under_floor_share_ci95: f64,
    /// Changes of the clocks a run, parking not counted.
    pub level_switches: f64,
    /// Parkings a run.
    pub parks: f64,
    /// Changes of the sub-network a run.
    pub sub_network_switches: f64,
    /// Time over the power cap a run, s.
    pub over_power_s: f64,
    /// Time over the temperature cap a run, s.
    pub over_temp_s: f64,
    /// FNV-1a of the scenario and board file, the manager, the seeds and this program's version.
    pub config_hash: String,
}

/// The run of a manager.
///
/// # Errors
/// Says why there is none.
pub fn run_manager(name: &str, setting: Setting<'_>) -> Result<Run, String> {
    let done = match name {
        "oracle" => oracle(setting, false),
        "oracle-late" => oracle(setting, true),
        "static-best" => static_best(setting),
        _ => {
            let mut manager = build(name, setting)?;
            run(setting.scenario, setting.instance, manager.as_mut())
        }
    };
    done.map_err(|error| format!("scenario {}: {name}: {error}", setting.scenario.name))
}

/// Scores of one seed: by manager, by application. The last manager is the oracle.
pub type SeedScores = Vec<Vec<Score>>;

/// What is told of each run: manager, seed, instance, run.
pub type Observer<'o> = dyn Fn(&str, u64, &Instance, &Run) -> Result<(), String> + Sync + 'o;

/// All managers and the oracle on one seed.
///
/// # Errors
/// Says which run failed and why.
pub fn run_seed(
    scenario: &Scenario,
    managers: &[String],
    seed: u64,
    observer: &Observer<'_>,
) -> Result<SeedScores, String> {
    let instance = Instance::draw(scenario, seed)
        .map_err(|error| format!("scenario {}: {error}", scenario.name))?;
    let setting = Setting { scenario, instance: &instance };
    let mut of_oracle = None;
    let mut out = Vec::new();
    for name in managers {
        let done = run_manager(name, setting)?;
        observer(name, seed, &instance, &done)?;
        let scores = score(scenario, &done);
        if name == "oracle" {
            of_oracle = Some(scores.clone());
        }
        out.push(scores);
    }
    out.push(match of_oracle {
        Some(scores) => scores,
        None => score(scenario, &run_manager("oracle", setting)?),
    });
    Ok(out)
}

/// Rows of a scenario: for each manager one an application. `seeds[seed]` is [`run_seed`]'s.
#[must_use]
pub fn rows(scenario: &Scenario, managers: &[String], seeds: &[SeedScores]) -> Vec<Row> {
    let mut out = Vec::new();
    for (place, manager) in managers.iter().enumerate() {
        for (index, application) in scenario.applications.iter().enumerate() {
            let scores: Vec<Score> = seeds.iter().map(|seed| seed[place][index]).collect();
            let oracle: Vec<Score> = seeds.iter().map(|seed| seed[managers.len()][index]).collect();
            let of = |figure: &dyn Fn(&Score) -> f64| -> Vec<f64> {
                scores.iter().map(figure).collect()
            };
            let against = |figure: &dyn Fn(&Score) -> f64| -> Vec<f64> {
                scores.iter().zip(&oracle).map(|(own, best)| figure(own) / figure(best)).collect()
            };
            let energy = of(&|score| score.energy_j);
            let relative = against(&|score| score.energy_j);
            let above = against(&|score| score.above_idle_j);
            let missed = of(&|score| score.misses as f64 / score.inferences.max(1) as f64);
            let under = of(&|score| score.under_floor_share);
            out.push(Row {
                scenario: scenario.name.clone(),
                manager: manager.clone(),
                application: application.name.clone(),
                seeds: seeds.len() as u64,
                inferences: scores.iter().map(|score| score.inferences).sum(),
                energy_j: mean(&energy),
                energy_j_ci95: half_width(&energy),
                energy_vs_oracle: mean(&relative),
                energy_vs_oracle_ci95: half_width(&relative),
                energy_above_idle_vs_oracle: mean(&above),
                energy_above_idle_vs_oracle_ci95: half_width(&above),
                miss_rate: mean(&missed),
                miss_rate_ci95: half_width(&missed),
                miss_target: application.miss_target,
                p50_ms: mean(&of(&|score| score.p50_ms)),
                p99_ms: mean(&of(&|score| score.p99_ms)),
                accuracy_pct: mean(&of(&|score| score.accuracy_pct)),
                under_floor_share: mean(&under),
                under_floor_share_ci95: half_width(&under),
                level_switches: mean(&of(&|score| score.level_switches as f64)),
                parks: mean(&of(&|score| score.parks as f64)),
                sub_network_switches: mean(&of(&|score| score.sub_network_switches as f64)),
                over_power_s: mean(&of(&|score| score.over_power_s)),
                over_temp_s: mean(&of(&|score| score.over_temp_s)),
                config_hash: config_hash(scenario, manager, seeds.len()),
            });
        }
    }
    out
}

fn config_hash(scenario: &Scenario, manager: &str, seeds: usize) -> String {
    let targets = scenario.applications.iter().map(|application| application.miss_target.to_bits());
    let targets: Vec<String> = targets.map(|bits| format!("{bits:x}")).collect();
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "{:x} {manager} {} {seeds} {version} {}",
        scenario.hash,
        scenario.seed,
        targets.join(" ")
    );
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// The mean; 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Half width of the 95 % confidence interval of the mean (Student's t); 0 of one value.
#[must_use]
pub fn half_width(values: &[f64]) -> f64 {
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    let Some(freedom) = values.len().checked_sub(2) else { return 0.0 };
    let centre = mean(values);
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    let deviation = (squares / (values.len() - 1) as f64).sqrt();
    T.get(freedom).copied().unwrap_or(1.96) * deviation / (values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{half_width, mean};

    #[test]
    fn confidence_is_students() {
        assert_eq!(half_width(&[3.0]), 0.0);
        // Mean 2, deviation 1, t(2) = 4.303.
        let values = [1.0, 2.0, 3.0];
        assert_eq!(mean(&values), 2.0);
        assert!((half_width(&values) - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9);
    }
}
