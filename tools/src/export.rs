//! `coshift-tools export`: one sub-network of a model for other runtimes.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use coshift_engine::calibration::Calibration;
use coshift_engine::export;
use coshift_engine::family::{Family, SubNet};
use coshift_engine::images::{DEBIAN, Half, ImageSet};
use coshift_engine::model::{Calibrated, Loaded};
use coshift_engine::tensors::write_whole;

use crate::alone::described;
use crate::train::{CALIBRATION_BATCH, CALIBRATION_IMAGES, calibrate, split};

/// Writes one sub-network of a model as ONNX or safetensors, by the ending of the file's name.
///
/// ONNX: opset 13, normalisations folded, input `images` [batch, channels, height, width],
/// normalised as in training, output `logits`. Safetensors: the names of the published specialised
/// networks of once-for-all, normalisations as they are.
///
/// Any sub-network of the model's family can be described in place of an index; its normalisation is
/// then calibrated on training images, as `pack` does, or on those of --calibrate. Early exits are left
/// out, and the command says so.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Model folder.
    #[arg(long, value_name = "DIR", default_value = "models/coshift-28")]
    pub model: PathBuf,
    /// Index of the sub-network, or its description as model.json has it
    /// ({"depths":…,"kernels":…,"expands":…}).
    #[arg(long, value_name = "INDEX|JSON")]
    pub sub_network: String,
    /// Folder with the IDX files of the training images that a described sub-network is calibrated
    /// on, brought to its resolution.
    #[arg(long, value_name = "DIR", default_value = DEBIAN)]
    pub data: PathBuf,
    /// Images that a described sub-network is calibrated on in place of --data, of any number of
    /// channels: safetensors with one tensor `images` of f32 [count, channels, height, width], at
    /// least 32 of the sub-network's size, already normalised as the network takes them.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub calibrate: Option<PathBuf>,
    /// File to write: F.onnx or F.safetensors.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &ExportArgs) -> Result<()> {
    let ending = args.out.extension().and_then(|ending| ending.to_str());
    if !matches!(ending, Some("onnx" | "safetensors")) {
        bail!("--out {}: expected a name in .onnx or .safetensors", args.out.display());
    }
    let loaded = Loaded::read(&args.model)?;
    let Chosen { calibrated, about: (key, value), said } = chosen(args, &loaded)?;
    let Loaded { model, layout, values, .. } = loaded;
    let about = [("model_hash", model.model_hash.as_str()), (key, value.as_str())];
    if ending == Some("onnx") {
        let bytes = export::onnx(&layout, &values, &calibrated, &about)?;
        write_whole(&args.out, &bytes)?;
    } else {
        let mut file = export::safetensors(&layout, &values, &calibrated)?;
        about.iter().for_each(|(key, value)| file.metadata(key, value));
        file.write(&args.out)?;
    }
    if let Some(said) = left_out(layout.family()) {
        eprintln!("{said}");
    }
    let (macs, parameters) = layout.cost(&calibrated.net);
    println!(
        "sub-network {said}: {:.2} M MACs, {parameters} parameters, in {}",
        macs as f64 / 1e6,
        args.out.display()
    );
    Ok(())
}

/// What the file lacks of the family, in a line.
fn left_out(family: &Family) -> Option<String> {
    let stages: Vec<_> = family.exits.iter().map(|exit| exit.stage.to_string()).collect();
    (!stages.is_empty()).then(|| {
        format!(
            "without the early exits of {} after stages {}: in the file every image goes to the end",
            family.name,
            stages.join(", ")
        )
    })
}

/// What is exported.
struct Chosen {
    calibrated: Calibrated,
    /// What the file says of it.
    about: (&'static str, String),
    /// What the command says of it.
    said: String,
}

/// The sub-network of the arguments: one of the model's, also where it is described, else calibrated.
fn chosen(args: &ExportArgs, loaded: &Loaded) -> Result<Chosen> {
    let Loaded { model, layout, values, nets } = loaded;
    let of_model = |index: usize| {
        if args.calibrate.is_some() {
            eprintln!("--calibrate is not used: sub-network {index} has statistics of its own");
        }
        Chosen {
            calibrated: nets[index].clone(),
            about: ("index", index.to_string()),
            said: index.to_string(),
        }
    };
    if let Ok(index) = args.sub_network.parse::<usize>() {
        let last = nets.len() - 1;
        ensure!(index <= last, "--sub-network {index}: the model has 0 to {last}");
        return Ok(of_model(index));
    }
    let family = &model.family;
    let net = described(family, "--sub-network", &args.sub_network)?;
    // Blocks that are not in use may be described differently.
    let units = layout.units(&net);
    if let Some(index) = nets.iter().position(|known| layout.units(&known.net) == units) {
        return Ok(of_model(index));
    }
    let (calibrated, count) = match &args.calibrate {
        Some(path) => {
            let images = Calibration::read(path, family).context("--calibrate")?;
            (images.of(layout, values, &net).context("--calibrate")?, images.count)
        }
        None => on_training_images(args, loaded, net)?,
    };
    let (about, said) = (count.to_string(), format!("as described, calibrated on {count} images"));
    Ok(Chosen { calibrated, about: ("calibration_images", about), said })
}

/// A sub-network calibrated on the images of --data, and their number.
fn on_training_images(
    args: &ExportArgs,
    Loaded { model, layout, values, nets }: &Loaded,
    net: SubNet,
) -> Result<(Calibrated, usize)> {
    let family = &model.family;
    let images = ImageSet::read_for(&args.data, Half::Train, family).with_context(|| {
        format!(
            "--sub-network: not one of the model's {}, and so calibrated on the images of --data or \
             --calibrate",
            nets.len()
        )
    })?;
    let (train, _) = split(images);
    // Whole batches, but for a set of less than one.
    let (len, batch) = (train.len().min(CALIBRATION_IMAGES), CALIBRATION_BATCH);
    let count = if len < batch { len } else { len / batch * batch };
    Ok((Calibrated { statistics: calibrate(layout, &net, values, &train), net }, count))
}
