//! `coshift-tools train`: trains the super-network of a family, or one sub-network of it alone.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use coshift_engine::family::{COSHIFT_28, Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::network::Network;
use coshift_engine::resample::resampled;
use coshift_engine::train::alone::keep_only;
use coshift_engine::train::checkpoint::Checkpoint;
use coshift_engine::train::network::{Statistics, Values, forward};
use coshift_engine::train::optimiser::{self, Optimiser};
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::{Batch, Teacher, gradients, sample_at};
use coshift_engine::train::widen::widened;
use serde::{Deserialize, Serialize};

use crate::alone::named;
use crate::eval::accuracy_pct;
use crate::teacher;
use coshift_engine::images::{DEBIAN, Half, ImageSet};

/// File name of the checkpoint in the folder of a training.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// Images that normalisation statistics are taken from.
pub const CALIBRATION_IMAGES: usize = 2_000;

/// Of these so many at once.
pub const CALIBRATION_BATCH: usize = 250;
/// Training images kept aside to judge by while training and to choose sub-networks.
pub const VALIDATION_IMAGES: usize = 2_000;

/// Trains the dynamic super-network for 28×28 grey images.
#[derive(Args, Debug, Clone)]
pub struct TrainArgs {
    /// Folder with the IDX files of the data set.
    #[arg(long, value_name = "DIR", default_value = DEBIAN)]
    pub data: PathBuf,
    /// Folder for checkpoint and log.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Goes on from the checkpoint in --out. --epochs may differ from what it was started with (the
    /// rate then falls faster or slower from here on), and --whole, --random and the teacher; one that
    /// the checkpoint learned from is to be given again, or left by --no-teacher.
    #[arg(long)]
    pub resume: bool,
    /// Stops after this many epochs of this run, to be resumed later.
    #[arg(long, value_name = "N")]
    pub stop_after: Option<u32>,
    /// Trains one sub-network alone, from labels only: its index in --model, or its description as
    /// model.json has it ({"depths":…,"kernels":…,"expands":…}).
    #[arg(long, value_name = "INDEX|JSON", conflicts_with_all = ["warm_up", "random"])]
    pub alone: Option<String>,
    /// Model folder that --alone counts in.
    #[arg(long, value_name = "DIR", default_value = "models/coshift-28")]
    pub model: PathBuf,
    /// Starts with the averaged weights of this checkpoint, of the same family or a narrower one, as
    /// the prefixes of the new weights.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "alone"])]
    pub widen: Option<PathBuf>,
    /// Checkpoint of an earlier training of the same family or a narrower one. The outputs of its
    /// largest sub-network, at the finest resolution it learned at, averaged over views of each image,
    /// are a part (--taught) of what the largest learns.
    #[arg(long, value_name = "FILE")]
    pub teacher: Option<PathBuf>,
    /// With --resume: goes on without the teacher that the checkpoint learned from.
    #[arg(long, requires = "resume", conflicts_with = "teacher")]
    pub no_teacher: bool,
    /// What the training is determined by.
    #[command(flatten)]
    pub settings: Settings,
}

