//! `coshift-tools eval`: accuracy of every sub-network of a model.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use coshift_engine::network::{Network, Workspace};
use serde::Serialize;

use coshift_engine::images::{DEBIAN, Half, ImageSet};

/// Images a call; shares of threads are whole calls, so that results do not depend on their number.
const BATCH: usize = 100;

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

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &EvalArgs) -> Result<()> {
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
    let folder = match &args.data {
        Some(folder) => folder.as_path(),
        None if ImageSet::is_in(installed, Half::Test) => installed,
        None => &args.model,
    };
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
            Some(said) if said != accuracy_pct => {
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
    let classes = network.layout().family().classes;
    let share = set.len().div_ceil(threads.max(1)).next_multiple_of(BATCH);
    let work = &|from: usize, to: usize| -> Result<usize> {
        let mut space = Workspace::default();
        let mut right = 0;
        for start in (from..to).step_by(BATCH) {
            let count = BATCH.min(to - start);
            let logits = network.run(index, &set.normalised(start, count), &mut space)?;
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
