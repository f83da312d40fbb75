//! `coshift-tools assemble`: a model folder of published weights, sub-networks and statistics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use coshift_engine::calibration::Calibration;
use coshift_engine::family::{Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::Levels;
use coshift_engine::model::{self, Calibrated, Model, SubNetwork, blocks, write_weights};
use coshift_engine::network::Network;
use coshift_engine::statistics;
use coshift_engine::tensors::{TensorFile, read_text, write_whole};
use coshift_engine::train::network::Values;

use crate::import::{MOST_TEXT, layout};

/// Name of the weight file.
const WEIGHTS: &str = "weights.safetensors";

/// Lists that are part of the program: all sets, or one of them.
const BUILT_IN: [(&str, Option<&str>); 3] =
    [("dynamic-ofa", None), ("dynamic-ofa-6", Some("nets_6")), ("dynamic-ofa-7", Some("nets_7"))];

/// Makes a model folder of published weights, sub-networks, and statistics of normalisation.
///
/// Weights are what `import` writes. Sub-networks, with their published accuracies, are the 13 levels
/// of Dynamic-OFA, those of one of its sets, or a list in a file. A checkpoint's own statistics are
/// those of its largest sub-network; every other one needs its own: safetensors files with
/// `levelN.….bn.running_mean` and `….bn.running_var`, one a set. Sub-networks of a set without a file
/// are calibrated on the images of --calibrate.
#[derive(Args, Debug)]
pub struct AssembleArgs {
    /// Weights: a file that `import` wrote.
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// Family of the weights: ofa-mbv3-1.0, ofa-mbv3-1.2, coshift-28 or a description as JSON.
    /// Default: that of the levels.
    #[arg(long, value_name = "NAME|FILE")]
    pub family: Option<String>,
    /// Sub-networks: dynamic-ofa, dynamic-ofa-6, dynamic-ofa-7 or a list as JSON.
    #[arg(long, value_name = "NAME|FILE")]
    pub levels: String,
    /// Statistics of each set of levels: a file, or SET=FILE where there are several sets.
    #[arg(long, value_name = "[SET=]FILE", num_args = 1..)]
    pub statistics: Vec<String>,
    /// Images that sub-networks without published statistics are calibrated on, a file for each size
    /// of images: safetensors with one tensor `images` of f32 [count, channels, height, width], at
    /// least 32, already normalised as the network takes them.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub calibrate: Vec<PathBuf>,
    /// Model folder to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit; then the folder is as it was.
pub fn run(args: &AssembleArgs) -> Result<()> {
    let model = assemble(args)?;
    for sub in &model.sub_networks {
        let (name, macs) = (sub.name.as_deref().unwrap_or_default(), sub.macs as f64 / 1e6);
        let accuracy = sub.accuracy_pct;
        println!("sub-network {}, {name}: {macs:.2} M MACs, published {accuracy:.2} %", sub.index);
    }
    println!("{}: model {}", args.out.display(), model.model_hash);
    Ok(())
}

/// Makes and writes the folder.
///
/// # Errors
/// Names what is missing or does not fit; then the folder is as it was.
pub fn assemble(args: &AssembleArgs) -> Result<Model> {
    let mut levels = levels(&args.levels)?;
    let layout = layout(args.family.as_deref().unwrap_or(&levels.family))?;
    let family = layout.family();
    ensure!(
        family.name == levels.family,
        "--levels {}: sub-networks of {}, expected those of {}",
        args.levels,
        levels.family,
        family.name
    );
    // Of levels that are equally accurate the one that is listed first stays first.
    levels.levels.sort_by(|a, b| a.accuracy_pct.total_cmp(&b.accuracy_pct));
    let places = places(args, &layout, &levels)?;
    let weights = TensorFile::read(&args.weights)
        .context("--weights: expected a file that `import` wrote")?;
    let values = weights
        .values(&layout, "")
        .with_context(|| format!("--weights: not those of {}", family.name))?;
    let files = files(args, &places)?;
    let images = images(args, family)?;
    let mut nets = Vec::with_capacity(places.len());
    for (level, (set, number)) in levels.levels.iter().zip(&places) {
        let of = || format!("statistics of {}", level.name);
        nets.push(match files.get(set) {
            Some(file) => {
                let statistics =
                    statistics::read(file, *number, &layout, &level.net).with_context(of)?;
                Calibrated { net: level.net.clone(), statistics }
            }
            None if images.is_empty() => bail!("{}", none(&layout, &levels, set)),
            None => on_images(&images, &layout, &values, &level.net).with_context(of)?,
        });
    }
    let sub_network = |(index, level): (usize, &coshift_engine::levels::Level)| {
        let (macs, params) = layout.cost(&level.net);
        SubNetwork {
            index,
            name: Some(level.name.clone()),
            net: level.net.clone(),
            macs,
            params,
            blocks: blocks(&level.net),
            accuracy_pct: level.accuracy_pct,
            images: 0,
            shipped_accuracy_pct: None,
        }
    };
    let mut model = Model {
        family: family.clone(),
        weights: WEIGHTS.into(),
        model_hash: format!("{:016x}", 0),
        published: Some(levels.source.clone()),
        sub_networks: levels.levels.iter().enumerate().map(sub_network).collect(),
    };
    // All that can be wrong is known before the first byte is written.
    model.check().map_err(|why| anyhow!("--levels {}: {why}", args.levels))?;
    Network::new(layout.clone(), values.clone(), &nets)?;

    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let hash = write_weights(&args.out.join(WEIGHTS), &layout, &values, &nets)?;
    model.model_hash = format!("{hash:016x}");
    let calibrated = calibrated(&levels, &places, &files);
    if calibrated.is_empty() && !images.is_empty() {
        eprintln!("--calibrate is not used: every set has statistics of its own");
    }
    let card = card(args, &model, &weights, &files) + &on_card(&images, &calibrated);
    write_whole(&args.out.join("CARD.md"), card.as_bytes())?;
    // Last: from here on the folder is a model.
    model.write(&args.out)?;
    Ok(model)
}

/// The list of a name or a file.
fn levels(name: &str) -> Result<Levels> {
    if let Some((_, set)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        let mut levels = Levels::dynamic_ofa();
        levels.levels.retain(|level| {
            set.is_none_or(|set| level.place().is_some_and(|(known, _)| known == set))
        });
        return Ok(levels);
    }
    let expected = "dynamic-ofa, dynamic-ofa-6, dynamic-ofa-7 or a list as JSON";
    let text = read_text(Path::new(name), MOST_TEXT)
        .with_context(|| format!("--levels {name}: expected {expected}"))?;
    serde_json::from_str(&text).with_context(|| format!("{name}: not a list of levels"))
}

/// Set and number of each level, all of the family.
fn places(args: &AssembleArgs, layout: &Layout, levels: &Levels) -> Result<Vec<(String, usize)>> {
    let list = &args.levels;
    ensure!(!levels.levels.is_empty(), "--levels {list}: no level in it");
    let mut places = Vec::with_capacity(levels.levels.len());
    for level in &levels.levels {
        let Some((set, number)) = level.place() else {
            bail!("--levels {list}: a level's name is {:?}, expected SET.NUMBER", level.name);
        };
        layout
            .family()
            .check_net(&level.net)
            .with_context(|| format!("--levels {list}: {}", level.name))?;
        let place = (set.to_owned(), number);
        ensure!(!places.contains(&place), "--levels {list}: {} is there twice", level.name);
        places.push(place);
    }
    Ok(places)
}

/// The statistics' files by set.
fn files(args: &AssembleArgs, places: &[(String, usize)]) -> Result<BTreeMap<String, TensorFile>> {
    let mut sets: Vec<&str> = places.iter().map(|(set, _)| set.as_str()).collect();
    sets.sort_unstable();
    sets.dedup();
    let mut files = BTreeMap::new();
    for text in &args.statistics {
        // A path may have an equals sign in it.
        let named = text.split_once('=').filter(|(set, _)| sets.contains(set));
        let (set, path) = match (named, &sets[..]) {
            (Some(named), _) => named,
            (None, [only]) => (*only, text.as_str()),
            (None, _) => {
                bail!("--statistics {text}: expected SET=FILE, the sets are {}", sets.join(" and "))
            }
        };
        let file = TensorFile::read(Path::new(path)).context("--statistics")?;
        ensure!(
            files.insert(set.to_owned(), file).is_none(),
            "--statistics {text}: {set} has two files"
        );
    }
    Ok(files)
}

/// The images to calibrate on, of each size once.
fn images(args: &AssembleArgs, family: &Family) -> Result<Vec<Calibration>> {
    let mut all: Vec<Calibration> = Vec::new();
    for path in &args.calibrate {
        let images = Calibration::read(path, family).context("--calibrate")?;
        let side = images.side;
        if let Some(other) = all.iter().find(|other| other.side == side) {
            let (other, path) = (other.path(), path.display());
            bail!("--calibrate: {other} and {path} both have images of {side}×{side} pixels");
        }
        all.push(images);
    }
    Ok(all)
}

/// A sub-network calibrated on the images of its size.
fn on_images(
    images: &[Calibration],
    layout: &Layout,
    values: &Values,
    net: &SubNet,
) -> Result<Calibrated> {
    let side = layout.family().side(net);
    let of_side = images.iter().find(|images| images.side == side);
    let images = of_side
        .with_context(|| format!("no file of --calibrate has images of {side}×{side} pixels"))?;
    Ok(images.of(layout, values, net)?)
}

/// Names of the levels that have no published statistics.
fn calibrated<'a>(
    levels: &'a Levels,
    places: &[(String, usize)],
    files: &BTreeMap<String, TensorFile>,
) -> Vec<&'a str> {
    let of = levels.levels.iter().zip(places).filter(|(_, (set, _))| !files.contains_key(set));
    of.map(|(level, _)| level.name.as_str()).collect()
}

