//! From the fits to a board file.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use coshift_plant::board::{
    AtFile, BoardFile, BusyFile, EmcFile, ExplicitLaw, FORMAT, IdleFile, LatencyFile, Level,
    LevelFile, NetworkFile, PowerFile, Rule, SubNetworkFile,
};
use coshift_plant::fit::board_power::{PowerFit, defaults};
use coshift_plant::law::LatencyLaw;

use super::grid::Grid;
use super::marks::{self, Known};
use super::{FittedNet, assumed, levels};

/// Name of the network that the nets with an accuracy form.
pub(super) const LADDER: &str = "ladder";
/// Accuracy of a net that the grid gives none for, %.
const NO_ACCURACY_PCT: f64 = 0.0;

/// The networks of a grid: names in the file, and the nets (by index) that are their sub-networks.
pub(super) fn networks(grid: &Grid) -> Vec<(String, Vec<usize>)> {
    let mut networks: Vec<(String, Vec<usize>)> = Vec::new();
    let mut ladder: Vec<(usize, f64)> = grid
        .nets
        .iter()
        .enumerate()
        .filter_map(|(index, net)| Some((index, net.accuracy_pct?)))
        .collect();
    ladder.sort_by(|a, b| a.1.total_cmp(&b.1));
    if !ladder.is_empty() {
        networks.push((LADDER.into(), ladder.into_iter().map(|(index, _)| index).collect()));
    }
    for (index, net) in grid.nets.iter().enumerate() {
        if net.accuracy_pct.is_none() {
            let taken: Vec<&str> = networks.iter().map(|(name, _)| name.as_str()).collect();
            let name = sound_name(&net.name, &taken);
            networks.push((name, vec![index]));
        }
    }
    networks
}

/// A name that a board file takes: 1 to 16 of a-z, 0-9, _ and -, none of those taken.
pub(super) fn sound_name(wished: &str, taken: &[&str]) -> String {
    let sound = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_' | '-') => c,
        _ => '-',
    };
    let wished: String = wished.chars().map(sound).collect();
    let parts: Vec<&str> = wished.split('-').filter(|part| !part.is_empty()).collect();
    let wished = if parts.is_empty() { "net".to_owned() } else { parts.join("-") };
    let mut name: String = wished.chars().take(16).collect();
    let mut count = 2_usize;
    while taken.contains(&name.as_str()) {
        let suffix = format!("-{count}");
        name = wished.chars().take(16 - suffix.len()).collect::<String>() + &suffix;
        count += 1;
    }
    name
}

/// The board file of a fitted grid.
pub(super) fn board(
    name: &str,
    grid: &Grid,
    fitted: &[FittedNet],
    power: &PowerFit,
    known: &Known,
) -> BoardFile {
    let tuples = || grid.points().map(|point| [point.cpu_mhz, point.gpu_mhz, point.emc_mhz]);
    let levels = levels::levels(tuples());
    let clocks = levels::clock_tables(&levels, tuples());
    let at = AtFile {
        cpu_mhz: levels.iter().map(|level| level.cpu_mhz).fold(0.0, f64::max),
        emc_mhz: levels.iter().map(|level| level.emc_mhz).fold(0.0, f64::max),
    };
    let exact: Vec<Level> = levels.iter().map(exact).collect();
    let gpu_ghz = levels.iter().map(|level| level.gpu_mhz / 1e3).fold(0.0, f64::max);
    let [base, slope, cubic] = power.busy;
    let highest_w = base + slope * gpu_ghz + cubic * gpu_ghz.powi(3);
    let networks = networks(grid);
    let network = networks.iter().enumerate().map(|(group, (name, nets))| {
        let activity = power.activity.get(group).copied().unwrap_or(1.0);
        (name.clone(), network(nets, grid, fitted, at.cpu_mhz, activity))
    });
    let network: BTreeMap<String, NetworkFile> = network.collect();
    let mut cpu = assumed::cpu(power, &exact);
    cpu.w_per_ghz_v2 = rounded(cpu.w_per_ghz_v2);
    let mut thermal = assumed::thermal(highest_w);
    thermal.resistance_k_per_w = rounded(thermal.resistance_k_per_w);
    BoardFile {
        format: FORMAT,
        name: sound_name(name, &[]),
        title: format!("Fitted to {}", known.latency_file),
        runtime: "unknown".into(),
        precision_bits: 32,
        batch: 1,
        park_level: Some(0),
        utilisation_limit_pct: assumed::UTILISATION_LIMIT_PCT,
        notes: marks::notes(grid, fitted, &networks, power, known),
        clocks: Some(clocks),
        settle: assumed::SETTLE,
        caps: assumed::CAPS,
        power: PowerFile {
            at,
            idle: IdleFile {
                base_w: rounded(power.idle[0]),
                gpu_w_per_ghz: rounded(power.idle[1]),
            },
            busy: BusyFile {
                base_w: rounded(base),
                gpu_w_per_ghz: rounded(slope),
                gpu_power_w: rounded(cubic),
                gpu_exponent: defaults::EXPONENT,
            },
            emc: EmcFile {
                idle_w_per_ghz: rounded(power.idle_emc),
                busy_share_per_ghz: rounded(power.busy_emc),
            },
            cpu,
        },
        thermal,
        provenance: marks::provenance(grid, &networks, &network, power, known),
        network,
        sources: marks::sources(known),
        levels,
    }
}