/// What a training is determined by.
#[derive(Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Epochs in all.
    #[arg(long, default_value_t = 16)]
    pub epochs: u32,
    /// First epochs, in which the largest sub-network is trained alone.
    #[arg(long, default_value_t = 2)]
    pub warm_up: u32,
    /// Last epochs, in which nothing is erased from images: what is learned last is then of images
    /// like those that are classified (Touvron et al., Fixing the Train-Test Resolution
    /// Discrepancy, NeurIPS 2019, for crops).
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[serde(default, skip_serializing_if = "none")]
    pub whole: u32,
    /// Random sub-networks a step, beside the largest and the smallest.
    #[arg(long, default_value_t = 1)]
    pub random: usize,
    /// Images a step.
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// Largest learning rate; it rises over the first epoch and falls to 0 as a half cosine.
    #[arg(long, default_value_t = 0.08)]
    pub rate: f32,
    /// Weight decay.
    #[arg(long, default_value_t = 1e-4)]
    pub decay: f32,
    /// Label smoothing.
    #[arg(long, default_value_t = 0.05)]
    pub smoothing: f32,
    /// Resolution that the largest sub-network learns at, pixels; `None` = the family has one only.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finest: Option<usize>,
    /// Hash of the file that --widen names, 16 hexadecimal digits.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widened: Option<String>,
    /// Part of --teacher in what the largest sub-network learns; the rest are the labels. Where a
    /// teacher is given 0.5 (Furlanello et al., Born-Again Neural Networks, ICML 2018), with --resume
    /// the checkpoint's.
    #[arg(long, value_name = "PART", requires = "teacher")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taught: Option<f32>,
    /// Hash of the teacher's file, 16 hexadecimal digits.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taught_by: Option<String>,
    /// Shares a batch is split into, one thread each. Results depend on it.
    #[arg(long, default_value_t = 2)]
    pub shares: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Trains on the first N images only, for trials.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The sub-network that is trained alone; `None` = the whole super-network.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<SubNet>,
}

// Settings of a training without such epochs are written as they always were.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn none(epochs: &u32) -> bool {
    *epochs == 0
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &TrainArgs) -> Result<()> {
    let family: Family = serde_json::from_str(COSHIFT_28).context("the built-in description")?;
    let mut args = args.clone();
    args.settings.alone =
        args.alone.as_deref().map(|text| named(&family, text, &args.model)).transpose()?;
    train(&family, &args, &mut |line| println!("{line}"))
}

/// Trains a family; tells `report` of each epoch when its checkpoint is written.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn train(family: &Family, args: &TrainArgs, report: &mut dyn FnMut(&Line)) -> Result<()> {
    let layout = Layout::new(family)?;
    let mut settings = args.settings.clone();
    let path = args.out.join(CHECKPOINT);
    let begun = args.resume.then(|| checkpoint(&layout, &path)).transpose()?;
    let before = begun.as_ref().map(|(_, settings)| settings);
    if let Some(teacher) = &args.teacher {
        let part = before.and_then(|before| before.taught).unwrap_or(0.5);
        let part = *settings.taught.get_or_insert(part);
        ensure!(part > 0.0 && part <= 1.0, "--taught {part}: above 0, at most 1");
        settings.taught_by = Some(teacher::hash(teacher)?);
    } else if let Some(hash) = before.and_then(|before| before.taught_by.as_ref()) {
        // Whoever forgets the teacher would get another training and not see it.
        ensure!(
            args.no_teacher,
            "{}: learned from a teacher, a checkpoint of hash {hash}: --teacher FILE goes on with it, \
             --no-teacher without",
            path.display()
        );
    }
    settings.widened = match (&args.widen, before) {
        (Some(narrow), _) => Some(teacher::hash(narrow)?),
        (None, Some(before)) => before.widened.clone(),
        (None, None) => None,
    };
    settings.finest = family.finest().resolution;
    let settings = &settings;
    ensure!(settings.shares > 0, "--shares: at least 1");
    ensure!(settings.batch >= 2 * settings.shares, "--batch: at least two images a share");
    let (mut train, validation) = split(ImageSet::read_for(&args.data, Half::Train, family)?);
    if let Some(limit) = settings.limit {
        train.split_off(limit);
    }
    ensure!(
        train.len() >= settings.batch,
        "{}: {} images to learn from where --batch takes {}",
        args.data.display(),
        train.len(),
        settings.batch
    );
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let mut state = match begun {
        Some(begun) => resumed(begun, settings, &path)?,
        None => started(&layout, settings, args.widen.as_deref(), &path)?,
    };
    let taught = match (&args.teacher, settings.taught) {
        (Some(path), Some(part)) => {
            Some((teacher::outputs(&layout, path, &train, settings.shares)?, part))
        }
        _ => None,
    };
    let train = Taught { set: &train, outputs: taught };
    let log_path = args.out.join("log.csv");
    if args.resume {
        keep_lines(&log_path, state.epochs)?;
    }
    let mut epochs_now = 0;
    while state.epochs < settings.epochs && args.stop_after.is_none_or(|most| epochs_now < most) {
        let line = epoch(&layout, settings, &train, &validation, &mut state)?;
        // The log first: a line too many is dropped by a resumed training, one missing is lost.
        log(&log_path, &line)?;
        state.write(&layout, &path)?;
        report(&line);
        epochs_now += 1;
    }
    Ok(())
}