/// What was calibrated on which images, in words; nothing where nothing was.
fn on_card(images: &[Calibration], calibrated: &[&str]) -> String {
    if calibrated.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "\nNo published statistics: {}. These were calibrated on the images below; the published \
         accuracies are of others.\n\n\
         | file | hash | images | pixels |\n|---|---|---:|---:|\n",
        calibrated.join(", ")
    );
    for images in images {
        let (name, hash, count, side) =
            (file_name(Path::new(images.path())), images.hash, images.count, images.side);
        // Writing into a string cannot fail.
        let _ = writeln!(out, "| `{name}` | `{hash:016x}` | {count} | {side} |");
    }
    out
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What a set lacks, in a line.
fn none(layout: &Layout, levels: &Levels, set: &str) -> String {
    let of_set =
        |level: &&coshift_engine::levels::Level| level.place().is_some_and(|(s, _)| s == set);
    let known: Vec<_> = levels.levels.iter().filter(of_set).collect();
    let first = known.first().and_then(|level| {
        let (_, number) = level.place()?;
        statistics::names(layout, &level.net, number).into_iter().next()
    });
    format!(
        "no statistics for the {} levels of {set}: --statistics {set}=FILE, safetensors with {} and \
         so on, or images to --calibrate on; a checkpoint's own are of its largest sub-network only",
        known.len(),
        first.unwrap_or_default()
    )
}

