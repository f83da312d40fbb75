//! Sources of accuracy and latency that are not of the engine: measured tables, board laws.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use coshift_engine::family::{Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::model::blocks;
use coshift_engine::search::{Scored, Source, SourceFault};
use coshift_plant::board::{Board, BoardFile, Level, Rule};
use coshift_plant::law::LatencyLaw;
use serde::Deserialize;

/// Accuracies that were measured.
#[derive(Debug)]
pub(super) struct MeasuredTable {
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    net: SubNet,
    accuracy_pct: f64,
}

/// The part of a model's description that is such a list.
#[derive(Deserialize)]
struct Model {
    sub_networks: Vec<Row>,
}

impl MeasuredTable {
    /// Reads a table and checks that its sub-networks are the family's.
    pub(super) fn read(path: &Path, family: &Family) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| name.to_string())?;
        let expected = "a list of {\"net\": …, \"accuracy_pct\": …}, or one as sub_networks";
        let rows = if text.trim_start().starts_with('[') {
            serde_json::from_str(&text)
        } else {
            serde_json::from_str(&text).map(|Model { sub_networks }| sub_networks)
        };
        let rows: Vec<Row> = rows.with_context(|| format!("{name}: expected {expected}"))?;
        ensure!(!rows.is_empty(), "{name}: no sub-network in it");
        for (place, row) in rows.iter().enumerate() {
            family.check_net(&row.net).with_context(|| format!("{name}: entry {place}"))?;
            let pct = row.accuracy_pct;
            ensure!((0.0..=100.0).contains(&pct), "{name}: entry {place}: accuracy_pct is {pct}");
        }
        Ok(Self { rows })
    }

    /// All rows with their latency.
    pub(super) fn scored(&self, latency: &dyn Source) -> Result<Vec<Scored>> {
        let scored = |row: &Row| {
            let latency_ms = latency.of(&row.net)?;
            Ok(Scored { net: row.net.clone(), accuracy_pct: row.accuracy_pct, latency_ms })
        };
        self.rows.iter().map(scored).collect()
    }
}

impl Source for MeasuredTable {
    fn of(&self, net: &SubNet) -> Result<f64, SourceFault> {
        let row = self.rows.iter().find(|row| row.net == *net);
        let unknown = || SourceFault("no measured accuracy".into());
        row.map(|row| row.accuracy_pct).ok_or_else(unknown)
    }

    fn knows_side(&self, side: usize) -> bool {
        self.rows.iter().any(|row| row.net.resolution == Some(side))
    }
}

/// The latency law of a board for sub-networks that it does not list: coefficients for
/// multiply-accumulates, bytes and blocks, as its rule "scaled" has them.
#[derive(Debug)]
pub(super) struct BoardLaw {
    layout: Layout,
    level: Level,
    gpu_mhz_ms_per_mmac: f64,
    emc_mhz_ms_per_mb: f64,
    cpu_ms_per_block: f64,
    cpu_ref_mhz: f64,
    p: f64,
}

impl BoardLaw {
    /// Reads the law; a level of the board, or its highest.
    pub(super) fn read(path: &Path, level: Option<usize>, layout: &Layout) -> Result<Self> {
        let board = Board::load(path)?;
        let name = path.display();
        let last = board.levels.len() - 1;
        let index = level.unwrap_or(last);
        let Some(level) = board.levels.get(index) else {
            bail!("--level {index}: {name} has 0 to {last}");
        };
        let text = std::fs::read_to_string(path).with_context(|| name.to_string())?;
        let file: BoardFile = toml::from_str(&text).with_context(|| name.to_string())?;
        let scaled = file.network.values().find(|network| network.latency.rule == Rule::Scaled);
        let law = scaled.map(|network| &network.latency);
        let law = law.with_context(|| format!("{name}: no network with rule \"scaled\""))?;
        let coefficients = (
            law.gpu_mhz_ms_per_mmac,
            law.emc_mhz_ms_per_mb,
            law.cpu_ms_per_block,
            law.cpu_ref_mhz,
            law.p,
        );
        let (Some(gpu), Some(emc), Some(cpu), Some(cpu_ref_mhz), Some(p)) = coefficients else {
            bail!("{name}: a coefficient of rule \"scaled\" is missing");
        };
        Ok(Self {
            layout: layout.clone(),
            level: *level,
            gpu_mhz_ms_per_mmac: gpu,
            emc_mhz_ms_per_mb: emc,
            cpu_ms_per_block: cpu,
            cpu_ref_mhz,
            p,
        })
    }
}

impl Source for BoardLaw {
    fn of(&self, net: &SubNet) -> Result<f64, SourceFault> {
        let law = LatencyLaw {
            gpu_mhz_ms: self.gpu_mhz_ms_per_mmac * self.layout.cost(net).0 as f64 / 1e6,
            emc_mhz_ms: self.emc_mhz_ms_per_mb * self.layout.traffic_bytes(net) as f64 / 1e6,
            cpu_ms: self.cpu_ms_per_block * blocks(net) as f64,
            cpu_ref_mhz: self.cpu_ref_mhz,
            p: self.p,
        };
        Ok(law.us(&self.level) / 1e3)
    }

    fn knows_side(&self, _side: usize) -> bool {
        true
    }
}