fn started(
    layout: &Layout,
    settings: &Settings,
    narrow: Option<&Path>,
    path: &Path,
) -> Result<Checkpoint> {
    ensure!(
        !path.exists(),
        "{}: is there already: --resume goes on from it, another --out starts anew",
        path.display()
    );
    let mut random = Random(settings.seed);
    let mut values = match narrow {
        Some(narrow) => widened(layout, narrow, &mut random)?,
        None => optimiser::start(layout, &mut random),
    };
    if let Some(net) = &settings.alone {
        keep_only(layout, net, &mut values);
    }
    let optimiser = Optimiser::new(layout, &values);
    let settings = serde_json::to_string(settings)?;
    Ok(Checkpoint { values, optimiser, epochs: 0, seconds: 0.0, settings })
}

fn resumed(
    (mut state, known): (Checkpoint, Settings),
    settings: &Settings,
    path: &Path,
) -> Result<Checkpoint> {
    // Epochs say how fast the rate falls from here on and what the last ones learn from, random
    // sub-networks what a step costs: these may change on the way, all else would make it another
    // training.
    let Settings { epochs, whole, random, taught, ref taught_by, .. } = *settings;
    let taught_by = taught_by.clone();
    let same = Settings { epochs, whole, random, taught, taught_by, ..known.clone() };
    ensure!(
        same == *settings,
        "{}: was trained with {known:?}, asked for {settings:?}; only --epochs, --whole, --random and the teacher may differ",
        path.display()
    );
    state.settings = serde_json::to_string(settings)?;
    Ok(state)
}

/// Reads a checkpoint and the settings of its training.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn checkpoint(layout: &Layout, path: &Path) -> Result<(Checkpoint, Settings)> {
    let state = Checkpoint::read(layout, path)?;
    let settings = serde_json::from_str(&state.settings)
        .with_context(|| format!("{}: its settings", path.display()))?;
    Ok((state, settings))
}

/// The images to learn from and those kept aside: the last [`VALIDATION_IMAGES`], of a small set at
/// most a tenth.
#[must_use]
pub fn split(mut train: ImageSet) -> (ImageSet, ImageSet) {
    let aside = VALIDATION_IMAGES.min(train.len() / 10);
    let validation = train.split_off(train.len() - aside);
    (train, validation)
}

/// One line of the training log.
#[derive(Debug, Clone)]
pub struct Line {
    /// Epochs done.
    pub epoch: u32,
    /// Mean cross-entropy, on augmented images, of the sub-network that learns from the labels: the
    /// largest, or the one that is trained alone; nats.
    pub loss: f32,
    /// Its accuracy on them, %.
    pub train_pct: f64,
    /// Accuracy on the images kept aside, %: of the `largest` and the `smallest` sub-network, or of
    /// the one that is trained `alone`.
    pub validation: Vec<(&'static str, f64)>,
    /// Seconds of training, all runs together.
    pub seconds: f64,
    /// Seconds that the remaining epochs take at the pace of this one.
    pub left_s: f64,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, loss, train_pct, validation, seconds, left_s } = self;
        let validation: Vec<String> =
            validation.iter().map(|(name, pct)| format!("{name} {pct:.2} %")).collect();
        write!(
            f,
            "epoch {epoch}: loss {loss:.4}, train {train_pct:.2} %, validation: {}, {seconds:.0} s, {:.0} min left",
            validation.join(", "),
            left_s / 60.0
        )
    }
}

