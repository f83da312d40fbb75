//! `coshift-tools eval`: accuracy of every sub-network of a model.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;
use coshift_engine::adapt::adapted;
use coshift_engine::corrupt::Corruption;
use coshift_engine::model::{Loaded, Model};
use coshift_engine::network::{Network, Workspace};
use coshift_engine::resample::resampled;
use serde::Serialize;

use crate::alone::compare;
use coshift_engine::images::{DEBIAN, Half, ImageSet};

/// Images a call; shares of threads are whole calls, so that results do not depend on their number.
const BATCH: usize = 100;

/// Of so many images one may be judged otherwise than the model's description says.
const IMAGES_A_CLOSE_CALL: usize = 2000;

/// Measures the accuracy of every sub-network of a model on test images.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Model folder.
    #[arg(long, value_name = "DIR", default_value = "models/coshift-28")]
    pub model: PathBuf,
    /// Folder with the IDX files of the data set. Default: that of the Debian package
    /// dataset-fashion-mnist where it is installed, else the images in the model folder.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub threads: usize,
    /// Makes the images worse: noise, blur or contrast, with a severity of 1 to 5 (3 where none is
    /// given). Reports accuracy on the images as they are, made worse and, with --adapt, after
    /// re-calibration.
    #[arg(long, value_name = "KIND[:SEVERITY]")]
    pub corrupt: Option<Corruption>,
    /// Re-calibrates the normalisation of every sub-network from the first N images, made worse,
    /// without their labels; all accuracies are then those of the other images.
    #[arg(long, value_name = "N", requires = "corrupt")]
    pub adapt: Option<usize>,
    /// Seed of the noise.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Measures what `train --alone` learned in these folders instead, each beside the model's
    /// sub-network of the same shape. Needs training images too, to calibrate the normalisation.
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with = "corrupt")]
    pub alone: Vec<PathBuf>,
}

/// Accuracy of one sub-network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Index of the sub-network.
    pub index: usize,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Top-1 accuracy, %.
    pub accuracy_pct: f64,
    /// Images it was measured on.
    pub images: usize,
}

/// Accuracy of one sub-network on images made worse.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Robust {
    /// Index of the sub-network.
    pub index: usize,
    /// Kind and severity.
    pub corruption: String,
    /// Seed of the noise.
    pub seed: u64,
    /// Top-1 accuracy on the images as they are, %.
    pub clean_pct: f64,
    /// Top-1 accuracy on the images made worse, %.
    pub corrupted_pct: f64,
    /// The same after re-calibration, %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapted_pct: Option<f64>,
    /// Images, none of those measured on, that it was re-calibrated from.
    pub adapted_from: usize,
    /// Images the accuracies were measured on.
    pub images: usize,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &EvalArgs) -> Result<()> {
    if !args.alone.is_empty() {
        let data = args.data.as_deref().unwrap_or(Path::new(DEBIAN));
        return compare(&args.alone, &args.model, data, args.threads, &mut |compared| {
            if args.json {
                println!("{}", serde_json::to_string(compared)?);
            } else {
                println!("{compared}");
            }
            Ok(())
        });
    }
    if args.corrupt.is_some() {
        return robust(args, Path::new(DEBIAN), &mut |robust| {
            if args.json {
                println!("{}", serde_json::to_string(robust)?);
                return Ok(());
            }
            let Robust { index, clean_pct, corruption, corrupted_pct, .. } = robust;
            print!("sub-network {index}: {clean_pct:.2} %, {corruption} {corrupted_pct:.2} %");
            if let Some(adapted) = robust.adapted_pct {
                print!(", adapted {adapted:.2} %");
            }
            println!();
            Ok(())
        });
    }
    eval(args, Path::new(DEBIAN), &mut |measured| {
        if args.json {
            println!("{}", serde_json::to_string(measured)?);
        } else {
            let Measured { index, macs, accuracy_pct, .. } = measured;
            println!("sub-network {index}: {:.2} M MACs, {accuracy_pct:.2} %", *macs as f64 / 1e6);
        }
        Ok(())
    })
}

/// Measures each sub-network and tells `report`. `installed` is the folder that is used where the
/// arguments name none and it has test images.
///
/// # Errors
/// Names what is missing or does not fit; those of `report`.
pub fn eval(
    args: &EvalArgs,
    installed: &Path,
    report: &mut dyn FnMut(&Measured) -> Result<()>,
) -> Result<()> {
    ensure!(args.threads > 0, "--threads: at least 1");
    let (network, model) = Network::load(&args.model)?;
    has_images(args, &model)?;
    let folder = folder(args, &model, installed);
    let set = ImageSet::read_for(folder, Half::Test, &model.family)?;
    eprintln!("{} test images of {}", set.len(), folder.display());
    let shipped = folder == args.model;
    let mut differing = Vec::new();
    for sub in &model.sub_networks {
        let accuracy_pct = accuracy_pct(&network, sub.index, &set, args.threads)?;
        let (index, images) = (sub.index, set.len());
        report(&Measured { index, macs: sub.macs, accuracy_pct, images })?;
        // What the model says of these images; of others it says nothing.
        let said = if shipped {
            sub.shipped_accuracy_pct
        } else {
            Some(sub.accuracy_pct).filter(|_| images == sub.images)
        };
        match said {
            Some(said) if !alike(said, accuracy_pct, images) => {
                differing.push(format!("{index}: {accuracy_pct} % where it says {said} %"));
            }
            _ => {}
        }
    }
    ensure!(
        differing.is_empty(),
        "{}: not what the model's description says: sub-network {}",
        args.model.join(coshift_engine::model::FILE).display(),
        differing.join("; ")
    );
    Ok(())
}

