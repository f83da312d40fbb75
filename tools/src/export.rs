//! `coshift-tools export`: one sub-network of a model for other runtimes.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use coshift_engine::export;
use coshift_engine::model::Loaded;
use coshift_engine::tensors::write_whole;

/// Writes one sub-network of a model as ONNX or safetensors, by the ending of the file's name.
///
/// ONNX: opset 13, normalisations folded, input `images` [batch, channels, height, width],
/// normalised as in training, output `logits`. Safetensors: the names of the published specialised
/// networks of once-for-all, normalisations as they are.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Model folder.
    #[arg(long, value_name = "DIR", default_value = "models/coshift-28")]
    pub model: PathBuf,
    /// Index of the sub-network.
    #[arg(long, value_name = "N")]
    pub sub_network: usize,
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
    let Loaded { model, layout, values, nets } = Loaded::read(&args.model)?;
    let Some(calibrated) = nets.get(args.sub_network) else {
        bail!("--sub-network {}: the model has 0 to {}", args.sub_network, nets.len() - 1);
    };
    let index = args.sub_network.to_string();
    let about = [("model_hash", model.model_hash.as_str()), ("index", index.as_str())];
    if ending == Some("onnx") {
        let bytes = export::onnx(&layout, &values, calibrated, &about)?;
        write_whole(&args.out, &bytes)?;
    } else {
        let mut file = export::safetensors(&layout, &values, calibrated)?;
        about.iter().for_each(|(key, value)| file.metadata(key, value));
        file.write(&args.out)?;
    }
    let (macs, parameters) = layout.cost(&calibrated.net);
    println!(
        "sub-network {index}: {:.2} M MACs, {parameters} parameters, in {}",
        macs as f64 / 1e6,
        args.out.display()
    );
    Ok(())
}