/// What the folder is made of, in words.
fn card(
    args: &AssembleArgs,
    model: &Model,
    weights: &TensorFile,
    files: &BTreeMap<String, TensorFile>,
) -> String {
    let mut out = format!(
        "# {}: published weights\n\n\
         Put together by `coshift-tools assemble`; nothing was trained or measured. The licence is \
         that of the published weights.\n\n\
         | | file | hash |\n|---|---|---|\n| weights | `{}` | `{:016x}` |\n",
        model.family.name,
        file_name(&args.weights),
        weights.hash()
    );
    // Writing into a string cannot fail.
    for (set, statistics) in files {
        let name = file_name(Path::new(statistics.path()));
        let _ = writeln!(out, "| statistics of {set} | `{name}` | `{:016x}` |", statistics.hash());
    }
    let _ = write!(
        out,
        "\nAccuracies are the published ones: {}.\n\n\
         | index | name | pixels | M MACs | published top-1, % |\n|---:|---|---:|---:|---:|\n",
        model.published.as_deref().unwrap_or_default()
    );
    for sub in &model.sub_networks {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.1} | {} |",
            sub.index,
            sub.name.as_deref().unwrap_or_default(),
            model.family.side(&sub.net),
            sub.macs as f64 / 1e6,
            sub.accuracy_pct
        );
    }
    let _ = writeln!(out, "\nThe description for programs is `{}`.", model::FILE);
    out
}
