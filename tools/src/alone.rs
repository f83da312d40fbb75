//! One sub-network trained alone: which one, and how it compares with the shared weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use coshift_engine::family::{Family, SubNet};
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{Calibrated, Model};
use coshift_engine::network::Network;
use serde::Serialize;

use crate::eval::accuracy_pct;
use crate::train::{CHECKPOINT, calibrate, checkpoint, split};

/// The sub-network that `train --alone` names: an index in a model folder, or a description.
///
/// # Errors
/// Names what is neither, and what does not fit the family.
pub fn named(family: &Family, text: &str, folder: &Path) -> Result<SubNet> {
    let Ok(index) = text.parse::<usize>() else { return described(family, "--alone", text) };
    let model = Model::read(folder)?;
    ensure!(
        model.family == *family,
        "{}: another family than the {} that is trained",
        folder.display(),
        family.name
    );
    let count = model.sub_networks.len();
    match model.sub_networks.into_iter().nth(index) {
        Some(sub) => Ok(sub.net),
        None => bail!("--alone {index}: {} has {count} sub-networks", folder.display()),
    }
}

/// The sub-network that an option describes as JSON.
///
/// # Errors
/// Names the option and what does not hold in it.
pub fn described(family: &Family, option: &str, text: &str) -> Result<SubNet> {
    let net: SubNet = serde_json::from_str(text).with_context(|| {
        format!(
            "{option} {text}: expected an index or {{\"depths\":…,\"kernels\":…,\"expands\":…}}"
        )
    })?;
    family.check_net(&net).with_context(|| option.to_owned())?;
    Ok(net)
}

/// A sub-network trained alone, beside the same one with shared weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Folder of the training.
    pub training: PathBuf,
    /// Epochs done.
    pub epochs: u32,
    /// Epochs asked for.
    pub of_epochs: u32,
    /// Index of the same sub-network in the model; `None` = the model has none of its shape.
    pub index: Option<usize>,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Top-1 accuracy trained alone, %.
    pub alone_pct: f64,
    /// Top-1 accuracy of the same shape in the model, %.
    pub shared_pct: Option<f64>,
    /// Images both were measured on.
    pub images: usize,
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { training, epochs, of_epochs, macs, alone_pct, .. } = self;
        write!(
            f,
            "{}: {:.2} M MACs, {epochs} of {of_epochs} epochs, alone {alone_pct:.2} %",
            training.display(),
            *macs as f64 / 1e6
        )?;
        if let (Some(index), Some(shared)) = (self.index, self.shared_pct) {
            let difference = shared - alone_pct;
            write!(f, ", sub-network {index} {shared:.2} %, {difference:+.2} points")?;
        }
        Ok(())
    }
}

/// Measures what `train --alone` learned, and the same shapes of the model, on the test images of a
/// data folder, and tells `report`. Normalisation is calibrated as [`calibrate`] does for `pack`.
///
/// # Errors
/// Names what is missing or does not fit; those of `report`.
pub fn compare(
    trainings: &[PathBuf],
    model: &Path,
    data: &Path,
    threads: usize,
    report: &mut dyn FnMut(&Compared) -> Result<()>,
) -> Result<()> {
    ensure!(threads > 0, "--threads: at least 1");
    let (shared, model) = Network::load(model)?;
    let layout = Layout::new(&model.family)?;
    let test = ImageSet::read_for(data, Half::Test, &model.family)?;
    let (train, _) = split(ImageSet::read_for(data, Half::Train, &model.family)?);
    eprintln!("{} test images of {}", test.len(), data.display());
    for training in trainings {
        let (state, settings) = checkpoint(&layout, &training.join(CHECKPOINT))?;
        let Some(net) = settings.alone else {
            bail!("{}: not a training with --alone", training.display());
        };
        let mut train = train.clone();
        if let Some(limit) = settings.limit {
            train.split_off(limit);
        }
        let units = layout.units(&net);
        // Blocks that are not in use may be described differently.
        let same = model.sub_networks.iter().find(|sub| layout.units(&sub.net) == units);
        let average = state.optimiser.average;
        let (macs, _) = layout.cost(&net);
        let nets = [Calibrated { statistics: calibrate(&layout, &net, &average, &train), net }];
        let alone = Network::new(layout.clone(), average, &nets)?;
        report(&Compared {
            training: training.clone(),
            epochs: state.epochs,
            of_epochs: settings.epochs,
            index: same.map(|sub| sub.index),
            macs,
            alone_pct: accuracy_pct(&alone, 0, &test, threads)?,
            shared_pct: same
                .map(|sub| accuracy_pct(&shared, sub.index, &test, threads))
                .transpose()?,
            images: test.len(),
        })?;
    }
    Ok(())
}