fn log(path: &Path, line: &Line) -> Result<()> {
    use std::io::Write;
    let new = !path.exists();
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| path.display().to_string())?;
    if new {
        let names: String =
            line.validation.iter().map(|(name, _)| format!("{name}_pct,")).collect();
        writeln!(file, "epoch,loss,train_pct,{names}seconds")?;
    }
    let judged: String = line.validation.iter().map(|(_, pct)| format!("{pct:.3},")).collect();
    let Line { epoch, loss, train_pct, seconds, .. } = line;
    writeln!(file, "{epoch},{loss:.5},{train_pct:.3},{judged}{seconds:.1}")?;
    Ok(())
}

/// Drops the lines of epochs that no checkpoint holds: the training was interrupted after them.
fn keep_lines(path: &Path, epochs: u32) -> Result<()> {
    let place = || path.display().to_string();
    if !path.exists() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).with_context(place)?;
    let mut kept = String::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let whole = line.ends_with('\n');
        let epoch = line.split(',').next().and_then(|epoch| epoch.parse::<u32>().ok());
        if number == 0 || whole && epoch.is_some_and(|epoch| epoch <= epochs) {
            kept.push_str(line);
        }
    }
    if kept != text {
        let written = path.with_extension("csv.new");
        std::fs::write(&written, kept).with_context(|| written.display().to_string())?;
        std::fs::rename(&written, path).with_context(place)?;
    }
    Ok(())
}

/// The images to learn from and, where there is a teacher, its outputs for them and their part.
struct Taught<'a> {
    set: &'a ImageSet,
    outputs: Option<(Vec<f32>, f32)>,
}

fn epoch(
    layout: &Layout,
    settings: &Settings,
    &Taught { set: train, ref outputs }: &Taught<'_>,
    validation: &ImageSet,
    state: &mut Checkpoint,
) -> Result<Line> {
    let start = Instant::now();
    let family = layout.family();
    // Everything random of an epoch comes from the seed and its number, so that a resumed training
    // is the same as one without a break.
    let mut random =
        Random(settings.seed ^ (u64::from(state.epochs) + 1).wrapping_mul(0x9E37_79B9));
    let mut order: Vec<usize> = (0..train.len()).collect();
    random.shuffle(&mut order);
    let steps = order.len() / settings.batch;
    let constants =
        optimiser::Settings { momentum: 0.9, decay: settings.decay, clip: 5.0, average: 0.998 };
    let erases = state.epochs + settings.whole < settings.epochs;
    let (mut loss, mut right) = (0.0, 0);
    for chunk in order.chunks_exact(settings.batch) {
        let images: Vec<f32> =
            chunk.iter().flat_map(|index| augmented(train, *index, erases, &mut random)).collect();
        let labels: Vec<u8> = chunk.iter().map(|index| train.labels[*index]).collect();
        let nets = match &settings.alone {
            Some(net) => vec![net.clone()],
            None if state.epochs < settings.warm_up => vec![family.finest()],
            None => {
                let others = (0..settings.random).map(|_| sample_at(family, &mut random));
                [family.finest(), family.smallest()].into_iter().chain(others).collect()
            }
        };
        let classes = family.classes;
        let taught = outputs.as_ref().map(|(outputs, part)| {
            let rows = chunk.iter().flat_map(|index| &outputs[index * classes..][..classes]);
            (rows.copied().collect::<Vec<f32>>(), *part)
        });
        let teacher = taught.as_ref().map(|(outputs, part)| Teacher { outputs, part: *part });
        let batch = Batch { images: &images, labels: &labels, teacher };
        let (gradient, progress) =
            gradients(layout, &state.values, &nets, batch, settings.smoothing, settings.shares);
        let rate = rate(settings, state.optimiser.steps, steps as u64);
        state.optimiser.step(layout, &mut state.values, &gradient, rate, &constants);
        loss += progress.loss;
        right += progress.right;
    }
    state.epochs += 1;
    state.seconds += start.elapsed().as_secs_f64();
    let average = &state.optimiser.average;
    let judged = match &settings.alone {
        Some(net) => vec![("alone", net.clone())],
        None => vec![("largest", family.finest()), ("smallest", family.smallest())],
    };
    let nets: Vec<Calibrated> = (judged.iter().map(|(_, net)| net.clone()))
        .map(|net| Calibrated { statistics: calibrate(layout, &net, average, train), net })
        .collect();
    let network = Network::new(layout.clone(), average.clone(), &nets)?;
    let validation = (judged.iter().enumerate())
        .map(|(index, (name, _))| {
            Ok((*name, accuracy_pct(&network, index, validation, settings.shares)?))
        })
        .collect::<Result<_>>()?;
    let left = settings.epochs - state.epochs;
    Ok(Line {
        epoch: state.epochs,
        loss: loss / steps.max(1) as f32,
        train_pct: 100.0 * right as f64 / (steps * settings.batch).max(1) as f64,
        validation,
        seconds: state.seconds,
        left_s: start.elapsed().as_secs_f64() * f64::from(left),
    })
}

