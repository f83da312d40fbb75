//! `coshift-tools import`: a PyTorch checkpoint as safetensors.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use coshift_engine::family::{COSHIFT_28, Family, OFA_10, OFA_12};
use coshift_engine::import::Checkpoint;
use coshift_engine::layout::Layout;
use coshift_engine::tensors::read_text;

/// Largest description or list that is read, bytes.
pub(crate) const MOST_TEXT: u64 = 1 << 24;

/// Writes the tensors of a PyTorch checkpoint as safetensors, under the published names.
///
/// Reads archives (PyTorch 1.6 and later) and the older format; runs nothing that is in the file.
/// Names of the checkpoints of once-for-all, of either generation, become those of its networks;
/// others are kept. Real numbers are written as f32.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Checkpoint.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Check that every parameter of this family is there: ofa-mbv3-1.0, ofa-mbv3-1.2, coshift-28
    /// or a description as JSON.
    #[arg(long, value_name = "NAME|FILE")]
    pub family: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &ImportArgs) -> Result<()> {
    let layout = args.family.as_deref().map(layout).transpose()?;
    if args.out.extension().is_none_or(|ending| ending != "safetensors") {
        bail!("--out {}: expected a name in .safetensors", args.out.display());
    }
    let checkpoint = Checkpoint::read_file(&args.from)?;
    if let Some(layout) = &layout
        && let Err(why) = checkpoint.check(layout)
    {
        bail!("{}: {why}", args.from.display());
    }
    checkpoint.write(&args.out)?;
    let values: usize =
        checkpoint.tensors.values().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    let (count, out) = (checkpoint.tensors.len(), args.out.display());
    println!("{count} tensors, {values} values, in {out}");
    Ok(())
}

/// The layout of a family by its name or its file.
///
/// # Errors
/// Names the file and what does not hold in it.
pub fn layout(name: &str) -> Result<Layout> {
    let known = [OFA_10, OFA_12, COSHIFT_28];
    let mut families = known.iter().filter_map(|text| serde_json::from_str::<Family>(text).ok());
    let family = match families.find(|family| family.name == name) {
        Some(family) => family,
        None => {
            let expected = "ofa-mbv3-1.0, ofa-mbv3-1.2, coshift-28 or a description as JSON";
            let text = read_text(Path::new(name), MOST_TEXT)
                .with_context(|| format!("--family {name}: expected {expected}"))?;
            serde_json::from_str(&text).with_context(|| format!("{name}: not a family"))?
        }
    };
    Layout::new(&family).with_context(|| name.to_owned())
}