/// The text of a board file, its levels one a line.
pub(super) fn text(file: &BoardFile) -> Result<String> {
    let mut file = file.clone();
    let level = |level: &LevelFile| {
        let LevelFile { cpu_mhz, gpu_mhz, emc_mhz } = level;
        format!("    {{ cpu_mhz = {cpu_mhz}, gpu_mhz = {gpu_mhz}, emc_mhz = {emc_mhz} }},\n")
    };
    let levels: String = std::mem::take(&mut file.levels).iter().map(level).collect();
    let rest = toml::to_string_pretty(&file).context("the fitted board as TOML")?;
    let (before, after) = rest.split_once("levels = []\n").context("a board file has levels")?;
    let head = "# Format: docs/decisions/0003-board-files.md\n";
    Ok(format!("{head}{before}levels = [\n{levels}]\n{after}"))
}

fn network(
    nets: &[usize],
    grid: &Grid,
    fitted: &[FittedNet],
    cpu_ref_mhz: f64,
    activity: f64,
) -> NetworkFile {
    let sub_network = (0..).zip(nets).map(|(id, index)| SubNetworkFile {
        id,
        accuracy_pct: grid.nets[*index].accuracy_pct.unwrap_or(NO_ACCURACY_PCT),
        macs: None,
        params: None,
        bytes: None,
        blocks: None,
        resolution: None,
        exit_threshold: None,
        anchor_ms: None,
        law: Some(explicit(&fitted[*index].law, cpu_ref_mhz)),
    });
    NetworkFile {
        tiles: 1,
        activity: Some(rounded(activity)).filter(|activity| (activity - 1.0).abs() > 1e-9),
        model_hash: None,
        latency: LatencyFile {
            rule: Rule::Explicit,
            cpu_ref_mhz: Some(cpu_ref_mhz),
            p: None,
            cpu_ms_per_block: None,
            gpu_mhz_ms_per_mmac: None,
            emc_mhz_ms_per_mb: None,
            cpu_share: None,
            emc_over_gpu: None,
            anchor_scale: None,
        },
        sub_network: sub_network.collect(),
    }
}

fn explicit(law: &LatencyLaw, cpu_ref_mhz: f64) -> ExplicitLaw {
    ExplicitLaw {
        gpu_mhz_ms: rounded(law.gpu_mhz_ms),
        emc_mhz_ms: rounded(law.emc_mhz_ms),
        cpu_ms: rounded(law.cpu_ms * law.cpu_ref_mhz / cpu_ref_mhz),
        p: rounded(law.p),
    }
}

fn exact(level: &LevelFile) -> Level {
    // Levels have whole kHz.
    let khz = |mhz: f64| (mhz * 1e3).round() as u32;
    Level { cpu_khz: khz(level.cpu_mhz), gpu_khz: khz(level.gpu_mhz), emc_khz: khz(level.emc_mhz) }
}

/// Six digits: more than any fit knows, fewer than hide what is the same.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{rounded, sound_name};

    #[test]
    fn names_fit_a_board_file_and_differ() {
        assert_eq!(sound_name("ResNet-50 (INT8), batch 1", &[]), "resnet-50-int8-b");
        assert_eq!(sound_name("mobilenet", &["mobilenet"]), "mobilenet-2");
        assert_eq!(sound_name("a-very-long-network", &["a-very-long-netw"]), "a-very-long-ne-2");
        assert_eq!(sound_name("网络", &[]), "net");
    }

    #[test]
    fn six_digits_are_kept() {
        assert!((rounded(1_234.567_8) - 1234.57).abs() < 1e-9);
        assert!((rounded(0.001_234_567_8) - 0.001_234_57).abs() < 1e-12);
    }
}