/// Whether two accuracies in % are of so many images, but for the few that kernels of another
/// instruction set may judge otherwise, where two classes are almost equal.
fn alike(said_pct: f64, measured_pct: f64, images: usize) -> bool {
    let apart = (said_pct - measured_pct).abs() / 100.0 * images as f64;
    apart.round() <= images.div_ceil(IMAGES_A_CLOSE_CALL) as f64
}

/// Published weights come without images, and those that are installed are not theirs.
fn has_images(args: &EvalArgs, model: &Model) -> Result<()> {
    let there = args.data.is_some() || ImageSet::is_in(&args.model, Half::Test);
    if there || model.published.is_none() {
        return Ok(());
    }
    let (folder, side) = (args.model.display(), model.family.resolution);
    match model.family.image_channels {
        1 => bail!(
            "{folder}: its accuracies are published ones and no images come with it: --data names a \
             folder with some of {side}×{side} pixels"
        ),
        channels => bail!(
            "{folder}: its accuracies are published ones and cannot be measured: it takes images of \
             {side}×{side} pixels, {channels} channel(s), and only grey ones are read"
        ),
    }
}

/// Where the test images are.
fn folder<'a>(args: &'a EvalArgs, model: &Model, installed: &'a Path) -> &'a Path {
    match &args.data {
        Some(folder) => folder,
        None if model.published.is_none() && ImageSet::is_in(installed, Half::Test) => installed,
        None => &args.model,
    }
}

/// Measures each sub-network on images made worse and tells `report`; see [`eval`].
///
/// # Errors
/// Names what is missing or does not fit; those of `report`.
pub fn robust(
    args: &EvalArgs,
    installed: &Path,
    report: &mut dyn FnMut(&Robust) -> Result<()>,
) -> Result<()> {
    ensure!(args.threads > 0, "--threads: at least 1");
    let Some(corruption) = args.corrupt else { bail!("--corrupt: expected a kind") };
    let Loaded { model, layout, values, nets } = Loaded::read(&args.model)?;
    has_images(args, &model)?;
    let folder = folder(args, &model, installed);
    let mut first = ImageSet::read_for(folder, Half::Test, &model.family)?;
    let (count, from) = (first.len(), args.adapt.unwrap_or(0));
    ensure!(from < count, "--adapt {from}: expected fewer than the {count} images there are");
    ensure!(args.adapt != Some(0), "--adapt 0: expected at least 1");
    let clean = first.split_off(from);
    let (mut worse, images) = (clean.clone(), clean.len());
    corruption.apply(&mut first, args.seed);
    // Other noise than on those to re-calibrate from.
    corruption.apply(&mut worse, args.seed.wrapping_add(1));
    eprintln!(
        "{images} test images of {}{}",
        folder.display(),
        args.adapt.map_or(String::new(), |from| format!(", {from} others to adapt from"))
    );
    let first = first.normalised(0, from);
    let network = Network::new(layout.clone(), values.clone(), &nets)?;
    for (index, calibrated) in nets.iter().enumerate() {
        let adapted_pct = match args.adapt {
            None => None,
            Some(_) => {
                let adapted = adapted(&layout, &values, calibrated, &first);
                let network = Network::new(layout.clone(), values.clone(), &[adapted])?;
                Some(accuracy_pct(&network, 0, &worse, args.threads)?)
            }
        };
        report(&Robust {
            index,
            corruption: corruption.to_string(),
            seed: args.seed,
            clean_pct: accuracy_pct(&network, index, &clean, args.threads)?,
            corrupted_pct: accuracy_pct(&network, index, &worse, args.threads)?,
            adapted_pct,
            adapted_from: from,
            images,
        })?;
    }
    Ok(())
}

/// Share of a set that a sub-network classifies right, %; 0 for an empty set. Does not depend on the
/// number of threads.
///
/// # Errors
/// Where the images are not of the network's size or there is no such sub-network.
pub fn accuracy_pct(
    network: &Network,
    index: usize,
    set: &ImageSet,
    threads: usize,
) -> Result<f64> {
    let family = network.layout().family();
    let (classes, Some(net)) = (family.classes, network.net(index)) else {
        bail!("sub-network {index}: the model has {}", network.len());
    };
    let share = set.len().div_ceil(threads.max(1)).next_multiple_of(BATCH);
    let work = &|from: usize, to: usize| -> Result<usize> {
        let mut space = Workspace::default();
        let mut right = 0;
        for start in (from..to).step_by(BATCH) {
            let count = BATCH.min(to - start);
            let images = set.normalised(start, count);
            let logits = network.run(index, &resampled(&images, family, net), &mut space)?;
            for (row, label) in logits.chunks_exact(classes).zip(&set.labels[start..]) {
                right += usize::from(top(row) == Some(usize::from(*label)));
            }
        }
        Ok(right)
    };
    let right = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..set.len())
            .step_by(share.max(1))
            .map(|from| scope.spawn(move || work(from, (from + share).min(set.len()))))
            .collect();
        handles
            .into_iter()
            .map(|handle| match handle.join() {
                Ok(right) => right,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .sum::<Result<usize>>()
    })?;
    Ok(100.0 * right as f64 / set.len().max(1) as f64)
}

/// Class of the largest logit.
fn top(logits: &[f32]) -> Option<usize> {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn accuracies_are_compared_as_counts_of_images() {
        // The neighbour that reading a text may give, and close calls.
        assert!(alike(93.87, 93.87_f64.next_up(), 10_000));
        assert!(alike(93.87, 93.92, 10_000) && !alike(93.87, 93.93, 10_000));
        assert!(alike(94.8, 94.9, 1000) && !alike(94.8, 94.6, 1000));
    }
}