/// Learning rate of a step: up over the first epoch, then half a cosine down to 0.
fn rate(settings: &Settings, step: u64, steps: u64) -> f32 {
    let total = (u64::from(settings.epochs) * steps) as f32;
    let (step, rise) = (step as f32, steps as f32);
    if step < rise {
        return settings.rate * (step + 1.0) / rise;
    }
    let done = (step - rise) / (total - rise).max(1.0);
    settings.rate * 0.5 * (1.0 + (std::f32::consts::PI * done.min(1.0)).cos())
}

/// An image mirrored half of the time, moved by up to two pixels, and, where it `erases`, a quarter
/// of the time with a rectangle erased (Zhong et al., Random Erasing, AAAI 2020).
fn augmented(set: &ImageSet, index: usize, erases: bool, random: &mut Random) -> Vec<f32> {
    let side = set.side;
    let image = set.image(index);
    let mirror = random.below(2) == 1;
    let (down, across) = (random.below(5), random.below(5));
    let mut out = teacher::view(image, side, mirror, (down, across));
    if erases && random.below(4) == 0 {
        let (height, width) = (2 + random.below(side / 3), 2 + random.below(side / 3));
        let (top, left) = (random.below(side - height), random.below(side - width));
        for row in top..top + height {
            for column in left..left + width {
                out[row * side + column] = random.normal();
            }
        }
    }
    out
}

/// Normalisation statistics of a sub-network: the mean over batches of the first
/// [`CALIBRATION_IMAGES`] training images, unchanged ones, at its resolution.
#[must_use]
pub fn calibrate(layout: &Layout, net: &SubNet, values: &Values, train: &ImageSet) -> Statistics {
    let units = layout.units(net);
    let step = CALIBRATION_BATCH;
    let batches = (train.len().min(CALIBRATION_IMAGES) / step).max(1);
    let mut sum: Statistics = Vec::new();
    for batch in 0..batches {
        let count = step.min(train.len());
        let images = train.normalised(batch * count, count);
        let images = resampled(&images, layout.family(), net);
        let pass = forward(layout, &units, values, &images, None);
        if sum.is_empty() {
            sum = pass
                .statistics
                .iter()
                .map(|(m, v)| (vec![0.0; m.len()], vec![0.0; v.len()]))
                .collect();
        }
        for ((mean, variance), (m, v)) in sum.iter_mut().zip(&pass.statistics) {
            mean.iter_mut().zip(m).for_each(|(sum, x)| *sum += x / batches as f32);
            variance.iter_mut().zip(v).for_each(|(sum, x)| *sum += x / batches as f32);
        }
    }
    sum
}
