//! The headlines with each assumed coefficient of the boards × 0.7 and × 1.3.

use anyhow::Result;
use coshift_plant::Board;

use super::command::simulate;
use super::results::{Row, mean};
use super::scenario::{Instance, Scenario};
use super::world::Run;
use crate::page::{Column, PageError, Section, Table};

/// Scenarios that are repeated: one model, a neighbour, two clocks, two models.
pub const REPEATED: [&str; 4] = ["single-quiet", "co-runner-60ms", "orin-two-clocks", "two-models"];
/// What each coefficient is multiplied with.
const FACTORS: [f64; 2] = [0.7, 1.3];
const MANAGERS: [&str; 4] = ["coshift", "schedutil-podgov", "schedutil-podgov-fit", "oracle"];

/// Headlines with one coefficient changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The coefficient and its factor.
    pub name: String,
    /// Mean energy ÷ the oracle's over [`REPEATED`].
    pub vs_oracle: f64,
    /// The same ÷ that of schedutil + podgov with the largest sub-network.
    pub vs_largest: f64,
    /// The same ÷ that of schedutil + podgov with the best-fitting sub-network.
    pub vs_fitting: f64,
    /// Largest miss rate ÷ miss target.
    pub misses: f64,
}

type Change = fn(&mut Board, f64);

/// What the board files name as assumed.
const ASSUMED: [(&str, Change); 6] = [
    ("CPU power", |board, factor| board.power.cpu_factor *= factor),
    ("share of the CPU's power when idle", |board, factor| board.power.cpu_idle_share *= factor),
    ("memory power", |board, factor| {
        board.power.idle_emc *= factor;
        board.power.busy_emc *= factor;
    }),
    ("launch time", |board, factor| {
        let networks = board.networks.iter_mut();
        for sub in networks.flat_map(|network| &mut network.sub_networks) {
            sub.latency.cpu_ms *= factor;
        }
    }),
    ("settle times", |board, factor| {
        let settle = &mut board.settle;
        for time in [&mut settle.cpu_us, &mut settle.gpu_us, &mut settle.emc_us] {
            *time = (f64::from(*time) * factor).round() as u32;
        }
    }),
    ("thermal resistance", |board, factor| board.thermal.resistance_k_per_w *= factor),
];

/// Runs the repeated scenarios as they are and with each coefficient changed.
///
/// # Errors
/// As [`simulate`].
pub fn variants(scenarios: &[Scenario], seeds: u64) -> Result<Vec<Variant>> {
    let repeated: Vec<Scenario> = repeated(scenarios).cloned().collect();
    let mut out = vec![variant("as in the board files".into(), &repeated, seeds)?];
    for (name, change) in ASSUMED {
        for factor in FACTORS {
            let mut changed = repeated.clone();
            changed.iter_mut().for_each(|scenario| change(&mut scenario.board, factor));
            out.push(variant(format!("{name} × {factor}"), &changed, seeds)?);
        }
    }
    Ok(out)
}

/// Those of [`REPEATED`] that are there.
fn repeated(scenarios: &[Scenario]) -> impl Iterator<Item = &Scenario> {
    scenarios.iter().filter(|scenario| REPEATED.contains(&scenario.name.as_str()))
}

fn variant(name: String, scenarios: &[Scenario], seeds: u64) -> Result<Variant> {
    let managers = MANAGERS.map(str::to_owned);
    let quiet = |_: &str, _: u64, _: &Scenario, _: &Instance, _: &Run| Ok(());
    let rows = simulate(scenarios, &managers, seeds, None, false, &quiet)?;
    let energy = |scenario: &Scenario, manager: &str| {
        let row = |row: &&Row| row.scenario == scenario.name && row.manager == manager;
        rows.iter().find(row).map(|row| row.energy_j)
    };
    let against = |other: &str| {
        let ratio =
            |scenario: &Scenario| Some(energy(scenario, "coshift")? / energy(scenario, other)?);
        mean(&scenarios.iter().filter_map(ratio).collect::<Vec<_>>())
    };
    let ours = rows.iter().filter(|row| row.manager == "coshift");
    Ok(Variant {
        name,
        vs_oracle: against("oracle"),
        vs_largest: against("schedutil-podgov"),
        vs_fitting: against("schedutil-podgov-fit"),
        misses: ours.map(|row| row.miss_rate / row.miss_target).fold(0.0, f64::max),
    })
}

/// The section of the page, of these variants of these scenarios.
///
/// # Errors
/// None that the table's own width could cause.
pub fn section(variants: &[Variant], scenarios: &[Scenario]) -> Result<Section, PageError> {
    let columns = [
        "energy ÷ oracle",
        "less than schedutil + podgov, largest",
        "less than with the best-fitting one",
        "most misses ÷ target",
    ]
    .map(Column::number);
    let names: Vec<_> = repeated(scenarios).map(|scenario| scenario.name.as_str()).collect();
    if names.is_empty() {
        return Ok(Section::new("Sensitivity to what is assumed")
            .paragraph(format!("Of {}, which are repeated, none is here.", REPEATED.join(", "))));
    }
    let mut table = Table::new(
        format!("Mean over {}", names.join(", ")),
        std::iter::once(Column::text("Coefficient")).chain(columns),
    );
    for variant in variants {
        table = table.row([
            variant.name.clone(),
            format!("{:.4}", variant.vs_oracle),
            format!("{:.1} %", (1.0 - variant.vs_largest) * 100.0),
            format!("{:.1} %", (1.0 - variant.vs_fitting) * 100.0),
            format!("{:.2}", variant.misses),
        ])?;
    }
    Ok(Section::new("Sensitivity to what is assumed")
        .paragraph(
            "Each coefficient that the board files assume, times 0.7 and times 1.3, on the board and \
             in every manager's tables. Power of the CPU and of the memory is what other clocks than \
             those of the power measurements add: at these it changes nothing.",
        )
        .table(table))
}
