//! `coshift-tools search`: the front of accuracy against latency on a board.

mod sources;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use coshift_engine::family::{OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::search::blocks::BlockTable;
use coshift_engine::search::predictor::Predictor;
use coshift_engine::search::{Scored, Settings, Source, front, search};
use serde::Serialize;

use crate::import::layout;
use sources::{BoardLaw, MeasuredTable};

/// Finds the sub-networks of a family that are worth having on a board.
///
/// Evolution (NSGA-II) from a seed, then changes of one part each; with --measured the front of the
/// measured ones. Accuracy and latency each come from one source, by which the 13 published levels of
/// ofa-mbv3-1.2 are scored as well: the command says how many of them both sources know, and fails
/// where that is none or where the front found is worse than one of them.
#[derive(Args, Debug)]
pub struct SearchArgs {
    /// Family: ofa-mbv3-1.0, ofa-mbv3-1.2, coshift-28 or a description as JSON.
    #[arg(long, value_name = "NAME|FILE", default_value = "ofa-mbv3-1.2")]
    pub family: String,
    /// Accuracy: the published predictor as safetensors. Some points too high; keeps the order.
    #[arg(long, value_name = "FILE", required_unless_present = "measured")]
    pub predictor: Option<PathBuf>,
    /// Accuracy: measured sub-networks as JSON, `[{"net": …, "accuracy_pct": …}]` or a model.json.
    #[arg(long, value_name = "FILE", conflicts_with = "predictor")]
    pub measured: Option<PathBuf>,
    /// Latency: tables of measured blocks as YAML, one a size of images.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "board")]
    pub blocks: Vec<PathBuf>,
    /// Latency: the law of a board file's network with rule "scaled".
    #[arg(long, value_name = "FILE", conflicts_with = "blocks")]
    pub board: Option<PathBuf>,
    /// Level of the board. Default: the highest.
    #[arg(long, value_name = "N", requires = "board")]
    pub level: Option<usize>,
    /// Seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Sub-networks that live at a time, 4 to 10000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub population: usize,
    /// Generations.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub generations: usize,
    /// Populations evolved apart before the best of all go on together, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub populations: usize,
    /// Climbs from changed sub-networks of what was found.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub climbs: usize,
    /// Most rounds of trying every change of one part afterwards; ends where none helps.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub rounds: usize,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// A sub-network of the front, or a published level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// `found`, or the published level's name.
    pub name: String,
    /// Accuracy by the source, %.
    pub accuracy_pct: f64,
    /// Latency by the source, ms.
    pub latency_ms: f64,
    /// For a published level: the least latency of a found one that is at least as accurate, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_latency_ms: Option<f64>,
    /// For a published level: the best accuracy of a found one that is at least as fast, %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_accuracy_pct: Option<f64>,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// The sub-network.
    pub net: SubNet,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit, and published levels that are better than what was found;
/// the family has published levels and none could be compared.
pub fn run(args: &SearchArgs) -> Result<()> {
    let (mut found, published) = find(args)?;
    let compared = published.as_ref().map(Vec::len);
    let mut published = published.unwrap_or_default();
    if args.predictor.is_some() {
        eprintln!("accuracies are the predictor's: some points too high, in the right order");
    }
    let worse: Vec<String> = published
        .iter()
        .filter(|line| line.found_latency_ms.is_none_or(|found| found > line.latency_ms))
        .map(|line| line.name.clone())
        .collect();
    found.append(&mut published);
    for line in &found {
        if args.json {
            println!("{}", serde_json::to_string(line)?);
            continue;
        }
        let Line { name, accuracy_pct, latency_ms, macs, net, .. } = line;
        let mega = *macs as f64 / 1e6;
        print!("{name}: {latency_ms:.3} ms, {accuracy_pct:.3} %, {mega:.1} M MACs");
        if let (Some(ms), Some(pct)) = (line.found_latency_ms, line.found_accuracy_pct) {
            print!("; found: as accurate in {ms:.3} ms, as fast with {pct:.3} %");
        } else {
            let side = net.resolution.map_or(String::new(), |side| format!(" at {side} pixels"));
            print!(", depths {:?}{side}", net.depths);
        }
        println!();
    }
    if let Some(compared) = compared {
        let all = dynamic_ofa().len();
        eprintln!("{compared} of {all} published levels compared");
        ensure!(compared > 0, "no published level is one that both sources know");
    }
    ensure!(worse.is_empty(), "the front found is worse than {}", worse.join(", "));
    Ok(())
}

/// The front, and the published levels that both sources know beside it; `None` for a family that has
/// no published levels.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn find(args: &SearchArgs) -> Result<(Vec<Line>, Option<Vec<Line>>)> {
    ensure!(
        (4..=10_000).contains(&args.population),
        "--population {}: expected 4 to 10000",
        args.population
    );
    ensure!(
        (1..=100).contains(&args.populations),
        "--populations {}: expected 1 to 100",
        args.populations
    );
    let layout = layout(&args.family)?;
    let latency: Box<dyn Source> = match &args.board {
        Some(board) => Box::new(BoardLaw::read(board, args.level, &layout)?),
        None => Box::new(BlockTable::read(&args.blocks, &layout)?),
    };
    let (found, accuracy): (_, Box<dyn Source>) = match (&args.measured, &args.predictor) {
        (Some(path), _) => {
            let table = MeasuredTable::read(path, layout.family())?;
            let found = front(table.scored(&*latency)?);
            (found, Box::new(table))
        }
        (None, Some(path)) => {
            let predictor = Predictor::read(path, layout.family())?;
            let SearchArgs { seed, population, generations, populations, climbs, rounds, .. } =
                *args;
            let settings = Settings { seed, population, generations, populations, climbs, rounds };
            let found = search(layout.family(), &predictor, &*latency, settings);
            (found.with_context(|| args.family.clone())?, Box::new(predictor))
        }
        (None, None) => anyhow::bail!("--predictor or --measured: expected one of them"),
    };
    let has_levels = layout.family() == &serde_json::from_str(OFA_12)?;
    let published = has_levels.then(|| compared(&layout, &found, &*accuracy, &*latency));
    let line = |scored: &Scored| Line {
        name: "found".into(),
        accuracy_pct: scored.accuracy_pct,
        latency_ms: scored.latency_ms,
        found_latency_ms: None,
        found_accuracy_pct: None,
        macs: layout.cost(&scored.net).0,
        net: scored.net.clone(),
    };
    Ok((found.iter().map(line).collect(), published))
}

/// The published levels by the same sources, with what was found beside each.
fn compared(
    layout: &Layout,
    found: &[Scored],
    accuracy: &dyn Source,
    latency: &dyn Source,
) -> Vec<Line> {
    let score = |level: coshift_engine::levels::Level| {
        let (accuracy_pct, latency_ms) = match (accuracy.of(&level.net), latency.of(&level.net)) {
            (Ok(accuracy), Ok(latency)) => (accuracy, latency),
            (Err(fault), _) | (_, Err(fault)) => {
                eprintln!("{}: not compared: {fault}", level.name);
                return None;
            }
        };
        let accurate = found.iter().filter(|found| found.accuracy_pct >= accuracy_pct);
        let fast = found.iter().filter(|found| found.latency_ms <= latency_ms);
        Some(Line {
            accuracy_pct,
            latency_ms,
            found_latency_ms: accurate.map(|found| found.latency_ms).reduce(f64::min),
            found_accuracy_pct: fast.map(|found| found.accuracy_pct).reduce(f64::max),
            macs: layout.cost(&level.net).0,
            name: level.name,
            net: level.net,
        })
    };
    dynamic_ofa().into_iter().filter_map(score).collect()
}
