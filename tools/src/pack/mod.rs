//! `coshift-tools pack`: chooses sub-networks of a trained super-network and ships them.

mod card;
mod choose;
pub(crate) mod plot;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use clap::Args;
use coshift_engine::family::{COSHIFT_28, Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{Calibrated, Model, SubNetwork, blocks, write_weights};
use coshift_engine::network::Network;
use coshift_engine::tensors::write_whole;
use coshift_engine::train::network::Values;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample_at;

use self::choose::{Point, front, order, thinned};
use crate::eval::accuracy_pct;
use crate::train::{CHECKPOINT, calibrate, checkpoint, split};
use coshift_engine::images::{DEBIAN, Half, ImageSet, LICENCE};

/// Test images that are shipped with a model.
pub const SHIPPED_IMAGES: usize = 1_000;
/// File name of the weights.
const WEIGHTS: &str = "weights.safetensors";
/// File name of the images' licence.
const IMAGES_LICENCE: &str = "LICENSE.fashion-mnist";

/// Chooses sub-networks of a trained super-network and writes a model folder.
#[derive(Args, Debug)]
pub struct PackArgs {
    /// Folder of the training.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Model folder to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder with the IDX files of the data set.
    #[arg(long, value_name = "DIR", default_value = DEBIAN)]
    pub data: PathBuf,
    /// Sub-networks wanted.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub count: usize,
    /// Random sub-networks to choose from, beside the uniform ones.
    #[arg(long, value_name = "N", default_value_t = 120)]
    pub random: usize,
    /// Seed of the random ones.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A sentence for the card, such as what the command line of the training does not tell.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Threads. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub threads: usize,
}

/// A candidate, and what it reached on the images kept aside while training.
#[derive(Debug)]
struct Candidate {
    calibrated: Calibrated,
    macs: u64,
    validation_pct: f64,
}

/// A candidate measured on the test set.
#[derive(Debug, Clone, Copy)]
struct Tested {
    candidate: usize,
    point: Point,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &PackArgs) -> Result<()> {
    let family: Family = serde_json::from_str(COSHIFT_28).context("the built-in description")?;
    pack(&family, args)
}

/// Chooses sub-networks of a family's training and writes the model folder.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn pack(family: &Family, args: &PackArgs) -> Result<()> {
    ensure!(args.threads > 0, "--threads: at least 1");
    ensure!(args.count >= 2, "--count: at least 2, the smallest and the largest");
    let layout = Layout::new(family)?;
    let (state, settings) = checkpoint(&layout, &args.from.join(CHECKPOINT))?;
    ensure!(
        settings.alone.is_none(),
        "{}: trained one sub-network alone, nothing to choose from: eval --alone measures it",
        args.from.display()
    );
    let values = state.optimiser.average;
    let (train, validation) = split(ImageSet::read_for(&args.data, Half::Train, family)?);
    ensure!(
        !validation.is_empty(),
        "{}: {} training images, too few to keep some aside to choose by",
        args.data.display(),
        train.len()
    );
    let mut test = ImageSet::read_for(&args.data, Half::Test, family)?;
    let nets = candidates(family, args.random, args.seed);
    let candidates = judge(&layout, &values, nets, &train, &validation, args.threads)?;
    let tested = measure(&layout, &values, &candidates, &test, args)?;
    let kept = keep(&tested, args.count);

    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let nets: Vec<_> = kept.iter().map(|t| candidates[t.candidate].calibrated.clone()).collect();
    let hash = write_weights(&args.out.join(WEIGHTS), &layout, &values, &nets)?;
    let images = test.len();
    test.split_off(SHIPPED_IMAGES);
    let network = Network::new(layout.clone(), values.clone(), &nets)?;
    let shipped = (0..nets.len())
        .map(|index| accuracy_pct(&network, index, &test, args.threads))
        .collect::<Result<Vec<f64>>>()?;
    let sub_networks = kept.iter().zip(nets).enumerate().map(|(index, (tested, calibrated))| {
        let net = calibrated.net;
        let (macs, params) = layout.cost(&net);
        let (blocks, accuracy_pct) = (blocks(&net), tested.point.accuracy_pct);
        let shipped_accuracy_pct = shipped.get(index).copied();
        SubNetwork {
            index,
            name: None,
            net,
            macs,
            params,
            blocks,
            accuracy_pct,
            images,
            shipped_accuracy_pct,
        }
    });
    let model = Model {
        family: family.clone(),
        weights: WEIGHTS.into(),
        model_hash: format!("{hash:016x}"),
        published: None,
        sub_networks: sub_networks.collect(),
    };
    let points: Vec<Point> = tested.iter().map(|tested| tested.point).collect();
    let card = card::Card {
        model: &model,
        settings: &settings,
        epochs: state.epochs,
        seconds: state.seconds,
        args,
        candidates: candidates.len(),
        tested: tested.len(),
        validation_images: validation.len(),
        calibration_images: train.len().min(crate::train::CALIBRATION_IMAGES),
        shipped_images: test.len(),
        weights_bytes: std::fs::metadata(args.out.join(WEIGHTS))?.len(),
    };
    let text = |name: &str, text: &str| write_whole(&args.out.join(name), text.as_bytes());
    text("CARD.md", &card.to_string())?;
    text("accuracy.svg", &plot::plot(&model, &points))?;
    text(IMAGES_LICENCE, LICENCE)?;
    test.write(&args.out, Half::Test)?;
    // Last: from here on the folder is a model.
    model.write(&args.out)?;
    Network::load(&args.out)?;
    for sub in &model.sub_networks {
        let macs = sub.macs as f64 / 1e6;
        println!("sub-network {}: {macs:.2} M MACs, {:.2} %", sub.index, sub.accuracy_pct);
    }
    for warning in card.shortfalls() {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

/// Sub-networks to choose from: the smallest, the largest, all with one kernel and one expand ratio
/// everywhere and equally many optional blocks a stage, and random ones, at the family's resolutions;
/// none twice.
fn candidates(family: &Family, random: usize, seed: u64) -> Vec<SubNet> {
    let optional = |stage: &coshift_engine::family::Stage| stage.max_depth - stage.min_depth;
    let most = family.stages.iter().map(optional).max().unwrap_or(0);
    let mut nets = vec![family.smallest(), family.finest()];
    let sides = resolutions(family);
    for more in 0..=most {
        for kernel in &family.kernels {
            for expand in &family.expands {
                let depth = |stage: &coshift_engine::family::Stage| {
                    stage.max_depth.min(stage.min_depth + more)
                };
                let net = family.uniform(depth, *kernel, *expand);
                nets.extend(sides.iter().map(|side| family.at(net.clone(), *side)));
            }
        }
    }
    let mut source = Random(seed);
    nets.extend((0..random).map(|_| drawn(family, &mut source)));
    let mut known = Vec::with_capacity(nets.len());
    for mut net in nets {
        settle_inactive(family, &mut net);
        if !known.contains(&net) {
            known.push(net);
        }
    }
    known
}

/// The family's resolutions, its own among them.
fn resolutions(family: &Family) -> Vec<usize> {
    let others = family.resolutions.iter().copied().filter(|side| *side != family.resolution);
    std::iter::once(family.resolution).chain(others).collect()
}

/// A random sub-network of which a random share is as in the largest: entries drawn evenly would
/// hardly ever give one of the upper half of the range of MACs.
fn drawn(family: &Family, random: &mut Random) -> SubNet {
    let (mut net, largest) = (sample_at(family, random), family.largest());
    let share = random.unit();
    for (list, most) in [
        (&mut net.depths, &largest.depths),
        (&mut net.kernels, &largest.kernels),
        (&mut net.expands, &largest.expands),
    ] {
        for (entry, most) in list.iter_mut().zip(most) {
            if random.unit() < share {
                *entry = *most;
            }
        }
    }
    net
}

/// Gives the entries of blocks that are not in use the smallest kernel and expand ratio, so that
/// sub-networks that run the same are equal.
fn settle_inactive(family: &Family, net: &mut SubNet) {
    let smallest = family.smallest();
    let mut first = 0;
    for (stage, depth) in family.stages.iter().zip(&net.depths) {
        for block in first + depth..first + stage.max_depth {
            net.kernels[block] = smallest.kernels[block];
            net.expands[block] = smallest.expands[block];
        }
        first += stage.max_depth;
    }
}

/// Calibrates every candidate and measures it on the images kept aside.
fn judge(
    layout: &Layout,
    values: &Values,
    nets: Vec<SubNet>,
    train: &ImageSet,
    validation: &ImageSet,
    threads: usize,
) -> Result<Vec<Candidate>> {
    let next = &AtomicUsize::new(0);
    let nets = &nets;
    let work = move || -> Result<Vec<(usize, Candidate)>> {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(net) = nets.get(place) else { return Ok(done) };
            let statistics = calibrate(layout, net, values, train);
            let calibrated = Calibrated { net: net.clone(), statistics };
            let one = std::slice::from_ref(&calibrated);
            let network = Network::new(layout.clone(), values.clone(), one)?;
            let validation_pct = accuracy_pct(&network, 0, validation, 1)?;
            let (macs, _) = layout.cost(net);
            eprintln!(
                "candidate {} of {}: {:.2} M MACs, {validation_pct:.2} % of {} images kept aside",
                place + 1,
                nets.len(),
                macs as f64 / 1e6,
                validation.len()
            );
            done.push((place, Candidate { calibrated, macs, validation_pct }));
        }
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for handle in handles {
            match handle.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        anyhow::Ok(())
    })?;
    all.sort_by_key(|(place, _)| *place);
    Ok(all.into_iter().map(|(_, candidate)| candidate).collect())
}

/// Measures candidates on the test set, the most promising first: twice as many as wanted, and up to
/// five times as many while fewer than wanted are on the front.
fn measure(
    layout: &Layout,
    values: &Values,
    candidates: &[Candidate],
    test: &ImageSet,
    args: &PackArgs,
) -> Result<Vec<Tested>> {
    let points: Vec<Point> =
        candidates.iter().map(|c| Point { macs: c.macs, accuracy_pct: c.validation_pct }).collect();
    let mut tested = Vec::new();
    for candidate in order(&points).into_iter().take(5 * args.count) {
        if tested.len() >= 2 * args.count && keep(&tested, args.count).len() == args.count {
            break;
        }
        let one = std::slice::from_ref(&candidates[candidate].calibrated);
        let network = Network::new(layout.clone(), values.clone(), one)?;
        let accuracy_pct = accuracy_pct(&network, 0, test, args.threads)?;
        let macs = points[candidate].macs;
        let mega = macs as f64 / 1e6;
        eprintln!("tested: {mega:.2} M MACs, {accuracy_pct:.2} % of {} images", test.len());
        tested.push(Tested { candidate, point: Point { macs, accuracy_pct } });
    }
    Ok(tested)
}

/// The sub-networks to ship, in ascending accuracy: at most `count` of the front, the largest one
/// where it is more accurate than the smallest; what costs less than the largest and is more accurate
/// than it is left out.
fn keep(tested: &[Tested], count: usize) -> Vec<Tested> {
    let by_macs = |tested: &&Tested| tested.point.macs;
    let (Some(smallest), Some(largest)) =
        (tested.iter().min_by_key(by_macs), tested.iter().max_by_key(by_macs))
    else {
        return Vec::new();
    };
    let top = largest.point.accuracy_pct;
    let useful = smallest.point.accuracy_pct < top;
    let below: Vec<Tested> = tested
        .iter()
        .filter(|t| !useful || t.point.accuracy_pct < top || t.candidate == largest.candidate)
        .copied()
        .collect();
    let points: Vec<Point> = below.iter().map(|tested| tested.point).collect();
    thinned(&points, front(&points), count).into_iter().map(|place| below[place]).collect()
}

/// The command line of a path as a reader can repeat it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
